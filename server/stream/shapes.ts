/**
 * Shapes of stanzas: what stanzas that were accepted look like, so that the next one of the same shape need not be
 * scanned tag by tag.
 *
 * Clients and components send few kinds of stanzas many times over, with other values in the same tags. A shape is
 * such a stanza with its values taken out: the text between the values, each piece to be found again as it stood,
 * and for each value what it may be made of. A text that fits is what the scanner would accept, with the same
 * names, namespaces and depth, since these stand in the pieces. What does not fit is not refused but scanned.
 */

import {
  AMPERSAND,
  CLASS,
  DOUBLE_QUOTE,
  endOfTextRun,
  GREATER,
  IS_VALUE,
  LESS,
  RIGHT_BRACKET,
  SINGLE_QUOTE,
} from './chars.ts'
import type { TokenizerLimits } from './tokenizer.ts'

/** A place in a stanza: behind the value `value` (-1: the beginning), and so many characters on. */
export interface Place {
  readonly value: number
  readonly offset: number
}

/** An element of a stanza, or the stanza itself. */
export interface OutlineElement {
  readonly name: string
  readonly xmlns: string
  /** Which of the elements it stands in; -1 is the stanza, which itself has -2. */
  readonly parent: number
  /** Names of its attributes, declarations of prefixes included, `xmlns` not. */
  readonly attributes: readonly string[]
  /** For each its value: which of the stanza's values, or what stands there always. */
  readonly values: readonly (number | string)[]
  childCount: number
  /** Whether text stands directly in it. */
  text: boolean
  /** Its content begins there … */
  start: Place
  /** … and ends here. */
  end: Place
}

/** What was found out about a stanza, once for all of its shape. */
export interface Outline extends Readonly<OutlineElement> {
  /** What stands in it, in the order of start tags. */
  readonly elements: readonly OutlineElement[]
  // What the limits are held against.
  readonly depth: number
  readonly mostAttributes: number
  readonly longestName: number
  /** The text between the values; one piece more than there are values. */
  readonly pieces: readonly string[]
  /** For each value the quote around it, or LESS for text between tags. */
  readonly closers: readonly number[]
}

/** Pieces up to this length are compared where they stand, longer ones as a whole. */
const SHORT_PIECE = 48

/**
 * A shape with some of its values fixed to what they were in all stanzas so far, so that there is less to look at.
 * Never changed: when a value turns out to vary, another pattern takes its place.
 */
export class Pattern {
  readonly outline: Outline
  /** For each value what it always is, or undefined if it varies. */
  readonly fixed: readonly (string | undefined)[]
  /** Whether somebody wants the cuts of the stanzas to come. */
  located = false
  /** For each attribute of the stanza: which of the varying values it has, or -1 … */
  readonly attributeOf: readonly number[] = []
  /** … and then its value. */
  readonly attributeValues: readonly string[] = []
  private readonly pieces: string[] = []
  private readonly closers: number[] = []
  /** For each value: the last varying one up to it, and the characters from the end of that one to its own. */
  private readonly behind: number[] = []
  private readonly distance: number[] = []
  private readonly first: string
  /** The varying value before the content (-1: there is none), and the characters from its end to the content. */
  private readonly behindStart: number
  private readonly startDistance: number
  /** Characters of the end tag; of one that is empty, 0: the whole is its start tag. */
  readonly endTagLength: number
  readonly payloadName: string
  readonly payloadNs: string
  /** Of the last text that was held against it: where each varying value begins and ends. */
  readonly begins: number[] = []
  readonly ends: number[] = []
  end = 0
  /** Of the last text that did not fit: how much of it was looked at, about. */
  lookedAt = 0

  constructor(outline: Outline, fixed: readonly (string | undefined)[]) {
    this.outline = outline
    this.fixed = fixed
    const varying: number[] = []
    let piece = outline.pieces[0]!
    fixed.forEach((value, index) => {
      const next = outline.pieces[index + 1]!
      if (value === undefined) {
        varying[index] = this.pieces.push(piece) - 1
        this.closers.push(outline.closers[index]!)
        this.behind.push(varying[index]!)
        this.distance.push(0)
        piece = next
      } else {
        this.behind.push(this.pieces.length - 1)
        this.distance.push(piece.length + value.length)
        piece += value + next
      }
    })
    this.pieces.push(piece)
    this.begins = this.closers.map(() => 0)
    this.ends = this.closers.map(() => 0)
    this.first = this.pieces[0]!
    const { start, end } = outline
    this.behindStart = start.value < 0 ? -1 : this.behind[start.value]!
    this.startDistance = (start.value < 0 ? 0 : this.distance[start.value]!) + start.offset
    this.endTagLength = outline.pieces.at(-1)!.length - end.offset
    const payload = outline.elements[0]
    this.payloadName = payload?.name ?? ''
    this.payloadNs = payload?.xmlns ?? ''
    this.attributeOf = outline.values.map((value) =>
      typeof value === 'number' ? (varying[value] ?? -1) : -1,
    )
    this.attributeValues = outline.values.map((value) =>
      typeof value === 'number' ? (fixed[value] ?? '') : value,
    )
  }

  /** Where the content begins, of the stanza that was matched last and begins at `at`. */
  start(at: number): number {
    const { behindStart } = this
    return (behindStart < 0 ? at : this.ends[behindStart]!) + this.startDistance
  }

  /** How many values vary. */
  get varying(): number {
    return this.closers.length
  }

  /**
   * Whether a text has this shape from `at` on; where the varying values are is in `begins` and `ends` then, and
   * in `end` where the stanza ends.
   *
   * @returns where the stanza ends, or -1
   */
  match(text: string, at: number): number {
    const { first, pieces, closers, begins, ends } = this
    this.lookedAt = 0
    if (!stands(text, first, at)) return -1
    let from = at + first.length
    for (let k = 0; k < closers.length; k++) {
      const closer = closers[k]!
      const end = closer === LESS ? endOfText(text, from) : endOfValue(text, from, closer)
      this.lookedAt = end < 0 ? text.length - at : end - at
      if (end < 0) return -1
      begins[k] = from
      ends[k] = end
      const piece = pieces[k + 1]!
      if (!stands(text, piece, end)) return -1
      from = end + piece.length
    }
    this.end = from
    return from
  }

  /** Whether a stanza of this shape keeps the limits, save the one of its length. */
  keeps(limits: TokenizerLimits): boolean {
    const { depth, mostAttributes, longestName } = this.outline
    return depth <= limits.depth && mostAttributes <= limits.attributes && longestName <= limits.nameLength
  }

  /**
   * Where the varying values of the stanza that was matched last end, seen from the beginning of its content; first
   * of all where the stanza begins.
   *
   * @param at - where it begins in the text
   * @param content - where its content begins
   */
  cuts(at: number, content: number): number[] {
    const cuts = [at - content]
    for (const end of this.ends) cuts.push(end - content)
    return cuts
  }

  /** Where a place of the outline is, as `cuts` counts. */
  placeOf(place: Place, cuts: readonly number[]): number {
    if (place.value < 0) return cuts[0]! + place.offset
    return cuts[this.behind[place.value]! + 1]! + this.distance[place.value]! + place.offset
  }

  /** A value of the outline. @param content - of the stanza that the cuts are of */
  valueOf(value: number | string, content: string, cuts: readonly number[]): string {
    if (typeof value === 'string') return value
    const fixed = this.fixed[value]
    if (fixed !== undefined) return fixed
    const k = this.behind[value]!
    return content.slice(cuts[k]! + this.pieces[k]!.length, cuts[k + 1])
  }
}

function stands(text: string, piece: string, at: number): boolean {
  const { length } = piece
  if (length <= SHORT_PIECE) return text.startsWith(piece, at)
  // Mostly the last character tells already. If not, this is the quickest way.
  return (
    text.charCodeAt(at + length - 1) === piece.charCodeAt(length - 1) && text.slice(at, at + length) === piece
  )
}

/**
 * Where an attribute value that begins at `from` ends; -1 if it does not, or holds something to be looked at.
 *
 * @param quote - that it is in
 */
export function endOfValue(text: string, from: number, quote: number): number {
  const { length } = text
  for (let at = from; at < length; at++) {
    const c = text.charCodeAt(at)
    if ((CLASS[c]! & IS_VALUE) !== 0) continue
    if (c === quote) return at
    if (c !== SINGLE_QUOTE && c !== DOUBLE_QUOTE) return -1
  }
  return -1
}

/** Where text between tags that begins at `from` ends; -1 if it does not, or holds something to be looked at. */
export function endOfText(text: string, from: number): number {
  const { length } = text
  for (let at = endOfTextRun(text, from); at < length; at = endOfTextRun(text, at + 1)) {
    const c = text.charCodeAt(at)
    if (c === LESS) return at
    if (c === AMPERSAND) {
      const end = endOfEntity(text, at + 1)
      if (end < 0) return -1
      at = end
    } else if (c === GREATER) {
      // It may be the end of ]]>.
      if (at > from && text.charCodeAt(at - 1) === RIGHT_BRACKET) return -1
    } else if (c !== RIGHT_BRACKET) return -1
  }
  return -1
}

const ENTITIES = ['amp;', 'lt;', 'gt;', 'apos;', 'quot;']

/** Where the name of one of the five entities has its semicolon; -1 if none of them begins at `from`. */
function endOfEntity(text: string, from: number): number {
  for (const name of ENTITIES) if (text.startsWith(name, from)) return from + name.length - 1
  return -1
}
