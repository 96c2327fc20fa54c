/** Which messages are archived, by what they are (XEP-0313 §5.1). */

import { NS_CLIENT, type Stanza } from '../../server/index.ts'

const NS_HINTS = 'urn:xmpp:hints'
const NS_MUC_USER = 'http://jabber.org/protocol/muc#user'

/** What is worth keeping without a body, by namespace. */
const KEPT_NAMESPACES = [
  'urn:xmpp:receipts',
  'urn:xmpp:chat-markers:0',
  'urn:xmpp:eme:0',
  'urn:xmpp:jingle-message:0',
  'urn:xmpp:reactions:0',
  'urn:xmpp:message-retract:1',
  'jabber:x:conference',
]

/**
 * Whether a message belongs into an archive.
 *
 * @param isSent - whether the account has sent it itself
 */
export function isArchived(stanza: Stanza, isSent: boolean): boolean {
  const { type = 'normal' } = stanza.attrs
  // Rooms keep what is said in them.
  if (type === 'headline' || type === 'groupchat') return false
  if (type === 'error') return !isSent
  const { inner } = stanza
  const copy = stanza.clone()
  // By the names of the hints: a namespace may be written with references, a name may not.
  if (inner.includes('store')) {
    if (copy.getChild('no-store', NS_HINTS) ?? copy.getChild('no-permanent-store', NS_HINTS)) return false
    if (copy.getChild('store', NS_HINTS) !== undefined) return true
  }
  for (const child of copy.getChildElements()) {
    const namespace = child.getNS()
    if (namespace === NS_CLIENT && (child.getName() === 'body' || child.getName() === 'subject')) return true
    if (namespace !== undefined && KEPT_NAMESPACES.includes(namespace)) return true
    if (namespace === NS_MUC_USER && child.getChild('invite') !== undefined) return true
  }
  return false
}
