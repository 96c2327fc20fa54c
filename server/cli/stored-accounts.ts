// Whether accounts are in the storage, for checks: without making a storage that is not there.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Users } from '../auth/users.ts'
import type { Config } from '../config/index.ts'
import { dataPathOf, storageKindOf } from '../server.ts'
import { openStorage, type StorageDriver, StorageError } from '../storage/index.ts'
import { parsed, STORAGE_FILE } from './reading.ts'

/** A look into the accounts of a configuration. */
export class StoredAccounts {
  private readonly config: Config
  private storage: StorageDriver | undefined
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
    if (parsed(() => storageKindOf(this.config, host, 'accounts')) !== 'internal') return true
    const folder = parsed(() => dataPathOf(this.config))
    if (folder === undefined || this.failure !== undefined) return true
    const file = join(folder, STORAGE_FILE)
    if (!existsSync(file) || !existsSync(`${file}-lock`)) return existsSync(file)
    try {
      this.storage ??= openStorage('internal', { path: folder })
      return await new Users(this.storage.openKeyval(host, 'accounts')).exists(username)
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      this.failure = error
      return true
    }
  }

  async close(): Promise<void> {
    await this.storage?.close()
  }
}
