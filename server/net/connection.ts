/** A socket with gathered writes, back-pressure and an upgrade to TLS. */

import { Socket } from 'node:net'
import { type SecureContext, TLSSocket, type TLSSocketOptions } from 'node:tls'
import type { Timeout, TimerWheel } from '../timers.ts'
import { disown, listenTo, listenToTls, type SocketOwner } from './socket-listeners.ts'

/** Above this many bytes waiting to be sent, whoever feeds the connection is not read from. */
const HIGH_WATER = 1 << 20
/** Below this many, they are read from again. */
const LOW_WATER = 1 << 18
/** A connection with this many bytes waiting is given up, unless many depend on it. */
const OVERFLOW = 1 << 24
/**
 * Under TLS, characters that are handed over at a time at first. Node keeps what it has encrypted and not sent yet
 * in a buffer of 1 kB, and from the first time that this is too small one of 16 kB for as long as the connection
 * lasts: most of what an idle session costs beyond its keys.
 */
const PIECE_LENGTH = 990
/** So many pieces; who is sent more is not idle. */
const MOST_PIECES = 16
/** Seconds that a peer has to close its side after ours is closed. */
const LINGER_SECONDS = 5
/** Bytes that may wait to be sent when a connection is left. */
const MOST_LEFT = 1 << 16
/** A connection that has been above the high-water mark for this many seconds is given up. */
const STALL_SECONDS = 60

export interface ConnectionHandler {
  /** Bytes have come. @param chunk - valid until it returns */
  data(chunk: Buffer): void
  /** The peer will send nothing more, but may still read. */
  inputEnded(): void
  /** What it feeds does not drain: what has come and is not worked on yet should wait until `resumed`. */
  paused?(): void
  resumed?(): void
  /** The connection is gone; called once. @param reason - for people, undefined if it ended in order */
  disconnected(reason: string | undefined): void
}

/** A rate that is kept to: what may come now, and what was when. */
interface Throttle {
  readonly rate: number
  readonly most: number
  allowance: number
  since: number
}

const NOBODY: ConnectionHandler = { data() {}, inputEnded() {}, disconnected() {} }
const CLOSED_SOCKET = new Socket()
CLOSED_SOCKET.destroy()

// The connection whose bytes are being worked on: the feeder of whatever is written meanwhile.
let feeder: Connection | undefined
const dirty: Connection[] = []
let flushing = false

/**
 * Holds the connection back whose bytes are being worked on, because what they have led to is not taken elsewhere.
 *
 * @param held - those that are held back for that reason
 */
export function pauseFeeder(held: Set<Connection>): void {
  if (feeder === undefined || feeder.shared || held.has(feeder)) return
  held.add(feeder)
  feeder.pause()
  feeder.handler.paused?.()
}

/** Lets them go on, in a later turn. */
export function resumeFeeders(held: ReadonlySet<Connection>): void {
  setImmediate(() => {
    for (const connection of held) {
      connection.resume()
      connection.handler.resumed?.()
    }
  })
}

/**
 * Hands all that was written to the system now. Whoever tells others that something has been delivered calls this
 * before: it goes on its way then even if this process dies.
 */
export function flushConnections(): void {
  // What a flush makes dirty again belongs to the next turn.
  const batch = dirty.splice(0)
  for (const connection of batch) connection.flush()
}

function flushAll(): void {
  flushing = false
  flushConnections()
}

/** One TCP or TLS connection. */
export class Connection implements SocketOwner {
  handler: ConnectionHandler
  /**
   * Whether many depend on it, as on a component's: then it is not held back by one of them who does not
   * read, and not given up for what many have sent it.
   */
  shared = false
  private socket: Socket
  private readonly timers: TimerWheel
  private queue = ''
  private queuedLater = false
  private piecesLeft = 0
  private pieceUnderWay = false
  private gone = false
  private ending = false
  /** Once it is ended: whether the system has taken all of it; undefined while that is not known. */
  private isAllSent: boolean | undefined
  /** While TLS is being agreed on: told when it is. */
  private secured: (() => void) | undefined
  /** Those that are held back until this connection drains. */
  private feeders: Set<Connection> | undefined
  private goneListeners: (() => void)[] | undefined
  private drainListeners: (() => void)[] | undefined
  private sentListeners: (() => void)[] | undefined
  private holds = 0
  private throttle: Throttle | undefined
  private linger: Timeout | undefined
  private stall: Timeout | undefined
  /** Milliseconds since the epoch when bytes last came. */
  lastRead = Date.now()

  /**
   * @param socket - connected
   * @param timers - of the server
   * @param handler - whoever works on the bytes; a session sets itself here
   */
  constructor(socket: Socket, timers: TimerWheel, handler: ConnectionHandler = NOBODY) {
    this.socket = socket
    this.timers = timers
    this.handler = handler
    listenTo(socket, this)
  }

  /** The peer's IP address; `unknown` when the connection is gone. */
  get remoteAddress(): string {
    return this.socket.remoteAddress ?? 'unknown'
  }

  /** Whether it can no longer be written to. */
  get closed(): boolean {
    return this.gone || this.ending
  }

  /** The TLS socket, if it is one. */
  get tls(): TLSSocket | undefined {
    return this.socket instanceof TLSSocket ? this.socket : undefined
  }

  /** Bytes, about, that wait to be sent. */
  get waiting(): number {
    return this.queue.length + this.socket.writableLength
  }

  /** Sends text with everything else that is written in this turn. */
  write(text: string): void {
    if (this.gone || this.ending) return
    this.queue += text
    if (!this.queuedLater) {
      this.queuedLater = true
      dirty.push(this)
      if (!flushing) {
        flushing = true
        setImmediate(flushAll)
      }
    }
    if (this.queue.length + this.socket.writableLength > HIGH_WATER) this.congested()
  }

  /** Hands what was written to the system now. */
  flush(): void {
    this.queuedLater = false
    if (this.queue === '' || this.gone || this.pieceUnderWay) return
    const text = this.queue
    if (this.piecesLeft > 0 && text.length > PIECE_LENGTH) {
      if (text.length <= this.piecesLeft * PIECE_LENGTH) {
        this.writePiece(text)
        return
      }
      this.piecesLeft = 0
    }
    this.queue = ''
    if (this.stall === undefined) this.socket.write(text, 'utf8')
    else this.socket.write(text, 'utf8', () => this.written())
  }

  private writePiece(text: string): void {
    this.piecesLeft--
    const end = isHighSurrogate(text.charCodeAt(PIECE_LENGTH - 1)) ? PIECE_LENGTH - 1 : PIECE_LENGTH
    this.queue = text.slice(end)
    this.pieceUnderWay = true
    this.socket.write(text.slice(0, end), 'utf8', () => {
      this.pieceUnderWay = false
      this.written()
      this.flush()
    })
  }

  /** Sends what was written, then ends the connection. */
  end(): void {
    if (this.gone || this.ending) return
    if (this.secured !== undefined) {
      // Nothing can be told to a peer that TLS is not agreed on with.
      this.destroy()
      return
    }
    this.piecesLeft = 0
    this.pieceUnderWay = false
    this.flush()
    this.ending = true
    this.socket.end((error?: Error | null) => this.lastSent(error))
    this.linger = this.timers.after(LINGER_SECONDS, destroyConnection, this)
    // What still comes is not wanted, but has to be read for the end to be seen.
    if (this.holds > 0) this.socket.resume()
  }

  /**
   * Sends what was written, then closes the connection without waiting for the peer's end: for a peer that has said
   * that it sends nothing more. What comes all the same could cost the peer what it has not read yet.
   */
  close(): void {
    if (this.gone || this.ending) return
    if (this.secured !== undefined) {
      this.destroy()
      return
    }
    const text = this.queue
    this.queue = ''
    this.ending = true
    this.linger = this.timers.after(LINGER_SECONDS, destroyConnection, this)
    const { socket } = this
    if (this.tls === undefined) {
      // Closing sends the end, too: telling it before would cost another call of the system.
      // Not from within the callback: what is destroyed there gets an error made for it.
      socket.write(text, 'utf8', (error) => {
        this.lastSent(error)
        process.nextTick(destroySocket, socket)
      })
      return
    }
    if (text !== '') socket.write(text, 'utf8')
    socket.end((error?: Error | null) => this.lastSent(error))
    socket.destroySoon()
  }

  /**
   * Ends it for another one, over which what was written is sent again. Where much of that waits, nobody waits for a
   * peer who does not read: whoever comes again and again would have it all kept as often.
   */
  leave(): void {
    if (this.waiting > MOST_LEFT) this.destroy()
    else this.end()
  }

  /** Ends it at once. */
  destroy(reason?: string): void {
    if (this.gone) return
    this.finish(reason)
    this.socket.destroy()
  }

  /**
   * Waits until the connection is gone.
   *
   * @param milliseconds - at most
   */
  whenGone(milliseconds: number): Promise<void> {
    if (this.gone) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds)
      this.goneListeners ??= []
      this.goneListeners.push(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  /** Stops reading until `resume` has been called as often. */
  pause(): void {
    // After the end what comes is not worked on, and has to be read for the peer's end to be seen.
    if (this.holds++ === 0 && !this.ending) this.socket.pause()
  }

  resume(): void {
    if (--this.holds === 0 && !this.gone) this.socket.resume()
  }

  /**
   * Does work on what this connection has sent: whoever is written to meanwhile beyond what it takes holds
   * this connection back.
   */
  feed(work: () => void): void {
    const outer = feeder
    feeder = this
    try {
      work()
    } finally {
      feeder = outer
    }
  }

  /**
   * Reads no faster than this from now on.
   *
   * @param rate - bytes a second
   * @param burst - seconds for which a silent peer saves up what it does not send
   */
  limitRate(rate: number, burst: number): void {
    this.throttle = { rate, most: rate * burst, allowance: rate * burst, since: Date.now() }
  }

  /** Turns keep-alive probes of TCP on: one after each minute of silence. */
  keepAlive(): void {
    this.socket.setKeepAlive(true, 60_000)
  }

  /**
   * Puts TLS on the connection, as the server (RFC 6120 §5.4.3.3). What was written is sent before.
   *
   * @param context - of the host
   * @param secured - called when the handshake is done
   * @param more - further options of the TLS socket
   */
  startTls(context: SecureContext, secured: () => void, more?: TLSSocketOptions): void {
    this.flush()
    const socket = new TLSSocket(this.socket, { ...more, isServer: true, secureContext: context })
    // Nobody needs another handshake (RFC 6120 §5.3.5), and each one costs the server far more than the peer.
    socket.disableRenegotiation()
    this.socket = socket
    listenToTls(socket, this)
    this.secured = secured
    this.piecesLeft = MOST_PIECES
  }

  // What the socket tells.

  received(socket: Socket, chunk: Buffer): void {
    if (socket !== this.socket) return
    this.lastRead = Date.now()
    if (this.throttle !== undefined) this.slowDown(this.throttle, chunk.length)
    feeder = this
    try {
      this.handler.data(chunk)
    } finally {
      feeder = undefined
    }
  }

  private slowDown(throttle: Throttle, bytes: number): void {
    const { rate, most, since } = throttle
    throttle.since = this.lastRead
    throttle.allowance = Math.min(most, throttle.allowance + ((this.lastRead - since) / 1000) * rate) - bytes
    if (throttle.allowance >= 0) return
    this.pause()
    this.timers.after(-throttle.allowance / rate, () => this.resume())
  }

  /**
   * Waits, if more is to be sent to the peer than is good, until that is sent.
   *
   * @returns undefined if there is nothing to wait for
   */
  drained(): Promise<void> | undefined {
    if (this.gone || this.waiting <= HIGH_WATER) return undefined
    return new Promise((resolve) => {
      this.drainListeners ??= []
      this.drainListeners.push(resolve)
    })
  }

  /** Whether the system does not take all that was written at once. */
  get isBehind(): boolean {
    if (this.pieceUnderWay || this.socket.writableLength > 0) return true
    return this.piecesLeft > 0 && this.queue.length > PIECE_LENGTH
  }

  /**
   * Waits until the system has all that was written: it goes on its way even if this process dies. That may be as the
   * connection is ended in order.
   *
   * @returns false if the connection was lost before
   */
  async handedOver(): Promise<boolean> {
    for (;;) {
      if (this.gone || this.ending) return this.allSent()
      this.flush()
      const isAll = this.queue === ''
      const { socket } = this
      const isSent = await new Promise<boolean>((resolve) => {
        socket.write('', (error) => resolve(!error))
      })
      if (isSent && isAll) return true
      if (!isSent && !this.closed) return false
    }
  }

  /** @returns whether the system has taken all, of a connection that is ended; when that is known */
  private async allSent(): Promise<boolean> {
    if (this.isAllSent === undefined && !this.gone) {
      await new Promise<void>((resolve) => {
        this.sentListeners ??= []
        this.sentListeners.push(resolve)
      })
    }
    return this.isAllSent === true
  }

  private lastSent(error: Error | null | undefined): void {
    this.isAllSent ??= !error
    for (const listener of this.sentListeners?.splice(0) ?? []) listener()
  }

  private written(): void {
    if (this.stall !== undefined && this.waiting < LOW_WATER) this.relieved()
  }

  private congested(): void {
    if (this.waiting > OVERFLOW && !this.shared) {
      this.destroy('more data waits to be sent than is kept')
      return
    }
    if (this.stall === undefined) {
      this.stall = this.timers.after(STALL_SECONDS, () => {
        this.stall = undefined
        if (this.waiting > LOW_WATER) this.destroy('the peer does not read')
        else this.relieved()
      })
    }
    // What comes from nobody, or from one whom others wait for too, is mostly what was asked for: who does
    // not read the answers asks no more.
    const source = feeder === undefined || feeder.shared ? this : feeder
    this.feeders ??= new Set()
    if (!this.feeders.has(source)) {
      this.feeders.add(source)
      source.pause()
      source.handler.paused?.()
    }
  }

  private relieved(): void {
    this.stall?.cancel()
    this.stall = undefined
    for (const listener of this.drainListeners ?? []) listener()
    this.drainListeners = undefined
    const { feeders } = this
    if (feeders === undefined) return
    this.feeders = undefined
    // Later: this may be called from within the work on what one of them has sent.
    resumeFeeders(feeders)
  }

  inputEnded(socket: Socket): void {
    if (socket === this.socket) this.handler.inputEnded()
  }

  handshakeDone(): void {
    const { secured } = this
    this.secured = undefined
    secured?.()
  }

  socketClosed(socket: Socket): void {
    if (socket !== this.socket) return
    this.finish(undefined)
    // Neither keeps the other any longer: V8 and Node may know one of them for a while.
    this.socket = CLOSED_SOCKET
    disown(socket)
  }

  finish(reason: string | undefined): void {
    if (this.gone) return
    this.gone = true
    this.queue = ''
    this.linger?.cancel()
    this.relieved()
    this.handler.disconnected(reason)
    this.handler = NOBODY
    for (const listener of this.sentListeners?.splice(0) ?? []) listener()
    for (const listener of this.goneListeners ?? []) listener()
  }
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code < 0xdc00
}

function destroySocket(socket: Socket): void {
  socket.destroy()
}

function destroyConnection(connection: Connection): void {
  connection.destroy()
}
