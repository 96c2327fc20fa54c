/** Writes of one user to Redis: what of those that wait goes into one script. */

import { expect, it } from 'vitest'
import { UserKeys } from '../../server/storage/redis-keys.ts'
import { type RedisWriter, RedisWrites } from '../../server/storage/redis-writes.ts'

const keys = new UserKeys('legate', 'capulet.lit', 'juliet')

/** Redis, which is slow with the first script: it answers when it is let go. */
function slowRedis() {
  const scripts: (readonly string[])[] = []
  let letGo = () => {}
  const first = new Promise<void>((resolve) => {
    letGo = resolve
  })
  const redis: RedisWriter = {
    hmget: async (_, fields) => fields.map(() => null),
    hkeys: async () => ['keyval:test'],
    async run(_, names, args) {
      scripts.push([...names, ...args])
      if (scripts.length === 1) await first
      return null
    },
  }
  return { redis, scripts, letGo: () => letGo() }
}

const entry = (n: number, length = 10) =>
  ({
    kind: 'archive',
    store: 'archive',
    added: [[`id${n};`, `with id${n};`, 'x'.repeat(length)]],
    removed: [],
  }) as const

/** The ids in what scripts were given, in their order. */
const idsIn = (scripts: readonly (readonly string[])[]) =>
  scripts.flatMap((texts) => texts.filter((text) => /^id\d+;$/.test(text)))

it('however many wait, one script makes some of them, in order', async () => {
  const { redis, scripts, letGo } = slowRedis()
  const writes = new RedisWrites(redis)
  const first = writes.add(keys, entry(0))
  await expect.poll(() => scripts.length).toBe(1)
  const rest = Array.from({ length: 60_000 }, (_, i) => writes.add(keys, entry(i + 1)))
  letGo()
  await Promise.all([first, ...rest])
  expect(idsIn(scripts)).toEqual(Array.from({ length: 60_001 }, (_, i) => `id${i};`))
  for (const texts of scripts) expect(texts.length).toBeLessThan(4000)
  expect(scripts.length).toBeLessThan(100)
})

it('however long they are, one script brings so much, or one of them', async () => {
  const { redis, scripts, letGo } = slowRedis()
  const writes = new RedisWrites(redis)
  const added = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((n) => writes.add(keys, entry(n, 300_000)))
  added.push(writes.add(keys, entry(9, 5_000_000)), writes.add(keys, entry(10)))
  letGo()
  await Promise.all(added)
  expect(scripts.map((texts) => idsIn([texts]).length)).toEqual([3, 3, 3, 1, 1])
})

it('what waits is refused as soon as a script fails, and what is called later is written', async () => {
  const { redis, scripts, letGo } = slowRedis()
  const { run } = redis
  const failing: RedisWriter = {
    ...redis,
    async run(...call) {
      const answer = await run(...call)
      if (scripts.length === 2) throw new Error('no answer')
      return answer
    },
  }
  const writes = new RedisWrites(failing)
  const first = writes.add(keys, entry(0))
  await expect.poll(() => scripts.length).toBe(1)
  const rest = Array.from({ length: 5000 }, (_, i) => writes.add(keys, entry(i + 1)))
  letGo()
  await first
  const ends = await Promise.allSettled(rest)
  expect(ends.filter(({ status }) => status === 'rejected').length).toBe(5000)
  expect(scripts.length).toBe(2)
  await writes.add(keys, entry(9999))
  expect(idsIn(scripts.slice(2))).toEqual(['id9999;'])
})

it('a purge is between what was called before it and after it', async () => {
  const { redis, scripts, letGo } = slowRedis()
  const writes = new RedisWrites(redis)
  const added = [writes.add(keys, entry(0)), writes.add(keys, entry(1))]
  added.push(writes.add(keys, { kind: 'purge', unlessIn: [] }), writes.add(keys, entry(2)))
  letGo()
  await Promise.all(added)
  expect(scripts.map((texts) => idsIn([texts]))).toEqual([['id0;', 'id1;'], [], ['id2;']])
})
