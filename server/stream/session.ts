/** A stream and the session on it: header, restarts, stanzas, errors and the end (RFC 6120 §4). */

import type { AccountSessions, Host } from '../host.ts'
import type { Logger } from '../log.ts'
import type { TlsMaterial } from '../net/certificates.ts'
import type { Connection, ConnectionHandler } from '../net/connection.ts'
import type { Resource, SessionType } from '../session.ts'
import { Stanza } from '../stanza/stanza.ts'
import type { Timeout, TimerWheel } from '../timers.ts'
import { StreamError } from './errors.ts'
import { newStreamId, STREAM_END, streamErrorText, streamHeaderText } from './framing.ts'
import type { Outlet, Receipt } from './outlet.ts'
import type { StreamProfile } from './profile.ts'
import { NO_RANKS, type Rank } from './ranks.ts'
import type { Pattern } from './shapes.ts'
import { type StreamHeader, Tokenizer, type TokenizerHandler, type TokenizerLimits } from './tokenizer.ts'
import { Unfinished } from './unfinished.ts'

export type { StreamProfile } from './profile.ts'

let sessionCount = 0

/** Of sessions that have ended, or have no connection: ignores everything. */
const ENDED = endedTokenizer()

/** Of connections that a session has let go of: what comes is not worked on. */
const LET_GO: ConnectionHandler = { data() {}, inputEnded() {}, disconnected() {} }

/** What a connection ends with whose session goes on over another one. */
const REPLACED = new StreamError('conflict', 'The session was resumed over another connection')

/** One stream of a client or component. */
export class StreamSession implements Resource, TokenizerHandler, ConnectionHandler {
  /** Tells it from all others of this process, ever. */
  readonly id = (++sessionCount).toString(36)
  type: SessionType
  host: Host | undefined
  /** Another one after the session was resumed; one that is gone while it waits for that. */
  connection: Connection
  /** Another one while the stream is another process's to work on. */
  profile: StreamProfile
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
  /** What it has been lately. */
  ranks: readonly Rank[] = NO_RANKS
  /** Whether it has asked for the roster (RFC 6121 §2.1.6: it gets pushes then). */
  interested = false
  /** What is still being done for it after it has ended; it never fails. */
  afterwork: Promise<void> | undefined
  /** Seconds since the epoch. */
  readonly since = Math.floor(Date.now() / 1000)
  private readonly timers: TimerWheel
  private tokenizer: Tokenizer
  private headerSent = false
  private footerSent = false
  private peerClosed = false
  private inputOver = false
  private over = false
  /** First of those that stand between the session and its connection. */
  private outlet: Outlet | undefined
  /** Whether it is bound, and waits for another connection. */
  private waiting = false
  /** Stanzas that have come. */
  private stanzaCount = 0
  private holding = 0
  /** How many of these holds are the connection's, because what it feeds does not drain. */
  private congestions = 0
  private releases: (() => void)[] | undefined
  /** Who has taken this session's connection over. */
  private successor: StreamSession | undefined
  /** Whether the connection is paused because something has come while it was held. */
  private notReading = false
  private atEnd: Timeout[] | undefined
  private unfinished: Unfinished | undefined

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

  /** Whether its connection is lost, and it goes on without one for a while (XEP-0198 §5). */
  get hibernating(): boolean {
    return this.waiting
  }

  /** How many stanzas have come from the peer, over all of its connections. */
  get received(): number {
    return this.stanzaCount
  }

  /** Whether a handler still works on what has come last, and holds back what comes next. */
  get working(): boolean {
    return this.holding > this.congestions
  }

  /** Whether the peer itself has ended the stream. */
  get closedByPeer(): boolean {
    return this.peerClosed
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
    this.congestions++
    this.holdBack()
  }

  resumed(): void {
    // What was counted for a connection that is lost is not owed by the next one.
    if (this.congestions === 0) return
    this.congestions--
    this.goOn()
  }

  private holdBack(): void {
    if (this.holding++ === 0) this.tokenizer.pause()
  }

  private goOn(): void {
    if (this.successor !== undefined) {
      this.successor.goOn()
      return
    }
    if (--this.holding > 0) return
    if (this.releases !== undefined) {
      for (const resolve of this.releases.splice(0)) resolve()
      this.releases = undefined
    }
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
    if (this.loses(reason)) return
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
    else this.stanzaCount++
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
    this.headerSent = true
    this.connection.write(streamHeaderText(this.profile.defaultNs, attrs))
  }

  /** Sends a stanza or another first-level child. */
  send(stanza: Stanza): void {
    if (this.footerSent || this.over) return
    const text = stanza.toString()
    if (this.outlet !== undefined) this.outlet.write(text)
    else this.connection.write(text)
  }

  /** Sends a stanza that other resources get, too. */
  sendAmong(stanza: Stanza): void {
    this.send(stanza)
  }

  /**
   * Sends text that is XML already: one first-level child, or white space.
   *
   * @param receipt - is told where {@link acknowledges} is more than 0, if it is a stanza, and the session has not ended
   */
  sendText(text: string, receipt?: Receipt): void {
    if (this.footerSent || this.over) return
    if (this.outlet !== undefined) this.outlet.write(text, receipt)
    else this.connection.write(text)
  }

  /** How many stanzas the peer may leave unacknowledged; 0 if it does not acknowledge any. */
  get acknowledges(): number {
    let most = 0
    for (let { outlet } = this; outlet !== undefined; outlet = outlet.next) {
      if (outlet.acknowledges > 0) most = outlet.acknowledges
    }
    return most
  }

  /** Asks the peer to acknowledge what it has been sent, if it can. */
  ask(): void {
    for (let { outlet } = this; outlet !== undefined; outlet = outlet.next) outlet.ask()
  }

  /** Puts something between the session and its connection. */
  addOutlet(outlet: Outlet): void {
    let before: Outlet | undefined
    let behind = this.outlet
    for (; behind !== undefined && behind.place > outlet.place; behind = behind.next) before = behind
    outlet.next = behind
    if (before === undefined) this.outlet = outlet
    else before.next = outlet
  }

  removeOutlet(outlet: Outlet): void {
    if (this.outlet === outlet) this.outlet = outlet.next
    for (let other = this.outlet; other !== undefined; other = other.next) {
      if (other.next === outlet) other.next = outlet.next
    }
  }

  /**
   * Goes on over the connection of another session, which ends without a word and never was bound. Its own
   * connection, if there is one still, ends with a stream error (XEP-0198 §5). May be called from within the work on
   * what that other session has sent: what follows there is this session's.
   *
   * @param other - of the same account
   */
  takeOver(other: StreamSession): void {
    if (this.over || other.over || other.account !== undefined)
      throw new Error('a session can not be taken over')
    if (!this.waiting) this.letGo(REPLACED)
    this.waiting = false
    this.connection = other.connection
    this.connection.handler = this
    this.tokenizer = other.tokenizer
    this.tokenizer.handler = this
    this.streamId = other.streamId
    this.secure = other.secure
    this.tlsMaterial = other.tlsMaterial
    this.lang = other.lang
    this.notReading = other.notReading
    this.inputOver = other.inputOver
    this.congestions = other.congestions
    // Handlers that are still at work on what has come over either of them.
    this.holding += other.holding
    if (this.holding > 0) this.tokenizer.pause()
    if (this.atEnd !== undefined) for (const timeout of this.atEnd) timeout.cancel()
    this.atEnd = other.atEnd
    other.atEnd = undefined
    other.tokenizer = ENDED
    other.successor = this
    other.finish('resumed another session')
  }

  /**
   * Goes on over a connection whose stream somebody else reads: what comes is handed to `receive`. Its own
   * connection ends as with `takeOver`.
   */
  attach(connection: Connection): void {
    if (this.over) throw new Error('a session that has ended can not go on')
    if (!this.waiting) this.letGo(REPLACED)
    this.waiting = false
    this.connection = connection
    connection.handler = this
  }

  /** Works on a first-level child of the stream that somebody else has read. @param xmlns - its namespace */
  receive(stanza: Stanza, xmlns: string): void {
    const { name, attrs, inner, childCount, payloadName, payloadNs } = stanza
    try {
      this.element(name, xmlns, attrs, inner, childCount, payloadName, payloadNs)
    } catch (error) {
      this.failed(error)
    }
  }

  /** Waits until nothing holds back what the peer sends next. @returns undefined if that is so */
  released(): Promise<void> | undefined {
    if (this.holding === 0) return undefined
    return new Promise((resolve) => {
      this.releases ??= []
      this.releases.push(resolve)
    })
  }

  /**
   * Lets go of the connection before another one can take its place, so that nothing more comes and nothing waits for
   * that it drains (XEP-0198 §5). The session has to be one that goes on without.
   */
  leaveConnection(): void {
    this.loses('another connection is about to take its place', REPLACED)
  }

  /**
   * The connection is lost, or half of it.
   *
   * @param error - which the peer is told of, if it still can be
   * @returns whether the session goes on without it
   */
  private loses(reason: string | undefined, error?: StreamError): boolean {
    if (this.over || this.footerSent || this.waiting) return this.waiting
    let goesOn = false
    for (let outlet = this.outlet; outlet !== undefined; outlet = outlet.next) {
      if (outlet.lost(error === REPLACED)) goesOn = true
      // What was held back until now may have been too much.
      if (this.over) return false
    }
    if (!goesOn) return false
    this.log.info('the connection is lost, the session waits for another one', { reason })
    this.waiting = true
    this.letGo(error)
    return true
  }

  /** @param error - which the peer is told of, if it still can be */
  private letGo(error?: StreamError): void {
    const { connection } = this
    connection.handler = LET_GO
    if (error !== undefined) connection.write(`${streamErrorText(error)}${STREAM_END}`)
    connection.leave()
    // What has come and was not worked on is not counted either: the peer sends it again.
    this.tokenizer.stop()
    this.tokenizer = ENDED
    this.holding -= this.congestions
    this.congestions = 0
    if (this.holding === 0) for (const resolve of this.releases?.splice(0) ?? []) resolve()
    this.notReading = false
    this.inputOver = false
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
    if (this.successor !== undefined) {
      this.successor.hold(until)
      return
    }
    this.holdBack()
    const release = () => this.goOn()
    until.then(release, release)
  }

  begin(work: object, elsewhere?: boolean): number {
    this.unfinished ??= new Unfinished()
    this.unfinished.begin(work, elsewhere)
    return this.unfinished.count
  }

  get begun(): number {
    return this.unfinished?.begun ?? 0
  }

  end(work: object, since?: number): void {
    this.unfinished?.end(work, since)
  }

  /**
   * Waits for what the peer's stanzas have begun so far: then they are done for good, and may be acknowledged.
   *
   * @param elsewhere - also for what other processes have taken over
   * @returns a promise that does not fail; undefined if all is done
   */
  finished(elsewhere: boolean): Promise<void> | undefined {
    return this.unfinished?.done(elsewhere)
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
    for (let outlet = this.outlet; outlet !== undefined; outlet = outlet.next) outlet.closing()
    if (this.over) return
    if (!this.headerSent) {
      if (this.streamId === '') this.streamId = newStreamId()
      this.openStream({ id: this.streamId, from: this.host?.name, version: '1.0' })
    }
    if (error !== undefined) {
      this.log.info('closing the stream with an error', { condition: error.condition, text: error.message })
      this.connection.write(streamErrorText(error))
    }
    this.connection.write(STREAM_END)
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
    // XEP-0198 §7: that is no end of the session, if it can be resumed.
    if (this.loses('the peer has closed the connection')) return
    this.close()
    this.connection.end()
  }

  /** What the peer has sent could not be worked on. */
  private failed(error: unknown): void {
    if (this.successor !== undefined) {
      this.successor.failed(error)
      return
    }
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
    this.waiting = false
    const outlets: Outlet[] = []
    for (let { outlet } = this; outlet !== undefined; outlet = outlet.next) outlets.unshift(outlet)
    this.outlet = undefined
    // What is nearer to the connection was sent before.
    for (const outlet of outlets) outlet.ended()
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
