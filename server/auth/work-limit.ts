/** Keeps costly asynchronous work from taking the whole process. */

/** Too much work waits already. Come back later. */
export class WorkLimitError extends Error {
  constructor(waiting: number) {
    super(`too many passwords wait to be checked (${waiting}); try again later`)
    this.name = 'WorkLimitError'
  }
}

/** Runs a few pieces of work at a time, first come first served. */
export class WorkLimit {
  readonly #parallel: number
  readonly #maxWaiting: number
  #running = 0
  #waiting: (() => void)[] = []

  /**
   * @param parallel pieces of work at a time
   * @param maxWaiting pieces that may wait; more are refused
   */
  constructor(parallel: number, maxWaiting: number) {
    this.#parallel = parallel
    this.#maxWaiting = maxWaiting
  }

  /** @throws WorkLimitError if too much waits already */
  async run<R>(work: () => Promise<R>): Promise<R> {
    if (this.#running < this.#parallel) this.#running++
    else {
      if (this.#waiting.length >= this.#maxWaiting) throw new WorkLimitError(this.#waiting.length)
      // Who ends hands its place over, so that nobody slips in between.
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#running--
      else next()
    }
  }
}
