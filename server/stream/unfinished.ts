/** What somebody's stanzas have begun and what goes on beside their next ones: nothing is acknowledged before. */

interface Waiter {
  /** Number of the last work that it waits for. */
  readonly last: number
  readonly elsewhere: boolean
  /** How many of those go on. */
  left: number
  /** Later ones that go on, and that some of those have become. */
  also: Set<object> | undefined
  readonly resolve: () => void
}

/** The unfinished work of one origin. Works are told apart by identity. */
export class Unfinished {
  /** Works with their numbers, in the order in which they were begun. */
  private readonly here = new Map<object, number>()
  /** What other processes have taken over. */
  private readonly elsewhere = new Map<object, number>()
  /** How many have been begun, ever. */
  begun = 0
  private waiters: Waiter[] | undefined

  /** How much goes on in this process. */
  get count(): number {
    return this.here.size
  }

  /** @param elsewhere - whether another process does it */
  begin(work: object, elsewhere = false): void {
    const works = elsewhere ? this.elsewhere : this.here
    // Begun twice, it is over at its first end.
    if (!works.has(work)) works.set(work, ++this.begun)
  }

  /**
   * @param since - how many had been begun before it was handed on: whoever has waited for it waits for what has been
   *   begun since then, too
   */
  end(work: object, since = this.begun): void {
    const here = this.here.get(work)
    const number = here ?? this.elsewhere.get(work)
    if (number === undefined) return
    if (here === undefined) this.elsewhere.delete(work)
    else this.here.delete(work)
    if (this.waiters === undefined) return
    this.waiters = this.waiters.filter((waiter) => {
      const isFirst = number <= waiter.last && (here !== undefined || waiter.elsewhere)
      if (!isFirst && waiter.also?.delete(work) !== true) return true
      if (since < this.begun) this.prolong(waiter, since)
      if (--waiter.left > 0) return true
      waiter.resolve()
      return false
    })
    if (this.waiters.length === 0) this.waiters = undefined
  }

  private prolong(waiter: Waiter, since: number): void {
    for (const works of waiter.elsewhere ? [this.here, this.elsewhere] : [this.here]) {
      for (const [work, number] of works) {
        if (number <= since || number <= waiter.last || waiter.also?.has(work)) continue
        waiter.also ??= new Set()
        waiter.also.add(work)
        waiter.left++
      }
    }
  }

  /**
   * Waits for what has been begun so far.
   *
   * @param elsewhere - also for what other processes do
   * @returns a promise that does not fail; undefined if all is done
   */
  done(elsewhere: boolean): Promise<void> | undefined {
    const left = this.here.size + (elsewhere ? this.elsewhere.size : 0)
    if (left === 0) return undefined
    return new Promise((resolve) => {
      this.waiters ??= []
      this.waiters.push({ last: this.begun, elsewhere, left, also: undefined, resolve })
    })
  }
}
