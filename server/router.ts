/** Decides where a stanza goes, and fires the events on its way, under Prosody's names. */

import type { Host } from './host.ts'
import { bareOf, domainOf, type PreparedJid, prepareJid } from './jid.ts'
import type { Origin } from './session.ts'
import { errorReply, mayAnswerWithError } from './stanza/reply.ts'
import type { Stanza } from './stanza/stanza.ts'

/** What stanza events carry. */
export interface StanzaEvent {
  readonly origin: Origin
  readonly stanza: Stanza
  /** The stanza has no `to`, or it is the sender's own bare JID. */
  readonly toSelf: boolean
  /** A handler of `pre-stanza` that ends the event may say why. */
  reason?: string
}

export type StanzaKind = 'message' | 'presence' | 'iq'
export type TargetKind = 'bare' | 'full' | 'host' | 'self'

interface EventNames {
  readonly bare: string
  readonly full: string
  readonly host: string
  readonly self: string
  readonly preBare: string
  readonly preFull: string
  readonly preHost: string
}

function namesOf(kind: StanzaKind): EventNames {
  return {
    bare: `${kind}/bare`,
    full: `${kind}/full`,
    host: `${kind}/host`,
    self: `${kind}/self`,
    preBare: `pre-${kind}/bare`,
    preFull: `pre-${kind}/full`,
    preHost: `pre-${kind}/host`,
  }
}

const EVENT_NAMES: Record<StanzaKind, EventNames> = {
  message: namesOf('message'),
  presence: namesOf('presence'),
  iq: namesOf('iq'),
}

/** What may take a stanza to another process. */
export interface Elsewhere {
  /**
   * @param event - about to be fired on a host
   * @param host - of `to`
   * @returns whether the stanza is taken care of
   */
  takes(event: StanzaEvent, host: Host, to: PreparedJid, target: TargetKind): boolean
}

/** Whether an element of the content namespace is a stanza (RFC 6120 §4.9.3.24). */
export function isStanzaName(name: string): name is StanzaKind {
  return name === 'iq' || name === 'message' || name === 'presence'
}

/** Takes stanzas from sessions and hosts to where they belong. */
export class Router {
  private readonly hosts: ReadonlyMap<string, Host>
  /** The other processes that this one is a server with, if there are any. */
  elsewhere: Elsewhere | undefined

  /** @param hosts - the server's hosts by name; read at each stanza */
  constructor(hosts: ReadonlyMap<string, Host>) {
    this.hosts = hosts
  }

  /**
   * A stanza that a session has sent: checked, its `from` stamped, its `to` prepared, then on its way.
   *
   * @param origin - an authenticated session. A component's `from` has been checked by its stream.
   */
  process(origin: Origin, stanza: Stanza): void {
    const attrs = stanza.attrs
    const fromClient = origin.fullJid !== undefined
    if (fromClient) {
      attrs.from = origin.fullJid as string
    } else {
      const from = prepareJid(attrs.from ?? '')
      if (from === undefined) {
        this.refuseAddress(origin, stanza, `The source address is malformed: ${attrs.from ?? ''}`)
        return
      }
      attrs.from = from.full
    }
    let to: PreparedJid | undefined
    if (attrs.to !== undefined) {
      to = prepareJid(attrs.to)
      if (to === undefined) {
        this.refuseAddress(origin, stanza, `The destination address is malformed: ${attrs.to}`)
        return
      }
      attrs.to = to.full
    }
    if (stanza.name === 'iq' && this.refuseIq(origin, stanza)) return
    this.post(origin, stanza, to, fromClient, this.elsewhere)
  }

  /**
   * Answers an IQ that is not made as RFC 6120 §8.2.3 asks.
   *
   * @returns whether that was so
   */
  refuseIq(origin: Origin, stanza: Stanza): boolean {
    const fault = iqFault(stanza)
    if (fault === undefined) return false
    if (mayAnswerWithError(stanza)) origin.send(errorReply(stanza, 'bad-request', fault))
    else origin.log.debug('dropped a malformed answer', { reason: fault })
    return true
  }

  /**
   * A stanza that this server itself sends, from one of its hosts or on behalf of an account.
   *
   * @param stanza - with `from` and `to` prepared
   * @param origin - who gets errors; the default is the host of `from`
   * @returns false if there is no such `to`
   */
  route(stanza: Stanza, origin?: Origin): boolean {
    const to = prepareJid(stanza.attrs.to ?? '')
    const sender = origin ?? this.hosts.get(domainOf(stanza.attrs.from ?? ''))
    if (to === undefined || sender === undefined) return false
    this.post(sender, stanza, to, false, this.elsewhere)
    return true
  }

  /**
   * A stanza that has come to the right process: from another one, or after it was looked for elsewhere.
   *
   * @param stanza - its addresses are prepared, and what its sender's host may veto has been asked
   * @param elsewhere - may still take it to another process
   * @returns what settles when a handler has worked on it that takes its time
   */
  arrive(
    origin: Origin,
    stanza: Stanza,
    to = prepareJid(stanza.attrs.to ?? ''),
    elsewhere?: Elsewhere,
  ): Promise<unknown> | undefined {
    return to === undefined ? undefined : this.post(origin, stanza, to, false, elsewhere)
  }

  private post(
    origin: Origin,
    stanza: Stanza,
    to: PreparedJid | undefined,
    preEvents: boolean,
    elsewhere: Elsewhere | undefined,
  ): Promise<unknown> | undefined {
    const names = EVENT_NAMES[stanza.name as StanzaKind]
    let target: 'bare' | 'full' | 'host' = 'bare'
    let toSelf = to === undefined
    if (to !== undefined) {
      if (to.local === undefined && to.resource === undefined) target = 'host'
      else if (to.local === undefined) target = 'host'
      else if (to.resource !== undefined) target = 'full'
      else toSelf = origin.fullJid !== undefined && bareOf(origin.fullJid) === to.bare
    }
    const event: StanzaEvent = { origin, stanza, toSelf }

    if (preEvents) {
      const events = origin.host!.events
      const vetoed = events.fire('pre-stanza', event)
      if (vetoed !== undefined) return this.taken(vetoed, origin)
      const name = target === 'host' ? names.preHost : target === 'full' ? names.preFull : names.preBare
      const taken = events.fire(name, event)
      if (taken !== undefined) return this.taken(taken, origin)
    }

    const host = to === undefined ? origin.host : this.hosts.get(to.domain)
    if (host === undefined) return this.remote(origin, stanza)
    if (elsewhere !== undefined && to !== undefined && elsewhere.takes(event, host, to, target)) {
      return undefined
    }
    const name = target === 'host' ? names.host : target === 'full' ? names.full : names.bare
    let result = host.events.fire(name, event)
    if (result === undefined && toSelf) result = host.events.fire(names.self, event)
    if (result !== undefined) return this.taken(result, origin)
    this.unhandled(origin, stanza)
    return undefined
  }

  /** A handler has ended the event. @returns what settles when it is done, if that takes its time */
  private taken(result: unknown, origin: Origin): Promise<unknown> | undefined {
    if (!(result instanceof Promise)) return undefined
    origin.hold?.(result)
    return result
  }

  private remote(origin: Origin, stanza: Stanza): Promise<unknown> | undefined {
    const from = this.hosts.get(domainOf(stanza.attrs.from ?? ''))
    const event: StanzaEvent = { origin, stanza, toSelf: false }
    const result = from?.events.fire('route/remote', event)
    if (result !== undefined) return this.taken(result, origin)
    if (mayAnswerWithError(stanza)) {
      origin.send(
        errorReply(stanza, 'remote-server-not-found', 'Communication with remote domains is not enabled'),
      )
    }
    return undefined
  }

  private unhandled(origin: Origin, stanza: Stanza): void {
    // RFC 6120 §8.5: an IQ must be answered; presence that nobody wants is dropped.
    if (stanza.name === 'presence' || !mayAnswerWithError(stanza)) {
      origin.log.debug('dropped a stanza that nobody handles', {
        stanza: stanza.name,
        type: stanza.attrs.type,
      })
      return
    }
    origin.send(errorReply(stanza, 'service-unavailable'))
  }

  private refuseAddress(origin: Origin, stanza: Stanza, text: string): void {
    if (!mayAnswerWithError(stanza)) return
    // The malformed address must not be written into the answer's own addresses.
    const answer = errorReply(stanza, 'jid-malformed', text)
    delete (answer.attrs as Record<string, string | undefined>).from
    if (origin.fullJid !== undefined) answer.attrs.to = origin.fullJid
    else if (origin.host !== undefined) answer.attrs.to = origin.host.name
    origin.send(answer)
  }
}

/** What is wrong with an IQ (RFC 6120 §8.2.3), or undefined. */
function iqFault(stanza: Stanza): string | undefined {
  const { type, id } = stanza.attrs
  if (id === undefined || id === '') return "An IQ must have an 'id'"
  if (type === 'get' || type === 'set') {
    return stanza.childCount === 1
      ? undefined
      : 'An IQ of type get or set must have exactly one child element'
  }
  // A result of too many children is passed on, as Prosody does: whoever waits for it may judge it at once,
  // instead of waiting for ever.
  return type === 'result' || type === 'error'
    ? undefined
    : "The type of an IQ must be 'get', 'set', 'result' or 'error'"
}
