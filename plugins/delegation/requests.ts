/** Requests that wait for their managers, until each has had its one answer (F4 to F8). */

import { randomBytes } from 'node:crypto'
import {
  bareOf,
  detached,
  errorReply,
  escapeAttribute,
  type Host,
  type Logger,
  type Origin,
  type Peer,
  prepareJid,
  Stanza,
  type Timeout,
} from '../../server/index.ts'
import type { ManagerConnection } from './manager.ts'
import { type DelegationCounts, NamespaceMetrics, turnTime } from './metrics.ts'
import { RepeatedWarnings } from './repeated.ts'
import { Shortcut } from './shortcut.ts'
import { Slots } from './slots.ts'
import type { Delegation } from './table.ts'
import { forwardedRest, forwardedStart, type Unwrapped, unwrap, wrap } from './wrapping.ts'

interface AskedAttributes {
  readonly id: string
  readonly from: string
  readonly to: string | undefined
}

/** Whoever asks through one session: of a client it is one address, of a component there may be many. */
interface Asker {
  /** How many requests of the session wait. */
  waiting: number
  /** The address that asked last, and what is written for it again and again. */
  from: string
  xmlns: string
  /** In a wrapper: from the manager's delegation namespace to the value of `from`. */
  start: string
  /** In an answer: from behind the id to the content. */
  to: string
}

interface PendingRequest {
  /** In the id of the wrapper. */
  place: number
  turn: number
  /** Grows with each. */
  readonly sequence: number
  /** Of the asker's IQ: what its answer needs. Its content is the manager's now, and may be large. */
  readonly asked: AskedAttributes
  readonly origin: Origin
  readonly asker: Asker
  readonly delegation: Delegation
  readonly manager: ManagerConnection
  timeout: Timeout | undefined
  readonly metrics: NamespaceMetrics
  /** By `turnTime`. */
  readonly since: number
  /** Called when the asker has its answer. */
  readonly done: (() => void) | undefined
}

/** Requests of one asker's session that may wait; more are refused, so that nobody fills the memory. */
const MOST_PENDING = 10_000
/** Namespaces with numbers of their own. Accounts may choose what they let others manage: not without end. */
const MOST_COUNTED = 1000
/** Milliseconds of answers at a stretch when a manager leaves; others come between. */
const STRETCH_MS = 1
/** Characters of a manager's mistake that are logged. */
const LONGEST_REASON = 200

/** The pending requests of one host. */
export class Requests {
  private readonly metrics = new Map<string, NamespaceMetrics>()
  private readonly host: Host
  private readonly log: Logger
  private readonly warnings: RepeatedWarnings
  /** By the number in their ids. */
  private readonly pending = new Slots<PendingRequest>()
  /** Connections that have been asked something: of all who leave, only these are looked for. */
  private readonly asked = new Set<Peer>()
  private askedLast: Peer | undefined
  private readonly shortcut = new Shortcut()
  private readonly askers = new WeakMap<Origin, Asker>()
  private readonly prefix: string
  private sequence = 0
  private startFor = ''
  private start = ''
  private over = false

  constructor(host: Host, log: Logger) {
    this.host = host
    this.log = log
    this.warnings = new RepeatedWarnings(host, log)
    // Answers find their way to the process that has asked.
    this.prefix = `${host.server.cluster?.tag ?? ''}${randomBytes(6).toString('base64url')}.`
  }

  /** How many wait. */
  get size(): number {
    return this.pending.size
  }

  /** How requests have ended, by namespace. */
  get counts(): ReadonlyMap<string, DelegationCounts> {
    return new Map([...this.metrics].map(([namespace, { counts }]) => [namespace, counts]))
  }

  /**
   * Sends a request to its manager (F2).
   *
   * @param done - called when the asker has an answer, whichever it is
   */
  forward(
    request: Stanza,
    origin: Origin,
    delegation: Delegation,
    manager: ManagerConnection,
    done?: () => void,
  ): void {
    if (this.over) {
      this.refuse(request, origin, delegation)
      done?.()
      return
    }
    const { from, to } = request.attrs
    const asker = this.askerOf(origin, from!, delegation.xmlns)
    if (asker.waiting >= MOST_PENDING || this.pending.isFull) {
      origin.send(errorReply(request, 'resource-constraint', 'Too many requests wait for their answers'))
      done?.()
      return
    }
    asker.waiting++
    const metrics = this.metricsOf(delegation)
    const pending: PendingRequest = {
      place: 0,
      turn: 0,
      sequence: ++this.sequence,
      asked: { id: detached(request.attrs.id!), from: from!, to },
      origin,
      asker,
      delegation,
      manager,
      timeout: undefined,
      metrics,
      since: turnTime(),
      done,
    }
    this.pending.add(pending)
    pending.timeout = this.host.server.timers.after(delegation.timeout, this.timeOut, pending)
    if (manager.session !== this.askedLast) {
      this.askedLast = manager.session
      this.asked.add(manager.session)
    }
    metrics.counts.forwarded++
    metrics.pending++
    this.send(request, pending)
  }

  private send(request: Stanza, { place, turn, asker, delegation, manager }: PendingRequest): void {
    const { xmlns } = delegation
    const { session, jid, among } = manager
    const { name, server } = this.host
    if (among === undefined && session.host?.name === jid && this.shortcut.isOpen(session.host, xmlns)) {
      session.sendText(
        `${this.wrapperStart(jid)}${place}.${turn}'>${asker.start}${forwardedRest(request)}</iq>`,
      )
      return
    }
    const wrapper = wrap(request, `${this.prefix}${place}.${turn}`, name, jid, xmlns)
    among?.direct(wrapper, session)
    server.router.route(wrapper, this.host)
  }

  /** A wrapper for a manager, up to what is its own in its id. */
  private wrapperStart(jid: string): string {
    if (this.startFor !== jid) {
      this.startFor = jid
      const from = escapeAttribute(this.host.name)
      this.start = `<iq type='set' from='${from}' to='${escapeAttribute(jid)}' id='${this.prefix}`
    }
    return this.start
  }

  /** Answers a request that has no manager now (F7). */
  refuse(request: Stanza, origin: Origin, delegation: Delegation): void {
    this.metricsOf(delegation).counts.unavailable++
    this.log.debug('no manager is connected', { namespace: delegation.namespace, manager: delegation.jid })
    origin.send(errorReply(request, 'service-unavailable'))
  }

  /**
   * An IQ result or error for the host.
   *
   * @returns true if it was meant as an answer of a manager; undefined if nobody here waits for it
   */
  answer(reply: Stanza, origin: Origin): true | undefined {
    const request = this.withId(reply.attrs.id ?? '')
    if (request === undefined) return undefined
    if (!isAsked(request, reply, origin)) {
      // F8: whoever it was, the request goes on waiting.
      request.metrics.refused('F8-sender')
      this.log.warn('ignored an answer from somebody who was not asked', {
        from: reply.attrs.from,
        namespace: request.delegation.namespace,
        manager: request.delegation.jid,
      })
      return true
    }
    this.remove(request)
    const { metrics } = request
    const { counts } = metrics
    metrics.replyTimes.add(turnTime() - request.since)
    if (reply.attrs.type === 'error') {
      counts.failed++
      this.log.info('the manager answered with an error of the wrapper', { ...this.about(request) })
      this.fail(request)
      return true
    }
    const answer = checkedAnswer(request, reply)
    if ('rule' in answer) {
      counts.refused++
      metrics.refused(answer.rule)
      this.log.warn('refused the answer of a manager', {
        ...this.about(request),
        reason: answer.reason.slice(0, LONGEST_REASON),
      })
      this.fail(request)
      return true
    }
    counts.answered++
    sendAnswer(request, answer)
    request.done?.()
    return true
  }

  /** A manager's connection is gone: whatever waits for it is answered at once (F7). */
  managerGone(session: Peer): void {
    if (!this.asked.delete(session)) return
    if (this.askedLast === session) this.askedLast = undefined
    this.abandonEach(
      this.waiting().filter((request) => request.manager.session === session),
      0,
    )
  }

  /** The host stops delegating: nothing is left waiting. */
  abandonAll(): void {
    this.over = true
    for (const request of this.waiting()) this.abandon(request)
  }

  private abandonEach(lost: readonly PendingRequest[], first: number): void {
    const end = performance.now() + STRETCH_MS
    for (let index = first; index < lost.length; index++) {
      const request = lost[index]!
      if (this.pending.has(request)) this.abandon(request)
      if (performance.now() >= end) {
        setImmediate(() => this.abandonEach(lost, index + 1))
        return
      }
    }
  }

  /** All that wait, who has waited longest first. */
  private waiting(): PendingRequest[] {
    return this.pending.all().sort((one, other) => one.sequence - other.sequence)
  }

  private abandon(request: PendingRequest): void {
    this.remove(request)
    request.metrics.counts.unavailable++
    this.fail(request)
  }

  // Bound once, so that no request needs a function of its own.
  private readonly timeOut = (request: PendingRequest): void => {
    if (!this.pending.has(request)) return
    this.remove(request)
    request.metrics.counts.timedOut++
    const { namespace, jid: manager, timeout: seconds } = request.delegation
    const common = { manager, namespace, seconds }
    const kind = `${manager} ${namespace}`
    this.warnings.warn(kind, 'a manager did not answer in time', { asker: request.asked.from }, common)
    this.fail(request)
  }

  private remove(request: PendingRequest): void {
    request.timeout?.cancel()
    request.metrics.pending--
    this.pending.delete(request)
    request.asker.waiting--
  }

  /** The request with an id of ours. */
  private withId(id: string): PendingRequest | undefined {
    return id.startsWith(this.prefix) ? this.pending.find(id, this.prefix.length) : undefined
  }

  private askerOf(origin: Origin, from: string, xmlns: string): Asker {
    let asker = this.askers.get(origin)
    if (asker === undefined) {
      asker = { waiting: 0, from: '', xmlns: '', start: '', to: '' }
      this.askers.set(origin, asker)
    }
    if (asker.from !== from || asker.xmlns !== xmlns) {
      asker.from = from
      asker.xmlns = xmlns
      asker.start = forwardedStart(from, xmlns)
      asker.to = `' to='${escapeAttribute(from)}'>`
    }
    return asker
  }

  private fail({ origin, asked, done }: PendingRequest): void {
    origin.send(errorReply(new Stanza('iq', { ...asked }), 'service-unavailable'))
    done?.()
  }

  private about({ delegation, asked }: PendingRequest): Record<string, unknown> {
    return { manager: delegation.jid, namespace: delegation.namespace, asker: asked.from }
  }

  /** What is counted of a delegation's namespace. */
  metricsOf({ namespace }: Delegation): NamespaceMetrics {
    let metrics = this.metrics.get(namespace)
    if (metrics === undefined) {
      const key = this.metrics.size < MOST_COUNTED ? namespace : ''
      metrics = this.metrics.get(key) ?? new NamespaceMetrics()
      this.metrics.set(key, metrics)
    }
    return metrics
  }
}

/** What is wrong with a reply, and the rule that says so. */
interface Refusal {
  readonly rule: string
  readonly reason: string
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

/** The IQ that the asker is to get, as it was in its wrapper, or what is wrong with the reply (F4). */
function checkedAnswer({ asked, delegation }: PendingRequest, reply: Stanza): Unwrapped | Refusal {
  const unwrapped = unwrap(reply, delegation.xmlns)
  if (typeof unwrapped === 'string') return { rule: 'F4-wrapper', reason: unwrapped }
  const { attrs, childCount } = unwrapped
  const asker = asked.from
  if (attrs.type !== 'result' && attrs.type !== 'error')
    return { rule: 'F4-type', reason: `the type of the inner IQ is "${attrs.type ?? ''}"` }
  // RFC 6120 §8.2.3. The router leaves it to whoever waits for a result.
  if (attrs.type === 'result' && childCount > 1)
    return { rule: 'F4-children', reason: `the inner result has ${childCount} children` }
  if (attrs.id !== asked.id)
    return { rule: 'F4-id', reason: 'the id of the inner IQ is not that of the request' }
  if (!isAddress(attrs.to, asker))
    return { rule: 'F4-to', reason: `the inner IQ is addressed to "${attrs.to ?? ''}"` }
  if (attrs.from !== undefined && !isAddress(attrs.from, asked.to ?? bareOf(asker))) {
    return { rule: 'F4-from', reason: `the inner IQ claims to be from "${attrs.from}"` }
  }
  return unwrapped
}

/** Gives the asker its answer, from and to whom the request was. */
function sendAnswer({ origin, asker, asked }: PendingRequest, { attrs, inner }: Unwrapped): void {
  if (origin.sendText === undefined) {
    const given: Record<string, string | undefined> = { ...attrs, to: asked.from, from: asked.to }
    if (asked.to === undefined) delete given.from
    origin.send(Stanza.fromInner('iq', given as Record<string, string>, inner))
    return
  }
  const isCommon = asked.to === undefined && asker.from === asked.from && inner !== ''
  const text = isCommon ? commonAnswer(attrs, asked.id, asker.to, inner) : undefined
  origin.sendText(text ?? anyAnswer(attrs, asked, inner))
}

/** An answer that has type, id and addresses, and nothing else; undefined for another. */
function commonAnswer(
  attrs: Record<string, string>,
  id: string,
  to: string,
  inner: string,
): string | undefined {
  for (const name in attrs) {
    if (name !== 'type' && name !== 'id' && name !== 'to' && name !== 'from') return undefined
  }
  const start = attrs.type === 'result' ? "<iq type='result' id='" : "<iq type='error' id='"
  return `${start}${escapeAttribute(id)}${to}${inner}</iq>`
}

function anyAnswer(attrs: Record<string, string>, asked: AskedAttributes, inner: string): string {
  let text = '<iq'
  for (const name in attrs) {
    if (name !== 'from' && name !== 'to') text += ` ${name}='${escapeAttribute(attrs[name]!)}'`
  }
  text += ` to='${escapeAttribute(asked.from)}'`
  if (asked.to !== undefined) text += ` from='${escapeAttribute(asked.to)}'`
  return inner === '' ? `${text}/>` : `${text}>${inner}</iq>`
}

function isAddress(given: string | undefined, expected: string): boolean {
  return given === expected || (given !== undefined && prepareJid(given)?.full === expected)
}
