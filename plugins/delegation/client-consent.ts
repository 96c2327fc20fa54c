/** Asking an account whether it delegates, and reading what it says (U1, U2, U4). */

import { randomBytes } from 'node:crypto'
import {
  bareOf,
  type FormLayout,
  formElement,
  NS_DATA,
  NS_DELEGATION,
  type Resource,
  rawFormValues,
  Stanza,
  type Timeout,
  xml,
} from '../../server/index.ts'
import { namespaceLabel } from './client-namespaces.ts'

/** A request that an account has not answered yet. */
export interface Consent {
  readonly challenge: string
  readonly username: string
  /** Who asks: a component, or the full JID of a local client. */
  readonly entity: string
  /** What may be granted. */
  readonly namespaces: readonly string[]
  /** Unix time in seconds: who has the entity's name only since then was not meant. */
  readonly asked: number
  /** The process that has asked, and takes the answer; empty where there is only one. */
  readonly member: string
  /** When the time to answer is over; undefined where another process has asked. */
  readonly timeout: Timeout | undefined
}

/** The same, as processes tell each other. */
export type SharedConsent = Omit<Consent, 'member' | 'timeout'>

/** Whether this process has asked. */
export function isOwn({ timeout }: Consent): boolean {
  return timeout !== undefined
}

export function shared({ challenge, username, entity, namespaces, asked }: Consent): SharedConsent {
  return { challenge, username, entity, namespaces, asked }
}

/** Characters of an address that are shown: its end, since the domain tells whose it is. */
const LONGEST_SHOWN = 200

export function newChallenge(): string {
  return randomBytes(16).toString('base64url')
}

/** Requests that wait for accounts, by their challenges. */
export class Consents {
  private readonly open = new Map<string, Consent>()
  private readonly byAccount = new Map<string, Set<Consent>>()

  /** In place of one with the same challenge. */
  add(consent: Consent): void {
    const former = this.open.get(consent.challenge)
    if (former !== undefined) this.close(former)
    this.open.set(consent.challenge, consent)
    const own = this.byAccount.get(consent.username) ?? new Set()
    this.byAccount.set(consent.username, own.add(consent))
  }

  get(challenge: string): Consent | undefined {
    return this.open.get(challenge)
  }

  /** What an account was asked with a challenge. Of another account's the answer is as of none. */
  find(username: string, challenge: string): Consent | undefined {
    const consent = this.open.get(challenge)
    return consent?.username === username ? consent : undefined
  }

  /** What waits for an account. */
  of(username: string): Consent[] {
    return [...(this.byAccount.get(username) ?? [])]
  }

  all(): Consent[] {
    return [...this.open.values()]
  }

  /** Takes one out. @returns whether it was open: nothing is decided twice */
  close(consent: Consent): boolean {
    if (this.open.get(consent.challenge) !== consent) return false
    consent.timeout?.cancel()
    const own = this.byAccount.get(consent.username)
    own?.delete(consent)
    if (own?.size === 0) this.byAccount.delete(consent.username)
    return this.open.delete(consent.challenge)
  }
}

/** What is asked for, as the account is shown it. */
export interface Question {
  readonly host: string
  readonly entity: string
  readonly challenge: string
  /** What may be granted, and who manages it by an earlier grant. */
  readonly grantable: ReadonlyMap<string, string | undefined>
  /** What is shown as refused (U4). */
  readonly refused: readonly string[]
}

/** The message that asks an account (U1). @param to - one of its resources */
export function consentMessage(question: Question, to: string): Stanza {
  const { host, entity } = question
  const who = shownEntity(entity)
  const features = [...question.grantable.keys()].map(namespaceLabel)
  const body = [
    `${who} wants to manage features of your account that ${host} normally manages for you:`,
    ...features.map((feature) => `- ${feature}`),
    '',
    `Be careful! Whatever your clients, and others, ask of these features would go to ${who}, which could read, ` +
      'change and invent it. Agree only if you know this entity, expected its request, and trust it. ' +
      'If you do nothing, it is refused.',
  ].join('\n')
  return new Stanza(
    'message',
    { from: host, to, id: randomBytes(9).toString('base64url') },
    xml('body', {}, body),
    formElement(consentForm(question)),
  )
}

function consentForm({ entity, challenge, grantable, refused }: Question): FormLayout {
  const no = { value: '0', label: 'No' }
  const yes = { value: '1', label: 'Yes' }
  return {
    title: 'Delegation request',
    instructions: `${shownEntity(entity)} wants to manage the following features of your account. Do you allow it?`,
    formType: NS_DELEGATION,
    fields: [
      { var: 'challenge', type: 'hidden', value: challenge },
      ...[...grantable].map(([namespace, present]) => ({
        var: namespace,
        type: 'list-single' as const,
        label:
          `Manage ${namespaceLabel(namespace)}` +
          (present === undefined ? '' : ` instead of ${shownEntity(present)}`),
        value: '0',
        options: [no, yes],
      })),
      ...refused.map((namespace) => ({
        var: namespace,
        type: 'list-single' as const,
        label: `Manage ${namespaceLabel(namespace)} (this server does not allow it)`,
        value: '0',
        options: [no],
      })),
    ],
  }
}

/** An answer to a question: the challenge, and what was agreed to of what anybody could ask. */
export interface ConsentAnswer {
  readonly challenge: string
  /** Whether a namespace was granted. */
  agrees(namespace: string): boolean
}

/**
 * The answer in a message, if it is one to a question of this plugin.
 *
 * The form may be without FORM_TYPE, or with an empty one, as in the example of XEP-0355 §5.1.
 */
export function readConsent(message: Stanza): ConsentAnswer | undefined {
  if (!message.inner.includes(NS_DATA)) return undefined
  const form = message.getChild('x', NS_DATA)
  const type = form?.attrs['type'] as string | undefined
  if (form === undefined || (type !== 'submit' && type !== 'cancel')) return undefined
  const values = rawFormValues(form)
  const challenge = values?.text('challenge')
  if (values === undefined || challenge === undefined) return undefined
  const formType = values.text('FORM_TYPE') ?? ''
  if (formType !== '' && formType !== NS_DELEGATION) return undefined
  return {
    challenge,
    agrees: (namespace) => {
      const given = values.list(namespace)
      return type === 'submit' && given.length === 1 && given[0] === '1'
    },
  }
}

/**
 * An entity in a sentence. An account's resource is not shown: its text is anything that the account likes. What
 * is left of an address has neither spaces nor quotes, so the quotes say where it ends.
 */
export function shownEntity(entity: string): string {
  const bare = bareOf(entity)
  return bare.length > LONGEST_SHOWN ? `"…${bare.slice(-LONGEST_SHOWN)}"` : `"${bare}"`
}

/** The resources of an account that can be asked: those that take messages (RFC 6121 §8.5.2). */
export function askable(resources: Iterable<Resource>): Resource[] {
  return [...resources].filter(
    ({ available, priority, destroyed }) => available && priority >= 0 && !destroyed,
  )
}
