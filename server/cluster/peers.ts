/** Sessions and connections of other processes, as handlers meet them here: something to send to. */

import type { Host } from '../host.ts'
import { bareOf, localOf, resourceOf } from '../jid.ts'
import type { Logger } from '../log.ts'
import { type Connection, pauseFeeder, resumeFeeders } from '../net/connection.ts'
import type { Peer, Resource, SessionType } from '../session.ts'
import type { Stanza } from '../stanza/stanza.ts'
import { Unfinished } from '../stream/unfinished.ts'
import type { Member } from './bus.ts'
import type { Key } from './wire.ts'

/** Of several sessions that get the same stanza: all of these, if it is missed; else only that there are others. */
export type Among = readonly Resource[] | 'other'

/** Takes to its process what a remote peer is sent. */
export interface PeerLink {
  /** @param among - what place it has among the copies of one stanza, if there are several */
  sendStanza(peer: RemotePeer, stanza: Stanza, among?: Among): void
  sendText(peer: RemotePeer, text: string): void
}

/** When it began. */
export interface Beginning {
  /** Grows with each bound session and each connection of the cluster. */
  readonly sequence: number
  /** Unix time in seconds. */
  readonly since: number
}

/** There is one object for each, so that who is meant can be told by `===`. */
export class RemotePeer implements Peer {
  readonly type: SessionType
  readonly host: Host
  readonly log: Logger
  readonly member: Member
  readonly key: Key
  /** Grows with each bound session and each connection of the cluster: who was earlier. */
  readonly sequence: number
  readonly since: number
  destroyed = false
  /** Number, at its process, of the presence of its that is being worked on: what it sent earlier has a lower one. */
  number = 0
  /** Whether its process has died, and told nobody that it goes. */
  lost = false
  protected readonly link: PeerLink
  private held: (() => void)[] | undefined
  /** What was worked on before that, and not to its end. */
  private readonly heldBefore: (() => void)[] = []
  private holds = 0
  /** Who waits for the end of what holds it back. */
  private readonly released: (() => void)[] = []
  private unfinished: Unfinished | undefined
  /** While it is full: those of this process that are held back until it takes more. */
  private feeders: Set<Connection> | undefined

  constructor(link: PeerLink, member: Member, key: Key, host: Host, { sequence, since }: Beginning) {
    this.since = since
    this.type = key.kind === 's' ? 'c2s' : 'component'
    this.host = host
    this.log = host.log
    this.member = member
    this.key = key
    this.sequence = sequence
    this.link = link
  }

  get fullJid(): string | undefined {
    return this.key.kind === 's' ? this.key.jid : undefined
  }

  send(stanza: Stanza): void {
    if (!this.destroyed) this.link.sendStanza(this, stanza)
  }

  sendText(text: string): void {
    if (!this.destroyed) this.link.sendText(this, text)
  }

  /** At its process more waits to be sent to it than is good: whoever feeds it from now on is held back. */
  filled(): void {
    if (!this.destroyed) this.feeders ??= new Set()
  }

  /** It takes more again. */
  drained(): void {
    const { feeders } = this
    this.feeders = undefined
    if (feeders !== undefined) resumeFeeders(feeders)
  }

  /** Something is sent to it. */
  fed(): void {
    if (this.feeders !== undefined) pauseFeeder(this.feeders)
  }

  /** It is gone. */
  left(): void {
    this.destroyed = true
    this.drained()
  }

  /** Whether what comes from it has to wait. */
  get isHeld(): boolean {
    return this.holds > 0
  }

  /** What comes from it next waits until this has settled. */
  hold(until: Promise<unknown>): void {
    this.holds++
    const release = () => this.release()
    until.then(release, release)
  }

  begin(work: object, elsewhere?: boolean): number {
    this.unfinished ??= new Unfinished()
    this.unfinished.begin(work, elsewhere)
    return this.unfinished.count
  }

  get begun(): number {
    return this.unfinished?.begun ?? 0
  }

  end(work: object, since?: number): void {
    this.unfinished?.end(work, since)
  }

  /**
   * Works on what has come from it, when that is no longer held back.
   *
   * @param action - may return what it has to wait for besides what holds this peer back
   * @returns what settles when it is done, and durable; undefined if it is
   */
  work(action: () => void | Promise<void>): void | Promise<void> {
    if (this.holds === 0) return this.doneAfter(action())
    this.held ??= []
    return this.workLater(this.held, action)
  }

  /** The same for what has come to its turn before, and had to wait for something else. */
  goOnWith(action: () => void | Promise<void>): void | Promise<void> {
    if (this.holds + this.heldBefore.length === 0) return this.doneAfter(action())
    return this.workLater(this.heldBefore, action)
  }

  private workLater(queue: (() => void)[], action: () => void | Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      queue.push(() => resolve(this.doneAfter(action())))
    })
  }

  private doneAfter(work: void | Promise<void>): void | Promise<void> {
    if (this.holds === 0) {
      const durable = this.unfinished?.done(true)
      return durable === undefined || work === undefined ? (durable ?? work) : durable.then(() => work)
    }
    const released = new Promise<void>((resolve) => {
      this.released.push(resolve)
    })
    return released.then(() => this.unfinished?.done(true)).then(() => work)
  }

  private release(): void {
    this.holds--
    if (this.holds > 0) return
    for (const resolve of this.released.splice(0)) resolve()
    while (this.holds === 0) {
      const next = this.heldBefore.shift() ?? this.held?.shift()
      if (next === undefined) break
      next()
    }
    if (this.held?.length === 0) this.held = undefined
  }
}

/** Requests to one resource that are remembered until they are answered. */
const MOST_OPEN = 1000

/** An IQ that waits for its answer. */
export interface OpenRequest {
  /** Whether the other process has acknowledged it; it is told otherwise of those that it has not. */
  readonly acknowledged: boolean
  /** Tells whoever has asked that nobody will answer. */
  lost(): void
  /** Nothing is to be told any more. */
  answered(): void
}

/** A client that is bound at another process. */
export class RemoteResource extends RemotePeer implements Resource {
  readonly username: string
  readonly resource: string
  readonly bareJid: string
  available = false
  priority = 0
  /** IQs to it that it has not answered, by who has asked and their ids. */
  private open: Map<string, OpenRequest> | undefined

  constructor(link: PeerLink, member: Member, key: Key, host: Host, beginning: Beginning) {
    super(link, member, key, host, beginning)
    this.username = localOf(key.jid)!
    this.resource = resourceOf(key.jid)!
    this.bareJid = bareOf(key.jid)
  }

  override get fullJid(): string {
    return this.key.jid
  }

  /** It is asked something. */
  asked({ from, id }: Stanza['attrs'], request: OpenRequest): void {
    this.open ??= new Map()
    if (this.open.size < MOST_OPEN) this.open.set(`${from} ${id}`, request)
  }

  /** It has answered. */
  answered({ to, id }: Stanza['attrs']): void {
    const key = `${to} ${id}`
    this.open?.get(key)?.answered()
    this.open?.delete(key)
  }

  /** It can not answer any more, because its process has died. */
  giveUp(): void {
    for (const request of this.open?.values() ?? []) if (request.acknowledged) request.lost()
    this.open = undefined
  }

  sendAmong(stanza: Stanza, all: readonly Resource[] | undefined): void {
    if (!this.destroyed) this.link.sendStanza(this, stanza, all ?? 'other')
  }
}

/** A connection of a component to another process. */
export class RemoteConnection extends RemotePeer {
  /** Whether others may stand beside it. */
  readonly shares: boolean

  constructor(link: PeerLink, member: Member, key: Key, host: Host, beginning: Beginning, shares: boolean) {
    super(link, member, key, host, beginning)
    this.shares = shares
  }
}
