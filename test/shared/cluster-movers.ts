/**
 * Load for accounts that move: their clients log out and in at other processes all the time, while clients that stay
 * send them messages and IQs from all processes, with an account of every stanza.
 */

import type { Element } from '@xmpp/xml'
import { expect } from 'vitest'
import { login, type TestStream } from './client.ts'
import { Client } from './cluster-parties.ts'
import { DOMAIN, type LegateCluster, served } from './legate-cluster.ts'
import { StanzaAccount } from './stanza-account.ts'

const EVERY_MS = 10
/** Milliseconds that one who moves stays, at least and more: longer than what is on its way takes. */
const STAYS_MS = 300
const STAYS_MORE_MS = 300

/**
 * How an account moves. `anew`: its full JID is bound elsewhere, which ends the session before. `after`: another
 * resource comes when the last one has gone. `beside`: another resource comes, and takes messages once the last one
 * has gone.
 */
export const WAYS = ['anew', 'after', 'beside'] as const
type Way = (typeof WAYS)[number]

/** Users that the load needs. */
export function moversFor(processes: number): string[] {
  return [...WAYS, ...Array.from({ length: processes }, (_, number) => `s${number}`)]
}

/** A session of an account that moves. */
interface Stay {
  readonly client: Client
  /** By who has sent them: the numbers of the stanzas that have come. */
  readonly got: ReadonlyMap<string, readonly number[]>
}

/** An account that moves. */
class Mover {
  readonly way: Way
  readonly stays: Stay[] = []
  moving: Promise<void> | undefined

  constructor(way: Way) {
    this.way = way
  }

  /** Whom others write to. */
  get address(): string {
    return this.way === 'anew' ? `${this.way}@${DOMAIN}/moving` : `${this.way}@${DOMAIN}`
  }
}

export class ClusterMovers {
  readonly account = new StanzaAccount()
  private readonly cluster: LegateCluster
  private readonly random: () => number
  private readonly keeps: boolean
  private readonly movers: readonly Mover[]
  private readonly senders: Client[] = []
  /** Processes that clients may log in at. */
  private readonly open = new Set<number>()
  private timer: NodeJS.Timeout | undefined
  private over = false

  /**
   * @param random - of numbers from 0 to 1
   * @param ways - how accounts move, one each
   * @param keeps - whether messages for accounts that nobody is there for are kept
   */
  constructor(cluster: LegateCluster, random: () => number, ways: readonly Way[], keeps: boolean) {
    this.keeps = keeps
    this.cluster = cluster
    this.random = random
    this.movers = ways.map((way) => new Mover(way))
  }

  /** Logs everybody in, and begins to send and to move. */
  async start(): Promise<void> {
    for (let number = 0; number < this.cluster.size; number++) await this.enter(number)
    for (const mover of this.movers) mover.moving = this.move(mover)
    this.timer = setInterval(() => this.send(), EVERY_MS)
  }

  /** A process is there: one who sends logs in at it, and those who move may. */
  async enter(number: number): Promise<void> {
    const user = `s${number}`
    const count = this.senders.filter((one) => one.user === user).length
    const client = await this.logIn(user, number, 'desk', `${user} (${count + 1})`, () => {})
    this.senders.push(client)
    this.open.add(number)
  }

  /** A process is killed: nobody logs in at it any more. */
  avoid(number: number): void {
    this.open.delete(number)
    if (!this.keeps) return
    for (const { client } of this.movers.flatMap(({ stays }) => stays)) {
      if (client.process === number && !client.ended) client.wasCutOff = true
    }
  }

  private async logIn(
    user: string,
    number: number,
    resource: string,
    name: string,
    came: (from: string, id: number) => void,
    presence = '<presence/>',
  ): Promise<Client> {
    const stream = await served(() =>
      login(this.cluster.c2sPort(number), `${user}@${DOMAIN}/${resource}`, { presence: false }),
    )
    const client = new Client(name, user, number, stream)
    const look = (element: Element) => this.comes(client, element, came)
    stream.watch = look
    stream.received.push(...stream.received.splice(0).filter((element) => !look(element)))
    stream.socket.once('close', () => {
      client.ended = true
      this.account.changed()
    })
    stream.send(presence)
    return client
  }

  private comes(client: Client, element: Element, came: (from: string, id: number) => void): boolean {
    const { id = '', type, from = '' } = element.attrs as Record<string, string | undefined>
    if (type === 'result' || type === 'error') {
      return this.account.told(id, client, type === 'result' ? type : conditionOf(element))
    }
    if (!this.account.came(id, client)) return false
    came(from, Number(id.slice(id.indexOf('-') + 1)))
    if (element.name === 'iq') client.stream.send(`<iq type='result' id='${id}' to='${from}'/>`)
    return true
  }

  // Who moves.

  private async move(mover: Mover): Promise<void> {
    for (let turn = 0; !this.over; turn++) {
      const { way, stays } = mover
      const last = stays.at(-1)?.client
      const places = [...this.open].filter((number) => number !== last?.process)
      const place = places[Math.floor(this.random() * places.length)]!
      if (way === 'after') await last?.stream.close()
      let stream: TestStream
      try {
        stream = await this.stay(mover, place, turn)
      } catch (error) {
        // The process was killed meanwhile.
        if (this.open.has(place)) throw error
        continue
      }
      if (way === 'beside') {
        await last?.stream.close()
        stream.send('<presence/>')
      }
      await new Promise((resolve) => setTimeout(resolve, STAYS_MS + this.random() * STAYS_MORE_MS)) // so that stanzas come
    }
  }

  private async stay({ way, stays }: Mover, place: number, turn: number): Promise<TestStream> {
    const got = new Map<string, number[]>()
    const came = (from: string, id: number) => {
      const numbers = got.get(from)
      if (numbers === undefined) got.set(from, [id])
      else numbers.push(id)
    }
    const resource = way === 'anew' ? 'moving' : `r${turn}`
    const presence = way === 'beside' ? '<presence><priority>-1</priority></presence>' : '<presence/>'
    const client = await this.logIn(way, place, resource, `${way} (${turn + 1})`, came, presence)
    stays.push({ client, got })
    return client.stream
  }

  // What is sent.

  private send(): void {
    for (const client of this.senders) {
      if (client.ended) continue
      let text = ''
      for (const { address, way } of this.movers) {
        text += `<message type='chat' id='${this.account.sent('message', client, address)}' to='${address}'><body>b</body></message>`
        if (way !== 'anew') continue
        const id = this.account.sent('iq', client, address)
        text += `<iq type='get' id='${id}' to='${address}'><echo xmlns='urn:example:echo'/></iq>`
      }
      client.stream.send(text)
    }
  }

  // What has to come of it.

  /** Waits until those who move have come and gone so often more. */
  moved(times: number): Promise<void> {
    const before = this.movers.map(({ stays }) => stays.length)
    return this.account.until(
      `all move ${times} times`,
      () => this.movers.every(({ stays }, index) => stays.length >= before[index]! + times),
      60_000,
    )
  }

  /** Waits until those who were connected to a process are told that it has ended. */
  ended(number: number): Promise<void> {
    return this.account.until(`process ${number} is gone`, () =>
      this.senders.every(({ process, ended }) => process !== number || ended),
    )
  }

  /**
   * Sends and moves no more, and waits until it is known of everything what has become of it: nothing is lost, has
   * come twice, or was answered twice, and what one has sent to another has come in order.
   */
  async settle(): Promise<void> {
    clearInterval(this.timer)
    this.over = true
    for (const { moving } of this.movers) await moving
    await this.account.until('everything is settled', () => this.account.isSettled, 30_000)
    for (const { stream, ended } of this.senders) if (!ended) await stream.settled()
    expect(this.account.mistakes().slice(0, 20)).toEqual([])
    for (const mover of this.movers) {
      for (const sender of new Set(this.senders.map(({ jid }) => jid))) {
        const numbers = inOrder(mover.stays, sender)
        const early = numbers.filter((number, at) => at > 0 && number < numbers[at - 1]!)
        expect([mover.way, sender, early]).toEqual([mover.way, sender, []])
        expect(numbers.length).toBeGreaterThan(0)
      }
    }
  }

  async stop(): Promise<void> {
    clearInterval(this.timer)
    this.over = true
    for (const { stream } of this.senders) await stream.destroy()
    for (const { stays, moving } of this.movers) {
      await moving?.catch(() => {})
      for (const { client } of stays) await client.stream.destroy()
    }
  }
}

/** What has come from one who sends, to one stay after the other; what had come already where nobody may know it, once. */
function inOrder(stays: readonly Stay[], sender: string): number[] {
  const cutOff = new Set<number>()
  const numbers: number[] = []
  for (const { client, got } of stays) {
    const own = got.get(sender) ?? []
    numbers.push(...own.filter((number) => !cutOff.has(number)))
    if (client.wasCutOff) for (const number of own) cutOff.add(number)
  }
  return numbers
}

function conditionOf(answer: Element): string {
  return answer.getChild('error')?.getChildElements()[0]?.getName() ?? 'an error without condition'
}
