/**
 * The states of a subscription and what changes them: the tables of RFC 6121 appendix A, with the states that a
 * pre-approval adds (§3.4), and what they say about a contact of a roster.
 */

import type { Contact, Subscription, SubscriptionRequest } from '../roster/index.ts'

export type SubscriptionType = 'subscribe' | 'subscribed' | 'unsubscribe' | 'unsubscribed'

/** §A.1. A contact that is not on the roster is in a state "None", too. */
type State =
  | 'None'
  | 'None + Pending Out'
  | 'None + Pending In'
  | 'None + Pending Out+In'
  | 'To'
  | 'To + Pending In'
  | 'From'
  | 'From + Pending Out'
  | 'Both'
  // §3.4.2: the account has said "subscribed" before the contact has asked.
  | 'None + Approved'
  | 'None + Pending Out + Approved'
  | 'To + Approved'

/** How the states are reflected in a roster. */
interface Defined {
  readonly subscription: Subscription
  readonly ask: boolean
  readonly pendingIn?: true
  readonly approved?: true
}

const DEFINED: Readonly<Record<State, Defined>> = {
  None: { subscription: 'none', ask: false },
  'None + Pending Out': { subscription: 'none', ask: true },
  'None + Pending In': { subscription: 'none', ask: false, pendingIn: true },
  'None + Pending Out+In': { subscription: 'none', ask: true, pendingIn: true },
  To: { subscription: 'to', ask: false },
  'To + Pending In': { subscription: 'to', ask: false, pendingIn: true },
  From: { subscription: 'from', ask: false },
  'From + Pending Out': { subscription: 'from', ask: true },
  Both: { subscription: 'both', ask: false },
  'None + Approved': { subscription: 'none', ask: false, approved: true },
  'None + Pending Out + Approved': { subscription: 'none', ask: true, approved: true },
  'To + Approved': { subscription: 'to', ask: false, approved: true },
}

/** Whether a stanza is passed on, and the state afterwards; none where the appendix has "no state change". */
type Row<Treatment> = readonly [Treatment] | readonly [Treatment, State]
type Table<Treatment> = Readonly<Record<State, Row<Treatment>>>

/** §A.2: what the account sends. "stop" stands for both M.N. and S.N. */
const OUTBOUND: Readonly<Record<SubscriptionType, Table<'route' | 'stop'>>> = {
  // §A.2.1
  subscribe: {
    None: ['route', 'None + Pending Out'],
    'None + Pending Out': ['route'],
    'None + Pending In': ['route', 'None + Pending Out+In'],
    'None + Pending Out+In': ['route'],
    To: ['route'],
    'To + Pending In': ['route'],
    From: ['route', 'From + Pending Out'],
    'From + Pending Out': ['route'],
    Both: ['route'],
    'None + Approved': ['route', 'None + Pending Out + Approved'],
    'None + Pending Out + Approved': ['route'],
    'To + Approved': ['route'],
  },
  // §A.2.2
  unsubscribe: {
    None: ['route'],
    'None + Pending Out': ['route', 'None'],
    'None + Pending In': ['route'],
    'None + Pending Out+In': ['route', 'None + Pending In'],
    To: ['route', 'None'],
    'To + Pending In': ['route', 'None + Pending In'],
    From: ['route'],
    'From + Pending Out': ['route', 'From'],
    Both: ['route', 'From'],
    'None + Approved': ['route'],
    'None + Pending Out + Approved': ['route', 'None + Approved'],
    'To + Approved': ['route', 'None + Approved'],
  },
  // §A.2.3, §3.4.2
  subscribed: {
    None: ['stop', 'None + Approved'],
    'None + Pending Out': ['stop', 'None + Pending Out + Approved'],
    'None + Pending In': ['route', 'From'],
    'None + Pending Out+In': ['route', 'From + Pending Out'],
    To: ['stop', 'To + Approved'],
    'To + Pending In': ['route', 'Both'],
    From: ['stop'],
    'From + Pending Out': ['stop'],
    Both: ['stop'],
    'None + Approved': ['stop'],
    'None + Pending Out + Approved': ['stop'],
    'To + Approved': ['stop'],
  },
  // §A.2.4, §3.2.2
  unsubscribed: {
    None: ['stop'],
    'None + Pending Out': ['stop'],
    'None + Pending In': ['route', 'None'],
    'None + Pending Out+In': ['route', 'None + Pending Out'],
    To: ['stop'],
    'To + Pending In': ['route', 'To'],
    From: ['route', 'None'],
    'From + Pending Out': ['route', 'None + Pending Out'],
    Both: ['route', 'To'],
    'None + Approved': ['stop', 'None'],
    'None + Pending Out + Approved': ['stop', 'None + Pending Out'],
    'To + Approved': ['stop', 'To'],
  },
}

/** §A.3: what the contact sends. "reply" stands for an answer in the account's name, and no delivery. */
const INBOUND: Readonly<Record<SubscriptionType, Table<'deliver' | 'stop' | 'reply'>>> = {
  // §A.3.1. A pre-approval is used up with the request that it was given for.
  subscribe: {
    None: ['deliver', 'None + Pending In'],
    'None + Pending Out': ['deliver', 'None + Pending Out+In'],
    'None + Pending In': ['stop'],
    'None + Pending Out+In': ['stop'],
    To: ['deliver', 'To + Pending In'],
    'To + Pending In': ['stop'],
    From: ['reply'],
    'From + Pending Out': ['reply'],
    Both: ['reply'],
    'None + Approved': ['reply', 'From'],
    'None + Pending Out + Approved': ['reply', 'From + Pending Out'],
    'To + Approved': ['reply', 'Both'],
  },
  // §A.3.2
  unsubscribe: {
    None: ['stop'],
    'None + Pending Out': ['stop'],
    'None + Pending In': ['deliver', 'None'],
    'None + Pending Out+In': ['deliver', 'None + Pending Out'],
    To: ['stop'],
    'To + Pending In': ['deliver', 'To'],
    From: ['deliver', 'None'],
    'From + Pending Out': ['deliver', 'None + Pending Out'],
    Both: ['deliver', 'To'],
    'None + Approved': ['stop'],
    'None + Pending Out + Approved': ['stop'],
    'To + Approved': ['stop'],
  },
  // §A.3.3
  subscribed: {
    None: ['stop'],
    'None + Pending Out': ['deliver', 'To'],
    'None + Pending In': ['stop'],
    'None + Pending Out+In': ['deliver', 'To + Pending In'],
    To: ['stop'],
    'To + Pending In': ['stop'],
    From: ['stop'],
    'From + Pending Out': ['deliver', 'Both'],
    Both: ['stop'],
    'None + Approved': ['stop'],
    'None + Pending Out + Approved': ['deliver', 'To + Approved'],
    'To + Approved': ['stop'],
  },
  // §A.3.4
  unsubscribed: {
    None: ['stop'],
    'None + Pending Out': ['deliver', 'None'],
    'None + Pending In': ['stop'],
    'None + Pending Out+In': ['deliver', 'None + Pending In'],
    To: ['deliver', 'None'],
    'To + Pending In': ['deliver', 'None + Pending In'],
    From: ['stop'],
    'From + Pending Out': ['deliver', 'From'],
    Both: ['deliver', 'From'],
    'None + Approved': ['stop'],
    'None + Pending Out + Approved': ['deliver', 'None + Approved'],
    'To + Approved': ['deliver', 'None + Approved'],
  },
}

/** Whether the contact sees the account's presence. */
export function hasFrom({ item }: Contact): boolean {
  return item?.subscription === 'from' || item?.subscription === 'both'
}

/** Whether the account sees the contact's presence. */
export function hasTo({ item }: Contact): boolean {
  return item?.subscription === 'to' || item?.subscription === 'both'
}

/** The state of a contact. What a subscription makes pointless, as a request of who is subscribed, is passed over. */
function stateOf({ item, request }: Contact): State {
  const approved = item?.approved === true
  switch (item?.subscription) {
    case 'both':
      return 'Both'
    case 'from':
      return item.ask ? 'From + Pending Out' : 'From'
    case 'to':
      if (request !== undefined) return 'To + Pending In'
      return approved ? 'To + Approved' : 'To'
    default:
      if (request !== undefined) return item?.ask ? 'None + Pending Out+In' : 'None + Pending In'
      if (item?.ask) return approved ? 'None + Pending Out + Approved' : 'None + Pending Out'
      return approved ? 'None + Approved' : 'None'
  }
}

/** A contact in another state. Who is on the roster stays there, with name and groups. */
function inState(jid: string, { item }: Contact, state: State, request?: SubscriptionRequest): Contact {
  const { subscription, ask, pendingIn, approved } = DEFINED[state]
  const kept = pendingIn ? { request } : {}
  if (item === undefined) {
    // §A.1: nobody becomes an item by a request alone.
    const isKnown = subscription !== 'none' || ask || approved
    return isKnown ? { item: { jid, subscription, ask, approved, groups: [] }, ...kept } : kept
  }
  const isSame = item.subscription === subscription && item.ask === ask && item.approved === approved
  return { item: isSame ? item : { ...item, subscription, ask, approved }, ...kept }
}

/**
 * The account sends a contact one of the four.
 *
 * @param jid - bare JID of the contact
 * @returns whether it is routed, and what is known afterwards; `after` is undefined if nothing changes
 */
export function sent(
  type: SubscriptionType,
  jid: string,
  contact: Contact,
): { routed: boolean; after: Contact | undefined } {
  const [treatment, state] = OUTBOUND[type][stateOf(contact)]
  const after = state === undefined ? undefined : inState(jid, contact, state, contact.request)
  return { routed: treatment === 'route', after }
}

/**
 * A contact sends the account one of the four.
 *
 * @param jid - bare JID of the contact
 * @param request - what is kept of a `subscribe` that waits for an answer
 * @returns what is done with it, and what is known afterwards; `after` is undefined if nothing changes
 */
export function received(
  type: SubscriptionType,
  jid: string,
  contact: Contact,
  request: SubscriptionRequest | undefined = contact.request,
): { treatment: 'deliver' | 'stop' | 'reply'; after: Contact | undefined } {
  const [treatment, state] = INBOUND[type][stateOf(contact)]
  const after = state === undefined ? undefined : inState(jid, contact, state, contact.request ?? request)
  return { treatment, after }
}
