/** Who is dead: a member that stood still for too long, as seen by one who could see all the time. */

/**
 * Parts of the lease. A member says that it lives every {@link BEAT}; who did not for {@link TERM} is taken for dead.
 * With the time until the others first see its last beat, and until they look again, that is the lease at most.
 * A member works on nothing for the others once it is in doubt whether they still count on it: {@link FENCE}.
 */
export const BEAT = 1 / 8
const TERM = 6 / 8
export const FENCE = 5 / 8
/** Without an answer for as long, nothing can be said about the others. */
const GAP = 3 / 8
/** Milliseconds that others may take longer than we do to find Redis again, after it was away. */
const RECONNECT_MS = 3000

interface Sight {
  readonly beat: string
  /** When it was first seen, on our monotonic clock. */
  readonly since: number
  /** Milliseconds for which it may stand still. */
  readonly term: number
}

/** A member that stands still, and where. */
export interface Still {
  readonly id: string
  readonly beat: string
}

/** Watches the beats of all members. Times are milliseconds of `performance.now()`. */
export class Watch {
  private readonly leaseMs: number
  private seen = new Map<string, Sight>()
  private lastSent = 0
  /** Nothing is known from before. */
  private blind = true

  constructor(leaseMs: number) {
    this.leaseMs = leaseMs
  }

  /** We could not reach Redis: perhaps the others could not either. */
  lost(): void {
    this.blind = true
  }

  /**
   * @param sent - when Redis was asked
   * @param received - when it had answered
   * @param beats - what it said
   * @returns who is dead
   */
  saw(sent: number, received: number, beats: ReadonlyMap<string, string>): Still[] {
    const blind = this.blind || received - this.lastSent > GAP * this.leaseMs
    this.blind = false
    this.lastSent = sent
    const dead: Still[] = []
    const seen = new Map<string, Sight>()
    for (const [id, beat] of beats) {
      const before = this.seen.get(id)
      const term = TERM * this.leaseMs
      if (blind) seen.set(id, { beat, since: received, term: term + RECONNECT_MS })
      else if (before?.beat !== beat) seen.set(id, { beat, since: received, term })
      else {
        seen.set(id, before)
        if (sent - before.since >= before.term) dead.push({ id, beat })
      }
    }
    this.seen = seen
    return dead
  }
}
