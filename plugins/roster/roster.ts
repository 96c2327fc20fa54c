/** One account's roster: its items, the subscription requests that wait for an answer, and how both are stored. */

/** RFC 6121 §2.1.2.5; what else the attribute may say (`remove`) is no state. */
export type Subscription = 'none' | 'to' | 'from' | 'both'

/** A contact on the list (RFC 6121 §2.1.2). */
export interface RosterItem {
  /** Bare JID, prepared. */
  readonly jid: string
  readonly subscription: Subscription
  /** The account has asked for the contact's presence and waits for an answer. */
  readonly ask: boolean
  /** What the account calls the contact. */
  readonly name?: string
  readonly groups: readonly string[]
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

/** A roster as other plugins see it. */
export interface ReadonlyRoster {
  readonly items: ReadonlyMap<string, RosterItem>
  readonly requests: ReadonlyMap<string, SubscriptionRequest>
  contact(jid: string): Contact
}

/** What is in the store. Lists, not tables, so that no JID can be a key that means something else. */
export interface StoredRoster {
  items: StoredItem[]
  requests: (SubscriptionRequest & { from: string })[]
}

interface StoredItem {
  jid: string
  subscription: Subscription
  ask?: true
  name?: string
  groups?: readonly string[]
}

/** A roster that can be changed; only the Rosters do that. */
export class Roster implements ReadonlyRoster {
  readonly items = new Map<string, RosterItem>()
  readonly requests = new Map<string, SubscriptionRequest>()
  /** Characters of all items, for the limit on what an account may store. */
  textLength = 0

  static decode(stored: StoredRoster | undefined): Roster {
    const roster = new Roster()
    if (stored === undefined) return roster
    for (const { jid, subscription, ask, name, groups } of stored.items) {
      roster.setItem(jid, { jid, subscription, ask: ask === true, name, groups: groups ?? [] })
    }
    for (const { from, ...request } of stored.requests) roster.requests.set(from, request)
    return roster
  }

  /** @returns undefined if there is nothing to be stored */
  encode(): StoredRoster | undefined {
    if (this.items.size === 0 && this.requests.size === 0) return undefined
    const items: StoredItem[] = []
    for (const { jid, subscription, ask, name, groups } of this.items.values()) {
      items.push({
        jid,
        subscription,
        ...(ask && { ask }),
        ...(name !== undefined && { name }),
        ...(groups.length > 0 && { groups }),
      })
    }
    const requests = [...this.requests].map(([from, request]) => ({ from, ...request }))
    return { items, requests }
  }

  contact(jid: string): Contact {
    return { item: this.items.get(jid), request: this.requests.get(jid) }
  }

  setContact(jid: string, { item, request }: Contact): void {
    this.setItem(jid, item)
    if (request === undefined) this.requests.delete(jid)
    else this.requests.set(jid, request)
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
}

function lengthOf({ jid, name, groups }: RosterItem): number {
  let length = jid.length + (name?.length ?? 0)
  for (const group of groups) length += group.length
  return length
}
