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
  const stamp = new Date(when).toISOString().replace(/\.\d+/, '')
  const delay = writeElement('delay', { xmlns: NS_DELAY, from, stamp }, '')
  if (text.endsWith('/>')) {
    const name = text.startsWith('<message') ? 'message' : 'presence'
    return `${text.slice(0, -2)}>${delay}</${name}>`
  }
  const end = text.lastIndexOf('</')
  return text.slice(0, end) + delay + text.slice(end)
}

/**
 * When a stanza was late, by the delay that was added to it last; presence that a session keeps has one.
 *
 * @returns milliseconds since 1970, to the second; infinite if there is no such delay
 */
export function lastDelay(stanza: Stanza | undefined): number {
  const [, stamp = ''] = /<delay [^>]*stamp='([^']*)'[^>]*>$/.exec(stanza?.inner ?? '') ?? []
  const when = Date.parse(stamp)
  return Number.isNaN(when) ? Number.POSITIVE_INFINITY : when
}
