// The profiles UsernameCaseMapped and OpaqueString of PRECIS (RFC 8264, RFC 8265).
import { CONTEXT, classOf, FREE, JOINER, propertiesOf, VALID, widthMapping } from './code-points.ts'
import { bidiAllows, type Characters, contextAllows, hasRightToLeft, joinerAllowed } from './rules.ts'

/** After the first time, mapping is repeated this often before a text counts as one that has no stable form. */
const MOST_REPETITIONS = 3

/**
 * Enforces UsernameCaseMapped (RFC 8265 §3.3): letters and digits, in lower case.
 *
 * @param longest what is longer than this many UTF-16 units, when it comes or when it is mapped, is not looked at
 * @returns undefined if the text is no such name
 */
export function enforceUsername(text: string, longest: number): string | undefined {
  const name = mapToStable(text, longest, mapUsername)
  if (name === undefined) return undefined
  const characters = readCharacters(name)
  for (let at = 0; at < characters.codes.length; at++) {
    if (classOf(characters.properties[at]!) === FREE || !allows(characters, at)) return undefined
  }
  return !hasRightToLeft(characters.properties) || bidiAllows(characters.properties) ? name : undefined
}

/**
 * Enforces OpaqueString (RFC 8265 §4.2): nearly everything, as it is.
 *
 * @param longest as in {@link enforceUsername}
 * @returns undefined if the text is no such string
 */
export function enforceOpaqueString(text: string, longest: number): string | undefined {
  const opaque = mapToStable(text, longest, mapOpaqueString)
  if (opaque === undefined) return undefined
  const characters = readCharacters(opaque)
  for (let at = 0; at < characters.codes.length; at++) if (!allows(characters, at)) return undefined
  return opaque
}

/** The code points of a text and what is known of them. */
export function readCharacters(text: string): Characters {
  const codes: number[] = []
  const properties: number[] = []
  for (const character of text) {
    const code = character.codePointAt(0)!
    codes.push(code)
    properties.push(propertiesOf(code))
  }
  return { codes, properties }
}

/** Whether the character at a place may stand there in free form. */
export function allows(characters: Characters, at: number): boolean {
  switch (classOf(characters.properties[at]!)) {
    case FREE:
    case VALID:
      return true
    case JOINER:
      return joinerAllowed(characters, at)
    case CONTEXT:
      return contextAllows(characters, at)
    default:
      return false
  }
}

/**
 * Whether every character of a text is in the tables. Others are refused before they are mapped: what the
 * runtime makes of them depends on its version.
 */
export function isKnown(text: string): boolean {
  for (const character of text) if (propertiesOf(character.codePointAt(0)!) === 0) return false
  return true
}

/** RFC 8264 §7: maps until nothing changes, so that preparing twice is preparing once. */
function mapToStable(text: string, longest: number, map: (text: string) => string): string | undefined {
  if (text.length === 0 || text.length > longest || !isKnown(text)) return undefined
  let current = map(text)
  for (let repetition = 0; repetition < MOST_REPETITIONS; repetition++) {
    if (current.length > longest) return undefined
    const next = map(current)
    if (next === current) return current
    current = next
  }
  return undefined
}

function mapUsername(text: string): string {
  return lowerCase(mapWidth(text)).normalize('NFC')
}

// RFC 8265 §4.2.1: no other mapping; width stays as it is
function mapOpaqueString(text: string): string {
  return text.replace(/\p{Zs}/gu, ' ').normalize('NFC')
}

/** Full-width and half-width characters as they are usually. */
export function mapWidth(text: string): string {
  // The block Halfwidth and Fullwidth Forms and the ideographic space
  return text.replace(
    /[\u3000\uff00-\uffef]/g,
    (character) => widthMapping(character.charCodeAt(0)) ?? character,
  )
}

/** Lower case, character by character: Σ becomes σ at the end of a word, too (RFC 7622 §3.5). */
export function lowerCase(text: string): string {
  return text.replaceAll('Σ', 'σ').toLowerCase()
}
