/** A table of what comes and goes thousands of times a second: places that are used again and again. */

/** Most that can be in a table. */
const PLACES = 1_000_000

const DIGIT_ZERO = 0x30

/** What is kept in a table of places: it knows its place, and how many have had it before. Both are the table's. */
export interface Placed {
  place: number
  turn: number
}

/**
 * Finds what is put into it by a text of digits and a dot, which nothing else in it has or will have.
 *
 * It stands where a `Map` would serve as well. But a map that things come into and leave makes itself anew all the
 * time, and its former selves, of which each refers to the next, drag what was in them through the garbage
 * collector: that was a fifth of what a delegated request cost.
 */
export class Slots<T extends Placed> {
  private readonly places: (T | undefined)[] = []
  private readonly free: number[] = []
  /** How often each place has been used. */
  private readonly turns: number[] = []

  /** How many are in it. */
  get size(): number {
    return this.places.length - this.free.length
  }

  get isFull(): boolean {
    return this.size >= PLACES
  }

  /** Puts something in, and tells it its place. The table must not be full. */
  add(entry: T): void {
    const place = this.free.pop() ?? this.places.length
    const turn = (this.turns[place] ?? 0) + 1
    entry.place = place
    entry.turn = turn
    this.places[place] = entry
    this.turns[place] = turn
  }

  /** Whether it is in the table. */
  has(entry: T): boolean {
    return this.places[entry.place] === entry
  }

  /** Takes out what is in the table. */
  delete(entry: T): void {
    this.places[entry.place] = undefined
    this.free.push(entry.place)
  }

  /** What can be found under `PLACE.TURN`, as it is written by `${place}.${turn}`, from `from` on in a text. */
  find(text: string, from: number): T | undefined {
    const dot = text.indexOf('.', from)
    if (dot < 0) return undefined
    const entry = this.places[numberBetween(text, from, dot)]
    return entry !== undefined && entry.turn === numberBetween(text, dot + 1, text.length) ? entry : undefined
  }

  /** All that are in it, in no order. */
  all(): T[] {
    return this.places.filter((entry) => entry !== undefined)
  }
}

/** The number that digits write as we would; -1 if they are none. */
function numberBetween(text: string, from: number, to: number): number {
  // One way to write a number is enough.
  if (to === from || (text.charCodeAt(from) === DIGIT_ZERO && to > from + 1)) return -1
  let number = 0
  for (let at = from; at < to; at++) {
    const digit = text.charCodeAt(at) - DIGIT_ZERO
    if (digit < 0 || digit > 9) return -1
    number = number * 10 + digit
  }
  return number
}
