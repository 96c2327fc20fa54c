/** The bus over Redis: one process of a cluster. How it works is written in docs/cluster-keys.md. */

import type { Logger } from '../log.ts'
import { randomText } from '../random-text.ts'
import type { Bus, BusHandler, BusState, Member, MemberInfo, Waiting } from './bus.ts'
import { Heart } from './heart.ts'
import { Membership, type Peer } from './membership.ts'
import { Reader } from './reader.ts'
import { Sender } from './sender.ts'
import { Signal } from './signal.ts'
import { type ClusterConnection, ClusterStore } from './store.ts'

export interface RedisBusOptions {
  /**
   * Opens a connection that comes back by itself, and on which a command is rejected after some seconds at most.
   *
   * @param purpose - what it is for
   * @param blocking - milliseconds for which its commands may wait in Redis
   */
  connect(purpose: string, blocking: number): ClusterConnection
  /** What every key begins with. */
  readonly prefix: string
  /** Seconds after which a process that is not heard of is taken for dead. */
  readonly lease: number
  readonly info: MemberInfo
  readonly log: Logger
}

/** Milliseconds in which Redis must be there for joining. */
const JOIN_MS = 10_000
/** Milliseconds that leaving may take, at most. */
const LEAVE_MS = 5000
/** Milliseconds for telling the others, at least. */
const SHORTEST_LEAVE_MS = 500
const LONGEST_BLOCK_MS = 5000
/** Ids of members that are gone, which could come back if Redis has lost that they are. */
const REMEMBERED = 10_000

export class RedisBus implements Bus {
  private readonly options: RedisBusOptions
  private readonly leaseMs: number
  private readonly commands: ClusterConnection
  private readonly blocking: ClusterConnection
  private readonly store: ClusterStore
  private readonly sender: Sender
  private readonly reader: Reader
  private readonly heart: Heart
  private readonly gone = new Set<string>()
  /** Something was sent, acknowledged or done. */
  private readonly progress = new Signal()
  private readonly ending = new Signal()
  private handler: BusHandler | undefined
  private life: Membership
  private leaving = false
  private ended = false

  constructor(options: RedisBusOptions) {
    this.options = options
    this.leaseMs = options.lease * 1000
    const blockMs = Math.ceil(Math.min(this.leaseMs / 2, LONGEST_BLOCK_MS))
    this.commands = options.connect('cluster', 0)
    this.blocking = options.connect('cluster-inbox', blockMs)
    this.store = new ClusterStore(this.commands.client, options.prefix)
    this.life = new Membership(newMember(options.info))
    this.sender = new Sender(this.store, this.senderHost())
    this.heart = new Heart(this.store, this.commands, this.leaseMs, options.log, this.heartHost())
    this.reader = new Reader(this.store, this.readerHost(), this.blocking.client, blockMs)
  }

  get self(): Member {
    return this.life.self
  }

  get members(): ReadonlyMap<string, Member> {
    return this.life.members
  }

  get knows(): boolean {
    return this.life.snapshotAt > 0
  }

  async join(handler: BusHandler): Promise<void> {
    if (this.handler !== undefined) throw new Error('this bus has been joined before: make another')
    this.handler = handler
    const ready = await Promise.all([this.commands, this.blocking].map((one) => one.whenReady(JOIN_MS)))
    try {
      if (ready.includes(false)) throw new Error('Redis is away')
      await this.heart.enter(this.life)
      await this.reader.snapshot(this.life)
    } catch (error) {
      await this.end()
      throw new Error(`the cluster can not be joined: ${(error as Error).message}`)
    }
    void this.reader.run()
    void this.heart.run()
  }

  async leave(): Promise<void> {
    if (this.leaving) return
    this.leaving = true
    const { life } = this
    if (life.joined && this.heart.reachable) {
      const deadline = performance.now() + Math.min(LEAVE_MS, this.leaseMs)
      const left = () => deadline - performance.now()
      this.sender.receiptNow()
      while (!life.idle && !life.ended && left() > 0) {
        await this.progress.wait(left())
        this.sender.receiptNow()
      }
      this.reader.stop()
      if (!life.ended) {
        // What Redis says from now on, that this is no member, is nothing new.
        life.end()
        const done = new Signal()
        this.store.remove(life.self.id, '*', true).then(
          () => done.fire(),
          () => done.fire(), // The others find out within the lease.
        )
        await done.wait(Math.max(left(), SHORTEST_LEAVE_MS))
      }
    }
    await this.end()
  }

  send(to: string, text: string, waiting?: Waiting): number {
    const { life } = this
    if (to === life.self.id) throw new Error('a message to this process itself')
    const peer = this.ended ? undefined : life.peers.get(to)
    if (peer === undefined) {
      if (waiting !== undefined) setImmediate(() => this.lose([waiting]))
      return 0
    }
    life.publication.close()
    peer.out.push(text, life.publication.last, waiting)
    this.weigh(peer)
    this.sender.schedule()
    return peer.out.last
  }

  takeBack(to: string, number: number): Waiting | undefined {
    return this.life.peers.get(to)?.out.takeWaiting(number)
  }

  publish(key: string, value: string | undefined): void {
    if (this.ended) return
    this.life.publication.publish(key, value)
    this.sender.schedule()
  }

  published(): Promise<void> {
    return this.ended ? Promise.resolve() : this.life.publication.published()
  }

  async othersKnown(ms: number): Promise<boolean> {
    const deadline = performance.now() + ms
    while (!this.ended && this.life.snapshotAt === 0) {
      const left = deadline - performance.now()
      if (left <= 0) return false
      await this.life.moved.wait(left)
    }
    return !this.ended
  }

  state(): BusState {
    const members = [...this.life.members.values()].map((member) => {
      const out = this.life.peers.get(member.id)?.out
      return { member, unacknowledged: out?.length ?? 0, waitingBytes: out?.size ?? 0 }
    })
    const silentFor = this.heart.reachable ? 0 : performance.now() - this.heart.answeredAt
    return { connected: this.heart.reachable, silentFor, members, commands: this.store.commands }
  }

  /** The others have taken this process for dead. */
  private expel(life: Membership): void {
    const { log, info } = this.options
    life.end()
    this.remember(life.self.id)
    this.life = new Membership(newMember(info))
    log.warn('the cluster has taken this process for dead; it joins as another', {
      member: life.self.id,
      now: this.life.self.id,
    })
    for (const peer of life.peers.values()) this.relieve(peer)
    this.tell((handler) => handler.expelled())
    for (const peer of life.peers.values()) this.lose(peer.out.end())
    this.life.publication.succeed(life.publication)
    this.heart.now()
    this.progress.fire()
  }

  private async end(): Promise<void> {
    if (this.ended) return
    this.ended = true
    this.leaving = true
    this.sender.stop()
    this.reader.stop()
    this.life.end()
    this.heart.stop()
    this.progress.fire()
    this.ending.fire()
    this.life.publication.end()
    for (const peer of this.life.peers.values()) this.lose(peer.out.end())
    await Promise.all([this.commands, this.blocking].map((one) => one.close().catch(() => {})))
  }

  private senderHost() {
    const bus = this
    return {
      get life() {
        return bus.life
      },
      answered: (...answer: Parameters<Heart['answered']>) => this.heart.answered(...answer),
      failed: (error: unknown) => this.heart.failed(error),
      retry: (ms: number) => this.retry(this.commands, ms),
      progressed: () => this.progress.fire(),
    }
  }

  private heartHost() {
    const bus = this
    return {
      get life() {
        return bus.life
      },
      gone: this.gone,
      sender: this.sender,
      expel: (life: Membership) => this.expel(life),
    }
  }

  private readerHost() {
    const bus = this
    return {
      get life() {
        return bus.life
      },
      gone: this.gone,
      certain: (life: Membership) => this.heart.certain(life),
      joined: (life: Membership, member: Member, seq: number) => {
        const peer = life.add(member, seq)
        this.tell((handler) => handler.joined(member))
        return peer
      },
      left: (life: Membership, peer: Peer, orderly: boolean) => this.left(life, peer, orderly),
      changed: (peer: Peer, key: string, value: string | undefined) => {
        this.tell((handler) => handler.changed(peer.member, key, value))
      },
      received: (peer: Peer, text: string, number: number) => {
        try {
          return this.handler!.received(peer.member, text, number)
        } catch (error) {
          this.options.log.error('a message of the cluster could not be worked on', { error, internal: true })
        }
      },
      acknowledged: (peer: Peer, missing: boolean) => {
        this.weigh(peer)
        if (missing || peer.out.ready) this.sender.schedule()
        this.progress.fire()
      },
      owes: (peer: Peer) => {
        if (peer.in.urgent) this.sender.schedule()
        else this.sender.receiptSoon()
        if (this.leaving) this.progress.fire()
      },
      suspect: () => this.heart.now(),
      failed: (error: unknown) => this.heart.refused(error),
      retry: (ms: number) => this.retry(this.blocking, ms),
    }
  }

  private left(life: Membership, peer: Peer, orderly: boolean): void {
    const { member, holdings, out } = peer
    life.remove(member.id)
    this.remember(member.id)
    const { id, info } = member
    const fields = { process: info.name, member: id, processId: info.pid }
    if (orderly) this.options.log.info('a process has left the cluster', fields)
    else this.options.log.warn('a process of the cluster is dead', fields)
    this.relieve(peer)
    this.tell((handler) => handler.left(member, orderly, holdings.entries))
    this.lose(out.end())
    this.progress.fire()
  }

  private weigh({ member, out }: Peer): void {
    const { crowded } = out
    if (crowded === out.congested) return
    out.congested = crowded
    this.tell((handler) => handler.congested(member, crowded))
  }

  private relieve({ member, out }: Peer): void {
    if (!out.congested) return
    out.congested = false
    this.tell((handler) => handler.congested(member, false))
  }

  private remember(id: string): void {
    this.gone.add(id)
    if (this.gone.size > REMEMBERED) this.gone.delete(this.gone.values().next().value!)
  }

  private async retry(connection: ClusterConnection, ms: number): Promise<void> {
    await this.ending.wait(ms)
    if (!this.ended) await connection.whenReady(JOIN_MS)
  }

  private lose(waiting: readonly Waiting[]): void {
    for (const one of waiting) this.tell(() => one.lost())
  }

  private tell(what: (handler: BusHandler) => void): void {
    try {
      if (this.handler !== undefined) what(this.handler)
    } catch (error) {
      this.options.log.error('what the cluster told could not be worked on', { error, internal: true })
    }
  }
}

function newMember(info: MemberInfo): Member {
  return { id: randomText(12).replaceAll('_', '-'), info }
}
