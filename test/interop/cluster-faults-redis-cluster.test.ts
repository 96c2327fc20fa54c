/** Processes of a cluster over a Redis Cluster of three masters, under load. */

import { expect } from 'vitest'
import { describeCluster, processFaults, under } from '../shared/cluster-faults.ts'
import { redisCluster } from '../shared/legate-cluster.ts'
import { until } from '../shared/peers/redis.ts'

describeCluster('a cluster over a Redis Cluster', redisCluster, (cluster) => {
  processFaults(cluster)

  for (const which of ['that joins the processes', 'other']) {
    under(`a master (the one ${which}) is killed and started again: nothing is lost`, async () => {
      const traffic = await cluster.load()
      const before = cluster.logged()
      const { nodes, nodeOfBus } = cluster.redis
      const ofBus = await nodeOfBus()
      const node = which === 'other' ? nodes.find((one) => one !== ofBus)! : ofBus
      traffic.burst(20)
      await node.kill()
      traffic.burst(20)
      await until('the others know', async () => {
        const other = nodes.find((one) => one !== node)!
        return (await other.cli('cluster', 'info')).includes('cluster_state:fail')
      })
      for (const number of [0, 1, 2]) await traffic.flowsWithin(number)
      await node.start()
      await traffic.flows()
      expect([await cluster.settle(traffic), cluster.deaths(before)]).toEqual([[], []])
    })
  }
})
