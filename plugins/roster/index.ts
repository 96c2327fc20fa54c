/** Rosters (RFC 6121 §2): getting, setting and pushing the list of contacts. */

import {
  definePlugin,
  errorReply,
  kinds,
  NS_ROSTER,
  type Origin,
  option,
  reply,
  type StreamSession,
} from '../../server/index.ts'
import { shareRosters } from './others.ts'
import { Pairs } from './pairs.ts'
import { readRosterSet } from './request.ts'
import type { Contact, RosterItem, StoredRoster } from './roster.ts'
import { type ContactChange, Rosters, rosterIq } from './rosters.ts'

export type { Contact, ReadonlyRoster, RosterItem, Subscription, SubscriptionRequest } from './roster.ts'
export type { ContactChange, Rosters } from './rosters.ts'

declare module '../../server/event-types.ts' {
  interface EventTypes {
    /** The account has taken a contact off its roster. */
    'roster-item-removed': {
      readonly username: string
      readonly jid: string
      /** What was known of the contact. */
      readonly contact: Contact
      readonly origin: Origin
    }
    /** An item of an account's roster, of one that is offline too, is new, another, or gone. */
    'roster-item-changed': {
      readonly username: string
      readonly jid: string
      /** Undefined if it is gone. */
      readonly item: RosterItem | undefined
    }
  }
}

/** The rosters of every host of the server: `module.shared('roster/hosts', …)`. */
export type RostersByHost = Map<string, Rosters>

const options = {
  roster_max_items: option({
    schema: kinds.integer(1).default(2000),
    description: 'Contacts that an account may have on its list. Not of Prosody.',
  }),
  roster_max_requests: option({
    schema: kinds.integer(1).default(500),
    description:
      'Subscription requests that are kept for an account until they are answered. Not of Prosody.',
  }),
}

export default definePlugin({
  name: 'roster',
  hostType: 'host',
  options,
  load(module) {
    const { host } = module
    const limits = () => ({
      maxItems: module.options.roster_max_items,
      maxRequests: module.options.roster_max_requests,
    })
    const pairs = module.shared('roster/pairs', () => new Pairs())
    const rosters = new Rosters(host, module.openStore<StoredRoster>('roster'), limits, pairs)
    rosters.onItemChanged = (username, jid, item) =>
      module.fireEvent('roster-item-changed', { username, jid, item })
    module.exports = rosters
    const byHost = module.shared<RostersByHost>('roster/hosts', () => new Map())
    byHost.set(host.name, rosters)
    module.onUnload(shareRosters(host, rosters, byHost))
    module.onUnload(() => byHost.delete(host.name))
    module.addFeature(NS_ROSTER)

    // What a session sends waits for its roster, so that its presence goes out without waiting.
    const readFor = (session: StreamSession) => {
      const reading = rosters.read(session.username!)
      session.hold(
        reading.catch((error: { code?: unknown }) => {
          // That the storage is away has been logged, once for all.
          const level = error.code === 'unavailable' ? 'debug' : 'error'
          host.log[level]('a roster could not be read', { user: session.username, error })
        }),
      )
    }
    module.hook('resource-bind', ({ session }) => readFor(session))
    for (const session of host.allSessions()) readFor(session)

    // Later than presence, which tells the contacts that the session is gone.
    const unbound = ({ session }: { session: StreamSession }) => {
      const sessions = host.accounts.get(session.username!)?.sessions.values() ?? []
      for (const other of sessions) if (other !== session) return
      rosters.drop(session.username!)
    }
    module.hook('resource-unbind', unbound, -1000)

    module.hook(`iq-get/self/${NS_ROSTER}:query`, async ({ origin, stanza }) => {
      const session = origin as StreamSession
      const roster = await rosters.read(session.username!)
      origin.send(rosterIq(reply(stanza).attrs, roster.items.values()))
      session.interested = true // RFC 6121 §2.1.6
      module.fireEvent('roster-get', { session })
      return true
    })

    module.hook(`iq-set/self/${NS_ROSTER}:query`, async ({ origin, stanza }) => {
      const session = origin as StreamSession
      const username = session.username!
      const { jid, remove, name, groups } = readRosterSet(stanza, session.bareJid!)
      const done = () => {
        origin.send(reply(stanza))
        rosters.push(username, jid)
      }
      const set: ContactChange = {
        // RFC 6121 §2.3.2: the states of the subscription are not the client's to set.
        edit: ({ item, request }) => ({
          item: {
            jid,
            subscription: item?.subscription ?? 'none',
            ask: item?.ask ?? false,
            name,
            groups,
          },
          request,
        }),
        changed: done,
      }
      const removal: ContactChange = {
        edit: ({ item }) => (item === undefined ? undefined : {}),
        changed: (contact) => {
          done()
          module.fireEvent('roster-item-removed', { username, jid, contact, origin })
        },
      }
      const found = remove
        ? await rosters.between(username, jid, () => rosters.change(username, jid, removal))
        : await rosters.change(username, jid, set)
      if (!found) origin.send(errorReply(stanza, 'item-not-found')) // RFC 6121 §2.5.3
      return true
    })

    // RFC 6121 §2.3.3: nobody else's roster, whether or not there is such an account. Plugins that know who
    // may come before.
    module.hook(
      `iq-set/bare/${NS_ROSTER}:query`,
      ({ origin, stanza, toSelf }) => {
        if (toSelf) return undefined
        origin.send(errorReply(stanza, 'forbidden'))
        return true
      },
      -100,
    )
  },
})
