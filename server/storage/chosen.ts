/** The storage that the configuration chooses, for each host and store (options `storage`, `default_storage`). */

import { openStorage, type StorageOptions } from './index.ts'
import type { ArchiveStore, KeyvalStore, MapStore, StorageDriver, StorageKind } from './types.ts'

/** One driver in front of those that are chosen; each is opened when it is first needed. */
export class ChosenStorage implements StorageDriver {
  readonly name = 'chosen'
  private readonly options: StorageOptions
  private readonly choose: (host: string, store: string) => StorageKind
  private readonly drivers = new Map<StorageKind, StorageDriver>()

  /**
   * @param options - what drivers are opened with
   * @param choose - which storage a store of a host is kept in
   */
  constructor(options: StorageOptions, choose: (host: string, store: string) => StorageKind) {
    this.options = options
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

  /** @throws StorageError if the data folder can not be used */
  openArchive<T>(host: string, store: string): ArchiveStore<T> {
    return this.driverOf(host, store).openArchive(host, store)
  }

  async purgeUser(host: string, user: string, ...unlessIn: readonly string[]): Promise<void> {
    const keepers = unlessIn.map((store) => this.choose(host, store))
    for (const [kind, driver] of this.drivers) {
      // It can not look into others.
      const others = unlessIn.filter((_, i) => keepers[i] !== kind)
      if (await this.hasSome(host, user, others)) continue
      await driver.purgeUser(host, user, ...unlessIn.filter((_, i) => keepers[i] === kind))
    }
  }

  private async hasSome(host: string, user: string, stores: readonly string[]): Promise<boolean> {
    for (const store of stores) {
      if ((await this.openKeyval(host, store).get(user)) !== undefined) return true
    }
    return false
  }

  /** Opens the drivers of these kinds, and waits until they can be used. @throws StorageError */
  async prepare(kinds: Iterable<StorageKind>, ms: number): Promise<void> {
    for (const kind of kinds) await this.open(kind).whenReady?.(ms)
  }

  async close(): Promise<void> {
    for (const driver of this.drivers.values()) await driver.close()
  }

  /** The driver of a kind, if something needed it. */
  opened(kind: StorageKind): StorageDriver | undefined {
    return this.drivers.get(kind)
  }

  /**
   * Opens the driver of a kind, if it is not open.
   *
   * @throws StorageError if it can not be used
   */
  open(kind: StorageKind): StorageDriver {
    let driver = this.drivers.get(kind)
    if (driver === undefined) {
      driver = openStorage(kind, this.options)
      this.drivers.set(kind, driver)
    }
    return driver
  }

  private driverOf(host: string, store: string): StorageDriver {
    return this.open(this.choose(host, store))
  }
}
