/** Requests of service discovery and their answers (XEP-0030 §3, §4). */

import {
  bareOf,
  errorReply,
  NS_DISCO_INFO,
  reply,
  Stanza,
  type StanzaEvent,
  writeElement,
  xml,
} from '../../server/index.ts'

/** The node that is asked about; `''` if it is the entity itself. */
export function nodeOf({ stanza }: StanzaEvent): string {
  return stanza.payloadAttrs['node'] ?? ''
}

/** The answer with a query that plugins can add to. */
export function answerFor(event: StanzaEvent, xmlns: string, node: string): Stanza {
  const answer = reply(event.stanza, xml('query', node === '' ? { xmlns } : { xmlns, node }))
  // Who asks without `to` is answered by the account; some clients want to see that.
  if (event.toSelf) answer.attrs.from ??= bareOf(event.origin.fullJid ?? '')
  return answer
}

/** A disco#info whose content is text already. @param answer - gives its attributes */
export function infoAnswer({ attrs }: Stanza, content: string, node?: string): Stanza {
  const query = writeElement('query', { xmlns: NS_DISCO_INFO, node }, content)
  return Stanza.fromText('iq', attrs, query, 1, 'query', NS_DISCO_INFO)
}

/** Sends the answer about a node, if a plugin knows the node. @param otherwise - the last to be asked if not */
export function sendNode(
  { origin, stanza }: StanzaEvent,
  asked: { readonly reply: Stanza; readonly exists: boolean },
  result: unknown,
  otherwise?: () => unknown,
): unknown {
  const taken = result ?? (asked.exists ? undefined : otherwise?.())
  if (taken !== undefined) return taken
  origin.send(asked.exists ? asked.reply : errorReply(stanza, 'item-not-found', 'There is no such node'))
  return true
}
