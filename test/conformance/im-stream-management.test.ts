/** Stream management over real sockets (XEP-0198). */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ServerOptions } from '../../server/config/index.ts'
import { Stanza, type StanzaEvent } from '../../server/index.ts'
import { login, TestStream } from '../shared/client.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { describeStored } from '../shared/server-storages.ts'
import { authenticate, type ManagedClient, manage, resume, SM, until } from '../shared/stream-management.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`
const STANZAS = 'urn:ietf:params:xml:ns:xmpp-stanzas'
const DELAY = 'urn:xmpp:delay'

let server: TestServer
let romeo: TestStream
let ids = 0

async function start(options: ServerOptions = {}, ...plugins: string[]): Promise<void> {
  server = await startServer(
    {
      modules_enabled: [...USUAL_PLUGINS, 'smacks', 'offline', ...plugins],
      virtualHosts: { [HOST]: {} },
      ...options,
    },
    [JULIET, ROMEO],
  )
  romeo = await login(server.c2sPort, `${ROMEO}/orchard`)
}

const juliet = (resource = 'balcony', options = {}) =>
  manage(server.c2sPort, `${JULIET}/${resource}`, options)
const again = (client: ManagedClient, h?: number) => resume(server.c2sPort, client, h)
const sessionOf = (jid: string) => server.server.fullJids.get(jid)
const cut = (client: ManagedClient) => client.cut(() => sessionOf(client.stream.jid)?.hibernating === true)

/** Romeo says something. @returns its id */
function say(to: string, type = 'chat', content = '<body>hi</body>'): string {
  const id = `m${++ids}`
  romeo.send(`<message id='${id}' to='${to}' type='${type}'>${content}</message>`)
  return id
}

async function answerTo(stream: TestStream, text: string): Promise<Element> {
  stream.send(text)
  return stream.next((element) => ['failed', 'enabled', 'resumed'].includes(element.getName()))
}

/** `failed: CONDITION`, and h if it is there. */
function failure(element: Element): string {
  expect(element.getName()).toBe('failed')
  expect(element.getNS()).toBe(SM)
  const condition = element.getChildElements()[0]
  expect(condition?.getNS()).toBe(STANZAS)
  const { h } = element.attrs
  return h === undefined ? condition!.getName() : `${condition!.getName()} ${h}`
}

/** Ids of the messages that a client gets next that has no stream management; ends with a ping. */
async function messagesOf(stream: TestStream): Promise<string[]> {
  await stream.settled()
  return stream.received.filter(({ name }) => name === 'message').map(({ attrs }) => attrs.id ?? '')
}

/** What romeo gets as errors, by id. */
async function errorsToRomeo(): Promise<string[]> {
  await romeo.settled()
  return romeo.received.filter(({ attrs }) => attrs.type === 'error').map(({ attrs }) => attrs.id ?? '')
}

afterEach(async () => {
  await romeo?.destroy()
  await server.stop()
})

describe('stream management', () => {
  beforeEach(() => start())

  it('§2: is a feature where a resource is to be bound, and not before', async () => {
    const stream = await authenticate(server.c2sPort, JULIET)
    const features = await stream.named('features')
    for (const xmlns of [SM, 'urn:xmpp:sm:2']) expect(features.getChild('sm', xmlns)).toBeDefined()
    const first = await TestStream.connect(server.c2sPort)
    await first.open(`to='${HOST}' version='1.0'`)
    expect((await first.named('features')).getChild('sm')).toBeUndefined()
    await stream.destroy()
    await first.destroy()
  })

  it('§3: <enable/> before a resource is bound, or a second time, fails, and nothing else', async () => {
    const stream = await authenticate(server.c2sPort, JULIET)
    await stream.named('features')
    expect(failure(await answerTo(stream, `<enable xmlns='${SM}'/>`))).toBe('unexpected-request')
    await stream.destroy()
    const client = await juliet()
    for (let i = 0; i < 100; i++) {
      expect(failure(await answerTo(client.stream, `<enable xmlns='${SM}' resume='1'/>`))).toBe(
        'unexpected-request',
      )
    }
    await client.stream.settled()
    await client.stream.destroy()
  })

  it('§3: acknowledgements without management fail, and nothing else', async () => {
    for (const text of [`<r xmlns='${SM}'/>`, `<a xmlns='${SM}' h='0'/>`]) {
      expect(failure(await answerTo(romeo, text))).toBe('unexpected-request')
    }
    await romeo.settled()
  })

  it('§3, §5: says whether a stream may be resumed, and for how long', async () => {
    const client = await juliet()
    expect(client.enabled.attrs).toMatchObject({ resume: 'true', max: '600' })
    expect(client.id.length).toBeGreaterThan(20)
    const shorter = await juliet('a', { attrs: "max='60'" })
    expect(shorter.enabled.attrs.max).toBe('60')
    const longer = await juliet('b', { attrs: "max='6000'" })
    expect(longer.enabled.attrs.max).toBe('600')
    const not = await juliet('c', { resume: false })
    expect(not.enabled.attrs).toEqual({ xmlns: SM })
    for (const { stream } of [client, shorter, longer, not]) await stream.destroy()
  })

  it('§4: tells what it has handled: stanzas since <enable/>, and nothing else', async () => {
    const client = await juliet('balcony', { presence: false })
    expect(await client.handled()).toBe(0)
    client.stream.send(
      `<presence/> <message to='${ROMEO}'/><iq type='get' id='x'><ping xmlns='urn:xmpp:ping'/></iq>`,
    )
    expect(await client.handled()).toBe(3)
    client.acknowledge()
    client.stream.send(' ')
    expect(await client.handled()).toBe(3)
    await client.stream.destroy()
  })

  it('§4: acknowledges what has been written, not before', async () => {
    const client = await juliet()
    const before = await client.handled()
    let written = (): void => {}
    const { events } = server.server.hosts.get(HOST)!
    const remove = events.add('pre-stanza', ({ origin, stanza }: StanzaEvent) => {
      if (stanza.name !== 'message') return
      const writing = {}
      // As another process would have it to write: IQs do not wait for that.
      origin.begin?.(writing, true)
      written = () => origin.end?.(writing)
    })
    client.stream.send(`<message to='${ROMEO}'/><r xmlns='${SM}'/>`)
    await client.stream.settled()
    expect(client.stream.received.some((element) => element.getName() === 'a')).toBe(false)
    remove()
    written()
    expect(Number((await client.stream.named('a')).attrs.h)).toBe(before + 1)
    await client.stream.destroy()
  })

  it('§4: what is acknowledged does not go back, whichever question is answered first', async () => {
    const client = await juliet()
    const before = await client.handled()
    const session = sessionOf(client.stream.jid)!
    const writing = {}
    session.begin(writing, true)
    client.stream.send(`<r xmlns='${SM}'/>`)
    await client.stream.settled()
    // What another process has done, and the next question, come in one piece over the bus.
    session.end(writing)
    session.receive(new Stanza('r', {}), SM)
    const answers = [await client.stream.named('a'), await client.stream.named('a')]
    expect(answers.map(({ attrs }) => Number(attrs.h))).toEqual([before + 1, before + 1])
    await client.stream.destroy()
  })

  it('§4: asks for acknowledgements, one at a time', async () => {
    const client = await juliet()
    client.answers = true
    client.acknowledge()
    await client.stream.settled()
    const before = client.asked
    say(client.stream.jid)
    await client.stream.named('message')
    await until(() => client.asked === before + 1)
    client.answers = false
    for (let i = 0; i < 10; i++) say(client.stream.jid)
    await romeo.settled()
    await client.stream.settled()
    expect(client.asked).toBe(before + 2)
    client.acknowledge(client.h - 3)
    await client.stream.settled()
    // More is to be acknowledged than it was asked for.
    expect(client.asked).toBe(before + 3)
    client.acknowledge(client.h - 2)
    await client.stream.settled()
    expect(client.asked).toBeLessThanOrEqual(before + 4)
    await client.stream.destroy()
  })

  it('§4: a client that acknowledges too little is not asked for ever', async () => {
    const client = await juliet()
    const h = client.h
    client.acknowledge(h)
    await client.stream.settled()
    say(client.stream.jid)
    await client.stream.named('message')
    client.acknowledge(h)
    await client.stream.settled()
    const { asked } = client
    // Nothing is sent to it meanwhile but what answers.
    for (let i = 0; i < 20; i++) client.acknowledge(h)
    expect(await client.handled()).toBeGreaterThan(0)
    expect(client.asked - asked).toBeLessThanOrEqual(1)
    await client.stream.destroy()
  })

  it.each([
    ['more than was sent', (h: number) => `${h + 1}`, 'undefined-condition'],
    ['less than before', (h: number) => `${h - 1}`, 'undefined-condition'],
    ['2^32', () => '4294967296', 'invalid-xml'],
    ['a negative number', () => '-1', 'invalid-xml'],
    ['no number', () => '0x10', 'invalid-xml'],
  ])('§6: to acknowledge %s ends the stream', async (_, wrong, condition) => {
    const client = await juliet()
    client.acknowledge()
    await client.stream.settled()
    client.acknowledge()
    client.stream.send(`<a xmlns='${SM}' h='${wrong(client.h)}'/>`)
    const error = await client.stream.named('error')
    expect(error.getChild(condition)).toBeDefined()
    if (condition === 'undefined-condition') {
      const detail = error.getChild('handled-count-too-high', SM)
      expect(detail?.attrs).toMatchObject({ h: wrong(client.h), 'send-count': `${client.h}` })
    }
    await client.stream.closed()
    expect(sessionOf(client.stream.jid)).toBeUndefined()
  })

  it('§4, §7: at an orderly end the client learns what was handled, and the session is gone', async () => {
    const client = await juliet()
    client.acknowledge()
    await client.stream.close()
    expect(client.stream.received.at(-1)?.getName()).toBe('a')
    expect(sessionOf(client.stream.jid)).toBeUndefined()
    const stream = await authenticate(server.c2sPort, JULIET)
    expect(failure(await answerTo(stream, `<resume xmlns='${SM}' previd='${client.id}' h='0'/>`))).toBe(
      'item-not-found',
    )
    await stream.destroy()
  })

  it('§4: what was not acknowledged at the end is kept for the next session, with its time, and no error is sent', async () => {
    const client = await juliet()
    const first = say(client.stream.jid)
    const second = say(JULIET)
    await until(() => client.messages.length === 2)
    client.acknowledge(client.h - 1)
    await client.stream.close()
    ;(await server.stop) === undefined
    const next = await login(server.c2sPort, `${JULIET}/next`)
    const message = await next.named('message')
    expect(message.attrs.id).toBe(second)
    expect(message.getChildren('delay', DELAY)).toHaveLength(1)
    expect(await messagesOf(next)).toEqual([])
    expect(await errorsToRomeo()).toEqual([])
    expect(first).not.toBe(second)
    await next.destroy()
  })
})

describeStored('resumption', () => {
  beforeEach(() => start())

  it.each(['cut', 'half-closed'])(
    '§5: a %s connection is resumed: nobody sees anything, nothing is lost, nothing comes twice',
    async (how) => {
      const client = await juliet()
      romeo.send(`<presence to='${client.stream.jid}'/>`)
      await until(() => client.stanzas.some(({ attrs }) => attrs.from === romeo.jid))
      client.acknowledge()
      await client.stream.settled()
      // Sent by the client, and handled.
      client.stream.send(`<message id='own' to='${romeo.jid}'/>`)
      expect((await romeo.named('message')).attrs.id).toBe('own')
      const handled = await client.handled()
      // One that arrives and is not acknowledged, one that does not arrive.
      const arrived = say(client.stream.jid)
      await until(() => client.messages.includes(arrived))
      if (how === 'cut') await cut(client)
      else {
        client.stream.socket.end()
        await until(() => sessionOf(client.stream.jid)?.hibernating === true)
        await client.stream.closed()
      }
      expect(client.stream.ended).toBe(false)
      const missed = [say(client.stream.jid), say(JULIET), say(client.stream.jid, 'normal')]
      await romeo.settled()
      const session = sessionOf(client.stream.jid)
      const back = await again(client)
      expect(sessionOf(client.stream.jid)).toBe(session)
      expect(session?.hibernating).toBe(false)
      expect(back.enabled.attrs).toMatchObject({ h: `${handled}`, previd: client.id })
      await until(() => back.messages.length === 3)
      expect(back.messages).toEqual(missed)
      back.stream.send(`<message id='later' to='${romeo.jid}'/>`)
      expect((await romeo.named('message')).attrs.id).toBe('later')
      expect(await back.handled()).toBe(handled + 1)
      const last = say(client.stream.jid)
      await until(() => back.messages.includes(last))
      expect(back.messages).toHaveLength(4)
      expect(
        romeo.received.filter(({ name }) => name === 'presence').map(({ attrs }) => attrs.type),
      ).not.toContain('unavailable')
      await back.stream.close()
    },
  )

  it('§5: what came and was not acknowledged comes again as it was; what came meanwhile says that it is late', async () => {
    const client = await juliet()
    const known = client.h
    say(client.stream.jid)
    await until(() => client.messages.length === 1)
    await cut(client)
    say(client.stream.jid)
    await romeo.settled()
    const back = await again(client, known)
    await until(() => back.messages.length === 2)
    const [sentAgain, late] = back.stanzas
    expect(sentAgain?.getChild('delay', DELAY)).toBeUndefined()
    expect(sentAgain?.toString()).toBe(client.stanzas.at(-1)?.toString())
    expect(late?.getChild('delay', DELAY)?.attrs.from).toBe(HOST)
    expect(late?.getChildText('body')).toBe('hi')
    await back.stream.close()
  })

  it('§5: a connection that is thought alive ends with a conflict, and its session goes on', async () => {
    const client = await juliet()
    client.acknowledge()
    await client.stream.settled()
    const session = sessionOf(client.stream.jid)
    const back = await again(client)
    expect((await client.stream.streamError()).condition).toBe('conflict')
    await client.stream.closed()
    expect(sessionOf(client.stream.jid)).toBe(session)
    const id = say(client.stream.jid)
    await until(() => back.messages.includes(id))
    await back.stream.settled()
    // And again, and again.
    const third = await again(back)
    const fourth = await again(third)
    await back.stream.closed()
    await third.stream.closed()
    const next = say(client.stream.jid)
    await until(() => fourth.messages.includes(next))
    expect(server.server.sessions.size).toBe(2)
    await fourth.stream.close()
  })

  it('§5: what is sent with <resume/> is worked on in the resumed session', async () => {
    const client = await juliet()
    client.acknowledge()
    const before = await client.handled()
    await cut(client)
    const stream = await authenticate(server.c2sPort, JULIET)
    stream.send(
      `<resume xmlns='${SM}' previd='${client.id}' h='${client.h}'/><message id='a' to='${romeo.jid}'/>` +
        `<message id='b' to='${romeo.jid}'/><r xmlns='${SM}'/>`,
    )
    expect((await stream.named('resumed')).attrs.h).toBe(`${before}`)
    expect((await stream.named('a')).attrs.h).toBe(`${before + 2}`)
    expect((await romeo.named('message')).attrs).toMatchObject({ id: 'a', from: client.stream.jid })
    expect((await romeo.named('message')).attrs).toMatchObject({ id: 'b', from: client.stream.jid })
    // What is not XML ends this connection, and with it the session.
    stream.send('<<')
    expect((await stream.streamError()).condition).toBe('not-well-formed')
    await stream.closed()
    expect(sessionOf(client.stream.jid)).toBeUndefined()
  })

  it('what is broken behind <resume/> in the same bytes ends the session', async () => {
    const client = await juliet()
    await cut(client)
    const stream = await authenticate(server.c2sPort, JULIET)
    stream.send(`<resume xmlns='${SM}' previd='${client.id}' h='0'/><<`)
    await stream.named('resumed')
    expect((await stream.streamError()).condition).toBe('not-well-formed')
    await stream.closed()
    expect(sessionOf(client.stream.jid)).toBeUndefined()
    expect(server.server.sessions.size).toBe(1)
  })

  it('a connection that is cut while a stanza is under way, and while it is sent things again, loses nothing', async () => {
    let client = await juliet()
    client.acknowledge()
    await client.stream.settled()
    const handled = await client.handled()
    client.stream.send(`<message id='whole' to='${romeo.jid}'/><message id='half' to='${romeo.jid}'><bo`)
    await romeo.named('message')
    await cut(client)
    const sent: string[] = []
    for (let i = 0; i < 100; i++)
      sent.push(say(client.stream.jid, 'chat', `<body>${'x'.repeat(5000)}</body>`))
    await romeo.settled()
    const got: string[] = []
    for (let round = 0; round < 4; round++) {
      const stream = await authenticate(server.c2sPort, JULIET)
      stream.send(`<resume xmlns='${SM}' previd='${client.id}' h='${client.h}'/>`)
      // It sees a part, and is gone.
      await stream.named('resumed')
      for (let i = 0; i < 10; i++) {
        const message = await stream.named('message')
        got.push(message.attrs.id!)
        client.h++
      }
      await stream.destroy()
      await until(() => sessionOf(client.stream.jid)?.hibernating === true)
    }
    client = await again(client)
    expect(client.enabled.attrs.h).toBe(`${handled + 1}`)
    await until(() => client.messages.length === 60)
    expect([...got, ...client.messages]).toEqual(sent)
    await client.stream.close()
  })

  it('a resumed session is asked for what it has not acknowledged', async () => {
    const client = await juliet()
    await cut(client)
    say(client.stream.jid)
    await romeo.settled()
    const back = await again(client)
    await until(() => back.messages.length === 1 && back.asked === 1)
    await back.stream.close()
  })

  it.each([
    ['no h', "previd='x'", 'bad-request'],
    ['an h that is none', "previd='x' h='soon'", 'bad-request'],
    ['no id', "h='0'", 'item-not-found'],
    ['an unknown id', "previd='AAAAAAAAAAAAAAAAAAAAAAAA' h='0'", 'item-not-found'],
    ['an id of 4 kB', `previd='${'A'.repeat(4000)}' h='0'`, 'item-not-found'],
    ['an id of a table', "previd='__proto__' h='0'", 'item-not-found'],
  ])('§5: <resume/> with %s fails, and a resource can be bound then', async (_, attrs, condition) => {
    const stream = await authenticate(server.c2sPort, JULIET)
    expect(failure(await answerTo(stream, `<resume xmlns='${SM}' ${attrs}/>`))).toBe(condition)
    const bound = await stream.ask(
      `<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>`,
    )
    expect(bound.attrs.type).toBe('result')
    await stream.destroy()
  })

  it('only the account itself resumes its session', async () => {
    const client = await juliet()
    await cut(client)
    const other = await authenticate(server.c2sPort, ROMEO)
    const text = `<resume xmlns='${SM}' previd='${client.id}' h='0'/>`
    expect(failure(await answerTo(other, text))).toBe('item-not-found')
    expect(failure(await answerTo(romeo, text))).toBe('unexpected-request')
    const stranger = await TestStream.connect(server.c2sPort)
    await stranger.open(`to='${HOST}' version='1.0'`)
    expect(failure(await answerTo(stranger, text))).toBe('unexpected-request')
    await other.destroy()
    await stranger.destroy()
    expect(sessionOf(client.stream.jid)?.hibernating).toBe(true)
    await (await again(client)).stream.close()
  })

  it('a counter that can not be is refused, and the session waits for a client that can count', async () => {
    const client = await juliet()
    await cut(client)
    const id = say(client.stream.jid)
    await romeo.settled()
    for (const h of [client.h + 100, 4_294_967_295]) {
      const stream = await authenticate(server.c2sPort, JULIET)
      stream.send(`<resume xmlns='${SM}' previd='${client.id}' h='${h}'/>`)
      expect((await stream.streamError()).condition).toBe('undefined-condition')
      await stream.closed()
    }
    const back = await again(client)
    await until(() => back.messages.includes(id))
    await back.stream.close()
  })

  it('two that resume at once: the later one has the session', async () => {
    const client = await juliet()
    await cut(client)
    const streams = await Promise.all([1, 2, 3].map(() => authenticate(server.c2sPort, JULIET)))
    for (const stream of streams) stream.send(`<resume xmlns='${SM}' previd='${client.id}' h='${client.h}'/>`)
    await Promise.all(streams.map((stream) => stream.named('resumed')))
    const open = await Promise.all(
      streams.map((stream) =>
        Promise.race([
          stream.closed().then(() => false),
          until(() => server.server.sessions.size === 2).then(() => true),
        ]),
      ),
    )
    expect(open.length).toBe(3)
    const session = sessionOf(client.stream.jid)
    expect(session?.destroyed).toBe(false)
    expect(session?.hibernating).toBe(false)
    for (const stream of streams) await stream.destroy()
  })

  it('counters go from 2^32 - 1 to zero', async () => {
    const client = await juliet()
    client.acknowledge()
    await client.stream.settled()
    const session = sessionOf(client.stream.jid) as unknown as {
      outlet: { queue: { acked: number }; base: number }
    }
    client.acknowledge()
    await client.stream.settled()
    // As if so many had come and gone before.
    client.acknowledge()
    const { outlet } = session
    const handled = await client.handled()
    outlet.base -= 2 ** 32 - 1 - handled
    expect(await client.handled()).toBe(2 ** 32 - 1)
    client.stream.send(`<message to='${ROMEO}'/><message to='${ROMEO}'/>`)
    expect(await client.handled()).toBe(1)
    outlet.queue.acked = 2 ** 32 - 1
    const first = [say(client.stream.jid), say(client.stream.jid)]
    await until(() => client.messages.length === 2)
    client.acknowledge(0)
    await client.stream.settled()
    await cut(client)
    const back = await again(client, 0)
    await until(() => back.messages.length === 1)
    expect(back.messages).toEqual([first[1]])
    expect(Number(back.enabled.attrs.h)).toBeLessThan(10)
    await back.stream.close()
  })
})

describeStored('the end of a session that waits', (lasting) => {
  const HIBERNATION = 1

  it('§5: after its time it is gone; what waits is kept or answered, and h is told who comes too late', async () => {
    await start({ smacks_hibernation_time: HIBERNATION })
    romeo.send(`<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='${JULIET}'/></query></iq>`)
    const client = await juliet()
    client.stream.send(`<presence to='${romeo.jid}'/>`)
    await romeo.next((element) => element.attrs.from === client.stream.jid)
    client.acknowledge()
    const handled = await client.handled()
    await cut(client)
    const chat = say(client.stream.jid)
    const normal = say(JULIET, 'normal')
    const groupchat = say(client.stream.jid, 'groupchat')
    say(client.stream.jid, 'headline')
    say(client.stream.jid, 'error')
    romeo.send(`<iq type='get' id='get' to='${client.stream.jid}'><query xmlns='jabber:iq:version'/></iq>`)
    romeo.send(`<iq type='set' id='set' to='${client.stream.jid}'><query xmlns='urn:x'/></iq>`)
    romeo.send(`<iq type='result' id='result' to='${client.stream.jid}'/>`)
    const gone = await romeo.next((element) => element.attrs.type === 'unavailable')
    expect(gone.attrs.from).toBe(client.stream.jid)
    for (const id of ['get', 'set', groupchat]) {
      const error = await romeo.withId(id)
      expect(error.attrs).toMatchObject({ type: 'error', from: client.stream.jid })
      expect(error.getChild('error')?.getChild('service-unavailable', STANZAS)).toBeDefined()
    }
    await until(() => server.server.sessions.size === 1)
    const late = await authenticate(server.c2sPort, JULIET)
    await until(() => sessionOf(client.stream.jid) === undefined)
    await romeo.settled()
    const text = `<resume xmlns='${SM}' previd='${client.id}' h='${client.h}'/>`
    expect(failure(await answerTo(late, text))).toBe(`item-not-found ${handled}`)
    // Told once.
    expect(failure(await answerTo(late, text))).toBe('item-not-found')
    await late.destroy()
    const next = await login(server.c2sPort, `${JULIET}/next`)
    const kept = [await next.named('message'), await next.named('message')]
    expect(kept.map(({ attrs }) => attrs.id)).toEqual([chat, normal])
    for (const message of kept) expect(message.getChildren('delay', DELAY)).toHaveLength(1)
    expect(await messagesOf(next)).toEqual([])
    expect(await errorsToRomeo()).toEqual([])
    await next.destroy()
  })

  it('without resumption a lost connection ends the session, and what was not acknowledged is kept', async () => {
    await start()
    const client = await juliet('balcony', { resume: false })
    client.acknowledge()
    const id = say(client.stream.jid)
    await until(() => client.messages.includes(id))
    await client.stream.destroy()
    await until(() => sessionOf(client.stream.jid) === undefined)
    const next = await login(server.c2sPort, `${JULIET}/next`)
    expect((await next.named('message')).attrs.id).toBe(id)
    await next.destroy()
  })

  it('other resources get what was not acknowledged, if they have not had it', async () => {
    await start({ smacks_hibernation_time: HIBERNATION }, 'carbons')
    const client = await juliet()
    const carbons = await login(server.c2sPort, `${JULIET}/carbons`)
    await carbons.ask(`<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>`)
    client.acknowledge()
    await cut(client)
    // Later than the copies were asked for, by the clock.
    const now = Date.now()
    await until(() => Date.now() > now)
    say(client.stream.jid)
    expect((await carbons.named('message')).getChild('received')).toBeDefined()
    await until(() => sessionOf(client.stream.jid) === undefined)
    await sessionEnd()
    expect(await messagesOf(carbons)).toEqual([])
    await carbons.destroy()

    const second = await juliet()
    const plain = await login(server.c2sPort, `${JULIET}/plain`)
    await plain.settled()
    await cut(second)
    const id = say(second.stream.jid)
    const message = await plain.named('message')
    expect(message.attrs.id).toBe(id)
    expect(message.getChild('delay', DELAY)).toBeDefined()
    await plain.destroy()
  })

  it('a message for the account that all of the best resources had is not had twice', async () => {
    await start({ smacks_hibernation_time: 3 })
    const client = await juliet()
    const other = await login(server.c2sPort, `${JULIET}/other`)
    await other.settled()
    await cut(client)
    // Presence is known to the second.
    await new Promise((resolve) => setTimeout(resolve, 2100))
    const id = say(JULIET)
    expect((await other.named('message')).attrs.id).toBe(id)
    await until(() => sessionOf(client.stream.jid) === undefined)
    await sessionEnd()
    expect(await messagesOf(other)).toEqual([])
    await other.destroy()
  })

  it('nor if that one has been away since, or both end at the same moment', async () => {
    await start()
    const [one, two] = [await juliet(), await juliet('garden')]
    const other = await login(server.c2sPort, `${JULIET}/other`)
    await other.settled()
    for (const client of [one, two]) {
      client.acknowledge()
      await client.stream.settled()
      await cut(client)
    }
    const now = Date.now()
    await until(() => Date.now() > now + 1)
    const had = say(JULIET)
    expect((await other.named('message')).attrs.id).toBe(had)
    const since = Date.now()
    await until(() => Date.now() > since)
    other.send('<presence><show>away</show><priority>-1</priority></presence>')
    other.send('<presence><show>xa</show><priority>0</priority></presence>')
    await other.settled()
    const first = sessionOf(one.stream.jid)!
    first.close()
    await first.afterwork
    expect(await messagesOf(other)).toEqual([])
    await other.close()
    const again = await juliet()
    again.acknowledge()
    await again.stream.settled()
    await cut(again)
    const then = Date.now()
    await until(() => Date.now() > then + 1)
    const late = say(JULIET)
    await romeo.settled()
    const ending = [sessionOf(again.stream.jid)!, sessionOf(two.stream.jid)!]
    for (const session of ending) session.close()
    for (const session of ending) await session.afterwork
    const next = await login(server.c2sPort, `${JULIET}/next`)
    // Nobody has acknowledged the first one.
    expect(await messagesOf(next)).toEqual([had, late])
    await next.destroy()
  })

  it('who has a copy that it has not acknowledged answers for the message, when its recipient has ended', async () => {
    await start({}, 'carbons')
    const client = await juliet()
    const copied = await juliet('garden')
    await copied.stream.ask(`<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>`)
    for (const one of [client, copied]) {
      one.acknowledge()
      await one.stream.settled()
      await cut(one)
    }
    const [now] = [Date.now()]
    await until(() => Date.now() > now)
    const [lost, kept] = [say(client.stream.jid), say(client.stream.jid)]
    await romeo.settled()
    const first = sessionOf(client.stream.jid)!
    first.close()
    await first.afterwork
    // It has one of both, and ends without the other.
    const back = await again(copied)
    await until(() => back.messages.length === 2)
    back.acknowledge(back.stanzas.findIndex(({ name }) => name === 'message') + 1 + copied.h)
    await back.handled()
    const second = sessionOf(copied.stream.jid)!
    second.close()
    await second.afterwork
    const next = await login(server.c2sPort, `${JULIET}/next`)
    const message = await next.named('message')
    expect(message.attrs).toMatchObject({ id: kept, from: romeo.jid, to: client.stream.jid, type: 'chat' })
    expect(message.getChildren('delay', DELAY)).toHaveLength(1)
    expect(await messagesOf(next)).toEqual([])
    expect(lost).not.toBe(kept)
    expect(await errorsToRomeo()).toEqual([])
    await next.destroy()
  })

  it('what the archive has is no reason to tell its sender of an error', async () => {
    await start({
      smacks_hibernation_time: HIBERNATION,
      modules_enabled: [...USUAL_PLUGINS, 'smacks', 'mam'],
    })
    const client = await juliet()
    await cut(client)
    say(client.stream.jid)
    const hinted = say(client.stream.jid, 'chat', "<body>hi</body><no-store xmlns='urn:xmpp:hints'/>")
    await until(() => sessionOf(client.stream.jid) === undefined)
    await sessionEnd()
    expect(await errorsToRomeo()).toEqual([hinted])
  })

  it('too much for a session that waits ends it, and all of it is kept', async () => {
    await start({ smacks_max_queue_size: 5 })
    const client = await juliet()
    client.acknowledge()
    await client.stream.settled()
    await cut(client)
    const sent = Array.from({ length: 8 }, () => say(client.stream.jid))
    await until(() => sessionOf(client.stream.jid) === undefined)
    await romeo.settled()
    await sessionEnd()
    const next = await login(server.c2sPort, `${JULIET}/next`)
    const kept: string[] = []
    while (kept.length < sent.length) kept.push((await next.named('message')).attrs.id!)
    expect(kept).toEqual(sent)
    await next.destroy()
  })

  it('who has a connection and acknowledges nothing is ended, and all of it is kept', async () => {
    await start({ smacks_max_queue_size: 5 })
    const client = await juliet()
    client.acknowledge()
    await client.stream.settled()
    const sent = Array.from({ length: 60 }, () => say(client.stream.jid))
    expect((await client.stream.streamError()).condition).toBe('resource-constraint')
    await client.stream.closed()
    await romeo.settled()
    await sessionEnd()
    const next = await login(server.c2sPort, `${JULIET}/next`)
    const kept: string[] = []
    while (kept.length < sent.length) kept.push((await next.named('message')).attrs.id!)
    expect(kept).toEqual(sent)
    await next.destroy()
  })

  it('a client that binds the same resource anew gets what waits, once', async () => {
    await start({ conflict_resolve: 'kick_old' })
    const client = await juliet()
    client.acknowledge()
    await client.stream.settled()
    await cut(client)
    const sent = [say(client.stream.jid), say(JULIET)]
    await romeo.settled()
    const next = await login(server.c2sPort, client.stream.jid)
    expect([(await next.named('message')).attrs.id, (await next.named('message')).attrs.id]).toEqual(sent)
    expect(await messagesOf(next)).toEqual([])
    expect(server.server.sessions.size).toBe(2)
    await next.destroy()
  })

  it('of those that wait the oldest makes room: for another that waits, and for one that comes', async () => {
    await start({ smacks_max_hibernated_sessions: 2, max_resources: 3 })
    const clients = [await juliet('a'), await juliet('b'), await juliet('c')]
    for (const client of clients) await client.stream.destroy()
    await until(() => sessionOf(`${JULIET}/a`) === undefined)
    await until(() => sessionOf(`${JULIET}/c`)?.hibernating === true)
    const d = await login(server.c2sPort, `${JULIET}/d`)
    const e = await login(server.c2sPort, `${JULIET}/e`)
    expect([...server.server.fullJids.keys()].filter((jid) => jid.startsWith(JULIET)).sort()).toEqual([
      `${JULIET}/c`,
      `${JULIET}/d`,
      `${JULIET}/e`,
    ])
    const f = await login(server.c2sPort, `${JULIET}/f`)
    expect(sessionOf(`${JULIET}/c`)).toBeUndefined()
    await expect(login(server.c2sPort, `${JULIET}/g`)).rejects.toThrow('could not bind')
    for (const stream of [d, e, f]) await stream.destroy()
  })

  it('when the server stops, what waits is kept', async () => {
    await start(lasting)
    const { config } = server.server
    const waiting = await juliet('waiting')
    await cut(waiting)
    const there = await juliet('there')
    const sent = [say(waiting.stream.jid), say(there.stream.jid)]
    await until(() => there.messages.length === 1)
    await romeo.settled()
    const store = async () => {
      const archive = server.server.storage.openArchive<{ attrs: { id: string } }>(HOST, 'offline')
      return (await archive.find('juliet', {}, 10)).entries.map(({ value }) => value.attrs.id)
    }
    const { driver } = server.server as unknown as { driver: { close(): Promise<void> } }
    let kept: string[] = []
    const close = driver.close.bind(driver)
    driver.close = async () => {
      kept = await store()
      await close()
    }
    await server.server.stop()
    expect(kept.sort()).toEqual(sent.sort())
    expect(config).toBeDefined()
    await there.stream.destroy()
  })

  /** Has the next look at romeo's account wait. */
  function slowAccounts(): { asked: () => boolean; go: () => void } {
    const users = server.server.hosts.get(HOST)!.users!
    const exists = users.exists.bind(users)
    let go = (): void => {}
    let asked = false
    const gate = new Promise<void>((resolve) => {
      go = resolve
    })
    users.exists = async (username) => {
      asked = true
      await gate
      return exists(username)
    }
    return { asked: () => asked, go }
  }

  it('§4: what a handler is still at work on when the stream ends is not acknowledged, and what came before is', async () => {
    await start()
    const client = await juliet()
    const before = await client.handled()
    await romeo.close()
    const accounts = slowAccounts()
    client.stream.send(
      `<presence><show>away</show></presence><message to='${ROMEO}' type='chat'><body>x</body></message>`,
    )
    await until(accounts.asked)
    sessionOf(client.stream.jid)!.close()
    expect(Number((await client.stream.named('a')).attrs.h)).toBe(before + 1)
    accounts.go()
    await client.stream.destroy()
  })

  it('§5: who resumes while a handler is still at work is told of it when it is done', async () => {
    await start()
    const client = await juliet()
    const before = await client.handled()
    await romeo.close()
    const accounts = slowAccounts()
    client.stream.send(`<message to='${ROMEO}' type='chat' id='m'><body>x</body></message>`)
    await until(accounts.asked)
    client.stream.socket.resetAndDestroy()
    await until(() => sessionOf(client.stream.jid)!.hibernating)
    const resuming = again(client)
    const other = () => [...server.server.sessions].find(({ type }) => type === 'c2s_unbound')
    await until(() => other()?.released() !== undefined)
    const archive = server.server.storage.openArchive(HOST, 'offline')
    expect(await archive.count('romeo', {})).toBe(0)
    accounts.go()
    const resumed = await resuming
    expect(Number(resumed.enabled.attrs.h)).toBe(before + 1)
    expect(await archive.count('romeo', {})).toBe(1)
    await resumed.stream.destroy()
  })

  it('§5: nor sooner where the old connection is thought alive: that ends first, and no other session for it', async () => {
    await start({ smacks_max_hibernated_sessions: 1 })
    const [client, waits] = [await juliet(), await juliet('garden')]
    await cut(waits)
    await client.stream.settled()
    const before = await client.handled()
    await romeo.close()
    const accounts = slowAccounts()
    client.stream.send(`<message to='${ROMEO}' type='chat' id='m'><body>x</body></message>`)
    client.stream.send(`<message to='${ROMEO}' type='chat' id='n'><body>y</body></message>`)
    await until(accounts.asked)
    let resumed: ManagedClient | undefined
    const resuming = again(client).then((managed) => {
      resumed = managed
    })
    expect((await client.stream.streamError()).condition).toBe('conflict')
    await client.stream.closed()
    const other = [...server.server.sessions].find(({ type }) => type === 'c2s_unbound')!
    expect(other.released()).toBeDefined()
    // In which it would have been told.
    const third = await authenticate(server.c2sPort, JULIET)
    expect(resumed).toBeUndefined()
    accounts.go()
    await resuming
    // What came second was not worked on yet, and is sent again.
    expect(Number(resumed!.enabled.attrs.h)).toBe(before + 1)
    const archive = server.server.storage.openArchive(HOST, 'offline')
    expect(await archive.count('romeo', {})).toBe(1)
    expect(sessionOf(waits.stream.jid)?.hibernating).toBe(true)
    await resumed!.stream.settled()
    await resumed!.stream.destroy()
    await third.destroy()
  })

  it('§5: a handler that waits for a client who does not read is not waited for when that resumes', async () => {
    await start({}, 'mam')
    const sent = await writeMuch(20)
    const deaf = await juliet('deaf', { presence: false })
    deaf.answers = true
    deaf.stream.send('<presence/>')
    await until(() => deaf.messages.length === sent.length)
    deaf.acknowledge()
    await deaf.stream.settled()
    const session = sessionOf(deaf.stream.jid)!
    deaf.stream.socket.pause()
    for (let page = 1; page <= 10; page++) {
      deaf.stream.send(`<iq type='set' id='p${page}'><query xmlns='urn:xmpp:mam:2'/></iq>`)
    }
    await until(() => session.connection.drained() !== undefined)
    session.hold(session.connection.drained()!)
    expect(session.working).toBe(true)
    const resumed = await again(deaf)
    await resumed.stream.settled()
    expect(session.working).toBe(false)
    await resumed.stream.destroy()
    await deaf.stream.destroy()
  })

  /** Romeo writes more to the account than a session may leave unacknowledged. */
  async function writeMuch(count: number): Promise<string[]> {
    const sent: string[] = []
    for (let i = 0; i < count; i++) {
      sent.push(say(JULIET, 'chat', `<body>${'x'.repeat(200_000)}</body>`))
      if (i % 10 === 9) await romeo.settled()
    }
    await romeo.settled()
    return sent
  }

  it('nobody locks an account out with what waits for it: it comes as fast as it is acknowledged', async () => {
    await start()
    const sent = await writeMuch(50)
    const client = await juliet('balcony', { presence: false })
    client.answers = true
    client.stream.send('<presence/>')
    await until(() => client.messages.length >= sent.length || client.stream.ended)
    expect(client.messages).toEqual(sent)
    expect(await client.stream.settled()).toBeUndefined()
    await client.stream.destroy()
  })

  it('what waits and is not acknowledged holds up no other resource, and comes once', async () => {
    await start()
    const sent = await writeMuch(50)
    const silent = await juliet('silent', { presence: false, resume: false })
    silent.stream.send('<presence/>')
    await silent.stream.settled()
    expect(silent.messages.length).toBeLessThan(sent.length)
    const other = await juliet('other', { presence: false })
    other.answers = true
    other.stream.send('<presence/>')
    await until(() => silent.messages.length + other.messages.length >= sent.length)
    silent.stream.socket.resetAndDestroy()
    await until(() => other.messages.length >= sent.length)
    await other.stream.settled()
    expect([...other.messages].sort()).toEqual([...sent].sort())
    await other.stream.destroy()
  })

  it('what was on its way to a session that ends is not kept twice', async () => {
    await start()
    const sent = await writeMuch(50)
    const deaf = await juliet('deaf', { presence: false, resume: false })
    const session = sessionOf(deaf.stream.jid)!
    deaf.stream.socket.pause()
    deaf.stream.send('<presence/>')
    await until(() => session.available && session.released() !== undefined)
    await until(() => session.connection.waiting > 0 || session.released() === undefined)
    session.connection.destroy('gone')
    await until(() => session.destroyed)
    await session.afterwork
    const next = await juliet('next', { presence: false })
    next.answers = true
    next.stream.send('<presence/>')
    await until(() => next.messages.length >= sent.length)
    await next.stream.settled()
    expect([...next.messages].sort()).toEqual([...sent].sort())
    for (const { stream } of [deaf, next]) await stream.destroy()
  })

  it('nobody makes a page of the archive too long to be had', async () => {
    await start({}, 'mam')
    const sent = await writeMuch(50)
    const client = await juliet('balcony', { presence: false })
    client.answers = true
    const found: string[] = []
    let set = '<before/>'
    for (let page = 1, complete = false; !complete; page++) {
      const rsm = `<set xmlns='http://jabber.org/protocol/rsm'><max>50</max>${set}</set>`
      const answer = await client.stream.ask(
        `<iq type='set' id='p${page}'><query xmlns='urn:xmpp:mam:2'>${rsm}</query></iq>`,
      )
      const fin = answer.getChild('fin')!
      complete = fin.attrs.complete === 'true'
      const inner = (message: Element) =>
        message.getChild('result')!.getChild('forwarded')!.getChild('message')!
      const results = client.stanzas.splice(0).filter(({ name }) => name === 'message')
      expect(results.length).toBeGreaterThan(0)
      found.unshift(...results.map((message) => inner(message).attrs.id as string))
      set = `<before>${fin.getChild('set')!.getChildText('first')}</before>`
    }
    expect(found).toEqual(sent)
    await client.stream.destroy()
  })

  it('an account that is deleted or locked out leaves nothing that can be resumed', async () => {
    await start()
    const client = await juliet()
    await cut(client)
    const { endSessions } = await import('../../server/admin/end-sessions.ts')
    const ended = endSessions(server.server, server.server.hosts.get(HOST)!, 'juliet', 'password')
    expect(ended.count).toBe(1)
    await ended.gone
    expect(sessionOf(client.stream.jid)).toBeUndefined()
  })

  /** What the last session to end has left to do is done. */
  async function sessionEnd(): Promise<void> {
    const { lastWork } = server.server as unknown as { lastWork: Set<Promise<void>> }
    await Promise.all(lastWork)
  }
})
