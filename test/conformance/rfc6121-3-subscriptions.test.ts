/**
 * RFC 6121 §3, rule by rule: subscriptions. §3.4: rfc6121-3.4-pre-approval.test.ts. Every row of the tables of appendix
 * A: rfc6121-3-states.test.ts. That two who change their subscriptions at once agree afterwards:
 * im-subscription-races.test.ts, and in a cluster cluster-subscription-races.test.ts. Over storage that outlives a
 * restart: im-roster.test.ts and here.
 *
 * Not here, because they are a client's to keep: §3.1.1 (bare JIDs and ids), §3.1.4 (it asks its user; its ids), §3.3.3
 * (it does not rely on unavailable presence).
 *
 * Not done, as the RFC allows: §3.1.6, §3.2.3, §3.3.3, what comes for an account that is offline is not kept to be
 * delivered later (MAY); the roster tells. §3.1.2: who asks for the presence of nobody gets no error, but what anybody
 * gets whose request waits, so that accounts cannot be guessed; im-presence.test.ts, "§8.5.1".
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { StoredRoster } from '../../plugins/roster/roster.ts'
import { connectComponent, type TestStream } from '../shared/client.ts'
import {
  enter,
  errorIn,
  getItem,
  getRoster,
  lineOf,
  sendPresence,
  setRoster,
  settled,
  stateIn,
  subscribe,
  taken,
} from '../shared/im-client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { describeStored } from '../shared/server-storages.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`
const NURSE = `nurse@${HOST}`
const ROOMS = `rooms.${HOST}`
const FRIEND = `friend@${ROOMS}`

let server: TestServer
const streams: TestStream[] = []

async function connect(jid: string, presence?: string): Promise<TestStream> {
  const stream = await enter(server.c2sPort, jid, presence)
  streams.push(stream)
  return stream
}

async function component(): Promise<TestStream> {
  const stream = await connectComponent(server.componentPort, ROOMS)
  streams.push(stream)
  return stream
}

const all = (...some: TestStream[]) => settled(HOST, ...some)
const isOf = (type: string) => (element: Element) => element.is('presence') && element.attrs.type === type

beforeEach(async () => {
  server = await startServer(
    {
      virtualHosts: { [HOST]: { roster_max_requests: 3 } },
      components: { [ROOMS]: { component_secret: 'secret' } },
    },
    [JULIET, ROMEO, NURSE],
  )
})

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
})

describeStored('3.1 requesting a subscription', (lasting) => {
  it.each(['subscribe', 'subscribed', 'unsubscribe', 'unsubscribed'])(
    '3 a client’s "%s" goes out from its bare JID',
    async (type) => {
      const juliet = await connect(JULIET)
      const rooms = await component()
      sendPresence(rooms, 'subscribe', JULIET, '', FRIEND)
      await all(rooms, juliet)
      sendPresence(juliet, type, `${FRIEND}/resource`)
      expect((await rooms.next(isOf(type))).attrs).toMatchObject({ from: JULIET, to: FRIEND })
    },
  )

  it('3.1.1 a roster set and a request are worked on in either order', async () => {
    const juliet = await connect(JULIET)
    sendPresence(juliet, 'subscribe', ROMEO)
    await setRoster(juliet, `<item jid='${ROMEO}' name='R'/>`)
    await setRoster(juliet, `<item jid='${NURSE}' name='N'/>`)
    sendPresence(juliet, 'subscribe', NURSE)
    await juliet.settled()
    for (const [jid, name] of [
      [ROMEO, 'R'],
      [NURSE, 'N'],
    ] as const) {
      const item = await getItem(juliet, jid)
      expect([item?.attrs.name, stateIn(item)]).toEqual([name, 'none+ask'])
    }
  })

  it('3.1.2 a request to a full JID goes to the bare one; its content and id stay; all are pushed that it waits', async () => {
    const [one, two] = [await connect(`${JULIET}/one`), await connect(`${JULIET}/two`)]
    const romeo = await connect(ROMEO)
    one.send(`<presence id='q1' type='subscribe' to='${ROMEO}/x'><status>Hi</status></presence>`)
    const request = await romeo.next(isOf('subscribe'))
    expect(request.attrs).toMatchObject({ id: 'q1', from: JULIET, to: ROMEO })
    expect(request.getChildText('status')).toBe('Hi')
    await all(one, two)
    for (const stream of [one, two]) expect(taken(stream)).toContain(`push ${ROMEO} none+ask`)
  })

  it('3.1.2 a malformed address, and a domain that there is no way to, are told as errors', async () => {
    const juliet = await connect(JULIET)
    taken(juliet)
    sendPresence(juliet, 'subscribe', '@')
    expect(errorIn(await juliet.next(isOf('error')))).toBe('jid-malformed modify')
    sendPresence(juliet, 'subscribe', 'someone@nowhere.lit')
    const error = await juliet.next(isOf('error'))
    expect(error.attrs.from).toBe('someone@nowhere.lit')
    expect(errorIn(error)).toBe('remote-server-not-found cancel')
  })

  it('3.1.2 who is elsewhere is asked again, with an id, when a resource becomes available', async () => {
    const juliet = await connect(`${JULIET}/one`)
    const rooms = await component()
    sendPresence(juliet, 'subscribe', FRIEND)
    await rooms.next(isOf('subscribe'))
    await connect(`${JULIET}/two`)
    const again = await rooms.next(isOf('subscribe'))
    expect(again.attrs).toMatchObject({ from: JULIET, to: FRIEND })
    expect(again.attrs.id).toMatch(/./)
    sendPresence(rooms, 'subscribed', JULIET, '', FRIEND)
    await all(rooms, juliet)
    rooms.received.splice(0)
    await connect(`${JULIET}/three`)
    await all(rooms)
    expect(rooms.received.filter(isOf('subscribe'))).toEqual([])
  })

  it('3.1.2 who is of this server is asked again, too; what only one of the two rosters has comes into the other', async () => {
    const store = server.server.storage.openKeyval<StoredRoster>(HOST, 'roster')
    const asks = (jid: string) => ({ jid, subscription: 'none', ask: true }) as const
    await store.set('juliet', { items: [asks(ROMEO), asks(NURSE)], requests: [] })
    await store.set('nurse', { items: [{ jid: JULIET, subscription: 'from' }], requests: [] })
    const romeo = await connect(ROMEO)
    const juliet = await connect(`${JULIET}/one`)
    await romeo.next(isOf('subscribe'))
    expect((await juliet.next(isOf('subscribed'))).attrs.from).toBe(NURSE)
    await all(romeo, juliet)
    expect(stateIn(await getItem(juliet, NURSE))).toBe('to')
    // Who has the request does nothing with it.
    await connect(`${JULIET}/two`)
    await all(romeo, juliet)
    expect(romeo.received.filter(isOf('subscribe'))).toEqual([])
    sendPresence(romeo, 'subscribed', JULIET)
    await all(romeo, juliet)
    expect(stateIn(await getItem(juliet, ROMEO))).toBe('to')
    expect(stateIn(await getItem(romeo, JULIET))).toBe('from')
  })

  it('3.1.3 nobody is approved without being asked; the request goes to available resources, and only those', async () => {
    const [one, two] = [await connect(`${JULIET}/one`), await connect(`${JULIET}/two`)]
    const away = await connect(`${JULIET}/away`, '')
    const romeo = await connect(ROMEO)
    for (const stream of [one, two, away, romeo]) taken(stream)
    sendPresence(romeo, 'subscribe', `${JULIET}/one`)
    await all(romeo, one, two, away)
    expect(taken(romeo)).toEqual([`push ${JULIET} none+ask`, `unavailable ${JULIET}`])
    for (const stream of [one, two]) expect(taken(stream)).toEqual([`subscribe ${ROMEO}`])
    expect(taken(away)).toEqual([])
    // It gets it when it is available.
    away.send('<presence/>')
    await all(away)
    expect(taken(away)).toContain(`subscribe ${ROMEO}`)
    away.send('<presence><show>away</show></presence>')
    await all(away)
    expect(taken(away)).not.toContain(`subscribe ${ROMEO}`)
    expect(await getRoster(one)).toEqual([])
  })

  it('3.1.3 who is subscribed already is told so, with presence', async () => {
    const [juliet, rooms] = [await connect(JULIET), await component()]
    sendPresence(rooms, 'subscribe', JULIET, '', FRIEND)
    await all(rooms, juliet)
    sendPresence(juliet, 'subscribed', FRIEND)
    await all(juliet, rooms)
    taken(juliet)
    rooms.received.splice(0)
    sendPresence(rooms, 'subscribe', JULIET, '', FRIEND)
    await all(rooms, juliet)
    const lines = rooms.received.filter((element) => element.is('presence')).map(lineOf)
    expect(lines).toEqual([`subscribed ${JULIET}`, `available ${juliet.jid}`])
    expect(taken(juliet)).toEqual([])
  })

  it('3.1.3 a request for who is offline is kept whole, once, and comes at each login until it is answered', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'legate-requests-'))
    try {
      await server.stop()
      const options = { virtualHosts: { [HOST]: {} }, ...lasting, data_path: folder }
      server = await startServer(options, [JULIET, ROMEO])
      const romeo = await connect(ROMEO)
      const content = `<status>a &lt; b</status><nick xmlns='http://jabber.org/protocol/nick'>R</nick>`
      romeo.send(`<presence id='q' xml:lang='cs' type='subscribe' to='${JULIET}'>${content}</presence>`)
      sendPresence(romeo, 'subscribe', JULIET, '<status>again</status>')
      await romeo.settled()
      for (const answer of [undefined, undefined, 'unsubscribed']) {
        const juliet = await connect(JULIET)
        await juliet.settled()
        const requests = juliet.received.filter(isOf('subscribe'))
        expect(requests).toHaveLength(1)
        expect(requests[0]!.attrs).toMatchObject({ id: 'q', from: ROMEO, to: JULIET, 'xml:lang': 'cs' })
        expect(requests[0]!.getChildText('status')).toBe('a < b')
        expect(requests[0]!.getChildText('nick', 'http://jabber.org/protocol/nick')).toBe('R')
        expect(await getRoster(juliet)).toEqual([])
        if (answer !== undefined) sendPresence(juliet, answer, ROMEO)
        await juliet.settled()
        await juliet.close()
        if (answer !== undefined) continue
        for (const stream of streams.splice(0)) await stream.destroy()
        await server.stop()
        server = await startServer(options)
      }
      const juliet = await connect(JULIET)
      await juliet.settled()
      expect(juliet.received.filter(isOf('subscribe'))).toEqual([])
    } finally {
      for (const stream of streams.splice(0)) await stream.destroy()
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('3.1.3 how many requests are kept has a limit, and how long they may be', async () => {
    const rooms = await component()
    for (let n = 0; n < 5; n++) sendPresence(rooms, 'subscribe', JULIET, '', `c${n}@${ROOMS}`)
    sendPresence(rooms, 'subscribe', ROMEO, `<status>${'x'.repeat(5000)}</status>`, FRIEND)
    await all(rooms)
    // Who is too many is not told.
    const answers = rooms.received.filter(isOf('unavailable'))
    expect(answers.map(({ attrs }) => attrs.to)).toEqual([
      ...[0, 1, 2, 3, 4].map((n) => `c${n}@${ROOMS}`),
      FRIEND,
    ])
    const juliet = await connect(JULIET)
    await juliet.settled()
    const from = juliet.received.filter(isOf('subscribe')).map(({ attrs }) => attrs.from)
    expect(from).toEqual([0, 1, 2].map((n) => `c${n}@${ROOMS}`))
    const romeo = await connect(ROMEO)
    const request = await romeo.next(isOf('subscribe'))
    expect(request.children).toEqual([])
  })

  it('3.1.4 3.1.5 an approval goes out from the bare JID, the push comes, and all available resources show themselves', async () => {
    const [one, two] = [await connect(`${JULIET}/one`), await connect(`${JULIET}/two`)]
    await connect(`${JULIET}/away`, '')
    const rooms = await component()
    sendPresence(rooms, 'subscribe', JULIET, '', FRIEND)
    await all(rooms, one, two)
    for (const stream of [one, two, rooms]) stream.received.splice(0)
    one.send(`<presence id='h4' type='subscribed' to='${FRIEND}/x'/>`)
    await all(one, two, rooms)
    const got = rooms.received.filter((element) => element.is('presence'))
    expect(got[0]!.attrs).toMatchObject({ id: 'h4', type: 'subscribed', from: JULIET, to: FRIEND })
    expect(got.slice(1).map(lineOf).sort()).toEqual([`available ${JULIET}/one`, `available ${JULIET}/two`])
    for (const stream of [one, two]) expect(taken(stream)).toEqual([`push ${FRIEND} from`])
  })

  it('3.1.6 an approval reaches interested resources before the push, and available ones get the presence', async () => {
    const [one, away] = [await connect(`${ROMEO}/one`), await connect(`${ROMEO}/away`, '')]
    const juliet = await connect(JULIET)
    sendPresence(one, 'subscribe', JULIET)
    await all(one, away, juliet)
    for (const stream of [one, away]) taken(stream)
    sendPresence(juliet, 'subscribed', ROMEO)
    await all(juliet, one, away)
    expect(taken(one)).toEqual([`subscribed ${JULIET}`, `push ${JULIET} to`, `available ${juliet.jid}`])
    expect(taken(away)).toEqual([`subscribed ${JULIET}`, `push ${JULIET} to`])
  })

  it('3.1.6 an approval that nobody waits for is passed over', async () => {
    const [juliet, rooms] = [await connect(JULIET), await component()]
    taken(juliet)
    sendPresence(rooms, 'subscribed', JULIET, '', FRIEND)
    sendPresence(rooms, 'subscribed', `nobody@${HOST}`, '', FRIEND)
    await all(rooms, juliet)
    expect(taken(juliet)).toEqual([])
    expect(await getRoster(juliet)).toEqual([])
  })
})

describeStored('3.2 cancelling, 3.3 unsubscribing', () => {
  it('3.2.1 3.2.2 who may not see the account any more sees it go, and then is told', async () => {
    const [one, two] = [await connect(`${JULIET}/one`), await connect(`${JULIET}/two`)]
    const [romeo, connected] = [await connect(ROMEO), await connect(`${ROMEO}/connected`, '')]
    await subscribe(HOST, romeo, one)
    await all(two)
    for (const stream of [one, two, romeo, connected]) taken(stream)
    sendPresence(one, 'unsubscribed', `${ROMEO}/test`)
    await all(one, two, romeo, connected)
    const [first, second, ...rest] = taken(romeo)
    expect([first, second].sort()).toEqual([`unavailable ${JULIET}/one`, `unavailable ${JULIET}/two`])
    // §3.2.3
    expect(rest).toEqual([`unsubscribed ${JULIET}`, `push ${JULIET} none`])
    expect(taken(connected)).toEqual([`unsubscribed ${JULIET}`, `push ${JULIET} none`])
    for (const stream of [one, two]) expect(taken(stream)).toEqual([`push ${ROMEO} none`])
  })

  it('3.2.2 it is not told where there is nothing to cancel, and sees nothing go', async () => {
    const [juliet, rooms] = [await connect(JULIET), await component()]
    sendPresence(juliet, 'unsubscribed', FRIEND)
    await setRoster(juliet, `<item jid='${FRIEND}'/>`)
    sendPresence(juliet, 'unsubscribed', FRIEND)
    await all(juliet, rooms)
    expect(rooms.received.filter((element) => element.is('presence'))).toEqual([])
  })

  it('3.2.3 who is told without a subscription passes it over', async () => {
    const [juliet, rooms] = [await connect(JULIET), await component()]
    await setRoster(juliet, `<item jid='${FRIEND}'/>`)
    await juliet.settled()
    taken(juliet)
    sendPresence(rooms, 'unsubscribed', JULIET, '', FRIEND)
    await all(rooms, juliet)
    expect(taken(juliet)).toEqual([])
  })

  it('3.3.1 3.3.2 3.3.3 who unsubscribes says so from the bare JID; the other resources go, for them', async () => {
    const [romeo, two] = [await connect(`${ROMEO}/one`), await connect(`${ROMEO}/two`)]
    const [juliet, connected] = [await connect(JULIET), await connect(`${JULIET}/connected`, '')]
    await subscribe(HOST, romeo, juliet)
    await subscribe(HOST, juliet, romeo)
    await all(two, connected)
    for (const stream of [romeo, two, juliet, connected]) taken(stream)
    sendPresence(romeo, 'unsubscribe', `${JULIET}/test`)
    await all(romeo, two, juliet, connected)
    for (const stream of [romeo, two]) {
      expect(taken(stream)).toEqual([`push ${JULIET} from`, `unavailable ${juliet.jid}`])
    }
    for (const stream of [juliet, connected]) {
      expect(taken(stream)).toEqual([`unsubscribe ${ROMEO}`, `push ${ROMEO} to`])
    }
  })

  it('3.3.3 of a request that is taken back nothing stays; who says so without one is passed over', async () => {
    const [juliet, rooms] = [await connect(JULIET, ''), await component()]
    sendPresence(rooms, 'subscribe', JULIET, '', FRIEND)
    await all(rooms)
    for (let times = 0; times < 2; times++) sendPresence(rooms, 'unsubscribe', JULIET, '', FRIEND)
    sendPresence(rooms, 'unsubscribe', `nobody@${HOST}`, '', FRIEND)
    await all(rooms, juliet)
    taken(juliet)
    juliet.send('<presence/>')
    await all(juliet)
    expect(taken(juliet)).toEqual([`available ${juliet.jid}`])
    expect(await getRoster(juliet)).toEqual([])
    // Strangers do not learn whether there is such an account.
    const lines = rooms.received.filter((element) => element.is('presence')).map(lineOf)
    expect(lines).toEqual([`unavailable ${JULIET}`])
  })

  it('3 nothing of the kind is between an account and itself', async () => {
    const [one, two] = [await connect(`${JULIET}/one`), await connect(`${JULIET}/two`)]
    await all(one, two)
    for (const stream of [one, two]) taken(stream)
    for (const type of ['subscribe', 'subscribed', 'unsubscribe', 'unsubscribed']) {
      for (const to of [JULIET, `${JULIET}/two`]) sendPresence(one, type, to)
    }
    await all(one, two)
    for (const stream of [one, two]) expect(taken(stream)).toEqual([])
    expect(await getRoster(one)).toEqual([])
  })
})
