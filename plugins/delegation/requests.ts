/** Requests that wait for their managers, until each has had its one answer (F4 to F8). */

import { randomBytes } from 'node:crypto'
import {
  bareOf,
  detached,
  errorReply,
  type Host,
  type Logger,
  type Origin,
  prepareJid,
  Stanza,
  type StreamSession,
  type Timeout,
} from '../../server/index.ts'
import type { ManagerConnection } from './manager.ts'
import type { Delegation } from './table.ts'
import { unwrap, wrap } from './wrapping.ts'

/** How requests of a namespace have ended. */
export interface DelegationCounts {
  forwarded: number
  answered: number
  /** Answers that failed F4. */
  refused: number
  /** Errors of the wrapper (F6). */
  failed: number
  timedOut: number
  /** There was no manager, or it left (F7). */
  unavailable: number
}

interface AskedAttributes {
  readonly id: string
  readonly from: string
  readonly to: string | undefined
}

interface PendingRequest {
  readonly id: string
  /** Of the asker's IQ: what its answer needs. Its content is the manager's now, and may be large. */
  readonly asked: AskedAttributes
  readonly origin: Origin
  readonly delegation: Delegation
  readonly manager: ManagerConnection
  readonly timeout: Timeout
}

/** Requests of one asker's session that may wait; more are refused, so that nobody fills the memory. */
const MOST_PENDING = 10_000
/** Characters of a manager's mistake that are logged. */
const LONGEST_REASON = 200

/** The pending requests of one host. */
export class Requests {
  readonly counts = new Map<string, DelegationCounts>()
  private readonly host: Host
  private readonly log: Logger
  private readonly pending = new Map<string, PendingRequest>()
  /** Connections that have been asked something: of all who leave, only these are looked for. */
  private readonly asked = new Set<StreamSession>()
  /** How many of each asker's requests wait. */
  private readonly pendingOf = new Map<Origin, number>()
  private readonly prefix = `${randomBytes(6).toString('base64url')}.`
  private number = 0

  constructor(host: Host, log: Logger) {
    this.host = host
    this.log = log
  }

  /** How many wait. */
  get size(): number {
    return this.pending.size
  }

  /** Sends a request to its manager (F2). */
  forward(request: Stanza, origin: Origin, delegation: Delegation, manager: ManagerConnection): void {
    const waiting = this.pendingOf.get(origin) ?? 0
    if (waiting >= MOST_PENDING) {
      origin.send(errorReply(request, 'resource-constraint', 'Too many requests wait for their answers'))
      return
    }
    this.pendingOf.set(origin, waiting + 1)
    const id = this.prefix + (++this.number).toString(36)
    const timeout = this.host.server.timers.after(delegation.timeout, () => this.timeOut(id))
    const { from, to } = request.attrs
    const asked = { id: detached(request.attrs.id!), from: from!, to }
    this.pending.set(id, { id, asked, origin, delegation, manager, timeout })
    this.asked.add(manager.session)
    this.countsOf(delegation).forwarded++
    const wrapper = wrap(request, id, this.host.name, manager.jid)
    this.host.server.router.route(wrapper, this.host)
  }

  /** Answers a request that has no manager now (F7). */
  refuse(request: Stanza, origin: Origin, delegation: Delegation): void {
    this.countsOf(delegation).unavailable++
    this.log.debug('no manager is connected', { namespace: delegation.namespace, manager: delegation.jid })
    origin.send(errorReply(request, 'service-unavailable'))
  }

  /**
   * An IQ result or error for the host.
   *
   * @returns true if it was meant as an answer of a manager; undefined if nobody here waits for it
   */
  answer(reply: Stanza, origin: Origin): true | undefined {
    const request = this.pending.get(reply.attrs.id ?? '')
    if (request === undefined) return undefined
    if (!isAsked(request, reply, origin)) {
      // F8: whoever it was, the request goes on waiting.
      this.log.warn('ignored an answer from somebody who was not asked', {
        from: reply.attrs.from,
        namespace: request.delegation.namespace,
        manager: request.delegation.jid,
      })
      return true
    }
    this.remove(request)
    const counts = this.countsOf(request.delegation)
    if (reply.attrs.type === 'error') {
      counts.failed++
      this.log.info('the manager answered with an error of the wrapper', { ...this.about(request) })
      this.fail(request)
      return true
    }
    const answer = checkedAnswer(request, reply)
    if (typeof answer === 'string') {
      counts.refused++
      this.log.warn('refused the answer of a manager', {
        ...this.about(request),
        reason: answer.slice(0, LONGEST_REASON),
      })
      this.fail(request)
      return true
    }
    counts.answered++
    request.origin.send(answer)
    return true
  }

  /** A manager's connection is gone: whatever waits for it is answered at once (F7). */
  managerGone(session: StreamSession): void {
    if (!this.asked.delete(session)) return
    for (const request of [...this.pending.values()]) {
      if (request.manager.session === session) this.abandon(request)
    }
  }

  /** The host stops delegating: nothing is left waiting. */
  abandonAll(): void {
    for (const request of [...this.pending.values()]) this.abandon(request)
  }

  private abandon(request: PendingRequest): void {
    this.remove(request)
    this.countsOf(request.delegation).unavailable++
    this.fail(request)
  }

  private timeOut(id: string): void {
    const request = this.pending.get(id)
    if (request === undefined) return
    this.remove(request)
    this.countsOf(request.delegation).timedOut++
    this.log.warn('a manager did not answer in time', {
      ...this.about(request),
      seconds: request.delegation.timeout,
    })
    this.fail(request)
  }

  private remove(request: PendingRequest): void {
    request.timeout.cancel()
    this.pending.delete(request.id)
    const left = this.pendingOf.get(request.origin)! - 1
    if (left > 0) this.pendingOf.set(request.origin, left)
    else this.pendingOf.delete(request.origin)
  }

  private fail({ origin, asked }: PendingRequest): void {
    origin.send(errorReply(new Stanza('iq', { ...asked }), 'service-unavailable'))
  }

  private about({ delegation, asked }: PendingRequest): Record<string, unknown> {
    return { manager: delegation.jid, namespace: delegation.namespace, asker: asked.from }
  }

  private countsOf({ namespace }: Delegation): DelegationCounts {
    let counts = this.counts.get(namespace)
    if (counts === undefined) {
      counts = { forwarded: 0, answered: 0, refused: 0, failed: 0, timedOut: 0, unavailable: 0 }
      this.counts.set(namespace, counts)
    }
    return counts
  }
}

/**
 * Whether a reply comes from the connection that was asked (F8). The `from` alone does not tell: an operator
 * may let components send from addresses that are not theirs. A component host itself answers with an error
 * for a component that has just left.
 */
function isAsked({ manager }: PendingRequest, reply: Stanza, origin: Origin): boolean {
  if (reply.attrs.from !== manager.jid || reply.attrs.to?.includes('/') === true) return false
  return origin === manager.session || (origin.type === 'host' && origin.host === manager.session.host)
}

/** The IQ that the asker gets, or what is wrong with the reply (F4). */
function checkedAnswer({ asked }: PendingRequest, reply: Stanza): Stanza | string {
  const unwrapped = unwrap(reply)
  if (typeof unwrapped === 'string') return unwrapped
  const { attrs, inner, childCount } = unwrapped
  const asker = asked.from
  if (attrs.type !== 'result' && attrs.type !== 'error')
    return `the type of the inner IQ is "${attrs.type ?? ''}"`
  // RFC 6120 §8.2.3. The router leaves it to whoever waits for a result.
  if (attrs.type === 'result' && childCount > 1) return `the inner result has ${childCount} children`
  if (attrs.id !== asked.id) return 'the id of the inner IQ is not that of the request'
  if (!isAddress(attrs.to, asker)) return `the inner IQ is addressed to "${attrs.to ?? ''}"`
  if (attrs.from !== undefined && !isAddress(attrs.from, asked.to ?? bareOf(asker))) {
    return `the inner IQ claims to be from "${attrs.from}"`
  }
  attrs.to = asker
  if (asked.to === undefined) delete attrs.from
  else attrs.from = asked.to
  return Stanza.fromInner('iq', attrs, inner)
}

function isAddress(given: string | undefined, expected: string): boolean {
  return given === expected || (given !== undefined && prepareJid(given)?.full === expected)
}
