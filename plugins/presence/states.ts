/** The states of a subscription and what changes them (RFC 6121 appendix A), as functions of what the roster knows. */

import type { Contact, RosterItem, Subscription, SubscriptionRequest } from '../roster/index.ts'

// Each function gives what is known afterwards, or undefined where the appendix has "no state change". Whether a
// stanza is routed or delivered where nothing changes is for those who call.

const WITH_TO: Record<Subscription, Subscription> = { none: 'to', to: 'to', from: 'both', both: 'both' }
const WITHOUT_TO: Record<Subscription, Subscription> = {
  none: 'none',
  to: 'none',
  from: 'from',
  both: 'from',
}
const WITH_FROM: Record<Subscription, Subscription> = { none: 'from', to: 'both', from: 'from', both: 'both' }
const WITHOUT_FROM: Record<Subscription, Subscription> = { none: 'none', to: 'to', from: 'none', both: 'to' }

/** Whether the contact sees the account's presence. */
export function hasFrom({ item }: Contact): boolean {
  return item?.subscription === 'from' || item?.subscription === 'both'
}

/** Whether the account sees the contact's presence. */
export function hasTo({ item }: Contact): boolean {
  return item?.subscription === 'to' || item?.subscription === 'both'
}

function itemOf(jid: string, { item }: Contact): RosterItem {
  return item ?? { jid, subscription: 'none', ask: false, groups: [] }
}

/** The account asks for the contact's presence (§A.2.1). */
export function subscribeOut(jid: string, contact: Contact): Contact | undefined {
  const item = itemOf(jid, contact)
  if (item.ask || item.subscription === 'to' || item.subscription === 'both') return undefined
  return { ...contact, item: { ...item, ask: true } }
}

/** The account no longer wants the contact's presence (§A.2.2). */
export function unsubscribeOut({ item, request }: Contact): Contact | undefined {
  return withoutTo(item, request)
}

/** The account lets the contact see its presence (§A.2.3): only one who has asked. */
export function subscribedOut(jid: string, contact: Contact): Contact | undefined {
  if (contact.request === undefined) return undefined
  const item = itemOf(jid, contact)
  return { item: { ...item, subscription: WITH_FROM[item.subscription] } }
}

/** The account no longer lets the contact see its presence, or refuses a request (§A.2.4). */
export function unsubscribedOut({ item, request }: Contact): Contact | undefined {
  return withoutFrom(item, request)
}

/** The contact asks for the account's presence (§A.3.1). */
export function subscribeIn(contact: Contact, request: SubscriptionRequest): Contact | undefined {
  const subscription = contact.item?.subscription
  if (contact.request !== undefined || subscription === 'from' || subscription === 'both') return undefined
  return { ...contact, request }
}

/** The contact no longer wants the account's presence (§A.3.2). */
export function unsubscribeIn({ item, request }: Contact): Contact | undefined {
  return withoutFrom(item, request)
}

/** The contact lets the account see its presence (§A.3.3): only if it was asked. */
export function subscribedIn({ item, request }: Contact): Contact | undefined {
  if (item === undefined || !item.ask) return undefined
  return { item: { ...item, subscription: WITH_TO[item.subscription], ask: false }, request }
}

/** The contact no longer lets the account see its presence, or refuses a request (§A.3.4). */
export function unsubscribedIn({ item, request }: Contact): Contact | undefined {
  return withoutTo(item, request)
}

function withoutTo(
  item: RosterItem | undefined,
  request: SubscriptionRequest | undefined,
): Contact | undefined {
  if (item === undefined) return undefined
  const subscription = WITHOUT_TO[item.subscription]
  if (!item.ask && subscription === item.subscription) return undefined
  return { item: { ...item, subscription, ask: false }, request }
}

function withoutFrom(
  item: RosterItem | undefined,
  request: SubscriptionRequest | undefined,
): Contact | undefined {
  if (item === undefined) return request === undefined ? undefined : {}
  const subscription = WITHOUT_FROM[item.subscription]
  if (request === undefined && subscription === item.subscription) return undefined
  return { item: { ...item, subscription } }
}
