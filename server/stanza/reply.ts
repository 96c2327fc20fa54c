/** Replies to stanzas: results and errors with the addresses turned round. */

import xml from '@xmpp/xml'
import { STANZA_ERROR_TYPES, type StanzaErrorCondition, type StanzaErrorType } from './errors.ts'
import { NS_STANZA_ERRORS } from './namespaces.ts'
import { type Child, Stanza } from './stanza.ts'

/**
 * The answer to a stanza: of the same name and id, back to its sender; an IQ becomes a `result`.
 *
 * @param stanza - what is answered
 * @param children - the answer's content
 */
export function reply(stanza: Stanza, ...children: Child[]): Stanza {
  const { from, to, id, type } = stanza.attrs
  return new Stanza(
    stanza.name,
    { type: stanza.name === 'iq' ? 'result' : type, id, from: to, to: from },
    ...children,
  )
}

/**
 * An error answer (RFC 6120 §8.3).
 *
 * @param stanza - what could not be done
 * @param condition - of RFC 6120 §8.3.3
 * @param text - for people; left out when empty
 * @param type - the default is the one that RFC 6120 gives the condition
 */
export function errorReply(
  stanza: Stanza,
  condition: StanzaErrorCondition,
  text = '',
  type: StanzaErrorType = STANZA_ERROR_TYPES[condition],
): Stanza {
  const { from, to, id } = stanza.attrs
  const error = xml('error', { type }, xml(condition, { xmlns: NS_STANZA_ERRORS }))
  if (text !== '') error.append(xml('text', { xmlns: NS_STANZA_ERRORS, 'xml:lang': 'en' }, text))
  return new Stanza(stanza.name, { type: 'error', id, from: to, to: from }, error)
}

/** Whether a stanza may be answered with an error: never an error or a result (RFC 6120 §8.3.1). */
export function mayAnswerWithError(stanza: Stanza): boolean {
  const type = stanza.attrs.type
  return type !== 'error' && !(stanza.name === 'iq' && type === 'result')
}
