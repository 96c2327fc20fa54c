/** Bytes to text: strict UTF-8, cut at any byte. */

import { isAscii, isUtf8 } from 'node:buffer'

const NOTHING = Buffer.alloc(0)

/** What `Utf8Reader.read` found. Reused by the next call. */
export interface Utf8Text {
  text: string
  /** every character is one byte */
  ascii: boolean
  /** the bytes from the first that can not be UTF-8 on, or undefined if there is none */
  broken: Buffer | undefined
}

/** Decodes a stream of bytes, keeping back the 1 to 3 bytes of a character that is not complete yet. */
export class Utf8Reader {
  private unfinished = NOTHING
  private readonly found: Utf8Text = { text: '', ascii: true, broken: undefined }

  /** Forgets the beginning of a character. */
  reset(): void {
    this.unfinished = NOTHING
  }

  /** The characters that are complete with `chunk`. The result does not keep `chunk` alive, save `broken`. */
  read(chunk: Buffer): Utf8Text {
    const found = this.found
    found.broken = undefined
    let bytes = chunk
    if (this.unfinished.length > 0) {
      bytes = Buffer.concat([this.unfinished, chunk])
      this.unfinished = NOTHING
    }
    found.ascii = isAscii(bytes)
    if (found.ascii) {
      found.text = bytes.toString('latin1')
      return found
    }
    let end = unfinishedFrom(bytes)
    if (end < bytes.length) this.unfinished = Buffer.from(bytes.subarray(end))
    if (!isUtf8(bytes.subarray(0, end))) {
      this.unfinished = NOTHING
      end = brokenFrom(bytes)
      found.broken = bytes.subarray(end)
    }
    found.text = bytes.toString('utf8', 0, end)
    return found
  }
}

/** Where the character that the last bytes begin and do not complete starts; the length if there is none. */
function unfinishedFrom(bytes: Buffer): number {
  const { length } = bytes
  for (let at = length - 1; at >= 0 && at >= length - 3; at--) {
    const byte = bytes[at]!
    if (byte < 0x80) return length
    if (byte >= 0xc0) return characterLength(bytes, at) === UNFINISHED ? at : length
  }
  return length
}

/** Where the first character begins that is not UTF-8. */
function brokenFrom(bytes: Buffer): number {
  let at = 0
  while (at < bytes.length) {
    const size = characterLength(bytes, at)
    if (size <= 0) return at
    at += size
  }
  return at
}

const UNFINISHED = 0
const BROKEN = -1

/** Length in bytes of the character at `at` (Unicode 15 table 3-7), or UNFINISHED or BROKEN. */
function characterLength(bytes: Buffer, at: number): number {
  const lead = bytes[at]!
  if (lead < 0x80) return 1
  if (lead < 0xc2 || lead > 0xf4) return BROKEN
  const size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
  // The second byte's range excludes overlong forms, surrogates, and what lies beyond U+10FFFF.
  let low = 0x80
  let high = 0xbf
  if (lead === 0xe0) low = 0xa0
  else if (lead === 0xed) high = 0x9f
  else if (lead === 0xf0) low = 0x90
  else if (lead === 0xf4) high = 0x8f
  for (let k = 1; k < size; k++) {
    if (at + k >= bytes.length) return UNFINISHED
    const byte = bytes[at + k]!
    if (byte < low || byte > high) return BROKEN
    low = 0x80
    high = 0xbf
  }
  return size
}
