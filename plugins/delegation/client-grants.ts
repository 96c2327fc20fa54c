/** What accounts have delegated themselves: by account, by manager, and in the store (U2, U3, U5). */

import { type KeyvalStore, type Logger, NS_DELEGATION, prepareJid } from '../../server/index.ts'
import { type GrantChange, GrantMarks } from './client-marks.ts'
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

/** The managers that grants are for. */
export function managersIn(grants: readonly Grant[]): Set<string> {
  return new Set(grants.map(({ delegation }) => delegation.jid))
}

/** The grants of one host's accounts, in memory; with a store they are written through. */
export class Grants {
  private readonly log: Logger
  private readonly timeout: () => number
  private readonly byAccount = new Map<string, Map<string, Grant>>()
  /** Managers, and who has granted them something. */
  private readonly byManager = new Map<string, Set<string>>()
  /** What was changed since it was last stored: namespaces, by account. */
  private readonly unsaved = new Map<string, Set<string>>()
  private store: KeyvalStore<StoredGrants> | undefined
  /** Where several processes are one server: what came last of what they do. */
  private marks: GrantMarks | undefined
  private tellOthers: ((username: string, changes: GrantChange[]) => void) | undefined

  /**
   * @param timeout - seconds that managers may take; read when something is granted
   */
  constructor(log: Logger, timeout: () => number) {
    this.log = log
    this.timeout = timeout
  }

  /**
   * From now on other processes are told what changes here, and `take` works.
   *
   * @param self - a name that no other process has
   * @returns a function that ends it
   */
  share(self: string, tellOthers: (username: string, changes: GrantChange[]) => void): () => void {
    this.marks = new GrantMarks(self)
    this.tellOthers = tellOthers
    return () => {
      this.marks = undefined
      this.tellOthers = undefined
    }
  }

  /** Reads what was kept, and keeps what comes. */
  async keepIn(store: KeyvalStore<StoredGrants>): Promise<void> {
    this.store = store
    const before = [...this.byAccount].map(([username, own]) => [username, [...own.keys()]] as const)
    for await (const username of store.users()) {
      for (const [namespace, { jid, since }] of Object.entries((await store.get(username)) ?? {})) {
        const known = this.find(username, namespace) ?? this.marks?.of(username, namespace)
        if (known === undefined) this.insert(username, namespace, jid, since)
      }
    }
    for (const [username, namespaces] of before) await this.write(username, namespaces)
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
    if (this.insert(username, namespace, jid, since)) this.touch(username, namespace)
  }

  /** Ends a grant. Call `save` after the last one. */
  remove(username: string, namespace: string): void {
    if (this.takeOut(username, namespace)) this.touch(username, namespace)
  }

  /** Tells other processes what has changed here, and stores it, where it is kept. */
  async save(username: string): Promise<void> {
    const namespaces = this.unsaved.get(username)
    if (namespaces === undefined) return
    this.unsaved.delete(username)
    this.tellOthers?.(
      username,
      [...namespaces].map((namespace) => this.changeOf(username, namespace)),
    )
    await this.write(username, namespaces)
  }

  /** All that is known of an account, for a process that knows nothing yet. */
  changesOf(username: string): GrantChange[] {
    const own = this.byAccount.get(username)?.keys() ?? []
    const namespaces = new Set([...own, ...(this.marks?.namespacesOf(username) ?? [])])
    return [...namespaces].map((namespace) => this.changeOf(username, namespace))
  }

  /** Accounts of which something is known, if only that they have granted something before. */
  knownAccounts(): string[] {
    return [...new Set([...this.byAccount.keys(), ...(this.marks?.accounts() ?? [])])]
  }

  /**
   * Takes over what has changed at another process, which tells the managers and stores it, unless what happened here,
   * or elsewhere, came later.
   *
   * @returns the namespaces of which it has taken something over
   */
  take(username: string, changes: readonly GrantChange[]): string[] {
    const { marks } = this
    if (marks === undefined) return []
    const taken: string[] = []
    const overruled: string[] = []
    for (const change of changes) {
      const [namespace, jid, since] = change
      const wasOurs = marks.isOwn(username, namespace)
      const present = this.find(username, namespace)
      if (!marks.take(username, change, present !== undefined)) continue
      if ((present?.delegation.jid ?? null) === jid && (present?.since ?? 0) === since) continue
      this.takeOut(username, namespace)
      if (jid !== null) this.insert(username, namespace, jid, since)
      taken.push(namespace)
      if (wasOurs) overruled.push(namespace)
    }
    // Both were stored, in whichever order: that of this process must not be the last one.
    if (overruled.length > 0) {
      this.write(username, overruled).catch((error: unknown) =>
        this.log.error('what an account has delegated could not be stored', { account: username, error }),
      )
    }
    return taken
  }

  /** Forgets what was taken back so long ago that everybody knows. Stores what could not be stored before. */
  async tidy(): Promise<void> {
    this.marks?.sweep((username, namespace) => this.find(username, namespace) !== undefined)
    for (const username of [...this.unsaved.keys()]) await this.save(username)
  }

  private touch(username: string, namespace: string): void {
    this.marks?.note(username, namespace)
    const unsaved = this.unsaved.get(username)
    if (unsaved === undefined) this.unsaved.set(username, new Set([namespace]))
    else unsaved.add(namespace)
  }

  private changeOf(username: string, namespace: string): GrantChange {
    const grant = this.find(username, namespace)
    const { count, by } = this.marks?.of(username, namespace) ?? { count: 0, by: '' }
    return [namespace, grant?.delegation.jid ?? null, grant?.since ?? 0, count, by]
  }

  private insert(username: string, namespace: string, jid: string, since: number): boolean {
    const delegation = grantedDelegation(namespace, jid, this.timeout())
    if (delegation === undefined) {
      this.log.error('a delegation by an account could not be read', { account: username, entity: jid })
      return false
    }
    this.takeOut(username, namespace)
    let own = this.byAccount.get(username)
    if (own === undefined) {
      own = new Map()
      this.byAccount.set(username, own)
    }
    own.set(namespace, { delegation, since })
    const accounts = this.byManager.get(delegation.jid) ?? new Set()
    this.byManager.set(delegation.jid, accounts.add(username))
    return true
  }

  private takeOut(username: string, namespace: string): boolean {
    const own = this.byAccount.get(username)
    const grant = own?.get(namespace)
    if (own === undefined || grant === undefined) return false
    own.delete(namespace)
    if (own.size === 0) this.byAccount.delete(username)
    const { jid } = grant.delegation
    if (this.of(username).some(({ delegation }) => delegation.jid === jid)) return true
    const accounts = this.byManager.get(jid)
    accounts?.delete(username)
    if (accounts?.size === 0) this.byManager.delete(jid)
    return true
  }

  /** Stores some namespaces of an account as they are by then; another process may store others at the same time. */
  private async write(username: string, namespaces: Iterable<string>): Promise<void> {
    try {
      await this.store?.update(username, (old) => {
        const stored = new Map(Object.entries(old ?? {}))
        for (const namespace of namespaces) {
          const grant = this.find(username, namespace)
          if (grant === undefined) stored.delete(namespace)
          else stored.set(namespace, { jid: grant.delegation.jid, since: grant.since })
        }
        return stored.size === 0 ? undefined : Object.fromEntries(stored)
      })
    } catch (error) {
      this.unsaved.set(username, new Set([...(this.unsaved.get(username) ?? []), ...namespaces]))
      throw error
    }
  }
}
