/** Whom accounts block: read from the store, kept in memory for those that are looked at. */

import { bareOf, domainOf, type Host, type KeyvalStore, resourceOf } from '../../server/index.ts'

/** JIDs, prepared: full, bare, of a domain, or of a domain with a resource. */
export type BlockList = ReadonlySet<string>

/** As it is stored: JID → true, as Prosody's store of the same name has it. */
export type StoredList = Record<string, true>

/** Lists that are kept in memory. */
const MOST_KEPT = 10_000
const NOBODY: BlockList = new Set()

/** The lists of one host's accounts. */
export class BlockLists {
  private readonly host: Host
  private readonly store: KeyvalStore<StoredList>
  /** The one that was read first comes first. */
  private readonly kept = new Map<string, BlockList>()
  private readonly reading = new Map<string, Promise<BlockList>>()

  constructor(host: Host, store: KeyvalStore<StoredList>) {
    this.host = host
    this.store = store
  }

  /** The list of an account, if it is in memory. */
  get(username: string): BlockList | undefined {
    return this.kept.get(username)
  }

  /** @throws StorageError (as a rejection) */
  read(username: string): Promise<BlockList> {
    const kept = this.kept.get(username)
    if (kept !== undefined) return Promise.resolve(kept)
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
   * @returns the new list
   * @throws what `change` throws, StorageError (as a rejection)
   */
  async update(username: string, change: (list: Set<string>) => void): Promise<BlockList> {
    const stored = await this.store.update(username, (old) => {
      const list = new Set(Object.keys(old ?? {}))
      change(list)
      return list.size === 0 ? undefined : Object.fromEntries([...list].map((jid) => [jid, true as const]))
    })
    this.reading.delete(username)
    return this.keep(username, stored)
  }

  /** Another process has changed a list. */
  forget(username: string): void {
    this.kept.delete(username)
    this.reading.delete(username)
    if (this.host.accounts.has(username)) this.read(username).catch(() => {})
  }

  private keep(username: string, stored: StoredList | undefined): BlockList {
    const list: BlockList = stored === undefined ? NOBODY : new Set(Object.keys(stored))
    this.kept.delete(username)
    this.kept.set(username, list)
    if (this.kept.size > MOST_KEPT) this.kept.delete(this.kept.keys().next().value!)
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
