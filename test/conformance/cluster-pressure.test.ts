/** A peer at another process that does not read: whoever feeds it is held back, and nobody else. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { troubles } from '../shared/streams.ts'

const HOST = 'capulet.lit'
const ECHO = `echo.${HOST}`
const USERS = ['juliet', 'romeo', 'nurse', 'tybalt'].map((name) => `${name}@${HOST}`)
const BODY = 'x'.repeat(20_000)
/** Of BODY: 30 MB, more than all buffers on the way hold, and than a connection is given up for. */
const FLOOD = 1500
/** Of BODY: 4 MB, more than may be under way to another process. */
const MANY = 200

describePeer('a cluster', redisAvailable(), () => {
  let redis: SingleRedis
  const servers: TestServer[] = []
  const streams: TestStream[] = []
  let feeder: TestStream
  let other: TestStream
  let third: TestStream

  beforeAll(async () => {
    redis = await startRedis()
  })

  afterAll(() => redis.stop())

  beforeEach(async () => {
    for (let number = 0; number < 2; number++) {
      servers.push(
        await startServer(
          {
            storage: 'redis',
            redis: { url: redis.redis.url, prefix: 'test' },
            cluster: { name: `process ${number}` },
            modules_enabled: USUAL_PLUGINS,
            virtualHosts: { [HOST]: {} },
            components: { [ECHO]: { component_secret: 'secret' } },
          },
          [],
        ),
      )
    }
    for (const user of USERS) await servers[0]!.addUser(user).catch(() => {})
    feeder = await enter(0, 'romeo', false)
    other = await enter(0, 'juliet', false)
    third = await enter(1, 'tybalt', false)
  })

  afterEach(async () => {
    for (const stream of streams.splice(0)) await stream.destroy()
    for (const server of servers) expect(troubles(server)).toEqual([])
    for (const server of servers.splice(0)) await server.stop()
  })

  async function enter(server: number, name: string, presence: boolean): Promise<TestStream> {
    const stream = await login(servers[server]!.c2sPort, `${name}@${HOST}/at-${server}`, { presence })
    streams.push(stream)
    return stream
  }

  /** What waits for a connection of the second process. */
  const waiting = (jid: string) =>
    Math.max(
      ...[...servers[1]!.server.sessions]
        .filter((session) => session.fullJid === jid || session.host?.name === jid)
        .map(({ connection }) => connection.waiting),
    )

  /** Sends messages; resolves when the system has taken the last byte. */
  function flood(from: TestStream, to: string, count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      from.send(`<message type='chat' to='${to}' id='m${i}'><body>${BODY}</body></message>`)
    }
    return new Promise((resolve) => from.socket.write(' ', () => resolve()))
  }

  const numbers = (count: number) => Array.from({ length: count }, (_, i) => `m${i}`)
  const idsOf = (stream: TestStream) =>
    stream.received.map(({ attrs }) => attrs.id).filter((id) => /^m\d+$/.test(id ?? ''))

  describe.each<[string, () => Promise<{ slow: TestStream; jid: string; to: string }>]>([
    [
      'a client, by its full JID',
      async () => {
        const slow = await enter(1, 'nurse', false)
        return { slow, jid: slow.jid, to: slow.jid }
      },
    ],
    [
      'one of several clients of an account',
      async () => {
        const near = await enter(0, 'nurse', true)
        const slow = await enter(1, 'nurse', true)
        await near.next((element) => element.is('presence') && element.attrs.from === slow.jid)
        return { slow, jid: slow.jid, to: `nurse@${HOST}` }
      },
    ],
    [
      'a component',
      async () => {
        const slow = await connectComponent(servers[1]!.componentPort, ECHO, 'secret')
        streams.push(slow)
        // The first process knows of it.
        await expect
          .poll(async () => {
            other.send(`<message to='${ECHO}' id='there'/>`)
            await other.settled()
            return slow.received.some(({ attrs }) => attrs.id === 'there')
          })
          .toBe(true)
        return { slow, jid: ECHO, to: ECHO }
      },
    ],
  ])('%s', (_, connect) => {
    it('stalls who feeds it, not others; what waits is bounded; all arrives in order when it reads', async () => {
      const { slow, jid, to } = await connect()
      slow.socket.pause()
      let sent = false
      const done = flood(feeder, to, FLOOD).then(() => {
        sent = true
      })
      await expect.poll(() => waiting(jid), { timeout: 20_000 }).toBeGreaterThan(1 << 20)
      // More than one process takes from another before it is acknowledged.
      await flood(other, third.jid, MANY)
      await third.withId(`m${MANY - 1}`)
      expect(sent, 'the feeder is not read from').toBe(false)
      expect(waiting(jid)).toBeLessThan(6 << 20)
      // A feeder that is not read from is still written to.
      third.send(`<message to='${feeder.jid}' id='hello'/>`)
      await feeder.withId('hello')

      slow.socket.resume()
      await done
      await feeder.settled()
      await expect.poll(() => idsOf(slow).length, { timeout: 20_000 }).toBe(FLOOD)
      expect(idsOf(slow)).toEqual(numbers(FLOOD))
    }, 60_000)
  })
})
