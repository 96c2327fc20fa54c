// Domainparts (RFC 7622 §3.2): host names, internationalized ones by IDNA2008, and IP addresses.
import { isIPv4, isIPv6 } from 'node:net'
import { domainToASCII, domainToUnicode } from 'node:url'
import { hasALabel, hasPlainLabels, IN_DOMAIN, isPlain, isTooLong, MAX_PART_BYTES } from './jid-ascii.ts'
import { isMark, isOfDomains, propertiesOf } from './precis/code-points.ts'
import { allows, isKnown, lowerCase, readCharacters } from './precis/profiles.ts'
import { bidiAllows, hasRightToLeft } from './precis/rules.ts'

/** Mapping gives a letter that has to be mapped again once at most, as ℂ gives C. */
const MOST_MAPPINGS = 4

/**
 * A domainpart: lower case, no dot at the end, A-labels turned into U-labels, IPv6 in its brackets and in the
 * form of RFC 5952. Undefined if the text is no domain.
 */
export function prepareDomain(text: string): string | undefined {
  if (text.length === 0 || isTooLong(text)) return undefined
  if (text.charCodeAt(0) === 0x5b /* [ */) return prepareIPv6(text)
  const lower = text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
  const name = lower.endsWith('.') ? lower.slice(0, -1) : lower
  if (!isPlain(name, IN_DOMAIN)) return prepareUnicodeDomain(name)
  if (!hasPlainLabels(name)) return undefined
  return hasALabel(name) ? prepareUnicodeDomain(name) : name
}

function prepareIPv6(text: string): string | undefined {
  const address = text.slice(1, -1)
  // A zone (fe80::1%eth0) has a meaning on one machine only
  if (!text.endsWith(']') || address.includes('%') || !isIPv6(address)) return undefined
  return new URL(`xmpp://${text}`).hostname
}

/** Names with letters beyond ASCII or in their ASCII form. */
function prepareUnicodeDomain(name: string): string | undefined {
  const mapped = isKnown(name) ? mapDomain(name) : undefined
  if (mapped === undefined) return undefined
  const labels: string[] = []
  for (const label of (mapped.endsWith('.') ? mapped.slice(0, -1) : mapped).split('.')) {
    const prepared = prepareLabel(label)
    if (prepared === undefined) return undefined
    labels.push(prepared)
  }
  const domain = labels.join('.')
  // RFC 5893 §2: one label that reads from right to left asks it of all
  const properties = labels.map((label) => readCharacters(label).properties)
  if (properties.some(hasRightToLeft) && !properties.every(bidiAllows)) return undefined
  const ascii = domainToASCII(domain)
  // An address in full-width digits, or 0x7f.1 in them, is nobody's name
  if (!isPlain(ascii, IN_DOMAIN) || !hasPlainLabels(ascii) || isIPv4(ascii)) return undefined
  return isTooLong(domain) ? undefined : domain
}

/**
 * Case, width and normalization as RFC 5892 §2.2 has them, and RFC 5895's dot. A letter that IDNA2008 has as it is
 * stays: ß, since faß.example and fass.example are two owners' domains, and Cherokee capitals.
 */
function mapDomain(name: string): string | undefined {
  let current = name
  for (let mapping = 0; mapping < MOST_MAPPINGS; mapping++) {
    let lower = ''
    for (const character of current) {
      lower += isOfDomains(propertiesOf(character.codePointAt(0)!)) ? character : lowerCase(character)
    }
    const next = lower.normalize('NFKC').replaceAll('。', '.')
    // "⒈" is a digit with a dot, and no separator
    if (next.length > MAX_PART_BYTES || countOf(next, /\./g) !== countOf(current, /[.。．｡]/g))
      return undefined
    if (next === current) return current
    current = next
  }
  return undefined
}

function countOf(text: string, pattern: RegExp): number {
  return text.match(pattern)?.length ?? 0
}

function prepareLabel(label: string): string | undefined {
  if (!label.startsWith('xn--')) return isPlain(label, IN_DOMAIN) || isULabel(label) ? label : undefined
  const unicode = domainToUnicode(label)
  // An A-label has to be the one form of its U-label (RFC 5890 §2.3.2.1)
  return isULabel(unicode) && domainToASCII(unicode) === label ? unicode : undefined
}

/** RFC 5891 §4.2, for a label that is not ASCII only. */
function isULabel(label: string): boolean {
  const characters = readCharacters(label)
  const { codes, properties } = characters
  if (codes.length === 0 || isMark(properties[0]!) || label.normalize('NFC') !== label) return false
  if (label.startsWith('-') || label.endsWith('-') || label.startsWith('--', 2)) return false
  for (let at = 0; at < codes.length; at++) {
    if (!isOfDomains(properties[at]!) || !allows(characters, at)) return false
  }
  return codes.some((code) => code >= 0x80)
}
