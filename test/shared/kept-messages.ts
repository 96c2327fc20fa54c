/**
 * Clients that send messages while servers are killed, with an account of each message: what was acknowledged to
 * whom has sent it, where it has come, and in which archives it is. After each message its sender asks its host for
 * something: stanzas are handled in order (RFC 6120 §10.1), so the answer acknowledges the message. Between messages
 * they change what the server keeps for them.
 */

import type { Element } from '@xmpp/xml'
import { login, type TestStream } from './client.ts'
import { inTime } from './in-time.ts'

const MAM = 'urn:xmpp:mam:2'
const FORWARD = 'urn:xmpp:forward:0'
const DELAY = 'urn:xmpp:delay'
/** Milliseconds after which what is waited for will not come. */
const PATIENCE_MS = 60_000
/** The same for one login, or one question. */
const ONE_MS = 20_000

/** A message, and what has become of it. */
interface Sent {
  readonly id: string
  readonly from: Writer
  readonly to: string
  acknowledged: boolean
  /** Its sender was told that it may be lost. */
  refused: boolean
  /** It was for another process, and its own one has died: nobody is there to be told that it is lost. */
  orphaned: boolean
  readonly round: number
  /** How often it has come to who was there. */
  live: number
  /** How often it was handed over to who was not. */
  late: number
}

/** What a client keeps on the server under one name, as numbers that grow. */
interface Value {
  acknowledged: number
  sent: number
}

/** What is changed by IQs, besides the messages. */
const KEPT = ['private', 'vcard', 'roster', 'blocklist', 'prefs'] as const
type Kept = (typeof KEPT)[number]

/** Numbers that look random, and are the same for the same seed. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    // The generator "mulberry32".
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** One who sends. */
export class Writer {
  readonly user: string
  /** Number of the process that it is connected to, in this round. */
  process = 0
  stream: TestStream | undefined
  readonly values = new Map<Kept, Value>(KEPT.map((kept) => [kept, { acknowledged: 0, sent: 0 }]))

  constructor(user: string) {
    this.user = user
  }
}

export class KeptMessages {
  readonly writers: readonly Writer[]
  /** Accounts that nobody is connected to. */
  readonly absent: readonly string[]
  private readonly host: string
  private readonly random: () => number
  private readonly all = new Map<string, Sent>()
  /** What an answer acknowledges, by its id. */
  private readonly open = new Map<string, () => void>()
  private readonly watching = new Set<() => void>()
  private numbers = 0
  private round = 0

  /** @param random - as of {@link randomNumbers} */
  constructor(host: string, writers: number, absent: number, random: () => number) {
    this.host = host
    this.random = random
    this.writers = Array.from({ length: writers }, (_, number) => new Writer(`w${number}`))
    this.absent = Array.from({ length: absent }, (_, number) => `o${number}`)
  }

  get users(): string[] {
    return [...this.writers.map(({ user }) => user), ...this.absent]
  }

  private address(user: string): string {
    return `${user}@${this.host}`
  }

  /** Logs those in who send. @param place - the port and the number of the process, for the number of a writer */
  async enter(place: (number: number) => readonly [port: number, process: number]): Promise<void> {
    this.round++
    for (const [number, writer] of this.writers.entries()) {
      const [port, process] = place(number)
      writer.process = process
      const stream = await inTime(
        `${writer.user} is logged in at process ${process}`,
        login(port, `${this.address(writer.user)}/desk`),
        ONE_MS,
      )
      writer.stream = stream
      stream.watch = (element) => this.comes(writer, element)
      for (const element of stream.received.splice(0)) this.comes(writer, element)
    }
    await this.settled()
  }

  /**
   * Sends, from all at once, and as fast as it is acknowledged.
   *
   * @param each - messages that each sends
   * @param ahead - messages that one may have unacknowledged
   * @param enough - resolves when so many are acknowledged; it goes on
   */
  async send(each: number, ahead: number, enough: number): Promise<void> {
    let acknowledged = 0
    const done = new Promise<void>((resolve) => {
      for (const writer of this.writers) {
        let left = each
        const next = (): void => {
          if (left-- <= 0 || writer.stream!.socket.destroyed) return
          this.write(writer, () => {
            if (++acknowledged === enough) resolve()
            next()
          })
        }
        for (let i = 0; i < ahead; i++) next()
      }
    })
    await this.within(`${enough} messages are acknowledged`, done)
  }

  private write(writer: Writer, answered: () => void): void {
    const number = ++this.numbers
    const id = `m${number}`
    // One in five is for somebody who is not there.
    const users = this.random() < 0.2 ? this.absent : this.writers.map(({ user }) => user)
    const others = users.filter((user) => user !== writer.user)
    const to = others[Math.floor(this.random() * others.length)]!
    const sent: Sent = {
      id,
      from: writer,
      to,
      round: this.round,
      acknowledged: false,
      refused: false,
      orphaned: false,
      live: 0,
      late: 0,
    }
    this.all.set(id, sent)
    this.open.set(`ping-${number}`, () => {
      sent.acknowledged = true
      answered()
    })
    const ping = `<iq type='get' id='ping-${number}' to='${this.host}'><ping xmlns='urn:xmpp:ping'/></iq>`
    const message = `<message type='chat' id='${id}' to='${this.address(to)}'><body>${id}</body></message>`
    const change = number % 4 === 0 ? this.change(writer, KEPT[Math.floor(this.random() * KEPT.length)]!) : ''
    writer.stream!.send(change + message + ping)
  }

  /** Changes something that the server keeps, if that is not being changed. */
  private change(writer: Writer, kept: Kept): string {
    const value = writer.values.get(kept)!
    if (value.sent > value.acknowledged) return ''
    const number = ++value.sent
    const id = `${kept}-${writer.user}-${number}`
    this.open.set(id, () => {
      value.acknowledged = number
    })
    return `<iq type='set' id='${id}'>${contentOf(kept, number)}</iq>`
  }

  private comes(writer: Writer, element: Element): boolean {
    const { name, attrs } = element
    const id = attrs.id as string | undefined
    if (id === undefined) return false
    if (name === 'message') {
      const sent = this.all.get(id)
      if (sent === undefined) return false
      if (attrs.type === 'error') sent.refused = true
      else if (sent.to !== writer.user) throw new Error(`${id} has come to ${writer.user}, not to ${sent.to}`)
      else if (element.getChild('delay', DELAY) === undefined) sent.live++
      else sent.late++
      this.changed()
      return true
    }
    if (name === 'iq' && attrs.type === 'result') {
      const done = this.open.get(id)
      this.open.delete(id)
      done?.()
      this.changed()
      return done !== undefined
    }
    return false
  }

  private changed(): void {
    for (const look of [...this.watching]) look()
  }

  /** Waits for something. @throws Error with what was not answered */
  private within(what: string, wanted: Promise<void>): Promise<void> {
    return inTime(what, wanted, PATIENCE_MS, () => {
      const open = [...this.open.keys()]
      const ended = this.writers.filter(({ stream }) => stream!.socket.destroyed).map(({ user }) => user)
      return `${open.length} are not answered: ${open.slice(0, 20)}; gone are ${ended}`
    })
  }

  /** Waits until something holds. */
  private until(holds: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!holds()) return
        this.watching.delete(look)
        resolve()
      }
      this.watching.add(look)
      look()
    })
  }

  /** A process is dead. Waits until those who are connected to others have sent all, and have answers. */
  async lost(process: number): Promise<void> {
    const processOf = new Map(this.writers.map((writer) => [writer.user, writer.process]))
    const own = [...this.all.values()].filter(({ round }) => round === this.round)
    for (const sent of own) {
      const at = processOf.get(sent.to)
      sent.orphaned = sent.from.process === process && at !== undefined && at !== process
    }
    const waits = (sent: Sent) =>
      sent.round === this.round && sent.from.process !== process && !sent.acknowledged
    await this.within(
      `who is not at process ${process} has all answers`,
      this.until(() => ![...this.all.values()].some(waits)),
    )
  }

  /** Those who are still connected have heard all that they will hear. */
  async settled(): Promise<void> {
    for (const { stream, user } of this.writers) {
      if (!stream!.socket.destroyed) await inTime(`${user} gets a pong`, stream!.settled(), ONE_MS)
    }
  }

  /** Those who were connected are not any more. */
  async leave(): Promise<void> {
    for (const { stream } of this.writers) await stream?.destroy()
    this.open.clear()
  }

  /** Of how many is known that they were handled, and of how many not. */
  get counts(): { acknowledged: number; open: number; orphaned: number; refused: number } {
    const count = (is: (sent: Sent) => boolean) => [...this.all.values()].filter(is).length
    return {
      acknowledged: count(({ acknowledged }) => acknowledged),
      open: count(({ acknowledged }) => !acknowledged),
      orphaned: count(({ orphaned }) => orphaned),
      refused: count(({ refused }) => refused),
    }
  }

  /**
   * What is not as it has to be, in words: looks at the archives, collects what waits for those who were absent, and
   * at all that is kept.
   *
   * @param port - of the process to ask for a user
   */
  async mistakes(port: (number: number) => number): Promise<string[]> {
    const found: string[] = []
    const archives = new Map<string, Map<string, number>>()
    const looks = this.users.map(async (user, number) => {
      const looking = this.lookAt(user, port(number), found)
      archives.set(user, await inTime(`${user} sees what is kept`, looking, PATIENCE_MS))
    })
    await Promise.all(looks)
    for (const sent of this.all.values()) this.judge(sent, archives, found)
    return found
  }

  /** Collects what waits for somebody, and looks at what is kept. @returns its archive: how often it has which id */
  private async lookAt(user: string, port: number, found: string[]): Promise<Map<string, number>> {
    const stream = await login(port, `${this.address(user)}/look`)
    // What waits comes with the first presence.
    await stream.settled()
    for (const message of stream.received.splice(0).filter(({ name }) => name === 'message')) {
      const sent = this.all.get(message.attrs.id as string)
      if (sent === undefined || sent.to !== user) found.push(`${user} got ${message.toString()}`)
      else sent.late++
    }
    const archive = await archiveOf(stream)
    const values = this.writers.find((one) => one.user === user)?.values ?? new Map<Kept, Value>()
    for (const [kept, value] of values) {
      const { acknowledged, sent } = value
      const now = await numberOf(stream, kept)
      if (now < acknowledged || now > sent) {
        found.push(`${user}'s ${kept} is ${now}; ${acknowledged} was acknowledged, ${sent} sent`)
      }
      // What was not acknowledged was done or not: from now on that is known.
      value.acknowledged = now
      value.sent = now
    }
    await stream.close()
    return archive
  }

  private judge(
    sent: Sent,
    archives: ReadonlyMap<string, ReadonlyMap<string, number>>,
    found: string[],
  ): void {
    const { id, from, to, acknowledged, refused, orphaned, live, late } = sent
    const isAbsent = this.absent.includes(to)
    const [own, theirs] = [archives.get(from.user)?.get(id) ?? 0, archives.get(to)?.get(id) ?? 0]
    const isSure = acknowledged && !orphaned && !refused
    const is = (what: string) =>
      found.push(
        `${id} from ${from.user} to ${to}: ${what} (acknowledged ${acknowledged}, refused ${refused}, came ${live}, handed over ${late}, archived ${own} and ${theirs})`,
      )
    if (own > 1 || theirs > 1) is('is archived twice')
    if (live + late > 1) is('has come twice')
    if (acknowledged && own === 0) is('is not in the archive of who has sent it')
    if (isSure && theirs === 0) is('is not in the archive of its recipient')
    if (isSure && isAbsent && late === 0) is('was not kept for who was absent')
  }
}

async function archiveOf(stream: TestStream): Promise<Map<string, number>> {
  const entries = new Map<string, number>()
  let after = ''
  for (let page = 0; ; page++) {
    const id = `archive-${page}`
    const content = `<query xmlns='${MAM}' queryid='${id}'><set xmlns='http://jabber.org/protocol/rsm'>${after}</set></query>`
    const answer = await stream.ask(`<iq type='set' id='${id}'>${content}</iq>`)
    for (const element of stream.received.splice(0)) {
      const archived = element.getChild('result', MAM)?.getChild('forwarded', FORWARD)?.getChild('message')
      if (archived === undefined) continue
      const key = archived.attrs.id as string
      entries.set(key, (entries.get(key) ?? 0) + 1)
    }
    const fin = answer.getChild('fin', MAM)!
    if (fin.attrs['complete'] === 'true') return entries
    after = `<after>${fin.getChild('set')!.getChildText('last')}</after>`
  }
}

function contentOf(kept: Kept, number: number): string {
  switch (kept) {
    case 'private':
      return `<query xmlns='jabber:iq:private'><n xmlns='urn:n'>${number}</n></query>`
    case 'vcard':
      return `<vCard xmlns='vcard-temp'><FN>${number}</FN></vCard>`
    case 'roster':
      return `<query xmlns='jabber:iq:roster'><item jid='n@n.lit' name='${number}'/></query>`
    case 'blocklist':
      return `<block xmlns='urn:xmpp:blocking'><item jid='b${number}@n.lit'/></block>`
    case 'prefs':
      return `<prefs xmlns='${MAM}' default='always'><always><jid>p${number}@n.lit</jid></always><never/></prefs>`
  }
}

/** The number that was kept last. */
async function numberOf(stream: TestStream, kept: Kept): Promise<number> {
  const query = {
    private: `<query xmlns='jabber:iq:private'><n xmlns='urn:n'/></query>`,
    vcard: `<vCard xmlns='vcard-temp'/>`,
    roster: `<query xmlns='jabber:iq:roster'/>`,
    blocklist: `<blocklist xmlns='urn:xmpp:blocking'/>`,
    prefs: `<prefs xmlns='${MAM}'/>`,
  }[kept]
  const answer = await stream.ask(`<iq type='get' id='get-${kept}'>${query}</iq>`)
  const text = answer.toString()
  const pattern = {
    private: />(\d+)<\/n>/g,
    vcard: /<FN>(\d+)</g,
    roster: /name="(\d+)"/g,
    blocklist: /jid="b(\d+)@/g,
    prefs: /<jid>p(\d+)@/g,
  }[kept]
  return Math.max(0, ...[...text.matchAll(pattern)].map(([, digits]) => Number(digits)))
}
