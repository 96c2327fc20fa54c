/** Stanzas that have come to a process where they can not be worked on any more: they go back, and are sent again. */

import { bareOf, domainOf, type PreparedJid, prepareJid } from '../jid.ts'
import type { Server } from '../server.ts'
import type { Stanza } from '../stanza/stanza.ts'
import { StreamSession } from '../stream/session.ts'
import type { Bus, Member } from './bus.ts'
import { Forwarded, isMissed, timeoutReply } from './forwarded.ts'
import type { RemotePeer } from './peers.ts'
import { endWhenReleased, type Traffic, type TrafficHost } from './traffic.ts'
import { AGAIN, decode, type StanzaMessage } from './wire.ts'

const RETURNED = 'cluster/returned'

/** A message of another process. */
export interface Arrived {
  readonly from: Member
  /** All of it. */
  readonly text: string
  /** Among the messages from there. */
  readonly number: number
}

/** What is told of a stanza that has come back: the number that it had on its way, and itself. */
type Returned = readonly [number: number, text: string]

/**
 * What has come from one process for one account, until that process has taken back what goes back of it: from then
 * on nothing comes any more that was sent before it knew.
 */
export interface Batch {
  readonly key: string
  /** Something of it goes back; so all of it does that is worked on later, and nothing can overtake it. */
  goesBack: boolean
  /** How much goes back, and has not been taken. */
  untaken: number
  /** How much is held up before it is worked on. */
  heldUp: number
}

export class Returns {
  private readonly server: Server
  private readonly cluster: TrafficHost
  private readonly traffic: Traffic
  private readonly bus: Bus
  private readonly batches = new Map<string, Batch>()

  constructor(server: Server, cluster: TrafficHost, traffic: Traffic, bus: Bus) {
    this.server = server
    this.cluster = cluster
    this.traffic = traffic
    this.bus = bus
    cluster.calls.on(RETURNED, (returned, from) => this.returned(from, returned as Returned))
  }

  // What goes back.

  /**
   * What a stanza is part of that has just come to be worked on here; undefined if nothing can come of that.
   *
   * @param isHeldUp - whether it has to wait; then {@link goesOn} has to be called
   */
  batchOf(from: Member, to: PreparedJid, isHeldUp: boolean): Batch | undefined {
    if (this.batches.size === 0 && !isHeldUp) return undefined
    const key = `${from.id} ${to.bare}`
    const batch = this.batches.get(key)
    if (!isHeldUp) return batch
    const its = batch ?? this.open(key)
    its.heldUp++
    return its
  }

  /** Something of it is worked on now, and not held up any more. */
  goesOn(batch: Batch): void {
    batch.heldUp--
    this.close(batch)
  }

  /**
   * Whether what has come to be worked on here goes back: it is another process's to work on by now, or something
   * that was sent before is on its way back, and must not be overtaken if the account has just come here.
   */
  goesBack(stanza: Stanza, to: PreparedJid, batch: Batch | undefined): boolean {
    return batch?.goesBack === true || this.isOfOthers(stanza, to)
  }

  /** Whether what has come to be worked on here is another process's to work on by now. */
  private isOfOthers({ name }: Stanza, to: PreparedJid): boolean {
    const host = this.server.hosts.get(to.domain)
    if (host?.hostType !== 'host' || to.local === undefined) return false
    const { directory } = this.cluster
    const account = host.accounts.get(to.local)
    if (to.resource !== undefined) {
      if (account?.sessions.has(to.resource)) return false
      if (directory.find(to.full) !== undefined) return true
    }
    return name !== 'iq' && account === undefined && directory.resourcesOf(to.bare).length > 0
  }

  /**
   * Gives back what was to be worked on here.
   *
   * @returns as {@link giveBack}
   */
  async giveBackAll(arrived: Arrived, message: StanzaMessage, to: PreparedJid): Promise<void> {
    const key = `${arrived.from.id} ${to.bare}`
    const batch = this.batches.get(key) ?? this.open(key)
    batch.goesBack = true
    batch.untaken++
    await this.giveBack(arrived, message)
    batch.untaken--
    this.close(batch)
  }

  private open(key: string): Batch {
    const batch: Batch = { key, goesBack: false, untaken: 0, heldUp: 0 }
    this.batches.set(key, batch)
    return batch
  }

  /** What comes from now on is not part of it any more. */
  private close(batch: Batch): void {
    const isOver = batch.untaken === 0 && (batch.goesBack || batch.heldUp === 0)
    if (isOver && this.batches.get(batch.key) === batch) this.batches.delete(batch.key)
  }

  /** @returns what settles when the other process has it, or is gone: until then this one answers for it */
  async giveBack({ from, text, number }: Arrived, message: StanzaMessage): Promise<void> {
    const { bus } = this
    const { self } = bus
    const back: Returned = [number, text]
    const answers = await this.cluster.calls.ask([from.id], RETURNED, back, Number.POSITIVE_INFINITY)
    if (answers.has(from.id) || bus.self !== self || bus.members.has(from.id)) return
    // Who has sent it on is dead. If it is from a client that is still there, its process knows that it has not
    // arrived; others may be there to hear.
    const { stanza } = message
    const sender = stanza.attrs.from ?? ''
    if (this.server.fullJids.has(sender) || this.cluster.directory.find(sender) !== undefined) return
    if ((message.for !== '' || message.from.id === AGAIN) && isMissed(stanza)) {
      this.server.router.route(timeoutReply(stanza))
    }
  }

  // What comes back.

  /** A stanza that this process has sent to another one, which does not have whom it is for. */
  private returned(member: Member, [number, text]: Returned): void {
    const message = decode(text)
    if (message.kind !== 'stanza') return
    const { stanza, from } = message
    const waiting = this.bus.takeBack(member.id, number)
    const forwarded = waiting instanceof Forwarded ? waiting : undefined
    const arrived = () => {
      // It is not lost any more with the process that had it.
      forwarded?.answered()
      waiting?.done?.()
    }
    const to = prepareJid(stanza.attrs.to ?? '')
    const session = from.kind === 'h' ? undefined : this.cluster.sessionOf(from.id)
    const origin = session ?? this.server.hosts.get(domainOf(bareOf(from.jid)))
    if (to === undefined || origin === undefined) {
      arrived()
      return
    }
    // Its events have been fired: the copy was one session's.
    const isCopy = message.for !== '' || from.id === AGAIN
    const sender = isMissed(stanza) ? this.traffic.senderOf(stanza) : undefined
    const sending = {}
    sender?.begin(sending, true)
    // It keeps its place, however often it comes back.
    const order = forwarded?.order ?? this.traffic.nextOrder()
    const send = () => {
      if (isCopy) this.cluster.returned.add(stanza)
      return this.traffic.sendAtOnce(origin, stanza, to, order)
    }
    const go = () => {
      let looked: Promise<unknown> | undefined
      try {
        looked = send()
      } finally {
        if (sender !== undefined) endAfter(looked, sender, sending)
      }
      return looked
    }
    const { moves } = this.cluster
    if (forwarded?.copies === undefined) {
      moves.returned(to.bare, isCopy, order, go, arrived)
      return
    }
    // If another copy arrives, it is not sent again.
    moves.changes(to.bare)
    forwarded.copies.missed({
      again: () => moves.returned(to.bare, isCopy, order, go, () => {}),
      over: () => sender?.end(sending),
    })
    arrived()
  }
}

/** What was sent again is done with when it is known where it goes, and nothing that it has begun goes on. */
function endAfter(
  looked: Promise<unknown> | undefined,
  sender: StreamSession | RemotePeer,
  sending: object,
): void {
  if (sender instanceof StreamSession) endWhenReleased(sender, sending)
  else if (looked === undefined) sender.end(sending)
  else looked.then(() => sender.end(sending))
}
