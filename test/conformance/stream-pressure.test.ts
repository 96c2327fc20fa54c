/** Peers that do not read, and floods: memory stays bounded, and nobody else is disturbed. */

import { Socket } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { reply, type StanzaEvent, xml } from '../../server/index.ts'
import { login, TestStream } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { troubles } from '../shared/streams.ts'

const USERS = ['juliet', 'romeo', 'nurse', 'tybalt'].map((name) => `${name}@capulet.lit`)
const BODY = 'x'.repeat(20_000)
const FLOOD = 1500 // of BODY: 30 MB, more than all buffers on the way hold
const BURST = 700 // of BODY: 14 MB, more than the system's buffers hold, and less than a connection is given up for

let server: TestServer

async function start(): Promise<TestServer> {
  server = await startServer({ virtualHosts: { 'capulet.lit': {} } }, USERS)
  return server
}

afterEach(async () => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  expect(troubles(server)).toEqual([])
  await server.stop()
})

const enter = (name: string) => login(server.c2sPort, `${name}@capulet.lit/r`, { presence: false })
const connectionOf = (stream: TestStream) => server.server.fullJids.get(stream.jid)!.connection

/** Sends messages and a last one; resolves when the system has taken the last byte. */
function flood(from: TestStream, to: string, count = FLOOD): Promise<void> {
  for (let i = 0; i < count; i++) from.send(`<message to='${to}' id='m${i}'><body>${BODY}</body></message>`)
  return new Promise((resolve) => from.socket.write(' ', () => resolve()))
}

/** Waits until what waits for a connection grows no more. */
async function stalled(stream: TestStream): Promise<number> {
  await expect.poll(() => connectionOf(stream).waiting, { timeout: 5000 }).toBeGreaterThan(1 << 20)
  return connectionOf(stream).waiting
}

describe('a client that does not read', () => {
  it('stalls who feeds it, not others; what waits is bounded; all arrives in order when it reads', async () => {
    await start()
    const [slow, feeder, other, third] = (await Promise.all(
      ['juliet', 'romeo', 'nurse', 'tybalt'].map(enter),
    )) as [TestStream, TestStream, TestStream, TestStream]
    slow.socket.pause()
    let sent = false
    const done = flood(feeder, slow.jid).then(() => {
      sent = true
    })
    await stalled(slow)
    for (let i = 0; i < 20; i++) {
      other.send(`<message to='${third.jid}' id='o${i}'/>`)
      await third.withId(`o${i}`)
      expect(connectionOf(slow).waiting).toBeLessThan(2 << 20)
    }
    expect(sent, 'the feeder is not read from').toBe(false)
    // A feeder that is not read from is still written to.
    other.send(`<message to='${feeder.jid}' id='hello'/>`)
    await feeder.withId('hello')

    slow.socket.resume()
    await done
    await feeder.settled()
    await slow.withId(`m${FLOOD - 1}`)
    expect(slow.received.map((e) => e.attrs.id)).toEqual(Array.from({ length: FLOOD - 1 }, (_, i) => `m${i}`))
    await Promise.all([slow, feeder, other, third].map((stream) => stream.close()))
  })

  it('is dropped when it has stalled for a minute; its feeder goes on', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    await start()
    const [slow, feeder] = (await Promise.all(['juliet', 'romeo'].map(enter))) as [TestStream, TestStream]
    slow.socket.pause()
    const done = flood(feeder, slow.jid)
    await stalled(slow)
    vi.advanceTimersByTime(50_000)
    expect(server.server.fullJids.has(slow.jid)).toBe(true)
    vi.advanceTimersByTime(15_000)
    expect(server.server.fullJids.has(slow.jid)).toBe(false)
    await done
    await feeder.settled()
    await server.logged('the peer does not read')
    await slow.destroy()
    await feeder.close()
  })

  it('is not dropped when it was slow once and has read since, nobody feeding it', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    await start()
    const slow = await enter('juliet')
    slow.socket.pause()
    const session = server.server.fullJids.get(slow.jid)!
    const burst = () => {
      for (let i = 0; i < BURST; i++) session.sendText(`<message id='b${i}'><body>${BODY}</body></message>`)
    }
    burst()
    vi.advanceTimersByTime(40_000)
    slow.socket.resume()
    await slow.withId(`b${BURST - 1}`)
    await expect.poll(() => session.connection.waiting).toBe(0)
    slow.socket.pause()
    burst()
    vi.advanceTimersByTime(30_000)
    expect(session.destroyed).toBe(false)
    slow.socket.resume()
    await slow.withId(`b${BURST - 1}`)
    await slow.close()
  })

  it('and asks on is not read from, whether its answers come at once or later', async () => {
    await start()
    const { events } = server.server.hosts.get('capulet.lit')!
    events.add('iq-get/host/urn:x:now', ({ origin, stanza }: StanzaEvent) => {
      origin.send(reply(stanza, xml('now', { xmlns: 'urn:x' }, BODY)))
      return true
    })
    events.add('iq-get/host/urn:x:later', async ({ origin, stanza }: StanzaEvent) => {
      await new Promise((resolve) => setImmediate(resolve))
      origin.send(reply(stanza, xml('later', { xmlns: 'urn:x' }, BODY)))
    })
    for (const name of ['now', 'later']) {
      const greedy = await enter('juliet')
      greedy.socket.pause()
      for (let i = 0; i < 3000; i++) {
        greedy.send(`<iq type='get' id='q${i}' to='capulet.lit'><${name} xmlns='urn:x'/></iq>`)
      }
      await stalled(greedy)
      const other = await enter('nurse')
      for (let i = 0; i < 10; i++) await other.settled()
      expect(connectionOf(greedy).waiting).toBeLessThan(2 << 20)
      greedy.socket.resume()
      await greedy.withId('q2999')
      expect(greedy.received.map((e) => e.attrs.id)).toEqual(Array.from({ length: 2999 }, (_, i) => `q${i}`))
      await Promise.all([greedy.close(), other.close()])
    }
  })

  it('with more waiting than is ever kept is dropped at once, and its stanzas are not worked on', async () => {
    await start()
    const slow = await enter('juliet')
    const other = await enter('nurse')
    slow.socket.pause()
    const session = server.server.fullJids.get(slow.jid)!
    for (let i = 0; i < 80 && !session.destroyed; i++) session.sendText(' '.repeat(1 << 20))
    expect(session.destroyed).toBe(true)
    expect(server.server.fullJids.has(slow.jid)).toBe(false)
    await server.logged('more data waits')
    await other.settled()
    await slow.destroy()
    await other.close()
  })

  it('ends with the server, and does not hold it up', async () => {
    await start()
    const slow = await enter('juliet')
    const feeder = await enter('romeo')
    slow.socket.pause()
    void flood(feeder, slow.jid)
    await stalled(slow)
    feeder.socket.resume()
    const before = Date.now()
    await server.stop()
    expect(Date.now() - before).toBeLessThan(8000)
    await Promise.all([slow.destroy(), feeder.destroy()])
  })
})

describe('floods', () => {
  it('many small stanzas are gathered into few writes', async () => {
    await start()
    const [juliet, romeo] = (await Promise.all(['juliet', 'romeo'].map(enter))) as [TestStream, TestStream]
    const writes: number[] = []
    const write = Socket.prototype.write
    vi.spyOn(Socket.prototype, 'write').mockImplementation(function (this: Socket, ...args) {
      if (String(args[0]).includes('small')) writes.push(String(args[0]).length)
      return write.apply(this, args as Parameters<typeof write>)
    })
    const text = Array.from({ length: 2000 }, (_, i) => `<message to='${juliet.jid}' id='small${i}'/>`).join(
      '',
    )
    romeo.send(text)
    await juliet.withId('small1999')
    // One of them is the test's own.
    expect(writes.length - 1).toBeLessThan(40)
    expect(juliet.received).toHaveLength(1999)
    await Promise.all([juliet.close(), romeo.close()])
  })

  it('a stanza that never ends takes no more than its limit', async () => {
    await start()
    const juliet = await enter('juliet')
    juliet.send(`<message to='${juliet.jid}'><body>`)
    for (let i = 0; i < 500; i++) juliet.send(BODY)
    expect((await juliet.streamError()).condition).toBe('policy-violation')
    await juliet.closed()
  })

  it('hundreds of connections that say nothing are let go of when they end', async () => {
    await start()
    const streams = await Promise.all(Array.from({ length: 200 }, () => TestStream.connect(server.c2sPort)))
    await expect.poll(() => server.server.sessions.size).toBe(200)
    for (const stream of streams) stream.socket.resetAndDestroy()
    await expect.poll(() => server.server.sessions.size).toBe(0)
  })
})
