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
const MOST_SIZE = 1 << 18
/** Seconds for which they do: the storage may be slow, or another process may have its turn. */
const MOST_SECONDS = 2

interface Waiting {
  readonly text: string
  readonly receipt: Receipt | undefined
  readonly sender: Origin | undefined
}

export class KeptFirst extends Outlet {
  readonly place = 20
  private waiting: Waiting[] = []
  private readonly senderOf: (text: string) => Origin | undefined
  private size = 0
  /** It takes too long, or there is too much. */
  private open = false
  /** How often it was begun. */
  private depth = 0
  private timer: Timeout | undefined

  /** @param senderOf - whose stanza it is, which is not acknowledged before it is on its way */
  constructor(session: StreamSession, senderOf: (text: string) => Origin | undefined) {
    super(session)
    this.senderOf = senderOf
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
    if (this.open || !isStanzaText(text)) {
      this.pass(text, receipt)
      return
    }
    const waiting: Waiting = { text, receipt, sender: this.senderOf(text) }
    waiting.sender?.begin?.(waiting)
    this.waiting.push(waiting)
    this.size += text.length
    if (this.size > MOST_SIZE) this.giveUp()
  }

  /** Sends what was kept. */
  writeFirst(text: string, receipt: Receipt | undefined): void {
    if (!this.session.destroyed) this.pass(text, receipt)
  }

  giveUp(): void {
    this.open = true
    this.flush()
  }

  override closing(): void {
    this.giveUp()
  }

  override lost(): boolean {
    // It is kept with what has not been acknowledged, if something is.
    this.giveUp()
    return false
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

function giveUp(first: KeptFirst): void {
  first.giveUp()
}
