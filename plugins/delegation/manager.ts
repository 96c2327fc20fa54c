/** Who manages at the moment, and telling managers of what they manage (A1 to A3, C4, C5). */

import {
  bareOf,
  type ComponentConnections,
  type Host,
  NS_DELEGATION,
  type Origin,
  type Peer,
  type Server,
  Stanza,
  xml,
} from '../../server/index.ts'
import type { MetricsReport } from './metrics.ts'
import type { Delegation } from './table.ts'

/** Told of managers that come and go; one for each VirtualHost that delegates. */
export interface ManagerListener {
  /** A manager has connected to this process, which tells it what it manages (A2). */
  connected(session: Peer, jid: string): void
  /** One has connected to another process, which tells it. */
  appeared(session: Peer, jid: string): void
  /** One is gone, from this process or another. */
  disconnected(session: Peer): void
}

/** What the plugin's parts on all hosts share. */
export interface Registry {
  /** Connected components whose section enables `delegation`, by domain, each with one connection at least. */
  readonly components: Map<string, ComponentConnections>
  /** VirtualHosts that enable `delegation`: only accounts of these can manage. */
  readonly hosts: Set<string>
  readonly listeners: Set<ManagerListener>
  /** What each host counts. */
  readonly reports: Set<MetricsReport>
}

export function createRegistry(): Registry {
  return { components: new Map(), hosts: new Set(), listeners: new Set(), reports: new Set() }
}

/** Where a manager's requests go: its session, and the address that it answers from. */
export interface ManagerConnection {
  readonly session: Peer
  readonly jid: string
  /** Where several connections of a component may share the work: all of them. */
  readonly among: ComponentConnections | undefined
}

/**
 * The connection of a delegation's manager; undefined if there is none (F7). Of several connections of a
 * component, the one for the account that a request is about (F10), which is the asker where it is about none.
 *
 * A component counts when its section enables the plugin (C5), and so does a local account's host, which
 * else would tell nobody that the account has come or gone; of an account, the full JID that is named, or the
 * first available resource (C4).
 *
 * @returns a promise where other processes have to be asked which connection is the account's: with a request only
 */
export function managerOf(
  delegation: Delegation,
  registry: Registry,
  server: Server,
  request?: Stanza,
): ManagerConnection | undefined | Promise<ManagerConnection | undefined> {
  const { manager, jid } = delegation
  if (manager.local === undefined || isAtComponent(delegation, server)) {
    const connections = registry.components.get(manager.domain)
    if (connections === undefined) return undefined
    const among = connections.shared ? connections : undefined
    if (among === undefined || request === undefined) {
      return connections.first && { session: connections.first, jid, among }
    }
    const owner = among.of(accountOf(request))
    if (owner instanceof Promise) return owner.then((session) => session && { session, jid, among })
    return owner && { session: owner, jid, among }
  }
  if (!registry.hosts.has(manager.domain)) return undefined
  for (const session of server.hosts.get(manager.domain)?.resourcesOf(manager.local) ?? []) {
    if (!session.available || (manager.resource !== undefined && session.resource !== manager.resource))
      continue
    return { session, jid: session.fullJid!, among: undefined }
  }
  return undefined
}

/** Whether the manager is, by an account's grant, an address at a component. */
function isAtComponent({ manager, byAccount }: Delegation, server: Server): boolean {
  return byAccount === true && server.hosts.get(manager.domain)?.hostType === 'component'
}

/** Every connection of a delegation's manager: whom to tell of a change (A2, C6). */
export function managersOf(delegation: Delegation, registry: Registry, server: Server): ManagerConnection[] {
  const one = managerOf(delegation, registry, server)
  if (one === undefined || one instanceof Promise) return []
  return one.among === undefined ? [one] : [...one.among].map((session) => ({ ...one, session }))
}

/** The account that a request is about (F10): it may be addressed to the host, or to nobody. */
function accountOf({ attrs }: Stanza): string {
  return attrs.to?.includes('@') === true ? attrs.to : bareOf(attrs.from!)
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

/**
 * The message that tells a manager what it manages for a host (A1).
 *
 * @param xmlns - the delegation namespace that the manager speaks
 */
export function advertisement(
  host: Host,
  to: string,
  delegations: Iterable<Delegation>,
  xmlns: string = NS_DELEGATION,
): Stanza {
  const list = xml('delegation', { xmlns })
  for (const { namespace, filtering } of delegations) {
    const attributes = filtering.map((name) => xml('attribute', { name }))
    list.append(xml('delegated', { namespace }, ...attributes))
  }
  return new Stanza('message', { from: host.name, to }, list)
}
