/** Several connections of one component: `component_conflict_resolve = "share"` (rules F10, A2, C6, F7, F8). */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { configFromObject, type ServerOptions } from '../../server/config/index.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import {
  componentSettled,
  conditionOf,
  errorLines,
  type ForwardedRequest,
  forwardedTo,
  goodReply,
  innerAnswer,
  newId,
  replyText,
  statusOf,
  unreadRequests,
  wrapped,
} from '../shared/delegation.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'

const HOST = 'capulet.lit'
const PUBSUB = `pubsub.${HOST}`
const NS = 'urn:example:thing'
const MORE = 'urn:example:more'
const USERS = Array.from({ length: 12 }, (_, number) => `user${number}`)

const options = (delegations: Record<string, unknown> = { [NS]: { jid: PUBSUB } }): ServerOptions => ({
  virtualHosts: { [HOST]: { delegations } },
  components: {
    [PUBSUB]: {
      component_secret: 'secret',
      modules_enabled: ['delegation'],
      component_conflict_resolve: 'share',
    },
  },
})

let server: TestServer
let streams: TestStream[]

beforeEach(async () => {
  streams = []
  server = await startServer(
    options(),
    USERS.map((user) => `${user}@${HOST}`),
  )
})

afterEach(async () => {
  const { size } = await statusOf(server, HOST)
  for (const stream of streams) await stream.destroy()
  await server.stop()
  expect(errorLines(server)).toEqual([])
  expect(size).toBe(0)
})

async function manager(): Promise<TestStream> {
  const stream = await connectComponent(server.componentPort, PUBSUB)
  streams.push(stream)
  return stream
}

async function client(user: string): Promise<TestStream> {
  const stream = await login(server.c2sPort, `${user}@${HOST}/here`)
  streams.push(stream)
  return stream
}

/** Asks, and gives which of the connections got it. The answer is awaited. */
async function askedOf(
  connections: readonly TestStream[],
  asker: TestStream,
  to: string | undefined = undefined,
): Promise<number> {
  const address = to === undefined ? '' : `to='${to}'`
  const answer = asker.ask(`<iq type='get' id='${newId()}' ${address}><query xmlns='${NS}'/></iq>`)
  let index = -1
  while (index < 0) {
    for (const connection of connections) await componentSettled(connection, HOST)
    index = connections.findIndex((connection) => unreadRequests(connection).length > 0)
  }
  const connection = connections[index]!
  connection.send(goodReply(await forwardedTo(connection)))
  expect(conditionOf(await answer)).toBe('result')
  return index
}

const isAdvertisement = (element: Element): boolean =>
  element.is('message') && element.getChild('delegation') !== undefined

const namespacesIn = (advertisement: Element): unknown[] =>
  advertisement
    .getChild('delegation')!
    .getChildElements()
    .map(({ attrs }) => attrs.namespace)

describe('F10: requests', () => {
  it('are shared out, and those about one account go to the same connection', async () => {
    const connections = [await manager(), await manager(), await manager()]
    const asked = new Map<string, number>()
    for (const user of USERS) {
      const asker = await client(user)
      asked.set(user, await askedOf(connections, asker))
    }
    const shares = connections.map(
      (_, index) => [...asked.values()].filter((which) => which === index).length,
    )
    for (const share of shares) expect(share).toBeGreaterThanOrEqual(3)
    const [nobody] = USERS
    const asker = streams.find(({ jid }) => jid.startsWith(`${nobody}@`))!
    for (const user of USERS) {
      // Another asks about the account: it is what the request is about.
      expect(await askedOf(connections, asker, `${user}@${HOST}`)).toBe(asked.get(user))
    }
    // About the host: the asker's own.
    expect(await askedOf(connections, asker, HOST)).toBe(asked.get(nobody!))
  })

  it('stay where they are when others connect, and fail over when their connection dies', async () => {
    const first = await manager()
    const users = await Promise.all(USERS.slice(0, 4).map(client))
    for (const user of users) expect(await askedOf([first], user)).toBe(0)
    const second = await manager()
    for (const user of users) {
      expect(await askedOf([first], user)).toBe(0)
      await componentSettled(second, HOST)
      expect(unreadRequests(second)).toEqual([])
    }
    await first.destroy()
    for (const user of users) expect(await askedOf([second], user)).toBe(0)
    const third = await manager()
    for (const user of users) expect(await askedOf([second, third], user)).toBe(0)
  })

  it('F7: of a connection that dies, what was pending there is answered; the rest stays', async () => {
    const connections = [await manager(), await manager()]
    const users = await Promise.all(USERS.slice(0, 2).map(client))
    const owners: number[] = []
    for (const user of users) owners.push(await askedOf(connections, user))
    expect([...owners].sort()).toEqual([0, 1])
    const answers = users.map((user) =>
      user.ask(`<iq type='get' id='${newId()}'><query xmlns='${NS}'/></iq>`),
    )
    const [dying, living] = owners.map((owner) => connections[owner]!)
    await forwardedTo(dying!)
    const request = await forwardedTo(living!)
    await dying!.destroy()
    expect(conditionOf(await answers[0]!)).toBe('service-unavailable')
    expect((await statusOf(server, HOST)).size).toBe(1)
    living!.send(goodReply(request))
    expect(conditionOf(await answers[1]!)).toBe('result')
    expect(await askedOf([living!], users[0]!)).toBe(0)
  })

  it('F7: when the last one dies there is none', async () => {
    const [first, second, asker] = [await manager(), await manager(), await client('user0')]
    await first.destroy()
    await second.destroy()
    const answer = await asker.ask(`<iq type='get' id='${newId()}'><query xmlns='${NS}'/></iq>`)
    expect(conditionOf(answer)).toBe('service-unavailable')
  })

  it('F8: only the connection that was asked can answer', async () => {
    const connections = [await manager(), await manager()]
    const asker = await client('user0')
    const owner = await askedOf(connections, asker)
    const [asked, other] = [connections[owner]!, connections[1 - owner]!]
    const answer = asker.ask(`<iq type='get' id='${newId()}'><query xmlns='${NS}'/></iq>`)
    const request: ForwardedRequest = await forwardedTo(asked)
    other.send(replyText(request, wrapped(innerAnswer(request, {}, '<forged/>'))))
    await componentSettled(other, HOST)
    expect((await statusOf(server, HOST)).size).toBe(1)
    asked.send(goodReply(request, '<true/>'))
    expect((await answer).getChild('true')).toBeDefined()
    expect(await server.logged('ignored an answer from somebody who was not asked')).toContain(PUBSUB)
  })
})

describe('telling', () => {
  it('A2: every connection is told of what the component manages', async () => {
    for (const connection of [await manager(), await manager(), await manager()]) {
      const told = await connection.next(isAdvertisement)
      expect(namespacesIn(told)).toEqual([NS])
      await componentSettled(connection, HOST)
      expect(connection.received.filter(isAdvertisement)).toEqual([])
    }
  })

  it('C6: a changed list is told to every connection, and works at once', async () => {
    const connections = [await manager(), await manager()]
    for (const connection of connections) await connection.next(isAdvertisement)
    const changed = options({ [NS]: { jid: PUBSUB }, [MORE]: { jid: PUBSUB } })
    await server.server.reload(configWith(changed))
    for (const connection of connections) {
      expect(namespacesIn(await connection.next(isAdvertisement))).toEqual([NS, MORE])
    }
  })

  it('the component’s events come for each connection', async () => {
    const { events } = server.server.hosts.get(PUBSUB)!
    const seen: string[] = []
    events.add('component-authenticated', () => void seen.push('authenticated'), 10)
    events.add('component-disconnected', () => void seen.push('disconnected'), 10)
    const [first, second] = [await manager(), await manager()]
    expect(seen).toEqual(['authenticated', 'authenticated'])
    await first.close()
    await second.close()
    expect(seen.slice(2)).toEqual(['disconnected', 'disconnected'])
  })
})

describe('other stanzas', () => {
  it('of one sender go to one connection, beside the requests about that account', async () => {
    const connections = [await manager(), await manager()]
    for (const user of USERS.slice(0, 4)) {
      const asker = await client(user)
      const owner = connections[await askedOf(connections, asker)]!
      for (const address of [PUBSUB, `node@${PUBSUB}`, `node@${PUBSUB}/x`]) {
        const id = newId()
        asker.send(`<message id='${id}' to='${address}'/>`)
        await owner.withId(id)
      }
    }
  })

  it('an answer comes to the connection that has asked', async () => {
    const connections = [await manager(), await manager(), await manager()]
    const asked = await client('user0')
    for (const [index, connection] of connections.entries()) {
      const answer = connection.ask(
        `<iq type='get' id='same${index}' from='${PUBSUB}' to='${asked.jid}'><question xmlns='urn:example:q'/></iq>`,
      )
      const got = await asked.withId(`same${index}`)
      asked.send(`<iq type='result' id='${got.attrs.id}' to='${got.attrs.from}'/>`)
      expect((await answer).attrs.from).toBe(asked.jid)
    }
  })

  it('an answer comes to the one that has asked, also when others have asked the same with the same id', async () => {
    const connections = [await manager(), await manager(), await manager()]
    const asked = await client('user0')
    const isQuestion = (element: Element) => element.getChild('question') !== undefined
    // From other addresses they may be answered in any order, from the same one they are in theirs.
    for (const [addresses, order] of [
      [
        ['a', 'b', 'c'],
        [1, 2, 0],
      ],
      [
        ['a', 'a', 'a'],
        [0, 1, 2],
      ],
      // Again, and only two of them: nothing is left of before.
      [
        ['a', 'a'],
        [0, 1],
      ],
    ] as const) {
      const answers: Promise<Element>[] = []
      const questions: Element[] = []
      for (const [index, address] of addresses.entries()) {
        const from = `${address}@${PUBSUB}/x`
        const question = `<question xmlns='urn:example:q' of='${index}'/>`
        const ask = `<iq type='get' id='1' from='${from}' to='${asked.jid}'>${question}</iq>`
        answers.push(connections[index]!.ask(ask))
        questions.push(await asked.next(isQuestion))
      }
      for (const index of order) {
        const { from } = questions[index]!.attrs
        asked.send(`<iq type='result' id='1' to='${from}'><answer xmlns='urn:example:q' to='${index}'/></iq>`)
      }
      const got = (await Promise.all(answers)).map((answer) => answer.getChild('answer')!.attrs.to)
      expect(got).toEqual(addresses.map((_, index) => String(index)))
    }
  })
})

/** A reload's configuration, with what the harness gives at the start. */
function configWith(changed: ServerOptions): ReturnType<typeof configFromObject> {
  return configFromObject({
    storage: 'memory',
    data_path: server.server.dataPath,
    interfaces: ['127.0.0.1'],
    local_interfaces: ['127.0.0.1'],
    c2s_ports: [0],
    component_ports: [0],
    c2s_require_encryption: false,
    allow_unencrypted_plain_auth: true,
    modules_enabled: USUAL_PLUGINS,
    ...changed,
  })
}
