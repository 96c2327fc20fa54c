/** What may stand between a session and its connection: it counts, keeps or holds back what is sent. */

import type { StreamSession } from './session.ts'

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

  /** @param text - one first-level child, or white space */
  abstract write(text: string): void

  /** Whether what was sent is kept until the peer says that it has it, and goes elsewhere if it never does. */
  get keeps(): boolean {
    return false
  }

  /** Waits until there is room for more of what can wait; undefined if there is. At the end there is, too. */
  room(): Promise<void> | undefined {
    return undefined
  }

  /** The stream is about to be ended in order, and nothing has been said of it yet. */
  closing(): void {}

  /**
   * The connection is lost without the stream having been ended.
   *
   * @returns whether the session goes on without one, until it is given another or is closed
   */
  lost(): boolean {
    return false
  }

  /** The session has ended, and is not bound any more. */
  ended(): void {}

  /** Lets something go on its way. */
  protected pass(text: string): void {
    if (this.next !== undefined) this.next.write(text)
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
