/**
 * RFC 6121 §4.3 and §4.6.6, rule by rule: presence probes. Who asks is a component's, as another server would, or the
 * server itself for a client that becomes available.
 *
 * Not done, as the RFC allows: §4.3.1, contacts are not asked again later; §4.3.2 #1, no domain is trusted beyond what
 * privileges say (XEP-0356); §4.3.2 #2, accounts do not move; §4.3.2 #3, of the last unavailable presence only the time
 * is told, and that only with the plugin lastactivity, which keeps it. §4.3.2 #1, when the server asks for a client,
 * the roster of an account of its own that is offline is not read only to find that the other one is wrong.
 */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectComponent, type TestStream } from '../shared/client.ts'
import {
  bare,
  enter,
  getItem,
  lineOf,
  sendPresence,
  settled,
  stateIn,
  subscribe,
  taken,
} from '../shared/im-client.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { describeStored } from '../shared/server-storages.ts'

const HOST = 'capulet.lit'
const OTHER = 'montague.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${OTHER}`
const NOBODY = `nobody@${HOST}`
const ROOMS = `rooms.${HOST}`
const FRIEND = `friend@${ROOMS}`

let server: TestServer
let rooms: TestStream
const streams: TestStream[] = []

async function connect(jid: string, presence?: string): Promise<TestStream> {
  const stream = await enter(server.c2sPort, jid, presence)
  streams.push(stream)
  return stream
}

const all = (...some: TestStream[]) => settled(HOST, ...some)

/** What comes in answer to a probe of the component. */
async function probe(
  to: string,
  from = FRIEND,
): Promise<{ line: string; to: string; id: string; text: string }[]> {
  await all(rooms)
  rooms.received.splice(0)
  rooms.send(`<presence type='probe' id='probe1' from='${from}' to='${to}'/>`)
  await expect.poll(() => rooms.received.some((element) => element.is('presence'))).toBe(true)
  await all(rooms)
  const answers = rooms.received.splice(0).filter((element) => element.is('presence'))
  return answers.map((element) => ({
    line: lineOf(element),
    to: element.attrs.to as string,
    id: element.attrs.id as string,
    text: element.children.join(''),
  }))
}

/** The component's contact may see an account. */
async function approve(account: TestStream): Promise<void> {
  sendPresence(rooms, 'subscribe', bare(account), '', FRIEND)
  await all(rooms, account)
  sendPresence(account, 'subscribed', FRIEND)
  await all(account, rooms)
}

async function begin(options = {}): Promise<void> {
  server = await startServer(
    {
      virtualHosts: { [HOST]: {}, [OTHER]: {} },
      components: { [ROOMS]: { component_secret: 'secret' } },
      ...options,
    },
    [JULIET, ROMEO],
  )
  rooms = await connectComponent(server.componentPort, ROOMS)
  streams.push(rooms)
}

beforeEach(() => begin())

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
})

describe('4.3 a client’s probes', () => {
  it('4.3 are worked on where there is a subscription, passed on to elsewhere, and never an error', async () => {
    const [juliet, romeo] = [await connect(JULIET), await connect(ROMEO)]
    await subscribe(HOST, juliet, romeo)
    await all(juliet, romeo)
    taken(juliet)
    for (const to of [ROMEO, FRIEND, NOBODY, `nobody@nowhere.lit`]) {
      juliet.send(`<presence type='probe' to='${to}'/>`)
    }
    await all(juliet, rooms)
    // What is at no host of this server is refused as anything else that is sent there.
    expect(taken(juliet)).toEqual([`available ${romeo.jid}`, 'error nobody@nowhere.lit'])
    expect(rooms.received.filter((element) => element.is('presence')).map(lineOf)).toEqual([
      `probe ${juliet.jid}`,
    ])
  })
})

describeStored('4.3.1 the server’s probes', () => {
  it('4.3.1 go out with initial presence, from the bare JID to the bare JID, to who is seen', async () => {
    const juliet = await connect(JULIET)
    sendPresence(juliet, 'subscribe', FRIEND)
    await all(juliet, rooms)
    sendPresence(rooms, 'subscribed', JULIET, '', FRIEND)
    await approve(juliet)
    sendPresence(rooms, 'subscribe', JULIET, '', `other@${ROOMS}`)
    await all(rooms, juliet)
    sendPresence(juliet, 'subscribed', `other@${ROOMS}`)
    await juliet.close()
    await all(rooms)
    rooms.received.splice(0)
    const again = await connect(`${JULIET}/again`)
    await all(again, rooms)
    const probes = rooms.received.filter(({ attrs }) => attrs.type === 'probe')
    expect(probes.map(({ attrs }) => [attrs.from, attrs.to])).toEqual([[JULIET, FRIEND]])
    again.send('<presence><show>away</show></presence>')
    await all(again, rooms)
    expect(rooms.received.filter(({ attrs }) => attrs.type === 'probe')).toHaveLength(1)
  })

  it('4.3.1 accounts of this server are asked for the new resource only', async () => {
    const [juliet, romeo] = [await connect(JULIET), await connect(`${ROMEO}/one`)]
    await subscribe(HOST, romeo, juliet)
    await all(romeo, juliet)
    taken(romeo)
    const two = await connect(`${ROMEO}/two`)
    await all(two, romeo)
    expect(taken(two)).toContain(`available ${juliet.jid}`)
    expect(taken(romeo)).toEqual([`available ${two.jid}`])
  })
})

describeStored('4.3.2 answers', () => {
  it('4.3.2 #1 who may not see the account is told "unsubscribed" by its bare JID, as of one that is not', async () => {
    const juliet = await connect(JULIET)
    for (const to of [JULIET, juliet.jid, `${JULIET}/gone`, NOBODY, `${NOBODY}/x`]) {
      expect(await probe(to)).toEqual([
        { line: `unsubscribed ${bare(to)}`, to: FRIEND, id: 'probe1', text: '' },
      ])
    }
    await juliet.close()
    expect((await probe(JULIET))[0]?.line).toBe(`unsubscribed ${JULIET}`)
  })

  it.each(['To', 'None + Pending In', 'None + Pending Out'])(
    '4.3.2 #1 nor in the state "%s"',
    async (state) => {
      const juliet = await connect(JULIET)
      if (state !== 'None + Pending In') sendPresence(juliet, 'subscribe', FRIEND)
      await all(juliet, rooms)
      if (state === 'To') sendPresence(rooms, 'subscribed', JULIET, '', FRIEND)
      if (state === 'None + Pending In') sendPresence(rooms, 'subscribe', JULIET, '', FRIEND)
      await all(rooms, juliet)
      expect((await probe(JULIET)).map(({ line }) => line)).toEqual([`unsubscribed ${JULIET}`])
    },
  )

  it('4.3.2 #1 that takes no pre-approval away', async () => {
    const juliet = await connect(JULIET)
    sendPresence(juliet, 'subscribed', FRIEND)
    await all(juliet)
    expect((await probe(JULIET))[0]?.line).toBe(`unsubscribed ${JULIET}`)
    expect(stateIn(await getItem(juliet, FRIEND))).toBe('none+approved')
  })

  it('4.3.2 #1 "unsubscribed" ends a subscription that only one side knew of', async () => {
    const [juliet, romeo] = [await connect(JULIET), await connect(ROMEO)]
    await subscribe(HOST, romeo, juliet)
    await all(romeo, juliet)
    for (const stream of [romeo, juliet]) await stream.close()
    // As after a crash, or a backup.
    await server.server.storage.openKeyval(HOST, 'roster').set('juliet', undefined)
    await connect(JULIET)
    const again = await connect(ROMEO)
    await again.next(({ attrs }) => attrs.type === 'unsubscribed' && attrs.from === JULIET)
    expect(stateIn(await getItem(again, JULIET))).toBe('none')
  })

  it('4.3.2 #3 4.3.2.1 nobody is there: unavailable, from the bare JID, with the id of the probe', async () => {
    const juliet = await connect(JULIET)
    await approve(juliet)
    juliet.send("<presence type='unavailable' id='gone'><status>bye</status></presence>")
    await all(juliet)
    const answer = [{ line: `unavailable ${JULIET}`, to: FRIEND, id: 'probe1', text: '' }]
    expect(await probe(JULIET)).toEqual(answer)
    await juliet.close()
    expect(await probe(JULIET)).toEqual(answer)
  })

  it('4.3.2 #3 since when that is so is told, where it is known', async () => {
    for (const stream of streams.splice(0)) await stream.destroy()
    await server.stop()
    await begin({ modules_enabled: [...USUAL_PLUGINS, 'lastactivity'] })
    const [juliet, romeo] = [await connect(JULIET), await connect(ROMEO)]
    await approve(juliet)
    await subscribe(HOST, romeo, juliet)
    const before = Math.floor(Date.now() / 1000)
    await juliet.close()
    await romeo.next(({ attrs }) => attrs.type === 'unavailable' && attrs.from === juliet.jid)
    await expect.poll(async () => (await probe(JULIET))[0]?.text).toContain('<delay')
    const [answer] = await probe(JULIET)
    expect(answer).toMatchObject({ line: `unavailable ${JULIET}`, id: 'probe1' })
    const stamp = /stamp="([^"]*)"/.exec(answer!.text)![1]!
    expect(stamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    expect(Date.parse(stamp) / 1000).toBeGreaterThanOrEqual(before)
    expect(answer!.text).toContain(`from="${HOST}"`)
    const second = await connect(`${ROMEO}/second`)
    const away = await second.next(({ attrs }) => attrs.type === 'unavailable' && attrs.from === JULIET)
    expect(away.getChild('delay', 'urn:xmpp:delay')?.attrs.stamp).toBe(stamp)
  })

  it('4.3.2 #4 4.3.2.1 the last presence of each available resource, whole, with its own id', async () => {
    const one = await connect(`${JULIET}/one`, "<presence id='a'/>")
    await connect(`${JULIET}/two`, "<presence id='b'><priority>1</priority></presence>")
    await connect(`${JULIET}/away`, '')
    await approve(one)
    one.send(`<presence id='c'><show>dnd</show><x xmlns='urn:x'>y</x></presence>`)
    sendPresence(one, '', ROMEO, '<show>xa</show>')
    await all(one)
    const answers = (await probe(JULIET)).sort((first, second) => (first.line < second.line ? -1 : 1))
    expect(answers.map(({ line, id, to }) => [line, id, to])).toEqual([
      [`available ${JULIET}/one`, 'c', FRIEND],
      [`available ${JULIET}/two`, 'b', FRIEND],
    ])
    expect(answers[0]!.text).toMatch(/^<show[^>]*>dnd<\/show><x xmlns="urn:x">y<\/x><delay /)
    expect(answers[1]!.text).toMatch(/^<priority[^>]*>1<\/priority><delay /)
  })

  it('4.3.2 a full JID is answered of that resource only, and only that it is available', async () => {
    const one = await connect(`${JULIET}/one`, "<presence id='a'><show>dnd</show></presence>")
    await connect(`${JULIET}/two`)
    await approve(one)
    expect(await probe(`${JULIET}/one`)).toEqual([
      { line: `available ${JULIET}/one`, to: FRIEND, id: 'a', text: '' },
    ])
    expect(await probe(`${JULIET}/three`)).toEqual([
      { line: `unavailable ${JULIET}/three`, to: FRIEND, id: 'probe1', text: '' },
    ])
    const connected = await connect(`${JULIET}/connected`, '')
    expect((await probe(connected.jid))[0]?.line).toBe(`unavailable ${connected.jid}`)
  })

  it('4.3.2 who asks from a full JID is answered there', async () => {
    const juliet = await connect(JULIET)
    await approve(juliet)
    expect((await probe(JULIET, `${FRIEND}/x`)).map(({ to }) => to)).toEqual([`${FRIEND}/x`])
  })

  it('4.3.2 an account sees itself', async () => {
    const [one, two] = [await connect(`${JULIET}/one`), await connect(`${JULIET}/two`)]
    await all(one, two)
    taken(one)
    one.send(`<presence type='probe' to='${JULIET}'/><presence type='probe' to='${two.jid}'/>`)
    await all(one)
    expect(taken(one)).toEqual([`available ${two.jid}`, `available ${two.jid}`])
  })
})

describe('4.6.6 probes of who has sent directed presence', () => {
  it('4.6.6 are answered of that resource only, and only that it is there, until it is over', async () => {
    const one = await connect(`${JULIET}/one`, '<presence><show>dnd</show></presence>')
    await connect(`${JULIET}/two`)
    const room = `room@${ROOMS}/nick`
    sendPresence(one, '', room, '<show>away</show>')
    await all(one)
    expect((await probe(one.jid, room)).map(({ line, text }) => [line, text])).toEqual([
      [`available ${JULIET}/one`, ''],
    ])
    // Nobody else has been shown anything, nor of another resource.
    expect((await probe(one.jid, `room@${ROOMS}/other`))[0]?.line).toBe(`unsubscribed ${JULIET}`)
    expect((await probe(`${JULIET}/two`, room))[0]?.line).toBe(`unsubscribed ${JULIET}`)
    expect((await probe(JULIET, room))[0]?.line).toBe(`unsubscribed ${JULIET}`)
    sendPresence(one, 'unavailable', room)
    await all(one)
    expect((await probe(one.jid, room))[0]?.line).toBe(`unsubscribed ${JULIET}`)
  })

  it('4.6.6 a session that is not available counts, and who was addressed by the bare JID', async () => {
    const juliet = await connect(JULIET, '')
    sendPresence(juliet, '', FRIEND)
    const romeo = await connect(ROMEO)
    sendPresence(juliet, '', ROMEO)
    await all(juliet, romeo)
    expect((await probe(juliet.jid)).map(({ line }) => line)).toEqual([`available ${juliet.jid}`])
    taken(romeo)
    romeo.send(`<presence type='probe' to='${juliet.jid}'/>`)
    await all(romeo, juliet)
    expect(taken(romeo)).toEqual([`available ${juliet.jid}`])
    await juliet.close()
    expect((await probe(juliet.jid))[0]?.line).toBe(`unsubscribed ${JULIET}`)
  })
})
