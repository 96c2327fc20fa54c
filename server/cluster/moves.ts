/**
 * Keeps the order of what is sent to an account while its sessions come and go at other processes (RFC 6120 §10.1).
 *
 * A stanza may be on its way to a process whose session has just gone; that process gives it back (see traffic.ts).
 * What is for the same account from then on would overtake it on another way, so it waits here until that process
 * has answered a question that went after the stanza. There are two of them: copies, which a process has made for
 * single sessions, are done with at once when they come; stanzas that are still to be worked on may have to wait
 * there themselves for copies which that process has sent on, and for storage. Copies never wait for anything, so
 * nobody can wait for each other. What comes back waits only for copies: of what has come back and gone out again,
 * some may come back once more, and from another process.
 */

import type { Logger } from '../log.ts'
import type { Bus } from './bus.ts'
import type { Calls } from './calls.ts'
import type { Directory } from './directory.ts'
import type { RemoteResource } from './peers.ts'

const COPIES = 'cluster/moved-copies'
const ALL = 'cluster/moved'
/** Milliseconds that a process may take: longer than any lease or command of the storage takes that is usual. */
const MOST_MS = 60_000
/** Characters that wait for one account before who sends more has to wait, too. */
const MOST_SIZE = 256_000
/** Times that copies may come back and go out again. */
const MOST_ROUNDS = 5
/**
 * Questions that may be asked while something is held back. Who logs in and out all the time holds nobody up for
 * longer: what is held back then may overtake what others have sent.
 */
const MOST_ASKED = 100

/** A stanza that was given back. */
interface Returned {
  /** Grows with each that comes back for the first time, and stays the same when it does so again. */
  readonly ticket: number
  readonly go: Go
}

/** Sends a stanza. @returns what has to be waited for before the next one */
type Go = () => Promise<unknown> | undefined

/** What waits while an account moves; in order. */
class Move {
  /** Processes whose answers are missing. */
  copies = 0
  all = 0
  /** Stanzas from this process's own senders; each may have to look for where it goes. */
  readonly own: Go[] = []
  /** Characters of these. */
  size = 0
  /** By the process: the number of a message to it that a question has followed, and none was sent since. */
  readonly asked = new Map<string, number>()
  /** Those that other processes have sent here, to be worked on. */
  readonly forwarded: (() => void)[] = []
  /** Questions since the first of all these came. */
  questions = 0
  /** Those that were given back; each may have to look for where it goes. They come first. */
  readonly returned: Returned[] = []
  busy = false
  /** Who waits for the end of what is not held back for this process's own senders. */
  readonly waiting: (() => void)[] = []

  /** One more is going to be held back. */
  holds(): void {
    if (this.held === 0) this.questions = 0
  }

  private get held(): number {
    return this.own.length + this.forwarded.length + this.returned.length
  }

  /** Whether so much has been waited for that nothing more is. */
  get isLate(): boolean {
    return this.questions >= MOST_ASKED && this.held > 0
  }

  /** Whether copies may still come back. */
  get open(): boolean {
    return this.copies > 0 || this.busy || this.returned.length > 0 || this.forwarded.length > 0
  }
}

export class Moves {
  private readonly bus: Bus
  private readonly calls: Calls
  private readonly accounts = new Map<string, Move>()
  /** By bare JID: what is being worked on for other processes and has not settled. */
  private readonly underWay = new Map<string, Promise<unknown>>()
  private readonly directory: Directory
  private readonly log: Logger

  constructor(bus: Bus, calls: Calls, directory: Directory, log: Logger) {
    this.log = log
    this.bus = bus
    this.calls = calls
    this.directory = directory
    // The answer goes the way of what was given back, after it.
    calls.on(COPIES, () => true)
    calls.on(ALL, (bareJid) => this.done(bareJid as string))
  }

  /** Waits until all that has come for an account is done: handed over, or on its way to where it will be. */
  private async done(bareJid: string): Promise<void> {
    for (let round = 0; round < MOST_ROUNDS; round++) {
      await this.underWay.get(bareJid)
      const move = this.accounts.get(bareJid)
      if (move?.open === true) await new Promise<void>((resolve) => move.waiting.push(resolve))
      // Copies may come back, and go somewhere else.
      const members = new Set<string>()
      for (const { member, sent } of this.directory.resourcesOf(bareJid)) {
        if (sent > this.bus.settled(member.id)) members.add(member.id)
      }
      if (members.size > 0) await this.calls.ask(members, COPIES, bareJid, MOST_MS)
      if (members.size === 0 && !this.underWay.has(bareJid) && this.accounts.get(bareJid)?.open !== true)
        break
    }
    await this.bus.sentAll()
  }

  /** Whether any account is moving. */
  get any(): boolean {
    return this.accounts.size > 0
  }

  /** Which of an account's resources get what is for it may be others from now on. */
  changes(bareJid: string): void {
    for (const resource of this.directory.resourcesOf(bareJid)) this.leaves(resource)
  }

  /** What is for an account from now on may go another way than over a resource of another process. */
  leaves({ bareJid, member, sent, lost }: RemoteResource): void {
    // Of what a dead process had to do, whoever has sent it hears.
    if (!lost) this.follows(bareJid, member.id, sent)
  }

  /**
   * What is for an account may go another way than what was sent last.
   *
   * @param sent - the number of that, among the messages to a process
   */
  follows(bareJid: string, member: string, sent: number): void {
    if (sent <= this.bus.settled(member)) return
    let move = this.accounts.get(bareJid)
    if (move === undefined) {
      move = new Move()
      this.accounts.set(bareJid, move)
    }
    // However often an account changes: a question has gone after all that may come back.
    if (sent <= (move.asked.get(member) ?? 0) || move.isLate) return
    move.asked.set(member, sent)
    move.questions++
    void this.wait(bareJid, move, member)
  }

  private async wait(bareJid: string, move: Move, member: string): Promise<void> {
    move.copies++
    move.all++
    const all = this.calls.ask([member], ALL, bareJid, MOST_MS)
    await this.calls.ask([member], COPIES, bareJid, MOST_MS)
    move.copies--
    this.goOn(bareJid, move)
    await all
    move.all--
    this.goOn(bareJid, move)
  }

  /**
   * Holds a stanza from here back. Its sender goes on: what it has for others need not wait, least of all while Redis
   * is away.
   *
   * @param size - characters that it takes
   * @param go - sends it, past this; returns what has to be waited for before the next one
   * @returns undefined if it need not wait; else a promise that is to hold its sender back, if too much waits already
   */
  holdOwn(bareJid: string, size: number, go: Go): { until: Promise<void> | undefined } | undefined {
    const move = this.accounts.get(bareJid)
    if (move === undefined) return undefined
    move.holds()
    move.size += size
    if (move.size <= MOST_SIZE) {
      move.own.push(go)
      return { until: undefined }
    }
    const until = new Promise<void>((resolve) => {
      move.own.push(() => {
        resolve() // heard of in a later turn
        return go()
      })
    })
    return { until }
  }

  /** The same for one that another process has sent here. */
  holdForwarded(bareJid: string, go: () => void): Promise<void> | undefined {
    const move = this.accounts.get(bareJid)
    if (move?.open !== true) return undefined
    move.holds()
    return new Promise((resolve) => {
      move.forwarded.push(() => {
        this.run(go)
        resolve()
      })
    })
  }

  /** A stanza has come back. @param go - sends it again */
  returned(bareJid: string, ticket: number, go: Go): void {
    const move = this.accounts.get(bareJid)
    if (move === undefined) {
      const looked = this.run(go)
      if (looked !== undefined) this.track(bareJid, looked)
      return
    }
    move.holds()
    move.returned.push({ ticket, go })
    this.goOn(bareJid, move)
  }

  /** Something for an account that another process has sent is worked on. */
  track(bareJid: string, work: Promise<unknown>): void {
    const all: Promise<unknown> = Promise.allSettled([this.underWay.get(bareJid), work]).then(() => {
      if (this.underWay.get(bareJid) === all) this.underWay.delete(bareJid)
    })
    this.underWay.set(bareJid, all)
  }

  private goOn(bareJid: string, move: Move): void {
    if (move.busy || move.copies > 0) return
    if (move.returned.length > 1) move.returned.sort((one, other) => one.ticket - other.ticket)
    if (!this.empties(move.returned, ({ go }) => go(), bareJid, move)) return
    for (let next = move.forwarded.shift(); next !== undefined; next = move.forwarded.shift()) next()
    for (const goOn of move.waiting.splice(0)) goOn()
    if (move.all > 0 || !this.empties(move.own, (go) => go(), bareJid, move)) return
    if (this.accounts.get(bareJid) === move) this.accounts.delete(bareJid)
  }

  /** Sends what waits, one after the other. @returns false if it goes on when it is known where one of them goes */
  private empties<T>(
    waiting: T[],
    send: (one: T) => Promise<unknown> | undefined,
    bareJid: string,
    move: Move,
  ): boolean {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const one = next
      const looked = this.run(() => send(one))
      if (looked === undefined) continue
      move.busy = true
      const done = () => {
        move.busy = false
        this.goOn(bareJid, move)
      }
      looked.then(done, done)
      return false
    }
    return true
  }

  /** What comes after a stanza that could not be worked on must not be lost with it. */
  private run<T>(go: () => T): T | undefined {
    try {
      return go()
    } catch (error) {
      this.log.error('a stanza that was held back could not be worked on', { error, internal: true })
      return undefined
    }
  }
}
