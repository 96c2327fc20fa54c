/** Wrong passwords over real sockets: who has to wait then, and who has not. */

import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { TestStream } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { authenticated, conditionOf, opened, plain, scram, troubles } from '../shared/streams.ts'

const WAITS = 'a login has to wait'

let server: TestServer

async function start(options: Record<string, unknown> = {}): Promise<void> {
  server = await startServer(
    { virtualHosts: { 'capulet.lit': {}, 'montague.lit': {} }, login_throttle: true, ...options },
    ['juliet@capulet.lit', 'romeo@montague.lit', 'nurse@capulet.lit'],
  )
}

afterEach(async () => {
  expect(troubles(server)).toEqual([])
  await server.stop()
})

/** Wrong passwords, over streams that end with the fifth each (RFC 6120 §6.4.5). */
async function guess(user: string, count: number, host = 'capulet.lit'): Promise<void> {
  for (let left = count; left > 0; left -= 5) {
    const stream = await opened(server.c2sPort, host)
    for (let index = 0; index < Math.min(5, left); index++) {
      stream.send(plain(user, `guess${index}`))
      expect(conditionOf(await stream.named('failure'))).toBe('not-authorized')
    }
    await stream.destroy()
  }
}

const waited = () => server.log.filter((line) => line.includes(WAITS)).length

async function from(localAddress: string): Promise<TestStream> {
  const socket = connect({ port: server.c2sPort, host: '127.0.0.1', localAddress })
  await once(socket, 'connect')
  const stream = new TestStream(socket)
  await stream.open("to='capulet.lit' version='1.0'")
  await stream.named('features')
  return stream
}

describe('after wrong passwords from an address', () => {
  it.each(['PLAIN', 'SCRAM-SHA-256'])(
    'a login from there waits, and succeeds then: %s',
    async (mechanism) => {
      await start({ login_throttle_longest: 0.5 })
      for (const user of ['a', 'b', 'c']) await guess(user, 5)
      const before = waited()
      const stream = await opened(server.c2sPort)
      if (mechanism === 'PLAIN') {
        stream.send(plain('nurse'))
        await stream.named('success')
      } else expect((await scram(stream, mechanism, 'nurse')).getName()).toBe('success')
      expect(waited()).toBe(before + 1)
      await stream.destroy()
    },
  )

  it('for whatever host, and whether or not there is the account', async () => {
    await start({ login_throttle_longest: 0.5 })
    for (const user of ['a', 'b']) await guess(user, 5)
    await guess('romeo', 5, 'montague.lit')
    const before = waited()
    await (await authenticated(server.c2sPort, 'romeo', 'montague.lit')).destroy()
    expect(waited()).toBe(before + 1)
  })

  it('who logged in from there before does not wait, nor who comes from elsewhere', async () => {
    await start({ login_throttle_longest: 0.5 })
    await (await authenticated(server.c2sPort, 'juliet')).destroy()
    for (const user of ['a', 'b', 'c']) await guess(user, 5)
    const before = waited()
    await (await authenticated(server.c2sPort, 'juliet')).destroy()
    const elsewhere = await from('127.0.0.2')
    elsewhere.send(plain('nurse'))
    await elsewhere.named('success')
    await elsewhere.destroy()
    expect(waited()).toBe(before)
  })

  it('more logins than may wait get temporary-auth-failure (RFC 6120 §6.5.11)', async () => {
    await start({ login_throttle_longest: 'never' })
    for (const user of ['a', 'b']) await guess(user, 5)
    await guess('c', 1)
    const streams = await Promise.all(Array.from({ length: 40 }, () => opened(server.c2sPort)))
    for (const [index, stream] of streams.entries()) stream.send(plain(`user${index}`, 'guess'))
    await expect.poll(() => streams.some(({ text }) => text.includes('<temporary-auth-failure'))).toBe(true)
    for (const stream of streams) await stream.destroy()
  })

  it('login_throttle_exempt and login_throttle take that away', async () => {
    await start({ login_throttle_exempt: ['127.0.0.1'] })
    for (const user of ['a', 'b', 'c']) await guess(user, 5)
    await (await authenticated(server.c2sPort, 'juliet')).destroy()
    expect(waited()).toBe(0)
    await server.stop()
    await start({ login_throttle: false })
    await guess('juliet', 15)
    await (await authenticated(server.c2sPort, 'juliet')).destroy()
    expect(waited()).toBe(0)
  })
})

describe('after wrong passwords for an account', () => {
  it('a login to it from elsewhere waits too, and succeeds', async () => {
    await start({ login_throttle_longest: 0.5 })
    await guess('juliet', 6)
    const before = waited()
    const stream = await from('127.0.0.2')
    stream.send(plain('juliet'))
    await stream.named('success')
    await stream.destroy()
    expect(waited()).toBe(before + 1)
  })
})
