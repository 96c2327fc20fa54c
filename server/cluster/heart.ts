/** Keeps a process a member: shows that it lives, looks whether others do, and whether Redis has lost something. */

import type { Logger } from '../log.ts'
import type { Membership, Moment } from './membership.ts'
import type { Sender } from './sender.ts'
import { Signal } from './signal.ts'
import type { ClusterConnection, ClusterStore, FlushReply } from './store.ts'
import { BEAT, FENCE, Watch } from './watch.ts'

export interface HeartHost {
  readonly life: Membership
  /** Ids of members that are gone. */
  readonly gone: { has(id: string): boolean }
  readonly sender: Sender
  /** The others have taken this process for dead. */
  expel(life: Membership): void
}

/** Milliseconds after which a command that failed is tried again. */
const RETRY_MS = 50
/** Milliseconds for which is waited at a time until Redis is back. */
const AWAY_MS = 10_000

export class Heart {
  /** Whether Redis has answered the last command. */
  reachable = false
  /** When it has answered, by the monotonic clock. */
  answeredAt = performance.now()
  private readonly store: ClusterStore
  private readonly connection: ClusterConnection
  private readonly leaseMs: number
  private readonly log: Logger
  private readonly host: HeartHost
  private readonly watch: Watch
  private readonly pulse = new Signal()
  private stopped = false
  private refusal = ''

  constructor(
    store: ClusterStore,
    connection: ClusterConnection,
    leaseMs: number,
    log: Logger,
    host: HeartHost,
  ) {
    this.store = store
    this.connection = connection
    this.leaseMs = leaseMs
    this.log = log
    this.host = host
    this.watch = new Watch(leaseMs)
  }

  /** Beats now, and does not wait for the next time. */
  now(): void {
    this.pulse.fire()
  }

  stop(): void {
    this.stopped = true
    this.pulse.fire()
  }

  /** Beats until the end; becomes a member again where it is none. */
  async run(): Promise<void> {
    while (!this.stopped) {
      const { life } = this.host
      let pause = BEAT * this.leaseMs
      try {
        if (life.joined) await this.beat(life)
        else {
          await this.enter(life)
          continue
        }
      } catch (error) {
        this.failed(error)
        pause = Math.min(RETRY_MS, pause)
      }
      if (this.stopped) return
      await this.pulse.wait(pause)
      if (!this.reachable) await this.connection.whenReady(AWAY_MS)
    }
  }

  /** Becomes a member, or once more one after Redis has lost it. @throws Error if Redis does not do it */
  async enter(life: Membership): Promise<void> {
    const sent = life.now()
    const known = await this.store.join(life.self.id, JSON.stringify(life.self.info), life.again)
    this.reached()
    if (life.ended || this.stopped) return
    if (!known) return this.host.expel(life)
    life.joined = true
    life.beat = 0
    life.resync = true
    if (life.again) {
      this.log.warn('Redis has lost that this process is in the cluster; it joins again', {
        member: life.self.id,
      })
      life.publication.anew()
      life.rewind()
    }
    life.again = true
    this.watch.lost()
    life.confirm(sent)
    this.host.sender.schedule()
  }

  private async beat(life: Membership): Promise<void> {
    const sent = life.now()
    const { cut } = life
    const reply = await this.store.flush(life.self.id, cut, true, [])
    const received = performance.now()
    if (cut !== 0) life.inboxCut = cut
    if (this.answered(life, sent, reply)) this.observe(life, sent, received, reply)
  }

  /** Compares what Redis says of all members with what is known here. */
  private observe(life: Membership, sent: Moment, received: number, reply: FlushReply): void {
    const beats = new Map(reply.beats)
    beats.delete(life.self.id)
    for (const id of beats.keys()) {
      life.missing.delete(id)
      if (!this.host.gone.has(id)) continue
      // Redis has lost that it was removed.
      beats.delete(id)
      void this.store.remove(id, '*', false).catch((error) => this.failed(error))
    }
    for (const [id, peer] of life.peers) {
      if (!beats.has(id)) {
        beats.set(id, '')
        if (!life.missing.has(id)) life.resync = true
        life.missing.add(id)
      } else if (peer.out.unknown) {
        peer.out.unknown = false
        this.host.sender.schedule()
      }
      if (peer.out.overdue(received, this.leaseMs / 2)) {
        peer.out.asking = true
        this.host.sender.schedule()
      }
    }
    for (const [id, { seq, at }] of reply.stored) {
      if (id === life.self.id || this.host.gone.has(id) || at > life.changesRead) continue
      const known = life.peers.get(id)?.holdings.seq ?? -1
      if (known < seq) life.resync = true
    }
    if (life.resync) this.host.sender.wake()
    for (const { id, beat } of this.watch.saw(sent.at, received, beats)) {
      void this.store.remove(id, beat, false).catch((error) => this.failed(error))
    }
  }

  /**
   * Redis has answered to a command of a member.
   *
   * @param sent - when it was sent
   * @returns whether this is still a member
   */
  answered(life: Membership, sent: Moment, reply: FlushReply): boolean {
    this.reached()
    if (life.ended || !life.joined) return false
    if (reply.status === 'expelled') {
      this.host.expel(life)
      return false
    }
    if (reply.status === 'unknown') {
      life.joined = false
      this.pulse.fire()
      return false
    }
    const lost = reply.beat <= life.beat
    life.beat = reply.beat
    life.confirm(sent)
    if (lost || reply.clock < sent.read) {
      life.rewind()
      life.resync = true
      this.host.sender.wake()
    }
    const { publication } = life
    if (!publication.acknowledged(reply.batch) || reply.status === 'behind') {
      publication.anew()
      this.host.sender.schedule()
    }
    return true
  }

  /** Whether the others can not have taken this process for dead yet; waits until that is certain, or they have. */
  certain(life: Membership): boolean | Promise<void> {
    const fence = FENCE * this.leaseMs
    if (performance.now() - life.confirmed < fence) return true
    this.now()
    return this.untilCertain(life, fence)
  }

  private async untilCertain(life: Membership, fence: number): Promise<void> {
    while (!life.ended && performance.now() - life.confirmed >= fence) await life.moved.wait(this.leaseMs)
  }

  private reached(): void {
    this.reachable = true
    this.answeredAt = performance.now()
    this.refusal = ''
  }

  /** Redis could not be reached, or refuses. */
  failed(error: unknown): void {
    this.reachable = false
    this.watch.lost()
    this.refused(error)
  }

  /** Logs what Redis refuses; that it is away, the connection says. */
  refused(error: unknown): void {
    const { name, message } = error as Error
    const mistake = error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError
    if (!(mistake || name === 'ReplyError') || message === this.refusal || this.stopped) return
    this.refusal = message
    this.log.error('Redis refuses what the cluster needs, or answers what it can not read', { error })
  }
}
