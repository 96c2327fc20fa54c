/** Presence of accounts and of their contacts for privileged entities (XEP-0356 §7, §8). */

import { createHash } from 'node:crypto'
import {
  bareOf,
  domainOf,
  type Host,
  localOf,
  type Module,
  type Origin,
  type Peer,
  RemotePeer,
  type RemoteResource,
  type Stanza,
  type StanzaEvent,
  type StreamSession,
} from '../../server/index.ts'
import type { ReadonlyRoster, RostersByHost } from '../roster/index.ts'
import { readdressed } from './copies.ts'
import type { Grants, Recipient } from './entities.ts'
import { PresenceOthers } from './others.ts'
import { isSeenBy, Replays, seesThem } from './replay.ts'
import { GONE, Numbered, remember } from './sent.ts'
import type { Privileges } from './table.ts'

/** Sends privileged entities the presence that one host grants them. */
export class PresenceFeed {
  private readonly module: Module
  private readonly host: Host
  private readonly grants: Grants
  private readonly rostersByHost: RostersByHost
  readonly replays: Replays
  /** Where the server is one of several processes. */
  private readonly others: PresenceOthers | undefined

  constructor(module: Module, grants: Grants) {
    this.module = module
    this.host = module.host
    this.grants = grants
    this.rostersByHost = module.shared<RostersByHost>('roster/hosts', () => new Map())
    const { cluster } = module.server
    if (cluster !== undefined) {
      this.others = new PresenceOthers(module, grants, cluster)
      module.hookGlobal('peer-left', ({ peer }) => this.left(peer))
    }
    this.replays = new Replays(module, grants, this.rostersByHost, this.others)
  }

  /** An account's resource has become available: only this and its end are told, not what is between (§7.1). */
  becameAvailable({ origin, stanza }: StanzaEvent): void {
    const session = this.module.server.fullJids.get(origin.fullJid ?? '')
    if (session !== undefined) this.tell(session, stanza, session.presence)
  }

  /** A presence for an account, or from it to everybody. Never ends the event. */
  received(event: StanzaEvent): undefined {
    const { origin, stanza } = event
    const { type, from = '', to } = stanza.attrs
    if (type !== undefined && type !== 'unavailable') return undefined
    if (to === undefined) {
      if (type === undefined || origin.type !== 'c2s') return undefined
      const session = origin as StreamSession
      if (session.presence !== undefined) this.tell(session, stanza, GONE)
    } else if (domainOf(from) !== this.host.name) this.fromContact(event)
    return undefined
  }

  /** An entity that was connected to this process is gone. */
  disconnected(session: StreamSession): void {
    this.replays.gone(session)
  }

  /**
   * Presence of an account of this host, stamped by the router.
   *
   * @param own - what tells it from others of the same resource
   */
  private tell(session: StreamSession, stanza: Stanza, own: unknown): void {
    let state = this.others === undefined ? own : undefined
    for (const privileges of this.grants.all()) {
      if (privileges.presence === 'none' || this.seesAnyway(privileges, session)) continue
      for (const recipient of this.grants.recipients(privileges)) {
        if (recipient.session === session) continue
        state ??= this.others!.numbered(stanza, session)
        this.offer(privileges, recipient, stanza, state, false)
      }
    }
  }

  /** Sends an entity a presence that it has not been sent yet. @param contact - of no account of this host */
  private offer(
    privileges: Privileges,
    recipient: Recipient,
    stanza: Stanza,
    state: unknown,
    contact: boolean,
  ): void {
    const { to } = recipient
    if (state instanceof Numbered) this.others!.offer(privileges, recipient, stanza, state, contact)
    else if (remember(this.grants.registry.sentTo(to), stanza.attrs.from!, state)) {
      this.grants.send(recipient, readdressed(stanza, to))
    }
  }

  /** A session of another process is gone: in order, which that has told, or with its process. */
  private left(peer: Peer): void {
    if (!(peer instanceof RemotePeer) || peer.type !== 'c2s') return
    if (this.module.server.cluster?.members.has(peer.member.id) !== false) return
    const resource = peer as RemoteResource
    let reading: Promise<ReadonlyRoster> | undefined
    this.others!.lost(resource, async (entity) => {
      if (entity === resource.bareJid) return true
      reading ??= this.rostersByHost.get(this.host.name)?.read(resource.username)
      const roster = await reading
      return roster !== undefined && isSeenBy(roster.contact(entity))
    })
  }

  /** Who is a contact of the account is told as such: once is enough (§8). */
  private seesAnyway({ jid }: Privileges, session: StreamSession): boolean {
    if (jid === session.bareJid) return true
    const roster = this.rostersByHost.get(this.host.name)?.kept(session.username!)
    return roster !== undefined && isSeenBy(roster.contact(jid))
  }

  /** Presence of somebody else for an account: an entity may see it if the account does, online or not (§7.4). */
  private fromContact({ origin, stanza }: StanzaEvent): void {
    if (!this.isWanted()) return
    const rosters = this.rostersByHost.get(this.host.name)
    const username = localOf(stanza.attrs.to ?? '')
    if (rosters === undefined || username === undefined) return
    const state = this.stateOf(stanza, origin)
    if (state === undefined) return
    const contact = bareOf(stanza.attrs.from!)
    const pass = (roster: ReadonlyRoster) => {
      if (seesThem(roster.contact(contact))) this.pass(stanza, state)
    }
    let waiting: Promise<unknown> | undefined
    // What follows an approval must not overtake it.
    if (rosters.kept(username) === undefined) waiting = rosters.read(username).then(pass)
    else {
      waiting = rosters.after(username, () => {
        const roster = rosters.kept(username)
        if (roster !== undefined) pass(roster)
      })
    }
    if (waiting === undefined) return
    const settled = waiting.catch((error) =>
      this.module.log.error('a roster could not be read', { user: username, error }),
    )
    // Who sends faster than rosters can be read waits.
    origin.hold?.(settled)
  }

  private pass(stanza: Stanza, state: unknown): void {
    for (const privileges of this.grants.all()) {
      if (privileges.presence !== 'roster' || privileges.jid === bareOf(stanza.attrs.from!)) continue
      for (const recipient of this.grants.recipients(privileges)) {
        this.offer(privileges, recipient, stanza, state, true)
      }
    }
  }

  private isWanted(): boolean {
    for (const privileges of this.grants.all()) {
      if (privileges.presence !== 'roster') continue
      for (const _ of this.grants.recipients(privileges)) return true
    }
    return false
  }

  /**
   * What tells a presence from others of the same resource. Of a session of this server it is the presence that it
   * has, so that the answer to a probe is the same as what was broadcast. Undefined: it is none to be told.
   */
  private stateOf(stanza: Stanza, origin: Origin): unknown {
    const { type, from = '' } = stanza.attrs
    const { fullJids, cluster } = this.module.server
    const presence = fullJids.get(from)?.presence
    if (type === 'unavailable') {
      // It is gone for somebody only.
      if (presence !== undefined || cluster?.directory.find(from)?.available === true) return undefined
      return this.others?.numbered(stanza, origin) ?? GONE
    }
    return (
      this.others?.numbered(stanza, origin) ??
      presence ??
      createHash('sha256')
        .update(`${stanza.attrs['xml:lang'] ?? ''} ${stanza.inner}`)
        .digest('base64')
    )
  }
}
