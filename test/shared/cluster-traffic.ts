/**
 * Load over the processes of a cluster: messages, IQs to clients, IQs to managers and writes of rosters, within
 * processes and across them, all the time, with an account of every stanza.
 *
 * At each process two clients are bound, who have names by its number: `a1` sends messages and IQs to the `a` of the
 * other processes and to `b1`; `b1` sends messages to the account of the next process's `a`, and changes its roster.
 * Both ask the managers, who are connected to all processes but the first.
 */

import type { Element } from '@xmpp/xml'
import { expect } from 'vitest'
import { connectComponent, login, type TestStream } from './client.ts'
import { Client, Manager } from './cluster-parties.ts'
import { forwardedRequest, goodReply } from './delegation.ts'
import { DELEGATED, DOMAIN, type LegateCluster, MANAGER, served } from './legate-cluster.ts'
import type { RosterWrites } from './roster-writes.ts'
import { type Kind, StanzaAccount, type Word } from './stanza-account.ts'

const NS_ECHO = 'urn:example:echo'
const EVERY_MS = 25

/** The users whom the load needs. */
export function usersFor(processes: number): string[] {
  return Array.from({ length: processes }, (_, number) => [`a${number}`, `b${number}`]).flat()
}

export class ClusterTraffic {
  readonly account = new StanzaAccount()
  private readonly cluster: LegateCluster
  private readonly rosters: RosterWrites
  private readonly clients: Client[] = []
  private readonly managers: Manager[] = []
  private timer: NodeJS.Timeout | undefined

  private constructor(cluster: LegateCluster, rosters: RosterWrites) {
    this.cluster = cluster
    this.rosters = rosters
  }

  /** Logs everybody in, and begins to send. Resolves when something has gone all ways. */
  static async start(cluster: LegateCluster, rosters: RosterWrites): Promise<ClusterTraffic> {
    const traffic = new ClusterTraffic(cluster, rosters)
    for (let number = 0; number < cluster.size; number++) await traffic.enter(number)
    await traffic.managed()
    traffic.resume()
    await traffic.flows()
    return traffic
  }

  /** The clients who are there, or were, by name; the last one of each. */
  private client(user: string): Client {
    const client = this.clients.findLast((one) => one.user === user)
    if (client === undefined) throw new Error(`${user} has never come`)
    return client
  }

  private get present(): Client[] {
    return this.clients.filter(({ ended }) => !ended)
  }

  // Who comes, and who goes.

  /**
   * Logs the two clients of a process in, and its manager.
   *
   * @param at - the process that they connect to, if it is another one
   */
  async enter(number: number, at = number): Promise<void> {
    for (const user of [`a${number}`, `b${number}`]) {
      const stream = await served(() =>
        login(this.cluster.c2sPort(at), `${user}@${DOMAIN}/load`, { presence: false }),
      )
      const count = this.clients.filter((one) => one.user === user).length
      const name = count === 0 ? user : `${user} (${count + 1})`
      const client = new Client(name, user, at, stream)
      expect(client.jid).toBe(`${user}@${DOMAIN}/load`)
      this.watch(stream, (element) => this.comes(client, element))
      stream.socket.once('close', () => {
        client.ended = true
        this.account.changed()
      })
      if (count > 0) client.orderedFrom = Number.POSITIVE_INFINITY
      this.clients.push(client)
      stream.send('<presence/>')
    }
    if (at === number && number > 0) await this.connect(number)
  }

  /** Connects a manager to a process. */
  private async connect(number: number): Promise<void> {
    const stream = await served(() => connectComponent(this.cluster.componentPort(number), MANAGER))
    const manager = new Manager(number, stream)
    this.watch(stream, (element) => this.asks(manager, element))
    stream.socket.once('close', () => {
      manager.ended = true
    })
    this.managers.push(manager)
  }

  /** The manager at a process goes, and another connection of it comes. */
  async replaceManager(number: number): Promise<void> {
    await this.managerAt(number).stream.destroy()
    await this.connect(number)
  }

  /** Shows what a stream is sent, and has been, to somebody. */
  private watch(stream: TestStream, look: (element: Element) => boolean): void {
    stream.watch = look
    stream.received.push(...stream.received.splice(0).filter((element) => !look(element)))
  }

  /** Waits until every process knows managers. */
  private async managed(): Promise<void> {
    for (const { stream, name } of this.present) {
      await expect
        .poll(async () => (await stream.ask(request(`try-${name}-${Math.random()}`))).attrs.type)
        .toBe('result')
    }
  }

  /** Lets each `a` see the presence of another process's. */
  async subscribe(number: number): Promise<void> {
    const seen = this.client(`a${number}`)
    for (const client of this.present) {
      if (!client.talks || client === seen) continue
      client.stream.send(`<presence type='subscribe' to='${seen.user}@${DOMAIN}'/>`)
      await this.account.until(`${client.name} sees ${seen.name}`, () => sees(client, seen, 'available'))
    }
  }

  /** Waits until those who see the `a` of a process have been told that it is gone. */
  gone(number: number): Promise<void> {
    const seen = this.client(`a${number}`)
    return this.account.until(`contacts know that ${seen.name} is gone`, () =>
      this.present
        .filter(({ talks, process }) => talks && process !== seen.process)
        .every((client) => sees(client, seen, 'unavailable')),
    )
  }

  /** Waits until all clients that were connected to a process before have ended. @returns their stream errors */
  async ended(number: number): Promise<string[]> {
    const those = this.clients.filter(({ process }) => process === number)
    await this.account.until(`process ${number} ends its sessions`, () => those.every(({ ended }) => ended))
    return those.map(({ condition }) => condition)
  }

  // What is sent.

  /** Sends something all ways, many times at once. */
  burst(times: number): void {
    for (let time = 0; time < times; time++) this.send()
  }

  private send(): void {
    for (const client of this.clients) if (!client.ended) client.stream.send(this.turnOf(client))
  }

  /** What a client sends in one turn. */
  private turnOf(client: Client): string {
    const { user, talks } = client
    const number = Number(user.slice(1))
    const text = [request(this.account.sent('delegated', client))]
    if (talks) {
      const others = [`b${number}`]
      for (let other = 0; other < this.cluster.size; other++) if (other !== number) others.push(`a${other}`)
      for (const other of others) {
        const to = `${other}@${DOMAIN}/load`
        text.push(message(this.account.sent('message', client, to), to))
        const id = this.account.sent('iq', client, to)
        text.push(`<iq type='get' id='${id}' to='${to}'><echo xmlns='${NS_ECHO}'/></iq>`)
      }
    } else {
      const to = `a${(number + 1) % this.cluster.size}@${DOMAIN}`
      text.push(message(this.account.sent('message', client, to), to))
      if (!client.writes) {
        client.writes = true
        const id = this.account.sent('set', client)
        text.push(this.rosters.next(client.user, client.name, id))
      }
    }
    return text.join('')
  }

  /** Sends requests that managers keep, as many from each client of a process. */
  ask(number: number, count: number): void {
    for (const client of this.present.filter(({ process }) => process === number)) {
      let text = ''
      for (let each = 0; each < count; each++) text += request(this.account.sent('delegated', client), true)
      client.stream.send(text)
    }
  }

  /** How many requests the manager at a process keeps. */
  kept(number: number): number {
    return this.managerAt(number).kept.length
  }

  /** The manager at a process answers what it has kept. */
  answerKept(number: number): void {
    const { stream, kept } = this.managerAt(number)
    for (const forwarded of kept.splice(0)) stream.send(goodReply(forwarded))
  }

  private managerAt(number: number): Manager {
    const manager = this.managers.findLast(({ process }) => process === number)
    if (manager === undefined) throw new Error(`no manager has ever been at process ${number}`)
    return manager
  }

  // What comes.

  private comes(client: Client, element: Element): boolean {
    const { name, attrs } = element
    const id = attrs.id as string | undefined
    const type = attrs.type as string | undefined
    if (name === 'presence') {
      if (type === undefined || type === 'unavailable') {
        client.presence.set(attrs.from as string, type ?? 'available')
        this.account.changed()
      }
      if (type === 'subscribe') client.stream.send(`<presence type='subscribed' to='${attrs.from}'/>`)
      return true
    }
    if (name === 'stream:error') {
      client.condition = element.getChildElements()[0]?.getName() ?? ''
      return false
    }
    if (id === undefined) return false
    if (type === 'error' || type === 'result') {
      const word = type === 'result' ? type : conditionOf(element)
      if (!this.account.told(id, client, word)) return false
      if (id.startsWith('set-')) {
        this.rosters.told(id, word)
        client.writes = false
      }
      return true
    }
    if (!this.account.came(id, client)) return false
    if (name === 'iq') client.stream.send(`<iq type='result' id='${id}' to='${attrs.from}'/>`)
    return true
  }

  private asks(manager: Manager, element: Element): boolean {
    const forwarded = forwardedRequest(element)
    if (forwarded === undefined) return false
    this.account.came(forwarded.iq.attrs.id as string, manager)
    if (forwarded.payload.attrs.keep === 'true') manager.kept.push(forwarded)
    else manager.stream.send(goodReply(forwarded))
    this.account.changed()
    return true
  }

  // What has to come of it.

  /** Waits until something that is sent from now on has gone all ways between those who are there. */
  async flows(): Promise<void> {
    const { account } = this
    const before = account.count
    // Of those whose places others have taken, nothing is asked.
    const those = this.present.filter((client) => this.client(client.user) === client)
    const good = (kind: Kind, from: Client, at?: Client) =>
      from.ended || at?.ended === true || account.lastGood(kind, from, at) > before
    const ways: [string, () => boolean][] = []
    for (const from of those) {
      ways.push([`${from.name} and a manager`, () => good('delegated', from)])
      if (!from.talks) ways.push([`${from.name} and its roster`, () => good('set', from)])
      for (const at of those) {
        if (!this.isWay(from, at)) continue
        const kinds: Kind[] = from.talks ? ['message', 'iq'] : ['message']
        for (const kind of kinds) ways.push([`${kind} ${from.name} ${at.name}`, () => good(kind, from, at)])
      }
    }
    const missing = () => ways.filter(([, holds]) => !holds()).map(([what]) => what)
    try {
      await account.until('all goes all ways', () => ways.every(([, holds]) => holds()), 30_000)
    } catch (error) {
      throw new Error(`${(error as Error).message}\nit does not go: ${missing().join('; ')}`)
    }
    for (const one of those) if (one.orderedFrom > account.count) one.orderedFrom = account.count
  }

  private isWay(from: Client, at: Client): boolean {
    if (from === at) return false
    const number = Number(from.user.slice(1))
    if (!from.talks) return at.user === `a${(number + 1) % this.cluster.size}`
    return at.talks || at.user === `b${number}`
  }

  /** Waits until messages and IQs that are sent from now on have come within a process. */
  flowsWithin(number: number): Promise<void> {
    const [from, at] = [this.client(`a${number}`), this.client(`b${number}`)]
    const before = this.account.count
    return this.account.until(`${from.name} reaches ${at.name}`, () =>
      (['message', 'iq'] as const).every((kind) => this.account.lastGood(kind, from, at) > before),
    )
  }

  /** Sends all the time. */
  resume(): void {
    this.timer = setInterval(() => this.send(), EVERY_MS)
  }

  /** Sends no more. */
  pause(): void {
    clearInterval(this.timer)
  }

  /**
   * Sends no more, and waits until it is known of everything what has become of it: nothing is lost, has come twice,
   * or was answered twice; nobody who was never gone has been told of anything that it did not come; and nobody sees
   * as gone who is there.
   *
   * @returns the names of the clients whose streams have ended
   */
  async settle(): Promise<string[]> {
    this.pause()
    const { account } = this
    // What was sent twice is not behind this, as it is in order.
    this.send()
    await account.until('everything is settled', () => account.isSettled)
    for (const { stream } of this.present) await stream.settled()
    expect(account.mistakes().slice(0, 20)).toEqual([])
    const departed = this.clients.filter(({ ended }) => ended)
    const left = new Set(departed.map(({ user }) => user))
    const stayed = (user: string) => !left.has(user)
    const refusals = account.refusals(
      ({ name }, to) => stayed(name) && (to === '' || stayed(to.split('@')[0]!)),
    )
    expect([refusals.message, refusals.iq]).toEqual([{}, {}])
    for (const client of this.present) {
      for (const [jid, presence] of client.presence) {
        if (this.present.some((other) => other.jid === jid))
          expect([jid, presence]).toEqual([jid, 'available'])
      }
    }
    return departed.map(({ name }) => name)
  }

  /** What IQs to managers were answered with instead of results. */
  get refusedByManagers(): Record<Word, number> {
    return this.account.refusals().delegated
  }

  /** Ends it all. */
  async stop(): Promise<void> {
    this.pause()
    for (const client of this.clients) {
      if (client.writes) this.rosters.abandon(client.name)
      await client.stream.destroy()
    }
    for (const { stream } of this.managers) await stream.destroy()
  }
}

function sees(client: Client, { jid }: Client, presence: string): boolean {
  return client.presence.get(jid) === presence
}

function message(id: string, to: string): string {
  return `<message type='chat' id='${id}' to='${to}'><body>${id}</body></message>`
}

/** @param keep - its manager shall not answer it at once */
function request(id: string, keep = false): string {
  return `<iq type='get' id='${id}'><notes xmlns='${DELEGATED}'${keep ? " keep='true'" : ''}/></iq>`
}

function conditionOf(answer: Element): Word {
  return answer.getChild('error')?.getChildElements()[0]?.getName() ?? 'an error without condition'
}
