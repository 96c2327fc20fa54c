/** What managers and others are told of delegations (XEP-0355 §4.2, §7.1; rules A1, A2, C5, D1). */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { NS_DELEGATION, NS_DISCO_INFO } from '../../server/stanza/namespaces.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { componentSettled, errorLines, newId } from '../shared/delegation.ts'
import { isDiscoQuestion } from '../shared/delegation-discovery.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const MONTAGUE = 'montague.lit'
const PUBSUB = `pubsub.${HOST}`
const IDLE = `idle.${HOST}`
const STRANGE = 'urn:example:\'"<>&é'

let server: TestServer
const streams: TestStream[] = []

beforeEach(async () => {
  const component = {
    component_secret: 'secret',
    component_conflict_resolve: 'kick_old',
    modules_enabled: ['delegation'],
  } as const
  server = await startServer(
    {
      virtualHosts: {
        [HOST]: {
          delegations: {
            'urn:xmpp:mam:2': { jid: PUBSUB, filtering: ['node', 'with', 'node'] },
            'http://jabber.org/protocol/pubsub': { jid: PUBSUB },
            [STRANGE]: { jid: PUBSUB },
            'urn:example:other': { jid: `other.${HOST}` },
          },
        },
        [MONTAGUE]: { delegations: { 'urn:example:thing': { jid: 'PubSub.capulet.lit' } } },
        'verona.lit': {},
      },
      components: { [PUBSUB]: component, [IDLE]: component, [`other.${HOST}`]: component },
    },
    [`juliet@${HOST}`],
  )
})

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
  expect(errorLines(server)).toEqual([])
})

async function connect(domain: string): Promise<TestStream> {
  const stream = await connectComponent(server.componentPort, domain)
  streams.push(stream)
  return stream
}

/** What a message advertises: namespaces with their attributes. */
function listed(message: Element): Record<string, string[]> {
  const [delegation, ...others] = message.getChildElements()
  expect(others).toEqual([])
  expect([delegation!.getName(), delegation!.getNS()]).toEqual(['delegation', NS_DELEGATION])
  return Object.fromEntries(
    delegation!.getChildElements().map((delegated) => {
      expect([delegated.getName(), delegated.getNS()]).toEqual(['delegated', NS_DELEGATION])
      const attributes = delegated.getChildElements().map((attribute) => {
        expect(attribute.getName()).toBe('attribute')
        return attribute.attrs.name as string
      })
      return [delegated.attrs.namespace as string, attributes]
    }),
  )
}

const OF_CAPULET = {
  'urn:xmpp:mam:2': ['node', 'with'],
  'http://jabber.org/protocol/pubsub': [],
  [STRANGE]: [],
}

async function told(stream: TestStream): Promise<void> {
  const messages = [await stream.named('message'), await stream.named('message')]
  for (const { attrs } of messages) expect(attrs).toMatchObject({ to: PUBSUB })
  const byHost = new Map(messages.map((message) => [message.attrs.from as string, listed(message)]))
  expect(byHost.get(HOST)).toEqual(OF_CAPULET)
  expect(byHost.get(MONTAGUE)).toEqual({ 'urn:example:thing': [] })
  await componentSettled(stream, HOST)
  expect(stream.received.filter((element) => !isDiscoQuestion(element))).toEqual([])
}

describe('A1: a component that has authenticated', () => {
  it('is told by each host that delegates to it, once, of its own namespaces alone', async () => {
    await told(await connect(PUBSUB))
  })

  it('is told only after the handshake has been answered', async () => {
    const stream = await connect(PUBSUB)
    expect(stream.text.indexOf('<handshake')).toBeGreaterThan(0)
    await stream.named('message')
    expect(stream.text.indexOf('<handshake')).toBeLessThan(stream.text.indexOf('<message'))
  })

  it('that manages nothing is told nothing', async () => {
    const stream = await connect(IDLE)
    await componentSettled(stream, HOST)
    expect(stream.received).toEqual([])
  })

  it('with a wrong secret is told nothing', async () => {
    await expect(connectComponent(server.componentPort, PUBSUB, 'wrong')).rejects.toThrow(/could not connect/)
    expect(server.log.filter((line) => line.includes('told a manager'))).toEqual([])
  })
})

describe('A2', () => {
  it('it is told again at every reconnect', async () => {
    for (let time = 0; time < 3; time++) {
      const stream = await connect(PUBSUB)
      await told(stream)
      await stream.close()
    }
  })

  it('a second connection is told as well', async () => {
    await told(await connect(PUBSUB))
    await told(await connect(PUBSUB))
  })
})

describe('D1', () => {
  it('the host announces the namespace, whether it delegates or not', async () => {
    const juliet = await login(server.c2sPort, `juliet@${HOST}`)
    streams.push(juliet)
    for (const host of [HOST, 'verona.lit']) {
      const info = await juliet.ask(
        `<iq type='get' id='${newId()}' to='${host}'><query xmlns='${NS_DISCO_INFO}'/></iq>`,
      )
      const features = info
        .getChild('query')!
        .getChildren('feature')
        .map(({ attrs }) => attrs.var)
      expect(features.filter((feature) => feature === NS_DELEGATION)).toHaveLength(1)
    }
  })
})
