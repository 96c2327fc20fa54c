/** Messages from one member: each is taken once, in order, and acknowledged when those before it are done, too. */

/** Messages, and characters of them, after which an acknowledgement does not wait any longer. */
const ENOUGH = 64
const ENOUGH_SIZE = 128_000

const NONE: readonly number[] = []

/** What is said to the member with every batch that goes to it. */
export interface Receipt {
  /** Number of the last message that is here. */
  readonly got: number
  /** Number of the last one that is done, and all before it. */
  readonly settled: number
  /** Some are missing: those after `got` have to be sent again. */
  readonly missing: boolean
  /** Characters that have come since the last receipt. */
  readonly size: number
  /** Numbers of some after `settled` that are done already; each is told once. */
  readonly early: readonly number[]
}

interface Slot {
  readonly number: number
  done: boolean
}

export class Incoming {
  private got = 0
  private settled = 0
  /** Those after `settled`, if any of them is not done. */
  private slots: Slot[] = []
  /** Numbers of those that were done before others that came before them, until the member knows. */
  private readonly early: number[] = []
  private told = { got: 0, settled: 0 }
  private size = 0
  private missing = false
  /** The last message before a gap that the member has been told of. */
  private gapAfter = -1
  private asked = false

  /** Whether the member should hear from us, sooner or later. */
  get owes(): boolean {
    const { got, settled } = this.told
    return this.asked || this.missing || this.got > got || this.settled > settled || this.early.length > 0
  }

  /** Whether it should at once. */
  get urgent(): boolean {
    return (
      this.asked ||
      this.missing ||
      this.settled - this.told.settled >= ENOUGH ||
      (this.size >= ENOUGH_SIZE && this.owes)
    )
  }

  /** Whether all that came is done, and the member knows. */
  get idle(): boolean {
    return !this.owes && this.settled === this.got
  }

  /**
   * A batch is here.
   *
   * @param first - number of its first message, or of the next one if it has none
   * @param asks - whether the member wants to hear what is here
   * @returns how many of its messages were here before; undefined if some before it are missing
   */
  begin(first: number, asks: boolean): number | undefined {
    if (asks) this.asked = true
    if (first <= this.got + 1) return this.got + 1 - first
    // Once for each gap: what was on its way when it was told comes with the same one.
    if (asks || this.gapAfter !== this.got) {
      this.gapAfter = this.got
      this.missing = true
    }
    return undefined
  }

  /** Takes the next message. @param work - the promise that settles when it is done, if it is not yet */
  take(size: number, work: void | Promise<void>, settled: () => void): void {
    this.got++
    this.size += size
    if (work === undefined) {
      if (this.slots.length === 0) this.settled++
      else {
        this.slots.push({ number: this.got, done: true })
        this.early.push(this.got)
      }
      return
    }
    const slot: Slot = { number: this.got, done: false }
    this.slots.push(slot)
    const done = () => {
      slot.done = true
      const count = this.slots.findIndex((other) => !other.done)
      this.settled += this.slots.splice(0, count === -1 ? this.slots.length : count).length
      if (slot.number > this.settled) this.early.push(slot.number)
      settled()
    }
    work.then(done, done)
  }

  receipt(): Receipt {
    const { got, settled, missing, size, early } = this
    return { got, settled, missing, size, early: early.length === 0 ? NONE : early.slice() }
  }

  /** Redis has the receipt. */
  delivered({ got, settled, missing, size, early }: Receipt): void {
    if (early.length > 0) this.early.splice(0, early.length)
    this.told = { got, settled }
    // More may have come meanwhile.
    this.size -= size
    this.asked = false
    if (missing) this.missing = false
  }
}
