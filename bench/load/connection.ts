// A connection of the load: a raw socket that speaks XMPP in fixed sentences.
import { connect, type Socket } from 'node:net'
import { connect as connectTls, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import { stanzaEnd } from './reading.ts'
import { OTHER, PART } from './skeleton.ts'

/** What is told of stanzas. The bytes are its own for the time of the call only. */
export interface StanzaReader {
  /** Reads a stanza that looks as expected, and gives its end; {@link OTHER} or {@link PART} as a skeleton does. */
  quick(bytes: Buffer, at: number): number
  /**
   * Reads any other stanza.
   * @throws Error when it is wrong
   */
  slow(bytes: Buffer, at: number, end: number): void
}

/** Reads nothing of what comes. */
export const IGNORE: StanzaReader = {
  quick: (bytes) => bytes.length,
  slow: () => {},
}

const TIMEOUT_MS = 20_000

/**
 * All sockets without TLS read into the same bytes: they are read before the next socket's turn. Large, so that a
 * turn takes what has come.
 */
const SHARED = Buffer.allocUnsafeSlow(1 << 18)

/** Connections that have something to send at the end of this turn. */
let unflushed: Connection[] = []

function flushAll(): void {
  const connections = unflushed
  unflushed = []
  for (const connection of connections) connection.flush()
}

let secureContext: SecureContext | undefined

/** A socket, first read sentence by sentence ({@link expect}), then stanza by stanza ({@link listen}). */
export class Connection {
  private socket!: Socket | TLSSocket
  private readonly name: string
  /** What has been read of a dialogue and not taken. */
  private sentence = ''
  /** The beginning of a stanza whose rest has not come. */
  private rest: Buffer | undefined
  private restLength = 0
  private out: Buffer | undefined
  private outLength = 0
  private reader: StanzaReader | undefined
  private wake: (() => void) | undefined
  private failure: Error | undefined
  private closed = false
  private closing = false
  /** Told of what breaks the connection while stanzas are read. */
  onFailure: (error: Error) => void = () => {}

  private constructor(name: string) {
    this.name = name
  }

  /** Connects to a port of 127.0.0.1. `name` is for error messages; a connection that will use TLS must say so. */
  static open(port: number, name: string, tls = false): Promise<Connection> {
    const connection = new Connection(name)
    const callback = (length: number) => {
      connection.receive(SHARED.subarray(0, length))
      return true
    }
    // A socket that TLS will take over reads through its stream.
    const onread = tls ? undefined : { buffer: SHARED, callback }
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread })
    connection.take(socket, !tls)
    return new Promise((resolve, reject) => {
      connection.onFailure = reject
      socket.once('connect', () => {
        connection.onFailure = () => {}
        resolve(connection)
      })
    })
  }

  /** Negotiates TLS with a server that has agreed to; whatever its certificate, which is not what is measured. */
  async secure(): Promise<void> {
    secureContext ??= createSecureContext({ ca: [] })
    const plain = this.socket
    plain.removeAllListeners('data')
    const socket = connectTls({
      socket: plain,
      secureContext,
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    })
    this.take(socket, false)
    await this.until('TLS', (done) => socket.once('secureConnect', done))
  }

  /** Its own port. */
  get localPort(): number {
    return this.socket.localPort ?? 0
  }

  /** Sends text; what is sent in one turn goes out in one write. */
  send(text: string): void {
    const at = this.reserve(text.length)
    this.out!.write(text, at, 'latin1')
  }

  /** Sends a copy of the bytes, and gives where it can be changed until the turn ends: {@link written} from there. */
  sendCopy(bytes: Buffer): number {
    const at = this.reserve(bytes.length)
    bytes.copy(this.out!, at)
    return at
  }

  /** What is going to be sent, for changes at once: the next sending may move it. */
  get written(): Buffer {
    return this.out!
  }

  private reserve(length: number): number {
    const at = this.outLength
    if (at === 0) {
      if (unflushed.length === 0) setImmediate(flushAll)
      unflushed.push(this)
    }
    const needed = at + length
    if (this.out === undefined || needed > this.out.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(512, 1 << (32 - Math.clz32(needed))))
      this.out?.copy(larger, 0, 0, at)
      this.out = larger
    }
    this.outLength = needed
    return at
  }

  /** Writes what is to be sent. */
  flush(): void {
    const out = this.out!
    const bytes = out.subarray(0, this.outLength)
    this.outLength = 0
    if (this.socket.destroyed) return
    this.socket.write(bytes)
    // What the kernel has not taken yet must not be overwritten.
    if (this.socket.writableLength > 0) this.out = undefined
  }

  /**
   * Waits until one of the tokens has come, and takes everything up to the first '>' from it on.
   * @throws Error when the server refuses (a failure, an error) or stays silent
   */
  async expect(...tokens: string[]): Promise<string> {
    const deadline = Date.now() + TIMEOUT_MS
    for (;;) {
      const sentence = this.sentence
      for (const token of tokens) {
        const at = sentence.indexOf(token)
        const end = at < 0 ? -1 : sentence.indexOf('>', at)
        if (end >= 0) {
          this.checkRefusal(sentence)
          this.sentence = sentence.slice(end + 1)
          return sentence.slice(0, end + 1)
        }
      }
      this.checkRefusal(sentence)
      if (this.failure) throw this.failure
      if (Date.now() >= deadline) {
        throw this.named(new Error(`no ${tokens.join(' or ')} came: ${sentence.slice(0, 600)}`))
      }
      await this.until(tokens.join(' or '), (done) => {
        this.wake = done
      })
    }
  }

  /** From now on, `reader` is given every stanza. */
  listen(reader: StanzaReader): void {
    this.reader = reader
    if (this.failure) {
      this.onFailure(this.failure)
    } else if (this.sentence !== '') {
      const bytes = Buffer.from(this.sentence, 'latin1')
      this.sentence = ''
      this.receive(bytes)
    }
  }

  /**
   * Waits for a stanza for which `wanted` says true; the others are dropped.
   * @throws Error when the connection breaks or none comes
   */
  async stanza(wanted: (stanza: string) => boolean): Promise<string> {
    let found = ''
    await this.until('an expected stanza', (done) => {
      this.listen({
        quick: () => OTHER,
        slow: (bytes, at, end) => {
          const stanza = bytes.toString('latin1', at, end)
          if (!wanted(stanza)) return
          found = stanza
          done()
        },
      })
    })
    return found
  }

  /** Ends the stream and waits until the server has ended it too and the connection is closed. */
  async end(): Promise<void> {
    this.reader = undefined
    this.send('</stream:stream>')
    await this.expect('</stream:stream')
    // Whoever ends first keeps the port's memory (TIME_WAIT): mostly the server, whose end may be here already.
    this.closing = true
    this.socket.end()
    if (!this.closed) await this.until('end of the connection', (done) => this.socket.once('close', done))
  }

  /** Ends the connection, whatever the server thinks of it. */
  close(): void {
    this.closing = true
    this.socket.destroy()
  }

  private take(socket: Socket | TLSSocket, readsDirectly: boolean): void {
    this.socket = socket
    if (!readsDirectly) socket.on('data', (chunk: Buffer) => this.receive(chunk))
    socket.on('error', (error) => this.fail(error))
    socket.on('close', () => {
      if (socket !== this.socket) return
      this.closed = true
      this.fail(new Error('the server closed the connection'))
    })
  }

  private receive(chunk: Buffer): void {
    if (this.reader === undefined) {
      this.sentence += chunk.toString('latin1', 0, chunk.length)
      this.wake?.()
      return
    }
    const bytes = this.restLength === 0 ? chunk : this.appended(chunk)
    let at = 0
    try {
      while (at < bytes.length) {
        let end = this.reader.quick(bytes, at)
        if (end === PART) break
        if (end === OTHER) {
          if (bytes[at]! <= 0x20) {
            at++
            continue
          }
          end = stanzaEnd(bytes, at)
          if (end < 0) break
          this.reader.slow(bytes, at, end)
        }
        at = end
      }
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)))
      return
    }
    this.keep(bytes, at)
  }

  /** The rest of before, with the chunk behind it. */
  private appended(chunk: Buffer): Buffer {
    const length = this.restLength + chunk.length
    if (length > this.rest!.length) {
      const larger = Buffer.allocUnsafeSlow(1 << (32 - Math.clz32(length)))
      this.rest!.copy(larger, 0, 0, this.restLength)
      this.rest = larger
    }
    chunk.copy(this.rest!, this.restLength)
    this.restLength = length
    return this.rest!.subarray(0, length)
  }

  private keep(bytes: Buffer, at: number): void {
    const length = bytes.length - at
    if (length > 0 && (this.restLength === 0 || at > 0)) {
      if (this.rest === undefined || this.rest.length < length) {
        this.rest = Buffer.allocUnsafeSlow(Math.max(512, 1 << (32 - Math.clz32(length))))
      }
      bytes.copy(this.rest, 0, at)
    }
    this.restLength = length
  }

  private checkRefusal(sentence: string): void {
    if (/<(failure|stream:error)\b|type=['"]error['"]/.test(sentence)) {
      throw this.named(new Error(`refused: ${sentence.slice(0, 600)}`))
    }
  }

  /** Waits until `start` calls back; breaks off when the connection does, or takes too long. */
  private until(what: string, start: (done: () => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer)
        this.wake = undefined
        this.onFailure = () => {}
      }
      const timer = setTimeout(() => {
        settle()
        reject(this.named(new Error(`waited in vain for ${what}; there is: ${this.sentence.slice(0, 600)}`)))
      }, TIMEOUT_MS)
      this.onFailure = (error) => {
        settle()
        reject(error)
      }
      start(() => {
        settle()
        resolve()
      })
    })
  }

  private fail(error: Error): void {
    if (this.closing || this.failure) return
    this.failure = this.named(error)
    this.socket.destroy()
    this.onFailure(this.failure)
  }

  private named(error: Error): Error {
    return new Error(`${this.name}: ${error.message}`, { cause: error })
  }
}
