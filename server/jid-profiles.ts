// How the parts of a JID are prepared: Nodeprep, Resourceprep (RFC 6122 appendices A and B), IDNA for domains.
//
// The profiles are those that the network runs (Prosody, ejabberd): RFC 6122's stringprep, not RFC 7622's
// PRECIS, so that an address is the same account here and at a peer. Where Unicode has grown since
// stringprep's version 3.2, later characters are taken with their present properties.
import { isIPv4, isIPv6 } from 'node:net'
import { domainToASCII, domainToUnicode } from 'node:url'

/** The longest a part may be, in bytes of UTF-8 (RFC 7622 §3.1). */
export const MAX_PART_BYTES = 1023

/** The longest label of a domain in its ASCII form, in bytes (RFC 1035 §2.3.4). */
const MAX_LABEL_BYTES = 63

/** Which part an ASCII character may stand in as it is: bits for {@link asciiAllows}. */
export const IN_LOCAL = 1
export const IN_DOMAIN = 2
export const IN_RESOURCE = 4

const asciiParts = new Uint8Array(128)
for (let code = 0x20; code < 0x7f; code++) {
  const character = String.fromCharCode(code)
  const upper = code >= 0x41 && code <= 0x5a
  let parts = IN_RESOURCE
  // RFC 6122 appendix A.5: what Nodeprep forbids besides the tables
  if (!upper && !` "&'/:<>@`.includes(character)) parts |= IN_LOCAL
  // The underscore is no letter of host names, but internal and container names have it
  if ((code >= 0x61 && code <= 0x7a) || (code >= 0x30 && code <= 0x39) || '.-_'.includes(character)) {
    parts |= IN_DOMAIN
  }
  asciiParts[code] = parts
}

/** Whether the UTF-16 code unit `code` is an ASCII character that needs no preparation in that part. */
export function asciiAllows(code: number, part: number): boolean {
  return code < 128 && (asciiParts[code]! & part) !== 0
}

/** Whether every character of `text` may stand in that part as it is. */
export function isPlain(text: string, part: number): boolean {
  for (let i = 0; i < text.length; i++) if (!asciiAllows(text.charCodeAt(i), part)) return false
  return true
}

// RFC 3454 table B.1, what is mapped to nothing: soft hyphen, joiners, variation selectors …
const MAPPED_TO_NOTHING =
  /\u00ad|\u034f|\u1806|[\u180b-\u180d]|[\u200b-\u200d]|\u2060|[\ufe00-\ufe0f]|\ufeff/gu

// Tables C.2 to C.9 and the spaces that NFKC leaves. Every format character (Cf) of Unicode 3.2 is in C.2.2,
// C.8 or C.9, so the category stands for them and for those that came later. Unassigned characters are
// refused too: their normal form is not known before they are assigned.
const PROHIBITED = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}|[\u2ff0-\u2fff]|\u0340|\u0341|\ufffc|\ufffd/u

const PROHIBITED_IN_LOCAL = /[ "&'/:<>@]/

// Table D.1, the characters of right-to-left scripts
const RIGHT_TO_LEFT =
  /[\u05be\u05c0\u05c3\u05d0-\u05ea\u05f0-\u05f4\u061b\u061f\u0621-\u063a\u0640-\u064a\u066d-\u066f\u0671-\u06d5\u06dd\u06e5\u06e6\u06fa-\u06fe\u0700-\u070d\u0710\u0712-\u072c\u0780-\u07a5\u07b1\ufb1d\ufb1f-\ufb28\ufb2a-\ufb36\ufb38-\ufb3c\ufb3e\ufb40\ufb41\ufb43\ufb44\ufb46-\ufbb1\ufbd3-\ufd3d\ufd50-\ufd8f\ufd92-\ufdc7\ufdf0-\ufdfc\ufe70-\ufe74\ufe76-\ufefc]/u

// Table D.2 by category: what reads from left to right, where it is not in D.1
const LETTER_OR_SPACING_MARK = /[\p{L}\p{Mc}\p{Nl}]/gu

/** Whether a text in a right-to-left script begins in it, with no letters of another direction between. */
function isOneDirection(text: string): boolean {
  if (!RIGHT_TO_LEFT.test(text)) return true
  if (!RIGHT_TO_LEFT.test(text[0]!)) return false
  for (const [letter] of text.matchAll(LETTER_OR_SPACING_MARK)) {
    if (!RIGHT_TO_LEFT.test(letter)) return false
  }
  return true
}

/** RFC 3454 §6: such a text also ends in its script. */
function bidiAllows(text: string): boolean {
  return isOneDirection(text) && (!RIGHT_TO_LEFT.test(text) || RIGHT_TO_LEFT.test(text[text.length - 1]!))
}

/** Full case folding of Unicode (RFC 3454 table B.2), character by character: no context, no locale. */
function foldCase(text: string): string {
  let folded = ''
  for (const character of text) {
    const code = character.codePointAt(0)!
    // The dotless i folds to itself, though its capital is I
    if (code === 0x131) folded += character
    // Cherokee is the one script that folds to its capitals: the small letters came later
    else if ((code >= 0x13a0 && code <= 0x13fd) || (code >= 0xab70 && code <= 0xabbf)) {
      folded += character.toUpperCase()
    }
    // By way of the capital, so that ß and ẞ become ss, and both sigmas σ
    else folded += character.toLowerCase().toUpperCase().toLowerCase()
  }
  return folded
}

/** Maps until nothing changes, so that preparing twice is preparing once. Undefined if it grows too long. */
function mapToFixedPoint(text: string, fold: boolean): string | undefined {
  let current = text
  for (let round = 0; round < 5; round++) {
    const shown = current.replace(MAPPED_TO_NOTHING, '')
    const next = (fold ? foldCase(shown) : shown).normalize('NFKC')
    // One character can become 18
    if (next.length > MAX_PART_BYTES) return undefined
    if (next === current) return current
    current = next
  }
  return undefined
}

function isTooLong(text: string): boolean {
  return text.length > MAX_PART_BYTES || Buffer.byteLength(text) > MAX_PART_BYTES
}

function prepare(text: string, fold: boolean): string | undefined {
  // As it came, too, as Prosody does: what is mapped costs by its length
  if (isTooLong(text)) return undefined
  const mapped = mapToFixedPoint(text, fold)
  if (mapped === undefined || mapped.length === 0 || isTooLong(mapped)) return undefined
  return PROHIBITED.test(mapped) || !bidiAllows(mapped) ? undefined : mapped
}

/** Nodeprep (RFC 6122 appendix A); undefined if the text is no localpart. */
export function prepareLocal(text: string): string | undefined {
  if (isPlain(text, IN_LOCAL)) return text.length > 0 && text.length <= MAX_PART_BYTES ? text : undefined
  const prepared = prepare(text, true)
  return prepared === undefined || PROHIBITED_IN_LOCAL.test(prepared) ? undefined : prepared
}

/** Resourceprep (RFC 6122 appendix B); undefined if the text is no resourcepart. */
export function prepareResource(text: string): string | undefined {
  if (isPlain(text, IN_RESOURCE)) return text.length > 0 && text.length <= MAX_PART_BYTES ? text : undefined
  return prepare(text, false)
}

/**
 * A domainpart (RFC 7622 §3.2): lower case, no dot at the end, A-labels turned into U-labels, IPv6 in its
 * brackets and in the form of RFC 5952. Undefined if the text is no domain.
 */
export function prepareDomain(text: string): string | undefined {
  if (text.length === 0 || isTooLong(text)) return undefined
  if (text.charCodeAt(0) === 0x5b /* [ */) return prepareIPv6(text)
  const lower = lowerAscii(text)
  const name = lower.endsWith('.') ? lower.slice(0, -1) : lower
  if (!isPlain(name, IN_DOMAIN)) return prepareUnicodeDomain(name)
  if (!hasPlainLabels(name)) return undefined
  return hasALabel(name) ? prepareUnicodeDomain(name) : name
}

/** Whether an ASCII name consists of labels of 1 to 63 bytes with no hyphen at an end. */
export function hasPlainLabels(name: string): boolean {
  let start = 0
  for (let i = 0; i <= name.length; i++) {
    if (i < name.length && name.charCodeAt(i) !== 0x2e) continue
    const length = i - start
    if (length === 0 || length > MAX_LABEL_BYTES) return false
    if (name.charCodeAt(start) === 0x2d || name.charCodeAt(i - 1) === 0x2d) return false
    start = i + 1
  }
  return true
}

/** Whether a label of a lower-case ASCII name begins with `xn--` (RFC 5890 §2.3.2.1). */
export function hasALabel(name: string): boolean {
  return name.startsWith('xn--') || name.includes('.xn--')
}

function lowerAscii(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

function prepareIPv6(text: string): string | undefined {
  const address = text.slice(1, -1)
  // A zone (fe80::1%eth0) has a meaning on one machine only
  if (!text.endsWith(']') || address.includes('%') || !isIPv6(address)) return undefined
  return new URL(`xmpp://${text}`).hostname
}

// ASCII that is no host name: `domainToASCII` reads its argument as a part of a URL, so that "a@b", "a/b" and
// "%61" would be understood instead of refused.
const ASCII_OUTSIDE_NAMES = /[^a-z0-9._\-\u0080-\u{10ffff}]/u

/**
 * Names with letters beyond ASCII or in their ASCII form, by UTS 46 without transitional mapping: ß stays,
 * since faß.example and fass.example are two owners' domains.
 */
function prepareUnicodeDomain(name: string): string | undefined {
  if (ASCII_OUTSIDE_NAMES.test(name) || /\p{Cs}/u.test(name)) return undefined
  const ascii = domainToASCII(name)
  // An address in full-width digits, or 0x7f.1, is nobody's name
  if (ascii === '' || isIPv4(ascii) || !isPlain(ascii, IN_DOMAIN) || !hasPlainLabels(ascii)) return undefined
  const unicode = domainToUnicode(ascii)
  // An A-label has to be the one form of its U-label (RFC 5890 §2.3.2.1)
  if (unicode === '' || domainToASCII(unicode) !== ascii) return undefined
  // RFC 5893 §2, which not every version of Node looks at; digits may end a label
  if (!unicode.split('.').every(isOneDirection)) return undefined
  return isTooLong(unicode) ? undefined : unicode
}
