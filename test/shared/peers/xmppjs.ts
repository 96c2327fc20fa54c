// A person's client with @xmpp/client, the library of the JavaScript XMPP world.
import type { TLSSocket } from 'node:tls'
import { type Client, client, xml } from '@xmpp/client'
import type { Element } from '@xmpp/xml'
import { HOST, type ImServer } from './im-server.ts'

const PAUSE_MS = 100
/** Less than a test may take. */
const PATIENCE_MS = 30_000

const NS_SM = 'urn:xmpp:sm:3'
const NS_MAM = 'urn:xmpp:mam:2'

/** What the library has for stream management, which its types do not know. */
interface StreamManagement {
  enabled: boolean
  requestAckDebounce: number
  on(event: 'resumed', listener: () => void): void
  on(event: 'ack' | 'fail', listener: (stanza: Element) => void): void
}

/** A running client. The process has to trust the server, see `trustOnly`. */
export class XmppJs {
  readonly xmpp: Client
  /** Its full JID. */
  readonly jid: string
  /** Names of the mechanisms that it has tried. */
  readonly mechanisms: string[] = []
  /** What it has told of as errors. */
  readonly errors: Error[] = []
  /** Ids of stanzas that the server has acknowledged. */
  readonly acknowledged: string[] = []
  /** Stanzas that have come and were not asked for yet. */
  readonly received: Element[] = []
  /** How often it has been logged in, and how often its stream has been resumed. */
  logins = 0
  resumptions = 0
  private readonly waiting = new Set<() => void>()
  private asked = 0

  /** @param port - the server's when left out; the network's for one whose connection is cut */
  constructor(
    server: ImServer,
    user: string,
    { port = server.c2sPort, resource = 'js', password = 'pw' } = {},
  ) {
    this.jid = `${user}@${HOST}/${resource}`
    const service = `xmpp://127.0.0.1:${port}`
    this.xmpp = client({ service, domain: HOST, username: user, password, resource })
    this.xmpp.reconnect.delay = PAUSE_MS
    this.xmpp.on('error', (error) => this.errors.push(error))
    this.xmpp.on('send', (element) => {
      if (element.is('auth')) this.mechanisms.push(String(element.attrs.mechanism))
    })
    this.xmpp.on('online', () => {
      this.logins++
      this.wake()
    })
    this.xmpp.on('stanza', (stanza: Element) => {
      this.received.push(stanza)
      this.wake()
    })
    this.xmpp.on('status', () => this.wake())
    this.xmpp.on('nonza', (element: Element) => {
      if (element.is('enabled', NS_SM)) setImmediate(() => this.wake())
    })
    const { streamManagement } = this
    // It asks for acknowledgements of every stanza, and soon.
    streamManagement.requestAckDebounce = 10
    streamManagement.on('resumed', () => {
      this.resumptions++
      this.wake()
    })
    streamManagement.on('ack', (stanza) => {
      this.acknowledged.push(String(stanza.attrs.id))
      this.wake()
    })
  }

  get streamManagement(): StreamManagement {
    return (this.xmpp as unknown as { streamManagement: StreamManagement }).streamManagement
  }

  /**
   * Logs in, fetches the roster, and says that it is there, as clients do.
   * @param roster - false for one that is to resume its stream: the library does not count answers to what it asks
   * (they do not get past its `iqCaller`), so the server gives it as many stanzas a second time
   */
  async login({ roster = true } = {}): Promise<void> {
    await this.xmpp.start()
    // It counts from <enabled/>, but notices that late: what came in one packet with it would not be counted.
    await this.until(() => this.streamManagement.enabled, 'stream management')
    if (roster) await this.roster()
    await this.xmpp.send(xml('presence'))
    await this.next((stanza) => stanza.is('presence') && stanza.attrs.from === this.jid, 'its own presence')
  }

  /** Its roster: subscription, name and groups by JID. */
  async roster(): Promise<
    Record<string, { subscription: string; name: string | undefined; groups: string[] }>
  > {
    const query: Element | undefined = await this.xmpp.iqCaller.get(
      xml('query', { xmlns: 'jabber:iq:roster' }),
    )
    if (query === undefined) throw new Error('the roster is empty, without a query')
    return Object.fromEntries(
      query.getChildren('item').map((item) => [
        String(item.attrs.jid),
        {
          subscription: String(item.attrs.subscription),
          name: item.attrs.name as string | undefined,
          groups: item.getChildren('group').map((group) => group.getText()),
        },
      ]),
    )
  }

  /** Says something to somebody. @returns the message's id */
  async say(to: string, body: string): Promise<string> {
    const id = `m${++this.asked}`
    await this.xmpp.send(xml('message', { to, type: 'chat', id }, xml('body', {}, body)))
    return id
  }

  /** The next message with such words, not a copy of one. */
  hears(body: string): Promise<Element> {
    const fits = (stanza: Element) => stanza.is('message') && stanza.getChildText('body') === body
    return this.next(fits, `a message "${body}"`)
  }

  /** The next stanza that fits, taken out of what has come. @param what - for the error if it does not come in time */
  async next(fits: (stanza: Element) => boolean, what: string): Promise<Element> {
    await this.until(() => this.received.some(fits), what)
    return this.received.splice(this.received.findIndex(fits), 1)[0]!
  }

  /** Waits until something holds, looking whenever something has happened. */
  async until(holds: () => boolean, what: string): Promise<void> {
    const began = Date.now()
    while (!holds()) {
      if (Date.now() - began >= PATIENCE_MS) {
        throw new Error(`${this.jid} has waited for ${what}; what came is ${this.received.join('\n')}`)
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, PATIENCE_MS)
        const go = (): void => {
          clearTimeout(timer)
          this.waiting.delete(go)
          resolve()
        }
        this.waiting.add(go)
      })
    }
  }

  /** Bodies of the messages that have come and nobody has asked for, after everything that was on its way. */
  async heard(): Promise<string[]> {
    await this.settled()
    return this.received
      .filter((stanza) => stanza.is('message') && stanza.getChild('body') !== undefined)
      .map((stanza) => stanza.getChildText('body')!)
  }

  /** Types of the presences that have come and nobody has asked for, after everything that was on its way. */
  async seen(): Promise<string[]> {
    await this.settled()
    return this.received
      .filter((stanza) => stanza.is('presence'))
      .map(({ attrs }) => `${attrs.type ?? 'available'} of ${attrs.from}`)
  }

  /** What was sent before has been worked on, and its effects on this client have come. */
  async settled(): Promise<void> {
    await this.xmpp.iqCaller.get(xml('ping', { xmlns: 'urn:xmpp:ping' }), HOST)
  }

  /** Messages of its archive: body and archive's id, in order. @param last - how many, the latest */
  async archive(partner: string, last = 50): Promise<{ id: string; body: string | null }[]> {
    const form = xml(
      'x',
      { xmlns: 'jabber:x:data', type: 'submit' },
      xml('field', { var: 'FORM_TYPE', type: 'hidden' }, xml('value', {}, NS_MAM)),
      xml('field', { var: 'with' }, xml('value', {}, partner)),
    )
    const page = xml(
      'set',
      { xmlns: 'http://jabber.org/protocol/rsm' },
      xml('max', {}, String(last)),
      xml('before'),
    )
    const queryid = `q${++this.asked}`
    const query = xml('query', { xmlns: NS_MAM, queryid }, form, page)
    const answer = await this.xmpp.iqCaller.request(xml('iq', { type: 'set' }, query))
    if (answer.getChild('fin', NS_MAM)?.attrs.complete !== 'true') {
      throw new Error(`the archive has more than ${last} messages`)
    }
    const ours = (stanza: Element) => stanza.getChild('result', NS_MAM)?.attrs.queryid === queryid
    const results = this.received.filter(ours)
    for (const result of results) this.received.splice(this.received.indexOf(result), 1)
    return results.map((stanza) => {
      const result = stanza.getChild('result', NS_MAM)!
      const message = result
        .getChild('forwarded', 'urn:xmpp:forward:0')!
        .getChild('message', 'jabber:client')!
      return { id: String(result.attrs.id), body: message.getChildText('body') }
    })
  }

  /** Gives its connection up, as who finds that nothing comes any more. */
  drop(): void {
    const { socket } = this.xmpp as unknown as { socket: { socket: TLSSocket } }
    socket.socket.destroy()
  }

  async stop(): Promise<void> {
    this.xmpp.reconnect.stop()
    if (this.xmpp.status === 'online') await this.xmpp.stop()
  }

  private wake(): void {
    for (const go of [...this.waiting]) go()
  }
}

/** The condition of an IQ's error; a sentence if there was none. */
export async function conditionOf(asking: Promise<unknown>): Promise<string | undefined> {
  const failure = await asking.then(
    () => new Error('there was no error'),
    (error: Error & { condition?: string }) => error,
  )
  return 'condition' in failure ? failure.condition : failure.message
}
