/**
 * Rule D4 for the plugins of a server for people: each announces itself in service discovery, and all of it, its
 * announcements and its IQs, can be delegated away. The host CAPULET delegates every namespace; MONTAGUE has the same
 * plugins and keeps them, to compare.
 */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { configFromObject } from '../../server/config/index.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import {
  conditionOf,
  errorLines,
  forwardedTo,
  goodReply,
  newId,
  unreadRequests,
} from '../shared/delegation.ts'
import { announcement, feature, infoOf, isDiscoQuestion } from '../shared/delegation-discovery.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const CAPULET = 'capulet.lit'
const MONTAGUE = 'montague.lit'
const MANAGER = `all.${CAPULET}`
const JULIET = `juliet@${CAPULET}`
const ROMEO = `romeo@${MONTAGUE}`

interface Delegable {
  readonly namespace: string
  readonly plugins: readonly string[]
  /** What the plugin would answer, or do. */
  readonly get: string
  readonly set: string
  /** Where the plugin answers `get` with a result, on a host that keeps it; none: the account itself. */
  readonly served?: 'host'
  /** Whether the disco#info of accounts has the namespace too. */
  readonly ofAccounts?: true
}

const element = (name: string, xmlns: string, content = '') =>
  `<${name} xmlns='${xmlns}'>${content}</${name}>`

const TABLE: readonly Delegable[] = [
  {
    namespace: 'vcard-temp',
    plugins: ['vcard'],
    get: element('vCard', 'vcard-temp'),
    set: element('vCard', 'vcard-temp', '<FN>Juliet</FN>'),
  },
  {
    namespace: 'jabber:iq:private',
    plugins: ['private'],
    get: element('query', 'jabber:iq:private', `<notes xmlns='urn:x:notes'/>`),
    set: element('query', 'jabber:iq:private', `<notes xmlns='urn:x:notes'>a</notes>`),
  },
  {
    namespace: 'urn:xmpp:mam:2',
    plugins: ['mam'],
    get: element('prefs', 'urn:xmpp:mam:2'),
    set: `<prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never/></prefs>`,
    ofAccounts: true,
  },
  {
    namespace: 'urn:xmpp:blocking',
    plugins: ['blocklist'],
    get: element('blocklist', 'urn:xmpp:blocking'),
    set: element('block', 'urn:xmpp:blocking', `<item jid='tybalt@${CAPULET}'/>`),
  },
  {
    namespace: 'jabber:iq:last',
    plugins: ['lastactivity', 'uptime'],
    get: element('query', 'jabber:iq:last'),
    set: element('query', 'jabber:iq:last'),
    served: 'host',
  },
  {
    namespace: 'urn:xmpp:carbons:2',
    plugins: ['carbons'],
    get: element('enable', 'urn:xmpp:carbons:2'),
    set: element('enable', 'urn:xmpp:carbons:2'),
  },
  {
    namespace: 'jabber:iq:register',
    plugins: ['register'],
    get: element('query', 'jabber:iq:register'),
    set: element('query', 'jabber:iq:register', '<remove/>'),
  },
  {
    namespace: 'urn:xmpp:ping',
    plugins: ['ping'],
    get: element('ping', 'urn:xmpp:ping'),
    set: element('ping', 'urn:xmpp:ping'),
  },
  {
    namespace: 'jabber:iq:version',
    plugins: ['version'],
    get: element('query', 'jabber:iq:version'),
    set: element('query', 'jabber:iq:version'),
    served: 'host',
  },
  {
    namespace: 'urn:xmpp:time',
    plugins: ['time'],
    get: element('time', 'urn:xmpp:time'),
    set: element('time', 'urn:xmpp:time'),
    served: 'host',
  },
  {
    namespace: 'jabber:iq:roster',
    plugins: ['roster'],
    get: element('query', 'jabber:iq:roster'),
    set: element('query', 'jabber:iq:roster', `<item jid='nurse@${CAPULET}'/>`),
  },
]

/** What a plugin answers to `set` where that is the request that it serves. */
const SERVED_BY_SET: ReadonlySet<string> = new Set(['urn:xmpp:carbons:2'])
/** Those that keep something of an account. */
const KEEPING = ['vcard-temp', 'jabber:iq:private', 'urn:xmpp:mam:2', 'urn:xmpp:blocking', 'jabber:iq:roster']

const modules = [
  ...['saslauth', 'disco', 'delegation', 'message', 'csi_simple', 'smacks', 'offline'],
  ...TABLE.flatMap(({ plugins }) => plugins),
]
const delegations = Object.fromEntries(TABLE.map(({ namespace }) => [namespace, { jid: MANAGER }]))
const component = { component_secret: 'secret', modules_enabled: ['delegation'] }
let server: TestServer
let juliet: TestStream
let manager: TestStream
let streams: TestStream[] = []

beforeEach(async () => {
  server = await startServer(
    {
      modules_enabled: modules,
      virtualHosts: { [CAPULET]: { delegations }, [MONTAGUE]: {} },
      components: { [MANAGER]: component },
    },
    [JULIET, `nurse@${CAPULET}`, ROMEO],
  )
  juliet = await login(server.c2sPort, `${JULIET}/balcony`)
  manager = await connectComponent(server.componentPort, MANAGER)
  streams = [juliet, manager]
})

afterEach(async () => {
  for (const stream of streams) await stream.destroy()
  await server.stop()
  expect(errorLines(server)).toEqual([])
})

/** Addresses whose IQs are delegated (F1); null is none. */
const TARGETS = [null, CAPULET, JULIET, `nurse@${CAPULET}`]

function request(stream: TestStream, type: string, to: string | null, payload: string): Promise<Element> {
  const address = to === null ? '' : ` to='${to}'`
  return stream.ask(`<iq type='${type}' id='${newId()}'${address}>${payload}</iq>`)
}

/** The manager answers what it is asked about itself, with this for each namespace. */
function announcing(content: (namespace: string) => string): void {
  const answer = (question: Element): boolean => {
    if (!isDiscoQuestion(question)) return false
    const node = String(question.getChild('query')!.attrs.node)
    const { namespace } = TABLE.find((row) => node.endsWith(`:${row.namespace}`))!
    manager.send(announcement(question, content(namespace)))
    return true
  }
  manager.watch = answer
  // Some have come before.
  for (const question of manager.received.splice(0)) if (!answer(question)) manager.received.push(question)
}

/** Waits until the host and the accounts announce a feature, or no longer. */
async function until(there: boolean, name: string): Promise<void> {
  for (;;) {
    const seen = await Promise.all([CAPULET, JULIET].map((of) => infoOf(juliet, of)))
    if (seen.every(({ features }) => features.includes(name) === there)) return
  }
}

describe.each(TABLE.map((row) => [row.namespace, row] as const))('D4: %s', (namespace, row) => {
  it('is the plugin’s where nobody else manages it', async () => {
    const romeo = await login(server.c2sPort, `${ROMEO}/orchard`)
    streams.push(romeo)
    const to = row.served === 'host' ? MONTAGUE : null
    const isSet = SERVED_BY_SET.has(namespace)
    const answer = await request(romeo, isSet ? 'set' : 'get', to, isSet ? row.set : row.get)
    expect(conditionOf(answer)).not.toBe('service-unavailable')
    const { features } = await infoOf(romeo, MONTAGUE)
    expect(features.filter((name) => name === namespace)).toEqual([namespace])
    const ofAccount = (await infoOf(romeo, ROMEO)).features
    expect(ofAccount.includes(namespace)).toBe(row.ofAccounts === true)
  })

  it.each(['get', 'set'] as const)('F1: an IQ of type %s is the manager’s', async (type) => {
    for (const to of TARGETS) {
      const answer = request(juliet, type, to, row[type])
      const asked = await forwardedTo(manager)
      expect(asked.payload.attrs.xmlns).toBe(namespace)
      expect(asked.iq.attrs).toMatchObject({ type, from: juliet.jid })
      manager.send(goodReply(asked, `<by-the-manager xmlns='${namespace}'/>`))
      const { attrs, children } = await answer
      expect(attrs.type).toBe('result')
      expect(children.join('')).toContain('by-the-manager')
    }
    expect(unreadRequests(manager)).toEqual([])
    // The account is there, and what it sends is not lost or held up.
    expect((await infoOf(juliet, CAPULET)).answer.attrs.type).toBe('result')
  })

  it('F7: when the manager has left, nobody has it; the plugin does nothing', async () => {
    await manager.close()
    for (const type of ['set', 'get'] as const) {
      for (const to of TARGETS) {
        expect(conditionOf(await request(juliet, type, to, row[type]))).toBe('service-unavailable')
      }
    }
    expect([...server.server.hosts.get(CAPULET)!.allSessions()]).toHaveLength(1)
    expect((await infoOf(juliet, CAPULET)).answer.attrs.type).toBe('result')
  })
})

describe('service discovery of a host that delegates all of it', () => {
  const own = (names: readonly string[]) =>
    names.filter((name) =>
      TABLE.some(({ namespace }) => name === namespace || name.startsWith(`${namespace}#`)),
    )

  it('D4: nothing of the plugins, as long as the manager says nothing', async () => {
    announcing(() => '')
    for (const of of [CAPULET, JULIET]) expect(own((await infoOf(juliet, of)).features)).toEqual([])
    // What is not theirs stays.
    expect((await infoOf(juliet, CAPULET)).features).toEqual(
      expect.arrayContaining([
        'http://jabber.org/protocol/disco#info',
        'urn:xmpp:delegation:2',
        'msgoffline',
      ]),
    )
  })

  it('D3, D4, D5: each that the manager announces once, and not when it has left', async () => {
    announcing((namespace) => feature(namespace) + feature(`${namespace}#manager`))
    const last = TABLE.at(-1)!.namespace
    await until(true, `${last}#manager`)
    const all = TABLE.flatMap(({ namespace }) => [namespace, `${namespace}#manager`]).sort()
    for (const of of [CAPULET, JULIET]) {
      const { features } = await infoOf(juliet, of)
      expect(own(features).sort()).toEqual(all)
    }
    await manager.close()
    await until(false, `${last}#manager`)
    for (const of of [CAPULET, JULIET]) expect(own((await infoOf(juliet, of)).features)).toEqual([])
  })
})

it('C6: the plugins answer again once nothing is delegated, and have kept nothing of what the manager was told', async () => {
  for (const { namespace, set } of TABLE.filter((row) => KEEPING.includes(row.namespace))) {
    const answer = request(juliet, 'set', null, set)
    manager.send(goodReply(await forwardedTo(manager)))
    expect((await answer).attrs.type, namespace).toBe('result')
  }
  const kept = ['storage', 'data_path', 'interfaces', 'local_interfaces', 'c2s_ports', 'component_ports']
  const same = Object.fromEntries(kept.map((name) => [name, server.server.config.get('*', name)]))
  const virtualHosts = { [CAPULET]: {}, [MONTAGUE]: {} }
  const without = { ...same, modules_enabled: modules, virtualHosts, components: { [MANAGER]: component } }
  await server.server.reload(configFromObject(without))
  const contents: Record<string, string> = {}
  for (const { namespace, get } of TABLE.filter((row) => KEEPING.includes(row.namespace))) {
    const answer = await request(juliet, 'get', null, get)
    contents[namespace] = conditionOf(answer) === 'result' ? answer.children.join('') : conditionOf(answer)
  }
  expect(contents['vcard-temp']).toBe('item-not-found')
  expect(contents['jabber:iq:private']).not.toContain('>a<')
  expect(contents['urn:xmpp:mam:2']).not.toContain('default="never"')
  expect(contents['urn:xmpp:blocking']).not.toContain('tybalt')
  expect(contents['jabber:iq:roster']).not.toContain('nurse')
  const { features } = await infoOf(juliet, CAPULET)
  for (const { namespace } of TABLE) expect(features).toContain(namespace)
})
