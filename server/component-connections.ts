/** The connections of one component: one at a time, or several that share its work. */

import type { Peer } from './session.ts'
import type { Stanza } from './stanza/stanza.ts'

/** Keys are spread over this many buckets, and each bucket belongs to a connection. */
const BUCKETS = 1 << 16

/** Decides for several processes whose a bucket is. */
export interface BucketClaims {
  /**
   * @param candidate - to have it if nobody has
   * @param there - the connections that there are: a bucket of another one is free
   * @returns whose it is; undefined if it is somebody's who has not appeared here yet
   */
  claim(bucket: number, candidate: Peer, there: readonly Peer[]): Promise<Peer | undefined>
}

/**
 * Where a component's stanzas go. When connections share its work, what is about one key (a bare JID) goes to
 * one of them as long as that lives, also when others come; the memory for that does not grow with the keys.
 */
export class ComponentConnections {
  private readonly sessions: Peer[] = []
  private readonly sequences: number[] = []
  /** While they share: the owner of each bucket, as an index of `owners`; 0 is nobody. */
  private buckets: Uint16Array | undefined
  private readonly owners: (Peer | undefined)[] = [undefined]
  private readonly loads: number[] = [0]
  private readonly directed = new WeakMap<Stanza, Peer>()
  // Nobody from outside shall know which keys meet in a bucket.
  private seed = Math.floor(Math.random() * 0xffffffff)
  /** Where several processes have connections of the component: decides for all of them whose a bucket is. */
  private claims: BucketClaims | undefined
  /** Those that are being decided. */
  private readonly claimed = new Map<number, Promise<Peer | undefined>>()

  /** How many there are. */
  get size(): number {
    return this.sessions.length
  }

  /** The oldest. */
  get first(): Peer | undefined {
    return this.sessions[0]
  }

  /** Whether several connections may share the work: then it matters what a stanza is about. */
  get shared(): boolean {
    return this.buckets !== undefined
  }

  [Symbol.iterator](): IterableIterator<Peer> {
    return this.sessions[Symbol.iterator]()
  }

  /** From now on it is decided for all processes whose a bucket is. @param seed - the same at all of them */
  decideBy(claims: BucketClaims, seed: number): void {
    this.claims = claims
    this.seed = seed
  }

  /**
   * @param shares - whether others may stand beside it
   * @param sequence - who was earlier has a lower one
   */
  add(session: Peer, shares: boolean, sequence = 0): void {
    let at = this.sessions.length
    while (at > 0 && this.sequences[at - 1]! > sequence) at--
    this.sessions.splice(at, 0, session)
    this.sequences.splice(at, 0, sequence)
    if (shares) this.buckets ??= new Uint16Array(BUCKETS)
    const free = this.owners.indexOf(undefined, 1)
    const owner = free < 0 ? this.owners.length : free
    this.owners[owner] = session
    this.loads[owner] = 0
  }

  /** @returns whether it was there */
  delete(session: Peer): boolean {
    const index = this.sessions.indexOf(session)
    if (index < 0) return false
    this.sessions.splice(index, 1)
    this.sequences.splice(index, 1)
    const owner = this.owners.indexOf(session)
    this.owners[owner] = undefined
    if (this.sessions.length === 0) this.buckets = undefined
    const { buckets } = this
    if (buckets === undefined) return true
    for (let bucket = 0; bucket < BUCKETS; bucket++) if (buckets[bucket] === owner) buckets[bucket] = 0
    return true
  }

  /**
   * The connection that a key belongs to; undefined if there is none at all. A promise where others have to be asked:
   * once for each bucket.
   */
  of(key: string): Peer | undefined | Promise<Peer | undefined> {
    const { buckets } = this
    if (buckets === undefined || this.sessions.length === 0) return this.sessions[0]
    const bucket = this.bucketOf(key)
    const owner = buckets[bucket]!
    if (owner !== 0) return this.owners[owner]
    if (this.claims === undefined) return this.assign(bucket, this.leastLoaded())
    let claimed = this.claimed.get(bucket)
    if (claimed === undefined) {
      claimed = this.claim(bucket, this.claims)
      this.claimed.set(bucket, claimed)
    }
    return claimed
  }

  private async claim(bucket: number, claims: BucketClaims): Promise<Peer | undefined> {
    try {
      // How much each has to do is only known of what was asked here: chance spreads it as well.
      const candidate = this.sessions[bucket % this.sessions.length]!
      const peer = await claims.claim(bucket, candidate, this.sessions)
      const owner = peer === undefined ? -1 : this.owners.indexOf(peer)
      return owner > 0 ? this.assign(bucket, owner) : this.sessions[0]
    } finally {
      this.claimed.delete(bucket)
    }
  }

  private assign(bucket: number, owner: number): Peer | undefined {
    if (this.buckets !== undefined) this.buckets[bucket] = owner
    this.loads[owner]!++
    return this.owners[owner]
  }

  /** Says which connection a stanza is for that is about to be routed to the component. */
  direct(stanza: Stanza, session: Peer): void {
    this.directed.set(stanza, session)
  }

  /** What `direct` has said. */
  directionOf(stanza: Stanza): Peer | undefined {
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
