/** Answers of managers, good and bad (XEP-0355 §4.3; rules F4 to F6). */

import { describe, expect, it } from 'vitest'
import { NS_DELEGATION, NS_FORWARD } from '../../server/stanza/namespaces.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import {
  componentSettled,
  conditionOf,
  type ForwardedRequest,
  forwardedTo,
  goodReply,
  innerAnswer,
  newId,
  replyText,
  statusOf,
  wrapped,
} from '../shared/delegation.ts'
import { askThrough, HOST, JULIET, MONTAGUE, NS, PUBSUB, ROMEO, stage } from '../shared/delegation-play.ts'
import { startServer } from '../shared/server.ts'

const play = stage()

const asked = (to: string | null = HOST, asker: TestStream = play.juliet, id = newId()) =>
  askThrough(play, asker, to, id)

type Forge = (request: ForwardedRequest) => string

/** A reply whose wrapper is right, with this content of `<forwarded/>`. */
const forwarding =
  (content: (request: ForwardedRequest) => string): Forge =>
  (request) =>
    replyText(request, wrapped(content(request)))

/** A reply that is right but for attributes of the inner IQ. */
const inner = (changes: Record<string, string | undefined>, content = ''): Forge =>
  forwarding((request) => innerAnswer(request, changes, content))

const OPEN = `<delegation xmlns='${NS_DELEGATION}'>`

/** What is wrong, and how it is written. */
const BAD: [string, Forge][] = [
  // Wrappers.
  ['nothing at all', (request) => replyText(request, '')],
  ['text alone', (request) => replyText(request, 'done')],
  ['another element', (request) => replyText(request, `<result xmlns='${NS_DELEGATION}'/>`)],
  [
    'a delegation of another version',
    (request) => goodReply(request).replace('delegation:2', 'delegation:1'),
  ],
  [
    'a delegation without a namespace',
    (request) => goodReply(request).replace(` xmlns='${NS_DELEGATION}'`, ''),
  ],
  ['an empty delegation', (request) => replyText(request, `${OPEN}</delegation>`)],
  ['text in the delegation', (request) => replyText(request, `${OPEN}done</delegation>`)],
  [
    'the IQ without forwarded',
    (request) => replyText(request, `${OPEN}${innerAnswer(request)}</delegation>`),
  ],
  ['forwarded of another version', (request) => goodReply(request).replace('forward:0', 'forward:1')],
  [
    'forwarded in the delegation namespace',
    (request) => goodReply(request).replace(NS_FORWARD, NS_DELEGATION),
  ],
  [
    'forwarded twice',
    (request) => {
      const once = `<forwarded xmlns='${NS_FORWARD}'>${innerAnswer(request)}</forwarded>`
      return replyText(request, `${OPEN}${once}${once}</delegation>`)
    },
  ],
  [
    'something beside forwarded',
    (request) => goodReply(request).replace('</delegation>', "<x xmlns='urn:example:x'/></delegation>"),
  ],
  [
    'a delegation within the delegation',
    (request) => replyText(request, `${OPEN}${wrapped(innerAnswer(request))}</delegation>`),
  ],
  ['an empty forwarded', forwarding(() => '')],
  ['text in forwarded', forwarding(() => 'done')],
  ['the IQ twice', forwarding((request) => innerAnswer(request).repeat(2))],
  ['another IQ first', forwarding((request) => innerAnswer(request, { id: 'x' }) + innerAnswer(request))],
  [
    'a delay beside the IQ',
    forwarding((request) => `<delay xmlns='urn:xmpp:delay'/>${innerAnswer(request)}`),
  ],
  ['a delay after the IQ', forwarding((request) => `${innerAnswer(request)}<delay xmlns='urn:xmpp:delay'/>`)],
  // The element.
  ['a message', forwarding((request) => innerAnswer(request).replace('<iq', '<message'))],
  ['an element of another case', forwarding((request) => innerAnswer(request).replace('<iq', '<IQ'))],
  ['a longer name', forwarding((request) => innerAnswer(request).replace('<iq', '<iqs'))],
  ['an IQ of servers', inner({ xmlns: 'jabber:server' })],
  ['an IQ of components', inner({ xmlns: 'jabber:component:accept' })],
  ['an IQ of the wrapper’s namespace', inner({ xmlns: undefined })],
  ['an IQ of no namespace', inner({ xmlns: '' })],
  [
    'an IQ with another prefix',
    forwarding((request) =>
      innerAnswer(request).replace('<iq xmlns=', "<c:iq xmlns:c='urn:example:c' xmlns="),
    ),
  ],
  // Type.
  ['type get', inner({ type: 'get' }, '<query xmlns="urn:example:x"/>')],
  ['type set', inner({ type: 'set' }, '<query xmlns="urn:example:x"/>')],
  ['no type', inner({ type: undefined })],
  ['an empty type', inner({ type: '' })],
  ['a type of another case', inner({ type: 'Result' })],
  ['a type with a space', inner({ type: 'result ' })],
  // Id.
  ['another id', inner({ id: 'q0' })],
  ['no id', inner({ id: undefined })],
  ['an empty id', inner({ id: '' })],
  ['the id with a space', forwarding((request) => innerAnswer(request, { id: `${request.iq.attrs.id} ` }))],
  [
    'the wrapper’s id',
    forwarding((request) => innerAnswer(request, { id: request.wrapper.attrs.id as string })),
  ],
  // To.
  ['to another resource', inner({ to: `${JULIET}/chamber` })],
  ['to the bare JID', inner({ to: JULIET })],
  ['to nobody', inner({ to: undefined })],
  ['to an empty address', inner({ to: '' })],
  ['to somebody else', inner({ to: `tybalt@${HOST}/street` })],
  ['to somebody elsewhere', inner({ to: `${ROMEO}/orchard` })],
  ['to the host', inner({ to: HOST })],
  ['to the manager', inner({ to: PUBSUB })],
  ['to a resource of another case', inner({ to: `${JULIET}/Balcony` })],
  ['to a resource that goes on', inner({ to: `${JULIET}/balcony/` })],
  ['to what is no address', inner({ to: '@/' })],
  // From: the request was to the host.
  ['from the manager', inner({ from: PUBSUB })],
  ['from an account', inner({ from: `tybalt@${HOST}` })],
  ['from another host', inner({ from: MONTAGUE })],
  ['from the host with a resource', inner({ from: `${HOST}/x` })],
  ['from the asker', inner({ from: `${JULIET}/balcony` })],
  ['from the asker’s account, when the host was asked', inner({ from: JULIET })],
  ['from a parent domain', inner({ from: 'lit' })],
  ['from an empty address', inner({ from: '' })],
  ['from what is no address', inner({ from: 'a@b@c' })],
  // Content.
  ['a result of two children', inner({}, "<a xmlns='urn:example:a'/><b xmlns='urn:example:b'/>")],
  [
    'a result of two children with content',
    inner({}, "<a xmlns='urn:example:a'><c/></a> <b xmlns='urn:example:b'/>"),
  ],
]

describe('F5: what fails F4 gives the asker service-unavailable, is logged and counted', () => {
  it.each(BAD)('%s', async (_, forge) => {
    const { request, answer } = await asked()
    const { counts } = await statusOf(play.server, HOST)
    const before = counts.get(NS)!.refused
    const lines = play.server.log.length
    play.pubsub.send(forge(request))
    const error = await answer
    expect(conditionOf(error)).toBe('service-unavailable')
    expect(error.attrs).toMatchObject({ from: HOST, to: `${JULIET}/balcony` })
    expect(error.getChildElements()).toHaveLength(1)
    expect(counts.get(NS)!.refused).toBe(before + 1)
    expect(play.server.log.slice(lines).filter((line) => line.includes('refused the answer'))).toEqual([
      expect.stringContaining(PUBSUB),
    ])
    // F4: one answer. A good one after it is too late.
    play.pubsub.send(goodReply(request, `<late xmlns='${NS}'/>`))
    await componentSettled(play.pubsub, HOST)
  })

  it('from, where an account was asked: anybody but that account', async () => {
    for (const from of [
      HOST,
      PUBSUB,
      `${JULIET}/x`,
      `${JULIET}/balcony`,
      `tybalt@${HOST}`,
      `juliet@${MONTAGUE}`,
    ]) {
      const { request, answer } = await asked(JULIET)
      play.pubsub.send(inner({ from })(request))
      const error = await answer
      expect([from, conditionOf(error), error.attrs.from]).toEqual([from, 'service-unavailable', JULIET])
    }
  })

  it('from, where the request had no to: anybody but the asker’s account', async () => {
    for (const from of [HOST, PUBSUB, `${JULIET}/x`, `${JULIET}/balcony`, `tybalt@${HOST}`]) {
      const { request, answer } = await asked(null)
      play.pubsub.send(inner({ from })(request))
      const error = await answer
      expect([from, conditionOf(error)]).toEqual([from, 'service-unavailable'])
      expect(error.attrs.to).toBe(`${JULIET}/balcony`)
    }
  })

  it('a reason of any length or content is one short line of the log', async () => {
    const { request, answer } = await asked()
    const lines = play.server.log.length
    play.pubsub.send(
      inner({ type: `x&#10;2026-01-01 00:00:00 error  forged ${'x'.repeat(20_000)}` })(request),
    )
    expect(conditionOf(await answer)).toBe('service-unavailable')
    const written = play.server.log.slice(lines).filter((line) => line.includes('refused the answer'))
    expect(written).toHaveLength(1)
    expect(written[0]!.length).toBeLessThan(1000)
  })
})

describe('F5: a wrapper of two children', () => {
  it('gives the asker service-unavailable at once, not when the manager’s time is over', async () => {
    const test = await startServer(
      {
        virtualHosts: { [HOST]: { delegations: { [NS]: { jid: PUBSUB, timeout: 1 } } } },
        components: { [PUBSUB]: { component_secret: 'secret', modules_enabled: ['delegation'] } },
      },
      [JULIET],
    )
    try {
      const asker = await login(test.c2sPort, JULIET)
      const manager = await connectComponent(test.componentPort, PUBSUB)
      const answer = asker.ask(`<iq type='get' id='${newId()}'><query xmlns='${NS}'/></iq>`)
      const request = await forwardedTo(manager)
      manager.send(replyText(request, wrapped(innerAnswer(request)).repeat(2)))
      expect(conditionOf(await answer)).toBe('service-unavailable')
      const counts = (await statusOf(test, HOST)).counts.get(NS)
      expect(counts).toMatchObject({ refused: 1, timedOut: 0 })
    } finally {
      await test.stop()
    }
  })
})

const CONTENT = `<query xmlns='${NS}'><item/></query>`

/** The same good answer, written differently. */
const GOOD: [string, Forge][] = [
  ['with single quotes', (request) => goodReply(request, CONTENT)],
  ['with double quotes', (request) => goodReply(request, CONTENT).replaceAll("'", '"')],
  ['without from', inner({ from: undefined }, CONTENT)],
  ['from and to of another case', inner({ from: 'Capulet.LIT', to: `JULIET@capulet.lit/balcony` }, CONTENT)],
  ['with space between the wrappers', (request) => goodReply(request, CONTENT).replaceAll('><', '>\r\n\t <')],
  [
    'with space within the tags',
    (request) =>
      goodReply(request, CONTENT)
        .replace(/(?<!\/)>/g, '\n>')
        .replaceAll('<iq ', '<iq\n'),
  ],
  [
    'with prefixes for the wrappers',
    (request) =>
      replyText(
        request,
        `<d:delegation xmlns:d='${NS_DELEGATION}'><f:forwarded xmlns:f='${NS_FORWARD}'>${innerAnswer(request, {}, CONTENT)}</f:forwarded></d:delegation>`,
      ),
  ],
  [
    'with a prefix for the IQ',
    forwarding((request) =>
      innerAnswer(request, {}, CONTENT)
        .replace("<iq xmlns='jabber:client'", "<c:iq xmlns:c='jabber:client'")
        .replace('</iq>', '</c:iq>'),
    ),
  ],
  [
    'with a prefix of a wrapper in the content',
    (request) =>
      goodReply(request, '<p:query><p:item/></p:query>').replace(
        '<delegation ',
        `<delegation xmlns:p='${NS}' `,
      ),
  ],
  [
    'with a prefix of forwarded over one of the delegation',
    (request) =>
      goodReply(request, '<p:query><p:item/></p:query>')
        .replace('<delegation ', `<delegation xmlns:p='urn:example:wrong' `)
        .replace('<forwarded ', `<forwarded xmlns:p='${NS}' `),
  ],
  ['with a prefix of the IQ in the content', inner({ 'xmlns:p': NS }, '<p:query><p:item/></p:query>')],
  [
    'with a default namespace from the wrapper of a prefixed IQ',
    (request) =>
      replyText(
        request,
        `<d:delegation xmlns:d='${NS_DELEGATION}' xmlns='${NS}'><f:forwarded xmlns:f='${NS_FORWARD}'>` +
          `<c:iq xmlns:c='jabber:client' type='result' id='${request.iq.attrs.id}' to='${request.iq.attrs.from}'>` +
          '<query><item/></query></c:iq></f:forwarded></d:delegation>',
      ),
  ],
  [
    'with references',
    (request) => goodReply(request, CONTENT).replace('jabber:client', 'jabber&#x3a;client'),
  ],
  [
    'with attributes that mean nothing',
    (request) => goodReply(request, CONTENT).replace('<delegation ', "<delegation x='y' "),
  ],
]

describe('F4: a good answer, however it is written', () => {
  it.each(GOOD)('%s', async (_, write) => {
    const { request, answer } = await asked()
    play.pubsub.send(write(request))
    const result = await answer
    expect(result.attrs).toMatchObject({ type: 'result', from: HOST, to: `${JULIET}/balcony` })
    const query = result.getChild('query', NS)
    expect(query?.getChild('item', NS)).toBeDefined()
    expect(result.getChildElements()).toHaveLength(1)
  })

  it('bears the from that the asker expects: the host, the account, or none', async () => {
    for (const to of [HOST, JULIET, `tybalt@${HOST}`, `nobody@${HOST}`]) {
      const { request, answer } = await asked(to)
      play.pubsub.send(inner({ from: undefined })(request))
      expect((await answer).attrs.from).toBe(to)
    }
    for (const from of [undefined, JULIET]) {
      const id = newId()
      const answer = play.juliet.ask(`<iq type='set' id='${id}'><query xmlns='${NS}'/></iq>`)
      play.pubsub.send(inner({ from })(await forwardedTo(play.pubsub)))
      expect((await answer).attrs).toEqual({ type: 'result', id, to: `${JULIET}/balcony` })
    }
  })

  it('has no child, an error with its payload, a language: all that passes as it is', async () => {
    const empty = await asked()
    play.pubsub.send(goodReply(empty.request))
    expect((await empty.answer).children).toEqual([])
    const language = await asked()
    play.pubsub.send(inner({ 'xml:lang': 'fr' }, CONTENT)(language.request))
    expect((await language.answer).attrs['xml:lang']).toBe('fr')
  })

  it('comes once: the second and the third are dropped', async () => {
    const { request, answer } = await asked()
    play.pubsub.send(
      goodReply(request, '<one/>') + goodReply(request, '<two/>') + goodReply(request, '<three/>'),
    )
    expect((await answer).getChild('one')).toBeDefined()
    await componentSettled(play.pubsub, HOST)
  })

  it('two requests with one id of the asker’s are two requests', async () => {
    const id = newId()
    const first = await asked(HOST, play.juliet, id)
    const second = await asked(JULIET, play.juliet, id)
    expect(first.request.wrapper.attrs.id).not.toBe(second.request.wrapper.attrs.id)
    play.pubsub.send(goodReply(second.request, '<second/>'))
    expect((await first.answer).getChild('second')).toBeDefined()
    play.pubsub.send(goodReply(first.request, '<first/>'))
    expect((await second.answer).getChild('first')).toBeDefined()
  })

  it('crossed over between two requests of one asker, it answers neither', async () => {
    const first = await asked()
    const second = await asked()
    play.pubsub.send(replyText(first.request, wrapped(innerAnswer(second.request))))
    expect(conditionOf(await first.answer)).toBe('service-unavailable')
    play.pubsub.send(goodReply(second.request))
    expect(conditionOf(await second.answer)).toBe('result')
  })
})

describe('F6: errors', () => {
  const NOT_FOUND =
    "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"

  it('of the wrapper give service-unavailable, whatever is in them', async () => {
    for (const content of [NOT_FOUND, '', 'text']) {
      const { request, answer } = await asked()
      play.pubsub.send(replyText(request, content, { type: 'error' }))
      expect(conditionOf(await answer)).toBe('service-unavailable')
    }
    const { request, answer } = await asked()
    play.pubsub.send(replyText(request, wrapped(innerAnswer(request, {}, CONTENT)), { type: 'error' }))
    expect(conditionOf(await answer)).toBe('service-unavailable')
  })

  it('inside are passed on as they are', async () => {
    const { request, answer } = await asked()
    play.pubsub.send(inner({ type: 'error' }, `${CONTENT}${NOT_FOUND}`)(request))
    const error = await answer
    expect(conditionOf(error)).toBe('item-not-found')
    expect(error.getChild('query', NS)).toBeDefined()
    expect(error.attrs.from).toBe(HOST)
  })
})
