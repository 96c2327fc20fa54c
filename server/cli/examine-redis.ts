// What storage = "redis" needs: the option redis, and the files that it names.

import { accessSync, constants } from 'node:fs'
import { type Config, type ConfigProblem, optionProblem } from '../config/index.ts'
import { tlsFiles } from '../redis/index.ts'
import { redisSettingsOf, storageKindsOf } from '../server.ts'
import { parsed, servedHosts } from './reading.ts'

/** Hosts whose storage is Redis, where the configuration does not say where that is. */
export function missingRedis(config: Config): ConfigProblem[] {
  if (config.has('*', 'redis')) return []
  const host = servedHosts(config).find(({ name }) =>
    parsed(() => storageKindsOf(config, name))?.includes('redis'),
  )
  if (host === undefined) return []
  const option = ['storage', 'default_storage'].find((name) => config.get(host.name, name) !== undefined)
  const section = config.has(host.name, option ?? '') ? host.name : '*'
  const message =
    'the storage "redis" needs to know where Redis is: add redis = { url = "redis://127.0.0.1:6379" } before the ' +
    'first VirtualHost'
  return [optionProblem(config, 'error', section, option ?? 'storage', message)]
}

/** Files of `redis.tls` that can not be read. */
export function redisFiles(config: Config): ConfigProblem[] {
  const settings = parsed(() => redisSettingsOf(config))
  if (settings === undefined) return []
  return tlsFiles(settings).flatMap(({ name, path }) => {
    try {
      accessSync(path, constants.R_OK)
      return []
    } catch (error) {
      const message = `redis.tls.${name}: ${path} can not be read: ${(error as Error).message}`
      return [optionProblem(config, 'error', '*', 'redis', message)]
    }
  })
}
