/** A cluster as the configuration asks for it: over Redis. */

import { createRequire } from 'node:module'
import { hostname } from 'node:os'
import { type Config, readOption } from '../config/index.ts'
import { coreOptions } from '../config/options.ts'
import { RedisConnection, type RedisSettings } from '../redis/index.ts'
import type { Server } from '../server.ts'
import { Cluster, newTag } from './cluster.ts'
import { RedisBus } from './redis-bus.ts'
import { AccountRegistry } from './registry.ts'

/** The Redis of the cluster; undefined if there is to be none. @throws Error if it is not said where Redis is */
export function clusterRedisOf(config: Config): RedisSettings | undefined {
  const option = readOption(config, '*', 'cluster', coreOptions.cluster)
  if (option === undefined) return undefined
  const redis = option.redis ?? readOption(config, '*', 'redis', coreOptions.redis)
  if (redis === undefined) {
    throw new Error(
      'the cluster needs to know where Redis is: set redis = { url = "redis://127.0.0.1:6379" }, or ' +
        'cluster = { redis = { … } }',
    )
  }
  return { ...redis, directory: config.directory }
}

/** The other processes of the server; undefined if the configuration has no `cluster`. @throws Error as above */
export function openCluster(server: Server): Cluster | undefined {
  const settings = clusterRedisOf(server.config)
  if (settings === undefined) return undefined
  const log = server.log.child('cluster')
  const option = readOption(server.config, '*', 'cluster', coreOptions.cluster)
  const lease = readOption(server.config, '*', 'cluster_lease', coreOptions.cluster_lease)
  const { version } = createRequire(import.meta.url)('legate/package.json') as { version: string }
  const info = {
    name: option?.name ?? hostname(),
    pid: process.pid,
    since: Math.floor(Date.now() / 1000),
    version,
    tag: newTag(),
  }
  const bus = new RedisBus({
    connect: (purpose, blocking) => new RedisConnection(settings, { purpose, blocking, log }),
    prefix: settings.prefix,
    lease,
    info,
    log,
  })
  const registry = new AccountRegistry(
    new RedisConnection(settings, { purpose: 'registry', log }),
    settings.prefix,
  )
  return new Cluster(server, { bus, registry }, log)
}
