/** Presence (RFC 6121 §3 and §4): subscriptions, broadcast, probes, directed presence. */

import {
  bareOf,
  definePlugin,
  errorReply,
  kinds,
  localOf,
  type Origin,
  option,
  Stanza,
  StanzaError,
  type StanzaEvent,
  type StreamSession,
} from '../../server/index.ts'
import type { Rosters, RostersByHost } from '../roster/index.ts'
import { broadcastPresence } from './available.ts'
import { availableResources, clientOf, type PresenceContext, serveOthers } from './context.ts'
import { tellOfLost } from './lost.ts'
import { answerForHost, answerProbe, mayProbe } from './probes.ts'
import { hasFrom } from './states.ts'
import {
  endSubscriptions,
  isSubscriptionType,
  receiveSubscription,
  sendSubscription,
} from './subscriptions.ts'

declare module '../../server/event-types.ts' {
  interface EventTypes {
    /** A resource that takes messages has become available. */
    'message/offline/broadcast': { readonly origin: Origin }
  }
}

const options = {
  presence_max_directed: option({
    schema: kinds.integer(1).default(1000),
    description: 'Addresses that a session may have sent directed presence to. Not of Prosody.',
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
      maxDirected: () => module.options.presence_max_directed,
    }

    module.onUnload(serveOthers(context))
    module.hook('resource-lost', ({ resource }) => tellOfLost(context, resource))

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
      const session = event.toSelf ? clientOf(event.origin) : undefined
      if (session !== undefined) return broadcastPresence(context, event, session)
      if (event.stanza.attrs.to === undefined) return undefined
      return asked(context, event) ?? deliverToAvailable(context, event)
    })
    module.hook('presence/full', (event) => asked(context, event) ?? deliverToFull(context, event))
    module.hook('presence/host', (event) => answerForHost(context, event))

    module.hook('roster-item-removed', (removed) => endSubscriptions(context, removed), -1)

    // However a session ends, those who saw it learn that it is gone (RFC 6121 §4.5.2).
    module.hook('resource-unbind', ({ session }) => {
      if (session.presence === undefined && !context.directed.has(session)) return
      module.server.router.process(session, new Stanza('presence', { type: 'unavailable' }))
    })
  },
})

/** Remembers who has to be told when a session goes (RFC 6121 §4.6.3). */
function trackDirected(context: PresenceContext, { origin, stanza, toSelf }: StanzaEvent): void {
  const session = clientOf(origin)
  if (session === undefined || toSelf) return
  const { to = '', type } = stanza.attrs
  let directed = context.directed.get(session)
  if (type !== undefined) {
    directed?.delete(to)
    if (directed?.size === 0) context.directed.delete(session)
    return
  }
  const contact = context.rosters.kept(session.username!)?.contact(bareOf(to))
  // Contacts are told anyway, once the session has been available to all of them.
  if (session.presence !== undefined && contact !== undefined && hasFrom(contact)) return
  if (directed === undefined) {
    directed = new Set()
    context.directed.set(session, directed)
  }
  if (directed.size >= context.maxDirected() && !directed.has(to)) {
    throw new StanzaError('resource-constraint', 'Directed presence has gone to too many addresses')
  }
  directed.add(to)
}

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

/** RFC 6121 §8.5.2.1.2: to all available resources. */
function deliverToAvailable({ host, rosters }: PresenceContext, { stanza }: StanzaEvent): unknown {
  const username = localOf(stanza.attrs.to!) ?? ''
  // Nobody is there: the most common case, and one where no roster matters.
  if (!host.isOnline(username)) return true
  // What follows an approval must not overtake it: a client does not know the contact before.
  const deliver = () => {
    for (const resource of [...availableResources(host, username)]) resource.send(stanza)
  }
  return rosters.after(username, deliver) ?? true
}

/** RFC 6121 §8.5.3.1, §8.5.3.2.2 */
function deliverToFull({ module }: PresenceContext, { stanza }: StanzaEvent): true {
  module.server.fullJids.get(stanza.attrs.to!)?.send(stanza)
  return true
}
