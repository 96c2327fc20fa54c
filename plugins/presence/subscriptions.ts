/** Subscriptions: subscribe, subscribed, unsubscribe, unsubscribed, both ways (RFC 6121 §3). */

import { bareOf, localOf, Stanza, type StanzaEvent } from '../../server/index.ts'
import type { Contact, SubscriptionRequest } from '../roster/index.ts'
import {
  clientOf,
  type PresenceContext,
  readdressed,
  sendFromBare,
  sendPresenceOf,
  sendToResources,
  sendUnavailableOf,
} from './context.ts'
import {
  hasFrom,
  hasTo,
  subscribedIn,
  subscribedOut,
  subscribeIn,
  subscribeOut,
  unsubscribedIn,
  unsubscribedOut,
  unsubscribeIn,
  unsubscribeOut,
} from './states.ts'

export type SubscriptionType = 'subscribe' | 'subscribed' | 'unsubscribe' | 'unsubscribed'

/** Characters of a request's content that are kept; of what is longer only the request itself is. */
const MAX_REQUEST_LENGTH = 1024
/** The same for its id and language. */
const MAX_ATTRIBUTE_LENGTH = 128

export function isSubscriptionType(type: string | undefined): type is SubscriptionType {
  return type === 'subscribe' || type === 'subscribed' || type === 'unsubscribe' || type === 'unsubscribed'
}

/** What a client of this host sends to a contact. */
export function sendSubscription(
  context: PresenceContext,
  { origin, stanza }: StanzaEvent,
  type: SubscriptionType,
): Promise<true> | true | undefined {
  const session = clientOf(origin)
  const from = session?.bareJid
  const to = bareOf(stanza.attrs.to!)
  if (session === undefined || from === undefined || from === to) return undefined
  const { module, rosters } = context
  const username = session.username!
  // RFC 6121 §3.1.2: from the account, to the account, whatever resources were named.
  const routed = readdressed(stanza, from, to)
  const push = (before: Contact, after: Contact) => {
    if (before.item !== after.item) rosters.push(username, to)
  }
  const route = () => module.send(routed, session)
  // What follows must not be where the contact is before what was routed.
  const isShared = module.server.cluster !== undefined
  const run = async (): Promise<true> => {
    switch (type) {
      case 'subscribe':
        await rosters.change(username, to, { edit: (contact) => subscribeOut(to, contact), changed: push })
        route()
        break
      case 'unsubscribe':
        await rosters.change(username, to, { edit: unsubscribeOut, changed: push })
        route()
        break
      case 'subscribed': {
        const edit = (contact: Contact) => subscribedOut(to, contact)
        // RFC 6121 §A.2.3: nobody is told who has not asked.
        if (!(await rosters.change(username, to, { edit, changed: push }))) break
        route()
        if (isShared) await rosters.received(to)
        sendPresenceOf(context, username, to, true)
        break
      }
      case 'unsubscribed': {
        let wasSubscribed = false
        const changed = (before: Contact, after: Contact) => {
          wasSubscribed = hasFrom(before)
          push(before, after)
        }
        if (!(await rosters.change(username, to, { edit: unsubscribedOut, changed }))) break
        route()
        if (isShared) await rosters.received(to)
        if (wasSubscribed) sendUnavailableOf(context, username, to)
        break
      }
    }
    return true
  }
  return rosters.between(username, to, run)
}

/** What a contact sends to an account of this host. */
export function receiveSubscription(
  context: PresenceContext,
  { stanza }: StanzaEvent,
  type: SubscriptionType,
): Promise<unknown> | true {
  const from = bareOf(stanza.attrs.from!)
  const to = bareOf(stanza.attrs.to!)
  const username = localOf(to)
  if (username === undefined || from === to) return true
  const { rosters } = context
  const received = readdressed(stanza, from, to)
  if (type === 'subscribe') return receiveRequest(context, received, username)

  const edit = { subscribed: subscribedIn, unsubscribe: unsubscribeIn, unsubscribed: unsubscribedIn }[type]
  return rosters.change(username, from, {
    edit,
    changed: (before, after) => {
      // RFC 6121 §3.1.6 asks for the interested resources; clients without a roster want to know as well.
      sendToResources(context, username, received, true)
      if (before.item !== after.item) rosters.push(username, from)
      // RFC 6121 §3.3.3
      if (type === 'unsubscribe' && hasFrom(before)) sendUnavailableOf(context, username, from)
    },
  })
}

/**
 * A request for the account's presence. The answer is the same, and as quick, whether there is such an account
 * or not: it is given before the request is written down, and the asker is not held up while that is done.
 */
function receiveRequest(context: PresenceContext, received: Stanza, username: string): Promise<void> {
  const { from = '', to = '' } = received.attrs
  const { host, rosters } = context
  const request = requestOf(received)
  return new Promise((resolve, reject) => {
    let answered = false
    const decided = (before: Contact) => {
      if (answered) return
      answered = true
      // RFC 6121 §3.1.3: who is subscribed already is told so.
      if (hasFrom(before)) {
        sendFromBare(context, 'subscribed', to, from)
        if (sendPresenceOf(context, username, from) === 0) sendFromBare(context, 'unavailable', to, from)
      } else sendFromBare(context, 'unavailable', to, from)
      resolve()
    }
    const changed = () => sendToResources(context, username, received, false)
    const edit = (contact: Contact) => subscribeIn(contact, request)
    rosters.change(username, from, { edit, decided, changed }).catch((error) => {
      if (answered) host.log.error('a subscription request could not be kept', { user: username, error })
      else reject(error)
    })
  })
}

function requestOf(stanza: Stanza): SubscriptionRequest {
  const { id, 'xml:lang': lang } = stanza.attrs
  const { inner } = stanza
  const isShort = inner.length <= MAX_REQUEST_LENGTH
  return {
    inner: isShort ? inner : '',
    count: isShort ? stanza.childCount : 0,
    payloadName: isShort ? stanza.payloadName : '',
    payloadNs: isShort ? stanza.payloadNs : '',
    ...(id !== undefined && id.length <= MAX_ATTRIBUTE_LENGTH && { id }),
    ...(lang !== undefined && lang.length <= MAX_ATTRIBUTE_LENGTH && { lang }),
  }
}

/** A request that was kept, as it came. */
export function requestStanza(request: SubscriptionRequest, from: string, to: string): Stanza {
  const attrs: Record<string, string> = { type: 'subscribe', from, to }
  if (request.id !== undefined) attrs['id'] = request.id
  if (request.lang !== undefined) attrs['xml:lang'] = request.lang
  const { inner, count, payloadName, payloadNs } = request
  return Stanza.fromText('presence', attrs, inner, count, payloadName, payloadNs)
}

/** A contact was taken off the roster: neither sees the other any more (RFC 6121 §2.5.2). */
export function endSubscriptions(
  context: PresenceContext,
  { username, jid, contact }: { username: string; jid: string; contact: Contact },
): void {
  const from = `${username}@${context.host.name}`
  const { item, request } = contact
  if (hasFrom(contact) || request !== undefined) sendFromBare(context, 'unsubscribed', from, jid)
  if (hasFrom(contact)) sendUnavailableOf(context, username, jid)
  if (hasTo(contact) || item?.ask === true) sendFromBare(context, 'unsubscribe', from, jid)
}
