/** The driver `redis` with Sentinel and with a Redis Cluster. */

import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { silentLogger } from '../../server/log.ts'
import { COMMAND_MS } from '../../server/redis/index.ts'
import type { StorageDriver } from '../../server/storage/index.ts'
import { openRedisStorage, type RedisStorage } from '../../server/storage/redis.ts'
import {
  type ClusterRedis,
  type RedisPeer,
  redisAvailable,
  type SentinelRedis,
  startCluster,
  startSentinels,
  until,
} from '../shared/peers/redis.ts'
import { redisSettings } from '../shared/redis-settings.ts'
import { describePeer } from '../shared/require.ts'

const HOST = 'capulet.lit'
const SLACK_MS = 1500
const UNAVAILABLE = { name: 'StorageError', code: 'unavailable' }

const opened: RedisStorage[] = []

afterEach(async () => {
  for (const storage of opened.splice(0)) await storage.close()
})

async function open(option: Record<string, unknown>): Promise<RedisStorage> {
  const storage = openRedisStorage(redisSettings(option), silentLogger)
  opened.push(storage)
  await storage.whenReady(5000)
  return storage
}

const address = ({ port }: RedisPeer) => ({ host: '127.0.0.1', port })

/** Many who write numbers that grow, and an account of what was acknowledged and refused. */
class Writers {
  readonly acknowledged = new Map<string, number>()
  readonly refused: unknown[] = []
  slowest = 0
  private stopped = false
  private readonly working: Promise<void>[]

  constructor(storage: StorageDriver, users: readonly string[]) {
    this.working = users.map((user, n) => this.write(storage, user, n % 2 === 0))
  }

  /** Waits until each of them has been acknowledged anew. */
  async goOn(users: readonly string[] = [...this.acknowledged.keys()], ms = 20_000): Promise<void> {
    const before = new Map(this.acknowledged)
    const isNew = (user: string) => (this.acknowledged.get(user) ?? 0) > (before.get(user) ?? 0) + 3
    await until('they write', async () => users.every(isNew), ms)
  }

  async stop(): Promise<void> {
    this.stopped = true
    await Promise.all(this.working)
  }

  private async write(storage: StorageDriver, user: string, plain: boolean): Promise<void> {
    const store = storage.openKeyval<number>(HOST, 'test')
    for (let i = 1; !this.stopped; i++) {
      const began = Date.now()
      try {
        if (plain) await store.set(user, i)
        else await store.update(user, () => i)
        this.acknowledged.set(user, i)
      } catch (error) {
        this.refused.push(error)
        await sleep(10)
      }
      this.slowest = Math.max(this.slowest, Date.now() - began)
    }
  }
}

async function expectKept(writers: Writers, storage: StorageDriver): Promise<void> {
  const store = storage.openKeyval<number>(HOST, 'test')
  for (const [user, count] of writers.acknowledged) {
    expect(await store.get(user), user).toBeGreaterThanOrEqual(count)
  }
  for (const error of writers.refused) expect(error).toMatchObject(UNAVAILABLE)
  expect(writers.slowest).toBeLessThan(COMMAND_MS + SLACK_MS)
}

const USERS = Array.from({ length: 20 }, (_, n) => `user${n}`)

describePeer('Sentinel', redisAvailable(), () => {
  let peers: SentinelRedis

  beforeAll(async () => {
    peers = await startSentinels()
  })
  afterAll(() => peers.stop())

  const option = (more: Record<string, unknown>) => ({
    sentinels: {
      // As a table of Lua comes that is a list and has a name.
      ...Object.fromEntries(peers.sentinels.map((sentinel, i) => [i + 1, address(sentinel)])),
      name: peers.name,
    },
    ...more,
  })

  it('refuses to acknowledge what too few replicas have', async () => {
    const store = (await open(option({ wait_replicas: 3 }))).openKeyval<number>(HOST, 'test')
    await expect(store.set('romeo', 1)).rejects.toMatchObject({
      ...UNAVAILABLE,
      message: /2 of the 3 replicas that redis\.wait_replicas asks for/,
    })
    await store.set('romeo', undefined).catch(() => {})
  })

  it('the master is killed under load: nothing acknowledged is lost, and it goes on with the next', async () => {
    const storage = await open(option({ wait_replicas: 1 }))
    const writers = new Writers(storage, USERS)
    await writers.goOn(USERS)
    await peers.servers[0]!.kill()
    await until('some are refused', async () => writers.refused.length > 0)
    await writers.goOn(USERS, 30_000)
    await writers.stop()
    await expectKept(writers, storage)
    // What was the master comes back as a replica, and with it there are two again.
    await peers.servers[0]!.start()
    const both = (await open(option({ wait_replicas: 2 }))).openKeyval<number>(HOST, 'test')
    await until('two have it', () => both.set('romeo', 2).then(() => true), 30_000)
  }, 90_000)
})

describePeer('Redis Cluster', redisAvailable(), () => {
  let peers: ClusterRedis

  beforeAll(async () => {
    peers = await startCluster(3)
  })
  afterAll(() => peers.stop())

  const option = () => ({ cluster: [address(peers.nodes[0]!), address(peers.nodes[1]!)] })

  it('keeps, lists and purges users over all nodes', async () => {
    const storage = await open(option())
    const keyval = storage.openKeyval<number>(HOST, 'accounts')
    const map = storage.openMap<number>(HOST, 'roster')
    const users = Array.from({ length: 300 }, (_, n) => `user${n}`)
    await Promise.all(users.map((user, n) => keyval.set(user, n)))
    await Promise.all(users.map((user, n) => map.setKeys(user, { a: n, b: n })))
    expect(await Promise.all(users.map((user) => keyval.get(user)))).toEqual(users.map((_, n) => n))
    for (const node of peers.nodes) expect(Number(await node.cli('dbsize'))).toBeGreaterThan(200)
    const seen: string[] = []
    for await (const user of keyval.users()) seen.push(user)
    expect(seen.sort()).toEqual([...users].sort())
    await Promise.all(users.map((user) => storage.purgeUser(HOST, user)))
    for (const node of peers.nodes) expect(await node.cli('dbsize')).toBe('0')
  })

  it('follows slots that move to another node, with what is written meanwhile in order', async () => {
    const storage = await open(option())
    const store = storage.openKeyval<string>(HOST, 'test')
    await store.set('juliet', '')
    const nodes = await Promise.all(
      peers.nodes.map(async (node) => ({
        node,
        id: await node.cli('cluster', 'myid'),
        size: await node.cli('dbsize'),
      })),
    )
    const from = nodes.find(({ size }) => size !== '0')!
    const to = nodes.find(({ size }) => size === '0')!
    let [written, stopped] = ['', false]
    const writing = (async () => {
      for (let i = 0; !stopped; i++) {
        const letters = [...`${i},`]
        // Not one after the other: their order is the driver's matter.
        await Promise.all(letters.map((letter) => store.update('juliet', (old) => (old ?? '') + letter)))
        written += letters.join('')
        await sleep(1)
      }
    })()
    const [key] = (await from.node.cli('keys', '*user:juliet*')).split('\n')
    const slot = await from.node.cli('cluster', 'keyslot', key!)
    await to.node.cli('cluster', 'setslot', slot, 'importing', from.id)
    await from.node.cli('cluster', 'setslot', slot, 'migrating', to.id)
    await sleep(50)
    const keys = (await from.node.cli('cluster', 'getkeysinslot', slot, '10')).split('\n')
    await from.node.cli('migrate', '127.0.0.1', String(to.node.port), '', '0', '2000', 'keys', ...keys)
    await sleep(50)
    for (const { node } of [to, from, ...nodes]) await node.cli('cluster', 'setslot', slot, 'node', to.id)
    const before = written.length
    await until('it writes on', async () => written.length > before + 50)
    stopped = true
    await writing
    expect(await store.get('juliet')).toBe(written)
    expect(await to.node.cli('exists', key!)).toBe('1')
    await storage.purgeUser(HOST, 'juliet')
  })

  it('one node stopped for seconds: its users are refused soon, the others are served, all comes back', async () => {
    const storage = await open(option())
    const writers = new Writers(storage, USERS)
    await writers.goOn(USERS)
    const others = await usersNotOn(peers.nodes[2]!)
    expect(others.length).toBeGreaterThan(0)
    expect(others.length).toBeLessThan(USERS.length)
    peers.nodes[2]!.pause()
    try {
      await writers.goOn(others, 10_000)
      await until('some are refused', async () => writers.refused.length > 0)
    } finally {
      peers.nodes[2]!.goOn()
    }
    await writers.goOn(USERS, 20_000)
    await writers.stop()
    await expectKept(writers, storage)
  }, 60_000)

  /** The users whose keys another node has. */
  async function usersNotOn(node: RedisPeer): Promise<string[]> {
    const keys = await node.cli('keys', '*:user:*')
    return USERS.filter((user) => !keys.includes(`:user:${user}@`))
  }
})

describePeer('Redis Cluster with replicas', redisAvailable(), () => {
  let peers: ClusterRedis

  beforeAll(async () => {
    peers = await startCluster(3, 1, { 'cluster-require-full-coverage': 'no' })
  })
  afterAll(() => peers.stop())

  it('a master is killed under load: nothing acknowledged is lost, and its replica goes on', async () => {
    const storage = await open({ cluster: peers.nodes.map(address), wait_replicas: 1 })
    const store = storage.openKeyval<number>(HOST, 'test')
    await until('every master has its replica', () =>
      Promise.all(USERS.map((user) => store.set(user, 0))).then(() => true),
    )
    const writers = new Writers(storage, USERS)
    await writers.goOn(USERS)
    const masters = await Promise.all(
      peers.nodes.map(async (node) => ((await node.cli('role')).startsWith('master') ? node : undefined)),
    )
    const killed = masters.find((node) => node !== undefined)!
    await killed.kill()
    const began = writers.refused.length
    await until('some are refused', async () => writers.refused.length > began)
    // The new master has no replica until the old one is back.
    await until('the replica is master', async () => {
      const roles = await Promise.all(
        peers.nodes.filter((node) => node !== killed).map((node) => node.cli('role')),
      )
      return roles.filter((role) => role.startsWith('master')).length === 3
    })
    await killed.start()
    await writers.goOn(USERS, 30_000)
    await writers.stop()
    await expectKept(writers, storage)
  }, 90_000)
})
