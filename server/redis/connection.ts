/**
 * A connection to Redis, to Sentinel's master, or to a Redis Cluster. No command waits longer than a few seconds:
 * while Redis is away, each is rejected at once; when it stops to answer, those under way are.
 *
 * A command that was sent and not answered is never sent again, since it may have been carried out.
 */

import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import type { Cluster, CommonRedisOptions, Redis } from 'ioredis'
import type { Logger } from '../log.ts'
import { directConnector, sentinelConnector } from './connectors.ts'
import { forgetFormerConnections } from './former.ts'
import { ioredis } from './ioredis.ts'
import { describePlace, type RedisAddress, type RedisSettings, tlsFiles } from './options.ts'

/** `away`: it was tried to connect, and it failed, or the connection was lost. */
export type RedisState = 'connecting' | 'ready' | 'away' | 'closed'

/** Either has the same commands. */
export type RedisClient = Redis | Cluster

export interface RedisConnectionOptions {
  /** What it is for; Redis shows it in CLIENT LIST as `legate-PURPOSE`. */
  readonly purpose: string
  readonly log: Logger
  /**
   * Milliseconds that a blocking command (`XREAD BLOCK`, `BLPOP`) may be asked to wait on this connection; 0 by
   * default. It is added to the deadlines.
   */
  readonly blocking?: number
}

type NodeOptions = Omit<CommonRedisOptions, 'replyMapping'>
/** Whether a node is tried again, the cluster decides. */
type ClusterNodeOptions = Omit<NodeOptions, 'retryStrategy' | 'enableOfflineQueue'> & {
  tls?: ConnectionOptions
}

/** Milliseconds without a byte, while a command waits, after which the connection is given up. */
export const SILENCE_MS = 3000
/** Milliseconds that a command may take, also where others are answered. */
export const COMMAND_MS = 4000
const CONNECT_MS = 3000
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 2000
/** Milliseconds that the last answers may take when it is closed. */
const CLOSE_MS = 1000
const KEEP_ALIVE_MS = 10_000

/** Listens to what becomes of a connection; `reason` is there when the state is `away`. */
export type StateListener = (state: RedisState, reason: string | undefined) => void

/** A connection that comes back by itself. Open another with the same settings to block or to subscribe. */
export class RedisConnection {
  /** Commands go through here. They are rejected at once unless `state` is `ready`. */
  readonly client: RedisClient
  readonly settings: RedisSettings
  private readonly log: Logger
  private readonly listeners = new Set<StateListener>()
  private current: RedisState = 'connecting'
  private lastError: string | undefined
  private awaySince = 0

  /** @throws Error naming the option if a file of `redis.tls` can not be read */
  constructor(settings: RedisSettings, options: RedisConnectionOptions) {
    this.settings = settings
    this.log = options.log
    this.client = makeClient(settings, options)
    this.client.on('ready', () => this.change('ready'))
    this.client.on('close', () => this.change('away'))
    this.client.on('error', (error: Error) => {
      this.lastError = explainFailure(error)
      // With sentinels that do not answer, no connection is there that could close.
      if (this.current === 'connecting') this.change('away')
    })
  }

  get state(): RedisState {
    return this.current
  }

  /** Why Redis is away, for people; undefined while it is not. */
  get reason(): string | undefined {
    return this.current === 'away' ? (this.lastError ?? 'the connection was closed') : undefined
  }

  /** Milliseconds since it went away; 0 while it is not. */
  get awayFor(): number {
    return this.current === 'away' ? Date.now() - this.awaySince : 0
  }

  /** @returns a function that ends it */
  onState(listener: StateListener): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** Waits until commands can be sent. @returns false if they can not within the milliseconds */
  whenReady(ms: number): Promise<boolean> {
    if (this.current === 'ready' || this.current === 'closed')
      return Promise.resolve(this.current === 'ready')
    return new Promise((resolve) => {
      const done = (ready: boolean) => {
        clearTimeout(timer)
        stop()
        resolve(ready)
      }
      const timer = setTimeout(done, ms, false)
      const stop = this.onState((state) => {
        if (state !== 'away') done(state === 'ready')
      })
    })
  }

  /** Waits for the answers that are under way, a second at most, and ends the connection. */
  async close(): Promise<void> {
    if (this.current === 'closed') return
    const wasReady = this.current === 'ready'
    this.change('closed')
    if (wasReady) {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise((resolve) => {
        timer = setTimeout(resolve, CLOSE_MS)
      })
      await Promise.race([this.client.quit().catch(() => {}), late])
      clearTimeout(timer)
    }
    this.client.disconnect()
  }

  private change(state: RedisState): void {
    if (this.current === 'closed' || this.current === state) return
    const before = this.current
    this.current = state
    const redis = describePlace(this.settings.place)
    if (state === 'away') {
      this.awaySince = Date.now()
      this.log.warn('Redis is away; what needs it is refused until it is back', {
        redis,
        reason: this.reason,
      })
    } else if (state === 'ready') {
      const seconds = Math.round((Date.now() - this.awaySince) / 100) / 10
      if (before === 'away') this.log.info('Redis is back', { redis, seconds })
      else this.log.debug('connected to Redis', { redis })
      this.lastError = undefined
    }
    for (const listener of [...this.listeners]) listener(state, this.reason)
  }
}

/**
 * A cluster whose commands do not wait until it is there. (With ioredis's option for that, the first commands for
 * a node that is only being connected to are refused as well.)
 */
function openCluster(nodes: readonly RedisAddress[], redisOptions: ClusterNodeOptions): Cluster {
  const { Cluster } = ioredis()
  class PromptCluster extends Cluster {
    override sendCommand(...[command, stream, node]: Parameters<Cluster['sendCommand']>): unknown {
      // It asks the nodes for the slots by commands of its own.
      if (this.status !== 'ready' && command.name !== 'cluster') {
        command.reject(new Error("the cluster isn't ready"))
        return command.promise
      }
      // From here, and not only from where a node is found, to which it may be passed on.
      command.setTimeout(this.options.redisOptions?.commandTimeout ?? COMMAND_MS)
      return super.sendCommand(command, stream, node)
    }
  }
  return new PromptCluster([...nodes], {
    redisOptions,
    clusterRetryStrategy: reconnectPause,
    slotsRefreshTimeout: CONNECT_MS,
    // It would send again what may have been carried out, and out of order.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
  })
}

/** The pause before the next attempt: twice the last one, and some of it by chance, for many processes. */
export function reconnectPause(attempt: number): number {
  const longest = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(attempt - 1, 10), LONGEST_PAUSE_MS)
  return Math.round(longest * (0.5 + Math.random() / 2))
}

function explainFailure(error: Error): string {
  const { lastNodeError } = error as { lastNodeError?: Error | null }
  const { message } = lastNodeError ?? error
  return /Socket timeout|Command timed out/.test(message) ? 'it does not answer' : message
}

function makeClient(settings: RedisSettings, { purpose, blocking = 0 }: RedisConnectionOptions): RedisClient {
  const { place, username, password, sentinelUsername, sentinelPassword, db } = settings
  const tls = tlsOptions(settings)
  const common: NodeOptions = {
    connectionName: `legate-${purpose}`,
    username,
    password,
    db,
    connectTimeout: CONNECT_MS,
    commandTimeout: COMMAND_MS + blocking,
    socketTimeout: SILENCE_MS + blocking,
    keepAlive: KEEP_ALIVE_MS,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxLoadingRetryTime: 500,
    retryStrategy: reconnectPause,
    // A master that has become a replica: the next one is looked for. The command was not carried out.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
  }
  const secure = tls !== undefined && { tls }
  if (place.kind === 'cluster') {
    const { retryStrategy: _, enableOfflineQueue: __, ...redisOptions } = common
    const cluster = openCluster(place.nodes, { ...redisOptions, ...secure, Connector: directConnector() })
    const former = forgetFormerConnections()
    cluster.on('+node', former)
    return cluster
  }
  const { Redis } = ioredis()
  const client =
    place.kind === 'sentinel'
      ? new Redis({
          ...common,
          ...secure,
          ...(tls !== undefined && { sentinelTLS: tls, enableTLSForSentinelMode: true }),
          Connector: sentinelConnector(),
          sentinels: [...place.sentinels],
          name: place.master,
          sentinelUsername,
          sentinelPassword,
          sentinelCommandTimeout: CONNECT_MS,
          sentinelRetryStrategy: reconnectPause,
        })
      : place.kind === 'socket'
        ? new Redis({ ...common, Connector: directConnector(), path: place.path })
        : new Redis({
            ...common,
            ...secure,
            Connector: directConnector(),
            host: place.host,
            port: place.port,
          })
  forgetFormerConnections()(client)
  return client
}

function tlsOptions(settings: RedisSettings): ConnectionOptions | undefined {
  if (settings.tls === undefined) return undefined
  const options: ConnectionOptions = {}
  const { servername, password } = settings.tls
  if (servername !== undefined) options.servername = servername
  if (password !== undefined) options.passphrase = password
  for (const { name, path } of tlsFiles(settings)) {
    let content: Buffer
    try {
      content = readFileSync(path)
    } catch (error) {
      throw new Error(`redis.tls.${name}: ${path} can not be read: ${(error as Error).message}`)
    }
    if (name === 'cafile') options.ca = content
    else if (name === 'certificate') options.cert = content
    else options.key = content
  }
  return options
}
