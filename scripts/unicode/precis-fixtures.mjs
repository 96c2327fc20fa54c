// Makes test/fixtures/precis/: what others say of code points and texts, for test/unit/precis-peers.test.ts.
//
//   node scripts/unicode/precis-fixtures.mjs iana precis-tables-6.3.0.csv    IANA's registry of RFC 8264 §11.1
//   node scripts/unicode/precis-fixtures.mjs x-text                          needs Go, gets golang.org/x/text
//
// The registry: https://www.iana.org/assignments/precis-tables-6.3.0/precis-tables-6.3.0.csv

import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'

const FOLDER = new URL('../../test/fixtures/precis/', import.meta.url)
const TEXTS = 1500

/** Characters that rules are about, so that random texts of them meet the rules. */
const INTERESTING = [
  ...'abzABZ019.-_lLßẞςσΣαΑſıİǅⅣéÉÀ１ａＡ。ｱﾞカ・あ漢אבגا٤۴بجديנ',
  // Middle dot, keraia, geresh, gershayim, tatweel; marks and viramas; joiners
  ...'\u00b7\u0375\u05f3\u05f4\u0640\u0300\u0301\u0345\u05b8\u064b\u093c\u0915\u0937\u094d\u1039\u17d2',
  ...'\u200c\u200d\u200c\u200d',
  // Jamo, singletons, spaces, what is invisible, symbols
  ...'\u1100\u1161\u11a8\uac00\u212a\u212b\u0958\u3000\u00a0\u1680\ufb01\ufe0f\u00ad♚ ',
  ...'\u{1f600}\u{1d400}\u{10400}\u{1e900}\u{10a00}\u{10a3f}',
]

/** @param {string} csv */
function writeRegistry(csv) {
  /** @type {{ first: number, last: number, property: string }[]} */
  const runs = []
  for (const line of readFileSync(csv, 'utf8').trim().split('\n').slice(1)) {
    const [range = '', property = ''] = line.split(',')
    const [first = 0, last = first] = range.split('-').map((hex) => Number.parseInt(hex, 16))
    const before = runs.at(-1)
    if (before !== undefined && before.property === property && before.last + 1 === first) before.last = last
    else runs.push({ first, last, property })
  }
  const properties = [...new Set(runs.map(({ property }) => property))]
  // The length of each run and its property
  const lines = runs.map(({ first, last, property }) => `${last - first + 1} ${properties.indexOf(property)}`)
  writeJson('iana-6.3.0.json', { properties, runs: lines.join(' ') })
}

function writePeer() {
  const random = randomNumbers(8264)
  /** @param {number} below */
  const any = (below) => Math.floor(random() * below)
  const texts = Array.from({ length: TEXTS }, () => {
    let text = ''
    for (let more = any(6); more >= 0; more--) {
      text +=
        random() < 0.9
          ? (INTERESTING[any(INTERESTING.length)] ?? '')
          : String.fromCodePoint(0x80 + any(0x1a00))
    }
    return text
  })
  const { stdout, stderr, status } = spawnSync('go', ['run', '.'], {
    cwd: new URL('peer/', import.meta.url),
    input: texts.map((text) => `${JSON.stringify(text)}\n`).join(''),
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(stderr)
  const answers = stdout.trim().split('\n')
  writeJson(
    'x-text.json',
    texts.map((text, i) => [text, ...JSON.parse(answers[i] ?? '')]),
  )
}

/** @param {number} seed @returns {() => number} the same numbers on every run (mulberry32) */
function randomNumbers(seed) {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** In ASCII, so that no editor changes it; a line an entry. @param {string} name @param {unknown} content */
function writeJson(name, content) {
  const json = Array.isArray(content)
    ? `[\n${content.map((entry) => JSON.stringify(entry)).join(',\n')}\n]`
    : JSON.stringify(content)
  const ascii = json.replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  writeFileSync(new URL(name, FOLDER), `${ascii}\n`)
}

const [what, csv] = process.argv.slice(2)
if (what === 'iana' && csv !== undefined) writeRegistry(csv)
else if (what === 'x-text') writePeer()
else {
  console.error('usage: precis-fixtures.mjs iana FILE | x-text')
  process.exitCode = 2
}
