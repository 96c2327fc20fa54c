// Which accounts are in the storage, for checks: without making a storage that is not there.

import { Users } from '../auth/users.ts'
import type { Config } from '../config/index.ts'
import { prepareLocal } from '../jid.ts'
import { dataPathOf, redisSettingsOf, storageKindOf } from '../server.ts'
import { StorageError } from '../storage/index.ts'
import { type ConfiguredStorage, isMade, openConfigured } from './configured-storage.ts'
import { parsed } from './reading.ts'

/** Names that are told, of many. */
const MOST_NAMES = 20

/** Accounts with names that no JID has (RFC 7622 §3.3): nobody can log in to them. */
export interface MisnamedAccounts {
  readonly count: number
  /** Some of them, sorted. */
  readonly names: readonly string[]
}

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
  exists = (host: string, username: string): Promise<boolean> =>
    this.look(host, (users) => users.exists(username), false, true)

  /** Accounts that were stored when names were prepared by other rules. */
  misnamed(host: string): Promise<MisnamedAccounts> {
    const none = { count: 0, names: [] }
    const look = async (users: Users): Promise<MisnamedAccounts> => {
      const names: string[] = []
      let count = 0
      for await (const username of users.list()) {
        if (prepareLocal(username) === username) continue
        if (count++ < MOST_NAMES) names.push(username)
      }
      return { count, names: names.sort() }
    }
    return this.look(host, look, none, none)
  }

  /**
   * @param none - the answer where there are no accounts yet
   * @param unknown - the answer where nobody can know
   */
  private async look<T>(host: string, look: (users: Users) => Promise<T>, none: T, unknown: T): Promise<T> {
    const kind = parsed(() => storageKindOf(this.config, host, 'accounts'))
    if (kind === undefined || kind === 'memory' || this.failure !== undefined) return unknown
    if (kind === 'internal') {
      const folder = parsed(() => dataPathOf(this.config))
      if (folder === undefined) return unknown
      const made = isMade(folder)
      if (made !== 'whole') return made === 'none' ? none : unknown
    } else if (parsed(() => redisSettingsOf(this.config)) === undefined) return unknown
    try {
      const storage = this.storages.get(host) ?? openConfigured(this.config, host)
      this.storages.set(host, storage)
      return await look(new Users((await storage).openKeyval(host, 'accounts')))
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      this.failure = error
      return unknown
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
