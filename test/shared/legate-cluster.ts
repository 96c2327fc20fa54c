/** Several processes of the built command that are one server, over a Redis of one of the kinds there are. */

import { once } from 'node:events'
import { type AccountRecord, Users } from '../../server/auth/users.ts'
import { silentLogger } from '../../server/log.ts'
import { openRedisStorage } from '../../server/storage/redis.ts'
import type { TestStream } from './client.ts'
import { inTime } from './in-time.ts'
import { LegateFolder, ON_FREE_PORTS, type RunningLegate } from './legate-command.ts'
import { type RedisConf, startCluster, startRedis, startSentinels } from './peers/redis.ts'
import { redisSettings } from './redis-settings.ts'
import { TcpProxy } from './tcp-proxy.ts'

/** The host that they serve. */
export const DOMAIN = 'capulet.lit'
/** A component that manages {@link DELEGATED}; its connections share the work. */
export const MANAGER = 'notes.capulet.lit'
export const DELEGATED = 'urn:example:notes'
/** Seconds after which a process is taken for dead. */
export const LEASE = 2

const PREFIX = 'test'
/** What Redis has acknowledged, it has after it was killed. */
const KEEPS_ALL: RedisConf = { appendonly: 'yes', appendfsync: 'always' }

/** Milliseconds after which a process that has not said that another one is dead will not. */
const SEEN_MS = 30_000

/** A value of the option `redis`. */
type RedisOption = Record<string, unknown>

/** A Redis for a cluster. */
export interface Deployment {
  /** The option `redis` of a process, by its number. */
  option(number: number): RedisOption
  stop(): Promise<void>
}

/** One Redis, with a network that can be cut between it and each process. */
export async function singleRedis(processes: number) {
  const { redis, stop } = await startRedis(KEEPS_ALL)
  const networks: TcpProxy[] = []
  for (let number = 0; number < processes; number++) networks.push(await TcpProxy.start(redis.port))
  return {
    redis,
    networks,
    option: (number: number): RedisOption => ({ url: `redis://127.0.0.1:${networks[number]!.port}` }),
    stop: async () => {
      for (const network of networks) await network.close()
      await stop()
    },
  }
}

/** A master with two replicas, and three sentinels. A write is acknowledged when all three have it. */
export async function sentinelRedis() {
  const { servers, sentinels, name, stop } = await startSentinels(KEEPS_ALL)
  const option = { sentinels: { ...addressesOf(sentinels), name }, wait_replicas: 2 }
  return { servers, sentinels, name, option: (): RedisOption => option, stop }
}

/** A Redis Cluster of three masters. */
export async function redisCluster() {
  const { nodes, stop } = await startCluster(3, 0, KEEPS_ALL)
  return {
    nodes,
    option: (): RedisOption => ({ cluster: Object.values(addressesOf(nodes)) }),
    /** The node that has what joins the processes. */
    nodeOfBus: async () => {
      const slot = await nodes[0]!.cli('cluster', 'keyslot', `{${PREFIX}:cluster}`)
      const slots = await Promise.all(nodes.map((node) => node.cli('cluster', 'countkeysinslot', slot)))
      return nodes[slots.findIndex((count) => count !== '0')]!
    },
    stop,
  }
}

function addressesOf(peers: readonly { port: number }[]): Record<number, { host: string; port: number }> {
  // As tables of Lua count.
  return Object.fromEntries(peers.map(({ port }, index) => [index + 1, { host: '127.0.0.1', port }]))
}

/** The processes, by numbers from 0. */
export class LegateCluster {
  private readonly folders: LegateFolder[] = []
  private readonly running: RunningLegate[] = []
  /** By the number of a process: how much of whose log {@link seesDead} has seen. */
  private readonly seen = new Map<number, number>()
  private readonly seenOf = new Map<number, RunningLegate>()

  /**
   * Starts them, and makes accounts with the password `pw`.
   *
   * @param users - names of accounts
   * @param more - Lua for the configuration
   */
  static async start(deployment: Deployment, users: readonly string[], processes = 3, more = '') {
    const cluster = new LegateCluster()
    try {
      await register(deployment.option(0), users)
      for (let number = 0; number < processes; number++) {
        cluster.folders.push(new LegateFolder(configFor(deployment.option(number), number, more)))
      }
      cluster.running.push(...(await Promise.all(cluster.folders.map((folder) => folder.start()))))
    } catch (error) {
      await cluster.stop()
      throw error
    }
    return cluster
  }

  get size(): number {
    return this.folders.length
  }

  c2sPort(number: number): number {
    return this.running[number]!.c2sPort
  }

  componentPort(number: number): number {
    const port = /listening for component connections.* port=(\d+)/.exec(this.running[number]!.text)?.[1]
    return Number(port)
  }

  /** What a process has logged since it was started. */
  log(number: number): string {
    return this.running[number]!.text
  }

  /** Waits until a process says that one is dead, once more than the last time. */
  async seesDead(number: number): Promise<void> {
    const from = this.seen.get(number) ?? 0
    const running = this.running[number]!
    // Of a process that was started again it is another log.
    const since = running === this.seenOf.get(number) ? from : 0
    await inTime(
      `process ${number} says that another one is dead`,
      running.logged(/ is dead/, since),
      SEEN_MS,
      () => running.text.slice(since),
    )
    this.seenOf.set(number, running)
    this.seen.set(number, running.text.length)
  }

  /** kill -9; resolves when it is gone. */
  async kill(number: number): Promise<void> {
    const { child } = this.running[number]!
    if (child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await inTime(`process ${number} is gone`, exit, 10_000)
  }

  /** Stops a process where it is, until {@link goOn}. */
  pause(number: number): void {
    this.running[number]!.child.kill('SIGSTOP')
  }

  goOn(number: number): void {
    this.running[number]!.child.kill('SIGCONT')
  }

  /** Lets all go on, and starts those that have been killed. */
  async heal(): Promise<void> {
    await Promise.all(
      this.running.map(async ({ child }, number) => {
        child.kill('SIGCONT')
        if (child.exitCode === null && child.signalCode === null) return
        this.running[number] = await this.folders[number]!.start()
      }),
    )
  }

  async stop(): Promise<void> {
    for (const folder of this.folders) await folder.remove()
  }
}

/** Tries again what a process refuses as long as it can not reach Redis. */
export async function served(connect: () => Promise<TestStream>): Promise<TestStream> {
  const deadline = performance.now() + 15_000
  for (;;) {
    try {
      return await connect()
    } catch (error) {
      const { message } = error as Error
      if (!/temporary-auth-failure|resource-constraint/.test(message) || performance.now() > deadline)
        throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

/** Writes accounts where the processes will look for them. */
async function register(option: RedisOption, users: readonly string[]): Promise<void> {
  const storage = openRedisStorage(redisSettings({ ...option, prefix: PREFIX }), silentLogger)
  try {
    await storage.whenReady(10_000)
    const accounts = new Users(storage.openKeyval<AccountRecord>(DOMAIN, 'accounts'), { iterations: 4096 })
    for (const user of users) await accounts.create(user, 'pw')
  } finally {
    await storage.close()
  }
}

function configFor(redis: RedisOption, number: number, more: string): string {
  return `${ON_FREE_PORTS}${more}
storage = "redis"
redis = ${lua({ ...redis, prefix: PREFIX })}
cluster = { name = "process ${number}" }
cluster_lease = ${LEASE}
presence_open_resources = true
VirtualHost "${DOMAIN}"
    delegations = { ["${DELEGATED}"] = { jid = "${MANAGER}" } }
Component "${MANAGER}"
    component_secret = "secret"
    component_conflict_resolve = "share"
    modules_enabled = { "delegation" }
`
}

/** A value as Lua; what has a number for its key stands without it. */
function lua(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `{ ${value.map(lua).join(', ')} }`
  const items = Object.entries(value).map(([key, item]) =>
    /^\d+$/.test(key) ? lua(item) : `${key} = ${lua(item)}`,
  )
  return `{ ${items.join(', ')} }`
}
