/** A logger that remembers the warnings and errors which pass through it, for people who look at a server. */

import type { Logger } from '../log.ts'
import type { LoggedProblem } from './answers.ts'

/** The last ones are kept. */
const MOST_KEPT = 10
/** Characters of one. */
const LONGEST = 300

/** What has gone wrong, as far as it was logged. */
export class LoggedProblems {
  warnings = 0
  errors = 0
  /** The last ones, the oldest first. */
  readonly last: LoggedProblem[] = []
  private readonly listeners = new Set<LoggedProblem[]>()

  /** The logger to use instead of another. */
  through(logger: Logger): Logger {
    return new RememberingLogger(this, logger, '')
  }

  /** Collects what is logged from now until the returned function is called, which gives it. */
  collect(): () => LoggedProblem[] {
    const collected: LoggedProblem[] = []
    this.listeners.add(collected)
    return () => {
      this.listeners.delete(collected)
      return collected
    }
  }

  add(level: LoggedProblem['level'], text: string): void {
    if (level === 'error') this.errors++
    else this.warnings++
    const problem = { time: Date.now(), level, text: text.slice(0, LONGEST) }
    // One that comes again and again must not push out the others.
    const again = this.last.findIndex((other) => other.level === level && other.text === problem.text)
    if (again !== -1) this.last.splice(again, 1)
    this.last.push(problem)
    if (this.last.length > MOST_KEPT) this.last.shift()
    for (const collected of this.listeners) if (collected.length < MOST_KEPT) collected.push(problem)
  }
}

class RememberingLogger implements Logger {
  readonly #problems: LoggedProblems
  readonly #inner: Logger
  readonly #host: string

  constructor(problems: LoggedProblems, inner: Logger, host: string) {
    this.#problems = problems
    this.#inner = inner
    this.#host = host
  }

  get debugEnabled(): boolean {
    return this.#inner.debugEnabled
  }

  debug(message: string, fields?: Record<string, unknown>): void {
    this.#inner.debug(message, fields)
  }

  info(message: string, fields?: Record<string, unknown>): void {
    this.#inner.info(message, fields)
  }

  warn(message: string, fields?: Record<string, unknown>): void {
    this.#problems.add('warn', this.#told(message, fields))
    this.#inner.warn(message, fields)
  }

  error(message: string, fields?: Record<string, unknown>): void {
    this.#problems.add('error', this.#told(message, fields))
    this.#inner.error(message, fields)
  }

  child(name: string, fields?: Record<string, unknown>): Logger {
    const host = typeof fields?.['host'] === 'string' ? fields['host'] : this.#host
    return new RememberingLogger(this.#problems, this.#inner.child(name, fields), host)
  }

  #told(message: string, fields: Record<string, unknown> | undefined): string {
    const host = typeof fields?.['host'] === 'string' ? fields['host'] : this.#host
    const error = fields?.['error']
    const place = host === '' || message.includes(host) ? '' : `${host}: `
    return `${place}${message}${error instanceof Error ? `: ${error.message}` : ''}`
  }
}
