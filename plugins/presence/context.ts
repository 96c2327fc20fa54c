/** What the parts of the presence plugin share, and the small things that they all do. */

import { type Host, type Module, type Origin, Stanza, type StreamSession } from '../../server/index.ts'
import type { ReadonlyRoster, Rosters, RostersByHost } from '../roster/index.ts'

/** The plugin on one host. */
export interface PresenceContext {
  readonly module: Module
  readonly host: Host
  readonly rosters: Rosters
  readonly rostersByHost: RostersByHost
  /** JIDs that a session has sent directed presence to (RFC 6121 §4.6.3). */
  readonly directed: WeakMap<StreamSession, Set<string>>
  /** How many of them one session may have. */
  maxDirected(): number
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

/** The resources of an account that have sent available presence. */
export function* availableSessions(host: Host, username: string): Iterable<StreamSession> {
  for (const session of host.accounts.get(username)?.sessions.values() ?? []) {
    if (session.presence !== undefined && !session.destroyed) yield session
  }
}

const NOBODY: readonly StreamSession[] = []

/** The account's other resources that have sent available presence. */
export function otherSessions(host: Host, session: StreamSession): readonly StreamSession[] {
  const sessions = host.accounts.get(session.username!)?.sessions
  // Most accounts have one session.
  if (sessions?.size === 1 && sessions.get(session.resource!) === session) return NOBODY
  return [...availableSessions(host, session.username!)].filter((other) => other !== session)
}

/**
 * Sends somebody the presence of all available resources of an account.
 *
 * @param to - full or bare JID, prepared
 * @returns how many there were
 */
export function sendPresenceOf({ module, host }: PresenceContext, username: string, to: string): number {
  let count = 0
  for (const session of [...availableSessions(host, username)]) {
    module.send(readdressed(session.presence!, session.fullJid!, to), session)
    count++
  }
  return count
}

/** Tells somebody that all available resources of an account are gone, for them. */
export function sendUnavailableOf({ module, host }: PresenceContext, username: string, to: string): void {
  for (const session of [...availableSessions(host, username)]) {
    module.send(new Stanza('presence', { type: 'unavailable', from: session.fullJid, to }), session)
  }
}

/** Sends presence from a bare JID of the host. */
export function sendFromBare(
  { module }: PresenceContext,
  type: string | undefined,
  from: string,
  to: string,
): void {
  module.send(new Stanza('presence', { type, from, to }))
}

/** Bare JIDs that see the account's presence. */
export function* subscribers(roster: ReadonlyRoster): Iterable<string> {
  for (const { jid, subscription } of roster.items.values()) {
    if (subscription === 'from' || subscription === 'both') yield jid
  }
}
