/** kill -9 in the midst of messages: what was acknowledged is there after the restart, once. */

import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { type AccountRecord, Users } from '../../server/auth/users.ts'
import { silentLogger } from '../../server/log.ts'
import { openLmdbStorage } from '../../server/storage/lmdb.ts'
import { openRedisStorage } from '../../server/storage/redis.ts'
import type { StorageDriver } from '../../server/storage/types.ts'
import { inTime } from '../shared/in-time.ts'
import { KeptMessages, randomNumbers } from '../shared/kept-messages.ts'
import { LegateCluster, singleRedis } from '../shared/legate-cluster.ts'
import { LegateFolder, ON_FREE_PORTS, type RunningLegate } from '../shared/legate-command.ts'
import { redisAvailable, startRedis } from '../shared/peers/redis.ts'
import { redisSettings } from '../shared/redis-settings.ts'
import { describePeer } from '../shared/require.ts'

const HOST = 'capulet.lit'
const ROUNDS = 5
/** Over Redis, where a round takes longer. */
const FEWER_ROUNDS = 3
const TEST_MS = 180_000
/** Messages of a round, by how many, and how many one may have unacknowledged. */
const EACH = 100
const WRITERS = 10
const ABSENT = 2
const AHEAD = 8

const IM = `
modules_enabled = { "saslauth", "roster", "disco", "ping", "carbons", "blocklist", "mam", "offline", "vcard", "private" }
default_archive_policy = true
offline_max_messages = 100000
max_archive_query_results = 500
`

const endings: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
}, TEST_MS)

async function register(storage: StorageDriver, users: readonly string[]): Promise<void> {
  try {
    await storage.whenReady?.(10_000)
    const accounts = new Users(storage.openKeyval<AccountRecord>(HOST, 'accounts'), { iterations: 4096 })
    for (const user of users) await accounts.create(user, 'pw')
  } finally {
    await storage.close()
  }
}

async function kill({ child }: RunningLegate): Promise<void> {
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await inTime('a process that was killed is gone', exit, 10_000)
}

/** Kills a server of one process again and again. */
async function survives(
  folder: LegateFolder,
  messages: KeptMessages,
  random: () => number,
  rounds: number,
): Promise<void> {
  let server = await folder.start()
  for (let round = 0; round < rounds; round++) {
    const { c2sPort } = server
    await messages.enter(() => [c2sPort, 0])
    await messages.send(EACH, AHEAD, Math.floor((0.1 + 0.8 * random()) * EACH * WRITERS))
    await kill(server)
    await messages.leave()
    server = await folder.start()
    const again = server.c2sPort
    expect((await messages.mistakes(() => again)).slice(0, 20)).toEqual([])
  }
  await server.stop()
  // Some were under way each time.
  const { acknowledged, open } = messages.counts
  expect(acknowledged).toBeGreaterThanOrEqual(rounds * 0.1 * EACH * WRITERS)
  expect(open).toBeGreaterThanOrEqual(rounds)
}

describe('a server that is killed in the midst of a thousand messages', () => {
  it.each([1, 2])(
    'has what it has acknowledged, once, in its own storage (seed %i)',
    async (seed) => {
      const folder = new LegateFolder(
        `${ON_FREE_PORTS}${IM}storage = "internal"\ndata_path = "data"\nVirtualHost "${HOST}"\n`,
      )
      endings.push(() => folder.remove())
      const random = randomNumbers(seed)
      const messages = new KeptMessages(HOST, WRITERS, ABSENT, random)
      mkdirSync(folder.file('data'))
      await register(openLmdbStorage(folder.file('data')), messages.users)
      await survives(folder, messages, random, ROUNDS)
    },
    TEST_MS,
  )
})

describePeer(
  'servers over Redis that are killed in the midst of a thousand messages',
  redisAvailable(),
  () => {
    it(
      'one has what it has acknowledged, once (seed 3)',
      async () => {
        const { redis, stop } = await startRedis({ appendonly: 'yes', appendfsync: 'always' })
        endings.push(stop)
        const option = { url: redis.url, prefix: 'test' }
        const folder = new LegateFolder(
          `${ON_FREE_PORTS}${IM}storage = "redis"\nredis = { url = "${option.url}", prefix = "test" }\nVirtualHost "${HOST}"\n`,
        )
        endings.push(() => folder.remove())
        const random = randomNumbers(3)
        const messages = new KeptMessages(HOST, WRITERS, ABSENT, random)
        await register(openRedisStorage(redisSettings(option), silentLogger), messages.users)
        await survives(folder, messages, random, FEWER_ROUNDS)
      },
      TEST_MS,
    )

    it(
      'three, of which one is killed, have what they have acknowledged, once (seed 4)',
      async () => {
        const deployment = await singleRedis(3)
        endings.push(() => deployment.stop())
        const random = randomNumbers(4)
        const messages = new KeptMessages(HOST, WRITERS, ABSENT, random)
        const cluster = await LegateCluster.start(deployment, messages.users, 3, IM)
        endings.push(() => cluster.stop())
        const place = (number: number) => number % 3
        for (let round = 0; round < FEWER_ROUNDS; round++) {
          await messages.enter((number) => [cluster.c2sPort(place(number)), place(number)])
          const victim = Math.floor(random() * 3)
          await messages.send(EACH, AHEAD, Math.floor((0.1 + 0.6 * random()) * EACH * WRITERS))
          await cluster.kill(victim)
          // The others go on. Who has written to somebody at a process that is dead is told.
          await messages.lost(victim)
          for (const number of [0, 1, 2]) if (number !== victim) await cluster.seesDead(number)
          await messages.settled()
          await messages.leave()
          await cluster.heal()
          const mistakes = await messages.mistakes((number) => cluster.c2sPort((number + round) % 3))
          expect(mistakes.slice(0, 20)).toEqual([])
        }
        expect(messages.counts.acknowledged).toBeGreaterThanOrEqual(FEWER_ROUNDS * 0.1 * EACH * WRITERS)
      },
      TEST_MS,
    )
  },
)
