// The process around a server: signals, reloads, crashes and the end.

import type { ReloadOutcome } from '../admin/answers.ts'
import type { ServerProcessView } from '../admin/commands.ts'
import type { LoggedProblems } from '../admin/problem-log.ts'
import { AdminError } from '../admin/protocol.ts'
import type { ProcessStatus } from '../admin/status.ts'
import { type Config, ConfigError, type ConfigProblem } from '../config/index.ts'
import type { Log, Logger } from '../log.ts'
import type { Server } from '../server.ts'
import { CommandError, ConfigRefused, EXIT } from './failure.ts'
import { placed } from './findings.ts'

/** Milliseconds for an orderly end; then it is an end all the same. */
const END_DEADLINE = 15_000
/** Milliseconds in which the last lines of the log must be taken by whoever reads them. */
const LOG_DEADLINE = 1000

/** Options that are read once; a reload says so if they have changed. */
const READ_ONCE = [
  'log',
  'log_format',
  'debug',
  'pidfile',
  'data_path',
  'storage',
  'default_storage',
  'interfaces',
  'local_interfaces',
  'c2s_ports',
  'c2s_interfaces',
  'component_ports',
  'component_interfaces',
  'cluster',
  'cluster_lease',
] as const

/** A configuration that was read again, and what there is to tell about it. */
export interface Reread {
  readonly config: Config
  readonly problems: readonly ConfigProblem[]
}

/** Runs a server and ends with it. */
export class ServerProcess implements ServerProcessView {
  readonly server: Server
  private readonly log: Log
  private readonly logged: LoggedProblems
  private readonly reread: () => Promise<Reread>
  private ended!: (code: number) => void
  private readonly ending = new Promise<number>((resolve) => {
    this.ended = resolve
  })
  private state: 'starting' | 'ready' | 'ending' = 'starting'
  private becomeReady!: () => void
  private readonly ready = new Promise<void>((resolve) => {
    this.becomeReady = resolve
  })
  /** The reload that runs, and the one that comes after it. */
  private reloading: Promise<unknown> = this.ready
  private nextReload: Promise<ReloadOutcome> | undefined
  private configuredAt = Date.now()

  /**
   * @param logged - what went wrong so far
   * @param reread - gives the configuration as it is now, for a reload
   */
  constructor(server: Server, log: Log, logged: LoggedProblems, reread: () => Promise<Reread>) {
    this.server = server
    this.log = log
    this.logged = logged
    this.reread = reread
  }

  status(): ProcessStatus {
    const { warnings, errors, last } = this.logged
    return {
      state: this.state,
      configuredAt: this.configuredAt,
      log: { warnings, errors, last, setup: this.log.problems },
    }
  }

  /** Takes signals and crashes from now on. */
  watch(): void {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => this.interrupted(signal))
    process.on('SIGHUP', () => this.hangUp())
    this.watchCrashes()
  }

  /** Takes crashes alone: for a worker, whom its supervisor tells what to do. */
  watchCrashes(): void {
    process.on('uncaughtException', (error, origin) => this.crashed(error, origin))
  }

  /** Ends the server in order, if it does not end already. @param code - for the process to exit with */
  stop(code: number, why: Record<string, unknown>): void {
    if (this.isEnding()) return
    this.log.logger.info('stopping', why)
    void this.end(code)
  }

  /**
   * Starts the server and waits for its end.
   *
   * @param started - called when all ports are open
   * @returns the exit code
   * @throws what keeps it from starting
   */
  async run(started: () => void): Promise<number> {
    try {
      // A signal also ends a start that does not come to its end.
      await Promise.race([this.server.start(), this.ending])
    } catch (error) {
      // A signal came while it started: it has stopped as it was told.
      if (this.isEnding()) return this.ending
      throw error instanceof CommandError || error instanceof ConfigError ? error : startFailure(error)
    }
    if (this.isEnding()) return this.ending
    this.state = 'ready'
    started()
    this.becomeReady()
    return this.ending
  }

  private isEnding(): boolean {
    return this.state === 'ending'
  }

  private interrupted(signal: string): void {
    if (this.isEnding()) {
      this.log.logger.warn('ending at once', { signal })
      process.exit(EXIT.failed)
    }
    this.stop(EXIT.ok, { signal })
  }

  /** Something has failed that nobody expected: what the server would do from here on, nobody knows. */
  private crashed(error: unknown, origin: string): void {
    const failure = error instanceof Error ? error : new Error(String(error))
    this.log.logger.error('a failure that nobody took care of; the server ends', {
      error: failure,
      origin,
      internal: true,
    })
    if (!this.isEnding()) void this.end(EXIT.failed)
  }

  private async end(code: number): Promise<void> {
    this.state = 'ending'
    let result = code
    const late = setTimeout(() => {
      this.log.logger.error('the server does not end in time and is left as it is')
      process.exit(EXIT.failed)
    }, END_DEADLINE)
    try {
      await this.server.stop()
      this.log.logger.info('stopped')
    } catch (error) {
      this.log.logger.error('the server did not end properly', { error, internal: true })
      result = EXIT.failed
    }
    clearTimeout(late)
    await this.closeLog()
    this.ended(result)
  }

  closeLog(): Promise<void> {
    return closeLog(this.log)
  }

  /** Reopens the log and reads the configuration again: at SIGHUP, or when one came before `watch`. */
  hangUp(): void {
    this.reload().catch(() => {}) // it ends
  }

  /**
   * Reopens the log and reads the configuration again, as soon as the server has started. What is asked for while
   * it is being read is one more reload after this one.
   *
   * @throws AdminError if the server ends meanwhile
   */
  async reload(): Promise<ReloadOutcome> {
    this.refuseAtEnd()
    this.log.reopen()
    if (this.nextReload === undefined) {
      this.nextReload = this.reloading.then(() => {
        this.nextReload = undefined
        return this.reloadNow()
      })
      this.reloading = this.nextReload.catch(() => {})
    }
    return this.nextReload
  }

  private refuseAtEnd(): void {
    if (this.isEnding()) throw new AdminError('the server is ending')
  }

  private async reloadNow(): Promise<ReloadOutcome> {
    this.refuseAtEnd()
    const { logger } = this.log
    logger.info('reading the configuration again')
    const outcome = {
      config: this.server.config.path,
      hosts: this.server.hosts.size,
      nextStart: [],
      logged: [],
    }
    let read: Reread
    try {
      read = await this.reread()
    } catch (error) {
      return { ...outcome, taken: false, problems: reloadFailed(error, logger) }
    }
    this.refuseAtEnd()
    const { config, problems } = read
    const before = this.server.config
    const nextStart = READ_ONCE.filter((option) => differs(before.get('*', option), config.get('*', option)))
    if (nextStart.length > 0) {
      logger.warn(`changed, but only read at the next start: ${nextStart.join(', ')}`)
    }
    const logged = this.logged.collect()
    try {
      await this.server.reload(config)
    } catch (error) {
      return { ...outcome, taken: false, problems: reloadFailed(error, logger), logged: logged() }
    }
    this.configuredAt = Date.now()
    const hosts = this.server.hosts.size
    logger.info('configuration reloaded', { hosts })
    return { ...outcome, taken: true, hosts, problems: [...problems], nextStart, logged: logged() }
  }
}

/** Logs why a configuration is not taken. @returns the same, for who has asked for it */
export function reloadFailed(error: unknown, logger: Logger): ConfigProblem[] {
  const known = error instanceof ConfigError || error instanceof ConfigRefused
  if (known) tellProblems(error.problems, logger)
  else logger.error('the configuration could not be read again', { error, internal: true })
  logger.error('the configuration has mistakes: the server goes on with the old one')
  if (known) return [...error.problems]
  const message = `the configuration could not be read again: ${error instanceof Error ? error.message : error}`
  return [{ severity: 'error', message }]
}

/** Waits until the log is written, or nobody takes it. */
export async function closeLog(log: Log): Promise<void> {
  let late: NodeJS.Timeout | undefined
  const deadline = new Promise<void>((resolve) => {
    late = setTimeout(resolve, LOG_DEADLINE)
  })
  await Promise.race([log.close(), deadline])
  clearTimeout(late)
}

/** Logs what there is to tell about a configuration. */
export function tellProblems(problems: readonly ConfigProblem[], log: Logger): void {
  for (const problem of problems) {
    if (problem.severity === 'error') log.error(placed(problem))
    else log.warn(placed(problem))
  }
}

function differs(one: unknown, two: unknown): boolean {
  return JSON.stringify(one) !== JSON.stringify(two)
}

/** Failures to listen and to read certificates are told in a sentence; only a mistake of ours needs its stack. */
function startFailure(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof TypeError || error instanceof RangeError) return error
  if (error instanceof ReferenceError) return error
  return new CommandError(error.message)
}
