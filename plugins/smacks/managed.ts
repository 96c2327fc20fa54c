/** The stream management of one session: counters, acknowledgements, and waiting for another connection (XEP-0198). */

import {
  Connection,
  detached,
  isStanzaText,
  Outlet,
  type Receipt,
  StreamError,
  type StreamSession,
  type Timeout,
  withDelay,
  writeElement,
} from '../../server/index.ts'
import type { Answered } from './others.ts'
import { AckQueue, type EndOfSpare, type Unacked } from './queue.ts'

/** So many times as many as a session may leave unacknowledged may be on their way to it. */
const BURST = 10
/** Characters that may be on their way to it: less than a connection may leave unread, so that all can be sent again. */
const BURST_SIZE = 1 << 23
/** Characters that are kept for it. */
const MOST_SIZE = 1 << 22
/** Questions of the client's that may wait for their answers. */
const MOST_QUESTIONS = 64

/** What a managed stream asks of the plugin. */
export interface Management {
  /** Stanzas that may be unacknowledged before an acknowledgement is asked for. */
  mostUnasked(session: StreamSession): number
  /** Stanzas that are kept for a session. */
  readonly queueSize: number
  /** Makes room for one more of the account that waits. @returns whether there is any */
  makeRoom(stream: ManagedStream): boolean
  hibernates(stream: ManagedStream): void
  queued(stream: ManagedStream, text: string): void
  /** Has somebody keep what waits, for the case that this process dies. @returns what ends that */
  keepSpare(stream: ManagedStream, text: string, when: number): EndOfSpare | undefined
  ended(stream: ManagedStream): void
}

/** How a stream may be resumed. */
export interface Resumption {
  readonly id: string
  /** Seconds for which a lost connection is waited for. */
  readonly seconds: number
}

export class ManagedStream extends Outlet {
  readonly place = 0
  readonly queue: AckQueue
  xmlns: string
  readonly resumption: Resumption | undefined
  /** When an acknowledgement was asked for, in milliseconds since 1970; undefined if none is awaited. */
  asked: number | undefined
  /** Whether it has been told of that this takes long. */
  late = false
  /** When its connection was lost, in milliseconds since 1970; undefined while it has one. */
  hibernating: number | undefined
  /** At its end: what was not acknowledged, and whether others answer for it. */
  left: { readonly unacked: readonly Unacked[]; readonly answered: Answered | Promise<Answered> } | undefined
  /** Ends it. */
  timer: Timeout | undefined
  /** Whether its connection was let go for another one that is about to come: as much may wait as with one. */
  private expecting = false
  private readonly management: Management
  /** What the session had received when counting began. */
  private base: number
  /** How many stanzas the client has been told to be handled. */
  private told: number
  /** What was sent when an acknowledgement was asked for last. */
  private askedFor = -1
  /** Questions of the client's that wait for their answers. */
  private questions = 0

  constructor(
    session: StreamSession,
    xmlns: string,
    resumption: Resumption | undefined,
    management: Management,
    { handled = 0, acked = 0 } = {},
  ) {
    super(session)
    this.xmlns = xmlns
    this.resumption = resumption
    this.management = management
    this.base = session.received - handled
    this.told = handled
    this.queue = new AckQueue(acked)
  }

  /** How many stanzas of the client's have been handled. */
  get handled(): number {
    return (this.session.received - this.base) >>> 0
  }

  /** The same without what could still be lost with this process. */
  get certain(): number {
    const { session, told, handled } = this
    if (session.finished(true) !== undefined) return told
    // A handler is still at work on what has come last: nobody knows whether it will get as far as to write it.
    return session.working && handled !== told ? (handled - 1) >>> 0 : handled
  }

  /** Waits until all that has come is certain, for one that resumes; undefined if it is. To be asked again then. */
  certainty(): Promise<void> | undefined {
    const { session } = this
    const isCertain = session.finished(true) === undefined && !session.working
    if (isCertain) return undefined
    // Over a connection that is thought alive more could come, and a handler could wait for that it drains.
    session.leaveConnection()
    // That may have been its end.
    if (session.destroyed) return Promise.resolve()
    return session.finished(true) ?? session.released()
  }

  /** Who was about to resume it is gone. */
  waits(): void {
    if (!this.expecting || this.hibernating === undefined) return
    this.expecting = false
    if (this.tooMuch) this.giveUp()
    else this.management.makeRoom(this)
  }

  override get acknowledges(): number {
    return this.management.queueSize
  }

  write(text: string, receipt?: Receipt): void {
    if (!isStanzaText(text)) {
      if (this.hibernating === undefined) this.pass(text)
      return
    }
    const { queue, management } = this
    const now = Date.now()
    if (this.hibernating !== undefined) {
      const kept = detached(withDelay(text, this.session.host!.name, now))
      queue.push(kept, now, receipt)
      if (this.expecting ? this.farTooMuch : this.tooMuch) {
        this.giveUp()
        return
      }
      this.keepSpares(queue.length - 1)
      management.queued(this, kept)
      return
    }
    queue.push(text, now, receipt)
    this.pass(text)
    this.askIfNeeded()
    if (this.farTooMuch) this.giveUp()
  }

  /** Asks for an acknowledgement, unless one is awaited or nothing has been sent since the last. */
  askIfNeeded(most = this.management.mostUnasked(this.session)): void {
    const { queue } = this
    if (this.asked !== undefined || this.hibernating !== undefined || queue.length <= most) return
    const { sent } = queue
    // A client that always acknowledges too little would be asked for ever.
    if (sent === this.askedFor) return
    this.askedFor = sent
    this.asked = Date.now()
    this.pass(writeElement('r', { xmlns: this.xmlns }, ''))
  }

  override ask(): void {
    this.askIfNeeded(0)
  }

  /** Answers the client's question. @param handled - what it is told */
  tellHandled(handled = this.handled): void {
    this.told = handled
    if (this.hibernating === undefined)
      this.pass(writeElement('a', { xmlns: this.xmlns, h: `${handled}` }, ''))
  }

  /** The same when what it has sent is durable. Who asks more and more meanwhile is read from later. */
  tellHandledAfter(durable: Promise<void>, handled: number): void {
    const { session } = this
    const told = durable.then(() => {
      this.questions--
      // Nothing comes after the end of the stream (RFC 6120 §4.4).
      if (session.destroyed) return
      // One that has come later, when all was done, may have been answered already: what is counted does not go back.
      const isLess = (this.told - handled) >>> 0 < 2 ** 31
      this.tellHandled(isLess ? this.told : handled)
    })
    if (++this.questions > MOST_QUESTIONS) session.hold(told)
  }

  /** @returns what is wrong with it, if something is */
  acknowledged(h: number | undefined): StreamError | undefined {
    this.asked = undefined
    this.late = false
    if (h === undefined) return new StreamError('invalid-xml', "<a/> needs a number of stanzas as its 'h'")
    const refusal = this.refusalOf(h)
    if (refusal !== undefined) return refusal
    this.queue.acknowledge(h)
    this.askIfNeeded()
    return undefined
  }

  /** What is wrong with a counter of the client's (XEP-0198 §6). */
  refusalOf(h: number): StreamError | undefined {
    const { acked, length, sent } = this.queue
    return (h - acked + 2 ** 32) % 2 ** 32 > length ? countTooHigh(this.xmlns, h, sent) : undefined
  }

  /** Whether more is unacknowledged than should be for long. */
  get tooMuch(): boolean {
    return this.queue.length > this.management.queueSize || this.queue.size > MOST_SIZE
  }

  /** Whether more is unacknowledged than may be on its way. */
  private get farTooMuch(): boolean {
    return this.queue.length > this.management.queueSize * BURST || this.queue.size > BURST_SIZE
  }

  /** Ends the session, because it does not acknowledge what it is sent. */
  giveUp(): void {
    this.session.close(new StreamError('resource-constraint', 'Too many stanzas are not acknowledged'))
  }

  /**
   * Goes on over another connection, and sends again what did not arrive (XEP-0198 §5).
   *
   * @param over - the session whose connection that is, or the connection itself if another process reads it
   * @param h - of the client; has been looked at
   * @param xmlns - that it has resumed with
   */
  resume(over: StreamSession | Connection, h: number, xmlns: string): void {
    const { session, queue } = this
    if (over instanceof Connection) session.attach(over)
    else session.takeOver(over)
    this.timer?.cancel()
    this.timer = undefined
    queue.acknowledge(h)
    this.xmlns = xmlns
    this.hibernating = undefined
    this.expecting = false
    this.asked = undefined
    this.late = false
    this.askedFor = -1
    const attrs = { xmlns, previd: this.resumption!.id, h: `${this.handled}` }
    this.told = this.handled
    let text = writeElement('resumed', attrs, '')
    for (const entry of queue.entries()) text += entry.text
    this.pass(text)
    this.askIfNeeded(0)
  }

  override closing(): void {
    // Rev. 1.5.2 of the specification: so that the client sends nothing twice. It sends again what is not durable yet.
    this.tellHandled(this.certain)
  }

  override lost(isReplaced: boolean): boolean {
    if (this.resumption === undefined || !(isReplaced || this.management.makeRoom(this))) return false
    this.hibernating = Date.now()
    this.expecting = isReplaced
    this.queue.detach()
    this.keepSpares()
    this.management.hibernates(this)
    return true
  }

  private keepSpares(from = 0): void {
    this.queue.spare((text, when) => this.management.keepSpare(this, text, when), from)
  }

  override ended(): void {
    this.timer?.cancel()
    this.timer = undefined
    this.management.ended(this)
  }
}

/** A client says that it has had more than it was sent. */
export function countTooHigh(xmlns: string, h: number, sent: number): StreamError {
  const attrs = { xmlns, h: `${h}`, 'send-count': `${sent}` }
  return new StreamError(
    'undefined-condition',
    `You acknowledged ${h} stanzas, but I only sent you ${sent} so far`,
    writeElement('handled-count-too-high', attrs, ''),
  )
}
