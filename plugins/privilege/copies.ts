/** Copies of presence: for another address, and as processes of a cluster tell it each other. */

import { createHash } from 'node:crypto'
import { domainOf, Stanza } from '../../server/index.ts'

/** The same for another address. */
export function readdressed(stanza: Stanza, to: string): Stanza {
  const copy = stanza.clone()
  copy.attrs.to = to
  return copy
}

/** A presence stanza as plain values. */
export interface Packed {
  readonly attrs: Record<string, string>
  readonly inner: string
  readonly count: number
  readonly payload: string
  readonly xmlns: string
}

export function packed(stanza: Stanza): Packed {
  const { attrs, inner, childCount: count, payloadName: payload, payloadNs: xmlns } = stanza
  return { attrs: { ...attrs }, inner, count, payload, xmlns }
}

export function unpacked({ attrs, inner, count, payload, xmlns }: Packed): Stanza {
  return Stanza.fromText('presence', attrs, inner, count, payload, xmlns)
}

/** Tells contents of presence apart. */
export function contentOf(stanza: Stanza): string {
  const { 'xml:lang': lang = '', from = '' } = stanza.attrs
  return createHash('sha256')
    .update(`${lang} ${withoutDelay(stanza.inner, domainOf(from))}`)
    .digest('base64')
}

/** Without what the account's host appends where it answers probes, so that the answer is what was broadcast. */
function withoutDelay(inner: string, host: string): string {
  const at = inner.lastIndexOf('<delay ')
  if (at < 0) return inner
  const element = inner.slice(at).replaceAll('"', "'")
  const isHosts = element.startsWith(`<delay xmlns='urn:xmpp:delay' from='${host}' stamp='`)
  return isHosts && element.indexOf('>') === element.length - 1 ? inner.slice(0, at) : inner
}
