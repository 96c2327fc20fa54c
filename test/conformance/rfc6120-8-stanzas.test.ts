/** RFC 6120 §8 over real sockets: addresses, ids, types and languages of stanzas, their semantics and their errors. */

import type { Element } from '@xmpp/xml'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { STANZA_ERROR_TYPES } from '../../server/index.ts'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { conditionOf, troubles } from '../shared/streams.ts'

const NS_ERRORS = 'urn:ietf:params:xml:ns:xmpp-stanzas'
const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`
const PING = "<ping xmlns='urn:xmpp:ping'/>"

let server: TestServer
let juliet: TestStream
let romeo: TestStream

beforeAll(async () => {
  server = await startServer(
    { virtualHosts: { [HOST]: {} }, modules_enabled: [...USUAL_PLUGINS, 'private', 'vcard'] },
    [JULIET, ROMEO],
  )
  juliet = await login(server.c2sPort, `${JULIET}/balcony`)
  romeo = await login(server.c2sPort, `${ROMEO}/orchard`)
  await juliet.settled()
  await romeo.settled()
  juliet.received.length = 0
  romeo.received.length = 0
})

afterAll(async () => {
  await juliet.close()
  await romeo.close()
  expect(troubles(server)).toEqual([])
  await server.stop()
})

let ids = 0
const newId = () => `s${++ids}`

/** What has come for a stream, once all that was sent has been worked on; taken out. */
async function arrived(stream: TestStream): Promise<Element[]> {
  await juliet.settled()
  await romeo.settled()
  return stream.received.splice(0)
}

/** Checks an error for its form (§8.3), and says its condition and type. */
function errorOf(answer: Element, request: { name: string; id: string; to?: string }): string[] {
  expect(answer.getName()).toBe(request.name)
  expect(answer.attrs.type).toBe('error')
  expect(answer.attrs.id).toBe(request.id)
  if (request.to !== undefined) expect(answer.attrs.from).toBe(request.to)
  const errors = answer.getChildren('error')
  expect(errors).toHaveLength(1)
  const [condition, ...more] = errors[0]!.getChildElements()
  expect(condition!.getNS()).toBe(NS_ERRORS)
  expect(Object.keys(STANZA_ERROR_TYPES)).toContain(condition!.getName())
  for (const child of more) {
    expect([child.getName(), child.getNS(), child.attrs['xml:lang']]).toEqual(['text', NS_ERRORS, 'en'])
  }
  return [condition!.getName(), errors[0]!.attrs.type as string]
}

describe('§8.1.1: to', () => {
  it('§8.1.1.1: a message without it is for the sender’s own account', async () => {
    const id = newId()
    juliet.send(`<message id='${id}' type='chat'><body>note</body></message>`)
    expect((await juliet.withId(id)).attrs.from).toBe(juliet.jid)
  })

  it('§8.1.1.1: presence without it is broadcast to who is subscribed, and to nobody else', async () => {
    juliet.send('<presence><status>here</status></presence>')
    expect(await arrived(romeo)).toEqual([])
    expect((await arrived(juliet)).every(({ attrs }) => attrs.from === juliet.jid)).toBe(true)
  })

  it('§8.1.1.1: an IQ without it is answered for the account', async () => {
    const id = newId()
    const answer = await juliet.ask(`<iq type='get' id='${id}'><query xmlns='jabber:iq:roster'/></iq>`)
    expect(answer.attrs.type).toBe('result')
    // §8.1.2.1: from the account, or from nobody.
    expect([undefined, JULIET]).toContain(answer.attrs.from)
  })

  it.each(['message', 'presence', 'iq'])(
    '§8.3.3.8: a malformed one gives jid-malformed: %s',
    async (name) => {
      for (const to of ['@capulet.lit', 'a@', 'a@@b', 'ro meo@capulet.lit', '.', 'romeo@capulet.lit/', '']) {
        const id = newId()
        const iq = name === 'iq'
        juliet.send(`<${name} id='${id}' to='${to}' ${iq ? "type='get'" : ''}>${iq ? PING : ''}</${name}>`)
        const answer = await juliet.withId(id)
        expect(errorOf(answer, { name, id })).toEqual(['jid-malformed', 'modify'])
        expect(answer.attrs.to).toBe(juliet.jid)
      }
    },
  )

  it('§8.1.1: a malformed one of an error or an answer gives nothing', async () => {
    juliet.send(
      `<message type='error' to='@'/><presence type='error' to='@'/><iq type='result' id='1' to='@'/><iq type='error' id='1' to='@'/>`,
    )
    expect(await arrived(juliet)).toEqual([])
  })
})

describe('§8.1.2: from', () => {
  it.each([
    ['none', ''],
    ['the full JID', `from='${JULIET}/balcony'`],
    ['the bare JID', `from='${JULIET}'`],
  ])('§8.1.2.1: %s: what is delivered has the full JID', async (_name, from) => {
    const id = newId()
    juliet.send(`<message id='${id}' to='${romeo.jid}' ${from}/>`)
    expect((await romeo.withId(id)).attrs.from).toBe(juliet.jid)
  })

  it.each([
    ['message', `<message from='${ROMEO}/orchard' to='${JULIET}'/>`],
    ['presence', `<presence from='${JULIET}/chamber'/>`],
    ['iq', `<iq type='get' id='1' from='${HOST}' to='${HOST}'>${PING}</iq>`],
    ['what is no address', `<message from='@' to='${JULIET}'/>`],
    ['nothing', `<message from='' to='${JULIET}'/>`],
  ])('§8.1.2.1, §4.9.3.9: somebody else’s ends the stream with invalid-from: %s', async (_name, text) => {
    const liar = await login(server.c2sPort, `${ROMEO}/liar`, { presence: false })
    liar.send(text)
    expect((await liar.streamError()).condition).toBe('invalid-from')
    await liar.closed()
    expect(await arrived(juliet)).toEqual([])
  })
})

describe('§8.1.3: id', () => {
  it('§8.2.3 rule 1: an IQ without one, or with an empty one, gives bad-request', async () => {
    for (const id of ['', "id=''"]) {
      juliet.send(`<iq type='get' ${id} to='${HOST}'>${PING}</iq>`)
      const answer = await juliet.named('iq')
      expect([answer.attrs.type, conditionOf(answer)]).toEqual(['error', 'bad-request'])
    }
  })

  it('a message and presence need none, and an error has none then', async () => {
    juliet.send(`<message to='${romeo.jid}'><body>no id</body></message>`)
    expect((await romeo.named('message')).attrs).not.toHaveProperty('id')
    juliet.send("<message to='nobody@nowhere.lit'/>")
    const error = await juliet.named('message')
    expect(error.attrs).not.toHaveProperty('id')
    expect(conditionOf(error)).toBe('remote-server-not-found')
  })

  it('an answer has the id of what it answers, whatever characters it has', async () => {
    juliet.send(`<iq type='get' id='&lt;&amp;&quot; é 😀' to='${HOST}'>${PING}</iq>`)
    expect((await juliet.withId('<&" é 😀')).attrs.type).toBe('result')
  })
})

describe('§8.1.4: type', () => {
  it('RFC 6121 §5.2.2: a message of a type that nobody knows is a normal one', async () => {
    for (const type of ['shout', '']) {
      const id = newId()
      juliet.send(`<message id='${id}' to='${ROMEO}' type='${type}'><body>?</body></message>`)
      expect((await romeo.withId(id)).attrs.type).toBe(type)
    }
  })

  it.each(['', `to='${ROMEO}'`, `to='${ROMEO}/orchard'`, `to='${HOST}'`])(
    '§8.3.3.1: presence of a type that nobody knows gives bad-request: %s',
    async (to) => {
      const id = newId()
      juliet.send(`<presence id='${id}' type='away' ${to}/>`)
      expect(errorOf(await juliet.withId(id), { name: 'presence', id })).toEqual(['bad-request', 'modify'])
      expect(await arrived(romeo)).toEqual([])
    },
  )

  it.each(['', "type='ask'", "type=''", "type='GET'"])(
    '§8.2.3 rule 2: an IQ of no or another type gives bad-request: %s',
    async (type) => {
      for (const to of ['', `to='${HOST}'`, `to='${ROMEO}/orchard'`]) {
        const id = newId()
        juliet.send(`<iq id='${id}' ${type} ${to}>${PING}</iq>`)
        expect(errorOf(await juliet.withId(id), { name: 'iq', id })).toEqual(['bad-request', 'modify'])
      }
      expect(await arrived(romeo)).toEqual([])
    },
  )
})

describe('§8.1.5: xml:lang', () => {
  it('§4.7.4: the answer to a stream header names the language that the server writes', async () => {
    const stream = await login(server.c2sPort, `${JULIET}/lang`, { header: "xml:lang='fr'", presence: false })
    expect(stream.header?.attrs['xml:lang']).toBe('en')
    await stream.close()
  })

  it('a stanza without one gets that of the stream; one that has one keeps it', async () => {
    const stream = await login(server.c2sPort, `${JULIET}/lang`, {
      header: "xml:lang='fr-CA'",
      presence: false,
    })
    stream.send(
      `<message id='l1' to='${romeo.jid}'/><message id='l2' to='${romeo.jid}' xml:lang='de'/><message id='l3' to='${romeo.jid}' xml:lang=''/>`,
    )
    expect((await romeo.withId('l1')).attrs['xml:lang']).toBe('fr-CA')
    expect((await romeo.withId('l2')).attrs['xml:lang']).toBe('de')
    expect((await romeo.withId('l3')).attrs['xml:lang']).toBe('')
    stream.send(`<iq type='get' id='l4' to='${romeo.jid}'><x xmlns='urn:x'/></iq>`)
    expect((await romeo.withId('l4')).attrs['xml:lang']).toBe('fr-CA')
    stream.send(`<presence to='${romeo.jid}' id='l5'/>`)
    expect((await romeo.withId('l5')).attrs['xml:lang']).toBe('fr-CA')
    await stream.close()
    await arrived(romeo)
  })

  it('a stanza on a stream without one gets none', async () => {
    juliet.send(`<message id='l6' to='${romeo.jid}'/>`)
    expect((await romeo.withId('l6')).attrs).not.toHaveProperty('xml:lang')
  })

  it.each(["xml:lang=''", `xml:lang='${'x-'.repeat(200)}x'`, "xml:lang='no language'"])(
    'what is no language is not handed on: %s',
    async (header) => {
      const stream = await login(server.c2sPort, `${JULIET}/lang`, { header, presence: false })
      stream.send(`<message id='l7' to='${romeo.jid}'/>`)
      expect((await romeo.withId('l7')).attrs).not.toHaveProperty('xml:lang')
      await stream.close()
    },
  )
})

describe('§8.2.3: IQ', () => {
  it.each([
    ['rule 3: a get without a child', "<iq type='get' id='ID' TO/>"],
    ['rule 3: a set without a child', "<iq type='set' id='ID' TO></iq>"],
    ['rule 3: text is no child', "<iq type='get' id='ID' TO>ping</iq>"],
    ['rule 3: a get of two children', `<iq type='get' id='ID' TO>${PING}${PING}</iq>`],
    ['rule 3: a set of two children', `<iq type='set' id='ID' TO>${PING}<x xmlns='urn:x'/></iq>`],
  ])('%s gives bad-request', async (_name, text) => {
    for (const to of [undefined, HOST, JULIET, ROMEO, `${ROMEO}/orchard`, `nobody@${HOST}`]) {
      const id = newId()
      juliet.send(text.replace('ID', id).replace('TO', to === undefined ? '' : `to='${to}'`))
      const answer = await juliet.withId(id)
      expect(errorOf(answer, { name: 'iq', id, ...(to && { to }) })).toEqual(['bad-request', 'modify'])
    }
    expect(await arrived(romeo)).toEqual([])
  })

  it('rule 4: a get and a set are answered once, by a result or an error', async () => {
    for (const content of [PING, "<x xmlns='urn:nobody'/>", "<query xmlns='jabber:iq:roster'/>", '<x/>']) {
      for (const to of ['', `to='${HOST}'`, `to='${JULIET}'`, `to='${ROMEO}'`, `to='nobody@${HOST}/x'`]) {
        for (const type of ['get', 'set']) {
          const id = newId()
          juliet.send(`<iq type='${type}' id='${id}' ${to}>${content}</iq>`)
          expect(['result', 'error']).toContain((await juliet.withId(id)).attrs.type)
          expect((await arrived(juliet)).filter(({ attrs }) => attrs.id === id)).toEqual([])
        }
      }
    }
  })

  it('rules 5 and 7: an answer that nobody asked for is never answered', async () => {
    for (const to of ['', `to='${HOST}'`, `to='${JULIET}'`, `to='${ROMEO}'`, `to='${ROMEO}/gone'`]) {
      juliet.send(`<iq type='result' id='n' ${to}/><iq type='error' id='n' ${to}>${PING}<error/></iq>`)
    }
    expect(await arrived(juliet)).toEqual([])
    expect(await arrived(romeo)).toEqual([])
  })

  it('rule 6: a result has no child, or one', async () => {
    const pong = await juliet.ask(`<iq type='get' id='${newId()}' to='${HOST}'>${PING}</iq>`)
    expect([pong.attrs.type, pong.getChildElements()]).toEqual(['result', []])
    const roster = await juliet.ask(`<iq type='get' id='${newId()}'><query xmlns='jabber:iq:roster'/></iq>`)
    expect(roster.getChildElements()).toHaveLength(1)
  })
})

describe('§8.3: stanza errors', () => {
  const refused: [string, string, string, string][] = [
    ['§8.3.3.1', `<iq type='get' id='ID' to='${HOST}'/>`, 'bad-request', 'modify'],
    ['§8.3.3.8', `<message id='ID' to='@'/>`, 'jid-malformed', 'modify'],
    ['§8.3.3.16', `<message id='ID' to='a@nowhere.lit'/>`, 'remote-server-not-found', 'cancel'],
    ['§8.3.3.19', `<message id='ID' to='nobody@${HOST}'/>`, 'service-unavailable', 'cancel'],
    [
      '§8.3.3.19',
      `<iq type='get' id='ID' to='${HOST}'><x xmlns='urn:x'/></iq>`,
      'service-unavailable',
      'cancel',
    ],
    [
      '§8.3.3.10',
      "<iq type='set' id='ID'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
      'not-allowed',
      'cancel',
    ],
  ]
  it.each(refused)('%s: %s gives %s, of type %s', async (_rule, text, condition, type) => {
    const id = newId()
    const [, name = '', to] = /^<(\w+)[^>]*?(?:to='([^'@]+|\w+@[^']+)')?[/>]/.exec(text) ?? []
    juliet.send(text.replace('ID', id))
    const answer = await juliet.withId(id)
    expect(errorOf(answer, { name, id, ...(to !== undefined && { to }) })).toEqual([condition, type])
    expect(STANZA_ERROR_TYPES[condition as keyof typeof STANZA_ERROR_TYPES]).toBe(type)
  })

  it('§8.3.1 rule 4: an error is never answered with an error', async () => {
    for (const to of [
      `to='nobody@${HOST}'`,
      `to='nobody@${HOST}/x'`,
      "to='a@nowhere.lit'",
      `to='${HOST}'`,
      `to='${ROMEO}/gone'`,
      "to='@'",
    ]) {
      const error = `<error type='cancel'><gone xmlns='${NS_ERRORS}'/></error>`
      juliet.send(`<message type='error' id='e' ${to}>${error}</message>`)
      juliet.send(`<presence type='error' id='e' ${to}>${error}</presence>`)
      juliet.send(`<iq type='error' id='e' ${to}>${error}</iq>`)
      // Nor one that lacks what §8.3.1 rule 3 asks for.
      juliet.send(
        `<message type='error' id='e' ${to}/><presence type='error' ${to}/><iq type='error' id='e' ${to}/>`,
      )
    }
    expect(await arrived(juliet)).toEqual([])
  })

  it('§8.3.1: an error goes to whom it is for, with all that it says', async () => {
    const error = `<error by='x.lit' type='wait'><policy-violation xmlns='${NS_ERRORS}'/><own xmlns='urn:own'/></error>`
    for (const name of ['message', 'presence', 'iq']) {
      const id = newId()
      juliet.send(`<${name} type='error' id='${id}' to='${romeo.jid}'>${error}</${name}>`)
      const answer = await romeo.withId(id)
      expect(answer.attrs).toMatchObject({ type: 'error', from: juliet.jid })
      expect(answer.getChild('error')!.toString()).toBe(error.replaceAll("'", '"'))
    }
  })
})

describe('§8.4: extended content', () => {
  it('of a message and of presence is passed on as it is, known or not', async () => {
    const content = "<a xmlns='urn:one' b='&lt;'>t<c xmlns='urn:two'/>é</a><body>x</body>"
    for (const name of ['message', 'presence']) {
      const id = newId()
      juliet.send(`<${name} id='${id}' to='${romeo.jid}'>${content}</${name}>`)
      const [first] = (await romeo.withId(id)).getChildElements()
      expect(first!.toString()).toBe('<a xmlns="urn:one" b="&lt;">t<c xmlns="urn:two"/>é</a>')
    }
  })

  it('of an IQ for the server that it does not know gives service-unavailable', async () => {
    for (const to of ['', `to='${HOST}'`, `to='${JULIET}'`, `to='${ROMEO}'`, `to='nobody@${HOST}'`]) {
      const id = newId()
      juliet.send(`<iq type='get' id='${id}' ${to}><x xmlns='urn:nobody'/></iq>`)
      expect(errorOf(await juliet.withId(id), { name: 'iq', id })).toEqual(['service-unavailable', 'cancel'])
    }
  })

  it('of an IQ for a resource is the resource’s matter', async () => {
    const id = newId()
    juliet.send(`<iq type='set' id='${id}' to='${romeo.jid}'><x xmlns='urn:nobody'/></iq>`)
    expect((await romeo.withId(id)).getChild('x', 'urn:nobody')).toBeDefined()
  })

  it('§4.9.3.24: what is no stanza ends the stream with unsupported-stanza-type', async () => {
    for (const text of ['<shout/>', "<message xmlns='urn:x'/>"]) {
      const stream = await login(server.c2sPort, `${JULIET}/odd`, { presence: false })
      stream.send(text)
      expect((await stream.streamError()).condition).toBe('unsupported-stanza-type')
      await stream.closed()
    }
  })
})
