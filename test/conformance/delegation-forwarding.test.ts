/** What is forwarded to a manager, and how it is written (XEP-0355 §4.3; rules C2, F1 to F3). */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { NS_CLIENT, NS_DELEGATION, NS_FORWARD } from '../../server/stanza/namespaces.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import {
  componentSettled,
  conditionOf,
  errorLines,
  forwardedTo,
  goodReply,
  innerAnswer,
  newId,
  replyText,
  statusOf,
  unreadRequests,
  wrapped,
} from '../shared/delegation.ts'
import { isDiscoQuestion } from '../shared/delegation-discovery.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const PUBSUB = `pubsub.${HOST}`
const RIVAL = `rival.${HOST}`
const JULIET = `juliet@${HOST}`
const NS = 'urn:example:thing'
const TWO = 'urn:example:two'
const PREFIXED = 'urn:example:prefixed'
const PING = 'urn:xmpp:ping'
const ROSTER = 'jabber:iq:roster'
const P = 'urn:example:p'

let server: TestServer
let juliet: TestStream
let pubsub: TestStream
let rival: TestStream

beforeEach(async () => {
  const component = { component_secret: 'secret', modules_enabled: ['delegation'] }
  server = await startServer(
    {
      virtualHosts: {
        [HOST]: {
          delegations: {
            [NS]: { jid: PUBSUB },
            [TWO]: { jid: PUBSUB, filtering: ['node', 'jid'] },
            [PREFIXED]: { jid: PUBSUB, filtering: ['xml:lang'] },
            [PING]: { jid: PUBSUB },
            [ROSTER]: { jid: PUBSUB, filtering: ['ver'] },
          },
        },
        'montague.lit': {},
      },
      components: { [PUBSUB]: component, [RIVAL]: component },
    },
    [JULIET, `romeo@${HOST}`],
  )
  juliet = await login(server.c2sPort, `${JULIET}/balcony`, { header: `xmlns:p='${P}' xml:lang='it'` })
  pubsub = await connectComponent(server.componentPort, PUBSUB, 'secret', `xmlns:q='${P}'`)
  rival = await connectComponent(server.componentPort, RIVAL, 'secret', `xmlns:p='${P}'`)
})

afterEach(async () => {
  const { size } = await statusOf(server, HOST)
  for (const stream of [juliet, pubsub, rival]) await stream.destroy()
  await server.stop()
  expect(errorLines(server)).toEqual([])
  expect(unreadRequests(pubsub)).toEqual([])
  expect(size).toBe(0)
})

/** Sends a request that has to be forwarded. @returns the text of it as the manager got it, and its answer */
async function passes(request: string, asker: TestStream = juliet, content = '<done/>') {
  const from = pubsub.text.length
  asker.send(request)
  const forwarded = await forwardedTo(pubsub)
  const { id, from: to } = forwarded.iq.attrs
  const text = pubsub.text.slice(from)
  pubsub.send(goodReply(forwarded, content))
  const answer = await asker.next((element) => element.attrs.id === id && element.attrs.to === to)
  expect(answer.attrs.type).toBe('result')
  return { forwarded, text, answer }
}

/** Sends a request that must not be forwarded. @returns its answer */
async function staysHere(request: string, asker: TestStream = juliet) {
  const answer = await asker.ask(request)
  await componentSettled(pubsub, HOST)
  expect(unreadRequests(pubsub)).toEqual([])
  return answer
}

const query = (xmlns: string, attrs = ''): string => `<query xmlns='${xmlns}' ${attrs}/>`
const iq = (to: string, payload = query(NS), type = 'get'): string =>
  `<iq type='${type}' id='${newId()}' ${to === '' ? '' : `to='${to}'`}>${payload}</iq>`

describe('F1: what is forwarded', () => {
  it.each([
    ['no to', ''],
    ['the host', HOST],
    ['the host in another case', 'Capulet.LIT'],
    ['the asker’s own account', JULIET],
    ['another account', `romeo@${HOST}`],
    ['no account', `nobody@${HOST}`],
  ])('to %s: get and set', async (_, to) => {
    for (const type of ['get', 'set']) {
      const { forwarded } = await passes(iq(to, query(NS), type))
      expect(forwarded.iq.attrs.type).toBe(type)
      expect(forwarded.iq.attrs.from).toBe(`${JULIET}/balcony`)
      expect(forwarded.iq.attrs.to).toBe(to === '' ? undefined : to.toLowerCase())
    }
  })

  it.each([
    ['the host with a resource', `${HOST}/x`],
    ['a full JID that is not there', `romeo@${HOST}/nowhere`],
    ['another host of the server', 'montague.lit'],
    ['an account of another host', 'romeo@montague.lit'],
    ['the manager', PUBSUB],
  ])('to %s: not', async (_, to) => {
    if (to === PUBSUB) {
      juliet.send(iq(to))
      const request = await pubsub.next(
        (element) => element.attrs.type === 'get' && !isDiscoQuestion(element),
      )
      expect(request.attrs.from).toBe(`${JULIET}/balcony`)
      return
    }
    expect(conditionOf(await staysHere(iq(to)))).toBe('service-unavailable')
  })

  it('to a full JID: it goes to that session, and its answer comes from there', async () => {
    const romeo = await login(server.c2sPort, `romeo@${HOST}/orchard`)
    const answer = juliet.ask(iq(`${romeo.jid}`))
    const request = await romeo.next((element) => element.attrs.type === 'get')
    romeo.send(`<iq type='result' id='${request.attrs.id}' to='${JULIET}/balcony'/>`)
    expect((await answer).attrs.from).toBe(romeo.jid)
    await romeo.close()
  })

  it('results, errors, messages and presence are not', async () => {
    juliet.send(iq(HOST, query(NS), 'result') + iq(HOST, query(NS), 'error'))
    juliet.send(`<message to='${HOST}' type='error'>${query(NS)}</message>`)
    juliet.send(`<presence to='${HOST}'>${query(NS)}</presence>`)
    await staysHere(iq(HOST, query('urn:example:settled')))
  })

  it('a namespace that only begins like it, differs in case, or is that of a grandchild: not', async () => {
    for (const payload of [
      query(`${NS}#more`),
      query(NS.toUpperCase()),
      query(`${NS}/`),
      `<x xmlns='urn:example:x'>${query(NS)}</x>`,
      `<query node='${NS}' xmlns='urn:example:x'/>`,
      '<constructor/>',
      "<x xmlns='__proto__'/>",
    ]) {
      expect(conditionOf(await staysHere(iq(HOST, payload)))).toBe('service-unavailable')
    }
  })

  it('C3: the delegation namespace is not, and nobody can wrap for the host', async () => {
    const fake = wrapped(`<iq xmlns='${NS_CLIENT}' type='get' id='x' from='romeo@${HOST}'>${query(NS)}</iq>`)
    for (const type of ['get', 'set']) {
      expect(conditionOf(await staysHere(iq(HOST, fake, type)))).toBe('service-unavailable')
      expect(conditionOf(await staysHere(iq('', fake, type)))).toBe('service-unavailable')
    }
  })

  it('two payloads or none are refused before', async () => {
    expect(conditionOf(await staysHere(iq(HOST, query(NS) + query(NS))))).toBe('bad-request')
    expect(conditionOf(await staysHere(iq(HOST, '')))).toBe('bad-request')
    expect(conditionOf(await staysHere(iq(HOST, 'text')))).toBe('bad-request')
  })
})

describe('F2: how it is written', () => {
  it('as IQ set from the host with an id of its own, and the asker’s IQ in the namespace of clients', async () => {
    const { forwarded } = await passes(iq(HOST))
    const { wrapper } = forwarded
    expect(wrapper.attrs).toMatchObject({ type: 'set', from: HOST, to: PUBSUB })
    expect(wrapper.attrs.id).not.toBe(forwarded.iq.attrs.id)
    expect(wrapper.getChildElements()).toHaveLength(1)
    const [delegation] = wrapper.getChildElements()
    expect([delegation!.getName(), delegation!.getNS(), delegation!.getChildElements().length]).toEqual([
      'delegation',
      NS_DELEGATION,
      1,
    ])
    const [inner] = delegation!.getChildElements()
    expect([inner!.getName(), inner!.getNS(), inner!.getChildElements().length]).toEqual([
      'forwarded',
      NS_FORWARD,
      1,
    ])
  })

  it('with a fresh id each time, which tells nothing of the one before on another host', async () => {
    const first = (await passes(iq(HOST))).forwarded.wrapper.attrs.id
    const second = (await passes(iq(HOST))).forwarded.wrapper.attrs.id
    expect(first).not.toBe(second)
    expect((first as string).length).toBeGreaterThan(8)
  })

  it.each([
    [
      'references',
      `<query xmlns='${NS}' a='&lt;&quot;&apos;&amp;&#x9;&#10;&#13;'>&lt;&gt;&amp;&#x1F600;&#13;]]&gt;</query>`,
    ],
    [
      'a CDATA section',
      `<query xmlns='${NS}'><![CDATA[</query></iq></forwarded><x a='>&amp;]]>]]&gt;</query>`,
    ],
    ['Unicode', `<query xmlns='${NS}' título='é'>\u{1f600} é e\u0301 \u202e\u2028 日本 \ufeff</query>`],
    ['both quotes and greater-than in values', `<query xmlns="${NS}" a='">' b="'>/"><x a="/iq>"/></query>`],
    [
      'a namespace declaration that is undone',
      `<query xmlns='${NS}'><x xmlns=''><y xmlns='${NS}'/></x></query>`,
    ],
    [
      'a prefix of its own',
      `<n:query xmlns:n='${NS}' n:a='1' a='2'><n:item xmlns:n='${P}'/><n:item/></n:query>`,
    ],
    ['text around the payload', ` text\n<query xmlns='${NS}'/>\t&amp; `],
    [
      'an element of the name of a wrapper',
      `<iq xmlns='${NS}'><iq xmlns='${NS_CLIENT}' type='result'/></iq>`,
    ],
    ['space in tags', `<query  xmlns = '${NS}'\t a\n=\n"1" ><x\n/></query >`],
    ['xml:space and xml:lang', `<query xmlns='${NS}' xml:lang='fr' xml:space='preserve'> </query>`],
    ['the prefix xml declared', `<query xmlns='${NS}' xmlns:xml='http://www.w3.org/XML/1998/namespace'/>`],
    [
      'names of JavaScript',
      `<query xmlns='${NS}' __proto__='a' constructor='b' hasOwnProperty='c'><toString/></query>`,
    ],
  ])('%s: unchanged, both ways', async (_, payload) => {
    const { text } = await passes(iq(HOST, payload))
    expect(text).toContain(`>${payload}</iq></forwarded></delegation></iq>`)
    // And as the content of an answer.
    const from = juliet.text.length
    await passes(iq(HOST), juliet, payload)
    expect(juliet.text.slice(from)).toContain(`>${payload}</iq>`)
  })

  it('xml:lang and attributes of the IQ that nobody knows pass', async () => {
    const id = newId()
    const { forwarded } = await passes(
      `<iq xml:lang='fr' type='get' id='${id}' to='${HOST}' unknown='&lt;' __proto__='x'>${query(NS)}</iq>`,
    )
    expect(forwarded.iq.attrs).toMatchObject({ 'xml:lang': 'fr', unknown: '<', id, type: 'get' })
  })

  it('an id of quotes, line ends, references and Unicode comes back as it was', async () => {
    const id = `\n\r\t "'<>&]]>\u{1f600}é`
    const written = '&#10;&#13;&#9; &quot;&apos;&lt;&gt;&amp;]]&gt;\u{1f600}é'
    juliet.send(`<iq type='get' to='${HOST}' id='${written}'>${query(NS)}</iq>`)
    const forwarded = await forwardedTo(pubsub)
    expect(forwarded.iq.attrs.id).toBe(id)
    // In another writing than ours.
    pubsub.send(
      replyText(forwarded, wrapped(innerAnswer(forwarded).replace(/ id='[^']*'/, ` id='${written}'`))),
    )
    expect((await juliet.next((element) => element.attrs.id === id)).attrs.type).toBe('result')
  })

  it('a prefix of the asker’s stream header is declared where the manager can see it', async () => {
    for (const payload of [
      `<query xmlns='${NS}'><p:item p:a='1'/></query>`,
      `<query xmlns='${NS}' p:a='1'/>`,
      `<x:query xmlns:x='${NS}'><p:item/></x:query>`,
    ]) {
      const { forwarded } = await passes(iq(HOST, payload))
      expect(forwarded.iq.attrs['xmlns:p']).toBe(P)
    }
  })

  it('a payload whose own prefix is the stream header’s', async () => {
    const stream = await login(server.c2sPort, `romeo@${HOST}/orchard`, { header: `xmlns:n='${NS}'` })
    const { forwarded } = await passes(iq(HOST, '<n:query><n:item/></n:query>'), stream)
    expect(forwarded.payload.getNS()).toBe(NS)
    expect(forwarded.payload.getChildElements()[0]!.getNS()).toBe(NS)
    await stream.close()
  })

  it('a prefix that the IQ declares', async () => {
    const { forwarded } = await passes(
      `<iq xmlns:r='${P}' type='get' id='${newId()}' to='${HOST}'><query xmlns='${NS}'><r:item/></query></iq>`,
    )
    expect(forwarded.payload.getChildElements()[0]!.getNS()).toBe(P)
  })

  it('a prefix of the manager’s stream header, or of its IQ, reaches the asker', async () => {
    for (const declaration of ['', ` xmlns:r='${P}'`]) {
      const prefix = declaration === '' ? 'q' : 'r'
      const id = newId()
      const answer = juliet.ask(`<iq type='get' id='${id}' to='${HOST}'>${query(NS)}</iq>`)
      const content = `<x xmlns='${NS}' ${prefix}:a='1'><${prefix}:item/></x>`
      const reply = goodReply(await forwardedTo(pubsub), content)
      pubsub.send(reply.replace('<iq ', `<iq${declaration} `))
      const [x] = (await answer).getChildElements()
      expect([x!.getNS(), x!.getChildElements()[0]!.getNS()]).toEqual([NS, P])
    }
  })

  it('a component asks, with a prefix of its stream header and the namespace of clients on its IQ', async () => {
    for (const xmlns of ['', ` xmlns='${NS_CLIENT}'`]) {
      const { forwarded } = await passes(
        `<iq${xmlns} type='get' id='${newId()}' from='x@${RIVAL}/y' to='${HOST}'><query xmlns='${NS}'><p:item/></query></iq>`,
        rival,
      )
      expect(forwarded.iq.attrs.from).toBe(`x@${RIVAL}/y`)
      expect(forwarded.payload.getChildElements()[0]!.getNS()).toBe(P)
    }
  })

  it('a payload of 200 kB, there and back', async () => {
    const item = '<item id="é">&lt;\u{1f600}<![CDATA[>]]></item>'
    const payload = `<query xmlns='${NS}'>${item.repeat(Math.floor(200_000 / Buffer.byteLength(item)))}</query>`
    expect(Buffer.byteLength(payload)).toBeGreaterThan(190_000)
    const from = juliet.text.length
    const { text } = await passes(iq(HOST, payload), juliet, payload)
    expect(text).toContain(`>${payload}</iq></forwarded>`)
    expect(juliet.text.slice(from)).toContain(`>${payload}</iq>`)
  })

  it('a request that arrives byte by byte', async () => {
    const payload = `<query xmlns='${NS}' a='é'>\u{1f600}<![CDATA[>]]></query>`
    const bytes = Buffer.from(iq(HOST, payload))
    const from = pubsub.text.length
    for (const byte of bytes.subarray(0, -1)) {
      await new Promise<void>((resolve, reject) =>
        juliet.socket.write(Buffer.of(byte), (error) => (error ? reject(error) : resolve())),
      )
    }
    await passes('>')
    expect(pubsub.text.slice(from)).toContain(`>${payload}</iq></forwarded>`)
  })
})

describe('F3: stanzas of the manager are not forwarded', () => {
  it('from any address at its domain: the server’s own answer', async () => {
    for (const from of [PUBSUB, `x@${PUBSUB}`, `x@${PUBSUB}/y`, `${PUBSUB}/y`]) {
      const ping = `<iq type='get' id='${newId()}' from='${from}' to='${HOST}'>${query(PING).replaceAll('query', 'ping')}</iq>`
      const answer = await staysHere(ping, pubsub)
      expect([answer.attrs.type, answer.attrs.from, answer.attrs.to]).toEqual(['result', HOST, from])
      const other = `<iq type='get' id='${newId()}' from='${from}' to='${JULIET}'>${query(NS)}</iq>`
      expect(conditionOf(await staysHere(other, pubsub))).toBe('service-unavailable')
    }
  })

  it('while what the server serves itself goes to the manager for everybody else', async () => {
    await passes(iq(HOST, query(PING).replaceAll('query', 'ping')))
    await passes(iq('', query(PING).replaceAll('query', 'ping')))
  })
})

describe('C2: filtering', () => {
  it('all attributes must be there, with whatever value', async () => {
    await passes(iq(HOST, query(TWO, "node='' jid=''")))
    await passes(iq(HOST, query(TWO, "other='1' jid='2' node='3'")))
    await passes(iq(HOST, `text<n:query xmlns:n='${TWO}' node='' jid='&lt;'><x/></n:query>`))
    for (const attrs of [
      '',
      "node='1'",
      "jid='1'",
      "Node='1' jid='1'",
      "xmlns:node='urn:example:x' jid='1'",
    ]) {
      expect(conditionOf(await staysHere(iq(HOST, query(TWO, attrs))))).toBe('service-unavailable')
    }
  })

  it('an attribute with a prefix is another one, and so is one of a child or of the IQ', async () => {
    for (const payload of [
      query(TWO, `xmlns:x='${P}' x:node='1' jid='1'`),
      `<query xmlns='${TWO}' jid='1'><item node='1'/></query>`,
      `<query xmlns='${TWO}' jid='1'>node='1'</query>`,
      `<query xmlns='${TWO}' jid=" node='1' "/>`,
    ]) {
      expect(conditionOf(await staysHere(iq(HOST, payload)))).toBe('service-unavailable')
    }
    const onIq = `<iq type='get' id='${newId()}' to='${HOST}' node='1'>${query(TWO, "jid='1'")}</iq>`
    expect(conditionOf(await staysHere(onIq))).toBe('service-unavailable')
  })

  it('a filter with a prefix', async () => {
    await passes(iq(HOST, query(PREFIXED, "xml:lang='fr'")))
    expect(conditionOf(await staysHere(iq(HOST, query(PREFIXED, "lang='fr'"))))).toBe('service-unavailable')
  })

  it('what the server serves itself: the manager where the filter fits, else the server', async () => {
    const roster = await staysHere(iq('', query(ROSTER)))
    expect([roster.attrs.type, roster.getChild('query', ROSTER) !== undefined]).toEqual(['result', true])
    const { answer } = await passes(iq('', query(ROSTER, "ver=''")))
    expect(answer.getChild('done')).toBeDefined()
  })
})
