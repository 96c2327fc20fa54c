/** What this process holds, and the batches of changes by which the others learn of it. */

/** Changes in one batch at most: a script takes no more than some thousand arguments at once. */
const MOST = 500
/** Characters in one batch, about. */
const MOST_SIZE = 100_000

/**
 * What a batch is: `''` for some changes; or one of those that tell everything anew, the first (`b`), one between
 * (`m`), the last (`e`), or the only one (`a`).
 */
export type BatchKind = '' | 'a' | 'b' | 'm' | 'e'

export interface ChangeBatch {
  readonly seq: number
  readonly kind: BatchKind
  readonly changes: ReadonlyMap<string, string | undefined>
  readonly size: number
}

interface OpenBatch extends ChangeBatch {
  size: number
  readonly changes: Map<string, string | undefined>
}

export class Publication {
  readonly entries = new Map<string, string>()
  /** Those that Redis has not acknowledged. */
  private batches: OpenBatch[] = []
  /** Whether more changes may go into the last one. */
  private open = false
  /** Number of the last batch that Redis has acknowledged. */
  private stored = 0
  /** Number of the last batch that has come back through the stream of changes. */
  private echo = 0
  private waiting: { seq: number; resolve: () => void }[] = []
  /** Number of the last batch. */
  last = 0

  publish(key: string, value: string | undefined): void {
    if (this.entries.get(key) === value) return
    if (value === undefined) this.entries.delete(key)
    else this.entries.set(key, value)
    this.add(key, value)
  }

  /** A message was sent: what changes from now on comes after it. */
  close(): void {
    this.open = false
  }

  /** What has to go to Redis, in this order. */
  get pending(): readonly ChangeBatch[] {
    return this.batches
  }

  /** The batches that are pending are being sent: nothing more goes into them. */
  sending(): void {
    this.open = false
  }

  /**
   * Resolves when all that was published before has come back through the stream of changes: then everything that was
   * published before it, by whomever, has been read here.
   */
  published(): Promise<void> {
    if (this.batches.length === 0 && this.echo >= this.last) return Promise.resolve()
    return new Promise((resolve) => this.waiting.push({ seq: this.last, resolve }))
  }

  /** Takes over who waits for what another has published, which will never be stored. */
  succeed(other: Publication): void {
    for (const { resolve } of other.waiting.splice(0)) this.waiting.push({ seq: this.last, resolve })
  }

  /** Nobody waits any longer. */
  end(): void {
    for (const { resolve } of this.waiting.splice(0)) resolve()
  }

  /** Redis says which batch was the last. @returns false if it has lost some that it had acknowledged */
  acknowledged(seq: number): boolean {
    if (seq < this.stored) return false
    this.stored = seq
    const rest = this.batches.findIndex((batch) => batch.seq > seq)
    this.batches.splice(0, rest === -1 ? this.batches.length : rest)
    if (this.batches.length === 0) this.open = false
    return true
  }

  /** A batch has come back. */
  echoed(seq: number): void {
    if (seq > this.echo) this.echo = seq
    while (this.waiting.length > 0 && this.waiting[0]!.seq <= seq) this.waiting.shift()!.resolve()
  }

  /** Number of the last batch that Redis has acknowledged. */
  get storedLast(): number {
    return this.stored
  }

  /** Tells everything anew. */
  anew(): void {
    this.batches = []
    this.open = false
    this.stored = 0
    let batch = this.begin('b')
    for (const [key, value] of this.entries) {
      if (batch.changes.size >= MOST || batch.size >= MOST_SIZE) batch = this.begin('m')
      batch.changes.set(key, value)
      batch.size += key.length + value.length
    }
    const final = this.batches.at(-1)!
    this.batches[this.batches.length - 1] = { ...final, kind: this.batches.length === 1 ? 'a' : 'e' }
  }

  private add(key: string, value: string | undefined): void {
    let batch = this.batches.at(-1)
    if (!this.open || batch === undefined || batch.changes.size >= MOST || batch.size >= MOST_SIZE) {
      batch = this.begin('')
      this.open = true
    }
    batch.changes.set(key, value)
    batch.size += key.length + (value?.length ?? 0)
  }

  private begin(kind: BatchKind): OpenBatch {
    const batch: OpenBatch = { seq: ++this.last, kind, changes: new Map(), size: 0 }
    this.batches.push(batch)
    return batch
  }
}
