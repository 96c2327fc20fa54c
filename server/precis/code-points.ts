// What PRECIS and IDNA2008 have to know about a code point, from the generated tables.
//
// The tables are fixed, not the runtime's, so that a name is valid or not whatever Node has to say. Case mapping
// and normalization are the runtime's; for every character of the tables they are what they were in Unicode 15.0,
// which Unicode's stability policies promise and test/unit/precis.test.ts checks.
import { RUNS, VALUES, WIDTH_RUNS } from './tables.ts'

/** Free form only: symbols, punctuation, spaces, compatibility characters (RFC 8264 §4.3). */
export const FREE = 1
/** Letters and digits (RFC 8264 §4.2). */
export const VALID = 2
/** Valid by a rule about its neighbours: the zero-width joiner and non-joiner. */
export const JOINER = 3
/** Valid by a rule about the text: middle dots, Arabic digits … */
export const CONTEXT = 4
/** Disallowed, but normalization composes syllables of it: conjoining Jamo. */
export const JAMO = 5

const CLASS = 0b111
const DOMAIN = 1 << 3
const VIRAMA = 1 << 11
const MARK = 1 << 14

/** Bidi_Class, as a bit each so that a rule can name several. */
export const BIDI = {
  L: 1 << 0,
  R: 1 << 1,
  AL: 1 << 2,
  AN: 1 << 3,
  EN: 1 << 4,
  ES: 1 << 5,
  CS: 1 << 6,
  ET: 1 << 7,
  ON: 1 << 8,
  BN: 1 << 9,
  NSM: 1 << 10,
} as const

/** Joining_Type, where it is not "not joining". */
export const JOINING = { transparent: 1, right: 2, left: 3, dual: 4 } as const

/** Script, where a contextual rule asks for it. */
export const SCRIPT = { greek: 1, hebrew: 2, kanaOrHan: 3 } as const

/** Below this a code point's properties are looked up, above they are searched for: Latin to Thai, and Kana. */
const DIRECT = 0x3100

interface Tables {
  /** The properties of the code points below {@link DIRECT}. */
  readonly direct: Uint16Array
  /** The first code point of each run, in ascending order. */
  readonly starts: Uint32Array
  /** What the run's code points have; 0 in the gaps, which are runs too. */
  readonly values: Uint16Array
  readonly widths: ReadonlyMap<number, string>
}

const SPACE = 0x20
const HYPHEN = 0x2d
const ZERO = 0x30
const SMALL_A = 0x61

// Read when the first name beyond ASCII comes; many servers never see one
let tables: Tables | undefined

function readTables(): Tables {
  const distinct = VALUES.split(' ').map(Number)
  const starts = [0]
  const values = [0]
  const direct = new Uint16Array(DIRECT)
  let next = 0
  readRuns(RUNS, (distance, index, more) => {
    // A gap of no length is overwritten, so that no two runs begin at the same code point
    const at = distance === 0 ? starts.length - 1 : starts.length
    const first = next + distance
    next = first + more + 1
    starts[at] = first
    values[at] = distinct[index]!
    starts[at + 1] = next
    values[at + 1] = 0
    direct.fill(values[at], first, next)
  })
  const widths = new Map<number, string>()
  readRuns(WIDTH_RUNS, (first, target, more) => {
    for (let i = 0; i <= more; i++) widths.set(first + i, String.fromCodePoint(target + i))
  })
  return { direct, starts: Uint32Array.from(starts), values: Uint16Array.from(values), widths }
}

/** Reads items of two or three numbers in base 36, `a-b` or `a-b-c`, separated by spaces. */
function readRuns(text: string, take: (first: number, second: number, third: number) => void): void {
  const numbers = [0, 0, 0]
  let field = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === SPACE) {
      take(numbers[0]!, numbers[1]!, numbers[2]!)
      numbers.fill(0)
      field = 0
    } else if (code === HYPHEN) field++
    else numbers[field] = numbers[field]! * 36 + (code >= SMALL_A ? code - SMALL_A + 10 : code - ZERO)
  }
  take(numbers[0]!, numbers[1]!, numbers[2]!)
}

/** The properties of a code point, for the functions below; 0 if it is neither allowed nor mapped to what is. */
export function propertiesOf(codePoint: number): number {
  tables ??= readTables()
  if (codePoint < DIRECT) return tables.direct[codePoint]!
  const { starts, values } = tables
  let low = 0
  let high = starts.length
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (starts[middle]! <= codePoint) low = middle
    else high = middle
  }
  return values[low]!
}

/** What a full-width or half-width character is mapped to (RFC 8264 §5.2.1). */
export function widthMapping(codePoint: number): string | undefined {
  tables ??= readTables()
  return tables.widths.get(codePoint)
}

/** {@link FREE}, {@link VALID}, {@link JOINER}, {@link CONTEXT}, {@link JAMO}, or 0: never allowed. */
export function classOf(properties: number): number {
  return properties & CLASS
}

/** Whether it may stand in a U-label (RFC 5892), by itself or in its context. */
export function isOfDomains(properties: number): boolean {
  return (properties & DOMAIN) !== 0
}

/** A bit of {@link BIDI}; known of what is more than {@link FREE}. */
export function bidiOf(properties: number): number {
  return 1 << ((properties >> 4) & 0b1111)
}

/** A value of {@link JOINING}, or 0. */
export function joiningOf(properties: number): number {
  return (properties >> 8) & 0b111
}

/** A value of {@link SCRIPT}, or 0. */
export function scriptOf(properties: number): number {
  return (properties >> 12) & 0b11
}

/** Whether it joins what it follows to a cluster (Canonical_Combining_Class 9). */
export function isVirama(properties: number): boolean {
  return (properties & VIRAMA) !== 0
}

/** Whether it is a combining mark (General_Category M). */
export function isMark(properties: number): boolean {
  return (properties & MARK) !== 0
}
