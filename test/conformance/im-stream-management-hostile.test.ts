/** Stream management for those who misuse it, and for those whose connection is lost at the worst moment (XEP-0198). */

import { afterEach, expect, it } from 'vitest'
import type { ServerOptions } from '../../server/config/index.ts'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { authenticate, manage, resume, SM, until } from '../shared/stream-management.ts'
import { troubles } from '../shared/streams.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`

let server: TestServer
const streams: TestStream[] = []

async function start(options: ServerOptions = {}): Promise<void> {
  server = await startServer(
    {
      modules_enabled: [...USUAL_PLUGINS, 'smacks', 'offline', 'csi_simple'],
      virtualHosts: { [HOST]: {} },
      ...options,
    },
    [JULIET, ROMEO],
  )
}

const kept = <S extends { stream: TestStream }>(client: S): S => {
  streams.push(client.stream)
  return client
}
const juliet = async () => kept(await manage(server.c2sPort, `${JULIET}/balcony`))
const sessionOf = (jid: string) => server.server.fullJids.get(jid)

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  expect(troubles(server)).toEqual([])
  await server.stop()
})

it('§5: who is gone while the resumption waits has changed nothing: the session still ends in its time', async () => {
  await start({ smacks_hibernation_time: 2 })
  const client = await juliet()
  const session = sessionOf(client.stream.jid)!
  const writing = {}
  session.begin(writing)
  await client.cut(() => session.hibernating)
  const next = await authenticate(server.c2sPort, JULIET)
  next.send(`<resume xmlns='${SM}' previd='${client.id}' h='${client.h}'/>`)
  const other = [...server.server.sessions].find(({ type }) => type === 'c2s_unbound')!
  await until(() => other.released() !== undefined)
  next.socket.resetAndDestroy()
  await until(() => other.destroyed)
  session.end(writing)
  await until(() => session.destroyed)
  expect(sessionOf(client.stream.jid)).toBeUndefined()
})

it('RFC 6120 §4.4: an acknowledgement that waited does not come after the end of the stream', async () => {
  await start()
  const client = await juliet()
  const session = sessionOf(client.stream.jid)!
  const writing = {}
  session.begin(writing, true)
  client.stream.send(`<r xmlns='${SM}'/>`)
  await client.stream.settled()
  session.close()
  session.end(writing)
  await client.stream.close()
  expect(client.stream.text.endsWith('</stream:stream>')).toBe(true)
})

it('§4: who asks more and more while nothing can be acknowledged is read from later, and answered', async () => {
  await start()
  const client = await juliet()
  const session = sessionOf(client.stream.jid)!
  const handled = await client.handled()
  const writing = {}
  session.begin(writing, true)
  client.stream.send(`<r xmlns='${SM}'/><presence to='${ROMEO}'/>`.repeat(1000))
  await until(() => session.released() !== undefined)
  session.end(writing)
  // In order: a counter that goes back is an error to the client.
  for (let i = 0; i < 1000; i++) expect((await client.stream.named('a')).attrs.h).toBe(`${handled + i}`)
  await client.stream.settled()
})

it('§5: what one who does not read was sent is not kept with the old connection, too', async () => {
  await start()
  const client = await juliet()
  const romeo = await login(server.c2sPort, `${ROMEO}/orchard`)
  streams.push(romeo)
  const session = sessionOf(client.stream.jid)!
  const { connection } = session
  client.stream.socket.pause()
  const text = `<message to='${client.stream.jid}' type='chat'><body>${'x'.repeat(200_000)}</body></message>`
  for (let i = 0; i < 30; i++) romeo.send(text)
  await until(() => connection.waiting > 1 << 20)
  const back = kept(await resume(server.c2sPort, client, client.h))
  expect(connection.remoteAddress).toBe('unknown')
  await until(() => back.messages.length === 30)
  await back.stream.settled()
})

it('a client that has acknowledged too little, and is gone without a word, is found out', async () => {
  await start({ network_settings: { read_timeout: 1 }, c2s_answer_timeout: 1 })
  const client = await juliet()
  const session = sessionOf(client.stream.jid)!
  for (let i = 0; i < 3; i++) client.acknowledge(client.h - 1)
  await until(() => session.hibernating)
})

it('§5: who comes too late is told of nothing that was not certain when the session ended', async () => {
  await start()
  const client = await juliet()
  const handled = await client.handled()
  const session = sessionOf(client.stream.jid)!
  await client.stream.settled()
  // As a message that waits for a process to be back.
  session.begin({}, true)
  await client.cut(() => session.hibernating)
  session.close()
  await session.afterwork
  const next = await authenticate(server.c2sPort, JULIET)
  streams.push(next)
  next.send(`<resume xmlns='${SM}' previd='${client.id}' h='${client.h}'/>`)
  expect((await next.named('failed')).attrs.h).toBe(`${handled}`)
})

it('when the plugin is unloaded no session waits for a client that can not resume it; what waits is kept', async () => {
  await start()
  const [waits, stays] = [await juliet(), kept(await manage(server.c2sPort, `${JULIET}/garden`))]
  const romeo = await login(server.c2sPort, `${ROMEO}/orchard`)
  streams.push(romeo)
  waits.acknowledge()
  stays.acknowledge()
  await Promise.all([waits.stream.settled(), stays.stream.settled()])
  const session = sessionOf(waits.stream.jid)!
  await waits.cut(() => session.hibernating)
  romeo.send(`<message id='m' to='${waits.stream.jid}' type='chat'><body>hi</body></message>`)
  await romeo.settled()
  const { hosts, modules } = server.server
  modules.unload(hosts.get(HOST)!, 'smacks')
  expect((await stays.stream.streamError()).condition).toBe('reset')
  await stays.stream.closed()
  expect([session.destroyed, sessionOf(stays.stream.jid)]).toEqual([true, undefined])
  const next = await login(server.c2sPort, `${JULIET}/next`)
  streams.push(next)
  expect((await next.named('message')).attrs.id).toBe('m')
  // Others do not notice.
  await romeo.settled()
})
