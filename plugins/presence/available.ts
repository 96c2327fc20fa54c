/** A client's presence without `to`: priority, broadcast to contacts, what the first one brings (RFC 6121 §4.2 to §4.5). */

import { randomBytes } from 'node:crypto'
import {
  bareOf,
  detached,
  domainOf,
  errorReply,
  type Host,
  type Module,
  NS_CLIENT,
  rankedAnew,
  Stanza,
  type StanzaEvent,
  type StreamSession,
  writeElement,
} from '../../server/index.ts'
import type { ReadonlyRoster } from '../roster/index.ts'
import { otherResources, type PresenceContext, readdressed, sendPresenceOf, subscribers } from './context.ts'
import { hasFrom } from './states.ts'
import { requestStanza } from './subscriptions.ts'

/**
 * The priority that a presence asks for (RFC 6121 §4.7.2.3); 0 if it says nothing.
 *
 * @returns undefined if it is no whole number from -128 to 127
 */
export function priorityOf(stanza: Stanza): number | undefined {
  // The tree is not built where there can be no such element.
  if (!stanza.inner.includes('priority')) return 0
  const text = stanza.clone().getChildText('priority', NS_CLIENT)
  if (text === null) return 0
  const digits = text.trim()
  if (!/^[+-]?\d{1,10}$/.test(digits)) return undefined
  const priority = Number(digits)
  return priority >= -128 && priority <= 127 ? priority : undefined
}

/** The presence with the priority that counts: 0, which is what one without says (RFC 6121 §4.7.2.3). */
function withoutPriority(stanza: Stanza): Stanza {
  if (!stanza.inner.includes('priority')) return stanza
  const copy = stanza.clone()
  for (const child of copy.getChildren('priority', NS_CLIENT)) copy.remove(child)
  return copy
}

/** A session's presence to everybody, available or not. */
export function broadcastPresence(
  context: PresenceContext,
  event: StanzaEvent,
  session: StreamSession,
): unknown {
  const { type } = event.stanza.attrs
  if (type !== undefined && type !== 'unavailable') {
    if (type !== 'error')
      session.send(errorReply(event.stanza, 'bad-request', 'This presence needs a contact'))
    return true
  }
  if (event.stanza.inner.length > context.maxLength()) {
    session.send(
      errorReply(event.stanza, 'policy-violation', 'This presence is too long to be told to contacts'),
    )
    return true
  }
  const go = (roster: ReadonlyRoster): true => {
    if (type === undefined) becomeAvailable(context, event, session, roster)
    else becomeUnavailable(context, event.stanza, session, roster)
    return true
  }
  const { rosters } = context
  const roster = rosters.kept(session.username!)
  // It is in memory unless the store failed when the session was bound.
  return roster === undefined ? rosters.read(session.username!).then(go) : go(roster)
}

function becomeAvailable(
  context: PresenceContext,
  event: StanzaEvent,
  session: StreamSession,
  roster: ReadonlyRoster,
): void {
  const { module } = context
  if (session.destroyed) return
  const stanza = context.ignoresPriority() ? withoutPriority(event.stanza) : event.stanza
  const priority = priorityOf(stanza)
  if (priority === undefined) {
    session.send(errorReply(stanza, 'bad-request', 'The priority must be a whole number from -128 to 127'))
    return
  }
  const isInitial = session.presence === undefined
  const tookMessages = !isInitial && session.priority >= 0
  session.presence = withDelay(stanza, session.fullJid!, context.host.name)
  session.priority = priority
  session.ranks = rankedAnew(session.ranks, priority)
  module.server.cluster?.availabilityChanged(session)
  send(context, session, stanza, roster)
  session.send(readdressed(stanza, session.fullJid!, session.fullJid))
  // Sending may have ended the session, if it does not take what it is sent.
  if (session.destroyed) return
  if (isInitial) greet(context, event, session, roster)
  // XEP-0160 §2: messages that were kept go to whoever takes some now.
  if (priority >= 0 && !tookMessages) module.fireEvent('message/offline/broadcast', { origin: session })
}

/** What only the first available presence brings (RFC 6121 §4.2.2, §4.3.1). */
function greet(
  context: PresenceContext,
  event: StanzaEvent,
  session: StreamSession,
  roster: ReadonlyRoster,
): void {
  const { module } = context
  module.fireEvent('presence/initial', event)
  probeContacts(context, session, roster)
  sendPresenceOf(context, session.username!, session.fullJid!)
  // RFC 6121 §3.1.3: until the account answers, it is asked each time.
  for (const [from, request] of roster.requests) {
    if (isFor(context.host, session, from)) session.send(requestStanza(request, from, session.bareJid!))
  }
  askAgain(context, session, roster)
}

function becomeUnavailable(
  context: PresenceContext,
  stanza: Stanza,
  session: StreamSession,
  roster: ReadonlyRoster,
): void {
  const wasAvailable = session.presence !== undefined
  session.presence = undefined
  session.priority = 0
  session.ranks = rankedAnew(session.ranks, undefined)
  context.module.server.cluster?.availabilityChanged(session)
  // RFC 6121 §4.6.3: who was never available is gone for those only that it has sent directed presence to.
  if (wasAvailable) send(context, session, stanza, roster)
  const directed = context.directed.get(session)
  context.directed.delete(session)
  for (const to of directed ?? []) {
    const account = bareOf(to)
    const hasBeenTold = wasAvailable && (account === session.bareJid || hasFrom(roster.contact(account)))
    if (!hasBeenTold) context.module.send(readdressed(stanza, session.fullJid!, to), session)
  }
  session.send(readdressed(stanza, session.fullJid!, session.fullJid))
}

/** To the account's other resources and to the contacts that may see it (RFC 6121 §4.2.2, §4.4.2, §4.5.2). */
function send(
  { module, host }: PresenceContext,
  session: StreamSession,
  stanza: Stanza,
  roster: ReadonlyRoster,
): void {
  const from = session.fullJid!
  const isLeaving = stanza.attrs.type === 'unavailable'
  for (const other of otherResources(host, session)) {
    module.send(readdressed(stanza, from, other.fullJid), session)
  }
  for (const to of subscribers(roster)) {
    if (session.destroyed && !isLeaving) return
    if (!isFor(host, session, to)) continue
    module.send(readdressed(stanza, from, to), session)
  }
}

/**
 * RFC 6121 §4.3.1. Accounts of this server are asked for the one resource that needs to know; what others are asked
 * is from the account, and so is their answer for all of its resources.
 */
function probeContacts(
  { module, host }: PresenceContext,
  session: StreamSession,
  roster: ReadonlyRoster,
): void {
  for (const { jid, subscription } of roster.items.values()) {
    if (subscription !== 'to' && subscription !== 'both') continue
    if (!isFor(host, session, jid)) continue
    const from = isOfThisServer(module, jid) ? session.fullJid : session.bareJid
    module.send(new Stanza('presence', { type: 'probe', from, to: jid }), session)
  }
}

/** Sessions that ask accounts of this server again. */
const asking = new WeakSet<StreamSession>()

/** Requests, and their answers, may have been lost. */
function askAgain(context: PresenceContext, session: StreamSession, roster: ReadonlyRoster): void {
  const { module, host } = context
  const here: string[] = []
  for (const { jid, ask } of roster.items.values()) {
    if (!ask || !isFor(host, session, jid)) continue
    if (isOfThisServer(module, jid)) here.push(jid)
    else sendRequest(module, session, jid)
  }
  if (here.length === 0 || asking.has(session)) return
  asking.add(session)
  askHere(context, session, here)
    .catch((error) => {
      if (session.destroyed) return
      const user = session.username
      module.log.error('a subscription request could not be sent again', { user, error })
    })
    .finally(() => asking.delete(session))
}

/**
 * Asks accounts of this server, one after the other. Their rosters are written after the one that has the request, so
 * the process may have died, or the write may have failed, in between. Who has the request already does nothing with
 * it; who has approved it says so again.
 */
async function askHere(
  { module, rosters }: PresenceContext,
  session: StreamSession,
  contacts: readonly string[],
): Promise<void> {
  const username = session.username!
  for (const jid of contacts) {
    if (session.destroyed) return
    await rosters.between(username, jid, async () => {
      const { item } = (await rosters.readLatest(username)).contact(jid)
      if (item?.ask === true) sendRequest(module, session, jid)
    })
  }
}

function sendRequest(module: Module, session: StreamSession, to: string): void {
  // §3.1.2 recommends an id.
  const id = randomBytes(9).toString('base64url')
  module.send(new Stanza('presence', { type: 'subscribe', id, from: session.bareJid, to }), session)
}

function isOfThisServer({ server }: Module, jid: string): boolean {
  return server.hosts.get(domainOf(jid))?.hostType === 'host'
}

/** Whether no plugin keeps a contact and a session from each other. */
function isFor({ events }: Host, session: StreamSession, jid: string): boolean {
  return !events.has('presence/contact') || events.fire('presence/contact', { session, jid }) !== false
}

let stampSecond = 0
let stamp = ''

/** The time as XEP-0082 writes it, made once a second. */
function stampNow(): string {
  const second = Math.floor(Date.now() / 1000)
  if (second !== stampSecond) {
    stampSecond = second
    stamp = new Date(second * 1000).toISOString().replace('.000', '')
  }
  return stamp
}

/**
 * The presence as those get it who ask for it later: from the session, to nobody yet, with the time when it was sent
 * (XEP-0203). It is kept for long, so its text is a copy, which does not hold on to what it was received with.
 */
function withDelay(stanza: Stanza, from: string, host: string): Stanza {
  const delay = writeElement('delay', { xmlns: 'urn:xmpp:delay', from: host, stamp: stampNow() }, '')
  const { payloadName, payloadNs } = stanza
  const attrs: Record<string, string> = {}
  for (const name in stanza.attrs) {
    if (name !== 'from' && name !== 'to') attrs[name] = detached(stanza.attrs[name]!)
  }
  attrs.from = from
  return Stanza.fromText(
    'presence',
    attrs,
    detached(stanza.inner + delay),
    stanza.childCount + 1,
    detached(payloadName || 'delay'),
    detached(payloadName === '' ? 'urn:xmpp:delay' : payloadNs),
  )
}
