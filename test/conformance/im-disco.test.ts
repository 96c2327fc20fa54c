/** Service discovery, ping, version and time over real sockets (XEP-0030, XEP-0199, XEP-0092, XEP-0202). */

import { readFileSync } from 'node:fs'
import { type as osType } from 'node:os'
import xml, { type Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`
const INFO = 'http://jabber.org/protocol/disco#info'
const ITEMS = 'http://jabber.org/protocol/disco#items'

let server: TestServer
let romeo: TestStream
const streams: TestStream[] = []

async function connect(jid: string): Promise<TestStream> {
  const stream = await login(server.c2sPort, jid)
  streams.push(stream)
  return stream
}

let ids = 0

function ask(to: string, payload: string, stream = romeo): Promise<Element> {
  const address = to === '' ? '' : ` to='${to}'`
  return stream.ask(`<iq type='get' id='q${++ids}'${address}>${payload}</iq>`)
}

function query(to: string, xmlns: string, node = ''): Promise<Element> {
  return ask(to, `<query xmlns='${xmlns}'${node === '' ? '' : ` node='${node}'`}/>`)
}

function condition(answer: Element): string {
  expect(answer.attrs.type).toBe('error')
  return answer.getChild('error')!.getChildElements()[0]!.getName()
}

function features(answer: Element): string[] {
  return answer
    .getChild('query', INFO)!
    .getChildren('feature')
    .map(({ attrs }) => attrs.var as string)
}

beforeEach(async () => {
  server = await startServer(
    {
      virtualHosts: {
        [HOST]: { name: 'House of Capulet', disco_items: [['conference.example.org', 'Rooms elsewhere']] },
        'montague.lit': { hide_os_type: false },
      },
      components: {
        'pubsub.capulet.lit': { component_secret: 'secret', name: 'Boxes' },
        'hidden.capulet.lit': { component_secret: 'secret', disco_hidden: true },
        'deep.pubsub.capulet.lit': { component_secret: 'secret' },
      },
    },
    [JULIET, ROMEO],
  )
  romeo = await connect(ROMEO)
})

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
})

describe('disco of the host', () => {
  it('disco#info: identity, features and forms of all plugins, each once', async () => {
    const { items } = server.server.hosts.get(HOST)!
    items.add('feature', 'urn:x:twice', 'test')
    items.add('feature', 'urn:x:twice', 'test')
    items.add('feature', `urn:x:<&'">`, 'test')
    const form = xml('x', { xmlns: 'jabber:x:data', type: 'result' }, xml('field', { var: 'a' }))
    items.add('extension', form, 'test')
    for (let i = 0; i < 2; i++) {
      const answer = await query(HOST, INFO)
      expect(answer.attrs).toMatchObject({ type: 'result', from: HOST, to: romeo.jid })
      const identities = answer.getChild('query', INFO)!.getChildren('identity')
      expect(identities.map(({ attrs }) => ({ ...attrs }))).toContainEqual({
        category: 'server',
        type: 'im',
        name: 'House of Capulet',
      })
      const list = features(answer)
      expect(list).toEqual(
        expect.arrayContaining([
          INFO,
          ITEMS,
          'jabber:iq:roster',
          'urn:xmpp:ping',
          'jabber:iq:version',
          'urn:xmpp:time',
          `urn:x:<&'">`,
        ]),
      )
      expect(new Set(list).size).toBe(list.length)
      expect(answer.getChild('query')!.getChild('x', 'jabber:x:data')?.toString()).toBe(form.toString())
    }
  })

  it('an item disco-filter leaves out what another plugin announces', async () => {
    const { items } = server.server.hosts.get(HOST)!
    const stop = items.add(
      'disco-filter',
      (kind: string, item: unknown, owner: string) =>
        kind === 'feature' && item === 'urn:xmpp:ping' && owner === 'ping',
      'test',
    )
    expect(features(await query(HOST, INFO))).not.toContain('urn:xmpp:ping')
    stop()
    expect(features(await query(HOST, INFO))).toContain('urn:xmpp:ping')
  })

  it('disco#items: components right below the host, and the option disco_items', async () => {
    const answer = await query(HOST, ITEMS)
    const items = answer.getChild('query', ITEMS)!.getChildren('item')
    expect(items.map(({ attrs }) => [attrs.jid, attrs.name])).toEqual([
      ['pubsub.capulet.lit', 'Boxes'],
      ['conference.example.org', 'Rooms elsewhere'],
    ])
  })

  it('a node is known if a plugin knows it', async () => {
    for (const xmlns of [INFO, ITEMS]) {
      expect(condition(await query(HOST, xmlns, 'urn:x:node'))).toBe('item-not-found')
    }
    server.server.hosts
      .get(HOST)!
      .events.add(
        'host-disco-info-node',
        (event: { node: string; exists: boolean; reply: { payload: Element } }) => {
          if (event.node !== 'urn:x:node') return
          event.exists = true
          event.reply.payload.append(xml('feature', { var: 'urn:x:here' }))
        },
      )
    const answer = await query(HOST, INFO, 'urn:x:node')
    expect(answer.getChild('query')!.attrs.node).toBe('urn:x:node')
    expect(features(answer)).toEqual(['urn:x:here'])
  })
})

describe('disco of accounts', () => {
  it('of oneself, with and without an address', async () => {
    for (const to of ['', ROMEO]) {
      const answer = await query(to, INFO)
      expect(answer.attrs).toMatchObject({ type: 'result', from: ROMEO })
      const identity = answer.getChild('query', INFO)!.getChild('identity')
      expect({ ...identity?.attrs }).toEqual({ category: 'account', type: 'registered' })
      expect(features(answer)).toEqual([INFO, ITEMS])
      expect((await query(to, ITEMS)).attrs.type).toBe('result')
      expect(condition(await query(to, INFO, 'nope'))).toBe('item-not-found')
      expect(condition(await query(to, ITEMS, 'nope'))).toBe('item-not-found')
    }
  })

  it('XEP-0030 §8: strangers can not tell accounts from addresses that are none', async () => {
    const strangers = async () => {
      const answers: string[] = []
      for (const to of [JULIET, `nobody@${HOST}`]) {
        for (const xmlns of [INFO, ITEMS]) {
          for (const node of ['', 'x']) {
            const answer = await query(to, xmlns, node)
            expect(condition(answer)).toBe('service-unavailable')
            answers.push(answer.children.toString())
          }
        }
      }
      expect(new Set(answers).size).toBe(1)
    }
    await strangers()
    await connect(JULIET)
    await strangers()
  })

  it('who is subscribed to the account may ask, online or not', async () => {
    const juliet = await connect(JULIET)
    romeo.send(`<presence type='subscribe' to='${JULIET}'/>`)
    await juliet.next(({ attrs }) => attrs.type === 'subscribe')
    juliet.send(`<presence type='subscribed' to='${ROMEO}'/>`)
    await romeo.next(({ attrs }) => attrs.type === 'subscribed')
    expect((await query(JULIET, INFO)).attrs.type).toBe('result')
    expect((await query(JULIET, ITEMS)).attrs.type).toBe('result')
    await juliet.close()
    expect((await query(JULIET, INFO)).attrs.type).toBe('result')
    expect((await query(JULIET, ITEMS)).attrs.type).toBe('result')
  })
})

describe('small services', () => {
  it('XEP-0199: host and accounts answer pings, whether or not they exist', async () => {
    for (const to of ['', HOST, ROMEO, JULIET, `nobody@${HOST}`]) {
      const answer = await ask(to, `<ping xmlns='urn:xmpp:ping'/>`)
      expect(answer.attrs.type).toBe('result')
      expect(answer.children).toEqual([])
    }
  })

  it('XEP-0092: name and version; the operating system only if allowed', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
    const answer = (await query(HOST, 'jabber:iq:version')).getChild('query', 'jabber:iq:version')!
    expect(answer.getChildText('name')).toBe('Legate')
    expect(answer.getChildText('version')).toBe(version)
    expect(answer.getChild('os')).toBeUndefined()
    const open = (await query('montague.lit', 'jabber:iq:version')).getChild('query')!
    expect(open.getChildText('os')).toBe(osType())
  })

  it('XEP-0202: the time, in UTC', async () => {
    const before = Math.floor(Date.now() / 1000) * 1000
    const time = (await ask(HOST, `<time xmlns='urn:xmpp:time'/>`)).getChild('time', 'urn:xmpp:time')!
    expect(time.getChildText('tzo')).toBe('+00:00')
    const utc = time.getChildText('utc')!
    expect(utc).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    expect(Date.parse(utc)).toBeGreaterThanOrEqual(before)
    expect(Date.parse(utc)).toBeLessThanOrEqual(Date.now())
  })
})
