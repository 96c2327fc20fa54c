/** What may stand between a session and its connection: it counts, keeps or holds back what is sent. */

import type { StreamSession } from './session.ts'

/** Hears what becomes of a stanza that a session is sent: one of both, once. */
export interface Receipt {
  /** The peer says that it has it. */
  acknowledged(): void
  /** The session has ended, and the peer has not said so. */
  missed(): void
}

/** One of a chain. What a session sends goes through them, the highest place first, and then to its connection. */
export abstract class Outlet {
  /** Where in the chain: who has a lower one is nearer to the connection. */
  abstract readonly place: number
  readonly session: StreamSession
  /** Set by the session. */
  next: Outlet | undefined

  constructor(session: StreamSession) {
    this.session = session
  }

  /**
   * @param text - one first-level child, or white space
   * @param receipt - is passed on with the text
   */
  abstract write(text: string, receipt?: Receipt): void

  /** How many stanzas the peer may leave unacknowledged, if this one hears of it and tells the receipts. */
  get acknowledges(): number {
    return 0
  }

  /** Asks the peer to acknowledge what it has been sent, if this one can. */
  ask(): void {}

  /** The stream is about to be ended in order, and nothing has been said of it yet. */
  closing(): void {}

  /**
   * The connection is lost without the stream having been ended.
   *
   * @param isReplaced - whether another one is about to take its place
   * @returns whether the session goes on without one, until it is given another or is closed
   */
  lost(_isReplaced: boolean): boolean {
    return false
  }

  /** The session has ended, and is not bound any more. */
  ended(): void {}

  /** Lets something go on its way. */
  protected pass(text: string, receipt?: Receipt): void {
    if (this.next !== undefined) this.next.write(text, receipt)
    else this.session.connection.write(text)
  }
}

/** Whether the text of a first-level child is that of a stanza: those are counted (XEP-0198 §1). */
export function isStanzaText(text: string): boolean {
  return startsAs(text, '<message') || startsAs(text, '<presence') || startsAs(text, '<iq')
}

function startsAs(text: string, tag: string): boolean {
  if (!text.startsWith(tag)) return false
  const next = text.charCodeAt(tag.length)
  return next === 0x20 || next === 0x3e || next === 0x2f
}
