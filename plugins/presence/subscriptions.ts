/** Subscriptions: subscribe, subscribed, unsubscribe, unsubscribed, both ways (RFC 6121 §3). */

import { bareOf, domainOf, localOf, Stanza, type StanzaEvent } from '../../server/index.ts'
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
import { hasFrom, hasTo, received, type SubscriptionType, sent } from './states.ts'

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
  const stamped = readdressed(stanza, from, to)
  const run = async (): Promise<true> => {
    let isRouted = false
    let wasSubscribed = false
    let isChange = false
    const edit = (contact: Contact) => {
      const { routed, after } = sent(type, to, contact)
      isRouted = routed
      isChange = after !== undefined
      wasSubscribed = hasFrom(contact)
      return after
    }
    const changed = (before: Contact, after: Contact, version: number) => {
      if (before.item !== after.item) rosters.push(username, to, version)
    }
    const isChanged = await rosters.change(username, to, { edit, changed })
    if (!isRouted || (isChange && !isChanged)) return true
    // RFC 6121 §3.2.2: while the contact still sees the account.
    if (type === 'unsubscribed' && wasSubscribed) sendUnavailableOf(context, username, to)
    module.send(stamped, session)
    if (type === 'subscribed') await showPresence(context, username, to)
    return true
  }
  return rosters.between(username, to, run)
}

/** Sends an account's presence to a contact that has just been told that it may see it (RFC 6121 §3.1.5). */
async function showPresence(context: PresenceContext, username: string, to: string): Promise<void> {
  // It must not be where the contact is before what it was told.
  if (context.module.server.cluster !== undefined) await context.rosters.received(to)
  sendPresenceOf(context, username, to, true)
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
  const stamped = readdressed(stanza, from, to)
  if (type === 'subscribe') return receiveRequest(context, stamped, username)

  return rosters.change(username, from, {
    edit: (contact) => received(type, from, contact).after,
    changed: (before, after, version) => {
      // RFC 6121 §3.1.6 asks for the interested resources; clients without a roster want to know as well.
      sendToResources(context, username, stamped, true)
      if (before.item !== after.item) rosters.push(username, from, version)
      if (type !== 'unsubscribe' || !hasFrom(before)) return
      // RFC 6121 §3.3.3
      sendUnavailableOf(context, username, from)
      // §A.3.2: where it is not this server that has just changed the contact's roster. To strangers, whose request
      // is all that ends, nothing is said: they would learn that there is such an account.
      if (!isAccount(context, from)) sendFromBare(context, 'unsubscribed', to, from)
    },
  })
}

function isAccount({ module }: PresenceContext, jid: string): boolean {
  return localOf(jid) !== undefined && module.server.hosts.get(domainOf(jid))?.hostType === 'host'
}

/**
 * A request for the account's presence. The answer is the same, and as quick, whether there is such an account
 * or not: it is given before the request is written down, and the asker is not held up while that is done. Only who
 * is approved already (RFC 6121 §3.4.2) waits until that is written.
 */
function receiveRequest(context: PresenceContext, stamped: Stanza, username: string): Promise<void> {
  const { from = '', to = '' } = stamped.attrs
  const { host, rosters } = context
  const request = requestOf(stamped)
  return new Promise((resolve, reject) => {
    let answered = false
    const answer = (isSubscribed: boolean) => {
      answered = true
      if (isSubscribed) sendFromBare(context, 'subscribed', to, from)
      if (!isSubscribed || sendPresenceOf(context, username, from) === 0) {
        sendFromBare(context, 'unavailable', to, from)
      }
      resolve()
    }
    const decided = (before: Contact) => {
      const { treatment, after } = received('subscribe', from, before, request)
      // RFC 6121 §3.1.3: who is subscribed already is told so.
      if (treatment !== 'reply' || after === undefined) answer(treatment === 'reply')
    }
    const changed = (before: Contact, after: Contact, version: number) => {
      if (before.item !== after.item) rosters.push(username, from, version)
      if (!hasFrom(after)) {
        sendToResources(context, username, stamped, false)
        return
      }
      answered = true
      sendFromBare(context, 'subscribed', to, from)
      showPresence(context, username, from).then(resolve, reject)
    }
    const edit = (contact: Contact) => received('subscribe', from, contact, request).after
    rosters.change(username, from, { edit, decided, changed }).then(
      () => {
        // The approval was taken back meanwhile, or the account.
        if (!answered) answer(false)
      },
      (error) => {
        if (answered) host.log.error('a subscription request could not be kept', { user: username, error })
        else reject(error)
      },
    )
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
  if (hasFrom(contact)) sendUnavailableOf(context, username, jid)
  if (hasFrom(contact) || request !== undefined) sendFromBare(context, 'unsubscribed', from, jid)
  if (hasTo(contact) || item?.ask === true) sendFromBare(context, 'unsubscribe', from, jid)
}
