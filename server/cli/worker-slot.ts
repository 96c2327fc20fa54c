// One of the workers that a supervisor watches over: a process, and after its death another.

import cluster, { type Worker } from 'node:cluster'
import { fileURLToPath } from 'node:url'
import { AdminError, type AdminRequest } from '../admin/protocol.ts'
import type { Logger } from '../log.ts'
import { CommandError } from './failure.ts'
import { RestartPause } from './restart-pause.ts'
import { type FromWorker, isWorkerMessage, type ToWorker, type WorkerAnswer } from './worker-messages.ts'

/** Milliseconds for an orderly end. The worker itself gives up earlier. */
const STOP_DEADLINE = 20_000

/** The command as it is built. */
const COMMAND = fileURLToPath(new URL('./main.js', import.meta.url))

/** `waiting`: it has died, and is started again after a pause. */
export type SlotState = 'starting' | 'ready' | 'waiting' | 'stopping' | 'stopped'

/** What a supervisor does for its workers. */
export interface SlotHost {
  readonly log: Logger
  /** Of the configuration, absolute. */
  readonly configPath: string
  /** A process of another machine wants the configuration to be read again. */
  reload(): void
}

/** A question to a worker whose answer has not come. */
interface Question {
  settle(answer: WorkerAnswer): void
  fail(why: WorkerSilent): void
}

/** It can not be asked now, or has not answered: another may. */
export class WorkerSilent extends Error {
  override readonly name = 'WorkerSilent'
}

export class WorkerSlot {
  readonly number: number
  state: SlotState = 'starting'
  /** Deaths that nobody has asked for. */
  deaths = 0
  /** The process's word in the cluster. */
  tag = ''
  /** How many hosts it serves. */
  hosts = 0
  private readonly host: SlotHost
  private readonly pause = new RestartPause()
  private readonly questions = new Map<number, Question>()
  private questionCount = 0
  private worker: Worker | undefined
  private listens = false
  private retired = false
  private startedAt = 0
  /** Why it could not start, as it has told. */
  private failure: string | undefined
  private restart: NodeJS.Timeout | undefined
  private settleStart: { resolve: () => void; reject: (error: Error) => void } | undefined
  private ended: () => void = () => {}

  constructor(number: number, host: SlotHost) {
    this.number = number
    this.host = host
  }

  get pid(): number | undefined {
    return this.worker?.process.pid
  }

  /** Starts it for the first time. @throws CommandError (as a rejection) with what keeps it from starting */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.settleStart = { resolve, reject }
      this.fork()
    })
  }

  /** After its next death, or now if it is dead, it is not started again. */
  retire(): void {
    this.retired = true
    clearTimeout(this.restart)
    if (this.state === 'waiting') this.state = 'stopped'
  }

  /** Ends it in order, or by force when that takes too long. Resolves when it is gone. */
  stop(): Promise<void> {
    this.retire()
    const { worker } = this
    this.state = worker === undefined ? 'stopped' : 'stopping'
    if (worker === undefined) return Promise.resolve()
    return new Promise((resolve) => {
      const late = setTimeout(() => {
        this.log('error', 'a worker does not end in time, and is ended')
        this.kill()
      }, STOP_DEADLINE)
      this.ended = () => {
        clearTimeout(late)
        resolve()
      }
      // One that does not listen yet is told when it does.
      if (this.listens) this.send({ legate: 'stop' })
    })
  }

  /** Ends it at once. */
  kill(): void {
    this.worker?.process.kill('SIGKILL')
  }

  /**
   * Asks it something.
   *
   * @param milliseconds - for the answer
   * @throws WorkerSilent (as a rejection) if it gives none, AdminError if it refuses, or Error if it fails
   */
  async ask(request: AdminRequest, milliseconds: number): Promise<unknown> {
    if (this.state !== 'ready') throw new WorkerSilent(`worker ${this.number} does not run`)
    const id = ++this.questionCount
    const answer = await new Promise<WorkerAnswer>((resolve, reject) => {
      const end = (): void => {
        clearTimeout(late)
        this.questions.delete(id)
      }
      const question: Question = {
        settle: (given) => {
          end()
          resolve(given)
        },
        fail: (why) => {
          end()
          reject(why)
        },
      }
      const late = setTimeout(() => {
        question.fail(
          new WorkerSilent(`worker ${this.number} gives no answer within ${milliseconds / 1000} s`),
        )
      }, milliseconds)
      this.questions.set(id, question)
      this.send({ legate: 'ask', id, request })
    })
    if (answer.ok) return answer.result
    if (answer.internal === true) throw new Error(answer.error)
    throw new AdminError(answer.error ?? 'the server refuses, and does not say why')
  }

  private fork(): void {
    this.state = 'starting'
    this.startedAt = performance.now()
    this.failure = undefined
    this.listens = false
    cluster.setupPrimary({
      exec: COMMAND,
      args: ['start', '--config', this.host.configPath, '--worker', String(this.number)],
    })
    const worker = cluster.fork()
    this.worker = worker
    // Without its process there is nobody to send to, which "exit" says.
    worker.on('error', (error) => this.log('debug', 'a message to a worker is lost', { error }))
    worker.on('message', (message: unknown) => {
      if (isWorkerMessage(message)) this.heard(message as FromWorker)
    })
    worker.once('exit', (code: number | null, signal: string | null) => this.gone(code, signal))
  }

  private send(message: ToWorker): void {
    if (this.worker?.isConnected() === true) this.worker.send(message)
  }

  private heard(message: FromWorker): void {
    switch (message.legate) {
      case 'here':
        this.listens = true
        if (this.state === 'stopping') this.send({ legate: 'stop' })
        break
      case 'ready':
        if (this.state === 'starting') this.state = 'ready'
        this.tag = message.tag
        this.hosts = message.hosts
        this.log('info', 'a worker has started', { process: this.pid })
        this.settleStart?.resolve()
        this.settleStart = undefined
        break
      case 'failed':
        this.failure = message.message
        break
      case 'answer':
        this.questions.get(message.id)?.settle(message)
        break
      case 'reload':
        this.host.reload()
    }
  }

  private gone(code: number | null, signal: string | null): void {
    const process = this.pid
    this.worker = undefined
    for (const question of [...this.questions.values()]) {
      question.fail(new WorkerSilent(`worker ${this.number} has ended meanwhile`))
    }
    const cause = { process, ...(signal === null ? { code } : { signal }), reason: this.failure }
    if (this.retired) {
      if (this.state !== 'stopping') this.log('error', 'a worker has died', cause)
      this.state = 'stopped'
      this.settleStart?.reject(new Error('the server is ending'))
      this.ended()
      return
    }
    if (this.settleStart !== undefined) {
      this.state = 'stopped'
      this.settleStart.reject(new CommandError(this.failureText(code, signal)))
      return
    }
    this.deaths++
    const pause = this.pause.next(performance.now() - this.startedAt)
    this.state = 'waiting'
    this.log('error', 'a worker has died; it is started again', { ...cause, seconds: pause / 1000 })
    this.restart = setTimeout(() => this.fork(), pause)
  }

  private failureText(code: number | null, signal: string | null): string {
    if (this.failure !== undefined) return this.failure.replace(/^legate: /, '')
    return `worker ${this.number} has ended while it started (${signal ?? `exit code ${code}`})`
  }

  private log(level: 'debug' | 'info' | 'error', text: string, fields: Record<string, unknown> = {}): void {
    this.host.log[level](text, { worker: this.number, ...fields })
  }
}
