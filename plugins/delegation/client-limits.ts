/** How often something may happen: counted in windows of time, by key (U4). */

import type { Host } from '../../server/index.ts'
import { askKeeper } from './client-keeper.ts'

/** Keys that are kept before those whose window is over are let go. */
const SWEEP_AT = 1000

interface Window {
  count: number
  readonly until: number
}

/** Lets so many through for each key in each window. */
export class RateLimit {
  private readonly most: number
  private readonly milliseconds: number
  private readonly windows = new Map<string, Window>()
  private sweepAt = SWEEP_AT

  /** @param seconds - how long a window is, from its first event */
  constructor(most: number, seconds: number) {
    this.most = most
    this.milliseconds = seconds * 1000
  }

  /** How many keys are kept. */
  get size(): number {
    return this.windows.size
  }

  /** Counts one more. @returns whether it may happen */
  take(key: string): boolean {
    const now = Date.now()
    let window = this.windows.get(key)
    if (window === undefined || window.until <= now) {
      window = { count: 0, until: now + this.milliseconds }
      this.windows.set(key, window)
      if (this.windows.size > this.sweepAt) this.sweep(now)
    }
    return ++window.count <= this.most
  }

  private sweep(now: number): void {
    for (const [key, { until }] of this.windows) if (until <= now) this.windows.delete(key)
    this.sweepAt = Math.max(SWEEP_AT, this.windows.size * 2)
  }
}

/** U4: requests of one entity in a minute, whomever it asks. */
const MOST_OF_ENTITY = 60
/** U4: requests of one entity to one account in ten minutes. */
const MOST_OF_PAIR = 10

interface Taking {
  readonly entity: string
  /** Whom it asks; null where that does not matter. */
  readonly account: string | null
}

/** How often entities ask on one host; where several processes are one server, at all of them together. */
export class EntityLimits {
  private readonly host: Host
  private readonly call: string
  private readonly ofEntity = new RateLimit(MOST_OF_ENTITY, 60)
  private readonly ofPair = new RateLimit(MOST_OF_PAIR, 600)
  /** What is asked here, wherever it is counted: who asks again and again does not make work for the others. */
  private readonly askedHere = new RateLimit(MOST_OF_ENTITY, 60)
  private undo: (() => void) | undefined

  constructor(host: Host) {
    this.host = host
    this.call = `delegation/count ${host.name}`
  }

  /** Counts for the other processes as well. */
  start(): void {
    this.undo = this.host.server.cluster?.calls.on(this.call, (data) => this.count(data as Taking))
  }

  stop(): void {
    this.undo?.()
  }

  /** Counts a request. @returns whether the entity may make it */
  takeRequest(entity: string): boolean | Promise<boolean> {
    if (this.host.server.cluster === undefined) return this.ofEntity.take(entity)
    return this.askedHere.take(entity) && this.take({ entity, account: null })
  }

  /** Counts a request to an account, whether or not that exists. @returns whether the entity may make it */
  takeRequestTo(entity: string, account: string): boolean | Promise<boolean> {
    return this.host.server.cluster === undefined
      ? this.count({ entity, account })
      : this.take({ entity, account })
  }

  private take(taking: Taking): Promise<boolean> {
    return askKeeper(this.host, taking.entity, this.call, taking, (own) => this.count(own))
  }

  private count({ entity, account }: Taking): boolean {
    return account === null ? this.ofEntity.take(entity) : this.ofPair.take(`${entity} ${account}`)
  }
}
