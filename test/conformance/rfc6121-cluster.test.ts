/**
 * RFC 6121 §3.4, §3.2.2, §4.3.2 and §4.6: pre-approvals, cancellations, probes and directed presence where the resources
 * are connected to several processes. Versions: rfc6121-2.6-versions.test.ts; more: cluster-presence.test.ts,
 * cluster-subscription-races.test.ts.
 */

import { afterEach, beforeEach, expect, it } from 'vitest'
import type { TestStream } from '../shared/client.ts'
import { enter, getItem, lineOf, sendPresence, stateIn } from '../shared/im-client.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`

describePeer('RFC 6121 in a cluster', redisAvailable(), () => {
  let peer: SingleRedis
  let servers: TestServer[]
  let streams: TestStream[]

  beforeEach(async () => {
    peer = await startRedis({ appendonly: 'yes' })
    servers = []
    streams = []
    for (let number = 0; number < 3; number++) {
      const options = {
        storage: 'redis',
        redis: { url: peer.redis.url, prefix: 'test' },
        cluster: { name: `process ${number}` },
        virtualHosts: { [HOST]: {} },
      }
      servers.push(await startServer(options, number > 0 ? [] : [JULIET, ROMEO]))
    }
    for (const { server } of servers) await expect.poll(() => server.cluster!.members.size).toBe(3)
  })

  afterEach(async () => {
    for (const stream of streams) await stream.destroy()
    for (const server of servers) await server.stop()
    await peer.stop()
  })

  const connect = async (at: number, jid: string, presence?: string): Promise<TestStream> => {
    const stream = await enter(servers[at]!.c2sPort, jid, presence)
    streams.push(stream)
    // Each knows of each.
    for (const { server } of servers) {
      await expect.poll(() => [...server.hosts.get(HOST)!.resourcesOf(jid.split('@')[0]!)].length).not.toBe(0)
    }
    return stream
  }
  const lines = (stream: TestStream): string[] => stream.received.map(lineOf)
  const got = (stream: TestStream, ...some: string[]) =>
    expect.poll(() => lines(stream), { timeout: 10_000 }).toEqual(expect.arrayContaining(some))
  const clear = () => {
    for (const stream of streams) stream.received.splice(0)
  }

  it('3.4.2 a pre-approval made at one process counts at another, and all resources show themselves', async () => {
    const one = await connect(0, `${JULIET}/one`)
    const two = await connect(1, `${JULIET}/two`)
    sendPresence(one, 'subscribed', ROMEO)
    for (const stream of [one, two]) await got(stream, `push ${ROMEO} none+approved`)
    const romeo = await connect(2, `${ROMEO}/orchard`)
    const other = await connect(0, `${ROMEO}/other`)
    clear()
    sendPresence(romeo, 'subscribe', JULIET)
    for (const stream of [romeo, other]) {
      await got(
        stream,
        `subscribed ${JULIET}`,
        `available ${one.jid}`,
        `available ${two.jid}`,
        `push ${JULIET} to`,
      )
      const seen = lines(stream)
      expect(seen.indexOf(`subscribed ${JULIET}`)).toBeLessThan(seen.indexOf(`push ${JULIET} to`))
    }
    for (const stream of [one, two]) {
      await got(stream, `push ${ROMEO} from`)
      expect(lines(stream)).not.toContain(`subscribe ${ROMEO}`)
    }
    // §3.2.2
    clear()
    sendPresence(two, 'unsubscribed', ROMEO)
    await got(romeo, `unavailable ${one.jid}`, `unavailable ${two.jid}`, `unsubscribed ${JULIET}`)
    await got(other, `push ${JULIET} none`)
    for (const [stream, jid] of [
      [one, ROMEO],
      [romeo, JULIET],
    ] as const) {
      expect(stateIn(await getItem(stream, jid))).toBe('none')
    }
  }, 60_000)

  it('4.3.2 4.6.6 probes of a full JID find the resource at its process, and what it has shown', async () => {
    const one = await connect(0, `${JULIET}/one`, '<presence><show>dnd</show></presence>')
    const romeo = await connect(1, `${ROMEO}/orchard`)
    clear()
    sendPresence(one, '', romeo.jid)
    await got(romeo, `available ${one.jid}`)
    clear()
    romeo.send(`<presence type='probe' to='${one.jid}'/>`)
    await got(romeo, `available ${one.jid}`)
    expect(romeo.received[0]?.children).toEqual([])
    // §4.6.1: each has been told by the other that it is gone, and nobody is told again.
    sendPresence(romeo, 'unavailable', one.jid)
    await got(one, `unavailable ${romeo.jid}`)
    clear()
    await one.close()
    await expect.poll(() => [...servers[1]!.server.hosts.get(HOST)!.resourcesOf('juliet')].length).toBe(0)
    await romeo.settled()
    expect(lines(romeo)).toEqual([])
  }, 60_000)
})
