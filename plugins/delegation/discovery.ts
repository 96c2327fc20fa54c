/** What managers want to have announced for their namespaces: asked for, kept, shown, and taken away again (D2, D3, D5). */

import { randomBytes } from 'node:crypto'
import {
  type Element,
  type Host,
  type Logger,
  NS_DISCO_INFO,
  type Origin,
  type Peer,
  Stanza,
  type Timeout,
  xml,
} from '../../server/index.ts'
import { type Announced, readAnswer } from './discovery-answer.ts'
import { isRemainingDisco } from './discovery-remaining.ts'
import type { Delegation } from './table.ts'

/** In the name of a node: between the namespace of XEP-0355 and the delegated one, by what it is about. */
const SEPARATORS = { host: '::', account: ':bare:' } as const
type Subject = keyof typeof SEPARATORS

interface Question {
  readonly id: string
  readonly session: Peer
  /** The manager's address on that session. */
  readonly to: string
  readonly delegation: Delegation
  readonly subject: Subject
  readonly node: string
  readonly timeout: Timeout
}

interface Answer {
  readonly delegation: Delegation
  readonly subject: Subject
  readonly announced: Announced
}

/** Characters of a manager's mistake that are logged. */
const LONGEST_REASON = 200

/** What the managers of one host have announced. */
export class Discovery {
  private readonly host: Host
  private readonly log: Logger
  private readonly owner: string
  private readonly pending = new Map<string, Question>()
  /** By connection, in the order in which they were first heard, and by what was asked. */
  private readonly answers = new Map<Peer, Map<string, Answer>>()
  /** What stands in the host's lists now, with what takes it out. */
  private readonly shown = new Map<Answer, (() => void)[]>()
  private readonly prefix: string
  private number = 0

  /** @param owner - the plugin's name, under which everything is announced */
  constructor(host: Host, log: Logger, owner: string) {
    this.host = host
    this.log = log
    this.owner = owner
    this.prefix = `${host.server.cluster?.tag ?? ''}${randomBytes(12).toString('base64url')}.`
  }

  /**
   * Asks a manager what it announces (D2). What it has said before on the same connection counts until it says
   * something else.
   *
   * @param to - its address
   * @param delegations - what it manages
   */
  ask(session: Peer, to: string, delegations: Iterable<Delegation>): void {
    for (const delegation of delegations) {
      if (isRemainingDisco(delegation.namespace)) continue
      this.askAbout('host', session, to, delegation)
      this.askAbout('account', session, to, delegation)
    }
  }

  /**
   * An IQ result or error for the host.
   *
   * @returns true if it was meant as an answer to a question of ours; undefined if nothing was asked
   */
  answer(reply: Stanza, origin: Origin): true | undefined {
    const question = this.pending.get(reply.attrs.id ?? '')
    if (question === undefined) return undefined
    const { session, to, delegation, subject, node } = question
    if (origin !== session || reply.attrs.from !== to || reply.attrs.to?.includes('/') === true) {
      this.log.warn('ignored service discovery from somebody who was not asked', {
        from: reply.attrs.from,
        manager: to,
        node,
      })
      return true
    }
    this.forget(question)
    if (reply.attrs.type === 'error') {
      this.log.info('the manager announces nothing for a node', { manager: to, node })
      return true
    }
    const announced = readAnswer(reply, node)
    if (typeof announced === 'string') {
      const reason = announced.slice(0, LONGEST_REASON)
      this.log.warn('refused what a manager announces', { manager: to, node, reason })
      return true
    }
    let ofSession = this.answers.get(session)
    if (ofSession === undefined) {
      ofSession = new Map()
      this.answers.set(session, ofSession)
    }
    ofSession.set(keyOf(subject, delegation), { delegation, subject, announced })
    this.show()
    return true
  }

  /** A connection is gone, and with it what it has announced (D5). */
  gone(session: Peer): void {
    for (const question of this.pending.values()) if (question.session === session) this.forget(question)
    if (this.answers.delete(session)) this.show()
  }

  /**
   * The host's delegations have changed: what is no longer delegated to whoever has announced it is taken away.
   *
   * @param delegations - as they are now, by namespace
   */
  changed(delegations: ReadonlyMap<string, Delegation>): void {
    const isSame = ({ namespace, jid }: Delegation) => delegations.get(namespace)?.jid === jid
    for (const question of this.pending.values()) if (!isSame(question.delegation)) this.forget(question)
    for (const ofSession of this.answers.values()) {
      for (const [key, { delegation }] of ofSession) if (!isSame(delegation)) ofSession.delete(key)
    }
    this.show()
  }

  /** The host stops delegating. */
  stop(): void {
    for (const question of this.pending.values()) this.forget(question)
    this.answers.clear()
    this.show()
  }

  /** Adds what is announced for accounts to an answer about one (D3). */
  addTo(query: Element): void {
    for (const { announced } of this.current('account')) {
      for (const { lang, ...identity } of announced.identities) {
        query.append(xml('identity', { ...identity, ...(lang !== undefined && { 'xml:lang': lang }) }))
      }
      for (const feature of announced.features) query.append(xml('feature', { var: feature }))
      // An element has one parent: the kept form stays its own.
      for (const form of announced.forms) query.append(xml('x', form.attrs, ...form.children))
    }
  }

  private askAbout(subject: Subject, session: Peer, to: string, delegation: Delegation): void {
    const key = keyOf(subject, delegation)
    const node = `${delegation.xmlns}${key}`
    for (const earlier of this.pending.values()) {
      if (earlier.session === session && keyOf(earlier.subject, earlier.delegation) === key)
        this.forget(earlier)
    }
    const id = this.prefix + (++this.number).toString(36)
    const timeout = this.host.server.timers.after(delegation.timeout, () => {
      this.pending.delete(id)
      this.log.warn('a manager does not say what it announces', { manager: to, node })
    })
    this.pending.set(id, { id, session, to, delegation, subject, node, timeout })
    const query = xml('query', { xmlns: NS_DISCO_INFO, node })
    // Not through the router: of several connections, this one is asked.
    session.send(new Stanza('iq', { type: 'get', id, from: this.host.name, to }, query))
  }

  private forget({ id, timeout }: Question): void {
    timeout.cancel()
    this.pending.delete(id)
  }

  /** What counts: for each namespace what the manager's oldest connection has said, since they are alike. */
  private *current(subject: Subject): Iterable<Answer> {
    const namespaces = new Set<string>()
    for (const ofSession of this.answers.values()) {
      for (const answer of ofSession.values()) {
        if (answer.subject !== subject || namespaces.has(answer.delegation.namespace)) continue
        namespaces.add(answer.delegation.namespace)
        yield answer
      }
    }
  }

  /** Brings the host's lists, from which its disco#info is made, up to date. */
  private show(): void {
    const current = new Set(this.current('host'))
    for (const [answer, parts] of this.shown) {
      if (current.has(answer)) continue
      this.shown.delete(answer)
      for (const undo of parts) undo()
    }
    const { items } = this.host
    for (const answer of current) {
      if (this.shown.has(answer)) continue
      const { identities, features, forms } = answer.announced
      this.shown.set(answer, [
        ...identities.map((identity) => items.add('identity', identity, this.owner)),
        ...features.map((feature) => items.add('feature', feature, this.owner)),
        ...forms.map((form) => items.add('extension', form, this.owner)),
      ])
    }
  }
}

/** The end of a node's name: one for each namespace and subject. */
function keyOf(subject: Subject, { namespace }: Delegation): string {
  return SEPARATORS[subject] + namespace
}
