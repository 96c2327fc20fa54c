/** Takes messages into the store, and hands them over. */

import {
  type ArchiveStore,
  appendDelay,
  type EventPayload,
  errorReply,
  type KeptStanza,
  keepStanza,
  NS_DELAY,
  type Origin,
  type Receipt,
  restoreStanza,
  type Stanza,
  type StreamSession,
} from '../../server/index.ts'
import { Elsewhere } from './elsewhere.ts'
import { KeptFirst } from './first.ts'
import { GivingBack } from './giving-back.ts'
import { Lent, Parcel, type Sender } from './lent.ts'
import type { OfflineModule } from './options.ts'
import { Spares } from './spare.ts'
import { isWorthKeeping } from './worth.ts'

/** Messages that are handed over at a time, and characters of them, about. */
const PAGE = 100
const MOST_SIZE = 1 << 20
/** Seconds for which those wait who send something new to a client that does not take what was kept. */
const PATIENCE = 5

export class Mailbox implements Sender {
  readonly lent = new Lent()
  readonly spares: Spares
  private readonly module: OfflineModule
  /** What is under way for an account; the next waits for it. These promises never reject. */
  private readonly queues = new Map<string, Promise<unknown>>()
  private readonly firsts = new Map<StreamSession, KeptFirst>()
  private readonly elsewhere: Elsewhere
  private readonly givingBack: GivingBack
  private readonly keptName: string
  private over = false
  private opened: ArchiveStore<KeptStanza> | undefined

  constructor(module: OfflineModule) {
    this.module = module
    this.spares = new Spares(module, this)
    this.elsewhere = new Elsewhere(module as never)
    this.givingBack = new GivingBack(module as never, (username, error) => this.failed(username, error))
    this.keptName = `offline/kept ${module.host.name}`
  }

  /** A host that nobody logs in to, as one that only delegates, may have no storage for it. */
  get store(): ArchiveStore<KeptStanza> {
    this.opened ??= this.module.openStore<KeptStanza>('offline', 'archive')
    return this.opened
  }

  /** Hears of what other processes have kept, and hand over. @returns a function that ends it */
  listen(): () => void {
    const here = (username: unknown) => this.keptFor(username as string)
    const ends = this.elsewhere.listen((username) => this.notToBeSent(username), here)
    const { cluster } = this.module.server
    if (cluster !== undefined) ends.push(cluster.calls.on(this.keptName, here))
    return () => {
      this.over = true
      for (const end of ends) end()
    }
  }

  /** Another process has kept something, or is gone that was handing it over: whoever is there here gets it. */
  private keptFor(username: string): void {
    const session = this.recipient(username)
    // Not to be waited for: who reads slowly holds up nobody else.
    if (session !== undefined) void this.handOver(session)
  }

  /** @returns whether the message is not to be refused, and is kept by then; undefined if nothing is kept here */
  take(event: EventPayload<'message/offline/handle'>): true | Promise<true> | undefined {
    if (!isWorthKeeping(event.stanza)) return true
    if (this.module.options.offline_max_messages === 0) return undefined
    return this.takeIn(event)
  }

  private async takeIn({
    origin,
    stanza,
    username,
    when = Date.now(),
  }: EventPayload<'message/offline/handle'>): Promise<true> {
    const keeping = this.inTurn(username, () => this.keep(origin, stanza, username, when))
    // Another process that it comes from does not take it for done before, nor sends what may overtake it.
    origin.begin?.(keeping)
    try {
      if (await keeping) await this.tell(username)
    } finally {
      origin.end?.(keeping)
    }
    return true
  }

  /** Somebody may have come meanwhile, who was told of all that was kept before. */
  private async tell(username: string): Promise<void> {
    const session = this.recipient(username)
    if (session === undefined) await this.tellOthers(username)
    // Not to be waited for: what is new waits for it there.
    else void this.handOver(session)
  }

  /** @returns false if there are too many already; the sender has learnt of it then (XEP-0160 §3) */
  private async keep(origin: Origin, stanza: Stanza, username: string, when: number): Promise<boolean> {
    if (!(await this.hasRoom(username))) {
      origin.send(
        errorReply(stanza, 'service-unavailable', 'Too many messages wait for this account', 'wait'),
      )
      return false
    }
    await this.store.append(username, keepStanza(stanza), when, stanza.attrs.from ?? '')
    return true
  }

  /** Spare copies are not counted: what they are of is kept instead of them. */
  private async hasRoom(username: string): Promise<boolean> {
    const kept = (await this.store.count(username, {})) - this.spares.of(username).length
    return kept < this.module.options.offline_max_messages
  }

  /** Ids in the store of what sessions have got, or have in memory. */
  private notToBeSent(username: string): string[] {
    return [...this.lent.of(username), ...this.spares.of(username)]
  }

  /**
   * Something is kept for an account. A session that is bound at another process may be available already and have
   * read all that was kept before; of one that is not bound yet, this is there when it reads.
   *
   * @returns what is to be waited for before its sender goes on: what is new may not come there before
   */
  private tellOthers(username: string): Promise<void> | undefined {
    const { host, server } = this.module
    return server.cluster?.holders.tell(host, username, this.keptName, username)
  }

  /**
   * Gives a session all that was kept for its account, and after it what is new.
   *
   * @returns what settles when that has arrived, or is on its way where it is acknowledged; it does not fail
   */
  handOver(session: StreamSession): Promise<void> {
    // Others may have to be told.
    if (session.destroyed) return this.handOverAll(session).then(() => {})
    const first = this.firsts.get(session) ?? new KeptFirst(session, this.givingBack)
    this.firsts.set(session, first)
    // One that waits to look into the store finds what has been kept by now.
    if (first.upcoming !== undefined) return first.upcoming
    first.begin(this.module.server)
    let looks = false
    const end = () => {
      if (first.end()) this.firsts.delete(session)
    }
    const handedOver = this.handOverAll(session, () => {
      looks = true
      first.upcoming = undefined
    }).then((page) => {
      if (page === undefined) end()
      else {
        first.letOthersPass()
        void this.forClient(session, page.settled).then(end)
      }
    })
    first.adds(handedOver)
    if (!looks) first.upcoming = handedOver
    return handedOver
  }

  /** Waits for a client; who sends it something new does so for some time only. */
  private async forClient<T>(session: StreamSession, taken: Promise<T>): Promise<T> {
    const first = this.firsts.get(session)
    const timer = this.module.server.timers.after(PATIENCE, () => first?.setPatient(false))
    const result = await taken
    timer.cancel()
    first?.setPatient(true)
    return result
  }

  /**
   * @param looks - called when it is about to look into the store
   * @returns a page that is acknowledged one day, if there may be more behind it: that follows then
   */
  private async handOverAll(session: StreamSession, looks?: () => void): Promise<Parcel | undefined> {
    const username = session.username!
    try {
      const parcel = await this.inTurn(username, () => {
        looks?.()
        return this.deliver(session, username)
      })
      if (parcel === undefined) return undefined
      if (parcel === false) {
        // It has gone in the midst of it. Others who have been there all the time get the rest.
        this.passOn(username)
      } else if (!parcel.isAcknowledged) {
        if (await this.forClient(session, parcel.delivered())) await this.handOver(session)
      } else if (parcel.isFull) {
        session.ask()
        return parcel
      }
    } catch (error) {
      this.failed(username, error)
    }
    return undefined
  }

  // What a parcel needs, and tells.

  sendFirst(session: StreamSession, text: string, receipt: Receipt | undefined): void {
    this.firsts.get(session)!.writeFirst(text, receipt)
  }

  arrived(session: StreamSession): void {
    if (!this.over) void this.handOver(session)
  }

  missed(username: string): void {
    if (!this.over) this.passOn(username)
  }

  failed(username: string, error: unknown): void {
    this.complain('messages that were kept could not be handed over', username, error)
  }

  /** Says what the storage did not do. */
  complain(text: string, user: string, error: unknown): void {
    // That the storage is away has been logged, once for all.
    const level = (error as { code?: unknown }).code === 'unavailable' ? 'debug' : 'error'
    this.module.host.log[level](text, { user, error })
  }

  finishBeforeStop(work: Promise<void>): void {
    this.module.server.finishBeforeStop(work)
  }

  /** Somebody else gets what is left. */
  private passOn(username: string): void {
    const other = this.recipient(username)
    if (other !== undefined) void this.handOver(other)
    else void this.tellOthers(username)
  }

  private recipient(username: string): StreamSession | undefined {
    let waiting: StreamSession | undefined
    for (const session of this.module.host.accounts.get(username)?.sessions.values() ?? []) {
      if (!session.available || session.priority < 0 || session.destroyed) continue
      if (!session.hibernating) return session
      waiting ??= session
    }
    return waiting
  }

  /** @returns what was sent; undefined if there is nothing, false if the session has gone before it had everything */
  private async deliver(session: StreamSession, username: string): Promise<Parcel | false | undefined> {
    const { cluster } = this.module.server
    if (cluster === undefined) return this.send(session, username)
    // Most who come have nothing waiting for them.
    if ((await this.store.find(username, {}, 1)).entries.length === 0) return undefined
    // Resources may have come to several processes at a time: each message is for one of them.
    const endOfTurn = await cluster.turns.take(`offline ${this.module.host.name} ${username}`)
    try {
      return await this.send(session, username, await this.elsewhere.ask(username))
    } finally {
      endOfTurn()
    }
  }

  private async send(
    session: StreamSession,
    username: string,
    elsewhere: ReadonlySet<string> = new Set(),
  ): Promise<Parcel | false | undefined> {
    const most = Math.min(PAGE, session.acknowledges || PAGE) - this.lent.countOf(session)
    if (most <= 0) return undefined
    let after: string | undefined
    for (;;) {
      // Looked at before the store: what is taken out of that meanwhile is on no way any more.
      const lent = new Set(this.notToBeSent(username))
      const { entries, more, last } = await this.store.find(username, { after }, PAGE)
      const waiting = entries.filter(({ id }) => !lent.has(id) && !elsewhere.has(id))
      if (waiting.length > 0) {
        if (session.destroyed || !session.available) return false
        const parcel = new Parcel(this, session)
        let size = 0
        for (const { id, value, when } of waiting.slice(0, most)) {
          if (size > MOST_SIZE || session.destroyed) break
          const text = this.delayed(value, when).toString()
          size += text.length
          parcel.send(id, text)
        }
        parcel.isFull = more || parcel.size < waiting.length
        return parcel
      }
      if (!more) return undefined
      after = last
    }
  }

  private delayed(kept: KeptStanza, when: number): Stanza {
    const stanza = restoreStanza(kept)
    // A session has had it before, and did not acknowledge it.
    if (isDelayedBy(stanza, this.module.host.name)) return stanza
    appendDelay(stanza, this.module.host.name, when)
    return stanza
  }

  /** Does something with what an account has in the store, after what is under way. */
  inTurn<T>(username: string, work: () => Promise<T>): Promise<T> {
    const before = this.queues.get(username)
    const result = before === undefined ? work() : before.then(work)
    const tail: Promise<unknown> = result.then(settled, settled)
    const { queues } = this
    function settled(): void {
      if (queues.get(username) === tail) queues.delete(username)
    }
    queues.set(username, tail)
    return result
  }
}

function isDelayedBy(stanza: Stanza, host: string): boolean {
  if (!stanza.inner.includes(NS_DELAY)) return false
  return stanza
    .clone()
    .getChildren('delay', NS_DELAY)
    .some(({ attrs }) => attrs.from === host)
}
