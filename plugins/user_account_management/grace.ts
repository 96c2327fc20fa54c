/** Accounts that were removed: deleted wholly, at once or after a while, whatever fails or restarts meanwhile. */

import type { EventTypes, Host, MapStore, Module, StreamSession } from '../../server/index.ts'
import type { AccountEnd } from './end.ts'

/** Seconds between two looks for accounts whose time is over. */
const INTERVAL = 3600

/** As in Prosody: Unix times in seconds. */
interface PendingDeletion {
  readonly deleted_at: number
  readonly pending_until: number
}

/** Removed accounts of one host. */
export class RemovedAccounts {
  private readonly module: Module
  private readonly host: Host
  private readonly end: AccountEnd
  /**
   * Of the host, by user name; that an account is disabled, and until when, is in its own record. Anything else in
   * here is left over, and goes when its time is over.
   */
  private readonly store: MapStore<PendingDeletion>
  private looking: Promise<void> | undefined

  constructor(module: Module, end: AccountEnd) {
    this.module = module
    this.host = module.host
    this.end = end
    this.store = module.openStore('accounts_cleanup', 'map')
    const look = () => this.look()
    module.hookGlobal('server-started', look)
    module.every(INTERVAL, look)
  }

  /**
   * Disables an account, and deletes it later.
   *
   * @param seconds - until then; it may be for ever
   * @throws UserError `not-found`; StorageError (as rejections)
   */
  async add(
    username: string,
    seconds: number,
    session: StreamSession,
  ): Promise<EventTypes['user-deregistered-pending']> {
    const now = unixTime()
    const until = now + Math.ceil(seconds)
    const status: PendingDeletion = { deleted_at: now, pending_until: until }
    const isForEver = !Number.isSafeInteger(until)
    // First, so that a disabled account is not forgotten if this process dies.
    if (!isForEver) await this.store.set(null, username, status)
    await this.host.users!.disable(username, { reason: 'ibr', when: now, ...(isForEver ? {} : { until }) })
    if (seconds < INTERVAL) this.module.after(seconds + 1, () => this.look())
    return { username, host: this.host.name, source: 'mod_register', session, status }
  }

  /**
   * Deletes an account now. What is left of it if that fails in the midst, or this process dies, goes later.
   *
   * @throws what `AccountEnd.take` throws
   */
  async deleteNow(username: string): Promise<void> {
    const now = unixTime()
    await this.store.set(null, username, { deleted_at: now, pending_until: now })
    if (!(await this.end.take(username))) return
    await this.store.set(null, username, undefined).catch((error: unknown) => {
      this.module.log.debug('a deleted account is looked at again', { user: username, error })
    })
  }

  /** Deletes those whose time is over. It does not fail. */
  private look(): void {
    this.looking ??= this.deleteOver()
      .catch((error: { code?: unknown }) => {
        // That the storage is away has been logged, once for all.
        const level = error.code === 'unavailable' ? 'debug' : 'error'
        this.module.log[level]('removed accounts have not been deleted yet', { error })
      })
      .finally(() => {
        this.looking = undefined
      })
  }

  private async deleteOver(): Promise<void> {
    const now = unixTime()
    for (const [username, { pending_until }] of await this.store.getAll(null)) {
      if (pending_until <= now) await this.deleteOne(username, now)
    }
  }

  private async deleteOne(username: string, now: number): Promise<void> {
    const { host, module } = this
    const { cluster } = module.server
    const endOfTurn = await cluster?.turns.take(`accounts_cleanup ${host.name} ${username}`)
    try {
      // Another process may have done it.
      const pending = await this.store.get(null, username)
      if (pending === undefined || pending.pending_until > now) return
      const account = await host.users!.read(username)
      const until = account?.disabled?.until
      let isWholly = true
      // Deleted, and what it had may be left.
      if (account === undefined) isWholly = await this.end.purge(username)
      // Otherwise somebody has restored it, or never came to disable it, or has a new one.
      else if (until !== undefined && until <= now) {
        isWholly = await this.end.take(username)
        await this.end.endSessions(username, 'deleted')
        host.log.info('an account was deleted some time after it was removed', { user: username })
        module.fireEvent('user-deregistered', { username, host: host.name, source: 'mod_register' })
      }
      if (isWholly) await this.store.set(null, username, undefined)
    } finally {
      endOfTurn?.()
    }
  }
}

function unixTime(): number {
  return Math.floor(Date.now() / 1000)
}
