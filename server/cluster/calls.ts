/** Calls by name from one process to others: the plugins' part of being one server. */

import type { Logger } from '../log.ts'
import type { Bus, Member } from './bus.ts'
import { encodeAnswer, encodeCall } from './wire.ts'

/** Works on a call; what it returns, or what its promise gives, is the answer to who has asked. */
export type CallHandler = (data: unknown, from: Member) => unknown

/** Nobody has to serve it: that it is answered is all. */
const HEARD = 'cluster/heard'

interface Question {
  readonly missing: Set<string>
  readonly answers: Map<string, unknown>
  settle(): void
}

export class Calls {
  private readonly bus: Bus
  private readonly log: Logger
  private readonly handlers = new Map<string, CallHandler>()
  private readonly open = new Map<string, Question>()
  private readonly leftListeners = new Set<(member: Member) => void>()
  private count = 0

  constructor(bus: Bus, log: Logger) {
    this.bus = bus
    this.log = log
  }

  /** @returns a function that takes the handler away */
  on(name: string, handler: CallHandler): () => void {
    this.handlers.set(name, handler)
    return () => {
      if (this.handlers.get(name) === handler) this.handlers.delete(name)
    }
  }

  /**
   * Tells of each process that is gone, when what it held is no longer there.
   *
   * @returns a function that ends it
   */
  onLeft(listener: (member: Member) => void): () => void {
    this.leftListeners.add(listener)
    return () => {
      this.leftListeners.delete(listener)
    }
  }

  /** Tells some other processes, in order with the stanzas for them. */
  tell(members: Iterable<string>, name: string, data: unknown): void {
    const text = encodeCall(name, '', data)
    for (const id of members) if (id !== this.bus.self.id) this.bus.send(id, text)
  }

  /** Tells all other processes. */
  tellAll(name: string, data: unknown): void {
    this.tell(this.bus.members.keys(), name, data)
  }

  /**
   * Asks some other processes.
   *
   * @param milliseconds - to wait at most; infinite if only the end of a process ends it
   * @returns what they have answered, by member; who has died, or took too long, is missing
   */
  ask(
    members: Iterable<string>,
    name: string,
    data: unknown,
    milliseconds: number,
  ): Promise<ReadonlyMap<string, unknown>> {
    const missing = new Set([...members].filter((id) => id !== this.bus.self.id && this.bus.members.has(id)))
    const answers = new Map<string, unknown>()
    if (missing.size === 0) return Promise.resolve(answers)
    const id = `${++this.count}`
    return new Promise((resolve) => {
      const timer =
        milliseconds < Number.POSITIVE_INFINITY ? setTimeout(() => settle(), milliseconds) : undefined
      const settle = () => {
        clearTimeout(timer)
        this.open.delete(id)
        resolve(answers)
      }
      this.open.set(id, { missing, answers, settle })
      const text = encodeCall(name, id, data)
      for (const member of [...missing]) {
        this.bus.send(member, text, { lost: () => this.without(member) })
      }
    })
  }

  /** Asks all other processes, as {@link ask}. */
  askAll(name: string, data: unknown, milliseconds: number): Promise<ReadonlyMap<string, unknown>> {
    return this.ask(this.bus.members.keys(), name, data, milliseconds)
  }

  /** Waits until all other processes have heard what this one has published so far. @param milliseconds - at most */
  async heard(milliseconds: number): Promise<void> {
    await this.askAll(HEARD, null, milliseconds)
  }

  // What other processes send.

  async called(from: Member, name: string, question: string, data: unknown): Promise<void> {
    let answer: unknown
    try {
      // Another version of the program may know calls that this one does not.
      answer = await this.handlers.get(name)?.(data, from)
    } catch (error) {
      this.log.error('a call of another process failed', { call: name, error })
    }
    if (question !== '' && this.bus.members.has(from.id)) {
      this.bus.send(from.id, encodeAnswer(`${question} ${this.bus.self.id}`, answer))
    }
  }

  answered(question: string, data: unknown): void {
    const [id = '', member = ''] = question.split(' ')
    const open = this.open.get(id)
    if (open === undefined || !open.missing.delete(member)) return
    open.answers.set(member, data)
    if (open.missing.size === 0) open.settle()
  }

  left(member: Member): void {
    this.without(member.id)
    for (const listener of [...this.leftListeners]) {
      try {
        listener(member)
      } catch (error) {
        this.log.error('the end of another process could not be worked on', { error, internal: true })
      }
    }
  }

  private without(member: string): void {
    for (const open of [...this.open.values()]) {
      if (open.missing.delete(member) && open.missing.size === 0) open.settle()
    }
  }
}
