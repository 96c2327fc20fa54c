// Runs a file of Lua in a process of its own and brings back what it set, as JSON. The process is ended when
// the time is over, whatever it is doing.

import { fork } from 'node:child_process'
import { ConfigError, type ConfigProblem, type SourcePosition } from './problems.ts'

/** How a configuration file is run. */
export interface LuaFileOptions {
  /** Milliseconds that the file may run; 5000 if absent. */
  timeoutMs?: number
  /** What `ENV_X`, `os.getenv` and `Credential` see; `process.env` if absent. */
  env?: NodeJS.ProcessEnv
  /** Takes the lines of `print`; standard error if absent. */
  print?: (line: string) => void
  /**
   * What `Credential` does where $CREDENTIALS_DIRECTORY is not set: `required` (the default) is an error,
   * `optional` gives nil and a warning, for tools that run outside the service that has the credentials.
   */
  credentials?: 'required' | 'optional'
}

/** What was found: JSON text, and the path of each file that was opened, by number from 1. */
export interface LuaFileResult {
  json: string
  files: ReadonlyMap<number, string>
}

type LuaMessage =
  | { type: 'running' }
  | { type: 'file'; number: number; path: string }
  | { type: 'print'; line: string }
  | { type: 'done'; json: string }
  | { type: 'failed'; message: string; file: number; line: number }

const DEFAULT_TIMEOUT_MS = 5000
/** For what is not the file's doing: starting a process, a thread and WebAssembly on a busy machine. */
const GRACE_MS = 60_000
/** What the values of the file may take. */
const LUA_MEMORY_BYTES = 64 * 1024 * 1024
const NOWHERE = { file: 0, line: 0 }

/** Puts the paths of files in the place of the short names that Lua knows them by. */
export function namePaths(message: string, files: ReadonlyMap<number, string>): string {
  return message.replace(/legate-config-(\d+)/g, (name, number) => files.get(Number(number)) ?? name)
}

/** What could be meant by an error of Lua that people find hard to read. */
function hint(message: string): string {
  const called = /attempt to call a (?:nil|table|string|boolean|number) value \(global '(\w+)'\)/.exec(
    message,
  )
  if (called) return `${message}: is = missing after ${called[1]}?`
  if (message === 'not enough memory') {
    return `it takes more than ${LUA_MEMORY_BYTES / 1024 / 1024} MB of memory`
  }
  return message
}

function failure(
  path: string,
  message: string,
  at: { file: number; line: number },
  files: ReadonlyMap<number, string>,
): ConfigError {
  const [, file, line, text] = /^legate-config-(\d+):(\d+): ([\s\S]*)$/.exec(message) ?? []
  const known = file === undefined ? at : { file: Number(file), line: Number(line) }
  const position: SourcePosition = { file: files.get(known.file) ?? path }
  if (known.line > 0) position.line = known.line
  const problem: ConfigProblem = {
    severity: 'error',
    message: namePaths(hint(text ?? message), files),
    position,
  }
  return new ConfigError([problem])
}

/**
 * Runs a file of Lua as a configuration.
 * @param path absolute path of the file
 * @throws ConfigError where the file cannot be read, is wrong, or does not end in time
 */
export function runLuaFile(path: string, options: LuaFileOptions = {}): Promise<LuaFileResult> {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS
  const print = options.print ?? ((line: string) => process.stderr.write(`${line}\n`))
  const files = new Map<number, string>()
  const job = {
    path,
    env: { ...(options.env ?? process.env) },
    credentialsOptional: options.credentials === 'optional',
    memoryBytes: LUA_MEMORY_BYTES,
    timeoutMs,
  }

  return new Promise((resolve, reject) => {
    const child = fork(new URL('./lua-process.js', import.meta.url), [], {
      // what this process was started with (loaders, inspectors) is not meant for the other
      execArgv: [],
      env: { ...process.env, NODE_OPTIONS: '' },
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    let outcome: LuaFileResult | ConfigError | undefined
    let timer: NodeJS.Timeout
    const settle = (result: LuaFileResult | ConfigError) => {
      clearTimeout(timer)
      outcome ??= result
      child.kill('SIGKILL')
    }
    const fail = (message: string, at = NOWHERE) => settle(failure(path, message, at, files))
    // The process keeps the time itself; this is for one that cannot even do that.
    const stopAfter = (milliseconds: number, message: string) => {
      clearTimeout(timer)
      timer = setTimeout(() => fail(message), milliseconds)
    }
    stopAfter(GRACE_MS, `Lua did not start within ${GRACE_MS / 1000} seconds`)

    child.on('message', (message: LuaMessage) => {
      if (outcome) return
      if (message.type === 'running') stopAfter(timeoutMs + GRACE_MS, 'it did not end and was stopped')
      else if (message.type === 'file') files.set(message.number, message.path)
      else if (message.type === 'print') print(message.line)
      else if (message.type === 'done') settle({ json: message.json, files })
      else fail(message.message, message)
    })
    // The caller hears of it once the process is gone: nothing of the file goes on behind its back.
    const finish = (fallback: string) => {
      clearTimeout(timer)
      outcome ??= failure(path, fallback, NOWHERE, files)
      if (outcome instanceof ConfigError) reject(outcome)
      else resolve(outcome)
    }
    child.on('exit', (code, signal) => finish(`it could not be run: Lua's process ended (${signal ?? code})`))
    child.on('error', (error) => finish(`it could not be run: ${error.message}`))
    child.send(job, (error) => error && fail(`it could not be run: ${error.message}`))
  })
}
