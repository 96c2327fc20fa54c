/** RFC 6121 §8.5 over real sockets: what the server does with stanzas for its accounts and their resources. */

import type { Element } from '@xmpp/xml'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { describeStoredIn } from '../shared/server-storages.ts'
import { conditionOf, troubles } from '../shared/streams.ts'

const HOST = 'capulet.lit'
const ROMEO = `romeo@${HOST}`

let server: TestServer
let romeo: TestStream
const streams = new Map<string, TestStream>()

async function start(plugins: string[], users: string[]): Promise<void> {
  server = await startServer(
    {
      virtualHosts: { [HOST]: {} },
      modules_enabled: [...USUAL_PLUGINS, ...plugins],
      presence_open_resources: false,
    },
    [ROMEO, ...users.map((name) => `${name}@${HOST}`)],
  )
  romeo = await connect('romeo/orchard', undefined)
}

/** A resource with a priority; undefined for one that sends no presence. */
async function connect(address: string, priority: number | undefined): Promise<TestStream> {
  const [user, resource] = address.split('/')
  const stream = await login(server.c2sPort, `${user}@${HOST}/${resource}`, { presence: false })
  streams.set(address, stream)
  if (priority !== undefined) stream.send(`<presence><priority>${priority}</priority></presence>`)
  await stream.settled()
  return stream
}

async function end(): Promise<void> {
  for (const stream of streams.values()) await stream.destroy()
  streams.clear()
  expect(troubles(server)).toEqual([])
  await server.stop()
}

let ids = 0
const newId = () => `d${++ids}`

/** Who has got a stanza, once everything that was sent is worked on; all that has come is forgotten. */
async function whoGot(fits: (element: Element) => boolean): Promise<string[]> {
  await romeo.settled()
  const names: string[] = []
  for (const [name, stream] of streams) {
    await stream.settled()
    if (stream.received.some(fits)) names.push(name)
    if (stream !== romeo) stream.received.length = 0
  }
  return names
}

function messages(plugins: string[]): void {
  const SITUATIONS: Record<string, { user: string; match?: string[] }> = {
    'account does not exist': { user: 'nobody' },
    'account exists, but no active resources': { user: 'absent' },
    '1+ negative resources but zero non-negative resources': { user: 'negative', match: ['negative/neg'] },
    '1 non-negative resource': { user: 'one', match: ['one/only'] },
    '1+ non-negative resources': {
      user: 'many',
      match: ['many/low', 'many/high1', 'many/neg', 'many/silent'],
    },
  }
  // As in the RFC. A where it has S in brackets: §8.5.1 and §8.5.3.2.1 let the server tell the sender (E) instead.
  const ROWS: [string, 'bare' | 'full match' | 'full no match', ...string[]][] = [
    // situation, address, normal, chat, groupchat, headline, error
    ['account does not exist', 'bare', 'E(S)', 'E(S)', 'E', 'S', 'S'],
    ['account does not exist', 'full no match', 'E(S)', 'E(S)', 'E(S)', 'S', 'S'],
    ['account exists, but no active resources', 'bare', 'O', 'O', 'E', 'S', 'S'],
    ['account exists, but no active resources', 'full no match', 'E(S)', 'O', 'E(S)', 'S', 'S'],
    ['1+ negative resources but zero non-negative resources', 'bare', 'O', 'O', 'E', 'S', 'S'],
    ['1+ negative resources but zero non-negative resources', 'full match', 'D', 'D', 'D', 'D', 'D'],
    ['1+ negative resources but zero non-negative resources', 'full no match', 'E(S)', 'O', 'E(S)', 'S', 'S'],
    ['1 non-negative resource', 'bare', 'M', 'M', 'E', 'A', 'S'],
    ['1 non-negative resource', 'full match', 'D', 'D', 'D', 'D', 'D'],
    ['1 non-negative resource', 'full no match', 'E(S)', 'M', 'E(S)', 'S', 'S'],
    ['1+ non-negative resources', 'bare', 'M', 'M', 'E', 'A', 'S'],
    ['1+ non-negative resources', 'full match', 'D', 'D', 'D', 'D', 'D'],
    ['1+ non-negative resources', 'full no match', 'E(S)', 'M', 'E(S)', 'S', 'S'],
  ]
  const MOST_AVAILABLE: Record<string, string[]> = { one: ['one/only'], many: ['many/high1', 'many/high2'] }
  const NON_NEGATIVE: Record<string, string[]> = {
    one: ['one/only'],
    many: ['many/low', 'many/high1', 'many/high2'],
  }
  const TYPES = ['normal', 'chat', 'groupchat', 'headline', 'error']
  const CELLS = ROWS.flatMap(([situation, address, ...outcomes]) =>
    outcomes.map((outcome, index) => [situation, address, TYPES[index]!, outcome] as const),
  )

  beforeAll(async () => {
    await start(plugins, ['absent', 'negative', 'one', 'many'])
    await connect('negative/neg', -1)
    await connect('one/only', 0)
    await connect('many/low', 1)
    await connect('many/high1', 5)
    await connect('many/high2', 5)
    await connect('many/neg', -5)
    await connect('many/silent', undefined)
    if (plugins.includes('carbons')) {
      for (const stream of streams.values()) {
        await stream.ask("<iq type='set' id='carbons'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
      }
    }
  })

  afterAll(end)

  const kept = (user: string) =>
    plugins.includes('offline') ? server.server.storage.openArchive(HOST, 'offline').count(user, {}) : 0
  const archived = (user: string) => server.server.storage.openArchive(HOST, 'archive').count(user, {})

  it.each(CELLS)('%s: %s, %s: %s', async (situation, address, type, outcome) => {
    const { user, match = [] } = SITUATIONS[situation]!
    const targets =
      address === 'bare'
        ? [`${user}@${HOST}`]
        : address === 'full match'
          ? match.map((one) => one.replace('/', `@${HOST}/`))
          : [`${user}@${HOST}/gone`]
    // §5.2.2: no type, and one that nobody knows, are normal.
    const types = type === 'normal' ? ["type='normal'", '', "type='unknown'"] : [`type='${type}'`]
    for (const to of targets) {
      for (const attr of types) {
        const id = newId()
        const before = await kept(user)
        const archivedBefore = await archived(user)
        romeo.send(`<message id='${id}' to='${to}' ${attr}><body>${id}</body></message>`)
        // With carbons a copy of what others get has no such id itself.
        const got = await whoGot((element) => element.is('message') && element.attrs.id === id)
        const stored = (await kept(user)) - before
        const [error] = romeo.received.splice(0).filter(({ attrs }) => attrs.id === id)
        const refused =
          error === undefined ? undefined : [error.attrs.type, error.attrs.from, conditionOf(error)]
        const refusal = ['error', to, 'service-unavailable']
        const others = got.filter((name) => name !== 'romeo/orchard')
        const full = to.replace(`@${HOST}`, '')
        // Without a storage for them §8.5.2.2.1 and §8.5.3.2.1 ask for the error; the archive is one.
        const isArchived = plugins.includes('mam') && (await archived(user)) > archivedBefore
        const what = outcome === 'O' && !plugins.includes('offline') ? (isArchived ? 'S' : 'E') : outcome
        if (outcome === 'O') expect(isArchived).toBe(plugins.includes('mam'))
        expect([others, refused, stored]).toEqual(
          {
            S: [[], undefined, 0],
            E: [[], refusal, 0],
            'E(S)': [[], refusal, 0],
            O: [[], undefined, 1],
            D: [[full], undefined, 0],
            M: [MOST_AVAILABLE[user], undefined, 0],
            A: [NON_NEGATIVE[user], undefined, 0],
          }[what],
        )
      }
    }
  })

  it('§8.5.1, §13.11: that there is no such account can not be told from that nobody is there', async () => {
    // What is kept for somebody is kept for nobody else.
    if (plugins.includes('offline') || plugins.includes('mam')) return
    for (const address of ['', '/gone']) {
      for (const type of TYPES) {
        const texts: string[] = []
        for (const user of ['nobody', 'absent']) {
          const id = newId()
          romeo.send(
            `<message id='${id}' to='${user}@${HOST}${address}' type='${type}'><body>x</body></message>`,
          )
          await romeo.settled()
          const answer = romeo.received.splice(0).map(String).join('')
          texts.push(answer.replaceAll(id, 'ID').replaceAll(user, 'USER'))
        }
        expect(texts[0]).toBe(texts[1])
      }
    }
  })
}

describe.each([
  ['offline', ['offline']],
  ['offline, carbons and an archive', ['offline', 'carbons', 'mam']],
  ['an archive', ['mam']],
  ['neither', []],
])('§8.5.4: the table of messages, with %s', (_name, plugins) => messages(plugins))

describeStoredIn(['redis'], '§8.5.4: the table of messages, with offline, carbons and an archive', () =>
  messages(['offline', 'carbons', 'mam']),
)

describe('IQs', () => {
  const X = "<x xmlns='urn:nobody'/>"
  const isX = (element: Element) => element.is('iq') && element.getChild('x', 'urn:nobody') !== undefined
  let juliet: TestStream

  beforeAll(async () => {
    await start(['vcard'], ['juliet', 'absent', 'friend'])
    juliet = await connect('juliet/balcony', 0)
    await connect('juliet/chamber', -1)
    await connect('friend/home', 0)
  })

  afterEach(() => {
    for (const stream of streams.values()) stream.received.length = 0
  })

  afterAll(end)

  it.each(['nobody', 'absent', 'juliet'])(
    '§8.5.1, §8.5.2.1.3, §8.5.2.2.3: to a bare JID are answered for the account, never delivered: %s',
    async (user) => {
      for (const type of ['get', 'set']) {
        const answer = await romeo.ask(`<iq type='${type}' id='${newId()}' to='${user}@${HOST}'>${X}</iq>`)
        expect([conditionOf(answer), answer.attrs.from]).toEqual(['service-unavailable', `${user}@${HOST}`])
      }
      romeo.send(
        `<iq type='result' id='r' to='${user}@${HOST}'/><iq type='error' id='r' to='${user}@${HOST}'/>`,
      )
      expect(await whoGot((element) => isX(element) || element.attrs.id === 'r')).toEqual([])
    },
  )

  it('§8.5.2.1.3: what the server knows it answers on behalf of the account', async () => {
    const answer = await romeo.ask(
      `<iq type='get' id='${newId()}' to='juliet@${HOST}'><ping xmlns='urn:xmpp:ping'/></iq>`,
    )
    expect([answer.attrs.type, answer.attrs.from]).toEqual(['result', `juliet@${HOST}`])
  })

  it('§8.5.1, §8.5.3.2.3: to a resource that is not there give service-unavailable', async () => {
    for (const user of ['nobody', 'absent', 'juliet']) {
      for (const type of ['get', 'set']) {
        const to = `${user}@${HOST}/gone`
        const answer = await romeo.ask(`<iq type='${type}' id='${newId()}' to='${to}'>${X}</iq>`)
        expect([conditionOf(answer), answer.attrs.from]).toEqual(['service-unavailable', to])
      }
    }
    romeo.send(`<iq type='result' id='r' to='juliet@${HOST}/gone'/>`)
    romeo.send(`<iq type='error' id='r' to='nobody@${HOST}/gone'/>`)
    expect(await whoGot(({ attrs }) => attrs.id === 'r')).toEqual([])
  })

  it('§8.5.3.1: from who does not share presence give the same, and are not delivered', async () => {
    const [there, gone] = [
      await romeo.ask(`<iq type='get' id='${newId()}' to='${juliet.jid}'>${X}</iq>`),
      await romeo.ask(`<iq type='get' id='${newId()}' to='juliet@${HOST}/gone'>${X}</iq>`),
    ]
    expect(await whoGot(isX)).toEqual([])
    expect(String(there.getChild('error'))).toBe(String(gone.getChild('error')))
    expect(conditionOf(there)).toBe('service-unavailable')
  })

  it('§8.5.3.1: from who was sent directed presence are delivered, until that is taken back', async () => {
    juliet.send(`<presence to='${romeo.jid}'/>`)
    await juliet.settled()
    const id = newId()
    romeo.send(`<iq type='set' id='${id}' to='${juliet.jid}'>${X}</iq>`)
    expect((await juliet.withId(id)).attrs.from).toBe(romeo.jid)
    juliet.send(`<iq type='result' id='${id}' to='${romeo.jid}'/>`)
    expect((await romeo.withId(id)).attrs.type).toBe('result')
    juliet.send(`<presence type='unavailable' to='${romeo.jid}'/>`)
    await juliet.settled()
    const answer = await romeo.ask(`<iq type='set' id='${newId()}' to='${juliet.jid}'>${X}</iq>`)
    expect(conditionOf(answer)).toBe('service-unavailable')
  })

  it('§8.5.3.1: from who is subscribed are delivered, from the moment of the approval on', async () => {
    const friend = streams.get('friend/home')!
    friend.send(`<presence type='subscribe' to='juliet@${HOST}'/>`)
    await juliet.next((element) => element.is('presence') && element.attrs.type === 'subscribe')
    const before = await friend.ask(`<iq type='get' id='${newId()}' to='${juliet.jid}'>${X}</iq>`)
    expect(conditionOf(before)).toBe('service-unavailable')
    juliet.send(`<presence type='subscribed' to='friend@${HOST}'/>`)
    await friend.next((element) => element.is('presence') && element.attrs.from === juliet.jid)
    const id = newId()
    friend.send(`<iq type='get' id='${id}' to='${juliet.jid}'>${X}</iq>`)
    await juliet.withId(id)
    // A subscription in the other direction shows nothing.
    const back = await juliet.ask(`<iq type='get' id='${newId()}' to='${friend.jid}'>${X}</iq>`)
    expect(conditionOf(back)).toBe('service-unavailable')
  })

  it('§8.5.3.1: from the account’s own resources are delivered', async () => {
    const id = newId()
    streams.get('juliet/chamber')!.send(`<iq type='get' id='${id}' to='${juliet.jid}'>${X}</iq>`)
    await juliet.withId(id)
  })

  it('§8.5.3.1: answers are delivered, whoever they come from', async () => {
    romeo.send(`<iq type='result' id='r1' to='${juliet.jid}'/><iq type='error' id='r2' to='${juliet.jid}'/>`)
    await juliet.withId('r1')
    await juliet.withId('r2')
  })
})

describe('presence', () => {
  beforeAll(async () => {
    await start([], ['juliet', 'absent', 'silent'])
    await connect('juliet/balcony', 0)
    await connect('juliet/negative', -1)
    await connect('juliet/quiet', undefined)
    await connect('silent/only', undefined)
  })

  afterAll(end)

  const of = (id: string) => (element: Element) => element.is('presence') && element.attrs.id === id
  const KINDS = ['', "type='unavailable'"]

  it.each(KINDS)('§8.5.1: to an account that does not exist is ignored: %s', async (type) => {
    const id = newId()
    romeo.send(
      `<presence id='${id}' ${type} to='nobody@${HOST}'/><presence id='${id}' ${type} to='nobody@${HOST}/x'/>`,
    )
    expect(await whoGot(of(id))).toEqual([])
  })

  it('§8.5.1: of a subscription to an account that does not exist is ignored; a probe tells nothing', async () => {
    for (const type of ['subscribe', 'subscribed', 'unsubscribe', 'unsubscribed', 'probe']) {
      for (const user of ['nobody', 'absent']) romeo.send(`<presence type='${type}' to='${user}@${HOST}'/>`)
    }
    await romeo.settled()
    expect(romeo.received.filter((element) => element.is('presence'))).toEqual([])
    romeo.received.length = 0
  })

  it.each(KINDS)(
    '§8.5.2.1.2: to a bare JID goes to all available resources, whatever their priority: %s',
    async (type) => {
      const id = newId()
      romeo.send(`<presence id='${id}' ${type} to='juliet@${HOST}'/>`)
      expect(await whoGot(of(id))).toEqual(['juliet/balcony', 'juliet/negative'])
    },
  )

  it.each(KINDS)('§8.5.2.2.2: to a bare JID without available resources is ignored: %s', async (type) => {
    const id = newId()
    romeo.send(
      `<presence id='${id}' ${type} to='absent@${HOST}'/><presence id='${id}' ${type} to='silent@${HOST}'/>`,
    )
    expect(await whoGot(of(id))).toEqual([])
  })

  it.each(KINDS)(
    '§8.5.3.1: to a full JID goes to that resource, available or only connected: %s',
    async (type) => {
      for (const resource of ['juliet/balcony', 'juliet/negative', 'juliet/quiet', 'silent/only']) {
        const id = newId()
        romeo.send(`<presence id='${id}' ${type} to='${resource.replace('/', `@${HOST}/`)}'/>`)
        expect(await whoGot(of(id))).toEqual([resource])
      }
    },
  )

  it.each(KINDS)('§8.5.3.2.2: to a resource that is not there is ignored: %s', async (type) => {
    const id = newId()
    romeo.send(`<presence id='${id}' ${type} to='juliet@${HOST}/gone'/>`)
    expect(await whoGot(of(id))).toEqual([])
  })

  it('§8.5.3.1, §3: a subscription request to a full JID is one to the account', async () => {
    romeo.send(`<presence type='subscribe' to='juliet@${HOST}/quiet'/>`)
    const isRequest = (element: Element) =>
      element.is('presence') && element.attrs.type === 'subscribe' && element.attrs.to === `juliet@${HOST}`
    expect(await whoGot(isRequest)).toEqual(['juliet/balcony', 'juliet/negative'])
  })
})
