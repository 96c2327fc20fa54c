/** Presence for privileged entities that are connected to other processes of a cluster. */

import {
  bareOf,
  type Cluster,
  type ComponentConnections,
  type Host,
  type Module,
  type Peer,
  RemotePeer,
  type RemoteResource,
  Stanza,
  StreamSession,
} from '../../server/index.ts'
import { contentOf, type Packed, packed, readdressed, unpacked } from './copies.ts'
import type { Grants, Recipient } from './entities.ts'
import { GONE, Numbered, remember, type SentLog, wasAvailable } from './sent.ts'
import type { Privileges } from './table.ts'

/** Processes that may send a presence on after each other to where the entity has just gone. */
const MOST_HOPS = 3
/** Processes that are dead, and of which something may still be under way through others. */
const DEAD_REMEMBERED = 1000

/** A presence on its way to the process that the entity is connected to. */
interface Offer {
  /** Bare JID or domain of the entity. */
  readonly entity: string
  /** Address that it is for. */
  readonly to: string
  readonly stanza: Packed
  readonly content: string
  readonly source: string
  readonly number: number
  /** Of somebody who is no account of the host. */
  readonly contact: boolean
  readonly hops: number
}

/** The presences of one host; there is one where the server is one of several processes. */
export class PresenceOthers {
  private readonly host: Host
  private readonly cluster: Cluster
  private readonly grants: Grants
  private readonly name: string
  private readonly connectionsOf: Map<string, ComponentConnections>
  /** Presence of accounts of which it is being found out whose of several connections they are. */
  private readonly undecided = new Map<string, Promise<void>>()

  constructor(module: Module, grants: Grants, cluster: Cluster) {
    this.host = module.host
    this.cluster = cluster
    this.grants = grants
    this.name = `privilege/presence ${module.host.name}`
    this.connectionsOf = module.shared('component/connections', () => new Map<string, ComponentConnections>())
    module.onUnload(cluster.calls.on(this.name, (data) => this.offered(data as Offer)))
  }

  /** Numbers a presence: of a peer of another process as that has, others by what this process does. */
  numbered(stanza: Stanza, origin: unknown): Numbered {
    const content = stanza.attrs.type === 'unavailable' ? GONE : contentOf(stanza)
    if (origin instanceof RemotePeer && origin.number > 0) {
      return new Numbered(content, origin.member.id, origin.number)
    }
    return new Numbered(content, this.cluster.self.id, this.cluster.nextNumber())
  }

  /**
   * Sends an entity a presence, if it does not have it.
   *
   * @param stanza - with the full JID that it comes from
   * @param contact - of somebody who is no account of the host
   */
  offer(entity: Privileges, recipient: Recipient, stanza: Stanza, state: Numbered, contact: boolean): void {
    this.pass(entity, recipient, stanza, state, contact, 0)
  }

  private pass(
    { jid, entity }: Privileges,
    recipient: Recipient,
    stanza: Stanza,
    state: Numbered,
    contact: boolean,
    hops: number,
  ): void {
    const { to, session } = recipient
    const deliver = (peer: Peer | undefined) => {
      if (peer instanceof RemotePeer) {
        if (hops >= MOST_HOPS) return
        const { content, source, number } = state
        const offer = {
          entity: jid,
          to,
          stanza: packed(stanza),
          content,
          source,
          number,
          contact,
          hops: hops + 1,
        }
        this.cluster.calls.tell([peer.member.id], this.name, offer satisfies Offer)
      } else if (peer !== undefined && this.isNew(to, stanza, state)) {
        this.grants.send(recipient, readdressed(stanza, to))
      }
    }
    if (session !== undefined) deliver(session)
    else this.decide(entity.domain, bareOf(stanza.attrs.from!), deliver)
  }

  /** Finds the connection of a component that somebody's presence goes to; what concerns one account keeps its order. */
  private decide(domain: string, account: string, deliver: (peer: Peer | undefined) => void): void {
    const connections = this.connectionsOf.get(domain)
    const owner = connections?.shared === true ? connections.of(account) : connections?.first
    const key = `${domain} ${account}`
    const before = this.undecided.get(key)
    if (before === undefined && !(owner instanceof Promise)) {
      deliver(owner)
      return
    }
    const next = Promise.all([owner, before]).then(
      ([peer]) => deliver(peer),
      (error) => this.host.log.warn('an entity was not sent a presence', { entity: domain, error }),
    )
    this.undecided.set(key, next)
    void next.then(() => {
      if (this.undecided.get(key) === next) this.undecided.delete(key)
    })
  }

  /** Another process vouches for a presence; whether the entity may have it is for both to say. */
  private offered({ entity, to, stanza, content, source, number, contact, hops }: Offer): void {
    const privileges = this.grants.get(entity)
    if (privileges === undefined || privileges.presence === 'none') return
    if (contact && privileges.presence !== 'roster') return
    const state = new Numbered(content, source, number)
    for (const recipient of this.grants.recipients(privileges)) {
      if (recipient.to !== to) continue
      this.pass(privileges, recipient, unpacked(stanza), state, contact, hops)
      return
    }
  }

  /** Whether an address that is served here does not have a presence yet. */
  isNew(to: string, { attrs }: Stanza, state: Numbered): boolean {
    return this.isNewFor(this.grants.registry.sentTo(to), to, attrs.from!, state)
  }

  /** The same for one connection of several. @param sent - what that has been sent */
  isNewFor(sent: SentLog, to: string, from: string, state: unknown): boolean {
    const { registry } = this.grants
    // It was told that all of that process's have gone.
    if (state instanceof Numbered && state.content !== GONE && registry.dead.has(state.source)) return false
    const isNew = remember(sent, from, state)
    // Then it may be this connection that hears of the end.
    if (isNew && sent !== registry.sentTo(to)) remember(registry.sentTo(to), from, state)
    return isNew
  }

  /**
   * A resource has gone with its process, which has told nobody: the entities of this process are told.
   *
   * @param isToldAnyway - whether an entity is told as a contact of the account
   */
  lost(resource: RemoteResource, isToldAnyway: (entity: string) => Promise<boolean>): void {
    const { registry } = this.grants
    const { fullJid, bareJid, member } = resource
    if (!registry.dead.has(member.id)) {
      registry.dead.add(member.id)
      if (registry.dead.size > DEAD_REMEMBERED) registry.dead.delete(registry.dead.values().next().value!)
    }
    // Somebody has taken its place already.
    const isThere = () =>
      this.cluster.directory.find(fullJid)?.available === true ||
      this.host.server.fullJids.get(fullJid)?.presence !== undefined
    const isOwn = resource.host === this.host && resource.available
    for (const privileges of this.grants.all()) {
      if (privileges.presence === 'none') continue
      for (const recipient of this.grants.recipients(privileges)) {
        const { to } = recipient
        const tell = () => {
          if (isThere()) return
          const stanza = new Stanza('presence', { type: 'unavailable', from: fullJid, to })
          if (this.isNew(to, stanza, this.numbered(stanza, undefined))) this.grants.send(recipient, stanza)
        }
        const deliver = (peer: Peer | undefined) => {
          if (!(peer instanceof StreamSession)) return
          const known = wasAvailable(registry.sentTo(to), fullJid)
          if (!isOwn && known === true) tell()
          if (!isOwn || known === false) return
          isToldAnyway(privileges.jid).then(
            (anyway) => {
              if (!anyway) tell()
            },
            (error) => this.host.log.error('a roster could not be read', { user: resource.username, error }),
          )
        }
        if (recipient.session !== undefined) deliver(recipient.session)
        else this.decide(privileges.entity.domain, bareJid, deliver)
      }
    }
  }
}
