/** The presence of a session whose process has died: somebody else says that it is gone (RFC 6121 §4.5.2). */

import { type RemoteResource, Stanza } from '../../server/index.ts'
import { availableResources, type PresenceContext, subscribers } from './context.ts'

/**
 * Tells the contacts and the account's other resources that a session is gone. Those that it had sent directed
 * presence to are not told: that went with its process.
 */
export async function tellOfLost(context: PresenceContext, resource: RemoteResource): Promise<void> {
  const { module, host, rosters } = context
  if (!resource.available) return
  const { username, fullJid } = resource
  const roster = await rosters.read(username)
  const others = [...availableResources(host, username)].map((other) => other.fullJid!)
  for (const to of [...subscribers(roster), ...others]) {
    module.send(new Stanza('presence', { type: 'unavailable', from: fullJid, to }), host)
  }
}
