/** What an entity is sent when it connects: the presence that it would have been sent before (XEP-0356 §8). */

import { domainOf, type Host, localOf, type Module, Stanza, type StreamSession } from '../../server/index.ts'
import type { Contact, RostersByHost } from '../roster/index.ts'
import { readdressed } from './copies.ts'
import type { Grants } from './entities.ts'
import type { PresenceOthers } from './others.ts'
import { drained } from './pace.ts'
import { ReplayOthers } from './replay-others.ts'
import { remember, type SentLog } from './sent.ts'
import type { Privileges } from './table.ts'

/** Whether the account sees the contact's presence. */
export function seesThem({ item }: Contact): boolean {
  return item?.subscription === 'to' || item?.subscription === 'both'
}

/** Whether the contact sees the account's. */
export function isSeenBy({ item }: Contact): boolean {
  return item?.subscription === 'from' || item?.subscription === 'both'
}

/** An entity that is being told. */
export interface Replay {
  readonly session: StreamSession
  /** Its address. */
  readonly to: string
  readonly privileges: Privileges
  /** What this connection has been sent. */
  readonly sent: SentLog
}

/** Tells entities that connect to this process who is online. */
export class Replays {
  private readonly module: Module
  private readonly host: Host
  private readonly grants: Grants
  private readonly rostersByHost: RostersByHost
  private readonly others: PresenceOthers | undefined
  private readonly elsewhere: ReplayOthers | undefined
  /** What a connection is being told; what began before for the same one ends. */
  private current = new WeakMap<StreamSession, Replay>()

  /** @param others - where the server is one of several processes */
  constructor(
    module: Module,
    grants: Grants,
    rostersByHost: RostersByHost,
    others: PresenceOthers | undefined,
  ) {
    this.module = module
    this.host = module.host
    this.grants = grants
    this.rostersByHost = rostersByHost
    this.others = others
    module.onUnload(() => {
      this.current = new WeakMap()
    })
    const { cluster } = module.server
    if (cluster === undefined || others === undefined) return
    this.elsewhere = new ReplayOthers(module, grants, cluster, {
      put: (replay, stanza, state) => this.put(replay, stanza, state),
      numbered: (stanza) => others.numbered(stanza, undefined),
      presencesOf: (host, jid, account) => this.presencesOf(host, jid, account),
      contacts: (replay) => this.replayContacts(replay),
    })
  }

  /** An entity has connected to this process, or has been granted presence. */
  async start(session: StreamSession, to: string, privileges: Privileges): Promise<void> {
    this.gone(session)
    if (privileges.presence === 'none') return
    const { registry } = this.grants
    // A connection that comes beside others has been sent nothing.
    const isFirst = (registry.components.get(to)?.size ?? 1) === 1
    const sent: SentLog = isFirst ? registry.sentTo(to) : new Map()
    const replay: Replay = { session, to, privileges, sent }
    this.current.set(session, replay)
    for (const { presence, fullJid } of this.host.allSessions()) {
      if (presence === undefined || fullJid === session.fullJid) continue
      this.put(replay, presence)
      const pause = drained(session)
      if (pause !== undefined) await pause
      if (this.isOver(replay)) return
    }
    await this.elsewhere?.fetch(replay)
    if (this.isOver(replay)) return
    if (privileges.presence === 'roster') await this.replayContacts(replay)
  }

  /** The connection of an entity is gone, or is told no more. */
  gone(session: StreamSession): void {
    this.current.delete(session)
    this.elsewhere?.gone(session)
  }

  /** This process has begun to grant an entity presence: processes that it is connected to may ask for it now. */
  granted({ jid, presence }: Privileges): void {
    if (presence !== 'none') this.elsewhere?.granted(jid)
  }

  /** Whether nobody wants the rest. An account's resource that has become unavailable is told when it comes back. */
  private isOver(replay: Replay): boolean {
    const { session } = replay
    const isAway = session.type === 'c2s' && session.presence === undefined
    return session.destroyed || isAway || this.current.get(session) !== replay
  }

  /** Sends a presence, if it has not been sent. @param state - of one that comes from elsewhere */
  private put({ session, to, sent }: Replay, stanza: Stanza, state: unknown = this.stateOf(stanza)): void {
    const from = stanza.attrs.from!
    const isNew =
      this.others === undefined ? remember(sent, from, state) : this.others.isNewFor(sent, to, from, state)
    if (isNew) session.send(readdressed(stanza, to))
  }

  private stateOf(presence: Stanza): unknown {
    return this.others === undefined ? presence : this.others.numbered(presence, undefined)
  }

  /** Contacts in every roster of the host, those of accounts that are offline too. */
  private async replayContacts(replay: Replay): Promise<void> {
    const rosters = this.rostersByHost.get(this.host.name)
    if (rosters === undefined || this.host.users === undefined) return
    const asked = new Set<string>()
    for await (const username of this.host.users.list()) {
      const roster = await rosters.read(username)
      const pause = drained(replay.session)
      if (pause !== undefined) await pause
      if (this.isOver(replay)) return
      const account = `${username}@${this.host.name}`
      for (const contact of roster.items.values()) {
        const domain = domainOf(contact.jid)
        if (!seesThem({ item: contact }) || domain === this.host.name) continue
        const host = this.module.server.hosts.get(domain)
        if (host?.hostType === 'host') {
          for (const presence of this.presencesOf(host, contact.jid, account)) this.put(replay, presence)
          this.elsewhere?.want(replay, host, contact.jid, account)
        } else if (!asked.has(contact.jid)) {
          asked.add(contact.jid)
          this.module.send(new Stanza('presence', { type: 'probe', from: account, to: contact.jid }))
        }
      }
      if (this.elsewhere !== undefined) await this.elsewhere.fetchContacts(replay, false)
    }
    await this.elsewhere?.fetchContacts(replay, true)
  }

  /** The presence of a contact on another host, of resources at this process, as far as the account sees it. */
  private *presencesOf(host: Host, jid: string, account: string): Iterable<Stanza> {
    const username = localOf(jid) ?? ''
    const roster = this.rostersByHost.get(host.name)?.kept(username)
    if (roster === undefined || !isSeenBy(roster.contact(account))) return
    for (const { presence } of host.accounts.get(username)?.sessions.values() ?? []) {
      if (presence !== undefined) yield presence
    }
  }
}
