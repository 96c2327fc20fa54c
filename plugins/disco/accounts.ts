/** Service discovery of bare JIDs, for the account itself and for who is subscribed to its presence. */

import {
  bareOf,
  errorReply,
  localOf,
  type Module,
  NS_DISCO_INFO,
  NS_DISCO_ITEMS,
  type StanzaEvent,
  xml,
} from '../../server/index.ts'
import type { RostersByHost } from '../roster/index.ts'
import { answerFor, infoAnswer, nodeOf, sendNode } from './answers.ts'
import { accountParts, shownParts, writeParts } from './info.ts'

/** Answers what is asked of a host's accounts. */
export function serveAccounts(module: Module): void {
  module.hook(`iq-get/bare/${NS_DISCO_INFO}:query`, (event) =>
    whenAllowed(module, event, (username) => {
      const { origin, stanza } = event
      const node = nodeOf(event)
      const answer = answerFor(event, NS_DISCO_INFO, node)
      if (node !== '') {
        const asked = { origin, stanza, username, node, reply: answer, exists: false }
        return sendNode(event, asked, module.fireEvent('account-disco-info-node', asked), () =>
          unserved(module, event, username),
        )
      }
      const query = answer.payload!
      query.append(
        xml('identity', { category: 'account', type: 'registered' }),
        xml('feature', { var: NS_DISCO_INFO }),
        xml('feature', { var: NS_DISCO_ITEMS }),
      )
      const owners = new Map(query.getChildElements().map((part) => [part, module.name]))
      const asked = { origin, stanza, username, reply: answer }
      const result = module.host.events.fireObserved('account-disco-info', asked, (owner) => {
        for (const part of query.getChildElements()) if (!owners.has(part)) owners.set(part, owner)
      })
      if (result !== undefined) return result
      const parts = shownParts(module.host, accountParts(query, owners))
      origin.send(infoAnswer(answer, writeParts(parts)))
      return true
    }),
  )
  module.hook(`iq-get/bare/${NS_DISCO_ITEMS}:query`, (event) =>
    whenAllowed(module, event, (username) => {
      const { origin, stanza } = event
      const node = nodeOf(event)
      const answer = answerFor(event, NS_DISCO_ITEMS, node)
      if (node !== '') {
        const asked = { origin, stanza, username, node, reply: answer, exists: false }
        return sendNode(event, asked, module.fireEvent('account-disco-items-node', asked), () =>
          unserved(module, event, username),
        )
      }
      const result = module.fireEvent('account-disco-items', { origin, stanza, username, reply: answer })
      if (result !== undefined) return result
      origin.send(answer)
      return true
    }),
  )
}

/**
 * Answers if the asker may know that there is such an account (XEP-0030 §8). All others get what they get for one
 * that does not exist: nobody serves the request, unless a plugin takes what is not served.
 */
function whenAllowed(module: Module, event: StanzaEvent, answer: (username: string) => unknown): unknown {
  const { origin, stanza, toSelf } = event
  const username = localOf(stanza.attrs.to ?? origin.fullJid ?? '')
  if (username === undefined) return undefined
  if (toSelf) return answer(username)
  const rosters = module.shared<RostersByHost>('roster/hosts', () => new Map()).get(module.host.name)
  if (rosters === undefined) return unserved(module, event, username)
  const asker = bareOf(stanza.attrs.from ?? '')
  const kept = rosters.kept(username)
  if (kept !== undefined) {
    return isSubscribed(kept.items.get(asker)) ? answer(username) : unserved(module, event, username)
  }
  return rosters.read(username).then((roster) => {
    if (isSubscribed(roster.items.get(asker))) return answer(username)
    const result = unserved(module, event, username)
    if (result === undefined) origin.send(errorReply(stanza, 'service-unavailable'))
    return result ?? true
  })
}

/** What the server does not answer itself, another plugin may. */
function unserved(module: Module, event: StanzaEvent, username: string): unknown {
  const { origin, stanza, toSelf } = event
  return module.fireEvent('account-disco-unserved', { origin, stanza, toSelf, username, node: nodeOf(event) })
}

function isSubscribed(item: { readonly subscription: string } | undefined): boolean {
  return item?.subscription === 'from' || item?.subscription === 'both'
}
