/** Several processes that are one server, over Redis: here several servers of one test. */

import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import type { RedisBus } from '../../server/cluster/redis-bus.ts'
import type { ServerOptions } from '../../server/config/index.ts'
import { login, type TestStream } from '../shared/client.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer } from '../shared/server.ts'

describePeer('a cluster', redisAvailable(), () => {
  let peer: SingleRedis
  const servers: TestServer[] = []
  const streams: TestStream[] = []

  const optionsOf = (number: number): ServerOptions => ({
    storage: 'redis',
    redis: { url: peer.redis.url, prefix: 'test' },
    cluster: { name: `process ${number}` },
    cluster_lease: 2,
    virtualHosts: { 'capulet.lit': { max_resources: 3 } },
  })

  beforeAll(async () => {
    peer = await startRedis()
    for (let number = 0; number < 3; number++) {
      servers.push(
        await startServer(
          optionsOf(number),
          number > 0 ? [] : ['juliet@capulet.lit', 'romeo@capulet.lit', 'nurse@capulet.lit'],
        ),
      )
    }
  })

  afterEach(async () => {
    for (const stream of streams.splice(0)) await stream.close()
  })

  afterAll(async () => {
    for (const server of servers) await server.stop()
    await peer.stop()
  })

  const enter = async (server: number, jid: string, options = {}): Promise<TestStream> => {
    const stream = await login(servers[server]!.c2sPort, jid, options)
    streams.push(stream)
    return stream
  }
  const message = (to: string, body: string, type = 'chat') =>
    `<message type='${type}' to='${to}' id='${body}'><body>${body}</body></message>`

  it('takes messages to where their addressee is connected', async () => {
    const juliet = await enter(0, 'juliet@capulet.lit/balcony')
    const romeo = await enter(1, 'romeo@capulet.lit/orchard')
    juliet.send(message('romeo@capulet.lit/orchard', 'full'))
    expect((await romeo.withId('full')).attrs.from).toBe('juliet@capulet.lit/balcony')
    juliet.send(message('romeo@capulet.lit', 'bare'))
    expect((await romeo.withId('bare')).getChildText('body')).toBe('bare')
    romeo.send(message('juliet@capulet.lit', 'back'))
    expect((await juliet.withId('back')).attrs.from).toBe('romeo@capulet.lit/orchard')
  })

  it('takes IQs to resources, and their answers back', async () => {
    const juliet = await enter(0, 'juliet@capulet.lit/balcony')
    const romeo = await enter(2, 'romeo@capulet.lit/orchard')
    const asked = juliet.ask(`<iq type='get' to='${romeo.jid}' id='q'><query xmlns='urn:x'/></iq>`)
    const request = await romeo.withId('q')
    romeo.send(`<iq type='result' to='${request.attrs.from}' id='q'><answer xmlns='urn:x'/></iq>`)
    expect((await asked).getChild('answer', 'urn:x')).toBeDefined()
    const refused = await juliet.ask(
      `<iq type='get' to='romeo@capulet.lit/nowhere' id='n'><query xmlns='urn:x'/></iq>`,
    )
    expect(refused.getChild('error')?.getChild('service-unavailable')).toBeDefined()
  })

  it('sends to the resource with the highest priority, wherever it is', async () => {
    const low = await enter(0, 'romeo@capulet.lit/low', { presence: false })
    const high = await enter(1, 'romeo@capulet.lit/high', { presence: false })
    low.send('<presence/>')
    await low.named('presence')
    high.send('<presence><priority>5</priority></presence>')
    // Each sees the other's presence: of one account.
    await low.next((stanza) => stanza.attrs.from === high.jid)
    await high.next((stanza) => stanza.attrs.from === low.jid)
    const juliet = await enter(2, 'juliet@capulet.lit/balcony')
    juliet.send(message('romeo@capulet.lit', 'a') + message('romeo@capulet.lit', 'b', 'headline'))
    await high.withId('a')
    await high.withId('b')
    await low.withId('b')
    expect(low.received.filter(({ attrs }) => attrs.id === 'a')).toEqual([])
  })

  it('tells who is not there', async () => {
    const juliet = await enter(0, 'juliet@capulet.lit/balcony')
    juliet.send(message('nurse@capulet.lit', 'nobody'))
    expect((await juliet.withId('nobody')).attrs.type).toBe('error')
  })

  it('binds a resource once: the old session ends', async () => {
    const old = await enter(0, 'juliet@capulet.lit/balcony')
    const now = await enter(1, 'juliet@capulet.lit/balcony')
    expect(now.jid).toBe('juliet@capulet.lit/balcony')
    await old.named('error')
    expect(old.text).toContain('<conflict')
    const romeo = await enter(2, 'romeo@capulet.lit/orchard')
    romeo.send(message('juliet@capulet.lit/balcony', 'to the new one'))
    await now.withId('to the new one')
  })

  it('answers IQs that somebody has not answered whose process dies, and no others', async () => {
    const fourth = await startServer(optionsOf(3))
    try {
      const juliet = await enter(0, 'juliet@capulet.lit/balcony')
      const romeo = await login(fourth.c2sPort, 'romeo@capulet.lit/orchard')
      const ask = (id: string) =>
        juliet.send(`<iq type='get' to='${romeo.jid}' id='${id}'><query xmlns='urn:x'/></iq>`)
      for (const id of ['answered', 'open']) {
        ask(id)
        await romeo.withId(id)
      }
      romeo.send(`<iq type='result' to='${juliet.jid}' id='answered'/>`)
      await juliet.withId('answered')
      const bus = fourth.server.cluster!['bus'] as RedisBus
      await bus['end']()
      const error = await juliet.next(({ attrs }) => attrs.id === 'open')
      expect(error.getChild('error')?.getChild('remote-server-timeout')).toBeDefined()
      await juliet.settled()
      const rest = juliet.received.filter(({ attrs }) => attrs.id === 'answered' || attrs.id === 'open')
      expect(rest).toEqual([])
      await romeo.destroy()
    } finally {
      await fourth.stop()
    }
  }, 30_000)

  it('counts the resources of an account at all processes', async () => {
    for (const server of [0, 1, 2]) await enter(server, `nurse@capulet.lit/r${server}`)
    await expect(enter(1, 'nurse@capulet.lit/one-more')).rejects.toThrow(/resource-constraint/)
  })

  it('subscribes across processes: requests, approval, rosters and presence', async () => {
    const juliet = await enter(0, 'juliet@capulet.lit/balcony')
    const second = await enter(2, 'juliet@capulet.lit/chamber')
    const romeo = await enter(1, 'romeo@capulet.lit/orchard')
    for (const client of [juliet, second, romeo]) {
      await client.ask("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
    }
    juliet.send("<presence type='subscribe' to='romeo@capulet.lit'/>")
    await romeo.next(({ attrs }) => attrs.type === 'subscribe')
    romeo.send("<presence type='subscribed' to='juliet@capulet.lit'/>")
    // Both of her resources are told, and see him.
    for (const client of [juliet, second]) {
      await client.next(({ attrs }) => attrs.type === 'subscribed')
      await client.next(
        (stanza) =>
          String(stanza).includes("subscription='to'") || String(stanza).includes('subscription="to"'),
      )
      await client.next(({ attrs, name }) => name === 'presence' && attrs.from === romeo.jid)
    }
    romeo.send('<presence><show>away</show></presence>')
    for (const client of [juliet, second]) {
      await client.next((stanza) => stanza.attrs.from === romeo.jid && stanza.getChildText('show') === 'away')
    }
    await romeo.close()
    for (const client of [juliet, second]) {
      await client.next(({ attrs }) => attrs.from === romeo.jid && attrs.type === 'unavailable')
    }
  })
})
