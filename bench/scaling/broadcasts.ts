// Presence that goes to all contacts: one after the other, or several at a time.
import { contactsOf, type Population, userOf } from './population.ts'

const LIMIT_MS = 60_000

interface Broadcast {
  readonly sender: number
  readonly sentAt: number
  missing: number
  done(): void
}

/** Broadcasts of sessions, until all contacts that are connected have them. */
export class Broadcasts {
  /** Milliseconds from sending one until the last contact has it. */
  readonly times: number[] = []
  /** Deliveries to contacts at other processes than the sender's. */
  across = 0
  private readonly population: Population
  private readonly accounts: number
  private readonly contacts: number
  private readonly pending = new Map<string, Broadcast>()
  private count = 0

  constructor(population: Population, accounts: number, contacts: number) {
    this.population = population
    this.accounts = accounts
    this.contacts = contacts
    population.listen((account, stanza) => this.told(account, stanza))
  }

  /** Sends one. @throws Error if it does not reach everybody */
  send(sender: number): Promise<void> {
    const { clients, places } = this.population
    const id = `b${String(this.count++).padStart(6, '0')}`
    const reached = contactsOf(sender, this.accounts, this.contacts).filter(
      (one) => clients[one] !== undefined,
    )
    for (const contact of reached) if (places[contact] !== places[sender]) this.across++
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(
          new Error(`presence of ${userOf(sender)} did not reach ${this.pending.get(id)?.missing} contacts`),
        )
      }, LIMIT_MS)
      const done = () => {
        clearTimeout(timer)
        resolve()
      }
      this.pending.set(id, { sender, sentAt: performance.now(), missing: reached.length, done })
      clients[sender]!.connection.send(broadcastText(id))
      if (reached.length === 0) done()
    })
  }

  /** Sends many. @param inFlight - at a time */
  async sendAll(senders: readonly number[], inFlight: number): Promise<void> {
    let next = 0
    const worker = async () => {
      while (next < senders.length) await this.send(senders[next++]!)
    }
    await Promise.all(Array.from({ length: inFlight }, worker))
  }

  private told(account: number, stanza: string): void {
    const id = / id='(b\d{6})'/.exec(stanza)?.[1]
    const broadcast = id === undefined ? undefined : this.pending.get(id)
    if (broadcast === undefined || account === broadcast.sender) return
    if (--broadcast.missing > 0) return
    this.pending.delete(id!)
    this.times.push(performance.now() - broadcast.sentAt)
    broadcast.done()
  }
}

function broadcastText(id: string): string {
  return `<presence id='${id}'><show>away</show></presence>`
}
