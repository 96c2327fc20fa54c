/** Says of a stanza that it is late (XEP-0203). */

import { NS_DELAY } from './namespaces.ts'
import { type Stanza, writeElement } from './stanza.ts'

/**
 * The text of a message or of presence with the time when it should have been delivered; as it is, if it has one.
 *
 * @param from - who says so
 * @param when - milliseconds since 1970
 */
export function withDelay(text: string, from: string, when: number): string {
  if (text.startsWith('<iq') || text.includes(NS_DELAY)) return text
  const delay = delayText(from, when)
  if (text.endsWith('/>')) {
    const name = text.startsWith('<message') ? 'message' : 'presence'
    return `${text.slice(0, -2)}>${delay}</${name}>`
  }
  const end = text.lastIndexOf('</')
  return text.slice(0, end) + delay + text.slice(end)
}

/** The same for a stanza, which gets one in any case. */
export function appendDelay(stanza: Stanza, from: string, when: number): void {
  stanza.appendWritten(delayText(from, when), 'delay', NS_DELAY)
}

function delayText(from: string, when: number): string {
  const stamp = new Date(when).toISOString().replace(/\.\d+/, '')
  return writeElement('delay', { xmlns: NS_DELAY, from, stamp }, '')
}
