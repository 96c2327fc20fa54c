/** Messages that were kept, for clients that acknowledge them: until then they stay in the store (XEP-0160, XEP-0198 §4). */

import { afterEach, beforeEach, expect, it } from 'vitest'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { holdMailbox } from '../shared/slow-mailbox.ts'
import { type ManagedClient, manage, resume, until } from '../shared/stream-management.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`

let server: TestServer
let romeo: TestStream
const streams: TestStream[] = []

const start = async (options: Record<string, unknown> = {}) => {
  server = await startServer(
    {
      modules_enabled: [...USUAL_PLUGINS, 'offline', 'smacks', 'csi', 'csi_simple'],
      ...options,
      virtualHosts: { [HOST]: {} },
    },
    [JULIET, ROMEO],
  )
  romeo = await login(server.c2sPort, `${ROMEO}/orchard`)
  streams.push(romeo)
}

beforeEach(() => {
  streams.length = 0
})

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
})

const write = async (count: number, content = '<body>hi</body>'): Promise<string[]> => {
  const ids = Array.from({ length: count }, (_, i) => `m${i}`)
  for (const id of ids) romeo.send(`<message type='chat' id='${id}' to='${JULIET}'>${content}</message>`)
  await romeo.settled()
  return ids
}
const kept = async (): Promise<string[]> => {
  const archive = server.server.storage.openArchive<{ attrs: { id: string } }>(HOST, 'offline')
  return (await archive.find('juliet', {}, 1000)).entries.map(({ value }) => value.attrs.id)
}
const managed = async (resource = 'balcony'): Promise<ManagedClient> => {
  const client = await manage(server.c2sPort, `${JULIET}/${resource}`)
  streams.push(client.stream)
  return client
}
/** The counter of a client that has handled everything up to a message. */
const hOf = ({ stanzas }: ManagedClient, id: string) => stanzas.findIndex(({ attrs }) => attrs.id === id) + 1
const sessionOf = (client: ManagedClient) => server.server.fullJids.get(client.stream.jid)
const cut = (client: ManagedClient) => client.cut(() => sessionOf(client)?.hibernating === true)
const idsOf = (stream: TestStream) =>
  stream.received.filter(({ name }) => name === 'message').map(({ attrs }) => attrs.id)

it('they are taken out when they are acknowledged, and what is asked next is answered then', async () => {
  await start()
  const ids = await write(5)
  const client = await managed()
  expect(client.messages).toEqual(ids)
  await client.stream.settled()
  expect(await kept()).toEqual(ids)
  client.acknowledge(hOf(client, 'm2'))
  await client.stream.settled()
  expect(await kept()).toEqual(['m3', 'm4'])
  client.acknowledge()
  await client.stream.settled()
  expect(await kept()).toEqual([])
  await client.stream.close()
  const next = await login(server.c2sPort, `${JULIET}/next`)
  streams.push(next)
  await next.settled()
  expect(idsOf(next)).toEqual([])
})

it('of more than can be on their way the rest follows what was acknowledged, in order', async () => {
  await start({ smacks_max_queue_size: 40 })
  const ids = await write(250)
  const client = await managed()
  expect(client.messages).toEqual(ids.slice(0, 40))
  client.answers = true
  client.acknowledge()
  await until(() => client.messages.length === ids.length)
  expect(client.messages).toEqual(ids)
  client.acknowledge()
  await client.stream.settled()
  expect(await kept()).toEqual([])
})

it('big ones do not end the session', async () => {
  await start({ c2s_stanza_size_limit: 1 << 18 })
  const ids = await write(60, `<body>${'x'.repeat(200_000)}</body>`)
  const client = await managed()
  client.answers = true
  client.acknowledge()
  await until(() => client.messages.length === ids.length)
  expect(client.messages).toEqual(ids)
})

it('a session that is resumed gets them again; nobody else does meanwhile', async () => {
  await start()
  const ids = await write(3)
  const client = await managed()
  expect(client.messages).toEqual(ids)
  await cut(client)
  const other = await login(server.c2sPort, `${JULIET}/other`)
  streams.push(other)
  await other.settled()
  expect(idsOf(other)).toEqual([])
  const back = await resume(server.c2sPort, client, hOf(client, 'm0'))
  streams.push(back.stream)
  await until(() => back.messages.length === 2)
  expect(back.messages).toEqual(ids.slice(1))
  back.acknowledge()
  await back.stream.settled()
  expect(await kept()).toEqual([])
  expect(idsOf(other)).toEqual([])
})

it('when the session ends, who is there gets them, or they are kept as they were, once', async () => {
  await start()
  const ids = await write(3)
  const client = await managed()
  await cut(client)
  romeo.send(`<message type='chat' id='late' to='${JULIET}'><body>late</body></message>`)
  await romeo.settled()
  const ended = sessionOf(client)!
  ended.close()
  await ended.afterwork
  expect(await kept()).toEqual([...ids, 'late'])
  const second = await managed('second')
  expect(second.messages).toEqual([...ids, 'late'])
  for (const message of second.stanzas.filter(({ name }) => name === 'message')) {
    expect(message.getChildren('delay', 'urn:xmpp:delay')).toHaveLength(1)
  }
  const other = await login(server.c2sPort, `${JULIET}/other`)
  streams.push(other)
  await other.settled()
  await second.stream.destroy()
  await until(() => sessionOf(second)?.hibernating === true)
  sessionOf(second)!.close()
  for (const id of [...ids, 'late']) await other.withId(id)
  await other.settled()
  expect(idsOf(other)).toEqual([])
  expect(await kept()).toEqual([])
})

it('a client that is inactive gets them all the same', async () => {
  await start()
  const ids = await write(
    3,
    "<composing xmlns='http://jabber.org/protocol/chatstates'/><store xmlns='urn:xmpp:hints'/>",
  )
  const client = await manage(server.c2sPort, `${JULIET}/balcony`, { presence: false })
  streams.push(client.stream)
  client.stream.send("<inactive xmlns='urn:xmpp:csi:0'/><presence/>")
  await client.stream.settled()
  expect(client.messages).toEqual(ids)
  client.acknowledge()
  await client.stream.settled()
  expect(await kept()).toEqual([])
})

it('who acknowledges nothing has them when the system has them to send', async () => {
  await start()
  const ids = await write(250)
  const plain = await login(server.c2sPort, `${JULIET}/plain`)
  streams.push(plain)
  await plain.settled()
  expect(idsOf(plain)).toEqual(ids)
  expect(await kept()).toEqual([])
})

it('what waits for a session without a connection is kept until it is acknowledged', async () => {
  await start()
  const client = await managed()
  const before = await write(2)
  await until(() => client.messages.length === 2)
  await cut(client)
  romeo.send(`<message type='chat' id='late' to='${client.stream.jid}'><body>late</body></message>`)
  romeo.send(`<message type='error' id='error' to='${client.stream.jid}'><body>no</body></message>`)
  romeo.send(`<message type='headline' id='news' to='${client.stream.jid}'><body>old</body></message>`)
  await romeo.settled()
  expect(await kept()).toEqual([...before, 'late'])
  const back = await resume(server.c2sPort, client, hOf(client, 'm0'))
  streams.push(back.stream)
  await until(() => back.messages.length === 4)
  expect(back.messages).toEqual(['m1', 'late', 'error', 'news'])
  await back.stream.settled()
  expect(await kept()).toEqual(['m1', 'late'])
  back.acknowledge(hOf(client, 'm0') + 1)
  await back.stream.settled()
  expect(await kept()).toEqual(['late'])
  back.acknowledge()
  await back.stream.settled()
  expect(await kept()).toEqual([])
})

it('copies of what waits take no room, and nobody else gets them', async () => {
  await start({ offline_max_messages: 3 })
  const client = await managed()
  await cut(client)
  const ids = await write(5)
  expect(await kept()).toEqual(ids)
  const other = await login(server.c2sPort, `${JULIET}/other`)
  streams.push(other)
  await other.settled()
  expect(idsOf(other)).toEqual([])
  await other.close()
  const ended = sessionOf(client)!
  ended.close()
  await ended.afterwork
  expect(await kept()).toEqual(ids.slice(0, 3))
  expect((await romeo.withId('m3')).attrs.type).toBe('error')
  expect((await romeo.withId('m4')).attrs.type).toBe('error')
})

it('no copy is kept of what the archive or another resource has', async () => {
  await start({ modules_enabled: [...USUAL_PLUGINS, 'offline', 'smacks', 'mam'] })
  const client = await managed()
  await cut(client)
  await write(2)
  expect(await kept()).toEqual([])
  await server.stop()
  streams.length = 0
  await start()
  const waiting = await managed('waiting')
  const other = await login(server.c2sPort, `${JULIET}/other`)
  streams.push(other)
  await cut(waiting)
  await write(2)
  await other.withId('m1')
  expect(await kept()).toEqual([])
})

it('RFC 6120 §10.1: what is new comes after all that was kept, however many pages that is', async () => {
  await start()
  const ids = await write(250)
  const client = await manage(server.c2sPort, `${JULIET}/balcony`, { presence: false })
  streams.push(client.stream)
  client.answers = true
  client.stream.send(`<inactive xmlns='urn:xmpp:csi:0'/><presence/>`)
  await until(() => client.messages.length > 0)
  romeo.send(`<message type='chat' id='new' to='${JULIET}'><body>hi</body></message>`)
  await until(() => client.messages.includes('new'))
  expect(client.messages).toEqual([...ids, 'new'])
})

it('RFC 6120 §10.1: also where the connection is lost while the store is read', async () => {
  await start()
  const ids = await write(3)
  const mailbox = holdMailbox()
  const client = await manage(server.c2sPort, `${JULIET}/balcony`, { presence: false })
  streams.push(client.stream)
  client.stream.send('<presence/>')
  await until(() => mailbox.waiting > 0)
  romeo.send(`<message type='chat' id='new' to='${JULIET}'><body>hi</body></message>`)
  await romeo.settled()
  client.stream.socket.resetAndDestroy()
  await until(() => sessionOf(client)!.hibernating)
  mailbox.go()
  const back = await resume(server.c2sPort, client)
  streams.push(back.stream)
  await until(() => back.messages.includes('new'))
  expect(back.messages).toEqual([...ids, 'new'])
  back.acknowledge()
  await back.stream.settled()
  expect(await kept()).toEqual([])
})

it('RFC 6120 §10.1: what one that waited had not got comes to the next one before what is sent then', async () => {
  await start()
  const client = await managed()
  client.acknowledge()
  await client.stream.settled()
  await cut(client)
  const ids = await write(50)
  const next = await login(server.c2sPort, client.stream.jid, { presence: false })
  streams.push(next)
  next.send('<presence/>')
  let count = 50
  for (; count < 100; count++) {
    romeo.send(`<message type='chat' id='m${count}' to='${JULIET}'><body>hi</body></message>`)
    await new Promise(setImmediate)
  }
  await romeo.settled()
  await until(() => idsOf(next).length === count)
  expect(idsOf(next)).toEqual(Array.from({ length: count }, (_, i) => `m${i}`))
  expect(ids).toHaveLength(50)
})
