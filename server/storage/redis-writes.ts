/**
 * Writes to Redis: those of one user in the order of the calls, each group of them in one script that does all or
 * nothing. What is called while a group is on its way makes up the next one, as far as it is not too much for one.
 */

import { readStoreField, type Shape, storeField, type UserKeys } from './redis-keys.ts'
import { PURGE, WRITE } from './redis-scripts.ts'
import { StorageError } from './types.ts'
import { decodeValue, encodeValue } from './values.ts'

/** How often an update begins again because somebody else was quicker. */
const ATTEMPTS = 50
/** From this attempt on it waits a little before. */
const PATIENT = 3
const LONGEST_WAIT_MS = 40
/**
 * Keys and entries that a group writes, and characters, unless its first change alone has more. Redis serves nobody
 * while a script runs, and a function of JavaScript takes some 100,000 arguments.
 */
const MOST_PARTS = 1000
const MOST_LENGTH = 1024 * 1024

/** The commands that writes need; each rejects with a StorageError. */
export interface RedisWriter {
  hmget(key: string, fields: readonly string[]): Promise<(string | null)[]>
  hkeys(key: string): Promise<string[]>
  /** Runs a script; resolves when the operator's wish for replicas is met as well. */
  run(script: string, keys: readonly string[], args: readonly string[]): Promise<unknown>
}

/** Entries of an archive: id, what stands for it in the set by partner, and the text. */
export interface ArchiveChange {
  readonly kind: 'archive'
  readonly store: string
  readonly added: readonly (readonly [id: string, byPartner: string, text: string])[]
  readonly removed: readonly (readonly [id: string, byPartner: string])[]
}

/** A change of one keyval store, of keys in a map, of an archive, or the end of everything. */
export type Change =
  | { readonly kind: 'set'; readonly store: string; readonly text: string | undefined }
  | { readonly kind: 'update'; readonly store: string; readonly change: (old: unknown) => unknown }
  | { readonly kind: 'map'; readonly store: string; readonly entries: readonly (readonly [string, Text])[] }
  | ArchiveChange
  | { readonly kind: 'purge'; readonly unlessIn: readonly string[] }

/** `undefined`: there is nothing. */
type Text = string | undefined

interface Waiting {
  readonly change: Change
  readonly resolve: (text: Text) => void
  readonly reject: (reason: unknown) => void
}

/** All writes of one driver. */
export class RedisWrites {
  readonly #redis: RedisWriter
  /** By the key of the user's hash. */
  readonly #queues = new Map<string, Waiting[]>()
  readonly #working = new Set<Promise<void>>()

  constructor(redis: RedisWriter) {
    this.#redis = redis
  }

  /** @returns what an update has made, as text */
  add(keys: UserKeys, change: Change): Promise<Text> {
    return new Promise((resolve, reject) => {
      const waiting = { change, resolve, reject }
      const queue = this.#queues.get(keys.stores)
      if (queue !== undefined) {
        queue.push(waiting)
        return
      }
      const work: Promise<void> = this.#work(keys, [waiting]).finally(() => this.#working.delete(work))
      this.#working.add(work)
    })
  }

  /** Waits for what was added. */
  async done(): Promise<void> {
    while (this.#working.size > 0) await Promise.all(this.#working)
  }

  async #work(keys: UserKeys, queue: Waiting[]): Promise<void> {
    this.#queues.set(keys.stores, queue)
    // The calls of this turn belong together.
    await null
    while (queue.length > 0) {
      const purge = queue.findIndex(({ change }) => change.kind === 'purge')
      const waiting = queue.splice(0, purge === -1 ? queue.length : Math.max(purge, 1))
      try {
        const { change, resolve } = waiting[0]!
        if (change.kind === 'purge') {
          await this.#purge(keys, change.unlessIn)
          resolve(undefined)
        } else for (const group of groupsOf(waiting)) await this.#write(keys, group)
      } catch (error) {
        // Where Redis does not answer, no group waits for another one to be given up. Those that are settled already
        // do not mind.
        for (const { reject } of waiting) reject(error)
      }
    }
    this.#queues.delete(keys.stores)
  }

  async #write(keys: UserKeys, group: readonly Waiting[]): Promise<void> {
    const read = readFirst(group)
    let found = new Map<string, Text>()
    if (read.length > 0) {
      const texts = await this.#redis.hmget(
        keys.stores,
        read.map((store) => storeField('keyval', store)),
      )
      found = new Map(read.map((store, i) => [store, texts[i] ?? undefined]))
    }
    for (let attempt = 1; ; attempt++) {
      const plan = new Plan(found, group)
      const current = plan.isEmpty ? null : await this.#redis.run(WRITE, ...plan.arguments(keys))
      if (current === null) {
        plan.settle()
        return
      }
      const texts = current as (string | null)[]
      for (const [i, store] of plan.checked.entries()) found.set(store, texts[i] ?? undefined)
      await this.#again(attempt)
    }
  }

  async #purge(keys: UserKeys, unlessIn: readonly string[]): Promise<void> {
    const keeping = unlessIn.map((store) => storeField('keyval', store))
    let fields = await this.#redis.hkeys(keys.stores)
    for (let attempt = 1; fields.length > 0; attempt++) {
      if (keeping.some((field) => fields.includes(field))) return
      const stores = fields.map(readStoreField).filter((store) => store !== undefined)
      if (stores.length !== fields.length) {
        throw new StorageError('corrupt', `the key ${keys.stores} has a field that is not ours`)
      }
      const indexes = stores.map(({ shape, store }) => keys.index(shape, store))
      const maps = stores.filter(({ shape }) => shape === 'map').map(({ store }) => keys.map(store))
      const archives = stores.filter(({ shape }) => shape === 'archive')
      const parts = archives.flatMap(({ store }) => keys.archive(store))
      const names = [keys.user ?? '', ...fields]
      const current = await this.#redis.run(PURGE, [keys.stores, ...indexes, ...maps, ...parts], names)
      if (current === null) return
      fields = current as string[]
      await this.#again(attempt)
    }
  }

  /** Somebody else was quicker. */
  async #again(attempt: number): Promise<void> {
    if (attempt >= ATTEMPTS) {
      throw new StorageError(
        'unavailable',
        `a record was changed by others ${attempt} times while it was to be updated. Nothing was changed; try again`,
      )
    }
    if (attempt < PATIENT) return
    const longest = Math.min(attempt, LONGEST_WAIT_MS)
    await new Promise((resolve) => setTimeout(resolve, Math.random() * longest))
  }
}

/** What waits, in groups that are not too much for one script. */
function* groupsOf(waiting: readonly Waiting[]): Iterable<readonly Waiting[]> {
  let group: Waiting[] = []
  let [parts, length] = [0, 0]
  for (const one of waiting) {
    const texts = [...textsOf(one.change)]
    const added = texts.reduce((sum, text) => sum + (text?.length ?? 0), 0)
    if (group.length > 0 && (parts + texts.length > MOST_PARTS || length + added > MOST_LENGTH)) {
      yield group
      group = []
      parts = 0
      length = 0
    }
    group.push(one)
    parts += texts.length
    length += added
  }
  yield group
}

/** What a change writes, key by key and entry by entry; what an update makes is not known yet. */
function* textsOf(change: Change): Iterable<Text> {
  if (change.kind === 'set') yield change.text
  else if (change.kind === 'update') yield undefined
  else if (change.kind === 'map') for (const [, text] of change.entries) yield text
  else if (change.kind === 'archive') {
    for (const [, , text] of change.added) yield text
    for (const _ of change.removed) yield undefined
  }
}

/** The keyval stores whose first change in a group is an update: what they have must be known. */
function readFirst(group: readonly Waiting[]): string[] {
  const first = new Map<string, string>()
  for (const { change } of group) {
    if ((change.kind === 'set' || change.kind === 'update') && !first.has(change.store)) {
      first.set(change.store, change.kind)
    }
  }
  return [...first].filter(([, kind]) => kind === 'update').map(([store]) => store)
}

/** What a group of changes comes to, given what was read. */
class Plan {
  /** The stores that must still have what was read. */
  readonly checked: string[] = []
  readonly #read: ReadonlyMap<string, Text>
  readonly #keyval = new Map<string, Text>()
  readonly #maps = new Map<string, Map<string, Text>>()
  readonly #archives = new Map<string, ArchiveChange[]>()
  readonly #settle: (() => void)[] = []

  constructor(read: ReadonlyMap<string, Text>, group: readonly Waiting[]) {
    this.#read = new Map(read)
    for (const waiting of group) this.#apply(waiting)
    for (const [store, text] of read) {
      if (!this.#keyval.has(store)) continue
      if (this.#keyval.get(store) === text) this.#keyval.delete(store)
      else this.checked.push(store)
    }
  }

  get isEmpty(): boolean {
    return this.#keyval.size === 0 && this.#maps.size === 0 && this.#archives.size === 0
  }

  settle(): void {
    for (const settle of this.#settle) settle()
  }

  arguments(keys: UserKeys): [keys: string[], args: string[]] {
    const index = (shape: Shape, stores: Iterable<string>) =>
      [...stores].map((store) => keys.index(shape, store))
    const maps = [...this.#maps.keys()]
    const archives = [...this.#archives.keys()]
    const names = [
      keys.stores,
      ...index('keyval', this.#keyval.keys()),
      ...index('map', maps),
      ...index('archive', archives),
      ...maps.map((store) => keys.map(store)),
      ...archives.flatMap((store) => keys.archive(store)),
    ]
    const args = [keys.user === null ? '0' : '1', keys.user ?? '', String(archives.length)]
    args.push(String(this.checked.length))
    for (const store of this.checked)
      args.push(storeField('keyval', store), ...flagged(this.#read.get(store)))
    args.push(String(this.#keyval.size))
    for (const [store, text] of this.#keyval) args.push(storeField('keyval', store), ...flagged(text))
    args.push(String(maps.length))
    for (const [store, entries] of this.#maps) {
      args.push(storeField('map', store), String(entries.size))
      for (const [key, text] of entries) args.push(key, ...flagged(text))
    }
    for (const [store, changes] of this.#archives) {
      const added = changes.flatMap((change) => change.added)
      const removed = changes.flatMap((change) => change.removed)
      args.push(storeField('archive', store), String(added.length), ...added.flat())
      args.push(String(removed.length), ...removed.flat())
    }
    return [names, args]
  }

  #apply({ change, resolve, reject }: Waiting): void {
    if (change.kind === 'set') {
      this.#keyval.set(change.store, change.text)
      this.#settle.push(() => resolve(undefined))
    } else if (change.kind === 'map') {
      const entries = this.#maps.get(change.store) ?? new Map<string, Text>()
      if (change.entries.length > 0) this.#maps.set(change.store, entries)
      for (const [key, text] of change.entries) entries.set(key, text)
      this.#settle.push(() => resolve(undefined))
    } else if (change.kind === 'archive') {
      const changes = this.#archives.get(change.store) ?? []
      this.#archives.set(change.store, changes)
      changes.push(change)
      this.#settle.push(() => resolve(undefined))
    } else if (change.kind === 'update') {
      const { store } = change
      const old = this.#keyval.has(store) ? this.#keyval.get(store) : this.#read.get(store)
      try {
        const value = change.change(old === undefined ? undefined : decodeValue(old))
        const text = value === undefined ? undefined : encodeValue(value)
        this.#keyval.set(store, text)
        this.#settle.push(() => resolve(text))
      } catch (error) {
        this.#settle.push(() => reject(error))
      }
    }
  }
}

function flagged(text: Text): [string, string] {
  return text === undefined ? ['0', ''] : ['1', text]
}
