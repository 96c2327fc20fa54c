/** Stanzas that come from other processes: to be worked on here, or handed over. */

import { bareOf, domainOf, type PreparedJid, prepareJid } from '../jid.ts'
import type { Server } from '../server.ts'
import type { Origin } from '../session.ts'
import { errorReply } from '../stanza/reply.ts'
import type { Stanza } from '../stanza/stanza.ts'
import type { StreamSession } from '../stream/session.ts'
import type { Bus, Member } from './bus.ts'
import { isMissed } from './forwarded.ts'
import { RemotePeer } from './peers.ts'
import { type Arrived, Returns } from './returns.ts'
import type { Traffic, TrafficHost } from './traffic.ts'
import { AGAIN, encodeStanza, type Key, OTHER, type StanzaMessage, type TextMessage } from './wire.ts'

/** Of what has gone before it was known. */
const UNKNOWN = { sequence: 0, since: 0 }

/** Milliseconds for which is waited until the system has something. */
const SENT_MS = 200
/** More waits to be sent to a session or connection, named by its id, than is good. */
const FILLED = 'cluster/filled'
/** It takes more again, or is gone. */
const DRAINED = 'cluster/drained'

export class Arrivals {
  private readonly server: Server
  private readonly cluster: TrafficHost
  private readonly traffic: Traffic
  private readonly returns: Returns
  /** Sessions and connections of this process to which more waits to be sent than is good, and who knows of it. */
  private readonly full = new Map<StreamSession, Set<string>>()

  constructor(server: Server, cluster: TrafficHost, traffic: Traffic, bus: Bus) {
    this.server = server
    this.cluster = cluster
    this.traffic = traffic
    this.returns = new Returns(server, cluster, traffic, bus)
    cluster.calls.on(FILLED, (id, from) => this.peerOf(from, id as string)?.filled())
    cluster.calls.on(DRAINED, (id, from) => this.peerOf(from, id as string)?.drained())
  }

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
        return isMissed(stanza) ? sentOn(session) : undefined
      }
      return isMissed(stanza) && message.from.id !== OTHER
        ? this.returns.giveBack(arrived, message)
        : undefined
    }
    return this.toBeWorkedOn(arrived, message)
  }

  private toBeWorkedOn(arrived: Arrived, message: StanzaMessage): void | Promise<void> {
    const { from } = arrived
    const { stanza } = message
    if (message.from.id === AGAIN) this.cluster.returned.add(stanza)
    const to = prepareJid(stanza.attrs.to ?? '')
    const origin = this.originOf(from, message.from)
    if (to === undefined) return
    if (origin === undefined) {
      this.refuse(from, message)
      return
    }
    const peer = origin instanceof RemotePeer ? origin : undefined
    const isHeldUp = peer?.isHeld === true
    const batch = this.returns.batchOf(from, to, isHeldUp)
    const work = () => {
      if (isHeldUp) this.returns.goesOn(batch!)
      if (!this.returns.goesBack(stanza, to, batch)) return this.workOn(origin, message, to)
      return this.returns.giveBackAll(arrived, message, to)
    }
    const workInOrder = () => this.inOrder(peer, message, to, work)
    return peer === undefined ? workInOrder() : peer.work(workInOrder)
  }

  /** Works on a stanza now, or when nothing that came before it may come back any more. */
  private inOrder(
    peer: RemotePeer | undefined,
    { from }: StanzaMessage,
    { bare, local }: PreparedJid,
    work: () => void | Promise<void>,
  ): void | Promise<void> {
    const { moves } = this.cluster
    // Whoever has sent what goes out again may be waited for there.
    if (!moves.any || local === undefined || from.id === AGAIN) return work()
    const held = moves.holdForwarded(bare, () => (peer === undefined ? work() : peer.goOnWith(work)))
    return held === undefined ? work() : held
  }

  private workOn(origin: Origin, { stanza, number }: StanzaMessage, to: PreparedJid): void | Promise<void> {
    const { traffic } = this
    const peer = origin instanceof RemotePeer ? origin : undefined
    if (peer !== undefined) {
      if (peer.type === 'component') peer.host.events.fire('component-sent', { peer, stanza })
      if (number > 0 && stanza.name === 'presence') peer.number = number
    }
    traffic.arriving = peer
    try {
      this.server.router.arrive(origin, stanza, to)
    } finally {
      traffic.arriving = undefined
    }
    if (peer === undefined || to.local === undefined) return
    const sessions = this.server.hosts.get(to.domain)?.accounts.get(to.local)?.sessions
    let sent: Promise<void> | undefined
    for (const session of sessions?.values() ?? []) {
      this.slowDown(peer.member, session)
      if (isMissed(stanza)) sent = sentOn(session) ?? sent
    }
    return sent
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
   * Hosts of this process may be others than of the one that a stanza comes from, while configurations are loaded
   * anew: whoever waits for an answer gets one.
   */
  private refuse(member: Member, { from, stanza }: StanzaMessage): void {
    if (from.kind === 'h' || !isMissed(stanza)) return
    const error = errorReply(stanza, 'service-unavailable')
    this.traffic.post(member, encodeStanza({ kind: 'h', id: OTHER, jid: '' }, from.id, error))
  }

  // Who they are.

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
      this.cluster.directory.peer(from, key.kind + key.id) ??
      new RemotePeer(this.traffic, from, key, host, UNKNOWN)
    )
  }
}

/**
 * Waits until the system has what a session was sent: before, it would be lost with this process. Not for long: of
 * who does not read there is much.
 */
function sentOn({ connection }: StreamSession): Promise<void> | undefined {
  if (!connection.isBehind) return undefined
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, SENT_MS)
    void connection.handedOver().then(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}
