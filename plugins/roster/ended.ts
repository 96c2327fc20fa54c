/** The contacts of accounts that were deleted are told that the subscriptions have ended, once and for certain. */

import {
  domainOf,
  type EndedAccount,
  localOf,
  type MapStore,
  type Module,
  noteEnd,
  openEndedAccounts,
} from '../../server/index.ts'
import type { RostersByHost } from './index.ts'
import { Roster, type StoredRoster } from './roster.ts'
import type { Rosters } from './rosters.ts'

/** Seconds between two looks for accounts that somebody has deleted who could not say so. */
const INTERVAL = 60

/** Tells the contacts of accounts of one host. */
export class EndedAccounts {
  private readonly module: Module
  private readonly rosters: Rosters
  private readonly byHost: RostersByHost
  private readonly store: MapStore<EndedAccount<StoredRoster>>
  /** One after the other. It never rejects. */
  private work: Promise<unknown> = Promise.resolve()

  constructor(module: Module, rosters: Rosters, byHost: RostersByHost) {
    this.module = module
    this.rosters = rosters
    this.byHost = byHost
    this.store = openEndedAccounts(module.server.storage, module.host.name)
  }

  /** Tells what is left from before, and from now on what others have deleted. */
  watch(): void {
    const { module } = this
    const look = () => void this.tellAll()
    // When all hosts are there, which the contacts may be of.
    module.hookGlobal('server-started', look)
    module.every(INTERVAL, look)
    module.hookGlobal('user-deleted', ({ username, host }) => {
      if (host === module.host.name) void this.tell(username)
    })
  }

  /**
   * Writes down what is to be told when the account is deleted: to be called before and after that.
   *
   * @param created - of the account
   * @throws StorageError (as a rejection)
   */
  async note(username: string, created: number): Promise<void> {
    const { host, server } = this.module
    await noteEnd(server.storage, host.name, username, created)
  }

  /** Tells the contacts of an account, if it has been deleted and they have not been told. It does not fail. */
  tell(username: string): Promise<void> {
    return this.inTurn(() => this.tellContacts(username), username)
  }

  private tellAll(): Promise<void> {
    return this.inTurn(async () => {
      for (const username of (await this.store.getAll(null)).keys()) await this.tellContacts(username)
    })
  }

  private inTurn(work: () => Promise<void>, user?: string): Promise<void> {
    const done = this.work.then(work).catch((error: { code?: unknown }) => {
      // That the storage is away has been logged, once for all.
      const level = error.code === 'unavailable' ? 'debug' : 'error'
      this.module.log[level]('contacts of a deleted account have not been told yet', { user, error })
    })
    this.work = done
    return done
  }

  private async tellContacts(username: string): Promise<void> {
    // Mostly it had no contacts, or another process has told them.
    if ((await this.store.get(null, username)) === undefined) return
    const { host, server } = this.module
    const endOfTurn = await server.cluster?.turns.take(`roster-ended ${host.name} ${username}`)
    try {
      const ended = await this.store.get(null, username)
      if (ended === undefined) return
      const account = await host.users!.read(username)
      // It is not deleted yet, or whoever was about to do that has died.
      if (account?.created === ended.created) return
      if (account === undefined) await this.rosters.clear(username)
      await this.endSubscriptions(username, Roster.decode(ended.roster))
      await this.store.set(null, username, undefined)
    } finally {
      endOfTurn?.()
    }
  }

  /** XEP-0077 §3.2: both ways. Resolves when the rosters of contacts of this server are written. */
  private async endSubscriptions(username: string, roster: Roster): Promise<void> {
    const { module } = this
    const contacts = new Set([...roster.items.keys(), ...roster.requests.keys()])
    for (const jid of contacts) {
      if (roster.items.has(jid)) this.rosters.onItemChanged?.(username, jid, undefined)
      const contact = roster.contact(jid)
      module.fireEvent('roster-item-removed', { username, jid, contact, origin: module.host })
    }
    await Promise.all([...contacts].map((jid) => this.byHost.get(domainOf(jid))?.settled(localOf(jid) ?? '')))
  }
}
