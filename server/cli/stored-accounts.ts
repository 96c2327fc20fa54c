// Whether accounts are in the storage, for checks: without making a storage that is not there.

import { Users } from '../auth/users.ts'
import type { Config } from '../config/index.ts'
import { dataPathOf, redisSettingsOf, storageKindOf } from '../server.ts'
import { StorageError } from '../storage/index.ts'
import { type ConfiguredStorage, isMade, openConfigured } from './configured-storage.ts'
import { parsed } from './reading.ts'

/** A look into the accounts of a configuration. */
export class StoredAccounts {
  private readonly config: Config
  private readonly storages = new Map<string, Promise<ConfiguredStorage>>()
  /** Why the storage can not be read. */
  failure: StorageError | undefined

  constructor(config: Config) {
    this.config = config
  }

  /**
   * Whether there is such an account. Where nobody can know, in memory or in a storage that can not be read, it
   * is taken to be there.
   */
  exists = async (host: string, username: string): Promise<boolean> => {
    const kind = parsed(() => storageKindOf(this.config, host, 'accounts'))
    if (kind === undefined || kind === 'memory' || this.failure !== undefined) return true
    if (kind === 'internal') {
      const folder = parsed(() => dataPathOf(this.config))
      if (folder === undefined) return true
      const made = isMade(folder)
      if (made !== 'whole') return made === 'part'
    } else if (parsed(() => redisSettingsOf(this.config)) === undefined) return true
    try {
      const storage = this.storages.get(host) ?? openConfigured(this.config, host)
      this.storages.set(host, storage)
      return await new Users((await storage).openKeyval(host, 'accounts')).exists(username)
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      this.failure = error
      return true
    }
  }

  async close(): Promise<void> {
    for (const storage of this.storages.values()) {
      await storage.then(
        (opened) => opened.close(),
        () => {}, // that it could not be opened has been told
      )
    }
  }
}
