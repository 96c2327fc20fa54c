/** Reading what a host forwards: who asks, about which account, and whether the host may say so. */

import type { Element } from '@xmpp/xml'
import { prepareJid } from '../server/jid.ts'
import { NS_CLIENT, NS_DELEGATION, NS_FORWARD } from '../server/stanza/namespaces.ts'

declare const identity: unique symbol

/** The address of who asks, prepared: nearly always a full JID. The host vouches for it. */
export type AskerJid = string & { readonly [identity]: 'asker' }

/** What is asked about, prepared: an account of the host (its bare JID), or the host itself (its domain). */
export type AccountJid = string & { readonly [identity]: 'account' }

/** A request of somebody in a namespace that is managed here. */
export interface DelegatedRequest {
  readonly type: 'get' | 'set'
  /** Who asks; decides what may be seen and done. Anybody at all, unless {@link own} says otherwise. */
  readonly asker: AskerJid
  /** The same without the resource. */
  readonly askerBare: string
  /** What is asked about; without `to`, the asker's own account (RFC 6120 §10.3.3). */
  readonly account: AccountJid
  /** Whether the asker is the account's owner. */
  readonly own: boolean
  /** The host that delegates. `account` is equal to it when the host itself was asked. */
  readonly host: string
  /** What {@link payload} is in. */
  readonly namespace: string
  /** The child of the asker's IQ. */
  readonly payload: Element
  /** The asker's `xml:lang`. */
  readonly lang: string | undefined
  /** Aborted when nobody waits for the answer any more: the connection is gone, or the time is over. */
  readonly signal: AbortSignal
}

/** A request, and what its answer has to bear. */
export interface ForwardedRequest {
  readonly request: Omit<DelegatedRequest, 'signal'>
  /** The asker's IQ. */
  readonly iq: { readonly id: string; readonly from: string; readonly to: string | undefined }
}

/** Why a wrapper is refused as a whole. */
export interface Refusal {
  readonly condition: 'bad-request' | 'forbidden'
  /** For the log. */
  readonly reason: string
}

/**
 * Takes the asker's IQ out of its wrapper (XEP-0355 §4), and checks that the host speaks of what is its own.
 *
 * @param wrapper - an IQ with a `<delegation/>`
 * @param host - that has sent it, and is known to delegate
 */
export function readForwarded(wrapper: Element, host: string): ForwardedRequest | Refusal {
  let element = wrapper
  for (const [name, xmlns] of WRAPPERS) {
    const [child, ...more] = element.getChildElements()
    if (child === undefined || more.length > 0 || !child.is(name, xmlns)) {
      return bad(`the <${element.getName()}/> does not hold one <${name} xmlns='${xmlns}'/>`)
    }
    element = child
  }
  const { type, id, from, to, 'xml:lang': lang } = element.attrs as Record<string, string | undefined>
  const [payload, ...more] = element.getChildElements()
  if (type !== 'get' && type !== 'set') return bad('the inner IQ is no request')
  if (id === undefined) return bad('the inner IQ has no id')
  if (payload === undefined || more.length > 0) return bad('the inner IQ does not hold one element')
  const asker = from === undefined ? undefined : prepareJid(from)
  if (from === undefined || asker === undefined) return bad('the inner IQ has no from that is a JID')
  const asked = to === undefined ? asker : prepareJid(to)
  if (asked === undefined) return bad('the inner IQ is to something that is no JID')
  // A host delegates what is asked of itself and of its accounts, of nobody else's.
  if (asked.domain !== host) return forged(`${host} forwards what was asked of ${asked.bare}`)
  // F1. Without `to`, only an account can have asked: a component always names whom it asks.
  if (to !== undefined && asked.resource !== undefined) return forged(`${asked.full} is a full JID`)
  if (to === undefined && asked.local === undefined) return bad('the asker has no account and names none')
  const request = {
    type,
    asker: asker.full as AskerJid,
    askerBare: asker.bare,
    account: asked.bare as AccountJid,
    own: asked.local !== undefined && asked.bare === asker.bare,
    host,
    namespace: payload.getNS() ?? '',
    payload,
    lang,
  } as const
  return { request, iq: { id, from, to } }
}

/** What stands in what, from the outside in. */
const WRAPPERS = [
  ['delegation', NS_DELEGATION],
  ['forwarded', NS_FORWARD],
  ['iq', NS_CLIENT],
] as const

function bad(reason: string): Refusal {
  return { condition: 'bad-request', reason }
}

function forged(reason: string): Refusal {
  return { condition: 'forbidden', reason }
}
