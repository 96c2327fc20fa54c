/** Messages for accounts that nobody is there for, until somebody is (XEP-0160, XEP-0203). */

import {
  definePlugin,
  type EventPayload,
  errorReply,
  type KeptStanza,
  keepStanza,
  kinds,
  type Module,
  NS_CLIENT,
  NS_DELAY,
  type Origin,
  option,
  restoreStanza,
  type Stanza,
  type StreamSession,
  writeElement,
} from '../server/index.ts'

const options = {
  offline_max_messages: option({
    schema: kinds.integer(0).default(1000),
    description: 'Messages that are kept for an account until somebody is there for it. Not of Prosody.',
  }),
}
type OfflineModule = Module<typeof options>

const NS_CHAT_STATES = 'http://jabber.org/protocol/chatstates'
const NS_HINTS = 'urn:xmpp:hints'
/** Messages that are handed over at a time. */
const PAGE = 100
/** Characters that are handed over at a time. */
const PORTION = 1 << 20

/** What became of a session's messages; `room` resolves when the rest may follow. */
type Delivered = 'all' | 'gone' | { readonly room: Promise<void> }

export default definePlugin({
  name: 'offline',
  hostType: 'host',
  options,
  load(module) {
    const mailbox = new Mailbox(module)
    module.addFeature('msgoffline')
    module.hook('message/offline/handle', (event) => mailbox.take(event), -1)
    module.hook('message/offline/broadcast', ({ origin }) => {
      const session = origin as StreamSession
      session.hold(mailbox.handOver(session))
    })
    module.onUnload(mailbox.listen())
  },
})

class Mailbox {
  private readonly module: OfflineModule
  private readonly store
  /** What is under way for an account; the next waits for it. These promises never reject. */
  private readonly queues = new Map<string, Promise<unknown>>()
  private readonly callName: string

  constructor(module: OfflineModule) {
    this.module = module
    this.store = module.openStore<KeptStanza>('offline', 'archive')
    this.callName = `offline/kept ${module.host.name}`
  }

  /** Hears of what other processes have kept. @returns a function that ends it */
  listen(): () => void {
    const { cluster } = this.module.server
    if (cluster === undefined) return () => {}
    return cluster.calls.on(this.callName, (username) => {
      const session = this.recipient(username as string)
      // Not to be waited for: who reads slowly holds up nobody else.
      if (session !== undefined) void this.handOver(session)
    })
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
    // Another process that it comes from does not take it for done before.
    origin.begin?.(keeping)
    try {
      if (!(await keeping)) return true
    } finally {
      origin.end?.(keeping)
    }
    // Somebody may have come meanwhile, who was told of all that was kept before.
    const session = this.recipient(username)
    if (session === undefined) this.tellOthers(username)
    else await this.handOver(session)
    return true
  }

  /** @returns false if there are too many already; the sender has learnt of it then (XEP-0160 §3) */
  private async keep(origin: Origin, stanza: Stanza, username: string, when: number): Promise<boolean> {
    if ((await this.store.count(username, {})) >= this.module.options.offline_max_messages) {
      origin.send(
        errorReply(stanza, 'service-unavailable', 'Too many messages wait for this account', 'wait'),
      )
      return false
    }
    await this.store.append(username, keepStanza(stanza), when, stanza.attrs.from ?? '')
    return true
  }

  /**
   * Something is kept for an account. A session that is bound at another process may be available already and have
   * read all that was kept before; of one that is not bound yet, this is there when it reads.
   */
  private tellOthers(username: string): void {
    const { host, server } = this.module
    server.cluster?.holders.tell(host, username, this.callName, username)
  }

  /**
   * Gives a session all that was kept for its account. It fails only where the log tells of it. If the session has to
   * acknowledge some of it first, the rest follows then: it must be read from for that, and does not hold up others.
   */
  async handOver(session: StreamSession): Promise<void> {
    const username = session.username!
    try {
      const delivered = await this.inTurn(username, () => this.deliver(session, username))
      if (delivered === 'all') return
      if (delivered !== 'gone') {
        void delivered.room.then(() => this.handOver(session))
        return
      }
      // It has gone in the midst of it. Others who have been there all the time get the rest.
      const other = this.recipient(username)
      if (other !== undefined) await this.handOver(other)
      else this.tellOthers(username)
    } catch (error) {
      // That the storage is away has been logged, once for all.
      const level = (error as { code?: unknown }).code === 'unavailable' ? 'debug' : 'error'
      this.module.host.log[level]('messages that were kept could not be handed over', {
        user: username,
        error,
      })
    }
  }

  private recipient(username: string): StreamSession | undefined {
    for (const session of this.module.host.accounts.get(username)?.sessions.values() ?? []) {
      if (session.available && session.priority >= 0 && !session.destroyed) return session
    }
    return undefined
  }

  private async deliver(session: StreamSession, username: string): Promise<Delivered> {
    const { cluster } = this.module.server
    if (cluster === undefined) return this.deliverAll(session, username)
    // Most who come have nothing waiting for them.
    if ((await this.store.find(username, {}, 1)).entries.length === 0) return 'all'
    // Resources may have come to several processes at a time: each message is for one of them.
    const endOfTurn = await cluster.turns.take(`offline ${this.module.host.name} ${username}`)
    try {
      return await this.deliverAll(session, username)
    } finally {
      endOfTurn()
    }
  }

  private async deliverAll(session: StreamSession, username: string): Promise<Delivered> {
    for (;;) {
      const { entries, more } = await this.store.find(username, {}, PAGE)
      if (entries.length === 0) return 'all'
      const { keeps } = session
      let sent: string[] = []
      let size = 0
      for (const [i, { id, value, when }] of entries.entries()) {
        if (session.destroyed || !session.available) {
          await this.handedOver(session, username, sent, keeps)
          return 'gone'
        }
        const room = sent.length === 0 ? session.room() : undefined
        if (room !== undefined) return { room }
        session.send(this.delayed(value, when))
        sent.push(id)
        size += value.inner.length
        const isLast = i === entries.length - 1
        if (size < PORTION && !isLast) continue
        await this.handedOver(session, username, sent, keeps)
        if (session.destroyed) return 'gone'
        sent = []
        size = 0
        if (isLast && !more) return 'all'
      }
    }
  }

  /**
   * Takes out what was sent to a session. What is on its way may be removed. A process that dies before that hands it
   * over twice, not never.
   *
   * @param keeps - what the session has not got comes back by itself
   */
  private async handedOver(
    session: StreamSession,
    username: string,
    ids: readonly string[],
    keeps: boolean,
  ): Promise<void> {
    await session.connection.drained()
    if (ids.length > 0 && (keeps || !session.destroyed)) await this.store.remove(username, ids)
  }

  private delayed(kept: KeptStanza, when: number): Stanza {
    const stanza = restoreStanza(kept)
    // A session has had it before, and did not acknowledge it.
    if (isDelayedBy(stanza, this.module.host.name)) return stanza
    const stamp = new Date(when).toISOString().replace(/\.\d+/, '')
    const attrs = { xmlns: NS_DELAY, from: this.module.host.name, stamp }
    stanza.appendWritten(writeElement('delay', attrs, ''), 'delay', NS_DELAY)
    return stanza
  }

  private inTurn<T>(username: string, work: () => Promise<T>): Promise<T> {
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

/** XEP-0160 §3: not what is only of the moment, and not what its sender wants nobody to keep (XEP-0334). */
function isWorthKeeping(stanza: Stanza): boolean {
  if (!stanza.inner.includes(NS_CHAT_STATES) && !stanza.inner.includes(NS_HINTS)) return true
  const copy = stanza.clone()
  if (copy.getChild('store', NS_HINTS) !== undefined) return true
  if (copy.getChild('no-store', NS_HINTS) ?? copy.getChild('no-permanent-store', NS_HINTS)) return false
  const others = copy.getChildElements().filter((child) => child.getNS() !== NS_CHAT_STATES)
  // A thread belongs to the state.
  return others.some((child) => child.getNS() !== NS_CLIENT || child.getName() !== 'thread')
}
