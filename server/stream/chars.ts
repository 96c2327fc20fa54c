/** What each UTF-16 code unit may be in XML: one table, one look-up per character. */

import { eachRange, NAME_MORE_RANGES, NAME_START_RANGES } from './names.ts'

export const TAB = 0x09
export const LF = 0x0a
export const CR = 0x0d
export const SPACE = 0x20
export const EXCLAMATION = 0x21
export const DOUBLE_QUOTE = 0x22
export const HASH = 0x23
export const AMPERSAND = 0x26
export const SINGLE_QUOTE = 0x27
export const MINUS = 0x2d
export const SLASH = 0x2f
export const COLON = 0x3a
export const SEMICOLON = 0x3b
export const LESS = 0x3c
export const EQUALS = 0x3d
export const GREATER = 0x3e
export const QUESTION = 0x3f
export const LEFT_BRACKET = 0x5b
export const RIGHT_BRACKET = 0x5d
export const LETTER_X = 0x78

/** Begins a name; the colon does not, it separates the prefix. */
export const IS_NAME_START = 1
/** Goes on in a name; not the colon. */
export const IS_NAME = 2
/** Text with no meaning of its own: not `<`, `&`, and not `]` and `>`, which may be part of `]]>`. */
export const IS_TEXT = 4
/** In an attribute value, as it stands: not `<`, `&`, quotes, and white space other than the space. */
export const IS_VALUE = 8
/** In a CDATA section: not `]` and `>`. */
export const IS_CDATA = 16
/** White space: space, tab, carriage return, line feed (XML 1.0 §2.3). */
export const IS_SPACE = 32
/** A legal character at all (XML 1.0 §2.2). */
export const IS_LEGAL = 64

/**
 * The flags above for each code unit. Surrogates are legal here, and never in names: text comes from
 * checked UTF-8, so they are always in pairs.
 */
export const CLASS: Uint8Array = buildTable()

function buildTable(): Uint8Array {
  const table = new Uint8Array(0x10000)
  table.fill(IS_TEXT | IS_VALUE | IS_CDATA | IS_LEGAL, 0x20, 0xfffe)
  for (const c of [TAB, LF, CR]) table[c] = IS_TEXT | IS_CDATA | IS_SPACE | IS_LEGAL
  table[SPACE]! |= IS_SPACE
  for (const c of [LESS, AMPERSAND]) table[c] = IS_CDATA | IS_LEGAL
  for (const c of [DOUBLE_QUOTE, SINGLE_QUOTE]) table[c]! &= ~IS_VALUE
  for (const c of [GREATER, RIGHT_BRACKET]) table[c] = IS_VALUE | IS_LEGAL

  const add = (flags: number) => (first: number, last: number) => {
    for (let c = first; c <= last; c++) table[c]! |= flags
  }
  eachRange('41-5a 5f 61-7a', add(IS_NAME_START | IS_NAME))
  eachRange('2d 2e 30-39', add(IS_NAME))
  eachRange(NAME_START_RANGES, add(IS_NAME_START | IS_NAME))
  eachRange(NAME_MORE_RANGES, add(IS_NAME))
  return table
}

/** Whether a code point is a Char of XML 1.0 (§2.2); a character reference may denote no other. */
export function isXmlChar(codePoint: number): boolean {
  if (codePoint < 0x20) return codePoint === TAB || codePoint === LF || codePoint === CR
  if (codePoint < 0xd800) return true
  if (codePoint < 0x10000) return codePoint >= 0xe000 && codePoint <= 0xfffd
  return codePoint <= 0x10ffff
}

/** Characters of a run that are looked at one by one; a long run is left to the engine of regular expressions. */
const NEAR = 48

/** A run of what has the flag IS_TEXT; a test holds the two together. */
const TEXT_RUN = /[\t\n\r\x20-\x25\x27-\x3b\x3d\x3f-\x5c\x5e-\ufffd]*/y

/** Where the run of plain text that begins at `from` ends: at a character that is not IS_TEXT, or with the text. */
export function endOfTextRun(text: string, from: number): number {
  const near = Math.min(text.length, from + NEAR)
  let at = from
  while (at < near && (CLASS[text.charCodeAt(at)]! & IS_TEXT) !== 0) at++
  if (at < near || at === text.length) return at
  // Twice as quick over hundreds of characters, and dearer over a few.
  TEXT_RUN.lastIndex = at
  TEXT_RUN.test(text)
  return TEXT_RUN.lastIndex
}
