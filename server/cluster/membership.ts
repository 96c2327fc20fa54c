/** What a process knows and holds while it is one member: from its joining to its leaving, or its expulsion. */

import type { Member } from './bus.ts'
import { Holdings } from './holdings.ts'
import { Incoming } from './incoming.ts'
import { Outgoing } from './outgoing.ts'
import { Publication } from './publication.ts'
import { Signal } from './signal.ts'

/** Another member, what it holds, and the messages between us. */
export class Peer {
  readonly member: Member
  readonly holdings: Holdings
  readonly out = new Outgoing()
  readonly in = new Incoming()

  constructor(member: Member, seq: number) {
    this.member = member
    this.holdings = new Holdings(seq)
  }
}

/** When a command was sent. */
export interface Moment {
  /** By the monotonic clock. */
  readonly at: number
  /** Up to where the streams were worked on. */
  readonly read: number
}

export class Membership {
  readonly self: Member
  readonly peers = new Map<string, Peer>()
  /** The same, as others may see it; with this process. */
  readonly members: Map<string, Member>
  readonly publication = new Publication()
  /** Whether Redis knows of it. */
  joined = false
  /** Redis has lost it, and it becomes a member once more. */
  again = false
  /** It has left, or the others have taken it for dead. */
  ended = false
  /** The last count of its commands that Redis has told. */
  beat = 0
  /** When the last command was sent by which it knows that it is a member, by the monotonic clock. */
  confirmed = Number.NEGATIVE_INFINITY
  /** Up to where the streams were worked on. */
  changesRead = 0
  inboxRead = 0
  /** Up to where the inbox was cut. */
  inboxCut = 0
  /** Everything has to be asked for. */
  resync = true
  /** When that was done last, by Redis's clock. */
  snapshotAt = 0
  /** Who is not there any more, without anybody having said that it is gone. */
  readonly missing = new Set<string>()
  /** It was confirmed, or has ended, or is a member now, or knows the others. */
  readonly moved = new Signal()

  constructor(self: Member) {
    this.self = self
    this.members = new Map([[self.id, self]])
  }

  now(): Moment {
    return { at: performance.now(), read: Math.max(this.changesRead, this.inboxRead) }
  }

  confirm({ at }: Moment): void {
    if (at > this.confirmed) this.confirmed = at
    this.moved.fire()
  }

  end(): void {
    this.ended = true
    this.joined = false
    this.moved.fire()
  }

  add(member: Member, seq: number): Peer {
    const peer = new Peer(member, seq)
    this.peers.set(member.id, peer)
    this.members.set(member.id, member)
    return peer
  }

  remove(id: string): void {
    this.peers.delete(id)
    this.members.delete(id)
    this.missing.delete(id)
  }

  /** Up to where the inbox can be cut; 0 if it is already. */
  get cut(): number {
    return this.inboxRead > this.inboxCut ? this.inboxRead : 0
  }

  /** What is not known to have arrived is sent again. */
  rewind(): void {
    for (const peer of this.peers.values()) peer.out.rewind()
  }

  /** Whether all messages from here are done, and those that came. */
  get idle(): boolean {
    for (const peer of this.peers.values()) if (peer.out.length > 0 || !peer.in.idle) return false
    return this.publication.pending.length === 0
  }
}
