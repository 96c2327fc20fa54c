/** The numbers of delegation, as other code reads them: the shared table `metrics`. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type DelegationMetrics, ReplyTimes } from '../../plugins/delegation/metrics.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import {
  componentSettled,
  conditionOf,
  forwardedTo,
  goodReply,
  innerAnswer,
  newId,
  replyText,
  wrapped,
} from '../shared/delegation.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const MONTAGUE = 'montague.lit'
const PUBSUB = `pubsub.${HOST}`
const ABSENT = `absent.${HOST}`
const RIVAL = `rival.${HOST}`
const NS = 'urn:example:thing'
const GONE = 'urn:example:gone'
const HASTY = 'urn:example:hasty'

let server: TestServer
let streams: TestStream[]
let juliet: TestStream
let pubsub: TestStream

beforeEach(async () => {
  const component = {
    component_secret: 'secret',
    modules_enabled: ['delegation'],
    component_conflict_resolve: 'share' as const,
    validate_from_addresses: false,
  }
  server = await startServer(
    {
      virtualHosts: {
        [HOST]: {
          delegations: {
            [NS]: { jid: PUBSUB },
            [GONE]: { jid: ABSENT },
            [HASTY]: { jid: `nurse@${HOST}`, timeout: 0.1 },
          },
        },
        [MONTAGUE]: { delegations: { [NS]: { jid: PUBSUB } } },
      },
      components: { [PUBSUB]: component, [ABSENT]: component, [RIVAL]: component },
    },
    [`juliet@${HOST}`, `nurse@${HOST}`],
  )
  juliet = await login(server.c2sPort, `juliet@${HOST}/balcony`)
  pubsub = await connectComponent(server.componentPort, PUBSUB)
  streams = [juliet, pubsub]
})

afterEach(async () => {
  for (const stream of streams) await stream.destroy()
  await server.stop()
})

const providers = (): Map<string, () => unknown> =>
  server.server.sharedTable('metrics', () => new Map<string, () => unknown>())

function rowOf(namespace: string, host = HOST): DelegationMetrics {
  const rows = providers().get('delegation')!() as DelegationMetrics[]
  return rows.find((row) => row.host === host && row.namespace === namespace)!
}

const ask = (namespace = NS) =>
  juliet.ask(`<iq type='get' id='${newId()}'><query xmlns='${namespace}'/></iq>`)

/** Asks; the manager's reply is what is made of the request. */
async function answeredWith(reply: (request: Awaited<ReturnType<typeof forwardedTo>>) => string) {
  const answer = ask()
  pubsub.send(reply(await forwardedTo(pubsub)))
  return conditionOf(await answer)
}

describe('the table', () => {
  it('has a row for every host and namespace, also before anything has happened', () => {
    const rows = providers().get('delegation')!() as DelegationMetrics[]
    expect(rows.map(({ host, namespace, manager }) => [host, namespace, manager]).sort()).toEqual(
      [
        [HOST, NS, PUBSUB],
        [HOST, GONE, ABSENT],
        [HOST, HASTY, `nurse@${HOST}`],
        [MONTAGUE, NS, PUBSUB],
      ].sort(),
    )
    expect(rowOf(NS, MONTAGUE)).toEqual({
      host: MONTAGUE,
      namespace: NS,
      manager: PUBSUB,
      connections: 1,
      connectedSince: expect.any(Number),
      pending: 0,
      forwarded: 0,
      answered: 0,
      failed: 0,
      refused: {},
      timedOut: 0,
      unavailable: 0,
      replyMs: { median: undefined, p99: undefined },
      replyTimes: [],
    })
  })

  it('counts what is pending and how it ends, refusals by their rule', async () => {
    expect(await answeredWith((request) => goodReply(request))).toBe('result')
    await answeredWith((request) => replyText(request, '', { type: 'error' }))
    await answeredWith((request) => replyText(request, wrapped('')))
    await answeredWith((request) => replyText(request, wrapped(innerAnswer(request, { type: 'get' }))))
    await answeredWith((request) => replyText(request, wrapped(innerAnswer(request, {}, '<a/><b/>'))))
    await answeredWith((request) => replyText(request, wrapped(innerAnswer(request, { id: 'wrong' }))))
    await answeredWith((request) => replyText(request, wrapped(innerAnswer(request, { id: 'wrong' }))))
    await answeredWith((request) => replyText(request, wrapped(innerAnswer(request, { to: `x@${HOST}` }))))
    await answeredWith((request) => replyText(request, wrapped(innerAnswer(request, { from: `x@${HOST}` }))))
    const rival = await connectComponent(server.componentPort, RIVAL)
    streams.push(rival)
    const answer = ask()
    const request = await forwardedTo(pubsub)
    rival.send(goodReply(request))
    await componentSettled(rival, HOST)
    expect(rowOf(NS)).toMatchObject({ pending: 1, forwarded: 10 })
    pubsub.send(goodReply(request))
    await answer
    const row = rowOf(NS)
    expect(row).toMatchObject({
      pending: 0,
      forwarded: 10,
      answered: 2,
      failed: 1,
      timedOut: 0,
      unavailable: 0,
    })
    expect(row.refused).toEqual({
      'F4-wrapper': 1,
      'F4-type': 1,
      'F4-children': 1,
      'F4-id': 2,
      'F4-to': 1,
      'F4-from': 1,
      'F8-sender': 1,
    })
    expect(row.replyMs.median).toBeGreaterThan(0)
    expect(row.replyMs.p99).toBeGreaterThanOrEqual(row.replyMs.median!)
    expect(rowOf(NS, MONTAGUE).forwarded).toBe(0)
  })

  it('F7: counts what timed out and what had no manager', async () => {
    await ask(GONE)
    expect(rowOf(GONE)).toMatchObject({
      connections: 0,
      connectedSince: undefined,
      forwarded: 0,
      unavailable: 1,
    })
    const nurse = await login(server.c2sPort, `nurse@${HOST}/room`)
    streams.push(nurse)
    await nurse.settled()
    expect(rowOf(HASTY).connections).toBe(1)
    await ask(HASTY)
    expect(rowOf(HASTY)).toMatchObject({ pending: 0, forwarded: 1, timedOut: 1, answered: 0 })
    const lost = ask()
    await forwardedTo(pubsub)
    await pubsub.destroy()
    await lost
    expect(rowOf(NS)).toMatchObject({ pending: 0, forwarded: 1, unavailable: 1, connections: 0 })
  })

  it('F10: counts connections, and knows the oldest', async () => {
    const second = await connectComponent(server.componentPort, PUBSUB)
    streams.push(second)
    const { connections, connectedSince } = rowOf(NS)
    const now = Date.now() / 1000
    expect(connections).toBe(2)
    expect(connectedSince).toBeGreaterThan(now - 60)
    expect(connectedSince).toBeLessThanOrEqual(now)
  })

  it('goes with the last host that delegates', () => {
    const { modules, hosts } = server.server
    modules.unload(hosts.get(HOST)!, 'delegation')
    expect((providers().get('delegation')!() as DelegationMetrics[]).map(({ host }) => host)).toEqual([
      MONTAGUE,
    ])
    modules.unload(hosts.get(MONTAGUE)!, 'delegation')
    expect(providers().has('delegation')).toBe(false)
  })
})

describe('reply times', () => {
  it('are right to some five per cent, from microseconds to hours', () => {
    for (const milliseconds of [0.02, 0.5, 1, 7, 33, 250, 30_000, 7_000_000]) {
      const times = new ReplyTimes()
      times.add(milliseconds)
      expect(times.quantile(0.5)! / milliseconds).toBeGreaterThan(0.94)
      expect(times.quantile(0.5)! / milliseconds).toBeLessThan(1.06)
    }
  })

  it('the 99th percentile leaves one of a hundred above it', () => {
    const times = new ReplyTimes()
    for (let count = 0; count < 990; count++) times.add(2)
    for (let count = 0; count < 10; count++) times.add(500)
    expect(times.quantile(0.5)).toBeCloseTo(2, 0)
    expect(times.quantile(0.99)).toBeCloseTo(2, 0)
    times.add(500)
    times.add(500)
    expect(times.quantile(0.99)).toBeGreaterThan(450)
  })

  it('there are none, or they are out of any bounds', () => {
    const times = new ReplyTimes()
    expect(times.quantile(0.5)).toBeUndefined()
    for (const odd of [0, -1, 1e300, Number.POSITIVE_INFINITY]) times.add(odd)
    expect(times.quantile(0.01)).toBeGreaterThan(0)
    expect(Number.isFinite(times.quantile(1)!)).toBe(true)
  })
})
