// The quick way of reading: a server writes stanzas of one kind alike, so the next one is compared with the last
// one, whose parts are known. Every byte is checked, except those of the holes, which are read.

/** A part that differs from stanza to stanza, e.g. its id. */
export interface Hole {
  at: number
  length: number
}

/** These bytes are none of the skeleton's kind. */
export const OTHER = -1
/** These bytes are the beginning of one, and the rest has not come yet. */
export const PART = -2

/** All bytes of a stanza but some. */
export class Skeleton {
  readonly length: number
  /** A stanza of the kind: what stands in its holes does not matter. */
  private readonly bytes: Buffer
  private readonly holes: readonly Hole[]

  /** @param stanza is copied */
  constructor(stanza: Buffer, holes: readonly Hole[]) {
    this.bytes = Buffer.from(stanza)
    this.length = stanza.length
    this.holes = holes
  }

  /** Where the stanza at `at` ends if it is one of this kind; or {@link OTHER} or {@link PART}. */
  match(bytes: Buffer, at: number): number {
    const own = this.bytes
    const whole = bytes.length - at >= this.length
    const length = whole ? this.length : bytes.length - at
    // With the holes filled alike, one comparison does for all.
    for (const hole of this.holes) {
      const end = hole.at + hole.length
      for (let index = hole.at; index < end; index++) own[index] = bytes[at + index]!
    }
    if (bytes.compare(own, 0, length, at, at + length) !== 0) return OTHER
    return whole ? at + length : PART
  }
}
