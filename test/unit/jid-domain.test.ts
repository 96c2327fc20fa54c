// Domainparts (RFC 7622 §3.2): host names, U-labels of IDNA2008, addresses.
import { expect, it } from 'vitest'
import { prepareDomain } from '../../server/jid.ts'

it.each([
  ['example.com', 'example.com'],
  ['example.com.', 'example.com'],
  ['EXAMPLE.com', 'example.com'],
  ['my_host.lan', 'my_host.lan'],
  [`${'a'.repeat(63)}.b`, `${'a'.repeat(63)}.b`],
  ['127.0.0.1', '127.0.0.1'],
  ['[2001:DB8:0::0001]', '[2001:db8::1]'],
  ['[::ffff:192.0.2.1]', '[::ffff:c000:201]'],
  // A-labels become U-labels (§3.2.1)
  ['BÜCHER.example', 'bücher.example'],
  ['xn--bcher-kva.example', 'bücher.example'],
  ['XN--BCHER-KVA.example', 'bücher.example'],
  ['xn--mgba3gch31f060k.com', 'نامه\u200cای.com'],
  // What IDNA2008 tells apart
  ['faß.example', 'faß.example'],
  ['xn--fa-hia.example', 'faß.example'],
  ['FAẞ.example', 'faß.example'],
  ['βόλος.com', 'βόλος.com'],
  ['Ꭰ.example', 'Ꭰ.example'],
  ['क\u094d\u200dष.example', 'क\u094d\u200dष.example'],
  ['paral·lel.cat', 'paral·lel.cat'],
  // Mapping: width, case, composition, compatibility, dots
  ['ｅｘａｍｐｌｅ．ｃｏｍ', 'example.com'],
  ['例え。テスト', '例え.テスト'],
  ['例え.テスト。', '例え.テスト'],
  ['bu\u0308cher.example', 'bücher.example'],
  ['น้ำ.example', 'น้ํา.example'],
  ['ℂ.example', 'c.example'],
  ['Ⅷ.example', 'viii.example'],
  // The Bidi Rule, of every label
  ['אב1.example', 'אב1.example'],
  ['אב.example1', 'אב.example1'],
])('%j is %j', (text, domain) => {
  expect(prepareDomain(text)).toBe(domain)
  expect(prepareDomain(domain)).toBe(domain)
})

it.each([
  ['a Unicode label of over 63 bytes in ASCII', `${'ü'.repeat(63)}.b`],
  ['a full-width percent sign', '％61.example'],
  ['a full-width slash', 'ü／b.example'],
  ['an address in full-width digits', '１２７.１'],
  ['an address in other digits', '①２７.0.0.1'],
  ['a digit with a dot', '⒈example'],
  ['an ellipsis', 'a…example'],
  ['an A-label that is none', 'xn--a'],
  ['an A-label of ASCII', 'xn--abc-.example'],
  ['nothing after xn--', 'xn--.example'],
  ['an A-label of a capital', 'xn--bcher-2pa.example'],
  ['an A-label of a symbol', 'xn--45h.example'],
  ['an A-label of what is not normalized', 'xn--bucher-xyd.example'],
  ['an A-label of a joiner without context', 'xn--ab-m1t.example'],
  ['a symbol', '♚.example'],
  ['an emoji', '\u{1f4a9}.example'],
  ['an underscore beside a letter of IDNA', '_ü.example'],
  ['a soft hyphen', 'a\u00adb.example'],
  ['a zero-width space', 'a\u200bb.example'],
  ['a middle dot without its context', 'a·b.example'],
  ['a combining mark for symbols', 'a\u20d2.example'],
  ['a label that begins with a mark', '\u0301a.example'],
  ['a hyphen before a U-label', '-ü.example'],
  ['a hyphen after a U-label', 'ü-.example'],
  ['hyphens in the third and fourth place of a U-label', 'aü--b.example'],
  ['two dots', 'ü..example'],
  ['two dots of two kinds', 'ü.。example'],
  ['a dot only', '。'],
  ['both directions in a label', 'aא.example'],
  ['both directions in a label that begins from the right', 'אa.example'],
  ['a label that begins with a digit beside one from right to left', '1a.אב'],
  ['Arabic and European digits in a label', 'ب1٣.example'],
  ['an unassigned character', 'a\u0378.example'],
  ['half a surrogate pair', 'a\ud800.example'],
  ['an IPv6 zone', '[fe80::1%eth0]'],
  ['an IPv6 of an address of the future', '[v1.fe80]'],
  ['brackets without an address', '[]'],
  ['half a bracket', '[::1'],
  ['something after the bracket', '[::1]a'],
  ['IPv4 in brackets', '[127.0.0.1]'],
])('%s: %j is none', (_, text) => {
  expect(prepareDomain(text)).toBeUndefined()
})
