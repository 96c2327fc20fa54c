/** The bus over Redis when Redis itself stands still, is killed, or has forgotten: nobody dies, nothing is lost. */

import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, it } from 'vitest'
import { ClusterLoad } from '../shared/cluster-load.ts'
import { TestMember } from '../shared/cluster-member.ts'
import {
  type RedisConf,
  redisAvailable,
  startCluster,
  startRedis,
  startSentinels,
} from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'

const LEASE = 1

describePeer('a cluster', redisAvailable(), () => {
  const opened: TestMember[] = []
  const stop: (() => void | Promise<void>)[] = []

  afterEach(async () => {
    await Promise.all(opened.splice(0).map(({ bus }) => bus.leave()))
    for (const one of stop.splice(0)) await one()
  })

  /** Three members under load. */
  async function load(redis: Record<string, unknown>): Promise<{ members: TestMember[]; load: ClusterLoad }> {
    const members: TestMember[] = []
    for (const name of ['a', 'b', 'c']) {
      const member = await TestMember.open({ name, redis, lease: LEASE })
      opened.push(member)
      members.push(member)
      member.bus.publish('name', name)
    }
    for (const member of members) {
      await member.until('all are there', () => members.every(({ name }) => member.knows(name)))
    }
    const load = new ClusterLoad(members)
    stop.push(() => load.stop())
    await load.more(100)
    return { members, load }
  }

  async function single(conf: RedisConf = {}) {
    const { redis, stop: end } = await startRedis(conf)
    stop.push(end)
    return { redis, ...(await load({ url: redis.url })) }
  }

  it('goes on after Redis stood still for longer than the lease', async () => {
    const { redis, load } = await single()
    redis.pause()
    await sleep(LEASE * 2000)
    redis.goOn()
    await load.more()
    await load.settle()
  })

  it('goes on after Redis stood still for so long that its connections were given up', async () => {
    const { redis, load } = await single()
    redis.pause()
    await sleep(5000)
    redis.goOn()
    await load.more()
    await load.settle()
  })

  for (const fsync of ['always', 'everysec']) {
    it(`goes on after Redis was killed and started again with its append-only file (${fsync})`, async () => {
      const { redis, load } = await single({ appendonly: 'yes', appendfsync: fsync })
      await redis.kill()
      await sleep(LEASE * 1500)
      await redis.start()
      await load.more()
      await load.settle()
    })
  }

  it('goes on after Redis was killed, and has forgotten everything', async () => {
    const { redis, members, load } = await single()
    await redis.kill()
    await redis.start()
    await load.more()
    await load.settle()
    const late = await TestMember.open({ name: 'late', redis: { url: redis.url }, lease: LEASE })
    opened.push(late)
    for (const { name } of members) {
      await late.until('it has all', () => late.held.get(name)?.get('name') === name)
      expect(late.held.get(name)?.has('n')).toBe(true)
    }
  })

  it('goes on after the entries of a member were lost, and a part of the changes', async () => {
    const { redis, members, load } = await single()
    const [a] = members
    const keys = (await redis.cli('keys', '*')).split('\n')
    const key = (end: string) => keys.find((one) => one.endsWith(end))!
    await redis.cli('del', key(`state:${a!.bus.self.id}`), key('changes'))
    await redis.cli('hset', key('batches'), a!.bus.self.id, '1 1')
    await load.more()
    await load.settle()
    expect(await redis.cli('hget', key(`state:${a!.bus.self.id}`), 'name')).toBe('a')
  })

  it('goes on after Redis has lost the last that it had acknowledged', async () => {
    const { redis, members, load } = await single()
    const [a, b, c] = members as [TestMember, TestMember, TestMember]
    const leaving = await TestMember.open({ name: 'leaving', redis: { url: redis.url }, lease: LEASE })
    opened.push(leaving)
    await c.until('it is there', () => c.knows('leaving'))
    for (let round = 0; round < 3; round++) {
      await redis.cli('save')
      if (round === 0) {
        await leaving.bus.leave()
        for (const one of members) await one.until('it has left', () => one.count('left', 'leaving') === 1)
      }
      await load.more(50)
      await redis.kill()
      await redis.start()
      await load.more(50)
    }
    for (const one of members) expect(one.of('left').splice(0)).toEqual([['leaving', 'orderly']])
    for (const one of members)
      one.told.splice(0, one.told.length, ...one.told.filter(([what]) => what !== 'left'))
    await load.settle()
    const late = await TestMember.open({ name: 'late', redis: { url: redis.url }, lease: LEASE })
    opened.push(late)
    await late.until(
      'only those who live are there',
      () => !late.knows('leaving') && late.bus.members.size === 4,
    )
    for (const { name } of members)
      expect(late.held.get(name)?.get('n')).toBe((name === 'a' ? b : a).held.get(name)?.get('n'))
  })

  it('goes on after the master of sentinels was killed', async () => {
    const { servers, sentinels, name, stop: end } = await startSentinels()
    stop.push(end)
    const addresses = sentinels.map(({ port }) => ({ host: '127.0.0.1', port }))
    const { load: traffic } = await load({ sentinels: { ...addresses, name } })
    await servers[0]!.kill()
    await traffic.more()
    await traffic.settle()
  }, 60_000)

  it('works over a Redis Cluster', async () => {
    const { nodes, stop: end } = await startCluster()
    stop.push(end)
    const cluster = nodes.map(({ port }) => ({ host: '127.0.0.1', port }))
    const { load: traffic } = await load({ cluster })
    await traffic.more(500)
    await traffic.settle()
  }, 60_000)
})
