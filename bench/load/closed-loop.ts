// The closed loop: a fixed number of operations is in flight, and each one that completes starts the next.
import { PageReader } from './archive.ts'
import type { Client } from './client.ts'
import { IGNORE, type StanzaReader } from './connection.ts'
import { OTHER, Skeleton } from './skeleton.ts'
import {
  answerPayload,
  clientIn,
  ID_LENGTH,
  MOST_SLOTS,
  operationId,
  SEQUENCES,
  sequenceIn,
  slotIn,
  writeId,
} from './stanzas.ts'
import { TRAFFIC, type Traffic, type TrafficName } from './traffic.ts'
import { Window, type WindowPlan, type WindowResult } from './window.ts'

/** How to measure. */
export interface LoopPlan extends WindowPlan {
  traffic: TrafficName
  /** The first so many clients send; the others receive at most. */
  senders: number
  /**
   * Operations in flight, of all senders together. Where there are fewer of them than senders, each wanders from
   * sender to sender, so that all take part alike.
   */
  inFlight: number
  /** Which clients it is about, from one on and before another; all if left out. */
  among?: readonly [from: number, to: number]
  /** The Redis of the server, whose commands are counted. */
  redisPort?: number
  /** Messages in each client's archive. */
  archived?: number
  /** Length of a delegated answer's payload, as {@link answerPayload} takes it; the usual one if left out. */
  payloadBytes?: number
}

/**
 * Runs one warm-up and one window over clients that are logged in.
 * @param onMark called at both ends of the window
 * @throws Error on a wrong answer, an answer to nothing, an error, a broken connection or a standstill
 */
export function runClosedLoop(
  clients: readonly Client[],
  plan: LoopPlan,
  onMark?: () => void,
): Promise<WindowResult> {
  return new Promise((resolve, reject) => {
    const settle = (outcome: WindowResult | Error) => {
      loop.release()
      if (outcome instanceof Error) reject(outcome)
      else resolve(outcome)
    }
    const loop = new ClosedLoop(clients, plan, settle, onMark)
    loop.start()
  })
}

/**
 * Everything is kept in lanes: a lane has one operation in flight at any time. All that an answer needs is found by
 * numbers that stand in its id.
 */
class ClosedLoop {
  readonly traffic: Traffic
  /** Bytes that an answer has at least. */
  readonly leastBytes: number
  private readonly archived: number
  private readonly clients: readonly Client[]
  private readonly window: Window
  private readonly settle: (outcome: WindowResult | Error) => void
  private readonly senders: number
  private readonly lanes: number
  private readonly deliveries: number
  /** By lane: whose turn it is, the number of its operation, when it was sent, and how many are still to get it. */
  private readonly sender: Int32Array
  private readonly sequence: Int32Array
  private readonly sentAt: Float64Array
  private readonly missing: Int32Array
  /** Where several are to get it: by lane and client, 1 for those that are still to. */
  private readonly waiting: Uint8Array
  /** By sender: its stanza, and the places where the id stands in it. */
  private readonly stanzas: Buffer[]
  private readonly idsAt: number[][]
  private pending = 0

  constructor(
    clients: readonly Client[],
    plan: LoopPlan,
    settle: (outcome: WindowResult | Error) => void,
    onMark?: () => void,
  ) {
    this.clients = clients
    this.traffic = TRAFFIC[plan.traffic]
    // A server may write the same with other quotes and empty elements.
    this.leastBytes =
      plan.traffic === 'delegated-iq' ? answerPayload(plan.payloadBytes ?? 0).length * 0.95 : 0
    this.settle = settle
    this.senders = plan.senders
    this.lanes = plan.inFlight
    this.deliveries = this.traffic.deliveries(clients.length)
    if (plan.inFlight > plan.senders * MOST_SLOTS)
      throw new Error(`a client has ${MOST_SLOTS} requests at most`)
    this.sender = Int32Array.from({ length: this.lanes }, (_, lane) => lane % this.senders)
    this.sequence = new Int32Array(this.lanes)
    this.sentAt = new Float64Array(this.lanes)
    this.missing = new Int32Array(this.lanes)
    this.waiting = new Uint8Array(this.deliveries > 1 ? this.lanes * clients.length : 0)
    this.archived = plan.archived ?? 0
    const jids = clients.map(({ jid }) => jid)
    const sample = operationId(0, 0, 0)
    const texts = Array.from({ length: this.senders }, (_, sender) =>
      this.traffic.compose(jids, sender, sample),
    )
    this.stanzas = texts.map((text) => Buffer.from(text, 'latin1'))
    this.idsAt = texts.map((text) => [...text.matchAll(new RegExp(sample, 'g'))].map(({ index }) => index))
    this.window = new Window(plan, (error) => settle(error), onMark)
  }

  start(): void {
    this.clients.forEach(({ connection }, index) => {
      connection.onFailure = this.settle
      connection.listen(
        this.traffic.paged === true
          ? new PageReader(this.archived, (bytes, at) => this.deliver(index, bytes, at))
          : new OperationReader(this, index),
      )
    })
    const now = performance.now()
    for (let lane = 0; lane < this.lanes; lane++) this.begin(lane, now)
  }

  release(): void {
    this.window.close()
    for (const { connection } of this.clients) {
      connection.onFailure = () => {}
      connection.listen(IGNORE)
    }
  }

  /**
   * Takes note of what client `receiver` has received: the stanza with the id at `at`.
   * @throws Error if it should not have
   */
  deliver(receiver: number, bytes: Buffer, at: number): void {
    const client = clientIn(bytes, at)
    if (!this.traffic.reaches(client, receiver, this.clients.length)) {
      // The server's copy of one's own presence.
      if (this.deliveries > 1 && client === receiver) return
      throw new Error(`what was for another client: ${bytes.toString('latin1', at, at + ID_LENGTH)}`)
    }
    const lane = this.lanes < this.senders ? client % this.lanes : slotIn(bytes, at) * this.senders + client
    const known = lane < this.lanes && this.sender[lane] === client
    const several = this.deliveries > 1
    const place = lane * this.clients.length + receiver
    const due = several ? this.waiting[place] === 1 : this.missing[lane]! > 0
    if (!known || this.sequence[lane] !== sequenceIn(bytes, at) || !due) {
      throw new Error(`an answer to nothing that was asked: ${bytes.toString('latin1', at, at + ID_LENGTH)}`)
    }
    if (several) this.waiting[place] = 0
    if (--this.missing[lane]! === 0) this.complete(lane)
  }

  private complete(lane: number): void {
    const now = performance.now()
    this.pending--
    this.window.count(this.sentAt[lane]!, now)
    this.sequence[lane] = (this.sequence[lane]! + 1) % SEQUENCES
    if (this.window.phase !== 'drain') this.begin(lane, now)
    else if (this.pending === 0) this.settle(this.window.result!)
  }

  private begin(lane: number, now: number): void {
    let sender = this.sender[lane]!
    if (this.lanes < this.senders) {
      sender += this.lanes
      if (sender >= this.senders) sender = lane
      this.sender[lane] = sender
    }
    this.pending++
    this.sentAt[lane] = now
    this.missing[lane] = this.deliveries
    if (this.deliveries > 1) {
      const first = lane * this.clients.length
      this.waiting.fill(1, first, first + this.clients.length)
      this.waiting[first + sender] = 0
    }
    const { connection } = this.clients[sender]!
    const start = connection.sendCopy(this.stanzas[sender]!)
    const slot = this.lanes < this.senders ? 0 : (lane / this.senders) | 0
    for (const at of this.idsAt[sender]!) {
      writeId(connection.written, start + at, sender, slot, this.sequence[lane]!)
    }
  }
}

/** Reads what one client receives: each stanza is compared with the last one of the same sender. */
class OperationReader implements StanzaReader {
  private readonly loop: ClosedLoop
  private readonly receiver: number
  private readonly skeletons = new Map<number, Skeleton>()
  private idAt = 0

  constructor(loop: ClosedLoop, receiver: number) {
    this.loop = loop
    this.receiver = receiver
  }

  quick(bytes: Buffer, at: number): number {
    const idAt = at + this.idAt
    if (idAt + ID_LENGTH > bytes.length) return OTHER
    const skeleton = this.skeletons.get(clientIn(bytes, idAt))
    if (skeleton === undefined) return OTHER
    const end = skeleton.match(bytes, at)
    if (end > 0) this.loop.deliver(this.receiver, bytes, idAt)
    return end
  }

  slow(bytes: Buffer, at: number, end: number): void {
    const { traffic, leastBytes } = this.loop
    const idAt = traffic.idAt(bytes.toString('latin1', at, end), leastBytes)
    if (idAt < 0) return
    this.idAt = idAt
    const skeleton = new Skeleton(bytes.subarray(at, end), [{ at: idAt, length: ID_LENGTH }])
    this.skeletons.set(clientIn(bytes, at + idAt), skeleton)
    this.loop.deliver(this.receiver, bytes, at + idAt)
  }
}
