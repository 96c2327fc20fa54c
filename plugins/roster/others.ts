/** Rosters at several processes: a change at one of them is told to those that keep the roster, too. */

import type { Host } from '../../server/index.ts'
import type { Rosters } from './rosters.ts'

/**
 * Tells other processes of a cluster what changes here, and hears of what changes there. Both are in order with the
 * stanzas that go with the changes.
 *
 * @param byHost - the rosters of all hosts of the server
 * @returns a function that ends it
 */
export function shareRosters(host: Host, rosters: Rosters, byHost: ReadonlyMap<string, Rosters>): () => void {
  const { cluster } = host.server
  if (cluster === undefined) return () => {}
  const changed = `roster/changed ${host.name}`
  const pushed = `roster/pushed ${host.name}`
  const tell = (username: string, name: string, data: unknown) =>
    cluster.holders.tell(host, username, name, data)
  rosters.others = {
    takeTurn: (name) => cluster.turns.take(name),
    rostersOf: (name) => byHost.get(name),
    changed: (username) => tell(username, changed, username),
    pushed: (username, version) => tell(username, pushed, { username, version }),
  }
  const ends = [
    cluster.calls.on(changed, (username) => rosters.reread(username as string)),
    cluster.calls.on(pushed, (data) => {
      const { username, version } = data as { username: string; version: number }
      return rosters.pushChanged(username, version)
    }),
  ]
  return () => {
    for (const end of ends) end()
  }
}
