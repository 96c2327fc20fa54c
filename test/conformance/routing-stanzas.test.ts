/** What the router does with stanzas that clients send (RFC 6120 §8, §10), whatever they look like. */

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Origin, reply, Stanza, StanzaError, type StanzaEvent, xml } from '../../server/index.ts'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { conditionOf, troubles } from '../shared/streams.ts'

let server: TestServer
let juliet: TestStream
let romeo: TestStream
const undo: (() => void)[] = []

beforeAll(async () => {
  server = await startServer({ virtualHosts: { 'capulet.lit': {}, 'montague.lit': {} } }, [
    'juliet@capulet.lit',
    'romeo@montague.lit',
  ])
  juliet = await login(server.c2sPort, 'juliet@capulet.lit/balcony', { presence: false })
  romeo = await login(server.c2sPort, 'romeo@montague.lit/orchard')
})

afterEach(() => {
  for (const remove of undo.splice(0)) remove()
})

afterAll(async () => {
  await juliet.close()
  await romeo.close()
  await server.stop()
})

function hook(
  event: string,
  handler: (event: StanzaEvent) => unknown,
  host = 'capulet.lit',
  priority = 0,
): void {
  undo.push(server.server.hosts.get(host)!.events.add(event, handler, priority, 'test'))
}

describe('an IQ that is not made as §8.2.3 asks', () => {
  it.each([
    ['no type', "<iq id='1' to='capulet.lit'><a xmlns='urn:x'/></iq>"],
    ['another type', "<iq type='ask' id='1' to='capulet.lit'><a xmlns='urn:x'/></iq>"],
    ['no child', "<iq type='get' id='1' to='capulet.lit'/>"],
    ['two children', "<iq type='set' id='1' to='capulet.lit'><a xmlns='urn:x'/><b xmlns='urn:x'/></iq>"],
  ])('%s: gives bad-request', async (_name, iq) => {
    const answer = await juliet.ask(iq)
    expect([answer.attrs.type, conditionOf(answer), answer.attrs.from]).toEqual([
      'error',
      'bad-request',
      'capulet.lit',
    ])
  })

  it.each(["<iq type='get'><a xmlns='urn:x'/></iq>", "<iq type='get' id=''><a xmlns='urn:x'/></iq>"])(
    'no id: gives bad-request',
    async (iq) => {
      juliet.send(iq)
      expect(conditionOf(await juliet.named('iq'))).toBe('bad-request')
    },
  )

  it.each([
    "<iq type='result' to='capulet.lit'/>",
    "<iq type='result' id='9' to='capulet.lit'><a xmlns='urn:x'/><b xmlns='urn:x'/></iq>",
    "<iq type='error' id='9' to='@@'/>",
  ])('an answer is never answered: %s', async (iq) => {
    juliet.send(iq)
    await juliet.settled()
    expect(juliet.received).toEqual([])
  })
})

it('a result of two children is passed on to whoever waits for it', async () => {
  juliet.send(`<iq type='result' id='two' to='${romeo.jid}'><a xmlns='urn:x'/><b xmlns='urn:x'/></iq>`)
  expect((await romeo.withId('two')).children).toHaveLength(2)
})

describe('addresses', () => {
  it.each([
    ['iq', "<iq type='get' id='1' to='TO'><ping xmlns='urn:xmpp:ping'/></iq>"],
    ['iq without a child', "<iq type='get' id='1' to='TO'/>"],
    ['message', "<message id='1' to='TO'/>"],
    ['presence', "<presence id='1' to='TO'/>"],
  ])('§8.3.3.8: a malformed to gives jid-malformed: %s', async (_name, text) => {
    for (const to of ['@', 'a@', '@b', 'a b@c', 'capulet.lit/', 'a@b/&#x9;', 'x'.repeat(4000), '']) {
      juliet.send(text.replace('TO', to))
      const answer = await juliet.withId('1')
      expect([answer.attrs.type, conditionOf(answer)]).toEqual(['error', 'jid-malformed'])
      expect(answer.attrs.to).toBe(juliet.jid)
      expect(answer.attrs.from).toBeUndefined()
    }
  })

  it('§10.4: a host that is not here gives remote-server-not-found', async () => {
    for (const text of [
      "<iq type='get' id='2' to='verona.lit'><ping xmlns='urn:xmpp:ping'/></iq>",
      "<message id='2' to='tybalt@verona.lit'/>",
    ]) {
      juliet.send(text)
      const answer = await juliet.withId('2')
      expect([conditionOf(answer), answer.attrs.to]).toEqual(['remote-server-not-found', juliet.jid])
    }
    juliet.send("<message type='error' to='tybalt@verona.lit'/><iq type='result' id='3' to='verona.lit'/>")
    await juliet.settled()
    expect(juliet.received).toEqual([])
  })

  it('§8.1.2.1: from is stamped with the full JID', async () => {
    juliet.send(`<message to='${romeo.jid}' id='s1'/>`)
    expect((await romeo.withId('s1')).attrs.from).toBe(juliet.jid)
  })

  it.each([
    'juliet@capulet.lit',
    'juliet@capulet.lit/balcony',
    'JULIET@Capulet.lit',
    'JULIET@Capulet.lit/balcony',
  ])('§8.1.2.1: its own from is taken, and is the full JID then: %s', async (from) => {
    juliet.send(`<message from='${from}' to='${romeo.jid}' id='s2'/>`)
    expect((await romeo.withId('s2')).attrs.from).toBe(juliet.jid)
  })

  it.each([
    'romeo@montague.lit',
    'juliet@capulet.lit/chamber',
    'capulet.lit',
    'juliet@montague.lit',
    '@@',
    '',
  ])("§4.9.3.9: somebody else's from gives invalid-from: %s", async (from) => {
    const liar = await login(server.c2sPort, 'juliet@capulet.lit/liar', { presence: false })
    liar.send(`<message from='${from}' to='${romeo.jid}' id='lie'/><message to='${romeo.jid}' id='lie'/>`)
    expect((await liar.streamError()).condition).toBe('invalid-from')
    await liar.closed()
    await romeo.settled()
    expect(romeo.received.some((e) => e.attrs.id === 'lie')).toBe(false)
  })

  it('to is prepared before handlers see it', async () => {
    juliet.send("<message to='ROMEO@Montague.LIT/orchard' id='s3'/>")
    expect((await romeo.withId('s3')).attrs.to).toBe(romeo.jid)
  })
})

describe('what nobody handles', () => {
  it.each([
    '',
    "to='capulet.lit'",
    "to='juliet@capulet.lit'",
    "to='romeo@montague.lit'",
    "to='nobody@capulet.lit'",
  ])('§8.4: an IQ gets service-unavailable: %s', async (to) => {
    const answer = await juliet.ask(`<iq type='get' id='4' ${to}><x xmlns='urn:nobody'/></iq>`)
    expect(conditionOf(answer)).toBe('service-unavailable')
  })

  it('RFC 6121 §8.5.3.2.3: an IQ to a resource that is not there gets service-unavailable', async () => {
    const answer = await juliet.ask("<iq type='get' id='5' to='romeo@montague.lit/x'><x xmlns='urn:x'/></iq>")
    expect([conditionOf(answer), answer.attrs.from]).toEqual(['service-unavailable', 'romeo@montague.lit/x'])
  })

  it('an IQ to a resource is its own to answer', async () => {
    const answer = juliet.ask(`<iq type='get' id='6' to='${romeo.jid}'><x xmlns='urn:x'/></iq>`)
    const asked = await romeo.withId('6')
    romeo.send(`<iq type='result' id='6' to='${asked.attrs.from}'/>`)
    expect((await answer).attrs.from).toBe(romeo.jid)
  })
})

describe('events, under the names of Prosody', () => {
  it('come in order: pre-stanza, pre-iq/…, iq/…, iq-get/…; higher priorities first', async () => {
    const seen: string[] = []
    for (const name of ['pre-stanza', 'pre-iq/bare', 'iq/bare', 'iq/self', 'iq-get/self/urn:x:y']) {
      hook(name, () => void seen.push(name), 'capulet.lit', 10)
      hook(name, () => void seen.push(`${name} later`), 'capulet.lit', 5)
    }
    hook('iq-get/self/urn:x:y', ({ origin, stanza }) => {
      origin.send(reply(stanza))
      return true
    })
    await juliet.ask("<iq type='get' id='7'><y xmlns='urn:x'/></iq>")
    expect(seen).toEqual([
      ...['pre-stanza', 'pre-stanza later', 'pre-iq/bare', 'pre-iq/bare later'],
      ...['iq/bare', 'iq/bare later', 'iq/self', 'iq/self later'],
      ...['iq-get/self/urn:x:y', 'iq-get/self/urn:x:y later'],
    ])
  })

  it('pre- events may veto', async () => {
    hook('pre-message/full', ({ origin, stanza }) => {
      if (stanza.attrs.id !== 'no') return undefined
      origin.send(new Stanza('message', { type: 'error', id: 'no' }))
      return true
    })
    juliet.send(`<message to='${romeo.jid}' id='no'/><message to='${romeo.jid}' id='yes'/>`)
    await juliet.withId('no')
    await romeo.withId('yes')
    expect(romeo.received.some((e) => e.attrs.id === 'no')).toBe(false)
  })
})

describe('a handler that fails', () => {
  it.each([
    [
      'throws',
      () => {
        throw new Error('broken-by-test')
      },
    ],
    ['rejects', () => Promise.reject(new Error('broken-by-test'))],
  ])(
    '%s: the asker gets internal-server-error, it is logged, and the session goes on',
    async (_name, handler) => {
      hook('iq-get/host/urn:x:bad', handler)
      const answer = await juliet.ask("<iq type='get' id='8' to='capulet.lit'><bad xmlns='urn:x'/></iq>")
      expect(conditionOf(answer)).toBe('internal-server-error')
      expect(answer.toString()).not.toContain('broken-by-test')
      const line = await server.logged('broken-by-test')
      expect(line).toContain('test')
      await juliet.settled()
    },
  )

  it('throws a StanzaError: the asker gets that, and nothing is logged', async () => {
    const before = troubles(server).length
    hook('iq-get/host/urn:x:no', () => {
      throw new StanzaError('forbidden', 'Not you')
    })
    const answer = await juliet.ask("<iq type='get' id='9' to='capulet.lit'><no xmlns='urn:x'/></iq>")
    expect([conditionOf(answer), answer.getChild('error')!.getChildText('text')]).toEqual([
      'forbidden',
      'Not you',
    ])
    expect(troubles(server).length).toBe(before)
  })

  it('at an answer: nobody is answered', async () => {
    hook('iq-result/host/r1', () => {
      throw new Error('at an answer')
    })
    juliet.send("<iq type='result' id='r1' to='capulet.lit'/>")
    await server.logged('at an answer')
    await juliet.settled()
    expect(juliet.received).toEqual([])
  })

  it('within the stream: the stream ends with internal-server-error, others go on', async () => {
    hook('stanza/urn:x:boom', () => {
      throw new Error('boom-by-test')
    })
    const victim = await login(server.c2sPort, 'juliet@capulet.lit/victim', { presence: false })
    victim.send("<boom xmlns='urn:x'/>")
    const error = await victim.streamError()
    expect(error.condition).toBe('internal-server-error')
    expect(error.text).not.toContain('boom')
    await victim.closed()
    await juliet.settled()
  })

  it('at the end of a session: it ends all the same', async () => {
    hook('resource-unbind', () => {
      throw new Error('unbind-by-test')
    })
    const guest = await login(server.c2sPort, 'juliet@capulet.lit/guest')
    await guest.close()
    await server.logged('unbind-by-test')
    expect(server.server.fullJids.has(guest.jid)).toBe(false)
  })
})

describe('order', () => {
  it('is kept while an async handler holds the stream, in whatever pieces it comes', async () => {
    let release = (): void => {}
    hook('iq-get/host/urn:x:wait', async ({ origin, stanza }) => {
      await new Promise<void>((resolve) => {
        release = resolve
      })
      origin.send(reply(stanza))
      return true
    })
    const ping = (id: string) =>
      `<iq type='get' id='${id}' to='capulet.lit'><ping xmlns='urn:xmpp:ping'/></iq>`
    juliet.send(`${ping('a')}<iq type='get' id='b' to='capulet.lit'><wait xmlns='urn:x'/></iq>${ping('c')}`)
    await juliet.withId('a')
    for (const piece of ping('d')) juliet.send(piece)
    // Others are not held.
    await romeo.settled()
    expect(juliet.received).toEqual([])
    release()
    const ids: string[] = []
    for (let i = 0; i < 3; i++) ids.push((await juliet.next()).attrs.id as string)
    expect(ids).toEqual(['b', 'c', 'd'])
  })

  it('a handler that never ends holds its asker only, and the connection can be dropped', async () => {
    hook('iq-get/host/urn:x:never', () => new Promise(() => {}))
    const stuck = await login(server.c2sPort, 'juliet@capulet.lit/stuck', { presence: false })
    stuck.send("<iq type='get' id='b' to='capulet.lit'><never xmlns='urn:x'/></iq>")
    await juliet.settled()
    const session = server.server.fullJids.get(stuck.jid)!
    await stuck.destroy()
    // A held connection is not read from, so that its end is seen when something is written, or it is kicked.
    session.close()
    session.connection.destroy()
    expect(server.server.fullJids.has(stuck.jid)).toBe(false)
  })

  it('async answers go to whoever asked, also when it has gone meanwhile', async () => {
    let release = (): void => {}
    let origin: Origin | undefined
    hook('iq-get/host/urn:x:gone', async (event) => {
      origin = event.origin
      await new Promise<void>((resolve) => {
        release = resolve
      })
      event.origin.send(reply(event.stanza, xml('late')))
      throw new StanzaError('gone')
    })
    const guest = await login(server.c2sPort, 'juliet@capulet.lit/guest2', { presence: false })
    guest.send("<iq type='get' id='b' to='capulet.lit'><gone xmlns='urn:x'/></iq>")
    await juliet.settled()
    await expect.poll(() => origin).toBeDefined()
    guest.socket.resetAndDestroy()
    release()
    await expect.poll(() => server.server.fullJids.has(guest.jid)).toBe(false)
    await juliet.settled()
  })
})

it('nothing but what the tests broke is in the log as an error', () => {
  expect(troubles(server).filter((line) => !/by-test|at an answer/.test(line))).toEqual([])
})
