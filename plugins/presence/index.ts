/** Presence (RFC 6121 §3 and §4): subscriptions, broadcast, probes, directed presence. */

import {
  definePlugin,
  errorReply,
  kinds,
  localOf,
  type Origin,
  option,
  type RemoteResource,
  Stanza,
  type StanzaEvent,
  type StreamSession,
  writeElement,
} from '../../server/index.ts'
import type { LastSeenByHost } from '../lastactivity.ts'
import type { Rosters, RostersByHost } from '../roster/index.ts'
import { broadcastPresence } from './available.ts'
import { availableResources, clientOf, type PresenceContext, serveOthers } from './context.ts'
import { forgetDirected, hearOfDirected, trackDirected } from './directed.ts'
import { LostPresence } from './lost.ts'
import { answerForHost, answerProbe, mayProbe } from './probes.ts'
import { keepFromStrangers } from './strangers.ts'
import {
  endSubscriptions,
  isSubscriptionType,
  receiveSubscription,
  sendSubscription,
} from './subscriptions.ts'

const NS_PRE_APPROVAL = 'urn:xmpp:features:pre-approval'
const PRE_APPROVAL_FEATURE = writeElement('sub', { xmlns: NS_PRE_APPROVAL }, '')

declare module '../../server/event-types.ts' {
  interface EventTypes {
    /** A resource that takes messages has become available. */
    'message/offline/broadcast': { readonly origin: Origin }
    /**
     * Presence or a probe of a session is about to go to a contact, or the session is told once more that the contact
     * has asked for its presence; a handler that returns false keeps it back.
     */
    'presence/contact': { readonly session: StreamSession; readonly jid: string }
  }
}

const options = {
  ignore_presence_priority: option({
    schema: kinds.flag().default(false),
    description: 'Whether every resource counts as one of priority 0, and is shown as such.',
  }),
  presence_max_directed: option({
    schema: kinds.integer(1).default(1000),
    description: 'Addresses that a session may have sent directed presence to. Not of Prosody.',
  }),
  presence_max_length: option({
    schema: kinds.integer(1).default(32_768),
    description:
      'Characters of what a client may tell all of its contacts in a presence: each of them is sent it at each login. Not of Prosody.',
  }),
  presence_open_resources: option({
    schema: kinds.flag().default(false),
    description:
      'Whether resources get IQs from those who may not see that they are there (RFC 6121 §8.5.3.1). Not of Prosody.',
  }),
}

export default definePlugin({
  name: 'presence',
  hostType: 'host',
  depends: ['roster'],
  options,
  load(module) {
    const { host } = module
    const context: PresenceContext = {
      module,
      host,
      rosters: module.exportsOf<Rosters>('roster'),
      rostersByHost: module.shared<RostersByHost>('roster/hosts', () => new Map()),
      // Shared, so that it outlives a reload of the plugin.
      directed: module.shared('presence/directed', () => new WeakMap<StreamSession, Set<string>>()),
      directedElsewhere: module.shared('presence/directed-elsewhere', () => new WeakMap()),
      onlyHere: module.shared('presence/only-here', () => new WeakSet()),
      lastSeen: module.shared<LastSeenByHost>('lastactivity/hosts', () => new Map()),
      maxDirected: () => module.options.presence_max_directed,
      maxLength: () => module.options.presence_max_length,
      ignoresPriority: () => module.options.ignore_presence_priority,
    }

    // RFC 6121 §3.4
    // Behind what has to be negotiated.
    module.hook(
      'stream-features',
      ({ origin, features }) => {
        if (origin.type === 'c2s_unbound')
          features.appendWritten(PRE_APPROVAL_FEATURE, 'sub', NS_PRE_APPROVAL)
      },
      -10,
    )

    module.onUnload(serveOthers(context))
    module.onUnload(hearOfDirected(context))
    const lost = new LostPresence(context)
    module.hookGlobal('peer-left', ({ peer }) => {
      const resource = peer as RemoteResource
      if (peer.type === 'c2s' && resource.lost) lost.add(resource)
    })

    const outbound = (event: StanzaEvent): unknown => {
      const { type } = event.stanza.attrs
      if (isSubscriptionType(type)) return sendSubscription(context, event, type)
      if (type === undefined || type === 'unavailable' || type === 'error') trackDirected(context, event)
      else if (type !== 'probe') return refuseType(event)
      else if (!mayProbe(context, event)) return true
      return undefined
    }
    module.hook('pre-presence/bare', (event) =>
      event.stanza.attrs.to === undefined ? undefined : outbound(event),
    )
    module.hook('pre-presence/full', outbound)
    module.hook('pre-presence/host', outbound)

    module.hook('presence/bare', (event) => {
      if (isOutdated(context, event)) return true
      if (event.stanza.attrs.to === undefined) {
        const session = clientOf(event.origin)
        return session === undefined ? undefined : broadcastPresence(context, event, session)
      }
      return asked(context, event) ?? deliverToAvailable(context, event)
    })
    module.hook('presence/full', (event) => {
      if (isOutdated(context, event)) return true
      return asked(context, event) ?? deliverToFull(context, event)
    })
    module.hook('presence/host', (event) => answerForHost(context, event))
    // After plugins that answer for a resource, and before it is delivered.
    module.hook(
      'iq/full',
      (event) => (module.options.presence_open_resources ? undefined : keepFromStrangers(context, event)),
      -0.5,
    )

    module.hook('roster-item-removed', (removed) => endSubscriptions(context, removed), -1)

    // However a session ends, those who saw it learn that it is gone (RFC 6121 §4.5.2).
    module.hook('resource-unbind', ({ session }) => {
      if (session.presence === undefined && !context.directed.has(session)) return
      // Others have told of its end, and may have taken its place.
      if (module.server.cluster?.hasLost(session)) return
      module.server.router.process(session, new Stanza('presence', { type: 'unavailable' }))
    })
  },
})

/** Subscriptions and probes for an account; undefined for presence that is to be delivered. */
function asked(context: PresenceContext, event: StanzaEvent): unknown {
  const { type } = event.stanza.attrs
  if (type === undefined || type === 'unavailable' || type === 'error') return undefined
  if (isSubscriptionType(type)) return receiveSubscription(context, event, type)
  if (type === 'probe') return answerProbe(context, event)
  return refuseType(event)
}

function refuseType({ origin, stanza }: StanzaEvent): true {
  origin.send(errorReply(stanza, 'bad-request', 'There is no such type of presence'))
  return true
}

/**
 * Whether a session of another process says that it is gone, and another one with the same full JID is there by now:
 * a process that did not answer for a while may have ended the old one later than the new one was bound.
 */
function isOutdated({ module }: PresenceContext, { origin, stanza }: StanzaEvent): boolean {
  const { cluster, fullJids } = module.server
  if (cluster === undefined || stanza.attrs.type !== 'unavailable' || !('member' in origin)) return false
  const { fullJid } = origin
  if (fullJid === undefined || stanza.attrs.from !== fullJid) return false
  const now = fullJids.get(fullJid) ?? cluster.directory.find(fullJid)
  return now !== undefined && now !== origin && now.available
}

/** RFC 6121 §8.5.2.1.2: to all available resources. */
function deliverToAvailable(context: PresenceContext, { stanza }: StanzaEvent): unknown {
  const { host, rosters } = context
  const username = localOf(stanza.attrs.to!) ?? ''
  // Nobody is there: the most common case, and one where no roster matters.
  if (!host.isOnline(username)) return true
  if (stanza.attrs.type === 'unavailable') {
    for (const session of host.accounts.get(username)?.sessions.values() ?? []) {
      forgetDirected(context, session, stanza.attrs.from!)
    }
  }
  // What follows an approval must not overtake it: a client does not know the contact before.
  const deliver = () => {
    if (context.onlyHere.has(stanza)) {
      for (const session of [...(host.accounts.get(username)?.sessions.values() ?? [])]) {
        if (session.available && !session.destroyed) session.send(stanza)
      }
      return
    }
    for (const resource of [...availableResources(host, username)]) resource.send(stanza)
  }
  return rosters.after(username, deliver) ?? true
}

/** RFC 6121 §8.5.3.1, §8.5.3.2.2 */
function deliverToFull(context: PresenceContext, { stanza }: StanzaEvent): true {
  const session = context.module.server.fullJids.get(stanza.attrs.to!)
  if (session === undefined) return true
  if (stanza.attrs.type === 'unavailable') forgetDirected(context, session, stanza.attrs.from!)
  session.send(stanza)
  return true
}
