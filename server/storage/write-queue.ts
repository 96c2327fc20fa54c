/** Gathers writes into transactions, in the order of the calls. */

import { ABORT } from 'lmdb'
import type { Database } from './lmdb-file.ts'
import { explain } from './lmdb-file.ts'
import { StorageError } from './types.ts'

/** Writes in one transaction. It runs on this thread while nobody else in the process can: keep it short. */
const BATCH = 500

interface Write {
  /** May throw before it writes, not after. */
  run: () => unknown
  resolve: (result: unknown) => void
  reject: (reason: unknown) => void
}

/**
 * What is put in while a commit is on its way to the disk makes up the next one: one flush serves all of them.
 */
export class WriteQueue {
  readonly #db: Database
  readonly #file: string
  #waiting: Write[] = []
  #working: Promise<void> | undefined
  #closed = false

  constructor(db: Database, file: string) {
    this.#db = db
    this.#file = file
  }

  /**
   * @param run reads and writes inside of a transaction; when it throws, before it has written anything, only
   *   its own promise is rejected
   * @returns what `run` gave, once it is on the disk
   */
  add<R>(run: () => R): Promise<R> {
    if (this.#closed) return Promise.reject(new StorageError('closed', 'the storage is closed'))
    return new Promise<R>((resolve, reject) => {
      this.#waiting.push({ run, resolve: resolve as (result: unknown) => void, reject })
      this.#working ??= this.#work()
    })
  }

  /** Waits for what was added, and takes no more. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#working
  }

  async #work(): Promise<void> {
    // The calls of this turn belong together.
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#waiting.length > 0) await this.#commit(this.#waiting.splice(0, BATCH))
    this.#working = undefined
  }

  async #commit(batch: Write[]): Promise<void> {
    const settle: (() => void)[] = []
    let failure: unknown
    try {
      // A child transaction: when LMDB fails in the midst of it, nothing of it stays.
      await this.#db.childTransaction(() => {
        for (const write of batch) {
          const before = this.#writes
          try {
            const result = write.run()
            settle.push(() => write.resolve(result))
          } catch (error) {
            if (this.#writes !== before) {
              failure = error
              return ABORT
            }
            settle.push(() => write.reject(error))
          }
        }
        return undefined
      })
    } catch (error) {
      failure = await cause(error)
    }
    if (failure === undefined) for (const done of settle) done()
    else for (const { reject } of batch) reject(explain(failure, this.#file, 'write'))
  }

  #writes = 0

  /** Only inside of `run`. */
  put(key: Buffer, text: string): void {
    this.#writes++
    this.#db.put(key, text)
  }

  /** Only inside of `run`. */
  remove(key: Buffer): void {
    this.#writes++
    this.#db.remove(key)
  }
}

/** lmdb hides why a commit failed in a promise that is always rejected. */
async function cause(error: unknown): Promise<unknown> {
  const { commitError } = error as { commitError?: Promise<never> }
  return commitError === undefined ? error : commitError.catch((reason: unknown) => reason)
}
