/** What a store is: the three shapes that plugins use, and the driver that opens them. */

/**
 * One value per user, as Prosody's `module:open_store(name, "keyval")`. The user `null` is the host itself.
 *
 * Values are JSON data: objects, arrays, strings, finite numbers, booleans, null. What is given back is the
 * caller's own copy. A promise of a write resolves when the change is durable: the process, or the machine,
 * may die right after and the change is still there (`redis`: as far as Redis is set up for that). Writes of one
 * driver take effect in the order of the calls (`redis`: those of one user).
 *
 * Every method rejects with a `StorageError`.
 */
export interface KeyvalStore<T> {
  get(user: string | null): Promise<T | undefined>
  /** `undefined` removes the value. */
  set(user: string | null, value: T | undefined): Promise<void>
  /**
   * Reads, changes and writes with nobody in between, in this process or another.
   *
   * @param change is given the old value and returns the new one (`undefined` removes); it must not be async.
   *   What it throws rejects the promise as it is, and nothing is written.
   * @returns the new value
   */
  update(user: string | null, change: (old: T | undefined) => T | undefined): Promise<T | undefined>
  /** The users that have a value, in no promised order. A user added or removed meanwhile may be seen or not. */
  users(): AsyncIterable<string>
}

/** A map of keys to values per user, as Prosody's `module:open_store(name, "map")`. See `KeyvalStore`. */
export interface MapStore<T> {
  get(user: string | null, key: string): Promise<T | undefined>
  /** `undefined` removes the key. */
  set(user: string | null, key: string, value: T | undefined): Promise<void>
  /** Sets (or with `undefined` removes) several keys: all of them, or none. */
  setKeys(user: string | null, values: Record<string, T | undefined>): Promise<void>
  getAll(user: string | null): Promise<Map<string, T>>
  /** The users that have a key, in no promised order. A user added or removed meanwhile may be seen or not. */
  users(): AsyncIterable<string>
}

/** One entry of an archive. */
export interface ArchiveEntry<T> {
  /** Made by the store. Ids sort as text in the order of the archive. */
  readonly id: string
  /** Milliseconds since 1970. */
  readonly when: number
  /** With whom, for queries; mostly a bare JID. */
  readonly with: string
  readonly value: T
}

/** Which entries; all of them, where nothing is said. */
export interface ArchiveQuery {
  /** Milliseconds since 1970: from then on, */
  readonly start?: number | undefined
  /** and until then, both included. */
  readonly end?: number | undefined
  readonly with?: string | undefined
  /** Ids between which they are, both excluded. */
  readonly after?: string | undefined
  readonly before?: string | undefined
}

/** A page of an archive. */
export interface ArchivePage<T> {
  readonly entries: readonly ArchiveEntry<T>[]
  /**
   * The id from which the next page goes on; undefined if nothing was found. With Redis its entry, and others, may be
   * missing: they were removed meanwhile.
   */
  readonly last: string | undefined
  /** Whether the query has more, beyond these. */
  readonly more: boolean
}

/** Entries per user in the order of their time, as Prosody's `module:open_store(name, "archive")`. See `KeyvalStore`. */
export interface ArchiveStore<T> {
  /**
   * Adds an entry; with the time of another one it comes behind that.
   *
   * @param when milliseconds since 1970, mostly now
   * @param partner with whom, for queries
   * @param id by `newArchiveId` of that time, where it has to be known before; one is made if it is left out
   * @returns its id
   */
  append(user: string | null, value: T, when: number, partner: string, id?: string): Promise<string>
  /**
   * Reads a page: the first entries of a query, or with `reverse` the last ones, from the last on backwards.
   *
   * @param limit entries, at most
   */
  find(user: string | null, query: ArchiveQuery, limit: number, reverse?: boolean): Promise<ArchivePage<T>>
  /** The entries with these ids, in their order, without those that do not exist. */
  get(user: string | null, ids: readonly string[]): Promise<ArchiveEntry<T>[]>
  count(user: string | null, query: ArchiveQuery): Promise<number>
  /** Removes the entries of a query. @returns how many there were */
  delete(user: string | null, query: ArchiveQuery): Promise<number>
  /** Removes the entries with these ids, where they exist. @returns how many there were */
  remove(user: string | null, ids: readonly string[]): Promise<number>
  /** The users that have an entry, in no promised order. A user added or removed meanwhile may be seen or not. */
  users(): AsyncIterable<string>
}

/** What the option `storage` can name. */
export const STORAGE_KINDS = ['internal', 'memory', 'redis'] as const
export type StorageKind = (typeof STORAGE_KINDS)[number]

/** Where stores are kept. Stores of one name but different shape are different stores. */
export interface StorageDriver {
  readonly name: string
  openKeyval<T>(host: string, store: string): KeyvalStore<T>
  openMap<T>(host: string, store: string): MapStore<T>
  openArchive<T>(host: string, store: string): ArchiveStore<T>
  /**
   * Removes everything that the user has in any store of the host, at once.
   *
   * @param unlessIn keyval stores: nothing is removed if the user has something in one of them, by then. Where a
   *   driver removes in several steps, it looks at each
   */
  purgeUser(host: string, user: string, ...unlessIn: readonly string[]): Promise<void>
  /**
   * Waits until it can be read and written, where that takes a while after it was opened.
   *
   * @param ms milliseconds, at most
   * @throws StorageError (as a rejection) `unavailable`; it goes on trying all the same
   */
  whenReady?(ms: number): Promise<void>
  /** Waits for the writes under way. Afterwards every method rejects. */
  close(): Promise<void>
}

/**
 * - `not-writable`: the folder or file can not be created, read or written
 * - `corrupt`: the file is damaged, or no database of ours
 * - `disk-full`: there is no room for the change, which was not made
 * - `bad-name`: a host, store, user or key is no Unicode text (it has half of a surrogate pair)
 * - `bad-value`: the value is not JSON data
 * - `unavailable`: the storage can not be reached now, or did not answer in time: then the change may have been
 *   made or not, as the message says; later it will do again
 * - `closed`: the driver was closed
 * - `failed`: anything else; see `cause`
 */
export type StorageErrorCode =
  | 'not-writable'
  | 'corrupt'
  | 'disk-full'
  | 'bad-name'
  | 'bad-value'
  | 'unavailable'
  | 'closed'
  | 'failed'

/** Why a store could not be opened, read or written. The message is for the operator. */
export class StorageError extends Error {
  readonly code: StorageErrorCode

  constructor(code: StorageErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'StorageError'
    this.code = code
  }
}
