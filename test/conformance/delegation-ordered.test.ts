/** Requests that keep their order: `ordered = true` (rule F9). */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import {
  componentSettled,
  conditionOf,
  errorLines,
  forwardedTo,
  goodReply,
  newId,
  statusOf,
  unreadRequests,
} from '../shared/delegation.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const STEPS = `steps.${HOST}`
const GATE = `gate.${HOST}`
const ORDERED = 'urn:example:ordered'
const HASTY = 'urn:example:hasty'
const FREE = 'urn:example:free'

let server: TestServer
let manager: TestStream
let juliet: TestStream
let romeo: TestStream

beforeEach(async () => {
  const component = { component_secret: 'secret', modules_enabled: ['delegation'] }
  server = await startServer(
    {
      virtualHosts: {
        [HOST]: {
          delegations: {
            [ORDERED]: { jid: STEPS, ordered: true },
            [HASTY]: { jid: STEPS, ordered: true, timeout: 0.3 },
            [FREE]: { jid: STEPS },
          },
        },
      },
      components: { [STEPS]: component, [GATE]: component },
    },
    [`juliet@${HOST}`, `romeo@${HOST}`],
  )
  manager = await connectComponent(server.componentPort, STEPS)
  juliet = await login(server.c2sPort, `juliet@${HOST}/balcony`)
  romeo = await login(server.c2sPort, `romeo@${HOST}/orchard`)
})

afterEach(async () => {
  const { size } = await statusOf(server, HOST)
  for (const stream of [juliet, romeo, manager]) await stream.destroy()
  await server.stop()
  expect(errorLines(server)).toEqual([])
  expect(size).toBe(0)
})

const request = (id: string, namespace = ORDERED): string =>
  `<iq type='get' id='${id}'><query xmlns='${namespace}' number='${id}'/></iq>`

const ping = (id: string): string => `<iq type='get' id='${id}'><ping xmlns='urn:xmpp:ping'/></iq>`

/** Ids of the IQ answers that have come, in order; presence and others are left out. */
const answersOf = (stream: TestStream): unknown[] =>
  stream.received.filter((element) => element.is('iq')).map(({ attrs }) => attrs.id)

describe('a client', () => {
  it('F9: the next request reaches the manager when the one before has its answer, in the order sent', async () => {
    const ids = ['a', 'b', 'c', 'd']
    juliet.send(ids.map((id) => request(id)).join(''))
    for (const id of ids) {
      const forwarded = await forwardedTo(manager)
      expect(forwarded.payload.attrs.number).toBe(id)
      await componentSettled(manager, HOST)
      expect(unreadRequests(manager)).toEqual([])
      manager.send(goodReply(forwarded))
    }
    await juliet.ask(ping('last'))
    expect(answersOf(juliet)).toEqual(ids)
  })

  it('F9: later stanzas of the session wait, of whatever kind; those of other sessions do not', async () => {
    juliet.send(
      `${request('a')}<message to='romeo@${HOST}/orchard'><body>later</body></message>${ping('b')}${request('c', FREE)}`,
    )
    const forwarded = await forwardedTo(manager)
    await componentSettled(manager, HOST)
    const free = romeo.ask(request('r', FREE))
    const theirs = romeo.ask(request('s'))
    const [first, second] = [await forwardedTo(manager), await forwardedTo(manager)]
    expect([first, second].map(({ iq }) => iq.attrs.from)).toEqual([romeo.jid, romeo.jid])
    manager.send(goodReply(second) + goodReply(first))
    expect([conditionOf(await free), conditionOf(await theirs)]).toEqual(['result', 'result'])
    await romeo.settled()
    expect(romeo.received.filter((element) => element.is('message'))).toEqual([])
    expect(answersOf(juliet)).toEqual([])
    manager.send(goodReply(forwarded))
    expect((await romeo.named('message')).getChildText('body')).toBe('later')
    manager.send(goodReply(await forwardedTo(manager)))
    await juliet.withId('c')
    expect(answersOf(juliet)).toEqual(['a', 'b'])
  })

  it('F9: where it is not asked for, nothing waits', async () => {
    juliet.send(request('a', FREE) + request('b', FREE) + ping('c'))
    const requests = [await forwardedTo(manager), await forwardedTo(manager)]
    await juliet.withId('c')
    expect(answersOf(juliet)).toEqual([])
    manager.send(
      requests
        .toReversed()
        .map((forwarded) => goodReply(forwarded))
        .join(''),
    )
    await juliet.withId('a')
    expect(answersOf(juliet)).toEqual(['b'])
  })

  it('F9, F7: an answer that does not come lets the session go on after its time', async () => {
    juliet.send(request('a', HASTY) + request('b', HASTY))
    const late = await forwardedTo(manager)
    const next = await forwardedTo(manager)
    expect(conditionOf(await juliet.withId('a'))).toBe('service-unavailable')
    manager.send(goodReply(late) + goodReply(next))
    expect(conditionOf(await juliet.withId('b'))).toBe('result')
  })

  it('F9, F7: without a manager, or when it leaves, the session goes on at once', async () => {
    juliet.send(request('a') + request('b') + ping('c'))
    await forwardedTo(manager)
    await manager.destroy()
    await juliet.withId('c')
    const conditions = juliet.received.filter((element) => element.is('iq')).map(conditionOf)
    expect(conditions).toEqual(['service-unavailable', 'service-unavailable'])
  })

  it('F9: the session ends meanwhile: what it had sent before is worked on, and nobody is disturbed', async () => {
    juliet.send(request('a') + request('b'))
    const forwarded = await forwardedTo(manager)
    await juliet.destroy()
    manager.send(goodReply(forwarded))
    manager.send(goodReply(await forwardedTo(manager)))
    await componentSettled(manager, HOST)
    expect(conditionOf(await romeo.ask(ping('p')))).toBe('result')
  })
})

describe('addresses behind a component', () => {
  let gate: TestStream
  const from = (who: string, id: string, namespace = ORDERED): string =>
    `<iq type='get' id='${id}' from='${who}@${GATE}' to='${HOST}'><query xmlns='${namespace}' number='${id}'/></iq>`
  const answered = (): Promise<Element> => gate.next((element) => element.is('iq'))

  beforeEach(async () => {
    gate = await connectComponent(server.componentPort, GATE)
  })
  afterEach(async () => {
    await gate.destroy()
  })

  it('F9: each keeps its own order, the component’s stream is not held', async () => {
    gate.send(from('x', 'x1') + from('x', 'x2') + from('y', 'y1') + from('x', 'x3') + from('x', 'f1', FREE))
    const requests = [await forwardedTo(manager), await forwardedTo(manager), await forwardedTo(manager)]
    expect(requests.map(({ payload }) => payload.attrs.number)).toEqual(['x1', 'y1', 'f1'])
    await componentSettled(gate, HOST)
    await componentSettled(manager, HOST)
    expect(unreadRequests(manager)).toEqual([])
    manager.send(goodReply(requests[0]!))
    expect((await answered()).attrs.id).toBe('x1')
    const second = await forwardedTo(manager)
    expect(second.payload.attrs.number).toBe('x2')
    manager.send(goodReply(second))
    const third = await forwardedTo(manager)
    expect(third.payload.attrs.number).toBe('x3')
    manager.send(goodReply(third) + goodReply(requests[1]!) + goodReply(requests[2]!))
    for (const id of ['x2', 'x3', 'y1', 'f1']) expect((await answered()).attrs.id).toBe(id)
  })

  it('F9, F7: the manager leaves: thousands that wait for their turns are answered, each once', async () => {
    const count = 3000
    gate.send(Array.from({ length: count }, (_, number) => from('x', `n${number}`)).join(''))
    await forwardedTo(manager)
    await componentSettled(gate, HOST)
    await manager.destroy()
    for (let number = 0; number < count; number++) {
      const answer = await answered()
      expect([answer.attrs.id, conditionOf(answer)]).toEqual([`n${number}`, 'service-unavailable'])
    }
    manager = await connectComponent(server.componentPort, STEPS)
    gate.send(from('x', newId()))
    manager.send(goodReply(await forwardedTo(manager)))
    expect(conditionOf(await answered())).toBe('result')
  })
})
