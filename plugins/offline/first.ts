/** What was kept comes before what is new (RFC 6120 §10.1): that waits while a session is being given the other. */

import {
  isStanzaText,
  type Origin,
  Outlet,
  type Receipt,
  type Resource,
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

/** Something new. */
export interface Waiting {
  readonly text: string
  /** Milliseconds since 1970. */
  readonly when: number
  readonly receipt: Receipt | undefined
  /** Who have it, too. */
  readonly others: readonly Resource[]
  readonly sender: Origin | undefined
  /** Whether its sender waits for that it has arrived. */
  isAwaited: boolean
}

/** Who gives a session what was kept. */
export interface Giver {
  /** Whose stanza a text is, that is not acknowledged before it is on its way. */
  senderOf(text: string): Origin | undefined
  /** Who have it now, too. */
  othersWith(session: StreamSession, text: string): readonly Resource[]
  /**
   * The session has ended: what is new goes where it would have gone without it, behind what was kept.
   *
   * @param kept - settles when it is known what has become of that
   */
  giveBack(session: StreamSession, waiting: readonly Waiting[], kept: Promise<unknown>): void
}

export class KeptFirst extends Outlet {
  readonly place = 20
  private waiting: Waiting[] = []
  private readonly giver: Giver
  private size = 0
  /** It takes too long, or there is too much. */
  private open = false
  /** Whether only messages wait. */
  private onlyMessages = false
  /** Whether their senders wait, too. */
  private patient = true
  /** How often it was begun. */
  private depth = 0
  private timer: Timeout | undefined
  /** What gives the session something that was kept. */
  private readonly underWay = new Set<Promise<unknown>>()
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
    this.timer = timers.after(MOST_SECONDS, giveUp, this)
  }

  /** That is done. @returns whether nothing waits for it any more */
  end(): boolean {
    if (--this.depth > 0) return false
    this.timer?.cancel()
    this.flush()
    this.session.removeOutlet(this)
    return true
  }

  write(text: string, receipt?: Receipt): void {
    if (this.open || !(this.onlyMessages ? isMessage(text) : isStanzaText(text))) {
      this.pass(text, receipt)
      return
    }
    const { giver, session } = this
    const waiting: Waiting = {
      text,
      when: Date.now(),
      receipt,
      others: giver.othersWith(session, text),
      sender: giver.senderOf(text),
      isAwaited: this.patient,
    }
    // What its sender asks next need not wait; only the acknowledgement does.
    if (waiting.isAwaited) waiting.sender?.begin?.(waiting, true)
    this.waiting.push(waiting)
    this.size += text.length
    if (this.size > MOST_SIZE) this.giveUp()
  }

  /** Sends what was kept. */
  writeFirst(text: string, receipt: Receipt | undefined): void {
    if (!this.session.destroyed) this.pass(text, receipt)
  }

  /** Something is about to be given to the session, or to others if it is gone. */
  adds(work: Promise<unknown>): void {
    this.underWay.add(work)
    void work.then(() => this.underWay.delete(work))
  }

  /**
   * The session takes what it was given, or does not.
   *
   * @param isPatient - whether the senders of what is new wait. They do not wait for a client that is slow: what was
   *   written to one is not acknowledged later either
   */
  setPatient(isPatient: boolean): void {
    this.patient = isPatient
    if (isPatient) return
    for (const one of this.waiting) {
      if (one.isAwaited) one.sender?.end?.(one)
      one.isAwaited = false
    }
  }

  giveUp(): void {
    this.open = true
    this.flush()
  }

  /** The client has to say something before more is sent to it: it may wait for an answer first. */
  letOthersPass(): void {
    this.onlyMessages = true
    const rest = this.waiting.filter(({ text }) => !isMessage(text))
    this.waiting = this.waiting.filter(({ text }) => isMessage(text))
    for (const one of rest) this.send(one)
  }

  override closing(): void {
    // What is no message is of no use to others.
    this.letOthersPass()
  }

  override ended(): void {
    // What was kept comes to the next one, and what is new after it.
    const { waiting } = this
    this.waiting = []
    if (waiting.length > 0) this.giver.giveBack(this.session, waiting, Promise.all(this.underWay))
  }

  private flush(): void {
    const { waiting } = this
    this.waiting = []
    this.size = 0
    for (const one of waiting) this.send(one)
  }

  private send(one: Waiting): void {
    const { sender } = one
    const since = sender?.begun
    this.pass(one.text, one.receipt)
    if (one.isAwaited) sender?.end?.(one, since)
  }
}

function isMessage(text: string): boolean {
  return text.startsWith('<message')
}

function giveUp(first: KeptFirst): void {
  first.giveUp()
}
