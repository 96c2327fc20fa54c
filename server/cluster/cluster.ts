/** This process among others that make one server: what it holds, and what they tell of themselves. */

import { randomBytes } from 'node:crypto'
import type { BucketClaims } from '../component-connections.ts'
import type { SessionEvent } from '../event-types.ts'
import type { AccountSessions, Host } from '../host.ts'
import type { Logger } from '../log.ts'
import type { Server } from '../server.ts'
import type { Peer, Resource } from '../session.ts'
import type { Stanza } from '../stanza/stanza.ts'
import { StreamError } from '../stream/errors.ts'
import type { StreamSession } from '../stream/session.ts'
import { Arrivals } from './arrivals.ts'
import { Bindings } from './bindings.ts'
import type { Bus, BusHandler, Member } from './bus.ts'
import { Calls } from './calls.ts'
import { Directory, describeConnection, describeSession } from './directory.ts'
import { Holders } from './holders.ts'
import { Moves } from './moves.ts'
import { type RemoteConnection, RemotePeer, type RemoteResource } from './peers.ts'
import type { AccountRegistry } from './registry.ts'
import type { Arrived } from './returns.ts'
import { TAG_MARK, Traffic } from './traffic.ts'
import { Turns } from './turns.ts'
import { decode } from './wire.ts'

const END_CONNECTION = 'cluster/end-connection'
/** Milliseconds that another process has to end a connection. */
const END_MS = 5000

/** The parts of a cluster that run over something. */
export interface ClusterParts {
  readonly bus: Bus
  readonly registry: AccountRegistry
}

export class Cluster implements BusHandler {
  /** Ids of IQs that this process makes begin with it: their answers come back here, wherever they are given. */
  readonly tag: string
  readonly calls: Calls
  readonly bindings: Bindings
  readonly directory: Directory
  readonly registry: AccountRegistry
  readonly turns: Turns
  readonly holders: Holders
  readonly traffic: Traffic
  private readonly arrivals: Arrivals
  readonly moves: Moves
  /** Stanzas that have been to an account already, and whose resource was gone when they came to its process. */
  readonly returned = new WeakSet<Stanza>()
  /** A number that all processes share, and nobody else knows. */
  seed = 0
  private readonly server: Server
  private readonly log: Logger
  private readonly bus: Bus
  /** By their ids: sessions and connections that the others know. */
  private readonly known = new Map<string, StreamSession>()
  private readonly sequences = new WeakMap<StreamSession, number>()
  private numbers = 0
  private readonly byTag = new Map<string, Member>()
  /** Those that the others have taken for gone, before they were. */
  private readonly taken = new WeakSet<StreamSession>()
  /** Connections that have not been told that they are connected, and what others have sent them already. */
  private readonly joining = new Map<StreamSession, { held: (() => void)[]; stop(): void }>()

  constructor(server: Server, { bus, registry }: ClusterParts, log: Logger) {
    this.server = server
    this.bus = bus
    this.registry = registry
    this.log = log
    this.tag = `${TAG_MARK}${bus.self.info.tag}.`
    this.calls = new Calls(bus, log)
    this.traffic = new Traffic(server, this, bus, log)
    this.directory = new Directory(this.traffic, server.hosts, this)
    this.moves = new Moves(log)
    this.arrivals = new Arrivals(server, this, this.traffic, bus)
    this.bindings = new Bindings(this, registry)
    this.turns = new Turns(bus, this.calls, registry)
    this.holders = new Holders(this.directory, this.calls, registry, log)
    this.calls.on(END_CONNECTION, (id) => {
      this.known.get(id as string)?.close(new StreamError('conflict', 'Replaced by a new connection'))
      return true
    })
  }

  /** @throws Error (as a rejection) that says why the others can not be joined */
  join(): Promise<void> {
    return this.bus.join(this)
  }

  /** What hosts need to know. @throws Error (as a rejection) if it can not be found out */
  async prepare(): Promise<void> {
    try {
      this.seed = await this.registry.sharedSeed()
    } catch (error) {
      await this.leave()
      throw error
    }
  }

  async leave(): Promise<void> {
    await this.bus.leave()
    await this.registry.close()
  }

  get members(): ReadonlyMap<string, Member> {
    return this.bus.members
  }

  get self(): Member {
    return this.bus.self
  }

  state(): ReturnType<Bus['state']> {
    return this.bus.state()
  }

  /** Numbers presence that comes from this process in the order in which it does. */
  nextNumber(): number {
    return ++this.numbers
  }

  // What this process holds.

  /** Tells the others of a session that has been bound. Resolves when this process knows all who were before it. */
  bound(session: StreamSession, sequence: number): Promise<void> {
    this.sequences.set(session, sequence)
    this.known.set(session.id, session)
    this.availabilityChanged(session)
    return this.bus.published()
  }

  /** A bound session is available, or is not any more, or has another priority. */
  availabilityChanged(session: StreamSession): void {
    const sequence = this.sequences.get(session)
    if (sequence === undefined || this.known.get(session.id) !== session) return
    this.moves.changes(session.bareJid!)
    const priority = session.available ? session.priority : undefined
    this.bus.publish(
      `s${session.id}`,
      describeSession(session.fullJid!, { sequence, since: session.since }, priority),
    )
  }

  /** A session or connection of this process is gone. */
  gone(session: StreamSession): void {
    if (!this.known.delete(session.id)) return
    if (session.bareJid !== undefined) this.moves.changes(session.bareJid)
    this.told(session)
    this.bus.publish(`${session.type === 'component' ? 'c' : 's'}${session.id}`, undefined)
  }

  /**
   * Something that had come here for an account goes on, because the session has ended that was to get it. What is sent
   * to the account from here waits until then.
   *
   * @param go - sends it on; it does not fail
   * @returns what settles when that is done
   */
  goesOn(bareJid: string, go: () => Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const order = this.traffic.nextOrder()
      const send = () => {
        const sent = go()
        resolve(sent)
        return sent
      }
      this.moves.returned(bareJid, true, order, send, () => {})
    })
  }

  /**
   * Tells the others of a component's connection.
   *
   * @returns its sequence, when this process knows all that were before it
   */
  async connected(session: StreamSession, shares: boolean): Promise<number> {
    const sequence = await this.registry.nextSequence()
    // It may have ended meanwhile: nobody would take it away again.
    if (session.destroyed) return sequence
    this.sequences.set(session, sequence)
    this.known.set(session.id, session)
    // XEP-0114 §3: nothing comes before the answer to the handshake. Others may send something once they know of it.
    const stop = session.host!.events.add(
      'component-authenticated',
      (event: SessionEvent) => {
        if (event.session === session) this.told(session)
      },
      -1000,
    )
    this.joining.set(session, { held: [], stop })
    this.bus.publish(
      `c${session.id}`,
      describeConnection(session.host!.name, { sequence, since: session.since }, shares),
    )
    await this.bus.published()
    return sequence
  }

  /** A connection has been told that it is connected, or never will be. */
  private told(session: StreamSession): void {
    const joining = this.joining.get(session)
    if (joining === undefined) return
    this.joining.delete(session)
    joining.stop()
    for (const go of joining.held) go()
  }

  /** Waits until this process knows the others again, after they had taken it for dead. @returns whether it does */
  othersKnown(ms: number): Promise<boolean> {
    return this.bus.othersKnown(ms)
  }

  /** Other processes that are known to hold resources of an account. */
  holdersOf(host: Host, username: string): ReadonlySet<string> {
    return this.holders.of(host, username)
  }

  /** The session or connection of this process that the others know by this id. */
  sessionOf(id: string): StreamSession | undefined {
    return this.known.get(id)
  }

  /** The other process whose tag a text begins with, if it is there. */
  memberOf(text: string): Member | undefined {
    return text[0] === TAG_MARK ? this.byTag.get(text.slice(1, text.indexOf('.'))) : undefined
  }

  /** The sessions of an account that are bound at this process. */
  accountOf(host: string, username: string): AccountSessions | undefined {
    return this.server.hosts.get(host)?.accounts.get(username)
  }

  /** Resources of one account, here and elsewhere, by who was bound first. */
  inOrder(local: Iterable<StreamSession>, remote: readonly RemoteResource[]): Resource[] {
    const all: { sequence: number; resource: Resource }[] = []
    for (const resource of local) all.push({ sequence: this.sequences.get(resource) ?? 0, resource })
    for (const resource of remote) all.push({ sequence: resource.sequence, resource })
    return all.sort((one, other) => one.sequence - other.sequence).map(({ resource }) => resource)
  }

  /** Who decides whose a component's buckets are. */
  claimsFor(domain: string): BucketClaims {
    const nameOf = (peer: Peer) =>
      peer instanceof RemotePeer
        ? `${peer.member.id} ${peer.key.id}`
        : `${this.bus.self.id} ${(peer as StreamSession).id}`
    return {
      claim: async (bucket, candidate, there) => {
        const names = there.map(nameOf)
        const owner = await this.registry.claimBucket(domain, bucket, nameOf(candidate), names)
        return there[names.indexOf(owner)]
      },
    }
  }

  /** Ends connections of a component to other processes, for one that replaces them. */
  async endConnections(connections: readonly RemoteConnection[]): Promise<void> {
    for (const { member, key } of connections) {
      await this.calls.ask([member.id], END_CONNECTION, key.id, END_MS)
    }
  }

  // What the bus tells.

  received(from: Member, text: string, number: number): void | Promise<void> {
    const message = decode(text)
    switch (message.kind) {
      case 'call':
        return this.calls.called(from, message.name, message.question, message.data)
      case 'answer':
        this.calls.answered(message.question, message.data)
        return
      default: {
        const session = message.for === '' ? undefined : this.known.get(message.for)
        const joining = session === undefined ? undefined : this.joining.get(session)
        const arrived: Arrived = { from, text, number }
        if (joining === undefined) return this.arrivals.arrived(arrived, message, session)
        return new Promise((resolve) => {
          joining.held.push(() => resolve(this.arrivals.arrived(arrived, message, session)))
        })
      }
    }
  }

  joined(member: Member): void {
    this.byTag.set(member.info.tag, member)
    this.log.info('a process is in the cluster', { process: member.info.name, member: member.id })
  }

  left(member: Member, orderly: boolean): void {
    if (this.byTag.get(member.info.tag) === member) this.byTag.delete(member.info.tag)
    this.traffic.congested(member, false)
    this.directory.left(member, orderly)
    this.calls.left(member)
  }

  changed(member: Member, key: string, value: string | undefined): void {
    if (member.id !== this.bus.self.id) this.directory.changed(member, key, value)
  }

  congested(member: Member, is: boolean): void {
    this.traffic.congested(member, is)
  }

  /** The others have given this process's sessions up: whoever has taken their places must be alone there. */
  expelled(): void {
    this.log.error('the other processes have taken this one for dead: all its sessions end', {
      sessions: this.known.size,
    })
    for (const session of this.known.values()) this.taken.add(session)
    // They are told of anew; of those who have gone meanwhile nobody would tell.
    for (const member of [...this.byTag.values()]) this.left(member, true)
    for (const session of [...this.known.values()]) {
      // The others have been told that it is gone, and may see another in its place by now.
      session.presence = undefined
      session.close(new StreamError('reset', 'This process was cut off from the others'))
    }
    this.known.clear()
  }

  /** Whether the others have taken a session for gone: nothing is to be told of its end. */
  hasLost(session: StreamSession): boolean {
    return this.taken.has(session)
  }

  // What the directory tells.

  connectionJoined(connection: RemoteConnection): void {
    connection.host.events.fire('component-joined', { connection })
  }

  connectionLeft(connection: RemoteConnection): void {
    connection.host.events.fire('component-left', { connection })
    this.server.events.fire('peer-left', { peer: connection })
  }

  accountChanges(bareJid: string): void {
    this.moves.changes(bareJid)
  }

  resourceLeft(resource: RemoteResource): void {
    this.moves.changes(resource.bareJid)
    if (resource.lost) resource.giveUp()
    this.server.events.fire('peer-left', { peer: resource })
    if (resource.lost && this.leads) resource.host.events.fire('resource-lost', { resource })
  }

  /** Whether this process does what one of them has to do for all. */
  get leads(): boolean {
    const { self, members, knows } = this.bus
    // Who was cut off may think that it is alone.
    if (!knows) return false
    for (const { id } of members.values()) if (id < self.id) return false
    return true
  }
}

/** A tag for ids, the same as long as the process lives. */
export function newTag(): string {
  return randomBytes(6).toString('hex')
}
