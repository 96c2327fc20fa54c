/** Messages for accounts that nobody is there for (XEP-0160). */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ChosenStorage } from '../../server/storage/chosen.ts'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { ALL_STORAGES, describeStoredIn } from '../shared/server-storages.ts'
import { holdMailbox } from '../shared/slow-mailbox.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`
const STATES = 'http://jabber.org/protocol/chatstates'

let server: TestServer
let romeo: TestStream
const streams: TestStream[] = []

beforeEach(async () => {
  const modules_enabled = [...USUAL_PLUGINS, 'offline']
  server = await startServer({ modules_enabled, offline_max_messages: 250, virtualHosts: { [HOST]: {} } }, [
    JULIET,
    ROMEO,
  ])
  romeo = await login(server.c2sPort, `${ROMEO}/orchard`)
  streams.push(romeo)
})

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
})

async function connect(presence: string, resource = 'balcony'): Promise<TestStream> {
  const stream = await login(server.c2sPort, `${JULIET}/${resource}`, { presence: false })
  streams.push(stream)
  if (presence !== '') stream.send(presence)
  await stream.settled()
  return stream
}

const write = (id: string, content = `<body>${id}</body>`, attrs = `type='chat'`, to = JULIET) =>
  romeo.send(`<message ${attrs} id='${id}' to='${to}'>${content}</message>`)

const got = (stream: TestStream) =>
  stream.received.filter(({ name }) => name === 'message').map(({ attrs }) => attrs.id)

describeStoredIn(ALL_STORAGES, 'offline messages', () => {
  it('§2: are kept, and given with the time when they came to the next resource that takes messages', async () => {
    const before = Math.floor(Date.now() / 1000) * 1000
    write('m1', '<body>&lt;3 &amp; more</body>')
    write('m2', '<body>hello</body>', '')
    write('m3', '<body>for a resource</body>', `type='chat'`, `${JULIET}/garden`)
    await romeo.settled()
    const juliet = await connect('<presence/>')
    const [first, second, third] = [
      await juliet.withId('m1'),
      await juliet.withId('m2'),
      await juliet.withId('m3'),
    ]
    expect(first.getChildText('body')).toBe('<3 & more')
    expect([first.attrs.from, first.attrs.to, first.attrs.type]).toEqual([romeo.jid, JULIET, 'chat'])
    expect([second.attrs.type, third.attrs.to]).toEqual([undefined, `${JULIET}/garden`])
    for (const message of [first, second, third]) {
      const delay = message.getChild('delay', 'urn:xmpp:delay')!
      expect(delay.attrs.from).toBe(HOST)
      expect(Date.parse(delay.attrs['stamp'] as string)).toBeGreaterThanOrEqual(before)
      expect(Date.parse(delay.attrs['stamp'] as string)).toBeLessThanOrEqual(Date.now())
    }
    await juliet.close()
    const again = await connect('<presence/>')
    expect(got(again)).toEqual([])
  })

  it('RFC 6120 §10.1: what was kept comes before what is new', async () => {
    let sent = 0
    let over = false
    const flood = (): void => {
      if (over) return
      write(`${++sent}`)
      setImmediate(flood)
    }
    try {
      for (let login = 0; login < 5; login++) {
        for (let number = 0; number < 20; number++) write(`${++sent}`)
        await romeo.settled()
        const juliet = await connect('')
        juliet.send('<presence/>')
        flood()
        await juliet.settled()
        over = true
        await romeo.settled()
        await juliet.close()
        over = false
        const numbers = got(juliet).map(Number)
        expect(numbers.length).toBeGreaterThan(10)
        expect(numbers).toEqual([...numbers].sort((one, other) => one - other))
      }
    } finally {
      over = true
    }
  })

  it('RFC 6120 §10.1: also where the session ends before it has been given that', async () => {
    for (const id of ['m1', 'm2']) write(id)
    await romeo.settled()
    const mailbox = holdMailbox()
    const first = await login(server.c2sPort, `${JULIET}/first`, { presence: false })
    first.send('<presence/>')
    await vi.waitUntil(() => mailbox.waiting > 0)
    for (const id of ['m3', 'm4']) write(id)
    write('q', '<body>?</body>', `type='chat'`, `${JULIET}/first`)
    await romeo.settled()
    server.server.fullJids.get(`${JULIET}/first`)!.close()
    await vi.waitUntil(() => first.ended)
    expect(got(first)).toEqual([])
    await first.destroy()
    mailbox.go()
    const second = await connect('<presence/>', 'second')
    write('m5')
    await romeo.settled()
    await second.settled()
    expect(got(second)).toEqual(['m1', 'm2', 'm3', 'm4', 'q', 'm5'])
    expect(got(romeo)).toEqual([])
  })

  it('§3: what two resources were to get, and neither has got, is kept, once', async () => {
    await romeo.settled()
    const mailbox = holdMailbox(2)
    const two: TestStream[] = []
    for (const name of ['one', 'two']) {
      const stream = await login(server.c2sPort, `${JULIET}/${name}`, { presence: false })
      streams.push(stream)
      stream.send('<presence/>')
      two.push(stream)
    }
    await vi.waitUntil(() => mailbox.waiting === 2)
    write('m1')
    await romeo.settled()
    for (const name of ['one', 'two']) server.server.fullJids.get(`${JULIET}/${name}`)!.close()
    for (const stream of two) await vi.waitUntil(() => stream.ended)
    mailbox.go()
    const juliet = await connect('<presence/>', 'three')
    await vi.waitUntil(() => got(juliet).length > 0)
    await juliet.settled()
    expect([...two.flatMap(got), ...got(juliet)]).toEqual(['m1'])
  })

  it('RFC 6120 §10.1: what goes to another resource in place of one that has ended keeps its order', async () => {
    write('m1')
    await romeo.settled()
    const mailbox = holdMailbox()
    const best = await login(server.c2sPort, `${JULIET}/best`, { presence: false })
    streams.push(best)
    best.send('<presence><priority>5</priority></presence>')
    await vi.waitUntil(() => mailbox.waiting > 0)
    const other = await login(server.c2sPort, `${JULIET}/other`, { presence: false })
    streams.push(other)
    other.send('<presence/>')
    await vi.waitUntil(() => server.server.fullJids.get(`${JULIET}/other`)!.available)
    write('m2')
    await romeo.settled()
    server.server.fullJids.get(`${JULIET}/best`)!.close()
    write('m3')
    mailbox.go()
    await romeo.settled()
    await vi.waitUntil(() => got(best).length + got(other).length === 3)
    expect([got(best), got(other)]).toEqual([[], ['m1', 'm2', 'm3']])
  })

  it('what is given to one who ends the stream in order is not given to the next one, too', async () => {
    const seen: string[] = []
    for (let round = 0; round < 20; round++) {
      write(`m${round}`)
      await romeo.settled()
      const juliet = await login(server.c2sPort, `${JULIET}/r${round}`, { presence: false })
      juliet.send('<presence/></stream:stream>')
      await juliet.closed()
      seen.push(...(got(juliet) as string[]))
    }
    const juliet = await connect('<presence/>')
    seen.push(...(got(juliet) as string[]))
    expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => `m${i}`))
  })

  it('§2: not to one with a negative priority, until it has another', async () => {
    write('m1')
    await romeo.settled()
    const juliet = await connect('<presence><priority>-1</priority></presence>')
    expect(got(juliet)).toEqual([])
    write('m2')
    await romeo.settled()
    juliet.send('<presence><priority>0</priority></presence>')
    await juliet.settled()
    expect(got(juliet)).toEqual(['m1', 'm2'])
    juliet.send('<presence><show>away</show></presence>')
    await juliet.settled()
    expect(got(juliet)).toEqual(['m1', 'm2'])
  })

  it('§3: what is of the moment only is not kept, nor what is not to be', async () => {
    write('headline', '<body>news</body>', `type='headline'`)
    write('groupchat', '<body>room</body>', `type='groupchat'`)
    expect((await romeo.withId('groupchat')).attrs.type).toBe('error')
    write('state', `<composing xmlns='${STATES}'/><thread>t</thread>`)
    write('hint', `<body>secret</body><no-store xmlns='urn:xmpp:hints'/>`)
    write('kept', `<body>text</body><active xmlns='${STATES}'/>`)
    write('wanted', `<composing xmlns='${STATES}'/><store xmlns='urn:xmpp:hints'/>`)
    await romeo.settled()
    const juliet = await connect('<presence/>')
    expect(got(juliet)).toEqual(['kept', 'wanted'])
    expect(got(romeo)).toEqual([])
  })

  it('§3: what is too much comes back, and so does what is for nobody', async () => {
    for (let i = 0; i < 251; i++) write(`m${i}`)
    const error = await romeo.withId('m250')
    expect(error.getChild('error')?.getChildElements()[0]?.getName()).toBe('service-unavailable')
    write('nobody', '<body>x</body>', `type='chat'`, `nobody@${HOST}`)
    expect((await romeo.withId('nobody')).attrs.type).toBe('error')
    const juliet = await connect('<presence/>')
    expect(got(juliet)).toEqual(Array.from({ length: 250 }, (_, i) => `m${i}`))
    write('now')
    expect((await juliet.withId('now')).getChild('delay')).toBeUndefined()
  })

  it('nobody locks an account out with more than a connection may leave unread', async () => {
    const long = `<body>${'x'.repeat(200_000)}</body>`
    for (let i = 0; i < 90; i++) {
      write(`m${i}`, long)
      if (i % 10 === 9) await romeo.settled()
    }
    const juliet = await connect('<presence/>')
    await juliet.settled()
    expect(got(juliet)).toEqual(Array.from({ length: 90 }, (_, i) => `m${i}`))
  })

  it('each comes once and in order, whenever its recipient comes and goes', async () => {
    let sent = 0
    const seen: string[] = []
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 10; i++) write(`m${sent++}`)
      const juliet = await connect('<presence/>', `r${round}`)
      for (let i = 0; i < 10; i++) write(`m${sent++}`)
      await romeo.settled()
      juliet.send(`<presence type='unavailable'/>`)
      await juliet.settled()
      seen.push(...(got(juliet) as string[]))
      await juliet.close()
    }
    const juliet = await connect('<presence/>')
    seen.push(...(got(juliet) as string[]))
    expect(seen).toEqual(Array.from({ length: sent }, (_, i) => `m${i}`))
    expect(got(romeo)).toEqual([])
  })
})

describe('without being named', () => {
  const OTHER = 'montague.lit'

  async function restart(options: object): Promise<void> {
    for (const stream of streams.splice(0)) await stream.destroy()
    await server.stop()
    const virtualHosts = { [HOST]: {}, [OTHER]: { modules_disabled: ['offline'] } }
    server = await startServer({ modules_disabled: [], virtualHosts, ...options }, [
      JULIET,
      ROMEO,
      `nurse@${OTHER}`,
    ])
    romeo = await login(server.c2sPort, `${ROMEO}/orchard`)
    streams.push(romeo)
  }

  it('it is there, as in Prosody, unless modules_disabled says otherwise', async () => {
    await restart({})
    write('m1')
    write('m2', '<body>x</body>', '', `nurse@${OTHER}`)
    expect((await romeo.withId('m2')).attrs.type).toBe('error')
    expect(got(await connect('<presence/>'))).toEqual(['m1'])
    await restart({ modules_disabled: ['offline'] })
    write('m3')
    expect((await romeo.withId('m3')).attrs.type).toBe('error')
  })

  it('its storage is not opened where nobody comes and nobody is missed', async () => {
    const opening = vi.spyOn(ChosenStorage.prototype, 'openArchive')
    try {
      await server.stop()
      server = await startServer({ modules_disabled: [], virtualHosts: { [HOST]: {} } })
      expect(server.server.modules.isLoaded(HOST, 'offline')).toBe(true)
      expect(opening).not.toHaveBeenCalled()
    } finally {
      opening.mockRestore()
    }
  })
})
