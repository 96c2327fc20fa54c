/** Processes of a cluster that are cut off from Redis, under load: in silence and by resets, for long and for a moment. */

import { expect } from 'vitest'
import {
  deadWithinLease,
  describeCluster,
  REFUGE,
  returned,
  under,
  VICTIM,
} from '../shared/cluster-faults.ts'
import { LEASE, singleRedis } from '../shared/legate-cluster.ts'
import type { Cut } from '../shared/tcp-proxy.ts'

const CUTS: [name: string, how: Cut][] = [
  ['in silence, and what was under way comes when it is mended', 'late'],
  ['in silence, and what was under way never comes', 'lost'],
  ['by resets', 'reset'],
]

describeCluster('the network between a process and Redis', singleRedis, (cluster) => {
  for (const [name, how] of CUTS) {
    under(`is cut for longer than the lease, ${name}: it ends what was taken from it`, async () => {
      const traffic = await cluster.load()
      const network = cluster.redis.networks[VICTIM]!
      traffic.burst(20)
      network.cut(how)
      traffic.burst(20)
      await deadWithinLease(traffic)
      // It serves what it can alone, and the others what they can.
      await traffic.flowsWithin(VICTIM)
      await traffic.enter(VICTIM, REFUGE)
      await traffic.replaceManager(REFUGE)
      await traffic.flows()
      network.mend()
      await returned(traffic)
      await cluster.settle(traffic)
    })
  }

  for (const [name, how] of CUTS.filter(([, how]) => how !== 'lost')) {
    under(`is cut for a moment, ${name}: nobody is taken for dead, nothing is lost`, async () => {
      const traffic = await cluster.load()
      const before = cluster.logged()
      const network = cluster.redis.networks[VICTIM]!
      for (let time = 0; time < 3; time++) {
        network.cut(how)
        traffic.burst(20)
        await new Promise((resolve) => setTimeout(resolve, LEASE * 100)) // the time is what is tested
        network.mend()
        await traffic.flows()
      }
      expect([await cluster.settle(traffic), cluster.deaths(before)]).toEqual([[], []])
    })
  }
})
