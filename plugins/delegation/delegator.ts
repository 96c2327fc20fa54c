/** What a VirtualHost delegates, and what becomes of a request in a delegated namespace (F1 to F3, F9). */

import {
  errorReply,
  type Host,
  type Module,
  type Origin,
  type Peer,
  type Stanza,
  type StanzaEvent,
  StreamSession,
} from '../../server/index.ts'
import { Discovery } from './discovery.ts'
import { isRemainingDisco } from './discovery-remaining.ts'
import {
  advertisement,
  isFromManager,
  type ManagerConnection,
  type ManagerListener,
  managerOf,
  managersOf,
  type Registry,
} from './manager.ts'
import { type DelegationMetrics, metricsRow } from './metrics.ts'
import type { options } from './options.ts'
import { Requests } from './requests.ts'
import { type Delegation, readTable } from './table.ts'
import { Turns } from './turns.ts'

type DelegationModule = Module<typeof options>

/** Delegations that accounts have granted themselves (U3). */
export interface AccountDelegations {
  delegationFor(stanza: Stanza): Delegation | undefined
}

/** The part on a VirtualHost: it delegates. */
export class Delegator implements ManagerListener {
  private delegations: ReadonlyMap<string, Delegation> = new Map()
  /** One of each manager's. */
  private ofManagers: readonly Delegation[] = []
  private readonly module: DelegationModule
  private readonly host: Host
  private readonly registry: Registry
  readonly requests: Requests
  readonly discovery: Discovery
  private readonly turns = new Turns()
  /** What accounts have delegated themselves (U3). */
  client: AccountDelegations | undefined

  constructor(module: DelegationModule, registry: Registry) {
    this.module = module
    this.host = module.host
    this.registry = registry
    this.requests = new Requests(module.host, module.log)
    this.discovery = new Discovery(module.host, module.log, module.name)
    this.readConfig()
  }

  /** An IQ for the host, an account of it, or nobody in particular (F1). */
  request(event: StanzaEvent): true | Promise<void> | undefined {
    const { stanza } = event
    const { type, to } = stanza.attrs
    if (type !== 'get' && type !== 'set') return undefined
    // U6: what the configuration delegates goes before what an account has delegated.
    const delegation = this.delegations.get(stanza.payloadNs) ?? this.client?.delegationFor(stanza)
    if (delegation === undefined || isRemainingDisco(delegation.namespace)) return undefined
    if (to?.includes('/') === true) return undefined // the host with a resource is a full JID
    return this.take(event, delegation)
  }

  /** Forwards a request, unless its sender (F3) or its payload (C2) is excepted. */
  private take({ origin, stanza }: StanzaEvent, delegation: Delegation): true | Promise<void> | undefined {
    if (isFromManager(delegation, origin, stanza.attrs.from!)) return undefined
    if (delegation.filtering.length > 0 && !passesFilter(delegation, stanza.payloadAttrs)) return undefined
    if (delegation.ordered) return this.inOrder(stanza, origin, delegation)
    const found = this.dispatch(stanza, origin, delegation)
    // A component's stream is not held, since others stand behind it as well.
    return found === undefined || origin.fullJid === undefined ? true : found
  }

  /** @returns a promise if it has to be found out whose the request is */
  private dispatch(
    stanza: Stanza,
    origin: Origin,
    delegation: Delegation,
    done?: () => void,
  ): Promise<void> | undefined {
    const manager = managerOf(delegation, this.registry, this.module.server, stanza)
    if (!(manager instanceof Promise)) {
      this.dispatchTo(manager, stanza, origin, delegation, done)
      return undefined
    }
    return manager
      .catch((error: unknown) => {
        this.module.log.warn('whose an account is could not be found out', { error })
        return undefined
      })
      .then((found) => this.dispatchTo(found, stanza, origin, delegation, done))
  }

  private dispatchTo(
    manager: ManagerConnection | undefined,
    stanza: Stanza,
    origin: Origin,
    delegation: Delegation,
    done?: () => void,
  ): void {
    if (manager !== undefined) {
      this.requests.forward(stanza, origin, delegation, manager, done)
      return
    }
    this.requests.refuse(stanza, origin, delegation)
    done?.()
  }

  /**
   * F9: one of an asker's requests at a time. A client's stream is held meanwhile; a component's is not, since
   * others stand behind it as well.
   */
  private inOrder(stanza: Stanza, origin: Origin, delegation: Delegation): true | Promise<void> {
    if (origin.fullJid !== undefined) {
      return new Promise((answered) => this.dispatch(stanza, origin, delegation, answered))
    }
    const taken = this.turns.take(`${delegation.namespace} ${stanza.attrs.from}`, origin, (done) =>
      this.dispatch(stanza, origin, delegation, done),
    )
    if (!taken) {
      origin.send(errorReply(stanza, 'resource-constraint', 'Too many requests wait for their turn'))
    }
    return true
  }

  /** Service discovery of an account that the server does not serve itself (D6). */
  remaining(event: StanzaEvent, name: string): true | Promise<void> | undefined {
    const delegation = this.delegations.get(name)
    return delegation === undefined ? undefined : this.take(event, delegation)
  }

  isDelegated(namespace: string): boolean {
    return this.delegations.has(namespace)
  }

  /** An IQ result or error for the host: the answer of a manager, perhaps. */
  answer({ origin, stanza }: StanzaEvent): true | undefined {
    const { type } = stanza.attrs
    if (type !== 'result' && type !== 'error') return undefined
    return this.requests.answer(stanza, origin) ?? this.discovery.answer(stanza, origin)
  }

  /** Takes the table anew, and tells the managers whose list has changed (C6). */
  reload(): void {
    const before = this.delegations
    this.readConfig()
    this.discovery.changed(this.delegations)
    for (const delegation of byManager([...before.values(), ...this.delegations.values()])) {
      if (listOf(before, delegation) !== listOf(this.delegations, delegation)) this.tell(delegation)
    }
  }

  /** The host begins to delegate: managers that are connected already are told now. */
  loaded(): void {
    for (const delegation of this.ofManagers) this.tell(delegation)
  }

  connected(session: Peer, jid: string): void {
    for (const delegation of this.ofManagers) {
      if (delegation.jid === jid) this.advertise(session, delegation, session.fullJid ?? jid)
    }
  }

  disconnected(session: Peer): void {
    this.requests.managerGone(session)
    this.discovery.gone(session)
  }

  unload(): void {
    this.requests.abandonAll()
    this.discovery.stop()
  }

  /** The numbers of what is delegated now. */
  metrics(): DelegationMetrics[] {
    return [...this.delegations.values()].map((delegation) => {
      const connections = managersOf(delegation, this.registry, this.module.server)
      return metricsRow(this.host.name, delegation, connections, this.requests.metricsOf(delegation))
    })
  }

  /** Tells a manager's connections to this process; every process tells its own, and asks all what they announce. */
  private tell(delegation: Delegation): void {
    for (const { session, jid } of managersOf(delegation, this.registry, this.module.server)) {
      if (session instanceof StreamSession) this.advertise(session, delegation, jid)
      else this.discovery.ask(session, jid, managedWith(this.delegations, delegation))
    }
  }

  appeared(session: Peer, jid: string): void {
    for (const delegation of this.ofManagers) {
      if (delegation.jid !== jid) continue
      this.discovery.ask(session, session.fullJid ?? jid, managedWith(this.delegations, delegation))
    }
  }

  private advertise(session: Peer, delegation: Delegation, to: string): void {
    const managed = managedWith(this.delegations, delegation)
    session.send(advertisement(this.host, to, managed, delegation.xmlns))
    this.module.log.info('told a manager of its delegations', { manager: to, namespaces: managed.length })
    this.discovery.ask(session, to, managed)
  }

  private readConfig(): void {
    const { delegations, delegation_timeout, delegation_compat } = this.module.options
    const { name } = this.host
    const { delegations: read, problems } = readTable(
      delegations,
      name,
      delegation_timeout,
      delegation_compat,
    )
    for (const problem of problems) this.module.log.error(problem)
    this.delegations = read
    this.ofManagers = byManager(read.values())
  }
}

/** C2 */
function passesFilter({ filtering }: Delegation, attrs: Record<string, string | undefined>): boolean {
  for (const name of filtering) if (attrs[name] === undefined) return false
  return true
}

/** One delegation of each manager, and of each delegation namespace that it speaks: told of apart. */
function byManager(delegations: Iterable<Delegation>): Delegation[] {
  const found = new Map<string, Delegation>()
  for (const delegation of delegations) found.set(`${delegation.xmlns} ${delegation.jid}`, delegation)
  return [...found.values()]
}

/** What is delegated to the same manager by the same delegation namespace. */
function managedWith(delegations: ReadonlyMap<string, Delegation>, { jid, xmlns }: Delegation): Delegation[] {
  return [...delegations.values()].filter((entry) => entry.jid === jid && entry.xmlns === xmlns)
}

/** What a manager is told, in a form that can be compared. */
function listOf(delegations: ReadonlyMap<string, Delegation>, delegation: Delegation): string {
  const managed = managedWith(delegations, delegation)
  return JSON.stringify(managed.map(({ namespace, filtering }) => [namespace, ...filtering]).sort())
}
