/**
 * One account's roster: its items, the subscription requests that wait for an answer, what has changed since which
 * version, and how all of it is stored.
 */

/** RFC 6121 §2.1.2.5; what else the attribute may say (`remove`) is no state. */
export type Subscription = 'none' | 'to' | 'from' | 'both'

/** A contact on the list (RFC 6121 §2.1.2). */
export interface RosterItem {
  /** Bare JID, prepared. */
  readonly jid: string
  readonly subscription: Subscription
  /** The account has asked for the contact's presence and waits for an answer. */
  readonly ask: boolean
  /** The account has allowed the contact to see its presence before that has asked (RFC 6121 §3.4). */
  readonly approved?: true
  /** What the account calls the contact. */
  readonly name?: string
  readonly groups: readonly string[]
  /** Of the roster, when the item was last changed; the roster sets it. Undefined: not since there are versions. */
  readonly version?: number
}

/** A contact's request to see the account's presence, kept until it is answered (RFC 6121 §3.1.3). */
export interface SubscriptionRequest {
  /** The content of the request, XML text; empty if it was too long to be kept. */
  readonly inner: string
  /** Of that content: how many elements there are, and the first one's name and namespace. */
  readonly count: number
  readonly payloadName: string
  readonly payloadNs: string
  readonly id?: string
  readonly lang?: string
}

/** Everything that a roster knows of one contact. A request alone makes nobody an item. */
export interface Contact {
  readonly item?: RosterItem
  readonly request?: SubscriptionRequest
}

/** How an item is since a version; undefined if it was removed then. */
export interface ItemChange {
  readonly jid: string
  readonly item: RosterItem | undefined
  readonly version: number
}

/** A roster as other plugins see it. */
export interface ReadonlyRoster {
  /** It grows with every change of an item; 0 if there was none since there are versions (RFC 6121 §2.6). */
  readonly version: number
  readonly items: ReadonlyMap<string, RosterItem>
  readonly requests: ReadonlyMap<string, SubscriptionRequest>
  contact(jid: string): Contact
  /** Whether everything is known that has changed since a version. */
  knowsSince(version: number): boolean
  /** The items that have changed since a version, each as it is now, in the order of their changes. */
  changesSince(version: number): ItemChange[]
}

/** What is in the store. Lists, not tables, so that no JID can be a key that means something else. */
export interface StoredRoster {
  items: StoredItem[]
  /** As `pending` in the metadata of Prosody's rosters. */
  requests: (SubscriptionRequest & { from: string })[]
  /** As `version` there. */
  version?: number
  /** What was removed later than this version is in `removed`; if it is missing, nothing is known before `version`. */
  since?: number
  /** Bare JIDs, with the version that each was removed with; the oldest first. */
  removed?: [jid: string, version: number][]
}

interface StoredItem {
  jid: string
  subscription: Subscription
  ask?: true
  approved?: true
  name?: string
  groups?: readonly string[]
  version?: number
}

/** Removed contacts that are remembered: who was away for longer gets the whole roster. */
const MAX_REMOVED = 100
/** Characters that their JIDs may have together. */
const MAX_REMOVED_LENGTH = 8192

/** A roster that can be changed; only the Rosters do that. */
export class Roster implements ReadonlyRoster {
  readonly items = new Map<string, RosterItem>()
  readonly requests = new Map<string, SubscriptionRequest>()
  version = 0
  /** Characters of all items, for the limit on what an account may store. */
  textLength = 0
  private since = 0
  private removed: Map<string, number> | undefined

  static decode(stored: StoredRoster | undefined): Roster {
    const roster = new Roster()
    if (stored === undefined) return roster
    for (const { jid, subscription, ask, approved, name, groups, version } of stored.items) {
      const item = { jid, subscription, ask: ask === true, approved, name, groups: groups ?? [], version }
      roster.setItem(jid, item)
    }
    for (const { from, ...request } of stored.requests) {
      // Who is subscribed has nothing to ask for; a server that the roster was taken over from may differ.
      const subscription = roster.items.get(from)?.subscription
      if (subscription !== 'from' && subscription !== 'both') roster.requests.set(from, request)
    }
    roster.version = stored.version ?? 0
    roster.since = stored.since ?? roster.version
    if (stored.removed !== undefined) roster.removed = new Map(stored.removed)
    return roster
  }

  /** @returns undefined if there is nothing to be stored */
  encode(): StoredRoster | undefined {
    if (this.items.size === 0 && this.requests.size === 0 && this.version === 0) return undefined
    const items: StoredItem[] = []
    for (const { jid, subscription, ask, approved, name, groups, version } of this.items.values()) {
      items.push({
        jid,
        subscription,
        ...(ask && { ask }),
        ...(approved && { approved }),
        ...(name !== undefined && { name }),
        ...(groups.length > 0 && { groups }),
        ...(version !== undefined && { version }),
      })
    }
    const requests = [...this.requests].map(([from, request]) => ({ from, ...request }))
    const { version, since, removed } = this
    return {
      items,
      requests,
      ...(version > 0 && { version, since }),
      ...(removed !== undefined && { removed: [...removed] }),
    }
  }

  contact(jid: string): Contact {
    return { item: this.items.get(jid), request: this.requests.get(jid) }
  }

  setContact(jid: string, { item, request }: Contact): void {
    this.setItem(jid, item)
    if (request === undefined) this.requests.delete(jid)
    else this.requests.set(jid, request)
  }

  /** Gives the roster its next version, since an item was set or removed. */
  itemChanged(jid: string): void {
    this.version = nextVersion(this.version)
    const item = this.items.get(jid)
    this.removed?.delete(jid)
    if (item !== undefined) this.items.set(jid, { ...item, version: this.version })
    else {
      this.removed ??= new Map()
      this.removed.set(jid, this.version)
    }
    this.forgetRemoved()
  }

  knowsSince(version: number): boolean {
    // Nobody can tell one roster without a version from another.
    return version > 0 && version >= this.since && version <= this.version
  }

  changesSince(version: number): ItemChange[] {
    const changes: ItemChange[] = []
    for (const item of this.items.values()) {
      if ((item.version ?? 0) > version) changes.push({ jid: item.jid, item, version: item.version! })
    }
    for (const [jid, removedWith] of this.removed ?? []) {
      if (removedWith > version) changes.push({ jid, item: undefined, version: removedWith })
    }
    return changes.sort((one, other) => one.version - other.version)
  }

  private setItem(jid: string, item: RosterItem | undefined): void {
    const old = this.items.get(jid)
    if (old !== undefined) this.textLength -= lengthOf(old)
    if (item === undefined) this.items.delete(jid)
    else {
      this.items.set(jid, item)
      this.textLength += lengthOf(item)
    }
  }

  private forgetRemoved(): void {
    const { removed } = this
    if (removed === undefined) return
    let length = 0
    for (const jid of removed.keys()) length += jid.length
    for (const [jid, version] of removed) {
      if (removed.size <= MAX_REMOVED && length <= MAX_REMOVED_LENGTH) break
      removed.delete(jid)
      length -= jid.length
      this.since = version
    }
    if (removed.size === 0) this.removed = undefined
  }
}

/**
 * A number as Prosody's, so that those of an imported roster go on. It is ahead of the clock, so that an account that
 * is made anew under an old name, or comes from a backup, does not get to a number that a client has kept.
 */
function nextVersion(version: number): number {
  return Math.max(version + 1, Math.floor(Date.now() / 1000))
}

function lengthOf({ jid, name, groups }: RosterItem): number {
  let length = jid.length + (name?.length ?? 0)
  for (const group of groups) length += group.length
  return length
}
