/** The ports that the server listens on, opened when all plugins are loaded. */

import { createServer, type Server as NetServer, type Socket } from 'node:net'
import type { Logger } from '../log.ts'

/** A service that takes connections. */
export interface ServiceListener {
  /** `c2s`, `component` … */
  readonly name: string
  readonly ports: readonly number[]
  readonly interfaces: readonly string[]
  connected(socket: Socket): void
}

/** An address that is listened on. */
export interface ListeningAddress {
  readonly service: string
  readonly address: string
  readonly port: number
}

/** Opens and closes the ports of services. */
export class Listeners {
  private readonly log: Logger
  private readonly services = new Set<ServiceListener>()
  private readonly open = new Map<ServiceListener, NetServer[]>()
  private started = false

  constructor(log: Logger) {
    this.log = log
  }

  /**
   * Adds a service. Its ports are opened at once if the server has started.
   *
   * @returns a function that closes it
   */
  add(service: ServiceListener): () => void {
    this.services.add(service)
    if (this.started) {
      this.openService(service).catch((error) => this.log.error('a port could not be opened', { error }))
    }
    return () => {
      this.services.delete(service)
      for (const server of this.open.get(service) ?? []) server.close()
      this.open.delete(service)
    }
  }

  /** Opens the ports of all services. @throws Error that names the port which can not be opened */
  async start(): Promise<void> {
    for (const service of this.services) await this.openService(service)
    this.started = true
  }

  /** Takes no more connections; those that are open stay. */
  stop(): void {
    this.started = false
    for (const servers of this.open.values()) for (const server of servers) server.close()
    this.open.clear()
  }

  /** Where the server listens. */
  addresses(): ListeningAddress[] {
    const list: ListeningAddress[] = []
    for (const [service, servers] of this.open) {
      for (const server of servers) {
        const bound = server.address()
        if (bound !== null && typeof bound === 'object') {
          list.push({ service: service.name, address: bound.address, port: bound.port })
        }
      }
    }
    return list
  }

  private async openService(service: ServiceListener): Promise<void> {
    const servers: NetServer[] = []
    this.open.set(service, servers)
    for (const port of service.ports) {
      for (const address of service.interfaces) {
        const server = await this.openPort(service, port, address)
        if (server === undefined) continue
        servers.push(server)
        // It was taken away while its ports were being opened.
        if (this.open.get(service) !== servers) server.close()
      }
    }
    if (servers.length === 0 && service.ports.length > 0) {
      throw new Error(`${service.name}: none of its interfaces could be listened on`)
    }
  }

  private openPort(service: ServiceListener, port: number, address: string): Promise<NetServer | undefined> {
    return new Promise((resolve, reject) => {
      // Half-open, so that who has sent everything still gets the answers.
      const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) =>
        service.connected(socket),
      )
      server.on('error', (error: NodeJS.ErrnoException) => {
        if (server.listening) {
          // Running out of file descriptors, for one: the server goes on with the connections it has.
          this.log.error('a connection could not be taken', { service: service.name, error })
          return
        }
        // A machine without IPv6 is no mistake of the configuration.
        if (address.includes(':') && (error.code === 'EAFNOSUPPORT' || error.code === 'EADDRNOTAVAIL')) {
          this.log.info('not listening over IPv6: the machine has none', { service: service.name, address })
          resolve(undefined)
        } else reject(new Error(`${service.name}: ${listenFailure(error, port, address)}`))
      })
      // Without a host Node would listen on IPv6 too, where "::" has its own place in the list.
      const host = address === '*' ? '0.0.0.0' : address
      server.listen({ port, host, ipv6Only: address === '::' }, () => {
        const bound = server.address()
        const actual = bound !== null && typeof bound === 'object' ? bound.port : port
        this.log.info(`listening for ${service.name} connections`, { address, port: actual })
        resolve(server)
      })
    })
  }
}

function listenFailure(error: NodeJS.ErrnoException, port: number, address: string): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `port ${port} on ${address} is in use by another program; stop that, or set other ports in the configuration`
    case 'EACCES':
      return `port ${port} on ${address} may not be opened by this user; ports below 1024 belong to root`
    case 'EADDRNOTAVAIL':
      return `${address} is no address of this machine; see "interfaces" in the configuration`
    default:
      return `port ${port} on ${address} can not be opened: ${error.message}`
  }
}
