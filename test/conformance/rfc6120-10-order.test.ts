/** RFC 6120 §10.1 over real sockets: stanzas are worked on in the order in which they came, also where a handler waits. */

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { reply, type StanzaEvent } from '../../server/index.ts'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { troubles } from '../shared/streams.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`

let server: TestServer
let juliet: TestStream
let romeo: TestStream
const undo: (() => void)[] = []

beforeAll(async () => {
  server = await startServer(
    {
      virtualHosts: { [HOST]: {} },
      modules_enabled: [...USUAL_PLUGINS, 'private', 'offline', 'mam', 'carbons', 'blocklist'],
    },
    [JULIET, ROMEO],
  )
  juliet = await login(server.c2sPort, `${JULIET}/balcony`)
  romeo = await login(server.c2sPort, `${ROMEO}/orchard`)
  await juliet.settled()
  await romeo.settled()
})

afterEach(() => {
  for (const end of undo.splice(0)) end()
  juliet.received.length = 0
  romeo.received.length = 0
})

afterAll(async () => {
  await juliet.close()
  await romeo.close()
  expect(troubles(server)).toEqual([])
  await server.stop()
})

/** Has reading whether an account exists wait until it is told to go on. */
function slowStorage(): { asked: Promise<void>; goOn(): void } {
  const users = server.server.hosts.get(HOST)!.users!
  const read = users.exists.bind(users)
  let goOn!: () => void
  let told!: () => void
  const asked = new Promise<void>((resolve) => {
    told = resolve
  })
  const gate = new Promise<void>((resolve) => {
    goOn = resolve
  })
  users.exists = async (username) => {
    told()
    await gate
    return read(username)
  }
  undo.push(() => {
    goOn()
    users.exists = read
  })
  return { asked, goOn }
}

function handler(name: string, answer: (event: StanzaEvent) => unknown): void {
  undo.push(
    server.server.hosts.get(HOST)!.events.add(
      name,
      async (event: StanzaEvent) => {
        await answer(event)
        event.origin.send(reply(event.stanza))
        return true
      },
      0,
      'test',
    ),
  )
}

const PING = (id: string, to = HOST) =>
  `<iq type='get' id='${id}' to='${to}'><ping xmlns='urn:xmpp:ping'/></iq>`
const SLOW = (id: string) => `<iq type='get' id='${id}'><slow xmlns='urn:test'/></iq>`
const idsOf = (stream: TestStream) =>
  stream.received.map(({ attrs }) => attrs.id as string).filter((id) => id !== undefined)

describe('a storage that is read slowly', () => {
  it('what the same client sends after it waits: answers and deliveries keep their order', async () => {
    const { asked, goOn } = slowStorage()
    romeo.send(`<message id='o1' to='nobody@${HOST}'/>${PING('o2')}<message id='o3' to='${juliet.jid}'/>`)
    await asked
    // Others are not held up, also where what they ask for goes the same way.
    await juliet.settled()
    expect([idsOf(romeo), idsOf(juliet)]).toEqual([[], []])
    romeo.send(PING('o4'))
    goOn()
    await juliet.withId('o3')
    await romeo.settled()
    expect(idsOf(romeo)).toEqual(['o1', 'o2', 'o4'])
  })

  it('what comes for the same account from others meanwhile is not held back', async () => {
    const { asked, goOn } = slowStorage()
    romeo.send(`<message id='p1' to='nobody@${HOST}'/>`)
    await asked
    juliet.send(`<message id='p2' to='${romeo.jid}'/>`)
    await romeo.withId('p2')
    goOn()
    await romeo.withId('p1')
  })

  it('messages that are kept for later are handed over in order', async () => {
    await juliet.close()
    for (let number = 1; number <= 20; number++) {
      romeo.send(`<message id='q${number}' to='${JULIET}' type='chat'><body>${number}</body></message>`)
    }
    await romeo.settled()
    juliet = await login(server.c2sPort, `${JULIET}/balcony`)
    await juliet.withId('q20')
    expect(idsOf(juliet).filter((id) => id.startsWith('q'))).toEqual(
      Array.from({ length: 19 }, (_, index) => `q${index + 1}`),
    )
  })
})

describe('a handler that waits', () => {
  it('for long before one that waits for a short time: they are answered in order', async () => {
    const waits = [40, 0, 20, 1, 10]
    handler('iq-get/self/urn:test:slow', async () => {
      await new Promise((resolve) => setTimeout(resolve, waits.shift()))
    })
    const ids = ['r1', 'r2', 'r3', 'r4', 'r5']
    romeo.send(ids.map((id, index) => SLOW(id) + PING(`${id}-${index}`)).join(''))
    await romeo.settled()
    expect(idsOf(romeo)).toEqual(ids.flatMap((id, index) => [id, `${id}-${index}`]))
  })

  it('whatever the kind of what follows, and in whatever pieces it comes', async () => {
    handler('iq-get/self/urn:test:slow', () => new Promise((resolve) => setTimeout(resolve, 10)))
    const text =
      SLOW('s1') +
      `<message id='s2' to='${juliet.jid}'/>` +
      `<presence id='s3' to='${juliet.jid}'/>` +
      `<iq type='set' id='s4'><query xmlns='jabber:iq:roster'><item jid='a@b.lit'/></query></iq>` +
      `<iq type='get' id='s5' to='${juliet.jid}'><x xmlns='urn:x'/></iq>` +
      SLOW('s6') +
      `<message id='s7' to='${JULIET}' type='chat'><body>x</body></message>`
    for (let at = 0; at < text.length; at += 7) romeo.send(text.slice(at, at + 7))
    await juliet.withId('s7')
    await romeo.settled()
    expect(idsOf(romeo).filter((id) => /^s\d$/.test(id))).toEqual(['s1', 's4', 's6'])
    expect(idsOf(juliet).filter((id) => /^s\d$/.test(id))).toEqual(['s2', 's3', 's5'])
  })

  it('and fails does not lose its place', async () => {
    handler('iq-get/self/urn:test:slow', async () => {
      await new Promise((resolve) => setTimeout(resolve, 10))
      throw new (await import('../../server/index.ts')).StanzaError('conflict')
    })
    romeo.send(SLOW('t1') + PING('t2') + SLOW('t3') + PING('t4'))
    await romeo.settled()
    expect(idsOf(romeo)).toEqual(['t1', 't2', 't3', 't4'])
  })
})

it('two clients’ stanzas for one another keep the order of each', async () => {
  const count = 200
  for (let number = 0; number < count; number++) {
    romeo.send(`<message id='u${number}' to='${juliet.jid}'/>`)
    juliet.send(`<message id='v${number}' to='${romeo.jid}'/>`)
  }
  await Promise.all([juliet.settled(), romeo.settled()])
  await Promise.all([juliet.settled(), romeo.settled()])
  expect(idsOf(juliet)).toEqual(Array.from({ length: count }, (_, number) => `u${number}`))
  expect(idsOf(romeo)).toEqual(Array.from({ length: count }, (_, number) => `v${number}`))
})
