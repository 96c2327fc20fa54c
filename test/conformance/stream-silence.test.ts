/** Clients that are gone without a word are found and ended (RFC 6120 §4.6, §4.9.3.4). */

import { afterEach, describe, expect, it } from 'vitest'
import type { StreamSession } from '../../server/index.ts'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { troubles } from '../shared/streams.ts'
import { type Cut, TcpProxy } from '../shared/tcp-proxy.ts'

const JULIET = 'juliet@capulet.lit'
const ROMEO = 'romeo@capulet.lit'
const NS_PING = 'urn:xmpp:ping'

let server: TestServer
const proxies: TcpProxy[] = []

async function start(): Promise<void> {
  server = await startServer(
    { virtualHosts: { 'capulet.lit': {} }, network_settings: { read_timeout: 1 }, c2s_answer_timeout: 1 },
    [JULIET, ROMEO],
  )
}

async function proxy(): Promise<TcpProxy> {
  const made = await TcpProxy.start(server.c2sPort)
  proxies.push(made)
  return made
}

/** Answers the server's pings, as clients have to (RFC 6120 §8.2.3). */
function answering(stream: TestStream, answer = true): { pings: number; asked: Promise<void> } {
  let told!: () => void
  const seen = { pings: 0, asked: new Promise<void>((resolve) => (told = resolve)) }
  stream.watch = (element) => {
    if (element.getChild('ping', NS_PING) === undefined || element.attrs.type !== 'get') return false
    seen.pings++
    told()
    const error =
      "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    if (answer) stream.send(`<iq type='error' id='${element.attrs.id}' to='capulet.lit'>${error}</iq>`)
    return true
  }
  return seen
}

const sessionOf = (jid: string): StreamSession | undefined => server.server.fullJids.get(jid)

afterEach(async () => {
  for (const made of proxies.splice(0)) await made.close()
  expect(troubles(server)).toEqual([])
  await server.stop()
})

describe('a client that is silent', () => {
  it.each<Cut>(['lost', 'late'])(
    'and gone (%s): its contacts learn of it, and its connection ends',
    async (cut) => {
      await start()
      const cable = await proxy()
      const romeo = await login(server.c2sPort, `${ROMEO}/orchard`)
      answering(romeo)
      const juliet = await login(cable.port, `${JULIET}/balcony`)
      juliet.send(`<presence to='${romeo.jid}'/>`)
      await romeo.next(({ attrs }) => attrs.from === juliet.jid)
      const { connection } = sessionOf(juliet.jid)!
      cable.cut(cut)
      await romeo.next(({ attrs }) => attrs.from === juliet.jid && attrs.type === 'unavailable')
      expect(sessionOf(juliet.jid)).toBeUndefined()
      // The other side never closes its own.
      await connection.whenGone(20_000)
      await expect.poll(() => [...server.server.sessions].length).toBe(1)
      await romeo.destroy()
    },
    30_000,
  )

  it('but there answers, with whatever, and stays', async () => {
    await start()
    const juliet = await login(server.c2sPort, `${JULIET}/balcony`)
    const seen = answering(juliet)
    await expect.poll(() => seen.pings, { timeout: 15_000 }).toBeGreaterThan(2)
    await juliet.settled()
    expect(juliet.received.filter((element) => !element.is('presence'))).toEqual([])
    await juliet.close()
  }, 30_000)

  it('but for white space is not asked', async () => {
    await start()
    const talks = await login(server.c2sPort, `${JULIET}/talks`)
    const seen = answering(talks)
    const silent = await login(server.c2sPort, `${ROMEO}/silent`)
    const other = answering(silent)
    const timer = setInterval(() => talks.send(' '), 100)
    await expect.poll(() => other.pings, { timeout: 15_000 }).toBeGreaterThan(3)
    clearInterval(timer)
    // A machine that has stood still for a second makes it silent for that long.
    expect(seen.pings).toBeLessThan(other.pings)
    await talks.close()
    await silent.close()
  }, 30_000)

  it('§4.9.3.4: and does not answer is told why its stream ends', async () => {
    await start()
    const juliet = await login(server.c2sPort, `${JULIET}/balcony`)
    answering(juliet, false)
    expect((await juliet.streamError()).condition).toBe('connection-timeout')
    await juliet.closed()
  }, 30_000)
})

describe('c2s-read-timeout', () => {
  it('a handler that returns true asks in its own way; one that returns false has the client ended', async () => {
    await start()
    const juliet = await login(server.c2sPort, `${JULIET}/balcony`)
    const seen = answering(juliet)
    let fired = 0
    const host = server.server.hosts.get('capulet.lit')!
    host.events.add('c2s-read-timeout', ({ session }: { session: StreamSession }) => {
      expect(session.fullJid).toBe(juliet.jid)
      return ++fired < 3
    })
    expect((await juliet.streamError()).condition).toBe('connection-timeout')
    expect([fired, seen.pings]).toEqual([3, 0])
    await juliet.closed()
  }, 30_000)
})
