/** Messages on behalf of a host and its accounts (XEP-0356 §5). */

import { describe, expect, it } from 'vitest'
import { connectComponent } from '../shared/client.ts'
import { conditionOf } from '../shared/delegation.ts'
import {
  HOST,
  innerMessage,
  JULIET,
  MONTAGUE,
  messageFor,
  NS_PRIVILEGE,
  NURSE,
  nothingFor,
  PUBSUB,
  privilegeStage,
  RIVAL,
  ROMEO,
  refusalOf,
} from '../shared/privilege.ts'

const play = privilegeStage({ message: 'outgoing' })
const isMessage = (element: { getName(): string }) => element.getName() === 'message'
const TO_ROMEO = { to: `${ROMEO}/orchard`, id: 'foo' }

describe('XEP-0356 §5.3: sending messages', () => {
  it('the example: a notification goes out as if Juliet had sent it', async () => {
    const event =
      "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='urn:tune'><item>" +
      "<tune xmlns='urn:tune'><title>Love &amp; Labor</title></tune></item></items></event>" +
      "<delay xmlns='urn:xmpp:delay' stamp='2014-11-25T14:34:32Z'/>"
    play.pubsub.send(messageFor(HOST, innerMessage({ from: JULIET, ...TO_ROMEO }, event)))
    const message = await play.romeo.next(isMessage)
    expect(message.attrs).toMatchObject({ from: JULIET, to: `${ROMEO}/orchard`, id: 'foo' })
    expect(message.getChild('event', 'http://jabber.org/protocol/pubsub#event')).toBeDefined()
    expect(message.getChild('delay', 'urn:xmpp:delay')).toBeDefined()
    expect(message.toString()).not.toContain(NS_PRIVILEGE)
    expect(message.toString()).not.toContain(PUBSUB)
  })

  it('§5.1: on behalf of the server itself', async () => {
    play.pubsub.send(messageFor(HOST, innerMessage({ from: HOST, ...TO_ROMEO })))
    expect((await play.romeo.next(isMessage)).attrs.from).toBe(HOST)
  })

  it('§5.1: on behalf of an account that is offline, which the storage knows', async () => {
    play.pubsub.send(messageFor(HOST, innerMessage({ from: NURSE, ...TO_ROMEO })))
    expect((await play.romeo.next(isMessage)).attrs.from).toBe(NURSE)
  })

  it('without `to` it is for the account itself', async () => {
    play.pubsub.send(messageFor(HOST, innerMessage({ from: JULIET })))
    expect((await play.juliet.next(isMessage)).attrs.from).toBe(JULIET)
  })

  it('messages on behalf of accounts on and off line keep their order', async () => {
    for (let number = 0; number < 20; number++) {
      const from = number % 2 === 0 ? NURSE : JULIET
      play.pubsub.send(messageFor(HOST, innerMessage({ from, to: TO_ROMEO.to, id: `n${number}` })))
    }
    for (let number = 0; number < 20; number++) {
      expect((await play.romeo.next(isMessage)).attrs.id).toBe(`n${number}`)
    }
  })

  it('XEP-0297 §3.1: a delay beside the forwarded message is no second stanza', async () => {
    const delay = "<delay xmlns='urn:xmpp:delay' stamp='2014-11-25T14:34:32Z'/>"
    play.pubsub.send(messageFor(HOST, delay + innerMessage({ from: JULIET, ...TO_ROMEO })))
    await play.romeo.next(isMessage)
  })

  it('content keeps its namespaces where they are declared outside the message', async () => {
    play.pubsub.send(
      `<message from='${PUBSUB}' to='${HOST}' id='ns' xmlns:x='urn:x'><privilege xmlns='${NS_PRIVILEGE}'>` +
        `<f:forwarded xmlns:f='urn:xmpp:forward:0'><c:message xmlns:c='jabber:client' from='${JULIET}' to='${TO_ROMEO.to}'>` +
        `<x:thing><x:part/></x:thing><other/></c:message></f:forwarded></privilege></message>`,
    )
    const message = await play.romeo.next(isMessage)
    expect(message.getNS()).toBe('jabber:client')
    const [thing, other] = message.getChildElements()
    expect(thing!.getNS()).toBe('urn:x')
    expect(thing!.getChildElements()[0]!.getNS()).toBe('urn:x')
    expect(other!.getNS()).toBe(NS_PRIVILEGE)
  })
})

describe('XEP-0356 §5.1: what is refused', () => {
  it.each([
    ['a sender with a resource', { from: `${JULIET}/balcony` }],
    ['the server with a resource', { from: `${HOST}/admin` }],
    ['an account of another host', { from: ROMEO }],
    ['another host', { from: MONTAGUE }],
    ['the component itself', { from: PUBSUB }],
    ['an account that is not there', { from: `tybalt@${HOST}` }],
    ['no sender', {}],
    ['a sender that is no JID', { from: '@@' }],
  ])('%s gives forbidden', async (_, attrs) => {
    const text = messageFor(HOST, innerMessage({ ...attrs, ...TO_ROMEO }))
    expect(await refusalOf(play.pubsub, text)).toBe('forbidden')
    await nothingFor(play.romeo, isMessage)
  })

  it('RFC 6120 §8.3.3.4: the refusal is a message of type error from the server', async () => {
    play.pubsub.send(messageFor(HOST, innerMessage({ from: ROMEO, ...TO_ROMEO }), PUBSUB, 'refused'))
    const error = await play.pubsub.withId('refused')
    expect(error.getName()).toBe('message')
    expect(error.attrs).toMatchObject({ type: 'error', from: HOST, to: PUBSUB })
    expect(conditionOf(error)).toBe('forbidden')
  })

  it('a host that has not granted it refuses, for its own accounts too', async () => {
    const text = messageFor(MONTAGUE, innerMessage({ from: ROMEO, to: JULIET }))
    expect(await refusalOf(play.pubsub, text)).toBe('forbidden')
  })

  it('who has no privilege is refused, whatever `from` it writes', async () => {
    const good = innerMessage({ from: JULIET, ...TO_ROMEO })
    expect(await refusalOf(play.rival, messageFor(HOST, good, RIVAL))).toBe('forbidden')
    play.rival.send(messageFor(HOST, good, PUBSUB, 'spoofed'))
    play.juliet.send(messageFor(HOST, good, `${JULIET}/balcony`, 'client'))
    expect(conditionOf(await play.juliet.withId('client'))).toBe('forbidden')
    await nothingFor(play.rival, () => false)
    await nothingFor(play.romeo, isMessage)
  })

  it('an address at the component’s domain is not the component', async () => {
    const text = messageFor(HOST, innerMessage({ from: JULIET, ...TO_ROMEO }), `someone@${PUBSUB}`)
    expect(await refusalOf(play.pubsub, text)).toBe('forbidden')
  })

  it.each([
    ['nothing forwarded', ''],
    ['two messages', innerMessage({ from: JULIET, ...TO_ROMEO }).repeat(2)],
    [
      'an IQ',
      `<iq xmlns='jabber:client' type='get' id='a' from='${JULIET}' to='${ROMEO}'><ping xmlns='urn:xmpp:ping'/></iq>`,
    ],
    ['a presence', `<presence xmlns='jabber:client' from='${JULIET}' to='${ROMEO}'/>`],
  ])('%s gives bad-request', async (_, forwarded) => {
    expect(await refusalOf(play.pubsub, messageFor(HOST, forwarded))).toBe('bad-request')
    await nothingFor(play.romeo, (element) => isMessage(element))
  })

  it('a message in another namespace, or none, goes nowhere', async () => {
    for (const xmlns of ['jabber:server', '', 'urn:xmpp:privilege:2']) {
      const text = messageFor(HOST, innerMessage({ xmlns, from: JULIET, ...TO_ROMEO }))
      expect(await refusalOf(play.pubsub, text)).toBe('forbidden')
    }
    await nothingFor(play.romeo, isMessage)
  })

  it('§5.1: forwarded outside of privilege, or in another namespace, is no privileged message', async () => {
    const good = innerMessage({ from: JULIET, ...TO_ROMEO })
    const bare = `<message from='${PUBSUB}' to='${HOST}' id='bare'><forwarded xmlns='urn:xmpp:forward:0'>${good}</forwarded></message>`
    expect(await refusalOf(play.pubsub, bare)).toBe('service-unavailable')
    const old = messageFor(HOST, good).replace(NS_PRIVILEGE, 'urn:xmpp:privilege:1')
    expect(await refusalOf(play.pubsub, old)).toBe('service-unavailable')
    const twice = messageFor(HOST, good).replace(
      '</message></forwarded></privilege>',
      '$&<privilege xmlns="urn:xmpp:privilege:2"/>',
    )
    expect(await refusalOf(play.pubsub, twice)).toBe('bad-request')
    await nothingFor(play.romeo, isMessage)
  })

  it('the error for our own advertisement is not worked on', async () => {
    play.pubsub.send(
      messageFor(HOST, innerMessage({ from: JULIET, ...TO_ROMEO })).replace(
        '<message ',
        "<message type='error' ",
      ),
    )
    await nothingFor(play.pubsub, (element) => element.attrs.type === 'error')
    await nothingFor(play.romeo, isMessage)
  })

  it('a privileged message in a privileged message acts for nobody', async () => {
    const nested = messageFor(HOST, innerMessage({ from: NURSE, ...TO_ROMEO })).replace(
      '<message ',
      "<message xmlns='jabber:client' ",
    )
    play.pubsub.send(messageFor(HOST, nested.replace(`from='${PUBSUB}'`, `from='${JULIET}'`)))
    await nothingFor(play.pubsub, () => false)
    await nothingFor(play.romeo, isMessage)
  })

  it('one that can not be delivered disturbs nobody: its error belongs to the account', async () => {
    play.pubsub.send(messageFor(HOST, innerMessage({ from: JULIET, to: `ghost@${HOST}`, id: 'lost' })))
    play.pubsub.send(messageFor(HOST, innerMessage({ from: JULIET, to: '@@', id: 'lost' })))
    await nothingFor(play.pubsub, (element) => element.attrs.type === 'error')
    await nothingFor(play.juliet, isMessage)
  })

  it('a message beyond the limit of a component ends its stream, and nobody else’s', async () => {
    const other = await connectComponent(play.server.componentPort, RIVAL).catch(() => undefined)
    expect(other).toBeUndefined() // the rival is connected
    play.rival.send(
      messageFor(HOST, innerMessage({ from: JULIET }, `<body>${'x'.repeat(600_000)}</body>`), RIVAL),
    )
    expect((await play.rival.streamError()).condition).toBe('policy-violation')
    await play.rival.closed()
    play.rival = await connectComponent(play.server.componentPort, RIVAL)
    await nothingFor(play.pubsub, (element) => element.attrs.type === 'error')
  })
})
