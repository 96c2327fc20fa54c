/**
 * Resuming a session that another process has (XEP-0198 §5): it stays there. The process that the client has come to
 * hands over what the client sends, one first-level child after the other, and writes to it what comes back.
 */

import {
  type Cluster,
  type KeptStanza,
  type Member,
  type Module,
  NS_CLIENT,
  Stanza,
  StreamError,
  type StreamProfile,
  type StreamSession,
} from '../../server/index.ts'
import { countTooHigh, type ManagedStream } from './managed.ts'
import type { Streams } from './streams.ts'
import { Tunnel } from './tunnel.ts'

/** Milliseconds in which the other process has to say whether it has the session. */
const RESUME_MS = 10_000
/** Milliseconds in which it has to have worked on what the client has sent. */
const WORK_MS = 120_000

interface ResumeCall {
  readonly tunnel: string
  readonly username: string
  readonly id: string
  readonly h: number
  readonly xmlns: string
  readonly address: string
}

/** What became of it: a number is what was sent, and less than the client has counted. */
type ResumeAnswer = true | false | number

interface Received {
  readonly tunnel: string
  readonly stanza: KeptStanza
  readonly xmlns: string
  readonly childCount: number
  readonly payloadName: string
  readonly payloadNs: string
}

/** How the client's stream has ended. */
interface Gone {
  readonly tunnel: string
  readonly how: 'closed' | 'lost'
}

/** A session of another process, at the side of the client. */
interface Relayed {
  readonly session: StreamSession
  readonly member: string
}

export class Relay {
  private readonly module: Module
  private readonly cluster: Cluster
  private readonly streams: Streams
  /** By their names: sessions here that clients of other processes have, and clients here of sessions there. */
  private readonly tunnels = new Map<string, { session: StreamSession; tunnel: Tunnel; member: string }>()
  private readonly relayed = new Map<string, Relayed>()
  /** Names of tunnels to be, and whose they are: sessions here that what they have sent is waited for. */
  private readonly resuming = new Map<string, string>()
  private count = 0

  constructor(module: Module, cluster: Cluster, streams: Streams) {
    this.module = module
    this.cluster = cluster
    this.streams = streams
    const { calls } = cluster
    const on = (name: string, handler: (data: never, from: Member) => unknown) =>
      module.onUnload(calls.on(this.named(name), handler as (data: unknown, from: Member) => unknown))
    on('resume', (call: ResumeCall, from) => this.resumed(call, from))
    on('received', (received: Received) => this.received(received))
    on('gone', (gone: Gone) => this.gone(gone))
    on('out', ({ tunnel, text }: { tunnel: string; text: string }) => {
      const session = this.relayed.get(tunnel)?.session
      if (session?.destroyed === false) session.connection.write(text)
    })
    on('end', ({ tunnel, left }: { tunnel: string; left: boolean }) => {
      const relayed = this.relayed.get(tunnel)
      this.relayed.delete(tunnel)
      if (left) relayed?.session.connection.leave()
      else relayed?.session.connection.end()
    })
    module.onUnload(calls.onLeft((member) => this.left(member)))
  }

  /**
   * Resumes a session for a client of this process.
   *
   * @returns what is wrong with its counter; false if there is no such session
   */
  async resume(session: StreamSession, id: string, h: number, xmlns: string): Promise<StreamError | boolean> {
    const member = this.cluster.memberOf(id)
    if (member === undefined || member.id === this.cluster.self.id) return false
    const tunnel = `${this.cluster.self.id} ${++this.count}`
    const address = session.connection.remoteAddress
    const call: ResumeCall = { tunnel, username: session.username!, id, h, xmlns, address }
    // What the session has to say may come with the answer.
    this.relayed.set(tunnel, { session, member: member.id })
    const answers = await this.cluster.calls.ask([member.id], this.named('resume'), call, RESUME_MS)
    const answer = answers.get(member.id) as ResumeAnswer | undefined
    if (answer === true && !session.destroyed) {
      // The time for logging in is over, too.
      session.type = 'c2s'
      session.profile = new RelayProfile(session.profile, this, tunnel)
      session.log.info('resumed a session of another process', { process: member.info.name })
      return true
    }
    this.relayed.delete(tunnel)
    if (typeof answer === 'number') return countTooHigh(xmlns, h, answer)
    if (answer !== false) this.tell(member.id, 'gone', { tunnel, how: 'lost' } satisfies Gone)
    return false
  }

  /** A client here has sent something. */
  async handOver(session: StreamSession, tunnel: string, stanza: Stanza): Promise<void> {
    const relayed = this.relayed.get(tunnel)
    if (relayed === undefined) return
    const { name, attrs, inner, childCount, payloadName, payloadNs } = stanza
    const { xmlns = NS_CLIENT, ...rest } = attrs as Record<string, string>
    const received: Received = {
      tunnel,
      stanza: { name, attrs: rest, inner },
      xmlns,
      childCount,
      payloadName,
      payloadNs,
    }
    const answers = await this.cluster.calls.ask([relayed.member], this.named('received'), received, WORK_MS)
    // It has let go of it by itself, or it is to be told that nobody works on it any more.
    if (answers.get(relayed.member) !== true && this.relayed.has(tunnel)) this.giveUp(tunnel, session)
  }

  /** A client's stream here has ended. */
  ended(tunnel: string, how: Gone['how']): void {
    const relayed = this.relayed.get(tunnel)
    this.relayed.delete(tunnel)
    if (relayed !== undefined) this.tell(relayed.member, 'gone', { tunnel, how } satisfies Gone)
  }

  private giveUp(tunnel: string, session: StreamSession): void {
    this.ended(tunnel, 'lost')
    session.close(new StreamError('reset', 'The process that has the session does not answer'))
  }

  // For clients of other processes.

  private async resumed(call: ResumeCall, from: Member): Promise<ResumeAnswer> {
    const { tunnel, username, id, h } = call
    for (;;) {
      const stream = this.streams.find(username, id)
      if (stream === undefined) return false
      if (stream.refusalOf(h) !== undefined) return stream.queue.sent
      // What it is told that has been handled has to be certain.
      const certain = stream.certainty()
      if (certain === undefined) {
        this.attach(stream, call, from)
        return true
      }
      this.resuming.set(tunnel, from.id)
      await certain
      // The client may be gone, or its process.
      if (!this.resuming.delete(tunnel)) {
        this.streams.find(username, id)?.waits()
        return false
      }
    }
  }

  private attach(stream: ManagedStream, { tunnel: name, address, h, xmlns }: ResumeCall, from: Member): void {
    const tunnel = new Tunnel(this.module.server.timers, {
      address,
      send: (text) => this.tell(from.id, 'out', { tunnel: name, text }),
      end: (left) => {
        this.tunnels.delete(name)
        this.tell(from.id, 'end', { tunnel: name, left })
      },
    })
    this.tunnels.set(name, { session: stream.session, tunnel, member: from.id })
    this.streams.resume(stream, tunnel, h, xmlns)
  }

  /** @returns whether it has been worked on, when what follows may come */
  private received({ tunnel: name, stanza, xmlns, ...rest }: Received): boolean | Promise<boolean> {
    const end = this.tunnels.get(name)
    if (end === undefined || end.tunnel.closed) return false
    const { session, tunnel } = end
    tunnel.lastRead = Date.now()
    const { attrs, inner } = stanza
    const element = Stanza.fromText(
      stanza.name,
      { ...attrs },
      inner,
      rest.childCount,
      rest.payloadName,
      rest.payloadNs,
    )
    const work = (): boolean => {
      if (session.connection !== tunnel) return false
      tunnel.feed(() => session.receive(element, xmlns))
      return true
    }
    // Something of its may still be at work that came over another connection.
    const before = session.released()
    const done = before === undefined ? work() : before.then(work)
    if (done === true) return session.released()?.then(() => true) ?? true
    if (done === false) return false
    return done.then(async (worked) => {
      await session.released()
      return worked
    })
  }

  private gone({ tunnel: name, how }: Gone): void {
    const end = this.tunnels.get(name)
    this.tunnels.delete(name)
    this.resuming.delete(name)
    if (end === undefined) return
    const { session, tunnel } = end
    if (session.connection !== tunnel) return
    if (how === 'lost') tunnel.lost('the connection to another process is lost')
    else session.streamClosed()
  }

  /** The plugin goes: nobody hands anything over any more. */
  end(): void {
    for (const { session } of [...this.relayed.values()]) {
      session.close(new StreamError('reset', 'Stream management is no longer offered'))
    }
    this.resuming.clear()
  }

  private left({ id }: Member): void {
    for (const [name, member] of this.resuming) if (member === id) this.resuming.delete(name)
    for (const [name, { member, tunnel }] of [...this.tunnels]) {
      if (member !== id) continue
      this.tunnels.delete(name)
      tunnel.lost('the process that had the connection is gone')
    }
    for (const [name, { member, session }] of [...this.relayed]) {
      if (member !== id) continue
      this.relayed.delete(name)
      session.close(new StreamError('reset', 'The process that had the session is gone'))
    }
  }

  private tell(member: string, name: string, data: unknown): void {
    this.cluster.calls.tell([member], this.named(name), data)
  }

  private named(name: string): string {
    return `smacks/${name} ${this.module.host.name}`
  }
}

/** Of a client whose session another process has. */
class RelayProfile implements StreamProfile {
  readonly name
  readonly defaultNs
  readonly limits
  readonly closeTimeout
  private readonly before: StreamProfile
  private readonly relay: Relay
  private readonly tunnel: string

  constructor(before: StreamProfile, relay: Relay, tunnel: string) {
    this.name = before.name
    this.defaultNs = before.defaultNs
    this.limits = before.limits
    this.closeTimeout = before.closeTimeout
    this.before = before
    this.relay = relay
    this.tunnel = tunnel
  }

  opened(): void {
    throw new StreamError('policy-violation', 'The stream is open already')
  }

  /** What comes next waits until this has been worked on. */
  received(session: StreamSession, stanza: Stanza): void {
    session.hold(this.relay.handOver(session, this.tunnel, stanza))
  }

  closed(session: StreamSession, reason: string | undefined): void {
    // If this process ends it, the session waits: the client can go to another one.
    this.relay.ended(this.tunnel, session.closedByPeer ? 'closed' : 'lost')
    this.before.closed(session, reason)
  }
}
