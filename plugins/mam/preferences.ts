/** With whom an account wants its messages archived (XEP-0441; XEP-0313 before 0.7 had it). */

import {
  bareOf,
  type Element,
  type KeyvalStore,
  NS_MAM,
  prepareJid,
  StanzaError,
  xml,
} from '../../server/index.ts'

export type Policy = 'always' | 'never' | 'roster'

/** As it is stored. */
export interface Preferences {
  readonly default: Policy
  readonly always: readonly string[]
  readonly never: readonly string[]
}

/** Accounts whose preferences are kept in memory. */
const MOST_KEPT = 10_000
/** Addresses that may be named. */
const MOST_NAMED = 1000

/** The preferences of one host's accounts. */
export class AllPreferences {
  private readonly store: KeyvalStore<Preferences>
  private readonly fallback: () => Policy
  /** `null`: the account has none of its own. The one that was read first comes first. */
  private readonly kept = new Map<string, Preferences | null>()
  /** Grows with each change, here or elsewhere. */
  private changes = 0
  private readonly member: () => string | undefined
  /** What this process was in the cluster when it read what is in memory. */
  private readAs: string | undefined

  /**
   * @param fallback - what is done for accounts that have not said anything
   * @param member - what this process is in the cluster: another one after it was cut off and heard of no changes
   */
  constructor(
    store: KeyvalStore<Preferences>,
    fallback: () => Policy,
    member: () => string | undefined = () => undefined,
  ) {
    this.store = store
    this.fallback = fallback
    this.member = member
    this.readAs = member()
  }

  /** What an account wants, if that is in memory. */
  get(username: string): Preferences | undefined {
    if (this.readAs !== this.member()) this.forgetAll()
    const kept = this.kept.get(username)
    return kept === null ? { default: this.fallback(), always: [], never: [] } : kept
  }

  /** @throws StorageError (as a rejection) */
  async read(username: string): Promise<Preferences> {
    for (;;) {
      const known = this.get(username)
      if (known !== undefined) return known
      const { changes } = this
      const stored = (await this.store.get(username)) ?? null
      // If something was changed meanwhile, what was read may be from before.
      if (changes === this.changes) this.keep(username, stored)
    }
  }

  /** @throws StorageError (as a rejection) */
  async set(username: string, preferences: Preferences): Promise<void> {
    const changes = ++this.changes
    try {
      await this.store.set(username, preferences)
    } catch (error) {
      // It may have been made all the same.
      this.forget(username)
      throw error
    }
    const others = changes !== this.changes
    this.changes++
    // Of two that set them at a time, one is the last.
    if (others) this.kept.delete(username)
    else this.keep(username, preferences)
  }

  /** Another process has changed them. */
  forget(username: string): void {
    this.changes++
    this.kept.delete(username)
  }

  /** What other processes have changed may not have been heard. */
  forgetAll(): void {
    this.readAs = this.member()
    this.changes++
    this.kept.clear()
  }

  private keep(username: string, preferences: Preferences | null): void {
    this.kept.delete(username)
    this.kept.set(username, preferences)
    if (this.kept.size > MOST_KEPT) this.kept.delete(this.kept.keys().next().value!)
  }
}

/** What preferences say of somebody; `roster` leaves it to the roster. The more exact address counts. */
export function policyFor(preferences: Preferences, jid: string): Policy {
  for (const address of [jid, bareOf(jid)]) {
    if (preferences.always.includes(address)) return 'always'
    if (preferences.never.includes(address)) return 'never'
  }
  return preferences.default
}

export function preferencesElement({ default: policy, always, never }: Preferences): Element {
  const list = (name: string, jids: readonly string[]) =>
    xml(name, {}, ...jids.map((jid) => xml('jid', {}, jid)))
  return xml('prefs', { xmlns: NS_MAM, default: policy }, list('always', always), list('never', never))
}

/** @throws StanzaError */
export function readPreferences(element: Element): Preferences {
  const policy = element.attrs['default'] as string | undefined
  if (policy !== 'always' && policy !== 'never' && policy !== 'roster') {
    throw new StanzaError('bad-request', 'The default is always, never or roster')
  }
  const list = (name: string) =>
    (element.getChild(name)?.getChildren('jid') ?? []).map((jid) => {
      const prepared = prepareJid(jid.getText())
      if (prepared === undefined)
        throw new StanzaError('jid-malformed', `This is no address: ${jid.getText()}`)
      return prepared.full
    })
  const [always, never] = [list('always'), list('never')]
  if (always.length + never.length > MOST_NAMED) {
    throw new StanzaError('resource-constraint', `Not more than ${MOST_NAMED} addresses can be named`)
  }
  return { default: policy, always, never }
}
