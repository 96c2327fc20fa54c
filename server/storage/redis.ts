/**
 * The `redis` driver: stores in a Redis that several processes share.
 *
 * A write is acknowledged when Redis has answered it, and `wait_replicas` of its replicas have it. Whether it
 * outlives the machine is for Redis's append-only file (`appendonly yes`, `appendfsync always`) to say. A write
 * that was sent and not answered rejects with `unavailable`; it is not sent again, and may have been made.
 */

import type { Cluster, Redis } from 'ioredis'
import type { Logger } from '../log.ts'
import { describePlace, RedisConnection, type RedisSettings } from '../redis/index.ts'
import { adviseOnPersistence } from './redis-advice.ts'
import { redisArchive } from './redis-archive.ts'
import { explainRedis } from './redis-errors.ts'
import { indexKeys, type Shape, storeField, UserKeys } from './redis-keys.ts'
import { ReplicatedScripts } from './redis-replicas.ts'
import { type Change, RedisWrites } from './redis-writes.ts'
import {
  type ArchiveStore,
  type KeyvalStore,
  type MapStore,
  type StorageDriver,
  StorageError,
} from './types.ts'
import { checkName, decodeValue, encodeValue } from './values.ts'

type User = string | null

/** Sets of users that are read at a time, and names in one answer. */
const SETS_AT_ONCE = 64
const PAGE = '500'

/**
 * Opens the driver at once; reads and writes reject with `unavailable` until Redis is there.
 *
 * @throws StorageError `failed` if a file that `redis.tls` names can not be read
 */
export function openRedisStorage(settings: RedisSettings, log: Logger): RedisStorage {
  try {
    return new RedisStorage(settings, log)
  } catch (error) {
    throw new StorageError('failed', (error as Error).message, error)
  }
}

export class RedisStorage implements StorageDriver {
  readonly name = 'redis'
  readonly #connection: RedisConnection
  readonly #scripts: ReplicatedScripts
  readonly #writes: RedisWrites
  readonly #place: string
  #closing: Promise<void> | undefined

  constructor(settings: RedisSettings, log: Logger) {
    this.#place = describePlace(settings.place)
    this.#connection = new RedisConnection(settings, { purpose: 'storage', log })
    this.#scripts = new ReplicatedScripts(this.#connection, log)
    adviseOnPersistence(this.#connection, log)
    this.#writes = new RedisWrites({
      hmget: (key, fields) => this.#read((redis) => redis.hmget(key, ...fields)),
      hkeys: (key) => this.#read((redis) => redis.hkeys(key)),
      run: (script, keys, args) =>
        this.#scripts.run(script, keys, args).catch((error: unknown) => {
          throw this.#explain(error, 'write')
        }),
    })
  }

  /** The connection for reading, for `legate status`. */
  get connection(): RedisConnection {
    return this.#connection
  }

  /** Waits until Redis answers. @throws StorageError `unavailable` if it does not within the milliseconds */
  async whenReady(ms: number): Promise<void> {
    const deadline = Date.now() + ms
    for (const connection of this.#scripts.connections) {
      if (await connection.whenReady(deadline - Date.now())) continue
      const why = connection.reason ?? 'it does not answer'
      throw new StorageError('unavailable', `Redis (${this.#place}) can not be reached: ${why}`)
    }
  }

  openKeyval<T>(host: string, store: string): KeyvalStore<T> {
    checkName(host)
    checkName(store)
    const field = storeField('keyval', store)
    return {
      get: async (user) => {
        const key = this.#keys(host, user).stores
        return decode<T>(await this.#read((redis) => redis.hget(key, field)))
      },
      set: async (user, value) => {
        await this.#write(host, user, { kind: 'set', store, text: encode(value) })
      },
      update: async (user, change) => {
        const updated = change as (old: unknown) => unknown
        return decode<T>(await this.#write(host, user, { kind: 'update', store, change: updated }))
      },
      users: () => this.#users(host, 'keyval', store),
    }
  }

  openMap<T>(host: string, store: string): MapStore<T> {
    checkName(host)
    checkName(store)
    const write = async (user: User, entries: [string, string | undefined][]) => {
      for (const [key] of entries) checkName(key)
      await this.#write(host, user, { kind: 'map', store, entries })
    }
    return {
      get: async (user, key) => {
        checkName(key)
        const map = this.#keys(host, user).map(store)
        return decode<T>(await this.#read((redis) => redis.hget(map, key)))
      },
      set: async (user, key, value) => write(user, [[key, encode(value)]]),
      setKeys: async (user, values) =>
        write(
          user,
          Object.entries(values).map(([key, value]) => [key, encode(value)]),
        ),
      getAll: async (user) => {
        const map = this.#keys(host, user).map(store)
        const texts = await this.#read((redis) => redis.hgetall(map))
        return new Map(Object.entries(texts).map(([key, text]) => [key, decodeValue(text) as T]))
      },
      users: () => this.#users(host, 'map', store),
    }
  }

  openArchive<T>(host: string, store: string): ArchiveStore<T> {
    checkName(host)
    checkName(store)
    const access = {
      keys: (user: User) => this.#keys(host, user),
      read: <R>(read: (redis: Redis | Cluster) => Promise<R>) => this.#read(read),
      write: (user: User, change: Change) => this.#write(host, user, change),
      users: () => this.#users(host, 'archive', store),
    }
    return redisArchive<T>(access, store)
  }

  async purgeUser(host: string, user: string, ...unlessIn: readonly string[]): Promise<void> {
    checkName(host)
    await this.#write(host, user, { kind: 'purge', unlessIn })
  }

  close(): Promise<void> {
    this.#closing ??= this.#writes.done().then(async () => {
      await this.#scripts.close()
      await this.#connection.close()
    })
    return this.#closing
  }

  async *#users(host: string, shape: Shape, store: string): AsyncGenerator<string, void, undefined> {
    const keys = indexKeys(this.#connection.settings.prefix, host, shape, store)
    this.#checkOpen()
    for (let i = 0; i < keys.length; i += SETS_AT_ONCE) {
      const sets = keys.slice(i, i + SETS_AT_ONCE)
      const firsts = await Promise.all(sets.map((key) => this.#page(key, '0')))
      for (const [n, first] of firsts.entries()) {
        // A page may have what an earlier one had.
        const seen = new Set<string>()
        for (let page = first; ; page = await this.#page(sets[n]!, page.cursor)) {
          for (const user of page.users) {
            if (!seen.has(user)) yield user
            seen.add(user)
          }
          if (page.cursor === '0') break
        }
      }
    }
  }

  async #page(key: string, from: string): Promise<{ cursor: string; users: string[] }> {
    const [cursor, users] = await this.#read((redis) => redis.sscan(key, from, 'COUNT', PAGE))
    return { cursor, users }
  }

  #write(host: string, user: User, change: Change): Promise<string | undefined> {
    const keys = this.#keys(host, user)
    return this.#writes.add(keys, change)
  }

  /** @throws StorageError `closed` or `bad-name` */
  #keys(host: string, user: User): UserKeys {
    this.#checkOpen()
    checkName(user)
    return new UserKeys(this.#connection.settings.prefix, host, user)
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new StorageError('closed', 'the storage is closed')
  }

  async #read<R>(read: (redis: Redis | Cluster) => Promise<R>): Promise<R> {
    try {
      return await read(this.#connection.client)
    } catch (error) {
      throw this.#explain(error, 'read')
    }
  }

  #explain(error: unknown, act: 'read' | 'write'): StorageError {
    return explainRedis(error, act, this.#place, this.#connection.reason)
  }
}

function encode(value: unknown): string | undefined {
  return value === undefined ? undefined : encodeValue(value)
}

function decode<T>(text: string | null | undefined): T | undefined {
  return text === null || text === undefined ? undefined : (decodeValue(text) as T)
}
