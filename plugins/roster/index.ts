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
  writeElement,
} from '../../server/index.ts'
import { EndedAccounts } from './ended.ts'
import { shareRosters } from './others.ts'
import { Pairs } from './pairs.ts'
import { rosterResult, sendPush } from './query.ts'
import { knownVersion, readRosterSet } from './request.ts'
import type { Contact, ItemChange, ReadonlyRoster, RosterItem, StoredRoster } from './roster.ts'
import { type ContactChange, Rosters } from './rosters.ts'

export type {
  Contact,
  ReadonlyRoster,
  RosterItem,
  StoredRoster,
  Subscription,
  SubscriptionRequest,
} from './roster.ts'
export type { ContactChange, Rosters } from './rosters.ts'

declare module '../../server/event-types.ts' {
  interface EventTypes {
    /** The account has taken a contact off its roster, or has been deleted. */
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

const NS_ROSTER_VERSIONS = 'urn:xmpp:features:rosterver'
const VERSIONS_FEATURE = writeElement('ver', { xmlns: NS_ROSTER_VERSIONS }, '')
/** A push costs about as much as this many items of a whole roster. */
const PUSH_COST = 2

const options = {
  roster_max_items: option({
    schema: kinds.integer(1).default(2000),
    description: 'Contacts that an account may have on its list. Not of Prosody.',
  }),
  roster_max_groups: option({
    schema: kinds.integer(1).default(100),
    description: 'Groups that a contact on the list may be in. Not of Prosody.',
  }),
  roster_max_name_length: option({
    schema: kinds.integer(1).default(1023),
    description: 'Bytes that the name of a contact on the list, or of a group, may have. Not of Prosody.',
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
    rosters.finishBeforeStop = (work) => module.server.finishBeforeStop(work)
    module.exports = rosters
    const byHost = module.shared<RostersByHost>('roster/hosts', () => new Map())
    byHost.set(host.name, rosters)
    module.onUnload(shareRosters(host, rosters, byHost))
    module.onUnload(() => byHost.delete(host.name))
    rosters.ended = new EndedAccounts(module, rosters, byHost)
    rosters.ended.watch()
    module.addFeature(NS_ROSTER)
    // RFC 6121 §2.6.1: for those who have authenticated, as in Prosody.
    // Behind what has to be negotiated.
    module.hook(
      'stream-features',
      ({ origin, features }) => {
        if (origin.type === 'c2s_unbound') features.appendWritten(VERSIONS_FEATURE, 'ver', NS_ROSTER_VERSIONS)
      },
      -10,
    )

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
      const answer = reply(stanza)
      // Others than sessions, which ask on behalf of the account, get no pushes.
      const isSession = module.server.fullJids.get(session.fullJid!) === session
      const changes = isSession ? changesFor(roster, knownVersion(stanza)) : undefined
      origin.send(changes === undefined ? rosterResult(answer.attrs, roster) : answer)
      for (const change of changes ?? []) sendPush(session, change)
      session.interested = true // RFC 6121 §2.2
      module.fireEvent('roster-get', { session })
      return true
    })

    module.hook(`iq-set/self/${NS_ROSTER}:query`, async ({ origin, stanza }) => {
      const session = origin as StreamSession
      const username = session.username!
      const { roster_max_groups: maxGroups, roster_max_name_length: maxNameLength } = module.options
      const { jid, remove, name, groups } = readRosterSet(stanza, session.bareJid!, {
        maxGroups,
        maxNameLength,
      })
      const done = (version: number) => {
        origin.send(reply(stanza))
        rosters.push(username, jid, version)
      }
      const set: ContactChange = {
        // RFC 6121 §2.3.2: the states of the subscription are not the client's to set.
        edit: ({ item, request }) => ({
          item: {
            jid,
            subscription: item?.subscription ?? 'none',
            ask: item?.ask ?? false,
            approved: item?.approved,
            name,
            groups,
          },
          request,
        }),
        changed: (_before, _after, version) => done(version),
      }
      const removal: ContactChange = {
        edit: ({ item }) => (item === undefined ? undefined : {}),
        changed: (contact, _after, version) => {
          done(version)
          module.fireEvent('roster-item-removed', { username, jid, contact, origin })
        },
      }
      const found = remove
        ? await rosters.between(username, jid, () => rosters.change(username, jid, removal))
        : await rosters.change(username, jid, set)
      // RFC 6121 §2.5.3, with the type that it has there.
      if (!found) origin.send(errorReply(stanza, 'item-not-found', '', 'modify'))
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

/**
 * What a client is pushed that has kept an earlier version (RFC 6121 §2.6.3).
 *
 * @returns undefined if it is to get the whole roster: that is less, or nobody knows what has changed
 */
function changesFor(roster: ReadonlyRoster, known: number | undefined): readonly ItemChange[] | undefined {
  if (known === undefined || !roster.knowsSince(known)) return undefined
  const changes = roster.changesSince(known)
  return changes.length === 0 || changes.length * PUSH_COST < roster.items.size ? changes : undefined
}
