/** A stream and the session on it: header, restarts, stanzas, errors and the end (RFC 6120 §4). */

import type { AccountSessions, Host } from '../host.ts'
import type { Logger } from '../log.ts'
import type { TlsMaterial } from '../net/certificates.ts'
import type { Connection, ConnectionHandler } from '../net/connection.ts'
import { randomText } from '../random-text.ts'
import type { Resource, SessionType } from '../session.ts'
import { NS_STREAM, NS_STREAM_ERRORS } from '../stanza/namespaces.ts'
import { escapeAttribute } from '../stanza/serialize.ts'
import { Stanza, writeElement } from '../stanza/stanza.ts'
import type { Timeout, TimerWheel } from '../timers.ts'
import { StreamError } from './errors.ts'
import type { Pattern } from './shapes.ts'
import { type StreamHeader, Tokenizer, type TokenizerHandler, type TokenizerLimits } from './tokenizer.ts'

/** What kind of stream it is: who talks to whom, and what happens at each step. */
export interface StreamProfile {
  /** For the log: `c2s`, `component`. */
  readonly name: string
  /** The content namespace (RFC 6120 §4.8.2). */
  readonly defaultNs: string
  /** Limits before authentication. */
  readonly limits: TokenizerLimits
  /** Seconds that the peer has to close its stream after ours is closed. */
  readonly closeTimeout: number
  /** A stream header has come; answer with `session.openStream` or throw a StreamError. */
  opened(session: StreamSession, header: StreamHeader): void
  /** A first-level child has come. May throw a StreamError. */
  received(session: StreamSession, stanza: Stanza): void
  /** The session has ended, for whatever reason; called once. */
  closed(session: StreamSession, reason: string | undefined): void
}

let sessionCount = 0

/** Of sessions that have ended: ignores everything. */
const ENDED = endedTokenizer()

/** One stream of a client or component. */
export class StreamSession implements Resource, TokenizerHandler, ConnectionHandler {
  /** Tells it from all others of this process, ever. */
  readonly id = (++sessionCount).toString(36)
  type: SessionType
  host: Host | undefined
  readonly connection: Connection
  readonly profile: StreamProfile
  log: Logger
  /** The language that the peer's stream header names. */
  lang: string | undefined
  /** Of the current stream; new at every restart. */
  streamId = ''
  /** Whether TLS is on. */
  secure = false
  /** The certificate that was shown then; channel binding needs it. */
  tlsMaterial: TlsMaterial | undefined
  username: string | undefined
  resource: string | undefined
  fullJid: string | undefined
  bareJid: string | undefined
  /** The sessions of the same account, when bound. */
  account: AccountSessions | undefined
  /** Last available presence that was broadcast; undefined while unavailable. */
  presence: Stanza | undefined
  /** Of that presence. */
  priority = 0
  /** Whether it has asked for the roster (RFC 6121 §2.1.6: it gets pushes then). */
  interested = false
  /** Seconds since the epoch. */
  readonly since = Math.floor(Date.now() / 1000)
  private readonly timers: TimerWheel
  private tokenizer: Tokenizer
  private headerSent = false
  private footerSent = false
  private peerClosed = false
  private inputOver = false
  private over = false
  private holding = 0
  /** Whether the connection is paused because something has come while it was held. */
  private notReading = false
  private atEnd: Timeout[] | undefined

  constructor(
    connection: Connection,
    profile: StreamProfile,
    type: SessionType,
    log: Logger,
    timers: TimerWheel,
  ) {
    this.timers = timers
    this.connection = connection
    this.profile = profile
    this.type = type
    this.log = log.child(`${profile.name}${this.id}`)
    this.tokenizer = new Tokenizer(this, profile.limits)
    connection.handler = this
  }

  get available(): boolean {
    return this.presence !== undefined
  }

  /** Whether nothing can be sent to the peer any more. */
  get destroyed(): boolean {
    return this.over || this.footerSent
  }

  // What the connection tells.

  data(chunk: Buffer): void {
    // While a connection is being ended it is read from only to see the peer's end.
    if (this.peerClosed || this.connection.closed) return
    if (this.holding > 0 && !this.notReading) {
      // What has come waits already: nothing more is read. Mostly the hold is over before anything comes.
      this.notReading = true
      this.connection.pause()
    }
    try {
      this.tokenizer.write(chunk)
    } catch (error) {
      this.failed(error)
    }
  }

  inputEnded(): void {
    this.inputOver = true
    // What was sent before is worked on first.
    if (this.holding === 0) this.endAfterInput()
  }

  paused(): void {
    if (this.holding++ === 0) this.tokenizer.pause()
  }

  resumed(): void {
    if (--this.holding > 0) return
    if (this.notReading) {
      this.notReading = false
      this.connection.resume()
    }
    this.connection.feed(() => {
      try {
        this.tokenizer.resume()
      } catch (error) {
        this.failed(error)
      }
    })
    if (this.inputOver && this.holding === 0) this.endAfterInput()
  }

  disconnected(reason: string | undefined): void {
    this.finish(reason)
    // What still knows the session keeps no more than it has to.
    this.tokenizer = ENDED
  }

  // What the tokenizer tells.

  streamOpened(header: StreamHeader): void {
    this.streamId = newStreamId()
    this.profile.opened(this, header)
  }

  element(
    name: string,
    xmlns: string,
    attrs: Record<string, string>,
    inner: string,
    childCount: number,
    payloadName: string,
    payloadNs: string,
    pattern?: Pattern,
    cuts?: readonly number[],
  ): void {
    // RFC 6120 §4.4: what comes after our end is not worked on.
    if (this.footerSent || this.over) return
    if (xmlns !== this.profile.defaultNs) attrs.xmlns = xmlns
    const stanza = Stanza.fromText(name, attrs, inner, childCount, payloadName, payloadNs)
    if (pattern !== undefined) stanza.fits(pattern, cuts)
    this.profile.received(this, stanza)
  }

  streamClosed(): void {
    this.peerClosed = true
    this.log.debug('the peer has closed its stream')
    this.close()
    this.connection.close()
  }

  // What the session's owner does.

  /** Answers a stream header with ours. */
  openStream(attrs: Record<string, string | undefined>): void {
    let header = `<?xml version='1.0'?><stream:stream xmlns='${this.profile.defaultNs}' xmlns:stream='${NS_STREAM}'`
    for (const name in attrs) {
      const value = attrs[name]
      if (value !== undefined) header += ` ${name}='${escapeAttribute(value)}'`
    }
    this.headerSent = true
    this.connection.write(`${header}>`)
  }

  /** Sends a stanza or another first-level child. */
  send(stanza: Stanza): void {
    if (this.footerSent || this.over) return
    this.connection.write(stanza.toString())
  }

  /** Sends a stanza that other resources get, too. */
  sendAmong(stanza: Stanza): void {
    this.send(stanza)
  }

  /** Sends text that is XML already. */
  sendText(text: string): void {
    if (this.footerSent || this.over) return
    this.connection.write(text)
  }

  /** The next thing on the wire is a new stream header (RFC 6120 §4.3.3). */
  restart(): void {
    this.headerSent = false
    this.tokenizer.restart()
  }

  /** Drops what the peer sent ahead, and waits for a new stream header; used where TLS starts. */
  discardInput(): void {
    this.tokenizer.stop()
    this.tokenizer = new Tokenizer(this, this.profile.limits)
    this.headerSent = false
  }

  setLimits(limits: TokenizerLimits): void {
    this.tokenizer.setLimits(limits)
  }

  /** Holds back what the peer sends next until a promise has settled. */
  hold(until: Promise<unknown>): void {
    this.paused()
    const release = () => this.resumed()
    until.then(release, release)
  }

  /** Something to cancel when the session ends. */
  cancelAtEnd(timeout: Timeout): void {
    if (this.atEnd === undefined) this.atEnd = [timeout]
    else this.atEnd.push(timeout)
  }

  /**
   * Closes the stream (RFC 6120 §4.4), with an error if one is given (§4.9). The header is sent
   * first if that has not happened (§4.9.1.2). Whoever waits for the session's end hears of it at
   * once; the connection stays for a moment so that the peer can end its stream too.
   */
  close(error?: StreamError): void {
    if (this.footerSent || this.over) return
    if (!this.headerSent) {
      if (this.streamId === '') this.streamId = newStreamId()
      this.openStream({ id: this.streamId, from: this.host?.name, version: '1.0' })
    }
    if (error !== undefined) {
      this.log.info('closing the stream with an error', { condition: error.condition, text: error.message })
      this.sendText(streamErrorText(error))
    }
    this.sendText('</stream:stream>')
    this.footerSent = true
    this.finish(error?.message)
    if (error !== undefined) {
      this.tokenizer.stop()
      this.connection.end()
    } else if (!this.peerClosed) {
      // The tokenizer goes on, to see the peer's end.
      this.timers.after(this.profile.closeTimeout, endConnection, this.connection)
    }
  }

  /** The peer has closed its half of the connection without ending its stream. */
  private endAfterInput(): void {
    this.close()
    this.connection.end()
  }

  /** What the peer has sent could not be worked on. */
  private failed(error: unknown): void {
    if (this.footerSent) {
      // After our end no error can be told.
      this.connection.end()
      return
    }
    if (error instanceof StreamError) {
      this.close(error)
      return
    }
    this.log.error('a stream could not be worked on', { error })
    this.close(new StreamError('internal-server-error', 'The server could not work on the stream'))
  }

  private finish(reason: string | undefined): void {
    if (this.over) return
    this.over = true
    // A connection that is lost takes what it had sent and was not worked on with it.
    if (!this.footerSent) this.tokenizer.stop()
    if (this.atEnd !== undefined) for (const timeout of this.atEnd) timeout.cancel()
    this.atEnd = undefined
    try {
      this.profile.closed(this, reason)
    } catch (error) {
      this.log.error('a session could not be ended in order', { error })
    }
  }
}

function endedTokenizer(): Tokenizer {
  const limits: TokenizerLimits = { stanzaBytes: 0, depth: 0, attributes: 0, nameLength: 0 }
  const tokenizer = new Tokenizer({ streamOpened() {}, element() {}, streamClosed() {} }, limits)
  tokenizer.stop()
  return tokenizer
}

function endConnection(connection: Connection): void {
  connection.end()
}

/** RFC 6120 §4.7.3: unique, and not to be guessed. */
function newStreamId(): string {
  return randomText(12)
}

function streamErrorText(error: StreamError): string {
  const condition = writeElement(error.condition, { xmlns: NS_STREAM_ERRORS }, '')
  const text = new Stanza('text', { xmlns: NS_STREAM_ERRORS, 'xml:lang': 'en' }, error.message).toString()
  return writeElement('stream:error', {}, condition + (error.message === '' ? '' : text))
}
