/** The course of SASL negotiation (RFC 6120 §6.4): order, failures, what is pipelined. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TestStream } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import {
  authenticated,
  base64,
  bindIq,
  conditionOf,
  header,
  NS_BIND,
  NS_SASL,
  opened,
  plain,
  scram,
  troubles,
} from '../shared/streams.ts'

let server: TestServer

beforeAll(async () => {
  server = await startServer({ virtualHosts: { 'capulet.lit': {} } }, ['juliet@capulet.lit'])
})

afterAll(async () => {
  expect(troubles(server)).toEqual([])
  await server.stop()
})

const HEADER = header("to='capulet.lit' version='1.0'")
const auth = (mechanism: string, content: string) =>
  `<auth xmlns='${NS_SASL}' mechanism='${mechanism}'>${content}</auth>`
const first = (user = 'juliet') => base64(`n,,n=${user},r=abc`)

describe('§6.5: failures', () => {
  const cases: [string, string, string][] = [
    ['§6.5.7: a mechanism that was not offered', auth('EXTERNAL', '='), 'invalid-mechanism'],
    ['§6.5.7: no mechanism', `<auth xmlns='${NS_SASL}'/>`, 'invalid-mechanism'],
    ['§6.5.7: -PLUS in the clear', auth('SCRAM-SHA-1-PLUS', first()), 'invalid-mechanism'],
    ['§6.5.8: a response to nothing', `<response xmlns='${NS_SASL}'>AA==</response>`, 'malformed-request'],
    ['§6.5.1: an abort of nothing', `<abort xmlns='${NS_SASL}'/>`, 'aborted'],
    ['§6.5.5: what is not Base64', auth('PLAIN', 'not base64!'), 'incorrect-encoding'],
    ['§6.5.5: Base64 without its end', auth('PLAIN', 'AGEAYQ'), 'incorrect-encoding'],
    ['§6.5.5: Base64 with line ends', auth('PLAIN', 'AGEA\nYQ=='), 'incorrect-encoding'],
    ['§6.5.5: an element in it', auth('PLAIN', '<a/>'), 'incorrect-encoding'],
    ['§6.5.8: = alone is an empty message', auth('PLAIN', '='), 'malformed-request'],
    ['§6.5.8: PLAIN without NULs', auth('PLAIN', base64('juliet')), 'malformed-request'],
    ['§6.5.8: SCRAM that is none', auth('SCRAM-SHA-256', base64('hello')), 'malformed-request'],
    ['§6.5.8: a mandatory extension', auth('SCRAM-SHA-1', base64('n,,m=x,n=a,r=b')), 'malformed-request'],
    ['§6.5.6: another as authzid', auth('PLAIN', base64('romeo\0juliet\0pw')), 'invalid-authzid'],
    ['§6.5.10: a wrong password', plain('juliet', 'x'), 'not-authorized'],
  ]
  it.each(cases)('%s, and one may try again', async (_name, text, condition) => {
    const stream = await opened(server.c2sPort)
    stream.send(text)
    expect(conditionOf(await stream.named('failure'))).toBe(condition)
    stream.send(plain('juliet'))
    await stream.named('success')
    await stream.destroy()
  })

  it('§6.5.1: an abort of what is under way gives aborted, and one may begin again', async () => {
    const stream = await opened(server.c2sPort)
    stream.send(auth('SCRAM-SHA-256', first()))
    await stream.named('challenge')
    stream.send(`<abort xmlns='${NS_SASL}'/>`)
    expect(conditionOf(await stream.named('failure'))).toBe('aborted')
    expect((await scram(stream, 'SCRAM-SHA-256', 'juliet')).getName()).toBe('success')
    await stream.destroy()
  })

  it.each([
    [['tls', 'saslauth'], 'encryption-required', '§6.5.4'],
    [['saslauth'], 'mechanism-too-weak', '§6.5.9'],
  ])('PLAIN in the clear, where that is not taken, with %s: %s (%s)', async (plugins, condition) => {
    const strict = await startServer(
      { virtualHosts: { 'capulet.lit': {} }, modules_enabled: plugins, allow_unencrypted_plain_auth: false },
      ['juliet@capulet.lit'],
    )
    const stream = await opened(strict.c2sPort)
    stream.send(plain('juliet'))
    expect(conditionOf(await stream.named('failure'))).toBe(condition)
    stream.send(auth('X-NONE', '='))
    expect(conditionOf(await stream.named('failure'))).toBe('invalid-mechanism')
    expect((await scram(stream, 'SCRAM-SHA-256', 'juliet')).getName()).toBe('success')
    await stream.destroy()
    await strict.stop()
  })

  it('§6.4.5: one may try again twice at least, and five times at most', async () => {
    const stream = await opened(server.c2sPort)
    for (let tries = 0; tries < 3; tries++) {
      stream.send(plain('juliet', 'wrong'))
      expect(conditionOf(await stream.named('failure'))).toBe('not-authorized')
    }
    stream.send(plain('juliet'))
    await stream.named('success')
    await stream.destroy()
  })

  it('§6.4.5: the fifth ends the stream', async () => {
    const stream = await opened(server.c2sPort)
    stream.send(plain('juliet', 'wrong').repeat(8))
    expect((await stream.streamError()).condition).toBe('policy-violation')
    await stream.closed()
    expect(stream.received.filter((e) => e.name === 'failure')).toHaveLength(5)
    expect(stream.ended).toBe(true)
  })
})

describe('the order of messages', () => {
  it('§6.4.4: an abort ends the exchange; its response is refused then', async () => {
    const stream = await opened(server.c2sPort)
    stream.send(auth('SCRAM-SHA-256', first()))
    await stream.named('challenge')
    stream.send(
      `<abort xmlns='${NS_SASL}'/><response xmlns='${NS_SASL}'>${base64('c=biws,r=abc,p=aa')}</response>`,
    )
    expect(conditionOf(await stream.named('failure'))).toBe('aborted')
    expect(conditionOf(await stream.named('failure'))).toBe('malformed-request')
    expect((await scram(stream, 'SCRAM-SHA-256', 'juliet')).getName()).toBe('success')
    await stream.destroy()
  })

  it('two logins in one segment: the first one counts, the second is a false header', async () => {
    const stream = await opened(server.c2sPort)
    stream.send(plain('juliet') + plain('juliet'))
    await stream.named('success')
    const error = /<stream:error>.*<\/stream:error>/
    await stream.closed()
    expect(stream.text).toMatch(error)
    expect(stream.text.match(/<success/g)).toHaveLength(1)
  })

  it('two wrong logins in one segment: both are answered, in order', async () => {
    const stream = await opened(server.c2sPort)
    stream.send(auth('SCRAM-SHA-256', first()) + plain('juliet', 'wrong') + plain('juliet'))
    expect((await stream.next()).name).toBe('challenge')
    expect((await stream.next()).name).toBe('failure')
    expect((await stream.next()).name).toBe('success')
    await stream.destroy()
  })

  it('a response in the same segment as its auth is worked on after it', async () => {
    const stream = await opened(server.c2sPort)
    const response = base64('c=biws,r=abc,p=AAAA')
    stream.send(`${auth('SCRAM-SHA-256', first())}<response xmlns='${NS_SASL}'>${response}</response>`)
    expect((await stream.next()).name).toBe('challenge')
    expect(conditionOf(await stream.next())).toBe('not-authorized')
    await stream.close()
  })

  it('§6.4.6: everything pipelined, to the bound resource', async () => {
    const stream = await TestStream.connect(server.c2sPort)
    stream.send(HEADER + plain('juliet') + HEADER + bindIq('balcony'))
    await expect.poll(() => stream.text).toContain('juliet@capulet.lit/balcony')
    const order = ['<success', '<stream:features><bind', 'juliet@capulet.lit/balcony']
    const places = order.map((words) => stream.text.indexOf(words))
    expect(places).toEqual([...places].sort((a, b) => a - b))
    expect(places[0]).toBeGreaterThan(0)
    await stream.destroy()
  })

  it.each([
    ['an auth', plain('juliet')],
    ['a response', `<response xmlns='${NS_SASL}'/>`],
    ['an abort', `<abort xmlns='${NS_SASL}'/>`],
  ])('§6.4.6: %s after success ends the stream', async (_name, text) => {
    const unbound = await authenticated(server.c2sPort, 'juliet')
    unbound.send(text)
    expect((await unbound.streamError()).condition).toBe('policy-violation')
    await unbound.closed()
    const bound = await authenticated(server.c2sPort, 'juliet')
    await bound.ask(bindIq('balcony'))
    bound.send(text)
    expect((await bound.streamError()).condition).toBe('policy-violation')
    await bound.closed()
  })

  it('§6.4.6: a stanza instead of the new header ends the stream', async () => {
    const stream = await opened(server.c2sPort)
    stream.send(plain('juliet'))
    await stream.named('success')
    stream.restart()
    stream.send(bindIq('balcony'))
    await stream.headerArrives()
    await stream.streamError()
    await stream.closed()
    expect(stream.ended).toBe(true)
  })

  it('the success has what SCRAM has to say at last', async () => {
    const stream = await opened(server.c2sPort)
    const success = await scram(stream, 'SCRAM-SHA-1', 'juliet')
    expect(Buffer.from(success.text(), 'base64').toString()).toMatch(/^v=/)
    await stream.destroy()
  })

  it('§4.3.5: after success only binding and what goes with it is offered', async () => {
    const stream = await TestStream.connect(server.c2sPort)
    await stream.open("to='capulet.lit' version='1.0'")
    await stream.named('features')
    stream.send(plain('juliet'))
    await stream.named('success')
    stream.restart()
    await stream.open("to='capulet.lit' version='1.0'")
    const features = await stream.named('features')
    expect(features.getChild('bind', NS_BIND)).toBeDefined()
    expect(features.getChild('mechanisms', NS_SASL)).toBeUndefined()
    await stream.close()
  })
})

describe('a storage that fails', () => {
  it('§6.5.11: gives temporary-auth-failure, and is logged', async () => {
    const broken = await startServer({ virtualHosts: { 'capulet.lit': {} } }, ['juliet@capulet.lit'])
    const users = broken.server.hosts.get('capulet.lit')!.users!
    users.keysFor = () => Promise.reject(new Error('the disk is gone'))
    const stream = await opened(broken.c2sPort)
    stream.send(auth('SCRAM-SHA-256', first()))
    expect(conditionOf(await stream.named('failure'))).toBe('temporary-auth-failure')
    await broken.logged('the disk is gone')
    await stream.close()
    await broken.stop()
  })
})
