/** Connections and listeners: how they end, what they gather, and who is paused. */

import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { connect as connectTls, createSecureContext } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLogger } from '../../server/log.ts'
import { Connection, type ConnectionHandler } from '../../server/net/connection.ts'
import { Listeners } from '../../server/net/listeners.ts'
import { makeSelfSigned } from '../../server/net/selfsigned.ts'
import { TimerWheel } from '../../server/timers.ts'

const log = createLogger([], { directory: '.' }).logger
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const context = createSecureContext({
  cert: makeSelfSigned('capulet.lit', privateKey),
  key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
})
let timers: TimerWheel
let server: Server
let port: number
let open: Socket[]

beforeEach(async () => {
  timers = new TimerWheel((error) => expect.unreachable(String(error)))
  server = createServer({ allowHalfOpen: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as { port: number }).port
  open = []
})

afterEach(() => {
  for (const socket of open) socket.destroy()
  server.close()
  timers.stop()
})

interface Pair {
  client: Socket
  connection: Connection
  told: string[]
}

async function pair(handler: Partial<ConnectionHandler> = {}): Promise<Pair> {
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const client = connect(port, '127.0.0.1')
  open.push(client)
  client.on('error', () => {})
  const [socket] = await accepted
  const told: string[] = []
  const connection = new Connection(socket, timers, {
    data: (chunk) => void told.push(chunk.toString()),
    inputEnded: () => void told.push('input ended'),
    disconnected: (reason) => void told.push(`gone: ${reason}`),
    ...handler,
  })
  return { client, connection, told }
}

async function read(client: Socket): Promise<string> {
  let text = ''
  for await (const chunk of client) text += chunk
  return text
}

describe('TLS', () => {
  it('what is written arrives whole and in order, in pieces or not, and with the end behind it', async () => {
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const socket = connect(port, '127.0.0.1')
    open.push(socket)
    const connection = new Connection((await accepted)[0], timers)
    const secured = new Promise<void>((resolve) => connection.startTls(context, resolve))
    const client = connectTls({ socket, rejectUnauthorized: false }).setEncoding('utf8')
    await secured
    let sent = ''
    const write = (text: string) => {
      sent += text
      connection.write(text)
    }
    // Characters of two units at every place where a piece could end.
    for (const length of [1, 988, 989, 990, 991, 1980, 5000, 40_000, 2000]) {
      write(`${length} ${'x'.repeat(length % 2)}${'😀'.repeat(length / 2)}`)
      const { length: expected } = sent
      await new Promise((resolve) => setImmediate(resolve))
      write(`<${expected}/>`)
    }
    connection.end()
    expect(await read(client)).toBe(sent)
  })
})

describe('the end', () => {
  it('what was written before it arrives, what is written after it does not', async () => {
    const { client, connection, told } = await pair()
    for (let i = 0; i < 1000; i++) connection.write(`${i} `)
    connection.end()
    connection.write('late')
    connection.end()
    const text = await read(client)
    expect(text).toBe(Array.from({ length: 1000 }, (_, i) => `${i} `).join(''))
    await connection.whenGone(2000)
    expect(told).toEqual(['input ended', 'gone: undefined'])
    expect(connection.closed).toBe(true)
  })

  it('the other side may end first, and is still written to', async () => {
    const { client, connection, told } = await pair()
    client.end('bye')
    await expect.poll(() => told).toEqual(['bye', 'input ended'])
    connection.write('answer')
    connection.end()
    expect(await read(client)).toBe('answer')
  })

  it('is told of once, with its reason', async () => {
    const { client, connection, told } = await pair()
    connection.destroy('enough')
    connection.destroy('again')
    await once(client, 'close')
    expect(told).toEqual(['gone: enough'])
    expect(connection.waiting).toBe(0)
    await connection.whenGone(0)
  })

  it('a reset is a reason', async () => {
    const { client, told } = await pair()
    client.resetAndDestroy()
    await expect.poll(() => told).toEqual(['gone: read ECONNRESET'])
  })

  it.each(['end', 'close'] as const)('%s: the system has all that was written before', async (how) => {
    const { client, connection } = await pair()
    const text = 'x'.repeat(200_000)
    let got = 0
    client.on('data', (chunk: Buffer) => {
      got += chunk.length
    })
    connection.write(text)
    const [before, closed] = [connection.handedOver(), once(client, 'end')]
    connection[how]()
    const after = connection.handedOver()
    expect([await before, await after]).toEqual([true, true])
    await closed
    expect(got).toBe(text.length)
    client.end()
    await connection.whenGone(5000)
    expect(await connection.handedOver()).toBe(true)
  })

  it('it does not have what was written to one that is cut off', async () => {
    const { client, connection } = await pair()
    client.pause()
    // More than it takes while nobody reads.
    for (let i = 0; i < 15; i++) connection.write('x'.repeat(1_000_000))
    const early = connection.handedOver()
    connection.end()
    const late = connection.handedOver()
    client.resetAndDestroy()
    expect([await early, await late]).toEqual([false, false])
    expect(await connection.handedOver()).toBe(false)
  })

  it('a peer that does not close its side is cut off', async () => {
    const { client, connection } = await pair()
    client.pause()
    const before = Date.now()
    connection.end()
    await connection.whenGone(9000)
    expect(Date.now() - before).toBeLessThan(8000)
    expect(connection.closed).toBe(true)
  })
})

describe('pausing', () => {
  it('is counted: it reads again when resumed as often', async () => {
    const { client, connection, told } = await pair()
    connection.pause()
    connection.pause()
    client.write('a')
    connection.resume()
    const other = await pair()
    other.client.write('round trip')
    await expect.poll(() => other.told).toEqual(['round trip'])
    expect(told).toEqual([])
    connection.resume()
    await expect.poll(() => told).toEqual(['a'])
  })

  it('does not keep a connection from being seen to end', async () => {
    const { client, connection, told } = await pair()
    connection.pause()
    connection.end()
    connection.pause()
    client.resume()
    client.end()
    await connection.whenGone(2000)
    expect(told.at(-1)).toBe('gone: undefined')
  })

  it('holds back who feeds a connection that does not drain, and both know when it is over', async () => {
    const target = await pair()
    const events: string[] = []
    const source = await pair({
      data() {
        target.connection.write('x'.repeat(8 << 20))
      },
      paused: () => void events.push('paused'),
      resumed: () => void events.push('resumed'),
    })
    target.client.pause()
    source.client.write('go')
    await expect.poll(() => events).toEqual(['paused'])
    target.client.resume()
    await expect.poll(() => events).toEqual(['paused', 'resumed'])
  })

  it('who feeds a connection that goes away goes on', async () => {
    const target = await pair()
    const events: string[] = []
    const source = await pair({
      paused: () => void events.push('paused'),
      resumed: () => void events.push('resumed'),
    })
    target.client.pause()
    source.connection.feed(() => target.connection.write('x'.repeat(8 << 20)))
    expect(events).toEqual(['paused'])
    target.client.resetAndDestroy()
    target.connection.destroy('gone')
    await expect.poll(() => events).toEqual(['paused', 'resumed'])
  })
})

describe('listeners', () => {
  it('"*" is every IPv4 address, "::" every IPv6 one, on the same port', async () => {
    const hasIpv6 = await new Promise<boolean>((resolve) => {
      const probe = createServer().on('error', () => resolve(false))
      probe.listen(0, '::', () => probe.close(() => resolve(true)))
    })
    const listeners = new Listeners(log)
    const { port: free } = await new Promise<{ port: number }>((resolve) => {
      const probe = createServer().listen(0, '0.0.0.0', () => {
        const address = probe.address() as { port: number }
        probe.close(() => resolve(address))
      })
    })
    listeners.add({
      name: 'c2s',
      ports: [free],
      interfaces: ['*', '::'],
      connected: (socket) => socket.destroy(),
    })
    await listeners.start()
    const addresses = listeners.addresses().map(({ address }) => address)
    expect(addresses).toEqual(hasIpv6 ? ['0.0.0.0', '::'] : ['0.0.0.0'])
    listeners.stop()
    expect(listeners.addresses()).toEqual([])
  })

  it('a port that is taken is named, with the way out', async () => {
    const listeners = new Listeners(log)
    listeners.add({
      name: 'c2s',
      ports: [port],
      interfaces: ['127.0.0.1'],
      connected: (socket) => socket.destroy(),
    })
    await expect(listeners.start()).rejects.toThrow(`c2s: port ${port} on 127.0.0.1 is in use`)
    listeners.stop()
  })
})
