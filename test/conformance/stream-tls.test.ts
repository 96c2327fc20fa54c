/** STARTTLS (RFC 6120 §5). */

import { once } from 'node:events'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TestStream } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import {
  conditionOf,
  header,
  mechanismsIn,
  NS_SASL,
  NS_TLS,
  opened,
  plain,
  secured,
  startTls,
  troubles,
} from '../shared/streams.ts'

let strict: TestServer
const STARTTLS = `<starttls xmlns='${NS_TLS}'/>`

beforeAll(async () => {
  strict = await startServer({ virtualHosts: { 'capulet.lit': {} }, c2s_require_encryption: true }, [
    'juliet@capulet.lit',
  ])
})

afterAll(async () => {
  expect(troubles(strict)).toEqual([])
  await strict.stop()
})

describe('TLS that is required', () => {
  it('§5.3.1: is offered as required, and no mechanisms with it', async () => {
    const stream = await TestStream.connect(strict.c2sPort)
    await stream.open("to='capulet.lit' version='1.0'")
    const features = await stream.named('features')
    expect(features.getChild('starttls', NS_TLS)?.getChild('required')).toBeDefined()
    expect(features.getChild('mechanisms', NS_SASL)).toBeUndefined()
    await stream.close()
  })

  it('§6.5.4: authenticating without it gives encryption-required', async () => {
    const stream = await opened(strict.c2sPort)
    for (const mechanism of ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS']) {
      stream.send(`<auth xmlns='${NS_SASL}' mechanism='${mechanism}'>AGEAYQ==</auth>`)
      expect(conditionOf(await stream.named('failure'))).toBe('encryption-required')
    }
    await stream.close()
  })

  it('§4.9.3.12: a stanza without it gives not-authorized', async () => {
    const stream = await opened(strict.c2sPort)
    stream.send("<message to='juliet@capulet.lit'/>")
    expect((await stream.streamError()).condition).toBe('not-authorized')
  })
})

describe('the handshake', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    '§5.4.3: %s works, and the stream begins anew',
    async (version) => {
      const { stream, tls, features } = await secured(strict.c2sPort, {
        minVersion: version,
        maxVersion: version,
      })
      expect(tls.getProtocol()).toBe(version)
      expect(features.getChild('starttls', NS_TLS)).toBeUndefined()
      expect(mechanismsIn(features)).toContain('SCRAM-SHA-256-PLUS')
      stream.send(plain('juliet'))
      await stream.named('success')
      stream.restart()
      await stream.open("to='capulet.lit' version='1.0'")
      await stream.named('features')
      await stream.close()
      expect(stream.ended).toBe(true)
    },
  )

  it("shows the host's own certificate", async () => {
    const { stream, tls } = await secured(strict.c2sPort)
    expect(tls.getPeerCertificate().subjectaltname).toContain('DNS:capulet.lit')
    await stream.close()
  })

  it('RFC 8996: TLS 1.1 is refused', async () => {
    const stream = await opened(strict.c2sPort)
    const handshake = startTls(stream, {
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'ALL:@SECLEVEL=0',
    })
    await expect(handshake).rejects.toThrow()
    await stream.closed()
  })

  it('§5.4.3.2: rubbish in its place ends the connection, and nobody else notices', async () => {
    const stream = await opened(strict.c2sPort)
    stream.send(STARTTLS)
    await stream.named('proceed')
    stream.send('<message to="juliet@capulet.lit"/>'.repeat(100))
    await stream.closed()
    await expect.poll(() => strict.server.sessions.size).toBe(0)
  })

  it('a client that never begins it is cut off when logging in takes too long', async () => {
    const short = await startServer({ virtualHosts: { 'capulet.lit': {} }, c2s_timeout: 0.2 })
    const stream = await opened(short.c2sPort)
    stream.send(STARTTLS)
    await stream.named('proceed')
    await stream.closed()
    expect(troubles(short)).toEqual([])
    await short.stop()
  })

  it('rubbish after it ends the connection', async () => {
    const stream = await opened(strict.c2sPort)
    const raw = stream.socket
    await startTls(stream)
    raw.write(
      Buffer.from('17030300200000000000000000000000000000000000000000000000000000000000000000', 'hex'),
    )
    await stream.closed()
    await expect.poll(() => strict.server.sessions.size).toBe(0)
  })

  it('renegotiation is refused', async () => {
    const { stream, tls } = await secured(strict.c2sPort, { maxVersion: 'TLSv1.2' })
    const refused = new Promise((resolve) => {
      tls.once('error', resolve)
      tls.once('close', resolve)
      tls.renegotiate({ rejectUnauthorized: false }, (error) => error !== null && resolve(error))
    })
    await refused
    await stream.closed()
  })
})

describe('§5.3.4: what is sent in the clear is not taken for what comes over TLS', () => {
  it.each([
    ['a login in the same segment', plain('juliet')],
    ['a header and a login', `${header("to='capulet.lit' version='1.0'")}${plain('juliet')}`],
    ['half a tag', '<auth xmlns='],
    ['what is not well-formed', '</a></b>'],
    ['the end of the stream', '</stream:stream>'],
  ])('%s', async (_name, injected) => {
    const stream = await opened(strict.c2sPort)
    stream.send(STARTTLS + injected)
    await stream.named('proceed')
    stream.socket.removeAllListeners('data')
    const tls = connectTls({ socket: stream.socket, rejectUnauthorized: false })
    await once(tls, 'secureConnect')
    stream.restart(tls)
    await stream.open("to='capulet.lit' version='1.0'")
    expect(mechanismsIn(await stream.named('features'))).toContain('PLAIN')
    // Nothing but the answers to what came over TLS
    expect(stream.received).toEqual([])
    await stream.close()
    expect(stream.text).not.toContain('success')
  })
})

describe('§5.4.2.2: a request that can not be met gives failure, and the stream ends', () => {
  it('over TLS already', async () => {
    const { stream } = await secured(strict.c2sPort)
    stream.send(STARTTLS)
    expect((await stream.next()).name).toBe('failure')
    stream.send('</stream:stream>')
    await stream.closed()
    expect(stream.ended).toBe(true)
  })

  it('after authentication', async () => {
    const open = await startServer({ virtualHosts: { 'capulet.lit': {} } }, ['juliet@capulet.lit'])
    const stream = await opened(open.c2sPort)
    stream.send(plain('juliet'))
    await stream.named('success')
    stream.restart()
    await stream.open("to='capulet.lit' version='1.0'")
    const features = await stream.named('features')
    expect(features.getChild('starttls', NS_TLS)).toBeUndefined()
    stream.send(STARTTLS)
    expect((await stream.next()).name).toBe('failure')
    stream.send('</stream:stream>')
    await stream.closed()
    await open.stop()
  })
})
