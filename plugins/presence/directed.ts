/**
 * Who has to be told when a session goes, because it has sent them directed presence (RFC 6121 §4.6.3). Where there
 * are other processes, those that such an address is connected to know it as well: this process may die.
 */

import {
  bareOf,
  type Cluster,
  domainOf,
  localOf,
  type RemoteResource,
  StanzaError,
  type StanzaEvent,
  type StreamSession,
} from '../../server/index.ts'
import { callName, clientOf, type PresenceContext } from './context.ts'
import { hasFrom } from './states.ts'

const DIRECTED = 'presence/directed'

/** What another process is told. */
interface Told {
  /** Id of the session there. */
  readonly session: string
  /** What it has sent presence to. */
  readonly to: string
  readonly available: boolean
}

/** Remembers who has to be told when a session goes. */
export function trackDirected(context: PresenceContext, { origin, stanza }: StanzaEvent): void {
  const session = clientOf(origin)
  if (session === undefined) return
  const { to = '', type } = stanza.attrs
  const { cluster } = context.module.server
  let directed = context.directed.get(session)
  if (type !== undefined) {
    if (directed?.delete(to) !== true) return
    if (directed.size === 0) context.directed.delete(session)
    if (cluster !== undefined) tellOthers(context, cluster, { session: session.id, to, available: false })
    return
  }
  const contact = context.rosters.kept(session.username!)?.contact(bareOf(to))
  // Contacts are told anyway, once the session has been available to all of them.
  if (session.presence !== undefined && contact !== undefined && hasFrom(contact)) return
  if (directed === undefined) {
    directed = new Set()
    context.directed.set(session, directed)
  }
  if (directed.size >= context.maxDirected() && !directed.has(to)) {
    throw new StanzaError('resource-constraint', 'Directed presence has gone to too many addresses')
  }
  directed.add(to)
  // Each time: it may be connected elsewhere than it was.
  if (cluster !== undefined) tellOthers(context, cluster, { session: session.id, to, available: true })
}

/** Somebody tells a session that they are gone: they need not be told any more that it is (RFC 6121 §4.6.1). */
export function forgetDirected(context: PresenceContext, session: StreamSession, from: string): void {
  const directed = context.directed.get(session)
  if (directed?.delete(from) !== true) return
  if (directed.size === 0) context.directed.delete(session)
  const { cluster } = context.module.server
  if (cluster !== undefined) {
    tellOthers(context, cluster, { session: session.id, to: from, available: false })
  }
}

/** It goes the same way as the presence itself, and ahead of it. */
function tellOthers(context: PresenceContext, cluster: Cluster, told: Told): void {
  cluster.calls.tell(holdersOf(context, cluster, told.to), callName(DIRECTED, context.host), told)
}

/** The other processes that an address is connected to. */
function holdersOf({ module }: PresenceContext, cluster: Cluster, to: string): ReadonlySet<string> {
  const host = module.server.hosts.get(domainOf(to))
  if (host?.hostType === 'host') {
    const full = cluster.directory.find(to)
    if (full !== undefined) return new Set([full.member.id])
    return module.server.fullJids.has(to) ? NOBODY : cluster.holdersOf(host, localOf(to) ?? '')
  }
  return new Set(cluster.directory.connectionsOf(domainOf(to)).map(({ member }) => member.id))
}

const NOBODY: ReadonlySet<string> = new Set()

/** Hears what other processes tell. @returns a function that ends it */
export function hearOfDirected({ host, directedElsewhere }: PresenceContext): () => void {
  const { cluster } = host.server
  if (cluster === undefined) return () => {}
  return cluster.calls.on(callName(DIRECTED, host), (data, from) => {
    const { session, to, available } = data as Told
    const sender = cluster.directory.peer(from, `s${session}`) as RemoteResource | undefined
    if (sender === undefined) return
    const directed = directedElsewhere.get(sender)
    if (!available) directed?.delete(to)
    else if (directed !== undefined) directed.add(to)
    else directedElsewhere.set(sender, new Set([to]))
  })
}

/** Whether a session, or one of another process, has sent presence to an address. */
export function hasSentTo(
  { directed, directedElsewhere }: PresenceContext,
  who: StreamSession | RemoteResource,
  to: string,
): boolean {
  const addresses = 'member' in who ? directedElsewhere.get(who) : directed.get(who)
  return addresses?.has(to) === true
}
