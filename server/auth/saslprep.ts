/** SASLprep (RFC 4013): one form for user names and passwords that people type in different ways. */

import { classOf, FREE, isMark, propertiesOf, VALID } from '../precis/code-points.ts'
import {
  has,
  LEFT_TO_RIGHT,
  MAPPED_TO_NOTHING,
  NON_ASCII_SPACE,
  PROHIBITED,
  RIGHT_TO_LEFT,
  UNASSIGNED,
} from './stringprep-tables.ts'

/**
 * Prepares a string.
 *
 * @param text any string
 * @param use `query` for what is compared, as a password at login: code points that Unicode 3.2 had not assigned
 *   are let through (RFC 3454 §7). `stored` for what will be kept, as a new password: of these only such that
 *   every client makes the same of, whatever version of Unicode it has. Emoji are, new combining marks are not.
 * @returns the prepared string, which may be empty, or `undefined` if the string is not allowed
 */
export function saslprep(text: string, use: 'query' | 'stored'): string | undefined {
  if (isPrintableAscii(text)) return text

  // RFC 4013 §2.1: C.1.2 first, because U+200B is in both tables.
  let mapped = ''
  for (const character of text) {
    const codePoint = character.codePointAt(0)!
    if (has(NON_ASCII_SPACE, codePoint)) mapped += ' '
    else if (!has(MAPPED_TO_NOTHING, codePoint)) mapped += character
  }
  const prepared = mapped.normalize('NFKC')
  // What is newer than Unicode 3.2 and was normalized here, a client with the tables of 3.2 leaves as it is
  if (use === 'stored' && hasUnsettled(mapped)) return undefined

  let rightToLeft = false
  let leftToRight = false
  for (const character of prepared) {
    const codePoint = character.codePointAt(0)!
    if (has(PROHIBITED, codePoint)) return undefined
    rightToLeft ||= has(RIGHT_TO_LEFT, codePoint)
    leftToRight ||= has(LEFT_TO_RIGHT, codePoint)
  }
  if (!rightToLeft) return prepared
  // RFC 3454 §6: no mixture, and right-to-left at both ends.
  if (leftToRight) return undefined
  const last = /.$/su.exec(prepared)?.[0]
  const ends = [prepared.codePointAt(0), last?.codePointAt(0)]
  return ends.every((codePoint) => codePoint !== undefined && has(RIGHT_TO_LEFT, codePoint))
    ? prepared
    : undefined
}

/** Whether a text has code points that Unicode 3.2 had not assigned and that do not stay as they are for sure. */
function hasUnsettled(text: string): boolean {
  for (const character of text) {
    const codePoint = character.codePointAt(0)!
    if (!has(UNASSIGNED, codePoint)) continue
    const properties = propertiesOf(codePoint)
    const isAllowed = classOf(properties) === FREE || classOf(properties) === VALID
    if (!isAllowed || isMark(properties) || character.normalize('NFKC') !== character) return true
  }
  return false
}

function isPrintableAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x20 || code > 0x7e) return false
  }
  return true
}
