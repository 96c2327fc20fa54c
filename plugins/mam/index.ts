/** Message archives of accounts (XEP-0313), and stable ids for what is in them (XEP-0359). */

import {
  bareOf,
  definePlugin,
  type EventPayload,
  formElement,
  type KeptStanza,
  keepStanza,
  kinds,
  localOf,
  type Module,
  NS_MAM,
  NS_STANZA_ID,
  newArchiveId,
  type Origin,
  option,
  prepareJid,
  reply,
  type Stanza,
  StanzaError,
  type StanzaEvent,
  StreamSession,
  writeElement,
  xml,
} from '../../server/index.ts'
import type { Rosters } from '../roster/index.ts'
import { answerQuery, type MessageArchive } from './answers.ts'
import { removeExpired } from './expiry.ts'
import {
  AllPreferences,
  type Policy,
  type Preferences,
  policyFor,
  preferencesElement,
  readPreferences,
} from './preferences.ts'
import { QUERY_FORM, readQuery } from './query.ts'
import { isArchived } from './rules.ts'

/** Before carbons and delivery, so that copies have the id. */
const BEFORE_DELIVERY = 10
/** After what keeps messages until somebody comes. */
const AFTER_OFFLINE = -2
/** Writes of one sender that are under way before it has to wait. */
const MOST_WRITING = 50
/** Characters of messages of all components that are being written, before those who send more have to wait, too. */
const MOST_CHARACTERS = 1 << 23
/** Characters that stand for what a message takes besides its content. */
const OVERHEAD = 1000
/** Milliseconds that other processes have to hear of new preferences. */
const OTHERS_MS = 2000

const options = {
  archive_expires_after: option({
    schema: kinds.period(0).default(7 * 86_400),
    description: 'How long messages stay in the archive.',
  }),
  archive_cleanup_interval: option({
    schema: kinds.period(1).default(86_400),
    description: 'How often messages that have expired are looked for, and first a minute after the start.',
  }),
  default_archive_policy: option({
    schema: kinds
      .text('true, false or "roster"')
      .or(kinds.flag())
      .transform((value, context): Policy => {
        if (value === true || value === 'true') return 'always'
        if (value === false || value === 'false') return 'never'
        if (value === 'roster') return value
        context.addIssue({ code: 'custom', message: 'must be true, false or "roster"' })
        return 'always'
      })
      .default('always'),
    description:
      'Whose messages are archived for accounts that have not said anything: `true` (all), `false` (none), "roster".',
  }),
  max_archive_query_results: option({
    schema: kinds.integer(1).default(50),
    description: 'Messages that one page of the archive may have.',
  }),
}
type MamModule = Module<typeof options>

export default definePlugin({
  name: 'mam',
  hostType: 'host',
  depends: ['roster'],
  options,
  load(module) {
    const archive: MessageArchive = module.openStore<KeptStanza>('archive', 'archive')
    const preferences = new AllPreferences(
      module.openStore<Preferences>('archive_prefs'),
      () => module.options.default_archive_policy,
      () => module.server.cluster?.self.id,
    )
    const recorder = new Recorder(module, archive, preferences, module.exportsOf<Rosters>('roster'))
    for (const feature of [NS_MAM, `${NS_MAM}#extended`, NS_STANZA_ID]) module.addFeature(feature)
    module.hook('account-disco-info', ({ reply: answer }) => {
      for (const feature of [NS_MAM, `${NS_MAM}#extended`, NS_STANZA_ID]) {
        answer.payload!.append(xml('feature', { var: feature }))
      }
    })

    for (const target of ['bare', 'full', 'host'] as const) {
      module.hook(`pre-message/${target}`, (event) => recorder.sent(event), BEFORE_DELIVERY)
    }
    module.hook('message/bare', (event) => recorder.received(event), BEFORE_DELIVERY)
    module.hook('message/full', (event) => recorder.received(event), BEFORE_DELIVERY)
    // Nobody is there, and nobody else keeps it: with what is in the archive nothing has gone wrong.
    module.hook('message/offline/handle', (event) => recorder.has(event), AFTER_OFFLINE)

    serveQueries(module, archive)
    servePreferences(module, preferences)
    removeExpired(module, archive)
  },
})

/** Puts messages into the archives of their senders and recipients. */
class Recorder {
  private readonly module: MamModule
  private readonly archive: MessageArchive
  private readonly preferences: AllPreferences
  private readonly rosters: Rosters
  /** Messages that were held up until it was known whether they are to be archived. */
  private readonly decided = new WeakMap<Stanza, boolean>()
  /** Ids of messages in the archives of those who have sent them, for whoever copies them. */
  private readonly sentIds: WeakMap<Stanza, string>
  /** Messages that were received here: whether they are in the archive, once that is known. */
  private readonly written = new WeakMap<Stanza, Promise<boolean>>()
  /** Characters of messages of components that are being written. */
  private writing = 0

  constructor(module: MamModule, archive: MessageArchive, preferences: AllPreferences, rosters: Rosters) {
    this.module = module
    this.archive = archive
    this.preferences = preferences
    this.rosters = rosters
    this.sentIds = module.shared('mam/sent-ids', () => new WeakMap())
  }

  sent({ origin, stanza }: StanzaEvent): unknown {
    const { bareJid, username } = origin as StreamSession
    // Nobody has an archive of what the host itself says (XEP-0356 §5.1).
    if (username === undefined) return undefined
    const to = stanza.attrs.to ?? bareJid!
    // What one sends to oneself is archived when it is received.
    if (bareOf(to) === bareJid) return undefined
    withoutForgedIds(stanza, bareJid!)
    if (!isArchived(stanza, true)) return undefined
    const again = () => this.module.server.router.process(origin, stanza)
    return this.decide(stanza, username, to, again, () => {
      this.sentIds.set(stanza, this.write(origin, stanza, username, to).id)
    })
  }

  received({ origin, stanza }: StanzaEvent): unknown {
    const to = stanza.attrs.to ?? bareOf(origin.fullJid ?? '')
    const username = localOf(to)
    // Where it was before, it has been archived.
    if (username === undefined || this.module.server.cluster?.returned.has(stanza)) return undefined
    withoutForgedIds(stanza, bareOf(to))
    if (!isArchived(stanza, false)) return undefined
    // RFC 6120 §10.3.1: without one it is for the sender's account. It may have to be put on its way once more.
    stanza.attrs.to = to
    const from = stanza.attrs.from ?? ''
    const again = () => this.module.server.router.arrive(origin, stanza)
    return this.decide(stanza, username, from, again, () => {
      const { id, written } = this.write(origin, stanza, username, from)
      this.written.set(stanza, written)
      const text = writeElement('stanza-id', { xmlns: NS_STANZA_ID, by: bareOf(to), id }, '')
      stanza.appendWritten(text, 'stanza-id', NS_STANZA_ID)
    })
  }

  /** @returns whether a message is in the archive of the account that it is for; undefined if it is not */
  has({
    stanza,
    username,
  }: EventPayload<'message/offline/handle'>): Promise<true | undefined> | true | undefined {
    const written = this.written.get(stanza)
    if (written !== undefined) return written.then((isIn) => isIn || undefined)
    // From before it was given to a session, which has not acknowledged it.
    return hasId(stanza, `${username}@${this.module.host.name}`) || undefined
  }

  /**
   * @param again - puts the stanza on its way once more, when it has become known what to do with it
   * @param record - archives it
   */
  private decide(
    stanza: Stanza,
    username: string,
    partner: string,
    again: () => void,
    record: () => void,
  ): unknown {
    const preferences = this.preferences.get(username)
    let policy: Policy | boolean | undefined = this.decided.get(stanza)
    if (policy === undefined && preferences !== undefined) policy = policyFor(preferences, partner)
    const roster = policy === 'roster' ? this.rosters.kept(username) : undefined
    if (roster !== undefined) policy = roster.contact(bareOf(partner)).item !== undefined
    if (policy === undefined || policy === 'roster') {
      return this.findOut(username, partner).then((decision) => {
        this.decided.set(stanza, decision)
        again()
      })
    }
    this.decided.delete(stanza)
    if (policy === true || policy === 'always') record()
    return undefined
  }

  private async findOut(username: string, partner: string): Promise<boolean> {
    // Nothing is kept for accounts that there are not.
    if (!(await this.module.host.users?.exists(username))) return false
    const policy = policyFor(await this.preferences.read(username), partner)
    if (policy !== 'roster') return policy === 'always'
    return (await this.rosters.read(username)).contact(bareOf(partner)).item !== undefined
  }

  /** @returns the id that the entry has, and what resolves when it is known whether it is there */
  private write(
    origin: Origin,
    stanza: Stanza,
    username: string,
    partner: string,
  ): { id: string; written: Promise<boolean> } {
    const when = Date.now()
    const id = newArchiveId(when)
    const kept = keepStanza(stanza)
    const writing = this.archive.append(username, kept, when, bareOf(partner), id)
    // Not who a component speaks for: that counts nothing.
    const isClient = origin.type === 'c2s' && origin.begin !== undefined
    const size = isClient ? 0 : kept.inner.length + OVERHEAD
    this.writing += size
    const ended = () => {
      this.writing -= size
      origin.end?.(writing)
    }
    const done = writing.then(
      () => {
        ended()
        return true
      },
      (error: unknown) => {
        ended()
        this.module.host.log.error('a message could not be archived', { user: username, error })
        return false
      },
    )
    // It is delivered meanwhile, but nothing tells the sender before that it was.
    const count = origin.begin?.(writing) ?? 0
    // Who sends more than can be written waits; a component, on which many depend, not before memory is at stake.
    if (isClient ? count > MOST_WRITING : this.writing > MOST_CHARACTERS) origin.hold?.(done)
    return { id, written: done }
  }
}

function hasId(stanza: Stanza, bare: string): boolean {
  if (!stanza.inner.includes('stanza-id')) return false
  const copy = stanza.clone()
  return copy.getChildren('stanza-id', NS_STANZA_ID).some(({ attrs }) => attrs.by === bare)
}

/** XEP-0359 §5: nobody else gives ids in the account's name, however it is written. */
function withoutForgedIds(stanza: Stanza, bare: string): void {
  // A namespace may be written with references, a name may not.
  if (!stanza.inner.includes('stanza-id')) return
  stanza.children = stanza.children.filter(
    (child) =>
      typeof child !== 'object' ||
      child.getName() !== 'stanza-id' ||
      child.getNS() !== NS_STANZA_ID ||
      prepareJid(String(child.attrs['by'] ?? ''))?.full !== bare,
  )
}

function serveQueries(module: MamModule, archive: MessageArchive): void {
  module.hook(`iq-get/self/${NS_MAM}:query`, ({ origin, stanza }) => {
    origin.send(reply(stanza, xml('query', { xmlns: NS_MAM }, formElement(QUERY_FORM))))
    return true
  })
  module.hook(`iq-set/self/${NS_MAM}:query`, async ({ origin, stanza }) => {
    // Who asks on behalf of an account has nobody that the messages could go to.
    if (!(origin instanceof StreamSession))
      throw new StanzaError('feature-not-implemented', 'What is in an archive is sent to clients only')
    const query = readQuery(stanza.payload!)
    await answerQuery(archive, origin, stanza, query, module.options.max_archive_query_results)
    return true
  })
  module.hook(`iq-get/self/${NS_MAM}:metadata`, async ({ origin, stanza }) => {
    const username = (origin as StreamSession).username!
    const ends = await Promise.all([archive.find(username, {}, 1), archive.find(username, {}, 1, true)])
    const metadata = xml('metadata', { xmlns: NS_MAM })
    for (const [i, name] of ['start', 'end'].entries()) {
      const entry = ends[i]!.entries[0]
      if (entry === undefined) continue
      metadata.append(xml(name, { id: entry.id, timestamp: new Date(entry.when).toISOString() }))
    }
    origin.send(reply(stanza, metadata))
    return true
  })
}

function servePreferences(module: MamModule, preferences: AllPreferences): void {
  const { cluster } = module.server
  const callName = `mam ${module.host.name}`
  if (cluster !== undefined) {
    module.onUnload(cluster.calls.on(callName, (username) => preferences.forget(username as string)))
    // It may have changed some, and not told.
    module.onUnload(cluster.calls.onLeft(() => preferences.forgetAll()))
  }
  module.hookGlobal('user-deleted', ({ username, host }) => {
    if (host === module.host.name) preferences.forget(username)
  })
  module.hook(`iq-get/self/${NS_MAM}:prefs`, async ({ origin, stanza }) => {
    const current = await preferences.read((origin as StreamSession).username!)
    origin.send(reply(stanza, preferencesElement(current)))
    return true
  })
  module.hook(`iq-set/self/${NS_MAM}:prefs`, async ({ origin, stanza }) => {
    const { username } = origin as StreamSession
    const wanted = readPreferences(stanza.payload!)
    await preferences.set(username!, wanted)
    // Once it is answered they hold everywhere.
    await cluster?.calls.askAll(callName, username, OTHERS_MS)
    origin.send(reply(stanza, preferencesElement(wanted)))
    return true
  })
}
