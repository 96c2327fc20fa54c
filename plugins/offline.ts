/** Messages for accounts that nobody is there for, until somebody is (XEP-0160, XEP-0203). */

import {
  definePlugin,
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
  },
})

class Mailbox {
  private readonly module: OfflineModule
  private readonly store
  /** What is under way for an account; the next waits for it. These promises never reject. */
  private readonly queues = new Map<string, Promise<unknown>>()

  constructor(module: OfflineModule) {
    this.module = module
    this.store = module.openStore<KeptStanza>('offline', 'archive')
  }

  /** @returns whether the message is not to be refused; it is kept by then */
  async take({
    origin,
    stanza,
    username,
    when = Date.now(),
  }: {
    origin: Origin
    stanza: Stanza
    username: string
    when?: number
  }): Promise<boolean> {
    if (!isWorthKeeping(stanza)) return true
    return this.inTurn(username, async () => {
      const most = this.module.options.offline_max_messages
      if (most === 0) return false
      if ((await this.store.count(username, {})) >= most) {
        // XEP-0160 §3: the sender learns of it.
        origin.send(
          errorReply(stanza, 'service-unavailable', 'Too many messages wait for this account', 'wait'),
        )
        return true
      }
      await this.store.append(username, keepStanza(stanza), when, stanza.attrs.from ?? '')
      // Somebody may have come meanwhile, who was told of all that was kept before.
      const session = this.recipient(username)
      if (session !== undefined) await this.deliver(session, username)
      return true
    })
  }

  /** Gives a session all that was kept for its account. It fails only where the log tells of it. */
  async handOver(session: StreamSession): Promise<void> {
    const username = session.username!
    try {
      await this.inTurn(username, () => this.deliver(session, username))
    } catch (error) {
      this.module.host.log.error('messages that were kept could not be handed over', {
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

  private async deliver(session: StreamSession, username: string): Promise<void> {
    const alone = this.module.server.cluster === undefined
    for (;;) {
      const { entries, more } = await this.store.find(username, {}, PAGE)
      for (const { id, when, value } of entries) {
        if (session.destroyed || !session.available) return
        // Several processes may be at it for resources of their own: who has removed it hands it over.
        if (!alone && (await this.store.remove(username, [id])) === 0) continue
        session.send(this.delayed(value, when))
      }
      // Not before they are on their way: a process that dies here has handed them over twice, not never.
      if (alone)
        await this.store.remove(
          username,
          entries.map(({ id }) => id),
        )
      if (!more) return
      await session.connection.drained()
    }
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
