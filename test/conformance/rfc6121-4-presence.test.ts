/**
 * RFC 6121 §4, rule by rule: presence. Probes (§4.3, §4.6.6): rfc6121-4.3-probes.test.ts. Sessions whose process dies
 * (§4.5.2), and who had directed presence of them: cluster-presence.test.ts.
 *
 * Not here, because they are a client's to keep: §4.2.1, §4.4.1, §4.5.1 and §4.7.2 (what it puts into presence), §4.2.4,
 * §4.4.4, §4.5.4 and §4.6.5 (what it makes of presence). The server passes on what a client says, as it is (§4.7.2).
 *
 * Not done, as the RFC allows: §4.4.2, §4.5.2, §4.5.3, who is believed to be offline is told as well.
 */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import {
  bare,
  enter,
  errorIn,
  lineOf,
  sendPresence,
  setRoster,
  settled,
  subscribe,
  taken,
} from '../shared/im-client.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const OTHER = 'montague.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${OTHER}`
const NURSE = `nurse@${HOST}`
const ROOMS = `rooms.${HOST}`

let server: TestServer
const streams: TestStream[] = []

async function connect(jid: string, presence?: string): Promise<TestStream> {
  const stream = await enter(server.c2sPort, jid, presence)
  streams.push(stream)
  return stream
}

const all = (...some: TestStream[]) => settled(HOST, ...some)

/** Clears what these have got. */
async function quiet(...some: TestStream[]): Promise<void> {
  await all(...some)
  for (const stream of some) stream.received.splice(0)
}

const presences = (stream: TestStream): Element[] =>
  stream.received.filter((element) => element.is('presence'))

beforeEach(async () => {
  server = await startServer(
    {
      virtualHosts: { [HOST]: {}, [OTHER]: {} },
      components: { [ROOMS]: { component_secret: 'secret' } },
    },
    [JULIET, ROMEO, NURSE],
  )
})

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
})

describe('4.2 initial, 4.4 subsequent, 4.5 unavailable presence', () => {
  /** Juliet is seen by romeo (both ways) and by a component, sees the nurse, and has a contact without a subscription. */
  async function scene(): Promise<Record<'romeo' | 'second' | 'nurse' | 'rooms', TestStream>> {
    const rooms = await connectComponent(server.componentPort, ROOMS)
    streams.push(rooms)
    const [romeo, second] = [await connect(`${ROMEO}/one`), await connect(`${ROMEO}/two`)]
    const nurse = await connect(NURSE)
    const juliet = await connect(`${JULIET}/first`)
    await subscribe(HOST, romeo, juliet)
    await subscribe(HOST, juliet, romeo)
    await subscribe(HOST, juliet, nurse)
    sendPresence(rooms, 'subscribe', JULIET, '', `friend@${ROOMS}`)
    await all(rooms, juliet)
    sendPresence(juliet, 'subscribed', `friend@${ROOMS}`)
    await setRoster(juliet, `<item jid='someone@${ROOMS}'/>`)
    await all(juliet, rooms)
    await juliet.close()
    await quiet(romeo, second, nurse, rooms)
    return { romeo, second, nurse, rooms }
  }

  it('4.2.2 4.2.3 initial presence goes to who is subscribed, to all their available resources; and to one’s own', async () => {
    const { romeo, second, nurse, rooms } = await scene()
    const connected = await connect(`${ROMEO}/connected`, '')
    const [other, away] = [await connect(`${JULIET}/other`), await connect(`${JULIET}/away`, '')]
    await quiet(romeo, second, nurse, rooms, other, away, connected)
    const juliet = await connect(`${JULIET}/balcony`, "<presence id='p1'><show>chat</show></presence>")
    await all(juliet, romeo, second, nurse, rooms, other, away, connected)
    for (const stream of [romeo, second, rooms]) {
      const [presence, ...more] = presences(stream)
      const to = stream === rooms ? `friend@${ROOMS}` : ROMEO
      expect(presence?.attrs).toMatchObject({ id: 'p1', from: juliet.jid, to })
      expect(presence?.getChildText('show')).toBe('chat')
      expect(more).toEqual([])
    }
    expect(taken(other)).toEqual([`available ${juliet.jid}`])
    for (const stream of [nurse, away, connected]) expect(taken(stream)).toEqual([])
    expect(taken(juliet)).toContain(`available ${juliet.jid}`)
  })

  it('4.2.2 who becomes available sees who is: contacts, and the account’s other resources', async () => {
    const { romeo } = await scene()
    await connect(`${JULIET}/other`, '<presence><show>dnd</show></presence>')
    await all(romeo)
    const juliet = await connect(`${JULIET}/balcony`)
    await all(juliet)
    expect(taken(juliet).sort()).toEqual(
      [
        `available ${juliet.jid}`,
        `available ${JULIET}/other`,
        `available ${NURSE}/test`,
        `available ${ROMEO}/one`,
        `available ${ROMEO}/two`,
      ].sort(),
    )
  })

  it('4.4.2 4.4.3 a change goes the same ways, whole', async () => {
    const { romeo, second, nurse, rooms } = await scene()
    const [juliet, other] = [await connect(`${JULIET}/balcony`), await connect(`${JULIET}/other`)]
    await quiet(juliet, other, romeo, second, nurse, rooms)
    const content = `<show>away</show><status>a &amp; b</status><priority>-1</priority><x xmlns='urn:x'><y/></x>`
    juliet.send(`<presence id='p2'>${content}</presence>`)
    await all(juliet, other, romeo, second, nurse, rooms)
    for (const stream of [romeo, second, rooms, other, juliet]) {
      expect(presences(stream)).toHaveLength(1)
      const [presence] = presences(stream)
      expect(presence?.attrs).toMatchObject({ id: 'p2', from: juliet.jid })
      expect(presence?.children.join('').replaceAll('"', "'")).toBe(content)
    }
    expect(taken(nurse)).toEqual([])
  })

  it.each(['presence', 'close', 'destroy'] as const)(
    '4.5.2 4.5.3 who becomes unavailable (%s) is so for all who saw it, once',
    async (how) => {
      const { romeo, second, nurse, rooms } = await scene()
      const [juliet, other] = [await connect(`${JULIET}/balcony`), await connect(`${JULIET}/other`)]
      await quiet(juliet, other, romeo, second, nurse, rooms)
      if (how === 'presence') juliet.send(`<presence type='unavailable'><status>bye</status></presence>`)
      else await juliet[how]()
      const seers = [romeo, second, rooms, other]
      for (const stream of seers) await expect.poll(() => presences(stream).length).toBe(1)
      if (how === 'presence') await juliet.close()
      await all(...seers, nurse)
      for (const stream of seers) {
        expect(presences(stream).map(lineOf)).toEqual([`unavailable ${juliet.jid}`])
        if (how === 'presence') expect(presences(stream)[0]!.getChildText('status')).toBe('bye')
      }
      expect(taken(nurse)).toEqual([])
    },
  )

  it('4.5.2 who has become unavailable is told, and gets no presence; the next one is initial again', async () => {
    const { romeo } = await scene()
    const juliet = await connect(`${JULIET}/balcony`)
    await quiet(juliet, romeo)
    juliet.send("<presence type='unavailable'/>")
    await all(juliet, romeo)
    expect(taken(juliet)).toEqual([`unavailable ${juliet.jid}`])
    taken(romeo)
    juliet.send("<presence type='unavailable'/>")
    romeo.send('<presence><show>xa</show></presence>')
    await all(juliet, romeo)
    expect(taken(romeo)).not.toContain(`unavailable ${juliet.jid}`)
    expect(taken(juliet)).toEqual([`unavailable ${juliet.jid}`])
    juliet.send('<presence/>')
    await all(juliet, romeo)
    expect(taken(romeo)).toEqual([`available ${juliet.jid}`])
    expect(taken(juliet)).toEqual(
      expect.arrayContaining([
        `available ${juliet.jid}`,
        `available ${ROMEO}/one`,
        `available ${NURSE}/test`,
      ]),
    )
  })

  it('4.2.2 who has never been available is nothing to anybody', async () => {
    const { romeo } = await scene()
    const juliet = await connect(`${JULIET}/balcony`, '')
    juliet.send("<presence type='unavailable'/>")
    await all(juliet)
    await juliet.destroy()
    await all(romeo)
    expect(taken(romeo)).toEqual([])
  })
})

describe('4.6 directed presence', () => {
  it('4.6.3 #1 to a subscriber it is passed on, and changes nothing of what that is sent', async () => {
    const [juliet, romeo] = [await connect(JULIET), await connect(ROMEO)]
    await subscribe(HOST, romeo, juliet)
    await quiet(juliet, romeo)
    sendPresence(juliet, '', ROMEO, '<show>dnd</show>')
    sendPresence(juliet, 'unavailable', bare(romeo))
    juliet.send('<presence><show>away</show></presence>')
    await all(juliet, romeo)
    expect(presences(romeo).map((element) => `${lineOf(element)} ${element.getChildText('show')}`)).toEqual([
      `available ${juliet.jid} dnd`,
      `unavailable ${juliet.jid} null`,
      `available ${juliet.jid} away`,
    ])
    taken(romeo)
    await juliet.close()
    await all(romeo)
    expect(taken(romeo)).toEqual([`unavailable ${juliet.jid}`])
  })

  it('4.6.2 4.6.3 #2 4.6.4 to others, bare or full, it is passed on; broadcasts are not; the end is', async () => {
    const [juliet, romeo, second] = [
      await connect(JULIET),
      await connect(`${ROMEO}/one`),
      await connect(`${ROMEO}/two`),
    ]
    const nurse = await connect(NURSE)
    await quiet(juliet, romeo, second, nurse)
    sendPresence(juliet, '', ROMEO, '<status>hi</status>')
    sendPresence(juliet, '', nurse.jid)
    juliet.send('<presence><show>away</show></presence>')
    await all(juliet, romeo, second, nurse)
    for (const stream of [romeo, second]) {
      expect(stream.received[0]?.getChildText('status')).toBe('hi')
      expect(taken(stream)).toEqual([`available ${juliet.jid}`])
    }
    expect(taken(nurse)).toEqual([`available ${juliet.jid}`])
    juliet.send("<presence type='unavailable'><status>bye</status></presence>")
    await all(juliet, romeo, second, nurse)
    for (const stream of [romeo, second, nurse]) {
      expect(stream.received[0]?.getChildText('status')).toBe('bye')
      expect(taken(stream)).toEqual([`unavailable ${juliet.jid}`])
    }
    // The list is over with it.
    await juliet.close()
    await all(romeo, nurse)
    expect([...taken(romeo), ...taken(nurse)]).toEqual([])
  })

  it.each(['', '<presence/><presence type="unavailable"/>'])(
    '4.6.3 #3 who is not available (after "%s") may send it, and its end is told',
    async (before) => {
      const [juliet, romeo] = [await connect(JULIET, before), await connect(ROMEO)]
      await subscribe(HOST, romeo, juliet)
      await quiet(juliet, romeo)
      sendPresence(juliet, '', ROMEO)
      await all(juliet, romeo)
      expect(taken(romeo)).toEqual([`available ${juliet.jid}`])
      await juliet.destroy()
      const end = await romeo.next((element) => element.is('presence'))
      expect(lineOf(end)).toBe(`unavailable ${juliet.jid}`)
      await all(romeo)
      expect(taken(romeo)).toEqual([])
    },
  )

  it('4.6.1 who was sent unavailable presence, or has sent some, is not told of the end', async () => {
    const [juliet, romeo, nurse] = [await connect(JULIET), await connect(ROMEO), await connect(NURSE)]
    const rooms = await connectComponent(server.componentPort, ROOMS)
    streams.push(rooms)
    const room = `room@${ROOMS}/juliet`
    for (const to of [romeo.jid, nurse.jid, room]) sendPresence(juliet, '', to)
    sendPresence(juliet, 'unavailable', nurse.jid)
    await all(juliet, romeo, nurse, rooms)
    sendPresence(rooms, 'unavailable', juliet.jid, '', room)
    sendPresence(romeo, 'unavailable', juliet.jid)
    await quiet(rooms, romeo, nurse, juliet)
    await juliet.close()
    await all(romeo, nurse, rooms)
    for (const stream of [romeo, nurse, rooms]) expect(presences(stream)).toEqual([])
  })

  it('4.6.1 a subscription goes first: with it come broadcasts, and with its end unavailable presence', async () => {
    const [juliet, romeo] = [await connect(JULIET), await connect(ROMEO)]
    sendPresence(juliet, '', ROMEO)
    await subscribe(HOST, romeo, juliet)
    await quiet(juliet, romeo)
    juliet.send('<presence><show>away</show></presence>')
    await all(juliet, romeo)
    expect(taken(romeo)).toEqual([`available ${juliet.jid}`])
    sendPresence(juliet, 'unsubscribed', ROMEO)
    await all(juliet, romeo)
    expect(taken(romeo)[0]).toBe(`unavailable ${juliet.jid}`)
  })

  it('4.6 what is directed to the own account is for its resources, and for nobody else', async () => {
    const [other, romeo] = [await connect(`${JULIET}/other`), await connect(ROMEO)]
    await subscribe(HOST, romeo, other)
    const juliet = await connect(`${JULIET}/balcony`, '')
    await quiet(other, romeo, juliet)
    for (const to of [JULIET, other.jid]) sendPresence(juliet, '', to)
    await all(juliet, other, romeo)
    expect(taken(other)).toEqual([`available ${juliet.jid}`, `available ${juliet.jid}`])
    juliet.send('<presence/>')
    await quiet(juliet, other, romeo)
    juliet.send("<presence type='unavailable'/>")
    await all(juliet, other, romeo)
    expect(taken(other)).toEqual([`unavailable ${juliet.jid}`])
    expect(taken(romeo)).toEqual([`unavailable ${juliet.jid}`])
  })
})

describe('4.7 syntax', () => {
  it.each(['available', 'online', 'Subscribe', '', 'x'.repeat(1000)])(
    '4.7.1 there is no type "%s": that is a bad request, to whomever it is sent',
    async (type) => {
      const [juliet, romeo] = [await connect(JULIET), await connect(ROMEO)]
      await subscribe(HOST, romeo, juliet)
      await quiet(juliet, romeo)
      for (const to of ['', ` to='${ROMEO}'`, ` to='${romeo.jid}'`, ` to='${OTHER}'`, ` to='${JULIET}'`]) {
        juliet.send(`<presence type='${type}' id='t'${to}/>`)
        const error = await juliet.withId('t')
        expect([error.attrs.type, errorIn(error)]).toEqual(['error', 'bad-request modify'])
      }
      await all(juliet, romeo)
      expect(taken(romeo)).toEqual([])
    },
  )

  it.each(['error', 'probe', 'subscribe', 'subscribed', 'unsubscribe', 'unsubscribed'])(
    '4.7.1 presence of type "%s" to nobody changes nothing, and ends no session',
    async (type) => {
      const [juliet, romeo] = [await connect(JULIET), await connect(ROMEO)]
      await subscribe(HOST, romeo, juliet)
      await quiet(juliet, romeo)
      juliet.send(`<presence type='${type}'/>`)
      await all(juliet, romeo)
      expect(taken(romeo)).toEqual([])
      expect(taken(juliet)).toEqual(type === 'error' ? [] : ['error undefined'])
    },
  )

  it('4.7.1 an error is passed on, and never answered', async () => {
    const [juliet, romeo] = [await connect(JULIET), await connect(ROMEO)]
    await quiet(juliet, romeo)
    sendPresence(juliet, 'error', romeo.jid, `<error type='cancel'/>`)
    sendPresence(juliet, 'error', `nobody@${OTHER}/x`, `<error type='cancel'/>`)
    await all(juliet, romeo)
    expect(taken(romeo)).toEqual([`error ${juliet.jid}`])
    expect(taken(juliet)).toEqual([])
  })

  it('4.7.2.1 4.7.2.2 show and status go as they come, those of several languages and of unknown words too', async () => {
    const [juliet, romeo] = [await connect(JULIET), await connect(ROMEO)]
    await subscribe(HOST, romeo, juliet)
    await quiet(juliet, romeo)
    for (const show of ['away', 'chat', 'dnd', 'xa', 'asleep']) {
      juliet.send(`<presence xml:lang='en'><show>${show}</show><status>Wooing</status>
        <status xml:lang='cs'>Dvořím se</status></presence>`)
      const presence = await romeo.next((element) => element.is('presence'))
      expect(presence.getChildText('show')).toBe(show)
      expect(presence.attrs['xml:lang']).toBe('en')
      expect(
        presence.getChildren('status').map((status) => [status.attrs['xml:lang'], status.text()]),
      ).toEqual([
        [undefined, 'Wooing'],
        ['cs', 'Dvořím se'],
      ])
    }
  })

  it('4.7.2.2 the status of what manages subscriptions is passed on', async () => {
    const [juliet, romeo] = [await connect(JULIET), await connect(ROMEO)]
    for (const type of ['subscribe', 'unsubscribe']) {
      sendPresence(romeo, type, JULIET, '<status>because</status>')
      const got = await juliet.next(({ attrs }) => attrs.type === type)
      expect(got.getChildText('status')).toBe('because')
    }
    await subscribe(HOST, romeo, juliet)
    sendPresence(juliet, 'unsubscribed', ROMEO, '<status>so</status>')
    const got = await romeo.next(({ attrs }) => attrs.type === 'unsubscribed')
    expect(got.getChildText('status')).toBe('so')
  })

  it.each([
    ['-128', true],
    ['127', true],
    ['+1', true],
    [' 5 ', true],
    ['128', false],
    ['-129', false],
    ['1.0', false],
    ['high', false],
    ['', false],
    ['1<x xmlns="urn:x"/>', true],
    ['٣', false],
  ])('4.7.2.3 a priority of "%s": %s', async (priority, isTaken) => {
    const [juliet, romeo] = [await connect(JULIET), await connect(ROMEO)]
    await subscribe(HOST, romeo, juliet)
    await quiet(juliet, romeo)
    juliet.send(`<presence id='p'><priority>${priority}</priority></presence>`)
    const answer = await juliet.withId('p')
    if (isTaken) expect(lineOf(answer)).toBe(`available ${juliet.jid}`)
    else expect(errorIn(answer)).toBe('bad-request modify')
    await all(romeo)
    expect(taken(romeo)).toEqual(isTaken ? [`available ${juliet.jid}`] : [])
  })

  it('4.7.2.3 without a priority it is 0: a message goes there, and not to a negative one', async () => {
    const [none, negative] = [
      await connect(`${JULIET}/none`),
      await connect(`${JULIET}/negative`, '<presence><priority>-1</priority></presence>'),
    ]
    const romeo = await connect(ROMEO)
    romeo.send(`<message type='chat' to='${JULIET}'><body>hi</body></message>`)
    await all(romeo, none, negative)
    expect(none.received.filter((element) => element.is('message'))).toHaveLength(1)
    expect(negative.received.filter((element) => element.is('message'))).toEqual([])
  })

  it('4.7.2.3 a server that passes over priorities says so to all, the client included', async () => {
    await server.stop()
    server = await startServer(
      { virtualHosts: { [HOST]: { ignore_presence_priority: true }, [OTHER]: {} } },
      [JULIET, ROMEO],
    )
    const [juliet, romeo] = [await connect(JULIET), await connect(ROMEO)]
    await subscribe(HOST, romeo, juliet)
    await quiet(juliet, romeo)
    juliet.send('<presence><priority>-5</priority><show>away</show></presence>')
    for (const stream of [juliet, romeo]) {
      const presence = await stream.next((element) => element.is('presence'))
      expect([presence.getChildText('priority'), presence.getChildText('show')]).toEqual([null, 'away'])
    }
    romeo.send(`<message type='chat' to='${JULIET}'><body>hi</body></message>`)
    await juliet.named('message')
  })

  it('4.1 presence needs neither the roster nor a priority: who only logs in is no less available', async () => {
    const juliet = await login(server.c2sPort, JULIET)
    streams.push(juliet)
    const other = await connect(`${JULIET}/other`)
    await all(juliet, other)
    expect(taken(other)).toContain(`available ${juliet.jid}`)
  })
})
