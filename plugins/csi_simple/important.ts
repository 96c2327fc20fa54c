/** What a client whose user looks elsewhere has to have at once. */

import { NS_CARBONS, payloadAttributes } from '../../server/index.ts'

/** Messages without a body that are important, by a namespace in them. */
const NAMESPACES = [
  // Nobody can tell what an encrypted message is.
  'urn:xmpp:eme:0',
  'jabber:x:conference',
  'http://jabber.org/protocol/muc#user',
  'urn:xmpp:jingle-message:',
]

/**
 * Whether something has to be sent at once. What is not certain is important: nothing is lost by sending it.
 *
 * @param text - one first-level child of the stream, or white space
 * @param payloads - further ones, as `{NAMESPACE}NAME`, a namespace or a name
 */
export function isImportant(text: string, payloads: readonly string[]): boolean {
  if (text.startsWith('<presence')) {
    const { type } = payloadAttributes(text)
    // Others are requests.
    return !(type === undefined || type === 'unavailable' || type === 'error')
  }
  if (!text.startsWith('<message')) return true
  const { type } = payloadAttributes(text)
  // News grow old.
  if (type === 'headline') return false
  if (type === 'error') return true
  if (text.includes(NS_CARBONS) && text.includes('<sent')) return true
  if (text.includes('body') || text.includes('subject')) return true
  return NAMESPACES.some((namespace) => text.includes(namespace)) || payloads.some((one) => has(text, one))
}

function has(text: string, payload: string): boolean {
  const [, namespace, name] = /^\{([^}]*)\}(.*)$/.exec(payload) ?? []
  if (namespace === undefined) return text.includes(payload)
  return text.includes(namespace) && text.includes(name ?? '')
}
