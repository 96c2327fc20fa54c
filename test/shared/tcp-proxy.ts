/** A network between a process and what it connects to, of which a test can cut the cable. */

import { connect, createServer, type Server, type Socket } from 'node:net'

/**
 * How a network is cut, in both directions:
 *
 * - `late`: nothing passes, and nobody is told. What was sent comes when it is mended, as TCP sends it again.
 * - `lost`: nothing passes, and nobody is told. Connections of before never pass anything again.
 * - `reset`: connections are reset, and new ones too.
 */
export type Cut = 'late' | 'lost' | 'reset'

export class TcpProxy {
  private readonly server: Server
  private readonly sockets = new Set<Socket>()
  private cutAs: Cut | undefined

  private constructor(port: number) {
    this.server = createServer((socket) => this.pass(socket, connect(port, '127.0.0.1')))
  }

  /** Starts one on a free port. @param port - where it leads, on 127.0.0.1 */
  static start(port: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(port)
    return new Promise((resolve, reject) => {
      proxy.server.once('error', reject)
      proxy.server.listen(0, '127.0.0.1', () => resolve(proxy))
    })
  }

  get port(): number {
    return (this.server.address() as { port: number }).port
  }

  cut(how: Cut): void {
    this.cutAs = how
    for (const socket of this.sockets) {
      if (how === 'reset') socket.resetAndDestroy()
      else if (how === 'late') socket.pause()
      else swallow(socket)
    }
  }

  mend(): void {
    this.cutAs = undefined
    for (const socket of this.sockets) socket.resume()
  }

  /** Ends it, and all that goes through it. */
  close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    return new Promise((resolve) => this.server.close(() => resolve()))
  }

  private pass(inward: Socket, outward: Socket): void {
    for (const [one, other] of [
      [inward, outward],
      [outward, inward],
    ] as const) {
      this.sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        this.sockets.delete(one)
        // An end does not pass a network that is cut either; the other one stays as it is.
        if (this.cutAs === undefined) other.end()
        else if (this.cutAs === 'reset') other.destroy()
        else swallow(other)
      })
      one.on('data', (data) => other.write(data))
      if (this.cutAs === 'late') one.pause()
      else if (this.cutAs === 'lost') swallow(one)
    }
    if (this.cutAs === 'reset') inward.resetAndDestroy()
  }
}

/** What it sends goes nowhere from now on. */
function swallow(socket: Socket): void {
  socket.removeAllListeners('data')
  socket.resume()
}
