/** What priorities a session has had, and since when: which messages for its account it has got (RFC 6121 §8.5.2.1.1). */

export interface Rank {
  /** Of its presence; undefined while it was unavailable. */
  readonly priority: number | undefined
  /** Milliseconds since 1970. */
  readonly since: number
}

/** Of a session that was never available. */
export const NO_RANKS: readonly Rank[] = []
/** Those before are forgotten: then nobody knows whether it has got something. */
const MOST = 8

/** @returns the ranks, with the one that holds from now on */
export function rankedAnew(ranks: readonly Rank[], priority: number | undefined): readonly Rank[] {
  if (ranks.length > 0 && ranks.at(-1)!.priority === priority) return ranks
  return [...ranks.slice(1 - MOST), { priority, since: Date.now() }]
}

/** The priority that was the same all the time; undefined if there was none, or it is not known. */
export function priorityDuring(ranks: readonly Rank[], from: number, until: number): number | undefined {
  for (let i = ranks.length - 1; i >= 0; i--) {
    const { priority, since } = ranks[i]!
    if (since <= until) return since <= from ? priority : undefined
  }
  return undefined
}
