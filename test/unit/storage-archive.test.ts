/** What the archives of every storage driver have to do. */

import { afterEach, beforeEach, expect, it } from 'vitest'
import type { ArchiveQuery, ArchiveStore, StorageDriver } from '../../server/storage/index.ts'
import { describeStorages } from '../shared/storage-kinds.ts'

const HOST = 'capulet.lit'
const PARTNERS = [
  'romeo@montague.lit',
  'a',
  'a\0',
  'a\0\u{1}',
  'a\u{1}',
  '',
  'ロミオ',
  'x'.repeat(3000),
  `${'x'.repeat(3000)}y`,
]

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** The values of all entries of a query, read page by page. */
async function valuesOf(store: ArchiveStore<number>, query: ArchiveQuery, size = 1000, reverse = false) {
  const values: number[] = []
  let rest = query
  for (;;) {
    const { entries, last, more } = await store.find('juliet', rest, size, reverse)
    expect(entries.length).toBeLessThanOrEqual(size)
    expect(last).toBe(entries.at(-1)?.id)
    values.push(...entries.map(({ value }) => value))
    if (!more) return values
    rest = reverse ? { ...rest, before: last } : { ...rest, after: last }
  }
}

describeStorages('archive in', (_, open) => {
  let storage: StorageDriver
  let store: ArchiveStore<number>

  beforeEach(async () => {
    storage = await open()
    store = storage.openArchive<number>(HOST, 'archive')
  })

  afterEach(() => storage.close())

  it('keeps entries in the order of their times, and of the calls within one', async () => {
    const times = [1000, 3000, 2000, 2000, 2000, 0]
    await Promise.all(times.map((when, i) => store.append('juliet', i, when, 'romeo')))
    const { entries, more } = await store.find('juliet', {}, 10)
    expect(entries.map(({ value }) => value)).toEqual([5, 0, 2, 3, 4, 1])
    expect(entries.map(({ when }) => when)).toEqual([0, 1000, 2000, 2000, 2000, 3000])
    expect(entries.every((entry) => entry.with === 'romeo')).toBe(true)
    expect(more).toBe(false)
    const ids = entries.map(({ id }) => id)
    expect([...ids].sort()).toEqual(ids)
  })

  it('finds what a query is about, forwards and backwards, page by page', async () => {
    const ids: string[] = []
    for (let i = 0; i < 40; i++) {
      ids.push(await store.append('juliet', i, 1000 * i, i % 3 === 0 ? 'nurse' : 'romeo'))
    }
    const all = Array.from({ length: 40 }, (_, i) => i)
    const queries: [ArchiveQuery, (i: number) => boolean][] = [
      [{}, () => true],
      [{ start: 5000 }, (i) => i >= 5],
      [{ start: 5001 }, (i) => i > 5],
      [{ end: 5000 }, (i) => i <= 5],
      [{ start: 5000, end: 9999 }, (i) => i >= 5 && i <= 9],
      [{ start: 9000, end: 5000 }, () => false],
      [{ after: ids[7] }, (i) => i > 7],
      [{ before: ids[7] }, (i) => i < 7],
      [{ after: ids[7], before: ids[9] }, (i) => i === 8],
      [{ after: ids[9], before: ids[7] }, () => false],
      [{ start: 5000, after: ids[2], before: ids[30], end: 20_000 }, (i) => i >= 5 && i <= 20],
      [{ start: 1e20 }, () => false],
      [{ start: -5, end: Number.MAX_SAFE_INTEGER }, () => true],
    ]
    for (const [query, fits] of queries) {
      for (const partner of [undefined, 'nurse', 'romeo', 'nobody']) {
        const asked = { ...query, with: partner }
        const expected = all.filter(
          (i) => fits(i) && (partner === undefined || partner === (i % 3 === 0 ? 'nurse' : 'romeo')),
        )
        const message = JSON.stringify(asked)
        for (const size of [1, 7, 1000]) {
          expect(await valuesOf(store, asked, size), message).toEqual(expected)
          expect(await valuesOf(store, asked, size, true), message).toEqual([...expected].reverse())
        }
        expect(await store.count('juliet', asked), message).toBe(expected.length)
      }
    }
  })

  it('keeps partners, users, stores and hosts apart', async () => {
    const other = storage.openArchive<number>(HOST, 'archive2')
    const elsewhere = storage.openArchive<number>('montague.lit', 'archive')
    for (const [i, partner] of PARTNERS.entries()) {
      await store.append('juliet', i, 1, partner)
      await store.append('x'.repeat(3000), 100 + i, 1, partner)
      await store.append(null, 200 + i, 1, partner)
      await other.append('juliet', 300 + i, 1, partner)
      await elsewhere.append('juliet', 400 + i, 1, partner)
    }
    for (const [i, partner] of PARTNERS.entries()) {
      expect(await valuesOf(store, { with: partner })).toEqual([i])
      const { entries } = await store.find(null, { with: partner }, 10)
      expect(entries.map((entry) => [entry.value, entry.with])).toEqual([[200 + i, partner]])
    }
    expect((await collect(store.users())).sort()).toEqual(['juliet', 'x'.repeat(3000)].sort())
  })

  it('gives entries by their ids, and passes over what is no id of the user', async () => {
    const [a, b] = [await store.append('juliet', 1, 5, 'romeo'), await store.append('juliet', 2, 5, 'romeo')]
    const foreign = await store.append('romeo', 3, 5, 'juliet')
    const found = await store.get('juliet', [b!, foreign, 'no id', '', `${a}0`, 'f'.repeat(24), a!])
    expect(found.map(({ value }) => value)).toEqual([2, 1])
    expect(await store.get('juliet', [])).toEqual([])
  })

  it('removes what a query is about, and then no longer lists the user', async () => {
    for (let i = 0; i < 700; i++) void store.append('juliet', i, i, i % 2 === 0 ? 'nurse' : 'romeo')
    await store.append('romeo', 1, 1, 'juliet')
    expect(await store.delete('juliet', { end: 99, with: 'nurse' })).toBe(50)
    expect(await store.count('juliet', {})).toBe(650)
    expect(await valuesOf(store, { end: 5 })).toEqual([1, 3, 5])
    const { entries } = await store.find('juliet', {}, 2)
    const ids = entries.map(({ id }) => id)
    expect(await store.remove('juliet', [...ids, 'no id', 'f'.repeat(24)])).toBe(2)
    expect(await store.remove('juliet', ids)).toBe(0)
    expect(await valuesOf(store, { with: 'romeo', end: 7 })).toEqual([5, 7])
    expect(await store.delete('juliet', {})).toBe(648)
    expect(await store.count('juliet', { with: 'romeo' })).toBe(0)
    expect(await collect(store.users())).toEqual(['romeo'])
  })

  it('goes with its user', async () => {
    for (const user of ['juliet', 'romeo']) await store.append(user, 1, 1, 'nurse')
    await storage.openKeyval<number>(HOST, 'archive').set('juliet', 1)
    await storage.purgeUser(HOST, 'juliet')
    expect(await store.count('juliet', {})).toBe(0)
    expect(await store.count('juliet', { with: 'nurse' })).toBe(0)
    expect(await valuesOf(store, {})).toEqual([])
    expect(await collect(store.users())).toEqual(['romeo'])
    await store.append('juliet', 2, 1, 'nurse')
    expect(await valuesOf(store, { with: 'nurse' })).toEqual([2])
  })

  it('refuses what is no JSON data, and names that are no text', async () => {
    await expect(store.append('juliet', Number.NaN, 1, 'romeo')).rejects.toMatchObject({ code: 'bad-value' })
    await expect(store.append('\ud800', 1, 1, 'romeo')).rejects.toMatchObject({ code: 'bad-name' })
    await expect(store.append('juliet', 1, 1, '\ud800')).rejects.toMatchObject({ code: 'bad-name' })
    expect(await store.count('juliet', {})).toBe(0)
  })

  it('is refused after close, and what was under way is kept', async () => {
    const last = store.append('juliet', 1, 1, 'romeo')
    await storage.close()
    expect(await last).toHaveLength(24)
    const closed = { code: 'closed' }
    await expect(store.append('juliet', 1, 1, 'romeo')).rejects.toMatchObject(closed)
    await expect(store.find('juliet', {}, 1)).rejects.toMatchObject(closed)
    await expect(store.delete('juliet', {})).rejects.toMatchObject(closed)
  })
})
