/** Service discovery of accounts that is delegated as such (XEP-0355 §7.2.4, §7.2.5; rule D6). */

import type { Element } from '@xmpp/xml'
import xml from '@xmpp/xml'
import { afterEach, describe, expect, it } from 'vitest'
import { NS_DISCO_INFO, NS_DISCO_ITEMS } from '../../server/stanza/namespaces.ts'
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
import {
  announce,
  bareNode,
  discoQuery,
  feature,
  infoOf,
  isDiscoQuestion,
} from '../shared/delegation-discovery.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'

const HOST = 'capulet.lit'
const PUBSUB = `pubsub.${HOST}`
const OTHER = `other.${HOST}`
const JULIET = `juliet@${HOST}`
const ROMEO = 'romeo@montague.lit'
const NOBODY = `nobody@${HOST}`
const INFO = 'urn:xmpp:delegation:2:bare:disco#info:*'
const ITEMS = 'urn:xmpp:delegation:2:bare:disco#items:*'
const NODE = 'urn:xmpp:microblog:0'
const BOTH = { [INFO]: { jid: PUBSUB }, [ITEMS]: { jid: PUBSUB } }
const KINDS = [NS_DISCO_INFO, NS_DISCO_ITEMS] as const
type Kind = (typeof KINDS)[number]

let server: TestServer
let juliet: TestStream
let pubsub: TestStream
const streams: TestStream[] = []

async function start(delegations: Record<string, unknown>, plugins = USUAL_PLUGINS): Promise<void> {
  const component = { component_secret: 'secret', modules_enabled: ['delegation'] }
  server = await startServer(
    {
      modules_enabled: plugins,
      virtualHosts: { [HOST]: { delegations }, 'montague.lit': {} },
      components: { [PUBSUB]: component, [OTHER]: component },
    },
    [JULIET, ROMEO],
  )
  juliet = await client(`${JULIET}/balcony`)
  pubsub = await manager()
}

async function client(jid: string): Promise<TestStream> {
  const stream = await login(server.c2sPort, jid)
  streams.push(stream)
  return stream
}

async function manager(domain = PUBSUB): Promise<TestStream> {
  const stream = await connectComponent(server.componentPort, domain)
  streams.push(stream)
  return stream
}

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  const errors = errorLines(server)
  const status = await statusOf(server, HOST)
  await server.stop()
  expect(errors).toEqual([])
  expect(status.size).toBe(0)
})

/** Asks, answers as the manager, and looks at both ends. */
async function passes(asker: TestStream, to: string | null, kind: Kind, node?: string): Promise<void> {
  const answer = discoQuery(asker, to, kind, node)
  const request = await forwardedTo(pubsub)
  expect(request.wrapper.attrs).toMatchObject({ from: HOST, to: PUBSUB })
  expect(request.iq.attrs.from).toBe(asker.jid)
  expect(request.iq.attrs.to).toBe(to ?? undefined)
  expect(request.payload.getNS()).toBe(kind)
  expect(request.payload.attrs.node).toBe(node)
  pubsub.send(goodReply(request, `<query xmlns='${kind}'><mark/></query>`))
  expect((await answer).getChild('query', kind)!.getChild('mark')).toBeDefined()
  expect((await answer).attrs.from).toBe(to ?? undefined)
  // Once, and nothing after the answer.
  await componentSettled(pubsub, HOST)
  expect(unreadRequests(pubsub)).toEqual([])
  await (asker.jid.includes('@') ? asker.settled() : componentSettled(asker, HOST))
  expect(asker.received.filter((element) => element.getName() === 'iq' && !isDiscoQuestion(element))).toEqual(
    [],
  )
}

/** Asks, and sees to it that no manager heard of it. */
async function staysHere(asker: TestStream, to: string | null, kind: Kind, node?: string): Promise<Element> {
  const answer = await discoQuery(asker, to, kind, node)
  await componentSettled(pubsub, HOST)
  expect(unreadRequests(pubsub)).toEqual([])
  return answer
}

/** A handler of the server's own. */
function serve(
  event: string,
  handler: (event: { node: string; exists: boolean; reply: Element }) => unknown,
): void {
  server.server.hosts.get(HOST)!.events.add(event, handler as never, 0, 'own')
}

describe('D6: for a node that the server does not serve', () => {
  it.each(KINDS)('%s of a bare JID is forwarded once, whoever asks', async (kind) => {
    await start(BOTH)
    const romeo = await client(`${ROMEO}/orchard`)
    for (const to of [null, JULIET]) await passes(juliet, to, kind, NODE)
    // Without a subscription, of accounts that there are and of others.
    for (const to of [JULIET, NOBODY]) await passes(romeo, to, kind, NODE)
    // The account's roster is no longer in memory.
    await juliet.close()
    await passes(romeo, JULIET, kind, NODE)
  })

  it('with a subscription too', async () => {
    await start(BOTH)
    const romeo = await client(`${ROMEO}/orchard`)
    romeo.send(`<presence type='subscribe' to='${JULIET}'/>`)
    await juliet.next(({ attrs }) => attrs.type === 'subscribe')
    juliet.send(`<presence type='subscribed' to='${ROMEO}'/>`)
    await romeo.next(({ attrs }) => attrs.type === 'subscribed')
    for (const kind of KINDS) await passes(romeo, JULIET, kind, NODE)
    await passes(romeo, JULIET, NS_DISCO_ITEMS)
    expect((await staysHere(romeo, JULIET, NS_DISCO_INFO)).attrs.type).toBe('result')
  })

  it.each(KINDS)('%s: a component asks as well', async (kind) => {
    await start(BOTH)
    await passes(await manager(OTHER), JULIET, kind, NODE)
  })

  it.each(KINDS)('%s without the plugin disco: the same', async (kind) => {
    await start(
      BOTH,
      USUAL_PLUGINS.filter((name) => name !== 'disco'),
    )
    await passes(juliet, JULIET, kind, NODE)
    await passes(juliet, null, NS_DISCO_ITEMS)
    expect(conditionOf(await staysHere(juliet, JULIET, NS_DISCO_INFO))).toBe('service-unavailable')
  })

  it('a manager’s error reaches the asker as it is', async () => {
    await start(BOTH)
    const answer = discoQuery(juliet, JULIET, NS_DISCO_INFO, NODE)
    const request = await forwardedTo(pubsub)
    const error = `<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>`
    const reply = goodReply(request, error)
    const inner = reply.indexOf(`type='result'`, reply.indexOf('<delegation'))
    pubsub.send(`${reply.slice(0, inner)}type='error'${reply.slice(inner + `type='result'`.length)}`)
    expect(conditionOf(await answer)).toBe('item-not-found')
  })
})

describe('D6: what the server serves itself', () => {
  it('a node that one of its plugins knows is not forwarded', async () => {
    await start(BOTH)
    serve('account-disco-info-node', (event) => {
      if (event.node === 'mine') event.exists = true
    })
    serve('account-disco-items-node', (event) => {
      if (event.node === 'mine') event.exists = true
    })
    for (const kind of KINDS) {
      const answer = await staysHere(juliet, JULIET, kind, 'mine')
      expect(answer.getChild('query', kind)!.attrs.node).toBe('mine')
      await passes(juliet, JULIET, kind, 'else')
    }
  })

  it('nor is one that a plugin answers by its own hand, at once or later', async () => {
    await start(BOTH)
    const send = ({ origin, stanza }: { origin: { send(stanza: Element): void }; stanza: Element }) =>
      origin.send(xml('iq', { type: 'result', id: stanza.attrs.id, to: stanza.attrs.from }, xml('own')))
    serve('account-disco-info-node', (event) => {
      if (event.node !== 'now') return undefined
      send(event as never)
      return true
    })
    serve('account-disco-items-node', (event) =>
      event.node === 'later' ? Promise.resolve().then(() => send(event as never)) : undefined,
    )
    expect((await staysHere(juliet, null, NS_DISCO_INFO, 'now')).getChild('own')).toBeDefined()
    expect((await staysHere(juliet, null, NS_DISCO_ITEMS, 'later')).getChild('own')).toBeDefined()
  })

  it('disco#info without a node stays the server’s, with what managers add', async () => {
    await start({ ...BOTH, 'urn:example:thing': { jid: PUBSUB } })
    await announce(pubsub, bareNode('urn:example:thing'), feature('urn:example:nested'))
    const answer = await staysHere(juliet, JULIET, NS_DISCO_INFO)
    expect(answer.getChild('query')!.getChild('identity')!.attrs).toMatchObject({ type: 'registered' })
    expect((await infoOf(juliet, null)).features).toContain('urn:example:nested')
    expect(conditionOf(await staysHere(juliet, JULIET, NS_DISCO_INFO, ''))).toBe('result')
    const romeo = await client(`${ROMEO}/orchard`)
    for (const to of [JULIET, NOBODY]) {
      expect(conditionOf(await staysHere(romeo, to, NS_DISCO_INFO))).toBe('service-unavailable')
    }
  })

  it('disco#items without a node is forwarded once, whoever asks, and the server adds nothing', async () => {
    await start(BOTH)
    let asked = 0
    serve('account-disco-items', () => {
      asked++
    })
    const romeo = await client(`${ROMEO}/orchard`)
    for (const to of [null, JULIET]) await passes(juliet, to, NS_DISCO_ITEMS)
    for (const to of [JULIET, NOBODY]) await passes(romeo, to, NS_DISCO_ITEMS)
    expect(asked).toBe(0)
  })

  it('the host’s disco and that of full JIDs is not touched', async () => {
    await start(BOTH)
    for (const kind of KINDS) {
      expect((await staysHere(juliet, HOST, kind)).attrs.type).toBe('result')
      expect(conditionOf(await staysHere(juliet, HOST, kind, NODE))).toBe('item-not-found')
      expect(conditionOf(await staysHere(juliet, `${JULIET}/nowhere`, kind, NODE))).toBe(
        'service-unavailable',
      )
      expect(conditionOf(await staysHere(juliet, ROMEO, kind, NODE))).toBe('service-unavailable')
      const other = await client(`${JULIET}/other`)
      juliet.send(
        `<iq type='get' id='${newId()}' to='${JULIET}/other'><query xmlns='${kind}' node='${NODE}'/></iq>`,
      )
      expect((await other.next(({ attrs }) => attrs.type === 'get')).attrs.from).toBe(juliet.jid)
      await other.close()
    }
  })

  it('only the one that is delegated is forwarded', async () => {
    await start({ [INFO]: { jid: PUBSUB } })
    await passes(juliet, JULIET, NS_DISCO_INFO, NODE)
    expect(conditionOf(await staysHere(juliet, JULIET, NS_DISCO_ITEMS, NODE))).toBe('item-not-found')
    expect(conditionOf(await staysHere(juliet, JULIET, NS_DISCO_ITEMS))).toBe('result')
  })

  it('an IQ of type set, another element, and the names as a namespace are not meant', async () => {
    await start(BOTH)
    for (const [type, payload] of [
      ['set', `<query xmlns='${NS_DISCO_INFO}' node='x'/>`],
      ['get', `<other xmlns='${NS_DISCO_INFO}' node='x'/>`],
      ['get', `<query xmlns='${INFO}' node='x'/>`],
      ['get', `<query xmlns='${ITEMS}'/>`],
    ]) {
      for (const to of ['', `to='${JULIET}'`]) {
        const answer = await juliet.ask(`<iq type='${type}' id='${newId()}' ${to}>${payload}</iq>`)
        expect(conditionOf(answer)).toBe('service-unavailable')
      }
    }
    await componentSettled(pubsub, HOST)
    expect(unreadRequests(pubsub)).toEqual([])
  })
})

describe('D6 with the other rules', () => {
  it('C2: with a filtering attribute that is missing, the server answers', async () => {
    await start({ [INFO]: { jid: PUBSUB }, [ITEMS]: { jid: PUBSUB, filtering: ['node'] } })
    expect(conditionOf(await staysHere(juliet, JULIET, NS_DISCO_ITEMS))).toBe('result')
    await passes(juliet, JULIET, NS_DISCO_ITEMS, NODE)
  })

  it('F3: what the manager asks is not forwarded to it', async () => {
    await start(BOTH)
    for (const kind of KINDS) {
      expect(conditionOf(await staysHere(pubsub, JULIET, kind, NODE))).toBe('service-unavailable')
    }
  })

  it('F7: no manager: service-unavailable, and nobody learns which accounts there are', async () => {
    await start(BOTH)
    await pubsub.destroy()
    await server.logged('component disconnected')
    const romeo = await client(`${ROMEO}/orchard`)
    for (const kind of KINDS) {
      expect(conditionOf(await discoQuery(juliet, JULIET, kind, NODE))).toBe('service-unavailable')
      const answers: string[] = []
      for (const to of [JULIET, NOBODY]) {
        for (const node of [NODE, undefined]) {
          const answer = await discoQuery(romeo, to, kind, node)
          expect(conditionOf(answer)).toBe('service-unavailable')
          answers.push(answer.children.toString())
        }
      }
      expect(new Set(answers).size).toBe(1)
    }
  })

  it('disco#info delegated as a namespace to another comes first, and each request is forwarded once', async () => {
    await start({ ...BOTH, [NS_DISCO_INFO]: { jid: OTHER } })
    const other = await manager(OTHER)
    const answer = discoQuery(juliet, JULIET, NS_DISCO_INFO, NODE)
    other.send(goodReply(await forwardedTo(other), '<other/>'))
    expect((await answer).getChild('other')).toBeDefined()
    await componentSettled(pubsub, HOST)
    expect(unreadRequests(pubsub)).toEqual([])
    // F3: that manager's own requests take their normal way, which leads here.
    await passes(other, JULIET, NS_DISCO_INFO, NODE)
    expect(unreadRequests(other)).toEqual([])
  })
})
