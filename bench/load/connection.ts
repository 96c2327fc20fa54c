// A connection of the load: a raw socket that speaks XMPP in fixed sentences.
import { connect, type Socket } from 'node:net'
import { stanzaEnd } from './stanzas.ts'

/** Called for each stanza: it stands in `text` from `start` to `end`. */
export type StanzaListener = (text: string, start: number, end: number) => void

const TIMEOUT_MS = 20_000

/** A socket, first read sentence by sentence ({@link expect}), then stanza by stanza ({@link listen}). */
export class Connection {
  private readonly socket: Socket
  private readonly name: string
  private unread = ''
  private unsent = ''
  private listener: StanzaListener | undefined
  private wake: (() => void) | undefined
  private failure: Error | undefined
  private closing = false
  /** Told of what breaks the connection while stanzas are read. */
  onFailure: (error: Error) => void = () => {}

  private constructor(socket: Socket, name: string) {
    this.socket = socket
    this.name = name
    socket.setNoDelay(true)
    // One byte, one character: nothing is decoded, ends and ids are ASCII.
    socket.on('data', (chunk: Buffer) => this.receive(chunk.toString('latin1')))
    socket.on('error', (error) => this.fail(error))
    socket.on('close', () => this.fail(new Error('the server closed the connection')))
  }

  /** Connects to a port of 127.0.0.1. `name` is for error messages. */
  static open(port: number, name: string): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1')
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new Connection(socket, name))
      })
    })
  }

  /** Sends text; what is sent in one turn goes out in one write. */
  send(text: string): void {
    if (this.unsent === '') queueMicrotask(() => this.flush())
    this.unsent += text
  }

  /**
   * Waits until one of the tokens has come, and takes everything up to the first '>' from it on.
   * @throws Error when the server refuses (a failure, an error) or stays silent
   */
  async expect(...tokens: string[]): Promise<string> {
    const deadline = Date.now() + TIMEOUT_MS
    for (;;) {
      const refusal = /<(failure|stream:error)\b|type=['"]error['"]/.exec(this.unread)
      if (refusal) throw this.named(new Error(`refused: ${this.unread.slice(0, 600)}`))
      for (const token of tokens) {
        const at = this.unread.indexOf(token)
        const end = at < 0 ? -1 : this.unread.indexOf('>', at)
        if (end >= 0) return this.take(end + 1)
      }
      if (this.failure) throw this.failure
      const left = deadline - Date.now()
      if (left <= 0)
        throw this.named(new Error(`no ${tokens.join(' or ')} came: ${this.unread.slice(0, 600)}`))
      await this.more(left)
    }
  }

  /** From now on, `listener` is given every stanza. */
  listen(listener: StanzaListener): void {
    this.listener = listener
    if (this.failure) this.onFailure(this.failure)
    else if (this.unread !== '') this.receive('')
  }

  /**
   * Waits for a stanza for which `wanted` says true; the others are dropped.
   * @throws Error when the connection breaks or none comes
   */
  async stanza(wanted: (stanza: string) => boolean): Promise<string> {
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise<string>((resolve, reject) => {
        timer = setTimeout(() => reject(this.named(new Error('an expected stanza did not come'))), TIMEOUT_MS)
        this.onFailure = reject
        this.listen((text, start, end) => {
          const stanza = text.slice(start, end)
          if (wanted(stanza)) resolve(stanza)
        })
      })
    } finally {
      clearTimeout(timer)
      this.onFailure = () => {}
    }
  }

  /** Ends the stream and the socket. */
  close(): void {
    this.closing = true
    this.socket.end('</stream:stream>')
    // The server's answer is of no interest, and some wait long for ours.
    this.socket.destroySoon()
  }

  private receive(chunk: string): void {
    const text = this.unread === '' ? chunk : this.unread + chunk
    if (this.listener === undefined) {
      this.unread = text
      this.wake?.()
      return
    }
    let at = 0
    try {
      while (at < text.length) {
        if (text.charCodeAt(at) <= 0x20) {
          at++
          continue
        }
        const end = stanzaEnd(text, at)
        if (end < 0) break
        this.listener(text, at, end)
        at = end
      }
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)))
      return
    }
    this.unread = at === text.length ? '' : text.slice(at)
  }

  private take(end: number): string {
    const taken = this.unread.slice(0, end)
    this.unread = this.unread.slice(end)
    return taken
  }

  private more(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      this.wake = () => {
        clearTimeout(timer)
        this.wake = undefined
        resolve()
      }
    })
  }

  private flush(): void {
    const text = this.unsent
    this.unsent = ''
    if (!this.socket.destroyed) this.socket.write(text, 'latin1')
  }

  private fail(error: Error): void {
    if (this.closing || this.failure) return
    this.failure = this.named(error)
    this.socket.destroy()
    this.wake?.()
    this.onFailure(this.failure)
  }

  private named(error: Error): Error {
    return new Error(`${this.name}: ${error.message}`, { cause: error })
  }
}
