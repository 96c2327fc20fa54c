// What `legate start --workers` asks of the configuration, and how a worker's differs from it.

import { hostname } from 'node:os'
import { clusterRedisOf } from '../cluster/open.ts'
import { Config, coreOptions, readOption } from '../config/index.ts'
import { storageKindsOf } from '../server.ts'
import { CommandError } from './failure.ts'
import { servedHosts } from './reading.ts'

/** More than the cores of any machine that this is for. */
export const MOST_WORKERS = 64

/** @throws CommandError if several processes could not be one server with it */
export function refuseWorkers(config: Config, workers: number): void {
  if (readOption(config, '*', 'cluster', coreOptions.cluster) === undefined) {
    throw new CommandError(
      `--workers ${workers}: several processes are one server only by the option cluster, over Redis: add ` +
        'cluster = {} and redis = { url = "redis://127.0.0.1:6379" } before the first VirtualHost, or start without ' +
        '--workers',
    )
  }
  try {
    clusterRedisOf(config)
  } catch (error) {
    throw new CommandError((error as Error).message)
  }
  for (const { name } of servedHosts(config)) {
    if (!storageKindsOf(config, name).includes('memory')) continue
    throw new CommandError(
      `--workers ${workers}: ${name} keeps something in memory (storage = "memory"), where each process would have ` +
        'its own; set storage = "internal" or storage = "redis" for it, or start without --workers',
    )
  }
}

/** The configuration of a worker: the others know it by its number. */
export function workerConfig(config: Config, worker: number): Config {
  const { name = hostname() } = readOption(config, '*', 'cluster', coreOptions.cluster) ?? {}
  const sections = ['*', ...config.hosts.map((host) => host.name)]
  const options = new Map(
    sections.map((section) => [
      section,
      new Map(
        config.optionNames(section).map((option) => {
          const position = config.position(section, option)
          const value = config.get(section, option)
          const taken = config.taken(section, option)
          return [option, { value, taken, ...(position !== undefined && { position }) }]
        }),
      ),
    ]),
  )
  const cluster = options.get('*')?.get('cluster')
  // An empty table is an empty list.
  const given = Array.isArray(cluster?.value) ? {} : (cluster?.value as object | undefined)
  options
    .get('*')
    ?.set('cluster', { taken: [], ...cluster, value: { ...given, name: `${name}/worker ${worker}` } })
  const { path, directory, hosts, warnings } = config
  return new Config({ ...(path !== undefined && { path }), directory, hosts, options, warnings })
}
