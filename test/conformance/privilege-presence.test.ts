/** Presence for privileged entities (XEP-0356 §7, §8). */

import type { Element } from '@xmpp/xml'
import { afterEach, describe, expect, it } from 'vitest'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { componentSettled } from '../shared/delegation.ts'
import {
  befriend,
  endlessAccounts,
  HOST,
  isAdvertisement,
  JULIET,
  MONTAGUE,
  NURSE,
  nothingFor,
  PLUGINS,
  PUBSUB,
  ROMEO,
} from '../shared/privilege.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const GATEWAY = 'gateway.lit'
const endings: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})

async function start(
  privileges: Record<string, unknown>,
  montague: Record<string, unknown> = {},
): Promise<TestServer> {
  const component = { component_secret: 'secret', modules_enabled: ['privilege'] }
  const server = await startServer(
    {
      modules_enabled: PLUGINS,
      presence_max_length: 100_000,
      virtualHosts: { [HOST]: { privileged_entities: { [PUBSUB]: privileges } }, [MONTAGUE]: montague },
      components: { [PUBSUB]: component, [GATEWAY]: { component_secret: 'secret' } },
    },
    [JULIET, NURSE, ROMEO],
  )
  endings.push(() => server.stop())
  return server
}

async function entity(server: TestServer, domain = PUBSUB): Promise<TestStream> {
  const stream = await connectComponent(server.componentPort, domain)
  endings.push(() => stream.destroy())
  if (domain === PUBSUB) await stream.next(isAdvertisement)
  return stream
}

async function user(server: TestServer, jid: string, presence = true): Promise<TestStream> {
  const stream = await login(server.c2sPort, jid, { presence })
  endings.push(() => stream.destroy())
  await stream.settled()
  return stream
}

const isPresence = (element: Element) => element.getName() === 'presence'
const presenceFrom = (jid: string) => (element: Element) => isPresence(element) && element.attrs.from === jid

/** What has come from somebody until now. */
async function heardOf(stream: TestStream, jid: string): Promise<string[]> {
  await componentSettled(stream, HOST)
  const fits = presenceFrom(jid)
  const heard = stream.received.filter(fits).map(({ attrs }) => String(attrs.type ?? 'available'))
  for (const element of stream.received.filter(fits))
    stream.received.splice(stream.received.indexOf(element), 1)
  return heard
}

describe('XEP-0356 §7.1, §7.3: presence of accounts', () => {
  it('the example: the initial presence is sent on from the full JID', async () => {
    const server = await start({ presence: 'managed_entity' })
    const pubsub = await entity(server)
    const juliet = await user(server, `${JULIET}/balcony`, false)
    juliet.send(
      "<presence id='presence1' xml:lang='en'><show>chat</show><status>Staying on the balcony</status></presence>",
    )
    const presence = await pubsub.next(isPresence)
    expect(presence.attrs).toEqual({
      from: `${JULIET}/balcony`,
      to: PUBSUB,
      id: 'presence1',
      'xml:lang': 'en',
    })
    expect([presence.getChildText('show'), presence.getChildText('status')]).toEqual([
      'chat',
      'Staying on the balcony',
    ])
  })

  it('only the initial one and the end: others MUST NOT be transmitted', async () => {
    const server = await start({ presence: 'managed_entity' })
    const pubsub = await entity(server)
    const juliet = await user(server, `${JULIET}/balcony`)
    await pubsub.next(isPresence)
    juliet.send('<presence><show>away</show></presence>')
    juliet.send(`<presence to='${NURSE}'/>`)
    juliet.send(`<presence type='subscribe' to='${NURSE}'/>`)
    juliet.send(`<presence type='probe' to='${NURSE}'/>`)
    juliet.send('<presence><priority>999</priority></presence>')
    await juliet.settled()
    expect(await heardOf(pubsub, `${JULIET}/balcony`)).toEqual([])
    juliet.send("<presence type='unavailable'><status>gone</status></presence>")
    await juliet.settled()
    expect(await heardOf(pubsub, `${JULIET}/balcony`)).toEqual(['unavailable'])
    // A second end is none, a new beginning is one.
    juliet.send("<presence type='unavailable'/>")
    juliet.send('<presence/>')
    await juliet.settled()
    expect(await heardOf(pubsub, `${JULIET}/balcony`)).toEqual(['available'])
  })

  it('a connection that is lost is an end too', async () => {
    const server = await start({ presence: 'managed_entity' })
    const pubsub = await entity(server)
    const juliet = await user(server, `${JULIET}/balcony`)
    await pubsub.next(isPresence)
    await juliet.destroy()
    expect((await pubsub.next(isPresence)).attrs).toMatchObject({ type: 'unavailable', to: PUBSUB })
  })

  it('every resource is told of, and no account of a host that has not granted it', async () => {
    const server = await start({ presence: 'managed_entity' })
    const pubsub = await entity(server)
    await user(server, `${JULIET}/one`)
    await user(server, `${JULIET}/two`)
    await user(server, `${ROMEO}/orchard`)
    await pubsub.next(presenceFrom(`${JULIET}/one`))
    await pubsub.next(presenceFrom(`${JULIET}/two`))
    await nothingFor(pubsub, isPresence)
  })

  it('§2: transparent: the account sees nothing of it, its roster stays as it is', async () => {
    const server = await start({ presence: 'managed_entity' })
    const juliet = await user(server, `${JULIET}/balcony`)
    await entity(server)
    await juliet.settled()
    expect(juliet.text).not.toContain(PUBSUB)
  })

  it.each([[{ presence: 'none' }], [{ message: 'outgoing' }]])('not with %o', async (privileges) => {
    const server = await start(privileges)
    await user(server, `${JULIET}/balcony`)
    const pubsub = await entity(server)
    await user(server, `${JULIET}/garden`)
    await nothingFor(pubsub, isPresence)
  })

  it('§8: an entity that connects later MUST get the presence of all who are online', async () => {
    const server = await start({ presence: 'managed_entity' })
    const juliet = await user(server, `${JULIET}/balcony`)
    juliet.send('<presence><show>dnd</show></presence>')
    await juliet.settled()
    await user(server, `${NURSE}/kitchen`)
    await user(server, `${JULIET}/silent`, false)
    const pubsub = await entity(server)
    expect((await pubsub.next(presenceFrom(`${JULIET}/balcony`))).getChildText('show')).toBe('dnd')
    await pubsub.next(presenceFrom(`${NURSE}/kitchen`))
    await nothingFor(pubsub, isPresence)
    await pubsub.destroy()
    await server.logged('component disconnected')
    const again = await entity(server)
    await again.next(presenceFrom(`${JULIET}/balcony`))
  })

  it('§8: an entity that reads slowly gets all of it, and holds up nobody', async () => {
    const server = await start({ presence: 'managed_entity' })
    const status = 'x'.repeat(60_000)
    for (let number = 0; number < 9; number++) {
      const juliet = await user(server, `${JULIET}/r${number}`, false)
      juliet.send(`<presence><status>${status}</status></presence>`)
      await juliet.settled()
    }
    const nurse = await user(server, `${NURSE}/kitchen`)
    const pubsub = await connectComponent(server.componentPort, PUBSUB)
    endings.push(() => pubsub.destroy())
    pubsub.socket.pause()
    await nurse.settled()
    pubsub.socket.resume()
    for (let number = 0; number < 9; number++) await pubsub.next(presenceFrom(`${JULIET}/r${number}`))
    await pubsub.next(presenceFrom(`${NURSE}/kitchen`))
  })

  it('§8: an entity that is a contact gets it once', async () => {
    const server = await start({ presence: 'managed_entity' })
    const pubsub = await entity(server)
    const juliet = await user(server, `${JULIET}/balcony`)
    await pubsub.next(isPresence)
    pubsub.send(`<presence type='subscribe' from='${PUBSUB}' to='${JULIET}'/>`)
    await juliet.next((element) => element.attrs.type === 'subscribe')
    juliet.send(`<presence type='subscribed' to='${PUBSUB}'/>`)
    await pubsub.next((element) => element.attrs.type === 'subscribed')
    await juliet.settled()
    await heardOf(pubsub, `${JULIET}/balcony`)
    juliet.send("<presence type='unavailable'/>")
    await juliet.settled()
    expect(await heardOf(pubsub, `${JULIET}/balcony`)).toEqual(['unavailable'])
  })
})

describe('XEP-0356 §7.4: presence of contacts', () => {
  it('§8: an account that comes and goes is told by one at a time, and by none while it is away', async () => {
    const server = await startServer(
      {
        modules_enabled: PLUGINS,
        virtualHosts: { [HOST]: { privileged_entities: { [NURSE]: { roster: 'get', presence: 'roster' } } } },
      },
      [JULIET, NURSE],
    )
    endings.push(() => server.stop())
    const readers = endlessAccounts(server)
    const nurse = await user(server, `${NURSE}/kitchen`)
    await expect.poll(() => readers.underWay).toBe(1)
    for (let i = 0; i < 5; i++) {
      nurse.send("<presence type='unavailable'/><presence/>")
      await nurse.settled()
    }
    await expect.poll(() => readers.underWay).toBe(1)
    nurse.send("<presence type='unavailable'/>")
    await expect.poll(() => readers.underWay).toBe(0)
  })

  const ROSTER = { roster: 'get', presence: 'roster' }

  it('of contacts on other hosts, beginning, changes and end, each once', async () => {
    const server = await start(ROSTER)
    const pubsub = await entity(server)
    const juliet = await user(server, `${JULIET}/balcony`)
    const nurse = await user(server, `${NURSE}/kitchen`)
    const romeo = await user(server, `${ROMEO}/orchard`)
    await befriend(juliet, romeo)
    await befriend(nurse, romeo)
    expect(await heardOf(pubsub, `${ROMEO}/orchard`)).toEqual(['available'])
    romeo.send('<presence><show>away</show></presence>')
    await romeo.settled()
    await juliet.settled()
    expect(await heardOf(pubsub, `${ROMEO}/orchard`)).toEqual(['available'])
    romeo.send("<presence type='unavailable'/>")
    await romeo.settled()
    expect(await heardOf(pubsub, `${ROMEO}/orchard`)).toEqual(['unavailable'])
  })

  it('§7.4: implies the presence of accounts', async () => {
    const server = await start(ROSTER)
    const pubsub = await entity(server)
    await user(server, `${JULIET}/balcony`)
    expect((await pubsub.next(isPresence)).attrs).toMatchObject({ from: `${JULIET}/balcony`, to: PUBSUB })
  })

  it('§7.4: if the account is offline and the entity is not, the server MUST send it anyway', async () => {
    const server = await start(ROSTER)
    const pubsub = await entity(server)
    const juliet = await user(server, `${JULIET}/balcony`)
    const romeo = await user(server, `${ROMEO}/orchard`)
    await befriend(juliet, romeo)
    romeo.send("<presence type='unavailable'/>")
    await romeo.settled()
    await juliet.destroy()
    await pubsub.next(
      (element) => presenceFrom(`${JULIET}/balcony`)(element) && element.attrs.type !== undefined,
    )
    await heardOf(pubsub, `${ROMEO}/orchard`)
    romeo.send('<presence/>')
    expect((await pubsub.next(presenceFrom(`${ROMEO}/orchard`))).attrs.to).toBe(PUBSUB)
    romeo.send("<presence type='unavailable'/>")
    expect((await pubsub.next(presenceFrom(`${ROMEO}/orchard`))).attrs.type).toBe('unavailable')
  })

  it('of nobody else: strangers, and those who see the account but are not seen', async () => {
    const server = await start(ROSTER)
    const pubsub = await entity(server)
    const juliet = await user(server, `${JULIET}/balcony`)
    const romeo = await user(server, `${ROMEO}/orchard`)
    romeo.send(`<presence to='${JULIET}/balcony'/>`)
    romeo.send(`<presence to='${JULIET}'/>`)
    romeo.send(`<presence to='${NURSE}'/>`)
    await romeo.settled()
    expect(await heardOf(pubsub, `${ROMEO}/orchard`)).toEqual([])
    romeo.send(`<presence type='subscribe' to='${JULIET}'/>`)
    await juliet.next((element) => element.attrs.type === 'subscribe')
    juliet.send(`<presence type='subscribed' to='${ROMEO}'/>`)
    await romeo.next((element) => element.attrs.type === 'subscribed')
    romeo.send('<presence><show>xa</show></presence>')
    romeo.send(`<presence to='${JULIET}'/>`)
    await romeo.settled()
    expect(await heardOf(pubsub, `${ROMEO}/orchard`)).toEqual([])
  })

  it('with managed_entity alone, contacts are not told of', async () => {
    const server = await start({ roster: 'get', presence: 'managed_entity' })
    const pubsub = await entity(server)
    const juliet = await user(server, `${JULIET}/balcony`)
    const romeo = await user(server, `${ROMEO}/orchard`)
    await befriend(juliet, romeo)
    expect(await heardOf(pubsub, `${ROMEO}/orchard`)).toEqual([])
  })

  it('§8: on connecting, contacts too, also of accounts that are offline; each once', async () => {
    const server = await start(ROSTER)
    const juliet = await user(server, `${JULIET}/balcony`)
    const nurse = await user(server, `${NURSE}/kitchen`)
    const romeo = await user(server, `${ROMEO}/orchard`)
    await befriend(juliet, romeo)
    await befriend(nurse, romeo)
    await juliet.destroy()
    await nurse.destroy()
    await romeo.next(
      (element) => element.attrs.from === `${NURSE}/kitchen` && element.attrs.type === 'unavailable',
    )
    const pubsub = await entity(server)
    await pubsub.next(presenceFrom(`${ROMEO}/orchard`))
    romeo.send('<presence><show>away</show></presence>')
    await pubsub.next((element) => element.getChildText('show') === 'away')
    await nothingFor(pubsub, isPresence)
  })

  it('§8: contacts elsewhere are asked for, on behalf of the account', async () => {
    const server = await start({ roster: 'both', presence: 'roster' })
    const gateway = await entity(server, GATEWAY)
    const juliet = await user(server, `${JULIET}/balcony`)
    const friend = `friend@${GATEWAY}`
    juliet.send(`<presence type='subscribe' to='${friend}'/>`)
    await gateway.next((element) => element.attrs.type === 'subscribe')
    gateway.send(`<presence type='subscribed' from='${friend}' to='${JULIET}'/>`)
    await juliet.next((element) => element.attrs.type === 'subscribed')
    await juliet.destroy()
    const pubsub = await entity(server)
    const probe = await gateway.next((element) => element.attrs.type === 'probe')
    expect(probe.attrs).toMatchObject({ from: JULIET, to: friend })
    gateway.send(`<presence from='${friend}/app' to='${JULIET}'><status>here</status></presence>`)
    gateway.send(`<presence from='${friend}/app' to='${JULIET}'><status>here</status></presence>`)
    gateway.send(`<presence from='stranger@${GATEWAY}/app' to='${JULIET}'/>`)
    await pubsub.next(presenceFrom(`${friend}/app`))
    gateway.send(`<presence type='unavailable' from='${friend}/app' to='${JULIET}'/>`)
    expect((await pubsub.next(presenceFrom(`${friend}/app`))).attrs.type).toBe('unavailable')
    await componentSettled(gateway, HOST)
    await nothingFor(pubsub, isPresence)
  })

  it('§8: once, where the contact’s host has granted its presence as well', async () => {
    const server = await start(ROSTER, { privileged_entities: { [PUBSUB]: { presence: 'managed_entity' } } })
    const pubsub = await entity(server)
    const juliet = await user(server, `${JULIET}/balcony`)
    const romeo = await user(server, `${ROMEO}/orchard`)
    await befriend(juliet, romeo)
    expect(await heardOf(pubsub, `${ROMEO}/orchard`)).toEqual(['available'])
    romeo.send("<presence type='unavailable'/>")
    await romeo.settled()
    romeo.send('<presence/>')
    await romeo.settled()
    expect(await heardOf(pubsub, `${ROMEO}/orchard`)).toEqual(['unavailable', 'available'])
  })

  it('a flood of presence from strangers is worked on in order, and nobody is told', async () => {
    const server = await start(ROSTER)
    const pubsub = await entity(server)
    const gateway = await entity(server, GATEWAY)
    const some = Array.from({ length: 500 }, (_, n) => `<presence from='s${n}@${GATEWAY}/x' to='${NURSE}'/>`)
    gateway.send(some.join(''))
    await componentSettled(gateway, HOST)
    await nothingFor(pubsub, isPresence)
  })
})
