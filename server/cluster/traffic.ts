/**
 * The way of stanzas to other processes. A stanza for an account goes to the process that holds the full JID, or the
 * account's first session, and is worked on there; if that process finds that another one should, it gives the stanza
 * back, and its sender's process sends it anew. What that process makes of it for sessions elsewhere goes there as
 * copies, which are only handed over. What comes of all this is worked on in arrivals.ts.
 */

import type { Host } from '../host.ts'
import { domainOf, type PreparedJid } from '../jid.ts'
import type { Logger } from '../log.ts'
import { pauseFeeder, resumeFeeders } from '../net/connection.ts'
import type { Elsewhere, StanzaEvent, TargetKind } from '../router.ts'
import type { Server } from '../server.ts'
import type { Origin } from '../session.ts'
import type { Stanza } from '../stanza/stanza.ts'
import { StreamSession } from '../stream/session.ts'
import type { Bus, Member, Waiting } from './bus.ts'
import type { Calls } from './calls.ts'
import { Copies } from './copies.ts'
import type { Directory } from './directory.ts'
import { Forwarded, isMissed } from './forwarded.ts'
import type { Moves } from './moves.ts'
import { type Among, type PeerLink, type RemotePeer, RemoteResource } from './peers.ts'
import type { AccountRegistry } from './registry.ts'
import { AGAIN, encodeStanza, encodeText, type Key, OTHER } from './wire.ts'

/** What an id begins with that is another process's to answer. */
export const TAG_MARK = '~'

/** Characters that even an empty stanza counts for while it waits. */
const LEAST_SIZE = 500

/** Of presence that changes rosters (RFC 6121 §3). */
const SUBSCRIPTION_TYPES: ReadonlySet<string> = new Set([
  'subscribe',
  'subscribed',
  'unsubscribe',
  'unsubscribed',
])

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
  /** Whose stanza, of another process, is being worked on: what is made of it now is its. */
  arriving: RemotePeer | undefined
  private readonly server: Server
  private readonly cluster: TrafficHost
  private readonly bus: Bus
  private readonly log: Logger
  /** Those that are held back until another process takes more. */
  private readonly waitingFor = new Map<string, Parameters<typeof pauseFeeder>[0]>()
  /** For what waits for nothing: it comes before what waits. */
  private readonly atOnce: Elsewhere = {
    takes: (event, host, to, target) =>
      host.hostType === 'host' && to.local !== undefined && this.goesElsewhere(event, host, to, target),
  }
  /** What the last stanza is looked for with, if it is. */
  private looked: Promise<unknown> | undefined
  private order = 0
  private lastAmong: Among | undefined
  private lastCopies = new Copies()
  /** The order of the stanza that is sent again, if one is. */
  private resent = 0

  constructor(server: Server, cluster: TrafficHost, bus: Bus, log: Logger) {
    this.server = server
    this.cluster = cluster
    this.bus = bus
    this.log = log
  }

  /** Numbers stanzas in the order in which they go. */
  nextOrder(): number {
    return ++this.order
  }

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
    const { moves } = this.cluster
    if (this.bus.members.size < 2 && !moves.any) return false
    if (host.hostType !== 'host' || to.local === undefined) return false
    if (isIq ? target !== 'full' : stanza.name === 'presence' && SUBSCRIPTION_TYPES.has(type ?? ''))
      return false
    if (moves.any && this.waits(event, to)) return true
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

  /**
   * Sends a stanza past what waits.
   *
   * @param order - that it had when it was sent before
   * @returns what is to be waited for before the next one: it is looked for, or worked on by a handler
   */
  sendAtOnce(origin: Origin, stanza: Stanza, to: PreparedJid, order = 0): Promise<unknown> | undefined {
    this.looked = undefined
    this.resent = order
    try {
      return this.server.router.arrive(origin, stanza, to, this.atOnce) ?? this.looked
    } finally {
      this.resent = 0
    }
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
        this.forward(resource.member, event, to.bare, this.resent, resource)
        return true
      }
      if (stanza.name === 'iq') {
        return type === 'get' || type === 'set' ? this.lookFor(event, host, to) : false
      }
    }
    if (account !== undefined) return false
    const home = directory.resourcesOf(to.bare)[0]
    if (home !== undefined) {
      this.forward(home.member, event, to.bare, this.resent, home)
      return true
    }
    return stanza.name === 'message' && type !== 'error' ? this.lookFor(event, host, to) : false
  }

  /** An answer to what another process has asked. */
  private answers({ origin, stanza }: StanzaEvent, id: string): boolean {
    if (id.startsWith(this.cluster.tag)) return false
    const member = this.cluster.memberOf(id)
    if (member === undefined) origin.log.debug('dropped an answer to a process that is gone', { id })
    else this.post(member, encodeStanza(this.keyOf(origin, stanza), '', stanza))
    return true
  }

  /** Nobody is known to hold the account: whether somebody has just come is for the registry to say. */
  private lookFor(event: StanzaEvent, host: Host, to: PreparedJid): boolean {
    const { resent } = this
    const looked = this.holderOf(host, to)
      .then((member) => {
        if (member === undefined) return this.server.router.arrive(event.origin, event.stanza, to)
        this.forward(member, event, to.bare, resent)
        return undefined
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

  /**
   * Takes a stanza to another process, to be worked on there.
   *
   * @param bareJid - the account that it is for
   * @param resent - the order that it had when it was sent before; 0 if it was not
   * @param over - the resource because of which it goes there, if one is known
   */
  private forward(
    member: Member,
    { origin, stanza }: StanzaEvent,
    bareJid: string,
    resent: number,
    over?: RemoteResource,
  ): void {
    const key = this.keyOf(origin, stanza)
    if (stanza.name === 'presence') {
      this.post(member, encodeStanza(key, '', stanza, this.cluster.nextNumber()))
    } else {
      const { moves } = this.cluster
      const way = key.id === AGAIN ? 'again' : 'own'
      const flow = moves.sent(bareJid, way)
      const order = resent > 0 ? resent : this.nextOrder()
      const sender = way === 'again' ? this.senderOf(stanza) : awaiting(origin, stanza)
      const waiting = new Forwarded(stanza, { moves, flow, way, order, origin, sender })
      this.post(member, encodeStanza(key, '', stanza), waiting)
      if (over !== undefined && stanza.name === 'iq' && isMissed(stanza)) over.asked(stanza.attrs, waiting)
    }
    over?.fed()
  }

  /** Takes to its process a copy for a session or connection there, whose events are done. */
  sendStanza(peer: RemotePeer, stanza: Stanza, among?: Among): void {
    const from = domainOf(stanza.attrs.from ?? '')
    const id = among === 'other' ? OTHER : ''
    const text = encodeStanza({ kind: 'h', id, jid: from }, peer.key.id, stanza)
    this.post(peer.member, text, isMissed(stanza) ? this.copy(peer, stanza, from, among) : undefined)
    peer.fed()
  }

  private copy(peer: RemotePeer, stanza: Stanza, from: string, among: Among | undefined): Forwarded {
    const { moves } = this.cluster
    return new Forwarded(stanza, {
      moves,
      flow: peer instanceof RemoteResource ? moves.sent(peer.bareJid, 'copies') : undefined,
      way: 'copies',
      order: this.nextOrder(),
      origin: among === 'other' ? undefined : this.server.hosts.get(from),
      sender: this.senderOf(stanza),
      copies: among === undefined || among === 'other' ? undefined : this.copiesFor(among),
    })
  }

  /** They are sent one after the other. */
  private copiesFor(among: Among): Copies {
    if (among !== this.lastAmong) {
      this.lastAmong = among
      this.lastCopies = new Copies()
    }
    return this.lastCopies
  }

  /** Whose stanza it is that is sent on, and not acknowledged before it has arrived. */
  senderOf(stanza: Stanza): StreamSession | RemotePeer | undefined {
    if (this.arriving !== undefined) return this.arriving
    const from = stanza.attrs.from ?? ''
    const session = this.server.fullJids.get(from)
    if (session === undefined) return this.cluster.directory.find(from)
    return stanza.name === 'message' ? session : undefined
  }

  sendText(peer: RemotePeer, text: string): void {
    this.post(peer.member, encodeText(peer.key.id, text))
    peer.fed()
  }

  /** Sends a message to another process, and notes who is to be held back if it takes no more. */
  post(member: Member, text: string, waiting?: Waiting): void {
    this.bus.send(member.id, text, waiting)
    const held = this.waitingFor.get(member.id)
    if (held !== undefined) pauseFeeder(held)
  }

  private keyOf(origin: Origin, stanza: Stanza): Key {
    if (this.cluster.returned.has(stanza)) return { kind: 'h', id: AGAIN, jid: origin.host?.name ?? '' }
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
}

/** Characters that a stanza takes while it waits, about. */
function sizeOf({ inner, attrs }: Stanza): number {
  let size = inner.length + LEAST_SIZE
  for (const name in attrs) size += name.length + (attrs[name]?.length ?? 0)
  return size
}

/** A client's messages are acknowledged; what else it sends has an answer, or none is missed. */
function awaiting(origin: Origin, stanza: Stanza): Origin | undefined {
  return stanza.name === 'message' && origin instanceof StreamSession ? origin : undefined
}

/** A stanza that was held back is done when nothing that it has begun holds back its sender. */
export function endWhenReleased(origin: Origin, waiting: object): void {
  const released = origin instanceof StreamSession ? origin.released() : undefined
  if (released === undefined) origin.end?.(waiting)
  else void released.then(() => origin.end?.(waiting))
}
