// The process above the workers of `legate start --workers`: it runs no server, and keeps those that do running.

import cluster from 'node:cluster'
import { type ReloadOutcome, reloadSchema, type SupervisorStatus, toldSchema } from '../admin/answers.ts'
import type { AdminCommands } from '../admin/commands.ts'
import type { LoggedProblems } from '../admin/problem-log.ts'
import { AdminError, type AdminRequest } from '../admin/protocol.ts'
import type { Config } from '../config/index.ts'
import type { Log } from '../log.ts'
import { EXIT } from './failure.ts'
import { closeLog, type Reread, reloadFailed, tellProblems } from './server-process.ts'
import { reread, tellReady } from './starting.ts'
import { refuseWorkers } from './worker-config.ts'
import { type WorkerOutcome, workersOutcome } from './worker-reloads.ts'
import { WorkerSilent, WorkerSlot } from './worker-slot.ts'

/** Milliseconds that a worker has to answer before another is asked. */
const ANSWER_MS = 4000
/** Milliseconds that a worker has for reading its configuration again. */
const RELOAD_MS = 110_000

export class Supervisor {
  private readonly config: Config
  private readonly log: Log
  private readonly logged: LoggedProblems
  private readonly slots: readonly WorkerSlot[]
  private state: 'starting' | 'ready' | 'ending' = 'starting'
  private ended!: (code: number) => void
  private readonly ending = new Promise<number>((resolve) => {
    this.ended = resolve
  })
  private becomeReady!: () => void
  private readonly ready = new Promise<void>((resolve) => {
    this.becomeReady = resolve
  })
  /** The reload that runs, and the one that comes after it. */
  private reloading: Promise<unknown> = this.ready
  private nextReload: Promise<ReloadOutcome> | undefined

  constructor(config: Config, workers: number, log: Log, logged: LoggedProblems) {
    this.config = config
    this.log = log
    this.logged = logged
    const host = { log: log.logger, configPath: config.path!, reload: () => this.hangUp() }
    this.slots = Array.from({ length: workers }, (_, index) => new WorkerSlot(index + 1, host))
  }

  /** Takes signals and crashes from now on. */
  watch(): void {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => this.interrupted(signal))
    process.on('SIGHUP', () => this.hangUp())
    process.on('uncaughtException', (error, origin) => {
      this.log.logger.error('a failure that nobody took care of; the server ends', {
        error: error instanceof Error ? error : new Error(String(error)),
        origin,
        internal: true,
      })
      void this.end(EXIT.failed)
    })
  }

  /** Starts the workers, and keeps them running. @returns the exit code. @throws what keeps them from starting */
  async run(): Promise<number> {
    // Each connection goes to the next worker. They stay for hours: whoever happens to be awake would, as with
    // SCHED_NONE, end with most of them. A worker that hangs is handed one, and no more until it has taken that.
    cluster.schedulingPolicy = cluster.SCHED_RR
    try {
      await Promise.race([this.startWorkers(), this.ending])
    } catch (error) {
      if (this.isEnding()) return this.ending
      this.state = 'ending'
      for (const slot of this.slots) slot.retire()
      await Promise.all(this.slots.map((slot) => slot.stop()))
      throw error
    }
    if (this.isEnding()) return this.ending
    this.state = 'ready'
    tellReady(this.config, this.log, this.slots[0]!.hosts, { workers: this.slots.length })
    this.becomeReady()
    return this.ending
  }

  /** What can be asked over the admin channel. */
  get commands(): AdminCommands {
    return {
      status: async (request) => ({
        ...((await this.askOne(request)) as object),
        supervisor: this.status(),
      }),
      delegations: (request) => this.askOne(request),
      'end-sessions': (request) => this.askOne(request),
      reload: () => this.reload(true),
    }
  }

  closeLog(): Promise<void> {
    return closeLog(this.log)
  }

  /** Reopens the log and lets all workers read the configuration again: at SIGHUP. */
  hangUp(): void {
    this.reload(false).catch(() => {}) // it ends
  }

  private isEnding(): boolean {
    return this.state === 'ending'
  }

  private async startWorkers(): Promise<void> {
    const [first, ...others] = this.slots
    // What keeps it from starting would keep all; and it makes the files that are missing.
    await first!.start()
    if (!this.isEnding()) await Promise.all(others.map((slot) => slot.start()))
  }

  private interrupted(signal: string): void {
    const { logger } = this.log
    if (this.isEnding()) {
      logger.warn('ending at once', { signal })
      for (const slot of this.slots) slot.kill()
      process.exit(EXIT.failed)
    }
    logger.info('stopping', { signal })
    void this.end(EXIT.ok)
  }

  /** One worker after another, so that the others serve meanwhile. */
  private async end(code: number): Promise<void> {
    if (this.isEnding()) return
    this.state = 'ending'
    for (const slot of this.slots) slot.retire()
    for (const slot of this.slots) await slot.stop()
    this.log.logger.info('stopped')
    await closeLog(this.log)
    this.ended(code)
  }

  /** Asks a worker for what any of them knows of all. @throws AdminError if none answers, or it refuses */
  private async askOne(request: AdminRequest): Promise<unknown> {
    if (this.state === 'starting') throw new AdminError('the server is starting')
    let silent: WorkerSilent | undefined
    for (const slot of this.slots) {
      try {
        return await slot.ask(request, ANSWER_MS)
      } catch (error) {
        if (!(error instanceof WorkerSilent)) throw error
        // That it does not answer says more than that it is not there.
        if (silent === undefined || slot.state === 'ready') silent = error
      }
    }
    throw new AdminError(`none of the server's ${this.slots.length} workers answers: ${silent?.message}`)
  }

  private status(): SupervisorStatus {
    const { warnings, errors, last } = this.logged
    return {
      process: process.pid,
      state: this.state,
      startedAt: Math.round(performance.timeOrigin),
      workers: this.slots.map(({ number, pid, state, deaths }) => ({ number, process: pid, state, deaths })),
      log: { warnings, errors, last, setup: this.log.problems },
    }
  }

  /** @param everywhere - processes of other machines are told, too. @throws AdminError if the server ends meanwhile */
  private reload(everywhere: boolean): Promise<ReloadOutcome> {
    if (this.isEnding()) return Promise.reject(new AdminError('the server is ending'))
    this.log.reopen()
    if (this.nextReload === undefined) {
      this.nextReload = this.reloading.then(() => {
        this.nextReload = undefined
        return this.reloadNow()
      })
      this.reloading = this.nextReload.catch(() => {})
    }
    const reloaded = this.nextReload
    return everywhere ? reloaded.then((outcome) => this.tellOthers(outcome)) : reloaded
  }

  private async reloadNow(): Promise<ReloadOutcome> {
    if (this.isEnding()) throw new AdminError('the server is ending')
    const { logger } = this.log
    logger.info('reading the configuration again')
    const { path } = this.config
    let read: Reread
    try {
      read = await reread(path!)
      refuseWorkers(read.config, this.slots.length)
    } catch (error) {
      const problems = reloadFailed(error, logger)
      return { taken: false, config: path, hosts: this.slots[0]!.hosts, problems, nextStart: [], logged: [] }
    }
    tellProblems(read.problems, logger)
    const asked = this.slots.map(async (slot): Promise<WorkerOutcome> => {
      try {
        const outcome = reloadSchema.parse(await slot.ask({ legate: 1, command: 'reload-worker' }, RELOAD_MS))
        slot.hosts = outcome.hosts
        return { worker: slot.number, outcome }
      } catch (error) {
        // One that is started later reads it then.
        if (this.isEnding() || slot.state === 'waiting' || slot.state === 'starting')
          return { worker: slot.number }
        logger.error('a worker has not read its configuration again', { worker: slot.number, error })
        return { worker: slot.number, failure: (error as Error).message }
      }
    })
    const outcome = workersOutcome(path, read.problems, await Promise.all(asked))
    const { taken, hosts, nextStart } = outcome
    if (nextStart.length > 0) {
      logger.warn(`changed, but only read at the next start: ${nextStart.join(', ')}`)
    }
    if (taken) logger.info('configuration reloaded', { hosts })
    return outcome
  }

  private async tellOthers(outcome: ReloadOutcome): Promise<ReloadOutcome> {
    if (!outcome.taken) return outcome
    const own = this.slots.map(({ tag }) => tag)
    try {
      const told = await this.askOne({ legate: 1, command: 'tell-reload', own })
      return { ...outcome, ...toldSchema.parse(told) }
    } catch (error) {
      this.log.logger.error('processes of other machines are not told to read their configurations', {
        error,
      })
      return outcome
    }
  }
}
