/** How often addresses may do something: a bucket for each, which fills again with time. */

interface Bucket {
  /** What is left. */
  tokens: number
  /** Milliseconds: when that was so. */
  at: number
}

export interface ThrottleRate {
  /** Times, */
  readonly max: number
  /** in so many seconds. */
  readonly period: number
}

export class Throttle {
  /** Who was seen last comes last. */
  private readonly buckets = new Map<string, Bucket>()
  private readonly now: () => number
  /** An address is forgotten before its bucket is full again, with whether anything was left. */
  onOverflow: ((address: string, isEmpty: boolean) => void) | undefined

  /** @param now - in milliseconds */
  constructor(now: () => number) {
    this.now = now
  }

  /**
   * Takes one of what an address has.
   *
   * @param most - addresses to remember
   * @returns whether there was one
   */
  take(address: string, rate: ThrottleRate, most: number): boolean {
    const now = this.now()
    const bucket = this.buckets.get(address) ?? { tokens: rate.max, at: now }
    this.fill(bucket, rate, now)
    this.buckets.delete(address)
    this.buckets.set(address, bucket)
    const has = bucket.tokens >= 1
    if (has) bucket.tokens--
    while (this.buckets.size > most) {
      const [oldest, left] = this.buckets.entries().next().value!
      this.buckets.delete(oldest)
      this.fill(left, rate, now)
      this.onOverflow?.(oldest, left.tokens < 1)
    }
    return has
  }

  private fill(bucket: Bucket, { max, period }: ThrottleRate, now: number): void {
    const gained = period === 0 ? max : ((now - bucket.at) / 1000 / period) * max
    bucket.tokens = Math.min(max, bucket.tokens + Math.max(0, gained))
    bucket.at = now
  }
}
