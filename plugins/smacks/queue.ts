/** What was sent and has not been acknowledged, in its order (XEP-0198 §4). */

import { detached, type Receipt } from '../../server/index.ts'

/** Counters go from here to zero. */
const MODULUS = 2 ** 32
/** Entries at the beginning of the lists that are empty, before they are cut off. */
const MOST_EMPTY = 64

/** One stanza that was not acknowledged. */
export interface Unacked {
  readonly text: string
  /** Milliseconds since 1970 when it was sent, or would have been. */
  readonly when: number
  /** Who wants to hear what becomes of it, if somebody does: it is kept elsewhere then. */
  readonly receipt: Receipt | undefined
  /** Ends that somebody keeps a copy for the case that this process dies, if somebody does. */
  readonly spare: EndOfSpare | undefined
}

/** @returns what settles when the copy is gone; it does not fail */
export type EndOfSpare = () => Promise<void>

export class AckQueue {
  /** How many stanzas the peer has acknowledged, modulo 2^32. */
  acked: number
  /** Characters of what is in it. */
  size = 0
  private texts: string[] = []
  private times: number[] = []
  private first = 0
  /** How many have been taken out, ever. */
  private done = 0
  /** By how many were taken out, ever, before it. */
  private receipts: Map<number, Receipt> | undefined
  private spares: Map<number, EndOfSpare> | undefined

  /** @param acked - where the counter begins */
  constructor(acked = 0) {
    this.acked = acked
  }

  get length(): number {
    return this.texts.length - this.first
  }

  /** How many stanzas were sent, modulo 2^32. */
  get sent(): number {
    return (this.acked + this.length) % MODULUS
  }

  /** When the first one was sent; undefined if there is none. */
  get oldest(): number | undefined {
    return this.times[this.first]
  }

  push(text: string, when: number, receipt?: Receipt): void {
    if (receipt !== undefined) {
      this.receipts ??= new Map()
      this.receipts.set(this.done + this.length, receipt)
    }
    this.texts.push(text)
    this.times.push(when)
    this.size += text.length
  }

  /**
   * Takes out what the peer has handled.
   *
   * @param h - its counter
   * @returns whether it can be so; if not, nothing is changed
   */
  acknowledge(h: number): boolean {
    const count = (h - this.acked + MODULUS) % MODULUS
    if (count > this.length) return false
    this.acked = h
    const receipts = this.receipts === undefined ? undefined : this.takeFrom(this.receipts, count)
    const spares = this.spares === undefined ? undefined : this.takeFrom(this.spares, count)
    this.done += count
    this.takeOut(count)
    if (receipts !== undefined) for (const receipt of receipts) receipt.acknowledged()
    if (spares !== undefined) for (const end of spares) void end()
    return true
  }

  /**
   * Has spare copies kept of what is in it.
   *
   * @param keep - keeps one, if it does
   * @param from - how many are passed over
   */
  spare(keep: (text: string, when: number) => EndOfSpare | undefined, from = 0): void {
    for (let i = this.first + from; i < this.texts.length; i++) {
      const number = this.done + i - this.first
      if (this.receipts?.has(number) === true || this.spares?.has(number) === true) continue
      const end = keep(this.texts[i]!, this.times[i]!)
      if (end === undefined) continue
      this.spares ??= new Map()
      this.spares.set(number, end)
    }
  }

  private takeFrom<T>(all: Map<number, T>, count: number): T[] {
    const taken: T[] = []
    for (let number = this.done; number < this.done + count; number++) {
      const one = all.get(number)
      if (one === undefined) continue
      taken.push(one)
      all.delete(number)
    }
    return taken
  }

  private takeOut(count: number): void {
    if (count === this.length) {
      this.texts.length = 0
      this.times.length = 0
      this.first = 0
      this.size = 0
      return
    }
    for (let i = 0; i < count; i++) {
      this.size -= this.texts[this.first]!.length
      this.texts[this.first++] = ''
    }
    if (this.first > MOST_EMPTY) {
      this.texts.splice(0, this.first)
      this.times.splice(0, this.first)
      this.first = 0
    }
  }

  /** All that is in it, in order. */
  *entries(): Iterable<Unacked> {
    for (let i = this.first; i < this.texts.length; i++) {
      const number = this.done + i - this.first
      const receipt = this.receipts?.get(number)
      yield { text: this.texts[i]!, when: this.times[i]!, receipt, spare: this.spares?.get(number) }
    }
  }

  /** Makes the texts copies of their own: what is kept for long is not to keep what it was received with. */
  detach(): void {
    for (let i = this.first; i < this.texts.length; i++) this.texts[i] = detached(this.texts[i]!)
  }

  clear(): void {
    this.acknowledge(this.sent)
  }
}

/** A counter as a peer writes it; undefined if it is none. */
export function readCounter(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined
  const count = Number(text)
  return count < MODULUS ? count : undefined
}
