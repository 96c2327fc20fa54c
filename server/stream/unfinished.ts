/** What somebody's stanzas have begun and what goes on beside their next ones: nothing is acknowledged before. */

interface Waiter {
  /** Number of the last work that it waits for. */
  readonly last: number
  readonly elsewhere: boolean
  /** How many of those go on. */
  left: number
  readonly resolve: () => void
}

/** The unfinished work of one origin. Works are told apart by identity. */
export class Unfinished {
  /** Works with their numbers, in the order in which they were begun. */
  private readonly here = new Map<object, number>()
  /** What other processes have taken over. */
  private readonly elsewhere = new Map<object, number>()
  private begun = 0
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

  end(work: object): void {
    const here = this.here.get(work)
    const number = here ?? this.elsewhere.get(work)
    if (number === undefined) return
    if (here === undefined) this.elsewhere.delete(work)
    else this.here.delete(work)
    if (this.waiters === undefined) return
    this.waiters = this.waiters.filter((waiter) => {
      if (number > waiter.last || (here === undefined && !waiter.elsewhere)) return true
      if (--waiter.left > 0) return true
      waiter.resolve()
      return false
    })
    if (this.waiters.length === 0) this.waiters = undefined
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
      this.waiters.push({ last: this.begun, elsewhere, left, resolve })
    })
  }
}
