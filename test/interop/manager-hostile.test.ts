// legate/manager over @xmpp/component, against a host whose every word is the test's: forged, broken, late, lost.

import { type Component, component, xml } from '@xmpp/component'
import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  createManager,
  type DelegatedRequest,
  type DelegationManager,
  type ManagerFault,
  type ManagerOptions,
  type NamespaceHandler,
  StanzaError,
} from '../../manager/index.ts'
import type { TestStream } from '../shared/client.ts'
import { ComponentHost } from '../shared/component-host.ts'

const HOST = 'capulet.lit'
const OTHER = 'montague.lit'
const DOMAIN = 'notes.capulet.lit'
const NS = 'urn:example:notes'
const NS_DELEGATION = 'urn:xmpp:delegation:2'
const NS_DISCO_INFO = 'http://jabber.org/protocol/disco#info'
const JULIET = `juliet@${HOST}/balcony`

let host: ComponentHost
const entities: Component[] = []

beforeEach(async () => {
  host = await ComponentHost.listen()
})
afterEach(async () => {
  for (const entity of entities.splice(0)) entity.reconnect.stop()
  await host.close()
})

interface Managing {
  entity: Component
  manager: DelegationManager
  faults: ManagerFault[]
  /** What handlers were given. */
  requests: DelegatedRequest[]
}

function managing(handler: NamespaceHandler, options: Partial<ManagerOptions> = {}): Managing {
  const entity = component({ service: host.service, domain: DOMAIN, password: 'secret' })
  entity.reconnect.delay = 10
  entity.on('error', () => {})
  entities.push(entity)
  const faults: ManagerFault[] = []
  const requests: DelegatedRequest[] = []
  const onFault = (fault: ManagerFault): void => {
    faults.push(fault)
  }
  const manager = createManager(entity, { hosts: [HOST, OTHER], onFault, ...options })
  manager.handle(NS, (request) => {
    requests.push(request)
    return handler(request)
  })
  return { entity, manager, faults, requests }
}

function advertisement(namespaces: string[], from = HOST, attrs = ''): string {
  const delegated = namespaces.map((namespace) => `<delegated namespace='${namespace}'/>`).join('')
  return `<message from='${from}' to='${DOMAIN}' ${attrs}><delegation xmlns='${NS_DELEGATION}'>${delegated}</delegation></message>`
}

/** Connects the component, granting this first. */
async function connected({ entity }: Managing, first = advertisement([NS])): Promise<TestStream> {
  const [stream] = await Promise.all([host.accept(DOMAIN, first), entity.start()])
  return stream
}

interface Forwarded {
  id?: string
  /** Of the wrapper. */
  from?: string
  asker?: string
  to?: string
  payload?: string
}

function forwarded({
  id = 'w1',
  from = HOST,
  asker = JULIET,
  to,
  payload = `<notes xmlns='${NS}'/>`,
}: Forwarded = {}): string {
  const iq = `<iq xmlns='jabber:client' type='get' id='inner-${id}' from='${asker}'${to === undefined ? '' : ` to='${to}'`}>${payload}</iq>`
  return (
    `<iq type='set' id='${id}' from='${from}' to='${DOMAIN}'><delegation xmlns='${NS_DELEGATION}'>` +
    `<forwarded xmlns='urn:xmpp:forward:0'>${iq}</forwarded></delegation></iq>`
  )
}

/** The inner IQ of a reply. */
function innerOf(reply: Element): Element | undefined {
  return reply
    .getChild('delegation', NS_DELEGATION)
    ?.getChild('forwarded', 'urn:xmpp:forward:0')
    ?.getChild('iq', 'jabber:client')
}

/** The condition of an error, or the type of a result. */
function outcomeOf(iq: Element | undefined): string {
  if (iq === undefined) return 'nothing inside'
  const error = iq.getChild('error')
  return error === undefined
    ? String(iq.attrs.type)
    : `${error.attrs.type} ${error.getChildElements()[0]?.name}`
}

const notes: NamespaceHandler = () => xml('notes', { xmlns: NS })

describe('who may forward', () => {
  it('F4: a host that has advertised: its request is answered in the wrapping', async () => {
    const stream = await connected(managing(notes))
    const reply = await stream.ask(forwarded({ to: `juliet@${HOST}` }))
    expect(reply.attrs).toMatchObject({ type: 'result', id: 'w1', from: DOMAIN, to: HOST })
    const inner = innerOf(reply)
    expect(inner?.attrs).toMatchObject({
      type: 'result',
      id: 'inner-w1',
      from: `juliet@${HOST}`,
      to: JULIET,
    })
    expect(inner?.getChild('notes', NS)).toBeDefined()
  })

  it('nobody else: not a user, not a resource of the host, not a host that was not named', async () => {
    const made = managing(notes)
    const stream = await connected(made)
    for (const from of [
      `romeo@${HOST}/garden`,
      `romeo@${HOST}`,
      `${HOST}/x`,
      'evil.example',
      `sub.${HOST}`,
    ]) {
      // That somebody advertises changes nothing.
      stream.send(advertisement([NS], from))
      const reply = await stream.ask(forwarded({ from, asker: JULIET }))
      expect(outcomeOf(reply), from).toBe('auth forbidden')
      expect(reply.attrs.to).toBe(from)
    }
    expect(made.requests).toEqual([])
    expect(made.faults.map(({ kind }) => kind)).toEqual(new Array(5).fill('refused'))
    expect(made.manager.grantsOf('evil.example').size).toBe(0)
  })

  it('not a host that has advertised nothing yet, nor one that has taken it back', async () => {
    const made = managing(notes)
    const stream = await connected(made)
    const theirs = { from: OTHER, asker: `romeo@${OTHER}/garden` }
    expect(outcomeOf(await stream.ask(forwarded(theirs)))).toBe('auth forbidden')
    stream.send(advertisement([NS], OTHER, `type='error'`))
    expect(outcomeOf(await stream.ask(forwarded(theirs)))).toBe('auth forbidden')
    stream.send(advertisement([NS], OTHER))
    expect(outcomeOf(innerOf(await stream.ask(forwarded(theirs))))).toBe('result')
    stream.send(advertisement([], OTHER))
    expect(outcomeOf(await stream.ask(forwarded(theirs)))).toBe('auth forbidden')
    expect(made.requests).toHaveLength(1)
  })

  it('no host what is another’s, though both may delegate', async () => {
    const made = managing(notes)
    const stream = await connected(made, advertisement([NS]) + advertisement([NS], OTHER))
    const stolen = { from: OTHER, asker: JULIET }
    expect(outcomeOf(await stream.ask(forwarded(stolen)))).toBe('auth forbidden')
    expect(outcomeOf(await stream.ask(forwarded({ ...stolen, to: `juliet@${HOST}` })))).toBe('auth forbidden')
    expect(outcomeOf(await stream.ask(forwarded({ to: `juliet@${HOST}/balcony` })))).toBe('auth forbidden')
    expect(made.requests).toEqual([])
  })

  it('F6: in a namespace that is not granted or has no handler: an error inside', async () => {
    const made = managing(notes)
    const stream = await connected(made, advertisement([NS, 'urn:example:unhandled']))
    for (const namespace of ['urn:example:unhandled', 'urn:example:not-granted', 'jabber:client']) {
      const reply = await stream.ask(forwarded({ payload: `<q xmlns='${namespace}'/>` }))
      expect(reply.attrs.type).toBe('result')
      expect(outcomeOf(innerOf(reply))).toBe('cancel service-unavailable')
    }
    // Handled, but not for this host.
    made.manager.handle('urn:example:later', notes)
    const reply = await stream.ask(forwarded({ payload: `<q xmlns='urn:example:later'/>` }))
    expect(outcomeOf(innerOf(reply))).toBe('cancel service-unavailable')
  })

  it('D6: remaining disco goes to its handler if it is granted, and only then', async () => {
    const remaining = `${NS_DELEGATION}:bare:disco#info:*`
    const made = managing(notes)
    made.manager.handle(remaining, ({ payload }) =>
      xml('query', { xmlns: NS_DISCO_INFO, node: String(payload.attrs.node) }),
    )
    const stream = await connected(made)
    const query = { to: `juliet@${HOST}`, payload: `<query xmlns='${NS_DISCO_INFO}' node='n'/>` }
    expect(outcomeOf(innerOf(await stream.ask(forwarded(query))))).toBe('cancel service-unavailable')
    stream.send(advertisement([NS, remaining]))
    const inner = innerOf(await stream.ask(forwarded(query)))
    expect(inner?.getChild('query', NS_DISCO_INFO)?.attrs.node).toBe('n')
  })
})

describe('what handlers do', () => {
  it('F6: an error that is thrown reaches the asker, anything else as internal-server-error', async () => {
    const throws: (() => unknown)[] = [
      () => {
        throw new StanzaError('item-not-found', 'No such note')
      },
      () => Promise.reject(Object.assign(new Error('x'), { name: 'StanzaError', condition: 'conflict' })),
      () => {
        throw new Error('password of the database')
      },
      () => Promise.reject(undefined),
      () => 'text',
      () => xml('notes'),
      () => xml('notes', { xmlns: NS }, 'a\0b'),
      () => xml('notes', { xmlns: NS }, 'x'.repeat(600_000)),
    ]
    const made = managing(() => throws.shift()!() as Element)
    const stream = await connected(made)
    const outcomes: string[] = []
    for (let count = throws.length; count > 0; count--) {
      const reply = await stream.ask(forwarded())
      expect(reply.attrs.type).toBe('result')
      outcomes.push(outcomeOf(innerOf(reply)))
    }
    const failed = 'cancel internal-server-error'
    expect(outcomes).toEqual([
      'cancel item-not-found',
      'cancel conflict',
      failed,
      failed,
      failed,
      failed,
      failed,
      failed,
    ])
    expect(stream.text).not.toContain('password')
    expect(made.faults).toHaveLength(6)
    expect(made.faults[0]).toMatchObject({ kind: 'handler', host: HOST, namespace: NS, asker: JULIET })
    expect(stream.text).toContain('No such note')
  })

  it('a handler may return nothing, and an onFault that throws disturbs nobody', async () => {
    const written = vi.spyOn(console, 'error').mockImplementation(() => {})
    try {
      const answers = [() => undefined, () => Promise.reject(new Error('x')), async () => {}]
      const made = managing(() => answers.shift()!() as undefined, {
        onFault() {
          throw new Error('the log is full')
        },
      })
      const stream = await connected(made)
      const empty = innerOf(await stream.ask(forwarded()))
      expect(empty?.attrs.type).toBe('result')
      expect(empty?.children).toEqual([])
      expect(outcomeOf(innerOf(await stream.ask(forwarded())))).toBe('cancel internal-server-error')
      expect(outcomeOf(innerOf(await stream.ask(forwarded())))).toBe('result')
      expect(written.mock.calls.map(([words]) => words)).toEqual(['onFault threw:'])
    } finally {
      written.mockRestore()
    }
  })

  it('more than may be under way get resource-constraint, of one asker and of all', async () => {
    const waiting: ((answer: Element) => void)[] = []
    const made = managing(() => new Promise<Element>((resolve) => waiting.push(resolve)), {
      maxInFlight: 3,
      maxInFlightPerAsker: 2,
    })
    const stream = await connected(made)
    stream.send(forwarded({ id: 'a' }) + forwarded({ id: 'b', asker: `juliet@${HOST}/tomb` }))
    // Another resource of hers is she.
    const third = await stream.ask(forwarded({ id: 'c', asker: `juliet@${HOST}/ball` }))
    expect(outcomeOf(innerOf(third))).toBe('wait resource-constraint')
    stream.send(forwarded({ id: 'd', asker: `romeo@${HOST}/x` }))
    const fifth = await stream.ask(forwarded({ id: 'e', asker: `nurse@${HOST}/x` }))
    expect(outcomeOf(innerOf(fifth))).toBe('wait resource-constraint')
    expect(made.manager.pending).toBe(3)
    for (const answer of waiting) answer(xml('notes', { xmlns: NS }))
    for (const id of ['a', 'b', 'd']) expect(outcomeOf(innerOf(await stream.withId(id)))).toBe('result')
    expect(made.manager.pending).toBe(0)
  })

  it('one that takes too long is given up, and told so', async () => {
    const made = managing(() => new Promise<never>(() => {}), { timeout: 0.05 })
    const stream = await connected(made)
    expect(outcomeOf(innerOf(await stream.ask(forwarded())))).toBe('wait remote-server-timeout')
    expect(made.requests[0]?.signal.aborted).toBe(true)
    expect(made.manager.pending).toBe(0)
    expect(made.faults).toMatchObject([{ kind: 'handler', error: { message: 'no answer within 0.05 s' } }])
  })
})

describe('connections', () => {
  it('A2: after one is gone, grants are told anew, and what was asked on it is not answered on the next', async () => {
    let answer: (answer: Element) => void = () => {}
    const answers = [() => new Promise<Element>((resolve) => (answer = resolve)), notes]
    const made = managing((request) => answers.shift()!(request))
    const told: [string, string[]][] = []
    made.manager.on('grants', (name, grants) => told.push([name, [...grants.keys()]]))
    const first = await connected(made)
    first.send(forwarded({ id: 'old' }))
    await expect.poll(() => made.requests.length).toBe(1)
    const { signal } = made.requests[0]!
    expect(signal.aborted).toBe(false)

    await first.destroy()
    const second = await host.accept(DOMAIN)
    expect(signal.aborted).toBe(true)
    expect(made.manager.grantsOf(HOST).size).toBe(0)
    // Nothing is granted on this one yet.
    expect(outcomeOf(await second.ask(forwarded({ id: 'early' })))).toBe('auth forbidden')
    const granted = made.manager.granted()
    second.send(advertisement([NS]))
    await granted
    answer(xml('notes', { xmlns: NS }, 'late'))
    expect(outcomeOf(innerOf(await second.ask(forwarded({ id: 'new' }))))).toBe('result')
    expect(second.text).not.toContain('late')
    expect(second.text).not.toContain("'old'")
    expect(told).toEqual([
      [HOST, [NS]],
      [HOST, []],
      [HOST, [NS]],
    ])
    expect(made.faults.map(({ kind }) => kind)).toEqual(['refused'])
  })

  it('a grant that comes with the handshake is not missed', async () => {
    const made = managing(notes)
    const granted = made.manager.granted(NS, HOST)
    await connected(made)
    expect(await granted).toEqual([{ host: HOST, namespace: NS, filtering: [] }])
  })

  it('waiting for a host that is not among those that may delegate is a mistake', async () => {
    const { manager } = managing(notes)
    await expect(manager.granted(NS, 'evil.example')).rejects.toThrow(
      'evil.example is not among the hosts that may delegate',
    )
  })
})

describe('D2: nested discovery', () => {
  const info = (node: string | undefined): string =>
    `<iq type='get' id='d' from='${HOST}' to='${DOMAIN}'><query xmlns='${NS_DISCO_INFO}'${node === undefined ? '' : ` node='${node}'`}/></iq>`

  it('gives what was handed in, for the host and for accounts', async () => {
    const made = managing(notes)
    const form = (): Element => xml('x', { xmlns: 'jabber:x:data', type: 'result' })
    made.manager.handle('urn:example:b', notes, {
      host: { features: ['urn:example:b', 'urn:example:b#x'], forms: [form()] },
      account: { identities: [{ category: 'store', type: 'file', name: 'B & C', lang: 'en' }] },
    })
    const stream = await connected(made)
    const ofHost = await stream.ask(info(`${NS_DELEGATION}::urn:example:b`))
    const query = ofHost.getChild('query', NS_DISCO_INFO)
    expect(query?.attrs.node).toBe(`${NS_DELEGATION}::urn:example:b`)
    expect(query?.getChildren('feature').map(({ attrs }) => attrs.var)).toEqual([
      'urn:example:b',
      'urn:example:b#x',
    ])
    expect(query?.getChild('x', 'jabber:x:data')).toBeDefined()
    const ofAccounts = await stream.ask(info(`${NS_DELEGATION}:bare:urn:example:b`))
    expect(ofAccounts.getChild('query')?.getChild('identity')?.attrs).toEqual({
      category: 'store',
      type: 'file',
      name: 'B & C',
      'xml:lang': 'en',
    })
    const nothing = await stream.ask(info(`${NS_DELEGATION}::${NS}`))
    expect(nothing.attrs.type).toBe('result')
    expect(nothing.getChild('query')?.getChildElements()).toEqual([])
  })

  it('leaves other nodes, and the component’s own disco, to others', async () => {
    const made = managing(notes)
    made.entity.iqCallee.get(NS_DISCO_INFO, 'query', () => xml('query', { xmlns: NS_DISCO_INFO, own: '1' }))
    const stream = await connected(made)
    for (const node of [undefined, 'other', `${NS_DELEGATION}::urn:example:none`, NS, '__proto__']) {
      expect((await stream.ask(info(node))).getChild('query')?.attrs.own, String(node)).toBe('1')
    }
  })
})

describe('mistakes of the program', () => {
  it('are told at once', async () => {
    const { entity, manager } = managing(notes)
    expect(() => createManager(entity, { hosts: [HOST] })).toThrow('has a manager already')
    expect(() => manager.handle(NS, notes)).toThrow(`${NS} has a handler already`)
    const fresh = (): Component => component({ service: host.service, domain: DOMAIN, password: 'x' })
    expect(() => createManager(fresh(), { hosts: [] })).toThrow('hosts is empty')
    for (const name of [`juliet@${HOST}`, `${HOST}/x`, '', 'a b']) {
      expect(() => createManager(fresh(), { hosts: [name] })).toThrow('is no host')
    }
    for (const wrong of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => createManager(fresh(), { hosts: [HOST], maxInFlight: wrong })).toThrow(
        'maxInFlight must be',
      )
      expect(() => createManager(fresh(), { hosts: [HOST], timeout: wrong })).toThrow('timeout must be')
    }
    const late = fresh()
    late.on('error', () => {})
    late.reconnect.stop()
    entities.push(late)
    await Promise.all([host.accept(DOMAIN), late.start()])
    expect(() => createManager(late, { hosts: [HOST] })).toThrow('is connected already')
  })
})
