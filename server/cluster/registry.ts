/**
 * Which process holds which resource of an account, for certain: what a bind changes at once, for all processes.
 *
 * Redis keeps it, under `PREFIX:{aBUCKET}:bound:USER@HOST`, as a hash of resource → `MEMBER SESSION`. An entry of
 * a process that is gone counts as none.
 */

import { randomInt } from 'node:crypto'
import type { RedisClient, RedisConnection } from '../redis/index.ts'

/**
 * Sets a resource that is as the caller believes, and answers nothing; else answers all of the account's.
 *
 *     KEYS  the account
 *     ARGV  the resource, its owner or '' as it is believed, how many resources there are, the new owner
 */
const CLAIM = `
local now = redis.call('HGET', KEYS[1], ARGV[1])
if (now or '') == ARGV[2] and (now or redis.call('HLEN', KEYS[1]) == tonumber(ARGV[3])) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
  return nil
end
return redis.call('HGETALL', KEYS[1])
`

/** Takes a resource away if it is still the owner's. */
const RELEASE = `
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
return nil
`

/**
 * Gives a bucket away.
 *
 *     KEYS  the component's buckets
 *     ARGV  the bucket, who is to have it, the connections that there are
 */
const CLAIM_BUCKET = `
local owner = redis.call('HGET', KEYS[1], ARGV[1])
if owner then
  for i = 3, #ARGV do if ARGV[i] == owner then return owner end end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return ARGV[2]
`

/**
 * Takes others out of a queue, and puts somebody at its end who is not in it.
 *
 *     KEYS  the queue
 *     ARGV  who it is, the milliseconds for which the queue is kept, those who are to be taken out
 */
const QUEUE = `
for i = 3, #ARGV do redis.call('LREM', KEYS[1], 0, ARGV[i]) end
if not redis.call('LPOS', KEYS[1], ARGV[1]) then redis.call('RPUSH', KEYS[1], ARGV[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('LINDEX', KEYS[1], 0)
`

/** Milliseconds for which a queue is kept that nobody has come to: longer than any work in it takes. */
const QUEUE_MS = 60_000

/** Milliseconds in which Redis must be there for joining. */
const READY_MS = 10_000

const BUCKETS = 1024

/** Who has a resource. */
export interface Owner {
  readonly member: string
  /** The id of the session there. */
  readonly session: string
}

export class AccountRegistry {
  private readonly connection: RedisConnection
  private readonly client: RedisClient
  private readonly prefix: string
  private readonly underWay = new Set<Promise<unknown>>()

  constructor(connection: RedisConnection, prefix: string) {
    this.connection = connection
    this.client = connection.client
    this.prefix = prefix
  }

  /** Waits for what is under way, and ends. */
  async close(): Promise<void> {
    await Promise.allSettled(this.underWay)
    await this.connection.close()
  }

  /** Whoever holds resources of an account. @throws Error (as a rejection) if Redis is away */
  async ownersOf(host: string, username: string): Promise<Map<string, Owner>> {
    return readOwners(await this.client.hgetall(this.key(host, username)))
  }

  /**
   * Sets the owner of a resource.
   *
   * @param known - who is believed to hold resources of the account
   * @returns undefined if it is set; else who does hold resources, and nothing is changed
   */
  async claim(
    host: string,
    username: string,
    resource: string,
    known: ReadonlyMap<string, Owner>,
    owner: Owner,
  ): Promise<Map<string, Owner> | undefined> {
    const before = known.get(resource)
    const now = (await this.client.eval(
      CLAIM,
      1,
      this.key(host, username),
      resource,
      before === undefined ? '' : write(before),
      known.size,
      write(owner),
    )) as string[] | null
    if (now === null) return undefined
    const pairs: Record<string, string> = {}
    for (let at = 0; at < now.length; at += 2) pairs[now[at]!] = now[at + 1]!
    return readOwners(pairs)
  }

  async release(host: string, username: string, resource: string, owner: Owner): Promise<void> {
    await this.beforeClosing(this.client.eval(RELEASE, 1, this.key(host, username), resource, write(owner)))
  }

  /**
   * Stands in a queue.
   *
   * @param name - of the queue
   * @param token - `MEMBER NUMBER` of who does
   * @param over - of those who are not to stand in it any longer
   * @returns who is the first in it
   */
  async queueFor(name: string, token: string, over: readonly string[]): Promise<string> {
    return (await this.client.eval(QUEUE, 1, this.queue(name), token, QUEUE_MS, ...over)) as string
  }

  async leaveQueue(name: string, token: string): Promise<void> {
    await this.beforeClosing(this.client.lrem(this.queue(name), 0, token))
  }

  /** Whether somebody is no member, as Redis has it: this process may not have heard yet that they are. */
  async isGone(member: string): Promise<boolean> {
    return (await this.client.hexists(`{${this.prefix}:cluster}:members`, member)) === 0
  }

  /**
   * Gives a bucket of a component to a connection, unless one of those that are there has it.
   *
   * @returns whose it is now
   */
  async claimBucket(
    domain: string,
    bucket: number,
    candidate: string,
    there: readonly string[],
  ): Promise<string> {
    const key = `{${this.prefix}:cluster}:claims:${domain}`
    return (await this.client.eval(CLAIM_BUCKET, 1, key, bucket, candidate, ...there)) as string
  }

  /** A number that was made up once for all processes. */
  async sharedSeed(): Promise<number> {
    if (!(await this.connection.whenReady(READY_MS))) {
      throw new Error(
        `the cluster can not be joined: Redis is away (${this.connection.reason ?? 'it does not answer'})`,
      )
    }
    const key = `{${this.prefix}:cluster}:seed`
    await this.client.setnx(key, randomInt(2 ** 32))
    return Number(await this.client.get(key))
  }

  /** A number greater than all before it. */
  nextSequence(): Promise<number> {
    return this.client.incr(`{${this.prefix}:cluster}:sequence`)
  }

  private async beforeClosing(command: Promise<unknown>): Promise<void> {
    this.underWay.add(command)
    try {
      await command
    } finally {
      this.underWay.delete(command)
    }
  }

  private queue(name: string): string {
    return `${this.prefix}:{a${bucketOf(name)}}:turn:${name}`
  }

  private key(host: string, username: string): string {
    return `${this.prefix}:{a${bucketOf(`${username}@${host}`)}}:bound:${username}@${host}`
  }
}

function write({ member, session }: Owner): string {
  return `${member} ${session}`
}

function readOwners(pairs: Record<string, string>): Map<string, Owner> {
  const owners = new Map<string, Owner>()
  for (const resource of Object.keys(pairs)) {
    const [member = '', session = ''] = pairs[resource]!.split(' ')
    owners.set(resource, { member, session })
  }
  return owners
}

function bucketOf(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return (hash >>> 0) % BUCKETS
}
