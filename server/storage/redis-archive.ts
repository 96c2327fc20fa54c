/** An archive of the `redis` driver; docs/redis-keys.md describes its keys. */

import type { Cluster, Redis } from 'ioredis'
import { idRange, newArchiveId, whenOf } from './archive.ts'
import type { UserKeys } from './redis-keys.ts'
import type { ArchiveChange } from './redis-writes.ts'
import type { ArchiveEntry, ArchiveQuery, ArchiveStore } from './types.ts'
import { checkName, decodeValue, encodeValue } from './values.ts'

type User = string | null

/** Entries that are removed by one script, and read before: each may be as long as a stanza. */
const BATCH = 50

/** What an archive needs of its driver. */
export interface ArchiveAccess {
  keys(user: User): UserKeys
  read<R>(read: (redis: Redis | Cluster) => Promise<R>): Promise<R>
  write(user: User, change: ArchiveChange): Promise<unknown>
  users(): AsyncIterable<string>
}

export function redisArchive<T>(access: ArchiveAccess, store: string): ArchiveStore<T> {
  /** The sorted set that a query looks through, what its members have before the id, and between which they are. */
  const search = (user: User, query: ArchiveQuery) => {
    const [, ids, partners] = access.keys(user).archive(store)
    const before = query.with === undefined ? '' : partnerText(query.with)
    const { low, high } = idRange(query)
    const [min, max] = [`[${before}${low}`, `(${before}${high}`]
    return { key: query.with === undefined ? ids : partners, before, min, max, empty: low >= high }
  }
  const idsOf = async (
    user: User,
    query: ArchiveQuery,
    limit: number,
    reverse = false,
  ): Promise<string[]> => {
    const { key, before, min, max, empty } = search(user, query)
    if (empty) return []
    const members = await access.read((redis) =>
      reverse
        ? redis.zrevrangebylex(key, max, min, 'LIMIT', 0, limit)
        : redis.zrangebylex(key, min, max, 'LIMIT', 0, limit),
    )
    return members.map((member) => member.slice(before.length))
  }
  const entriesWith = async (user: User, ids: readonly string[]): Promise<ArchiveEntry<T>[]> => {
    const [entries] = access.keys(user).archive(store)
    if (ids.length === 0) return []
    const texts = await access.read((redis) => redis.hmget(entries, ...ids))
    const found = texts.map((text, i) => (text === null ? undefined : opened<T>(ids[i]!, text)))
    return found.filter((entry) => entry !== undefined)
  }
  const remove = async (user: User, ids: readonly string[]): Promise<number> => {
    let removed = 0
    for (let at = 0; at < ids.length; at += BATCH) {
      const found = await entriesWith(user, ids.slice(at, at + BATCH))
      if (found.length === 0) continue
      const gone = found.map(({ id, with: partner }) => [id, partnerText(partner) + id] as const)
      await access.write(user, { kind: 'archive', store, added: [], removed: gone })
      removed += found.length
    }
    return removed
  }
  return {
    async append(user, value, when, partner, id = newArchiveId(when)) {
      checkName(partner)
      const text = `[${encodeValue(value)},${JSON.stringify(partner)}]`
      const added = [[id, partnerText(partner) + id, text]] as const
      await access.write(user, { kind: 'archive', store, added, removed: [] })
      return id
    },
    async find(user, query, limit, reverse) {
      const ids = await idsOf(user, query, limit + 1, reverse)
      const page = ids.slice(0, limit)
      return { entries: await entriesWith(user, page), last: page.at(-1), more: ids.length > limit }
    },
    get: entriesWith,
    async count(user, query) {
      const { key, min, max, empty } = search(user, query)
      return empty ? 0 : access.read((redis) => redis.zlexcount(key, min, max))
    },
    async delete(user, query) {
      let removed = 0
      for (;;) {
        const ids = await idsOf(user, query, BATCH)
        const gone = await remove(user, ids)
        // Another process may remove the same. Of ids without entries, as Redis throws keys away, there would be no end.
        if (gone === 0) return removed
        removed += gone
      }
    },
    remove,
    users: access.users,
  }
}

function opened<T>(id: string, text: string): ArchiveEntry<T> {
  const [value, partner] = decodeValue(text) as [T, string]
  return { id, when: whenOf(id), with: partner, value }
}

/** What stands before the id in the set by partner: no partner's is the beginning of another's. */
function partnerText(partner: string): string {
  checkName(partner)
  const escaped = partner.replace(/[\0\u0001]/g, (mark) => (mark === '\0' ? '\u0001\u0001' : '\u0001\u0002'))
  return `${escaped}\0`
}
