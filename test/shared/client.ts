/** Clients and components for tests, on plain sockets: what is sent is what the test wrote. */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { StringDecoder } from 'node:string_decoder'
import { type Element, Parser } from '@xmpp/xml'

const NS_STREAM = 'http://etherx.jabber.org/streams'

/** One stream of a test, from the initiating side. */
export class TestStream {
  readonly socket: Socket
  /** What has come and was not asked for yet. */
  readonly received: Element[] = []
  /** Everything that has come, as text. */
  text = ''
  header: Element | undefined
  /** Whether the peer has ended its stream. */
  ended = false
  jid = ''
  /** Looks at everything that comes, first; what it says `true` of, it has taken, and nobody else gets it. */
  watch: ((element: Element) => boolean) | undefined
  private parser!: Parser
  private readonly decoder = new StringDecoder('utf8')
  private readonly waiting: { fits: (element: Element) => boolean; resolve: (element: Element) => void }[] =
    []
  private readonly closing: Promise<unknown>
  private opened: ((header: Element) => void) | undefined

  constructor(socket: Socket) {
    this.socket = socket
    this.newParser()
    this.listen(socket)
    this.closing = once(socket, 'close').catch(() => undefined)
    socket.on('error', () => {})
  }

  static async connect(port: number): Promise<TestStream> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    // Tests send little at a time: the second would wait 40 ms for what the kernel acknowledges late.
    socket.setNoDelay(true)
    return new TestStream(socket)
  }

  send(text: string | Buffer): void {
    this.socket.write(text)
  }

  /** Starts reading another stream, on another socket if TLS has begun. */
  restart(socket?: Socket): void {
    this.newParser()
    if (socket !== undefined) {
      this.socket.removeAllListeners('data')
      ;(this as { socket: Socket }).socket = socket
      this.listen(socket)
      socket.on('error', () => {})
    }
  }

  /** Sends a stream header and waits for the server's. */
  open(attrs: string, xmlns = 'jabber:client'): Promise<Element> {
    this.send(`<?xml version='1.0'?><stream:stream xmlns='${xmlns}' xmlns:stream='${NS_STREAM}' ${attrs}>`)
    return this.headerArrives()
  }

  headerArrives(): Promise<Element> {
    if (this.header !== undefined) return Promise.resolve(this.header)
    return new Promise((resolve, reject) => {
      this.opened = resolve
      this.closing.then(() => reject(new Error('the connection ended before a stream header came')))
    })
  }

  /** The next element that fits, taken out of what has come. */
  next(fits: (element: Element) => boolean = () => true): Promise<Element> {
    const index = this.received.findIndex(fits)
    if (index >= 0) return Promise.resolve(this.received.splice(index, 1)[0]!)
    return new Promise((resolve, reject) => {
      this.waiting.push({ fits, resolve })
      this.closing.then(() => reject(new Error(`the stream ended; it had sent: ${this.text.slice(-2000)}`)))
    })
  }

  named(name: string): Promise<Element> {
    return this.next((element) => element.getName() === name)
  }

  withId(id: string): Promise<Element> {
    return this.next((element) => element.attrs.id === id)
  }

  /** Sends an IQ and waits for its answer. */
  ask(iq: string): Promise<Element> {
    const id = /\sid=(['"])(.*?)\1/.exec(iq)?.[2]
    if (id === undefined) throw new Error('the IQ has no id')
    this.send(iq)
    return this.next(
      (element) => element.attrs.id === id && ['result', 'error'].includes(element.attrs.type as string),
    )
  }

  /** The stream error that the server ends the stream with. */
  async streamError(): Promise<{ condition: string; text: string }> {
    const error = await this.next((element) => element.name === 'stream:error')
    const condition = error.children.find((child) => typeof child === 'object' && child.getName() !== 'text')
    return {
      condition: (condition as Element | undefined)?.getName() ?? '',
      text: error.getChildText('text') ?? '',
    }
  }

  /** Waits until the connection is gone. */
  async closed(): Promise<void> {
    await this.closing
  }

  /** Ends the stream in order. */
  async close(): Promise<void> {
    if (!this.socket.destroyed) {
      this.send('</stream:stream>')
      await this.closing
    }
  }

  /** Drops the connection. */
  async destroy(): Promise<void> {
    this.socket.destroy()
    await this.closing
  }

  /** Waits until everything that was sent before has been worked on; for a bound client. */
  async settled(): Promise<void> {
    const id = `settled-${Math.random().toString(36).slice(2)}`
    await this.ask(
      `<iq type='get' id='${id}' to='${this.jid.split('@')[1]?.split('/')[0]}'><ping xmlns='urn:xmpp:ping'/></iq>`,
    )
  }

  private listen(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => {
      // A character may be cut between two chunks.
      const text = this.decoder.write(chunk)
      this.text += text
      this.parser.write(text)
    })
  }

  private newParser(): void {
    const parser = new Parser()
    this.parser = parser
    this.header = undefined
    parser.on('start', (header: Element) => {
      this.header = header
      this.opened?.(header)
      this.opened = undefined
    })
    parser.on('element', (element: Element) => this.arrived(element))
    parser.on('end', () => {
      this.ended = true
    })
  }

  private arrived(element: Element): void {
    if (this.watch?.(element) === true) return
    const index = this.waiting.findIndex(({ fits }) => fits(element))
    if (index < 0) this.received.push(element)
    else this.waiting.splice(index, 1)[0]!.resolve(element)
  }
}

/** A client that has authenticated with PLAIN and bound a resource. @param header - more for the stream header */
export async function login(
  port: number,
  jid: string,
  {
    password = 'pw',
    presence = true,
    header = '',
  }: { password?: string; presence?: boolean; header?: string } = {},
): Promise<TestStream> {
  const stream = await TestStream.connect(port)
  const [bare = '', resource = 'test'] = jid.split('/')
  const [local = '', host = ''] = bare.split('@')
  await stream.open(`to='${host}' version='1.0' ${header}`)
  await stream.named('features')
  const initial = Buffer.from(`\0${local}\0${password}`).toString('base64')
  stream.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${initial}</auth>`)
  const outcome = await stream.next()
  if (outcome.getName() !== 'success') throw new Error(`could not log in: ${outcome.toString()}`)
  stream.restart()
  await stream.open(`to='${host}' version='1.0' ${header}`)
  await stream.named('features')
  const bound = await stream.ask(
    `<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>${resource}</resource></bind></iq>`,
  )
  stream.jid = bound.getChild('bind')?.getChildText('jid') ?? ''
  if (stream.jid === '') throw new Error(`could not bind: ${bound.toString()}`)
  if (presence) stream.send('<presence/>')
  return stream
}

/** A component that has authenticated. @param more - for the stream header */
export async function connectComponent(
  port: number,
  domain: string,
  secret = 'secret',
  more = '',
): Promise<TestStream> {
  const stream = await TestStream.connect(port)
  const header = await stream.open(`to='${domain}' ${more}`, 'jabber:component:accept')
  const digest = createHash('sha1').update(`${header.attrs.id}${secret}`).digest('hex')
  stream.send(`<handshake>${digest}</handshake>`)
  const outcome = await stream.next()
  if (outcome.getName() !== 'handshake') throw new Error(`could not connect: ${outcome.toString()}`)
  stream.jid = domain
  return stream
}
