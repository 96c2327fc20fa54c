/** The text of what stands around a stream's children: its header, its errors and its end (RFC 6120 §4). */

import { randomText } from '../random-text.ts'
import { NS_STREAM, NS_STREAM_ERRORS } from '../stanza/namespaces.ts'
import { escapeAttribute } from '../stanza/serialize.ts'
import { Stanza, writeElement } from '../stanza/stanza.ts'
import type { StreamError } from './errors.ts'

export const STREAM_END = '</stream:stream>'

/** A stream header (§4.7). @param defaultNs - the content namespace */
export function streamHeaderText(defaultNs: string, attrs: Record<string, string | undefined>): string {
  let header = `<?xml version='1.0'?><stream:stream xmlns='${defaultNs}' xmlns:stream='${NS_STREAM}'`
  for (const name in attrs) {
    const value = attrs[name]
    if (value !== undefined) header += ` ${name}='${escapeAttribute(value)}'`
  }
  return `${header}>`
}

/** RFC 6120 §4.7.3: unique, and not to be guessed. */
export function newStreamId(): string {
  return randomText(12)
}

/** §4.9.2 */
export function streamErrorText(error: StreamError): string {
  const condition = writeElement(error.condition, { xmlns: NS_STREAM_ERRORS }, '')
  const text = new Stanza('text', { xmlns: NS_STREAM_ERRORS, 'xml:lang': 'en' }, error.message).toString()
  return writeElement('stream:error', {}, condition + (error.message === '' ? '' : text) + error.detail)
}
