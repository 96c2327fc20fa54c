/**
 * An archive of the `internal` driver.
 *
 * An entry's key is its user's, and the id as it is; its record is `[value, user, with]`, the user only where the key
 * has but a hash of it. A second key, of a store of its own, has the partner before the id, to be found by it.
 */

import { idRange, isArchiveId, newArchiveId, whenOf } from './archive.ts'
import { encodeKey, isHashed } from './keys.ts'
import type { Database } from './lmdb-file.ts'
import type { ArchiveEntry, ArchiveQuery, ArchiveStore } from './types.ts'
import { checkName, decodeValue, encodeValue } from './values.ts'
import type { WriteQueue } from './write-queue.ts'

type User = string | null

/** Entries that are removed in one transaction, which reads them: each may be as long as a stanza. */
const BATCH = 50

/** What an archive needs of its driver. */
export interface ArchiveAccess {
  read<R>(read: (db: Database) => R): R
  /** For what is read within a transaction. */
  readonly db: Database
  readonly queue: WriteQueue
  users(path: User[]): AsyncIterable<string>
}

export function lmdbArchive<T>(access: ArchiveAccess, host: string, store: string): ArchiveStore<T> {
  checkName(host)
  checkName(store)
  const path: User[] = [host, `archive ${store}`]
  const entriesOf = (user: User): Buffer => {
    checkName(user)
    return encodeKey([...path, user])
  }
  const partnerOf = (user: User, partner: string): Buffer => {
    checkName(partner)
    return encodeKey([host, `archive-with ${store}`, user, partner])
  }
  const idsOf = (db: Database, user: User, query: ArchiveQuery, limit: number, reverse = false): string[] => {
    const prefix = query.with === undefined ? entriesOf(user) : partnerOf(user, query.with)
    const { low, high } = idRange(query)
    if (low >= high) return []
    const [first, last] = [under(prefix, low), under(prefix, high)]
    // Backwards LMDB begins with the last key itself, which is an entry's where that is asked for what is before it.
    const range = reverse ? { start: last, end: first, reverse } : { start: first, end: last }
    const ids: string[] = []
    for (const key of db.getKeys({ ...range, limit: reverse ? limit + 1 : limit })) {
      const id = key.toString('latin1', prefix.length)
      if (id !== high) ids.push(id)
    }
    return ids.slice(0, limit)
  }
  const entryOf = (db: Database, prefix: Buffer, id: string): ArchiveEntry<T> | undefined => {
    const record = db.get(under(prefix, id))
    if (record === undefined) return undefined
    const [value, , partner] = decodeValue(record) as [T, string | null, string]
    return { id, when: whenOf(id), with: partner, value }
  }
  const entriesWith = (db: Database, user: User, ids: readonly string[]): ArchiveEntry<T>[] => {
    const prefix = entriesOf(user)
    const found = ids.map((id) => (isArchiveId(id) ? entryOf(db, prefix, id) : undefined))
    return found.filter((entry) => entry !== undefined)
  }
  const remove = async (user: User, ids: readonly string[]): Promise<number> => {
    const prefix = entriesOf(user)
    let removed = 0
    for (let at = 0; at < ids.length; at += BATCH) {
      removed += await access.queue.add(() => {
        const found = entriesWith(access.db, user, ids.slice(at, at + BATCH))
        for (const { id, with: partner } of found) {
          access.queue.remove(under(prefix, id))
          access.queue.remove(under(partnerOf(user, partner), id))
        }
        return found.length
      })
    }
    return removed
  }
  return {
    async append(user, value, when, partner, id = newArchiveId(when)) {
      const names = [isHashed(user) ? user : null, partner].map((name) => JSON.stringify(name))
      const record = `[${[encodeValue(value), ...names].join(',')}]`
      const [key, byPartner] = [under(entriesOf(user), id), under(partnerOf(user, partner), id)]
      await access.queue.add(() => {
        access.queue.put(key, record)
        access.queue.put(byPartner, '')
      })
      return id
    },
    async find(user, query, limit, reverse) {
      return access.read((db) => {
        const ids = idsOf(db, user, query, limit + 1, reverse)
        const page = ids.slice(0, limit)
        return { entries: entriesWith(db, user, page), last: page.at(-1), more: ids.length > limit }
      })
    },
    async get(user, ids) {
      return access.read((db) => entriesWith(db, user, ids))
    },
    async count(user, query) {
      const prefix = query.with === undefined ? entriesOf(user) : partnerOf(user, query.with)
      const { low, high } = idRange(query)
      if (low >= high) return 0
      return access.read((db) => db.getKeysCount({ start: under(prefix, low), end: under(prefix, high) }))
    },
    async delete(user, query) {
      let removed = 0
      for (;;) {
        const ids = access.read((db) => idsOf(db, user, query, BATCH))
        if (ids.length === 0) return removed
        removed += await remove(user, ids)
      }
    },
    remove,
    users: () => access.users(path),
  }
}

function under(prefix: Buffer, id: string): Buffer {
  return Buffer.concat([prefix, Buffer.from(id, 'latin1')])
}
