/**
 * Keys in Redis; docs/redis-keys.md describes them.
 *
 * All that is kept of a user of a host, and the sets in which the user is listed, are in one bucket. Its number is
 * the hash tag of their keys, so that on a Redis Cluster one script reaches all of them.
 */

import { createHash } from 'node:crypto'

/** Part of the schema: with another number nothing would be found again. */
export const BUCKETS = 1024

export type Shape = 'keyval' | 'map' | 'archive'

/** The keys of one user (`null`: of the host itself). */
export class UserKeys {
  readonly user: string | null
  readonly host: string
  /** Begins every key: `legate:{3ff}:`. */
  private readonly bucket: string
  /** `juliet@capulet.lit`, escaped; of the host itself `capulet.lit`. */
  private readonly address: string

  constructor(prefix: string, host: string, user: string | null) {
    this.host = host
    this.user = user
    this.address = user === null ? escapeName(host) : `${escapeName(user)}@${escapeName(host)}`
    const digest = createHash('sha1').update(this.address).digest()
    this.bucket = bucketPrefix(prefix, digest.readUInt16BE(0) % BUCKETS)
  }

  /** The hash of the user's keyval stores and of the names of the maps and archives that have something. */
  get stores(): string {
    return `${this.bucket}user:${this.address}`
  }

  /** The hash of one map. */
  map(store: string): string {
    return `${this.bucket}map:${this.address}:${store}`
  }

  /** One archive: its entries by id, its ids, and its ids by partner. */
  archive(store: string): [entries: string, ids: string, partners: string] {
    const end = `${this.address}:${store}`
    return [
      `${this.bucket}archive:${end}`,
      `${this.bucket}archive-ids:${end}`,
      `${this.bucket}archive-with:${end}`,
    ]
  }

  /** The set of the bucket's users that have something in a store. */
  index(shape: Shape, store: string): string {
    return indexKey(this.bucket, this.host, shape, store)
  }
}

/** The field of {@link UserKeys.stores} for a store. */
export function storeField(shape: Shape, store: string): string {
  return `${shape}:${store}`
}

/** What a field stands for; undefined if it is none of ours. */
export function readStoreField(field: string): { shape: Shape; store: string } | undefined {
  const [, shape, store] = /^(keyval|map|archive):([\s\S]*)$/.exec(field) ?? []
  return store === undefined ? undefined : { shape: shape as Shape, store }
}

/** The sets of all buckets that list the users of a store. */
export function indexKeys(prefix: string, host: string, shape: Shape, store: string): string[] {
  return Array.from({ length: BUCKETS }, (_, i) => indexKey(bucketPrefix(prefix, i), host, shape, store))
}

function bucketPrefix(prefix: string, bucket: number): string {
  return `${prefix}:{${bucket.toString(16).padStart(3, '0')}}:`
}

function indexKey(bucket: string, host: string, shape: Shape, store: string): string {
  return `${bucket}users:${escapeName(host)}:${shape}:${store}`
}

/** So that no two paths of names make the same key. */
function escapeName(name: string): string {
  return /[%@:]/.test(name)
    ? name.replace(/[%@:]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`)
    : name
}
