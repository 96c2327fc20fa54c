/** An archive of the memory driver. */

import { idRange, newArchiveId, whenOf } from './archive.ts'
import type { ArchiveEntry, ArchiveQuery, ArchiveStore } from './types.ts'
import { checkName, decodeValue, encodeValue } from './values.ts'

type User = string | null

interface StoredEntry {
  readonly id: string
  readonly with: string
  readonly text: string
}

/** By user; the entries in the order of their ids. */
export type ArchiveRecords = Map<User, StoredEntry[]>

/** @param check - called before anything is done; throws where that can not be */
export function memoryArchive<T>(
  records: ArchiveRecords,
  check: (...names: User[]) => void,
  users: () => AsyncIterable<string>,
): ArchiveStore<T> {
  const matching = (user: User, query: ArchiveQuery): StoredEntry[] => {
    const { low, high } = idRange(query)
    const entries = records.get(user) ?? []
    const found = entries.slice(
      placeOf(entries, low),
      Math.max(placeOf(entries, low), placeOf(entries, high)),
    )
    return query.with === undefined ? found : found.filter((entry) => entry.with === query.with)
  }
  const remove = (user: User, ids: ReadonlySet<string>): number => {
    const entries = records.get(user) ?? []
    const left = entries.filter(({ id }) => !ids.has(id))
    if (left.length === 0) records.delete(user)
    else records.set(user, left)
    return entries.length - left.length
  }
  return {
    async append(user, value, when, partner, id = newArchiveId(when)) {
      check(user)
      checkName(partner)
      const entry = { id, with: partner, text: encodeValue(value) }
      const entries = records.get(user) ?? []
      records.set(user, entries)
      entries.splice(placeOf(entries, entry.id), 0, entry)
      return entry.id
    },
    async find(user, query, limit, reverse = false) {
      check(user)
      const found = matching(user, query)
      if (reverse) found.reverse()
      const page = found.slice(0, limit)
      return { entries: page.map(opened<T>), last: page.at(-1)?.id, more: found.length > limit }
    },
    async get(user, ids) {
      check(user)
      const entries = records.get(user) ?? []
      const found = ids.map((id) => {
        const entry = entries[placeOf(entries, id)]
        return entry?.id === id ? entry : undefined
      })
      return found.filter((entry) => entry !== undefined).map(opened<T>)
    },
    async count(user, query) {
      check(user)
      return matching(user, query).length
    },
    async delete(user, query) {
      check(user)
      return remove(user, new Set(matching(user, query).map(({ id }) => id)))
    },
    async remove(user, ids) {
      check(user)
      return remove(user, new Set(ids))
    },
    users,
  }
}

function opened<T>({ id, with: partner, text }: StoredEntry): ArchiveEntry<T> {
  return { id, when: whenOf(id), with: partner, value: decodeValue(text) as T }
}

/** Where the first entry is whose id is not less. */
function placeOf(entries: readonly StoredEntry[], id: string): number {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (entries[middle]!.id < id) low = middle + 1
    else high = middle
  }
  return low
}
