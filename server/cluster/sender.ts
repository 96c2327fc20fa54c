/** Sends what waits: all of one turn of the event loop with one command, and what comes meanwhile with the next. */

import { flushConnections } from '../net/connection.ts'
import type { Membership, Moment } from './membership.ts'
import { load, type Shipment } from './shipment.ts'
import type { ClusterStore, FlushReply } from './store.ts'

/** Milliseconds that a receipt waits for messages that it could go with. */
const RECEIPT_MS = 25
const FIRST_PAUSE_MS = 20
const LONGEST_PAUSE_MS = 1000

/** Whose messages are sent. */
export interface SenderHost {
  /** The membership at this moment. */
  readonly life: Membership
  /** Redis has answered. @returns whether it is still a member, with nothing lost */
  answered(life: Membership, sent: Moment, reply: FlushReply): boolean
  failed(error: unknown): void
  /** Waits until it can be tried again. */
  retry(ms: number): Promise<unknown>
  /** Redis has stored some changes, or messages were sent. */
  progressed(): void
}

export class Sender {
  private readonly store: ClusterStore
  private readonly host: SenderHost
  private running = false
  private stopped = false
  private allReceipts = false
  private wakes = false
  private timer: NodeJS.Timeout | undefined
  private pause = FIRST_PAUSE_MS

  constructor(store: ClusterStore, host: SenderHost) {
    this.store = store
    this.host = host
  }

  /** There is something to send. */
  schedule(): void {
    if (this.running || this.stopped) return
    this.running = true
    setImmediate(() => void this.run())
  }

  /** There is a receipt to send, which may wait for something else. */
  receiptSoon(): void {
    if (this.timer !== undefined || this.stopped) return
    this.timer = setTimeout(() => this.receiptNow(), RECEIPT_MS)
  }

  receiptNow(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    this.allReceipts = true
    this.schedule()
  }

  /** Wakes our own reader, which waits for something new. */
  wake(): void {
    this.wakes = true
    this.schedule()
  }

  stop(): void {
    this.stopped = true
    clearTimeout(this.timer)
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      const { life } = this.host
      if (!life.joined) break
      // A receipt says that it is on its way.
      flushConnections()
      const shipment = load(life, this.allReceipts, this.wakes)
      if (shipment.operations.length === 0) {
        this.allReceipts = false
        break
      }
      const { allReceipts, wakes } = this
      this.allReceipts = false
      this.wakes = false
      if (!(await this.send(life, shipment))) {
        this.allReceipts ||= allReceipts
        this.wakes ||= wakes
        await this.host.retry(this.pause)
        this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS)
      } else {
        this.pause = FIRST_PAUSE_MS
        // What the turn brings goes together.
        await new Promise(setImmediate)
      }
    }
    this.running = false
  }

  /** @returns whether Redis has answered */
  private async send(life: Membership, { operations, receipts }: Shipment): Promise<boolean> {
    const sent = life.now()
    const { cut } = life
    let reply: FlushReply
    try {
      reply = await this.store.flush(life.self.id, cut, false, operations)
    } catch (error) {
      // It may have been done or not: it is sent again, and who has it already takes it for what it is.
      life.rewind()
      this.host.failed(error)
      return false
    }
    if (cut !== 0) life.inboxCut = cut
    if (!this.host.answered(life, sent, reply)) return true
    for (const id of reply.unknown) {
      const out = life.peers.get(id)?.out
      if (out === undefined) continue
      out.unknown = true
      out.rewind()
    }
    for (const [peer, receipt] of receipts) {
      if (reply.unknown.includes(peer.member.id)) continue
      peer.in.delivered(receipt)
      // What has come meanwhile was urgent only together with what is told now.
      if (peer.in.owes) this.receiptSoon()
    }
    this.host.progressed()
    return true
  }
}
