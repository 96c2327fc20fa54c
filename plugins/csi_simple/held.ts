/** What is held back for a client while nobody looks at it. */

import {
  detached,
  Outlet,
  payloadAttributes,
  type Receipt,
  type StreamSession,
  withDelay,
} from '../../server/index.ts'

/** Characters that are held back at most. */
const MOST_SIZE = 1 << 18

/** What decides about it. */
export interface Holding {
  /** Stanzas that are held back at most. */
  readonly most: number
  isImportant(session: StreamSession, text: string): boolean
  /** All that was held back is about to be sent. */
  flushing(session: StreamSession): void
}

/** Of an inactive session. It holds back what can wait, and sends all of it with the first thing that can not. */
export class HeldBack extends Outlet {
  readonly place = 10
  private readonly holding: Holding
  /** In order; presence by its sender, of whom the last counts. */
  private held = new Map<string | number, string>()
  private size = 0
  private count = 0
  /** After something important everything passes for a while: answers follow. */
  private open = false

  constructor(session: StreamSession, holding: Holding) {
    super(session)
    this.holding = holding
  }

  write(text: string, receipt?: Receipt): void {
    const { holding, session, held } = this
    if (this.open) {
      this.pass(text, receipt)
      return
    }
    // What somebody waits for is not held back either.
    if (receipt !== undefined || holding.isImportant(session, text)) {
      this.open = true
      this.flush()
      this.pass(text, receipt)
      holding.flushing(session)
      return
    }
    const kept = detached(withDelay(text, session.host!.name, Date.now()))
    const key = keyOf(text) ?? ++this.count
    const before = held.get(key)
    if (before !== undefined) {
      this.size -= before.length
      held.delete(key)
    }
    held.set(key, kept)
    this.size += kept.length
    if (held.size < holding.most && this.size < MOST_SIZE) return
    this.flush()
    holding.flushing(session)
  }

  /** Holds back again. */
  shut(): void {
    this.open = false
  }

  /** Sends all that was held back. */
  flush(): void {
    const { held } = this
    if (held.size === 0) return
    this.held = new Map()
    this.size = 0
    for (const text of held.values()) this.pass(text)
  }

  override closing(): void {
    this.flush()
  }

  override lost(): boolean {
    // It is kept with what has not been acknowledged, if something is.
    this.open = true
    this.flush()
    return false
  }
}

/** Of whom of several only the last counts. */
function keyOf(text: string): string | undefined {
  if (!text.startsWith('<presence')) return undefined
  const { type, from = '' } = payloadAttributes(text)
  return type === 'error' ? undefined : from
}
