/** Runs scripts, and where the operator wishes it, waits until replicas have what they wrote (`wait_replicas`). */

import { createHash } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'
import type { Logger } from '../log.ts'
import { RedisConnection } from '../redis/index.ts'
import { StorageError } from './types.ts'

/** Milliseconds that replicas may take. */
const REPLICAS_MS = 1000
/** Milliseconds after which what was refused is not sent again. */
const AGAIN_MS = 1000
/** How often a script is sent again that a node of a cluster has refused because its keys have moved. */
const REDIRECTIONS = 5

interface Call {
  readonly script: string
  readonly sha: string
  readonly keys: readonly string[]
  readonly args: readonly string[]
}

/**
 * WAIT counts the replicas that have what its own connection wrote, so both go over one connection, one right
 * after the other; and as it holds up the connection, that is another one than the one for reading.
 */
export class ReplicatedScripts {
  /** All that is to be ready before a write can succeed. */
  readonly connections: readonly RedisConnection[]
  readonly #connection: RedisConnection
  readonly #replicas: number
  readonly #hashes = new Map<string, string>()
  #waiting: Promise<void> | undefined

  /** @param reading the connection for reading, which also writes where there are no replicas to wait for */
  constructor(reading: RedisConnection, log: Logger) {
    this.#replicas = reading.settings.waitReplicas
    this.#connection =
      this.#replicas === 0 ? reading : new RedisConnection(reading.settings, { purpose: 'writes', log })
    this.connections = this.#replicas === 0 ? [reading] : [reading, this.#connection]
  }

  /**
   * @returns what the script answers
   * @throws what Redis says, or StorageError `unavailable` if too few replicas have it
   */
  async run(script: string, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    const call = { script, sha: this.#sha(script), keys, args }
    const deadline = Date.now() + AGAIN_MS
    for (let left = REDIRECTIONS; ; left--) {
      try {
        return await this.#once(call, 'sha')
      } catch (error) {
        const { message } = error as Error
        // In each of these cases nothing was carried out.
        if (message.startsWith('NOSCRIPT') && Date.now() < deadline) return await this.#once(call, 'whole')
        if (left === 0 || Date.now() > deadline || !/^(MOVED|ASK|TRYAGAIN)\b/.test(message)) throw error
        await this.#learnSlots()
      }
    }
  }

  /** Ends the connection for writing, if there is one. */
  async close(): Promise<void> {
    for (const connection of this.connections.slice(1)) await connection.close()
  }

  async #once({ script, sha, keys, args }: Call, form: 'sha' | 'whole'): Promise<unknown> {
    const { client } = this.#connection
    const text = form === 'sha' ? sha : script
    const rest = [...keys, ...args]
    if (client.isCluster && this.#replicas > 0) {
      const both = client.pipeline()
      if (form === 'sha') both.evalsha(text, keys.length, ...rest)
      else both.eval(text, keys.length, ...rest)
      both.wait(this.#replicas, REPLICAS_MS)
      const [answer, replicas] = (await both.exec()) ?? []
      const failure = answer?.[0] ?? replicas?.[0]
      if (failure) throw failure
      this.#check(replicas?.[1])
      return answer?.[1]
    }
    const answer =
      form === 'sha' ? client.evalsha(text, keys.length, ...rest) : client.eval(text, keys.length, ...rest)
    if (this.#replicas === 0) return answer
    // It has to be sent before anything can be answered: a later one may go over another connection.
    const [result, replicas] = await Promise.allSettled([answer, this.#replicated(client as Redis)])
    if (result.status === 'rejected') throw result.reason
    if (replicas.status === 'rejected') throw replicas.reason
    return result.value
  }

  /** One WAIT for all scripts of this turn, behind them. */
  #replicated(client: Redis): Promise<void> {
    this.#waiting ??= new Promise<void>((resolve, reject) => {
      process.nextTick(() => {
        this.#waiting = undefined
        client
          .wait(this.#replicas, REPLICAS_MS)
          .then((count) => this.#check(count))
          .then(resolve, reject)
      })
    })
    return this.#waiting
  }

  #check(count: unknown): void {
    if (Number(count) >= this.#replicas) return
    throw new StorageError(
      'unavailable',
      `the change was made, but ${count} of the ${this.#replicas} replicas that redis.wait_replicas asks for have ` +
        'it: it may be lost if Redis fails now. Look after the replicas, and try again',
    )
  }

  #learnSlots(): Promise<void> {
    const { client } = this.#connection
    return new Promise((resolve) => {
      if (client.isCluster) (client as Cluster).refreshSlotsCache(() => resolve())
      else resolve()
    })
  }

  #sha(script: string): string {
    let sha = this.#hashes.get(script)
    if (sha === undefined) {
      sha = createHash('sha1').update(script).digest('hex')
      this.#hashes.set(script, sha)
    }
    return sha
  }
}
