/** Namespace delegation (XEP-0355): IQs in a delegated namespace go to the entity that manages it. */

import {
  type ComponentConnections,
  definePlugin,
  type Module,
  NS_DELEGATION,
  type Peer,
  type StreamSession,
} from '../../server/index.ts'
import { checkDelegations } from './check.ts'
import { ClientSwitch } from './client-switch.ts'
import { Delegator } from './delegator.ts'
import { leaveOutOwn } from './discovery-own.ts'
import { delegateRemaining } from './discovery-remaining.ts'
import { createRegistry, type Registry } from './manager.ts'
import { type DelegationCounts, provideMetrics } from './metrics.ts'
import { options } from './options.ts'

/** Far ahead of everyone, as in Prosody. */
const PRIORITY = 2 ** 32

/** What the plugin exports on a VirtualHost. */
export interface DelegationStatus {
  /** How many requests wait for their managers. */
  readonly size: number
  /** How requests have ended, by namespace. */
  readonly counts: ReadonlyMap<string, DelegationCounts>
}

type DelegationModule = Module<typeof options>

function loadOnHost(module: DelegationModule, registry: Registry): Promise<void> {
  const delegator = new Delegator(module, registry)
  module.exports = delegator.requests satisfies DelegationStatus
  module.addFeature(NS_DELEGATION)
  // An IQ without `to` is fired as `iq/bare` first.
  module.hook('iq/bare', (event) => delegator.request(event), PRIORITY)
  module.hook('iq/host', (event) => delegator.request(event) ?? delegator.answer(event), PRIORITY)
  // Older protocols are announced while the configuration allows them.
  let older: (() => void)[] = []
  const announceOlder = (features: readonly string[]): void => {
    for (const withdraw of older) withdraw()
    older = features.map((feature) => module.host.items.add('feature', feature, module.name))
  }
  announceOlder(module.options.delegation_compat)
  module.onUnload(() => announceOlder([]))
  module.hook('config-reloaded', () => {
    announceOlder(module.options.delegation_compat)
    delegator.reload()
  })
  module.hook('account-disco-info', ({ reply }) => delegator.discovery.addTo(reply.payload!))
  module.addItem(
    'disco-filter',
    leaveOutOwn(module.name, (namespace) => delegator.isDelegated(namespace)),
  )
  delegateRemaining(module, PRIORITY, (event, name) => delegator.remaining(event, name))
  const metrics = module.shared('metrics', () => new Map<string, () => unknown>())
  module.onUnload(provideMetrics(metrics, registry.reports, () => delegator.metrics()))
  // A local account that manages (A3), for whichever host it does.
  const online = (session: StreamSession): void => {
    for (const listener of registry.listeners) {
      listener.connected(session, session.bareJid!)
      listener.connected(session, session.fullJid!)
    }
  }
  const offline = (session: Peer): void => {
    for (const listener of registry.listeners) listener.disconnected(session)
  }
  module.hook('presence/initial', ({ origin }) => {
    const session = module.server.fullJids.get(origin.fullJid ?? '')
    if (session !== undefined) online(session)
  })
  module.hook('resource-unbind', ({ session }) => offline(session))
  module.hookGlobal('peer-left', ({ peer }) => {
    if (peer.type === 'c2s') offline(peer)
  })
  // Who is no longer available is no longer asked (C4). Ahead of the plugin that deals with presence.
  module.hook(
    'presence/bare',
    ({ origin, stanza }) => {
      if (stanza.attrs.to !== undefined || stanza.attrs.type !== 'unavailable') return
      const session = module.server.fullJids.get(origin.fullJid ?? '')
      if (session !== undefined) offline(session)
    },
    1,
  )
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
  const client = new ClientSwitch(module, registry, (namespace) => delegator.isDelegated(namespace))
  delegator.client = client
  module.hook('config-reloaded', ({ waitFor }) => {
    waitFor(client.follow().catch((error) => module.log.error('client mode could not be started', { error })))
  })
  module.onUnload(() => client.stop())
  return client.follow()
}

function loadOnComponent(module: DelegationModule, registry: Registry): void {
  const { name } = module.host
  const connectionsOf = module.shared('component/connections', () => new Map<string, ComponentConnections>())
  const connected = (session: StreamSession): void => {
    const connections = connectionsOf.get(name)
    if (connections === undefined) return
    registry.components.set(name, connections)
    for (const listener of registry.listeners) listener.connected(session, name)
  }
  const disconnected = (session: Peer): void => {
    if (registry.components.get(name)?.size === 0) registry.components.delete(name)
    for (const listener of registry.listeners) listener.disconnected(session)
  }
  const appeared = (peer: Peer): void => {
    const connections = connectionsOf.get(name)
    if (connections === undefined) return
    registry.components.set(name, connections)
    for (const listener of registry.listeners) listener.appeared(peer, name)
  }
  module.hook('component-authenticated', ({ session }) => connected(session))
  module.hook('component-disconnected', ({ session }) => disconnected(session))
  // After the plugin that keeps the connections.
  module.hook('component-joined', ({ connection }) => appeared(connection), -1)
  module.hook('component-left', ({ connection }) => disconnected(connection), -1)
  // Loaded while the component is connected: it is told now.
  for (const session of module.server.sessions) {
    if (session.type === 'component' && session.host === module.host) connected(session)
  }
  for (const peer of module.server.cluster?.directory.connectionsOf(name) ?? []) appeared(peer)
  module.onUnload(() => {
    const connections = registry.components.get(name) ?? []
    registry.components.delete(name)
    for (const session of connections) disconnected(session)
  })
}

export default definePlugin({
  name: 'delegation',
  options,
  check: checkDelegations,
  load(module) {
    const registry = module.shared('delegation/registry', createRegistry)
    if (module.host.hostType === 'component') return loadOnComponent(module, registry)
    return loadOnHost(module, registry)
  },
})
