/** Accounts whose clients log out and in at other processes under load, while processes are killed. */

import { afterEach, it } from 'vitest'
import { ClusterMovers, moversFor, WAYS } from '../shared/cluster-movers.ts'
import { randomNumbers } from '../shared/kept-messages.ts'
import { LegateCluster, singleRedis } from '../shared/legate-cluster.ts'
import { redisAvailable } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'

const PROCESSES = 3
const TEST_MS = 120_000
const WITHOUT = 'modules_disabled = { "offline" }\n'

describePeer('accounts that move between processes', redisAvailable(), () => {
  const endings: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const end of endings.splice(0).reverse()) await end()
  }, TEST_MS)

  it.each([
    { seed: 1, ways: WAYS, keeps: false, is: 'nobody keeps messages' },
    { seed: 2, ways: WAYS, keeps: false, is: 'nobody keeps messages' },
    // A full JID gets what is new as soon as it is bound, and what was kept when it is available.
    {
      seed: 3,
      ways: ['after', 'beside'] as const,
      keeps: true,
      is: 'messages to bare JIDs are kept meanwhile',
    },
  ])(
    'RFC 6120 §10.1: while processes are killed, nothing is lost unheard, comes twice, or too early; $is (seed $seed)',
    async ({ seed, ways, keeps }) => {
      const deployment = await singleRedis(PROCESSES)
      endings.push(() => deployment.stop())
      const cluster = await LegateCluster.start(
        deployment,
        moversFor(PROCESSES),
        PROCESSES,
        keeps ? '' : WITHOUT,
      )
      endings.push(() => cluster.stop())
      const random = randomNumbers(seed)
      const load = new ClusterMovers(cluster, random, ways, keeps)
      endings.push(() => load.stop())
      await load.start()
      await load.moved(5)
      for (const victim of [0, 1, 2]) {
        const killed = cluster.kill(victim)
        load.avoid(victim)
        await killed
        await load.ended(victim)
        await load.moved(3)
        for (const number of [0, 1, 2]) if (number !== victim) await cluster.seesDead(number)
        await cluster.heal()
        await load.enter(victim)
        await load.moved(3)
      }
      await load.settle()
    },
    TEST_MS,
  )
})
