/**
 * The way of stanzas between processes. A stanza for an account goes to the process that holds the full JID, or the
 * account's first session, and is worked on there; if that process finds that another one should, it gives the stanza
 * back, and its sender's process sends it anew. What that process makes of it for sessions elsewhere goes there as
 * copies, which are only handed over.
 */

import type { Host } from '../host.ts'
import { bareOf, domainOf, type PreparedJid, prepareJid } from '../jid.ts'
import type { Logger } from '../log.ts'
import { pauseFeeder, resumeFeeders } from '../net/connection.ts'
import type { Elsewhere, StanzaEvent, TargetKind } from '../router.ts'
import type { Server } from '../server.ts'
import type { Origin, Resource } from '../session.ts'
import { errorReply, mayAnswerWithError } from '../stanza/reply.ts'
import { Stanza } from '../stanza/stanza.ts'
import { StreamSession } from '../stream/session.ts'
import { detached } from '../text.ts'
import type { Bus, Member, Waiting } from './bus.ts'
import type { Calls } from './calls.ts'
import type { Directory } from './directory.ts'
import type { Moves } from './moves.ts'
import { type Among, type OpenRequest, type PeerLink, RemotePeer, RemoteResource } from './peers.ts'
import type { AccountRegistry } from './registry.ts'
import { decode, encodeStanza, encodeText, type Key, type StanzaMessage, type TextMessage } from './wire.ts'

/** Of what has gone before it was known. */
const UNKNOWN = { sequence: 0, since: 0 }

/** What an id begins with that is another process's to answer. */
export const TAG_MARK = '~'

const RETURNED = 'cluster/returned'
/** More waits to be sent to a session or connection, named by its id, than is good. */
const FILLED = 'cluster/filled'
/** It takes more again, or is gone. */
const DRAINED = 'cluster/drained'

/**
 * Stands in the key of a copy beside others, and before the sequences of all that get one: it comes back, and is only
 * sent again if none of them is there any more.
 */
const FIRST = '+'
/** The same for those that nobody misses. */
const OTHER = '-'
/** Stands in the key of a stanza whose events have been fired at another process. */
const AGAIN = '='

/** Characters that even an empty stanza counts for while it waits. */
const LEAST_SIZE = 500

/** Of presence that changes rosters (RFC 6121 §3). */
const SUBSCRIPTION_TYPES: ReadonlySet<string> = new Set([
  'subscribe',
  'subscribed',
  'unsubscribe',
  'unsubscribed',
])

/** A message of another process. */
export interface Arrived {
  readonly from: Member
  /** All of it. */
  readonly text: string
  /** Among the messages from there. */
  readonly number: number
}

/** What is told of a stanza that has come back: the number that it had on its way, and itself. */
type Returned = readonly [number: number, text: string]

/** What traffic needs of the rest of the cluster. */
export interface TrafficHost {
  readonly tag: string
  readonly directory: Directory
  readonly registry: AccountRegistry
  readonly calls: Calls
  readonly moves: Moves
  /** Stanzas whose events have been fired, and that go to somebody else now. */
  readonly returned: WeakSet<Stanza>
  /** The session or connection of this process that the others know by this id. */
  sessionOf(id: string): StreamSession | undefined
  /** The other process whose tag a text begins with, if it is there. */
  memberOf(text: string): Member | undefined
  /** Numbers presence that comes from this process. */
  nextNumber(): number
}

export class Traffic implements Elsewhere, PeerLink {
  private readonly server: Server
  private readonly cluster: TrafficHost
  private readonly bus: Bus
  private readonly log: Logger
  /** Those that are held back until another process takes more. */
  private readonly waitingFor = new Map<string, Parameters<typeof pauseFeeder>[0]>()
  /** For what waits for nothing: it was given back, and comes before what waits. */
  private readonly atOnce: Elsewhere = {
    takes: (event, host, to, target) =>
      host.hostType === 'host' && to.local !== undefined && this.goesElsewhere(event, host, to, target),
  }
  /** Sessions and connections of this process to which more waits to be sent than is good, and who knows of it. */
  private readonly full = new Map<StreamSession, Set<string>>()
  /** Of stanzas that have come back, in the order in which they did so for the first time. */
  private readonly tickets = new WeakMap<Stanza, number>()
  private lastTicket = 0
  /** By the process that they go back to, and the account: how many it has not taken back yet. */
  private readonly goingBack = new Map<string, number>()
  /** What the last stanza is looked for with, if it is. */
  private looked: Promise<unknown> | undefined

  constructor(server: Server, cluster: TrafficHost, bus: Bus, log: Logger) {
    this.server = server
    this.cluster = cluster
    this.bus = bus
    this.log = log
    cluster.calls.on(RETURNED, (returned, from) => this.returned(from, returned as Returned))
    cluster.calls.on(FILLED, (id, from) => this.peerOf(from, id as string)?.filled())
    cluster.calls.on(DRAINED, (id, from) => this.peerOf(from, id as string)?.drained())
  }

  // What goes.

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
      return this.answers(event, id)
    }
    if (this.bus.members.size < 2 || host.hostType !== 'host' || to.local === undefined) return false
    if (isIq ? target !== 'full' : stanza.name === 'presence' && SUBSCRIPTION_TYPES.has(type ?? ''))
      return false
    if (this.cluster.moves.any && this.waits(event, to)) return true
    return this.goesElsewhere(event, host, to, target)
  }

  /** Whether a stanza is held back, because the account moves. */
  private waits({ stanza, origin }: StanzaEvent, to: PreparedJid): boolean {
    const waiting = {}
    const held = this.cluster.moves.holdOwn(to.bare, sizeOf(stanza), () => {
      try {
        return this.sendAtOnce(origin, stanza, to)
      } finally {
        endWhenReleased(origin, waiting)
      }
    })
    if (held === undefined) return false
    // It is not acknowledged before it has gone.
    if (stanza.name === 'message') origin.begin?.(waiting, true)
    if (held.until !== undefined) origin.hold?.(held.until)
    return true
  }

  /** @returns what it is looked for with, if it is */
  private sendAtOnce(origin: Origin, stanza: Stanza, to: PreparedJid): Promise<unknown> | undefined {
    this.looked = undefined
    this.server.router.arrive(origin, stanza, to, this.atOnce)
    return this.looked
  }

  private goesElsewhere(event: StanzaEvent, host: Host, to: PreparedJid, target: TargetKind): boolean {
    const { stanza } = event
    const { type } = stanza.attrs
    const { directory } = this.cluster
    const account = host.accounts.get(to.local!)
    if (target === 'full') {
      if (account?.sessions.has(to.resource!)) return false
      const resource = directory.find(to.full)
      if (resource !== undefined) {
        this.forward(resource.member, event, resource)
        return true
      }
      if (stanza.name === 'iq') {
        return type === 'get' || type === 'set' ? this.lookFor(event, host, to) : false
      }
    }
    if (account !== undefined) return false
    const home = directory.resourcesOf(to.bare)[0]
    if (home !== undefined) {
      this.forward(home.member, event, home)
      return true
    }
    return stanza.name === 'message' && type !== 'error' ? this.lookFor(event, host, to) : false
  }

  /** An answer to what another process has asked. */
  private answers(event: StanzaEvent, id: string): boolean {
    if (id.startsWith(this.cluster.tag)) return false
    const member = this.cluster.memberOf(id)
    if (member === undefined) event.origin.log.debug('dropped an answer to a process that is gone', { id })
    else this.forward(member, event, undefined)
    return true
  }

  /** Nobody is known to hold the account: whether somebody has just come is for the registry to say. */
  private lookFor(event: StanzaEvent, host: Host, to: PreparedJid): boolean {
    const looked = this.holderOf(host, to)
      .then((member) => {
        if (member !== undefined) {
          const sent = this.forward(member, event, undefined)
          // It is over no resource that is known here: what comes next may go another way as soon as one is.
          if (isMissed(event.stanza)) this.cluster.moves.follows(to.bare, member.id, sent)
        } else this.server.router.arrive(event.origin, event.stanza, to)
      })
      .catch((error: unknown) => this.log.error('a stanza could not be delivered', { error, internal: true }))
    event.origin.hold?.(looked)
    this.looked = looked
    return true
  }

  private async holderOf(host: Host, to: PreparedJid): Promise<Member | undefined> {
    try {
      const owners = await this.cluster.registry.ownersOf(host.name, to.local!)
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

  private forward(member: Member, { origin, stanza }: StanzaEvent, over: RemoteResource | undefined): number {
    const number = stanza.name === 'presence' ? this.cluster.nextNumber() : this.ticketOf(stanza)
    const key = this.cluster.returned.has(stanza)
      ? { kind: 'h' as const, id: AGAIN, jid: origin.host?.name ?? '' }
      : this.keyOf(origin)
    const text = encodeStanza(key, '', stanza, number)
    const waiting = isMissed(stanza) ? new Forwarded(origin, stanza, origin) : undefined
    const sent = this.post(member, text, waiting)
    if (over === undefined) return sent
    over.sent = sent
    if (waiting !== undefined && stanza.name === 'iq') over.asked(stanza.attrs, waiting)
    over.fed()
    return sent
  }

  /** Takes to its process a copy for a session or connection there, whose events are done. */
  sendStanza(peer: RemotePeer, stanza: Stanza, among?: Among): void {
    const from = domainOf(stanza.attrs.from ?? '')
    const id = among === undefined ? '' : among === 'other' ? OTHER : FIRST + sequencesOf(among)
    const origin = among === 'other' ? undefined : this.server.hosts.get(from)
    const sender = this.server.fullJids.get(stanza.attrs.from ?? '')
    const comesBack = among !== 'other' && isMissed(stanza)
    const waiting = origin !== undefined && comesBack ? new Forwarded(origin, stanza, sender) : undefined
    const text = encodeStanza({ kind: 'h', id, jid: from }, peer.key.id, stanza, this.ticketOf(stanza))
    const sent = this.post(peer.member, text, waiting)
    if (comesBack && peer instanceof RemoteResource) peer.sent = sent
    peer.fed()
  }

  /** What it takes with it so that its place is known if it comes back once more; 0 if it has not come back. */
  private ticketOf(stanza: Stanza): number {
    return this.lastTicket === 0 ? 0 : (this.tickets.get(stanza) ?? 0)
  }

  sendText(peer: RemotePeer, text: string): void {
    this.post(peer.member, encodeText(peer.key.id, text))
    peer.fed()
  }

  private post(member: Member, text: string, waiting?: Waiting): number {
    const number = this.bus.send(member.id, text, waiting)
    const held = this.waitingFor.get(member.id)
    if (held !== undefined) pauseFeeder(held)
    return number
  }

  private keyOf(origin: Origin): Key {
    if (origin instanceof StreamSession) {
      if (origin.type === 'component') return { kind: 'c', id: origin.id, jid: origin.host!.name }
      return { kind: 's', id: origin.id, jid: origin.fullJid ?? '' }
    }
    // What comes from another process and goes on to a third: errors go to who is named in it.
    return { kind: 'h', id: '', jid: origin.host?.name ?? '' }
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

  // What comes.

  /**
   * @param session - of this process, whom it is for; undefined if that is gone, or it is for nobody known yet
   * @returns what settles when the stanza is done with; undefined if it is
   */
  arrived(
    arrived: Arrived,
    message: StanzaMessage | TextMessage,
    session: StreamSession | undefined,
  ): void | Promise<void> {
    const { from } = arrived
    if (message.kind === 'text') {
      if (session === undefined) return
      session.sendText(message.text)
      this.slowDown(from, session)
      return
    }
    const { stanza } = message
    if (stanza.name === 'iq' && !isMissed(stanza)) {
      this.cluster.directory.find(stanza.attrs.from ?? '')?.answered(stanza.attrs)
    }
    if (message.for !== '') {
      if (session !== undefined && !session.destroyed) {
        if (session.type === 'component' && this.isOutdated(from, stanza)) return
        session.send(stanza)
        this.slowDown(from, session)
        return
      }
      return isMissed(stanza) && message.from.id !== OTHER ? this.giveBack(arrived, message) : undefined
    }
    if (message.from.id === AGAIN) this.cluster.returned.add(stanza)
    const to = prepareJid(stanza.attrs.to ?? '')
    const origin = this.originOf(from, message.from)
    if (to === undefined) return
    if (origin === undefined) {
      this.refuse(from, message)
      return
    }
    let back: Promise<void> | undefined
    const goesBack = () => {
      if (!this.goesBack(from, message, to)) return false
      back = this.giveBackAll(arrived, message, to)
      return true
    }
    const work = () => this.workOn(origin, message, to, goesBack)
    const done = origin instanceof RemotePeer ? origin.work(work) : work()
    if (done === undefined) return back
    if (to.local !== undefined) this.cluster.moves.track(to.bare, done)
    return done.then(() => back)
  }

  private workOn(
    origin: Origin,
    message: StanzaMessage,
    to: PreparedJid,
    goesBack: () => boolean,
  ): void | Promise<void> {
    const { moves } = this.cluster
    const work = () => this.workOnNow(origin, message, to, goesBack)
    const held = moves.any && to.local !== undefined ? moves.holdForwarded(to.bare, work) : undefined
    if (held === undefined) work()
    else origin.hold?.(held)
    return held
  }

  private workOnNow(
    origin: Origin,
    { stanza, number }: StanzaMessage,
    to: PreparedJid,
    goesBack: () => boolean,
  ): void {
    if (goesBack()) return
    if (origin instanceof RemotePeer) {
      if (origin.type === 'component') origin.host.events.fire('component-sent', { peer: origin, stanza })
      if (number > 0 && stanza.name === 'presence') origin.number = number
    }
    this.server.router.arrive(origin, stanza, to)
    if (!(origin instanceof RemotePeer) || to.local === undefined) return
    const sessions = this.server.hosts.get(to.domain)?.accounts.get(to.local)?.sessions
    for (const session of sessions?.values() ?? []) this.slowDown(origin.member, session)
  }

  /**
   * Has another process hold back those who feed a session or connection, if that has too much to be sent. The
   * others of that process are none the worse for it: what it has sent here is acknowledged.
   */
  private slowDown(member: Member, session: StreamSession): void {
    const told = this.full.size === 0 ? undefined : this.full.get(session)
    if (told?.has(member.id)) return
    const drained = session.connection.drained()
    if (drained === undefined) return
    this.cluster.calls.tell([member.id], FILLED, session.id)
    if (told !== undefined) {
      told.add(member.id)
      return
    }
    const members = new Set([member.id])
    this.full.set(session, members)
    void drained.then(() => {
      this.full.delete(session)
      this.cluster.calls.tell(members, DRAINED, session.id)
    })
  }

  /**
   * Whether what has come to be worked on here goes back: it is another process's to work on by now, or something
   * that was sent before is on its way back, and must not be overtaken if the account has just come here.
   */
  private goesBack(from: Member, { stanza, number }: StanzaMessage, to: PreparedJid): boolean {
    if (this.isOfOthers(stanza, to)) return true
    return number === 0 && this.goingBack.size > 0 && this.goingBack.has(`${from.id} ${to.bare}`)
  }

  private async giveBackAll(arrived: Arrived, message: StanzaMessage, to: PreparedJid): Promise<void> {
    const key = `${arrived.from.id} ${to.bare}`
    this.goingBack.set(key, (this.goingBack.get(key) ?? 0) + 1)
    try {
      await this.giveBack(arrived, message)
    } finally {
      const left = this.goingBack.get(key)! - 1
      if (left > 0) this.goingBack.set(key, left)
      else this.goingBack.delete(key)
    }
  }

  /** Whether what has come to be worked on here is another process's to work on by now. */
  private isOfOthers({ name }: Stanza, to: PreparedJid): boolean {
    const host = this.server.hosts.get(to.domain)
    if (host?.hostType !== 'host' || to.local === undefined) return false
    const { directory } = this.cluster
    const account = host.accounts.get(to.local)
    if (to.resource !== undefined) {
      if (account?.sessions.has(to.resource)) return false
      if (directory.find(to.full) !== undefined) return true
    }
    return name !== 'iq' && account === undefined && directory.resourcesOf(to.bare).length > 0
  }

  /** @returns what settles when the other process has it, or is gone: until then this one answers for it */
  private async giveBack({ from, text, number }: Arrived, message: StanzaMessage): Promise<void> {
    const { bus } = this
    const { self } = bus
    const back: Returned = [number, text]
    const answers = await this.cluster.calls.ask([from.id], RETURNED, back, Number.POSITIVE_INFINITY)
    if (answers.has(from.id) || bus.self !== self || bus.members.has(from.id)) return
    // Who has sent it for somebody else is dead. Its own clients are gone with it; others may be there to hear.
    const { stanza } = message
    if ((message.for !== '' || message.from.id === AGAIN) && isMissed(stanza)) {
      this.server.router.route(timeoutReply(stanza))
    }
  }

  /**
   * Hosts of this process may be others than of the one that a stanza comes from, while configurations are loaded
   * anew: whoever waits for an answer gets one.
   */
  private refuse(member: Member, { from, stanza }: StanzaMessage): void {
    if (from.kind === 'h' || !isMissed(stanza)) return
    const error = errorReply(stanza, 'service-unavailable')
    this.post(member, encodeStanza({ kind: 'h', id: OTHER, jid: '' }, from.id, error))
  }

  /** A stanza that this process has sent to another one, which does not have whom it is for. */
  private returned(member: Member, [number, text]: Returned): void {
    const message = decode(text)
    if (message.kind !== 'stanza') return
    const { stanza, from } = message
    const isCopy = message.for !== ''
    const to = prepareJid(stanza.attrs.to ?? '')
    const session = from.kind === 'h' ? undefined : this.cluster.sessionOf(from.id)
    const origin = session ?? this.server.hosts.get(domainOf(bareOf(from.jid)))
    if (to === undefined || origin === undefined) return
    const sender = stanza.name === 'message' ? this.server.fullJids.get(stanza.attrs.from ?? '') : undefined
    const waiting = {}
    sender?.begin(waiting, true)
    // It is not lost any more with the process that had it.
    const forwarded = this.bus.forget(member.id, number)
    if (forwarded instanceof Forwarded) forwarded.answered()
    const ticket = message.number > 0 && stanza.name !== 'presence' ? message.number : ++this.lastTicket
    this.tickets.set(stanza, ticket)
    this.cluster.moves.returned(to.bare, ticket, () => {
      try {
        if (from.id.startsWith(FIRST) && this.isHad(to, from.id)) return undefined
        // Its events have been fired: the copy was one session's.
        if (isCopy || from.id === AGAIN) this.cluster.returned.add(stanza)
        return this.sendAtOnce(origin, stanza, to)
      } finally {
        if (sender !== undefined) endWhenReleased(sender, waiting)
      }
    })
  }

  /** Whether a resource that a copy went to is still there. @param id - of the copy's key */
  private isHad(to: PreparedJid, id: string): boolean {
    const sequences = id.slice(FIRST.length).split(',')
    const resources = this.cluster.directory.resourcesOf(to.bare)
    return resources.some(({ sequence }) => sequences.includes(`${sequence}`))
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
    const now = this.cluster.directory.find(jid)
    return now?.available === true && now.member !== from
  }

  private peerOf(member: Member, id: string): RemotePeer | undefined {
    const { directory } = this.cluster
    return directory.peer(member, `s${id}`) ?? directory.peer(member, `c${id}`)
  }

  private originOf(from: Member, key: Key): Origin | undefined {
    if (key.kind === 'h') return this.server.hosts.get(key.jid)
    const host = this.server.hosts.get(domainOf(bareOf(key.jid)))
    if (host === undefined) return undefined
    // It may have gone just now: what it is sent then is for nobody.
    return (
      this.cluster.directory.peer(from, key.kind + key.id) ?? new RemotePeer(this, from, key, host, UNKNOWN)
    )
  }
}

/** Whether somebody has to hear that a stanza may be lost: presence is told anew, and nobody waits for it. */
function isMissed(stanza: Stanza): boolean {
  return stanza.name !== 'presence' && mayAnswerWithError(stanza)
}

/** Of resources at other processes, as text: who was bound when. */
function sequencesOf(resources: readonly Resource[]): string {
  const sequences: number[] = []
  for (const resource of resources) if (resource instanceof RemoteResource) sequences.push(resource.sequence)
  return sequences.join(',')
}

/** Characters that a stanza takes while it waits, about. */
function sizeOf({ inner, attrs }: Stanza): number {
  let size = inner.length + LEAST_SIZE
  for (const name in attrs) size += name.length + (attrs[name]?.length ?? 0)
  return size
}

/** A stanza that was held back is done when nothing that it has begun holds back its sender. */
function endWhenReleased(origin: Origin, waiting: object): void {
  const released = origin instanceof StreamSession ? origin.released() : undefined
  if (released === undefined) origin.end?.(waiting)
  else void released.then(() => origin.end?.(waiting))
}

function withoutContent({ name, attrs }: Stanza): Stanza {
  const { type, from = '', to = '', id = '' } = attrs
  return new Stanza(name, { type, from, to: detached(to), id: detached(id) })
}

/** A stanza under way to another process: if that dies, whoever has sent it gets an error. */
class Forwarded implements Waiting, OpenRequest {
  acknowledged = false
  private isAnswered = false
  private readonly origin: Origin
  private readonly stanza: Stanza
  private readonly sender: Origin | undefined

  /** @param sender - whose message it is, which is not acknowledged before the other process has it */
  constructor(origin: Origin, stanza: Stanza, sender: Origin | undefined) {
    this.origin = origin
    // Until an IQ is answered: no longer than that is its content kept.
    this.stanza = stanza.name === 'iq' ? withoutContent(stanza) : stanza
    this.sender = stanza.name === 'message' && sender instanceof StreamSession ? sender : undefined
    this.sender?.begin?.(this, true)
  }

  done(): void {
    this.acknowledged = true
    this.sender?.end?.(this)
  }

  answered(): void {
    this.isAnswered = true
  }

  lost(): void {
    this.sender?.end?.(this)
    if (!this.isAnswered) this.origin.send(timeoutReply(this.stanza))
  }
}

function timeoutReply(stanza: Stanza): Stanza {
  return errorReply(stanza, 'remote-server-timeout', 'The process that had this to deliver has ended', 'wait')
}
