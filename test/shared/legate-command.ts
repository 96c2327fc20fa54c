/** Runs the built command `legate` as a process of its own, on a folder of its own. */

import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inTime } from './in-time.ts'
import { dyingWithUs } from './peers/process.ts'

/** The command's file. */
export const COMMAND = fileURLToPath(new URL('../../dist/server/cli/main.js', import.meta.url))

if (!existsSync(COMMAND)) throw new Error(`${COMMAND} is missing: run "npm run build"`)

/** Milliseconds after which a line that is waited for will not come, and a process not end. */
const PATIENCE_MS = 60_000

/** What a command left behind. */
export interface Outcome {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** Options for plain text logins on free ports of this machine, as Lua. */
export const ON_FREE_PORTS = `
interfaces = { "127.0.0.1" }
local_interfaces = { "127.0.0.1" }
c2s_ports = { 0 }
component_ports = { 0 }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
default_iteration_count = 4096
log = "*console"
modules_enabled = { "tls", "saslauth", "roster", "disco", "ping", "delegation" }
`

/** A folder with a configuration, and the commands that are run in it. */
export class LegateFolder {
  readonly path = realpathSync(mkdtempSync(join(tmpdir(), 'legate-cli-')))
  private readonly children = new Set<ChildProcess>()

  /** @param config - the text of prosody.cfg.lua */
  constructor(config?: string) {
    if (config !== undefined) this.configure(config)
  }

  configure(config: string): void {
    this.write('prosody.cfg.lua', config)
  }

  write(name: string, text: string): void {
    writeFileSync(this.file(name), text)
  }

  file(name: string): string {
    return join(this.path, name)
  }

  /** Runs a command to its end. @param input - its standard input, not a terminal */
  async run(words: readonly string[], input = ''): Promise<Outcome> {
    const child = this.spawn(words)
    const outcome = outcomeOf(child)
    child.stdin.on('error', () => {}) // it may end without reading
    child.stdin.end(input)
    return outcome
  }

  /** Starts the server and waits until it is ready. */
  async start(words: readonly string[] = []): Promise<RunningLegate> {
    const running = new RunningLegate(this.spawn(['start', ...words]))
    await running.logged(/ ready /)
    return running
  }

  /** Starts a command. */
  spawn(words: readonly string[]): ChildProcessWithoutNullStreams {
    const env = { ...process.env, NO_COLOR: '1' }
    const [program = '', ...args] = [...dyingWithUs(), process.execPath, COMMAND, ...words]
    const child = spawn(program, args, { cwd: this.path, env })
    this.children.add(child)
    child.once('exit', () => this.children.delete(child))
    return child
  }

  /** Ends what still runs and removes the folder. */
  async remove(): Promise<void> {
    const exits = [...this.children].map((child) => new Promise((resolve) => child.once('exit', resolve)))
    for (const child of this.children) child.kill('SIGKILL')
    await Promise.all(exits)
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** A server that runs, and its log on the console. */
export class RunningLegate {
  readonly child: ChildProcessWithoutNullStreams
  readonly outcome: Promise<Outcome>
  /** What it has written on standard output. */
  text = ''
  private readonly waiting = new Set<() => void>()

  constructor(child: ChildProcessWithoutNullStreams) {
    this.child = child
    this.outcome = outcomeOf(child)
    child.stdout.on('data', (chunk: Buffer) => {
      this.text += chunk
      for (const look of [...this.waiting]) look()
    })
  }

  get c2sPort(): number {
    const port = /listening for c2s connections.* port=(\d+)/.exec(this.text)?.[1]
    return Number(port)
  }

  /** Waits for a line of the log that fits, after those that were there at `from`. */
  logged(words: RegExp, from = 0): Promise<string> {
    const found = new Promise<string>((resolve, reject) => {
      const look = (): void => {
        const line = this.text
          .slice(from)
          .split('\n')
          .slice(0, -1)
          .find((text) => words.test(text))
        if (line === undefined) return
        this.waiting.delete(look)
        resolve(line)
      }
      this.waiting.add(look)
      look()
      this.outcome.then(({ stdout, stderr }) => reject(new Error(`it has ended: ${stdout}\n${stderr}`)))
    })
    return inTime(`the log has a line with ${words}`, found, PATIENCE_MS, () => this.text.slice(-4000))
  }

  /** Sends a signal and waits for a line of the log that comes after it. */
  signal(signal: NodeJS.Signals, words: RegExp): Promise<string> {
    const from = this.text.length
    this.child.kill(signal)
    return this.logged(words, from)
  }

  /** Sends SIGTERM and waits for the end. */
  stop(): Promise<Outcome> {
    this.child.kill('SIGTERM')
    return inTime('it ends after SIGTERM', this.outcome, PATIENCE_MS, () => this.text.slice(-4000))
  }
}

function outcomeOf(child: ChildProcessWithoutNullStreams): Promise<Outcome> {
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk
  })
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk
  })
  return new Promise((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}
