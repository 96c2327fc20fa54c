// The floor's two listeners.
import { createServer, type Server } from 'node:net'
import { createSecureContext } from 'node:tls'
import { serveClient } from './login.ts'
import { Relay } from './relay.ts'

/** Where it listens, 0 for any free port, and with which key and certificate (PEM); without, there is no TLS. */
export interface FloorOptions {
  c2sPort: number
  componentPort: number
  tls?: { key: Buffer | string; cert: Buffer | string } | undefined
}

/** A floor that listens. */
export interface Floor {
  readonly c2sPort: number
  readonly componentPort: number
  /** Listens no more; connections last as long as the other side likes. */
  stop(): Promise<void>
}

/** Starts it on 127.0.0.1. */
export async function startFloor(options: FloorOptions): Promise<Floor> {
  const relay = new Relay()
  const secureContext = options.tls && createSecureContext(options.tls)
  const c2s = createServer((socket) => serveClient(relay, socket, secureContext))
  const component = createServer((socket) => relay.serveComponent(socket))
  const servers = [c2s, component]
  return {
    c2sPort: await listen(c2s, options.c2sPort),
    componentPort: await listen(component, options.componentPort),
    async stop() {
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
    },
  }
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host: '127.0.0.1', backlog: 4096 }, () => {
      resolve((server.address() as { port: number }).port)
    })
  })
}
