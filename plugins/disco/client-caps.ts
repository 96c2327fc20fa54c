/**
 * What the host's clients are and can do (XEP-0115): asked of one client for each verification string, and remembered
 * for all that announce the same. Nobody is asked before a plugin wants to know.
 */

import {
  detached,
  type Element,
  type Module,
  NS_CAPS,
  NS_DISCO_INFO,
  Stanza,
  type StanzaEvent,
  type StreamSession,
  type Timeout,
  writeElement,
} from '../../server/index.ts'
import { type AnnouncedIdentity, accountParts, type Part } from './info.ts'
import { isKnownHash, verificationString } from './verification.ts'
import { isUnambiguous, isWellFormed } from './well-formed.ts'

/** What a client is and can do. */
export interface Capabilities {
  readonly identities: readonly AnnouncedIdentity[]
  readonly features: ReadonlySet<string>
}

/** The capabilities of every host's clients: `module.shared('disco/client-caps', …)`. */
export type ClientCapsByHost = Map<string, ClientCaps>

/** Seconds that a client has to answer. */
const PATIENCE = 30
/** Characters that an answer may have. */
const LONGEST_ANSWER = 32_768
/** Characters of the attributes of `<c/>`. */
const LONGEST_NAME = 512
/** Characters of all answers that are remembered. */
const MOST_REMEMBERED = 4_194_304
const NOT_SOUND = null

/** The `<c/>` of a presence. */
interface Announced {
  /** Hash function and verification string. */
  readonly key: string
  readonly hash: string
  readonly ver: string
  readonly node: string
}

interface Remembered {
  readonly caps: Capabilities
  readonly length: number
}

/** What a session has answered: for itself alone. */
interface Answered {
  readonly key: string
  readonly caps: Capabilities | typeof NOT_SOUND
}

interface Question {
  readonly session: StreamSession
  readonly timeout: Timeout
  answered(query: Element | undefined): void
}

/** The clients of one host, as far as they are connected to this process. */
export class ClientCaps {
  private readonly module: Module
  /** By hash function and verification string; what was used last comes last. */
  private readonly verified = new Map<string, Remembered>()
  private rememberedLength = 0
  /** Who is being asked for a verification string. */
  private readonly asking = new Map<string, Promise<unknown>>()
  private readonly ownAnswers = new WeakMap<StreamSession, Answered>()
  private readonly announced = new WeakMap<Stanza, Announced | typeof NOT_SOUND>()
  private readonly questions = new Map<string, Question>()
  private count = 0

  constructor(module: Module) {
    this.module = module
    // Only what answers one of the questions is looked at.
    module.hook('iq/host', (event) => (this.questions.size === 0 ? undefined : this.hear(event)), 10)
    module.hook('resource-unbind', ({ session }) => this.ended(session))
    module.onUnload(() => {
      for (const id of [...this.questions.keys()]) this.settle(id, undefined)
    })
  }

  /**
   * What a session's last presence announces, if that is known.
   *
   * @returns undefined if it is not known (`read` finds out), or nothing can be
   */
  get(session: StreamSession): Capabilities | undefined {
    const announced = this.announcedBy(session)
    return announced === undefined ? undefined : (this.known(session, announced) ?? undefined)
  }

  /**
   * The same; who announces what is not known yet is asked. If the session sends another presence meanwhile, it is
   * that which counts.
   *
   * @returns undefined if it is unavailable, announces nothing, does not answer, or answers what is not sound
   */
  async read(session: StreamSession): Promise<Capabilities | undefined> {
    let hasWaited = false
    for (;;) {
      const announced = this.announcedBy(session)
      if (announced === undefined || session.destroyed) return undefined
      const known = this.known(session, announced)
      if (known !== undefined) return known ?? undefined
      const { key } = announced
      // Another one that is the same may be asked already. If it is not what it says, this one is asked, whoever
      // else there is: nobody can keep it waiting with one session after the other.
      const under = this.asking.get(key)
      if (under !== undefined && !hasWaited) {
        hasWaited = true
        await under
        continue
      }
      const work = this.find(session, announced)
      if (under === undefined) this.asking.set(key, work)
      await work
      if (this.asking.get(key) === work) this.asking.delete(key)
    }
  }

  private known(session: StreamSession, { key }: Announced): Capabilities | typeof NOT_SOUND | undefined {
    const own = this.ownAnswers.get(session)
    if (own?.key === key) return own.caps
    const remembered = this.verified.get(key)
    if (remembered === undefined) return undefined
    this.verified.delete(key)
    this.verified.set(key, remembered)
    return remembered.caps
  }

  /** Asks one session; afterwards it is known what it is, or that it is not to be known. */
  private async find(session: StreamSession, announced: Announced): Promise<void> {
    const { key, hash, ver, node } = announced
    const query = await this.ask(session, `${node}#${ver}`)
    const length = query?.toString().length ?? 0
    if (query === undefined || length > LONGEST_ANSWER || !isWellFormed(query)) {
      this.ownAnswers.set(session, { key, caps: NOT_SOUND })
      return
    }
    const parts = accountParts(query, new Map())
    const caps = capabilitiesOf(parts)
    // §5.4 rules 2.3, 3.9: what can not be checked, or is wrong, is only taken for the one that says so.
    const isChecked = isKnownHash(hash) && verificationString(parts, hash) === ver
    if (isChecked && isUnambiguous(parts)) this.remember(key, { caps, length })
    else this.ownAnswers.set(session, { key, caps })
  }

  private remember(key: string, remembered: Remembered): void {
    this.verified.set(key, remembered)
    this.rememberedLength += remembered.length
    for (const [oldest, { length }] of this.verified) {
      if (this.rememberedLength <= MOST_REMEMBERED) return
      this.verified.delete(oldest)
      this.rememberedLength -= length
    }
  }

  private ask(session: StreamSession, node: string): Promise<Element | undefined> {
    const { host } = this.module
    const id = `caps-${(++this.count).toString(36)}-${session.id}`
    return new Promise((resolve) => {
      const timeout = this.module.after(PATIENCE, () => this.settle(id, undefined))
      this.questions.set(id, { session, timeout, answered: resolve })
      const query = writeElement('query', { xmlns: NS_DISCO_INFO, node }, '')
      const attrs = { type: 'get', id, from: host.name, to: session.fullJid! }
      session.send(Stanza.fromText('iq', attrs, query, 1, 'query', NS_DISCO_INFO))
    })
  }

  private hear({ origin, stanza }: StanzaEvent): true | undefined {
    const { type, id = '' } = stanza.attrs
    if (type !== 'result' && type !== 'error') return undefined
    // Only the one that was asked can answer.
    if (this.questions.get(id)?.session !== origin) return undefined
    const query = type === 'result' ? stanza.payload : undefined
    this.settle(id, query?.is('query', NS_DISCO_INFO) === true ? query : undefined)
    return true
  }

  private settle(id: string, query: Element | undefined): void {
    const question = this.questions.get(id)
    if (question === undefined) return
    this.questions.delete(id)
    question.timeout.cancel()
    question.answered(query)
  }

  private ended(session: StreamSession): void {
    if (this.questions.size === 0) return
    for (const [id, question] of this.questions) if (question.session === session) this.settle(id, undefined)
  }

  private announcedBy({ presence }: StreamSession): Announced | undefined {
    if (presence === undefined) return undefined
    let announced = this.announced.get(presence)
    if (announced === undefined) {
      announced = readAnnounced(presence) ?? NOT_SOUND
      this.announced.set(presence, announced)
    }
    return announced ?? undefined
  }
}

/** §5.4 rule 1: without `hash` it is what was usual before version 1.4, and says nothing. */
function readAnnounced(presence: Stanza): Announced | undefined {
  if (!presence.inner.includes(NS_CAPS)) return undefined
  const { hash, ver, node } = presence.clone().getChild('c', NS_CAPS)?.attrs ?? {}
  for (const text of [hash, ver, node]) {
    if (typeof text !== 'string' || text === '' || text.length > LONGEST_NAME) return undefined
  }
  return { key: detached(`${hash} ${ver}`), hash, ver, node }
}

function capabilitiesOf(parts: readonly Part[]): Capabilities {
  const identities: AnnouncedIdentity[] = []
  const features = new Set<string>()
  for (const { kind, item } of parts) {
    // What is kept does not hold on to what it was received with.
    if (kind === 'feature') features.add(detached(item))
    if (kind !== 'identity') continue
    const { category, type, name, lang } = item
    identities.push({
      category: detached(category),
      type: detached(type),
      ...(name !== undefined && { name: detached(name) }),
      ...(lang !== undefined && { lang: detached(lang) }),
    })
  }
  return { identities, features }
}
