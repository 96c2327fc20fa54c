/** A connection to a client that another process holds: what is written goes there, what comes is handed over. */

import { Socket } from 'node:net'
import { Connection, type TimerWheel } from '../../server/index.ts'

/** The way to the other process. */
export interface TunnelEnd {
  /** The client's address. */
  readonly address: string
  send(text: string): void
  /** Nothing more is sent: the connection is to be ended. @param left - what was sent goes another way, too */
  end(left: boolean): void
}

export class Tunnel extends Connection {
  private readonly far: TunnelEnd
  private over = false
  private text = ''
  private toBeSent = false

  constructor(timers: TimerWheel, far: TunnelEnd) {
    // One that is never connected, and tells of nothing.
    super(new Socket(), timers)
    this.far = far
  }

  override get remoteAddress(): string {
    return this.far.address
  }

  override get closed(): boolean {
    return this.over
  }

  /** What the client does not read waits at the other process. */
  override get waiting(): number {
    return this.text.length
  }

  override write(text: string): void {
    if (this.over) return
    this.text += text
    if (this.toBeSent) return
    this.toBeSent = true
    setImmediate(() => this.flush())
  }

  override flush(): void {
    this.toBeSent = false
    if (this.text === '') return
    const { text } = this
    this.text = ''
    this.far.send(text)
  }

  /** It can not be known here. */
  override async handedOver(): Promise<boolean> {
    this.flush()
    return !this.over
  }

  override end(left = false): void {
    if (this.over) return
    this.flush()
    this.over = true
    this.far.end(left)
  }

  override leave(): void {
    this.end(true)
  }

  override close(): void {
    this.end()
  }

  override destroy(reason?: string): void {
    if (this.over) return
    this.end()
    this.handler.disconnected(reason)
  }

  /** The other process has lost its connection, or is gone. */
  lost(reason: string): void {
    if (this.over) return
    this.over = true
    this.text = ''
    this.handler.disconnected(reason)
  }

  override whenGone(): Promise<void> {
    return Promise.resolve()
  }

  // Its reading is not paused: the other process hands over one thing at a time.
  override pause(): void {}

  override resume(): void {}

  override keepAlive(): void {}
}
