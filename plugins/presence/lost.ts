/**
 * The presence of sessions whose process has died: the others say that they are gone (RFC 6121 §4.5.2). Each tells
 * who is connected to it, so that it does not matter who of them dies as well, and nobody is told twice.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  bareOf,
  type ComponentConnections,
  domainOf,
  localOf,
  type RemoteResource,
  Stanza,
  StreamSession,
} from '../../server/index.ts'
import type { ReadonlyRoster } from '../roster/index.ts'
import { type PresenceContext, subscribers } from './context.ts'
import { hasSentTo } from './directed.ts'
import { hasTo } from './states.ts'

/** Accounts that are looked at in one turn: of a process that dies there may be very many. */
const ACCOUNTS_AT_ONCE = 1000
/** Seconds after which a roster is read again that could not be read, and how often. */
const RETRY_S = 5
const MOST_ATTEMPTS = 60

/** Sessions of any host that are gone with their process, and who is told of it by this host's plugin. */
export class LostPresence {
  private readonly context: PresenceContext
  private waiting: RemoteResource[] = []

  constructor(context: PresenceContext) {
    this.context = context
  }

  /** A session is lost. Others that are lost with it are worked on together. */
  add(resource: RemoteResource): void {
    this.waiting.push(resource)
    if (this.waiting.length > 1) return
    setImmediate(() => {
      const lost = this.waiting
      this.waiting = []
      this.tell(lost).catch((error) =>
        this.context.host.log.error('not all were told who is gone', { error, internal: true }),
      )
    })
  }

  private async tell(lost: readonly RemoteResource[]): Promise<void> {
    const { host } = this.context
    const available = lost.filter((resource) => resource.available)
    for (const resource of lost) this.tellAddressees(resource)
    for (const resource of available) {
      if (resource.host === host) this.tellAccount(resource)
    }
    await this.tellContacts(available)
    const own = available.filter((resource) => resource.host === host)
    if (own.length > 0) await this.tellElsewhere(own)
  }

  /** Those of this host that it had sent directed presence to, and components by the session's own host. */
  private tellAddressees(resource: RemoteResource): void {
    const { host, directedElsewhere, module } = this.context
    for (const to of directedElsewhere.get(resource) ?? []) {
      const domain = domainOf(to)
      if (this.isReplaced(resource, (now) => hasSentTo(this.context, now, to))) continue
      if (domain === host.name) {
        if (!this.isTold(resource, to)) this.send(resource, to)
      } else if (resource.host === host && module.server.hosts.get(domain)?.hostType === 'component') {
        this.toComponent(resource, to)
      }
    }
  }

  /** Whether an addressee of directed presence is told anyway: it is of the same account, or a contact. */
  private isTold(resource: RemoteResource, to: string): boolean {
    if (!resource.available) return false
    if (bareOf(to) === resource.bareJid) return true
    const roster = this.context.rosters.kept(localOf(to) ?? '')
    return roster !== undefined && hasTo(roster.contact(resource.bareJid))
  }

  /** The account's other resources here (§4.4.2). */
  private tellAccount(resource: RemoteResource): void {
    if (this.isReplaced(resource, isAvailable)) return
    for (const session of [...(this.context.host.accounts.get(resource.username)?.sessions.values() ?? [])]) {
      if (session.available) this.send(resource, session.fullJid!)
    }
  }

  /** Accounts of this host that are connected here and see one of those that are gone. */
  private async tellContacts(lost: readonly RemoteResource[]): Promise<void> {
    const { host, rosters } = this.context
    const byAccount = new Map<string, RemoteResource[]>()
    for (const resource of lost) {
      const others = byAccount.get(resource.bareJid)
      if (others === undefined) byAccount.set(resource.bareJid, [resource])
      else others.push(resource)
    }
    if (byAccount.size === 0) return
    let count = 0
    for (const username of [...host.accounts.keys()]) {
      const roster = rosters.kept(username) ?? (await this.read(username))
      for (const jid of roster === undefined ? [] : seen(roster, byAccount)) {
        for (const resource of byAccount.get(jid)!) {
          if (!this.isReplaced(resource, isAvailable)) this.send(resource, `${username}@${host.name}`)
        }
      }
      if (++count % ACCOUNTS_AT_ONCE === 0) await nextTurn()
    }
  }

  /** Contacts that are no accounts: components that are connected here, and whatever a plugin takes elsewhere. */
  private async tellElsewhere(lost: readonly RemoteResource[]): Promise<void> {
    const { host, module } = this.context
    const { cluster, hosts } = module.server
    const goesElsewhere = cluster?.leads === true && host.events.has('route/remote')
    if (!goesElsewhere && !this.hasComponent()) return
    for (const resource of lost) {
      const roster = await this.read(resource.username)
      for (const to of roster === undefined ? [] : subscribers(roster)) {
        if (this.isReplaced(resource, isAvailable)) break
        const target = hosts.get(domainOf(to))
        const directed = this.context.directedElsewhere.get(resource)
        if (target?.hostType === 'component') {
          if (directed?.has(to) !== true) this.toComponent(resource, to)
        } else if (target === undefined && goesElsewhere) {
          module.send(new Stanza('presence', { type: 'unavailable', from: resource.fullJid, to }), host)
        }
      }
    }
  }

  /** @returns undefined if it can not be read for a long time */
  private async read(username: string): Promise<ReadonlyRoster | undefined> {
    const { host, module, rosters } = this.context
    for (let attempt = 1; ; attempt++) {
      try {
        return await rosters.read(username)
      } catch (error) {
        if (attempt < MOST_ATTEMPTS) await new Promise<void>((resolve) => module.after(RETRY_S, resolve))
        else {
          host.log.error('contacts were not told who is gone: a roster can not be read', { username, error })
          return undefined
        }
      }
    }
  }

  /** Whether somebody else has the full JID by now, and something holds of them: then they are not to be hidden. */
  private isReplaced(
    { fullJid }: RemoteResource,
    holds: (now: StreamSession | RemoteResource) => boolean,
  ): boolean {
    const { server } = this.context.module
    const now = server.fullJids.get(fullJid) ?? server.cluster?.directory.find(fullJid)
    return now !== undefined && holds(now)
  }

  private hasComponent(): boolean {
    for (const connections of this.components().values()) if (isHere(connections)) return true
    return false
  }

  /** To a component if the connection that it is for is one of this process. */
  private toComponent(resource: RemoteResource, to: string): void {
    const connections = this.components().get(domainOf(to))
    if (connections === undefined || !isHere(connections)) return
    const connection = connections.of(resource.bareJid)
    const send = (chosen: unknown) => {
      if (chosen instanceof StreamSession) this.send(resource, to)
    }
    if (!(connection instanceof Promise)) send(connection)
    else {
      connection
        .then(send)
        .catch((error) => this.context.host.log.error('a component was not told who is gone', { to, error }))
    }
  }

  private components(): Map<string, ComponentConnections> {
    return this.context.module.shared('component/connections', () => new Map())
  }

  private send({ host, fullJid }: RemoteResource, to: string): void {
    const stanza = new Stanza('presence', { type: 'unavailable', from: fullJid, to })
    this.context.onlyHere.add(stanza)
    this.context.module.server.router.arrive(host, stanza)
  }
}

function isAvailable({ available }: { available: boolean }): boolean {
  return available
}

function isHere(connections: ComponentConnections): boolean {
  for (const connection of connections) if (connection instanceof StreamSession) return true
  return false
}

/** Which of some accounts a roster's account sees. */
function* seen(roster: ReadonlyRoster, accounts: ReadonlyMap<string, unknown>): Iterable<string> {
  if (accounts.size < roster.items.size) {
    for (const jid of accounts.keys()) if (hasTo(roster.contact(jid))) yield jid
  } else {
    for (const jid of roster.items.keys()) if (accounts.has(jid) && hasTo(roster.contact(jid))) yield jid
  }
}
