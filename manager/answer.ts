/** Answers: a handler's payload or error, in an IQ of the host's, in the wrapper (XEP-0355 §4). */

import xml, { type Element } from '@xmpp/xml'
import {
  STANZA_ERROR_TYPES,
  StanzaError,
  type StanzaErrorCondition,
  type StanzaErrorType,
} from '../server/stanza/errors.ts'
import { NS_CLIENT, NS_DELEGATION, NS_FORWARD, NS_STANZA_ERRORS } from '../server/stanza/namespaces.ts'
import type { ForwardedRequest } from './request.ts'
import { isElement, isXmlText, misfit } from './well-formed.ts'

/** RFC 6120 §8.3.2 */
const ERROR_TYPES: ReadonlySet<unknown> = new Set(['auth', 'cancel', 'continue', 'modify', 'wait'])

/** The wrapped answer to a request. @param content - a payload, an `<error/>`, or nothing */
export function wrappedAnswer(
  { iq }: ForwardedRequest,
  content: Element | undefined,
  failed: boolean,
): Element {
  const { id, from, to } = iq
  const type = failed ? 'error' : 'result'
  const inner = xml('iq', { xmlns: NS_CLIENT, type, id, from: to, to: from })
  if (content !== undefined) inner.append(content)
  return xml('delegation', { xmlns: NS_DELEGATION }, xml('forwarded', { xmlns: NS_FORWARD }, inner))
}

/** The IQ that answers another. @param content - an `<error/>` if it `failed` */
export function replyTo(iq: Element, content: Element, failed: boolean): Element {
  const { id, from, to } = iq.attrs as Record<string, string | undefined>
  return xml('iq', { type: failed ? 'error' : 'result', id, from: to, to: from }, content)
}

/**
 * What a handler returned, if it can be sent: libraries write whatever they are given, and a server ends the
 * stream for one bad stanza, with all that others are waiting for.
 *
 * @param maxBytes - that it may have
 * @throws TypeError that says what is wrong with it
 */
export function checkedPayload(returned: unknown, maxBytes: number): Element | undefined {
  if (returned === undefined) return undefined
  if (!isElement(returned)) throw new TypeError('a handler must return an element, or nothing')
  // RFC 6120 §8.4. Its own: that of a parent, such as the request that it is a part of, is not written with it.
  const namespace = returned.name.includes(':') ? returned.getNS() : (returned.attrs.xmlns as unknown)
  if (namespace === undefined || namespace === '' || namespace === NS_CLIENT) {
    throw new TypeError(
      `the <${returned.getName()}/> that a handler returned has no namespace: give it an xmlns`,
    )
  }
  const size = (): number => Buffer.byteLength(returned.toString())
  const reason = misfit(returned) ?? (size() > maxBytes ? `has more than ${maxBytes} bytes` : undefined)
  if (reason === undefined) return returned
  throw new TypeError(`the <${returned.getName()}/> that a handler returned ${reason}`)
}

/**
 * The `<error/>` that a handler has thrown; undefined if it threw anything else. Stanza errors are those of
 * this library and of `@xmpp/*`: errors of streams and SASL have conditions too, and are no answer.
 */
export function thrownError(thrown: unknown): Element | undefined {
  if (!(thrown instanceof Error) || thrown.name !== 'StanzaError') return undefined
  const { condition, type, text, application } = thrown as Error & Record<string, unknown>
  if (typeof condition !== 'string' || !Object.hasOwn(STANZA_ERROR_TYPES, condition)) return undefined
  const words = typeof text === 'string' ? text : thrown instanceof StanzaError ? thrown.message : ''
  const error = errorElement(
    condition as StanzaErrorCondition,
    isXmlText(words) ? words : '',
    ERROR_TYPES.has(type) ? (type as StanzaErrorType) : undefined,
  )
  // Its condition of the application's own (RFC 6120 §8.3.4).
  if (isElement(application) && misfit(application) === undefined) error.append(application)
  return error
}

/** An `<error/>`. @param type - the default is the condition's own */
export function errorElement(
  condition: StanzaErrorCondition,
  text = '',
  type: StanzaErrorType = STANZA_ERROR_TYPES[condition],
): Element {
  const error = xml('error', { type }, xml(condition, { xmlns: NS_STANZA_ERRORS }))
  if (text !== '') error.append(xml('text', { xmlns: NS_STANZA_ERRORS }, text))
  return error
}
