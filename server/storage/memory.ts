/** The memory driver: nothing outlives the process. For tests, and for hosts that need no accounts. */

import { type ArchiveRecords, memoryArchive } from './memory-archive.ts'
import type { ArchiveStore, KeyvalStore, MapStore, StorageDriver } from './types.ts'
import { StorageError } from './types.ts'
import { checkName, decodeValue, encodeValue } from './values.ts'

type User = string | null

/** Values are kept as text, so that no two callers ever share an object. */
type Records = Map<User, Map<string, string>>

/** The only key of a keyval record. */
const WHOLE = ''

/** @returns a driver whose stores are empty, and gone when it is closed */
export function openMemoryStorage(): StorageDriver {
  return new MemoryStorage()
}

class MemoryStorage implements StorageDriver {
  readonly name = 'memory'
  readonly #hosts = new Map<string, Map<string, Records>>()
  readonly #archives = new Map<string, Map<string, ArchiveRecords>>()
  #closed = false

  openKeyval<T>(host: string, store: string): KeyvalStore<T> {
    const records = this.#records(host, `keyval ${store}`)
    const get = (user: User) => decode<T>(records.get(user)?.get(WHOLE))
    return {
      get: async (user) => {
        this.#check(user)
        return get(user)
      },
      set: async (user, value) => {
        this.#check(user)
        put(records, user, [[WHOLE, encode(value)]])
      },
      update: async (user, change) => {
        this.#check(user)
        const text = encode(change(get(user)))
        put(records, user, [[WHOLE, text]])
        return decode<T>(text)
      },
      users: () => this.#users(records),
    }
  }

  openMap<T>(host: string, store: string): MapStore<T> {
    const records = this.#records(host, `map ${store}`)
    return {
      get: async (user, key) => {
        this.#check(user, key)
        return decode<T>(records.get(user)?.get(key))
      },
      set: async (user, key, value) => {
        this.#check(user, key)
        put(records, user, [[key, encode(value)]])
      },
      setKeys: async (user, values) => {
        this.#check(user, ...Object.keys(values))
        put(
          records,
          user,
          Object.entries(values).map(([key, value]) => [key, encode(value)]),
        )
      },
      getAll: async (user) => {
        this.#check(user)
        const all = new Map<string, T>()
        for (const [key, text] of records.get(user) ?? []) all.set(key, decodeValue(text) as T)
        return all
      },
      users: () => this.#users(records),
    }
  }

  openArchive<T>(host: string, store: string): ArchiveStore<T> {
    this.#check(host, store)
    const stores = this.#archives.get(host) ?? new Map<string, ArchiveRecords>()
    this.#archives.set(host, stores)
    const records: ArchiveRecords = stores.get(store) ?? new Map()
    stores.set(store, records)
    return memoryArchive<T>(
      records,
      (...names) => this.#check(...names),
      () => this.#users(records),
    )
  }

  async purgeUser(host: string, user: string, ...unlessIn: readonly string[]): Promise<void> {
    this.#check(host, user)
    if (unlessIn.some((store) => this.#hosts.get(host)?.get(`keyval ${store}`)?.has(user))) return
    for (const records of this.#archives.get(host)?.values() ?? []) records.delete(user)
    for (const records of this.#hosts.get(host)?.values() ?? []) records.delete(user)
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const stores of this.#hosts.values()) for (const records of stores.values()) records.clear()
    this.#hosts.clear()
    for (const stores of this.#archives.values()) for (const records of stores.values()) records.clear()
    this.#archives.clear()
  }

  #records(host: string, store: string): Records {
    this.#check(host, store)
    const stores = this.#hosts.get(host) ?? new Map<string, Records>()
    this.#hosts.set(host, stores)
    const records = stores.get(store) ?? new Map()
    stores.set(store, records)
    return records
  }

  async *#users(records: ReadonlyMap<User, unknown>): AsyncGenerator<string, void, undefined> {
    this.#check()
    for (const user of [...records.keys()]) if (user !== null && records.has(user)) yield user
  }

  #check(...names: User[]): void {
    if (this.#closed) throw new StorageError('closed', 'the storage is closed')
    for (const name of names) checkName(name)
  }
}

function put(records: Records, user: User, entries: [string, string | undefined][]): void {
  const record = records.get(user) ?? new Map<string, string>()
  for (const [key, text] of entries) {
    if (text === undefined) record.delete(key)
    else record.set(key, text)
  }
  if (record.size === 0) records.delete(user)
  else records.set(user, record)
}

function encode(value: unknown): string | undefined {
  return value === undefined ? undefined : encodeValue(value)
}

function decode<T>(text: string | undefined): T | undefined {
  return text === undefined ? undefined : (decodeValue(text) as T)
}
