/** What was kept comes before what is new (RFC 6120 §10.1): that waits while a session is being given the other. */

import {
  isStanzaText,
  type Origin,
  Outlet,
  type Receipt,
  type Server,
  type StreamSession,
  type Timeout,
} from '../../server/index.ts'

/** Characters that wait at most. */
const MOST_SIZE = 1 << 20
/**
 * Seconds for which they do: the storage may be slow, another process may have its turn and have died, and a client
 * may read slowly what was kept for it, until its connection is given up for that.
 */
const MOST_SECONDS = 60
/** Seconds after which their senders do not wait any longer: so long a client may have to wait for what it asks. */
const UNACKNOWLEDGED_SECONDS = 5

/** Something new. */
export interface Waiting {
  readonly text: string
  /** Milliseconds since 1970. */
  readonly when: number
  readonly receipt: Receipt | undefined
  /** Whether others have it, too. */
  readonly hasCopies: boolean
  /** Who is told that it has arrived; undefined if nobody is, or that has happened. */
  sender: Origin | undefined
}

/** Who gives a session what was kept. */
export interface Giver {
  /** Whose stanza a text is, that is not acknowledged before it is on its way. */
  senderOf(text: string): Origin | undefined
  /** Whether others have it now, too. */
  hasCopies(session: StreamSession, text: string): boolean
  /** The session has ended: what is new goes where it would have gone without it, behind what was kept. */
  giveBack(session: StreamSession, waiting: readonly Waiting[]): void
}

export class KeptFirst extends Outlet {
  readonly place = 20
  private waiting: Waiting[] = []
  private readonly giver: Giver
  private size = 0
  /** It takes too long, or there is too much. */
  private open = false
  /** Whether their senders wait, too. */
  private patient = true
  /** How often it was begun. */
  private depth = 0
  private timers: Timeout[] = []
  /** What will look into the store for more; undefined if nothing will that has not begun to. */
  upcoming: Promise<void> | undefined

  constructor(session: StreamSession, giver: Giver) {
    super(session)
    this.giver = giver
  }

  /** Something that was kept is about to be sent, perhaps. */
  begin({ timers }: Server): void {
    if (this.depth++ > 0) return
    this.session.addOutlet(this)
    this.timers = [
      timers.after(UNACKNOWLEDGED_SECONDS, release, this),
      timers.after(MOST_SECONDS, giveUp, this),
    ]
  }

  /** That is done. @returns whether nothing waits for it any more */
  end(): boolean {
    if (--this.depth > 0) return false
    for (const timer of this.timers) timer.cancel()
    this.flush()
    this.session.removeOutlet(this)
    return true
  }

  write(text: string, receipt?: Receipt): void {
    if (this.open || !isStanzaText(text)) {
      this.pass(text, receipt)
      return
    }
    const { giver, session } = this
    const waiting: Waiting = {
      text,
      when: Date.now(),
      receipt,
      hasCopies: giver.hasCopies(session, text),
      sender: this.patient ? giver.senderOf(text) : undefined,
    }
    waiting.sender?.begin?.(waiting)
    this.waiting.push(waiting)
    this.size += text.length
    if (this.size > MOST_SIZE) this.giveUp()
  }

  /** Sends what was kept. */
  writeFirst(text: string, receipt: Receipt | undefined): void {
    if (!this.session.destroyed) this.pass(text, receipt)
  }

  /** Its senders do not wait any longer. */
  release(): void {
    this.patient = false
    for (const one of this.waiting) {
      one.sender?.end?.(one)
      one.sender = undefined
    }
  }

  giveUp(): void {
    this.open = true
    this.flush()
  }

  override lost(): boolean {
    // It is kept with what has not been acknowledged, if something is.
    if (this.session.acknowledges > 0) this.giveUp()
    return false
  }

  override ended(): void {
    // What was kept comes to the next one, and what is new after it.
    const { waiting } = this
    this.waiting = []
    if (waiting.length > 0) this.giver.giveBack(this.session, waiting)
  }

  private flush(): void {
    const { waiting } = this
    this.waiting = []
    this.size = 0
    for (const one of waiting) {
      this.pass(one.text, one.receipt)
      one.sender?.end?.(one)
    }
  }
}

function release(first: KeptFirst): void {
  first.release()
}

function giveUp(first: KeptFirst): void {
  first.giveUp()
}
