/** Imports accounts from their pieces: of each account everything, or nothing. */

import { UserError, type Users } from '../auth/users.ts'
import { joinJid, prepareDomain, prepareLocal } from '../jid.ts'
import { AccountWriter } from './account-writer.ts'
import { AtWork, isAtWork } from './import-mark.ts'
import { type AccountPart, ContentError, type Part, type Place, placeText } from './parts.ts'
import type { HostStores } from './stores.ts'

/** Accounts that are being finished at a time: they share what a commit costs. */
const MOST_FINISHING = 64
/** Characters of theirs that may wait to be written. */
const MOST_WAITING = 16_000_000
/** Different things that are told as not taken over. */
const MOST_IGNORED = 100

/** A host that accounts are imported into. */
export interface ImportHost {
  readonly stores: HostStores
  readonly users: Users
}

/** What an import needs, and what it tells. */
export interface ImportOptions {
  /** The host of a name, prepared; or why nothing can be imported there. */
  hostOf(name: string): ImportHost | string
  /** Whether an account is meant at all. */
  isMeant(host: string, username: string): boolean
  /** What becomes of an account that is there already; of one that is broken where it comes from that is told. */
  existing(jid: string): 'stays' | 'gives way' | 'is broken there'
  /** Removes an account; what is stored of its name then, the import removes. */
  remove(host: string, username: string): Promise<void>
  /** Only looks whether it could be done. */
  readonly dry: boolean
  /** A line about something that could not be done, with where it stands. */
  failed(line: string, jid: string | undefined): void
  /** A line about something that is to be known. */
  noted(line: string): void
  /** Of passwords that are derived to keys. */
  readonly iterations: (host: string) => number
}

/** What an import has come to. */
export interface ImportCounts {
  /** Accounts that are there now. */
  imported: number
  /** Accounts that were there already, and were left as they are. */
  existing: number
  /** Accounts of which nothing was imported, because something was wrong. */
  failed: number
  /** Messages of archives, and those that wait. */
  archived: number
  offline: number
}

/** Takes the pieces, in their order. */
export class Importer {
  readonly counts: ImportCounts = { imported: 0, existing: 0, failed: 0, archived: 0, offline: 0 }
  private readonly options: ImportOptions
  /** By the address of the account. */
  private readonly finishing = new Map<string, Promise<void>>()
  /** The same, of all that have come so far. */
  private readonly begun = new Set<string>()
  private readonly ignored = new Set<string>()
  private readonly refusedHosts = new Set<string>()
  private current: AccountWriter | undefined
  private waiting = 0
  private fatal: { readonly error: unknown } | undefined

  constructor(options: ImportOptions) {
    this.options = options
  }

  /**
   * Removes what an import that was killed has left behind.
   *
   * @throws Error if another import is at work
   */
  async cleanUp({ stores }: ImportHost): Promise<void> {
    for await (const username of stores.marks.users()) {
      const mark = await stores.marks.get(username)
      if (mark === undefined) continue
      if (isAtWork(mark)) throw new AtWork(mark)
      // The account comes last: with it everything is there.
      if ((await stores.accounts.get(username)) === undefined) await stores.clear(username)
      await stores.marks.set(username, undefined)
    }
  }

  /** @throws StorageError, or whatever else is in the way of all that follows */
  async take(part: Part): Promise<void> {
    if (this.fatal !== undefined) throw this.fatal.error
    switch (part.kind) {
      case 'begin':
        this.current = await this.begin(part.host, part.username, part.place)
        return
      case 'end':
        await this.end()
        return
      case 'broken':
        this.broken(part.place, part.text)
        return
      case 'failure':
        this.options.failed(`${placeText(part.place)}: ${part.text}`, undefined)
        return
      case 'ignored':
        this.ignore(part.what, part.place)
        return
      default:
        await this.add(part)
    }
  }

  /** Nothing more comes; what is under way is finished, and an account that has not ended is not imported. */
  async close(): Promise<void> {
    const { current } = this
    this.current = undefined
    if (current !== undefined) this.finish(current.jid, current.discard())
    await Promise.all(this.finishing.values())
    if (this.fatal !== undefined) throw this.fatal.error
  }

  private async begin(rawHost: string, rawName: string, place: Place): Promise<AccountWriter | undefined> {
    const host = prepareDomain(rawHost)
    const username = prepareLocal(rawName)
    if (host === undefined || username === undefined) {
      const what =
        host === undefined
          ? `"${rawHost}" is no domain`
          : `"${rawName}" is no user name that a JID can have (RFC 7622), so nobody could log in`
      this.refuse(place, `${what}: ${rawName}@${rawHost} is not imported`)
      return undefined
    }
    if (!this.options.isMeant(host, username)) return undefined
    const target = this.options.hostOf(host)
    if (typeof target === 'string') {
      this.counts.failed++
      if (this.refusedHosts.has(host)) return undefined
      this.refusedHosts.add(host)
      this.options.failed(`${placeText(place)}: no account of ${host} is imported: ${target}`, undefined)
      return undefined
    }
    const jid = joinJid(username, host)
    // It may be there twice.
    await this.finishing.get(jid)
    const existing = await this.lookFor(target, username, jid, place, rawName)
    if (existing === 'stays') return undefined
    this.begun.add(jid)
    return new AccountWriter({
      target,
      username,
      jid,
      place,
      dry: this.options.dry || existing === 'is broken there',
      iterations: this.options.iterations(host),
      remove: existing === 'gives way' ? () => this.options.remove(host, username) : undefined,
    })
  }

  /** @returns what becomes of an account of the same name; `none` if there is none */
  private async lookFor(
    { users }: ImportHost,
    username: string,
    jid: string,
    place: Place,
    rawName: string,
  ): Promise<ReturnType<ImportOptions['existing']> | 'none'> {
    if (!(await users.exists(username))) return 'none'
    const becomes = this.options.existing(jid)
    if (becomes !== 'stays') {
      // What was imported a moment ago gives way to nothing.
      if (!this.begun.has(jid)) return becomes
      this.refuse(place, `"${rawName}" is ${jid} here, which came before: this one is not imported`)
      return 'stays'
    }
    // Two names that are one here would pass for one that was imported before.
    if (rawName === username) this.counts.existing++
    else this.refuse(place, `"${rawName}" is ${jid} here, and there is that account already`)
    return 'stays'
  }

  private async add(part: AccountPart): Promise<void> {
    const { current } = this
    if (current === undefined || current.isBroken) return
    try {
      await current.add(part)
    } catch (error) {
      if (error instanceof ContentError) {
        this.broken(current.place, error.message)
        return
      }
      if (error instanceof UserError) {
        this.broken(current.place, inTheWay(error))
        return
      }
      this.fatal = { error }
      throw error
    }
  }

  private async end(): Promise<void> {
    const { current } = this
    this.current = undefined
    if (current === undefined) return
    if (current.isBroken) {
      this.finish(current.jid, current.discard())
    } else {
      const { size } = current
      this.waiting += size
      this.finish(
        current.jid,
        current
          .finish()
          .then(
            () => this.imported(current),
            (error: unknown) => this.notImported(current, error),
          )
          .finally(() => {
            this.waiting -= size
          }),
      )
    }
    while (this.finishing.size >= MOST_FINISHING || this.waiting > MOST_WAITING) {
      await Promise.race(this.finishing.values())
    }
  }

  private finish(jid: string, work: Promise<void>): void {
    const settled = work
      .catch((error: unknown) => {
        this.fatal ??= { error }
      })
      .finally(() => this.finishing.delete(jid))
    this.finishing.set(jid, settled)
  }

  private imported(account: AccountWriter): void {
    this.counts.imported++
    this.counts.archived += account.archived
    this.counts.offline += account.offline
    for (const note of account.notes) this.options.noted(`${account.jid} ${note}`)
  }

  private async notImported(account: AccountWriter, error: unknown): Promise<void> {
    await account.discard()
    if (!(error instanceof UserError)) throw error
    this.refuse(account.place, `${inTheWay(error)}: ${account.jid} is not imported`, account.jid)
  }

  private broken(place: Place, text: string): void {
    const { current } = this
    if (current === undefined || current.isBroken) return
    current.isBroken = true
    this.refuse(place, `${text}: ${current.jid} is not imported`, current.jid)
  }

  private refuse(place: Place, text: string, jid?: string): void {
    this.counts.failed++
    this.options.failed(`${placeText(place)}: ${text}`, jid)
  }

  private ignore(what: string, place: Place): void {
    if (this.ignored.has(what) || this.ignored.size >= MOST_IGNORED) return
    this.ignored.add(what)
    this.options.noted(`${placeText(place)}: ${what} is not taken over`)
  }
}

function inTheWay({ code, message }: UserError): string {
  return code === 'exists' ? 'somebody has added this account meanwhile' : message
}
