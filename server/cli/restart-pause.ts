// How long it is waited before a worker that has died is started again.

const FIRST_MS = 100
const LONGEST_MS = 30_000
/** Milliseconds after which it counts as healthy. */
const HEALTHY_MS = 60_000

/** A pause that doubles from one death to the next, and is short again after a healthy minute. */
export class RestartPause {
  private deaths = 0

  /**
   * @param lived - milliseconds that it ran
   * @returns milliseconds to wait
   */
  next(lived: number): number {
    if (lived >= HEALTHY_MS) this.deaths = 0
    return Math.min(FIRST_MS * 2 ** this.deaths++, LONGEST_MS)
  }
}
