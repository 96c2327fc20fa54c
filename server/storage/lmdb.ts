/**
 * The `internal` driver: one LMDB file in the data folder.
 *
 * A write is acknowledged when it is on the disk (LMDB commits with fdatasync). Other processes may have the
 * file open too, the command line while the server runs: LMDB has one writer at a time among all of them, and a
 * reader sees every commit that came before its turn of the event loop.
 */

import { join } from 'node:path'
import { after, decodeComponent, encodeKey, encodeUnder, isHashed, namesUnder } from './keys.ts'
import { lmdbArchive } from './lmdb-archive.ts'
import { type Database, explain, openDatabase } from './lmdb-file.ts'
import {
  type ArchiveStore,
  type KeyvalStore,
  type MapStore,
  type StorageDriver,
  StorageError,
} from './types.ts'
import { checkName, decodeValue, encodeValue } from './values.ts'
import { WriteQueue } from './write-queue.ts'

type User = string | null

/** In the data folder; LMDB puts `storage.mdb-lock` next to it. */
const FILE = 'storage.mdb'

/** Records of a user that are removed in one transaction. */
const PURGED_AT_ONCE = 1000
/** Users that are read at once while listing them. */
const PAGE = 200

/**
 * @param folder the data folder; it is made if it is missing
 * @throws StorageError `not-writable`, `disk-full`, `corrupt` or `failed`
 */
export function openLmdbStorage(folder: string): StorageDriver {
  const file = join(folder, FILE)
  return new LmdbStorage(openDatabase(file), file)
}

class LmdbStorage implements StorageDriver {
  readonly name = 'internal'
  readonly #db: Database
  readonly #file: string
  readonly #queue: WriteQueue
  #closing: Promise<void> | undefined
  #fresh = false

  constructor(db: Database, file: string) {
    this.#db = db
    this.#file = file
    this.#queue = new WriteQueue(db, file)
  }

  openKeyval<T>(host: string, store: string): KeyvalStore<T> {
    const path = storePath(host, 'keyval', store)
    const prefix = encodeKey(path)
    return {
      get: async (user) => this.#get<T>(encodeUnder(prefix, check(user))),
      set: async (user, value) => this.#set([[[...path, check(user)], value]]),
      update: async (user, change) => {
        const names = [...path, check(user)]
        const key = encodeKey(names)
        const text = await this.#queue.add(() => {
          const old = this.#db.get(key)
          const value = change(old === undefined ? undefined : (unwrap(old) as T))
          const record = value === undefined ? undefined : wrap(value, names)
          if (record !== old) this.#put(key, record)
          return record
        })
        return text === undefined ? undefined : (unwrap(text) as T)
      },
      users: () => this.#users(path),
    }
  }

  openMap<T>(host: string, store: string): MapStore<T> {
    const path = storePath(host, 'map', store)
    return {
      get: async (user, key) => this.#get<T>(encodeKey([...path, check(user), check(key)])),
      set: async (user, key, value) => this.#set([[[...path, check(user), check(key)], value]]),
      setKeys: async (user, values) =>
        this.#set(Object.entries(values).map(([key, value]) => [[...path, check(user), check(key)], value])),
      getAll: async (user) => {
        const prefix = encodeKey([...path, check(user)])
        return this.#read((db) => {
          const all = new Map<string, T>()
          for (const { key, value } of db.getRange({ start: prefix, end: after(prefix) })) {
            const name = decodeComponent(key, prefix.length)?.name ?? hashedNames(value)[1]
            if (name !== undefined) all.set(name, unwrap(value) as T)
          }
          return all
        })
      },
      users: () => this.#users(path),
    }
  }

  openArchive<T>(host: string, store: string): ArchiveStore<T> {
    const access = {
      read: <R>(read: (db: Database) => R) => this.#read(read),
      db: this.#db,
      queue: this.#queue,
      users: (path: User[]) => this.#users(path),
    }
    return lmdbArchive<T>(access, host, store)
  }

  async purgeUser(host: string, user: string, ...unlessIn: readonly string[]): Promise<void> {
    const prefix = encodeKey([check(host)])
    const suffix = encodeKey([check(user)])
    const keeping = unlessIn.map((store) => encodeKey([...storePath(host, 'keyval', store), user]))
    const removeSome = (): number => {
      if (keeping.some((key) => this.#db.get(key) !== undefined)) return 0
      const keys: Buffer[] = []
      for (const store of this.#children(prefix)) {
        const start = Buffer.concat([store, suffix])
        const range = { start, end: after(start), limit: PURGED_AT_ONCE - keys.length }
        for (const key of this.#db.getKeys(range)) keys.push(Buffer.from(key))
        if (keys.length === PURGED_AT_ONCE) break
      }
      for (const key of keys) this.#queue.remove(key)
      return keys.length
    }
    // An archive may be long: others have their turns meanwhile.
    while ((await this.#queue.add(removeSome)) === PURGED_AT_ONCE);
  }

  close(): Promise<void> {
    this.#closing ??= this.#queue.close().then(() => this.#db.close())
    return this.#closing
  }

  #get<T>(key: Buffer): T | undefined {
    const text = this.#read((db) => db.get(key))
    return text === undefined ? undefined : (unwrap(text) as T)
  }

  #set(entries: [User[], unknown][]): Promise<void> {
    const records = entries.map(
      ([names, value]) => [encodeKey(names), value === undefined ? undefined : wrap(value, names)] as const,
    )
    return this.#queue.add(() => {
      for (const [key, record] of records) this.#put(key, record)
    })
  }

  #put(key: Buffer, record: string | undefined): void {
    if (record === undefined) this.#queue.remove(key)
    else this.#queue.put(key, record)
  }

  #read<R>(read: (db: Database) => R): R {
    if (this.#closing !== undefined) throw new StorageError('closed', 'the storage is closed')
    // lmdb keeps a snapshot for a millisecond or more, through several turns of the event loop.
    if (!this.#fresh) {
      this.#db.resetReadTxn()
      this.#fresh = true
      setImmediate(() => {
        this.#fresh = false
      })
    }
    try {
      return read(this.#db)
    } catch (error) {
      throw explain(error, this.#file, 'read')
    }
  }

  /** Goes through the users page by page, so that no snapshot is held while the caller is at work. */
  async *#users(path: User[]): AsyncGenerator<string, void, undefined> {
    const prefix = encodeKey(path)
    let { start } = namesUnder(prefix)
    let found = PAGE
    while (found === PAGE) {
      const page = this.#read((db) => {
        found = 0
        const users: string[] = []
        for (const beginning of this.#children(prefix, start, PAGE)) {
          found++
          start = after(beginning)
          const name = decodeComponent(beginning, prefix.length)?.name ?? this.#hashedUser(db, beginning)
          if (typeof name === 'string') users.push(name)
        }
        return users
      })
      yield* page
    }
  }

  #hashedUser(db: Database, beginning: Buffer): string | undefined {
    for (const { value } of db.getRange({ start: beginning, end: after(beginning), limit: 1 })) {
      return hashedNames(value)[0]
    }
    return undefined
  }

  /** The beginnings of keys that follow a prefix, each once and with its name: skips what is under them. */
  *#children(
    prefix: Buffer,
    from?: Buffer,
    limit = Number.POSITIVE_INFINITY,
  ): Generator<Buffer, void, undefined> {
    const { start: first, end } = namesUnder(prefix)
    let start = from ?? first
    for (let count = 0; count < limit; count++) {
      const [key] = this.#db.getKeys({ start, end, limit: 1 })
      if (key === undefined) return
      const component = decodeComponent(key, prefix.length)
      if (component === undefined)
        throw new StorageError('corrupt', `${this.#file} has a key that is not ours`)
      const child = Buffer.from(key.subarray(0, component.end))
      start = after(child)
      yield child
    }
  }
}

function storePath(host: string, shape: 'keyval' | 'map', store: string): User[] {
  return [check(host), `${shape} ${check(store)}`]
}

function check<N extends User>(name: N): N {
  checkName(name)
  return name
}

/** A record: `[value]`, or with names that are hashed in the key, `[value, user, key]`. */
function wrap(value: unknown, names: readonly User[]): string {
  const [, , user = null, key] = names
  const text = encodeValue(value)
  if (!isHashed(user) && (key === undefined || !isHashed(key))) return `[${text}]`
  return key === undefined
    ? `[${text},${JSON.stringify(user)}]`
    : `[${text},${JSON.stringify(user)},${JSON.stringify(key)}]`
}

function unwrap(record: string): unknown {
  return (decodeValue(record) as unknown[])[0]
}

function hashedNames(record: string): [user: string | undefined, key: string | undefined] {
  const [, user, key] = decodeValue(record) as [unknown, string | undefined, string | undefined]
  return [user, key]
}
