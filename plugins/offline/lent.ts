/** Messages that are on their way to sessions: they stay in the store until they have arrived. */

import type { ArchiveStore, KeptStanza, Receipt, StreamSession } from '../../server/index.ts'

/** All of a process. */
export class Lent {
  private readonly byAccount = new Map<string, Map<string, StreamSession>>()

  add(username: string, id: string, session: StreamSession): void {
    const own = this.byAccount.get(username)
    if (own === undefined) this.byAccount.set(username, new Map([[id, session]]))
    else own.set(id, session)
  }

  delete(username: string, ids: Iterable<string>): void {
    const own = this.byAccount.get(username)
    if (own === undefined) return
    for (const id of ids) own.delete(id)
    if (own.size === 0) this.byAccount.delete(username)
  }

  /** Ids in the store of what is on its way to sessions of an account. */
  of(username: string): string[] {
    return [...(this.byAccount.get(username)?.keys() ?? [])]
  }

  /** How many are on their way to a session. */
  countOf(session: StreamSession): number {
    let count = 0
    for (const to of this.byAccount.get(session.username!)?.values() ?? []) if (to === session) count++
    return count
  }
}

/** What a parcel tells. */
export interface Sender {
  readonly lent: Lent
  readonly store: Pick<ArchiveStore<KeptStanza>, 'remove'>
  /** Sends one before all that is new. */
  sendFirst(session: StreamSession, text: string, receipt: Receipt | undefined): void
  /** All of it has arrived. */
  arrived(session: StreamSession): void
  /** Some of it has not, and is for others. */
  missed(username: string): void
  failed(username: string, error: unknown): void
  finishBeforeStop(work: Promise<void>): void
}

/** What is sent to a session at a time. */
export class Parcel {
  readonly session: StreamSession
  /** Whether the client acknowledges each. */
  readonly isAcknowledged: boolean
  /** Whether there may be more behind it. */
  isFull = false
  /** Settles when the client has acknowledged all of it and is being given what comes next, or the session has ended. */
  readonly settled: Promise<void>
  private readonly sender: Sender
  private readonly username: string
  private readonly open = new Set<string>()
  private settle!: () => void
  /** Those that have arrived, or have not, and of which nobody has heard yet. */
  private arrived: string[] = []
  private lost: string[] = []

  constructor(sender: Sender, session: StreamSession) {
    this.sender = sender
    this.session = session
    this.username = session.username!
    this.isAcknowledged = session.acknowledges > 0
    this.settled = new Promise((resolve) => {
      this.settle = resolve
    })
  }

  /** How many have been sent, and are not known to have arrived. */
  get size(): number {
    return this.open.size
  }

  /** @param id - in the store */
  send(id: string, text: string): void {
    this.open.add(id)
    this.sender.lent.add(this.username, id, this.session)
    this.sender.sendFirst(this.session, text, this.isAcknowledged ? this.receiptOf(id) : undefined)
  }

  /**
   * Waits until the system has all of it, for who acknowledges nothing: that it is sent then even if this process dies
   * is the most that can be known.
   *
   * @returns false if the connection was lost before
   */
  async delivered(): Promise<boolean> {
    const { session, open } = this
    const isWithSystem = await session.connection.handedOver()
    const ids = [...open]
    open.clear()
    if (isWithSystem) await this.remove(ids)
    else this.giveUp(ids)
    return isWithSystem
  }

  private receiptOf(id: string): Receipt {
    return {
      acknowledged: () => {
        if (this.arrived.push(id) === 1) this.removeSoon()
      },
      missed: () => {
        if (this.lost.push(id) === 1) queueMicrotask(() => this.giveUp(this.lost.splice(0)))
      },
    }
  }

  /** All that are acknowledged at once, at once. What the client asks next is answered when that is durable. */
  private removeSoon(): void {
    const { session, sender } = this
    const work = {}
    session.begin(work)
    const removed = Promise.resolve().then(async () => {
      const ids = this.arrived.splice(0)
      await this.remove(ids)
      for (const id of ids) this.open.delete(id)
      session.end(work)
      if (this.open.size > 0) return
      sender.arrived(session)
      this.settle()
    })
    sender.finishBeforeStop(removed)
  }

  /** It does not fail. */
  private async remove(ids: string[]): Promise<void> {
    const { sender, username } = this
    try {
      await sender.store.remove(username, ids)
    } catch (error) {
      // They come once more.
      sender.failed(username, error)
    }
    sender.lent.delete(username, ids)
  }

  private giveUp(ids: string[]): void {
    for (const id of ids) this.open.delete(id)
    this.sender.lent.delete(this.username, ids)
    this.sender.missed(this.username)
    if (this.open.size === 0) this.settle()
  }
}
