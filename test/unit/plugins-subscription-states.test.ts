/** The state table of subscriptions, state by state (RFC 6121 appendix A). */

import { describe, expect, it } from 'vitest'
import * as states from '../../plugins/presence/states.ts'
import type { Contact, Subscription, SubscriptionRequest } from '../../plugins/roster/index.ts'

const JID = 'romeo@montague.lit'
const REQUEST: SubscriptionRequest = { inner: '', count: 0, payloadName: '', payloadNs: '' }

/** `none+out+in` as what a roster knows; `-` for a contact that is not on it, `+ok` for a pre-approval (§3.4). */
function contactOf(name: string): Contact {
  const [subscription, ...pending] = name.split('+')
  const request = pending.includes('in') ? REQUEST : undefined
  if (subscription === '-') return { request }
  const ask = pending.includes('out')
  const approved = pending.includes('ok') ? true : undefined
  return {
    item: { jid: JID, subscription: subscription as Subscription, ask, approved, groups: ['g'], name: 'R' },
    request,
  }
}

function nameOf({ item, request }: Contact): string {
  return (
    (item?.subscription ?? '-') +
    (item?.ask === true ? '+out' : '') +
    (request === undefined ? '' : '+in') +
    (item?.approved === true ? '+ok' : '')
  )
}

/** Columns: what happens; rows: before → after, "=" where nothing changes. */
const TABLE: Record<string, Record<string, string>> = {
  subscribeOut: {
    '-': 'none+out',
    '-+in': 'none+out+in',
    none: 'none+out',
    'none+out': '=',
    'none+in': 'none+out+in',
    'none+out+in': '=',
    to: '=',
    'to+in': '=',
    from: 'from+out',
    'from+out': '=',
    both: '=',
    'none+ok': 'none+out+ok',
    'none+out+ok': '=',
    'to+ok': '=',
  },
  unsubscribeOut: {
    '-': '=',
    '-+in': '=',
    none: '=',
    'none+out': 'none',
    'none+in': '=',
    'none+out+in': 'none+in',
    to: 'none',
    'to+in': 'none+in',
    from: '=',
    'from+out': 'from',
    both: 'from',
    'none+ok': '=',
    'none+out+ok': 'none+ok',
    'to+ok': 'none+ok',
  },
  subscribedOut: {
    '-': 'none+ok',
    '-+in': 'from',
    none: 'none+ok',
    'none+out': 'none+out+ok',
    'none+in': 'from',
    'none+out+in': 'from+out',
    to: 'to+ok',
    'to+in': 'both',
    from: '=',
    'from+out': '=',
    both: '=',
    'none+ok': '=',
    'none+out+ok': '=',
    'to+ok': '=',
  },
  unsubscribedOut: {
    '-': '=',
    '-+in': '-',
    none: '=',
    'none+out': '=',
    'none+in': 'none',
    'none+out+in': 'none+out',
    to: '=',
    'to+in': 'to',
    from: 'none',
    'from+out': 'none+out',
    both: 'to',
    'none+ok': 'none',
    'none+out+ok': 'none+out',
    'to+ok': 'to',
  },
  subscribeIn: {
    '-': '-+in',
    '-+in': '=',
    none: 'none+in',
    'none+out': 'none+out+in',
    'none+in': '=',
    'none+out+in': '=',
    to: 'to+in',
    'to+in': '=',
    from: '=',
    'from+out': '=',
    both: '=',
    'none+ok': 'from',
    'none+out+ok': 'from+out',
    'to+ok': 'both',
  },
  unsubscribeIn: {
    '-': '=',
    '-+in': '-',
    none: '=',
    'none+out': '=',
    'none+in': 'none',
    'none+out+in': 'none+out',
    to: '=',
    'to+in': 'to',
    from: 'none',
    'from+out': 'none+out',
    both: 'to',
    'none+ok': '=',
    'none+out+ok': '=',
    'to+ok': '=',
  },
  subscribedIn: {
    '-': '=',
    '-+in': '=',
    none: '=',
    'none+out': 'to',
    'none+in': '=',
    'none+out+in': 'to+in',
    to: '=',
    'to+in': '=',
    from: '=',
    'from+out': 'both',
    both: '=',
    'none+ok': '=',
    'none+out+ok': 'to+ok',
    'to+ok': '=',
  },
  unsubscribedIn: {
    '-': '=',
    '-+in': '=',
    none: '=',
    'none+out': 'none',
    'none+in': '=',
    'none+out+in': 'none+in',
    to: 'none',
    'to+in': 'none+in',
    from: '=',
    'from+out': 'from',
    both: 'from',
    'none+ok': '=',
    'none+out+ok': 'none+ok',
    'to+ok': 'none+ok',
  },
}

const CHANGES: Record<string, (contact: Contact) => Contact | undefined> = {
  subscribeOut: (contact) => states.sent('subscribe', JID, contact).after,
  unsubscribeOut: (contact) => states.sent('unsubscribe', JID, contact).after,
  subscribedOut: (contact) => states.sent('subscribed', JID, contact).after,
  unsubscribedOut: (contact) => states.sent('unsubscribed', JID, contact).after,
  subscribeIn: (contact) => states.received('subscribe', JID, contact, REQUEST).after,
  unsubscribeIn: (contact) => states.received('unsubscribe', JID, contact).after,
  subscribedIn: (contact) => states.received('subscribed', JID, contact).after,
  unsubscribedIn: (contact) => states.received('unsubscribed', JID, contact).after,
}

describe.each(Object.keys(TABLE))('RFC 6121 appendix A: %s', (change) => {
  it.each(Object.entries(TABLE[change]!))('%s → %s', (before, expected) => {
    const contact = contactOf(before)
    const after = CHANGES[change]!(contact)
    expect(after === undefined ? '=' : nameOf(after)).toBe(expected)
    // What the account has written about the contact stays.
    if (contact.item !== undefined && after !== undefined) {
      expect(after.item).toMatchObject({ jid: JID, name: 'R', groups: ['g'] })
    }
    expect(contact).toEqual(contactOf(before))
  })
})
