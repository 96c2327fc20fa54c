/** Resource binding (RFC 6120 §7) and what happens when two sessions want the same resource. */

import type { AccountSessions } from './host.ts'
import { joinJid, prepareResource } from './jid.ts'
import { randomText } from './random-text.ts'
import { StanzaError } from './stanza/errors.ts'
import { StreamError } from './stream/errors.ts'
import type { StreamSession } from './stream/session.ts'

/** What to do when a resource is taken (RFC 6120 §7.7.2.2). */
export type ConflictPolicy = 'random' | 'increment' | 'kick_new' | 'kick_old'

/** Numbers that `increment` tries before it makes up a name. */
const MOST_INCREMENTS = 50

/**
 * Binds a resource to an authenticated session, which becomes a full session.
 *
 * @param session - authenticated and not bound
 * @param wanted - what the client asked for; undefined lets the server choose
 * @param policy - when the resource is taken
 * @param maxResources - how many sessions an account may have
 * @returns the full JID
 * @throws StanzaError `bad-request`, `conflict`, `resource-constraint` (RFC 6120 §7.7.2), or `not-allowed` if
 *   a handler of `pre-resource-bind` refuses
 */
export function bindResource(
  session: StreamSession,
  wanted: string | undefined,
  policy: ConflictPolicy,
  maxResources: number,
): string {
  const { host, username } = session
  if (host === undefined || username === undefined)
    throw new Error('only an authenticated session can be bound')
  const refusal = refusalOf(session)
  if (refusal !== undefined) throw refusal
  let resource = wanted === undefined || wanted === '' ? randomResource() : prepareResource(wanted)
  if (resource === undefined) throw new StanzaError('bad-request', 'The resource is malformed')

  let account = host.accounts.get(username)
  const rival = account?.sessions.get(resource)
  if (rival !== undefined) {
    switch (policy) {
      case 'kick_old':
        rival.close(new StreamError('conflict', 'Replaced by a new connection'))
        break
      case 'kick_new':
        throw new StanzaError('conflict', 'The resource is in use', 'modify')
      case 'random':
        resource = randomResource()
        break
      case 'increment':
        resource = nextFree(resource, account!.sessions)
        break
    }
  }
  // Closing the rival may have emptied the account's entry.
  account = host.accounts.get(username)
  if (account !== undefined && account.sessions.size >= maxResources && !endHibernating(account)) {
    throw new StanzaError('resource-constraint', `This account has ${maxResources} sessions already`)
  }
  return insertBound(session, resource)
}

/**
 * Ends the session of an account that was bound first of those whose connection is lost: who comes anew is not kept
 * out by what is left of the times before.
 *
 * @returns whether there was one
 */
export function endHibernating(account: AccountSessions): boolean {
  for (const session of account.sessions.values()) {
    if (!session.hibernating) continue
    session.close(new StreamError('resource-constraint', 'Another session needs its place'))
    return true
  }
  return false
}

/** What a handler of `pre-resource-bind` has against a session's being bound. */
export function refusalOf(session: StreamSession): StanzaError | undefined {
  const refusal = session.host?.events.fire('pre-resource-bind', { session })
  if (refusal === false) return new StanzaError('not-allowed')
  return typeof refusal === 'string' ? new StanzaError('not-allowed', refusal) : undefined
}

/** Makes an authenticated session one that is bound to a resource which nobody has. @returns the full JID */
export function insertBound(session: StreamSession, resource: string): string {
  const host = session.host!
  const username = session.username!
  let account = host.accounts.get(username)
  if (account === undefined) {
    account = { username, sessions: new Map() }
    host.accounts.set(username, account)
  }
  session.resource = resource
  session.bareJid = joinJid(username, host.name)
  session.fullJid = joinJid(username, host.name, resource)
  session.account = account
  session.type = 'c2s'
  account.sessions.set(resource, session)
  host.server.fullJids.set(session.fullJid, session)
  host.events.fire('resource-bind', { session })
  return session.fullJid
}

/**
 * Takes a session out of the bound ones; does nothing if it is not bound.
 *
 * @param session - which has ended
 * @param reason - why, for the event's handlers
 */
export function unbindResource(session: StreamSession, reason: string | undefined): void {
  const { host, account, fullJid, resource } = session
  if (host === undefined || account === undefined || fullJid === undefined) return
  host.events.fire('resource-unbind', { session, reason })
  session.account = undefined
  if (account.sessions.get(resource!) === session) account.sessions.delete(resource!)
  if (account.sessions.size === 0 && host.accounts.get(account.username) === account) {
    host.accounts.delete(account.username)
  }
  if (host.server.fullJids.get(fullJid) === session) host.server.fullJids.delete(fullJid)
  host.server.cluster?.bindings.unbound(session)
}

export function randomResource(): string {
  return randomText(9)
}

export function nextFree(resource: string, taken: ReadonlyMap<string, unknown>): string {
  for (let number = 2; number < MOST_INCREMENTS; number++) {
    const candidate = prepareResource(`${resource} #${number}`)
    if (candidate !== undefined && !taken.has(candidate)) return candidate
  }
  return randomResource()
}
