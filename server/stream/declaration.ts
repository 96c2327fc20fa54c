/** The XML declaration, and other things that begin with `<?`. */

import { CLASS, IS_SPACE, QUESTION } from './chars.ts'
import type { StreamErrorCondition } from './errors.ts'

/** Longest declaration that is read, in characters. */
const LONGEST = 256

// XML 1.0 §2.8 [23], §4.3.3 [80], §2.9 [32]. Once a stream, and on a bounded text.
const DECLARATION =
  /^xml[ \t\r\n]+version[ \t\r\n]*=[ \t\r\n]*(["'])1\.0\1([ \t\r\n]+encoding[ \t\r\n]*=[ \t\r\n]*(["'])([A-Za-z][A-Za-z0-9._-]*)\3)?([ \t\r\n]+standalone[ \t\r\n]*=[ \t\r\n]*(["'])(?:yes|no)\6)?[ \t\r\n]*\?>$/

export interface DeclarationFault {
  condition: StreamErrorCondition
  text: string
}

/**
 * What is wrong with the beginning of an XML declaration, looked at after every character.
 *
 * @param read - what followed `<?` so far
 * @param atStart - whether the `<?` is the very first of the stream
 * @returns a fault, `true` if the declaration is complete and right, `false` if it goes on
 */
export function checkDeclaration(read: string, atStart: boolean): DeclarationFault | boolean {
  const { length } = read
  const last = read.charCodeAt(length - 1)
  if (
    length <= 3 ? !'xml'.startsWith(read) : length === 4 && !(CLASS[last]! & IS_SPACE) && last !== QUESTION
  ) {
    // RFC 6120 §11.1
    return { condition: 'restricted-xml', text: 'processing instructions are not allowed' }
  }
  if (length < 4) return false
  if (!atStart) {
    return { condition: 'not-well-formed', text: 'the XML declaration is not at the start of the stream' }
  }
  if (length > LONGEST) return { condition: 'policy-violation', text: 'the XML declaration is too long' }
  if (!read.endsWith('?>')) return false
  const parts = DECLARATION.exec(read)
  if (parts === null) return { condition: 'not-well-formed', text: 'the XML declaration is not well-formed' }
  const encoding = parts[4]
  if (encoding !== undefined && encoding.toLowerCase() !== 'utf-8') {
    return { condition: 'unsupported-encoding', text: `the encoding is ${encoding}, and not UTF-8` }
  }
  return true
}
