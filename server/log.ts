// The log: structured records by pino, to the console or files, as text for people or as JSON.
import { resolve } from 'node:path'
import type { Writable } from 'node:stream'
import { pino } from 'pino'
import { LEVELS, type Level, readLogOption } from './log-option.ts'
import { ConsoleOutput, Dispatcher, FileOutput, type Sink } from './log-output.ts'

type Fields = Record<string, unknown>

export interface Logger {
  debug(message: string, fields?: Fields): void
  info(message: string, fields?: Fields): void
  warn(message: string, fields?: Fields): void
  /**
   * `fields.error` may be an Error: its message is logged, and its stack if debugging is on, if `fields.internal`
   * is true, or if it is of a kind that only a mistake in the code throws (TypeError, RangeError, …).
   */
  error(message: string, fields?: Fields): void
  /** A logger whose records have the name of a part of the server (`c2s`) and these fields. */
  child(name: string, fields?: Fields): Logger
  /** Whether debug records go anywhere: ask before making costly ones. */
  readonly debugEnabled: boolean
}

export interface LogSettings {
  /** Where relative file names begin, absolute. */
  directory: string
  /** The console; default `process.stdout`. */
  stdout?: Writable & { isTTY?: boolean }
  /** Whether the console has the level debug where the option is absent. */
  debug?: boolean
  /** `text` (default) for people, `json` for one JSON object a line. */
  format?: 'text' | 'json'
  /** The number of the worker that logs, where several processes write into one log. */
  worker?: number | undefined
}

export interface Log {
  logger: Logger
  /** Opens the files anew, after logrotate moved them (SIGHUP). */
  reopen(): void
  /** Resolves when all is written; what is logged later is dropped. */
  close(): Promise<void>
  /** What the `log` option asks for and does not get; the caller logs them as warnings. */
  problems: string[]
}

/** Longer strings are cut: a peer's stanza shall not fill the disk. In characters. */
const MAX_VALUE_LENGTH = 2000
/** Names that pino's records have themselves. */
const RESERVED = new Set(['level', 'time', 'pid', 'name', 'msg'])

/**
 * Makes the log of a server.
 *
 * @param option the `log` option, in any of Prosody's forms
 */
export function createLogger(option: unknown, settings: LogSettings): Log {
  const { rules, problems } = readLogOption(option, settings.debug)
  const console = new ConsoleOutput(settings.stdout ?? process.stdout)
  const files = new Map<string, FileOutput>()
  const sinks = rules.map((rule): Sink => {
    if (rule.filename === undefined) return { rule, output: console }
    const path = resolve(settings.directory, rule.filename)
    try {
      const file = files.get(path) ?? new FileOutput(path)
      files.set(path, file)
      return { rule, output: file }
    } catch (error) {
      problems.push(
        `log file ${path} can not be opened (${error instanceof Error ? error.message : error}): ` +
          'make its folder writable for the server, or change `log`; its levels go to the console',
      )
      return { rule, output: console }
    }
  })

  const dispatcher = new Dispatcher(sinks, settings.format ?? 'text')
  const lowest = LEVELS.find((level) => sinks.some(({ rule }) => rule.levels.has(level)))
  const root = pino(
    {
      level: lowest ?? 'silent',
      base: { pid: process.pid, ...(settings.worker !== undefined && { worker: settings.worker }) },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    dispatcher,
  )
  const logger = new PinoLogger(root, {})

  return {
    logger,
    problems,
    reopen() {
      for (const file of files.values()) {
        try {
          file.reopen()
        } catch (error) {
          logger.warn('log file can not be reopened, the old one stays in use', { file: file.path, error })
        }
      }
    },
    async close() {
      dispatcher.close()
      for (const file of files.values()) file.close()
      await console.close()
    },
  }
}

class PinoLogger implements Logger {
  readonly #root: pino.Logger
  /** Made with the first record: there is a logger for each session, and most have nothing to say. */
  #pino: pino.Logger | undefined
  readonly #bindings: Fields

  constructor(root: pino.Logger, bindings: Fields) {
    this.#root = root
    this.#bindings = bindings
  }

  get debugEnabled(): boolean {
    return this.#root.isLevelEnabled('debug')
  }

  debug(message: string, fields?: Fields): void {
    this.#write('debug', message, fields)
  }

  info(message: string, fields?: Fields): void {
    this.#write('info', message, fields)
  }

  warn(message: string, fields?: Fields): void {
    this.#write('warn', message, fields)
  }

  error(message: string, fields?: Fields): void {
    this.#write('error', message, fields)
  }

  child(name: string, fields?: Fields): Logger {
    const bindings = { ...this.#bindings, ...prepareFields(fields ?? {}, false), name }
    return new PinoLogger(this.#root, bindings)
  }

  #write(level: Level, message: string, fields: Fields | undefined): void {
    if (!this.#root.isLevelEnabled(level)) return
    // From the root each time: pino appends bindings, and a name given twice would stand twice in the record
    this.#pino ??= this.#root.child(this.#bindings)
    if (fields === undefined) this.#pino[level](cut(message))
    else this.#pino[level](prepareFields(fields, this.debugEnabled, this.#bindings), cut(message))
  }
}

function prepareFields(fields: Fields, stacks: boolean, bound?: Fields): Fields {
  const prepared: Fields = {}
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined || (bound !== undefined && Object.is(bound[key], value))) continue
    // A key may stand in a record once
    const name = RESERVED.has(key) || (bound !== undefined && key in bound) ? `field_${key}` : key
    if (value instanceof Error) {
      prepared[name] = cut(describe(value))
      const stack = stacks || fields['internal'] === true || isMistake(value) ? framesOf(value) : ''
      if (stack !== '') prepared['stack'] = cut(stack)
    } else if (typeof value === 'string') prepared[name] = cut(value)
    else if (typeof value === 'bigint') prepared[name] = String(value)
    else prepared[name] = value
  }
  return prepared
}

function cut(text: string): string {
  if (text.length <= MAX_VALUE_LENGTH) return text
  return `${text.slice(0, MAX_VALUE_LENGTH)}… (${text.length - MAX_VALUE_LENGTH} more)`
}

/** The message, after the kind of error where that says something, and with its causes. */
function describe(error: Error): string {
  let text = isMistake(error) ? `${error.name}: ${error.message}` : error.message || error.name
  let cause = error.cause
  for (let depth = 0; cause instanceof Error && depth < 3; depth++) {
    text += ` (caused by: ${cause.message || cause.name})`
    cause = cause.cause
  }
  return text
}

/** Errors that the language throws, not a check: those that Node throws on purpose have a code. */
function isMistake(error: Error): boolean {
  if ('code' in error) return false
  return error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError
}

/** The stack without its first lines, which repeat the message. */
function framesOf(error: Error): string {
  const lines = (error.stack ?? '').split('\n')
  return lines.filter((line) => /^\s+at /.test(line)).join('\n')
}

/** A logger that drops everything. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
  debugEnabled: false,
}
