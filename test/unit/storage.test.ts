/** What every storage driver has to do. */

import { afterEach, beforeEach, expect, it } from 'vitest'
import type { StorageDriver } from '../../server/storage/index.ts'
import { describeStorages } from '../shared/storage-kinds.ts'

const HOST = 'capulet.lit'

/** Names that an encoding of keys could mix up, lose or refuse. */
const NAMES = [
  '',
  'juliet',
  'a',
  'a\0',
  'a\0b',
  'a\0\u{1}',
  '\0',
  '\u{1}',
  '\u{ff}',
  'a/b',
  'ロミオ',
  'e\u{301}',
  '\u{e9}',
  '\u{1f339}',
  '\u{fffd}',
  '__proto__',
  'null',
  '\0'.repeat(250),
  'x'.repeat(399),
  'x'.repeat(400),
  'x'.repeat(401),
  'x'.repeat(3000),
  `${'x'.repeat(3000)}y`,
  'é'.repeat(3000),
]

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

describeStorages('storage', behavesAsStorage)

/** @param open - an empty storage */
function behavesAsStorage(kind: string, open: () => Promise<StorageDriver>): void {
  let storage: StorageDriver

  beforeEach(async () => {
    storage = await open()
  })

  afterEach(() => storage.close())

  it('is named as in the configuration', () => {
    expect(storage.name).toBe(kind)
  })

  it.each([
    ['object', { a: 1, b: [true, null, 'x', { c: -0.5 }] }],
    ['array', [1, 2, 3]],
    ['empty object', {}],
    ['null', null],
    ['false', false],
    ['zero', 0],
    ['empty string', ''],
    ['text with every trap', '\0\u{1f339}\u{2028}"\\ \ud800'],
    ['own __proto__', JSON.parse('{"__proto__":{"polluted":true}}')],
    ['large', 'x'.repeat(300_000)],
  ])('keeps a value: %s', async (_, value) => {
    const store = storage.openKeyval<unknown>(HOST, 'test')
    await store.set('juliet', value)
    expect(await store.get('juliet')).toEqual(value)
    expect(JSON.stringify(await store.get('juliet'))).toBe(JSON.stringify(value))
  })

  it.each([
    ['NaN', { a: Number.NaN }],
    ['a date', { a: new Date(0) }],
    ['a map', new Map()],
    ['a buffer', Buffer.from('x')],
    ['a bigint', 1n],
    ['a function', { f() {} }],
    ['a hole in an array', [undefined]],
    ['a class', new (class A {})()],
  ])('refuses what would come back as something else: %s', async (_, value) => {
    const store = storage.openKeyval<unknown>(HOST, 'test')
    await store.set('juliet', 'before')
    await expect(store.set('juliet', value)).rejects.toMatchObject({ code: 'bad-value' })
    await expect(store.update('juliet', () => value)).rejects.toMatchObject({ code: 'bad-value' })
    expect(await store.get('juliet')).toBe('before')
  })

  it('refuses a cycle', async () => {
    const value: Record<string, unknown> = {}
    value['self'] = value
    const store = storage.openKeyval<unknown>(HOST, 'test')
    await expect(store.set('juliet', value)).rejects.toMatchObject({ code: 'bad-value' })
  })

  it('refuses names that are no Unicode text', async () => {
    const keyval = storage.openKeyval<number>(HOST, 'test')
    const map = storage.openMap<number>(HOST, 'test')
    const bad = { code: 'bad-name' }
    await expect(keyval.set('\ud800', 1)).rejects.toMatchObject(bad)
    await expect(keyval.get('a\udfff')).rejects.toMatchObject(bad)
    await expect(map.set('juliet', '\ud800', 1)).rejects.toMatchObject(bad)
    await expect(map.setKeys('juliet', { ok: 1, '\ud800': 1 })).rejects.toMatchObject(bad)
    expect(await map.getAll('juliet')).toEqual(new Map())
    await expect(storage.purgeUser(HOST, '\ud800')).rejects.toMatchObject(bad)
  })

  it('keeps every user name apart, and lists them', async () => {
    const store = storage.openKeyval<number>(HOST, 'test')
    await Promise.all(NAMES.map((name, i) => store.set(name, i)))
    await store.set(null, -1)
    for (const [i, name] of NAMES.entries()) expect(await store.get(name)).toBe(i)
    expect(await store.get(null)).toBe(-1)
    expect((await collect(store.users())).sort()).toEqual([...NAMES].sort())
  })

  it('keeps every key of a map apart, and lists keys and users', async () => {
    const store = storage.openMap<string>(HOST, 'test')
    const users = [null, 'juliet', 'a', '\0', 'y'.repeat(2000)]
    for (const user of users) {
      await store.setKeys(user, Object.fromEntries(NAMES.map((name, i) => [name, `${user} ${i}`])))
    }
    for (const user of users) {
      expect(await store.getAll(user)).toEqual(new Map(NAMES.map((name, i) => [name, `${user} ${i}`])))
      for (const [i, name] of NAMES.entries()) expect(await store.get(user, name)).toBe(`${user} ${i}`)
    }
    expect((await collect(store.users())).sort()).toEqual(users.filter((user) => user !== null).sort())
  })

  it('does not mix up hosts, stores, shapes, users and keys', async () => {
    const paths = [
      ['h', 's', 'a', 'b/c'],
      ['h', 's', 'a/b', 'c'],
      ['h', 's', 'ab', 'c'],
      ['h', 's', 'a', 'bc'],
      ['h', 'sa', '', 'bc'],
      ['hs', '', 'a', 'bc'],
      ['h\0s', '', 'a', 'bc'],
    ] as const
    for (const [host, store, user, key] of paths) {
      const value = JSON.stringify([host, store, user, key])
      await storage.openMap<string>(host, store).set(user, key, value)
      await storage.openKeyval<string>(host, store).set(user, `keyval ${value}`)
    }
    for (const [host, store, user, key] of paths) {
      const value = JSON.stringify([host, store, user, key])
      expect(await storage.openMap<string>(host, store).get(user, key)).toBe(value)
    }
    const map = storage.openMap<string>('h', 's')
    expect([...(await map.getAll('a')).keys()].sort()).toEqual(['b/c', 'bc'])
  })

  it('gives everyone a copy', async () => {
    const store = storage.openKeyval<{ list: number[] }>(HOST, 'test')
    const value = { list: [1] }
    const written = store.set('juliet', value)
    value.list.push(2)
    await written
    const read = await store.get('juliet')
    read?.list.push(3)
    const updated = await store.update('juliet', (old) => {
      old?.list.push(4)
      return old
    })
    updated?.list.push(5)
    expect(await store.get('juliet')).toEqual({ list: [1, 4] })
  })

  it('removes values and keys, and then no longer lists the user', async () => {
    const keyval = storage.openKeyval<number>(HOST, 'test')
    await keyval.set('juliet', 1)
    await keyval.set('juliet', undefined)
    await keyval.set('nobody', undefined)
    await keyval.update('romeo', () => 1)
    expect(await keyval.update('romeo', () => undefined)).toBeUndefined()
    expect(await keyval.get('juliet')).toBeUndefined()
    expect(await collect(keyval.users())).toEqual([])

    const map = storage.openMap<number>(HOST, 'test')
    await map.setKeys('juliet', { a: 1, b: 2, c: 3 })
    await map.setKeys('juliet', { a: undefined, b: 4 })
    expect(Object.fromEntries(await map.getAll('juliet'))).toEqual({ b: 4, c: 3 })
    await map.set('juliet', 'b', undefined)
    await map.set('juliet', 'c', undefined)
    expect(await collect(map.users())).toEqual([])
  })

  it('updates with nobody in between', async () => {
    const store = storage.openKeyval<number>(HOST, 'test')
    await Promise.all(Array.from({ length: 1200 }, () => store.update('juliet', (old = 0) => old + 1)))
    expect(await store.get('juliet')).toBe(1200)
  })

  it('writes in the order of the calls', async () => {
    const store = storage.openKeyval<string>(HOST, 'test')
    const writes = [
      store.set('juliet', 'a'),
      store.update('juliet', (old) => `${old}b`),
      store.set('juliet', 'c'),
      store.update('juliet', (old) => `${old}d`),
    ]
    await Promise.all(writes)
    expect(await store.get('juliet')).toBe('cd')
  })

  it('a change that throws changes nothing, and nobody else notices', async () => {
    const store = storage.openKeyval<number>(HOST, 'test')
    const mine = new Error('mine')
    const results = await Promise.allSettled([
      store.set('juliet', 1),
      store.update('juliet', () => {
        throw mine
      }),
      store.update('juliet', (old = 0) => old + 1),
    ])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(results[1]).toMatchObject({ reason: mine })
    expect(await store.get('juliet')).toBe(2)
  })

  it('setKeys writes all keys or none', async () => {
    const store = storage.openMap<unknown>(HOST, 'test')
    await expect(store.setKeys('juliet', { a: 1, b: Number.NaN })).rejects.toMatchObject({
      code: 'bad-value',
    })
    expect(await store.getAll('juliet')).toEqual(new Map())
  })

  it('lists more users than it reads at once, also while they are removed', async () => {
    const store = storage.openKeyval<number>(HOST, 'test')
    const names = Array.from({ length: 450 }, (_, i) => `user${String(i).padStart(3, '0')}`)
    await Promise.all(names.map((name) => store.set(name, 1)))
    const seen: string[] = []
    for await (const name of store.users()) {
      seen.push(name)
      await store.set(name, undefined)
    }
    expect(seen.sort()).toEqual(names)
    expect(await collect(store.users())).toEqual([])
  })

  it('purges a user from all stores of the host, and nobody else', async () => {
    const long = 'x'.repeat(2000)
    for (const host of [HOST, 'montague.lit']) {
      for (const user of ['juliet', 'juliet2', 'julie', 'juliet\0', long, null]) {
        await storage.openKeyval<number>(host, 'accounts').set(user, 1)
        await storage.openKeyval<number>(host, 'vcard').set(user, 1)
        await storage.openMap<number>(host, 'roster').setKeys(user, { a: 1, b: 1, [long]: 1 })
      }
    }
    await storage.purgeUser(HOST, 'juliet')
    await storage.purgeUser(HOST, long)
    await storage.purgeUser(HOST, 'nobody')
    const left = ['julie', 'juliet\0', 'juliet2']
    for (const store of ['accounts', 'vcard']) {
      expect((await collect(storage.openKeyval(HOST, store).users())).sort()).toEqual(left)
      expect(await storage.openKeyval(HOST, store).get(null)).toBe(1)
    }
    const roster = storage.openMap(HOST, 'roster')
    expect((await collect(roster.users())).sort()).toEqual(left)
    expect(await roster.getAll('juliet')).toEqual(new Map())
    expect((await roster.getAll(null)).size).toBe(3)
    expect(await collect(storage.openMap('montague.lit', 'roster').users())).toHaveLength(5)
  })

  it('purges nobody who has something in the store that is named, by the time that it would be', async () => {
    const accounts = storage.openKeyval<number>(HOST, 'accounts')
    const cards = storage.openKeyval<number>(HOST, 'vcard')
    for (const user of ['juliet', 'romeo', 'nurse']) await cards.set(user, 1)
    await accounts.set('juliet', 1)
    await accounts.set('romeo', 1)
    await Promise.all([
      accounts.set('romeo', undefined),
      storage.purgeUser(HOST, 'romeo', 'accounts'),
      storage.purgeUser(HOST, 'nurse', 'accounts'),
      storage.purgeUser(HOST, 'juliet', 'accounts'),
    ])
    expect(await collect(cards.users())).toEqual(['juliet'])
    // It is made again while the old one is still being taken away.
    await Promise.all([accounts.set('nurse', 1), storage.purgeUser(HOST, 'nurse', 'accounts')])
    expect(await accounts.get('nurse')).toBe(1)
    await storage.purgeUser(HOST, 'nurse')
    expect(await accounts.get('nurse')).toBeUndefined()
  })

  it('after close, everything is refused', async () => {
    const keyval = storage.openKeyval<number>(HOST, 'test')
    const map = storage.openMap<number>(HOST, 'test')
    const last = keyval.set('juliet', 1)
    await storage.close()
    await last
    const closed = { code: 'closed' }
    await expect(keyval.get('juliet')).rejects.toMatchObject(closed)
    await expect(keyval.set('juliet', 1)).rejects.toMatchObject(closed)
    await expect(keyval.update('juliet', () => 1)).rejects.toMatchObject(closed)
    await expect(map.getAll('juliet')).rejects.toMatchObject(closed)
    await expect(map.setKeys('juliet', {})).rejects.toMatchObject(closed)
    await expect(collect(map.users())).rejects.toMatchObject(closed)
    await expect(storage.purgeUser(HOST, 'juliet')).rejects.toMatchObject(closed)
    await storage.close()
  })
}
