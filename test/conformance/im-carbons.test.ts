/** Message carbons over real sockets (XEP-0280). */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`
const CARBONS = 'urn:xmpp:carbons:2'
const FORWARD = 'urn:xmpp:forward:0'

let server: TestServer
let romeo: TestStream
let balcony: TestStream
let chamber: TestStream
let ids = 0

async function connect(jid: string, carbons = true, priority = 0): Promise<TestStream> {
  const stream = await login(server.c2sPort, jid, { presence: false })
  stream.send(`<presence><priority>${priority}</priority></presence>`)
  if (carbons) await switched(stream, 'enable')
  return stream
}

async function switched(stream: TestStream, to: 'enable' | 'disable'): Promise<void> {
  const answer = await stream.ask(`<iq type='set' id='c${++ids}'><${to} xmlns='${CARBONS}'/></iq>`)
  expect(answer.attrs.type).toBe('result')
}

beforeEach(async () => {
  server = await startServer(
    { modules_enabled: [...USUAL_PLUGINS, 'carbons'], virtualHosts: { [HOST]: {} } },
    [JULIET, ROMEO],
  )
  romeo = await connect(`${ROMEO}/orchard`, false)
  balcony = await connect(`${JULIET}/balcony`, true, 5)
  chamber = await connect(`${JULIET}/chamber`)
})

afterEach(async () => {
  for (const stream of [romeo, balcony, chamber]) await stream.destroy()
  await server.stop()
})

const say = (from: TestStream, to: string, content = '<body>hi</body>', type = 'chat') =>
  from.send(`<message id='m${++ids}' to='${to}'${type === '' ? '' : ` type='${type}'`}>${content}</message>`)

/** What a stream has got, as `m1` for a message and `received m1` for a copy. */
async function got(stream: TestStream): Promise<string[]> {
  for (const one of [romeo, balcony, chamber]) if (!one.ended) await one.settled()
  const messages = stream.received.filter(({ name }) => name === 'message')
  stream.received.length = 0
  return messages.map((message) => {
    const copy = message.getChild('received', CARBONS) ?? message.getChild('sent', CARBONS)
    if (copy === undefined) return `${message.attrs.id}`
    expect([message.attrs.from, message.attrs.to]).toEqual([stream.jid.split('/')[0], stream.jid])
    const inner = copy.getChild('forwarded', FORWARD)!.getChildElements()[0] as Element
    expect([inner.getName(), inner.getNS()]).toEqual(['message', 'jabber:client'])
    expect(message.attrs.type).toBe(inner.attrs.type)
    return `${copy.getName()} ${inner.attrs.id}`
  })
}

describe('carbons', () => {
  it('§7: who does not get a message for the account gets a copy', async () => {
    say(romeo, `${JULIET}/balcony`)
    expect(await got(balcony)).toEqual([`m${ids}`])
    expect(await got(chamber)).toEqual([`received m${ids}`])
    say(romeo, JULIET)
    expect(await got(balcony)).toEqual([`m${ids}`])
    expect(await got(chamber)).toEqual([`received m${ids}`])
    // There is no such resource: it goes to the best one.
    say(romeo, `${JULIET}/garden`)
    expect(await got(balcony)).toEqual([`m${ids}`])
    expect(await got(chamber)).toEqual([`received m${ids}`])
    expect(await got(romeo)).toEqual([])
  })

  it('§8: what one resource sends, the others get a copy of', async () => {
    say(balcony, ROMEO, '<body>&lt;3</body>')
    const copy = await chamber.named('message')
    const message = copy.getChild('sent', CARBONS)!.getChild('forwarded', FORWARD)!.getChildElements()[0]!
    expect([message.attrs.from, message.attrs.to]).toEqual([balcony.jid, ROMEO])
    expect(message.getChildText('body')).toBe('<3')
    expect(await got(balcony)).toEqual([])
    expect(await got(romeo)).toEqual([`m${ids}`])
    // To the own account: the one has sent it, the other gets it, and both know it once.
    say(chamber, JULIET)
    expect(await got(balcony)).toEqual([`sent m${ids}`, `m${ids}`])
  })

  it('§4, §5: only for those that want them', async () => {
    await switched(chamber, 'disable')
    say(romeo, `${JULIET}/balcony`)
    say(balcony, ROMEO)
    expect(await got(chamber)).toEqual([])
    await switched(chamber, 'enable')
    say(romeo, `${JULIET}/balcony`)
    expect(await got(chamber)).toEqual([`received m${ids}`])
    const info = await romeo.ask(
      `<iq type='get' id='d${++ids}' to='${HOST}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>`,
    )
    expect(info.toString()).toContain(CARBONS)
  })

  it('§6, §9: not what is no conversation, is private, or is a copy already', async () => {
    const to = `${JULIET}/balcony`
    const message = `<forwarded xmlns='${FORWARD}'><message xmlns='jabber:client'/></forwarded>`
    say(romeo, to, '<body>news</body>', 'headline')
    say(romeo, to, '<body>room</body>', 'groupchat')
    say(romeo, to, `<event xmlns='http://jabber.org/protocol/pubsub#event'/>`, '')
    say(romeo, to, `<body>x</body><private xmlns='${CARBONS}'/>`)
    say(romeo, to, `<body>x</body><no-copy xmlns='urn:xmpp:hints'/>`)
    say(romeo, to, `<received xmlns='${CARBONS}'>${message}</received>`)
    say(romeo, to, `<body>x</body><x xmlns='http://jabber.org/protocol/muc#user'/>`)
    say(balcony, ROMEO, `<body>x</body><private xmlns='${CARBONS}'/>`)
    expect(await got(chamber)).toEqual([])
    expect(balcony.received.filter(({ name }) => name === 'message')).toHaveLength(7)
    balcony.received.length = 0
    say(romeo, to, '<body>normal</body>', '')
    say(romeo, to, `<received xmlns='urn:xmpp:receipts' id='x'/>`, 'normal')
    say(balcony, `room@${HOST}/nick`, `<body>x</body><x xmlns='http://jabber.org/protocol/muc#user'/>`)
    const copies = [`received m${ids - 2}`, `received m${ids - 1}`, `sent m${ids}`]
    // From two senders, in no promised order.
    expect((await got(chamber)).sort()).toEqual(copies.sort())
  })

  it('§6, §9: also where a namespace is written with references', async () => {
    const to = `${JULIET}/balcony`
    say(romeo, to, `<body>x</body><private xmlns='urn:xmpp:carbons&#58;2'/>`)
    say(romeo, to, `<body>x</body><h:no-copy xmlns:h='urn:xmpp&#x3a;hints'/>`)
    say(balcony, ROMEO, `<body>x</body><private xmlns='urn:xmpp:carbons&#58;2'/>`)
    expect(await got(chamber)).toEqual([])
    say(romeo, to, `<received xmlns='urn:xmpp&#58;receipts' id='x'/>`, 'normal')
    expect(await got(chamber)).toEqual([`received m${ids}`])
  })

  it('RFC 6121 §8.5.3.2.1: nobody gets a copy of what is refused', async () => {
    say(romeo, `${JULIET}/gone`, '<body>x</body>', 'normal')
    expect((await romeo.withId(`m${ids}`)).attrs.type).toBe('error')
    expect([await got(balcony), await got(chamber)]).toEqual([[], []])
  })

  it('§6.1: an error for a resource that is gone is copied to all of those that have a copy of its cause', async () => {
    const error = `<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>`
    say(romeo, `${JULIET}/gone`, error, 'error')
    await romeo.settled()
    const copies = [`received m${ids}`]
    expect([await got(balcony), await got(chamber)]).toEqual([copies, copies])
    await balcony.close()
    say(romeo, balcony.jid, error, 'error')
    expect(await got(chamber)).toEqual([`received m${ids}`])
  })

  it('one that is gone, or not available, is no reason for an error', async () => {
    await chamber.close()
    say(romeo, `${JULIET}/balcony`)
    expect(await got(balcony)).toEqual([`m${ids}`])
    chamber = await connect(`${JULIET}/chamber`)
    chamber.send(`<presence type='unavailable'/>`)
    await chamber.settled()
    say(romeo, `${JULIET}/balcony`)
    expect(await got(chamber)).toEqual([`received m${ids}`])
  })
})
