/** Answers to presence probes (RFC 6121 §4.3.2). */

import { bareOf, domainOf, localOf, Stanza, type StanzaEvent } from '../../server/index.ts'
import type { ReadonlyRoster } from '../roster/index.ts'
import { clientOf, type PresenceContext, sendFromBare, sendPresenceOf } from './context.ts'
import { hasFrom, hasTo } from './states.ts'

/**
 * Whether a client's own probe may leave. One without a subscription could only be answered with "unsubscribed",
 * and that would take back a request that waits for its answer. Other servers and components may know better.
 */
export function mayProbe({ module, rosters }: PresenceContext, { origin, stanza }: StanzaEvent): boolean {
  const session = clientOf(origin)
  const to = bareOf(stanza.attrs.to!)
  if (session === undefined || to === session.bareJid) return true
  if (module.server.hosts.get(domainOf(to))?.hostType !== 'host' || localOf(to) === undefined) return true
  const roster = rosters.kept(session.username!)
  return roster !== undefined && hasTo(roster.contact(to))
}

/** Somebody asks for the presence of an account of this host. */
export function answerProbe(context: PresenceContext, { stanza }: StanzaEvent): Promise<unknown> | true {
  const { host, rosters } = context
  const asker = stanza.attrs.from!
  const from = bareOf(asker)
  const to = bareOf(stanza.attrs.to!)
  const username = localOf(to)
  if (username === undefined) return true

  const answer = (maySee: boolean): Promise<void> | undefined => {
    // Who may not see the account learns nothing, not even whether there is one.
    if (!maySee) return refuse(context, username, from)
    if (sendPresenceOf(context, username, asker) === 0) sendFromBare(context, 'unavailable', to, asker)
    return undefined
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
    sendFromBare(context, 'unavailable', to, asker)
    return true
  }
  return rosters.read(username).then((roster: ReadonlyRoster) => answer(hasFrom(roster.contact(from))))
}

/**
 * Tells somebody that they do not see the account. That changes their roster, which must not be crossed by what the
 * two change meanwhile: where another process may do that, it waits for its turn, and looks again.
 */
function refuse(context: PresenceContext, username: string, asker: string): Promise<void> | undefined {
  const { module, host, rosters, rostersByHost } = context
  const send = () => sendFromBare(context, 'unsubscribed', `${username}@${host.name}`, asker)
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
