/** The cluster's commands to Redis, and what it answers. Each counts. */

import { ClusterKeys } from './keys.ts'
import type { ChangeBatch } from './publication.ts'
import { FLUSH, JOIN, REMOVE, ROSTER, type Script } from './scripts.ts'

/** Microseconds for which changes stay in their stream; who has not read them by then asks for everything. */
const KEEP_CHANGES_US = 60_000_000
/** Seconds for which is remembered that a member is gone, so that it learns of it when it comes back. */
const REMEMBER_S = 7 * 24 * 3600
const PAGE = 1000
/** Entries of a stream that are read at once. */
const READ_COUNT = 100

/** What is used of a client of Redis. */
export interface ClusterClient {
  call(command: string, ...args: (string | number)[]): Promise<unknown>
}

/** One connection. `RedisConnection` of server/redis is one. */
export interface ClusterConnection {
  readonly client: ClusterClient
  /** Waits until commands can be sent. @returns false if they can not within the milliseconds */
  whenReady(ms: number): Promise<boolean>
  close(): Promise<void>
}

/** Something to send: a batch of changes, or messages to a member with the receipt for its own. */
export type Operation =
  | ChangeBatch
  | { readonly to: string; readonly receipt: string; readonly packed: string }

/** What Redis knows of a member's changes. */
export interface Stored {
  readonly seq: number
  /** Id of the last one in the stream. */
  readonly at: number
  readonly complete: boolean
}

export interface FlushReply {
  /** `unknown`: Redis has lost that this is a member. `behind`: it has lost changes; those sent were not stored. */
  readonly status: 'ok' | 'behind' | 'unknown' | 'expelled'
  readonly clock: number
  /** Grows with each command of this member. */
  readonly beat: number
  /** Number of the last batch of changes of this member. */
  readonly batch: number
  /** Members to whom messages could not be sent, because they are not there. */
  readonly unknown: readonly string[]
  readonly beats: ReadonlyMap<string, string>
  readonly stored: ReadonlyMap<string, Stored>
}

export interface Roster {
  readonly clock: number
  /** A member's id, and what it tells of itself. */
  readonly members: ReadonlyMap<string, string>
  readonly stored: ReadonlyMap<string, Stored>
  /** Of those that were asked for, who is gone, and whether in order. */
  readonly gone: ReadonlyMap<string, boolean>
}

/** An entry of a stream. */
export interface StreamEntry {
  readonly at: number
  readonly fields: readonly string[]
}

export interface Streams {
  readonly changes: readonly StreamEntry[]
  readonly inbox: readonly StreamEntry[]
}

export class ClusterStore {
  readonly keys: ClusterKeys
  /** Sent so far. */
  commands = 0
  private readonly client: ClusterClient

  constructor(client: ClusterClient, prefix: string) {
    this.client = client
    this.keys = new ClusterKeys(prefix)
  }

  /** @param read - up to which id the inbox was read; 0 leaves it as it is */
  async flush(
    self: string,
    read: number,
    all: boolean,
    operations: readonly Operation[],
  ): Promise<FlushReply> {
    const keys = this.ofMember(self)
    const args: (string | number)[] = [
      self,
      read === 0 ? '' : `${read + 1}-0`,
      all ? '1' : '',
      KEEP_CHANGES_US,
    ]
    const numbers = new Map<string, number>()
    for (const operation of operations) {
      if ('to' in operation) {
        let number = numbers.get(operation.to)
        if (number === undefined) {
          number = keys.push(this.keys.inbox(operation.to))
          numbers.set(operation.to, number)
        }
        args.push('m', number, operation.to, operation.receipt, operation.packed)
      } else pushChanges(args, operation)
    }
    const [status, clock, beat, batch, unknown, beats, stored] = (await this.run(FLUSH, keys, args)) as [
      FlushReply['status'],
      string,
      number,
      number,
      string[],
      string[]?,
      string[]?,
    ]
    return {
      status,
      clock: Number(clock ?? 0),
      beat: beat ?? 0,
      batch: batch ?? 0,
      unknown: unknown ?? [],
      beats: asMap(beats ?? []),
      stored: readStored(stored ?? []),
    }
  }

  /** @returns whether it is a member now; not if it was one and is gone */
  async join(self: string, info: string, tellsAll: boolean): Promise<boolean> {
    const keys = this.ofMember(self).slice(0, 7)
    return (await this.run(JOIN, keys, [self, info, tellsAll ? 'o' : ''])) === 'ok'
  }

  /** @param beat - at which it stands still; empty if it is not there; `*` for any. @returns whether it was us */
  async remove(id: string, beat: string, orderly: boolean): Promise<boolean> {
    return (await this.run(REMOVE, this.ofMember(id), [id, beat, orderly ? '1' : '0', REMEMBER_S])) === 1
  }

  /** @param known - of whom to say whether they are gone */
  async roster(known: readonly string[]): Promise<Roster> {
    const { members, batches, clock } = this.keys
    const keys = [members, batches, clock, ...known.map((id) => this.keys.gone(id))]
    const reply = await this.run(ROSTER, keys, [])
    const [time, all, stored, gone] = reply as [string, string[], string[], (string | null)[]]
    const left = new Map<string, boolean>()
    for (const [i, id] of known.entries()) {
      const how = gone[i]
      if (typeof how === 'string') left.set(id, how === '1')
    }
    return { clock: Number(time), members: asMap(all), stored: readStored(stored), gone: left }
  }

  /** Everything that a member holds; not of one moment if it changes meanwhile. */
  async holdings(id: string): Promise<Map<string, string>> {
    const entries = new Map<string, string>()
    let cursor = '0'
    do {
      const reply = await this.call('HSCAN', this.keys.state(id), cursor, 'COUNT', PAGE)
      const [next, page] = reply as [string, string[]]
      for (const [key, value] of asMap(page)) entries.set(key, value)
      cursor = next
    } while (cursor !== '0')
    return entries
  }

  /**
   * Waits for what is new.
   *
   * @param on - a connection for nothing else
   * @param ms - how long at most
   * @returns everything of both streams up to some moment
   */
  async read(on: ClusterClient, self: string, changes: number, inbox: number, ms: number): Promise<Streams> {
    const keys = [this.keys.changes, this.keys.inbox(self)] as const
    const ids = [`${changes}-0`, `${inbox}-0`] as const
    const read = async (...args: (string | number)[]) => {
      this.commands++
      const streams = readStreams(await on.call('XREAD', 'COUNT', READ_COUNT, ...args))
      return keys.map((key) => (streams.get(key) ?? []).map(asEntry)) as [StreamEntry[], StreamEntry[]]
    }
    const both = await read('BLOCK', ms, 'STREAMS', ...keys, ...ids)
    // Redis 7.0 and older: who has waited is given the first stream alone that has something.
    let end = Number.POSITIVE_INFINITY
    if (both[0].length === 0 && both[1].some(({ fields }) => Number(fields[7]) > changes)) {
      end = both[1].at(-1)!.at
      both[0] = (await read('STREAMS', keys[0], ids[0]))[0]
    } else if (both[1].length === 0 && both[0].length > 0) {
      end = both[0].at(-1)!.at
      both[1] = (await read('STREAMS', keys[1], ids[1]))[1]
    }
    return upTo(end, ...both)
  }

  /** What is in the inbox after an id, up to another; not all of it if it is much. */
  async inbox(self: string, after: number, upTo: number): Promise<StreamEntry[]> {
    const range = [`(${after}-0`, `${upTo}-0`, 'COUNT', READ_COUNT]
    const reply = await this.call('XRANGE', this.keys.inbox(self), ...range)
    return (reply as RawEntry[]).map(asEntry)
  }

  private ofMember(id: string): string[] {
    const { members, beats, batches, changes, clock, latest } = this.keys
    const own = [this.keys.gone(id), this.keys.state(id), this.keys.inbox(id)]
    return [members, beats, batches, changes, clock, latest, ...own]
  }

  private async run(script: Script, keys: readonly string[], args: readonly (string | number)[]) {
    try {
      return await this.call('EVALSHA', script.sha, keys.length, ...keys, ...args)
    } catch (error) {
      if (!(error as Error).message.startsWith('NOSCRIPT')) throw error
      return this.call('EVAL', script.text, keys.length, ...keys, ...args)
    }
  }

  private call(command: string, ...args: (string | number)[]): Promise<unknown> {
    this.commands++
    return this.client.call(command, ...args)
  }
}

function pushChanges(args: (string | number)[], { seq, kind, changes }: ChangeBatch): void {
  const unset: string[] = []
  args.push('c', seq, kind, 0, 0)
  const count = args.length - 2
  for (const [key, value] of changes) {
    if (value === undefined) unset.push(key, '')
    else args.push(key, value)
  }
  args[count] = changes.size - unset.length / 2
  args[count + 1] = unset.length / 2
  args.push(...unset)
}

/** As far as it is certain that nothing is missing in between: where one stream had more, the other has to wait. */
function upTo(end: number, changes: StreamEntry[], inbox: StreamEntry[]): Streams {
  for (const stream of [changes, inbox]) {
    if (stream.length >= READ_COUNT) end = Math.min(end, stream.at(-1)!.at)
  }
  const before = (entry: StreamEntry) => entry.at <= end
  return { changes: changes.filter(before), inbox: inbox.filter(before) }
}

type RawEntry = [id: string, fields: string[]]

/** Pairs in a list, as RESP2 has them, or one after the other, as the client makes them of a map of RESP3. */
function readStreams(reply: unknown): Map<string, RawEntry[]> {
  const list = (reply ?? []) as unknown[]
  const flat = (Array.isArray(list[0]) ? list.flat(1) : list) as (string | RawEntry[])[]
  const streams = new Map<string, RawEntry[]>()
  for (let i = 0; i + 1 < flat.length; i += 2) streams.set(flat[i] as string, flat[i + 1] as RawEntry[])
  return streams
}

function asEntry([id, fields]: RawEntry): StreamEntry {
  return { at: Number.parseInt(id, 10), fields }
}

function asMap(flat: readonly string[]): Map<string, string> {
  const map = new Map<string, string>()
  for (let i = 0; i + 1 < flat.length; i += 2) map.set(flat[i]!, flat[i + 1]!)
  return map
}

function readStored(flat: readonly string[]): Map<string, Stored> {
  const stored = new Map<string, Stored>()
  for (const [id, value] of asMap(flat)) {
    const [seq, at, incomplete] = value.split(' ')
    stored.set(id, { seq: Number(seq), at: Number(at), complete: incomplete === undefined })
  }
  return stored
}
