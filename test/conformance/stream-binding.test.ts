/** Resource binding (RFC 6120 §7), and what a client may do before and after it. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestStream } from '../shared/client.ts'
import { login } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { authenticated, bindIq, conditionOf, NS_BIND, troubles } from '../shared/streams.ts'

const POLICIES = ['kick_old', 'kick_new', 'random', 'increment'] as const
const HOSTS = Object.fromEntries(
  POLICIES.map((policy) => [
    `${policy.replace('_', '-')}.lit`,
    { conflict_resolve: policy, max_resources: 3 },
  ]),
)
let server: TestServer

beforeAll(async () => {
  server = await startServer(
    { virtualHosts: HOSTS },
    Object.keys(HOSTS).map((host) => `juliet@${host}`),
  )
})

afterAll(async () => {
  expect(troubles(server)).toEqual([])
  await server.stop()
})

const jidIn = (bound: {
  getChild(name: string): { getChildText(name: string): string | null } | undefined
}) => bound.getChild('bind')?.getChildText('jid') ?? undefined

async function ready(host: string): Promise<TestStream> {
  return authenticated(server.c2sPort, 'juliet', host)
}

async function endAll(host: string, ...streams: TestStream[]): Promise<void> {
  await Promise.all(streams.map((stream) => stream.close()))
  await expect.poll(() => server.server.hosts.get(host)!.accounts.size).toBe(0)
}

describe('binding', () => {
  it('§7.7: takes the resource that is asked for, and answers without a from of its own', async () => {
    const stream = await ready('random.lit')
    const bound = await stream.ask(bindIq('balcony'))
    expect(jidIn(bound)).toBe('juliet@random.lit/balcony')
    expect(bound.attrs.type).toBe('result')
    expect(server.server.fullJids.has('juliet@random.lit/balcony')).toBe(true)
    await endAll('random.lit', stream)
    expect(server.server.fullJids.size).toBe(0)
  })

  it.each([
    ['no resource', `<bind xmlns='${NS_BIND}'/>`],
    ['an empty one', `<bind xmlns='${NS_BIND}'><resource/></bind>`],
  ])('§7.6: with %s the server makes one up', async (_name, bind) => {
    const stream = await ready('random.lit')
    const jid = jidIn(await stream.ask(`<iq type='set' id='1'>${bind}</iq>`))!
    expect(jid.split('/')[1]!.length).toBeGreaterThanOrEqual(8)
    await endAll('random.lit', stream)
  })

  it('RFC 7622 §3.4: the resource is prepared', async () => {
    const stream = await ready('random.lit')
    expect(jidIn(await stream.ask(bindIq('a&amp;b\u00a0s\u0323\u0307')))).toBe('juliet@random.lit/a&b ṩ')
    await endAll('random.lit', stream)
  })

  it.each([
    ['a control character', 'a&#x9;b'],
    ['too long', 'x'.repeat(1024)],
    ['private use', '\ue000'],
  ])(
    '§7.7.2.1: a resource that can not be (%s) gives bad-request, and one may try again',
    async (_name, resource) => {
      const stream = await ready('random.lit')
      const refused = await stream.ask(bindIq(resource, '1'))
      expect(conditionOf(refused)).toBe('bad-request')
      expect(jidIn(await stream.ask(bindIq('balcony', '2')))).toBe('juliet@random.lit/balcony')
      await endAll('random.lit', stream)
    },
  )

  it.each([
    ['of type get', `<iq type='get' id='1'><bind xmlns='${NS_BIND}'/></iq>`, 'not-allowed'],
    ['without a type', `<iq id='1'><bind xmlns='${NS_BIND}'/></iq>`, 'bad-request'],
    ['with two children', `<iq type='set' id='1'><bind xmlns='${NS_BIND}'/><x/></iq>`, 'bad-request'],
  ])('§8.2.3: an IQ %s is refused', async (_name, iq, condition) => {
    const stream = await ready('random.lit')
    expect(conditionOf(await stream.ask(iq))).toBe(condition)
    await stream.close()
  })

  it('§8.1.3: an IQ without an id is refused', async () => {
    const stream = await ready('random.lit')
    stream.send(`<iq type='set'><bind xmlns='${NS_BIND}'/></iq>`)
    expect(conditionOf(await stream.named('iq'))).toBe('bad-request')
    await stream.close()
  })

  it.each([
    ['a message that looks like it', `<message type='set' id='1'><bind xmlns='${NS_BIND}'/></message>`],
    ['a presence', '<presence/>'],
    ['a message', "<message to='juliet@random.lit'/>"],
    ['another IQ', "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>"],
  ])('§7.1: %s before binding ends the stream', async (_name, text) => {
    const stream = await ready('random.lit')
    stream.send(text)
    expect((await stream.streamError()).condition).toBe('not-authorized')
    await stream.closed()
    expect(server.server.fullJids.size).toBe(0)
  })

  it('§7.1: a second one is refused, and the session stays', async () => {
    const stream = await ready('random.lit')
    await stream.ask(bindIq('one', '1'))
    expect(conditionOf(await stream.ask(bindIq('two', '2')))).toBe('not-allowed')
    expect([...server.server.fullJids.keys()]).toEqual(['juliet@random.lit/one'])
    await endAll('random.lit', stream)
  })

  it('RFC 3921 §3: the session of old clients is granted', async () => {
    const stream = await ready('random.lit')
    await stream.ask(bindIq('old', '1'))
    const session = "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>"
    expect((await stream.ask(`<iq type='set' id='2'>${session}</iq>`)).attrs.type).toBe('result')
    expect((await stream.ask(`<iq type='set' id='3' to='random.lit'>${session}</iq>`)).attrs.type).toBe(
      'result',
    )
    await endAll('random.lit', stream)
  })

  it('a plugin may refuse it (pre-resource-bind)', async () => {
    const remove = server.server.hosts.get('random.lit')!.events.add('pre-resource-bind', () => 'Not today')
    const stream = await ready('random.lit')
    const refused = await stream.ask(bindIq('balcony'))
    remove()
    expect(conditionOf(refused)).toBe('not-allowed')
    expect(refused.toString()).toContain('Not today')
    await stream.close()
  })
})

describe('§7.7.2.2: a resource that is taken', () => {
  it('kick_old: the older session ends with conflict', async () => {
    const old = await ready('kick-old.lit')
    await old.ask(bindIq('balcony'))
    const young = await ready('kick-old.lit')
    expect(jidIn(await young.ask(bindIq('balcony')))).toBe('juliet@kick-old.lit/balcony')
    expect((await old.streamError()).condition).toBe('conflict')
    await old.closed()
    expect(server.server.hosts.get('kick-old.lit')!.accounts.get('juliet')!.sessions.size).toBe(1)
    // The address is the young one's now, also when the old connection is gone.
    young.send("<iq type='result' id='me' to='juliet@kick-old.lit/balcony'/>")
    await young.withId('me')
    await endAll('kick-old.lit', young)
  })

  it('kick_new: the younger one gets conflict, and may ask for another', async () => {
    const old = await ready('kick-new.lit')
    await old.ask(bindIq('balcony'))
    const young = await ready('kick-new.lit')
    expect(conditionOf(await young.ask(bindIq('balcony', '1')))).toBe('conflict')
    expect(jidIn(await young.ask(bindIq('orchard', '2')))).toBe('juliet@kick-new.lit/orchard')
    await endAll('kick-new.lit', old, young)
  })

  it.each(['random.lit', 'increment.lit'])('%s: the younger one gets another', async (host) => {
    const streams = [await ready(host), await ready(host), await ready(host)]
    const jids: (string | undefined)[] = []
    for (const stream of streams) jids.push(jidIn(await stream.ask(bindIq('balcony'))))
    expect(new Set(jids).size).toBe(3)
    expect(jids[0]).toBe(`juliet@${host}/balcony`)
    if (host === 'increment.lit') expect(jids[1]).toContain('balcony')
    await endAll(host, ...streams)
  })

  it('§7.7.2.2: a session that one had before does not stay behind its connection', async () => {
    const first = await ready('kick-old.lit')
    await first.ask(bindIq('balcony'))
    first.socket.resetAndDestroy()
    const second = await ready('kick-old.lit')
    expect(jidIn(await second.ask(bindIq('balcony')))).toBe('juliet@kick-old.lit/balcony')
    await endAll('kick-old.lit', second)
  })
})

describe('§7.7.2.3: max_resources', () => {
  it('gives resource-constraint, and room when one leaves', async () => {
    const streams = await Promise.all([1, 2, 3].map(() => ready('kick-old.lit')))
    for (const [index, stream] of streams.entries()) await stream.ask(bindIq(`r${index}`))
    const late = await ready('kick-old.lit')
    expect(conditionOf(await late.ask(bindIq('r9', '1')))).toBe('resource-constraint')
    // Taking over an own resource needs no room.
    expect(jidIn(await late.ask(bindIq('r0', '2')))).toBe('juliet@kick-old.lit/r0')
    await streams[0]!.closed()
    await endAll('kick-old.lit', late, ...streams.slice(1))
  })
})

describe('hosts', () => {
  it('are isolated: accounts, sessions and features of one are not those of another', async () => {
    const a = await login(server.c2sPort, 'juliet@random.lit/x')
    const b = await login(server.c2sPort, 'juliet@increment.lit/x')
    expect(server.server.hosts.get('random.lit')!.accounts.get('juliet')!.sessions.size).toBe(1)
    a.send("<message to='juliet@increment.lit/x' id='hello'/>")
    expect((await b.withId('hello')).attrs.from).toBe('juliet@random.lit/x')
    b.send("<presence to='juliet@increment.lit'/>")
    await b.settled()
    await a.settled()
    expect(a.received.filter((e) => e.attrs.from?.startsWith('juliet@increment.lit'))).toEqual([])
    await endAll('random.lit', a)
    await endAll('increment.lit', b)
  })
})
