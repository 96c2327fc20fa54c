/** What tests of faults of a cluster share: a Redis and its processes, and the faults that are the same over each. */

import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { ClusterTraffic, usersFor } from './cluster-traffic.ts'
import { type Deployment, DOMAIN, LEASE, LegateCluster } from './legate-cluster.ts'
import { redisAvailable } from './peers/redis.ts'
import { describePeer } from './require.ts'
import { RosterWrites } from './roster-writes.ts'

const PROCESSES = 3
/** The process to which something happens, with a manager and clients whom others see. */
export const VICTIM = 1
/** Another one, to which the clients of that one may go. */
export const REFUGE = 2
/** Messages to who has gone come back to their senders, who count them. */
const NOTHING_KEPT = 'modules_disabled = { "offline" }\n'
/** What a machine with more to do may add to the time after which a process is dead. */
const PATIENCE = 2
const TEST_MS = 90_000

/** The cluster of some tests. */
export class FaultyCluster<D extends Deployment> {
  redis!: D
  processes!: LegateCluster
  readonly rosters = new RosterWrites()
  private traffic: ClusterTraffic | undefined

  async start(redis: D): Promise<void> {
    this.redis = redis
    this.processes = await LegateCluster.start(redis, usersFor(PROCESSES), PROCESSES, NOTHING_KEPT)
  }

  /** Load that goes all ways. */
  async load(): Promise<ClusterTraffic> {
    this.rosters.begin()
    this.traffic = await ClusterTraffic.start(this.processes, this.rosters)
    await this.traffic.subscribe(VICTIM)
    return this.traffic
  }

  /**
   * Ends the load, and sees that its account is right, and that everything acknowledged is stored: as processes
   * read it that have been started again, and others.
   *
   * @returns the names of the clients whose streams had ended before
   */
  async settle(traffic: ClusterTraffic): Promise<string[]> {
    const departed = await traffic.settle()
    await traffic.stop()
    await this.processes.heal()
    await this.rosters.check(DOMAIN, (user) => this.processes.c2sPort((Number(user[1]) + 1) % PROCESSES))
    return departed
  }

  /** Whether a process has said that another one, or itself, is dead, since a time that {@link logged} gives. */
  deaths(since: readonly number[] = []): string[] {
    return this.logged().flatMap((length, number) =>
      this.processes
        .log(number)
        .slice(since[number] ?? 0, length)
        .split('\n')
        .filter((line) => /is dead|taken this (one|process) for dead/.test(line)),
    )
  }

  /** How much each process has logged. */
  logged(): number[] {
    return Array.from({ length: PROCESSES }, (_, number) => this.processes.log(number).length)
  }

  async clear(): Promise<void> {
    await this.traffic?.stop()
    this.traffic = undefined
    await this.processes.heal()
  }

  async stop(): Promise<void> {
    await this.traffic?.stop()
    await this.processes?.stop()
    await this.redis?.stop()
  }
}

/** Tests with a cluster over a Redis. @param deploy - starts it for a number of processes */
export function describeCluster<D extends Deployment>(
  name: string,
  deploy: (processes: number) => Promise<D>,
  tests: (cluster: FaultyCluster<D>) => void,
): void {
  describePeer(name, redisAvailable(), () => {
    const cluster = new FaultyCluster<D>()
    beforeAll(async () => cluster.start(await deploy(PROCESSES)), TEST_MS)
    afterEach(() => cluster.clear(), TEST_MS)
    afterAll(() => cluster.stop(), TEST_MS)
    tests(cluster)
  })
}

/** `it` with the time that a fault takes. */
export function under(name: string, test: () => Promise<void>): void {
  it(name, test, TEST_MS)
}

/** Waits until the others know that the process is dead, which they do within the lease. */
export async function deadWithinLease(traffic: ClusterTraffic): Promise<void> {
  const since = performance.now()
  await traffic.gone(VICTIM)
  expect((performance.now() - since) / 1000).toBeLessThan(LEASE * PATIENCE)
}

/** The process that was taken for dead has ended its sessions, and becomes one of them again. */
export async function returned(traffic: ClusterTraffic): Promise<void> {
  expect(await traffic.ended(VICTIM)).toEqual(['reset', 'reset'])
  await traffic.flows()
  await traffic.enter(VICTIM)
  await traffic.flows()
}

/** The faults of processes, over any Redis. */
export function processFaults<D extends Deployment>(cluster: FaultyCluster<D>): void {
  under('a process is killed: its sessions are gone within the lease, and their places free', async () => {
    const traffic = await cluster.load()
    traffic.burst(50)
    await cluster.processes.kill(VICTIM)
    traffic.burst(50)
    await deadWithinLease(traffic)
    await traffic.flows()
    await traffic.enter(VICTIM, REFUGE)
    await traffic.flows()
    expect(await cluster.settle(traffic)).toEqual(['a1', 'b1'])
  })

  under('a process is stopped, and goes on: it ends the sessions that were taken from it', async () => {
    const traffic = await cluster.load()
    traffic.burst(20)
    cluster.processes.pause(VICTIM)
    traffic.burst(20)
    await deadWithinLease(traffic)
    await traffic.enter(VICTIM, REFUGE)
    await traffic.replaceManager(REFUGE)
    await traffic.flows()
    cluster.processes.goOn(VICTIM)
    await returned(traffic)
    await cluster.settle(traffic)
  })

  under("F7: a manager's process is killed with 1000 requests waiting: each has one answer", async () => {
    const traffic = await cluster.load()
    traffic.pause()
    traffic.ask(0, 1000)
    await traffic.account.until(
      'the managers have all',
      () => traffic.kept(VICTIM) + traffic.kept(REFUGE) === 2000,
    )
    const victim = traffic.kept(VICTIM) > 0 ? VICTIM : REFUGE
    const kept = traffic.kept(victim)
    expect(kept).toBeGreaterThanOrEqual(1000)
    const since = performance.now()
    await cluster.processes.kill(victim)
    await traffic.account.until(
      'those who waited have answers',
      () => traffic.refusedByManagers['service-unavailable'] === kept,
    )
    expect((performance.now() - since) / 1000).toBeLessThan(LEASE * PATIENCE)
    traffic.answerKept(victim === VICTIM ? REFUGE : VICTIM)
    // The other manager serves them from now on.
    traffic.resume()
    await traffic.flows()
    await cluster.settle(traffic)
  })
}
