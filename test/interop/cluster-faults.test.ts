/** Processes of a cluster that die, stop and come back, and their Redis: real ones, under load. */

import { expect, it } from 'vitest'
import { describeCluster, processFaults, under } from '../shared/cluster-faults.ts'
import { DOMAIN, singleRedis } from '../shared/legate-cluster.ts'

/** Milliseconds: several leases, and longer than a command may take. */
const LONG = 10_000

describeCluster('a cluster over one Redis', singleRedis, (cluster) => {
  processFaults(cluster)

  under('Redis is stopped for ten seconds: nobody is taken for dead, nothing is lost', async () => {
    const traffic = await cluster.load()
    const before = cluster.logged()
    cluster.redis.redis.pause()
    const until = performance.now() + LONG
    // What stays within a process needs no Redis.
    for (const number of [0, 1, 2]) await traffic.flowsWithin(number)
    await new Promise((resolve) => setTimeout(resolve, until - performance.now())) // the time is what is tested
    for (const number of [0, 1, 2]) await traffic.flowsWithin(number)
    cluster.redis.redis.goOn()
    await traffic.flows()
    expect([await cluster.settle(traffic), cluster.deaths(before)]).toEqual([[], []])
  })

  under('Redis is killed and started again: nobody is taken for dead, nothing is lost', async () => {
    const traffic = await cluster.load()
    const before = cluster.logged()
    traffic.burst(20)
    await cluster.redis.redis.kill()
    traffic.burst(20)
    for (const number of [0, 1, 2]) await traffic.flowsWithin(number)
    await cluster.redis.redis.start()
    await traffic.flows()
    expect([await cluster.settle(traffic), cluster.deaths(before)]).toEqual([[], []])
  })

  it('what was acknowledged is there after all of them were killed and started again', async () => {
    for (const number of [0, 1, 2]) await cluster.processes.kill(number)
    await cluster.redis.redis.kill()
    await cluster.redis.redis.start()
    await cluster.processes.heal()
    expect(cluster.rosters.acknowledged).toBeGreaterThan(0)
    await cluster.rosters.check(DOMAIN, (user) => cluster.processes.c2sPort(Number(user[1])))
  })
})
