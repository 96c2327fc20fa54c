/** IQs on behalf of accounts (XEP-0356 §6). */

import { describe, expect, it } from 'vitest'
import type { PrivilegeStatus } from '../../plugins/privilege/index.ts'
import { connectComponent, login } from '../shared/client.ts'
import { conditionOf, forwardedTo, goodReply, newId } from '../shared/delegation.ts'
import {
  forwardedAnswer,
  HOST,
  innerIq,
  isAdvertisement,
  JULIET,
  MONTAGUE,
  NS_PRIVILEGE,
  NS_PUBSUB,
  NURSE,
  nothingFor,
  PUBSUB,
  privilegedIq,
  privilegeStage,
  RIVAL,
  ROMEO,
  refusalOf,
} from '../shared/privilege.ts'

const NS_BOTH = 'urn:example:both'
const NS_DELEGATED = 'urn:example:delegated'
const play = privilegeStage(
  {
    iq: {
      [NS_PUBSUB]: 'set',
      [NS_BOTH]: 'both',
      [NS_DELEGATED]: 'both',
      'urn:example:none': 'none',
      'jabber:iq:roster': 'get',
    },
  },
  { delegations: { [NS_DELEGATED]: { jid: PUBSUB } } },
)
const isRequest = (element: { getName(): string; attrs: Record<string, string> }) =>
  element.getName() === 'iq' && ['get', 'set'].includes(element.attrs['type']!)

async function pendingIqs(): Promise<number> {
  const { server } = play.server
  return ((await server.modules.load(server.hosts.get(HOST)!, 'privilege')).exports as PrivilegeStatus)
    .pendingIqs
}

describe('XEP-0356 §6.3: sending IQs', () => {
  it('the example: subscribes on behalf of Juliet, and gets the answer', async () => {
    const subscribe = `<pubsub xmlns='${NS_PUBSUB}'><subscribe node='urn:xmpp:microblog:0' jid='${JULIET}'/></pubsub>`
    play.pubsub.send(privilegedIq(innerIq({}, subscribe), { id: 'priv_iq_1' }))
    const request = await play.romeo.next(isRequest)
    expect(request.attrs).toMatchObject({ type: 'set', from: JULIET, to: `${ROMEO}/orchard` })
    expect(request.getChild('pubsub', NS_PUBSUB)!.getChild('subscribe')!.attrs['jid']).toBe(JULIET)
    expect(request.toString()).not.toContain(NS_PRIVILEGE)
    const subscription = `<pubsub xmlns='${NS_PUBSUB}'><subscription subid='some_id'/></pubsub>`
    play.romeo.send(`<iq type='result' to='${JULIET}' id='${request.attrs.id}'>${subscription}</iq>`)
    const answer = await play.pubsub.withId('priv_iq_1')
    expect(answer.attrs).toMatchObject({ type: 'result', from: JULIET, to: PUBSUB })
    const iq = forwardedAnswer(answer)
    expect(iq.attrs).toMatchObject({ type: 'result', from: `${ROMEO}/orchard`, to: JULIET, id: 'sub_1' })
    expect(iq.getChild('pubsub', NS_PUBSUB)!.getChild('subscription')!.attrs['subid']).toBe('some_id')
    expect(await pendingIqs()).toBe(0)
  })

  it('an error is an answer too, and is brought back as one', async () => {
    const iq = privilegedIq(innerIq(), { id: 'failing' })
    play.pubsub.send(iq)
    const request = await play.romeo.next(isRequest)
    play.romeo.send(
      `<iq type='error' to='${JULIET}' id='${request.attrs.id}'><error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`,
    )
    const inner = forwardedAnswer(await play.pubsub.withId('failing'))
    expect([inner.attrs.id, conditionOf(inner)]).toEqual(['sub_1', 'conflict'])
  })

  it('what the server itself answers comes back the same way', async () => {
    for (const [to, condition] of [
      [`nobody@${HOST}/x`, 'service-unavailable'],
      ['elsewhere.lit', 'remote-server-not-found'],
      ['@@', 'jid-malformed'],
    ]) {
      const id = newId()
      play.pubsub.send(privilegedIq(innerIq({ to }), { id }))
      const inner = forwardedAnswer(await play.pubsub.withId(id))
      expect([inner.attrs.id, conditionOf(inner)]).toEqual(['sub_1', condition])
    }
  })

  it("the account's own bare JID as `from` is right, in any spelling", async () => {
    for (const from of [JULIET, 'JULIET@Capulet.LIT']) {
      play.pubsub.send(privilegedIq(innerIq({ from }), { id: 'own' }))
      const request = await play.romeo.next(isRequest)
      expect(request.attrs.from).toBe(JULIET)
      play.romeo.send(`<iq type='result' to='${JULIET}' id='${request.attrs.id}'/>`)
      forwardedAnswer(await play.pubsub.withId('own'))
    }
  })

  it('without `to`, or to itself, it is served as the account’s own request', async () => {
    const query = "<query xmlns='jabber:iq:roster'/>"
    for (const to of [undefined, JULIET]) {
      const id = newId()
      play.pubsub.send(privilegedIq(innerIq({ type: 'get', to }, query), { id, type: 'get' }))
      const inner = forwardedAnswer(await play.pubsub.withId(id))
      expect([inner.attrs.type, inner.getChild('query')?.getNS()]).toEqual(['result', 'jabber:iq:roster'])
    }
  })

  it('an account that is offline is known from the storage', async () => {
    play.pubsub.send(privilegedIq(innerIq(), { to: NURSE, id: 'nurse' }))
    const request = await play.romeo.next(isRequest)
    expect(request.attrs.from).toBe(NURSE)
    play.romeo.send(`<iq type='result' to='${NURSE}' id='${request.attrs.id}'/>`)
    expect(forwardedAnswer(await play.pubsub.withId('nurse')).attrs.to).toBe(NURSE)
  })

  it('a resource of the account itself can be asked, and answers with or without `to`', async () => {
    for (const to of ['', `to='${JULIET}'`]) {
      const id = newId()
      play.pubsub.send(privilegedIq(innerIq({ to: `${JULIET}/balcony` }), { id }))
      const request = await play.juliet.next(isRequest)
      expect(request.attrs.from).toBe(JULIET)
      play.juliet.send(`<iq type='result' ${to} id='${request.attrs.id}'/>`)
      expect(forwardedAnswer(await play.pubsub.withId(id)).attrs.from).toBe(`${JULIET}/balcony`)
    }
  })

  it('a delegated namespace: the request goes to its manager, who sees the account ask', async () => {
    const payload = `<query xmlns='${NS_DELEGATED}'/>`
    play.pubsub.send(privilegedIq(innerIq({ to: NURSE }, payload), { id: 'through' }))
    const request = await forwardedTo(play.pubsub)
    expect(request.iq.attrs).toMatchObject({ from: JULIET, to: NURSE })
    play.pubsub.send(goodReply(request, '<done xmlns="urn:x"/>'))
    const inner = forwardedAnswer(await play.pubsub.withId('through'))
    expect(inner.attrs).toMatchObject({ id: 'sub_1', type: 'result', from: NURSE, to: JULIET })
  })
})

describe('XEP-0356 §6.3: the server MUST refuse with forbidden', () => {
  const good = innerIq()
  it.each([
    ['`to` is a full JID', privilegedIq(good, { to: `${JULIET}/balcony` })],
    ['`to` is the host', privilegedIq(good, { to: HOST })],
    ['`to` is an account that is not there', privilegedIq(good, { to: `tybalt@${HOST}` })],
    ['`to` is an account of a host that grants nothing', privilegedIq(good, { to: ROMEO })],
    ['`to` is a host that grants nothing', privilegedIq(good, { to: MONTAGUE })],
    ['the namespace was not granted', privilegedIq(innerIq({}, "<query xmlns='urn:example:other'/>"))],
    ['the namespace was granted as none', privilegedIq(innerIq({}, "<query xmlns='urn:example:none'/>"))],
    ['the payload has no namespace', privilegedIq(innerIq({}, "<query xmlns=''/>"))],
    ['the payload is in the client’s namespace', privilegedIq(innerIq({}, '<query/>'))],
    ['the type was not granted', privilegedIq(innerIq({ type: 'get' }), { type: 'get' })],
    ['the encapsulated IQ is in no namespace', privilegedIq(innerIq({ xmlns: '' }))],
    ['the encapsulated IQ is in the namespace around it', privilegedIq(innerIq({ xmlns: undefined }))],
    ['the encapsulated IQ is in another namespace', privilegedIq(innerIq({ xmlns: 'jabber:server' }))],
    ['`from` is another account', privilegedIq(innerIq({ from: NURSE }))],
    ['`from` is another host’s account', privilegedIq(innerIq({ from: ROMEO }))],
    ['`from` is a full JID', privilegedIq(innerIq({ from: `${JULIET}/balcony` }))],
    ['`from` is the component', privilegedIq(innerIq({ from: PUBSUB }))],
    ['`from` is no JID', privilegedIq(innerIq({ from: '@@' }))],
    ['the types differ: set in get', privilegedIq(innerIq(), { type: 'get' })],
    ['the types differ: get in set', privilegedIq(innerIq({ type: 'get' }, `<query xmlns='${NS_BOTH}'/>`))],
    ['the encapsulated IQ is a result', privilegedIq(innerIq({ type: 'result' }))],
    ['an address at the component’s domain asks', privilegedIq(good, { from: `x@${PUBSUB}` })],
  ])('%s', async (_, text) => {
    expect(await refusalOf(play.pubsub, text)).toBe('forbidden')
    await nothingFor(play.romeo, isRequest)
    await nothingFor(play.juliet, isRequest)
  })

  it('who asks has no privilege', async () => {
    expect(await refusalOf(play.rival, privilegedIq(good, { from: RIVAL }))).toBe('forbidden')
    expect(await refusalOf(play.rival, privilegedIq(good, { from: PUBSUB }))).toBe('forbidden')
    for (const to of [JULIET, NURSE, `${NURSE}/x`, HOST]) {
      expect(await refusalOf(play.juliet, privilegedIq(good, { to, from: undefined }))).toBe('forbidden')
    }
    expect(await refusalOf(play.juliet, privilegedIq(good, { to: undefined, from: undefined }))).toBe(
      'forbidden',
    )
    await nothingFor(play.romeo, isRequest)
  })

  it.each([
    ['nothing encapsulated', ''],
    ['two IQs', innerIq() + innerIq()],
    ['a message', `<message xmlns='jabber:client' to='${ROMEO}' id='m'><body>hi</body></message>`],
    ['an IQ without id', innerIq({ id: undefined })],
    ['an IQ without payload', innerIq({}, '')],
    ['an IQ with two payloads', innerIq({}, `<pubsub xmlns='${NS_PUBSUB}'/>`.repeat(2))],
  ])('%s gives bad-request', async (_, inner) => {
    expect(await refusalOf(play.pubsub, privilegedIq(inner))).toBe('bad-request')
    await nothingFor(play.romeo, (element) => isRequest(element) || element.getName() === 'message')
  })
})

describe('answers come to who has asked, and to nobody else', () => {
  it('an answer from somebody who was not asked is not taken', async () => {
    play.pubsub.send(privilegedIq(innerIq(), { id: 'waiting' }))
    const request = await play.romeo.next(isRequest)
    const { id } = request.attrs
    play.rival.send(`<iq type='result' from='${RIVAL}' to='${JULIET}' id='${id}'/>`)
    play.juliet.send(`<iq type='result' to='${JULIET}' id='${id}'/>`)
    await nothingFor(play.rival, () => false)
    await nothingFor(play.juliet, () => false)
    await nothingFor(play.pubsub, (element) => element.attrs.id === 'waiting')
    play.romeo.send(`<iq type='result' to='${JULIET}' id='${id}'/>`)
    forwardedAnswer(await play.pubsub.withId('waiting'))
  })

  it('a second answer is not taken', async () => {
    play.pubsub.send(privilegedIq(innerIq(), { id: 'once' }))
    const { id } = (await play.romeo.next(isRequest)).attrs
    play.romeo.send(`<iq type='result' to='${JULIET}' id='${id}'/>`.repeat(2))
    await play.romeo.settled()
    await play.pubsub.withId('once')
    await nothingFor(play.pubsub, (element) => element.attrs.id === 'once')
  })

  it('the entity does not get what others send to the account, under its ids either', async () => {
    play.pubsub.send(privilegedIq(innerIq({ id: 'known' }), { id: 'mine' }))
    const { id } = (await play.romeo.next(isRequest)).attrs
    expect(id).not.toBe('known')
    play.romeo.send(`<iq type='result' to='${JULIET}' id='known'><secret xmlns='urn:x'/></iq>`)
    play.romeo.send(`<iq type='result' to='${JULIET}/balcony' id='${id}'><secret xmlns='urn:x'/></iq>`)
    await play.romeo.settled()
    await nothingFor(play.pubsub, (element) => element.toString().includes('secret'))
    await play.juliet.withId(id!)
    play.romeo.send(`<iq type='result' to='${JULIET}' id='${id}'/>`)
    await play.pubsub.withId('mine')
  })

  it('the same ids at the same time: each gets its own answer', async () => {
    play.pubsub.send(privilegedIq(innerIq({ to: `${ROMEO}/orchard` }), { id: 'a' }))
    play.pubsub.send(privilegedIq(innerIq({ to: `${ROMEO}/orchard` }), { id: 'b' }))
    const requests = [await play.romeo.next(isRequest), await play.romeo.next(isRequest)]
    for (const [index, { attrs }] of [...requests.entries()].reverse()) {
      play.romeo.send(
        `<iq type='result' to='${JULIET}' id='${attrs.id}'><n xmlns='urn:x' i='${index}'/></iq>`,
      )
    }
    expect(forwardedAnswer(await play.pubsub.withId('a')).getChild('n')!.attrs['i']).toBe('0')
    expect(forwardedAnswer(await play.pubsub.withId('b')).getChild('n')!.attrs['i']).toBe('1')
  })

  it('an entity that comes back does not get the answers of before', async () => {
    play.pubsub.send(privilegedIq(innerIq(), { id: 'before' }))
    const { id } = (await play.romeo.next(isRequest)).attrs
    await play.pubsub.destroy()
    await play.server.logged('component disconnected')
    play.pubsub = await connectComponent(play.server.componentPort, PUBSUB)
    await play.pubsub.next(isAdvertisement)
    expect(await pendingIqs()).toBe(0)
    play.romeo.send(`<iq type='result' to='${JULIET}' id='${id}'/>`)
    await play.romeo.settled()
    await nothingFor(play.pubsub, (element) => element.attrs.id === 'before')
  })

  it('a flood: more than a thousand that nobody answers are refused, others go on', async () => {
    const flooded = await login(play.server.c2sPort, `${JULIET}/flooded`)
    const to = `${JULIET}/flooded`
    for (let number = 0; number < 1001; number++) {
      play.pubsub.send(privilegedIq(innerIq({ to }), { id: `flood${number}` }))
    }
    const refused = await play.pubsub.withId('flood1000')
    expect(conditionOf(refused)).toBe('resource-constraint')
    expect(await pendingIqs()).toBe(1000)
    await play.juliet.settled()
    // Whoever they were for goes, and all are answered.
    await flooded.next(isRequest)
    await play.pubsub.destroy()
    play.pubsub = await connectComponent(play.server.componentPort, PUBSUB)
    await play.pubsub.next(isAdvertisement)
    expect(await pendingIqs()).toBe(0)
    await flooded.destroy()
  })
})
