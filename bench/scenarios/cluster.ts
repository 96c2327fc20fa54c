// Several processes that are one server over Redis: what a stanza costs that stays within one, and one that goes to
// another; and what two workers can do that one process can not.
import { setTimeout as sleep } from 'node:timers/promises'
import type { LoopPlan } from '../load/closed-loop.ts'
import type { Load } from '../load/requests.ts'
import type { WindowResult } from '../load/window.ts'
import { DETAIL } from '../output/document.ts'
import type { RunningCluster, RunningPeer } from '../peers/peer.ts'
import { callsBetween, type RedisCalls, RedisFigures } from '../redis-figures.ts'
import { measurementOf, windowPlan } from './closed-loop.ts'
import { type Measurement, type RunSettings, type Scenario, USUAL } from './scenario.ts'
import { IN_FLIGHT } from './traffic.ts'

/** Of each of two processes; it is the usual load of one. */
const CLIENTS = USUAL.clients
const ALL = 2 * CLIENTS
/** Who is where, in a pair: the first half at A, the second at B, and the manager at B. */
const AT_A = [0, CLIENTS] as const
const AT_B = [CLIENTS, ALL] as const
const WORKERS = [1, 2]
/** Two processes use up a window in half the time. */
const WORKERS_WINDOW_SHARE = 2
/** Of large messages no more than Legate lets wait for another process: the waiting would be what is measured. */
const LARGE_IN_FLIGHT = 2
const WARM_UP_OPERATIONS = 2000
const WARM_UP_LARGE = 200

const COMMON = { section: 'cluster', unit: 'µs', usual: true } as const
const SETUP = { ...USUAL, clients: ALL, roster: false }

/** The load of a scenario. */
interface ClusterLoad extends Pick<LoopPlan, 'traffic' | 'among' | 'senders' | 'inFlight'> {
  windowShare?: number
  warmUpOperations?: number
}

type Place = Pick<ClusterLoad, 'traffic' | 'among'> & { name: string; title: string }

const PLACES: readonly Place[] = [
  { name: 'delegated-iq-within', title: 'delegated IQ within', traffic: 'delegated-iq', among: AT_B },
  { name: 'delegated-iq-across', title: 'delegated IQ across', traffic: 'delegated-iq', among: AT_A },
  { name: 'message-within', title: 'message within', traffic: 'message', among: AT_B },
  { name: 'message-across', title: 'message across', traffic: 'message-to-other-half' },
]

/** Within one of two processes, and across both. */
const PAIR_SCENARIOS = PLACES.flatMap(({ name, title, ...place }) =>
  [true, false].map((many): Scenario => {
    const load = { ...place, senders: many ? CLIENTS : 1, inFlight: many ? CLIENTS * IN_FLIGHT : 1 }
    return {
      name: `${name}${many ? '' : '-1'}`,
      title: `${title}, ${many ? IN_FLIGHT : 1} in flight`,
      ...COMMON,
      setup: { ...SETUP, cluster: { form: 'pair' } },
      measure: (...run) => measureCluster(load, ...run),
    }
  }),
)

type Kind = Pick<ClusterLoad, 'traffic' | 'warmUpOperations'> & {
  name: string
  title: string
  ofEach?: number
}

const KINDS: readonly Kind[] = [
  { name: 'message', title: 'message', traffic: 'message-to-both-halves' },
  { name: 'delegated-iq', title: 'delegated IQ', traffic: 'delegated-iq' },
  {
    name: 'large-message',
    title: 'message of 20 kB',
    traffic: 'large-message-to-both-halves',
    ofEach: LARGE_IN_FLIGHT,
    warmUpOperations: WARM_UP_LARGE,
  },
]

/** One process, and two workers; where there are two, half of the traffic is within one and half goes across. */
const WORKERS_SCENARIOS = KINDS.flatMap(({ name, title, ofEach = IN_FLIGHT, ...kind }) =>
  WORKERS.map((count): Scenario => {
    const load = { ...kind, senders: ALL, inFlight: ALL * ofEach, windowShare: WORKERS_WINDOW_SHARE }
    return {
      name: `workers-${count}-${name}`,
      title: `${title}, ${count === 1 ? '1 process' : `${count} workers`}`,
      ...COMMON,
      setup: { ...SETUP, cluster: { form: 'workers', count } },
      measure: (...run) => measureCluster(load, ...run),
    }
  }),
)

/** All of them; only peers that can be several processes are measured. */
export const CLUSTER_SCENARIOS: readonly Scenario[] = [...PAIR_SCENARIOS, ...WORKERS_SCENARIOS]

async function measureCluster(
  shape: ClusterLoad,
  server: RunningPeer,
  load: Load,
  settings: RunSettings,
): Promise<Measurement> {
  const { cluster } = server
  if (cluster === undefined) throw new Error('this server does not run over Redis')
  const idle = await idleCalls(cluster, settings.idleSeconds)
  const { windowShare, warmUpOperations = WARM_UP_OPERATIONS, ...loop } = shape
  const plan = windowPlan(server, settings, [shape.traffic, shape.among].join(), windowShare)
  const least = Math.max(warmUpOperations, shape.senders)
  plan.warmUpOperations = Math.min(least, settings.operations ?? least)
  plan.beside = [cluster.redis.pid]
  const { redis, ...result } = await load.ask('loop', { ...plan, ...loop, redisPort: cluster.redis.port })
  if (redis === undefined) throw new Error('the load has not asked Redis')
  return clusterMeasurement(result, cluster, redis, idle)
}

/**
 * A window's result: µs of CPU for each operation, of all of the server's processes together; what each of them and
 * Redis had of it; and Redis's commands for each operation.
 * @param redis commands in the window
 * @param idle commands a second with nothing to do, which are taken off
 */
export function clusterMeasurement(
  result: WindowResult,
  { parts }: Pick<RunningCluster, 'parts'>,
  redis: RedisCalls,
  idle: RedisCalls,
): Measurement {
  const { operations, wallSeconds, partCpuSeconds, serverCpuSeconds, loadCpuSeconds } = result
  const { value, details } = measurementOf(result)
  for (const [index, name] of [...parts.map((part) => part.name), 'Redis'].entries()) {
    details[`${name} µs`] = (partCpuSeconds[index]! / operations) * 1e6
  }
  const redisCpuSeconds = partCpuSeconds[parts.length]!
  const others = result.machineCpuSeconds - serverCpuSeconds - loadCpuSeconds - redisCpuSeconds
  const share = (seconds: number) => (Math.max(0, seconds) / wallSeconds) * 100
  const each = (calls: number, perSecond: number) => Math.max(0, calls - perSecond * wallSeconds) / operations
  return {
    value,
    details: {
      ...details,
      [DETAIL.redisShare]: share(redisCpuSeconds),
      [DETAIL.otherShare]: share(others),
      [DETAIL.commands]: each(redis.sent, idle.sent),
      [DETAIL.calls]: each(redis.run, idle.run),
      'idle Redis commands/s': idle.sent,
    },
  }
}

/** What servers do with nothing to do. */
const idleOf = new WeakMap<RunningCluster, RedisCalls>()

/** Redis's commands a second while nothing is asked of the server; measured once. */
async function idleCalls(cluster: RunningCluster, seconds: number): Promise<RedisCalls> {
  const known = idleOf.get(cluster)
  if (known !== undefined) return known
  const figures = await RedisFigures.open(cluster.redis.port)
  try {
    const before = await figures.calls()
    const from = performance.now()
    await sleep(seconds * 1000)
    const { sent, run } = callsBetween(before, await figures.calls())
    const passed = (performance.now() - from) / 1000
    const idle = { sent: sent / passed, run: run / passed }
    idleOf.set(cluster, idle)
    return idle
  } finally {
    figures.close()
  }
}
