/** What the archives of all drivers have in common: ids, and which of them a query is about. */

import { randomBytes } from 'node:crypto'
import type { ArchiveQuery } from './types.ts'

/** Characters of an id for the time (milliseconds), for those of one process in one millisecond, and random ones. */
const TIME_DIGITS = 12
const COUNT_DIGITS = 4
const RANDOM_BYTES = 4

const MOST_MS = 2 ** (4 * TIME_DIGITS) - 1
const MOST_COUNT = 2 ** (4 * COUNT_DIGITS) - 1
/** Behind every id. */
const END = 'g'

let lastWhen = -1
let count = 0

/**
 * An id that nobody else has. Ids sort as text by their time, and those that one process makes for one millisecond
 * by the order of the calls.
 *
 * @param when milliseconds since 1970
 */
export function newArchiveId(when: number): string {
  // Not from zero for each millisecond: ids of an earlier one may be made in between.
  count = when > lastWhen && count > MOST_COUNT / 2 ? 0 : Math.min(count + 1, MOST_COUNT)
  lastWhen = Math.max(lastWhen, when)
  const digits = count.toString(16).padStart(COUNT_DIGITS, '0')
  return time(when) + digits + randomBytes(RANDOM_BYTES).toString('hex')
}

/** Whether a text can be an id. */
export function isArchiveId(text: string): boolean {
  return /^[0-9a-f]{24}$/.test(text)
}

/** The time of an entry, in milliseconds since 1970. */
export function whenOf(id: string): number {
  return Number.parseInt(id.slice(0, TIME_DIGITS), 16)
}

/** Ids from `low` on and before `high`, both as text. */
export interface IdRange {
  readonly low: string
  readonly high: string
}

/** The ids that a query can be about. It is empty if `low` is not less than `high`. */
export function idRange({ start, end, after, before }: ArchiveQuery): IdRange {
  let low = start === undefined ? '' : time(start)
  // What follows an id at once: all are of one length.
  if (after !== undefined && `${after}0` > low) low = `${after}0`
  let high = end === undefined || end >= MOST_MS ? END : time(end + 1)
  if (before !== undefined && before < high) high = before
  return { low, high }
}

function time(when: number): string {
  const whole = Math.floor(Math.min(Math.max(when, 0), MOST_MS))
  return whole.toString(16).padStart(TIME_DIGITS, '0')
}
