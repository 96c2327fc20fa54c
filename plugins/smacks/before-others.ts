/** What a session that has ended was to get goes elsewhere before all that its senders send next (RFC 6120 §10.1). */

import type { Module, StreamSession } from '../../server/index.ts'

/**
 * Sends it on, and holds back who could overtake it: in a cluster what is for the account, otherwise the senders.
 *
 * @param from - whose it is
 * @param go - sends it; it does not fail
 * @returns what settles when it has been sent
 */
export function goBeforeOthers(
  { server }: Module,
  session: StreamSession,
  from: Iterable<string | undefined>,
  go: () => Promise<void>,
): Promise<void> {
  if (server.cluster !== undefined) return server.cluster.goesOn(session.bareJid!, go)
  const work = go()
  for (const jid of new Set(from)) server.fullJids.get(jid ?? '')?.hold(work)
  return work
}
