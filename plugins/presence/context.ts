/** What the parts of the presence plugin share, and the small things that they all do. */

import {
  type Host,
  type Module,
  type Origin,
  type RemoteResource,
  type Resource,
  Stanza,
  type StreamSession,
} from '../../server/index.ts'
import type { LastSeenByHost } from '../lastactivity.ts'
import type { ReadonlyRoster, Rosters, RostersByHost } from '../roster/index.ts'

/** The plugin on one host. */
export interface PresenceContext {
  readonly module: Module
  readonly host: Host
  readonly rosters: Rosters
  readonly rostersByHost: RostersByHost
  /** JIDs that a session has sent directed presence to (RFC 6121 §4.6.3). */
  readonly directed: WeakMap<StreamSession, Set<string>>
  /** The same of sessions at other processes: who is connected to this one. */
  readonly directedElsewhere: WeakMap<RemoteResource, Set<string>>
  /** Presence that each process delivers to those that are connected to it. */
  readonly onlyHere: WeakSet<Stanza>
  /** By host: when an account was last available, in seconds since the epoch, where a plugin keeps that. */
  readonly lastSeen: LastSeenByHost
  /** How many addresses of directed presence one session may have. */
  maxDirected(): number
  /** Characters of a presence that contacts are told. */
  maxLength(): number
  /** Whether all resources have priority 0. */
  ignoresPriority(): boolean
}

/** The bound client session that a stanza comes from; it may have just ended. */
export function clientOf(origin: Origin): StreamSession | undefined {
  return origin.type === 'c2s' ? (origin as StreamSession) : undefined
}

/** A copy with other addresses. */
export function readdressed(stanza: Stanza, from: string, to: string | undefined): Stanza {
  const copy = stanza.clone()
  copy.attrs.from = from
  if (to === undefined) delete (copy.attrs as Record<string, string | undefined>)['to']
  else copy.attrs.to = to
  return copy
}

/** The resources of an account that have sent available presence, at other processes too. */
export function* availableResources(host: Host, username: string): Iterable<Resource> {
  for (const resource of host.resourcesOf(username)) {
    if (resource.available && !resource.destroyed) yield resource
  }
}

const NOBODY: readonly Resource[] = []

/** The account's other resources that have sent available presence. */
export function otherResources(host: Host, session: StreamSession): readonly Resource[] {
  const sessions = host.accounts.get(session.username!)?.sessions
  const isAlone = sessions?.size === 1 && sessions.get(session.resource!) === session
  // Most accounts have one session.
  if (isAlone && host.server.cluster === undefined) return NOBODY
  return [...availableResources(host, session.username!)].filter((other) => other !== session)
}

/**
 * Sends somebody the presence of all available resources of an account.
 *
 * @param to - full or bare JID, prepared
 * @param isNew - they may see it since a moment ago, and a session that is just being bound may not know
 * @returns how many there were
 */
export function sendPresenceOf(
  context: PresenceContext,
  username: string,
  to: string,
  isNew = false,
): number {
  const { host } = context
  const { cluster } = host.server
  if (cluster === undefined) return sendPresenceFromHere(context, username, to)
  const count = [...availableResources(host, username)].length
  sendPresenceFromHere(context, username, to)
  // Presence is kept where its session is.
  const call = { username, to }
  if (isNew) cluster.holders.tell(host, username, callName(SEND, host), call)
  else cluster.calls.tell(cluster.holdersOf(host, username), callName(SEND, host), call)
  return count
}

/** Sends somebody the presence of the available resources that are connected to this process. @returns how many */
function sendPresenceFromHere({ module, host }: PresenceContext, username: string, to: string): number {
  const sessions = host.accounts.get(username)?.sessions
  if (sessions === undefined) return 0
  let count = 0
  // Sending may end a session, and take it out; a Map goes on then with the next.
  for (const session of sessions.values()) {
    if (session.presence === undefined || session.destroyed) continue
    count++
    if (session.fullJid !== to) module.send(readdressed(session.presence, session.fullJid!, to), session)
  }
  return count
}

/** Sends a stanza to the account's available resources. @param interested - also to those that only want the roster */
export function sendToResources(
  { host }: PresenceContext,
  username: string,
  stanza: Stanza,
  interested: boolean,
): void {
  const text = stanza.toString()
  sendTextHere(host, username, text, interested)
  const { cluster } = host.server
  if (cluster !== undefined) {
    cluster.holders.tell(host, username, callName(DELIVER, host), { username, text, interested })
  }
}

function sendTextHere(host: Host, username: string, text: string, interested: boolean): void {
  for (const session of [...(host.accounts.get(username)?.sessions.values() ?? [])]) {
    if (session.presence !== undefined || (interested && session.interested)) session.sendText(text)
  }
}

const SEND = 'presence/send'
const TAKE_BACK = 'presence/take-back'
const DELIVER = 'presence/deliver'

/** What a call of the plugin is named for one host. */
export function callName(name: string, host: Host): string {
  return `${name} ${host.name}`
}

/**
 * Does for other processes what they ask of the account's resources here: after what they have changed in its roster
 * is known here, too, so that presence that is sent meanwhile goes by the same roster.
 *
 * @returns a function that ends it
 */
export function serveOthers(context: PresenceContext): () => void {
  const { host, rosters } = context
  const { cluster } = host.server
  if (cluster === undefined) return () => {}
  const ends = [
    cluster.calls.on(callName(SEND, host), (data) => {
      const { username, to } = data as { username: string; to: string }
      return rosters.after(username, () => sendPresenceFromHere(context, username, to))
    }),
    cluster.calls.on(callName(TAKE_BACK, host), (data) => {
      const { username, to } = data as { username: string; to: string }
      return rosters.after(username, () => sendUnavailableFromHere(context, username, to))
    }),
    cluster.calls.on(callName(DELIVER, host), (data) => {
      const { username, text, interested } = data as { username: string; text: string; interested: boolean }
      return rosters.after(username, () => sendTextHere(host, username, text, interested))
    }),
  ]
  return () => {
    for (const end of ends) end()
  }
}

/** Tells somebody that all available resources of an account are gone, for them. */
export function sendUnavailableOf(context: PresenceContext, username: string, to: string): void {
  const { host } = context
  const { cluster } = host.server
  sendUnavailableFromHere(context, username, to)
  if (cluster === undefined) return
  // In order with the presence that they send themselves.
  cluster.holders.tell(host, username, callName(TAKE_BACK, host), { username, to })
}

function sendUnavailableFromHere({ module, host }: PresenceContext, username: string, to: string): void {
  for (const session of [...(host.accounts.get(username)?.sessions.values() ?? [])]) {
    if (!session.available || session.destroyed) continue
    module.send(new Stanza('presence', { type: 'unavailable', from: session.fullJid, to }), session)
  }
}

/** Sends presence from a bare JID of the host. */
export function sendFromBare(
  { module }: PresenceContext,
  type: string | undefined,
  from: string,
  to: string,
  id?: string,
): void {
  module.send(new Stanza('presence', { type, id, from, to }))
}

/** Bare JIDs that see the account's presence. */
export function* subscribers(roster: ReadonlyRoster): Iterable<string> {
  for (const { jid, subscription } of roster.items.values()) {
    if (subscription === 'from' || subscription === 'both') yield jid
  }
}
