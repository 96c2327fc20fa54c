/** Client state indication over real sockets (XEP-0352), and how it goes with stream management. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ServerOptions } from '../../server/config/index.ts'
import { login, TestStream } from '../shared/client.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { authenticate, type ManagedClient, manage, resume, until } from '../shared/stream-management.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`
const CSI = 'urn:xmpp:csi:0'
const DELAY = 'urn:xmpp:delay'
const COMPOSING = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"

let server: TestServer
let romeo: TestStream
let juliet: TestStream
let ids = 0

async function start(
  options: ServerOptions = {},
  plugins = ['csi_simple', 'smacks', 'offline'],
): Promise<void> {
  server = await startServer(
    { modules_enabled: [...USUAL_PLUGINS, ...plugins], virtualHosts: { [HOST]: {} }, ...options },
    [JULIET, ROMEO],
  )
  romeo = await login(server.c2sPort, `${ROMEO}/orchard`)
}

async function connect(): Promise<void> {
  juliet = await login(server.c2sPort, `${JULIET}/balcony`)
  await juliet.settled()
  juliet.received.length = 0
}

const inactive = (stream = juliet) => stream.send(`<inactive xmlns='${CSI}'/>`)
const active = (stream = juliet) => stream.send(`<active xmlns='${CSI}'/>`)

function say(content: string, type = 'chat', to = `${JULIET}/balcony`): string {
  const id = `m${++ids}`
  romeo.send(`<message id='${id}' to='${to}' type='${type}'>${content}</message>`)
  return id
}

/** Waits until the state has been seen, without anything being sent back. */
async function seen(stream = juliet): Promise<void> {
  stream.send(`<presence to='${romeo.jid}'><status>${++ids}</status></presence>`)
  await romeo.next(({ name, attrs }) => name === 'presence' && attrs.from === stream.jid)
}

/** What has come, as ids of messages and `SENDER's resource: status` of presence. */
function got(stream = juliet): string[] {
  const stanzas = stream.received.splice(0).filter(({ name }) => name !== 'stream:features')
  return stanzas.map((element) => {
    if (element.name !== 'presence') return element.attrs.id ?? element.name
    return `${element.attrs.from?.split('/')[1]}: ${element.getChildText('status') ?? element.attrs.type}`
  })
}

const show = (status: string) =>
  romeo.send(`<presence to='${JULIET}/balcony'><status>${status}</status></presence>`)

afterEach(async () => {
  await juliet?.destroy()
  await romeo.destroy()
  await server.stop()
})

describe('client state', () => {
  beforeEach(async () => {
    await start()
    await connect()
  })

  it('§4.1: is a feature after authentication, and not before', async () => {
    const stream = await authenticate(server.c2sPort, JULIET)
    expect((await stream.named('features')).getChild('csi', CSI)).toBeDefined()
    const first = await TestStream.connect(server.c2sPort)
    await first.open(`to='${HOST}' version='1.0'`)
    expect((await first.named('features')).getChild('csi')).toBeUndefined()
    first.send(`<inactive xmlns='${CSI}'/>`)
    expect((await first.streamError()).condition).toBe('unsupported-stanza-type')
    await stream.destroy()
    await first.destroy()
  })

  it('§5: a stream begins as active', async () => {
    show('here')
    say(COMPOSING)
    await romeo.settled()
    await juliet.settled()
    expect(got()).toEqual(['orchard: here', `m${ids}`])
  })

  it('§5.2: <active/> brings what was held back, in order and of presence the last, before what follows', async () => {
    inactive()
    await seen()
    show('one')
    const state = say(COMPOSING)
    show('two')
    const news = say('<body>news</body>', 'headline')
    show('three')
    await romeo.settled()
    expect(got()).toEqual([])
    active()
    await juliet.settled()
    const { received } = juliet
    for (const element of received) expect(element.getChildren('delay', DELAY)).toHaveLength(1)
    expect(got()).toEqual([state, news, 'orchard: three'])
    show('four')
    await romeo.settled()
    await juliet.settled()
    expect(got()).toEqual(['orchard: four'])
  })

  it.each([
    ['a body', 'chat', '<body>hi</body>'],
    ['a subject', 'groupchat', '<subject/>'],
    ['an error', 'error', '<error/>'],
    ['something encrypted', 'chat', "<encryption xmlns='urn:xmpp:eme:0'/>"],
    ['an invitation', 'normal', "<x xmlns='jabber:x:conference' jid='room@rooms.example'/>"],
    ['a call', 'chat', "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>"],
    ['a body with a prefix', 'chat', "<c:body xmlns:c='jabber:client'>hi</c:body>"],
  ])('%s comes at once, behind what was held back', async (_, type, content) => {
    inactive()
    await seen()
    show('one')
    const state = say(COMPOSING)
    await romeo.settled()
    expect(got()).toEqual([])
    const important = say(content, type)
    await juliet.withId(important)
    expect(got()).toEqual(['orchard: one', state])
  })

  it('IQs and requests come at once', async () => {
    inactive()
    await seen()
    romeo.send(`<iq type='get' id='q' to='${JULIET}/balcony'><query xmlns='urn:x'/></iq>`)
    await juliet.withId('q')
    romeo.send(`<presence type='subscribe' to='${JULIET}'/>`)
    await juliet.next(({ attrs }) => attrs.type === 'subscribe')
  })

  it('an end in order brings what was held back', async () => {
    inactive()
    await seen()
    show('one')
    await romeo.settled()
    await juliet.close()
    expect(got()).toEqual(['orchard: one'])
  })
})

describe('what is held back', () => {
  it('is no more than csi_queue_size', async () => {
    await start({ csi_queue_size: 3, csi_resume_inactive_delay: 600 })
    await connect()
    inactive()
    await seen()
    const sent = [say(COMPOSING), say(COMPOSING)]
    await romeo.settled()
    expect(got()).toEqual([])
    sent.push(say(COMPOSING))
    await juliet.withId(sent[2]!)
    expect(got()).toEqual(sent.slice(0, 2))
  })

  it('begins again some time after something important', async () => {
    await start({ csi_resume_inactive_delay: 1 })
    await connect()
    inactive()
    await seen()
    const important = say('<body>hi</body>')
    await juliet.withId(important)
    const follows = say(COMPOSING)
    await juliet.withId(follows)
    for (let i = 0; i < 100; i++) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      const state = say(COMPOSING)
      await romeo.settled()
      await new Promise((resolve) => setTimeout(resolve, 20))
      if (!got().includes(state)) return
    }
    throw new Error('nothing is held back any more')
  })

  it('is not what csi_important_payloads names', async () => {
    await start({ csi_important_payloads: ['{urn:x}alarm'] })
    await connect()
    inactive()
    await seen()
    say("<alarm xmlns='urn:y'/>")
    await romeo.settled()
    expect(got()).toEqual([])
    const alarm = say("<alarm xmlns='urn:x'/>")
    await juliet.withId(alarm)
  })

  it('is nothing without csi_simple', async () => {
    await start({}, ['csi'])
    await connect()
    inactive()
    await seen()
    const state = say(COMPOSING)
    await juliet.withId(state)
  })
})

describe('with stream management', () => {
  let client: ManagedClient

  beforeEach(async () => {
    await start()
    client = await manage(server.c2sPort, `${JULIET}/balcony`)
    juliet = client.stream
    juliet.received.length = 0
    client.acknowledge()
    inactive()
    await seen()
  })

  const hibernates = () => server.server.fullJids.get(juliet.jid)?.hibernating === true

  it('what is held back is counted when it is sent', async () => {
    const before = client.h
    show('one')
    say(COMPOSING)
    await romeo.settled()
    client.acknowledge()
    expect(await client.handled()).toBeGreaterThan(0)
    expect(client.h).toBe(before)
    active()
    await juliet.settled()
    client.acknowledge()
    await client.handled()
    // A ping's answer is the third.
    expect(client.h).toBe(before + 3)
  })

  it('an inactive client is not asked to acknowledge each message, an active one is', async () => {
    const { asked } = client
    const id = say('<body>hi</body>')
    await until(() => client.messages.includes(id))
    await client.handled()
    expect(client.asked).toBe(asked)
    active()
    await until(() => client.asked === asked + 1)
  })

  it('§5.3: a resumed stream is active, and has what was held back', async () => {
    show('one')
    const state = say(COMPOSING)
    await romeo.settled()
    await client.cut(hibernates)
    const body = say('<body>hi</body>')
    const later = say(COMPOSING)
    await romeo.settled()
    const back = await resume(server.c2sPort, client)
    juliet = back.stream
    const at = say(COMPOSING)
    await until(() => back.messages.length === 4)
    expect(got()).toEqual(['orchard: one', state, body, later, at])
    for (const element of back.stanzas) expect(element.getChildren('delay', DELAY).length).toBeLessThan(2)
  })

  it('§5.3: a stream that is resumed while it was thought alive is active, too', async () => {
    show('one')
    const state = say(COMPOSING)
    await romeo.settled()
    const back = await resume(server.c2sPort, client)
    juliet = back.stream
    const at = say(COMPOSING)
    await until(() => back.messages.length === 2)
    expect(got()).toEqual(['orchard: one', state, at])
  })
})
