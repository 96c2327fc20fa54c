/** What somebody's stanzas have begun and what goes on beside their next ones: nothing is acknowledged before. */

interface Waiter {
  readonly left: Set<object>
  readonly resolve: () => void
}

/** The unfinished work of one origin. Works are told apart by identity. */
export class Unfinished {
  private readonly here = new Set<object>()
  /** What other processes have taken over. */
  private readonly elsewhere = new Set<object>()
  private waiters: Waiter[] | undefined

  /** How much goes on in this process. */
  get count(): number {
    return this.here.size
  }

  /** @param elsewhere - whether another process does it */
  begin(work: object, elsewhere = false): void {
    if (elsewhere) this.elsewhere.add(work)
    else this.here.add(work)
  }

  end(work: object): void {
    if (!this.here.delete(work) && !this.elsewhere.delete(work)) return
    if (this.waiters === undefined) return
    this.waiters = this.waiters.filter(({ left, resolve }) => {
      left.delete(work)
      if (left.size > 0) return true
      resolve()
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
    if (this.here.size === 0 && (!elsewhere || this.elsewhere.size === 0)) return undefined
    const left = new Set(this.here)
    if (elsewhere) for (const work of this.elsewhere) left.add(work)
    return new Promise((resolve) => {
      this.waiters ??= []
      this.waiters.push({ left, resolve })
    })
  }
}
