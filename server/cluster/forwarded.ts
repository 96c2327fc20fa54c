/** A stanza that is under way to another process. */

import type { Origin } from '../session.ts'
import { errorReply, mayAnswerWithError } from '../stanza/reply.ts'
import { Stanza } from '../stanza/stanza.ts'
import { detached } from '../text.ts'
import type { Waiting } from './bus.ts'
import type { Copies } from './copies.ts'
import type { Flow, Moves, Way } from './moves.ts'
import type { OpenRequest } from './peers.ts'

/** What a stanza holds up until it has arrived. */
export interface OnItsWay {
  readonly moves: Moves
  /** Of the account that it is for; undefined if that is none. */
  readonly flow: Flow | undefined
  readonly way: Way
  /** Grows with each stanza that this process sends. */
  readonly order: number
  /** Who hears of it if it gets lost; undefined if nobody has to. */
  readonly origin: Origin | undefined
  /** Whose stanza is not acknowledged before. */
  readonly sender: Origin | undefined
  /** Of a copy: those that it is one of, if it is not missed alone. */
  readonly copies?: Copies | undefined
}

/** If the other process dies, whoever has sent the stanza gets an error. */
export class Forwarded implements Waiting, OpenRequest {
  acknowledged = false
  readonly order: number
  readonly copies: Copies | undefined
  private isAnswered = false
  private readonly moves: Moves
  private readonly flow: Flow | undefined
  private readonly way: Way
  private readonly generation: number
  private readonly origin: Origin | undefined
  private readonly stanza: Stanza
  private readonly sender: Origin | undefined

  constructor(stanza: Stanza, { moves, flow, way, order, origin, sender, copies }: OnItsWay) {
    this.order = order
    this.copies = copies
    copies?.goes()
    this.moves = moves
    this.flow = flow
    this.way = way
    this.generation = flow?.generation ?? 0
    this.origin = origin
    // Until an IQ is answered: no longer than that is its content kept.
    this.stanza = stanza.name === 'iq' ? withoutContent(stanza) : stanza
    this.sender = sender
    sender?.begin?.(this, true)
  }

  done(): void {
    this.acknowledged = true
    if (!this.isAnswered) this.copies?.arrived()
    this.ends()
  }

  /** Nothing is to be told of it any more. */
  answered(): void {
    this.isAnswered = true
  }

  lost(): void {
    if (this.copies !== undefined && !this.isAnswered) this.copies.missed({ lost: () => this.tell() })
    if (!this.acknowledged) this.ends()
    if (this.copies === undefined && !this.isAnswered) this.tell()
  }

  private tell(): void {
    if (this.origin !== undefined && isMissed(this.stanza)) this.origin.send(timeoutReply(this.stanza))
  }

  private ends(): void {
    this.sender?.end?.(this)
    if (this.flow !== undefined) this.moves.arrived(this.flow, this.way, this.generation)
  }
}

/** Whether somebody has to hear that a stanza may be lost: presence is told anew, and nobody waits for it. */
export function isMissed(stanza: Stanza): boolean {
  return stanza.name !== 'presence' && mayAnswerWithError(stanza)
}

/** What whoever has sent a stanza hears when the process that had it has died. */
export function timeoutReply(stanza: Stanza): Stanza {
  return errorReply(stanza, 'remote-server-timeout', 'The process that had this to deliver has ended', 'wait')
}

function withoutContent({ name, attrs }: Stanza): Stanza {
  const { type, from = '', to = '', id = '' } = attrs
  return new Stanza(name, { type, from, to: detached(to), id: detached(id) })
}
