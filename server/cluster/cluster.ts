/** This process among others that make one server: where stanzas go that are not for this one. */

import { randomBytes } from 'node:crypto'
import type { BucketClaims } from '../component-connections.ts'
import type { SessionEvent } from '../event-types.ts'
import type { Host } from '../host.ts'
import { bareOf, domainOf, type PreparedJid } from '../jid.ts'
import type { Logger } from '../log.ts'
import { pauseFeeder, resumeFeeders } from '../net/connection.ts'
import type { StanzaEvent, TargetKind } from '../router.ts'
import type { Server } from '../server.ts'
import type { Origin, Peer, Resource } from '../session.ts'
import { errorReply, mayAnswerWithError } from '../stanza/reply.ts'
import type { Stanza } from '../stanza/stanza.ts'
import { StreamError } from '../stream/errors.ts'
import { StreamSession } from '../stream/session.ts'
import { Bindings } from './bindings.ts'
import type { Bus, BusHandler, Member, Waiting } from './bus.ts'
import { Calls } from './calls.ts'
import { Directory, describeConnection, describeSession } from './directory.ts'
import { Holders } from './holders.ts'
import { type RemoteConnection, RemotePeer, type RemoteResource } from './peers.ts'
import type { AccountRegistry } from './registry.ts'
import { Turns } from './turns.ts'
import { decode, encodeStanza, encodeText, type Key, type Message } from './wire.ts'

/** Of what has gone before it was known. */
const UNKNOWN = { sequence: 0, since: 0 }

/** What is sent through another process. */
type Sent = Extract<Message, { kind: 'stanza' | 'text' }>

/** What an id begins with that is another process's to answer. */
const TAG_MARK = '~'

/** Of presence that changes rosters (RFC 6121 §3). */
const SUBSCRIPTION_TYPES: ReadonlySet<string> = new Set([
  'subscribe',
  'subscribed',
  'unsubscribe',
  'unsubscribed',
])

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
  /** Those that are held back until another process takes more. */
  private readonly waitingFor = new Map<string, Parameters<typeof pauseFeeder>[0]>()

  constructor(server: Server, { bus, registry }: ClusterParts, log: Logger) {
    this.server = server
    this.bus = bus
    this.registry = registry
    this.log = log
    this.tag = `${TAG_MARK}${bus.self.info.tag}.`
    this.directory = new Directory(this, server.hosts, this)
    this.calls = new Calls(bus, log)
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
    const priority = session.available ? session.priority : undefined
    this.bus.publish(
      `s${session.id}`,
      describeSession(session.fullJid!, { sequence, since: session.since }, priority),
    )
  }

  /** A session or connection of this process is gone. */
  gone(session: StreamSession): void {
    if (!this.known.delete(session.id)) return
    this.told(session)
    this.bus.publish(`${session.type === 'component' ? 'c' : 's'}${session.id}`, undefined)
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

  // Stanzas.

  /**
   * Whether a stanza is for another process, or it has to be found out whether it is: then it is taken there. What
   * changes subscriptions is worked on where it was sent: there is certain that nothing crosses it.
   *
   * @param event - about to be fired on the host of `to`
   */
  takes(event: StanzaEvent, host: Host, to: PreparedJid, target: TargetKind): boolean {
    const { stanza } = event
    const { type, id } = stanza.attrs
    const isIq = stanza.name === 'iq'
    if (isIq && (type === 'result' || type === 'error') && target !== 'full' && id?.[0] === TAG_MARK) {
      return this.returns(event, id)
    }
    if (this.bus.members.size < 2 || host.hostType !== 'host' || to.local === undefined) return false
    if (stanza.name === 'presence' && SUBSCRIPTION_TYPES.has(type ?? '')) return false
    if (target === 'full') {
      const account = host.accounts.get(to.local)
      if (account?.sessions.has(to.resource!)) return false
      const resource = this.directory.find(to.full)
      if (resource !== undefined) {
        this.forward(resource.member, event)
        return true
      }
      if (isIq) return type === 'get' || type === 'set' ? this.lookFor(event, host, to) : false
      if (account !== undefined) return false
    } else if (target !== 'bare' || isIq || host.accounts.has(to.local)) return false
    const home = this.directory.resourcesOf(to.bare)[0]
    if (home !== undefined) {
      this.forward(home.member, event)
      return true
    }
    return stanza.name === 'message' && type !== 'error' ? this.lookFor(event, host, to) : false
  }

  /** An answer to what another process has asked. */
  private returns(event: StanzaEvent, id: string): boolean {
    if (id.startsWith(this.tag)) return false
    const member = this.byTag.get(id.slice(1, id.indexOf('.')))
    if (member === undefined) event.origin.log.debug('dropped an answer to a process that is gone', { id })
    else this.forward(member, event)
    return true
  }

  /** Nobody is known to hold the account: whether somebody has just come is for the registry to say. */
  private lookFor(event: StanzaEvent, host: Host, to: PreparedJid): boolean {
    const looked = this.holderOf(host, to)
      .then((member) => {
        if (member !== undefined) this.forward(member, event)
        else this.server.router.arrive(event.origin, event.stanza, to)
      })
      .catch((error: unknown) => this.log.error('a stanza could not be delivered', { error, internal: true }))
    event.origin.hold?.(looked)
    return true
  }

  private async holderOf(host: Host, to: PreparedJid): Promise<Member | undefined> {
    try {
      const owners = await this.registry.ownersOf(host.name, to.local!)
      const wanted = to.resource === undefined ? undefined : owners.get(to.resource)
      for (const owner of wanted === undefined ? owners.values() : [wanted]) {
        const member = this.bus.members.get(owner.member)
        if (member !== undefined && member.id !== this.bus.self.id) return member
      }
    } catch (error) {
      // Redis is away: what is known here has to do.
      this.log.debug('an account could not be looked up', { error })
    }
    return undefined
  }

  /** Numbers presence that comes from this process in the order in which it does. */
  nextNumber(): number {
    return ++this.numbers
  }

  private forward(member: Member, { origin, stanza }: StanzaEvent): void {
    const number = stanza.name === 'presence' ? this.nextNumber() : 0
    const text = encodeStanza(this.keyOf(origin), '', stanza, number)
    this.post(member, text, isMissed(stanza) ? new Forwarded(origin, stanza) : undefined)
  }

  /** Takes to its process a stanza for a session or connection there, whose events are done. */
  sendStanza(peer: RemotePeer, stanza: Stanza): void {
    const from = domainOf(stanza.attrs.from ?? '')
    const key: Key = { kind: 'h', id: '', jid: from }
    const origin = this.server.hosts.get(from)
    const waiting = origin !== undefined && isMissed(stanza) ? new Forwarded(origin, stanza) : undefined
    this.post(peer.member, encodeStanza(key, peer.key.id, stanza), waiting)
  }

  sendText(peer: RemotePeer, text: string): void {
    this.post(peer.member, encodeText(peer.key.id, text))
  }

  private post(member: Member, text: string, waiting?: Waiting): void {
    this.bus.send(member.id, text, waiting)
    const held = this.waitingFor.get(member.id)
    if (held !== undefined) pauseFeeder(held)
  }

  private keyOf(origin: Origin): Key {
    if (origin instanceof StreamSession) {
      if (origin.type === 'component') return { kind: 'c', id: origin.id, jid: origin.host!.name }
      return { kind: 's', id: origin.id, jid: origin.fullJid ?? '' }
    }
    // What comes from another process and goes on to a third: errors go to who is named in it.
    return { kind: 'h', id: '', jid: origin.host?.name ?? '' }
  }

  // What the bus tells.

  received(from: Member, text: string): void | Promise<void> {
    const message = decode(text)
    if (message.kind === 'call') return this.calls.called(from, message.name, message.question, message.data)
    if (message.kind === 'answer') {
      this.calls.answered(message.question, message.data)
      return
    }
    const session = message.for === '' ? undefined : this.known.get(message.for)
    const joining = session === undefined ? undefined : this.joining.get(session)
    if (joining === undefined) return this.take(from, message, session)
    return new Promise((resolve) => {
      joining.held.push(() => resolve(this.take(from, message, session)))
    })
  }

  /** @param session - of this process, whom it is for; undefined if that is gone, or it is for nobody known yet */
  private take(from: Member, message: Sent, session: StreamSession | undefined): void | Promise<void> {
    if (message.kind === 'text') {
      session?.sendText(message.text)
      return session?.connection.drained()
    }
    const { stanza, number } = message
    if (message.for !== '') {
      if (session !== undefined && !session.destroyed) {
        if (session.type === 'component' && this.isOutdated(from, stanza)) return
        session.send(stanza)
        return session.connection.drained()
      }
      // Presence for one that is gone is for nobody.
      if (stanza.name === 'presence') return
    }
    const origin = this.originOf(from, message.from)
    if (origin === undefined) return
    const work = () => this.server.router.arrive(origin, stanza)
    if (!(origin instanceof RemotePeer)) {
      work()
      return
    }
    if (origin.type === 'component') origin.host.events.fire('component-sent', { peer: origin, stanza })
    if (number === 0) return origin.work(work)
    return origin.work(() => {
      origin.number = number
      work()
    })
  }

  /**
   * Whether a process says that a session of its own is gone, and another one has its full JID by now: a process that
   * did not answer for a while may end the old one later than the new one was bound. (To accounts presence goes
   * through events; there the plugin looks.)
   */
  private isOutdated(from: Member, { name, attrs }: Stanza): boolean {
    if (name !== 'presence' || attrs.type !== 'unavailable') return false
    const jid = attrs.from ?? ''
    if (this.server.fullJids.get(jid)?.available === true) return true
    const now = this.directory.find(jid)
    return now?.available === true && now.member !== from
  }

  private originOf(from: Member, key: Key): Origin | undefined {
    if (key.kind === 'h') return this.server.hosts.get(key.jid)
    const host = this.server.hosts.get(domainOf(bareOf(key.jid)))
    if (host === undefined) return undefined
    // It may have gone just now: what it is sent then is for nobody.
    return this.directory.peer(from, key.kind + key.id) ?? new RemotePeer(this, from, key, host, UNKNOWN)
  }

  joined(member: Member): void {
    this.byTag.set(member.info.tag, member)
    this.log.info('a process is in the cluster', { process: member.info.name, member: member.id })
  }

  left(member: Member, orderly: boolean): void {
    if (this.byTag.get(member.info.tag) === member) this.byTag.delete(member.info.tag)
    this.congested(member, false)
    this.directory.left(member, orderly)
    this.calls.left(member)
  }

  changed(member: Member, key: string, value: string | undefined): void {
    if (member.id !== this.bus.self.id) this.directory.changed(member, key, value)
  }

  congested(member: Member, is: boolean): void {
    if (is) {
      if (!this.waitingFor.has(member.id)) this.waitingFor.set(member.id, new Set())
      return
    }
    const held = this.waitingFor.get(member.id)
    this.waitingFor.delete(member.id)
    if (held !== undefined) resumeFeeders(held)
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

  resourceLeft(resource: RemoteResource): void {
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

/** Whether somebody has to hear that a stanza may be lost: presence is told anew, and nobody waits for it. */
function isMissed(stanza: Stanza): boolean {
  return stanza.name !== 'presence' && mayAnswerWithError(stanza)
}

/** A stanza under way to another process: if that dies, whoever has sent it gets an error. */
class Forwarded implements Waiting {
  private readonly origin: Origin
  private readonly stanza: Stanza

  constructor(origin: Origin, stanza: Stanza) {
    this.origin = origin
    this.stanza = stanza
  }

  lost(): void {
    this.origin.send(
      errorReply(
        this.stanza,
        'remote-server-timeout',
        'The process that had this to deliver has ended',
        'wait',
      ),
    )
  }
}

/** A tag for ids, the same as long as the process lives. */
export function newTag(): string {
  return randomBytes(6).toString('hex')
}
