// Reply times in buckets of 10 µs, so that counting them costs nothing while they are measured.

const BUCKET_MS = 0.01
const BUCKETS = 200_000

/** Counts times up to two seconds; what is longer counts as two seconds. */
export class Latencies {
  private readonly buckets = new Uint32Array(BUCKETS)
  private total = 0

  /** Adds one time, in milliseconds. */
  add(ms: number): void {
    const bucket = (ms / BUCKET_MS) | 0
    this.buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]!++
    this.total++
  }

  /** The time, in milliseconds, that the share `share` (0 to 1) of all was not longer than; 0 without any. */
  quantile(share: number): number {
    let left = Math.ceil(this.total * share)
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      left -= this.buckets[bucket]!
      if (left <= 0) return this.total === 0 ? 0 : (bucket + 1) * BUCKET_MS
    }
    return BUCKETS * BUCKET_MS
  }
}
