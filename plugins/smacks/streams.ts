/** All managed streams of a host: found by their sessions and ids, and ended when their time is over. */

import {
  type Connection,
  payloadAttributes,
  RoomyMap,
  randomText,
  StreamError,
  type StreamSession,
} from '../../server/index.ts'
import { goBeforeOthers } from './before-others.ts'
import { FormerSessions } from './former.ts'
import { ManagedStream, type Management } from './managed.ts'
import type { SmacksModule } from './options.ts'
import { Others } from './others.ts'
import type { EndOfSpare } from './queue.ts'
import { giveBack, stanzaOf } from './undelivered.ts'

/** Random bytes of an id: nobody finds one by trying. */
const ID_BYTES = 18

export class Streams implements Management {
  readonly former: FormerSessions
  private readonly module: SmacksModule
  private readonly others: Others
  private readonly bySession = new RoomyMap<StreamSession, ManagedStream>()
  private readonly byId = new RoomyMap<string, ManagedStream>()
  /** Whose clients have said that nobody looks at them. */
  private readonly inactive: WeakSet<StreamSession>

  constructor(module: SmacksModule) {
    this.module = module
    this.former = new FormerSessions(module as never)
    this.others = new Others(module as never)
    this.inactive = module.shared('csi/inactive', () => new WeakSet<StreamSession>())
  }

  of(session: StreamSession): ManagedStream | undefined {
    return this.bySession.get(session)
  }

  /** The stream with an id, if it is the account's own. */
  find(username: string | undefined, id: string): ManagedStream | undefined {
    const stream = this.byId.get(id)
    return stream?.session.username === username ? stream : undefined
  }

  /** @param seconds - for which it may be resumed; 0 if it may not be */
  manage(session: StreamSession, xmlns: string, seconds: number): ManagedStream {
    const resumption = seconds === 0 ? undefined : { id: this.newId(), seconds }
    const stream = new ManagedStream(session, xmlns, resumption, this)
    this.add(stream)
    return stream
  }

  add(stream: ManagedStream): void {
    this.bySession.set(stream.session, stream)
    if (stream.resumption !== undefined) this.byId.set(stream.resumption.id, stream)
  }

  /** @param over - another session, or the connection that it has over another process */
  resume(stream: ManagedStream, over: StreamSession | Connection, h: number, xmlns: string): void {
    const { session, queue } = stream
    stream.resume(over, h, xmlns)
    session.log.info('resumed', { jid: session.fullJid, unacknowledged: queue.length })
    this.module.fireEvent('smacks-hibernation-end', { session })
  }

  /** Looks at who takes long to acknowledge. */
  sweep(): void {
    const before = Date.now() - this.module.options.smacks_max_ack_delay * 1000
    for (const stream of [...this.bySession.values()]) {
      const { asked, queue, session } = stream
      if (stream.hibernating !== undefined) continue
      if (asked === undefined) {
        if (queue.length > 0 && queue.oldest! <= before && !this.inactive.has(session)) stream.askIfNeeded(0)
        continue
      }
      if (asked > before) continue
      if (stream.tooMuch) stream.giveUp()
      else if (!stream.late) {
        stream.late = true
        queue.detach()
        this.module.fireEvent('smacks-ack-delayed', { session })
      }
    }
  }

  /** Ends all of them: nobody would resume those that wait, and hear what the clients of the others acknowledge. */
  end(): void {
    for (const { session } of [...this.bySession.values()]) {
      session.close(new StreamError('reset', 'Stream management is no longer offered'))
    }
  }

  // What a stream asks.

  mostUnasked(session: StreamSession): number {
    const { options } = this.module
    return this.inactive.has(session)
      ? options.smacks_max_inactive_unacked_stanzas
      : options.smacks_max_unacked_stanzas
  }

  get queueSize(): number {
    return this.module.options.smacks_max_queue_size
  }

  makeRoom({ session }: ManagedStream): boolean {
    const most = this.module.options.smacks_max_hibernated_sessions
    if (most === 0) return false
    const waiting: ManagedStream[] = []
    for (const other of session.account?.sessions.values() ?? []) {
      const stream = other.hibernating && other !== session ? this.of(other) : undefined
      if (stream !== undefined) waiting.push(stream)
    }
    if (waiting.length < most) return true
    const oldest = waiting.reduce((one, other) => (one.hibernating! <= other.hibernating! ? one : other))
    oldest.session.close()
    return true
  }

  hibernates(stream: ManagedStream): void {
    const { session, resumption } = stream
    stream.timer = this.module.server.timers.after(resumption!.seconds, expire, stream)
    this.module.fireEvent('smacks-hibernation-start', { session })
  }

  queued({ session }: ManagedStream, text: string): void {
    this.module.fireEvent('smacks-hibernation-stanza-queued', { session, text })
  }

  keepSpare({ session }: ManagedStream, text: string, when: number): EndOfSpare | undefined {
    const { events } = this.module.host
    if (!text.startsWith('<message') || !events.has('delivery/waiting')) return undefined
    return events.fire('delivery/waiting', { session, stanza: stanzaOf(text), when }) as
      | EndOfSpare
      | undefined
  }

  /** A session is about to be unbound. */
  ending(session: StreamSession): void {
    const stream = this.bySession.get(session)
    if (stream === undefined || stream.queue.length === 0) return
    const unacked = [...stream.queue.entries()]
    stream.left = { unacked, answered: this.others.answerFor(session, unacked) }
  }

  ended(stream: ManagedStream): void {
    const { session, resumption, queue } = stream
    const left = stream.left ?? { unacked: [...queue.entries()], answered: [] }
    this.bySession.delete(session)
    if (resumption !== undefined) this.byId.delete(resumption.id)
    stream.left = undefined
    const works: Promise<void>[] = []
    if (left.unacked.length > 0) {
      const { host } = this.module
      const go = () => giveBack(host, session, left.unacked, left.answered)
      const from = left.unacked.map(({ text }) => payloadAttributes(text).from)
      works.push(goBeforeOthers(this.module as never, session, from, go))
    }
    if (resumption !== undefined && !session.closedByPeer) works.push(this.remember(stream, resumption.id))
    if (works.length === 0) return
    const work = Promise.all(works).then(() => {})
    session.afterwork = work
    this.module.server.finishBeforeStop(work)
  }

  /** Keeps what has been handled, for when the client comes to resume it all the same. */
  private async remember({ session, certain }: ManagedStream, id: string): Promise<void> {
    const { host, options } = this.module
    const username = session.username!
    try {
      if ((await host.users?.exists(username)) !== true) return
      await this.former.add(username, id, certain, options.smacks_max_old_sessions)
    } catch (error) {
      host.log.warn('what an ended session had handled could not be kept', { user: username, error })
    }
  }

  private newId(): string {
    // In a cluster it tells who has the session.
    return (this.module.server.cluster?.tag ?? '') + randomText(ID_BYTES)
  }
}

function expire({ session }: ManagedStream): void {
  session.log.info('nobody has come to resume the session')
  session.close()
}
