/** What the server learns of its clients by their entity capabilities, over real sockets (XEP-0115 §5.4, §6.2). */

import { createHash } from 'node:crypto'
import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ClientCaps, ClientCapsByHost } from '../../plugins/disco/index.ts'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { troubles } from '../shared/streams.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const NS_CAPS = 'http://jabber.org/protocol/caps'
const NS_INFO = 'http://jabber.org/protocol/disco#info'
const NODE = 'http://code.google.com/p/exodus'
/** §5.2 */
const EXODUS_VER = 'QgayPKawpkPSDYmwT/WM94uAlu0='
const EXODUS = [
  `<identity category='client' name='Exodus 0.9.1' type='pc'/>`,
  ...['caps', 'disco#info', 'disco#items', 'muc'].map((name) =>
    feature(`http://jabber.org/protocol/${name}`),
  ),
].join('')
const MUC = 'http://jabber.org/protocol/muc'

let server: TestServer
const streams: TestStream[] = []

beforeEach(async () => {
  server = await startServer({ virtualHosts: { [HOST]: {} } }, [JULIET, `romeo@${HOST}`])
})

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  expect(troubles(server)).toEqual([])
  await server.stop()
})

function feature(name: string): string {
  return `<feature var='${name}'/>`
}

const hashOf = (text: string, name = 'sha1') => createHash(name).update(text).digest('base64')

/** A client whose presence announces this. */
async function connect(jid: string, ver = EXODUS_VER, hash = 'sha-1', node = NODE): Promise<TestStream> {
  const stream = await login(server.c2sPort, jid, { presence: false })
  streams.push(stream)
  await announce(stream, ver, hash, node)
  return stream
}

async function announce(stream: TestStream, ver: string, hash = 'sha-1', node = NODE): Promise<void> {
  const attrs = hash === '' ? '' : `hash='${hash}'`
  stream.send(`<presence><c xmlns='${NS_CAPS}' ${attrs} node='${node}' ver='${ver}'/></presence>`)
  await stream.settled()
}

const caps = (): ClientCaps =>
  server.server.sharedTable<ClientCapsByHost>('disco/client-caps', () => new Map()).get(HOST)!
const sessionOf = (stream: TestStream) => server.server.fullJids.get(stream.jid)!
const read = (stream: TestStream) => caps().read(sessionOf(stream))
const known = (stream: TestStream) => caps().get(sessionOf(stream))

const question = (stream: TestStream) =>
  stream.next(({ name, attrs }) => name === 'iq' && attrs.type === 'get' && attrs.from === HOST)
const answer = (stream: TestStream, asked: Element, content = EXODUS) =>
  stream.send(
    `<iq type='result' id='${asked.attrs.id}' to='${HOST}'><query xmlns='${NS_INFO}'>${content}</query></iq>`,
  )
const questionsTo = ({ text }: TestStream) => text.split(`<query xmlns='${NS_INFO}'`).length - 1

/** Reads the capabilities of a client that answers this. */
async function readAnswered(stream: TestStream, content = EXODUS) {
  const reading = read(stream)
  answer(stream, await question(stream), content)
  return reading
}

describe('a verification string that is right', () => {
  it('§6.2: is asked about with its node, once, and nobody is asked before a plugin wants to know', async () => {
    const juliet = await connect(JULIET)
    expect(questionsTo(juliet)).toBe(0)
    expect(known(juliet)).toBeUndefined()
    const reading = read(juliet)
    const asked = await question(juliet)
    expect(asked.attrs.to).toBe(juliet.jid)
    expect(asked.getChild('query', NS_INFO)!.attrs.node).toBe(`${NODE}#${EXODUS_VER}`)
    answer(juliet, asked)
    const found = await reading
    expect(found!.features.has(MUC)).toBe(true)
    expect(found!.identities).toEqual([{ category: 'client', type: 'pc', name: 'Exodus 0.9.1' }])
    expect(known(juliet)).toBe(found)
    expect(await read(juliet)).toBe(found)
    await juliet.settled()
    expect(questionsTo(juliet)).toBe(1)
  })

  it('§5.4 rule 3.8: holds for all who announce it, whatever their node', async () => {
    const juliet = await connect(JULIET)
    const found = await readAnswered(juliet)
    const romeo = await connect(`romeo@${HOST}`, EXODUS_VER, 'sha-1', 'urn:example:other')
    expect(await read(romeo)).toBe(found)
    await juliet.destroy()
    expect(known(romeo)).toBe(found)
    await romeo.settled()
    expect(questionsTo(romeo)).toBe(0)
  })

  it('is asked of one at a time', async () => {
    const [juliet, romeo] = [await connect(JULIET), await connect(`romeo@${HOST}`)]
    const readings = [read(juliet), read(romeo), read(juliet)]
    const asked = await question(juliet)
    await romeo.settled()
    expect(questionsTo(romeo)).toBe(0)
    answer(juliet, asked)
    for (const found of await Promise.all(readings)) expect(found!.features.has(MUC)).toBe(true)
  })

  it.each([
    ['sha-256', 'sha256'],
    ['sha-512', 'sha512'],
  ])('§5.1: by %s', async (hash, algorithm) => {
    const ver = hashOf(`client/pc//<${MUC}<`, algorithm)
    const juliet = await connect(JULIET, ver, hash)
    const found = await readAnswered(juliet, `<identity category='client' type='pc'/>${feature(MUC)}`)
    const romeo = await connect(`romeo@${HOST}`, ver, hash)
    expect(await read(romeo)).toBe(found)
    // The same string by another function is another one.
    await announce(romeo, ver, 'sha-1')
    expect(known(romeo)).toBeUndefined()
  })
})

describe('what is only taken for the one that says so', () => {
  it.each([
    ['§5.4 rule 3.9: a string that does not fit', EXODUS_VER, 'sha-1', EXODUS + feature('urn:example:more')],
    ['§5.4 rule 2: a hash function that is not known', hashOf(`${MUC}<`, 'md5'), 'md5', feature(MUC)],
    [
      'what could be another’s identity',
      hashOf(`client/pc//Psi<${MUC}<`),
      'sha-1',
      feature('client/pc//Psi') + feature(MUC),
    ],
    [
      'what could be another’s features in a form',
      hashOf(`${MUC}<urn:example:notify<urn:example:other<`),
      'sha-1',
      `${feature(MUC)}<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>urn:example:notify</value></field><field var='urn:example:other'/></x>`,
    ],
    [
      'what could be another’s identity with fewer parts',
      hashOf(`client/a/b//<${MUC}<`),
      'sha-1',
      `<identity category='client' type='a/b' name=''/>${feature(MUC)}`,
    ],
  ])('%s', async (_, ver, hash, content) => {
    const juliet = await connect(JULIET, ver, hash)
    const found = await readAnswered(juliet, content)
    expect(found!.features.has(MUC)).toBe(true)
    expect(known(juliet)).toBe(found)
    const romeo = await connect(`romeo@${HOST}`, ver, hash)
    expect(known(romeo)).toBeUndefined()
    const theirs = read(romeo)
    answer(romeo, await question(romeo), feature('urn:example:true'))
    expect([...(await theirs)!.features]).toEqual(['urn:example:true'])
    expect(known(juliet)).toBe(found)
  })

  it('a liar does not keep the one who is right waiting', async () => {
    const [liar, juliet] = [await connect(`romeo@${HOST}`), await connect(JULIET)]
    const readings = [read(liar), read(juliet)]
    answer(liar, await question(liar), feature('urn:example:lie'))
    answer(juliet, await question(juliet))
    const [theirs, hers] = await Promise.all(readings)
    expect([...theirs!.features]).toEqual(['urn:example:lie'])
    expect(hers!.features.has(MUC)).toBe(true)
    const other = await connect(`${JULIET}/other`)
    expect(known(other)).toBe(hers)
  })
})

describe('what says nothing', () => {
  it.each([
    ['§5.4 rule 3.3: an identity twice', `<identity category='client' type='pc'/>`.repeat(2) + feature(MUC)],
    ['§5.4 rule 3.4: a feature twice', EXODUS + feature(MUC)],
    [
      '§5.4 rule 3.5: a form twice',
      EXODUS +
        `<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>a</value></field></x>`.repeat(
          2,
        ),
    ],
    [
      '§5.4 rule 3.5: a form of two types',
      `${EXODUS}<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>a</value><value>b</value></field></x>`,
    ],
    ['an answer without end', EXODUS + feature('x'.repeat(40_000))],
  ])('%s', async (_, content) => {
    const juliet = await connect(JULIET)
    expect(await readAnswered(juliet, content)).toBeUndefined()
    // Nor is it asked again.
    expect(await read(juliet)).toBeUndefined()
    const romeo = await connect(`romeo@${HOST}`)
    expect((await readAnswered(romeo))!.features.has(MUC)).toBe(true)
  })

  it('an error', async () => {
    const juliet = await connect(JULIET)
    const reading = read(juliet)
    const asked = await question(juliet)
    juliet.send(`<iq type='error' id='${asked.attrs.id}' to='${HOST}'/>`)
    expect(await reading).toBeUndefined()
  })

  it('an answer of somebody who was not asked', async () => {
    const [juliet, romeo] = [await connect(JULIET), await connect(`romeo@${HOST}`, 'x')]
    const reading = read(juliet)
    const asked = await question(juliet)
    answer(romeo, asked, feature('urn:example:lie'))
    await romeo.settled()
    answer(juliet, asked)
    expect((await reading)!.features.has(MUC)).toBe(true)
  })

  it('a session that ends', async () => {
    const juliet = await connect(JULIET)
    const session = sessionOf(juliet)
    const reading = caps().read(session)
    await question(juliet)
    await juliet.destroy()
    expect(await reading).toBeUndefined()
    expect(await caps().read(session)).toBeUndefined()
  })

  it('§5.4 rule 1: a string without its hash function; a presence without any; none at all', async () => {
    const juliet = await connect(JULIET, EXODUS_VER, '')
    expect(await read(juliet)).toBeUndefined()
    juliet.send('<presence/>')
    await juliet.settled()
    expect(await read(juliet)).toBeUndefined()
    await announce(juliet, EXODUS_VER)
    await readAnswered(juliet)
    juliet.send(`<presence type='unavailable'/>`)
    await juliet.settled()
    expect(await read(juliet)).toBeUndefined()
  })
})

it('§6.1: who announces another string is another, also while it is asked', async () => {
  const juliet = await connect(JULIET)
  const reading = read(juliet)
  const asked = await question(juliet)
  const content = `<identity category='client' type='phone'/>${feature(MUC)}`
  const ver = hashOf(`client/phone//<${MUC}<`)
  await announce(juliet, ver)
  answer(juliet, asked)
  const again = await question(juliet)
  expect(again.getChild('query')!.attrs.node).toBe(`${NODE}#${ver}`)
  answer(juliet, again, content)
  expect((await reading)!.identities).toEqual([{ category: 'client', type: 'phone' }])
  await announce(juliet, EXODUS_VER)
  expect(known(juliet)!.identities).toMatchObject([{ type: 'pc' }])
})
