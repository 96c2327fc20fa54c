/** A socket with gathered writes, back-pressure and an upgrade to TLS. */

import type { Socket } from 'node:net'
import { type SecureContext, TLSSocket } from 'node:tls'
import type { TimerWheel } from '../timers.ts'

/** Above this many bytes waiting to be sent, whoever feeds the connection is not read from. */
const HIGH_WATER = 1 << 20
/** Below this many, they are read from again. */
const LOW_WATER = 1 << 18
/** A connection with this many bytes waiting is given up, unless many depend on it. */
const OVERFLOW = 1 << 24
/** Seconds that a peer has to close its side after ours is closed. */
const LINGER_SECONDS = 5
/** A connection that has been above the high-water mark for this many seconds is given up. */
const STALL_SECONDS = 60

export interface ConnectionHandler {
  /** Bytes have come. */
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

// The connection whose bytes are being worked on: the feeder of whatever is written meanwhile.
let feeder: Connection | undefined
const dirty: Connection[] = []
let flushing = false

function flushAll(): void {
  flushing = false
  // What a flush makes dirty again belongs to the next turn.
  const batch = dirty.splice(0)
  for (const connection of batch) connection.flush()
}

/** One TCP or TLS connection. */
export class Connection {
  handler: ConnectionHandler
  readonly remoteAddress: string
  /**
   * Whether many depend on it, as on a component's: then it is not held back by one of them who does not
   * read, and not given up for what many have sent it.
   */
  shared = false
  private socket: Socket
  private readonly timers: TimerWheel
  private queue = ''
  private queuedLater = false
  private gone = false
  private ending = false
  private handshaking = false
  private readonly feeders = new Set<Connection>()
  private readonly goneListeners: (() => void)[] = []
  private holds = 0
  private throttle: Throttle | undefined
  private linger: { cancel(): void } | undefined
  private stall: { cancel(): void } | undefined
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
    this.remoteAddress = socket.remoteAddress ?? 'unknown'
    socket.setNoDelay(true)
    this.attach(socket)
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
    if (this.queue === '' || this.gone) return
    const text = this.queue
    this.queue = ''
    this.socket.write(text, 'utf8', this.written)
  }

  /** Sends what was written, then ends the connection. */
  end(): void {
    if (this.gone || this.ending) return
    if (this.handshaking) {
      // Nothing can be told to a peer that TLS is not agreed on with.
      this.destroy()
      return
    }
    this.flush()
    this.ending = true
    this.socket.end()
    this.linger = this.timers.after(LINGER_SECONDS, () => this.destroy())
    // What still comes is not wanted, but has to be read for the end to be seen.
    if (this.holds > 0) this.socket.resume()
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

  /** Turns keep-alive probes of TCP on. */
  keepAlive(enabled: boolean): void {
    this.socket.setKeepAlive(enabled, 60_000)
  }

  /**
   * Puts TLS on the connection, as the server (RFC 6120 §5.4.3.3). What was written is sent before.
   *
   * @param context - of the host
   * @param secured - called when the handshake is done
   */
  startTls(context: SecureContext, secured: () => void): void {
    this.flush()
    const plain = this.socket
    plain.removeAllListeners('data')
    plain.removeAllListeners('end')
    plain.removeAllListeners('close')
    const socket = new TLSSocket(plain, { isServer: true, secureContext: context })
    // Nobody needs another handshake (RFC 6120 §5.3.5), and each one costs the server far more than the peer.
    socket.disableRenegotiation()
    // A TLSSocket that tls.Server has not made tells of a broken record, or of a handshake that is refused, by
    // this event only, and stays open.
    socket.on('_tlsError', (error: Error) => this.destroy(error.message))
    this.socket = socket
    this.attach(socket)
    this.handshaking = true
    socket.once('secure', () => {
      this.handshaking = false
      secured()
    })
  }

  private attach(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => {
      this.lastRead = Date.now()
      if (this.throttle !== undefined) this.slowDown(this.throttle, chunk.length)
      feeder = this
      try {
        this.handler.data(chunk)
      } finally {
        feeder = undefined
      }
    })
    socket.on('end', () => this.handler.inputEnded())
    socket.on('error', (error: Error) => this.finish(error.message))
    socket.on('close', () => this.finish(undefined))
  }

  private slowDown(throttle: Throttle, bytes: number): void {
    const { rate, most, since } = throttle
    throttle.since = this.lastRead
    throttle.allowance = Math.min(most, throttle.allowance + ((this.lastRead - since) / 1000) * rate) - bytes
    if (throttle.allowance >= 0) return
    this.pause()
    this.timers.after(-throttle.allowance / rate, () => this.resume())
  }

  private readonly written = (): void => {
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
      })
    }
    // What comes from nobody, or from one whom others wait for too, is mostly what was asked for: who does
    // not read the answers asks no more.
    const source = feeder === undefined || feeder.shared ? this : feeder
    if (!this.feeders.has(source)) {
      this.feeders.add(source)
      source.pause()
      source.handler.paused?.()
    }
  }

  private relieved(): void {
    this.stall?.cancel()
    this.stall = undefined
    if (this.feeders.size === 0) return
    const feeders = [...this.feeders]
    this.feeders.clear()
    // Later: this may be called from within the work on what one of them has sent.
    setImmediate(() => {
      for (const connection of feeders) {
        connection.resume()
        connection.handler.resumed?.()
      }
    })
  }

  private finish(reason: string | undefined): void {
    if (this.gone) return
    this.gone = true
    this.queue = ''
    this.linger?.cancel()
    this.relieved()
    this.handler.disconnected(reason)
    for (const listener of this.goneListeners) listener()
  }
}
