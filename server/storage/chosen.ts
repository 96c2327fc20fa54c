/** The storage that the configuration chooses, for each host and store (options `storage`, `default_storage`). */

import { openStorage } from './index.ts'
import type { KeyvalStore, MapStore, StorageDriver, StorageKind } from './types.ts'

/** One driver in front of those that are chosen; each is opened when it is first needed. */
export class ChosenStorage implements StorageDriver {
  readonly name = 'chosen'
  private readonly path: string
  private readonly choose: (host: string, store: string) => StorageKind
  private readonly drivers = new Map<StorageKind, StorageDriver>()

  /**
   * @param path - the data folder
   * @param choose - which storage a store of a host is kept in
   */
  constructor(path: string, choose: (host: string, store: string) => StorageKind) {
    this.path = path
    this.choose = choose
  }

  /** @throws StorageError if the data folder can not be used */
  openKeyval<T>(host: string, store: string): KeyvalStore<T> {
    return this.driverOf(host, store).openKeyval(host, store)
  }

  /** @throws StorageError if the data folder can not be used */
  openMap<T>(host: string, store: string): MapStore<T> {
    return this.driverOf(host, store).openMap(host, store)
  }

  async purgeUser(host: string, user: string): Promise<void> {
    for (const driver of this.drivers.values()) await driver.purgeUser(host, user)
  }

  async close(): Promise<void> {
    for (const driver of this.drivers.values()) await driver.close()
  }

  private driverOf(host: string, store: string): StorageDriver {
    const kind = this.choose(host, store)
    let driver = this.drivers.get(kind)
    if (driver === undefined) {
      driver = openStorage(kind, { path: this.path })
      this.drivers.set(kind, driver)
    }
    return driver
  }
}
