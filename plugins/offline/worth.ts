/** Which messages are kept. */

import { NS_CLIENT, type Stanza } from '../../server/index.ts'

const NS_CHAT_STATES = 'http://jabber.org/protocol/chatstates'
const NS_HINTS = 'urn:xmpp:hints'

/** XEP-0160 §3: not what is only of the moment, and not what its sender wants nobody to keep (XEP-0334). */
export function isWorthKeeping(stanza: Stanza): boolean {
  if (!stanza.inner.includes(NS_CHAT_STATES) && !stanza.inner.includes(NS_HINTS)) return true
  const copy = stanza.clone()
  if (copy.getChild('store', NS_HINTS) !== undefined) return true
  if (copy.getChild('no-store', NS_HINTS) ?? copy.getChild('no-permanent-store', NS_HINTS)) return false
  const others = copy.getChildElements().filter((child) => child.getNS() !== NS_CHAT_STATES)
  // A thread belongs to the state.
  return others.some((child) => child.getNS() !== NS_CLIENT || child.getName() !== 'thread')
}
