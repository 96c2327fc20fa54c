/** Lets two accounts change what is between them one at a time, so that both rosters see the changes in one order. */

/** Work on pairs of bare JIDs; work on different pairs does not wait for each other. */
export class Pairs {
  private readonly tails = new Map<string, Promise<unknown>>()

  /** Runs work when all that was given before for the same two is done, whoever of them came first. */
  run<T>(one: string, other: string, work: () => Promise<T>): Promise<T> {
    // A space is in no bare JID.
    const key = one < other ? `${one} ${other}` : `${other} ${one}`
    const before = this.tails.get(key)
    const result = before === undefined ? work() : before.then(work)
    const settled = () => {
      if (this.tails.get(key) === tail) this.tails.delete(key)
    }
    const tail: Promise<unknown> = result.then(settled, settled)
    this.tails.set(key, tail)
    return result
  }
}
