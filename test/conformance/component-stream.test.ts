/** External components: their streams, and stanzas to and from them (XEP-0114). */

import { createHash } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { connectComponent, login, TestStream } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { conditionOf, header, troubles } from '../shared/streams.ts'

const ACCEPT = 'jabber:component:accept'
const EXTERNAL = 'echo.capulet.lit'
let server: TestServer
let juliet: TestStream

beforeAll(async () => {
  server = await startServer(
    {
      virtualHosts: { 'capulet.lit': {} },
      components: {
        [EXTERNAL]: { component_secret: 'secret', name: 'Echo' },
        'old.capulet.lit': { component_secret: 'secret', component_conflict_resolve: 'kick_old' },
        'free.capulet.lit': { component_secret: 'secret', validate_from_addresses: false },
        'locked.capulet.lit': {},
      },
    },
    ['juliet@capulet.lit'],
  )
  juliet = await login(server.c2sPort, 'juliet@capulet.lit/balcony', { presence: false })
})

afterAll(async () => {
  expect(troubles(server).filter((line) => !line.includes('component_secret is not set'))).toEqual([])
  await juliet.close()
  await server.stop()
})

const isConnected = (domain: string) =>
  [...server.server.sessions].some((session) => session.type === 'component' && session.host?.name === domain)

/** What the server says of a component's first words. */
async function refused(text: string | ((id: string) => string), to: string = EXTERNAL) {
  const stream = await TestStream.connect(server.componentPort)
  const answered = await stream.open(`to='${to}'`, ACCEPT)
  stream.send(typeof text === 'string' ? text : text(answered.attrs.id))
  const error = await stream.streamError()
  await stream.closed()
  expect(stream.ended).toBe(true)
  expect(error.text).not.toBe('')
  return error.condition
}

const digest = (id: string, secret = 'secret') =>
  createHash('sha1')
    .update(id + secret)
    .digest('hex')

describe('the header', () => {
  it('is answered with the domain and an id', async () => {
    const stream = await TestStream.connect(server.componentPort)
    const answer = await stream.open("to='ECHO.capulet.lit'", ACCEPT)
    expect(answer.attrs).toMatchObject({ from: EXTERNAL, xmlns: ACCEPT })
    expect(answer.attrs.id.length).toBeGreaterThan(12)
    await stream.close()
    expect(stream.ended).toBe(true)
  })

  it.each([
    ['no to', header('', ACCEPT), 'improper-addressing'],
    ['a domain that is no component', header("to='x.capulet.lit'", ACCEPT), 'host-unknown'],
    ['a VirtualHost', header("to='capulet.lit'", ACCEPT), 'host-unknown'],
    ['the namespace of clients', header(`to='${EXTERNAL}'`), 'invalid-namespace'],
    ['no XML', 'hello', 'not-well-formed'],
    ['more than a header', `<stream:stream a='${'x'.repeat(5000)}`, 'policy-violation'],
  ])('%s', async (_name, text, condition) => {
    const stream = await TestStream.connect(server.componentPort)
    stream.send(text)
    await stream.headerArrives()
    expect((await stream.streamError()).condition).toBe(condition)
    await stream.closed()
  })
})

describe('the handshake', () => {
  it.each(['toLowerCase', 'toUpperCase'] as const)('a digest in hex is taken, %s', async (method) => {
    const stream = await TestStream.connect(server.componentPort)
    const answer = await stream.open(`to='${EXTERNAL}'`, ACCEPT)
    stream.send(`<handshake>${digest(answer.attrs.id)[method]()}</handshake>`)
    expect((await stream.next()).toString()).toContain('handshake')
    await stream.close()
  })

  it('fires component-authenticated as { session }', async () => {
    const seen: unknown[] = []
    const remove = server.server.hosts
      .get(EXTERNAL)!
      .events.add('component-authenticated', (event: unknown) => void seen.push(event))
    const stream = await connectComponent(server.componentPort, EXTERNAL)
    remove()
    expect(seen).toHaveLength(1)
    const { session } = seen[0] as { session: { type: string; host: { name: string } } }
    expect([session.type, session.host.name]).toEqual(['component', EXTERNAL])
    await stream.close()
  })

  it.each([
    ['a wrong secret', (id: string) => `<handshake>${digest(id, 'wrong')}</handshake>`],
    ['an empty digest', '<handshake/>'],
    ['a digest that is no hex', `<handshake>${'z'.repeat(40)}</handshake>`],
    ['a digest that is too long', (id: string) => `<handshake>${digest(id)}00</handshake>`],
    ['a digest in an element', (id: string) => `<handshake><a/>${digest(id)}</handshake>`],
    ['the secret itself', '<handshake>secret</handshake>'],
    ['a stanza before it', "<message from='echo.capulet.lit' to='juliet@capulet.lit'/>"],
    ['another element', '<hello/>'],
    [
      'a handshake of another namespace',
      (id: string) => `<handshake xmlns='urn:x'>${digest(id)}</handshake>`,
    ],
  ])('%s gives not-authorized', async (_name, text) => {
    expect(await refused(text)).toBe('not-authorized')
    expect(isConnected(EXTERNAL)).toBe(false)
  })

  it('without a configured secret nobody gets in, not even with an empty one', async () => {
    expect(await refused((id) => `<handshake>${digest(id, '')}</handshake>`, 'locked.capulet.lit')).toBe(
      'not-authorized',
    )
    expect(
      await refused((id) => `<handshake>${digest(id, 'undefined')}</handshake>`, 'locked.capulet.lit'),
    ).toBe('not-authorized')
    await server.logged('component_secret is not set')
  })

  it('what is larger than a handshake is refused before it', async () => {
    expect(await refused(`<handshake>${'a'.repeat(5000)}`)).toBe('policy-violation')
    expect(await refused('<a><b><c><d><e/></d></c></b></a>')).toBe('policy-violation')
  })

  it('stanzas in the same segment as the handshake are worked on', async () => {
    const stream = await TestStream.connect(server.componentPort)
    const answer = await stream.open(`to='${EXTERNAL}'`, ACCEPT)
    stream.send(
      `<handshake>${digest(answer.attrs.id)}</handshake><message from='${EXTERNAL}' to='${juliet.jid}' id='early'/>`,
    )
    expect((await juliet.withId('early')).attrs.from).toBe(EXTERNAL)
    await stream.close()
  })
})

describe('component_conflict_resolve', () => {
  it('kick_new: the second connection gets conflict', async () => {
    const first = await connectComponent(server.componentPort, EXTERNAL)
    expect(await refused((id) => `<handshake>${digest(id)}</handshake>`)).toBe('conflict')
    juliet.send(`<message to='${EXTERNAL}' id='still'/>`)
    await first.withId('still')
    await first.close()
  })

  it('kick_old: the first connection gets conflict, and the second one the stanzas', async () => {
    const first = await connectComponent(server.componentPort, 'old.capulet.lit')
    const second = await connectComponent(server.componentPort, 'old.capulet.lit')
    expect((await first.streamError()).condition).toBe('conflict')
    await first.closed()
    juliet.send("<message to='old.capulet.lit' id='new'/>")
    await second.withId('new')
    await second.close()
  })

  it('a wrong secret kicks nobody', async () => {
    const first = await connectComponent(server.componentPort, 'old.capulet.lit')
    expect(await refused('<handshake>00</handshake>', 'old.capulet.lit')).toBe('not-authorized')
    juliet.send("<message to='old.capulet.lit' id='mine'/>")
    await first.withId('mine')
    await first.close()
  })
})

describe('stanzas of a component', () => {
  let component: TestStream
  afterEach(() => component?.close())

  it.each(['echo.capulet.lit', 'user@echo.capulet.lit', 'user@echo.capulet.lit/r', 'User@ECHO.capulet.lit'])(
    'validate_from_addresses: its own addresses are taken: %s',
    async (from) => {
      component = await connectComponent(server.componentPort, EXTERNAL)
      component.send(`<message from='${from}' to='${juliet.jid}' id='f'/>`)
      expect((await juliet.withId('f')).attrs.from?.toLowerCase()).toBe(from.toLowerCase())
    },
  )

  it.each([
    ['another domain', "from='capulet.lit'"],
    ['an account', "from='juliet@capulet.lit'"],
    ['a domain below its own', "from='a.echo.capulet.lit'"],
    ['a domain that ends like its own', "from='badecho.capulet.lit'"],
    ['its domain as a resource', "from='capulet.lit/@echo.capulet.lit'"],
    ['a malformed one', "from='@echo.capulet.lit'"],
    ['an empty one', "from=''"],
    ['none', ''],
  ])('validate_from_addresses: %s gives invalid-from', async (_name, from) => {
    component = await connectComponent(server.componentPort, EXTERNAL)
    component.send(`<message ${from} to='${juliet.jid}' id='spoof'/>`)
    expect((await component.streamError()).condition).toBe('invalid-from')
    await component.closed()
    await juliet.settled()
    expect(juliet.received).toEqual([])
  })

  it('validate_from_addresses = false: any from is taken, none is its domain', async () => {
    component = await connectComponent(server.componentPort, 'free.capulet.lit')
    component.send(
      `<message from='nurse@verona.lit' to='${juliet.jid}' id='a'/><message to='${juliet.jid}' id='b'/>`,
    )
    expect((await juliet.withId('a')).attrs.from).toBe('nurse@verona.lit')
    expect((await juliet.withId('b')).attrs.from).toBe('free.capulet.lit')
    component.send(`<message from='@@' to='${juliet.jid}' id='c'/>`)
    expect(conditionOf(await component.withId('c'))).toBe('jid-malformed')
  })

  it('without a to it gets bad-request; with a malformed one jid-malformed', async () => {
    component = await connectComponent(server.componentPort, EXTERNAL)
    component.send(`<message from='${EXTERNAL}' id='a'/><message from='${EXTERNAL}' to='@' id='b'/>`)
    expect(conditionOf(await component.withId('a'))).toBe('bad-request')
    const malformed = await component.withId('b')
    expect([conditionOf(malformed), malformed.attrs.to]).toEqual(['jid-malformed', EXTERNAL])
    component.send(`<iq type='get' from='${EXTERNAL}' id='c' to='capulet.lit'/>`)
    expect(conditionOf(await component.withId('c'))).toBe('bad-request')
    component.send(`<message from='${EXTERNAL}' id='d' to='x@verona.lit'/>`)
    expect(conditionOf(await component.withId('d'))).toBe('remote-server-not-found')
  })

  it('with the namespace of clients on it is taken, and passed on without it', async () => {
    component = await connectComponent(server.componentPort, EXTERNAL)
    component.send(
      `<message xmlns='jabber:client' from='${EXTERNAL}' to='${juliet.jid}' id='ns'><body>hi</body></message>`,
    )
    const message = await juliet.withId('ns')
    expect([message.getNS(), message.getChildText('body', 'jabber:client')]).toEqual(['jabber:client', 'hi'])
  })

  it.each(['<handshake/>', '<hello/>', "<message xmlns='urn:x'/>"])(
    'no stanza: %s ends its stream',
    async (text) => {
      component = await connectComponent(server.componentPort, EXTERNAL)
      component.send(text)
      expect((await component.streamError()).condition).toBe('unsupported-stanza-type')
      await component.closed()
    },
  )
})

describe('stanzas to a component', () => {
  const targets = [EXTERNAL, `user@${EXTERNAL}`, `user@${EXTERNAL}/r`, `${EXTERNAL}/r`]

  it.each(targets)('arrive, and it answers: %s', async (to) => {
    const component = await connectComponent(server.componentPort, EXTERNAL)
    for (const text of [
      `<iq type='get' id='q' to='${to}'><x xmlns='urn:x'/></iq>`,
      `<message id='q' to='${to}'/>`,
      `<presence id='q' to='${to}'/>`,
    ]) {
      juliet.send(text)
      const asked = await component.withId('q')
      expect([asked.attrs.from, asked.attrs.to]).toEqual([juliet.jid, to])
    }
    const answer = juliet.ask(`<iq type='set' id='r' to='${to}'><x xmlns='urn:x'/></iq>`)
    await component.withId('r')
    component.send(`<iq type='result' id='r' from='${to}' to='${juliet.jid}'/>`)
    expect((await answer).attrs.from).toBe(to)
    await component.close()
  })

  it.each(targets)('while it is not connected give remote-server-timeout: %s', async (to) => {
    const answer = await juliet.ask(`<iq type='get' id='q' to='${to}'><x xmlns='urn:x'/></iq>`)
    expect(conditionOf(answer)).toBe('remote-server-timeout')
    juliet.send(`<message id='m' to='${to}'/>`)
    expect(conditionOf(await juliet.withId('m'))).toBe('remote-server-timeout')
    juliet.send(
      `<message type='error' to='${to}'/><iq type='result' id='x' to='${to}'/><presence to='${to}'/>`,
    )
    await juliet.settled()
    expect(juliet.received).toEqual([])
  })

  it('its name is told while it is not connected, if one is configured', async () => {
    const info = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
    const answer = await juliet.ask(`<iq type='get' id='i' to='${EXTERNAL}'>${info}</iq>`)
    expect(answer.getChild('query')!.getChild('identity')!.attrs.name).toBe('Echo')
  })

  it('after a reset and another connection they arrive there', async () => {
    const first = await connectComponent(server.componentPort, EXTERNAL)
    first.socket.resetAndDestroy()
    await expect.poll(() => isConnected(EXTERNAL)).toBe(false)
    const second = await connectComponent(server.componentPort, EXTERNAL)
    juliet.send(`<message to='${EXTERNAL}' id='again'/>`)
    await second.withId('again')
    await second.close()
  })

  it('the component on another stream header starts anew only with a new connection', async () => {
    const component = await connectComponent(server.componentPort, EXTERNAL)
    component.send(header(`to='${EXTERNAL}'`, ACCEPT))
    await component.streamError()
    await component.closed()
    expect(isConnected(EXTERNAL)).toBe(false)
  })
})

describe('the plugin', () => {
  it('reloaded, closes its connections with host-gone; they may come back', async () => {
    const component = await connectComponent(server.componentPort, EXTERNAL)
    await server.server.modules.reload('component')
    expect((await component.streamError()).condition).toBe('host-gone')
    await component.closed()
    const again = await connectComponent(server.componentPort, EXTERNAL)
    juliet.send(`<message to='${EXTERNAL}' id='back'/>`)
    await again.withId('back')
    await again.close()
  })
})

describe('a component that is silent', () => {
  it('is sent white space, so that the connection is kept', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date'] })
    try {
      const quiet = await startServer({
        virtualHosts: { 'capulet.lit': {} },
        components: { [EXTERNAL]: { component_secret: 'secret' } },
      })
      const component = await connectComponent(quiet.componentPort, EXTERNAL)
      const before = component.text
      vi.advanceTimersByTime(250_000)
      expect(quiet.server.sessions.size).toBe(1)
      vi.advanceTimersByTime(150_000)
      await new Promise((resolve) => component.socket.once('data', resolve))
      expect(component.text.slice(before.length).trim()).toBe('')
      await component.close()
      await quiet.stop()
    } finally {
      vi.useRealTimers()
    }
  })

  it('that never shakes hands is cut off', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date'] })
    try {
      const quiet = await startServer({
        virtualHosts: { 'capulet.lit': {} },
        components: { [EXTERNAL]: { component_secret: 'secret' } },
      })
      const stream = await TestStream.connect(quiet.componentPort)
      await stream.open(`to='${EXTERNAL}'`, ACCEPT)
      vi.advanceTimersByTime(40_000)
      expect((await stream.streamError()).condition).toBe('connection-timeout')
      await stream.closed()
      await quiet.stop()
    } finally {
      vi.useRealTimers()
    }
  })
})
