/** The service discovery of accounts that is left to a manager: what the server does not serve itself (D6). */

import {
  type Module,
  NS_DELEGATION,
  NS_DISCO_INFO,
  NS_DISCO_ITEMS,
  type StanzaEvent,
} from '../../server/index.ts'

/** By what is asked, the name that stands in `delegations` for it (XEP-0355 §7.2.4, §7.2.5). */
const REMAINING = new Map([
  [NS_DISCO_INFO, `${NS_DELEGATION}:bare:disco#info:*`],
  [NS_DISCO_ITEMS, `${NS_DELEGATION}:bare:disco#items:*`],
])
const NAMES = new Set(REMAINING.values())

/** Whether this is one of the two names that are no payload's namespace. */
export function isRemainingDisco(namespace: string): boolean {
  return NAMES.has(namespace)
}

/**
 * Hands requests to the manager of remaining discovery.
 *
 * Who may not know of an account is served nothing by the server, so that all that they ask goes on, of accounts
 * that there are and of others alike: no answer of the server's tells the two apart.
 *
 * @param priority - of what is ahead of the server's own answers
 * @param take - forwards a request, if the name is delegated; undefined if not
 */
export function delegateRemaining(
  module: Module,
  priority: number,
  take: (event: StanzaEvent, namespace: string) => true | Promise<void> | undefined,
): void {
  const remaining = (event: StanzaEvent): true | Promise<void> | undefined => {
    const { payloadNs, payloadAttrs } = event.stanza
    // What an account is stands in the server's own answer, with what managers add to it (D3).
    if (payloadNs === NS_DISCO_INFO && !payloadAttrs['node']) return undefined
    return take(event, REMAINING.get(payloadNs)!)
  }
  module.hook('account-disco-unserved', remaining)
  module.hook(
    `iq-get/bare/${NS_DISCO_ITEMS}:query`,
    (event) => (event.stanza.payloadAttrs['node'] ? undefined : remaining(event)),
    priority,
  )
  // Without the plugin `disco` nobody else serves any node.
  for (const xmlns of REMAINING.keys()) module.hook(`iq-get/bare/${xmlns}:query`, remaining, -priority)
}
