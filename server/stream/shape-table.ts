/** The shapes that were seen lately, on all streams: finding the one that a text has, and remembering new ones. */

import { NS_CLIENT, NS_COMPONENT, NS_SERVER } from '../stanza/namespaces.ts'
import { detached } from '../text.ts'
import { LESS } from './chars.ts'
import { outlineOf } from './outline.ts'
import { type Outline, Pattern } from './shapes.ts'

/** Shapes of one kind of stanza that are remembered; of more, those that were not seen longest are forgotten. */
const MOST_SHAPES = 24
/**
 * Characters that are looked at in search of the right one, about. Without an end to it, shapes that begin alike and
 * hold a long text, and a stanza of none of them, would cost the text's length many times over.
 */
const LONGEST_SEARCH = 4096

/** A shape, as it is known at the moment. */
export class Shape {
  pattern: Pattern
  /** What came after it the last time, on whichever stream. */
  next: Shape | undefined
  /** Whether it has been forgotten; then nothing is to hang on it any more. */
  forgotten = false
  /** The same with all values free, to see which ones do vary. */
  readonly loose: Pattern

  constructor(outline: Outline, values: readonly string[]) {
    // Text is taken to vary: it is what people say.
    const fixed = values.map((value, index) =>
      outline.closers[index] === LESS ? undefined : detached(value),
    )
    this.pattern = new Pattern(outline, fixed)
    this.loose = new Pattern(
      outline,
      values.map(() => undefined),
    )
  }

  /**
   * Takes a text that has this shape, but other values than were thought fixed, into account.
   *
   * @returns whether it does
   */
  adapt(text: string, at: number): boolean {
    if (this.pattern.varying === this.loose.varying || this.loose.match(text, at) < 0) return false
    const { located, outline, fixed } = this.pattern
    const { begins, ends } = this.loose
    const still = fixed.map((value, k) => (value === text.slice(begins[k], ends[k]) ? value : undefined))
    this.pattern = new Pattern(outline, still)
    this.pattern.located = located
    return true
  }
}

/** Shapes of the stanzas in one content namespace. */
export class ShapeTable {
  private readonly defaultNs: string
  /** By the second letter that a stanza begins with, the latest first. */
  private readonly kinds = new Map<number, Shape[]>()

  constructor(defaultNs: string) {
    this.defaultNs = defaultNs
  }

  /**
   * The shape of the stanza that begins at `at`; its pattern has been matched.
   *
   * @param before - the shape of the stanza before it on the same stream
   */
  find(text: string, at: number, before: Shape | undefined): Shape | undefined {
    if (before !== undefined) {
      const { next } = before
      if (next !== undefined && !next.forgotten && next.pattern.match(text, at) >= 0) return next
      if (before !== next && before.pattern.match(text, at) >= 0) return follow(before, before)
    }
    const shapes = this.kinds.get(text.charCodeAt(at + 1))
    if (shapes === undefined) return undefined
    let found = firstThatFits(shapes, text, at)
    if (found < 0) {
      found = firstThatAdapts(shapes, text, at)
      if (found < 0) return undefined
      shapes[found]!.pattern.match(text, at)
    }
    const shape = shapes[found]!
    shapes.copyWithin(1, 0, found)
    shapes[0] = shape
    return follow(before, shape)
  }

  /** Remembers the shape of a stanza that was scanned; it uses no prefix from outside. */
  learn(stanza: string): Shape | undefined {
    const outlined = outlineOf(stanza, this.defaultNs)
    if (outlined === undefined) return undefined
    const shape = new Shape(outlined.outline, outlined.values)
    const kind = stanza.charCodeAt(1)
    const shapes = this.kinds.get(kind)
    if (shapes === undefined) this.kinds.set(kind, [shape])
    else if (shapes.unshift(shape) > MOST_SHAPES) forget(shapes.pop()!)
    return shape
  }
}

function firstThatFits(shapes: readonly Shape[], text: string, at: number): number {
  let lookedAt = 0
  for (let index = 0; index < shapes.length && lookedAt < LONGEST_SEARCH; index++) {
    const { pattern } = shapes[index]!
    if (pattern.match(text, at) >= 0) return index
    lookedAt += pattern.lookedAt
  }
  return -1
}

function firstThatAdapts(shapes: readonly Shape[], text: string, at: number): number {
  let lookedAt = 0
  for (let index = 0; index < shapes.length && lookedAt < LONGEST_SEARCH; index++) {
    const shape = shapes[index]!
    if (shape.adapt(text, at)) return index
    lookedAt += shape.loose.lookedAt
  }
  return -1
}

function follow(before: Shape | undefined, shape: Shape): Shape {
  // Were what is forgotten to go on pointing to others, chains of it could grow without end.
  if (before !== undefined && !before.forgotten) before.next = shape
  return shape
}

function forget(shape: Shape): void {
  shape.forgotten = true
  shape.next = undefined
}

/** Content namespaces whose stanzas are remembered; there are no tables for what a peer makes up. */
const TABLES: ReadonlyMap<string, ShapeTable> = new Map(
  [NS_CLIENT, NS_SERVER, NS_COMPONENT].map((namespace) => [namespace, new ShapeTable(namespace)]),
)

/** The table for streams with this content namespace; undefined if there is none. */
export function shapesOf(defaultNs: string): ShapeTable | undefined {
  return TABLES.get(defaultNs)
}
