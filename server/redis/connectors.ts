/**
 * How ioredis connects, with one thing more: whoever listens to a connection's errors does so for as long as it
 * lasts. ioredis hears of the first one only; a second, as TLS may tell when a handshake fails on both sides, would
 * end the process.
 */

import { createConnection, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { RedisOptions } from 'ioredis'
import { ioredis } from './ioredis.ts'

type Connector = NonNullable<RedisOptions['Connector']>

function heard<S extends Socket>(stream: S): S {
  return stream.on('error', () => {})
}

/** For one server, or a node of a cluster. */
export function directConnector(): Connector {
  const { AbstractConnector } = ioredis()
  return class extends AbstractConnector {
    private readonly options: RedisOptions

    constructor(options: RedisOptions) {
      super(options.disconnectTimeout ?? 0)
      this.options = options
    }

    async connect(): Promise<Socket> {
      const { path, host, port, family, tls } = this.options
      this.connecting = true
      const place = path ? { path } : { host, port: port ?? 0, family }
      const stream = heard(tls ? connectTls({ ...place, ...tls }) : createConnection(place))
      stream.once('error', (error: Error) => {
        // ioredis looks here for what went wrong before it was given the stream.
        this.firstError = error
      })
      this.stream = stream
      return stream
    }
  } as unknown as Connector
}

/** For the master that sentinels know. */
export function sentinelConnector(): Connector {
  const { SentinelConnector } = ioredis()
  return class extends SentinelConnector {
    override async connect(tell: (type: string, error: Error) => void) {
      return heard((await super.connect(tell)) as Socket)
    }
  } as unknown as Connector
}
