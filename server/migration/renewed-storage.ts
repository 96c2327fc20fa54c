/**
 * A storage that is closed and opened again now and then.
 *
 * LMDB reads its file through the address space of the process. What has been looked at stays there until the file is
 * closed, or the machine needs the room; a migration looks at everything, and would seem to need as much memory as
 * there is data.
 */

import type { ArchiveStore, KeyvalStore, MapStore, StorageDriver } from '../storage/index.ts'

/** Characters that are read and written before it is opened anew. */
const ENOUGH = 8_000_000
/** Characters that stand for a value whose length nobody has measured. */
const USUAL = 500

/** Not for servers: its lists of users end when it is opened anew. */
export class RenewedStorage implements StorageDriver {
  readonly name = 'renewed'
  private readonly open: () => Promise<StorageDriver>
  private driver: StorageDriver
  /** What is under way, and who waits until nothing is. */
  private working = 0
  private onIdle: (() => void) | undefined
  private renewing: Promise<void> | undefined
  private moved = 0

  private constructor(open: () => Promise<StorageDriver>, driver: StorageDriver) {
    this.open = open
    this.driver = driver
  }

  /**
   * @param open - opens what is behind it, each time
   * @param first - opens it for the first time, and makes what is missing
   */
  static async open(open: () => Promise<StorageDriver>, first = open): Promise<RenewedStorage> {
    return new RenewedStorage(open, await first())
  }

  openKeyval<T>(host: string, store: string): KeyvalStore<T> {
    const inner = () => this.driver.openKeyval<T>(host, store)
    return {
      get: (...args) => this.run(() => inner().get(...args)),
      set: (...args) => this.run(() => inner().set(...args), args[1]),
      update: (...args) => this.run(() => inner().update(...args)),
      users: () => inner().users(),
    }
  }

  openMap<T>(host: string, store: string): MapStore<T> {
    const inner = () => this.driver.openMap<T>(host, store)
    return {
      get: (...args) => this.run(() => inner().get(...args)),
      set: (...args) => this.run(() => inner().set(...args), args[2]),
      setKeys: (...args) => this.run(() => inner().setKeys(...args), ...Object.values(args[1])),
      getAll: (...args) => this.run(() => inner().getAll(...args)),
      users: () => inner().users(),
    }
  }

  openArchive<T>(host: string, store: string): ArchiveStore<T> {
    const inner = () => this.driver.openArchive<T>(host, store)
    return {
      append: (...args) => this.run(() => inner().append(...args), args[1]),
      find: (...args) =>
        this.run(async () => {
          const page = await inner().find(...args)
          for (const { value } of page.entries) this.moved += sizeOf(value)
          return page
        }),
      get: (...args) => this.run(() => inner().get(...args)),
      count: (...args) => this.run(() => inner().count(...args)),
      delete: (...args) => this.run(() => inner().delete(...args)),
      remove: (...args) => this.run(() => inner().remove(...args)),
      users: () => inner().users(),
    }
  }

  purgeUser(...user: Parameters<StorageDriver['purgeUser']>): Promise<void> {
    return this.run(() => this.driver.purgeUser(...user))
  }

  async close(): Promise<void> {
    await this.renewing?.catch(() => {})
    await this.driver.close()
  }

  private async run<R>(work: () => Promise<R>, ...values: unknown[]): Promise<R> {
    if (this.moved > ENOUGH) this.renewing ??= this.renew()
    while (this.renewing !== undefined) await this.renewing
    this.working++
    for (const value of values) this.moved += sizeOf(value)
    try {
      return await work()
    } finally {
      if (--this.working === 0) this.onIdle?.()
    }
  }

  private async renew(): Promise<void> {
    try {
      if (this.working > 0) {
        await new Promise<void>((resolve) => {
          this.onIdle = resolve
        })
      }
      this.onIdle = undefined
      await this.driver.close()
      this.driver = await this.open()
      this.moved = 0
    } finally {
      this.renewing = undefined
    }
  }
}

function sizeOf(value: unknown): number {
  if (typeof value === 'string') return value.length
  const { inner } = (value ?? {}) as { inner?: unknown }
  return USUAL + (typeof inner === 'string' ? inner.length : 0)
}
