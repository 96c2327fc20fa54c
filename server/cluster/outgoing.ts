/** Messages to one member: kept until it has acknowledged them, sent again if they got lost on the way. */

import type { Waiting } from './bus.ts'

/** Characters that may lie in the member's inbox without having been taken: Redis's memory is limited. */
const WINDOW = 1_000_000
/** Characters that wait, beyond which a member is congested, and below which it no longer is. */
const HIGH = 1_000_000
const LOW = 256_000

interface Message {
  /** Empty once the member has it. */
  text: string
  readonly size: number
  /** Number of the batch of changes that comes before it. */
  readonly after: number
  waiting: Waiting | undefined
}

/** Messages that follow each other. */
export interface Run {
  /** Number of the first one. */
  readonly first: number
  readonly texts: string[]
  readonly size: number
}

export class Outgoing {
  /** Number of the last message that was acknowledged; those in the queue follow. */
  settled = 0
  /** Number of the last one that the member has. */
  private got = 0
  /** Number of the last one that was sent. */
  private sent = 0
  private queue: Message[] = []
  /** Index of the first in the queue. */
  private head = 0
  /** Characters that were sent, and that the member does not have yet. */
  private flying = 0
  private progress = 0
  /** Characters that are not acknowledged. */
  size = 0
  /** Whether the one who sends has been told to hold back. */
  congested = false
  /** Whether Redis does not know the member at the moment. */
  unknown = false
  /** Whether it shall be asked what it has. */
  asking = false

  /** How many messages are not acknowledged. */
  get length(): number {
    return this.queue.length - this.head
  }

  /** Number of the last message. */
  get last(): number {
    return this.settled + this.length
  }

  /** Number of the next one that is sent. */
  get next(): number {
    return this.sent + 1
  }

  /** Whether the member is congested, by what waits and what it was before. */
  get crowded(): boolean {
    return this.size > (this.congested ? LOW : HIGH)
  }

  push(text: string, after: number, waiting: Waiting | undefined): void {
    this.queue.push({ text, size: text.length, after, waiting })
    this.size += text.length
  }

  /** Whether there is something that may be sent now. */
  get ready(): boolean {
    return !this.unknown && this.sent < this.settled + this.length && this.flying < WINDOW
  }

  /**
   * Takes messages to send.
   *
   * @param before - number of a batch of changes: only messages that were sent before it
   * @param limit - characters, about
   */
  take(before: number, limit: number): Run | undefined {
    const first = this.sent + 1
    const texts: string[] = []
    let size = 0
    while (this.ready && size < limit) {
      const message = this.queue[this.head + this.sent - this.settled]!
      if (message.after >= before) break
      texts.push(message.text)
      size += message.size
      this.sent++
      this.flying += message.size
    }
    return texts.length === 0 ? undefined : { first, texts, size }
  }

  /**
   * The member says what it has, and what it has done. Either may be old.
   *
   * @returns whether something is new
   */
  acknowledged(got: number, settled: number, now: number): boolean {
    const gain = got > this.got || settled > this.settled
    // Of what is sent again, it may have the first sending.
    if (got > this.sent) this.sent = Math.min(got, this.settled + this.length)
    while (this.got < got && this.got < this.settled + this.length) {
      const message = this.queue[this.head + this.got - this.settled]!
      this.got++
      this.flying -= message.size
      message.text = ''
    }
    if (this.flying < 0) this.flying = 0
    while (this.settled < settled && this.settled < this.got) {
      const { size, waiting } = this.queue[this.head]!
      this.size -= size
      waiting?.done?.()
      this.queue[this.head++] = undefined!
      this.settled++
    }
    if (this.head > 1000 && this.head * 2 > this.queue.length) {
      this.queue = this.queue.slice(this.head)
      this.head = 0
    }
    if (gain) this.progress = now
    return gain
  }

  /**
   * @param number - of a message
   * @returns who waits for it, and is told nothing of it from now on
   */
  takeWaiting(number: number): Waiting | undefined {
    if (number <= this.settled || number > this.last) return undefined
    const message = this.queue[this.head + number - this.settled - 1]!
    const { waiting } = message
    message.waiting = undefined
    return waiting
  }

  /** What the member is not known to have is sent again. */
  rewind(): void {
    this.sent = this.got
    this.flying = 0
  }

  /** Whether something was sent, and nothing was heard of it for some milliseconds. Asks again after as many. */
  overdue(now: number, ms: number): boolean {
    if (this.sent === this.got) this.progress = now
    if (now - this.progress < ms) return false
    this.progress = now
    return true
  }

  /** The member is gone. @returns who waited */
  end(): Waiting[] {
    const waiting = this.queue.slice(this.head).flatMap((message) => message.waiting ?? [])
    this.queue = []
    this.head = 0
    this.size = 0
    return waiting
  }
}
