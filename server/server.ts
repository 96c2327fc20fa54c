/** A Server: its hosts, start, stop and reload. */

import { resolve } from 'node:path'
import { MARKS, openUsers } from './auth/open-users.ts'
import type { Users } from './auth/users.ts'
import type { Cluster } from './cluster/cluster.ts'
import { openCluster } from './cluster/open.ts'
import {
  type Config,
  coreOptions,
  type HostDeclaration,
  type OptionSpec,
  readOption,
} from './config/index.ts'
import { Events } from './events.ts'
import { Host } from './host.ts'
import type { Logger } from './log.ts'
import { ModuleManager } from './modules.ts'
import { loadTlsMaterial, type TlsMaterial, type TlsOptions } from './net/certificates.ts'
import { Listeners, type ListeningAddress } from './net/listeners.ts'
import type { RedisSettings } from './redis/index.ts'
import { RoomyMap, RoomySet } from './roomy-map.ts'
import { Router, type StanzaEvent } from './router.ts'
import { StanzaError } from './stanza/errors.ts'
import { errorReply, mayAnswerWithError } from './stanza/reply.ts'
import { Stanza } from './stanza/stanza.ts'
import { ChosenStorage } from './storage/chosen.ts'
import { type StorageDriver, StorageError, type StorageKind } from './storage/types.ts'
import { StreamError } from './stream/errors.ts'
import type { StreamSession } from './stream/session.ts'
import { TimerWheel } from './timers.ts'

/** Milliseconds that Redis may take to be there before the server starts without it, and refuses what needs it. */
const REDIS_GRACE_MS = 3000
/** Seconds between two looks for accounts that were imported without all keys. */
const MISSING_KEYS_INTERVAL = 60
/** Milliseconds that sessions have to end when the server stops. */
const STOP_GRACE_MS = 5000
/** Milliseconds in which what they have not received must be stored then. */
const LAST_WORK_MS = 10_000

/** One XMPP server, of one or many hosts. */
export class Server {
  config: Config
  /** Grows with every reload. */
  configRevision = 0
  readonly log: Logger
  readonly events: Events
  readonly hosts = new Map<string, Host>()
  readonly router: Router
  readonly timers: TimerWheel
  readonly listeners: Listeners
  readonly modules: ModuleManager
  /** Every open session, authenticated or not. */
  readonly sessions = new RoomySet<StreamSession>()
  /** Bound clients by full JID. */
  readonly fullJids = new RoomyMap<string, StreamSession>()
  /** The other processes that this one is a server with; undefined where it is one alone. */
  cluster: Cluster | undefined
  /** What is not done yet when a session has ended, and needs plugins and the storage. */
  private readonly lastWork = new Set<Promise<void>>()
  private driver: ChosenStorage | undefined
  private readonly tables = new Map<string, object>()
  private readonly tls = new Map<string, TlsMaterial>()
  private state: 'new' | 'started' | 'stopping' | 'stopped' = 'new'
  private ending: Promise<void> | undefined
  private reloading: Promise<void> = Promise.resolve()

  constructor(config: Config, log: Logger) {
    this.config = config
    this.log = log
    this.timers = new TimerWheel((error) => log.error('a timer failed', { error }))
    this.events = new Events((error, name, owner, payload) => this.handlerFailed(error, name, owner, payload))
    this.router = new Router(this.hosts)
    this.listeners = new Listeners(log.child('net'))
    this.modules = new ModuleManager(this)
  }

  /** The storage of all hosts. @throws before `start` */
  get storage(): StorageDriver {
    if (this.driver === undefined) throw new Error('the storage is not open: the server has not started')
    return this.driver
  }

  /** The data folder. */
  get dataPath(): string {
    return dataPathOf(this.config)
  }

  /** Where the server listens. */
  get addresses(): ListeningAddress[] {
    return this.listeners.addresses()
  }

  /** Opens the storage, loads hosts and plugins, opens the ports. @throws what stands in the way */
  async start(): Promise<void> {
    if (this.state !== 'new') throw new Error('a server can be started once')
    this.state = 'started'
    try {
      const redis = () => redisSettingsOf(this.config)
      this.driver = new ChosenStorage(
        {
          path: this.dataPath,
          // A reload may bring it.
          get redis() {
            return redis()
          },
          log: this.log.child('redis'),
        },
        (host, store) => storageKindOf(this.config, host, store),
      )
      await this.awaitRedis(this.driver)
      await this.joinCluster(async () => {
        for (const { name } of servedHosts(this.config)) await this.activateHost(name)
      })
      await this.listeners.start()
      this.timers.every(MISSING_KEYS_INTERVAL, () => {
        for (const { users } of this.hosts.values())
          if (users !== undefined) void this.lookForMissingKeys(users)
      })
    } catch (error) {
      await this.stop()
      throw error
    }
    this.events.fire('server-started', {})
  }

  /** Ends every stream in order (RFC 6120 §4.9.3.20), then everything else. */
  stop(): Promise<void> {
    this.ending ??= this.end()
    return this.ending
  }

  /**
   * Takes another configuration: hosts and plugins that are new are loaded, those that are gone are
   * unloaded; sessions of hosts that stay are not disturbed.
   */
  reload(config: Config): Promise<void> {
    const work = this.reloading.then(() => this.applyConfig(config))
    this.reloading = work.catch(() => {})
    return work
  }

  /**
   * Reads all certificates again: one that was renewed in its place, or a self-signed one that has grown old, is
   * replaced for the connections to come.
   */
  async renewCertificates(): Promise<void> {
    for (const host of [...this.hosts.values()]) {
      if (host.hostType !== 'host') continue
      try {
        await this.loadTls(host.name)
      } catch (error) {
        this.log.error('a certificate could not be read again, the old one stays', { host: host.name, error })
      }
    }
  }

  /** A table by name that plugins share; made if it is not there. */
  sharedTable<T extends object>(name: string, create: () => T): T {
    let table = this.tables.get(name)
    if (table === undefined) {
      table = create()
      this.tables.set(name, table)
    }
    return table as T
  }

  /** What an option is for a host, checked and with its default. */
  readOption(host: string, name: string, spec: OptionSpec): unknown {
    return readOption(this.config, host, name, spec)
  }

  /** Lets some work be done before the server has stopped. @param work - must not fail */
  finishBeforeStop(work: Promise<void>): void {
    this.lastWork.add(work)
    work.then(() => this.lastWork.delete(work))
  }

  /** The certificate of a host. */
  tlsOf(host: string): TlsMaterial | undefined {
    return this.tls.get(host)
  }

  /**
   * A handler threw: the asker gets `internal-server-error`, or the StanzaError that was thrown, or where the
   * storage can not be reached an error that says to wait.
   *
   * @returns true if the event has thereby been answered
   */
  handlerFailed(
    error: unknown,
    event: string,
    owner: string,
    payload: unknown,
    host?: Host,
  ): true | undefined {
    const asked = isStanzaEvent(payload) ? payload : undefined
    if (error instanceof StorageError && error.code === 'unavailable') {
      // It is logged once that it is away, not for each stanza that would have needed it.
      this.log.debug(`the plugin "${owner}" could not reach the storage`, { event, error })
      error = new StanzaError('resource-constraint', 'The storage can not be reached now; try again later')
    } else if (!(error instanceof StanzaError)) {
      const log = host?.log ?? this.log
      log.error(`the plugin "${owner}" failed`, { event, error, internal: true })
    }
    if (asked === undefined) return undefined
    if (asked.stanza.attrs.xmlns !== undefined) {
      // No stanza, so there is no answer but the stream's end.
      const session = [...this.sessions].find((open) => open === asked.origin)
      session?.close(new StreamError('internal-server-error', 'The server could not work on the stream'))
      return true
    }
    if (mayAnswerWithError(asked.stanza)) {
      const answer =
        error instanceof StanzaError
          ? errorReply(asked.stanza, error.condition, error.message, error.type)
          : errorReply(asked.stanza, 'internal-server-error')
      asked.origin.send(answer)
    }
    return true
  }

  /** Joins the other processes, if there are to be any, with hosts that are there already. */
  private async joinCluster(activate: () => Promise<void>): Promise<void> {
    const cluster = openCluster(this)
    await cluster?.prepare()
    this.cluster = cluster
    this.router.elsewhere = cluster?.traffic
    await activate()
    await cluster?.join()
  }

  /** @throws StorageError if it is needed and not configured */
  private async awaitRedis(storage: ChosenStorage): Promise<void> {
    const hosts = servedHosts(this.config)
    if (!hosts.some(({ name }) => storageKindsOf(this.config, name).includes('redis'))) return
    try {
      await storage.prepare(['redis'], REDIS_GRACE_MS)
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== 'unavailable') throw error
      this.log.warn('the server starts without its storage', { error })
    }
  }

  private async activateHost(name: string): Promise<void> {
    const declared = this.config.hosts.find((host) => host.name === name)!
    const users =
      declared.type === 'host'
        ? openUsers(
            this.storage,
            name,
            readOption(this.config, name, 'default_iteration_count', coreOptions.default_iteration_count),
          )
        : undefined
    if (users !== undefined) await this.lookForMissingKeys(users)
    const host = new Host(this, name, declared.type, users)
    this.hosts.set(name, host)
    if (declared.type === 'host') await this.loadTls(name)
    await this.modules.loadAll(host)
    this.cluster?.directory.hostActivated(name)
    this.events.fire('host-activated', { host })
  }

  /** An import, while the server runs too, may bring accounts that have not all the keys. */
  private async lookForMissingKeys(users: Users): Promise<void> {
    try {
      await users.lookForMissing()
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      this.log.debug('whether accounts lack keys could not be read', { error })
    }
  }

  private deactivateHost(host: Host): void {
    for (const session of [...this.sessions]) {
      if (session.host === host) session.close(new StreamError('host-gone', 'This host is no longer served'))
    }
    this.modules.unloadAll(host)
    this.hosts.delete(host.name)
    this.tls.delete(host.name)
    this.events.fire('host-deactivated', { host })
  }

  private async loadTls(name: string): Promise<void> {
    const material = await loadTlsMaterial(tlsOptionsOf(this.config, name), this.log.child('tls'))
    if (this.hosts.has(name)) this.tls.set(name, material) // it may have gone meanwhile
  }

  private async applyConfig(config: Config): Promise<void> {
    if (this.state !== 'started') return
    this.config = config
    this.configRevision++
    const served = servedHosts(config)
    const wanted = new Map(served.map((host) => [host.name, host]))
    for (const host of [...this.hosts.values()]) {
      if (wanted.get(host.name)?.type !== host.hostType) this.deactivateHost(host)
    }
    for (const { name } of served) {
      if (this.state !== 'started') return // stopped meanwhile
      const host = this.hosts.get(name)
      try {
        if (host === undefined) await this.activateHost(name)
        else {
          if (host.hostType === 'host') await this.loadTls(name)
          await this.modules.update(host)
        }
      } catch (error) {
        // A certificate that can not be read, for one: the host goes on with the one it had.
        this.log.error('a host could not be reloaded in full', { host: name, error })
      }
    }
    const work: Promise<unknown>[] = []
    const reloaded = { waitFor: (one: Promise<unknown>) => void work.push(one) }
    this.events.fire('config-reloaded', reloaded)
    for (const host of this.hosts.values()) host.events.fire('config-reloaded', reloaded)
    await Promise.allSettled(work)
  }

  private async end(): Promise<void> {
    const wasStarted = this.state === 'started'
    this.state = 'stopping'
    if (wasStarted) this.events.fire('server-stopping', {})
    this.listeners.stop()
    await this.reloading
    await this.endSessions()
    for (const host of [...this.hosts.values()].reverse()) this.modules.unloadAll(host)
    await this.cluster?.leave()
    this.timers.stop()
    await this.driver?.close()
    this.driver = undefined
    this.state = 'stopped'
  }

  private async endSessions(): Promise<void> {
    const connections = [...this.sessions].map((session) => session.connection)
    for (const session of [...this.sessions]) {
      session.close(new StreamError('system-shutdown', 'The server is shutting down'))
    }
    const deadline = Date.now() + STOP_GRACE_MS
    for (const connection of connections) {
      await connection.whenGone(Math.max(0, deadline - Date.now()))
      connection.destroy()
    }
    await this.endLastWork()
  }

  private async endLastWork(): Promise<void> {
    if (this.lastWork.size === 0) return
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, LAST_WORK_MS)
    })
    await Promise.race([Promise.all(this.lastWork), late])
    clearTimeout(timer)
    if (this.lastWork.size > 0) {
      this.log.error('what was still to be written could not all be written in time', {
        works: this.lastWork.size,
      })
    }
  }
}

/** The data folder, absolute. */
export function dataPathOf(config: Config): string {
  return resolve(config.directory, readOption(config, '*', 'data_path', coreOptions.data_path))
}

/** Where Redis is; undefined if the configuration does not say. */
export function redisSettingsOf(config: Config): RedisSettings | undefined {
  const redis = readOption(config, '*', 'redis', coreOptions.redis)
  return redis && { ...redis, directory: config.directory }
}

/** Where the certificate of a host comes from. */
export function tlsOptionsOf(config: Config, host: string): TlsOptions {
  const folder = readOption(config, host, 'certificates', coreOptions.certificates)
  const certificate = readOption(config, host, 'certificate', coreOptions.certificate)
  const ssl = readOption(config, host, 'ssl', coreOptions.ssl)
  return {
    host,
    ssl: certificate === undefined ? ssl : { certificate, ...ssl },
    certificates: resolve(config.directory, folder),
    dataPath: dataPathOf(config),
    configDirectory: config.directory,
  }
}

/** The storage that a store of a host is kept in. */
export function storageKindOf(config: Config, host: string, store: string): StorageKind {
  const { storage, default_storage } = coreOptions
  const chosen = readOption(config, host, 'storage', storage)
  const kind = typeof chosen === 'string' ? chosen : (chosen?.[store] ?? chosen?.[ownerOf(store)])
  return kind ?? readOption(config, host, 'default_storage', default_storage)
}

/** Where a store is kept if nothing is said of it: the marks of imports with what they mark. */
function ownerOf(store: string): string {
  return store === MARKS ? 'accounts' : store
}

/** The storages that stores of a host can be kept in. */
export function storageKindsOf(config: Config, host: string): StorageKind[] {
  const { storage, default_storage } = coreOptions
  const chosen = readOption(config, host, 'storage', storage)
  if (typeof chosen === 'string') return [chosen]
  const otherwise = readOption(config, host, 'default_storage', default_storage)
  return [...new Set([otherwise, ...Object.values(chosen ?? {})])]
}

/** A host with `enabled = false` is not served. */
function servedHosts(config: Config): HostDeclaration[] {
  return config.hosts.filter(({ name }) => readOption(config, name, 'enabled', coreOptions.enabled))
}

function isStanzaEvent(payload: unknown): payload is StanzaEvent {
  if (typeof payload !== 'object' || payload === null) return false
  const { origin, stanza } = payload as Partial<StanzaEvent>
  return origin !== undefined && stanza instanceof Stanza
}
