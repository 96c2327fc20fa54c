/** A delegated namespace and a privilege together: a plugin for any server (XEP-0355 §5.2, its example). */

import { afterEach, describe, expect, it } from 'vitest'
import { connectComponent, login } from '../shared/client.ts'
import {
  componentSettled,
  conditionOf,
  errorLines,
  forwardedTo,
  goodReply,
  newId,
} from '../shared/delegation.ts'
import {
  HOST,
  isAdvertisement,
  JULIET,
  NURSE,
  PLUGINS,
  privilegedIq,
  refusalOf,
} from '../shared/privilege.ts'
import { startServer } from '../shared/server.ts'

const FILTER = `filter.${HOST}`
const NS_ROSTER = 'jabber:iq:roster'
const NS_ORDERED = 'urn:example:ordered'
const endings: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})

async function stage() {
  const server = await startServer(
    {
      modules_enabled: PLUGINS,
      virtualHosts: {
        [HOST]: {
          delegations: { [NS_ROSTER]: { jid: FILTER }, [NS_ORDERED]: { jid: FILTER, ordered: true } },
          privileged_entities: {
            [FILTER]: { roster: 'both', iq: { [NS_ROSTER]: 'both', [NS_ORDERED]: 'both' } },
          },
        },
      },
      components: { [FILTER]: { component_secret: 'secret', modules_enabled: ['delegation', 'privilege'] } },
    },
    [JULIET, NURSE],
  )
  endings.push(async () => {
    await server.stop()
    expect(errorLines(server)).toEqual([])
  })
  const filter = await connectComponent(server.componentPort, FILTER)
  await filter.next(isAdvertisement)
  const juliet = await login(server.c2sPort, `${JULIET}/balcony`)
  endings.push(
    () => filter.destroy(),
    () => juliet.destroy(),
  )
  return { server, filter, juliet }
}

const isPush = (element: { attrs: Record<string, string>; toString(): string }) =>
  element.attrs['type'] === 'set' &&
  element.toString().includes('<item') &&
  !element.toString().includes('delegation')

describe('XEP-0355 §5.2.4: the universal plugin', () => {
  it('the example: accepts an item, adds it in a group of its choice, and the account gets the push', async () => {
    const { filter, juliet } = await stage()
    // Juliet's client asks for its roster first, as clients do: that is delegated as well.
    const roster = juliet.ask(`<iq type='get' id='roster0'><query xmlns='${NS_ROSTER}'/></iq>`)
    const asked = await forwardedTo(filter)
    const stored = await filter.ask(
      `<iq type='get' id='fetch' from='${FILTER}' to='${JULIET}'><query xmlns='${NS_ROSTER}'/></iq>`,
    )
    filter.send(goodReply(asked, String(stored.getChild('query'))))
    expect((await roster).getChild('query', NS_ROSTER)!.getChildren('item')).toEqual([])

    const result = juliet.ask(
      `<iq id='roster1' type='set'><query xmlns='${NS_ROSTER}'><item jid='romeo@montaigu.lit' name='My Romeo'/></query></iq>`,
    )
    const request = await forwardedTo(filter)
    expect(request.iq.attrs).toMatchObject({ from: `${JULIET}/balcony`, id: 'roster1', type: 'set' })
    expect(request.payload.getChild('item')!.attrs['name']).toBe('My Romeo')
    filter.send(goodReply(request))
    expect((await result).attrs).toMatchObject({ id: 'roster1', type: 'result' })

    const added = await filter.ask(
      `<iq to='${JULIET}' from='${FILTER}' id='roster2' type='set'><query xmlns='${NS_ROSTER}'>` +
        `<item jid='romeo@montaigu.lit' name='My Romeo'><group>Rivals</group></item></query></iq>`,
    )
    expect(added.attrs).toEqual({ to: FILTER, from: JULIET, id: 'roster2', type: 'result' })

    const push = await juliet.next(isPush)
    const item = push.getChild('query', NS_ROSTER)!.getChild('item')!
    expect([item.attrs['jid'], item.getChildText('group')]).toEqual(['romeo@montaigu.lit', 'Rivals'])
    // The entity is told of the change too (XEP-0356 §4.4).
    expect((await filter.next(isPush)).attrs).toMatchObject({ from: JULIET, to: FILTER })
  })

  it('a roster set of the account that the plugin refuses changes nothing', async () => {
    const { filter, juliet } = await stage()
    const refused = juliet.ask(
      `<iq id='no' type='set'><query xmlns='${NS_ROSTER}'><item jid='romeo@montaigu.lit'/></query></iq>`,
    )
    const request = await forwardedTo(filter)
    filter.send(
      `<iq type='error' id='${request.wrapper.attrs.id}' from='${FILTER}' to='${HOST}'><error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`,
    )
    expect(conditionOf(await refused)).toBe('service-unavailable')
    const stored = await filter.ask(
      `<iq type='get' id='see' from='${FILTER}' to='${JULIET}'><query xmlns='${NS_ROSTER}'/></iq>`,
    )
    expect(stored.getChild('query')!.children).toEqual([])
  })

  it('another account’s request for a roster goes to the manager, and gives no privilege', async () => {
    const { filter, juliet } = await stage()
    const answer = juliet.ask(`<iq type='get' id='spy' to='${NURSE}'><query xmlns='${NS_ROSTER}'/></iq>`)
    const request = await forwardedTo(filter)
    expect(request.iq.attrs).toMatchObject({ from: `${JULIET}/balcony`, to: NURSE })
    filter.send(goodReply(request))
    await answer
  })

  it('an IQ on behalf of an account in the managed namespace comes to the manager once, as the account’s', async () => {
    const { filter } = await stage()
    const inner = `<iq xmlns='jabber:client' type='get' id='in'><query xmlns='${NS_ROSTER}'/></iq>`
    filter.send(privilegedIq(inner, { from: FILTER, type: 'get', id: 'out' }))
    const request = await forwardedTo(filter)
    expect(request.iq.attrs.from).toBe(JULIET)
    filter.send(goodReply(request))
    expect((await filter.withId('out')).toString()).toContain('id="in"')
    await componentSettled(filter, HOST)
    expect(filter.received.filter(({ attrs }) => attrs.type === 'set')).toEqual([])
  })

  it('F9: where requests keep their order, the manager’s own stream does not wait for itself', async () => {
    const { filter } = await stage()
    const inner = `<iq xmlns='jabber:client' type='set' id='in'><query xmlns='${NS_ORDERED}'/></iq>`
    filter.send(
      privilegedIq(inner, { from: FILTER, id: 'one' }) + privilegedIq(inner, { from: FILTER, id: 'two' }),
    )
    for (const id of ['one', 'two']) {
      filter.send(goodReply(await forwardedTo(filter)))
      expect((await filter.withId(id)).attrs.type).toBe('result')
    }
  })

  it('the manager leaves while it asks on behalf of an account: nothing hangs', async () => {
    const { server, filter, juliet } = await stage()
    const inner = `<iq xmlns='jabber:client' type='get' id='in'><query xmlns='${NS_ROSTER}'/></iq>`
    filter.send(privilegedIq(inner, { from: FILTER, type: 'get', id: newId() }))
    await forwardedTo(filter)
    await filter.destroy()
    await server.logged('component disconnected')
    expect(await refusalOf(juliet, `<iq type='get' id='after'><query xmlns='${NS_ROSTER}'/></iq>`)).toBe(
      'service-unavailable',
    )
  })
})
