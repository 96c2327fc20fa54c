/** Requests that are under way: how many there may be, for how long, and on which connection they came. */

import { StanzaError } from '../server/stanza/errors.ts'

/** One request's place. */
export interface Place {
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal
  /** Whether the connection is still the one on which the request came. */
  readonly connected: boolean
  readonly timedOut: boolean
  /** Rejects when the time is over. */
  readonly over: Promise<never>
  /** Makes the place free. */
  leave(): void
}

/** Places for requests. One of a connection that is gone keeps its place until its handler is done. */
export class InFlight {
  private readonly most: number
  private readonly mostPerAsker: number
  private readonly timeout: number
  private readonly byAsker = new Map<string, number>()
  private readonly controllers = new Set<AbortController>()
  private connection = 0
  size = 0

  /** @param timeout - milliseconds */
  constructor(most: number, mostPerAsker: number, timeout: number) {
    this.most = most
    this.mostPerAsker = mostPerAsker
    this.timeout = timeout
  }

  /** A place; undefined if there is none left. @param asker - whose requests are counted together */
  take(asker: string): Place | undefined {
    const ofAsker = this.byAsker.get(asker) ?? 0
    if (this.size >= this.most || ofAsker >= this.mostPerAsker) return undefined
    this.size++
    this.byAsker.set(asker, ofAsker + 1)
    const controller = new AbortController()
    this.controllers.add(controller)
    const { connection } = this
    let timer: NodeJS.Timeout | undefined
    let timedOut = false
    const over = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        timedOut = true
        const reason = new StanzaError('remote-server-timeout', `no answer within ${this.timeout / 1000} s`)
        reject(reason)
        controller.abort(reason)
      }, this.timeout)
    })
    const isCurrent = (): boolean => connection === this.connection
    return {
      signal: controller.signal,
      over,
      get connected() {
        return isCurrent()
      },
      get timedOut() {
        return timedOut
      },
      leave: () => {
        clearTimeout(timer)
        this.controllers.delete(controller)
        this.size--
        const left = this.byAsker.get(asker)! - 1
        if (left > 0) this.byAsker.set(asker, left)
        else this.byAsker.delete(asker)
      },
    }
  }

  /** The connection is gone: nobody waits for these any more. */
  abandon(): void {
    this.connection++
    for (const controller of this.controllers) controller.abort(new Error('the connection is gone'))
    this.controllers.clear()
  }
}
