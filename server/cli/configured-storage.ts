// The storage that the server of a configuration uses, for commands, whether or not the server runs.

import { accessSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config/index.ts'
import { dataPathOf, redisSettingsOf, storageKindOf, storageKindsOf } from '../server.ts'
import { ChosenStorage } from '../storage/chosen.ts'
import type { KeyvalStore, MapStore, StorageDriver } from '../storage/index.ts'
import { STORAGE_FILE } from './reading.ts'

/** Milliseconds that Redis may take to be there. */
const REDIS_MS = 5000

/** What commands do with a storage. */
export interface ConfiguredStorage {
  openKeyval<T>(host: string, store: string): KeyvalStore<T>
  openMap<T>(host: string, store: string): MapStore<T>
  /** Whether a store is kept anywhere but in a running server's memory, and can be opened. */
  prepareStore(host: string, store: string): Promise<boolean>
  /** In each of the storages that the host has stores in. */
  purgeUser: StorageDriver['purgeUser']
  close(): Promise<void>
}

/** Whether LMDB's file is in a data folder: not at all, without its lock file (nobody has it open), or both. */
export function isMade(folder: string): 'none' | 'part' | 'whole' {
  const file = join(folder, STORAGE_FILE)
  if (!isThere(file)) return 'none'
  return isThere(`${file}-lock`) ? 'whole' : 'part'
}

/** What can not be looked at counts as there: whoever opens it learns that it is not theirs. */
function isThere(path: string): boolean {
  try {
    accessSync(path)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES'
  }
}

/**
 * Opens what keeps the accounts of a host.
 *
 * @throws StorageError if it can not be used, also `unavailable` if Redis does not answer
 */
export async function openConfigured(config: Config, host: string): Promise<ConfiguredStorage> {
  const path = dataPathOf(config)
  const storage = new ChosenStorage({ path, redis: redisSettingsOf(config) }, (...store) =>
    storageKindOf(config, ...store),
  )
  try {
    await storage.prepare([storageKindOf(config, host, 'accounts')], REDIS_MS)
  } catch (error) {
    await storage.close()
    throw error
  }
  return {
    openKeyval: (...store) => storage.openKeyval(...store),
    openMap: (...store) => storage.openMap(...store),
    async prepareStore(...store) {
      const kind = storageKindOf(config, ...store)
      if (kind === 'memory' || (kind === 'internal' && isMade(path) === 'none')) return false
      await storage.prepare([kind], REDIS_MS)
      return true
    },
    async purgeUser(...user) {
      const kinds = storageKindsOf(config, host)
      await storage.prepare(
        kinds.filter((kind) => kind === 'redis' || (kind === 'internal' && isMade(path) !== 'none')),
        REDIS_MS,
      )
      await storage.purgeUser(...user)
    },
    close: () => storage.close(),
  }
}

/**
 * Opens what keeps the stores of hosts, all of it but what is in memory.
 *
 * @throws StorageError if it can not be used, also `unavailable` if Redis does not answer
 */
export async function openStoragesOf(config: Config, hosts: readonly string[]): Promise<StorageDriver> {
  const storage = new ChosenStorage(
    { path: dataPathOf(config), redis: redisSettingsOf(config) },
    (...store) => storageKindOf(config, ...store),
  )
  const kinds = new Set(hosts.flatMap((host) => storageKindsOf(config, host)))
  try {
    await storage.prepare(
      [...kinds].filter((kind) => kind !== 'memory'),
      REDIS_MS,
    )
  } catch (error) {
    await storage.close()
    throw error
  }
  return storage
}
