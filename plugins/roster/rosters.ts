/** The rosters of a host: read, kept while their accounts are connected, changed one after the other. */

import {
  domainOf,
  type Host,
  type KeyvalStore,
  localOf,
  RoomyMap,
  StanzaError,
  type StreamSession,
} from '../../server/index.ts'
import type { EndedAccounts } from './ended.ts'
import type { Pairs } from './pairs.ts'
import { sendPush } from './query.ts'
import { type Contact, type ReadonlyRoster, Roster, type RosterItem, type StoredRoster } from './roster.ts'

/**
 * Characters that an item may have on average; some may have more when others have fewer. A roster is written as a
 * whole at each change, so its size is what a change costs.
 */
const AVERAGE_ITEM_LENGTH = 128

export interface RosterLimits {
  /** Items of one roster. */
  readonly maxItems: number
  /** Subscription requests that wait for one account. */
  readonly maxRequests: number
}

/** A change of what a roster knows of one contact. */
export interface ContactChange {
  /**
   * The change itself. It may be called more than once, and only the last answer counts.
   *
   * @returns what is known from now on, or undefined to leave everything as it is
   * @throws StanzaError for whoever asked for the change
   */
  edit(before: Contact): Contact | undefined
  /** Told what is going to happen, before it is written, and whether or not there is such an account. */
  decided?(before: Contact, after: Contact | undefined): void
  /** Told when it is written, ahead of any other change of the roster. @param version - the roster's, from now on */
  changed?(before: Contact, after: Contact, version: number): void
}

/** Other processes, which change the same rosters. */
export interface RosterOthers {
  /** Waits until it is this process's turn to work on something; what it gives ends the turn. */
  takeTurn(name: string): Promise<() => void>
  /** The rosters of another host of the server, or this one; undefined if it has none. */
  rostersOf(host: string): Rosters | undefined
  /** A roster has been written. */
  changed(username: string): void
  /** Its resources are to be told of what has changed until a version. */
  pushed(username: string, version: number): void
}

/** Thrown inside a store's update so that nothing is written. */
class Unchanged extends Error {}

/**
 * The rosters of one host. While an account has bound sessions its roster is in memory, so that presence can be
 * sent without waiting; every change is written to the store before it is seen there.
 */
export class Rosters {
  private readonly host: Host
  private readonly store: KeyvalStore<StoredRoster>
  private readonly limits: () => RosterLimits
  private readonly pairs: Pairs
  private readonly inMemory = new RoomyMap<string, Roster>()
  /**
   * Of rosters in memory that other processes change as well: the version that has been pushed last. What two of them
   * change may be heard of in another order, and each version must come to a client after all that it contains.
   */
  private readonly pushed = new RoomyMap<string, number>()
  /** Other processes that have sessions of the same accounts. */
  others: RosterOthers | undefined
  /** Those whose contacts are to be told. */
  ended: EndedAccounts | undefined
  /** Told when an item is written or removed, after whoever has changed it. */
  onItemChanged: ((username: string, jid: string, item: RosterItem | undefined) => void) | undefined
  /** Told of each change that is under way, by a promise that does not reject. */
  finishBeforeStop: ((work: Promise<void>) => void) | undefined
  // What is under way for an account; what comes next waits for it. The promises never reject.
  private readonly queues = new RoomyMap<string, Promise<unknown>>()

  /**
   * @param limits - asked at each change, so that a reload of the configuration counts
   * @param pairs - the same for all hosts of the server
   */
  constructor(host: Host, store: KeyvalStore<StoredRoster>, limits: () => RosterLimits, pairs: Pairs) {
    this.host = host
    this.store = store
    this.limits = limits
    this.pairs = pairs
  }

  /** The roster of an account with bound sessions, if it is in memory already. Do not keep it: it is replaced. */
  kept(username: string): ReadonlyRoster | undefined {
    return this.inMemory.get(username)
  }

  /**
   * The roster of anybody, with all changes that are under way; an account that does not exist has an empty one.
   *
   * @throws StorageError (as a rejection)
   */
  read(username: string): Promise<ReadonlyRoster> {
    const kept = this.queues.has(username) ? undefined : this.inMemory.get(username)
    return kept === undefined ? this.enqueue(username, () => this.load(username)) : Promise.resolve(kept)
  }

  /** The same as it is stored now: where there are other processes, it may be newer than what is in memory. */
  readLatest(username: string): Promise<ReadonlyRoster> {
    return this.enqueue(username, () => this.latest(username))
  }

  /** Forgets the copy in memory. */
  drop(username: string): void {
    this.inMemory.delete(username)
    this.pushed.delete(username)
  }

  /**
   * Changes what a roster knows of a contact. Changes of one roster happen in the order of the calls.
   *
   * @param username - of the account, which may be offline
   * @param jid - bare JID of the contact, prepared
   * @returns whether something was changed; nothing is where there is no such account
   * @throws StanzaError (as a rejection) of `edit`, or `resource-constraint` where the roster is full;
   *   StorageError
   */
  change(username: string, jid: string, change: ContactChange): Promise<boolean> {
    const work = this.enqueue(username, async () => {
      // Most of what strangers send changes nothing. That is found out without writing, and with the same
      // steps whether the account exists or not, so that nobody learns it from how long they take.
      const before = (await this.latest(username)).contact(jid)
      const planned = change.edit(before)
      change.decided?.(before, planned)
      if (planned === undefined || !(await this.host.users?.exists(username))) return false
      return this.write(username, jid, change)
    })
    // Nobody waits for what a contact has sent: it must not be lost with a server that is stopped.
    if (this.finishBeforeStop !== undefined) {
      const done = () => {}
      this.finishBeforeStop(work.then(done, done))
    }
    return work
  }

  /**
   * Takes everything off the roster of an account that is gone, without telling its sessions or anybody.
   *
   * @throws StorageError (as a rejection)
   */
  clear(username: string): Promise<void> {
    return this.enqueue(username, async () => {
      await this.store.set(username, undefined)
      this.keep(username, Roster.decode(undefined))
      this.others?.changed(username)
    })
  }

  /**
   * Runs work that changes the account's roster and then tells the contact, whose roster changes with it. While
   * it runs, the contact does nothing of the kind; otherwise an approval and a cancellation could cross, and the
   * one believe to be seen by the other who does not see them.
   */
  between<T>(username: string, jid: string, work: () => Promise<T>): Promise<T> {
    const account = `${username}@${this.host.name}`
    const { others } = this
    // What has no roster here can have none that another process changes.
    const theirs = others?.rostersOf(domainOf(jid))
    if (others === undefined || theirs === undefined) return this.pairs.run(account, jid, work)
    // What changes the contact's roster may be answered by what changes this one.
    const written = async () => {
      await theirs.settled(localOf(jid) ?? '')
      await this.settled(username)
    }
    return this.pairs.runInTurn(account, jid, work, (name) => others.takeTurn(name), written)
  }

  /**
   * Where there are other processes: resolves when the contact's roster, if it is one of this server, knows what this
   * process has just sent. In one process alone all that follows waits for that.
   */
  received(jid: string): Promise<unknown> | undefined {
    return this.others?.rostersOf(domainOf(jid))?.settled(localOf(jid) ?? '')
  }

  /** Resolves when the changes of an account's roster that are under way are done. It never rejects. */
  settled(username: string): Promise<unknown> {
    return this.queues.get(username) ?? Promise.resolve()
  }

  /** Runs something as soon as all changes of the account's roster that are under way are done; mostly at once. */
  after(username: string, work: () => void): Promise<void> | undefined {
    if (this.queues.has(username)) return this.enqueue(username, async () => work())
    work()
    return undefined
  }

  /**
   * Tells the account's resources that have asked for the roster of an item's new state (RFC 6121 §2.1.6).
   *
   * @param version - the roster's, of the change
   */
  push(username: string, jid: string, version = this.inMemory.get(username)?.version ?? 0): void {
    if (this.others !== undefined) {
      this.pushUntil(username, version)
      this.others.pushed(username, version)
      return
    }
    const sessions = this.interested(username)
    if (sessions.length === 0) return
    const item = this.inMemory.get(username)?.items.get(jid)
    for (const session of sessions) sendPush(session, { jid, item, version })
  }

  /** Another process has changed a roster: what is kept of it here is read again, ahead of whatever comes next. */
  reread(username: string): Promise<void> {
    return this.enqueue(username, async () => {
      if (this.inMemory.has(username)) this.keep(username, Roster.decode(await this.store.get(username)))
    })
  }

  /** As `push`, for another process that has made the change. */
  pushChanged(username: string, version: number): Promise<void> | undefined {
    return this.after(username, () => this.pushUntil(username, version))
  }

  /** Pushes what has changed until a version and was not pushed yet, in order. */
  private pushUntil(username: string, version: number): void {
    const pushed = this.pushed.get(username)
    const roster = this.inMemory.get(username)
    if (pushed === undefined || roster === undefined || version <= pushed) return
    this.pushed.set(username, version)
    const sessions = this.interested(username)
    if (sessions.length === 0) return
    for (const change of roster.changesSince(pushed)) {
      if (change.version > version) break
      for (const session of sessions) sendPush(session, change)
    }
  }

  private interested(username: string): StreamSession[] {
    const sessions = this.host.accounts.get(username)?.sessions
    if (sessions === undefined) return []
    return [...sessions.values()].filter(({ interested, destroyed }) => interested && !destroyed)
  }

  private async load(username: string): Promise<Roster> {
    const kept = this.inMemory.get(username)
    if (kept !== undefined) return kept
    const roster = Roster.decode(await this.store.get(username))
    this.keep(username, roster)
    return roster
  }

  /** Another process may have changed it a moment ago: then it is not known here yet. */
  private async latest(username: string): Promise<Roster> {
    if (this.others === undefined) return this.load(username)
    const roster = Roster.decode(await this.store.get(username))
    this.keep(username, roster)
    return roster
  }

  private keep(username: string, roster: Roster): void {
    const sessions = this.host.accounts.get(username)?.sessions.size ?? 0
    if (sessions === 0) return
    this.inMemory.set(username, roster)
    if (this.others !== undefined && !this.pushed.has(username)) this.pushed.set(username, roster.version)
  }

  private async write(username: string, jid: string, change: ContactChange): Promise<boolean> {
    let before: Contact = {}
    let after: Contact = {}
    let version = 0
    let found: Roster | undefined
    try {
      const stored = await this.store.update(username, (old) => {
        const roster = Roster.decode(old)
        found = roster
        before = roster.contact(jid)
        const edited = change.edit(before)
        if (edited === undefined || !this.hasRoom(roster, before, edited)) throw new Unchanged()
        after = edited
        found = undefined
        roster.setContact(jid, edited)
        this.checkLength(roster, before, edited)
        // RFC 6121 §2.6.3: what is not pushed is no other version.
        if (before.item !== edited.item) roster.itemChanged(jid)
        version = roster.version
        return roster.encode()
      })
      this.keep(username, Roster.decode(stored))
      this.others?.changed(username)
    } catch (error) {
      // What is in memory may be another one than what the change was refused for.
      if (found !== undefined) this.keep(username, found)
      else if (!(error instanceof StanzaError)) await this.doubt(username)
      if (error instanceof Unchanged) return false
      throw error
    }
    change.changed?.(before, after, version)
    if (before.item !== after.item) this.onItemChanged?.(username, jid, after.item)
    return true
  }

  /** A write has failed, but may have been made all the same: what is in memory counts no more. */
  private async doubt(username: string): Promise<void> {
    this.inMemory.delete(username)
    this.others?.changed(username)
    try {
      await this.load(username)
    } catch {
      // Whoever needs it next reads it.
    }
  }

  /** Whether another request may be kept: one too many is passed over, its sender must not learn of it. */
  private hasRoom(roster: Roster, before: Contact, after: Contact): boolean {
    const isNew = before.request === undefined && after.request !== undefined
    return !isNew || roster.requests.size < this.limits().maxRequests
  }

  private checkLength(roster: Roster, before: Contact, after: Contact): void {
    const { maxItems } = this.limits()
    // A roster that was over a new limit before can still be made smaller.
    if (after.item === undefined || after.item === before.item) return
    const tooMany = before.item === undefined && roster.items.size > maxItems
    const tooLong = roster.textLength > maxItems * AVERAGE_ITEM_LENGTH && grows(before.item, after.item)
    if (tooMany || tooLong) {
      throw new StanzaError('resource-constraint', `The contact list is full (${maxItems} contacts)`)
    }
  }

  private enqueue<T>(username: string, work: () => Promise<T>): Promise<T> {
    const before = this.queues.get(username)
    const result = before === undefined ? work() : before.then(work)
    const settled = () => {
      if (this.queues.get(username) === tail) this.queues.delete(username)
    }
    const tail: Promise<unknown> = result.then(settled, settled)
    this.queues.set(username, tail)
    return result
  }
}

function grows(before: RosterItem | undefined, after: RosterItem): boolean {
  return before === undefined || before.name !== after.name || before.groups !== after.groups
}
