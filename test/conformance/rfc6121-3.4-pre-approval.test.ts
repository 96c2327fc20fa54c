/**
 * RFC 6121 §3.4, rule by rule: pre-approval. In each state: rfc6121-3-states.test.ts. Over several processes:
 * rfc6121-cluster.test.ts.
 *
 * Not here, because it is a client's to keep: §3.4.1 (it pre-approves only where that is announced). §3.4.2 leaves open
 * whether the approval is remembered when it has been used; it is not.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { login, TestStream } from '../shared/client.ts'
import {
  enter,
  getItem,
  sendPresence,
  setRoster,
  settled,
  stateIn,
  subscribe,
  taken,
} from '../shared/im-client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { describeStored } from '../shared/server-storages.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`
const NURSE = `nurse@${HOST}`

let server: TestServer
const streams: TestStream[] = []

async function connect(jid: string, presence?: string): Promise<TestStream> {
  const stream = await enter(server.c2sPort, jid, presence)
  streams.push(stream)
  return stream
}

const all = (...some: TestStream[]) => settled(HOST, ...some)
const isOf = (type: string) => (element: Element) => element.is('presence') && element.attrs.type === type

beforeEach(async () => {
  server = await startServer({ virtualHosts: { [HOST]: {} } }, [JULIET, ROMEO, NURSE])
})

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
})

describeStored('3.4 pre-approval', (lasting) => {
  it('3.4 is announced to who has authenticated', async () => {
    const stream = await TestStream.connect(server.c2sPort)
    streams.push(stream)
    await stream.open(`to='${HOST}' version='1.0'`)
    expect((await stream.named('features')).getChild('sub')).toBeUndefined()
    const initial = Buffer.from('\0juliet\0pw').toString('base64')
    stream.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${initial}</auth>`)
    await stream.named('success')
    stream.restart()
    await stream.open(`to='${HOST}' version='1.0'`)
    expect((await stream.named('features')).getChild('sub', 'urn:xmpp:features:pre-approval')).toBeDefined()
  })

  it('3.4.2 it is noted, pushed, and not told to the contact', async () => {
    const [juliet, romeo] = [await connect(JULIET), await connect(ROMEO)]
    for (const stream of [juliet, romeo]) taken(stream)
    sendPresence(juliet, 'subscribed', `${ROMEO}/x`)
    sendPresence(juliet, 'subscribed', ROMEO)
    await all(juliet, romeo)
    expect(taken(juliet)).toEqual([`push ${ROMEO} none+approved`])
    expect(taken(romeo)).toEqual([])
  })

  it('3.4.2 the request is answered, and not delivered; both rosters agree', async () => {
    const [juliet, away] = [await connect(`${JULIET}/here`), await connect(`${JULIET}/away`, '')]
    const romeo = await connect(ROMEO)
    sendPresence(juliet, 'subscribed', ROMEO)
    await all(juliet, away, romeo)
    for (const stream of [juliet, away, romeo]) taken(stream)
    sendPresence(romeo, 'subscribe', JULIET)
    await all(romeo, juliet, away)
    for (const stream of [juliet, away]) expect(taken(stream)).toEqual([`push ${ROMEO} from`])
    expect(taken(romeo)).toEqual([
      `push ${JULIET} none+ask`,
      `subscribed ${JULIET}`,
      `push ${JULIET} to`,
      `available ${juliet.jid}`,
    ])
    // It was for one request: who gives the subscription up has to ask.
    sendPresence(romeo, 'unsubscribe', JULIET)
    await all(romeo, juliet)
    taken(juliet)
    sendPresence(romeo, 'subscribe', JULIET)
    await all(romeo, juliet)
    expect(taken(juliet)).toEqual([`subscribe ${ROMEO}`])
  })

  it('3.4.2 it holds for an account that is offline, and across a restart', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'legate-approvals-'))
    try {
      await server.stop()
      const options = { virtualHosts: { [HOST]: {} }, ...lasting, data_path: folder }
      server = await startServer(options, [JULIET, ROMEO])
      const juliet = await connect(JULIET)
      sendPresence(juliet, 'subscribed', ROMEO)
      await juliet.settled()
      for (const stream of streams.splice(0)) await stream.destroy()
      await server.stop()
      server = await startServer(options)
      const romeo = await connect(ROMEO)
      sendPresence(romeo, 'subscribe', JULIET)
      await romeo.next(isOf('subscribed'))
      expect(stateIn(await getItem(await connect(JULIET), ROMEO))).toBe('from')
    } finally {
      for (const stream of streams.splice(0)) await stream.destroy()
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('3.4.2 it can be taken back, by "unsubscribed" or with the item; the request is delivered then', async () => {
    const [juliet, romeo, nurse] = [await connect(JULIET), await connect(ROMEO), await connect(NURSE)]
    for (const contact of [ROMEO, NURSE]) sendPresence(juliet, 'subscribed', contact)
    await all(juliet, romeo, nurse)
    for (const stream of [juliet, romeo, nurse]) taken(stream)
    sendPresence(juliet, 'unsubscribed', ROMEO)
    await setRoster(juliet, `<item jid='${NURSE}' subscription='remove'/>`)
    await all(juliet, romeo, nurse)
    expect(taken(juliet)).toEqual([`push ${ROMEO} none`, `push ${NURSE} remove`])
    expect([taken(romeo), taken(nurse)]).toEqual([[], []])
    sendPresence(romeo, 'subscribe', JULIET)
    sendPresence(nurse, 'subscribe', JULIET)
    await all(romeo, nurse, juliet)
    expect(taken(juliet).sort()).toEqual([`subscribe ${NURSE}`, `subscribe ${ROMEO}`])
  })

  it('3.4.2 who has asked already is approved at once, and only that', async () => {
    const [juliet, romeo] = [await connect(JULIET), await connect(ROMEO)]
    await subscribe(HOST, romeo, juliet)
    expect((await getItem(juliet, ROMEO))?.attrs).toMatchObject({ subscription: 'from' })
    taken(juliet)
    sendPresence(juliet, 'subscribed', ROMEO)
    await all(juliet, romeo)
    expect(taken(juliet)).toEqual([])
    expect((await getItem(juliet, ROMEO))?.attrs.approved).toBeUndefined()
  })

  it('3.4.2 two who have approved each other see each other as soon as both have asked', async () => {
    const [juliet, romeo] = [await connect(JULIET), await connect(ROMEO)]
    sendPresence(juliet, 'subscribed', ROMEO)
    sendPresence(romeo, 'subscribed', JULIET)
    await all(juliet, romeo)
    sendPresence(juliet, 'subscribe', ROMEO)
    sendPresence(romeo, 'subscribe', JULIET)
    await all(juliet, romeo)
    expect([stateIn(await getItem(juliet, ROMEO)), stateIn(await getItem(romeo, JULIET))]).toEqual([
      'both',
      'both',
    ])
    expect(taken(juliet)).toContain(`available ${romeo.jid}`)
    expect(taken(romeo)).toContain(`available ${juliet.jid}`)
  })

  it('3.4.2 it is not for who asks as somebody else', async () => {
    const juliet = await connect(JULIET)
    sendPresence(juliet, 'subscribed', ROMEO)
    await juliet.settled()
    const nurse = await login(server.c2sPort, NURSE)
    streams.push(nurse)
    nurse.send(`<presence from='${ROMEO}' type='subscribe' to='${JULIET}'/>`)
    expect((await nurse.streamError()).condition).toBe('invalid-from')
    await juliet.settled()
    expect(stateIn(await getItem(juliet, ROMEO))).toBe('none+approved')
  })
})
