/** One timer wheel for everything that waits: pending requests, logins, keep-alives. */

const TICK_MS = 250
const SLOTS = 1024
/** Milliseconds of callbacks at a stretch. What is due beyond that lets other events come first. */
const STRETCH_MS = 1

/** A handle on something that waits. */
export interface Timeout {
  /** Take it out; does nothing if it has fired. */
  cancel(): void
}

/** One that waits, in a ring with the others of its slot: taking it out costs no search and no table. */
class Entry implements Timeout {
  rounds: number
  readonly fire: (subject: never) => void
  readonly subject: unknown
  /** Its neighbours in the ring; itself, if it is in none. */
  before: Entry = this
  behind: Entry = this

  constructor(rounds: number, fire: (subject: never) => void, subject: unknown) {
    this.rounds = rounds
    this.fire = fire
    this.subject = subject
  }

  /** Whether it is in a ring: it waits, and has neither fired nor been cancelled. */
  get waits(): boolean {
    return this.behind !== this
  }

  cancel(): void {
    this.before.behind = this.behind
    this.behind.before = this.before
    this.before = this
    this.behind = this
  }

  /** Puts another one in front of this one. */
  insert(entry: Entry): void {
    entry.before = this.before
    entry.behind = this
    this.before.behind = entry
    this.before = entry
  }
}

function newSlot(): Entry {
  return new Entry(0, () => {}, undefined)
}

/** What never fires, as of an option that is set to "never". */
const NEVER: Timeout = { cancel() {} }

/** Calls back after some seconds; adding and cancelling cost the same for one and for a million. */
export class TimerWheel {
  /** Each is the head of its ring, and fires nothing. */
  private readonly slots: Entry[] = Array.from({ length: SLOTS }, newSlot)
  private position = 0
  private interval: NodeJS.Timeout | undefined
  /** Whose time has come, from `nextDue` on; the slots still hold them until they fire. */
  private due: Entry[] = []
  private nextDue = 0
  private stretch: NodeJS.Immediate | undefined
  private readonly failed: (error: unknown) => void

  /** @param failed - told of what a callback throws */
  constructor(failed: (error: unknown) => void) {
    this.failed = failed
  }

  /**
   * @param seconds - at least; fires up to half a second later. With Infinity it never does
   * @param fire - called once, with the subject
   * @param subject - whose time it is; spares those who wait by the thousand a closure each
   * @throws RangeError if it is not a number
   */
  after(seconds: number, fire: () => void): Timeout
  after<T>(seconds: number, fire: (subject: T) => void, subject: T): Timeout
  after(seconds: number, fire: (subject: never) => void, subject?: unknown): Timeout {
    if (Number.isNaN(seconds)) throw new RangeError('a timer needs a number of seconds')
    if (seconds === Number.POSITIVE_INFINITY) return NEVER
    if (this.interval === undefined) {
      this.interval = setInterval(() => this.tick(), TICK_MS)
      this.interval.unref()
    }
    const ticks = Math.max(1, Math.ceil((seconds * 1000) / TICK_MS) + 1)
    const slot = this.slots[(this.position + ticks) % SLOTS]!
    const entry = new Entry(Math.floor((ticks - 1) / SLOTS), fire, subject)
    slot.insert(entry)
    return entry
  }

  /** Calls back every so many seconds until it is cancelled. */
  every(seconds: number, fire: () => void): Timeout {
    let current: Timeout
    const again = () => {
      current = this.after(seconds, again)
      fire()
    }
    current = this.after(seconds, again)
    return { cancel: () => current.cancel() }
  }

  /** Forgets everything that waits. */
  stop(): void {
    if (this.interval !== undefined) clearInterval(this.interval)
    this.interval = undefined
    if (this.stretch !== undefined) clearImmediate(this.stretch)
    this.stretch = undefined
    this.due = []
    this.nextDue = 0
    for (const slot of this.slots) while (slot.waits) slot.behind.cancel()
  }

  private tick(): void {
    this.position = (this.position + 1) % SLOTS
    const slot = this.slots[this.position]!
    if (!slot.waits) return
    for (let entry = slot.behind; entry !== slot; entry = entry.behind) {
      if (entry.rounds > 0) entry.rounds--
      else this.due.push(entry)
    }
    if (this.stretch === undefined) this.fireDue()
  }

  private fireDue(): void {
    this.stretch = undefined
    const end = performance.now() + STRETCH_MS
    while (this.nextDue < this.due.length) {
      const entry = this.due[this.nextDue++]!
      if (!entry.waits) continue // cancelled by one before it
      entry.cancel()
      try {
        entry.fire(entry.subject as never)
      } catch (error) {
        this.failed(error)
      }
      if (performance.now() < end || this.nextDue >= this.due.length) continue
      this.stretch = setImmediate(() => this.fireDue())
      return
    }
    this.due = []
    this.nextDue = 0
  }
}
