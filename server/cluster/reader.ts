/** Reads what the others tell, in the order in which it happened, and everything anew where some is missing. */

import { unpack } from './batch.ts'
import type { Member, MemberInfo } from './bus.ts'
import type { Membership, Peer } from './membership.ts'
import type { BatchKind } from './publication.ts'
import { readHeading } from './shipment.ts'
import type { ClusterClient, ClusterStore, StreamEntry, Streams } from './store.ts'

/** Who is told of what was read. */
export interface ReaderHost {
  readonly life: Membership
  /** Ids of members that are gone. */
  readonly gone: { has(id: string): boolean }
  /** Waits until it is certain that this is still a member, or has ended. */
  certain(life: Membership): boolean | Promise<void>
  joined(life: Membership, member: Member, seq: number): Peer
  left(life: Membership, peer: Peer, orderly: boolean): void
  changed(peer: Peer, key: string, value: string | undefined): void
  received(peer: Peer, text: string, number: number): void | Promise<void>
  /** There is news of messages to the member. @param missing - some have to be sent again */
  acknowledged(peer: Peer, missing: boolean): void
  /** The member should have a receipt. */
  owes(peer: Peer): void
  /** Redis says that this member is gone. */
  suspect(): void
  failed(error: unknown): void
  retry(ms: number): Promise<unknown>
}

const RETRY_MS = 50
const NOT_JOINED_MS = 1000

export class Reader {
  private readonly store: ClusterStore
  private readonly host: ReaderHost
  private readonly client: ClusterClient
  private readonly blockMs: number
  private stopped = false

  /** @param client - of a connection of its own, since it waits. @param blockMs - for how long */
  constructor(store: ClusterStore, host: ReaderHost, client: ClusterClient, blockMs: number) {
    this.store = store
    this.host = host
    this.client = client
    this.blockMs = blockMs
  }

  stop(): void {
    this.stopped = true
  }

  async run(): Promise<void> {
    while (!this.stopped) {
      const { life } = this.host
      try {
        if (!life.joined) await life.moved.wait(NOT_JOINED_MS)
        else if (life.resync) await this.snapshot(life)
        else {
          const { changesRead, inboxRead, self } = life
          const streams = await this.store.read(this.client, self.id, changesRead, inboxRead, this.blockMs)
          await this.take(life, streams)
        }
      } catch (error) {
        if (this.stopped) return
        this.host.failed(error)
        await this.host.retry(RETRY_MS)
      }
    }
  }

  /** Asks for everything, and tells what is other than it was known. */
  async snapshot(life: Membership): Promise<void> {
    const { store, host } = this
    life.resync = false
    try {
      // Of this one Redis has at least so much, and the others' holdings are asked for after that.
      const storedBefore = life.publication.storedLast
      const roster = await store.roster([...life.peers.keys()])
      const all = new Map<string, Map<string, string>>()
      for (const id of roster.members.keys()) {
        if (id !== life.self.id && !host.gone.has(id)) all.set(id, await store.holdings(id))
      }
      const inbox = await this.restOfInbox(life, roster.clock)
      if (await this.over(life)) return
      life.snapshotAt = roster.clock
      for (const [id, entries] of all) {
        const { seq, complete } = roster.stored.get(id)!
        const info = JSON.parse(roster.members.get(id)!) as MemberInfo
        const peer = life.peers.get(id) ?? host.joined(life, { id, info }, 0)
        peer.holdings.snapshot(seq, entries, complete, (key, value) => host.changed(peer, key, value))
      }
      life.moved.fire()
      // What came from those who are gone comes before that.
      for (const entry of inbox) {
        await this.takeMessages(life, entry)
        if (life.ended || this.stopped) return
      }
      for (const [id, orderly] of roster.gone) {
        const peer = life.peers.get(id)
        if (peer !== undefined && !roster.members.has(id)) host.left(life, peer, orderly)
      }
      life.changesRead = roster.clock
      life.publication.echoed(storedBefore)
      // Redis has lost what was read, and its clock is behind.
      if (life.inboxRead > roster.clock) life.inboxRead = 0
      if (life.inboxCut > life.inboxRead) life.inboxCut = 0
    } catch (error) {
      life.resync = true
      throw error
    }
  }

  private async restOfInbox(life: Membership, upTo: number): Promise<StreamEntry[]> {
    const rest: StreamEntry[] = []
    for (let after = life.inboxRead; after < upTo; ) {
      const page = await this.store.inbox(life.self.id, after, upTo)
      rest.push(...page)
      after = page.at(-1)?.at ?? upTo
    }
    return rest
  }

  /** Waits until it is certain that this is a member. @returns whether it is not any more */
  private async over(life: Membership): Promise<boolean> {
    const certain = this.host.certain(life)
    if (certain !== true) await certain
    return life.ended || this.stopped
  }

  private async take(life: Membership, { changes, inbox }: Streams): Promise<void> {
    let c = 0
    let i = 0
    while (c < changes.length || i < inbox.length) {
      if (this.host.certain(life) !== true && (await this.over(life))) return
      if (life.ended || life.resync || this.stopped) return
      const change = changes[c]
      const batch = inbox[i]
      if (batch === undefined || (change !== undefined && change.at < batch.at)) {
        if (!this.takeChange(life, change!)) {
          life.resync = true
          return
        }
        life.changesRead = change!.at
        c++
      } else {
        if (!(await this.takeMessages(life, batch))) return
        i++
      }
    }
  }

  /** @returns false if something before it is missing */
  private takeChange(life: Membership, { fields }: StreamEntry): boolean {
    const { host } = this
    const id = fields[1]!
    const type = fields[3]!
    if (id === life.self.id) {
      if (type === 'l') host.suspect()
      else if (type !== 'j') life.publication.echoed(Number(fields[5]))
      return true
    }
    if (host.gone.has(id)) return true
    const peer = life.peers.get(id)
    if (type === 'j') {
      if (peer === undefined) host.joined(life, { id, info: JSON.parse(fields[5]!) as MemberInfo }, 0)
      return true
    }
    if (peer === undefined) return type === 'l'
    if (type === 'l') {
      host.left(life, peer, fields[5] === '1')
      return true
    }
    const tell = (key: string, value: string | undefined) => host.changed(peer, key, value)
    return peer.holdings.apply(Number(fields[5]), fields[7] as BatchKind, changesIn(fields), tell)
  }

  /** @returns whether the next entry can be worked on */
  private async takeMessages(life: Membership, { at, fields }: StreamEntry): Promise<boolean> {
    const { host } = this
    const from = fields[1]!
    const peer = life.peers.get(from)
    if (peer !== undefined) await this.takeFrom(life, peer, fields)
    else if (from !== life.self.id && !host.gone.has(from) && at > life.snapshotAt) {
      // Its joining was missed.
      life.resync = true
      return false
    }
    if (life.ended || life.resync || this.stopped) return false
    life.inboxRead = at
    return true
  }

  private async takeFrom(life: Membership, peer: Peer, fields: readonly string[]): Promise<void> {
    const { host } = this
    const heading = readHeading(fields[3]!)
    const known = peer.in.begin(heading.first, heading.asks)
    if (known !== undefined) {
      const texts = unpack(fields[5]!)
      for (let i = Math.max(known, 0); i < texts.length; i++) {
        if (host.certain(life) !== true && (await this.over(life))) return
        if (this.stopped) return
        const text = texts[i]!
        peer.in.take(text.length, host.received(peer, text, heading.first + i), () => host.owes(peer))
      }
    }
    // After what was said before it: who hears that something has arrived, knows what has become of it.
    const news = peer.out.acknowledged(heading.got, heading.settled, performance.now())
    for (const number of heading.early) peer.out.takeWaiting(number)?.done?.()
    if (heading.missing) peer.out.rewind()
    if (news || heading.missing) host.acknowledged(peer, heading.missing)
    if (peer.in.owes) host.owes(peer)
  }
}

function* changesIn(fields: readonly string[]): Generator<[string, string | undefined]> {
  const sets = Number(fields[9])
  for (let i = 10; i + 1 < fields.length; i += 2) {
    yield [fields[i]!, i < 10 + 2 * sets ? fields[i + 1]! : undefined]
  }
}
