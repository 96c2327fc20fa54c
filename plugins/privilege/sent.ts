/** What addresses have been sent of other people's presence, so that they get each only once (XEP-0356 §8). */

/** Presences that an address has been sent and that are remembered; of more, the oldest are forgotten. */
const MOST_REMEMBERED = 10_000
/** Who has gone. */
export const GONE = 'unavailable'

/**
 * Full JID → what was sent last of its presence: the presence itself, its content, or, where several processes are one
 * server, a {@link Numbered}.
 */
export type SentLog = Map<string, unknown>

/** A presence in a cluster, where it can come to an entity in more than one way, and the earlier one later. */
export class Numbered {
  /** `GONE`, or what tells it from others of the same resource. */
  readonly content: string
  /** Id of the process that it comes from. */
  readonly source: string
  /** What came from there earlier has a lower one. */
  readonly number: number

  constructor(content: string, source: string, number: number) {
    this.content = content
    this.source = source
    this.number = number
  }
}

/** @returns whether this is new */
export function remember(sent: SentLog, from: string, state: unknown): boolean {
  const before = sent.get(from)
  if (before === state) return false
  if (before instanceof Numbered && state instanceof Numbered) {
    const sameSource = before.source === state.source
    if (sameSource && state.number <= before.number) return false
    if (before.content === state.content) {
      // What is between the two and comes later is old.
      if (sameSource) sent.set(from, state)
      return false
    }
  }
  sent.delete(from)
  if (sent.size >= MOST_REMEMBERED) {
    const [oldest] = sent.keys()
    sent.delete(oldest!)
  }
  sent.set(from, state)
  return true
}

/** Whether the last that was sent of somebody's presence was that it is there; undefined if that is not known. */
export function wasAvailable(sent: SentLog, from: string): boolean | undefined {
  const state = sent.get(from)
  if (state === undefined) return undefined
  return state !== GONE && !(state instanceof Numbered && state.content === GONE)
}
