/** What a session has not acknowledged when it ends, where other resources of other processes had it, too (XEP-0198 §4). */

import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { login, type TestStream } from '../shared/client.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { type ManagedClient, manage, until } from '../shared/stream-management.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`
/** Milliseconds after which another process is taken to have heard of a resource; and some more. */
const HEARD_MS = 2200
const TEST_MS = 30_000

describePeer('messages that resources of several processes had', redisAvailable(), () => {
  let peer: SingleRedis
  let romeo: TestStream
  const servers: TestServer[] = []
  const streams: TestStream[] = []
  let ids = 0

  const startOne = async (number: number, users: string[] = []): Promise<TestServer> =>
    startServer(
      {
        storage: 'redis',
        redis: { url: peer.redis.url, prefix: 'test' },
        cluster: { name: `process ${number}` },
        modules_enabled: [...USUAL_PLUGINS, 'smacks', 'offline', 'carbons'],
        virtualHosts: { [HOST]: {} },
      },
      users,
    )

  beforeAll(async () => {
    peer = await startRedis()
    for (let number = 0; number < 3; number++) {
      servers.push(await startOne(number, number === 0 ? [JULIET, ROMEO] : []))
    }
  })

  afterEach(async () => {
    for (const stream of streams.splice(0)) await stream.destroy()
    for (const { server } of servers) {
      for (const session of [...server.sessions]) session.close()
      await until(() => server.sessions.size === 0)
    }
    await settle()
    const { storage } = servers[0]!.server
    await storage.openArchive(HOST, 'offline').delete('juliet', {})
  })

  afterAll(async () => {
    for (const server of servers) await server.stop()
    await peer.stop()
  })

  const sessionAt = (server: number, jid: string) => servers[server]!.server.fullJids.get(jid)
  const enter = async (server: number, jid: string, priority = 0): Promise<TestStream> => {
    const stream = await login(servers[server]!.c2sPort, jid, { presence: false })
    streams.push(stream)
    stream.send(`<presence><priority>${priority}</priority></presence>`)
    await stream.settled()
    return stream
  }
  const managed = async (server: number, resource: string): Promise<ManagedClient> => {
    const client = await manage(servers[server]!.c2sPort, `${JULIET}/${resource}`)
    streams.push(client.stream)
    client.acknowledge()
    await client.stream.settled()
    return client
  }
  const cut = (server: number, client: ManagedClient) =>
    client.cut(() => sessionAt(server, client.stream.jid)?.hibernating === true)
  /** All processes have worked on what the others have sent them, and on what they have sent then. */
  const settle = async () => {
    for (let round = 0; round < 3; round++) {
      for (const { server } of servers) {
        await server.cluster!.calls.heard(5000)
        for (const session of server.sessions) await session.afterwork
      }
    }
  }
  const end = async (...ending: (readonly [server: number, jid: string])[]) => {
    const sessions = ending.map(([server, jid]) => sessionAt(server, jid)!)
    for (const session of sessions) session.close()
    for (const session of sessions) await session.afterwork
    await settle()
  }
  const known = async (jid: string) => {
    for (const { server } of servers) {
      await until(() => server.fullJids.has(jid) || server.cluster!.directory.find(jid)?.available === true)
    }
  }
  const say = (to = JULIET, more = ''): string => {
    const id = `m${++ids}`
    romeo.send(`<message id='${id}' to='${to}' type='chat'><body>hi</body>${more}</message>`)
    return id
  }
  const messagesOf = async (stream: TestStream) => {
    await stream.settled()
    return stream.received.filter(({ name }) => name === 'message').map(({ attrs }) => attrs.id)
  }
  const later = () => new Promise((resolve) => setTimeout(resolve, HEARD_MS))

  it.each([
    ['the process of the one that ends', 0],
    ['the other one’s', 1],
    ['a third one', 2],
  ])(
    'RFC 6121 §8.5.2.1.1: who has had it does not get it again; it was sent at %s',
    async (_, at) => {
      romeo = await enter(at, `${ROMEO}/orchard`)
      const waits = await managed(0, 'balcony')
      const other = await enter(1, `${JULIET}/garden`)
      await known(other.jid)
      await cut(0, waits)
      await later()
      const sent = [say(), say(`${JULIET}/nowhere`)]
      for (const id of sent) await other.withId(id)
      // Whatever it does then, if it is not in the same moment: then it is not certain what it has had.
      await settle()
      await new Promise((resolve) => setTimeout(resolve, 100))
      other.send('<presence><show>away</show><priority>-1</priority></presence>')
      other.send('<presence><show>xa</show><priority>0</priority></presence>')
      await settle()
      await end([0, waits.stream.jid])
      expect(await messagesOf(other)).toEqual([])
      await other.close()
      expect(await messagesOf(await enter(2, `${JULIET}/later`))).toEqual([])
      expect(await messagesOf(romeo)).toEqual([])
    },
    TEST_MS,
  )

  it(
    'who comes later, or has had another priority, gets it',
    async () => {
      romeo = await enter(2, `${ROMEO}/orchard`)
      const waits = await managed(0, 'balcony')
      const low = await enter(1, `${JULIET}/garden`, -1)
      await known(low.jid)
      await cut(0, waits)
      await later()
      const id = say()
      await romeo.settled()
      await settle()
      low.send('<presence/>')
      await low.settled()
      await settle()
      await end([0, waits.stream.jid])
      expect((await low.withId(id)).getChild('delay', 'urn:xmpp:delay')).toBeDefined()
      const again = await managed(0, 'balcony')
      await cut(0, again)
      // Just for this one.
      const [own, all] = [say(again.stream.jid), say()]
      await romeo.settled()
      await low.withId(all)
      await settle()
      const late = await enter(2, `${JULIET}/late`, 1)
      await end([0, again.stream.jid])
      expect(await messagesOf(late)).toContain(own)
      expect(await messagesOf(low)).toEqual([])
    },
    TEST_MS,
  )

  it(
    'of two that end one after the other, or at the same moment, one hands it on',
    async () => {
      romeo = await enter(2, `${ROMEO}/orchard`)
      for (const [number, together] of [true, false, true, false].entries()) {
        const one = await managed(number % 2, 'balcony')
        const other = await managed(1 - (number % 2), 'garden')
        await known(one.stream.jid)
        await known(other.stream.jid)
        await cut(number % 2, one)
        await cut(1 - (number % 2), other)
        await later()
        const sent = [say(), say(), say()]
        await romeo.settled()
        await settle()
        const ending = [
          [number % 2, one.stream.jid],
          [1 - (number % 2), other.stream.jid],
        ] as const
        if (together) await end(...ending)
        else for (const which of ending) await end(which)
        const next = await enter(2, `${JULIET}/next`)
        await settle()
        expect(await messagesOf(next)).toEqual(sent)
        await next.close()
      }
      expect(await messagesOf(romeo)).toEqual([])
    },
    TEST_MS,
  )

  it(
    'what is handed on to one that ends in that moment at another process is not lost',
    async () => {
      romeo = await enter(2, `${ROMEO}/orchard`)
      const one = await managed(0, 'balcony')
      await cut(0, one)
      // Nobody is asked for a copy of it: it is handed on at once.
      const id = say(one.stream.jid, "<no-copy xmlns='urn:xmpp:hints'/>")
      await romeo.settled()
      await settle()
      const other = await enter(1, `${JULIET}/garden`)
      await known(other.jid)
      const ending = [sessionAt(1, other.jid)!, sessionAt(0, one.stream.jid)!]
      for (const session of ending) session.close()
      await ending[1]!.afterwork
      await settle()
      expect(await messagesOf(await enter(2, `${JULIET}/next`))).toEqual([id])
      expect(await messagesOf(romeo)).toEqual([])
    },
    TEST_MS,
  )

  it(
    'XEP-0280: who has a copy at another process answers for the message, when its recipient has ended',
    async () => {
      romeo = await enter(2, `${ROMEO}/orchard`)
      const one = await managed(0, 'balcony')
      const copied = await managed(1, 'garden')
      await copied.stream.ask(`<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>`)
      copied.acknowledge()
      await copied.stream.settled()
      await cut(0, one)
      await cut(1, copied)
      const id = say(one.stream.jid)
      await romeo.settled()
      await settle()
      await end([0, one.stream.jid])
      await end([1, copied.stream.jid])
      expect(await messagesOf(await enter(2, `${JULIET}/next`))).toEqual([id])
      expect(await messagesOf(romeo)).toEqual([])
    },
    TEST_MS,
  )

  it(
    'XEP-0160: what is on its way to one who has not acknowledged it is not handed over at another process too',
    async () => {
      romeo = await enter(2, `${ROMEO}/orchard`)
      const sent = [say(), say(), say()]
      await romeo.settled()
      const one = await manage(servers[0]!.c2sPort, `${JULIET}/balcony`)
      streams.push(one.stream)
      expect(one.messages).toEqual(sent)
      const other = await enter(1, `${JULIET}/garden`)
      expect(await messagesOf(other)).toEqual([])
      // What comes when both are there is for both.
      const live = say()
      await other.withId(live)
      await until(() => one.messages.includes(live))
      one.acknowledge(one.stanzas.findIndex(({ attrs }) => attrs.id === sent[0]) + 1)
      await one.stream.settled()
      await cut(0, one)
      expect(await messagesOf(other)).toEqual([])
      await end([0, one.stream.jid])
      for (const id of sent.slice(1)) await other.withId(id)
      await settle()
      expect((await messagesOf(other)).filter((id) => id !== live)).toEqual([])
      await other.close()
      expect(await messagesOf(await enter(2, `${JULIET}/later`))).toEqual([])
    },
    TEST_MS,
  )

  it(
    'a process that has died has nobody who had it',
    async () => {
      const extra = await startOne(3)
      servers.push(extra)
      romeo = await enter(2, `${ROMEO}/orchard`)
      const waits = await managed(0, 'balcony')
      const other = await enter(3, `${JULIET}/garden`)
      await known(other.jid)
      await cut(0, waits)
      await later()
      const id = say()
      await other.withId(id)
      servers.pop()
      await extra.stop()
      await settle()
      await end([0, waits.stream.jid])
      expect(await messagesOf(await enter(2, `${JULIET}/later`))).toEqual([id])
    },
    TEST_MS,
  )
})
