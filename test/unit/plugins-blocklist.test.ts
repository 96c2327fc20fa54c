/** Lists of whom accounts block: what is in memory is what is stored. */

import { expect, it } from 'vitest'
import { BlockLists, type StoredList } from '../../plugins/blocklist/lists.ts'
import { AllPreferences, type Preferences } from '../../plugins/mam/preferences.ts'
import type { Host, KeyvalStore } from '../../server/index.ts'

/** A store whose reads wait until they are let go, and give what was stored when they began. */
function slowStore<T>() {
  let stored: T | undefined
  const waiting: (() => void)[] = []
  const store = {
    get: () => {
      const value = stored
      return new Promise<T | undefined>((resolve) => waiting.push(() => resolve(value)))
    },
    set: async (_: string, value: T) => {
      stored = value
    },
    update: async (_: string, change: (old: T | undefined) => T | undefined) => {
      stored = change(stored)
      return stored
    },
  }
  const letGo = () => {
    for (const go of waiting.splice(0)) go()
  }
  return { store: store as unknown as KeyvalStore<T>, letGo, waiting }
}

const host = { accounts: new Map() } as unknown as Host

it('a list that was changed while it was read is not taken back', async () => {
  const { store, letGo } = slowStore<StoredList>()
  const lists = new BlockLists(host, store)
  const read = lists.read('juliet')
  await lists.update('juliet', (list) => void list.add('tybalt@capulet.lit'))
  letGo()
  expect([...(await read)]).toEqual(['tybalt@capulet.lit'])
  expect([...lists.get('juliet')!]).toEqual(['tybalt@capulet.lit'])
})

it('a list that another process changed while it was read is read again', async () => {
  const { store, letGo, waiting } = slowStore<StoredList>()
  const lists = new BlockLists(host, store)
  const read = lists.read('juliet')
  await store.update('juliet', () => ({ 'tybalt@capulet.lit': true }))
  lists.forget('juliet')
  letGo()
  await expect.poll(() => waiting.length).toBe(1)
  letGo()
  expect([...(await read)]).toEqual(['tybalt@capulet.lit'])
})

it('preferences that were changed while they were read are not taken back', async () => {
  const { store, letGo } = slowStore<Preferences>()
  const all = new AllPreferences(store, () => 'always')
  const read = all.read('juliet')
  await all.set('juliet', { default: 'never', always: [], never: [] })
  letGo()
  expect((await read).default).toBe('never')
  expect(all.get('juliet')!.default).toBe('never')
})

it('preferences that were stored though that failed are read again', async () => {
  const { store, letGo } = slowStore<Preferences>()
  const all = new AllPreferences(store, () => 'always')
  await all.set('juliet', { default: 'always', always: [], never: [] })
  const { set } = store
  store.set = async (user, preferences) => {
    await set(user, preferences)
    throw new Error('no answer')
  }
  await expect(all.set('juliet', { default: 'never', always: [], never: [] })).rejects.toThrow('no answer')
  const read = all.read('juliet')
  letGo()
  expect((await read).default).toBe('never')
})

it('of what two processes change at a time, what is stored at last counts', async () => {
  const { store, letGo, waiting } = slowStore<StoredList>()
  const lists = new BlockLists(host, store)
  const update = lists.update('juliet', (list) => void list.add('tybalt@capulet.lit'))
  // Another one is the last to write, and tells before this one hears that its own is written.
  await store.update('juliet', () => ({ 'paris@verona.lit': true }))
  await lists.forget('juliet')
  await update
  const read = lists.read('juliet')
  await expect.poll(() => waiting.length).toBe(1)
  letGo()
  expect([...(await read)]).toEqual(['paris@verona.lit'])
})

it('what was read before this process was cut off from the others is read again', async () => {
  const { store, letGo, waiting } = slowStore<StoredList>()
  let member = 'before'
  const lists = new BlockLists(host, store, () => member)
  await lists.update('juliet', (list) => void list.add('tybalt@capulet.lit'))
  expect(lists.get('juliet')).toBeDefined()
  member = 'after'
  expect([lists.get('juliet'), lists.lastKnown('juliet')]).toEqual([undefined, undefined])
  const read = lists.read('juliet')
  await expect.poll(() => waiting.length).toBe(1)
  letGo()
  expect([...(await read)]).toEqual(['tybalt@capulet.lit'])
})

it('a list that is read again counts as it was only where nothing can wait', async () => {
  const { store, letGo } = slowStore<StoredList>()
  const online = { accounts: new Map([['juliet', {}]]) } as unknown as Host
  const lists = new BlockLists(online, store)
  await lists.update('juliet', (list) => void list.add('tybalt@capulet.lit'))
  await store.update('juliet', () => ({ 'paris@verona.lit': true }))
  const forgotten = lists.forget('juliet')
  expect(lists.get('juliet')).toBeUndefined()
  expect([...lists.lastKnown('juliet')!]).toEqual(['tybalt@capulet.lit'])
  letGo()
  await forgotten
  expect([...lists.get('juliet')!]).toEqual(['paris@verona.lit'])
})
