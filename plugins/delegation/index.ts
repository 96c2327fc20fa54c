/** Namespace delegation (XEP-0355): IQs in a delegated namespace go to the entity that manages it. */

import {
  definePlugin,
  delegationOptions,
  type Host,
  type Module,
  NS_DELEGATION,
  type StanzaEvent,
  type StreamSession,
} from '../../server/index.ts'
import { checkDelegations } from './check.ts'
import {
  advertisement,
  createRegistry,
  isFromManager,
  type ManagerListener,
  managerOf,
  type Registry,
} from './manager.ts'
import { type DelegationCounts, Requests } from './requests.ts'
import { type Delegation, readTable } from './table.ts'

/** Far ahead of everyone, as in Prosody. */
const PRIORITY = 2 ** 32

/** What the plugin exports on a VirtualHost. */
export interface DelegationStatus {
  /** How many requests wait for their managers. */
  readonly size: number
  /** How requests have ended, by namespace. */
  readonly counts: ReadonlyMap<string, DelegationCounts>
}

type DelegationModule = Module<typeof delegationOptions>

/** The part on a VirtualHost: it delegates. */
class Delegator implements ManagerListener {
  private delegations: ReadonlyMap<string, Delegation> = new Map()
  private readonly module: DelegationModule
  private readonly host: Host
  private readonly registry: Registry
  readonly requests: Requests

  constructor(module: DelegationModule, registry: Registry) {
    this.module = module
    this.host = module.host
    this.registry = registry
    this.requests = new Requests(module.host, module.log)
    this.readConfig()
  }

  /** An IQ for the host, an account of it, or nobody in particular (F1). */
  request({ origin, stanza }: StanzaEvent): true | undefined {
    const { type, to, from } = stanza.attrs
    if (type !== 'get' && type !== 'set') return undefined
    const delegation = this.delegations.get(stanza.payloadNs)
    if (delegation === undefined) return undefined
    if (to?.includes('/') === true) return undefined // the host with a resource is a full JID
    if (isFromManager(delegation, origin, from!)) return undefined
    if (delegation.filtering.length > 0 && !passesFilter(delegation, stanza.payloadAttrs)) return undefined
    const manager = managerOf(delegation, this.registry, this.module.server)
    if (manager === undefined) this.requests.refuse(stanza, origin, delegation)
    else this.requests.forward(stanza, origin, delegation, manager)
    return true
  }

  /** An IQ result or error for the host: the answer of a manager, perhaps. */
  answer({ origin, stanza }: StanzaEvent): true | undefined {
    const { type } = stanza.attrs
    return type === 'result' || type === 'error' ? this.requests.answer(stanza, origin) : undefined
  }

  /** Takes the table anew, and tells the managers whose list has changed (C6). */
  reload(): void {
    const before = this.delegations
    this.readConfig()
    const jids = new Set([...before.values(), ...this.delegations.values()].map(({ jid }) => jid))
    for (const jid of jids) {
      if (listOf(before, jid) === listOf(this.delegations, jid)) continue
      const delegation = [...this.delegations.values(), ...before.values()].find(
        (entry) => entry.jid === jid,
      )!
      this.tell(delegation)
    }
  }

  /** The host begins to delegate: managers that are connected already are told now. */
  loaded(): void {
    const byManager = new Map(
      [...this.delegations.values()].map((delegation) => [delegation.jid, delegation]),
    )
    for (const delegation of byManager.values()) this.tell(delegation)
  }

  connected(session: StreamSession, jid: string): void {
    if ([...this.delegations.values()].some((delegation) => delegation.jid === jid)) {
      this.advertise(session, jid, session.fullJid ?? jid)
    }
  }

  disconnected(session: StreamSession): void {
    this.requests.managerGone(session)
  }

  unload(): void {
    this.requests.abandonAll()
  }

  private tell(delegation: Delegation): void {
    const manager = managerOf(delegation, this.registry, this.module.server)
    if (manager !== undefined) this.advertise(manager.session, delegation.jid, manager.jid)
  }

  private advertise(session: StreamSession, jid: string, to: string): void {
    const managed = [...this.delegations.values()].filter((delegation) => delegation.jid === jid)
    session.send(advertisement(this.host, to, managed))
    this.module.log.info('told a manager of its delegations', { manager: to, namespaces: managed.length })
  }

  private readConfig(): void {
    const { delegations, delegation_timeout } = this.module.options
    const { delegations: read, problems } = readTable(delegations, this.host.name, delegation_timeout)
    for (const problem of problems) this.module.log.error(problem)
    this.delegations = read
  }
}

/** C2 */
function passesFilter({ filtering }: Delegation, attrs: Record<string, string | undefined>): boolean {
  for (const name of filtering) if (attrs[name] === undefined) return false
  return true
}

/** What a manager is told, in a form that can be compared. */
function listOf(delegations: ReadonlyMap<string, Delegation>, jid: string): string {
  const managed = [...delegations.values()].filter((delegation) => delegation.jid === jid)
  return JSON.stringify(managed.map(({ namespace, filtering }) => [namespace, ...filtering]).sort())
}

function loadOnHost(module: DelegationModule, registry: Registry): void {
  const delegator = new Delegator(module, registry)
  module.exports = delegator.requests satisfies DelegationStatus
  module.addFeature(NS_DELEGATION)
  // An IQ without `to` is fired as `iq/bare` first.
  module.hook('iq/bare', (event) => delegator.request(event), PRIORITY)
  module.hook('iq/host', (event) => delegator.request(event) ?? delegator.answer(event), PRIORITY)
  module.hook('config-reloaded', () => delegator.reload())
  // A local account that manages (A3), for whichever host it does.
  const online = (session: StreamSession): void => {
    for (const listener of registry.listeners) {
      listener.connected(session, session.bareJid!)
      listener.connected(session, session.fullJid!)
    }
  }
  const offline = (session: StreamSession): void => {
    for (const listener of registry.listeners) listener.disconnected(session)
  }
  module.hook('presence/initial', ({ origin }) => {
    const session = module.server.fullJids.get(origin.fullJid ?? '')
    if (session !== undefined) online(session)
  })
  module.hook('resource-unbind', ({ session }) => offline(session))
  // Loaded while accounts are online: other hosts' managers among them are told now.
  for (const session of module.host.allSessions()) {
    if (session.presence !== undefined) online(session)
  }
  registry.listeners.add(delegator)
  registry.hosts.add(module.host.name)
  delegator.loaded()
  module.onUnload(() => {
    registry.listeners.delete(delegator)
    registry.hosts.delete(module.host.name)
    delegator.unload()
    for (const session of module.host.allSessions()) offline(session)
  })
}

function loadOnComponent(module: DelegationModule, registry: Registry): void {
  const { name } = module.host
  const connected = (session: StreamSession): void => {
    registry.components.set(name, session)
    for (const listener of registry.listeners) listener.connected(session, name)
  }
  const disconnected = (session: StreamSession): void => {
    if (registry.components.get(name) === session) registry.components.delete(name)
    for (const listener of registry.listeners) listener.disconnected(session)
  }
  module.hook('component-authenticated', ({ session }) => connected(session))
  module.hook('component-disconnected', ({ session }) => disconnected(session))
  // Loaded while the component is connected: it is told now.
  for (const session of module.server.sessions) {
    if (session.type === 'component' && session.host === module.host) connected(session)
  }
  module.onUnload(() => {
    const session = registry.components.get(name)
    if (session !== undefined) disconnected(session)
  })
}

export default definePlugin({
  name: 'delegation',
  options: delegationOptions,
  check: checkDelegations,
  load(module) {
    const registry = module.shared('delegation/registry', createRegistry)
    if (module.host.hostType === 'component') loadOnComponent(module, registry)
    else loadOnHost(module, registry)
  },
})
