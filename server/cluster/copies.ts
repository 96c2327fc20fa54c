/** Copies of one stanza for several sessions at other processes: it is missed only if it comes to none of them. */

/** What one of them does that has not arrived, when nothing of them is under way any more. */
export interface Missed {
  /** If none has arrived, and this one has come back: it is sent again. */
  readonly again?: () => void
  /** If none has arrived, or come back: whoever has sent it is told. */
  readonly lost?: () => void
  /** Otherwise. */
  readonly over?: () => void
}

export class Copies {
  private underWay = 0
  private hasArrived = false
  private readonly others: Missed[] = []

  /** One more goes. */
  goes(): void {
    this.underWay++
  }

  /** One has arrived. */
  arrived(): void {
    this.hasArrived = true
    this.ends()
  }

  /** One has come back, or is lost. */
  missed(one: Missed): void {
    this.others.push(one)
    this.ends()
  }

  private ends(): void {
    if (--this.underWay > 0) return
    const { others, hasArrived } = this
    const back = hasArrived ? undefined : others.find(({ again }) => again !== undefined)
    const lost = hasArrived || back !== undefined ? undefined : others[0]
    for (const one of others) {
      if (one === back) one.again?.()
      else if (one === lost) one.lost?.()
      else one.over?.()
    }
  }
}
