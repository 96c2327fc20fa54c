/** TLS as the first thing on a connection (XEP-0368), and what clients get by default. */

import { once } from 'node:events'
import { connect } from 'node:net'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import type { Element } from '@xmpp/xml'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type OptionSpec, readOption } from '../../server/config/index.ts'
import { c2sOptions, configFromObject } from '../../server/index.ts'
import { TestStream } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { bindIq, mechanismsIn, NS_TLS, plain, scram, troubles } from '../shared/streams.ts'

let server: TestServer
let port: number

beforeAll(async () => {
  server = await startServer(
    {
      virtualHosts: { 'capulet.lit': {}, 'montague.lit': {} },
      c2s_require_encryption: true,
      c2s_direct_tls_ports: [0],
      c2s_direct_tls_interfaces: ['127.0.0.1'],
    },
    ['juliet@capulet.lit', 'romeo@montague.lit'],
  )
  port = server.server.addresses.find(({ service }) => service === 'c2s_direct_tls')!.port
})

afterAll(async () => {
  expect(troubles(server)).toEqual([])
  await server.stop()
})

async function connected(options: ConnectionOptions = {}): Promise<TLSSocket> {
  const tls = connectTls({
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    servername: 'capulet.lit',
    ALPNProtocols: ['xmpp-client'],
    ...options,
  })
  await once(tls, 'secureConnect')
  return tls
}

async function opened(
  options: ConnectionOptions = {},
  host = 'capulet.lit',
): Promise<{ stream: TestStream; tls: TLSSocket; features: Element }> {
  const tls = await connected(options)
  const stream = new TestStream(tls)
  await stream.open(`to='${host}' version='1.0'`)
  return { stream, tls, features: await stream.named('features') }
}

const nameOf = (tls: TLSSocket) => tls.getPeerCertificate().subjectaltname

describe('the defaults', () => {
  const config = configFromObject({ virtualHosts: { 'capulet.lit': {} } })
  const defaults = (name: keyof typeof c2sOptions) =>
    readOption(config, 'capulet.lit', name, c2sOptions[name] as OptionSpec)

  it('are TLS before authentication, and no port for TLS first, as in Prosody', () => {
    expect(defaults('c2s_require_encryption')).toBe(true)
    expect(defaults('allow_unencrypted_plain_auth')).toBe(false)
    expect(defaults('c2s_ports')).toEqual([5222])
    expect(defaults('c2s_direct_tls_ports')).toEqual([])
  })
})

describe('a stream over it', () => {
  it('§3: needs no STARTTLS, and offers what a stream over TLS does', async () => {
    const { stream, tls, features } = await opened()
    expect(tls.alpnProtocol).toBe('xmpp-client')
    expect(nameOf(tls)).toContain('capulet.lit')
    expect(features.getChild('starttls', NS_TLS)).toBeUndefined()
    expect(mechanismsIn(features)).toEqual([
      'SCRAM-SHA-256-PLUS',
      'SCRAM-SHA-256',
      'SCRAM-SHA-1-PLUS',
      'SCRAM-SHA-1',
      'PLAIN',
    ])
    stream.send(plain('juliet'))
    await stream.named('success')
    stream.restart()
    await stream.open("to='capulet.lit' version='1.0'")
    await stream.named('features')
    expect((await stream.ask(bindIq('balcony'))).attrs.type).toBe('result')
    await stream.close()
    expect(stream.ended).toBe(true)
  })

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('binds SCRAM to the channel: %s', async (version) => {
    const { stream, tls } = await opened({ minVersion: version, maxVersion: version })
    const exporter = version === 'TLSv1.3'
    const binding = exporter
      ? tls.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0))
      : server.server.tlsOf('capulet.lit')!.endPointHash
    const gs2 = exporter ? 'p=tls-exporter,,' : 'p=tls-server-end-point,,'
    const outcome = await scram(stream, 'SCRAM-SHA-256-PLUS', 'juliet', { gs2, binding })
    expect(outcome.getName()).toBe('success')
    await stream.destroy()
  })

  it('binds it to the certificate that was shown, also of another host', async () => {
    const { stream, tls } = await opened({ servername: 'montague.lit' }, 'montague.lit')
    expect(nameOf(tls)).toContain('montague.lit')
    const binding = server.server.tlsOf('montague.lit')!.endPointHash
    const options = { gs2: 'p=tls-server-end-point,,', binding }
    expect((await scram(stream, 'SCRAM-SHA-1-PLUS', 'romeo', options)).getName()).toBe('success')
    await stream.destroy()
  })
})

describe('the handshake', () => {
  it.each([undefined, 'verona.lit', 'CAPULET.lit'])(
    'of a client that names %s shows a certificate all the same',
    async (servername) => {
      // An empty name sends none.
      const { stream, tls } = await opened({ servername: servername ?? '' })
      expect(nameOf(tls)).toContain('capulet.lit')
      await stream.close()
    },
  )

  it('RFC 7301 §3.2: without ALPN is taken, with xmpp-client among others too', async () => {
    for (const ALPNProtocols of [undefined, ['http/1.1', 'xmpp-client']]) {
      const tls = await connected({ ALPNProtocols })
      expect(tls.alpnProtocol).toBe(ALPNProtocols === undefined ? false : 'xmpp-client')
      tls.destroy()
    }
  })

  it('RFC 7301 §3.2: for another protocol is refused', async () => {
    await expect(connected({ ALPNProtocols: ['h2'] })).rejects.toThrow(/no application protocol|reset/i)
    await expect.poll(() => server.server.sessions.size).toBe(0)
  })

  it('RFC 8996: of TLS 1.1 is refused', async () => {
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' } as const
    await expect(connected(old)).rejects.toThrow()
  })

  it('the finite fields of RFC 7919 are not taken: they cost the server too much', async () => {
    await expect(
      connected({ ecdhCurve: 'ffdhe8192', maxVersion: 'TLSv1.3', minVersion: 'TLSv1.3' }),
    ).rejects.toThrow()
    await expect(
      connected({ ciphers: 'DHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256', maxVersion: 'TLSv1.2' }),
    ).rejects.toThrow()
  })

  it('that is none ends the connection, and nobody else notices', async () => {
    const { stream } = await opened()
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write("<?xml version='1.0'?><stream:stream to='capulet.lit' version='1.0'>")
    await once(socket, 'close')
    await expect.poll(() => server.server.sessions.size).toBe(1)
    await stream.close()
  })

  it('that never comes is not waited for longer than logging in may take', async () => {
    const short = await startServer({
      virtualHosts: { 'capulet.lit': {} },
      c2s_direct_tls_ports: [0],
      c2s_direct_tls_interfaces: ['127.0.0.1'],
      c2s_timeout: 0.2,
    })
    const address = short.server.addresses.find(({ service }) => service === 'c2s_direct_tls')!
    const socket = connect(address.port, '127.0.0.1')
    socket.resume()
    await once(socket, 'close')
    expect(troubles(short)).toEqual([])
    await short.stop()
  })
})
