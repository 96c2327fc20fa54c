/** Taking an accepted stanza apart: its outline, of which a shape is made. What is kept of it keeps nothing else. */

import { detached } from '../text.ts'
import { CLASS, EQUALS, EXCLAMATION, GREATER, IS_SPACE, LESS, SINGLE_QUOTE, SLASH } from './chars.ts'
import { endOfText, endOfValue, type Outline, type OutlineElement, type Place } from './shapes.ts'

/** Longer stanzas are not worth remembering, nor those with more than so much beside their values, or more values. */
const LONGEST = 65536
const MOST_BESIDE = 4096
const MOST_VALUES = 64

/** A stanza and the values that it was made of. */
export interface Outlined {
  readonly outline: Outline
  readonly values: readonly string[]
}

interface OpenElement {
  readonly element: OutlineElement
  /** The index of the element. */
  readonly index: number
  readonly defaultNs: string
  readonly prefixes: ReadonlyMap<string, string>
}

/** Index of the stanza itself, and of what is around it. */
const STANZA = -1
const NOTHING = -2

const NO_PREFIXES: ReadonlyMap<string, string> = new Map()

/**
 * The outline of a stanza.
 *
 * @param text - one stanza, which the scanner has accepted, and in which no prefix from outside is in use
 * @param defaultNs - the default namespace around it
 * @returns undefined if its shape is not worth remembering, or could not be recognised: it is long, or has CDATA
 *   sections, references that have to be looked at, or a prefix on its own name
 */
export function outlineOf(text: string, defaultNs: string): Outlined | undefined {
  return text.length > LONGEST ? undefined : new Outliner(text, defaultNs).read()
}

class Outliner {
  private readonly text: string
  private readonly defaultNs: string
  private at = 0
  /** Where the piece begins that comes after the last value. */
  private pieceStart = 0
  private valueLength = 0
  private readonly pieces: string[] = []
  private readonly closers: number[] = []
  private readonly values: string[] = []
  private readonly elements: OutlineElement[] = []
  private readonly open: OpenElement[] = []
  private top: OutlineElement | undefined
  private depth = 0
  private mostAttributes = 0
  private longestName = 0

  constructor(text: string, defaultNs: string) {
    this.text = text
    this.defaultNs = defaultNs
  }

  read(): Outlined | undefined {
    const { text } = this
    while (this.at < text.length) {
      const next = text.charCodeAt(this.at + 1)
      if (next === SLASH) this.endTag()
      else if (next === EXCLAMATION || !this.startTag()) return undefined
      if (this.open.length > 0 && !this.textNode()) return undefined
      if (this.beside > MOST_BESIDE || this.values.length > MOST_VALUES) return undefined
    }
    const { top, values, elements, depth, mostAttributes, longestName, pieces, closers } = this
    if (top === undefined) return undefined
    pieces.push(detached(text.slice(this.pieceStart)))
    return { values, outline: { ...top, elements, depth, mostAttributes, longestName, pieces, closers } }
  }

  /** Characters so far that are no value. */
  private get beside(): number {
    return this.at - this.valueLength
  }

  private get place(): Place {
    return { value: this.values.length - 1, offset: this.at - this.pieceStart }
  }

  private get around(): OpenElement | undefined {
    return this.open[this.open.length - 1]
  }

  private startTag(): boolean {
    const { text, around } = this
    this.depth = Math.max(this.depth, this.open.length + 1)
    this.at++
    const written = this.name()
    const attributes: string[] = []
    const values: (number | string)[] = []
    let defaultNs = around === undefined ? this.defaultNs : around.defaultNs
    let prefixes = around === undefined ? NO_PREFIXES : around.prefixes
    let count = 0
    this.spaces()
    while (text.charCodeAt(this.at) !== GREATER && text.charCodeAt(this.at) !== SLASH) {
      const name = this.name()
      this.spaces()
      this.at++ // the equals sign
      this.spaces()
      const quote = text.charCodeAt(this.at++)
      const end = text.indexOf(quote === SINGLE_QUOTE ? "'" : '"', this.at)
      if (endOfValue(text, this.at, quote) !== end) return false
      count++
      if (name === 'xmlns') defaultNs = this.declared(end)
      else {
        attributes.push(name)
        if (name.startsWith('xmlns:')) {
          const namespace = this.declared(end)
          prefixes = new Map([...prefixes, [name.slice(6), namespace]])
          values.push(namespace)
        } else values.push(this.value(end, quote))
      }
      this.at = end + 1
      this.spaces()
    }
    this.mostAttributes = Math.max(this.mostAttributes, count)
    const colon = written.indexOf(':')
    const xmlns = colon < 0 ? defaultNs : prefixes.get(written.slice(0, colon))
    if (xmlns === undefined || (colon >= 0 && around === undefined)) return false
    const empty = text.charCodeAt(this.at) === SLASH
    this.at += empty ? 2 : 1
    const parent = around === undefined ? NOTHING : around.index
    const { place } = this
    const name = detached(written.slice(colon + 1))
    const element = {
      name,
      xmlns,
      parent,
      attributes,
      values,
      childCount: 0,
      text: false,
      start: place,
      end: place,
    }
    if (around === undefined) this.top = element
    else around.element.childCount++
    const index = around === undefined ? STANZA : this.elements.push(element) - 1
    if (!empty) this.open.push({ element, index, defaultNs, prefixes })
    return true
  }

  private endTag(): void {
    this.open.pop()!.element.end = this.place
    this.at = this.text.indexOf('>', this.at) + 1
  }

  private textNode(): boolean {
    const end = endOfText(this.text, this.at)
    if (end > this.at) {
      this.around!.element.text = true
      this.value(end, LESS)
    }
    return end >= 0
  }

  /** A name, as written. */
  private name(): string {
    const { text } = this
    const start = this.at
    while (!endsName(text.charCodeAt(this.at))) this.at++
    this.longestName = Math.max(this.longestName, this.at - start)
    return detached(text.slice(start, this.at))
  }

  private spaces(): void {
    while (isSpace(this.text.charCodeAt(this.at))) this.at++
  }

  /** What stands up to `end`, part of the shape. */
  private declared(end: number): string {
    return detached(this.text.slice(this.at, end))
  }

  /** What stands up to `end`, a value; goes on behind it. Returns its number. */
  private value(end: number, closer: number): number {
    const { text, at } = this
    this.pieces.push(detached(text.slice(this.pieceStart, at)))
    this.valueLength += end - at
    this.closers.push(closer)
    this.pieceStart = end
    this.at = end
    return this.values.push(text.slice(at, end)) - 1
  }
}

function isSpace(c: number): boolean {
  return (CLASS[c]! & IS_SPACE) !== 0
}

/** Whether a character ends a name; of what is accepted, nothing else does. */
function endsName(c: number): boolean {
  return c === GREATER || c === SLASH || c === EQUALS || isSpace(c)
}
