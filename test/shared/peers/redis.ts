// Redis (Debian's redis-server): one, one with replicas and sentinels, or a cluster; on free ports of the loopback
// interface, in temporary folders.
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { retryPorts } from '../ports.ts'
import { type ServerProcess, startServer } from './process.ts'

const SERVER = '/usr/bin/redis-server'
const CLI = '/usr/bin/redis-cli'
const HOST = '127.0.0.1'
const POLL_MS = 50
/** Milliseconds for what sentinels do: after the machine has stood still they trust no clock for 30 seconds. */
export const SENTINELS_MS = 45_000

const execute = promisify(execFile)

/** Why Redis can not be started here, with the way out; undefined when it can. */
export function redisAvailable(): string | undefined {
  const missing = [SERVER, CLI].filter((program) => !existsSync(program))
  return missing.length === 0 ? undefined : `${missing.join(' and ')} missing (apt-get install redis-server)`
}

/** Settings of redis.conf; a list for one that is given several times. */
export type RedisConf = Record<string, string | readonly string[]>

/** One redis-server. */
export class RedisPeer {
  /** Of 127.0.0.1. */
  readonly port: number
  /** Its Unix socket. */
  readonly socket: string
  private readonly folder: string
  private readonly conf: RedisConf
  private readonly flags: readonly string[]
  private process: ServerProcess | undefined

  /** @param flags - further arguments, as `--sentinel` */
  constructor(folder: string, port: number, conf: RedisConf = {}, flags: readonly string[] = []) {
    this.folder = folder
    this.port = port
    this.socket = join(folder, 'redis.sock')
    this.conf = conf
    this.flags = flags
  }

  get url(): string {
    return `redis://${HOST}:${this.port}`
  }

  get pid(): number {
    if (this.process === undefined) throw new Error('this redis-server does not run')
    return this.process.pid
  }

  log(): string {
    return this.process?.log() ?? ''
  }

  /** Starts it, on the data that it had before. @throws PortTaken */
  async start(): Promise<void> {
    await mkdir(this.folder, { recursive: true })
    const file = join(this.folder, 'redis.conf')
    if (!existsSync(file)) {
      const settings: RedisConf = {
        bind: HOST,
        port: String(this.port),
        dir: this.folder,
        daemonize: 'no',
        save: '""',
        ...(this.flags.includes('--sentinel') ? {} : { unixsocket: this.socket }),
        ...this.conf,
      }
      const lines = Object.entries(settings).flatMap(([name, value]) =>
        [value].flat().map((one) => `${name} ${one}`),
      )
      writeFileSync(file, `${lines.join('\n')}\n`)
    }
    // Sentinels write into their file.
    this.process = await startServer({
      name: 'Redis',
      command: [SERVER, file, ...this.flags],
      cwd: this.folder,
      ports: [this.port],
    })
  }

  /** kill -9; resolves when it is gone. */
  async kill(): Promise<void> {
    process.kill(this.pid, 'SIGKILL')
    await this.process?.stop()
    this.process = undefined
  }

  /** Lets it neither read nor answer, while its connections stay open, until {@link goOn}. */
  pause(): void {
    process.kill(this.pid, 'SIGSTOP')
  }

  goOn(): void {
    process.kill(this.pid, 'SIGCONT')
  }

  /** Runs a command with redis-cli; what it says, trimmed. */
  async cli(...args: string[]): Promise<string> {
    const { stdout } = await execute(CLI, ['-h', HOST, '-p', String(this.port), ...args], { timeout: 20_000 })
    return stdout.trim()
  }

  async stop(): Promise<void> {
    if (this.process === undefined) return
    try {
      this.goOn()
    } catch {
      // It has ended.
    }
    await this.process.stop(500)
    this.process = undefined
  }
}

/** Waits until something holds. @throws Error with `what` when it does not in time */
export async function until(what: string, holds: () => Promise<boolean>, ms = 20_000): Promise<void> {
  const deadline = Date.now() + ms
  for (;;) {
    if (await holds().catch(() => false)) return
    if (Date.now() > deadline) throw new Error(`in ${ms} ms it did not come to pass that ${what}`)
    await sleep(POLL_MS)
  }
}

/** Makes a folder, and starts peers in it; both are gone after {@link RedisGroup.stop}. */
class RedisGroup {
  readonly folder = mkdtempSync(join(tmpdir(), 'legate-redis-'))
  private readonly removeAtExit = () => rmSync(this.folder, { recursive: true, force: true })
  private readonly peers: RedisPeer[] = []

  constructor() {
    process.once('exit', this.removeAtExit)
  }

  async add(name: string, port: number, conf: RedisConf = {}, flags: string[] = []): Promise<RedisPeer> {
    const peer = new RedisPeer(join(this.folder, `${name}-${port}`), port, conf, flags)
    await peer.start()
    this.peers.push(peer)
    return peer
  }

  async stopPeers(): Promise<void> {
    await Promise.all(this.peers.splice(0).map((peer) => peer.stop()))
  }

  async stop(): Promise<void> {
    await this.stopPeers()
    process.off('exit', this.removeAtExit)
    await rm(this.folder, { recursive: true, force: true })
  }
}

/** Tries with other ports when one is taken, and leaves nothing behind when it fails. */
async function startGroup<T>(
  ports: number,
  start: (group: RedisGroup, ports: number[]) => Promise<T>,
): Promise<T> {
  const group = new RedisGroup()
  try {
    return await retryPorts(ports, async (free) => {
      await group.stopPeers()
      return start(group, free)
    })
  } catch (error) {
    await group.stop()
    throw error
  }
}

/** A single Redis. */
export interface SingleRedis {
  readonly redis: RedisPeer
  stop(): Promise<void>
}

/** Starts one Redis. @param conf - settings, or what makes them of its port */
export function startRedis(conf: RedisConf | ((port: number) => RedisConf) = {}): Promise<SingleRedis> {
  return startGroup(1, async (group, [port]) => {
    const redis = await group.add('redis', port!, typeof conf === 'function' ? conf(port!) : conf)
    return { redis, stop: () => group.stop() }
  })
}

/** A master with replicas, and sentinels that watch over them. */
export interface SentinelRedis {
  /** The first is the master at the beginning. */
  readonly servers: readonly RedisPeer[]
  readonly sentinels: readonly RedisPeer[]
  /** The master as the sentinels call it. */
  readonly name: string
  stop(): Promise<void>
}

/** Starts one master, two replicas and three sentinels, and waits until they know each other. */
export function startSentinels(conf: RedisConf = {}): Promise<SentinelRedis> {
  const name = 'legate'
  return startGroup(6, async (group, ports) => {
    const common = { 'repl-diskless-sync-delay': '0', 'repl-ping-replica-period': '1', ...conf }
    const master = await group.add('server', ports[0]!, common)
    const replicas = await Promise.all(
      ports
        .slice(1, 3)
        .map((port) => group.add('server', port, { ...common, replicaof: `${HOST} ${master.port}` })),
    )
    await until('the replicas follow', async () => {
      const info = await master.cli('info', 'replication')
      return (info.match(/state=online/g) ?? []).length === 2
    })
    const watching = [
      `monitor ${name} ${HOST} ${master.port} 2`,
      `down-after-milliseconds ${name} 500`,
      `failover-timeout ${name} 2000`,
      `parallel-syncs ${name} 2`,
    ]
    const sentinels = await Promise.all(
      ports.slice(3).map((port) => group.add('sentinel', port, { sentinel: watching }, ['--sentinel'])),
    )
    await until(
      'the sentinels know each other and the replicas',
      async () => {
        const states = await Promise.all(
          sentinels.map((sentinel) => sentinel.cli('sentinel', 'ckquorum', name)),
        )
        const slaves = await Promise.all(
          sentinels.map((sentinel) => sentinel.cli('sentinel', 'replicas', name)),
        )
        return (
          states.every((state) => state.startsWith('OK 3 usable')) &&
          slaves.every((text) => (text.match(/^runid$/gm) ?? []).length === 2)
        )
      },
      SENTINELS_MS,
    )
    return { servers: [master, ...replicas], sentinels, name, stop: () => group.stop() }
  })
}

/** A Redis Cluster. */
export interface ClusterRedis {
  readonly nodes: readonly RedisPeer[]
  stop(): Promise<void>
}

/** Starts a cluster, and waits until it serves all slots. */
export function startCluster(masters = 3, replicas = 0, conf: RedisConf = {}): Promise<ClusterRedis> {
  const count = masters * (1 + replicas)
  // The nodes talk among themselves on ports of their own.
  return startGroup(2 * count, async (group, ports) => {
    const nodes = await Promise.all(
      ports.slice(0, count).map((port, i) =>
        group.add('node', port, {
          'cluster-enabled': 'yes',
          'cluster-config-file': 'nodes.conf',
          'cluster-node-timeout': '2000',
          'cluster-port': String(ports[count + i]),
          'repl-diskless-sync-delay': '0',
          ...conf,
        }),
      ),
    )
    const addresses = nodes.map(({ port }) => `${HOST}:${port}`)
    const options = ['--cluster-replicas', String(replicas), '--cluster-yes']
    await nodes[0]!.cli('--cluster', 'create', ...addresses, ...options)
    await until('the cluster serves', async () => {
      const states = await Promise.all(nodes.map((node) => node.cli('cluster', 'info')))
      return states.every(
        (state) => state.includes('cluster_state:ok') && state.includes('cluster_slots_ok:16384'),
      )
    })
    return { nodes, stop: () => group.stop() }
  })
}
