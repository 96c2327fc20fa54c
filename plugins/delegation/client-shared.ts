/** Grants at several processes that are one server: each has all of them (U5). */

import type { Host } from '../../server/index.ts'
import type { Grants, StoredGrants } from './client-grants.ts'

/** Milliseconds that the others have to tell what was granted before this process was there. */
const ASK_MS = 5000

/**
 * Tells other processes of a cluster what accounts have granted here, and takes over what they have granted there.
 * Whoever makes a change tells the managers, and stores it.
 *
 * @param changed - told of an account whose grants are others now
 * @returns a function that ends it
 */
export function shareGrants(host: Host, grants: Grants, changed: (username: string) => void): () => void {
  const { cluster, events } = host.server
  if (cluster === undefined) return () => {}
  const changes = `delegation/grants ${host.name}`
  const all = `delegation/all-grants ${host.name}`
  const take = (username: string, stored: StoredGrants) => {
    grants.replace(username, stored)
    changed(username)
  }
  grants.onChanged = (username, stored) => cluster.calls.tellAll(changes, { username, stored })
  const askOthers = async () => {
    const answers = await cluster.calls.ask(cluster.members.keys(), all, null, ASK_MS)
    for (const answer of answers.values()) {
      for (const [username, stored] of Object.entries((answer ?? {}) as Record<string, StoredGrants>)) {
        if (grants.of(username).length === 0) take(username, stored)
      }
    }
  }
  const ask = () => {
    askOthers().catch((error: unknown) =>
      host.log.error('grants of other processes are not known', { error }),
    )
  }
  const ends = [
    cluster.calls.on(changes, (data) => {
      const { username, stored } = data as { username: string; stored: StoredGrants }
      take(username, stored)
    }),
    cluster.calls.on(all, () =>
      Object.fromEntries(grants.accounts().map((username) => [username, grants.stored(username)])),
    ),
    events.add('server-started', ask, 0, 'delegation'),
  ]
  // A plugin that is loaded later than the server.
  if (cluster.members.size > 1) ask()
  return () => {
    grants.onChanged = undefined
    for (const end of ends) end()
  }
}
