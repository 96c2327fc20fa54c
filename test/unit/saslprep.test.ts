/** SASLprep: RFC 4013 §3 and the tables of RFC 3454. */

import { expect, it } from 'vitest'
import { saslprep } from '../../server/auth/saslprep.ts'

it.each<[string, string | undefined, string]>([
  ['I\u{ad}X', 'IX', 'soft hyphen mapped to nothing'],
  ['user', 'user', 'no transformation'],
  ['USER', 'USER', 'case preserved'],
  ['\u{aa}', 'a', 'NFKC, Latin'],
  ['\u{2168}', 'IX', 'NFKC, Roman numeral'],
  ['\u{7}', undefined, 'prohibited character'],
  ['\u{627}1', undefined, 'bidirectional check'],
])('RFC 4013 §3: %j', (text, expected) => {
  expect(saslprep(text, 'query')).toBe(expected)
  expect(saslprep(text, 'stored')).toBe(expected)
})

it.each([
  ['', ''],
  ['a b', 'a b'],
  ['a\u{a0}b', 'a b'],
  ['a\u{3000}b', 'a b'],
  ['a\u{200b}b', 'a b'],
  ['a\u{feff}\u{fe0f}b', 'ab'],
  ['\u{ad}', ''],
  ['e\u{301}', '\u{e9}'],
  ['ｐａｓｓ', 'pass'],
  ['pässwörd', 'pässwörd'],
  ['ロミオ', 'ロミオ'],
  ['\u{5d0}\u{5d1}', '\u{5d0}\u{5d1}'],
  ['\u{5d0}1\u{5d1}', '\u{5d0}1\u{5d1}'],
])('prepares %j', (text, expected) => {
  expect(saslprep(text, 'stored')).toBe(expected)
})

it.each([
  ['NUL', 'a\0b'],
  ['DEL', 'a\u{7f}'],
  ['a control character (C.2.2)', 'a\u{85}'],
  ['private use (C.3)', '\u{e000}'],
  ['private use, last plane (C.3)', '\u{10fffd}'],
  ['no character (C.4)', '\u{ffff}'],
  ['half of a surrogate pair (C.5)', 'a\ud800'],
  ['the replacement character (C.6)', '\u{fffd}'],
  ['ideographic description (C.7)', '\u{2ff0}'],
  ['change of direction (C.8)', 'a\u{202e}b'],
  ['a tag (C.9)', '\u{e0041}'],
  ['left-to-right after right-to-left', '\u{5d0}a'],
  ['left-to-right in right-to-left', '\u{5d0}a\u{5d0}'],
  ['right-to-left that ends in neither', '\u{5d0}1'],
  ['right-to-left that begins with neither', '1\u{5d0}'],
])('refuses %s', (_, text) => {
  expect(saslprep(text, 'query')).toBeUndefined()
})

it('lets what Unicode 3.2 had not assigned through in queries only', () => {
  for (const text of ['\u{1f339}', '\u{221}', '\u{1e9e}']) {
    expect(saslprep(text, 'query')).toBe(text)
    expect(saslprep(text, 'stored')).toBeUndefined()
  }
})

it('prepares what it has prepared to itself', () => {
  for (let codePoint = 0x80; codePoint < 0x3400; codePoint++) {
    const prepared = saslprep(String.fromCodePoint(codePoint), 'stored')
    if (prepared !== undefined) expect(saslprep(prepared, 'stored')).toBe(prepared)
  }
})
