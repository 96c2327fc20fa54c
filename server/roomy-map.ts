/** Tables for what comes and goes all the time. */

/**
 * Entries that are there from the beginning. V8 makes a table for 512 then, which has room for some 240 changes; one
 * for a few entries is replaced every few changes.
 */
const PLACEHOLDERS = 270

/**
 * A Map for entries that do not stay.
 *
 * V8 replaces the table of a Map whenever so many entries have been deleted as it has room for, and a table that was
 * replaced knows its successor. One that is old enough lives on until all of the heap is looked through, and keeps
 * its successors alive with all that they held: with sixteen sessions at a time, most of what a login leaves behind.
 * A table that is larger than what is in it is replaced seldom.
 */
export class RoomyMap<K extends string | object, V> {
  private readonly map = new Map<K | number, V | undefined>()

  constructor() {
    for (let i = 0; i < PLACEHOLDERS; i++) this.map.set(i, undefined)
  }

  get size(): number {
    return this.map.size - PLACEHOLDERS
  }

  has(key: K): boolean {
    return this.map.has(key)
  }

  get(key: K): V | undefined {
    return this.map.get(key)
  }

  set(key: K, value: V): void {
    this.map.set(key, value)
  }

  /** @returns whether it was there */
  delete(key: K): boolean {
    return this.map.delete(key)
  }

  /** In the order of their coming, as a Map's; what is added or deleted meanwhile is seen. */
  keys(): IterableIterator<K> {
    return withoutPlaceholders(this.map.keys() as IterableIterator<K>)
  }

  /** In the same order. */
  values(): IterableIterator<V> {
    return withoutPlaceholders(this.map.values() as IterableIterator<V>)
  }
}

function* withoutPlaceholders<T>(all: IterableIterator<T>): IterableIterator<T> {
  // A Map keeps the order, so these come first.
  let placeholders = PLACEHOLDERS
  for (const one of all) {
    if (placeholders > 0) placeholders--
    else yield one
  }
}

/** A Set of the same kind. */
export class RoomySet<T extends object> {
  private readonly map = new RoomyMap<T, T>()

  get size(): number {
    return this.map.size
  }

  has(value: T): boolean {
    return this.map.has(value)
  }

  add(value: T): void {
    this.map.set(value, value)
  }

  /** @returns whether it was there */
  delete(value: T): boolean {
    return this.map.delete(value)
  }

  /** In the order of their coming; what is added or deleted meanwhile is seen. */
  [Symbol.iterator](): IterableIterator<T> {
    return this.map.values()
  }
}
