/** Rosters for privileged entities (XEP-0356 §4). */

import type { Element } from '@xmpp/xml'
import { afterEach, expect, it } from 'vitest'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { conditionOf, newId } from '../shared/delegation.ts'
import {
  befriend,
  HOST,
  isAdvertisement,
  JULIET,
  NURSE,
  nothingFor,
  PLUGINS,
  PUBSUB,
  ROMEO,
} from '../shared/privilege.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { describeStored } from '../shared/server-storages.ts'

const NS_ROSTER = 'jabber:iq:roster'
const endings: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})

interface Scene {
  server: TestServer
  pubsub: TestStream
  juliet: TestStream
}

async function scene(privileges: Record<string, unknown>): Promise<Scene> {
  const component = { component_secret: 'secret', modules_enabled: ['privilege'] }
  const server = await startServer(
    {
      modules_enabled: PLUGINS,
      virtualHosts: { [HOST]: { privileged_entities: { [PUBSUB]: privileges } }, 'montague.lit': {} },
      components: { [PUBSUB]: component },
    },
    [JULIET, NURSE, ROMEO],
  )
  endings.push(() => server.stop())
  const pubsub = await connectComponent(server.componentPort, PUBSUB)
  await pubsub.next(isAdvertisement)
  const juliet = await login(server.c2sPort, `${JULIET}/balcony`)
  await juliet.ask(`<iq type='get' id='roster'><query xmlns='${NS_ROSTER}'/></iq>`)
  endings.push(
    () => pubsub.destroy(),
    () => juliet.destroy(),
  )
  return { server, pubsub, juliet }
}

const get = (to: string, id = newId()) =>
  `<iq type='get' id='${id}' from='${PUBSUB}' to='${to}'><query xmlns='${NS_ROSTER}'/></iq>`
const set = (to: string, item: string, id = newId()) =>
  `<iq type='set' id='${id}' from='${PUBSUB}' to='${to}'><query xmlns='${NS_ROSTER}'>${item}</query></iq>`
const isPush = (element: Element) =>
  element.attrs.type === 'set' && element.getChild('query', NS_ROSTER) !== undefined
const itemsIn = (iq: Element) =>
  iq
    .getChild('query', NS_ROSTER)!
    .getChildren('item')
    .map((item) => ({ ...item.attrs, groups: item.getChildren('group').map((group) => group.getText()) }))

describeStored('XEP-0356 §4.3: the roster of an account', () => {
  it('the server answers as it would have answered the account', async () => {
    const { pubsub, juliet } = await scene({ roster: 'both' })
    await juliet.ask(
      `<iq type='set' id='add'><query xmlns='${NS_ROSTER}'><item jid='${NURSE}' name='Nurse'><group>Home &amp; house</group></item></query></iq>`,
    )
    const answer = await pubsub.ask(get(JULIET, 'roster1'))
    expect(answer.attrs).toMatchObject({ type: 'result', from: JULIET, to: PUBSUB, id: 'roster1' })
    const own = await juliet.ask(`<iq type='get' id='own'><query xmlns='${NS_ROSTER}'/></iq>`)
    expect(itemsIn(answer)).toEqual(itemsIn(own))
    expect(itemsIn(answer)).toEqual([
      { jid: NURSE, name: 'Nurse', subscription: 'none', groups: ['Home & house'] },
    ])
  })

  it('of an account that is offline too, and not of one that is not there', async () => {
    const { pubsub } = await scene({ roster: 'get' })
    expect(itemsIn(await pubsub.ask(get(NURSE)))).toEqual([])
    expect(conditionOf(await pubsub.ask(get(`tybalt@${HOST}`)))).toBe('item-not-found')
  })

  it('a set changes the roster, and the account’s resources are told', async () => {
    const { pubsub, juliet } = await scene({ roster: 'both' })
    const item = `<item jid='gateway.capulet.lit' name='Gate'><group>Services</group></item>`
    expect((await pubsub.ask(set(JULIET, item))).attrs).toMatchObject({
      type: 'result',
      from: JULIET,
      to: PUBSUB,
    })
    expect(itemsIn(await juliet.next(isPush))).toMatchObject([
      { jid: 'gateway.capulet.lit', name: 'Gate', groups: ['Services'] },
    ])
    expect(
      (await pubsub.ask(set(JULIET, `<item jid='gateway.capulet.lit' subscription='remove'/>`))).attrs.type,
    ).toBe('result')
    expect(itemsIn(await juliet.next(isPush))).toMatchObject([{ subscription: 'remove' }])
  })

  it('§10: not more than the account could do: states of subscriptions are not set', async () => {
    const { pubsub } = await scene({ roster: 'both' })
    await pubsub.ask(set(NURSE, `<item jid='${ROMEO}' subscription='both' ask='subscribe'/>`))
    expect(itemsIn(await pubsub.ask(get(NURSE)))).toEqual([{ jid: ROMEO, subscription: 'none', groups: [] }])
  })

  it.each([
    [`<item jid='${JULIET}'/>`, 'not-allowed'],
    [`<item jid='${ROMEO}/orchard'/>`, 'bad-request'],
    [`<item jid='${ROMEO}'/><item jid='${NURSE}'/>`, 'bad-request'],
    [`<item jid='${ROMEO}' subscription='remove'/>`, 'item-not-found'],
    ['', 'bad-request'],
    [`<item xmlns='urn:x' jid='${ROMEO}'/>`, 'bad-request'],
    [`<item jid='${ROMEO}' name='${'x'.repeat(2000)}'/>`, 'not-acceptable'],
  ])('RFC 6121 §2.3.3: the account would be refused %s', async (item, condition) => {
    const { pubsub } = await scene({ roster: 'set' })
    expect(conditionOf(await pubsub.ask(set(JULIET, item)))).toBe(condition)
  })

  it.each([
    ['none', false, false],
    ['get', true, false],
    ['set', false, true],
    ['both', true, true],
  ])(
    '§4.1: roster = "%s"; what is not granted MUST be refused with forbidden',
    async (roster, gets, sets) => {
      const { pubsub } = await scene({ roster })
      expect(conditionOf(await pubsub.ask(get(JULIET)))).toBe(gets ? 'result' : 'forbidden')
      expect(conditionOf(await pubsub.ask(set(JULIET, `<item jid='${ROMEO}'/>`)))).toBe(
        sets ? 'result' : 'forbidden',
      )
    },
  )

  it('nobody else: another host’s account, another account, another component’s address', async () => {
    const { server, pubsub, juliet } = await scene({ roster: 'both' })
    expect(conditionOf(await pubsub.ask(get(ROMEO)))).toBe('forbidden')
    expect(conditionOf(await pubsub.ask(set(ROMEO, `<item jid='${JULIET}'/>`)))).toBe('forbidden')
    expect(conditionOf(await pubsub.ask(get(JULIET).replace(PUBSUB, `x@${PUBSUB}`)))).toBe('forbidden')
    const own = (text: string) => text.replace(`from='${PUBSUB}'`, '')
    expect(conditionOf(await juliet.ask(own(get(NURSE))))).toBe('forbidden')
    expect(conditionOf(await juliet.ask(own(set(NURSE, `<item jid='${ROMEO}'/>`))))).toBe('forbidden')
    expect(conditionOf(await juliet.ask(own(get(`tybalt@${HOST}`))))).toBe('forbidden')
    // An account's own roster is its own to ask for, also by its address.
    expect(conditionOf(await juliet.ask(own(get(JULIET))))).toBe('result')
    expect(await server.server.hosts.get(HOST)!.users!.exists('tybalt')).toBe(false)
  })
})

describeStored('XEP-0356 §4.4: roster pushes', () => {
  it('are sent for every new, changed and removed item, from the account’s bare JID', async () => {
    const { pubsub, juliet } = await scene({ roster: 'get' })
    const change = (item: string) =>
      juliet.ask(`<iq type='set' id='${newId()}'><query xmlns='${NS_ROSTER}'>${item}</query></iq>`)
    await change(`<item jid='${NURSE}'/>`)
    const push = await pubsub.next(isPush)
    expect(push.attrs).toMatchObject({ type: 'set', from: JULIET, to: PUBSUB })
    expect(push.attrs.id).toBeTruthy()
    expect(itemsIn(push)).toEqual([{ jid: NURSE, subscription: 'none', groups: [] }])
    await change(`<item jid='${NURSE}' name='N &lt;3'><group>A</group></item>`)
    expect(itemsIn(await pubsub.next(isPush))).toEqual([
      { jid: NURSE, name: 'N <3', subscription: 'none', groups: ['A'] },
    ])
    await change(`<item jid='${NURSE}' subscription='remove'/>`)
    expect(itemsIn(await pubsub.next(isPush))).toEqual([{ jid: NURSE, subscription: 'remove', groups: [] }])
    // RFC 6121 §2.1.6: the entity answers, and nobody is bothered with that.
    pubsub.send(`<iq type='result' id='${push.attrs.id}' from='${PUBSUB}' to='${JULIET}'/>`)
    await nothingFor(pubsub, (element) => element.attrs.type === 'error')
  })

  it('also for accounts that are offline, and for what subscriptions change', async () => {
    const { server, pubsub, juliet } = await scene({ roster: 'both' })
    await pubsub.ask(set(NURSE, `<item jid='${ROMEO}'/>`))
    const push = await pubsub.next(isPush)
    expect([push.attrs.from, itemsIn(push)[0]!['jid' as never]]).toEqual([NURSE, ROMEO])
    const romeo = await login(server.c2sPort, `${ROMEO}/orchard`)
    endings.push(() => romeo.destroy())
    await romeo.settled()
    await befriend(juliet, romeo)
    await juliet.settled()
    const pushes: Element[] = []
    while (pushes.length < 3) pushes.push(await pubsub.next(isPush))
    expect(new Set(pushes.map(({ attrs }) => attrs.from))).toEqual(new Set([JULIET]))
    expect(itemsIn(pushes.at(-1)!)).toEqual([{ jid: ROMEO, subscription: 'both', groups: [] }])
  })

  it.each([
    ['§4.1: not with roster = "set"', { roster: 'set' }],
    ['§4.1: not with roster = "none"', { roster: 'none' }],
    ['§4.2: not with push = "false"', { roster: 'both', roster_push: false }],
  ])('%s', async (_, privileges) => {
    const { pubsub, juliet } = await scene(privileges)
    await juliet.ask(
      `<iq type='set' id='add'><query xmlns='${NS_ROSTER}'><item jid='${NURSE}'/></query></iq>`,
    )
    await nothingFor(pubsub, isPush)
  })
})
