/** A server for components whose every word is the test's own (XEP-0114): to be as hostile as a test wants. */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { TestStream } from './client.ts'

export class ComponentHost {
  private readonly server: Server
  private readonly early: Socket[] = []
  private readonly streams: TestStream[] = []
  private readonly waiting: ((socket: Socket) => void)[] = []

  private constructor(server: Server) {
    this.server = server
    server.on('connection', (socket) => {
      const next = this.waiting.shift()
      if (next === undefined) this.early.push(socket)
      else next(socket)
    })
  }

  static async listen(): Promise<ComponentHost> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new ComponentHost(server)
  }

  get service(): string {
    return `xmpp://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  /**
   * The next component that connects, let in whatever its secret.
   *
   * @param first - sent in one go with the handshake's answer
   */
  async accept(domain: string, first = ''): Promise<TestStream> {
    const early = this.early.shift()
    const socket = early ?? (await new Promise<Socket>((resolve) => this.waiting.push(resolve)))
    const stream = new TestStream(socket)
    this.streams.push(stream)
    await stream.headerArrives()
    stream.send(
      `<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' ` +
        `xmlns:stream='http://etherx.jabber.org/streams' from='${domain}' id='s1'>`,
    )
    await stream.named('handshake')
    stream.send(`<handshake/>${first}`)
    return stream
  }

  /** Drops all that are connected. */
  async close(): Promise<void> {
    const closed = once(this.server, 'close')
    this.server.close()
    for (const socket of this.early) socket.destroy()
    for (const stream of this.streams) await stream.destroy()
    await closed
  }
}
