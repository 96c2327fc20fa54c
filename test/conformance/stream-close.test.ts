/** How streams end (RFC 6120 §4.4): by either side, half-closed, reset, and with stanzas under way. */

import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connectComponent, login, TestStream } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { authenticated, bindIq, header, opened, plain, startTls, troubles } from '../shared/streams.ts'

let server: TestServer

beforeAll(async () => {
  server = await startServer(
    {
      virtualHosts: { 'capulet.lit': {} },
      components: { 'echo.capulet.lit': { component_secret: 'secret' } },
      c2s_close_timeout: 30,
    },
    ['juliet@capulet.lit', 'romeo@capulet.lit', 'nurse@capulet.lit'],
  )
  // A handler that answers when it is told to.
  server.server.hosts
    .get('capulet.lit')!
    .events.add('iq-get/host/urn:x:slow:slow', async ({ origin, stanza }: never) => {
      await new Promise((resolve) => setTimeout(resolve, 50))
      ;(origin as { send(s: unknown): void }).send(
        new (await import('../../server/index.ts')).Stanza('iq', {
          type: 'result',
          id: (stanza as { attrs: { id: string } }).attrs.id,
        }),
      )
      return true
    })
})

afterAll(async () => {
  expect(troubles(server)).toEqual([])
  await server.stop()
})

const slowIq = (id: string) => `<iq type='get' id='${id}' to='capulet.lit'><slow xmlns='urn:x:slow'/></iq>`
const pingIq = (id: string) => `<iq type='get' id='${id}' to='capulet.lit'><ping xmlns='urn:xmpp:ping'/></iq>`

describe('the client ends', () => {
  it.each([
    [
      'before features',
      (s: TestStream) => s.send(`${header("to='capulet.lit' version='1.0'")}</stream:stream>`),
    ],
    [
      'after features',
      async (s: TestStream) => {
        await s.open("to='capulet.lit' version='1.0'")
        s.send('</stream:stream>')
      },
    ],
  ])('§4.4: %s, and is answered', async (_name, act) => {
    const stream = await TestStream.connect(server.c2sPort)
    await act(stream)
    await stream.closed()
    expect(stream.ended).toBe(true)
    expect(stream.text).not.toContain('stream:error')
  })

  it('§4.4: what it sent before its end arrives, in order', async () => {
    const romeo = await login(server.c2sPort, 'romeo@capulet.lit/orchard')
    const juliet = await login(server.c2sPort, 'juliet@capulet.lit/balcony')
    const messages = Array.from({ length: 500 }, (_, i) => `<message to='${romeo.jid}' id='m${i}'/>`)
    juliet.send(`${messages.join('')}</stream:stream>`)
    await juliet.closed()
    await romeo.settled()
    const ids = romeo.received.filter((e) => e.name === 'message').map((e) => e.attrs.id)
    expect(ids).toEqual(messages.map((_, i) => `m${i}`))
    expect(juliet.ended).toBe(true)
    await romeo.close()
  })

  it('§4.4: answers that were on their way to it arrive before the end', async () => {
    const juliet = await login(server.c2sPort, 'juliet@capulet.lit/balcony')
    juliet.send(`${pingIq('a')}${pingIq('b')}</stream:stream>`)
    await juliet.closed()
    expect(juliet.received.map((e) => e.attrs.id)).toEqual(expect.arrayContaining(['a', 'b']))
  })

  it('what it sent is worked on while an async handler holds the stream, then the stream ends', async () => {
    const juliet = await login(server.c2sPort, 'juliet@capulet.lit/balcony', { presence: false })
    juliet.send(`${slowIq('a')}${pingIq('b')}${slowIq('c')}${pingIq('d')}</stream:stream>`)
    await juliet.closed()
    expect(juliet.received.map((e) => e.attrs.id)).toEqual(['a', 'b', 'c', 'd'])
    expect(juliet.ended).toBe(true)
  })

  it('nothing that comes after its end is worked on', async () => {
    const romeo = await login(server.c2sPort, 'romeo@capulet.lit/orchard')
    const juliet = await login(server.c2sPort, 'juliet@capulet.lit/balcony')
    juliet.send(`</stream:stream><message to='${romeo.jid}' id='late'/>`)
    await juliet.closed()
    await romeo.settled()
    expect(romeo.received.some((e) => e.attrs.id === 'late')).toBe(false)
    await romeo.close()
  })
})

describe('a half-closed connection', () => {
  it('gets the answers to what was sent, and the end of the stream', async () => {
    const juliet = await login(server.c2sPort, 'juliet@capulet.lit/balcony', { presence: false })
    juliet.send(`${slowIq('a')}${pingIq('b')}`)
    juliet.socket.end()
    await juliet.closed()
    expect(juliet.received.map((e) => e.attrs.id)).toEqual(['a', 'b'])
    expect(juliet.ended).toBe(true)
  })

  it('right after the header gets the header, the features and the end', async () => {
    const stream = await TestStream.connect(server.c2sPort)
    stream.send(header("to='capulet.lit' version='1.0'"))
    stream.socket.end()
    await stream.closed()
    expect(stream.received[0]!.name).toBe('stream:features')
    expect(stream.ended).toBe(true)
  })

  it('without a byte is just closed', async () => {
    const socket = connect(server.c2sPort, '127.0.0.1')
    await once(socket, 'connect')
    socket.resume()
    socket.end()
    await once(socket, 'close')
  })

  it('over TLS gets the end of the stream too', async () => {
    const stream = await opened(server.c2sPort)
    const tls = await startTls(stream)
    stream.send(header("to='capulet.lit' version='1.0'"))
    tls.end()
    await stream.closed()
    expect(stream.ended).toBe(true)
  })
})

describe('the server ends', () => {
  it('§4.4: without an error it waits for the peer, and no longer', async () => {
    const stream = await opened(server.c2sPort)
    // RFC 6120 §5.4.2.2: a STARTTLS that can not be done ends the stream
    stream.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><x/></starttls>")
    await stream.named('failure')
    stream.send('<ignored/></stream:stream>')
    // c2s_close_timeout is 30 s: it ends because the peer's end was seen
    await stream.closed()
    expect(stream.ended).toBe(true)
    expect(stream.text).not.toContain('stream:error')
  })

  it('§4.4: a peer that sends rubbish after our end is cut off', async () => {
    const stream = await opened(server.c2sPort)
    stream.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><x/></starttls>")
    await stream.named('failure')
    stream.send('<<<')
    await stream.closed()
  })

  it('§4.4: a peer that never answers our end is cut off after c2s_close_timeout', async () => {
    const quick = await startServer({ virtualHosts: { 'capulet.lit': {} }, c2s_close_timeout: 0.2 })
    const stream = await opened(quick.c2sPort)
    stream.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><x/></starttls>")
    await stream.closed()
    await quick.stop()
  })

  it('everything that was sent to a session before its error arrives', async () => {
    const juliet = await login(server.c2sPort, 'juliet@capulet.lit/balcony')
    const romeo = await login(server.c2sPort, 'romeo@capulet.lit/orchard')
    const messages = Array.from({ length: 300 }, (_, i) => `<message to='${juliet.jid}' id='m${i}'/>`)
    romeo.send(messages.join(''))
    await romeo.settled()
    // Juliet's resource is taken over in the same turn as the last message.
    const thief = await authenticated(server.c2sPort, 'juliet')
    thief.send(bindIq('balcony'))
    expect((await juliet.streamError()).condition).toBe('conflict')
    await juliet.closed()
    expect(juliet.received.filter((e) => e.name === 'message')).toHaveLength(300)
    await Promise.all([romeo.close(), thief.close()])
  })

  it('with many sessions: in order and fast', async () => {
    const busy = await startServer({ virtualHosts: { 'capulet.lit': { max_resources: 1000 } } }, [
      'juliet@capulet.lit',
    ])
    const streams = await Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        login(busy.c2sPort, `juliet@capulet.lit/r${i}`, { presence: false }),
      ),
    )
    const before = Date.now()
    await busy.stop()
    expect(Date.now() - before).toBeLessThan(2000)
    for (const stream of streams) {
      expect((await stream.streamError()).condition).toBe('system-shutdown')
      await stream.closed()
      expect(stream.ended).toBe(true)
    }
    expect(busy.server.sessions.size).toBe(0)
    expect(busy.server.fullJids.size).toBe(0)
    expect(troubles(busy)).toEqual([])
  })
})

describe('a connection that is reset', () => {
  const phases: [string, () => Promise<TestStream>][] = [
    ['before the header', () => TestStream.connect(server.c2sPort)],
    [
      'within the header',
      async () => {
        const stream = await TestStream.connect(server.c2sPort)
        stream.send("<stream:stream to='capulet")
        return stream
      },
    ],
    ['after features', () => opened(server.c2sPort)],
    [
      'within authentication',
      async () => {
        const stream = await opened(server.c2sPort)
        stream.send(plain('juliet'))
        return stream
      },
    ],
    [
      'after <starttls/>',
      async () => {
        const stream = await opened(server.c2sPort)
        stream.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        await stream.named('proceed')
        return stream
      },
    ],
    [
      'over TLS',
      async () => {
        const stream = await opened(server.c2sPort)
        const plainSocket = stream.socket
        await startTls(stream)
        ;(stream as { socket: unknown }).socket = plainSocket
        return stream
      },
    ],
    ['before binding', () => authenticated(server.c2sPort, 'nurse')],
    [
      'within a stanza',
      async () => {
        const stream = await login(server.c2sPort, 'nurse@capulet.lit/kitchen')
        stream.send("<message to='juliet@capulet.lit'><body>")
        return stream
      },
    ],
    [
      'while an async handler works for it',
      async () => {
        const stream = await login(server.c2sPort, 'nurse@capulet.lit/kitchen')
        stream.send(slowIq('s'))
        return stream
      },
    ],
    ['of a component', () => connectComponent(server.componentPort, 'echo.capulet.lit')],
  ]
  it.each(phases)('%s leaves nothing behind', async (_name, connectTo) => {
    const stream = await connectTo()
    stream.socket.resetAndDestroy()
    await expect.poll(() => server.server.sessions.size).toBe(0)
    expect(server.server.fullJids.size).toBe(0)
    expect(server.server.hosts.get('capulet.lit')!.accounts.size).toBe(0)
  })
})
