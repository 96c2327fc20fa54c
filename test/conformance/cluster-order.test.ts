/** RFC 6120 §10.1 where an account moves from one process to another: what was sent first arrives first. */

import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { login, type TestStream } from '../shared/client.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const MOVES = 12
/** Of each sender, so that a slow machine has an end. */
const MOST_MESSAGES = 3000
const TIMEOUT_MS = 60_000

vi.setConfig({ testTimeout: TIMEOUT_MS, hookTimeout: TIMEOUT_MS })

describePeer('order in a cluster', redisAvailable(), () => {
  let peer: SingleRedis
  const servers: TestServer[] = []
  const streams: TestStream[] = []

  beforeAll(async () => {
    peer = await startRedis()
    for (let number = 0; number < 3; number++) {
      servers.push(
        await startServer(
          {
            storage: 'redis',
            redis: { url: peer.redis.url, prefix: 'test' },
            cluster: { name: `process ${number}` },
            virtualHosts: { 'capulet.lit': {} },
          },
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

  /** Where somebody is connected next: each process is followed by each other one. */
  const place = (move: number): number => [1, 2, 0, 1, 0, 2][move % 6]!

  /** Sends numbered messages as fast as they are worked on, until it is ended. @returns how many there were */
  const talkTo = (to: string, sender: TestStream) => {
    let sent = 0
    let isOver = false
    const talk = async (): Promise<number> => {
      while (!isOver && sent < MOST_MESSAGES) {
        let text = ''
        for (let i = 0; i < 50; i++) {
          text += `<message type='chat' to='${to}' id='o${sent++}'><body>o</body></message>`
        }
        sender.send(text)
        await sender.settled()
      }
      return sent
    }
    const talking = talk()
    return () => {
      isOver = true
      return talking
    }
  }

  /** Numbers of messages that somebody has got from somebody else, or has got back. */
  const numbersIn = (stream: TestStream, from: string, isError: boolean): number[] =>
    stream.received
      .filter(({ name, attrs }) => name === 'message' && (attrs.type === 'error') === isError)
      .filter(({ attrs }) => isError || attrs.from === from)
      .map(({ attrs }) => Number(attrs.id!.slice(1)))

  /** Moves somebody about while two at two processes send to them. @returns what was got, in the order of the moves */
  const moveAbout = async (to: string, enterAt: (move: number) => Promise<TestStream>) => {
    const senders = [await enter(0, 'romeo@capulet.lit/orchard'), await enter(1, 'nurse@capulet.lit/hall')]
    const juliets = [await enterAt(0)]
    const ends = senders.map((sender) => talkTo(to, sender))
    for (let move = 1; move < MOVES; move++) juliets.push(await enterAt(move))
    const counts = await Promise.all(ends.map((end) => end()))
    const got: number[][][] = []
    for (const [index, sender] of senders.entries()) {
      const arrived = () => juliets.map((juliet) => numbersIn(juliet, sender.jid, false))
      // Each has arrived, or has come back.
      await expect
        .poll(() => new Set([...arrived().flat(), ...numbersIn(sender, sender.jid, true)]).size, {
          timeout: TIMEOUT_MS / 2,
        })
        .toBe(counts[index])
      got.push(arrived())
    }
    return got
  }

  const ascending = (numbers: number[]) => [...new Set(numbers)].sort((a, b) => a - b)

  it('holds for a full JID that is bound anew at another process', async () => {
    const jid = 'juliet@capulet.lit/moving'
    for (const arrived of await moveAbout(jid, (move) => enter(place(move), jid))) {
      expect(arrived.flat()).toEqual(ascending(arrived.flat()))
    }
  })

  it('holds for an account of which one resource comes, and another one goes', async () => {
    let last: TestStream | undefined
    const moved = await moveAbout('juliet@capulet.lit', async (move) => {
      const next = await enter(place(move), `juliet@capulet.lit/r${move}`)
      await last?.close()
      last = next
      return next
    })
    // While both are there, both get it (RFC 6121 §8.5.2.1.1).
    for (const arrived of moved) for (const each of arrived) expect(each).toEqual(ascending(each))
  })

  it('holds for an account of which one resource at a time takes messages', async () => {
    let last: TestStream | undefined
    const moved = await moveAbout('juliet@capulet.lit', async (move) => {
      const next = await enter(place(move), `juliet@capulet.lit/r${move}`, { presence: false })
      next.send('<presence><priority>-1</priority></presence>')
      await next.settled()
      await last?.close()
      next.send('<presence/>')
      last = next
      return next
    })
    for (const arrived of moved) expect(arrived.flat()).toEqual(ascending(arrived.flat()))
  })

  it('holds for an account whose first resource goes while others stay', async () => {
    const stays = await enter(2, 'juliet@capulet.lit/stays')
    const resources: TestStream[] = []
    const moved = await moveAbout('juliet@capulet.lit', async (move) => {
      const next = await enter(place(move), `juliet@capulet.lit/r${move}`)
      resources.push(next)
      if (resources.length > 2) await resources.shift()!.close()
      return next
    })
    for (const arrived of moved) for (const each of arrived) expect(each).toEqual(ascending(each))
    for (const sender of ['romeo@capulet.lit/orchard', 'nurse@capulet.lit/hall']) {
      const all = numbersIn(stays, sender, false)
      expect(all).toEqual(ascending(all))
    }
  })
})
