/** Who manages at the moment, and telling managers of what they manage (A1 to A3, C4, C5). */

import {
  bareOf,
  type Host,
  NS_DELEGATION,
  type Origin,
  type Server,
  Stanza,
  type StreamSession,
  xml,
} from '../../server/index.ts'
import type { Delegation } from './table.ts'

/** Told of managers that come and go; one for each VirtualHost that delegates. */
export interface ManagerListener {
  connected(session: StreamSession, jid: string): void
  disconnected(session: StreamSession): void
}

/** What the plugin's parts on all hosts share. */
export interface Registry {
  /** Connected components whose section enables `delegation`, by domain. */
  readonly components: Map<string, StreamSession>
  /** VirtualHosts that enable `delegation`: only accounts of these can manage. */
  readonly hosts: Set<string>
  readonly listeners: Set<ManagerListener>
}

export function createRegistry(): Registry {
  return { components: new Map(), hosts: new Set(), listeners: new Set() }
}

/** Where a manager's requests go: its session, and the address that it answers from. */
export interface ManagerConnection {
  readonly session: StreamSession
  readonly jid: string
}

/**
 * The connection of a delegation's manager; undefined if there is none (F7).
 *
 * A component counts when its section enables the plugin (C5), and so does a local account's host, which
 * else would tell nobody that the account has come or gone; of an account, the full JID that is named, or the
 * first available resource (C4).
 */
export function managerOf(
  delegation: Delegation,
  registry: Registry,
  server: Server,
): ManagerConnection | undefined {
  const { manager, jid } = delegation
  if (manager.local === undefined) {
    const session = registry.components.get(manager.domain)
    return session === undefined ? undefined : { session, jid }
  }
  if (!registry.hosts.has(manager.domain)) return undefined
  if (manager.resource !== undefined) {
    const session = server.fullJids.get(jid)
    return session?.presence === undefined ? undefined : { session, jid }
  }
  const account = server.hosts.get(manager.domain)?.accounts.get(manager.local)
  for (const session of account?.sessions.values() ?? []) {
    if (session.presence !== undefined) return { session, jid: session.fullJid! }
  }
  return undefined
}

/**
 * Whether a stanza comes from the manager itself, and so is not forwarded (F3): from any address of a
 * component's domain, or from the account.
 */
export function isFromManager(delegation: Delegation, origin: Origin, from: string): boolean {
  const { manager, jid } = delegation
  if (manager.local === undefined)
    return origin.host?.hostType === 'component' && origin.host.name === manager.domain
  return manager.resource === undefined ? bareOf(from) === jid : from === jid
}

/** The message that tells a manager what it manages for a host (A1). */
export function advertisement(host: Host, to: string, delegations: Iterable<Delegation>): Stanza {
  const list = xml('delegation', { xmlns: NS_DELEGATION })
  for (const { namespace, filtering } of delegations) {
    const attributes = filtering.map((name) => xml('attribute', { name }))
    list.append(xml('delegated', { namespace }, ...attributes))
  }
  return new Stanza('message', { from: host.name, to }, list)
}
