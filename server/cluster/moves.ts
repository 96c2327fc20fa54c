/**
 * Keeps the order of what is sent to an account while its sessions come and go at other processes (RFC 6120 §10.1).
 *
 * A stanza may be on its way to a process whose session has just gone; that process gives it back. What comes after
 * it would overtake it on another way. So once an account has changed, what is for it waits until it is known of all
 * that was under way before that it has arrived, or come back; then what has come back goes out first, in order.
 *
 * Nobody can wait for each other. Copies, which a process makes for single sessions, and stanzas whose copies have
 * come back and that go out again, wait nowhere. Stanzas that another process has sent here to be worked on wait for
 * these, which may be of what they would overtake. Those of this process's own senders wait for all of them: a stanza
 * has not arrived before the copies that were made of it have.
 */

import type { Logger } from '../log.ts'

/** Milliseconds after which nothing more is waited for if nothing has gone on: longer than any lease that is usual. */
const MOST_MS = 60_000
/** Characters that wait for one account before who sends more has to wait, too. */
const MOST_SIZE = 256_000

/**
 * What is under way to other processes: stanzas of this process's own senders, to be worked on; copies for single
 * sessions; and stanzas whose copies have come back, to be worked on again.
 */
export type Way = 'own' | 'copies' | 'again'

/** Sends a stanza. @returns what has to be waited for before the next one */
type Go = () => Promise<unknown> | undefined

/** A stanza that has come back. */
interface Returned {
  /** Grows with each stanza that is sent. */
  readonly order: number
  readonly go: Go
}

/** What is under way for an account. */
export class Flow {
  readonly bareJid: string
  /** Of this process's own senders, since the account has last changed. */
  own = 0
  /** Copies, since then. */
  copies = 0
  /** Grows when the account changes: tells what was sent before. */
  generation = 1
  /** While something of what is under way may be overtaken. */
  move: Move | undefined

  constructor(bareJid: string) {
    this.bareJid = bareJid
  }
}

/** What waits while an account moves, and what for. */
class Move {
  // How many were sent before the account's last change, and are under way.
  own = 0
  copies = 0
  /** How many have gone out again. */
  again = 0
  /** Whose copies have come back; in order. */
  readonly returnedCopies: Returned[] = []
  /** Those that other processes have sent here, to be worked on. */
  readonly forwarded: Go[] = []
  /** Those of this process's own senders that have come back, in order. They go before those that have not gone yet. */
  readonly returned: Returned[] = []
  /** Those of this process's own senders; each may have to look for where it goes. */
  readonly held: Go[] = []
  /** Characters of these. */
  size = 0
  /** Something is being sent, or looked for. */
  busy = false
  /** That is one whose copies have come back. */
  busyWithCopy = false
  /** Whether anything has gone on since that was looked at last. */
  progress = false
  timer: NodeJS.Timeout | undefined

  get holdsForwarded(): boolean {
    const waiting = this.copies + this.again + this.returnedCopies.length + this.forwarded.length
    return waiting > 0 || this.busyWithCopy
  }

  get isOver(): boolean {
    return this.own + this.returned.length + this.held.length === 0 && !this.holdsForwarded
  }
}

export class Moves {
  private readonly flows = new Map<string, Flow>()
  private readonly log: Logger
  private moving = 0

  constructor(log: Logger) {
    this.log = log
  }

  /** Whether any account is moving. */
  get any(): boolean {
    return this.moving > 0
  }

  /**
   * A stanza for an account goes to another process.
   *
   * @returns what {@link arrived} is to be told of it, with the generation that it has now
   */
  sent(bareJid: string, way: Way): Flow {
    const flow = this.flowOf(bareJid)
    if (way === 'again') (flow.move ?? this.turn(flow)).again++
    else flow[way]++
    return flow
  }

  /** A stanza has arrived, or come back, or will never do either. */
  arrived(flow: Flow, way: Way, generation: number): void {
    const { move } = flow
    if (way !== 'again' && generation === flow.generation) flow[way]--
    else if (move !== undefined && move[way] > 0) {
      move[way]--
      move.progress = true
      this.goOn(flow, move)
    }
    if (flow.move === undefined) this.clear(flow)
  }

  /** What is for an account may go another way from now on. */
  changes(bareJid: string): void {
    const flow = this.flows.get(bareJid)
    if (flow !== undefined) this.turn(flow)
  }

  /**
   * Holds a stanza from here back. Its sender goes on: what it has for others need not wait, least of all while Redis
   * is away.
   *
   * @param size - characters that it takes
   * @param go - sends it, past this; returns what has to be waited for before the next one
   * @returns undefined if it need not wait; else a promise that is to hold its sender back, if too much waits already
   */
  holdOwn(bareJid: string, size: number, go: Go): { until: Promise<void> | undefined } | undefined {
    const move = this.flows.get(bareJid)?.move
    if (move === undefined) return undefined
    move.size += size
    let release: (() => void) | undefined
    let until: Promise<void> | undefined
    if (move.size > MOST_SIZE) {
      until = new Promise((resolve) => {
        release = resolve
      })
    }
    move.held.push(() => {
      move.size -= size
      release?.() // heard of in a later turn
      return go()
    })
    return { until }
  }

  /** The same for one that another process has sent here. @returns what settles when it has been worked on */
  holdForwarded(bareJid: string, go: () => void | Promise<void>): Promise<void> | undefined {
    const move = this.flows.get(bareJid)?.move
    if (move?.holdsForwarded !== true) return undefined
    return new Promise((resolve) => {
      move.forwarded.push(() => {
        try {
          resolve(go())
        } catch (error) {
          resolve()
          throw error
        }
        return undefined
      })
    })
  }

  /**
   * A stanza has come back.
   *
   * @param isCopy - or one whose copy had come back before
   * @param order - of all that this process has sent
   * @param go - sends it again
   * @param arrived - says that it is not under way any more
   */
  returned(bareJid: string, isCopy: boolean, order: number, go: Go, arrived: () => void): void {
    const flow = this.flowOf(bareJid)
    const move = this.turn(flow)
    insert(isCopy ? move.returnedCopies : move.returned, { order, go })
    arrived()
    this.goOn(flow, move)
  }

  private flowOf(bareJid: string): Flow {
    let flow = this.flows.get(bareJid)
    if (flow === undefined) {
      flow = new Flow(bareJid)
      this.flows.set(bareJid, flow)
    }
    return flow
  }

  private clear(flow: Flow): void {
    const { own, copies, bareJid } = flow
    if (own + copies === 0 && this.flows.get(bareJid) === flow) this.flows.delete(bareJid)
  }

  /** What is sent from now on may overtake what is under way. */
  private turn(flow: Flow): Move {
    let { move } = flow
    if (move === undefined) {
      move = new Move()
      flow.move = move
      this.moving++
      this.watch(flow, move)
    }
    move.own += flow.own
    move.copies += flow.copies
    flow.own = 0
    flow.copies = 0
    flow.generation++
    return move
  }

  /** What another process never says anything of must not hold anybody up for ever. */
  private watch(flow: Flow, move: Move): void {
    move.progress = false
    move.timer = setTimeout(() => {
      if (move.progress) {
        this.watch(flow, move)
        return
      }
      const { own, copies, again } = move
      this.log.warn('stanzas are not waited for any longer', { account: flow.bareJid, own, copies, again })
      move.own = 0
      move.copies = 0
      move.again = 0
      this.goOn(flow, move)
    }, MOST_MS)
    move.timer.unref()
  }

  /** Sends what may go. */
  private goOn(flow: Flow, move: Move): void {
    if (move.busy) return
    move.busy = true
    for (;;) {
      const isCopy = move.returnedCopies.length > 0
      const go = next(move)
      if (go === undefined) break
      move.progress = true
      move.busyWithCopy = isCopy
      const looked = this.run(go)
      move.busyWithCopy = isCopy && looked !== undefined
      if (looked === undefined) continue
      const done = () => {
        move.busy = false
        move.busyWithCopy = false
        this.goOn(flow, move)
      }
      looked.then(done, done)
      return
    }
    move.busy = false
    if (!move.isOver || flow.move !== move) return
    clearTimeout(move.timer)
    flow.move = undefined
    this.moving--
    this.clear(flow)
  }

  /** What comes after a stanza that could not be worked on must not be lost with it. */
  private run(go: Go): Promise<unknown> | undefined {
    try {
      return go()
    } catch (error) {
      this.log.error('a stanza that was held back could not be worked on', { error, internal: true })
      return undefined
    }
  }
}

/** Takes out what may go now; undefined if there is nothing, or it has to wait. */
function next({ own, copies, again, returnedCopies, forwarded, returned, held }: Move): Go | undefined {
  if (returnedCopies.length > 0) return copies === 0 ? returnedCopies.shift()!.go : undefined
  if (copies + again > 0) return undefined
  if (forwarded.length > 0) return forwarded.shift()
  if (own > 0) return undefined
  return returned.length > 0 ? returned.shift()!.go : held.shift()
}

/** Mostly what comes back last was sent last. */
function insert(waiting: Returned[], one: Returned): void {
  let at = waiting.length
  while (at > 0 && waiting[at - 1]!.order > one.order) at--
  waiting.splice(at, 0, one)
}
