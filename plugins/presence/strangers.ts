/** IQs to a resource from those who may not know that it is there (RFC 6121 §8.5.3.1). */

import {
  bareOf,
  domainOf,
  errorReply,
  localOf,
  type StanzaEvent,
  type StreamSession,
} from '../../server/index.ts'
import type { PresenceContext } from './context.ts'
import { hasFrom } from './states.ts'

/**
 * Refuses a request to a resource, just as if there were none, from who does not see the resource's presence: neither
 * by a subscription nor because it was sent to them. An answer tells that the resource is there, and what it runs.
 *
 * The account's own resources may ask; so may this server and its components, which were let in by who runs it.
 *
 * @returns undefined if the IQ is to be delivered
 */
export function keepFromStrangers(context: PresenceContext, event: StanzaEvent): unknown {
  const { stanza } = event
  const { from = '', to = '', type } = stanza.attrs
  if (type !== 'get' && type !== 'set') return undefined
  const { hosts, fullJids } = context.module.server
  const session = fullJids.get(to)
  if (session === undefined) return undefined
  const asker = bareOf(from)
  if (asker === session.bareJid) return undefined
  if (hosts.get(domainOf(asker))?.hostType === 'component' || hosts.has(asker)) return undefined
  if (hasSentToBare(context, session, asker)) return undefined

  const username = localOf(to) ?? ''
  const kept = context.rosters.kept(username)
  if (kept !== undefined && hasFrom(kept.contact(asker))) return undefined
  // A subscription may have been approved a moment ago.
  return context.rosters.read(username).then((roster) => {
    if (!hasFrom(roster.contact(asker)) || session.destroyed) refuse(event)
    else session.send(stanza)
    return true
  })
}

function refuse({ origin, stanza }: StanzaEvent): void {
  origin.send(errorReply(stanza, 'service-unavailable'))
}

/** A room shows several occupants under one bare JID, and presence was sent to one of them. */
function hasSentToBare({ directed }: PresenceContext, session: StreamSession, asker: string): boolean {
  for (const address of directed.get(session) ?? []) if (bareOf(address) === asker) return true
  return false
}
