/**
 * Makes those wait who try passwords. Wrong ones are counted by the address that they come from and by the account
 * that they are for, and forgotten with time:
 *
 * - of an address with some, one login is looked at at a time; with many, each later after the last wrong one;
 * - of an account with many, each login waits a little, never behind others: who attacks it keeps nobody out;
 * - who has logged in to the account from the address before does not wait, until they are wrong several times.
 */

import { randomInt } from 'node:crypto'
import { isIPv6 } from 'node:net'
import type { TimerWheel } from '../timers.ts'

/** Wrong passwords before anybody waits. */
const FREE_BY_ADDRESS = 10
const FREE_BY_ACCOUNT = 5
/** Those of one that has logged in from the same address before. */
const FREE_WHEN_KNOWN = 5
/** Wrong passwords beyond the free ones that are remembered: by then everybody waits the longest time. */
const MOST_COUNTED = 10
/** Seconds after which one of them is forgotten. */
const FORGOTTEN_AFTER = 60
/** Seconds that the first one waits who waits; each further wrong password doubles them. */
const FIRST_WAIT = 0.5
/** Seconds that a login waits at most because of its account. */
const LONGEST_BY_ACCOUNT = 4
/** Logins of one address that are looked at at a time: as many passwords are tried before the first one is counted. */
const AT_ONCE = 64
/** Wrong passwords of an address from which on it is one at a time. */
const ONE_BY_ONE = 5
/** Logins of an address with too many wrong passwords that wait; more are refused. */
const MOST_WAITING = 32
/** Addresses, accounts, and accounts with addresses that are remembered, each; the longest unused go first. */
const MOST_REMEMBERED = 10_000

/** Wrong passwords, of which some have been forgotten since. */
class Failures {
  private count = 0
  private since = Date.now()

  get now(): number {
    const now = Date.now()
    this.count = Math.max(0, this.count - (now - this.since) / 1000 / FORGOTTEN_AFTER)
    this.since = now
    return this.count
  }

  add(most: number): void {
    this.count = Math.min(this.now + 1, most)
  }
}

interface Waiting {
  readonly attempt: LoginAttempt
  readonly resolve: (admitted: boolean) => void
}

/** One address, and who waits there. */
class Place {
  readonly failures = new Failures()
  private checking = 0
  private lastWrong = 0
  private line: Waiting[] = []
  private due = false
  private readonly timers: TimerWheel

  constructor(timers: TimerWheel) {
    this.timers = timers
  }

  /** @returns undefined if the login may be looked at now; otherwise whether it may at last */
  enter(attempt: LoginAttempt): Promise<boolean> | undefined {
    if (this.line.length === 0 && this.hasRoom() && this.wait(attempt) <= 0) {
      this.checking++
      return undefined
    }
    if (this.failures.now >= FREE_BY_ADDRESS && this.line.length >= MOST_WAITING) {
      for (const { resolve } of this.line.filter((one) => one.attempt.isGone())) resolve(false)
      this.line = this.line.filter((one) => !one.attempt.isGone())
      if (this.line.length >= MOST_WAITING) return Promise.resolve(false)
    }
    return new Promise((resolve) => {
      this.line.push({ attempt, resolve })
      this.advance()
    })
  }

  leave(wrong: boolean): void {
    this.checking--
    if (wrong) {
      this.failures.add(FREE_BY_ADDRESS + MOST_COUNTED)
      this.lastWrong = Date.now()
    }
    this.advance()
  }

  private hasRoom(): boolean {
    return this.checking < (this.failures.now < ONE_BY_ONE ? AT_ONCE : 1)
  }

  /** Seconds until it is a login's time. */
  private wait({ longest }: LoginAttempt): number {
    const seconds = waitAfter(this.failures.now - FREE_BY_ADDRESS, longest)
    return seconds === 0 ? 0 : this.lastWrong / 1000 + seconds - Date.now() / 1000
  }

  private advance(): void {
    for (;;) {
      const first = this.line[0]
      if (first === undefined) return
      if (first.attempt.isGone()) {
        this.line.shift()
        first.resolve(false)
        continue
      }
      // Whoever is being looked at lets the next one go on.
      if (!this.hasRoom()) return
      const seconds = this.wait(first.attempt)
      if (seconds > 0) {
        this.advanceAfter(seconds)
        return
      }
      this.line.shift()
      this.checking++
      first.resolve(true)
    }
  }

  private advanceAfter(seconds: number): void {
    if (this.due) return
    this.due = true
    this.timers.after(seconds, () => {
      this.due = false
      this.advance()
    })
  }
}

/** Seconds to wait after so many wrong passwords beyond the free ones. */
function waitAfter(beyond: number, longest: number): number {
  return beyond < 0 ? 0 : Math.min(longest, FIRST_WAIT * 2 ** Math.floor(beyond))
}

/** A table that forgets what was not used for the longest time. */
class Recent<K, V> {
  private readonly entries = new Map<K, V>()

  get(key: K): V | undefined {
    const value = this.entries.get(key)
    if (value !== undefined) this.set(key, value)
    return value
  }

  set(key: K, value: V): void {
    this.entries.delete(key)
    this.entries.set(key, value)
    if (this.entries.size <= MOST_REMEMBERED) return
    const [oldest] = this.entries.keys()
    if (oldest !== undefined) this.entries.delete(oldest)
  }

  delete(key: K): void {
    this.entries.delete(key)
  }
}

/** What a login is judged by. */
export interface LoginCircumstances {
  /** IP address; undefined if only the account counts. */
  readonly address: string | undefined
  readonly host: string
  /** Seconds that it waits at most at a time. */
  readonly longest: number
  /** Whether nobody waits for its outcome any more. */
  isGone(): boolean
}

/** Counts wrong passwords for all hosts of a server. */
export class LoginThrottle {
  readonly timers: TimerWheel
  private readonly places = new Recent<string, Place>()
  private readonly accounts = new Recent<string, Failures>()
  /**
   * How many times who is known there may be wrong. Every account that logs in has an entry, so it is a small one: a
   * number for the pair. Two that have the same by chance, which nobody can bring about, spare somebody a wait.
   */
  private readonly known = new Recent<number, number>()
  private readonly seed = randomInt(2 ** 31)

  constructor(timers: TimerWheel) {
    this.timers = timers
  }

  /** One login that begins. */
  begin(circumstances: LoginCircumstances): LoginAttempt {
    return new LoginAttempt(this, circumstances)
  }

  placeOf(network: string): Place {
    let place = this.places.get(network)
    if (place === undefined) {
      place = new Place(this.timers)
      this.places.set(network, place)
    }
    return place
  }

  isKnown(network: string, account: string): boolean {
    return this.known.get(this.pairOf(network, account)) !== undefined
  }

  /** Seconds that a login to an account waits. */
  accountWait(account: string, longest: number): number {
    const failures = this.accounts.get(account)
    if (failures === undefined) return 0
    return waitAfter(failures.now - FREE_BY_ACCOUNT, Math.min(longest, LONGEST_BY_ACCOUNT))
  }

  wrong(network: string, account: string): void {
    let failures = this.accounts.get(account)
    if (failures === undefined) {
      failures = new Failures()
      this.accounts.set(account, failures)
    }
    failures.add(FREE_BY_ACCOUNT + MOST_COUNTED)
    const pair = this.pairOf(network, account)
    const left = this.known.get(pair)
    if (left === undefined) return
    if (left <= 1) this.known.delete(pair)
    else this.known.set(pair, left - 1)
  }

  right(network: string, account: string): void {
    this.known.set(this.pairOf(network, account), FREE_WHEN_KNOWN)
  }

  /** FNV-1a, begun with what nobody knows. */
  private pairOf(network: string, account: string): number {
    let hash = this.seed
    for (const text of [network, ' ', account]) {
      for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
    }
    // What V8 keeps without an object of its own.
    return hash >>> 2
  }
}

/** One login: it may have to wait before its password is looked at. */
export class LoginAttempt {
  readonly longest: number
  private readonly throttle: LoginThrottle
  private readonly circumstances: LoginCircumstances
  private readonly network: string
  private account: string | undefined
  private place: Place | undefined

  constructor(throttle: LoginThrottle, circumstances: LoginCircumstances) {
    this.throttle = throttle
    this.circumstances = circumstances
    this.longest = circumstances.longest
    this.network = circumstances.address === undefined ? '' : networkOf(circumstances.address)
  }

  isGone(): boolean {
    return this.circumstances.isGone()
  }

  /**
   * Asks whether the password may be looked at.
   *
   * @returns undefined if so; otherwise resolves when it is time, to false if that will not be
   */
  admit(username: string): Promise<boolean> | undefined {
    const account = `${username}@${this.circumstances.host}`
    this.account = account
    if (this.throttle.isKnown(this.network, account)) return undefined
    const seconds = this.throttle.accountWait(account, this.longest)
    if (seconds === 0) return this.enter()
    return new Promise((resolve) => {
      // Nobody hears of a password then that is looked at.
      this.throttle.timers.after(seconds, () => resolve(!this.isGone() && (this.enter() ?? true)))
    })
  }

  /** The password was looked at. */
  ended(outcome: 'right' | 'wrong' | 'unknown'): void {
    const { account, place, network } = this
    this.account = undefined
    this.place = undefined
    if (account !== undefined && outcome === 'wrong') this.throttle.wrong(network, account)
    if (account !== undefined && outcome === 'right') this.throttle.right(network, account)
    place?.leave(outcome === 'wrong')
  }

  private enter(): Promise<boolean> | undefined {
    if (this.circumstances.address === undefined) return undefined
    const place = this.throttle.placeOf(this.network)
    const entered = place.enter(this)
    if (entered === undefined) {
      this.place = place
      return undefined
    }
    return entered.then((admitted) => {
      if (admitted) this.place = place
      return admitted
    })
  }
}

/**
 * What one subscriber has of addresses: of IPv6 the first 64 bits, since all of the others are theirs.
 *
 * @param address - as the system writes it
 */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address
  const [text = ''] = address.split('%')
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(text)?.[1]
  if (mapped !== undefined) return mapped
  const [head = '', tail] = text.split('::')
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    // A dotted quad at the end stands for two groups.
    const behind = tail === '' ? 0 : tail.split(':').length + (tail.includes('.') ? 1 : 0)
    while (groups.length + behind < 8) groups.push('0')
    if (tail !== '') groups.push(...tail.split(':'))
  }
  const first = groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16))
  return `${first.join(':')}::/64`
}
