// The rules about whole texts: contextual rules (RFC 5892 appendix A) and the Bidi Rule (RFC 5893 §2).
import { BIDI, bidiOf, isVirama, JOINING, joiningOf, SCRIPT, scriptOf } from './code-points.ts'

/** A text as code points, with the properties of each beside it. */
export interface Characters {
  readonly codes: readonly number[]
  readonly properties: readonly number[]
}

const ZERO_WIDTH_NON_JOINER = 0x200c
const MIDDLE_DOT = 0xb7
const GREEK_KERAIA = 0x375
const HEBREW_GERESH = 0x5f3
const HEBREW_GERSHAYIM = 0x5f4
const KATAKANA_MIDDLE_DOT = 0x30fb
const SMALL_L = 0x6c

/** Whether a joiner or non-joiner may stand at a place: after a virama, or where the script joins. */
export function joinerAllowed({ codes, properties }: Characters, at: number): boolean {
  // A.1, A.2
  if (at > 0 && isVirama(properties[at - 1]!)) return true
  if (codes[at] !== ZERO_WIDTH_NON_JOINER) return false
  let before = at - 1
  while (before >= 0 && joiningOf(properties[before]!) === JOINING.transparent) before--
  let after = at + 1
  while (after < codes.length && joiningOf(properties[after]!) === JOINING.transparent) after++
  if (before < 0 || after === codes.length) return false
  const left = joiningOf(properties[before]!)
  const right = joiningOf(properties[after]!)
  return (
    (left === JOINING.left || left === JOINING.dual) && (right === JOINING.right || right === JOINING.dual)
  )
}

/** Whether a character that is valid in a context has it. */
export function contextAllows({ codes, properties }: Characters, at: number): boolean {
  const code = codes[at]!
  switch (code) {
    case MIDDLE_DOT: // A.3: between two l, as in Catalan
      return codes[at - 1] === SMALL_L && codes[at + 1] === SMALL_L
    case GREEK_KERAIA: // A.4
      return at + 1 < codes.length && scriptOf(properties[at + 1]!) === SCRIPT.greek
    case HEBREW_GERESH: // A.5, A.6
    case HEBREW_GERSHAYIM:
      return at > 0 && scriptOf(properties[at - 1]!) === SCRIPT.hebrew
    case KATAKANA_MIDDLE_DOT: // A.7
      return properties.some((each) => scriptOf(each) === SCRIPT.kanaOrHan)
  }
  // A.8, A.9: Arabic-Indic digits and extended ones do not mix
  if (isArabicDigit(code)) return !codes.some(isExtendedArabicDigit)
  if (isExtendedArabicDigit(code)) return !codes.some(isArabicDigit)
  return false
}

function isArabicDigit(code: number): boolean {
  return code >= 0x660 && code <= 0x669
}

function isExtendedArabicDigit(code: number): boolean {
  return code >= 0x6f0 && code <= 0x6f9
}

const RIGHT_TO_LEFT = BIDI.R | BIDI.AL | BIDI.AN
const NEUTRAL = BIDI.EN | BIDI.ES | BIDI.CS | BIDI.ET | BIDI.ON | BIDI.BN | BIDI.NSM

/** Whether a text has characters that read from right to left (RFC 5893 §1.4). */
export function hasRightToLeft(properties: readonly number[]): boolean {
  return properties.some((each) => (bidiOf(each) & RIGHT_TO_LEFT) !== 0)
}

/** The six conditions of RFC 5893 §2, for a label of a domain that has characters that read from right to left. */
export function bidiAllows(properties: readonly number[]): boolean {
  const first = properties.length === 0 ? 0 : bidiOf(properties[0]!)
  let all = 0
  let last = 0
  for (const each of properties) {
    const bidi = bidiOf(each)
    all |= bidi
    if (bidi !== BIDI.NSM) last = bidi
  }
  // Conditions 1, 2, 3 and 4
  if ((first & (BIDI.R | BIDI.AL)) !== 0) {
    if ((all & ~(RIGHT_TO_LEFT | NEUTRAL)) !== 0) return false
    return (last & (RIGHT_TO_LEFT | BIDI.EN)) !== 0 && (all & (BIDI.EN | BIDI.AN)) !== (BIDI.EN | BIDI.AN)
  }
  // 1, 5 and 6
  if (first !== BIDI.L) return false
  return (all & ~(BIDI.L | NEUTRAL)) === 0 && (last & (BIDI.L | BIDI.EN)) !== 0
}
