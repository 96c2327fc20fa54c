/** What is in force of the delegations that accounts have granted, and telling managers of it (U2, U3, U5, U6). */

import {
  bareOf,
  type delegationOptions,
  domainOf,
  localOf,
  type Module,
  NS_DELEGATION,
  type Peer,
  Stanza,
  StreamSession,
  xml,
} from '../../server/index.ts'
import { accountCreated, managerCreated } from './client-accounts.ts'
import {
  type Grant,
  Grants,
  grantedDelegation,
  MOST_GRANTS,
  managersIn,
  type StoredGrants,
} from './client-grants.ts'
import { mayBeGranted } from './client-namespaces.ts'
import type { clientOptions } from './client-options.ts'
import { shareGrants } from './client-shared.ts'
import { type ManagerConnection, managersOf, type Registry } from './manager.ts'
import type { Delegation } from './table.ts'

export type ClientModule = Module<typeof delegationOptions & typeof clientOptions>

/** The store of what is kept over sessions. */
const STORE = 'delegation_grants'

/** The delegations by the accounts of one host. */
export class ClientDelegations {
  private readonly module: ClientModule
  private readonly registry: Registry
  /** Whether the configuration delegates a namespace (U6). */
  private readonly isConfigured: (namespace: string) => boolean
  private readonly grants: Grants
  private unshare = () => {}
  /** Grants that the configuration has overtaken: they are kept, and out of force. */
  private readonly dormant = new WeakSet<Grant>()

  constructor(module: ClientModule, registry: Registry, isConfigured: (namespace: string) => boolean) {
    this.module = module
    this.registry = registry
    this.isConfigured = isConfigured
    this.grants = new Grants(module.log, () => module.options.delegation_timeout)
  }

  /** Reads what was kept (U5), and tells the managers that are connected. */
  async start(): Promise<void> {
    await this.followPersistence()
    this.reconcile()
    this.unshare = shareGrants(this.module.host, this.grants, {
      taken: (username, namespaces) => this.taken(username, namespaces),
      learnt: (username, namespaces, managers) => {
        this.taken(username, namespaces)
        for (const jid of managers) this.tellHere(username, jid)
      },
      complete: () => this.endAbsent(),
    })
    for (const username of this.grants.accounts()) {
      for (const jid of managersIn(this.grants.of(username))) this.tellHere(username, jid)
    }
  }

  /** What another process has granted may be what the configuration has here. */
  private taken(username: string, namespaces: readonly string[]): void {
    for (const namespace of namespaces) {
      const grant = this.grants.find(username, namespace)
      if (grant !== undefined && !this.mayGrant(namespace)) this.dormant.add(grant)
    }
  }

  /** The delegation that a request falls under, if an account has granted one (U3). */
  find(stanza: Stanza): Delegation | undefined {
    const { from = '', to } = stanza.attrs
    const { name } = this.module.host
    const account: string = to === undefined || to === name ? bareOf(from) : to
    if (!account.endsWith(name) || account[account.length - name.length - 1] !== '@') return undefined
    const grant = this.grants.find(localOf(account) ?? '', stanza.payloadNs)
    return grant === undefined || this.dormant.has(grant) ? undefined : grant.delegation
  }

  of(username: string): Grant[] {
    return this.grants.of(username)
  }

  /** Who manages a namespace of an account by its own grant. */
  managerOf(username: string, namespace: string): string | undefined {
    return this.grants.find(username, namespace)?.delegation.jid
  }

  /** Whether an account may delegate a namespace now (U4, U6). */
  mayGrant(namespace: string): boolean {
    return (
      mayBeGranted(namespace, this.module.options.delegation_client_namespaces) &&
      !this.isConfigured(namespace)
    )
  }

  /** How many namespaces more an account may delegate. */
  room(username: string): number {
    return MOST_GRANTS - this.grants.of(username).length
  }

  /**
   * U2. Whoever managed one of these before is told of its loss.
   *
   * @param since - when the entity asked, in Unix time
   */
  grant(username: string, namespaces: readonly string[], entity: string, since: number): void {
    const concerned = new Set([entity])
    for (const namespace of namespaces) {
      const present = this.managerOf(username, namespace)
      if (!this.mayGrant(namespace) || (present === undefined && this.room(username) <= 0)) continue
      if (present !== undefined) concerned.add(present)
      this.grants.put(username, namespace, entity, since)
    }
    for (const jid of concerned) this.tell(username, jid)
    this.save(username).catch((error) => this.storeFailed(username, error))
  }

  /** Takes back what an account has delegated; its managers are told what is left (U5). */
  async revoke(username: string, grants: readonly Grant[]): Promise<void> {
    for (const grant of grants) {
      const { namespace } = grant.delegation
      // It may be somebody else's by now.
      if (this.grants.find(username, namespace) === grant) this.grants.remove(username, namespace)
    }
    for (const jid of managersIn(grants)) this.tell(username, jid)
    await this.save(username)
  }

  /**
   * The last session of an account has ended, wherever it was: so do its grants, unless they are kept. One process
   * ends them for all.
   */
  accountLeft(username: string): void {
    if (!this.grants.kept && this.leads) this.end(username, this.grants.of(username))
  }

  /** Ends what should have ended before, when nobody was there to do it. */
  endAbsent(): void {
    if (this.grants.kept || !this.leads) return
    for (const username of this.grants.accounts()) {
      if (!this.module.host.isOnline(username)) this.accountLeft(username)
    }
  }

  /** Whether this process does what one of several that are one server has to do for all. */
  private get leads(): boolean {
    return this.module.server.cluster?.leads ?? true
  }

  /** A manager has connected (as A2, A3): it is told of every account that has granted it something. */
  async connected(session: Peer, jid: string): Promise<void> {
    // With a component, every address at it is there.
    const isOne = (manager: string) =>
      session.type === 'component' ? domainOf(manager) === jid : manager === jid
    for (const manager of this.grants.managers().filter(isOne)) {
      await this.verifyManager(manager)
      for (const username of this.grants.grantedTo(manager)) {
        if (!session.destroyed) session.send(this.listFor(username, manager, session.fullJid ?? manager))
      }
    }
  }

  /** The configuration has changed: what is in force may have, too. */
  async reloaded(): Promise<void> {
    // Other processes are reloaded as well, and tell whoever is connected to them.
    this.reconcile((username, jid) => this.tellHere(username, jid))
    await this.followPersistence()
    this.endAbsent()
  }

  /** Looks whether the accounts of all grants are still those that they were (U2). */
  async verifyAll(): Promise<void> {
    await this.grants.tidy()
    if (!this.leads) return
    for (const username of this.grants.accounts()) await this.verifyAccount(username)
    for (const jid of this.grants.managers()) await this.verifyManager(jid)
  }

  async verifyAccount(username: string): Promise<void> {
    const grants = this.grants.of(username)
    if (grants.length === 0) return
    const { server, host } = this.module
    const created = await accountCreated(server, host.name, username)
    this.end(
      username,
      grants.filter(({ since }) => created === undefined || created > since),
    )
  }

  private async verifyManager(jid: string): Promise<void> {
    const created = await managerCreated(this.module.server, jid)
    for (const username of this.grants.grantedTo(jid)) {
      const outdated = ({ delegation, since }: Grant) =>
        delegation.jid === jid && (created === undefined || created > since)
      this.end(username, this.grants.of(username).filter(outdated))
    }
  }

  /**
   * Client mode ends here: nobody manages anything by a grant. What is kept stays in the store. Other processes end it
   * as well, and tell whoever is connected to them, or they go on with the same grants.
   */
  stop(): void {
    this.unshare()
    for (const username of this.grants.accounts()) {
      const grants = this.grants.of(username)
      for (const { delegation } of grants) this.grants.remove(username, delegation.namespace)
      for (const jid of managersIn(grants)) this.tellHere(username, jid)
    }
  }

  /** Tells an entity everything that it manages for an account; nothing is a refusal, or the end. */
  tell(username: string, entity: string): void {
    for (const connection of this.connectionsOf(entity)) this.tellOne(connection, username, entity)
  }

  /** The same, if it is connected to this process: where every process tells those of its own. */
  tellHere(username: string, entity: string): void {
    for (const connection of this.connectionsOf(entity)) {
      if (connection.session instanceof StreamSession) this.tellOne(connection, username, entity)
    }
  }

  private tellOne({ session, jid }: ManagerConnection, username: string, entity: string): void {
    session.send(this.listFor(username, entity, jid))
  }

  /** Where an entity can be reached now: a component whose section enables the plugin, or an available client. */
  connectionsOf(entity: string): ManagerConnection[] {
    const any = grantedDelegation('', entity, this.module.options.delegation_timeout)
    return any === undefined ? [] : managersOf(any, this.registry, this.module.server)
  }

  private listFor(username: string, entity: string, to: string): Stanza {
    const { name } = this.module.host
    const list = xml('delegation', { xmlns: NS_DELEGATION, to: `${username}@${name}` })
    for (const grant of this.grants.of(username)) {
      const { jid, namespace } = grant.delegation
      if (jid === entity && !this.dormant.has(grant)) list.append(xml('delegated', { namespace }))
    }
    return new Stanza('message', { from: name, to }, list)
  }

  private end(username: string, grants: readonly Grant[]): void {
    if (grants.length === 0) return
    this.revoke(username, grants).catch((error) => this.storeFailed(username, error))
  }

  private save(username: string): Promise<void> {
    return this.grants.save(username)
  }

  private storeFailed(username: string, error: unknown): void {
    this.module.log.error('what an account has delegated could not be stored', { account: username, error })
  }

  private async followPersistence(): Promise<void> {
    const keep = this.module.options.delegation_client_persist
    const store = this.module.openStore<StoredGrants>(STORE)
    if (keep && !this.grants.kept) await this.grants.keepIn(store)
    // Also what another configuration has left there: it must not come back one day.
    if (!keep) await this.grants.forgetIn(store)
  }

  /** Finds out what the configuration has overtaken, or left free again. */
  private reconcile(changed: (username: string, jid: string) => void = () => {}): void {
    for (const username of this.grants.accounts()) {
      const concerned = new Set<string>()
      for (const grant of this.grants.of(username)) {
        const { namespace, jid } = grant.delegation
        const inForce = this.mayGrant(namespace)
        if (inForce !== this.dormant.has(grant)) continue
        if (inForce) this.dormant.delete(grant)
        else this.dormant.add(grant)
        concerned.add(jid)
      }
      for (const jid of concerned) changed(username, jid)
    }
  }
}
