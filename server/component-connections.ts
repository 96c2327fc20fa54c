/** The connections of one component: one at a time, or several that share its work. */

import type { Stanza } from './stanza/stanza.ts'
import type { StreamSession } from './stream/session.ts'

/** Keys are spread over this many buckets, and each bucket belongs to a connection. */
const BUCKETS = 1 << 16

/**
 * Where a component's stanzas go. When connections share its work, what is about one key (a bare JID) goes to
 * one of them as long as that lives, also when others come; the memory for that does not grow with the keys.
 */
export class ComponentConnections {
  private readonly sessions: StreamSession[] = []
  /** While they share: the owner of each bucket, as an index of `owners`; 0 is nobody. */
  private buckets: Uint16Array | undefined
  private readonly owners: (StreamSession | undefined)[] = [undefined]
  private readonly loads: number[] = [0]
  private readonly directed = new WeakMap<Stanza, StreamSession>()
  // Nobody from outside shall know which keys meet in a bucket.
  private readonly seed = Math.floor(Math.random() * 0xffffffff)

  /** How many there are. */
  get size(): number {
    return this.sessions.length
  }

  /** The oldest. */
  get first(): StreamSession | undefined {
    return this.sessions[0]
  }

  /** Whether several connections may share the work: then it matters what a stanza is about. */
  get shared(): boolean {
    return this.buckets !== undefined
  }

  [Symbol.iterator](): IterableIterator<StreamSession> {
    return this.sessions[Symbol.iterator]()
  }

  /** @param shares - whether others may stand beside it */
  add(session: StreamSession, shares: boolean): void {
    this.sessions.push(session)
    if (shares) this.buckets ??= new Uint16Array(BUCKETS)
    const free = this.owners.indexOf(undefined, 1)
    const owner = free < 0 ? this.owners.length : free
    this.owners[owner] = session
    this.loads[owner] = 0
  }

  /** @returns whether it was there */
  delete(session: StreamSession): boolean {
    const index = this.sessions.indexOf(session)
    if (index < 0) return false
    this.sessions.splice(index, 1)
    const owner = this.owners.indexOf(session)
    this.owners[owner] = undefined
    if (this.sessions.length === 0) this.buckets = undefined
    const { buckets } = this
    if (buckets === undefined) return true
    for (let bucket = 0; bucket < BUCKETS; bucket++) if (buckets[bucket] === owner) buckets[bucket] = 0
    return true
  }

  /** The connection that a key belongs to; undefined if there is none at all. */
  of(key: string): StreamSession | undefined {
    const { buckets } = this
    if (buckets === undefined || this.sessions.length === 0) return this.sessions[0]
    const bucket = this.bucketOf(key)
    let owner = buckets[bucket]!
    if (owner === 0) {
      owner = this.leastLoaded()
      buckets[bucket] = owner
      this.loads[owner]!++
    }
    return this.owners[owner]
  }

  /** Says which connection a stanza is for that is about to be routed to the component. */
  direct(stanza: Stanza, session: StreamSession): void {
    this.directed.set(stanza, session)
  }

  /** What `direct` has said. */
  directionOf(stanza: Stanza): StreamSession | undefined {
    return this.directed.get(stanza)
  }

  private leastLoaded(): number {
    let least = 0
    for (let owner = 1; owner < this.owners.length; owner++) {
      if (this.owners[owner] === undefined) continue
      if (least === 0 || this.loads[owner]! < this.loads[least]!) least = owner
    }
    return least
  }

  /** FNV-1a, mixed once more so that the low bits depend on all. */
  private bucketOf(key: string): number {
    let hash = this.seed ^ 0x811c9dc5
    for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
    return (hash ^ (hash >>> 13)) & (BUCKETS - 1)
  }
}
