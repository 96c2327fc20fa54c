/** Local accounts that manage (rules C4, A3, F3, F7). */

import type { Element } from '@xmpp/xml'
import { afterEach, describe, expect, it } from 'vitest'
import type { ServerOptions } from '../../server/config/index.ts'
import { login, type TestStream } from '../shared/client.ts'
import {
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
const NS = 'urn:example:thing'

let server: TestServer
const streams: TestStream[] = []

async function start(options: ServerOptions): Promise<void> {
  server = await startServer(options, [`juliet@${HOST}`, `nurse@${HOST}`])
}

const usualOptions = (delegations: Record<string, unknown>): ServerOptions => ({
  virtualHosts: { [HOST]: { delegations } },
})

async function juliet(): Promise<TestStream> {
  const stream = await login(server.c2sPort, `juliet@${HOST}/balcony`)
  streams.push(stream)
  return stream
}

/** Sends a request. @returns its answer, later */
function ask(stream: TestStream): Promise<Element> {
  return stream.ask(`<iq type='get' id='${newId()}' to='${HOST}'><query xmlns='${NS}'/></iq>`)
}

const isAdvertisement = (element: Element): boolean => element.getName() === 'message'

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  const { size } = await statusOf(server, HOST)
  await server.stop()
  expect(errorLines(server)).toEqual([])
  expect(size).toBe(0)
})

describe('C4, A3: a local account that manages', () => {
  const NURSE = `nurse@${HOST}`

  async function nurse(resource: string, presence = true): Promise<TestStream> {
    const stream = await login(server.c2sPort, `${NURSE}/${resource}`, { presence })
    streams.push(stream)
    await stream.settled()
    return stream
  }

  it('A3: is told at its initial presence, not before', async () => {
    await start(usualOptions({ [NS]: { jid: NURSE } }))
    const stream = await nurse('room', false)
    expect(stream.received.filter(isAdvertisement)).toEqual([])
    expect(conditionOf(await ask(await juliet()))).toBe('service-unavailable')
    stream.send('<presence/>')
    const told = await stream.next(isAdvertisement)
    expect(told.attrs).toMatchObject({ from: HOST, to: `${NURSE}/room` })
    stream.send('<presence><show>away</show></presence>')
    await stream.settled()
    expect(stream.received.filter(isAdvertisement)).toEqual([])
  })

  it('C4: a bare JID: its first available resource is asked, and no other may answer', async () => {
    await start(usualOptions({ [NS]: { jid: NURSE } }))
    const asker = await juliet()
    const first = await nurse('first')
    const second = await nurse('second')
    const answer = ask(asker)
    const request = await forwardedTo(first)
    second.send(goodReply(request, '<forged/>').replace(/ from='[^']*'/, ''))
    await second.settled()
    first.send(goodReply(request, '<true/>'))
    expect((await answer).getChild('true')).toBeDefined()
    expect(unreadRequests(second)).toEqual([])
  })

  it('F7: the resource that was asked leaves: service-unavailable; the next is asked from then on', async () => {
    await start(usualOptions({ [NS]: { jid: NURSE } }))
    const asker = await juliet()
    const first = await nurse('first')
    const second = await nurse('second')
    const lost = ask(asker)
    await forwardedTo(first)
    await first.destroy()
    expect(conditionOf(await lost)).toBe('service-unavailable')
    const answer = ask(asker)
    second.send(goodReply(await forwardedTo(second)))
    expect(conditionOf(await answer)).toBe('result')
  })

  it('C4: a full JID: that resource alone', async () => {
    await start(usualOptions({ [NS]: { jid: `${NURSE}/room` } }))
    const asker = await juliet()
    const elsewhere = await nurse('elsewhere')
    expect(conditionOf(await ask(asker))).toBe('service-unavailable')
    const room = await nurse('room', false)
    expect(conditionOf(await ask(asker))).toBe('service-unavailable')
    room.send('<presence/>')
    await room.next(isAdvertisement)
    const answer = ask(asker)
    room.send(goodReply(await forwardedTo(room)))
    expect(conditionOf(await answer)).toBe('result')
    expect(elsewhere.received.filter(isAdvertisement)).toEqual([])
    // F3: the manager is the resource; another of the same account is an asker like any.
    const asked = ask(elsewhere)
    room.send(goodReply(await forwardedTo(room)))
    expect(conditionOf(await asked)).toBe('result')
  })

  it('F3: what the account itself asks is not forwarded, from whichever resource', async () => {
    await start(usualOptions({ [NS]: { jid: NURSE } }))
    const first = await nurse('first')
    const second = await nurse('second')
    expect(conditionOf(await ask(first))).toBe('service-unavailable')
    expect(conditionOf(await ask(second))).toBe('service-unavailable')
    expect(unreadRequests(first)).toEqual([])
  })

  it('of another VirtualHost that does not enable the plugin: nobody, as for components', async () => {
    await start({
      virtualHosts: {
        [HOST]: { delegations: { [NS]: { jid: 'nurse@montague.lit' } } },
        'montague.lit': { modules_disabled: ['delegation'] },
      },
    })
    await server.addUser('nurse@montague.lit')
    const stream = await login(server.c2sPort, 'nurse@montague.lit/room')
    streams.push(stream)
    await stream.settled()
    expect(conditionOf(await ask(await juliet()))).toBe('service-unavailable')
    expect(unreadRequests(stream)).toEqual([])
  })

  it('of another VirtualHost: told for the host that delegates, asked and heard', async () => {
    await start({
      virtualHosts: { [HOST]: { delegations: { [NS]: { jid: 'nurse@montague.lit' } } }, 'montague.lit': {} },
    })
    await server.addUser('nurse@montague.lit')
    const stream = await login(server.c2sPort, 'nurse@montague.lit/room')
    streams.push(stream)
    expect((await stream.next(isAdvertisement)).attrs.from).toBe(HOST)
    const asker = await juliet()
    const answer = ask(asker)
    const request = await forwardedTo(stream)
    stream.send(goodReply(request))
    expect(conditionOf(await answer)).toBe('result')
    const lost = ask(asker)
    await forwardedTo(stream)
    await stream.destroy()
    expect(conditionOf(await lost)).toBe('service-unavailable')
  })
})
