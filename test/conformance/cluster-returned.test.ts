/** Stanzas that come back from a process which does not have whom they are for. What that says is written by hand. */

import type { Element } from '@xmpp/xml'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import type { Bus } from '../../server/cluster/bus.ts'
import { RemoteResource } from '../../server/cluster/peers.ts'
import { encodeStanza, type Key } from '../../server/cluster/wire.ts'
import { Stanza } from '../../server/stanza/stanza.ts'
import { login, type TestStream } from '../shared/client.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`

vi.setConfig({ testTimeout: 30_000, hookTimeout: 30_000 })

describePeer('what comes back from another process', redisAvailable(), () => {
  let peer: SingleRedis
  const servers: TestServer[] = []
  const streams: TestStream[] = []

  beforeAll(async () => {
    peer = await startRedis()
    for (let number = 0; number < 2; number++) {
      servers.push(
        await startServer(
          {
            storage: 'redis',
            redis: { url: peer.redis.url, prefix: 'test' },
            cluster: { name: `process ${number}` },
            virtualHosts: { [HOST]: { modulesEnabled: [...USUAL_PLUGINS, 'mam'] } },
          },
          number > 0 ? [] : [JULIET, ROMEO],
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

  const enter = async (server: number, jid: string): Promise<TestStream> => {
    const stream = await login(servers[server]!.c2sPort, jid)
    streams.push(stream)
    await stream.settled()
    return stream
  }
  const clusterOf = (number: number) => servers[number]!.server.cluster!
  const busOf = (number: number) => (clusterOf(number) as unknown as { bus: Bus }).bus

  /** The second process gives something back to the first. @param key - what it was sent with */
  const giveBack = async (id: string, key: Key, target: string): Promise<void> => {
    const attrs = { type: 'chat', id, from: `${ROMEO}/orchard`, to: JULIET }
    const stanza = Stanza.fromText('message', attrs, '<body>hi</body>', 1, 'body', 'jabber:client')
    const data = [0, encodeStanza(key, target, stanza)]
    const { calls } = clusterOf(1)
    await calls.ask([clusterOf(0).self.id], 'cluster/returned', data, 5000)
  }
  const messagesIn = (stream: TestStream) =>
    stream.received.filter(({ name }: Element) => name === 'message').map(({ attrs }) => attrs.id)

  it('is sent again, once, if none of those who got copies is there any more, though others are', async () => {
    const juliet = await enter(1, `${JULIET}/balcony`)
    await expect.poll(() => clusterOf(0).directory.find(juliet.jid)).toBeDefined()
    const there = clusterOf(0).directory.find(juliet.jid)!
    /** A session that the other process has no longer. */
    const gone = (id: string) => {
      const key = { kind: 's', id, jid: `${JULIET}/${id}` } as const
      return new RemoteResource(clusterOf(0).traffic, there.member, key, there.host, {
        sequence: 1,
        since: 0,
      })
    }
    const send = (id: string, resources: readonly RemoteResource[]) => {
      const attrs = { type: 'chat', id, from: `${ROMEO}/orchard`, to: JULIET }
      const stanza = Stanza.fromText('message', attrs, '<body>hi</body>', 1, 'body', 'jabber:client')
      for (const resource of resources) resource.sendAmong(stanza, resources)
    }
    send('had', [gone('one'), there, gone('other')])
    send('missed', [gone('one'), gone('other')])
    await expect.poll(() => messagesIn(juliet)).toEqual(['had', 'missed'])
    await juliet.settled()
    expect(messagesIn(juliet)).toEqual(['had', 'missed'])
  })

  it('XEP-0313: is not archived again, however often it comes back', async () => {
    const juliet = await enter(1, `${JULIET}/balcony`)
    await expect.poll(() => clusterOf(0).directory.find(juliet.jid)).toBeDefined()
    await giveBack('again', { kind: 'h', id: '=', jid: HOST }, '')
    await expect.poll(() => messagesIn(juliet)).toEqual(['again'])
    await juliet.ask("<iq type='set' id='archive'><query xmlns='urn:xmpp:mam:2'/></iq>")
    expect(juliet.text).not.toContain('urn:xmpp:forward:0')
  })

  it('RFC 6120 §8.5: an IQ is answered by a process that does not serve the host of its sender', async () => {
    const romeo = await enter(1, `${ROMEO}/orchard`)
    const { id } = servers[1]!.server.fullJids.get(romeo.jid)!
    const attrs = { type: 'get', id: 'q1', from: 'romeo@other.lit/orchard', to: `${JULIET}/balcony` }
    const stanza = Stanza.fromText('iq', attrs, "<q xmlns='urn:q'/>", 1, 'q', 'urn:q')
    const text = encodeStanza({ kind: 's', id, jid: 'romeo@other.lit/orchard' }, '', stanza)
    busOf(1).send(clusterOf(0).self.id, text)
    const answer = await romeo.withId('q1')
    expect([answer.attrs.type, answer.getChild('error')?.getChild('service-unavailable')]).toEqual([
      'error',
      expect.anything(),
    ])
  })
})
