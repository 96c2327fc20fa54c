/** What one of the others holds, as far as it is known here. */

import type { BatchKind } from './publication.ts'

/** Told of each entry that is new, another, or (`undefined`) gone. */
export type Changed = (key: string, value: string | undefined) => void

export class Holdings {
  entries = new Map<string, string>()
  /** Number of the last batch of changes that is known here. */
  seq: number
  /** What it tells anew, until it has told everything. */
  private fresh: Map<string, string> | undefined

  constructor(seq: number) {
    this.seq = seq
  }

  /** @returns false if batches before it are missing: everything has to be asked for */
  apply(
    seq: number,
    kind: BatchKind,
    changes: Iterable<[string, string | undefined]>,
    changed: Changed,
  ): boolean {
    if (seq <= this.seq) return true
    const begins = kind === 'a' || kind === 'b'
    if (!begins && seq !== this.seq + 1) return false
    this.seq = seq
    if (begins) this.fresh = new Map()
    if (this.fresh === undefined) {
      for (const [key, value] of changes) this.set(key, value, changed)
      return true
    }
    for (const [key, value] of changes) {
      if (value === undefined) this.fresh.delete(key)
      else this.fresh.set(key, value)
    }
    if (kind === 'a' || kind === 'e') this.replace(this.fresh, changed)
    return true
  }

  /** @param complete - false if the member is just telling everything anew, and this is a part of it */
  snapshot(seq: number, entries: Map<string, string>, complete: boolean, changed: Changed): void {
    // Redis has lost what is known here already; its owner notices, and tells everything anew.
    if (seq < this.seq) return
    this.seq = seq
    if (complete) this.replace(entries, changed)
    else this.fresh = entries
  }

  private replace(entries: Map<string, string>, changed: Changed): void {
    this.fresh = undefined
    const gone = [...this.entries.keys()].filter((key) => !entries.has(key))
    for (const key of gone) this.set(key, undefined, changed)
    for (const [key, value] of entries) this.set(key, value, changed)
  }

  private set(key: string, value: string | undefined, changed: Changed): void {
    if (this.entries.get(key) === value) return
    if (value === undefined) this.entries.delete(key)
    else this.entries.set(key, value)
    changed(key, value)
  }
}
