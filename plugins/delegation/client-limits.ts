/** How often something may happen: counted in windows of time, by key (U4). */

/** Keys that are kept before those whose window is over are let go. */
const SWEEP_AT = 1000

interface Window {
  count: number
  readonly until: number
}

/** Lets so many through for each key in each window. */
export class RateLimit {
  private readonly most: number
  private readonly milliseconds: number
  private readonly windows = new Map<string, Window>()
  private sweepAt = SWEEP_AT

  /** @param seconds - how long a window is, from its first event */
  constructor(most: number, seconds: number) {
    this.most = most
    this.milliseconds = seconds * 1000
  }

  /** How many keys are kept. */
  get size(): number {
    return this.windows.size
  }

  /** Counts one more. @returns whether it may happen */
  take(key: string): boolean {
    const now = Date.now()
    let window = this.windows.get(key)
    if (window === undefined || window.until <= now) {
      window = { count: 0, until: now + this.milliseconds }
      this.windows.set(key, window)
      if (this.windows.size > this.sweepAt) this.sweep(now)
    }
    return ++window.count <= this.most
  }

  private sweep(now: number): void {
    for (const [key, { until }] of this.windows) if (until <= now) this.windows.delete(key)
    this.sweepAt = Math.max(SWEEP_AT, this.windows.size * 2)
  }
}
