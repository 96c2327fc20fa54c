/** The state table of subscriptions, state by state (RFC 6121 appendix A). */

import { describe, expect, it } from 'vitest'
import * as states from '../../plugins/presence/states.ts'
import type { Contact, Subscription, SubscriptionRequest } from '../../plugins/roster/index.ts'

const JID = 'romeo@montague.lit'
const REQUEST: SubscriptionRequest = { inner: '', count: 0, payloadName: '', payloadNs: '' }

/** `none+out+in` as what a roster knows; `-` for a contact that is not on it. */
function contactOf(name: string): Contact {
  const [subscription, ...pending] = name.split('+')
  const request = pending.includes('in') ? REQUEST : undefined
  if (subscription === '-') return { request }
  const ask = pending.includes('out')
  return {
    item: { jid: JID, subscription: subscription as Subscription, ask, groups: ['g'], name: 'R' },
    request,
  }
}

function nameOf({ item, request }: Contact): string {
  return (
    (item?.subscription ?? '-') + (item?.ask === true ? '+out' : '') + (request === undefined ? '' : '+in')
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
  },
  subscribedOut: {
    '-': '=',
    '-+in': 'from',
    none: '=',
    'none+out': '=',
    'none+in': 'from',
    'none+out+in': 'from+out',
    to: '=',
    'to+in': 'both',
    from: '=',
    'from+out': '=',
    both: '=',
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
  },
}

const CHANGES: Record<string, (contact: Contact) => Contact | undefined> = {
  subscribeOut: (contact) => states.subscribeOut(JID, contact),
  unsubscribeOut: states.unsubscribeOut,
  subscribedOut: (contact) => states.subscribedOut(JID, contact),
  unsubscribedOut: states.unsubscribedOut,
  subscribeIn: (contact) => states.subscribeIn(contact, REQUEST),
  unsubscribeIn: states.unsubscribeIn,
  subscribedIn: states.subscribedIn,
  unsubscribedIn: states.unsubscribedIn,
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
