/** Privileged entities (XEP-0356) where several processes are one server: an entity that is connected to any of them. */

import type { Element } from '@xmpp/xml'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { RedisBus } from '../../server/cluster/redis-bus.ts'
import { configFromObject, type ServerOptions } from '../../server/config/index.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { conditionOf, errorLines, newId } from '../shared/delegation.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import {
  befriend,
  forwardedAnswer,
  HOST,
  innerIq,
  innerMessage,
  isAdvertisement,
  JULIET,
  MONTAGUE,
  messageFor,
  NS_PUBSUB,
  NURSE,
  PLUGINS,
  PUBSUB,
  permissionsIn,
  privilegedIq,
  RIVAL,
  ROMEO,
  refusalOf,
} from '../shared/privilege.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const OLD = `old.${HOST}`
const MANY = `many.${HOST}`
const BOT = `bot@${HOST}`
const GATEWAY = 'gateway.lit'
const USERS = Array.from({ length: 6 }, (_, number) => `user${number}@${HOST}`)
const ALL = {
  roster: 'both',
  message: 'outgoing',
  presence: 'roster',
  iq: { [NS_PUBSUB]: 'both' },
}
const NS_ROSTER = 'jabber:iq:roster'

const isPresence = (element: Element) => element.getName() === 'presence'
const presenceFrom = (jid: string) => (element: Element) => isPresence(element) && element.attrs.from === jid
const isPush = (element: Element) =>
  element.getName() === 'iq' &&
  element.attrs.type === 'set' &&
  element.getChild('query', NS_ROSTER) !== undefined

describePeer('privileged entities in a cluster', redisAvailable(), () => {
  let peer: SingleRedis
  const servers: TestServer[] = []
  const streams: TestStream[] = []

  function options(privileges: Record<string, unknown>): ServerOptions {
    const component = { component_secret: 'secret', modules_enabled: ['privilege'] }
    return {
      modules_enabled: PLUGINS,
      virtualHosts: { [HOST]: { privileged_entities: privileges }, [MONTAGUE]: {} },
      components: {
        [PUBSUB]: component,
        [RIVAL]: { ...component, validate_from_addresses: false },
        [OLD]: { ...component, component_conflict_resolve: 'kick_old' },
        [MANY]: { ...component, component_conflict_resolve: 'share' },
        [GATEWAY]: { component_secret: 'secret' },
      },
    }
  }
  const GRANTED = {
    [PUBSUB]: ALL,
    [OLD]: ALL,
    [MANY]: ALL,
    [BOT]: { ...ALL, presence: 'managed_entity' },
  }

  const startAnother = async (number: number): Promise<TestServer> =>
    startServer(
      {
        storage: 'redis',
        redis: { url: peer.redis.url, prefix: 'test' },
        cluster: { name: `process ${number}` },
        cluster_lease: 2,
        ...options(GRANTED),
      },
      number > 0 ? [] : [JULIET, NURSE, ROMEO, BOT, ...USERS],
    )

  /** As when a process is killed: the others hear nothing of it any more. */
  const die = async ({ server }: TestServer): Promise<void> => {
    const bus = server.cluster!['bus'] as RedisBus
    await bus['end']()
  }

  const reload = (server: TestServer, privileges: Record<string, unknown>): Promise<void> => {
    const keep = [
      'storage',
      'redis',
      'cluster',
      'cluster_lease',
      'data_path',
      'interfaces',
      'local_interfaces',
      'login_throttle',
      'presence_open_resources',
    ]
    const names = [...keep, 'c2s_ports', 'component_ports', 'c2s_require_encryption']
    const global = Object.fromEntries(
      [...names, 'allow_unencrypted_plain_auth'].map((name) => [name, server.server.config.get('*', name)]),
    )
    return server.server.reload(configFromObject({ ...global, ...options(privileges) }))
  }

  beforeAll(async () => {
    peer = await startRedis()
    for (let number = 0; number < 3; number++) servers.push(await startAnother(number))
  })

  afterEach(async () => {
    for (const stream of streams.splice(0)) await stream.close()
    // Nobody is known to be there any more.
    for (const { server } of servers) {
      const { directory, members } = server.cluster!
      await expect
        .poll(() => {
          const counts = [...members.values()].map((member) => directory.counts(member))
          return counts.reduce((sum, { sessions, connections }) => sum + sessions + connections, 0)
        })
        .toBe(0)
    }
  })

  afterAll(async () => {
    for (const server of servers) expect(errorLines(server)).toEqual([])
    for (const server of servers) await server.stop()
    await peer.stop()
  })

  const user = async (server: number, jid: string, presence = true): Promise<TestStream> => {
    const stream = await login(servers[server]!.c2sPort, jid, { presence })
    streams.push(stream)
    await stream.settled()
    return stream
  }
  const connect = async (server: number, domain = PUBSUB): Promise<TestStream> => {
    const stream = await connectComponent(servers[server]!.componentPort, domain)
    streams.push(stream)
    return stream
  }
  const entity = async (server: number, domain = PUBSUB): Promise<TestStream> => {
    const stream = await connect(server, domain)
    await stream.next(isAdvertisement)
    await known(domain, 1)
    return stream
  }
  /** Every process knows that many connections of a component. */
  const known = async (domain: string, count: number): Promise<void> => {
    for (const { server } of servers) {
      await expect
        .poll(() => server.sharedTable('component/connections', () => new Map()).get(domain).size)
        .toBe(count)
    }
  }
  /** Waits until what clients have brought about has come to an entity. */
  const arrived = async (to: TestStream, ...clients: TestStream[]): Promise<void> => {
    for (const client of clients) {
      await client.settled()
      const id = newId()
      client.send(`<message type='headline' to='${to.jid}' id='${id}'/>`)
      await to.withId(id)
    }
  }
  /** Takes out what has come from somebody: types or shows. */
  const heardOf = (stream: TestStream, jid: string): string[] => {
    const heard: string[] = []
    for (const element of stream.received.filter(presenceFrom(jid))) {
      heard.push(String(element.attrs.type ?? element.getChildText('status') ?? 'available'))
      stream.received.splice(stream.received.indexOf(element), 1)
    }
    return heard
  }
  const rosterGet = (from: string, to: string) =>
    `<iq type='get' id='${newId()}' from='${from}' to='${to}'><query xmlns='${NS_ROSTER}'/></iq>`
  const rosterSet = (attrs: string, jid: string, name: string) =>
    `<iq type='set' id='${newId()}' ${attrs}><query xmlns='${NS_ROSTER}'><item jid='${jid}' name='${name}'/></query></iq>`

  describe('advertisement', () => {
    it('once for a host, by the process that the entity is connected to', async () => {
      const pubsub = await entity(1)
      const clients = [await user(0, JULIET), await user(1, NURSE), await user(2, USERS[0]!)]
      await arrived(pubsub, ...clients)
      expect(pubsub.received.filter(isAdvertisement)).toEqual([])
    })

    it('again, once, when a reload has changed it; not by a process that it is not connected to', async () => {
      const pubsub = await entity(1)
      const clients = [await user(0, JULIET), await user(1, NURSE), await user(2, USERS[0]!)]
      const changed = { ...GRANTED, [PUBSUB]: { ...ALL, message: 'none' } }
      for (const number of [0, 2]) await reload(servers[number]!, changed)
      await arrived(pubsub, ...clients)
      expect(pubsub.received.filter(isAdvertisement)).toEqual([])
      await reload(servers[1]!, changed)
      await arrived(pubsub, ...clients)
      const told = pubsub.received.filter(isAdvertisement)
      expect(told.map(permissionsIn)).toEqual([expect.arrayContaining([{ access: 'message', type: 'none' }])])
      for (const server of servers) await reload(server, GRANTED)
    })
  })

  describe('rosters', () => {
    it('§4.3: get and set for accounts whose sessions are elsewhere, or that are offline', async () => {
      const pubsub = await entity(1)
      const juliet = await user(2, JULIET)
      await juliet.ask(rosterGet('', HOST).replace(` to='${HOST}'`, '').replace(" from=''", ''))
      for (const account of [JULIET, NURSE]) {
        const set = await pubsub.ask(rosterSet(`from='${PUBSUB}' to='${account}'`, ROMEO, 'Montague'))
        expect(set.attrs).toMatchObject({ type: 'result', from: account, to: PUBSUB })
        expect(String(await pubsub.ask(rosterGet(PUBSUB, account)))).toContain('Montague')
      }
      // The account's resource is told, wherever it is.
      expect(String(await juliet.next(isPush))).toContain('Montague')
      expect(conditionOf(await pubsub.ask(rosterGet(PUBSUB, `nobody@${HOST}`)))).toBe('item-not-found')
    })

    it('§4.4: a change at any process is pushed to it, once', async () => {
      const pubsub = await entity(1)
      const clients = [await user(0, JULIET), await user(1, NURSE), await user(2, USERS[0]!)]
      for (const [number, client] of clients.entries()) {
        await client.ask(rosterSet('', `contact${number}@example.org`, `n${number}`))
      }
      await arrived(pubsub, ...clients)
      const pushes = pubsub.received.filter(isPush).map((push) => [push.attrs.from, push.attrs.to])
      expect(pushes.sort()).toEqual([JULIET, NURSE, USERS[0]!].map((jid) => [jid, PUBSUB]).sort())
    })

    it('§4.4: changes of one roster by resources at several processes come in their order', async () => {
      const pubsub = await entity(0)
      const clients = [await user(1, `${JULIET}/a`), await user(2, `${JULIET}/b`)]
      for (let round = 0; round < 10; round++) {
        await clients[round % 2]!.ask(rosterSet('', 'contact@example.org', `n${round}`))
      }
      await arrived(pubsub, ...clients)
      const names = pubsub.received.filter(isPush).map((push) => /name=["']n(\d+)/.exec(String(push))?.[1])
      expect(names).toEqual(Array.from({ length: 10 }, (_, round) => String(round)))
    })

    it('nobody else: a component without the privilege, wherever it is, and clients', async () => {
      await entity(1)
      const rival = await connect(0, RIVAL)
      const juliet = await user(2, JULIET)
      const nurse = await user(0, NURSE)
      for (const from of [RIVAL, PUBSUB]) {
        expect(await refusalOf(rival, rosterGet(from, JULIET))).toBe('forbidden')
        expect(await refusalOf(rival, privilegedIq(innerIq(), { from }))).toBe('forbidden')
        const message = messageFor(HOST, innerMessage({ from: JULIET, to: ROMEO }), from)
        expect(await refusalOf(rival, message)).toBe('forbidden')
      }
      expect(await refusalOf(nurse, rosterGet(NURSE, JULIET))).toBe('forbidden')
      expect(juliet.received.filter((element) => element.getName() === 'message')).toEqual([])
    })
  })

  describe('presence', () => {
    it('§7.1: of accounts at every process, beginning and end, each once and in order', async () => {
      const pubsub = await entity(1)
      const clients: TestStream[] = []
      for (const server of [0, 1, 2]) clients.push(await user(server, `${USERS[server]}/r`, false))
      for (const client of clients) {
        for (let round = 0; round < 20; round++) {
          client.send(`<presence><status>${round}</status></presence><presence type='unavailable'/>`)
        }
      }
      await arrived(pubsub, ...clients)
      const all = Array.from({ length: 20 }, (_, round) => [String(round), 'unavailable']).flat()
      for (const client of clients) expect(heardOf(pubsub, client.jid)).toEqual(all)
    })

    it('§8: who connects is told of all who are available, at every process, once', async () => {
      const clients: TestStream[] = []
      for (const server of [0, 1, 2]) {
        const client = await user(server, `${USERS[server]}/r`, false)
        client.send(`<presence><status>${server}</status></presence>`)
        await client.settled()
        clients.push(client, await user(server, `${USERS[server]}/silent`, false))
      }
      for (const server of [2, 0]) {
        const pubsub = await entity(server)
        for (const number of [0, 1, 2]) {
          const presence = await pubsub.next(presenceFrom(`${USERS[number]}/r`))
          expect(presence.getChildText('status')).toBe(String(number))
          expect(presence.attrs.to).toBe(PUBSUB)
        }
        await arrived(pubsub, ...clients)
        expect(pubsub.received.filter(isPresence).map(String)).toEqual([])
        await pubsub.close()
        await known(PUBSUB, 0)
      }
    })

    it('§8: very many of another process, to one who reads slowly', async () => {
      const status = 'x'.repeat(20_000)
      const clients: TestStream[] = []
      for (let number = 0; number < 12; number++) {
        const client = await user(2, `${USERS[number % 2]}/r${number}`, false)
        client.send(`<presence><status>${status}</status></presence>`)
        await client.settled()
        clients.push(client)
      }
      const pubsub = await connect(0)
      pubsub.socket.pause()
      await user(0, JULIET)
      pubsub.socket.resume()
      for (const client of clients) await pubsub.next(presenceFrom(client.jid))
      await arrived(pubsub, clients[0]!)
      expect(heardOf(pubsub, clients[3]!.jid)).toEqual([])
    })

    it('§7.4: of contacts, whose presence comes to accounts at several processes: each once and in order', async () => {
      const pubsub = await entity(1)
      const romeo = await user(2, `${ROMEO}/orchard`)
      const friends = [
        await user(0, `${JULIET}/r`),
        await user(1, `${NURSE}/r`),
        await user(2, `${USERS[0]}/r`),
      ]
      for (const friend of friends) await befriend(friend, romeo)
      await arrived(pubsub, romeo, ...friends)
      expect(heardOf(pubsub, romeo.jid)).toEqual(['available'])
      const rounds = Array.from({ length: 30 }, (_, round) => `s${round % 4}`)
      romeo.send(rounds.map((text) => `<presence><status>${text}</status></presence>`).join(''))
      romeo.send("<presence type='unavailable'><status>last</status></presence><presence/>")
      await romeo.settled()
      for (const friend of friends) {
        await friend.next((element) => element.getChildText('status') === 'last')
        await friend.next(presenceFrom(romeo.jid))
      }
      await arrived(pubsub, romeo, ...friends)
      expect(heardOf(pubsub, romeo.jid)).toEqual([...rounds, 'unavailable', 'available'])
      // Who only says something to one of them is not gone.
      romeo.send(`<presence type='unavailable' to='${JULIET}'/>`)
      await arrived(pubsub, romeo, ...friends)
      expect(heardOf(pubsub, romeo.jid)).toEqual([])
    })

    it('§7.4: of contacts that a component serves at another process', async () => {
      const pubsub = await entity(1)
      const gateway = await connect(2, GATEWAY)
      await known(GATEWAY, 1)
      const friends = [await user(0, `${JULIET}/r`), await user(1, `${NURSE}/r`)]
      const contact = `friend@${GATEWAY}`
      for (const friend of friends) {
        friend.send(`<presence type='subscribe' to='${contact}'/>`)
        const { attrs } = await gateway.next((element) => element.attrs.type === 'subscribe')
        gateway.send(`<presence type='subscribed' from='${contact}' to='${attrs.from}'/>`)
        await friend.next((element) => element.attrs.type === 'subscribed')
      }
      for (const round of [0, 1, 2, 1, 0, 1]) {
        for (const to of [JULIET, NURSE]) {
          gateway.send(`<presence from='${contact}/app' to='${to}'><status>s${round}</status></presence>`)
        }
      }
      gateway.send(
        [JULIET, NURSE]
          .map((to) => `<presence from='${contact}/app' to='${to}' type='unavailable'/>`)
          .join(''),
      )
      for (const friend of friends) {
        await friend.next(
          (element) => presenceFrom(`${contact}/app`)(element) && element.attrs.type !== undefined,
        )
      }
      await arrived(pubsub, ...friends)
      expect(heardOf(pubsub, `${contact}/app`)).toEqual(['s0', 's1', 's2', 's1', 's0', 's1', 'unavailable'])
    })

    it('§8: who connects is told of contacts at every process, also of accounts that are offline', async () => {
      const romeo = await user(2, `${ROMEO}/orchard`)
      const second = await user(0, `${ROMEO}/chapel`)
      const juliet = await user(1, `${USERS[1]}/r`)
      await befriend(juliet, romeo)
      await juliet.close()
      await romeo.next((element) => element.attrs.from === juliet.jid && element.attrs.type === 'unavailable')
      const pubsub = await entity(1)
      await pubsub.next(presenceFrom(romeo.jid))
      await pubsub.next(presenceFrom(second.jid))
      await arrived(pubsub, romeo, second)
      expect(pubsub.received.filter(isPresence).map(String)).toEqual([])
      romeo.send('<presence><status>away</status></presence>')
      await arrived(pubsub, romeo)
      expect(heardOf(pubsub, romeo.jid)).toEqual(['away'])
    })

    it('§8: an entity that is a contact gets it once', async () => {
      const pubsub = await entity(1)
      const juliet = await user(2, `${JULIET}/r`)
      await pubsub.next(presenceFrom(juliet.jid))
      pubsub.send(`<presence type='subscribe' from='${PUBSUB}' to='${JULIET}'/>`)
      await juliet.next((element) => element.attrs.type === 'subscribe')
      juliet.send(`<presence type='subscribed' to='${PUBSUB}'/>`)
      await pubsub.next((element) => element.attrs.type === 'subscribed')
      await arrived(pubsub, juliet)
      heardOf(pubsub, juliet.jid)
      juliet.send("<presence type='unavailable'/>")
      await arrived(pubsub, juliet)
      expect(heardOf(pubsub, juliet.jid)).toEqual(['unavailable'])
      juliet.send(`<presence type='unsubscribed' to='${PUBSUB}'/>`)
      await pubsub.next((element) => element.attrs.type === 'unsubscribed')
    })

    it.each([[[0, 1, 2]], [[1, 2, 0]], [[2, 0, 1]]])(
      'presence that is granted by a reload is sent once, in whichever order the processes reload: %o',
      async (order) => {
        const clients: TestStream[] = []
        for (const server of [0, 1, 2]) clients.push(await user(server, `${USERS[server]}/r`))
        for (const server of servers) await reload(server, { ...GRANTED, [PUBSUB]: { message: 'outgoing' } })
        const pubsub = await entity(1)
        await arrived(pubsub, ...clients)
        expect(pubsub.received.filter(isPresence)).toEqual([])
        for (const number of order) {
          await reload(servers[number]!, GRANTED)
          await arrived(pubsub, ...clients)
        }
        for (const client of clients) await pubsub.next(presenceFrom(client.jid))
        await arrived(pubsub, ...clients)
        expect(pubsub.received.filter(isPresence).map(String)).toEqual([])
        expect(pubsub.received.filter(isAdvertisement)).toHaveLength(1)
      },
    )

    it('an account that is the entity, at whichever process', async () => {
      const juliet = await user(2, `${JULIET}/r`)
      const bot = await user(1, `${BOT}/r`)
      await bot.next(isAdvertisement)
      await bot.next(presenceFrom(juliet.jid))
      const nurse = await user(0, `${NURSE}/r`)
      await arrived(bot, nurse, juliet)
      expect(heardOf(bot, nurse.jid)).toEqual(['available'])
      await nurse.ask(rosterSet('', 'contact@example.org', 'push'))
      await arrived(bot, nurse, juliet)
      expect(bot.received.filter(isPush)).toHaveLength(1)
      expect(bot.received.filter(isAdvertisement)).toEqual([])
      await juliet.close()
      await bot.next((element) => presenceFrom(juliet.jid)(element) && element.attrs.type === 'unavailable')
      // It is not told while it is not available itself.
      bot.send("<presence type='unavailable'/>")
      await bot.settled()
      bot.received.length = 0
      const again = await user(2, `${JULIET}/r`)
      await again.settled()
      await bot.settled()
      expect(heardOf(bot, again.jid)).toEqual([])
    })
  })

  describe('on behalf of accounts', () => {
    it('§5: messages, to a client at any process', async () => {
      const pubsub = await entity(1)
      await user(0, `${JULIET}/r`)
      for (const server of [0, 1, 2]) {
        const reader = await user(server, `${USERS[server]}/r`)
        for (const to of [USERS[server]!, `${USERS[server]}/r`]) {
          pubsub.send(messageFor(HOST, innerMessage({ from: JULIET, to, id: 'm' })))
          expect((await reader.withId('m')).attrs).toMatchObject({ from: JULIET, to })
        }
      }
      const nobody = innerMessage({ from: `nobody@${HOST}`, to: JULIET })
      expect(await refusalOf(pubsub, messageFor(HOST, nobody))).toBe('forbidden')
    })

    it('§6: IQs, to a client at any process, whose answers come back to who has asked', async () => {
      const pubsub = await entity(1)
      await user(2, `${JULIET}/r`)
      for (const server of [0, 1, 2]) {
        const romeo = await user(server, `${ROMEO}/r${server}`)
        const thief = await user(0, `${NURSE}/t${server}`)
        const asked = pubsub.ask(privilegedIq(innerIq({ to: romeo.jid })))
        const iq = await romeo.next((element) => element.getChild('pubsub', NS_PUBSUB) !== undefined)
        expect(iq.attrs.from).toBe(JULIET)
        // Whoever was not asked is not heard.
        const answer = (text: string) =>
          `<iq type='result' id='${iq.attrs.id}' to='${JULIET}'><pubsub xmlns='${NS_PUBSUB}'>${text}</pubsub></iq>`
        thief.send(answer('false'))
        await thief.settled()
        await arrived(pubsub, thief)
        romeo.send(answer('true'))
        const inner = forwardedAnswer(await asked)
        expect(inner.attrs).toMatchObject({ type: 'result', id: 'sub_1', from: romeo.jid })
        expect(inner.getChild('pubsub')?.text()).toBe('true')
      }
      // Nobody is there.
      const inner = forwardedAnswer(await pubsub.ask(privilegedIq(innerIq({ to: `${ROMEO}/nowhere` }))))
      expect(conditionOf(inner)).toBe('service-unavailable')
    })

    it('§6: an IQ that somebody elsewhere leaves without an answer has its error at once', async () => {
      const pubsub = await entity(1)
      const romeo = await user(2, `${ROMEO}/r`)
      const asked = pubsub.ask(privilegedIq(innerIq({ to: romeo.jid })))
      await romeo.next((element) => element.getChild('pubsub', NS_PUBSUB) !== undefined)
      await romeo.close()
      expect(conditionOf(await asked)).toBe('remote-server-timeout')
    })

    it('§6: the same where it was for a component that is connected elsewhere', async () => {
      const pubsub = await entity(1)
      const gateway = await connect(2, GATEWAY)
      await known(GATEWAY, 1)
      const asked = pubsub.ask(privilegedIq(innerIq({ to: GATEWAY })))
      await gateway.next((element) => element.getChild('pubsub', NS_PUBSUB) !== undefined)
      await gateway.close()
      expect(conditionOf(await asked)).toBe('remote-server-timeout')
    })

    it('§6: an answer to an entity that has gone is for nobody', async () => {
      const pubsub = await entity(1)
      const romeo = await user(2, `${ROMEO}/r`)
      pubsub.send(privilegedIq(innerIq({ to: romeo.jid })))
      const iq = await romeo.next((element) => element.getChild('pubsub', NS_PUBSUB) !== undefined)
      await pubsub.close()
      await known(PUBSUB, 0)
      const next = await entity(0)
      romeo.send(`<iq type='result' id='${iq.attrs.id}' to='${JULIET}'/>`)
      await arrived(next, romeo)
      expect(next.received.filter((element) => element.getName() === 'iq')).toEqual([])
      expect(romeo.received.filter((element) => element.attrs.type === 'error')).toEqual([])
    })
  })

  describe('a second connection at another process', () => {
    it('kick_new: is refused, and the first goes on', async () => {
      const pubsub = await entity(1)
      await expect(connect(2)).rejects.toThrow(/conflict/)
      const juliet = await user(0, `${JULIET}/r`)
      await arrived(pubsub, juliet)
      expect(heardOf(pubsub, juliet.jid)).toEqual(['available'])
      expect(pubsub.received.filter(isAdvertisement)).toEqual([])
    })

    it('kick_old: takes the place of the first, and is told what that was told', async () => {
      const first = await entity(0, OLD)
      const clients = [
        await user(0, `${JULIET}/r`),
        await user(1, `${NURSE}/r`),
        await user(2, `${USERS[0]}/r`),
      ]
      await arrived(first, ...clients)
      const second = await connect(2, OLD)
      await second.next(isAdvertisement)
      await first.closed()
      await known(OLD, 1)
      for (const client of clients) await second.next(presenceFrom(client.jid))
      for (const client of clients) client.send("<presence type='unavailable'/>")
      await arrived(second, ...clients)
      for (const client of clients) expect(heardOf(second, client.jid)).toEqual(['unavailable'])
      expect((await second.ask(rosterGet(OLD, JULIET))).attrs.type).toBe('result')
    })

    it('share: each is told who it is and who is there; what comes later goes to one of them', async () => {
      const clients: TestStream[] = []
      for (const [number, jid] of USERS.entries()) clients.push(await user(number % 3, `${jid}/r`))
      const connections = [await entity(0, MANY)]
      connections.push(await connect(2, MANY))
      await connections[1]!.next(isAdvertisement)
      await known(MANY, 2)
      for (const connection of connections) {
        for (const client of clients) await connection.next(presenceFrom(client.jid))
      }
      for (const client of clients) {
        for (let round = 0; round < 5; round++) {
          client.send(`<presence type='unavailable'/><presence><status>${round}</status></presence>`)
        }
        await client.settled()
      }
      const all = Array.from({ length: 5 }, (_, round) => ['unavailable', String(round)]).flat()
      const heard = clients.map(() => [[] as string[], [] as string[]] as const)
      await expect
        .poll(() => {
          for (const [index, connection] of connections.entries()) {
            for (const [number, client] of clients.entries()) {
              heard[number]![index]!.push(...heardOf(connection, client.jid))
            }
          }
          return heard.every(([one, other]) => one.length + other.length >= all.length)
        })
        .toBe(true)
      for (const [one, other] of heard)
        expect([one, other].sort((a, b) => a.length - b.length)).toEqual([[], all])
      // Answers go to the one that has asked.
      for (const connection of connections) {
        expect((await connection.ask(rosterGet(MANY, USERS[0]!))).attrs.type).toBe('result')
      }
    })
  })

  describe('when a process dies', () => {
    let fourth: TestServer
    const there: TestStream[] = []
    const userThere = async (jid: string): Promise<TestStream> => {
      const stream = await login(fourth.c2sPort, jid)
      there.push(stream)
      await stream.settled()
      return stream
    }

    const begin = async () => {
      fourth = await startAnother(3)
    }
    afterEach(async () => {
      for (const stream of there.splice(0)) await stream.destroy()
      await fourth.stop()
    })
    const noticed = async () => {
      for (const { server } of servers) {
        await expect.poll(() => server.cluster!.members.size, { timeout: 15_000 }).toBe(3)
      }
    }

    it('its sessions are unavailable for the entity, once, accounts and contacts', async () => {
      await begin()
      const pubsub = await entity(1)
      const friends = [await user(0, `${USERS[2]}/r`), await user(1, `${USERS[3]}/r`)]
      const romeo = await userThere(`${ROMEO}/orchard`)
      for (const friend of friends) await befriend(friend, romeo)
      const lost = await userThere(`${USERS[0]}/r`)
      const kept = await user(2, `${USERS[5]}/r`)
      for (const { jid } of [romeo, lost, kept]) await pubsub.next(presenceFrom(jid))
      await arrived(pubsub, ...friends, kept)
      expect([romeo, lost, kept].map(({ jid }) => heardOf(pubsub, jid))).toEqual([[], [], []])
      // §8: of one it is a contact, and is told as such.
      const befriended = await userThere(`${USERS[4]}/befriended`)
      await pubsub.next(presenceFrom(befriended.jid))
      pubsub.send(`<presence type='subscribe' from='${PUBSUB}' to='${USERS[4]}'/>`)
      await befriended.next((element) => element.attrs.type === 'subscribe')
      befriended.send(`<presence type='subscribed' to='${PUBSUB}'/>`)
      await pubsub.next((element) => element.attrs.type === 'subscribed')
      await arrived(pubsub, befriended)
      for (const { jid } of [befriended, lost]) heardOf(pubsub, jid)
      await die(fourth)
      for (const { jid } of [romeo, lost, befriended]) {
        expect((await pubsub.next(presenceFrom(jid))).attrs).toMatchObject({
          type: 'unavailable',
          to: PUBSUB,
        })
      }
      await noticed()
      for (const friend of friends) {
        await friend.next(
          (element) => presenceFrom(romeo.jid)(element) && element.attrs.type === 'unavailable',
        )
      }
      await arrived(pubsub, ...friends, kept)
      const all = [romeo, lost, befriended, kept]
      expect(all.map(({ jid }) => heardOf(pubsub, jid))).toEqual([[], [], [], []])
      // Who comes back is there again.
      const again = await user(2, lost.jid)
      await arrived(pubsub, again)
      expect(heardOf(pubsub, again.jid)).toEqual(['available'])
    })

    it('an IQ that a client there has not answered has its error', async () => {
      await begin()
      const pubsub = await entity(1)
      const romeo = await userThere(`${ROMEO}/r`)
      const asked = [1, 2, 3].map(() => pubsub.ask(privilegedIq(innerIq({ to: romeo.jid }))))
      for (const _ of asked)
        await romeo.next((element) => element.getChild('pubsub', NS_PUBSUB) !== undefined)
      await die(fourth)
      // From the entity's server, or the client's, whichever notices first (XEP-0356 §6.2: that is forwarded).
      for (const answer of await Promise.all(asked)) {
        const error = answer.attrs.type === 'result' ? forwardedAnswer(answer) : answer
        expect(conditionOf(error)).toBe('remote-server-timeout')
      }
      await noticed()
    })

    it('one whose entity was connected there connects to another, and is served', async () => {
      await begin()
      const first = await connectComponent(fourth.componentPort, PUBSUB)
      there.push(first)
      await first.next(isAdvertisement)
      await known(PUBSUB, 1)
      const juliet = await user(0, `${JULIET}/r`)
      await first.next(presenceFrom(juliet.jid))
      first.send(privilegedIq(innerIq({ to: juliet.jid, from: NURSE }), { to: NURSE }))
      const iq = await juliet.next((element) => element.getChild('pubsub', NS_PUBSUB) !== undefined)
      await die(fourth)
      await noticed()
      juliet.send(`<iq type='result' id='${iq.attrs.id}' to='${NURSE}'/>`)
      const second = await entity(2)
      await second.next(presenceFrom(juliet.jid))
      await arrived(second, juliet)
      expect(second.received.filter((element) => element.getName() === 'iq')).toEqual([])
    })
  })
})
