/** Managers that are not there, leave, come back or are silent (XEP-0355; rules C5, C6, F7, A2). */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { configFromObject, type ServerOptions } from '../../server/config/index.ts'
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
const PUBSUB = `pubsub.${HOST}`
const OTHER = `other.${HOST}`
const NS = 'urn:example:thing'
const SLOW = 'urn:example:slow'
const ELSE = 'urn:example:else'

let server: TestServer
const streams: TestStream[] = []

const component = {
  component_secret: 'secret',
  component_conflict_resolve: 'kick_old',
  modules_enabled: ['delegation'],
} as const

function usualOptions(delegations: Record<string, unknown>): ServerOptions {
  return {
    virtualHosts: { [HOST]: { delegations } },
    components: { [PUBSUB]: component, [OTHER]: component },
  }
}

async function start(options: ServerOptions): Promise<void> {
  server = await startServer(options, [`juliet@${HOST}`, `romeo@${HOST}`])
}

async function juliet(resource = 'balcony'): Promise<TestStream> {
  const stream = await login(server.c2sPort, `juliet@${HOST}/${resource}`)
  streams.push(stream)
  return stream
}

async function manager(domain = PUBSUB): Promise<TestStream> {
  const stream = await connectComponent(server.componentPort, domain)
  streams.push(stream)
  await componentSettled(stream, HOST)
  return stream
}

/** Sends a request. @returns its answer, later */
function ask(stream: TestStream, namespace = NS): Promise<Element> {
  return stream.ask(`<iq type='get' id='${newId()}' to='${HOST}'><query xmlns='${namespace}'/></iq>`)
}

const isAdvertisement = (element: Element): boolean => element.getName() === 'message'

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  const errors = errorLines(server)
  const status = server.server.modules.isLoaded(HOST, 'delegation') ? await statusOf(server, HOST) : undefined
  await server.stop()
  expect(errors).toEqual([])
  expect(status?.size ?? 0).toBe(0)
})

describe('a component that manages', () => {
  beforeEach(async () => {
    await start(
      usualOptions({
        [NS]: { jid: PUBSUB },
        [SLOW]: { jid: PUBSUB, timeout: 0.3 },
        [ELSE]: { jid: OTHER },
      }),
    )
  })

  it('F7: not connected: service-unavailable at once', async () => {
    const answer = await ask(await juliet())
    expect(conditionOf(answer)).toBe('service-unavailable')
    expect(answer.attrs.from).toBe(HOST)
    expect((await statusOf(server, HOST)).counts.get(NS)).toMatchObject({ forwarded: 0, unavailable: 1 })
  })

  it('F7: leaves: every request that is pending there is answered, those of others stay', async () => {
    const asker = await juliet()
    const [pubsub, other] = [await manager(), await manager(OTHER)]
    const lost = [ask(asker), ask(asker), ask(asker, SLOW)]
    const kept = ask(asker, ELSE)
    for (const _ of lost) await forwardedTo(pubsub)
    const request = await forwardedTo(other)
    await pubsub.destroy()
    for (const answer of lost) expect(conditionOf(await answer)).toBe('service-unavailable')
    expect((await statusOf(server, HOST)).size).toBe(1)
    other.send(goodReply(request))
    expect(conditionOf(await kept)).toBe('result')
  })

  it('F7: ends its stream in order: the same', async () => {
    const asker = await juliet()
    const pubsub = await manager()
    const lost = ask(asker)
    await forwardedTo(pubsub)
    await pubsub.close()
    expect(conditionOf(await lost)).toBe('service-unavailable')
    expect(conditionOf(await ask(asker))).toBe('service-unavailable')
  })

  it('F7: comes back and answers what was pending before: dropped', async () => {
    const asker = await juliet()
    const first = await manager()
    const lost = ask(asker)
    const old = await forwardedTo(first)
    await first.destroy()
    expect(conditionOf(await lost)).toBe('service-unavailable')
    const second = await manager()
    second.send(goodReply(old, '<late/>'))
    await componentSettled(second, HOST)
    await asker.settled()
    expect(asker.received.filter((element) => element.getName() === 'iq')).toEqual([])
    const again = ask(asker)
    const request = await forwardedTo(second)
    expect(request.wrapper.attrs.id).not.toBe(old.wrapper.attrs.id)
    second.send(goodReply(request))
    expect(conditionOf(await again)).toBe('result')
  })

  it('F7, A2: replaced by a new connection: pending requests are answered, the new one is told and asked', async () => {
    const asker = await juliet()
    const first = await manager()
    const lost = ask(asker)
    const old = await forwardedTo(first)
    const second = await manager()
    expect(conditionOf(await lost)).toBe('service-unavailable')
    expect((await first.streamError()).condition).toBe('conflict')
    expect((await second.next(isAdvertisement)).getChild('delegation')!.getChildElements()).toHaveLength(2)
    // The old connection may still be open for a moment: what it says is not heard.
    if (!first.socket.destroyed) first.send(goodReply(old))
    const again = ask(asker)
    second.send(goodReply(await forwardedTo(second)))
    expect(conditionOf(await again)).toBe('result')
  })

  it('F7: silent for longer than its timeout: service-unavailable, and the late answer is dropped', async () => {
    const asker = await juliet()
    const pubsub = await manager()
    const lost = ask(asker, SLOW)
    const kept = ask(asker, NS)
    const late = await forwardedTo(pubsub)
    const inTime = await forwardedTo(pubsub)
    expect(conditionOf(await lost)).toBe('service-unavailable')
    expect(await server.logged('did not answer in time')).toContain(PUBSUB)
    pubsub.send(goodReply(late, '<late/>') + goodReply(inTime))
    expect(conditionOf(await kept)).toBe('result')
    await asker.settled()
    expect(asker.received.filter((element) => element.getName() === 'iq')).toEqual([])
    expect((await statusOf(server, HOST)).counts.get(SLOW)).toMatchObject({ forwarded: 1, timedOut: 1 })
  })

  it('F8: the one asked for another namespace can not answer, though its own requests wait', async () => {
    const asker = await juliet()
    const [pubsub, other] = [await manager(), await manager(OTHER)]
    const answer = ask(asker)
    const request = await forwardedTo(pubsub)
    other.send(goodReply(request, '<forged/>').replaceAll(`from='${PUBSUB}'`, `from='${OTHER}'`))
    await componentSettled(other, HOST)
    expect((await statusOf(server, HOST)).size).toBe(1)
    pubsub.send(goodReply(request, '<true/>'))
    expect((await answer).getChild('true')).toBeDefined()
  })

  it('unloaded: pending requests are answered, the namespace is the server’s own again', async () => {
    const asker = await juliet()
    const pubsub = await manager()
    const lost = ask(asker)
    const old = await forwardedTo(pubsub)
    server.server.modules.unload(server.server.hosts.get(HOST)!, 'delegation')
    expect(conditionOf(await lost)).toBe('service-unavailable')
    pubsub.send(goodReply(old, '<late/>'))
    await componentSettled(pubsub, HOST)
    expect(conditionOf(await ask(asker))).toBe('service-unavailable')
    await componentSettled(pubsub, HOST)
    expect(unreadRequests(pubsub)).toEqual([])
    expect(asker.received.filter((element) => element.getName() === 'iq')).toEqual([])
  })

  it('A1: unloaded and loaded again on the host: the connected manager is told, and old ids mean nothing', async () => {
    const asker = await juliet()
    const pubsub = await manager()
    await pubsub.next(isAdvertisement)
    const lost = ask(asker)
    const old = await forwardedTo(pubsub)
    const host = server.server.hosts.get(HOST)!
    server.server.modules.unload(host, 'delegation')
    await server.server.modules.load(host, 'delegation')
    expect(conditionOf(await lost)).toBe('service-unavailable')
    await pubsub.next(isAdvertisement)
    const answer = ask(asker)
    const request = await forwardedTo(pubsub)
    pubsub.send(goodReply(old, '<late/>') + goodReply(request, '<true/>'))
    expect((await answer).getChild('true')).toBeDefined()
  })

  it('A1: the plugin’s file read anew: told once, by whichever order hosts are loaded in', async () => {
    const asker = await juliet()
    const pubsub = await manager()
    await pubsub.next(isAdvertisement)
    const lost = ask(asker)
    await forwardedTo(pubsub)
    await server.server.modules.reload('delegation')
    expect(conditionOf(await lost)).toBe('service-unavailable')
    await componentSettled(pubsub, HOST)
    expect(pubsub.received.filter(isAdvertisement)).toHaveLength(1)
    const answer = ask(asker)
    pubsub.send(goodReply(await forwardedTo(pubsub)))
    expect(conditionOf(await answer)).toBe('result')
  })
})

describe('C5: a component whose section does not enable the plugin', () => {
  it('is not told, and nothing is forwarded to it', async () => {
    await start({
      virtualHosts: { [HOST]: { delegations: { [NS]: { jid: PUBSUB } } } },
      components: { [PUBSUB]: { component_secret: 'secret' } },
    })
    const pubsub = await manager()
    expect(conditionOf(await ask(await juliet()))).toBe('service-unavailable')
    await componentSettled(pubsub, HOST)
    expect(pubsub.received).toEqual([])
  })
})

describe('C6: reloading the configuration', () => {
  const namespaces = (message: Element): string[] =>
    message
      .getChild('delegation')!
      .getChildElements()
      .map(({ attrs }) => attrs.namespace as string)

  const reload = (delegations: Record<string, unknown>, more: ServerOptions = {}): Promise<void> => {
    const { config } = server.server
    const keep = ['storage', 'data_path', 'interfaces', 'local_interfaces', 'c2s_ports', 'component_ports']
    const global = Object.fromEntries(
      [...keep, 'c2s_require_encryption', 'allow_unencrypted_plain_auth', 'modules_enabled'].map((name) => [
        name,
        config.get('*', name),
      ]),
    )
    return server.server.reload(configFromObject({ ...global, ...usualOptions(delegations), ...more }))
  }

  it('applies at once and tells every manager whose list changed, and no other', async () => {
    await start(usualOptions({ [NS]: { jid: PUBSUB }, [SLOW]: { jid: PUBSUB } }))
    const asker = await juliet()
    const [pubsub, other] = [await manager(), await manager(OTHER)]
    await pubsub.next(isAdvertisement)
    await reload({ [NS]: { jid: PUBSUB }, [SLOW]: { jid: OTHER } })
    expect(namespaces(await pubsub.next(isAdvertisement))).toEqual([NS])
    expect(namespaces(await other.next(isAdvertisement))).toEqual([SLOW])
    const answer = ask(asker, SLOW)
    other.send(goodReply(await forwardedTo(other)))
    expect(conditionOf(await answer)).toBe('result')
    await reload({ [NS]: { jid: PUBSUB }, [SLOW]: { jid: OTHER, filtering: ['node'] } })
    const told = await other.next(isAdvertisement)
    expect(told.getChild('delegation')!.getChild('delegated')!.getChild('attribute')!.attrs.name).toBe('node')
    await componentSettled(pubsub, HOST)
    expect(pubsub.received.filter(isAdvertisement)).toEqual([])
  })

  it('a manager that lost everything is told an empty list; what it was asked before it may still answer', async () => {
    await start(usualOptions({ [NS]: { jid: PUBSUB } }))
    const asker = await juliet()
    const pubsub = await manager()
    await pubsub.next(isAdvertisement)
    const pending = ask(asker)
    const request = await forwardedTo(pubsub)
    await reload({})
    expect(namespaces(await pubsub.next(isAdvertisement))).toEqual([])
    pubsub.send(goodReply(request))
    expect(conditionOf(await pending)).toBe('result')
    expect(conditionOf(await ask(asker))).toBe('service-unavailable')
    await componentSettled(pubsub, HOST)
    expect(unreadRequests(pubsub)).toEqual([])
  })

  it('a host that is new tells the managers that are connected already', async () => {
    await start(usualOptions({ [NS]: { jid: PUBSUB } }))
    const pubsub = await manager()
    await pubsub.next(isAdvertisement)
    await reload(
      {},
      {
        virtualHosts: {
          [HOST]: { delegations: { [NS]: { jid: PUBSUB } } },
          'montague.lit': { delegations: { [ELSE]: { jid: PUBSUB } } },
        },
      },
    )
    const told = await pubsub.next(isAdvertisement)
    expect(told.attrs.from).toBe('montague.lit')
    expect(namespaces(told)).toEqual([ELSE])
  })

  it('a component’s section loses the plugin: its pending requests are answered', async () => {
    await start(usualOptions({ [NS]: { jid: PUBSUB } }))
    const asker = await juliet()
    const pubsub = await manager()
    const lost = ask(asker)
    await forwardedTo(pubsub)
    await reload({ [NS]: { jid: PUBSUB } }, { components: { [PUBSUB]: { component_secret: 'secret' } } })
    expect(conditionOf(await lost)).toBe('service-unavailable')
    expect(conditionOf(await ask(asker))).toBe('service-unavailable')
  })
})
