/**
 * Work that one process does at a time: each waits for its turn in a queue in Redis, first come, first served. Who
 * has died, or says that it is done, is taken out of the queue by whoever waits behind it.
 */

import { StanzaError } from '../stanza/errors.ts'
import type { Bus } from './bus.ts'
import type { Calls } from './calls.ts'
import type { AccountRegistry } from './registry.ts'
import { Signal } from './signal.ts'

/** Milliseconds that a turn is waited for, at most. */
const MOST_MS = 10_000
/** Milliseconds after which is asked again: who was asked may have died. */
const ASK_MS = 500
const ASK = 'cluster/turn'
const OVER = 'cluster/turn-over'

/** Ends a turn: the next one may begin. */
export type EndOfTurn = () => void

export class Turns {
  private readonly bus: Bus
  private readonly calls: Calls
  private readonly registry: AccountRegistry
  private count = 0
  /** Turns of this process, waiting or begun, and who wants to hear of their end. */
  private readonly own = new Map<string, Set<string>>()
  /** Turns of others that are waited for here. */
  private readonly awaited = new Map<string, { readonly signal: Signal; over: boolean }>()

  constructor(bus: Bus, calls: Calls, registry: AccountRegistry) {
    this.bus = bus
    this.calls = calls
    this.registry = registry
    calls.on(ASK, (token, from) => {
      const askers = this.own.get(token as string)
      if (askers === undefined) this.calls.tell([from.id], OVER, token)
      else askers.add(from.id)
    })
    calls.on(OVER, (token) => {
      const turn = this.awaited.get(token as string)
      if (turn === undefined) return
      turn.over = true
      turn.signal.fire()
    })
  }

  /**
   * Waits for a turn.
   *
   * @param name - of what is done by one process at a time; this process takes each name once at a time
   * @returns what ends it; it has to be called
   * @throws StanzaError (as a rejection) of type `wait` if Redis is away, or those before take too long
   */
  async take(name: string): Promise<EndOfTurn> {
    const token = `${this.bus.self.id} ${++this.count}`
    this.own.set(token, new Set())
    const end = () => this.end(name, token)
    const deadline = performance.now() + MOST_MS
    const over: string[] = []
    try {
      while (performance.now() < deadline) {
        const first = await this.registry.queueFor(name, token, over)
        if (first === token) return end
        if (await this.isOver(first)) over.push(first)
      }
    } catch {
      // It is not known whether it stands in the queue.
      end()
      throw new StanzaError('resource-constraint', 'What other processes do can not be found out now', 'wait')
    }
    end()
    throw new StanzaError('resource-constraint', 'Another process takes too long', 'wait')
  }

  private end(name: string, token: string): void {
    const askers = this.own.get(token)
    this.own.delete(token)
    if (askers !== undefined) this.calls.tell(askers, OVER, token)
    // If that fails, whoever waits behind it asks, and hears that it is over.
    this.registry.leaveQueue(name, token).catch(() => {})
  }

  /** Waits for the end of somebody's turn for some time. @returns whether it has ended */
  private async isOver(token: string): Promise<boolean> {
    const id = token.slice(0, token.indexOf(' '))
    // One of this process that could not be taken out of the queue.
    if (id === this.bus.self.id && !this.own.has(token)) return true
    if (!this.bus.members.has(id) && (await this.registry.isGone(id))) return true
    const turn = { signal: new Signal(), over: false }
    this.awaited.set(token, turn)
    try {
      this.calls.tell([id], ASK, token) // not sent to this process itself
      await turn.signal.wait(ASK_MS)
      return turn.over
    } finally {
      this.awaited.delete(token)
    }
  }
}
