/**
 * Asking accounts whether they delegate, until each question has been answered once (U1, U2, U4).
 *
 * Where several processes are one server, the one that has asked decides: answers that come to others are taken to it,
 * and the question ends with it. The others know of it, so that they can tell what is a question, and count.
 */

import { type Host, StanzaError } from '../../server/index.ts'
import {
  askable,
  type Consent,
  type ConsentAnswer,
  Consents,
  consentMessage,
  isOwn,
  newChallenge,
  type SharedConsent,
  shared,
} from './client-consent.ts'
import type { ClientDelegations, ClientModule } from './client-delegations.ts'
import { askKeeper } from './client-keeper.ts'
import { RateLimit } from './client-limits.ts'
import { askingOf, unavailable } from './client-request.ts'
import { whenBack } from './client-shared.ts'

/** U4: questions that one account may have before it at a time. */
const MOST_OPEN = 5
/** U4: questions to one account in ten minutes. */
const MOST_TO_ACCOUNT = 30
/** Milliseconds that another process has to answer. */
const ASK_MS = 5000

/** Whether one more question may be put to an account: `asked` already by this entity, or its hands are `full`. */
type Admission = 'open' | 'asked' | 'full'
/** An answer that was given to another process. */
interface ForwardedAnswer {
  readonly challenge: string
  readonly username: string
  readonly agreed: readonly string[]
}

export class Questions {
  private readonly module: ClientModule
  private readonly delegations: ClientDelegations
  private readonly host: Host
  private readonly consents = new Consents()
  private readonly toAccount = new RateLimit(MOST_TO_ACCOUNT, 600)
  private readonly calls: Readonly<Record<'news' | 'all' | 'admit' | 'answer', string>>
  private readonly undo: (() => void)[] = []
  /** How often others are being asked, and what they have told to be over before all have answered. */
  private learning = 0
  private readonly closedMeanwhile = new Set<string>()

  constructor(module: ClientModule, delegations: ClientDelegations) {
    this.module = module
    this.delegations = delegations
    this.host = module.host
    const { name } = module.host
    this.calls = {
      news: `delegation/consents ${name}`,
      all: `delegation/all-consents ${name}`,
      admit: `delegation/admit ${name}`,
      answer: `delegation/answer ${name}`,
    }
  }

  /** Hears what other processes ask. */
  start(): void {
    const { cluster, events } = this.host.server
    if (cluster === undefined) return
    const { calls } = cluster
    this.undo.push(
      calls.on(this.calls.news, (data, { id }) => {
        const { open, closed } = data as { open?: SharedConsent; closed?: string }
        if (open !== undefined) this.consents.add({ ...open, member: id, timeout: undefined })
        if (closed === undefined) return
        if (this.learning > 0) this.closedMeanwhile.add(closed)
        const consent = this.consents.get(closed)
        if (consent?.member === id) this.consents.close(consent)
      }),
      calls.on(this.calls.all, () =>
        this.consents
          .all()
          .filter((consent) => isOwn(consent) && this.isAlive(consent))
          .map(shared),
      ),
      calls.on(this.calls.admit, (question, { id }) => this.admit(question as SharedConsent, id)),
      calls.on(this.calls.answer, (data) => {
        const { challenge, username, agreed } = data as ForwardedAnswer
        const consent = this.find(username, challenge)
        return consent !== undefined && isOwn(consent) && this.settle(consent, agreed)
      }),
      calls.onLeft(() => this.dropOrphans(cluster.leads)),
      events.add('server-started', () => this.learn(), 0, this.module.name),
      whenBack(this.host, () => {
        this.dropOrphans(false)
        this.learn()
      }),
    )
    if (cluster.members.size > 1) this.learn()
  }

  /** Nothing is asked any more: who waits is refused. */
  stop(): void {
    for (const consent of this.consents.all()) {
      if (isOwn(consent)) this.refuse(consent)
      else this.consents.close(consent)
    }
    for (const undo of this.undo.splice(0)) undo()
  }

  /**
   * Asks an account, at all of its resources, or tells the entity what it manages already if there is nothing to ask.
   *
   * @returns a promise where other processes have to be asked whether it may be
   * @throws StanzaError if it can not be asked now; with a promise as a rejection
   */
  ask(entity: string, username: string, namespaces: readonly string[]): void | Promise<void> {
    if (this.recipients(username).length === 0) throw unavailable()
    const grantable = this.grantable(entity, username, namespaces)
    if (grantable.length === 0) {
      // There is nothing that the account could decide: it is not disturbed.
      this.delegations.tell(username, entity)
      return undefined
    }
    const asked = Math.floor(Date.now() / 1000)
    const question = { challenge: newChallenge(), username, entity, namespaces: grantable, asked }
    if (this.host.server.cluster !== undefined) return this.askShared(question, namespaces)
    allow(this.admission(question))
    this.put(question, namespaces)
    return undefined
  }

  /** What an account was asked with a challenge, by whichever process; undefined if nothing that still counts. */
  find(username: string, challenge: string): Consent | undefined {
    const consent = this.consents.find(username, challenge)
    return consent !== undefined && this.isAlive(consent) ? consent : undefined
  }

  /**
   * An account has answered.
   *
   * @returns whether it counts: one answer does
   * @throws StanzaError (as a rejection) if the process that has asked can not be reached
   */
  answered(consent: Consent, answer: ConsentAnswer): boolean | Promise<boolean> {
    const agreed = consent.namespaces.filter((namespace) => answer.agrees(namespace))
    return isOwn(consent) ? this.settle(consent, agreed) : this.forward(consent, agreed)
  }

  /** An account has no session any more, at no process. */
  accountGone(username: string): void {
    for (const consent of this.consents.of(username)) if (isOwn(consent)) this.refuse(consent)
  }

  private async askShared(question: SharedConsent, namespaces: readonly string[]): Promise<void> {
    const { id } = this.host.server.cluster!.self
    const { username, entity } = question
    try {
      allow(await askKeeper(this.host, username, this.calls.admit, question, (own) => this.admit(own, id)))
      // Who was there may have gone meanwhile.
      if (this.recipients(username).length === 0) throw unavailable()
      const grantable = this.grantable(entity, username, namespaces)
      if (grantable.length === 0) throw unavailable()
      this.put({ ...question, namespaces: grantable }, namespaces)
    } catch (error) {
      this.withdraw(question.challenge)
      throw error
    }
  }

  /** Puts a question that may be put. */
  private put(question: SharedConsent, namespaces: readonly string[]): void {
    const { module, delegations, host } = this
    const { username, entity, challenge, namespaces: grantable } = question
    const timeout = module.after(module.options.delegation_consent_timeout, () => this.refuse(consent))
    const { cluster } = host.server
    const consent: Consent = { ...question, member: cluster?.self.id ?? '', timeout }
    this.consents.add(consent)
    // Ahead of the question, also for those that hold resources of the account.
    cluster?.calls.tellAll(this.calls.news, { open: question })
    const shown = {
      host: host.name,
      entity,
      challenge,
      grantable: new Map(grantable.map((name) => [name, delegations.managerOf(username, name)])),
      refused: this.wanted(entity, username, namespaces).filter((name) => !grantable.includes(name)),
    }
    for (const resource of this.recipients(username)) {
      resource.send(consentMessage(shown, resource.fullJid!))
    }
    module.log.info('asked an account for delegations', {
      account: username,
      entity,
      namespaces: grantable.length,
    })
  }

  /** Decides for all processes whether a question may be put (U4), and counts it as put. @param member - that asks */
  private admit(question: SharedConsent, member: string): Admission {
    const admission = this.admission(question)
    if (admission === 'open') this.consents.add({ ...question, member, timeout: undefined })
    return admission
  }

  private admission({ username, entity }: SharedConsent): Admission {
    const { server } = this.host
    const open = this.consents.of(username).filter((consent) => this.isAlive(consent))
    const asking = askingOf(entity, server)
    if (open.some((consent) => askingOf(consent.entity, server) === asking)) return 'asked'
    return open.length < MOST_OPEN && this.toAccount.take(username) ? 'open' : 'full'
  }

  /** Takes an answer, at the process that has asked. @returns whether it is the first */
  private settle(consent: Consent, agreed: readonly string[]): boolean {
    if (!this.close(consent)) return false
    const { username, entity, namespaces } = consent
    const granted = namespaces.filter((namespace) => agreed.includes(namespace))
    this.module.log.info('an account has answered a request for delegations', {
      account: username,
      entity,
      granted: granted.length,
    })
    this.delegations.grant(username, granted, entity, consent.asked)
    return true
  }

  private async forward({ challenge, username, member }: Consent, agreed: string[]): Promise<boolean> {
    const { calls, members } = this.host.server.cluster!
    const forwarded: ForwardedAnswer = { challenge, username, agreed }
    const answers = await calls.ask([member], this.calls.answer, forwarded, ASK_MS)
    const answer = answers.get(member)
    if (answer === undefined && members.has(member)) {
      throw new StanzaError(
        'remote-server-timeout',
        'The process that has asked does not answer; whether your answer has come there is not known. Try again later',
      )
    }
    return answer === true
  }

  /** Nobody has consented. */
  private refuse(consent: Consent): void {
    if (this.close(consent)) this.delegations.tell(consent.username, consent.entity)
  }

  private close(consent: Consent): boolean {
    if (!this.consents.close(consent)) return false
    this.tellClosed(consent.challenge)
    return true
  }

  /** A question that is not put after all, or of which that is not known. */
  private withdraw(challenge: string): void {
    const consent = this.consents.get(challenge)
    if (consent !== undefined) this.consents.close(consent)
    this.tellClosed(challenge)
  }

  private tellClosed(challenge: string): void {
    this.host.server.cluster?.calls.tellAll(this.calls.news, { closed: challenge })
  }

  /** Questions whose process is gone, or was taken for dead, have ended with it. @param tell - whoever waits */
  private dropOrphans(tell: boolean): void {
    for (const consent of this.consents.all()) {
      if (this.isAlive(consent) || !this.consents.close(consent)) continue
      if (tell) this.delegations.tell(consent.username, consent.entity)
      else if (isOwn(consent)) this.delegations.tellHere(consent.username, consent.entity)
    }
  }

  private isAlive({ member }: Consent): boolean {
    const { cluster } = this.host.server
    return cluster === undefined || cluster.members.has(member)
  }

  /** Asks the others what they have asked before this process could hear of it. */
  private learn(): void {
    this.learnAll().catch((error: unknown) => this.module.log.error('client mode failed', { error }))
  }

  private async learnAll(): Promise<void> {
    const { calls, members } = this.host.server.cluster!
    this.learning++
    const answers = await calls.ask(members.keys(), this.calls.all, null, ASK_MS)
    for (const [member, answer] of answers) {
      for (const consent of (answer ?? []) as SharedConsent[]) {
        if (!members.has(member) || this.closedMeanwhile.has(consent.challenge)) continue
        this.consents.add({ ...consent, member, timeout: undefined })
      }
    }
    if (--this.learning === 0) this.closedMeanwhile.clear()
  }

  private recipients(username: string): ReturnType<typeof askable> {
    return askable(this.host.resourcesOf(username))
  }

  /** What of it the entity does not manage already. */
  private wanted(entity: string, username: string, namespaces: readonly string[]): string[] {
    return namespaces.filter((namespace) => this.delegations.managerOf(username, namespace) !== entity)
  }

  private grantable(entity: string, username: string, namespaces: readonly string[]): string[] {
    return this.wanted(entity, username, namespaces)
      .filter((namespace) => this.delegations.mayGrant(namespace))
      .slice(0, Math.max(0, this.delegations.room(username)))
  }
}

/** @throws StanzaError if a question may not be put */
function allow(admission: Admission): void {
  if (admission === 'open') return
  if (admission === 'full') throw unavailable()
  throw new StanzaError('resource-constraint', 'The account has not answered the last request yet')
}
