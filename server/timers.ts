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

class Entry implements Timeout {
  rounds: number
  readonly slot: Set<Entry>
  readonly fire: (subject: never) => void
  readonly subject: unknown

  constructor(slot: Set<Entry>, rounds: number, fire: (subject: never) => void, subject: unknown) {
    this.slot = slot
    this.rounds = rounds
    this.fire = fire
    this.subject = subject
  }

  cancel(): void {
    this.slot.delete(this)
  }
}

/** What never fires, as of an option that is set to "never". */
const NEVER: Timeout = { cancel() {} }

/** Calls back after some seconds; adding and cancelling cost the same for one and for a million. */
export class TimerWheel {
  private readonly slots: Set<Entry>[] = Array.from({ length: SLOTS }, () => new Set<Entry>())
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
    const entry = new Entry(slot, Math.floor((ticks - 1) / SLOTS), fire, subject)
    slot.add(entry)
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
    for (const slot of this.slots) slot.clear()
  }

  private tick(): void {
    this.position = (this.position + 1) % SLOTS
    const slot = this.slots[this.position]!
    if (slot.size === 0) return
    for (const entry of slot) {
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
      if (!entry.slot.delete(entry)) continue // cancelled by one before it
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
