/** One after the other (F9), for askers who share a stream with others, which must not be held for them. */

import type { Origin } from '../../server/index.ts'

/** Work of one asker. It calls `done` when the next may begin, at once or later. */
export type Turn = (done: () => void) => void

/** What askers behind one connection may have waiting for their turns. */
const MOST_WAITING = 10_000

/** Queues by asker. */
export class Turns {
  /** What waits for the turn that is under way. */
  private readonly queues = new Map<string, { origin: Origin; turn: Turn }[]>()
  private readonly waitingOf = new Map<Origin, number>()

  /**
   * @param key - whose turns keep their order
   * @returns false if too many wait
   */
  take(key: string, origin: Origin, turn: Turn): boolean {
    const queue = this.queues.get(key)
    if (queue === undefined) {
      this.queues.set(key, [])
      this.run(key, turn)
      return true
    }
    const waiting = this.waitingOf.get(origin) ?? 0
    if (waiting >= MOST_WAITING) return false
    this.waitingOf.set(origin, waiting + 1)
    queue.push({ origin, turn })
    return true
  }

  // A loop: many turns may be over at once, as when their manager leaves.
  private run(key: string, first: Turn): void {
    let turn: Turn | undefined = first
    while (turn !== undefined) {
      let over = false
      let later = false
      turn(() => {
        if (over) return
        over = true
        if (!later) return
        const next = this.next(key)
        if (next !== undefined) this.run(key, next)
      })
      if (!over) {
        later = true
        return
      }
      turn = this.next(key)
    }
  }

  private next(key: string): Turn | undefined {
    const next = this.queues.get(key)!.shift()
    if (next === undefined) {
      this.queues.delete(key)
      return undefined
    }
    const left = this.waitingOf.get(next.origin)! - 1
    if (left > 0) this.waitingOf.set(next.origin, left)
    else this.waitingOf.delete(next.origin)
    return next.turn
  }
}
