/** Stream headers that have been read before: all clients of one kind begin in the same words. */

import type { StreamHeader, TokenizerLimits } from './tokenizer.ts'

/** So many are remembered. */
const MOST_HEADERS = 8
/** Longer ones are read anew each time. */
const MOST_CHARACTERS = 512
/** How often others may want the place of one that has been met again and again. */
const MOST_CREDIT = 16

/** What a header that was accepted means. */
export interface KnownHeader {
  /** As it was received, ASCII, from the stream's first character to the header's last. */
  readonly text: string
  readonly header: StreamHeader
  /** The name of the root element as written. */
  readonly streamName: string
  /** Prefix → namespace, all that it declares. */
  readonly declared: ReadonlyMap<string, string>
  /** Attributes, declarations included. */
  readonly attributes: number
  /** Characters of the longest name in it. */
  readonly longestName: number
}

interface Remembered extends KnownHeader {
  credit: number
}

/**
 * A few headers by their text. The same text means the same wherever it comes from, so reading it once is enough;
 * what the limits of a stream would refuse is not found. Headers that name their sender are not kept.
 */
export class KnownHeaders {
  private readonly known: Remembered[] = []
  private next = 0

  /** The header that begins at `at`, if it is known and all there. */
  find(text: string, at: number, limits: TokenizerLimits): KnownHeader | undefined {
    for (const known of this.known) {
      if (!text.startsWith(known.text, at)) continue
      if (known.text.length > limits.stanzaBytes || known.attributes > limits.attributes) return undefined
      if (known.longestName > limits.nameLength) return undefined
      if (known.credit < MOST_CREDIT) known.credit++
      return known
    }
    return undefined
  }

  /**
   * Remembers a header that was accepted; what it is given must keep nothing else alive. Where all places are taken,
   * one that nobody uses is given away: who sends ever new headers does not drive the usual ones out.
   */
  learn(header: KnownHeader): void {
    if (header.text.length > MOST_CHARACTERS || 'from' in header.header.attrs) return
    const remembered = { ...header, credit: 1 }
    if (this.known.length < MOST_HEADERS) {
      this.known.push(remembered)
      return
    }
    const place = this.next
    this.next = (place + 1) % MOST_HEADERS
    if (--this.known[place]!.credit <= 0) this.known[place] = remembered
  }
}

/** Of all streams of the process. */
export const knownHeaders = new KnownHeaders()
