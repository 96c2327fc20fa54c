/** Stream headers and stream errors (RFC 6120 §4.2, §4.3, §4.7, §4.9). */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TestStream } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { authenticated, header, opened, troubles } from '../shared/streams.ts'

let server: TestServer

beforeAll(async () => {
  server = await startServer({ virtualHosts: { 'capulet.lit': {} } }, ['juliet@capulet.lit'])
})

afterAll(async () => {
  expect(troubles(server)).toEqual([])
  await server.stop()
})

/** Sends text on a new connection, and waits for the end. */
async function refused(text: string | Buffer) {
  const stream = await TestStream.connect(server.c2sPort)
  stream.send(text)
  const answered = await stream.headerArrives()
  const error = await stream.streamError()
  await stream.closed()
  expect(stream.ended, 'the stream is ended in order').toBe(true)
  expect(error.text).not.toBe('')
  return { stream, header: answered, ...error }
}

const GOOD = header("to='capulet.lit' version='1.0'")

describe('the header that the server answers with', () => {
  it('§4.7: has from, id, version, xml:lang and the namespaces, then features', async () => {
    const stream = await TestStream.connect(server.c2sPort)
    const answer = await stream.open("to='capulet.lit' version='1.0' from='juliet@capulet.lit'")
    expect(answer.attrs).toMatchObject({
      from: 'capulet.lit',
      to: 'juliet@capulet.lit',
      version: '1.0',
      'xml:lang': 'en',
      xmlns: 'jabber:client',
      'xmlns:stream': 'http://etherx.jabber.org/streams',
    })
    expect(answer.attrs.id.length).toBeGreaterThanOrEqual(16)
    expect((await stream.next()).name).toBe('stream:features')
    await stream.close()
  })

  it('§4.7.3: has another id on every stream, and after a restart', async () => {
    const first = await authenticated(server.c2sPort, 'juliet')
    const second = await opened(server.c2sPort)
    const ids = [...`${first.text}${second.text}`.matchAll(/ id='([^']+)'/g)].map(([, id]) => id)
    expect(new Set(ids).size).toBe(3)
    await Promise.all([first.close(), second.close()])
  })

  it('§4.7.2: the domain is compared without regard to case', async () => {
    const stream = await TestStream.connect(server.c2sPort)
    const answer = await stream.open("to='CAPULET.Lit' version='1.0'")
    expect(answer.attrs.from).toBe('capulet.lit')
    await stream.named('features')
    await stream.close()
  })

  it('§4.7.5: is of version 1.0 for a peer of a later minor version', async () => {
    const stream = await TestStream.connect(server.c2sPort)
    expect((await stream.open("to='capulet.lit' version='1.7'")).attrs.version).toBe('1.0')
    await stream.named('features')
    await stream.close()
  })

  it('a malformed from is not repeated', async () => {
    const stream = await TestStream.connect(server.c2sPort)
    const answer = await stream.open("to='capulet.lit' version='1.0' from='@@'")
    expect(answer.attrs.to).toBeUndefined()
    await stream.close()
  })

  it('other prefixes for the stream namespace, and no XML declaration, are taken', async () => {
    const stream = await TestStream.connect(server.c2sPort)
    stream.send(
      "<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' to='capulet.lit' version='1.0'>",
    )
    await stream.named('features')
    stream.send('</s:stream>')
    await stream.closed()
    expect(stream.ended).toBe(true)
  })

  it('a header that comes byte by byte is taken', async () => {
    const stream = await TestStream.connect(server.c2sPort)
    stream.socket.setNoDelay(true)
    for (const byte of GOOD) stream.send(byte)
    await stream.named('features')
    await stream.close()
  })
})

describe('§4.9.1.2: an error in the header comes after a header of the server', () => {
  const cases: [string, string | Buffer, string][] = [
    ['§4.9.3.7: no to', header("version='1.0'"), 'improper-addressing'],
    ['§4.9.3.6: an unknown to', header("to='verona.lit' version='1.0'"), 'host-unknown'],
    ['§4.9.3.6: a malformed to', header("to='@' version='1.0'"), 'host-unknown'],
    ['§4.9.3.6: an empty to', header("to='' version='1.0'"), 'host-unknown'],
    ['§4.9.3.25: no version', header("to='capulet.lit'"), 'unsupported-version'],
    ['§4.9.3.25: version 0.9', header("to='capulet.lit' version='0.9'"), 'unsupported-version'],
    ['§4.9.3.25: a version of words', header("to='capulet.lit' version='one'"), 'unsupported-version'],
    [
      '§4.9.3.10: the content namespace of servers',
      header("to='capulet.lit' version='1.0'", 'jabber:server'),
      'invalid-namespace',
    ],
    [
      '§4.9.3.10: no content namespace',
      `<?xml version='1.0'?><stream:stream xmlns:stream='http://etherx.jabber.org/streams' to='capulet.lit' version='1.0'>`,
      'invalid-namespace',
    ],
    [
      '§4.9.3.10: another stream namespace',
      header("to='capulet.lit' version='1.0'", 'jabber:client', 'urn:x'),
      'invalid-namespace',
    ],
    [
      '§4.9.3.1: another root element',
      "<stream:flow xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:client'>",
      'bad-format',
    ],
    [
      '§4.9.3.13: an undeclared prefix',
      "<stream:stream xmlns='jabber:client' to='capulet.lit' version='1.0'>",
      'not-well-formed',
    ],
    ['§4.9.3.13: no XML at all', 'GET / HTTP/1.1\r\nHost: capulet.lit\r\n\r\n', 'not-well-formed'],
    ['§4.9.3.13: an attribute twice', header("to='capulet.lit' to='capulet.lit'"), 'not-well-formed'],
    ['§4.9.3.18: a comment', '<!-- x -->', 'restricted-xml'],
    ['§4.9.3.18: a DTD', '<!DOCTYPE stream [<!ENTITY a "b">]>', 'restricted-xml'],
    ['§4.9.3.22: another encoding', "<?xml version='1.0' encoding='latin1'?>", 'unsupported-encoding'],
    ['§4.9.3.22: bytes that are not UTF-8', Buffer.from([0x3c, 0xff, 0xfe]), 'unsupported-encoding'],
    ['§4.9.3.14: a header without end', `<stream:stream a='${'x'.repeat(20_000)}`, 'policy-violation'],
  ]
  it.each(cases)('%s', async (_name, text, condition) => {
    const error = await refused(text)
    expect(error.condition).toBe(condition)
    expect(error.header.attrs.id).toBeTruthy()
    expect(error.header.attrs.xmlns).toBe('jabber:client')
    expect(error.header.attrs.from === undefined || error.header.attrs.from === 'capulet.lit').toBe(true)
  })
})

describe('errors within the stream, each with its text', () => {
  const cases: [string, string | Buffer, string][] = [
    ['§4.9.3.12: a message before authentication', "<message to='a@capulet.lit'/>", 'not-authorized'],
    [
      '§4.9.3.12: an IQ before authentication',
      "<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
      'not-authorized',
    ],
    [
      '§4.9.3.12: binding before authentication',
      "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
      'not-authorized',
    ],
    ['§4.9.3.24: no stanza', '<hello/>', 'unsupported-stanza-type'],
    ['§4.9.3.24: an element of a strange namespace', "<a xmlns='urn:x'/>", 'unsupported-stanza-type'],
    [
      'an element named as an event of IQs',
      "<bind xmlns='iq/urn:ietf:params:xml:ns:xmpp-bind' type='set'/>",
      'unsupported-stanza-type',
    ],
    ['§4.9.3.2: a prefix on a stanza', "<c:message xmlns:c='jabber:client'/>", 'bad-namespace-prefix'],
    ['§4.9.3.13: tags that do not fit', '<a><b></a></b>', 'not-well-formed'],
    ['§4.9.3.18: a processing instruction', '<?php x ?>', 'restricted-xml'],
    ['§4.9.3.18: an entity of its own', '<message>&lol;</message>', 'restricted-xml'],
    ['§4.9.3.1: text between stanzas', 'hello', 'bad-format'],
    ['§4.9.3.22: bytes that are not UTF-8', Buffer.from([0x3c, 0x61, 0xc0, 0xaf]), 'unsupported-encoding'],
    [
      '§4.9.3.14: an element that never ends',
      `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>${'A'.repeat(11_000)}`,
      'policy-violation',
    ],
    ['§4.9.3.14: elements that never end', '<a>'.repeat(11), 'policy-violation'],
    [
      '§4.9.3.14: attributes without end',
      `<a ${Array.from({ length: 21 }, (_, i) => `a${i}=''`).join(' ')}/>`,
      'policy-violation',
    ],
    ['§4.9.3.14: a name that is too long', `<${'a'.repeat(300)}/>`, 'policy-violation'],
  ]
  it.each(cases)('%s', async (_name, text, condition) => {
    const stream = await opened(server.c2sPort)
    stream.send(text)
    const error = await stream.streamError()
    expect({ ...error, text: error.text !== '' }).toEqual({ condition, text: true })
    await stream.closed()
    expect(stream.ended).toBe(true)
    expect(stream.text.endsWith('</stream:stream>')).toBe(true)
  })

  it('the error is said once, and nothing after it is worked on', async () => {
    const stream = await opened(server.c2sPort)
    stream.send('<hello/><hello/><a><b></a></stream:stream>')
    await stream.closed()
    expect(stream.text.match(/<stream:error/g)).toHaveLength(1)
    expect(stream.text.match(/<\/stream:stream>/g)).toHaveLength(1)
  })

  it('§4.9.3.4: logging in takes too long', async () => {
    const slow = await startServer({ virtualHosts: { 'capulet.lit': {} }, c2s_timeout: 0.3 })
    const streams = [await TestStream.connect(slow.c2sPort), await opened(slow.c2sPort)]
    for (const stream of streams) {
      expect((await stream.streamError()).condition).toBe('connection-timeout')
      await stream.closed()
      expect(stream.ended).toBe(true)
    }
    await slow.stop()
  })

  it('a login without a time limit is possible', async () => {
    const patient = await startServer({ virtualHosts: { 'capulet.lit': {} }, c2s_timeout: 'never' as never })
    const stream = await opened(patient.c2sPort)
    await stream.close()
    expect(troubles(patient)).toEqual([])
    await patient.stop()
  })

  it('§4.9.3.20: the server stops', async () => {
    const short = await startServer({ virtualHosts: { 'capulet.lit': {} } })
    const stream = await opened(short.c2sPort)
    const error = stream.streamError()
    await short.stop()
    expect((await error).condition).toBe('system-shutdown')
  })
})

describe('after authentication', () => {
  it('another host can not be had (§4.9.3.6)', async () => {
    const two = await startServer({ virtualHosts: { 'capulet.lit': {}, 'montague.lit': {} } }, [
      'juliet@capulet.lit',
    ])
    const stream = await opened(two.c2sPort)
    stream.send(
      `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${Buffer.from('\0juliet\0pw').toString('base64')}</auth>`,
    )
    await stream.named('success')
    stream.restart()
    await stream.open("to='montague.lit' version='1.0'")
    expect((await stream.streamError()).condition).toBe('host-unknown')
    await stream.closed()
    await two.stop()
  })

  it('§4.9.3.9: a header from somebody else gives invalid-from', async () => {
    const stream = await opened(server.c2sPort)
    stream.send(
      `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${Buffer.from('\0juliet\0pw').toString('base64')}</auth>`,
    )
    await stream.named('success')
    stream.restart()
    await stream.open("to='capulet.lit' version='1.0' from='romeo@capulet.lit'")
    expect((await stream.streamError()).condition).toBe('invalid-from')
    await stream.closed()
  })

  it('a stanza may be far larger and deeper than before', async () => {
    const stream = await authenticated(server.c2sPort, 'juliet')
    const bound = await stream.ask(
      "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
    )
    stream.jid = bound.getChild('bind')!.getChildText('jid')!
    stream.send(`<message to='${stream.jid}'><body>${'x'.repeat(200_000)}</body></message>`)
    expect((await stream.named('message')).getChildText('body')).toHaveLength(200_000)
    stream.send(`<message to='${stream.jid}'>${'<a>'.repeat(100)}${'</a>'.repeat(100)}</message>`)
    await stream.named('message')
    await stream.close()
  })

  it.each([
    ['bytes', `<message><body>${'x'.repeat(300_000)}`],
    ['depth', `<message>${'<a>'.repeat(200)}`],
    ['attributes', `<message ${Array.from({ length: 200 }, (_, i) => `a${i}=''`).join(' ')}>`],
  ])('§4.9.3.14: the limit of %s is kept', async (_name, text) => {
    const stream = await authenticated(server.c2sPort, 'juliet')
    stream.send(text)
    expect((await stream.streamError()).condition).toBe('policy-violation')
    await stream.closed()
  })
})
