/** Which messages are copied (XEP-0280 §6). */

import { NS_CARBONS, NS_CLIENT, resourceOf, type Stanza } from '../../server/index.ts'

const NS_HINTS = 'urn:xmpp:hints'
const NS_MUC_USER = 'http://jabber.org/protocol/muc#user'

/** What makes a message of type normal part of a conversation: §6.1. */
const CONVERSATION = [
  'http://jabber.org/protocol/chatstates',
  'urn:xmpp:receipts',
  'urn:xmpp:chat-markers:0',
  'urn:xmpp:message-correct:0',
  'jabber:x:conference',
  'jabber:x:oob',
]

/** Whether the account's other resources get a copy. */
export function isCopied(stanza: Stanza, direction: 'sent' | 'received'): boolean {
  const { type = 'normal' } = stanza.attrs
  if (type !== 'chat' && type !== 'normal' && type !== 'error') return false
  const { inner } = stanza
  // A reference in a namespace stands for a character that is not seen in the text.
  const isWrittenOtherwise = inner.includes('&#')
  // The tree is not built for most messages.
  if (
    isWrittenOtherwise ||
    inner.includes(NS_CARBONS) ||
    inner.includes(NS_HINTS) ||
    inner.includes(NS_MUC_USER)
  ) {
    if (isExcluded(stanza, direction)) return false
  }
  // §6.1: errors are answers to what was copied.
  if (type !== 'normal') return true
  if (
    !isWrittenOtherwise &&
    !inner.includes('body') &&
    !CONVERSATION.some((namespace) => inner.includes(namespace))
  )
    return false
  const copy = stanza.clone()
  if (copy.getChild('body', NS_CLIENT) !== undefined) return true
  return copy.getChildElements().some((child) => CONVERSATION.includes(child.getNS() ?? ''))
}

function isExcluded(stanza: Stanza, direction: 'sent' | 'received'): boolean {
  const copy = stanza.clone()
  // What is a copy already would be copied without an end.
  if (copy.getChild('sent', NS_CARBONS) ?? copy.getChild('received', NS_CARBONS)) return true
  // §9, and XEP-0334 §4.3
  if (copy.getChild('private', NS_CARBONS) ?? copy.getChild('no-copy', NS_HINTS)) return true
  // §6.1: a message of a room's occupant, which the room sends to each resource that is in it.
  const ofRoom = copy.getChild('x', NS_MUC_USER) !== undefined
  return ofRoom && direction === 'received' && resourceOf(stanza.attrs.from ?? '') !== undefined
}
