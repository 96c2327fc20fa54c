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

it('lets what Unicode 3.2 had not assigned through in queries', () => {
  for (const text of ['\u{1f339}', '\u{221}', '\u{1e9e}', '\u{378}', 'a\u{1ab0}']) {
    expect(saslprep(text, 'query')).toBe(text)
  }
})

it.each([
  ['an emoji', '\u{1f339}', '\u{1f339}'],
  ['an emoji of Unicode 16', '\u{1fae9}', '\u{1fae9}'],
  ['a family, joined', '\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}', '\u{1f468}\u{1f469}\u{1f467}'],
  ['a tone of skin', '\u{1f44d}\u{1f3fd}', '\u{1f44d}\u{1f3fd}'],
  ['a heart with its selector', '\u{2764}\u{fe0f}', '\u{2764}'],
  ['letters', '\u{221}\u{1e9e}', '\u{221}\u{1e9e}'],
])('stores what is newer than Unicode 3.2 if every client keeps it: %s', (_, text, stored) => {
  expect(saslprep(text, 'stored')).toBe(stored)
  expect(saslprep(text, 'query')).toBe(stored)
})

it.each([
  ['not assigned yet', '\u{378}'],
  ['a mark, whose order may change', 'a\u{1ab0}'],
  ['a compatibility character', '\u{1f100}'],
  ['ideograph for compatibility', '\u{fa2e}'],
  ['letters that compose', '\u{11131}\u{11127}'],
])('does not store what clients of different age may make different texts of: %s', (_, text) => {
  expect(saslprep(text, 'stored')).toBeUndefined()
})

it('prepares what it has prepared to itself', () => {
  for (let codePoint = 0x80; codePoint < 0x3400; codePoint++) {
    const prepared = saslprep(String.fromCodePoint(codePoint), 'stored')
    if (prepared !== undefined) expect(saslprep(prepared, 'stored')).toBe(prepared)
  }
})
