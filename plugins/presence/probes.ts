/** Answers to presence probes (RFC 6121 §4.3.2, §4.6.6). */

import { bareOf, domainOf, localOf, Stanza, type StanzaEvent, writeElement } from '../../server/index.ts'
import type { ReadonlyRoster } from '../roster/index.ts'
import { clientOf, type PresenceContext, sendFromBare, sendPresenceOf } from './context.ts'
import { hasSentTo } from './directed.ts'
import { hasFrom, hasTo } from './states.ts'

/**
 * Whether a client's own probe may leave. One without a subscription could only be answered with "unsubscribed",
 * and that would take back a request that waits for its answer. Other servers and components may know better.
 */
export function mayProbe(context: PresenceContext, { origin, stanza }: StanzaEvent): boolean {
  const { module, rosters } = context
  const session = clientOf(origin)
  const asked = stanza.attrs.to!
  const to = bareOf(asked)
  if (session === undefined || to === session.bareJid) return true
  if (module.server.hosts.get(domainOf(to))?.hostType !== 'host' || localOf(to) === undefined) return true
  const roster = rosters.kept(session.username!)
  if (roster === undefined) return false
  return hasTo(roster.contact(to)) || (asked !== to && hasShown(context, asked, session.fullJid!))
}

/** Somebody asks for the presence of an account of this host. */
export function answerProbe(context: PresenceContext, { stanza }: StanzaEvent): Promise<unknown> | true {
  const { host, rosters } = context
  const { id } = stanza.attrs
  const asker = stanza.attrs.from!
  const asked = stanza.attrs.to!
  const from = bareOf(asker)
  const to = bareOf(asked)
  const username = localOf(to)
  if (username === undefined) return true

  const answer = (maySee: boolean): Promise<void> | undefined => {
    if (asked !== to) {
      const isShown = hasShown(context, asked, asker)
      if (maySee || isShown) {
        sendAvailability(context, asked, asker, id, isShown)
        return undefined
      }
    }
    // Who may not see the account learns nothing, not even whether there is one.
    if (!maySee) return refuse(context, username, from, id)
    return sendPresenceOf(context, username, asker) === 0 ? tellAway(context, to, asker, id) : undefined
  }
  if (from === to) {
    void answer(true)
    return true
  }
  if (rosters.kept(username) !== undefined) {
    const work = () => {
      const roster = rosters.kept(username)
      // Not to be waited for: what it does comes after this in the same queue.
      if (roster !== undefined) void answer(hasFrom(roster.contact(from)))
    }
    return rosters.after(username, work) ?? true
  }
  // A login probes every contact, and most are offline: their rosters need not be read to say that, if the
  // asker's own, which is in memory, shows the subscription.
  if (!host.isOnline(username) && hasTo(contactOf(context, from, to))) {
    void answer(true)
    return true
  }
  return rosters.read(username).then((roster: ReadonlyRoster) => answer(hasFrom(roster.contact(from))))
}

/** Whether a session has sent directed presence to somebody, or to their account. */
function hasShown(context: PresenceContext, full: string, to: string): boolean {
  const { cluster, fullJids } = context.module.server
  const session = fullJids.get(full) ?? cluster?.directory.find(full)
  return session !== undefined && (hasSentTo(context, session, to) || hasSentTo(context, session, bareOf(to)))
}

/**
 * Of one resource only that it is available, or not (§4.3.2, §4.6.6).
 *
 * @param isShown - it has sent the asker directed presence, and is available for them
 */
function sendAvailability(
  context: PresenceContext,
  full: string,
  asker: string,
  id: string | undefined,
  isShown: boolean,
): void {
  const { module } = context
  const session = module.server.fullJids.get(full)
  const isThere = session !== undefined && !session.destroyed && (session.available || isShown)
  if (!isThere) sendFromBare(context, 'unavailable', full, asker, id)
  // §4.3.2.1: of the presence that it has sent itself, if there is any.
  else module.send(new Stanza('presence', { id: session.presence?.attrs.id, from: full, to: asker }), session)
}

/** Nobody is there: that, and since when, if it is known (§4.3.2). */
function tellAway(
  context: PresenceContext,
  account: string,
  asker: string,
  id: string | undefined,
): Promise<void> | undefined {
  const { module, host } = context
  const username = localOf(account)!
  const lastSeen = context.lastSeen.get(host.name)
  if (lastSeen === undefined) {
    sendFromBare(context, 'unavailable', account, asker, id)
    return undefined
  }
  const tell = (seconds: number | undefined) => {
    // They may have come meanwhile.
    if (sendPresenceOf(context, username, asker) > 0) return
    const stanza = new Stanza('presence', { type: 'unavailable', id, from: account, to: asker })
    if (seconds !== undefined) {
      const stamp = new Date(seconds * 1000).toISOString().replace('.000', '')
      const delay = { xmlns: 'urn:xmpp:delay', from: host.name, stamp }
      stanza.appendWritten(writeElement('delay', delay, ''), 'delay', 'urn:xmpp:delay')
    }
    module.send(stanza)
  }
  return lastSeen(username).then(tell, (error) => {
    host.log.debug('when an account was last there could not be read', { user: username, error })
    tell(undefined)
  })
}

/**
 * Tells somebody that they do not see the account. That changes their roster, which must not be crossed by what the
 * two change meanwhile: where another process may do that, it waits for its turn, and looks again.
 */
function refuse(
  context: PresenceContext,
  username: string,
  asker: string,
  id: string | undefined,
): Promise<void> | undefined {
  const { module, host, rosters, rostersByHost } = context
  const send = () => sendFromBare(context, 'unsubscribed', `${username}@${host.name}`, asker, id)
  if (module.server.cluster === undefined || !rostersByHost.has(domainOf(asker))) {
    send()
    return undefined
  }
  const work = async () => {
    const contact = (await rosters.readLatest(username)).contact(asker)
    if (!hasFrom(contact) && contact.request === undefined) send()
  }
  return rosters.between(username, asker, work).catch((error) => {
    host.log.debug('a probe could not be answered', { user: username, error })
  })
}

/** What the roster of another account of this server, if it is in memory, knows of a contact. */
function contactOf({ rostersByHost }: PresenceContext, account: string, jid: string) {
  const roster = rostersByHost.get(domainOf(account))?.kept(localOf(account) ?? '')
  return roster?.contact(jid) ?? {}
}

/** The host itself is seen by everybody who asks, as in Prosody. */
export function answerForHost({ module, host }: PresenceContext, { stanza }: StanzaEvent): true {
  const { type, id } = stanza.attrs
  const to = bareOf(stanza.attrs.from!)
  if (type === 'subscribe') {
    module.send(new Stanza('presence', { type: 'subscribed', id, from: host.name, to }))
  }
  if (type === 'subscribe' || type === 'probe') {
    module.send(new Stanza('presence', { id, from: host.name, to }))
  }
  return true
}
