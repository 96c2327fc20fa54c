/** Grants at several processes that are one server: each has all of them (U5). */

import type { Host } from '../../server/index.ts'
import { type Grants, managersIn } from './client-grants.ts'
import type { GrantChange } from './client-marks.ts'

/** Milliseconds that the others have to tell what was before this process was there. */
const ASK_MS = 5000
/** Seconds between two looks whether the others have taken this process for dead. */
const LOOK_INTERVAL = 0.25

/** Told of what other processes have granted and taken back. */
export interface GrantsListener {
  /** Of an account's namespaces; the managers have been told. */
  taken(username: string, namespaces: readonly string[]): void
  /** The same, when this process could not hear of it: nobody told managers that are connected to it. */
  learnt(username: string, namespaces: readonly string[], managers: ReadonlySet<string>): void
  /** All that the others know is known here. */
  complete(): void
}

/**
 * Tells other processes of a cluster what accounts have granted and taken back here, and takes over what they have
 * there. Whoever makes a change tells the managers, and stores it.
 *
 * @returns a function that ends it
 */
export function shareGrants(host: Host, grants: Grants, listener: GrantsListener): () => void {
  const { cluster, events } = host.server
  if (cluster === undefined) return () => {}
  const changes = `delegation/grants ${host.name}`
  const all = `delegation/all-grants ${host.name}`
  const unshare = grants.share(cluster.tag, (username, list) =>
    cluster.calls.tellAll(changes, { username, list }),
  )

  const learn = async (missed: boolean): Promise<void> => {
    const before = grants.accounts().flatMap((username) => grants.of(username))
    const answers = await cluster.calls.ask(cluster.members.keys(), all, null, ASK_MS)
    const known = new Set<string>()
    for (const answer of answers.values()) {
      for (const [username, list] of (answer ?? []) as [string, GrantChange[]][]) {
        for (const [namespace] of list) known.add(`${username} ${namespace}`)
        const managers = managersIn(grants.of(username))
        const namespaces = grants.take(username, list)
        for (const jid of managersIn(grants.of(username))) managers.add(jid)
        if (namespaces.length > 0) listener.learnt(username, namespaces, managers)
      }
    }
    // What nobody else knows any more was taken back while this process was cut off.
    if (missed && [...answers.values()].some((answer) => answer !== null)) {
      forget(new Set(before), (username, namespace) => !known.has(`${username} ${namespace}`))
    }
    listener.complete()
  }
  const forget = (among: ReadonlySet<unknown>, isOver: (username: string, namespace: string) => boolean) => {
    for (const username of grants.accounts()) {
      const over = grants
        .of(username)
        .filter((grant) => among.has(grant) && isOver(username, grant.delegation.namespace))
      if (over.length === 0) continue
      for (const { delegation } of over) grants.remove(username, delegation.namespace)
      grants.save(username).catch(failed)
      listener.learnt(username, [], managersIn(over))
    }
  }
  const failed = (error: unknown) => host.log.error('grants of other processes are not known', { error })

  const ends = [
    cluster.calls.on(changes, (data) => {
      const { username, list } = data as { username: string; list: GrantChange[] }
      const namespaces = grants.take(username, list)
      if (namespaces.length > 0) listener.taken(username, namespaces)
    }),
    cluster.calls.on(all, () =>
      grants.knownAccounts().map((username) => [username, grants.changesOf(username)]),
    ),
    events.add('server-started', () => void learn(false).catch(failed), 0, 'delegation'),
    whenBack(host, () => learn(true).catch(failed)),
    unshare,
  ]
  // A plugin that is loaded later than the server.
  if (cluster.members.size > 1) learn(false).catch(failed)
  return () => {
    for (const end of ends) end()
  }
}

/**
 * Tells when the others had taken this process for dead, and it is among them again: what they told meanwhile is lost.
 *
 * @returns a function that ends it
 */
export function whenBack(host: Host, back: () => void): () => void {
  const cluster = host.server.cluster!
  let { id } = cluster.self
  const looking = host.server.timers.every(LOOK_INTERVAL, () => {
    if (cluster.self.id === id || cluster.members.size < 2) return
    id = cluster.self.id
    back()
  })
  return () => looking.cancel()
}
