// PRECIS: the profiles' examples, the contextual rules, the Bidi Rule, and what the tables count on.
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { propertiesOf } from '../../server/precis/code-points.ts'
import { enforceOpaqueString, enforceUsername, readCharacters } from '../../server/precis/profiles.ts'
import { bidiAllows, hasRightToLeft } from '../../server/precis/rules.ts'

const username = (text: string) => enforceUsername(text, 1023)
const opaque = (text: string) => enforceOpaqueString(text, 1023)

describe('UsernameCaseMapped', () => {
  it.each([
    // RFC 8265 §3.5, table 1
    ['juliet@example.com', 'juliet@example.com'],
    ['fussball', 'fussball'],
    ['fußball', 'fußball'],
    ['π', 'π'],
    ['Σ', 'σ'],
    ['σ', 'σ'],
    ['ς', 'ς'],
    // §3.3.1: width before anything else
    ['Ｊｕｌｉｅｔ１', 'juliet1'],
    ['ｱﾞ', 'ア\u3099'.normalize('NFC')],
    ['ﾡﾢ', undefined],
    // §3.3.2: lower case, character by character
    ['ÀÉ', 'àé'],
    ['ẞ', 'ß'],
    ['İ', 'i\u0307'],
    ['ı', 'ı'],
    ['ΑΣ', 'ασ'],
    ['Ꭰ', 'ꭰ'],
    ['ᾈ', 'ᾀ'],
    ['\u{10400}', '\u{10428}'],
    // Normalization
    ['e\u0301', 'é'],
    ['E\u0301', 'é'],
    ['a\u0323\u0307', 'ạ\u0307'],
    ['a\u0307\u0323', 'ạ\u0307'],
    ['\u1112\u1161\u11ab', '한'],
    ['\u212b', 'å'],
    ['\u212a', 'k'],
    ['\u0958', '\u0915\u093c'],
  ])('%j is %j', (text, name) => {
    expect(username(text)).toBe(name)
    if (name !== undefined) expect(username(name)).toBe(name)
  })

  it.each([
    // RFC 8265 §3.5, table 2
    ['a space', 'foo bar'],
    ['nothing', ''],
    ['a compatibility character', 'henryⅣ'],
    ['a symbol', '∞'],
    ['a ligature', '\ufb01'],
    ['a superscript', 'x²'],
    ['a mathematical letter', '\u{1d400}'],
    ['a long s', 'ſ'],
    ['an emoji', '\u{1f600}'],
    ['punctuation', '¡hola'],
    ['an ideographic space', 'a\u3000b'],
    ['a full-width space of ASCII', 'a\u00a0b'],
    ['a control character', 'a\u0007'],
    ['a soft hyphen', 'a\u00adb'],
    ['a zero-width space', 'a\u200bb'],
    ['a byte order mark', '\ufeffa'],
    ['a variation selector', 'a\ufe0f'],
    ['a conjoining Jamo alone', '\u1100'],
    ['old Hangul', '\u1140\u1161'],
    ['tatweel', 'ب\u0640ب'],
    ['a tag', 'a\u{e0061}'],
    ['private use', '\ue000'],
    ['half a surrogate pair', 'a\ud800'],
    ['a noncharacter', '\ufdd0'],
    ['an unassigned character', '\u0378'],
  ])('refuses %s: %j', (_, text) => {
    expect(username(text)).toBeUndefined()
  })
})

describe('OpaqueString', () => {
  it.each([
    // RFC 8265 §4.3, table 3
    ['correct horse battery staple', 'correct horse battery staple'],
    ['Correct Horse Battery Staple', 'Correct Horse Battery Staple'],
    ['πßå', 'πßå'],
    ['Jack of ♦s', 'Jack of ♦s'],
    ['foo\u1680bar', 'foo bar'],
    // §4.2.1: spaces and composition, and nothing else
    ['a\u00a0b\u2003c\u3000d', 'a b c d'],
    [' a  b ', ' a  b '],
    ['Ａⅳﬁ²', 'Ａⅳﬁ²'],
    ['e\u0301', 'é'],
    ['\u212b', 'Å'],
    ['\u{1f469}\u{1f3fd}', '\u{1f469}\u{1f3fd}'],
    // No Bidi Rule
    ['aאa1', 'aאa1'],
  ])('%j is %j', (text, string) => {
    expect(opaque(text)).toBe(string)
    expect(opaque(string)).toBe(string)
  })

  it.each([
    // RFC 8265 §4.3, table 4
    ['nothing', ''],
    ['a control character', 'my cat is a \tby'],
    ['a line separator', 'a\u2028b'],
    ['a zero-width space', 'a\u200bb'],
    ['a variation selector', '\u2764\ufe0f'],
    ['a joiner among emoji', '\u{1f468}\u200d\u{1f469}'],
    ['a direction override', 'x\u202ey'],
    ['a conjoining Jamo alone', '\u1100'],
    ['half a surrogate pair', '\udc00'],
    ['an unassigned character', '\u0378'],
  ])('refuses %s: %j', (_, text) => {
    expect(opaque(text)).toBeUndefined()
  })
})

describe('contextual rules (RFC 5892 appendix A)', () => {
  it.each<[rule: string, valid: string[], invalid: string[]]>([
    // Persian "ye" joins to both sides; Devanagari has a virama
    [
      'A.1: zero-width non-joiner',
      ['क\u094d\u200cष', 'می\u200cخ', 'ب\u064b\u200c\u064bب'],
      ['a\u200cb', '\u200c'],
    ],
    ['A.1: at an end', ['क\u094d\u200c'], ['می\u200c', '\u200cب', 'ب\u064b\u200c']],
    // Alef joins to the right only
    ['A.1: what does not join', [], ['ا\u200cب', 'ب\u200ca', 'ب\u200cא']],
    [
      'A.2: zero-width joiner',
      ['क\u094d\u200dष', 'क\u094d\u200d'],
      ['क\u200dष', 'ب\u200dب', '\u200d', 'a\u200d'],
    ],
    ['A.3: middle dot', ['l·l', 'paral·lel'], ['l·', '·l', 'a·l', 'l·a', '·', 'l··l']],
    ['A.4: Greek keraia', ['͵α', 'α͵β'], ['α͵', '͵a', '͵', '͵͵']],
    ['A.5: Hebrew geresh', ['א׳', 'א׳ב'], ['׳א', 'a׳', '׳']],
    ['A.6: Hebrew gershayim', ['א״ב'], ['״א', 'a״', '״']],
    ['A.7: Katakana middle dot', ['カ・', '・カ', 'a・あ', '漢・a'], ['・', 'a・b', '・한']],
    ['A.8: Arabic-Indic digits', ['ب٠٩'], ['ب٠۰', 'ب۹ب٠']],
    ['A.9: extended Arabic-Indic digits', ['ب۰۹', '۰۱'], ['ب۰٩']],
  ])('%s', (_, valid, invalid) => {
    for (const text of valid) {
      expect([text, username(text)]).toEqual([text, text])
      expect([text, opaque(text)]).toEqual([text, text])
    }
    for (const text of invalid) {
      expect([text, username(text)]).toEqual([text, undefined])
      expect([text, opaque(text)]).toEqual([text, undefined])
    }
  })

  it('A.3: two l in capitals are l when their context is looked at', () => {
    expect(username('PARAL·LEL')).toBe('paral·lel')
    expect(opaque('PARAL·LEL')).toBeUndefined()
  })
})

describe('the Bidi Rule (RFC 5893 §2)', () => {
  it.each<[condition: string, valid: string[], invalid: string[]]>([
    ['1: begins with L, R or AL', ['אב', 'بج'], ['1א', '٣ب', '\u05b8א', '-א', '_א', '٣']],
    ['2: no L from right to left', ['א1', 'א-ב', 'א.ב', 'א_ב', 'א+ב'], ['אa', 'אaב', 'بa1']],
    ['3: ends with R, AL, EN or AN', ['א1', 'ب٣', 'אב\u05b8', 'א1\u05b8'], ['א-', 'א.', 'א_', 'א1+\u05b8']],
    ['4: not EN and AN', ['ب12', 'ب٣٤'], ['ب1٣', 'ب٣1', 'ب۴٣']],
    ['5: no R, AL or AN from left to right', ['abc'], ['aא', 'aאb', 'a٣', 'aب1']],
    // §3.1, Dhivehi for "computer"; §3.2, the Yiddish name of YIVO: both end in a mark
    [
      '§3: words that end in a mark',
      ['\u0786\u07ae\u0789\u07b0\u0795\u07a9\u0793\u07a6\u0783\u07aa', '\u05d9\u05b4\u05d5\u05d0\u05b8'],
      [],
    ],
  ])('%s', (_, valid, invalid) => {
    for (const text of valid) expect([text, username(text)]).toEqual([text, text])
    for (const text of invalid) expect([text, username(text)]).toEqual([text, undefined])
  })

  it('6: from left to right it ends with L or EN; asked of labels beside one that reads from right to left', () => {
    const allows = (text: string) => bidiAllows(readCharacters(text).properties)
    expect(['a', 'a1', 'a-b', 'a\u0301'].map(allows)).toEqual([true, true, true, true])
    expect(['a-', '1a', 'a_', '-'].map(allows)).toEqual([false, false, false, false])
  })

  it('is not asked of texts without such characters', () => {
    expect(hasRightToLeft(readCharacters('1a-').properties)).toBe(false)
    expect(username('1a-')).toBe('1a-')
    expect(username('\u0301a')).toBe('\u0301a')
  })
})

describe('tables', () => {
  it('have Unicode 15.0, and of what is newer what nothing is mapped to or from', () => {
    // 15.0: a letter; 15.1 and 16.0: an ideograph, an emoji, a letter without case
    for (const code of [0x1e4d0, 0x2ebf0, 0x1fae9, 0x10ec2]) expect(propertiesOf(code)).not.toBe(0)
    // 16.0: a capital, a mark, a vowel that composes
    for (const code of [0xa7cb, 0x897, 0x16d67]) expect(propertiesOf(code)).toBe(0)
  })

  it('are of characters that this Node maps as every other does', () => {
    const hash = createHash('sha256')
    for (let code = 0; code <= 0x10ffff; code++) {
      if (propertiesOf(code) === 0) continue
      const text = String.fromCodePoint(code)
      hash.update(`${text.toLowerCase()}\0${text.normalize('NFC')}\0${text.normalize('NFD')}\0`)
      // The order of marks, and what a mark composes with, which its decomposition tells
      hash.update(`${`\u0334${text}\u0334`.normalize('NFC')}\0${`\u0345${text}\u0323`.normalize('NFD')}\0`)
    }
    expect(hash.digest('hex')).toBe('2f464ff6f3702ad09ebc1b956169ae721c8d5a378c9033de6a58f8ae5eb9a351')
  })
})
