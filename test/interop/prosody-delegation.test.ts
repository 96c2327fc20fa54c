// The same component and the same client on a real Prosody and on Legate: they see the same, or it says why not.

import type { Element } from '@xmpp/xml'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { prosodyAvailable, startProsody } from '../shared/peers/prosody.ts'
import { describePeer } from '../shared/require.ts'
import { startServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const MANAGER = 'pubsub.capulet.lit'
const JULIET = `juliet@${HOST}`
const STRANGER = 'lawrence@verona.lit'
const ROMEO = `romeo@${HOST}`
const NS = 'urn:example:things'
const NS_FILTERED = 'urn:example:filtered'
const NS_DELEGATION = 'urn:xmpp:delegation:2'

const DELEGATIONS = {
  [NS]: { jid: MANAGER },
  [NS_FILTERED]: { jid: MANAGER, filtering: ['node', 'jid'] },
}

/** Either server, as the two programs see it. */
interface Place {
  c2sPort: number
  componentPort: number
  stop(): Promise<void>
}

async function onProsody(): Promise<Place> {
  return startProsody({
    accounts: ['juliet', 'romeo'].map((user) => ({ user, host: HOST, password: 'pw' })),
    modules: ['delegation', 'ping'],
    hosts: { [HOST]: { delegations: DELEGATIONS } },
    components: { [MANAGER]: { secret: 'secret', options: { modules_enabled: ['delegation'] } } },
  })
}

async function onLegate(): Promise<Place> {
  return startServer(
    {
      virtualHosts: { [HOST]: { delegations: DELEGATIONS } },
      components: { [MANAGER]: { component_secret: 'secret', modules_enabled: ['delegation'] } },
    },
    [JULIET, ROMEO],
  )
}

/** How the component answers a wrapper; `inner` is the IQ in it. */
type Behaviour = (wrapper: Element, inner: Element) => string

const inWrapping = (iq: string) =>
  `<delegation xmlns='${NS_DELEGATION}'><forwarded xmlns='urn:xmpp:forward:0'>${iq}</forwarded></delegation>`

/** An answer with the inner IQ's attributes as they should be, but for some. */
function answering(content: string, but: Record<string, string | undefined> = {}): Behaviour {
  return (wrapper, inner) => {
    const attrs = { type: 'result', id: inner.attrs.id, from: inner.attrs.to, to: inner.attrs.from, ...but }
    const written = Object.entries(attrs).map(([key, value]) =>
      value === undefined ? '' : ` ${key}='${value}'`,
    )
    const iq = `<iq xmlns='jabber:client'${written.join('')}>${content}</iq>`
    return `<iq type='result' id='${wrapper.attrs.id}' from='${MANAGER}' to='${HOST}'>${inWrapping(iq)}</iq>`
  }
}

const WELL = `<query xmlns='${NS}'><item id='1'>O &quot;Romeo&quot; &amp; &lt;Juliet&gt; ♥</item></query>`
const ITEM_NOT_FOUND = `<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>`
const QUERY = `<query xmlns='${NS}' node='x'><deep xmlns='urn:example:deep' a='&lt;"'/></query>`

interface Exchange {
  name: string
  /** Juliet's IQ; `ID` stands for an id. */
  iq: string
  /** What the component does if it is asked. */
  answer?: Behaviour
}

const TO_SELF = 'a set to the own account'
const BARE_FROM = "the asker's bare JID as from of the answer, where the request had no to"
const SPOOFED = 'a spoofed from'
const UNWRAPPED = 'no wrapping'

const EXCHANGES: Exchange[] = [
  { name: 'a get without to', iq: `<iq type='get' id='ID'>${QUERY}</iq>`, answer: answering(WELL) },
  { name: TO_SELF, iq: `<iq type='set' id='ID' to='${JULIET}'>${QUERY}</iq>`, answer: answering(WELL) },
  {
    name: 'a get to another account',
    iq: `<iq type='get' id='ID' to='${ROMEO}'>${QUERY}</iq>`,
    answer: answering(WELL),
  },
  {
    name: 'a get to the host',
    iq: `<iq type='get' id='ID' to='${HOST}' xml:lang='it'>${QUERY}</iq>`,
    answer: answering(WELL),
  },
  { name: 'an empty result', iq: `<iq type='set' id='ID'>${QUERY}</iq>`, answer: answering('') },
  {
    name: 'an error inside the wrapper',
    iq: `<iq type='get' id='ID'>${QUERY}</iq>`,
    answer: answering(ITEM_NOT_FOUND, { type: 'error' }),
  },
  {
    name: 'an error of the wrapper',
    iq: `<iq type='get' id='ID'>${QUERY}</iq>`,
    answer: (wrapper) =>
      `<iq type='error' id='${wrapper.attrs.id}' from='${MANAGER}' to='${HOST}'>${ITEM_NOT_FOUND}</iq>`,
  },
  {
    name: 'all attributes of a filter',
    iq: `<iq type='get' id='ID'><query xmlns='${NS_FILTERED}' node='' jid='a'/></iq>`,
    answer: answering(WELL),
  },
  {
    name: 'an attribute of a filter missing',
    iq: `<iq type='get' id='ID'><query xmlns='${NS_FILTERED}' node='a'/></iq>`,
  },
  { name: 'another namespace', iq: `<iq type='get' id='ID'><query xmlns='urn:example:nobody'/></iq>` },
  {
    name: 'a get to an account that is not there',
    iq: `<iq type='get' id='ID' to='nobody@${HOST}'>${QUERY}</iq>`,
    answer: answering(WELL),
  },
  { name: BARE_FROM, iq: `<iq type='get' id='ID'>${QUERY}</iq>`, answer: answering(WELL, { from: JULIET }) },
  {
    name: SPOOFED,
    iq: `<iq type='get' id='ID' to='${JULIET}'>${QUERY}</iq>`,
    answer: answering(WELL, { from: STRANGER }),
  },
  {
    name: 'another id',
    iq: `<iq type='get' id='ID'>${QUERY}</iq>`,
    answer: answering(WELL, { id: 'other' }),
  },
  {
    name: 'another addressee',
    iq: `<iq type='get' id='ID'>${QUERY}</iq>`,
    answer: answering(WELL, { to: ROMEO }),
  },
  {
    name: 'a get inside instead of an answer',
    iq: `<iq type='get' id='ID'>${QUERY}</iq>`,
    answer: answering(WELL, { type: 'get' }),
  },
  {
    name: UNWRAPPED,
    iq: `<iq type='get' id='ID'>${QUERY}</iq>`,
    answer: (wrapper) =>
      `<iq type='result' id='${wrapper.attrs.id}' from='${MANAGER}' to='${HOST}'>${WELL}</iq>`,
  },
]

/** A document as text, without how it was written: names with their namespaces, attributes in order. */
function canonical(element: Element): string {
  const attrs = Object.entries(element.attrs as Record<string, string>)
    .filter(([name]) => !/^xmlns/.test(name))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => ` ${name}=${JSON.stringify(value)}`)
  const children = (element.children as (Element | string)[]).map((child) =>
    typeof child === 'object' ? canonical(child) : JSON.stringify(child),
  )
  return `{${element.getNS()}}${element.getName()}${attrs.join('')} [${children.join(' ')}]`
}

/** What the two programs saw of an exchange; ids are `ID`. */
interface Seen {
  component?: string
  client?: string
}

const isWrapper = (element: Element) =>
  element.is('iq') &&
  element.attrs.type === 'set' &&
  element.getChild('delegation', NS_DELEGATION) !== undefined

/** Runs everything on one server. */
async function play({ c2sPort, componentPort }: Place): Promise<Record<string, Seen>> {
  const seen: Record<string, Seen> = {}
  const component = await connectComponent(componentPort, MANAGER)
  const told = await component.next((element) => element.is('message'))
  // Prosody's namespaces come in the order of a Lua table, which is none.
  const list = told.getChild('delegation', NS_DELEGATION)!
  list.children.sort((a, b) => (String(a) < String(b) ? -1 : 1))
  seen['the advertisement'] = { component: canonical(told) }
  const juliet = await login(c2sPort, `${JULIET}/balcony`)
  let pings = 0
  const ping = (stream: TestStream, from: string) =>
    stream.ask(`<iq type='get' id='ping-${++pings}'${from} to='${HOST}'><ping xmlns='urn:xmpp:ping'/></iq>`)
  // Stanzas come in order: after a round trip of each, nothing is under way any more.
  const settle = async () => {
    await ping(juliet, '')
    await ping(component, ` from='${MANAGER}'`)
    await ping(juliet, '')
  }
  const arrived = (stream: TestStream, id: string) => {
    const found = stream.received.find(({ attrs }) => attrs.id === id)
    return found && canonical(found).replaceAll(`"${id}"`, '"ID"')
  }
  for (const [index, { name, iq, answer }] of EXCHANGES.entries()) {
    const id = `exchange-${index}`
    juliet.send(iq.replace("'ID'", `'${id}'`))
    await settle()
    const wrapper = component.received.find(isWrapper)
    component.received.splice(0)
    if (wrapper !== undefined && answer !== undefined) {
      const inner = wrapper.getChild('delegation')!.getChild('forwarded')!.getChild('iq')!
      component.send(answer(wrapper, inner))
      await settle()
      wrapper.attrs.id = 'ID'
      // Prosody writes a language on stanzas that have none, also where the client's stream header names none.
      if (!iq.includes('xml:lang')) delete inner.attrs['xml:lang']
    }
    seen[name] = {
      component: wrapper && canonical(wrapper).replaceAll(`"${id}"`, '"ID"'),
      client: arrived(juliet, id),
    }
  }
  component.send(`<iq type='get' id='own' from='x@${MANAGER}' to='${JULIET}'>${QUERY}</iq>`)
  await settle()
  seen['a request of the component itself'] = { component: arrived(component, 'own') }
  await component.close()
  juliet.send(`<iq type='get' id='gone'>${QUERY}</iq>`)
  await ping(juliet, '')
  seen['no component any more'] = { client: arrived(juliet, 'gone') }
  await juliet.close()
  return seen
}

const OWN_REQUEST = 'a request of the component itself'
const NAMES = [
  'the advertisement',
  ...EXCHANGES.map(({ name }) => name),
  OWN_REQUEST,
  'no component any more',
]

const TO_JULIET = ` to="${JULIET}"`
const FROM_JULIET = ` from="${JULIET}"`

/** Where Legate differs on purpose: why, and what Prosody shows instead, told by what Legate shows. */
const DIFFERENCES: Record<string, { why: string; prosody: (legate: Record<string, Seen>) => Seen }> = {
  [TO_SELF]: {
    why: 'F2: forwarded unchanged; Prosody takes away the to that names the own account',
    prosody: ({ [TO_SELF]: seen }) => ({
      component: seen?.component?.replace(TO_JULIET, ''),
      client: seen?.client?.replace(FROM_JULIET, ''),
    }),
  },
  [BARE_FROM]: {
    why: 'F4: the answer bears the from that the asker expects, which is none; Prosody passes it on',
    prosody: ({ [BARE_FROM]: seen }) => ({
      component: seen?.component,
      client: seen?.client?.replace(' id=', `${FROM_JULIET} id=`),
    }),
  },
  [SPOOFED]: {
    why: 'F5: refused; Prosody 0.12 lets a component answer in the name of anybody',
    prosody: ({ [SPOOFED]: seen, [TO_SELF]: well }) => ({
      component: seen?.component?.replace(TO_JULIET, ''),
      client: well?.client?.replace(JULIET, STRANGER),
    }),
  },
  [UNWRAPPED]: {
    why: 'F5: refused; Prosody 0.12 answers nothing at all',
    prosody: ({ [UNWRAPPED]: seen }) => ({ component: seen?.component, client: undefined }),
  },
  [OWN_REQUEST]: {
    why: 'F3: handled as if not delegated, so that nobody serves it; Prosody 0.12 answers nothing at all',
    prosody: () => ({ component: undefined }),
  },
}

describePeer('Prosody', prosodyAvailable(), () => {
  let prosody: Record<string, Seen>
  let legate: Record<string, Seen>

  const places: Place[] = []

  beforeAll(async () => {
    const run = async (starting: Promise<Place>) => {
      const place = await starting
      places.push(place)
      return play(place)
    }
    legate = await run(onLegate())
    prosody = await run(onProsody())
  })
  // Here, so that they end when a program waits in vain, too.
  afterAll(async () => {
    for (const place of places) await place.stop()
  })

  it.each(NAMES.filter((name) => DIFFERENCES[name] === undefined))('%s: both see the same', (name) => {
    expect(legate[name]).toBeDefined()
    expect(legate[name]).toEqual(prosody[name])
  })

  it.each(Object.entries(DIFFERENCES).map(([name, { why, prosody }]) => [name, why, prosody] as const))(
    '%s: differs (%s)',
    (name, _, ofLegate) => {
      expect(NAMES).toContain(name)
      expect(prosody[name]).toEqual(ofLegate(legate))
      expect(prosody[name]).not.toEqual(legate[name])
    },
  )

  it.each([SPOOFED, UNWRAPPED])('F5: %s gives service-unavailable on Legate', (name) => {
    expect(legate[name]?.client).toContain('service-unavailable')
  })
})
