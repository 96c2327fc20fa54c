/** Whom accounts block: read from the store, kept in memory for those that are looked at. */

import { bareOf, domainOf, type Host, type KeyvalStore, resourceOf } from '../../server/index.ts'

/** JIDs, prepared: full, bare, of a domain, or of a domain with a resource. */
export type BlockList = ReadonlySet<string>

/** As it is stored: JID → true, as Prosody's store of the same name has it. */
export type StoredList = Record<string, true>

/** Lists that are kept in memory besides those of accounts that are connected. */
const MOST_KEPT = 10_000
/** Lists that are read at once after a process has died. */
const AT_ONCE = 100
const NOBODY: BlockList = new Set()

/** What was read of a list. */
interface Kept {
  readonly list: BlockList
  /** Another process may have changed it, and it is being read again. */
  isOld: boolean
}

/** The lists of one host's accounts. */
export class BlockLists {
  private readonly host: Host
  private readonly store: KeyvalStore<StoredList>
  private readonly member: () => string | undefined
  /** What this process was in the cluster when it read what is in memory. */
  private readAs: string | undefined
  /** The one that was read first comes first. */
  private readonly kept = new Map<string, Kept>()
  private readonly reading = new Map<string, Promise<BlockList>>()
  /** Grows with each change, here or elsewhere. */
  private changes = 0

  /** @param member - what this process is in the cluster: another one after it was cut off and heard of no changes */
  constructor(
    host: Host,
    store: KeyvalStore<StoredList>,
    member: () => string | undefined = () => undefined,
  ) {
    this.host = host
    this.store = store
    this.member = member
    this.readAs = member()
  }

  /** The list of an account, if it is in memory. */
  get(username: string): BlockList | undefined {
    if (this.readAs !== this.member()) {
      this.readAs = this.member()
      this.kept.clear()
      this.reading.clear()
    }
    const kept = this.kept.get(username)
    return kept?.isOld === false ? kept.list : undefined
  }

  /** The same where nothing can wait: while it is read again, what it was before. */
  lastKnown(username: string): BlockList | undefined {
    return this.get(username) ?? this.kept.get(username)?.list
  }

  /** @throws StorageError (as a rejection) */
  read(username: string): Promise<BlockList> {
    const list = this.get(username)
    if (list !== undefined) return Promise.resolve(list)
    let reading = this.reading.get(username)
    if (reading === undefined) {
      const started: Promise<BlockList> = this.store.get(username).then(
        (stored) => {
          // Somebody may have changed the list meanwhile: then what was read is the one before.
          if (this.reading.get(username) !== started) return this.read(username)
          this.reading.delete(username)
          return this.keep(username, stored)
        },
        (error) => {
          if (this.reading.get(username) === started) this.reading.delete(username)
          throw error
        },
      )
      reading = started
      this.reading.set(username, reading)
    }
    return reading
  }

  /**
   * Changes a list.
   *
   * @param change - may be called more than once
   * @returns the list before, and the new one
   * @throws what `change` throws, StorageError (as a rejection)
   */
  async update(
    username: string,
    change: (list: Set<string>) => void,
  ): Promise<{ before: BlockList; after: BlockList }> {
    const changes = ++this.changes
    let before: BlockList = NOBODY
    const stored = await this.store.update(username, (old) => {
      before = new Set(Object.keys(old ?? {}))
      const list = new Set(before)
      change(list)
      return list.size === 0 ? undefined : Object.fromEntries([...list].map((jid) => [jid, true as const]))
    })
    const others = changes !== this.changes
    this.changes++
    this.reading.delete(username)
    const after = this.keep(username, stored)
    // Of two that change it at a time, one is the last.
    if (others) this.forget(username).catch(() => {})
    return { before, after }
  }

  /**
   * Another process has changed a list. Resolves when nothing is done any more by what it was.
   *
   * @throws StorageError (as a rejection); what comes next reads it then
   */
  async forget(username: string): Promise<void> {
    this.changes++
    this.reading.delete(username)
    const kept = this.kept.get(username)
    if (!this.host.accounts.has(username)) this.kept.delete(username)
    else {
      if (kept !== undefined) kept.isOld = true
      await this.read(username)
    }
  }

  /** Another process is gone, which may have changed some lists and not told: they are read again, some at a time. */
  async forgetAll(): Promise<void> {
    const names = [...this.kept.keys()]
    this.changes++
    this.reading.clear()
    for (const [username, kept] of this.kept) {
      if (this.host.accounts.has(username)) kept.isOld = true
      else this.kept.delete(username)
    }
    for (let at = 0; at < names.length; at += AT_ONCE) {
      const some = names.slice(at, at + AT_ONCE).filter((username) => this.kept.get(username)?.isOld)
      await Promise.allSettled(some.map((username) => this.read(username)))
    }
  }

  /** Takes out what was read first. Lists of accounts that are connected stay: presence does not wait for them. */
  private makeRoom(): void {
    const { kept, host } = this
    const most = MOST_KEPT + host.accounts.size
    for (const [username, old] of kept) {
      if (kept.size <= most) return
      kept.delete(username)
      if (host.accounts.has(username)) kept.set(username, old)
    }
  }

  private keep(username: string, stored: StoredList | undefined): BlockList {
    const list: BlockList = stored === undefined ? NOBODY : new Set(Object.keys(stored))
    this.kept.delete(username)
    this.kept.set(username, { list, isOld: false })
    this.makeRoom()
    return list
  }
}

/** Whether a list has a JID, or what it belongs to (XEP-0191 §3: full, bare, domain with resource, domain). */
export function blocks(list: BlockList, jid: string): boolean {
  if (list.size === 0) return false
  if (list.has(jid)) return true
  const domain = domainOf(jid)
  if (list.has(domain) || list.has(bareOf(jid))) return true
  const resource = resourceOf(jid)
  return resource !== undefined && list.has(`${domain}/${resource}`)
}
