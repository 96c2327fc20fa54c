/** Presence of accounts and of their contacts for privileged entities (XEP-0356 §7, §8). */

import { createHash } from 'node:crypto'
import {
  bareOf,
  domainOf,
  type Host,
  localOf,
  type Module,
  Stanza,
  type StanzaEvent,
  type StreamSession,
} from '../../server/index.ts'
import type { Contact, ReadonlyRoster, RostersByHost } from '../roster/index.ts'
import type { Grants } from './entities.ts'
import type { Privileges } from './table.ts'

/** Presences that an address has been sent and that are remembered; of more, the oldest are forgotten. */
const MOST_REMEMBERED = 10_000
/** Bytes that may wait for an entity while it is told who is online. */
const PACE = 64 * 1024
/** Milliseconds until it is looked whether they still do. */
const PAUSE = 10
/** Who has gone. */
const GONE = 'unavailable'

function readdressed(stanza: Stanza, to: string): Stanza {
  const copy = stanza.clone()
  copy.attrs.to = to
  return copy
}

function seesThem({ item }: Contact): boolean {
  return item?.subscription === 'to' || item?.subscription === 'both'
}

function isSeenBy({ item }: Contact): boolean {
  return item?.subscription === 'from' || item?.subscription === 'both'
}

/** Sends privileged entities the presence that one host grants them. */
export class PresenceFeed {
  private readonly module: Module
  private readonly host: Host
  private readonly grants: Grants
  private readonly rostersByHost: RostersByHost

  constructor(module: Module, grants: Grants) {
    this.module = module
    this.host = module.host
    this.grants = grants
    this.rostersByHost = module.shared<RostersByHost>('roster/hosts', () => new Map())
  }

  /** An account's resource has become available: only this and its end are told, not what is between (§7.1). */
  becameAvailable({ origin, stanza }: StanzaEvent): void {
    const session = this.module.server.fullJids.get(origin.fullJid ?? '')
    if (session !== undefined) this.tell(session, stanza, session.presence)
  }

  /** A presence for an account, or from it to everybody. Never ends the event. */
  received(event: StanzaEvent): undefined {
    const { origin, stanza, toSelf } = event
    const { type, from = '' } = stanza.attrs
    if (type !== undefined && type !== 'unavailable') return undefined
    if (toSelf) {
      if (type === undefined || origin.type !== 'c2s') return undefined
      const session = origin as StreamSession
      if (session.presence !== undefined) this.tell(session, stanza, GONE)
    } else if (domainOf(from) !== this.host.name) this.fromContact(event)
    return undefined
  }

  /** An entity has connected: it is sent what it would have been sent before (§8). */
  async replay(session: StreamSession, to: string, { presence }: Privileges): Promise<void> {
    if (presence === 'none') return
    // A connection that comes beside others has been sent nothing.
    const isFirst = (this.grants.registry.components.get(to)?.size ?? 1) === 1
    const sent = isFirst ? this.sentTo(to) : new Map<string, unknown>()
    for (const other of this.host.allSessions()) {
      if (other.presence === undefined || other === session) continue
      if (remember(sent, other.fullJid!, other.presence)) session.send(readdressed(other.presence, to))
      if (session.connection.waiting > PACE) await this.drained(session)
      if (session.destroyed) return
    }
    if (presence === 'roster') await this.replayContacts(session, to, sent)
  }

  /** Contacts in every roster of the host, those of accounts that are offline too. */
  private async replayContacts(
    session: StreamSession,
    to: string,
    sent: Map<string, unknown>,
  ): Promise<void> {
    const rosters = this.rostersByHost.get(this.host.name)
    if (rosters === undefined || this.host.users === undefined) return
    const asked = new Set<string>()
    for await (const username of this.host.users.list()) {
      const roster = await rosters.read(username)
      if (session.connection.waiting > PACE) await this.drained(session)
      if (session.destroyed) return
      const account = `${username}@${this.host.name}`
      for (const contact of roster.items.values()) {
        const domain = domainOf(contact.jid)
        if (!seesThem({ item: contact }) || domain === this.host.name) continue
        const host = this.module.server.hosts.get(domain)
        if (host?.hostType === 'host') {
          for (const presence of this.presencesOf(host, contact.jid, account, sent)) {
            session.send(readdressed(presence, to))
          }
        } else if (!asked.has(contact.jid)) {
          asked.add(contact.jid)
          this.module.send(new Stanza('presence', { type: 'probe', from: account, to: contact.jid }))
        }
      }
    }
  }

  /** Waits until an entity has taken most of what it was sent: a host may have very many accounts. */
  private async drained(session: StreamSession): Promise<void> {
    while (session.connection.waiting > PACE && !session.destroyed) {
      await new Promise<void>((resolve) => setTimeout(resolve, PAUSE))
    }
  }

  /** The presence of a contact on another host of this server, as far as the account sees it. */
  private *presencesOf(
    host: Host,
    jid: string,
    account: string,
    sent: Map<string, unknown>,
  ): Iterable<Stanza> {
    const username = localOf(jid) ?? ''
    const roster = this.rostersByHost.get(host.name)?.kept(username)
    if (roster === undefined || !isSeenBy(roster.contact(account))) return
    for (const { presence, fullJid } of host.accounts.get(username)?.sessions.values() ?? []) {
      if (presence !== undefined && remember(sent, fullJid!, presence)) yield presence
    }
  }

  /** Presence of an account of this host. @param state - what tells it from others of the same resource */
  private tell(session: StreamSession, stanza: Stanza, state: unknown): void {
    const from = session.fullJid!
    for (const privileges of this.grants.all()) {
      if (privileges.presence === 'none' || this.seesAnyway(privileges, session)) continue
      for (const recipient of this.grants.recipients(privileges)) {
        if (recipient.session === session || !remember(this.sentTo(recipient.to), from, state)) continue
        const copy = readdressed(stanza, recipient.to)
        copy.attrs.from = from
        this.grants.send(recipient, copy)
      }
    }
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
    const state = this.stateOf(stanza)
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
        if (!remember(this.sentTo(recipient.to), stanza.attrs.from!, state)) continue
        this.grants.send(recipient, readdressed(stanza, recipient.to))
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
  private stateOf(stanza: Stanza): unknown {
    const { type, from = '' } = stanza.attrs
    const presence = this.module.server.fullJids.get(from)?.presence
    // It is gone for somebody only.
    if (type === 'unavailable') return presence === undefined ? GONE : undefined
    return (
      presence ??
      createHash('sha256')
        .update(`${stanza.attrs['xml:lang'] ?? ''} ${stanza.inner}`)
        .digest('base64')
    )
  }

  private sentTo(to: string): Map<string, unknown> {
    const { sent } = this.grants.registry
    let log = sent.get(to)
    if (log === undefined) {
      log = new Map()
      sent.set(to, log)
    }
    return log
  }
}

/** @returns whether this is new */
function remember(sent: Map<string, unknown>, from: string, state: unknown): boolean {
  if (sent.get(from) === state) return false
  sent.delete(from)
  if (sent.size >= MOST_REMEMBERED) {
    const [oldest] = sent.keys()
    sent.delete(oldest!)
  }
  sent.set(from, state)
  return true
}
