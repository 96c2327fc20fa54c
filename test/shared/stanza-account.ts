/** The account of stanzas: which were sent, where each has come, and what was said of it to who had sent it. */

/** Whoever sends and gets stanzas, over one stream. */
export interface Party {
  /** Names it in what is said of mistakes. */
  readonly name: string
  readonly jid: string
  /** Whether its stream has ended. What it then had sent may be lost, and it hears of nothing any more. */
  readonly ended: boolean
  /** The number of the first stanza that has to come in order. */
  readonly orderedFrom: number
  /**
   * Whether its process was killed, where messages are kept: what it had got of them may come once more, since nobody
   * may know that.
   */
  readonly wasCutOff?: boolean
}

/**
 * `message`: to a client. `iq`: to a client, which answers it. `delegated`: an IQ that a manager answers. `set`: one
 * that the server answers.
 */
export type Kind = 'message' | 'iq' | 'delegated' | 'set'

/** What is said of a stanza to who has sent it: `result`, or the condition of the error. */
export type Word = string

/** The stanza was under way to a process that has died: whether it has come is not known. */
export const NOT_KNOWN = 'remote-server-timeout'

interface Sent {
  readonly kind: Kind
  readonly id: string
  readonly number: number
  readonly from: Party
  /** An address; of a `delegated` or a `set`, nothing. */
  readonly to: string
  readonly came: Party[]
  readonly words: Word[]
}

export class StanzaAccount {
  private readonly all = new Map<string, Sent>()
  /** Those of which nothing is known yet. */
  private readonly unknown = new Set<Sent>()
  /** By who has sent, the address, and where it has come: the number of the last one. */
  private readonly last = new Map<string, number>()
  /** By kind and both ends: the number of the last one that has come, or was answered with a result. */
  private readonly good = new Map<string, number>()
  private readonly disordered: string[] = []
  private readonly waiting = new Set<() => void>()
  /** The number of the last one. */
  count = 0

  /** A stanza is sent. @returns its id */
  sent(kind: Kind, from: Party, to = ''): string {
    const number = ++this.count
    const id = `${kind}-${number}`
    const sent: Sent = { kind, id, number, from, to, came: [], words: [] }
    this.all.set(id, sent)
    this.unknown.add(sent)
    return id
  }

  /** One has come to somebody. @returns whether it is of this account */
  came(id: string, at: Party): boolean {
    const sent = this.all.get(id)
    if (sent === undefined) return false
    sent.came.push(at)
    // Answers to IQs may overtake each other; what is sent to one address may not.
    if (sent.kind === 'message' || sent.kind === 'iq') {
      const way = `${sent.from.name} to ${sent.to} at ${at.name} ${sent.kind}`
      const last = this.last.get(way) ?? 0
      if (sent.number >= at.orderedFrom && sent.number < last) {
        this.disordered.push(`${id} after ${last}: ${way}, out of order`)
      }
      this.last.set(way, Math.max(sent.number, last))
    }
    if (sent.kind === 'message') this.succeeded(sent)
    this.changed()
    return true
  }

  /** Somebody is told what has become of one. @returns whether it is one of its own */
  told(id: string, who: Party, word: Word): boolean {
    const sent = this.all.get(id)
    if (sent === undefined || sent.from !== who) return false
    sent.words.push(word)
    this.unknown.delete(sent)
    if (word === 'result') this.succeeded(sent)
    this.changed()
    return true
  }

  /** Something else has happened that may be waited for. */
  changed(): void {
    for (const look of [...this.waiting]) look()
  }

  /** Waits until something holds; looked at whenever something has come, or has been told. */
  until(what: string, holds: () => boolean, ms = 20_000): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (!holds()) return
        clearTimeout(timer)
        this.waiting.delete(look)
        resolve()
      }
      const timer = setTimeout(() => {
        this.waiting.delete(look)
        reject(new Error(`in ${ms} ms it did not come to pass that ${what}\n${this.describeOpen()}`))
      }, ms)
      this.waiting.add(look)
      look()
    })
  }

  /** The number of the last stanza from one to another that has come, or to which the answer was a result. */
  lastGood(kind: Kind, from: Party, at?: Party): number {
    return this.good.get(wayOf(kind, from, at)) ?? 0
  }

  /** Whether of each stanza of those who are still there is known what has become of it. */
  get isSettled(): boolean {
    for (const sent of this.unknown) if (!isExcused(sent)) return false
    return true
  }

  /** What may not be, in words. */
  mistakes(): string[] {
    const found = [...this.disordered]
    for (const sent of this.all.values()) {
      const { kind, id, from, to, came, words } = sent
      const is = (what: string) =>
        found.push(`${id} from ${from.name} to ${to}: ${what} (${came.map(({ name }) => name)}; ${words})`)
      if (came.slice(0, -1).some(({ wasCutOff }) => wasCutOff !== true)) is('has come twice')
      if (words.length > 1) is('was answered twice')
      if (!from.ended && kind === 'message' && came.length + words.length === 0) is('is lost')
      if (!isExcused(sent) && kind !== 'message' && words.length === 0) is('was not answered')
      const [word] = words
      if (kind === 'message') {
        if (word !== undefined && word !== NOT_KNOWN && came.length > 0)
          is('has come, and is told not to have')
      } else if (kind !== 'set' && word === 'result' && came.length === 0) is('was answered by nobody')
    }
    return found
  }

  /** What was said instead of `result` to those of whom `counts` says so, by kind: how often which word. */
  refusals(counts: (from: Party, to: string) => boolean = () => true): Record<Kind, Record<Word, number>> {
    const refusals = { message: {}, iq: {}, delegated: {}, set: {} } as Record<Kind, Record<Word, number>>
    for (const { kind, from, to, words } of this.all.values()) {
      for (const word of words) {
        if (word !== 'result' && counts(from, to)) refusals[kind][word] = (refusals[kind][word] ?? 0) + 1
      }
    }
    return refusals
  }

  private succeeded(sent: Sent): void {
    this.unknown.delete(sent)
    const { kind, from, came, number } = sent
    this.good.set(wayOf(kind, from, kind === 'delegated' ? undefined : came[0]), number)
  }

  private describeOpen(): string {
    const open = [...this.unknown].filter((sent) => !isExcused(sent))
    const some = open
      .slice(0, 10)
      .map(({ id, from, to, came }) => `${id} from ${from.name} to ${to} (${came.map(({ name }) => name)})`)
    return `${open.length} of ${this.count} are open${some.map((line) => `\n  ${line}`).join('')}`
  }
}

/** Nobody will say what has become of it: who has sent it is gone, or a client who had the IQ to answer. */
function isExcused({ kind, from, came }: Sent): boolean {
  return from.ended || (kind === 'iq' && came.some(({ ended }) => ended))
}

function wayOf(kind: Kind, from: Party, at: Party | undefined): string {
  return `${kind} ${from.name} ${at?.name ?? ''}`
}
