/**
 * RFC 6121 §2, rule by rule: rosters.
 *
 * Not here, because they are a client's to keep: §2.1.2.1 and §2.1.2.2 (no `approved` and `ask` in what it sets; that
 * the server passes over them is here), §2.1.2.5 (what it makes of values that it does not know), §2.1.3 (no items in
 * a get), §2.1.6 (whose pushes it believes, and that it answers them), §2.2 (the roster before presence), §2.6.2 (when
 * it sends a version), §2.6.3 (what it makes of pushes).
 *
 * Elsewhere: §2.1.4, there is no roster: only others than its account can ask for one of those, which
 * privilege-roster.test.ts does; §2.2, the storage does not answer: redis-away.test.ts, plugins-rosters.test.ts; §2.6:
 * rfc6121-2.6-versions.test.ts; subscriptions of what is deleted, in each state: rfc6121-3-states.test.ts.
 */

import { afterEach, beforeEach, expect, it } from 'vitest'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import {
  enter,
  errorIn,
  getItem,
  getRoster,
  lineOf,
  NS_ROSTER,
  pushIn,
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

let server: TestServer
const streams: TestStream[] = []

async function connect(jid: string, presence?: string): Promise<TestStream> {
  const stream = await enter(server.c2sPort, jid, presence)
  streams.push(stream)
  return stream
}

/** A resource that has not asked for the roster. */
async function connectOnly(jid: string, presence = false): Promise<TestStream> {
  const stream = await login(server.c2sPort, jid, { presence })
  streams.push(stream)
  return stream
}

beforeEach(async () => {
  const limits = { roster_max_items: 5, roster_max_groups: 3, roster_max_name_length: 20 }
  server = await startServer(
    { virtualHosts: { [HOST]: limits }, components: { [ROOMS]: { component_secret: 'secret' } } },
    [JULIET, ROMEO, NURSE],
  )
})

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
})

describeStored('2.1 syntax', () => {
  it('2.1.1 the version is the server’s to make, whatever a client sends', async () => {
    const juliet = await connect(JULIET)
    const answer = await juliet.ask(
      `<iq type='set' id='v'><query xmlns='${NS_ROSTER}' ver='mine'><item jid='${ROMEO}'/></query></iq>`,
    )
    expect(answer.attrs.type).toBe('result')
    const push = await juliet.next((element) => pushIn(element) !== undefined)
    expect(pushIn(push)!.attrs.ver).toMatch(/^\d+$/)
  })

  it('2.1.2.1 a pre-approval is in the item; a set neither makes one nor takes it away', async () => {
    const juliet = await connect(JULIET)
    await setRoster(juliet, `<item jid='${ROMEO}' approved='true'/>`)
    expect(stateIn(await getItem(juliet, ROMEO))).toBe('none')
    sendPresence(juliet, 'subscribed', ROMEO)
    await juliet.settled()
    expect((await getItem(juliet, ROMEO))?.attrs.approved).toBe('true')
    await setRoster(juliet, `<item jid='${ROMEO}' approved='false' name='R'/>`)
    expect((await getItem(juliet, ROMEO))?.attrs).toMatchObject({ approved: 'true', name: 'R' })
  })

  it('2.1.2.2 a pending request is in the item; a set neither makes one nor takes it away', async () => {
    const juliet = await connect(JULIET)
    await setRoster(juliet, `<item jid='${ROMEO}' ask='subscribe'/>`)
    expect(stateIn(await getItem(juliet, ROMEO))).toBe('none')
    sendPresence(juliet, 'subscribe', ROMEO)
    await juliet.settled()
    await setRoster(juliet, `<item jid='${ROMEO}' name='R'/>`)
    expect((await getItem(juliet, ROMEO))?.attrs).toMatchObject({ ask: 'subscribe', name: 'R' })
  })

  it('2.1.2.3 an item is known by its JID, which has to be there', async () => {
    const juliet = await connect(JULIET)
    expect(errorIn(await setRoster(juliet, `<item name='R'/>`))).toBe('bad-request modify')
    await setRoster(juliet, `<item jid='ROMEO@Capulet.LIT' name='1'/>`)
    await setRoster(juliet, `<item jid='${ROMEO}' name='2'/>`)
    expect((await getRoster(juliet)).map(({ attrs }) => [attrs.jid, attrs.name])).toEqual([[ROMEO, '2']])
    await setRoster(juliet, `<item jid='${ROOMS}'/>`)
    expect(stateIn(await getItem(juliet, ROOMS))).toBe('none')
  })

  it('2.1.2.4 the name is what the user says, and need not be', async () => {
    const juliet = await connect(JULIET)
    for (const name of [' Ｒ &lt;&apos;é ', 'romeo', 'ROMEO']) {
      await setRoster(juliet, `<item jid='${ROMEO}' name='${name}'/>`)
      const expected = name.replace('&lt;', '<').replace('&apos;', "'")
      expect((await getItem(juliet, ROMEO))?.attrs.name).toBe(expected)
    }
    await setRoster(juliet, `<item jid='${NURSE}'/>`)
    expect((await getItem(juliet, NURSE))?.attrs.name).toBeUndefined()
  })

  it('2.1.2.5 a subscription is none, to, from or both; a set says nothing of it', async () => {
    const [juliet, romeo] = [await connect(JULIET), await connect(ROMEO)]
    await setRoster(juliet, `<item jid='${ROMEO}' subscription='both'/>`)
    expect(stateIn(await getItem(juliet, ROMEO))).toBe('none')
    await subscribe(HOST, juliet, romeo)
    expect([stateIn(await getItem(juliet, ROMEO)), stateIn(await getItem(romeo, JULIET))]).toEqual([
      'to',
      'from',
    ])
    for (const value of ['none', 'from', 'both', 'REMOVE', '']) {
      await setRoster(juliet, `<item jid='${ROMEO}' subscription='${value}'/>`)
      expect(stateIn(await getItem(juliet, ROMEO))).toBe('to')
    }
    await subscribe(HOST, romeo, juliet)
    expect(stateIn(await getItem(juliet, ROMEO))).toBe('both')
  })

  it('2.1.2.6 an item is in no group, in one or in several, which are what the user says', async () => {
    const juliet = await connect(JULIET)
    for (const groups of [[], ['Friends'], [' a', 'a', 'A']]) {
      const elements = groups.map((group) => `<group>${group}</group>`).join('')
      await setRoster(juliet, `<item jid='${ROMEO}'>${elements}</item>`)
      const item = await getItem(juliet, ROMEO)
      expect(item!.getChildren('group').map((group) => group.text())).toEqual(groups)
    }
  })

  it('2.1.4 the result has one item for each contact, and none if there is no contact', async () => {
    const juliet = await connectOnly(JULIET)
    const answer = await juliet.ask(`<iq type='get' id='g'><query xmlns='${NS_ROSTER}'/></iq>`)
    expect(answer.attrs).toMatchObject({ type: 'result', to: juliet.jid })
    expect(answer.getChild('query', NS_ROSTER)?.children).toEqual([])
    for (const jid of [ROMEO, NURSE]) await setRoster(juliet, `<item jid='${jid}'/>`)
    expect((await getRoster(juliet)).map(({ attrs }) => attrs.jid)).toEqual([ROMEO, NURSE])
  })

  it('2.1.5 a set has one item and no more; who may not set it gets forbidden', async () => {
    const [juliet, romeo] = [await connect(JULIET), await connect(ROMEO)]
    const items = `<item jid='${NURSE}'/><item jid='${ROMEO}'/>`
    expect(errorIn(await setRoster(juliet, items))).toBe('bad-request modify')
    expect(errorIn(await setRoster(romeo, `<item jid='${NURSE}'/>`, JULIET))).toBe('forbidden auth')
    // The account's own address is its own roster.
    expect((await setRoster(juliet, `<item jid='${NURSE}'/>`, JULIET)).attrs.type).toBe('result')
    expect((await getRoster(juliet)).map(({ attrs }) => attrs.jid)).toEqual([NURSE])
  })

  it('2.1.6 a push is a set with one item, from the account; errors in answer to it are passed over', async () => {
    const juliet = await connect(JULIET)
    taken(juliet)
    await setRoster(juliet, `<item jid='${ROMEO}' name='R'><group>g</group></item>`)
    const push = await juliet.next((element) => pushIn(element) !== undefined)
    expect(push.attrs).toMatchObject({ type: 'set', from: JULIET, to: juliet.jid })
    expect(push.attrs.id).not.toBe('')
    expect(pushIn(push)!.getChildElements()).toHaveLength(1)
    juliet.send(`<iq type='error' id='${push.attrs.id}'><error type='cancel'><service-unavailable
      xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`)
    await juliet.settled()
    expect(taken(juliet)).toEqual([])
    await setRoster(juliet, `<item jid='${ROMEO}'/>`)
    await juliet.settled()
    expect(taken(juliet)).toEqual([`push ${ROMEO} none`])
  })
})

describeStored('2.2 to 2.5 getting, adding, updating, deleting', () => {
  it('2.2 pushes go to resources that have asked for the roster, available or not, and to no others', async () => {
    const connected = await connect(`${JULIET}/connected`, '')
    const available = await connect(`${JULIET}/available`)
    const other = await connectOnly(`${JULIET}/other`, true)
    await setRoster(other, `<item jid='${ROMEO}'/>`)
    await settled(HOST, connected, available, other)
    for (const stream of [connected, available]) expect(taken(stream)).toContain(`push ${ROMEO} none`)
    expect(other.received.filter((element) => pushIn(element) !== undefined)).toEqual([])
  })

  it('2.3.1 2.3.2 a new item is stored, and pushed to all, the one that has sent it included', async () => {
    const [one, two] = [await connect(`${JULIET}/one`), await connect(`${JULIET}/two`)]
    const answer = await setRoster(one, `<item jid='${ROMEO}' name='R'><group>Friends</group></item>`)
    expect(answer.attrs).toMatchObject({ type: 'result', to: one.jid })
    expect(answer.children).toEqual([])
    for (const stream of [one, two]) {
      const item = pushIn(await stream.next((element) => pushIn(element) !== undefined))!.getChild('item')
      expect(item?.attrs).toMatchObject({ jid: ROMEO, name: 'R', subscription: 'none' })
      expect(item?.getChildText('group')).toBe('Friends')
    }
  })

  it.each([
    ['of somebody else', '', 'forbidden auth', ROMEO],
    ['of nobody', `<item jid='a@b.lit'/>`, 'forbidden auth', `nobody@${HOST}`],
    ['without an item', '', 'bad-request modify'],
    ['with two items', `<item jid='a@b.lit'/><item jid='c@b.lit'/>`, 'bad-request modify'],
    ['with another element', `<thing jid='a@b.lit'/>`, 'bad-request modify'],
    [
      'with a group twice',
      `<item jid='a@b.lit'><group>x</group><group>x</group></item>`,
      'bad-request modify',
    ],
    ['with a long name', `<item jid='a@b.lit' name='${'é'.repeat(11)}'/>`, 'not-acceptable modify'],
    ['with an empty group', `<item jid='a@b.lit'><group></group></item>`, 'not-acceptable modify'],
    [
      'with a long group',
      `<item jid='a@b.lit'><group>${'x'.repeat(21)}</group></item>`,
      'not-acceptable modify',
    ],
    [
      'with many groups',
      `<item jid='a@b.lit'>${[1, 2, 3, 4].map((n) => `<group>${n}</group>`).join('')}</item>`,
      'not-acceptable modify',
    ],
    ['with a malformed JID', `<item jid='@b.lit'/>`, 'bad-request modify'],
    ['with a full JID', `<item jid='a@b.lit/c'/>`, 'bad-request modify'],
    ['with the account itself', `<item jid='${JULIET}'/>`, 'not-allowed cancel'],
  ])(
    '2.3.3 2.4.3 a set %s is refused, for a new item and for one that is there',
    async (_, item, error, to = '') => {
      const juliet = await connect(JULIET)
      await setRoster(juliet, `<item jid='a@b.lit' name='old'/>`)
      await juliet.settled()
      taken(juliet)
      expect(errorIn(await setRoster(juliet, item, to))).toBe(error)
      expect(errorIn(await setRoster(juliet, item.replaceAll('a@b.lit', 'new@b.lit'), to))).toBe(error)
      await juliet.settled()
      expect(taken(juliet)).toEqual([])
      const items = await getRoster(juliet)
      expect(items.map(({ attrs }) => [attrs.jid, attrs.name])).toEqual([['a@b.lit', 'old']])
    },
  )

  it('2.3.3 the bounds themselves are allowed', async () => {
    const juliet = await connect(JULIET)
    const groups = [1, 2, 3].map((n) => `<group>${`${n}`.repeat(20)}</group>`).join('')
    const item = `<item jid='${ROMEO}' name='${'é'.repeat(10)}'>${groups}</item>`
    expect((await setRoster(juliet, item)).attrs.type).toBe('result')
  })

  it('2.3.3 a roster has a limit, for what presence adds as well', async () => {
    const juliet = await connect(JULIET)
    for (let n = 0; n < 5; n++) await setRoster(juliet, `<item jid='c${n}@b.lit'/>`)
    expect(errorIn(await setRoster(juliet, `<item jid='c5@b.lit'/>`))).toBe('resource-constraint wait')
    await juliet.settled()
    taken(juliet)
    for (const type of ['subscribe', 'subscribed']) {
      sendPresence(juliet, type, ROMEO)
      const error = await juliet.next(({ attrs }) => attrs.type === 'error')
      expect(errorIn(error)).toBe('resource-constraint wait')
    }
    expect(await getRoster(juliet)).toHaveLength(5)
  })

  it('2.4.1 2.4.2 an item becomes exactly what the set says, and is pushed', async () => {
    const juliet = await connect(JULIET)
    taken(juliet)
    const steps: [item: string, name: string | undefined, groups: string[]][] = [
      ["name='Romeo'><group>Friends</group>", 'Romeo', ['Friends']],
      ["name='Romeo'><group>Friends</group><group>Lovers</group>", 'Romeo', ['Friends', 'Lovers']],
      ["name='Romeo'><group>Lovers</group>", 'Romeo', ['Lovers']],
      ["name='Romeo'>", 'Romeo', []],
      ["name='MyRomeo'>", 'MyRomeo', []],
      ["name=''>", undefined, []],
    ]
    for (const [text, name, groups] of steps) {
      expect((await setRoster(juliet, `<item jid='${ROMEO}' ${text}</item>`)).attrs.type).toBe('result')
      const push = await juliet.next((element) => pushIn(element) !== undefined)
      for (const item of [pushIn(push)!.getChild('item')!, (await getItem(juliet, ROMEO))!]) {
        expect(item.attrs.name).toBe(name)
        expect(item.getChildren('group').map((group) => group.text())).toEqual(groups)
      }
    }
  })

  it('2.5.1 2.5.2 an item is deleted, and pushed as such', async () => {
    const [one, two] = [await connect(`${JULIET}/one`), await connect(`${JULIET}/two`)]
    await setRoster(one, `<item jid='${ROMEO}' name='R'/>`)
    await settled(HOST, one, two)
    for (const stream of [one, two]) taken(stream)
    expect((await setRoster(one, `<item jid='${ROMEO}' subscription='remove'/>`)).attrs.type).toBe('result')
    await settled(HOST, one, two)
    for (const stream of [one, two]) expect(taken(stream)).toEqual([`push ${ROMEO} remove`])
    expect(await getRoster(one)).toEqual([])
  })

  it('2.5.2 who sees the account, or is seen, is told that this is over', async () => {
    const juliet = await connect(`${JULIET}/balcony`)
    const rooms = await connectComponent(server.componentPort, ROOMS)
    streams.push(rooms)
    const contact = `r@${ROOMS}`
    const remove = async (): Promise<string[]> => {
      await settled(HOST, juliet, rooms)
      rooms.received.splice(0)
      await setRoster(juliet, `<item jid='${contact}' subscription='remove'/>`)
      await settled(HOST, juliet, rooms)
      for (const { attrs } of rooms.received) expect(attrs.to).toBe(contact)
      return taken(rooms)
    }
    const to = async () => {
      sendPresence(juliet, 'subscribe', contact)
      await settled(HOST, juliet, rooms)
      sendPresence(rooms, 'subscribed', JULIET, '', contact)
    }
    const from = async () => {
      sendPresence(rooms, 'subscribe', JULIET, '', contact)
      await settled(HOST, rooms, juliet)
      sendPresence(juliet, 'subscribed', contact)
    }
    await setRoster(juliet, `<item jid='${contact}'/>`)
    expect(await remove()).toEqual([])
    await to()
    expect(await remove()).toEqual([`unsubscribe ${JULIET}`])
    await from()
    expect(await remove()).toEqual([`unavailable ${JULIET}/balcony`, `unsubscribed ${JULIET}`])
    await to()
    await settled(HOST, rooms, juliet)
    await from()
    expect(await remove()).toEqual([
      `unavailable ${JULIET}/balcony`,
      `unsubscribed ${JULIET}`,
      `unsubscribe ${JULIET}`,
    ])
  })

  it('2.5.3 what is not there cannot be deleted', async () => {
    const juliet = await connect(JULIET)
    await juliet.settled()
    taken(juliet)
    const answer = await setRoster(juliet, `<item jid='${ROMEO}' subscription='remove'/>`)
    expect(errorIn(answer)).toBe('item-not-found modify')
    await juliet.settled()
    expect(juliet.received.map(lineOf)).toEqual([])
  })
})
