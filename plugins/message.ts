/** Messages to accounts and their resources (RFC 6121 §8.5). */

import {
  appendDelay,
  bareOf,
  definePlugin,
  type EventPayload,
  errorReply,
  localOf,
  type Module,
  NS_DELAY,
  type Origin,
  type Resource,
  type Stanza,
  type StanzaEvent,
} from '../server/index.ts'

declare module '../server/event-types.ts' {
  interface EventTypes {
    /** A message for an account of which no resource takes messages; a handler that keeps it returns true. */
    'message/offline/handle': {
      readonly origin: Origin
      readonly stanza: Stanza
      readonly username: string
      /** Milliseconds since 1970 when it should have been delivered, if that was earlier. */
      readonly when?: number
    }
    /** A groupchat message for an account's bare JID; a handler that takes it returns true. */
    'message/bare/groupchat': { readonly origin: Origin; readonly stanza: Stanza }
  }
}

export default definePlugin({
  name: 'message',
  hostType: 'host',
  load(module) {
    module.hook(
      'message/full',
      (event) => {
        const { to = '' } = event.stanza.attrs
        const session = module.server.fullJids.get(to)
        if (session === undefined || session.destroyed) return deliverInstead(module, event, bareOf(to))
        session.send(event.stanza)
        return true
      },
      -1,
    )
    module.hook(
      'message/bare',
      (event) => {
        const to = event.stanza.attrs.to ?? bareOf(event.origin.fullJid ?? '')
        return deliverToAccount(module, event, to)
      },
      -1,
    )
    module.hook('delivery/failure', (event) => deliverElsewhere(module, event), -1)
  },
})

/** What is for a resource that is not there (RFC 6121 §8.5.3.2.1). */
function deliverInstead(module: Module, event: StanzaEvent, bare: string): unknown {
  const { type } = event.stanza.attrs
  // A chat goes on at another resource; of the others, those of type normal must not. Whether there is such an account
  // makes no difference, so nobody learns of it.
  if (type !== 'chat' && type !== 'error' && type !== 'headline' && type !== 'groupchat') {
    event.origin.send(errorReply(event.stanza, 'service-unavailable'))
    return true
  }
  return deliverToAccount(module, event, bare)
}

/**
 * A message that a session has not acknowledged goes where it would have gone without that session.
 */
function deliverElsewhere(module: Module, failure: EventPayload<'delivery/failure'>): unknown {
  const { session, stanza, when } = failure
  const { host } = module
  const { username, bareJid } = session
  if (stanza.attrs.type === 'groupchat') {
    return deliverToAccount(module, { origin: host, stanza, toSelf: false }, bareJid!)
  }
  const best = withHighestPriority(recipients(module, username!))
  if (best.length > 0) {
    const late = delayed(stanza, host.name, when)
    // It comes back from another process where they are gone.
    if (best.length === 1) best[0]!.send(late)
    else sendToAll(module, best, late)
    return true
  }
  return offer(module, { origin: host, stanza }, username!, () =>
    module.fireEvent('message/offline/handle', { origin: host, stanza, username: username!, when }),
  )
}

/** A copy of a message with the time when it should have been delivered, if it does not say that already (XEP-0203). */
function delayed(stanza: Stanza, from: string, when: number): Stanza {
  const late = stanza.clone()
  if (stanza.inner.includes(NS_DELAY)) return late
  appendDelay(late, from, when)
  return late
}

/** What has no resource of its own to go to (RFC 6121 §8.5.2). */
function deliverToAccount(module: Module, event: StanzaEvent, bare: string): unknown {
  const { stanza } = event
  const username = localOf(bare)
  if (username === undefined) return undefined
  switch (stanza.attrs.type) {
    case 'error':
      return true
    case 'groupchat':
      return offer(module, event, username, () => module.fireEvent('message/bare/groupchat', event))
    case 'headline':
      // To whoever is there, or to nobody: news grow old.
      if (stanza.attrs.to === bare || stanza.attrs.to === undefined) {
        for (const session of recipients(module, username)) session.sendAmong(stanza, undefined)
      }
      return true
    default: {
      const best = withHighestPriority(recipients(module, username))
      if (best.length === 1) best[0]!.send(stanza)
      else sendToAll(module, best, stanza)
      if (best.length > 0) return true
      return offer(module, event, username, () =>
        module.fireEvent('message/offline/handle', { origin: event.origin, stanza, username }),
      )
    }
  }
}

/** One of them at least gets it, if one of them is still there: those of other processes may have gone just now. */
function sendToAll(module: Module, resources: readonly Resource[], stanza: Stanza): void {
  const isOneHere = resources.some(({ fullJid }) => module.server.fullJids.has(fullJid!))
  for (const resource of resources) resource.sendAmong(stanza, isOneHere ? undefined : resources)
}

/** The resources that take messages for the account: available, with a priority that is not negative. */
function recipients(module: Module, username: string): Resource[] {
  const sessions: Resource[] = []
  for (const session of module.host.resourcesOf(username)) {
    if (session.available && session.priority >= 0 && !session.destroyed) sessions.push(session)
  }
  return sessions
}

/** RFC 6121 §8.5.2.1.1: of several with the highest priority, all. */
function withHighestPriority(sessions: Resource[]): Resource[] {
  if (sessions.length < 2) return sessions
  let highest = 0
  for (const { priority } of sessions) if (priority > highest) highest = priority
  return sessions.filter(({ priority }) => priority === highest)
}

/** Lets other plugins have a message for an account. Nobody learns whether that exists or only does not listen. */
async function offer(
  module: Module,
  { origin, stanza }: Pick<StanzaEvent, 'origin' | 'stanza'>,
  username: string,
  fire: () => unknown,
): Promise<true> {
  const exists = (await module.host.users?.exists(username)) === true
  const taken = exists && (await fire())
  if (taken === undefined || taken === false) origin.send(errorReply(stanza, 'service-unavailable'))
  return true
}
