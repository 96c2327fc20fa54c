/** Lets two accounts change what is between them one at a time, so that both rosters see the changes in one order. */

/** Work on pairs of bare JIDs; work on different pairs does not wait for each other. */
export class Pairs {
  private readonly tails = new Map<string, Promise<unknown>>()

  /** Runs work when all that was given before for the same two is done, whoever of them came first. */
  run<T>(one: string, other: string, work: () => Promise<T>): Promise<T> {
    const key = keyOf(one, other)
    const before = this.tails.get(key)
    const result = before === undefined ? work() : before.then(work)
    this.follow(key, result)
    return result
  }

  /**
   * The same where other processes work on the pair as well: each does when it is its turn.
   *
   * @param take - waits for the turn of this process, and gives what ends it; if it fails, so does this
   * @param written - resolves when all is written that the work has changed
   */
  runInTurn<T>(
    one: string,
    other: string,
    work: () => Promise<T>,
    take: (name: string) => Promise<() => void>,
    written: () => Promise<unknown>,
  ): Promise<T> {
    const key = keyOf(one, other)
    return new Promise((resolve, reject) => {
      const turn = async () => {
        const end = await take(key)
        const result = work()
        // Whoever waits for the result, as the one who has asked, does not wait for the other's roster.
        result.then(resolve, reject)
        await result.then(written, written).finally(end)
      }
      const before = this.tails.get(key)
      const over = before === undefined ? turn() : before.then(turn)
      over.catch(reject)
      this.follow(key, over)
    })
  }

  private follow(key: string, work: Promise<unknown>): void {
    const settled = () => {
      if (this.tails.get(key) === tail) this.tails.delete(key)
    }
    const tail: Promise<unknown> = work.then(settled, settled)
    this.tails.set(key, tail)
  }
}

function keyOf(one: string, other: string): string {
  // A space is in no bare JID.
  return one < other ? `${one} ${other}` : `${other} ${one}`
}
