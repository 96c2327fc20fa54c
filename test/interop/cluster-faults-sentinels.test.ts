/** Processes of a cluster over a master with two replicas and three sentinels, under load. */

import { expect } from 'vitest'
import { describeCluster, processFaults, under } from '../shared/cluster-faults.ts'
import { sentinelRedis } from '../shared/legate-cluster.ts'
import { type RedisPeer, SENTINELS_MS, until } from '../shared/peers/redis.ts'

describeCluster('a cluster over Redis with sentinels', sentinelRedis, (cluster) => {
  /** The server that the sentinels say is the master. */
  const master = async (): Promise<RedisPeer> => {
    const { sentinels, servers, name } = cluster.redis
    const answer = await sentinels[0]!.cli('sentinel', 'get-master-addr-by-name', name)
    return servers.find(({ port }) => port === Number(answer.split('\n')[1]))!
  }
  /** Both others follow a master: a write can be acknowledged. */
  const whole = () =>
    until(
      'both replicas follow',
      async () => {
        const info = await (await master()).cli('info', 'replication')
        return info.includes('role:master') && (info.match(/state=online/g) ?? []).length === 2
      },
      SENTINELS_MS,
    )

  processFaults(cluster)

  for (const [name, take, give] of [
    ['killed', (former: RedisPeer) => former.kill(), (former: RedisPeer) => former.start()],
    ['stopped', async (former: RedisPeer) => former.pause(), async (former: RedisPeer) => former.goOn()],
  ] as const) {
    under(`the master is ${name}, and comes back: nobody is taken for dead, nothing is lost`, async () => {
      const traffic = await cluster.load()
      const before = cluster.logged()
      const former = await master()
      traffic.burst(20)
      await take(former)
      traffic.burst(20)
      await until('another one is the master', async () => (await master()) !== former, SENTINELS_MS)
      for (const number of [0, 1, 2]) await traffic.flowsWithin(number)
      await give(former)
      await whole()
      await traffic.flows()
      expect([await cluster.settle(traffic), cluster.deaths(before)]).toEqual([[], []])
    })
  }
})
