/** What accounts have delegated themselves: by account, by manager, and in the store (U2, U3, U5). */

import { type KeyvalStore, type Logger, NS_DELEGATION, prepareJid } from '../../server/index.ts'
import type { Delegation } from './table.ts'

/** A namespace that one account has delegated. */
export interface Grant {
  /** For forwarding, as one of the configuration. */
  readonly delegation: Delegation
  /** When it was asked for, in Unix time: an account that was made later is another one. */
  readonly since: number
}

/** What is stored for an account: by namespace. */
export type StoredGrants = Record<string, { jid: string; since: number }>

/** Namespaces that one account may have delegated at a time. */
export const MOST_GRANTS = 100

/**
 * A delegation by an account, for forwarding as one of the configuration.
 *
 * @param jid - of any entity
 * @param timeout - seconds that it may take
 * @returns undefined if it is no JID
 */
export function grantedDelegation(namespace: string, jid: string, timeout: number): Delegation | undefined {
  const manager = prepareJid(jid)
  if (manager === undefined) return undefined
  return {
    namespace,
    jid: manager.full,
    manager,
    filtering: [],
    timeout,
    ordered: false,
    xmlns: NS_DELEGATION,
    byAccount: true,
  }
}

/** The grants of one host's accounts, in memory; with a store they are written through. */
export class Grants {
  private readonly log: Logger
  private readonly timeout: () => number
  private readonly byAccount = new Map<string, Map<string, Grant>>()
  /** Managers, and who has granted them something. */
  private readonly byManager = new Map<string, Set<string>>()
  private store: KeyvalStore<StoredGrants> | undefined
  /** Told what an account has granted, when that is another. */
  onChanged: ((username: string, stored: StoredGrants) => void) | undefined

  /**
   * @param timeout - seconds that managers may take; read when something is granted
   */
  constructor(log: Logger, timeout: () => number) {
    this.log = log
    this.timeout = timeout
  }

  /** Reads what was kept, and keeps what comes. */
  async keepIn(store: KeyvalStore<StoredGrants>): Promise<void> {
    this.store = store
    for await (const username of store.users()) {
      for (const [namespace, { jid, since }] of Object.entries((await store.get(username)) ?? {})) {
        if (this.find(username, namespace) === undefined) this.put(username, namespace, jid, since)
      }
    }
    for (const username of this.accounts()) await this.save(username)
  }

  /** Keeps nothing any more, nor what was kept. */
  async forgetIn(store: KeyvalStore<StoredGrants>): Promise<void> {
    this.store = undefined
    for await (const username of store.users()) await store.set(username, undefined)
  }

  get kept(): boolean {
    return this.store !== undefined
  }

  find(username: string, namespace: string): Grant | undefined {
    return this.byAccount.get(username)?.get(namespace)
  }

  /** Everything that an account has granted. */
  of(username: string): Grant[] {
    return [...(this.byAccount.get(username)?.values() ?? [])]
  }

  accounts(): string[] {
    return [...this.byAccount.keys()]
  }

  managers(): string[] {
    return [...this.byManager.keys()]
  }

  /** Who has granted something to a manager. */
  grantedTo(jid: string): string[] {
    return [...(this.byManager.get(jid) ?? [])]
  }

  /** Grants a namespace; another manager's grant of it ends. Call `save` after the last one. */
  put(username: string, namespace: string, jid: string, since: number): void {
    const delegation = grantedDelegation(namespace, jid, this.timeout())
    if (delegation === undefined) {
      this.log.error('a delegation by an account could not be read', { account: username, entity: jid })
      return
    }
    this.remove(username, namespace)
    let own = this.byAccount.get(username)
    if (own === undefined) {
      own = new Map()
      this.byAccount.set(username, own)
    }
    own.set(namespace, { delegation, since })
    const accounts = this.byManager.get(delegation.jid) ?? new Set()
    this.byManager.set(delegation.jid, accounts.add(username))
  }

  /** Ends a grant. Call `save` after the last one. */
  remove(username: string, namespace: string): void {
    const own = this.byAccount.get(username)
    const grant = own?.get(namespace)
    if (own === undefined || grant === undefined) return
    own.delete(namespace)
    if (own.size === 0) this.byAccount.delete(username)
    const { jid } = grant.delegation
    if (this.of(username).some(({ delegation }) => delegation.jid === jid)) return
    const accounts = this.byManager.get(jid)
    accounts?.delete(username)
    if (accounts?.size === 0) this.byManager.delete(jid)
  }

  /** Stores what an account has granted now, where that is kept. */
  async save(username: string): Promise<void> {
    const stored = this.stored(username)
    this.onChanged?.(username, stored)
    await this.store?.set(username, this.byAccount.has(username) ? stored : undefined)
  }

  /** What an account has granted, as it is stored. */
  stored(username: string): StoredGrants {
    return Object.fromEntries(
      this.of(username).map(({ delegation: { namespace, jid }, since }) => [namespace, { jid, since }]),
    )
  }

  /** Takes over what an account has granted elsewhere, where it is stored as well. */
  replace(username: string, stored: StoredGrants): void {
    for (const { delegation } of this.of(username)) this.remove(username, delegation.namespace)
    for (const [namespace, { jid, since }] of Object.entries(stored))
      this.put(username, namespace, jid, since)
  }
}
