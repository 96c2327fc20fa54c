/** Presence between several processes of a server, some of which die (RFC 6121 §4.5.2, §4.6.3). */

import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { RedisConnection } from '../../server/redis/index.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const COMPONENT = 'rooms.capulet.lit'
const USERS = ['juliet', 'romeo', 'nurse', 'tybalt', 'paris'].map((user) => `${user}@${HOST}`)

type Connections = Record<'commands' | 'blocking', RedisConnection>

/** What a process says to the others, and hears of them. */
function connectionsOf({ server }: TestServer): RedisConnection[] {
  const { bus } = server.cluster as unknown as { bus: Connections }
  return [bus.commands, bus.blocking]
}

/** From now on the others hear nothing of a process, as if it had died. */
function cut(server: TestServer): void {
  for (const { client } of connectionsOf(server)) client.disconnect()
}

/** It is back. */
async function connectAgain(server: TestServer): Promise<void> {
  for (const { client } of connectionsOf(server)) await client.connect()
}

/** The presence that has come from somebody: `available` or the type of each. */
function presencesFrom(stream: TestStream, from: string): string[] {
  return stream.received
    .filter(({ name, attrs }) => name === 'presence' && attrs.from === from)
    .map(({ attrs }) => attrs.type ?? 'available')
}

describePeer('presence in a cluster', redisAvailable(), () => {
  let peer: SingleRedis
  let servers: TestServer[]
  let streams: TestStream[]

  beforeEach(async () => {
    peer = await startRedis({ appendonly: 'yes', appendfsync: 'always' })
    servers = []
    streams = []
  })

  afterEach(async () => {
    for (const stream of streams) stream.socket.destroy()
    for (const server of servers) await server.stop()
    await peer.stop()
  })

  const start = async (count: number, lease = 2): Promise<void> => {
    for (let number = 0; number < count; number++) {
      servers.push(
        await startServer(
          {
            storage: 'redis',
            redis: { url: peer.redis.url, prefix: 'test' },
            cluster: { name: `process ${number}` },
            cluster_lease: lease,
            virtualHosts: { [HOST]: {} },
            components: {
              [COMPONENT]: { component_secret: 'secret', component_conflict_resolve: 'share' },
            },
          },
          number > 0 ? [] : USERS,
        ),
      )
    }
  }
  const enter = async (server: number, jid: string, options = {}): Promise<TestStream> => {
    const stream = await login(
      servers[server]!.c2sPort,
      `${jid.split('/')[0]}@${HOST}/${jid.split('/')[1]}`,
      options,
    )
    streams.push(stream)
    return stream
  }
  const component = async (server: number): Promise<TestStream> => {
    const stream = await connectComponent(servers[server]!.componentPort, COMPONENT)
    streams.push(stream)
    return stream
  }
  /** The first sees the second, from now on. */
  const befriend = async (one: TestStream, other: TestStream): Promise<void> => {
    const bare = (jid: string) => jid.split('/')[0]!
    one.send(`<presence type='subscribe' to='${bare(other.jid)}'/>`)
    await other.next(({ attrs }) => attrs.type === 'subscribe' && attrs.from === bare(one.jid))
    other.send(`<presence type='subscribed' to='${bare(one.jid)}'/>`)
    await one.next(
      ({ name, attrs }) => name === 'presence' && attrs.from === other.jid && attrs.type === undefined,
    )
  }
  /** All processes but those that are cut off know that they are alone. */
  const dead = async (...numbers: number[]): Promise<void> => {
    const left = servers.filter((_, number) => !numbers.includes(number))
    for (const { server } of left) {
      await expect.poll(() => server.cluster!.members.size, { timeout: 15_000 }).toBe(left.length)
    }
    // What they have to tell goes to clients of their own.
    for (const stream of streams)
      if (!stream.ended && stream.jid !== COMPONENT && isAt(stream, left)) await stream.settled()
  }
  const isAt = (stream: TestStream, some: readonly TestServer[]): boolean =>
    some.some(({ c2sPort }) => stream.socket.remotePort === c2sPort)

  it('RFC 6121 §4.6.3: whoever had directed presence of a session is told once that its process is gone', async () => {
    await start(3)
    const rooms = await component(2)
    const more = await component(1)
    const romeo = await enter(1, 'romeo/orchard')
    const nurse = [await enter(1, 'nurse/hall'), await enter(2, 'nurse/garden')]
    const tybalt = await enter(2, 'tybalt/street')
    for (const presence of [true, false]) {
      const juliet = await enter(0, `juliet/${presence ? 'seen' : 'hidden'}`, { presence })
      for (const to of [romeo.jid, `nurse@${HOST}`, tybalt.jid, `hall@${COMPONENT}/juliet`]) {
        juliet.send(`<presence to='${to}'/>`)
      }
      juliet.send(`<presence to='${tybalt.jid}' type='unavailable'/>`)
    }
    const [seen, hidden] = [`juliet@${HOST}/seen`, `juliet@${HOST}/hidden`]
    const isFrom = (from: string) => (stanza: { attrs: Record<string, string> }) => stanza.attrs.from === from
    const atRooms = () => [...presencesFrom(rooms, hidden), ...presencesFrom(more, hidden)]
    for (const from of [seen, hidden]) {
      for (const stream of [romeo, ...nurse]) await stream.next(isFrom(from))
      await tybalt.next((stanza) => isFrom(from)(stanza) && stanza.attrs.type === 'unavailable')
      tybalt.received.splice(0)
    }
    await expect.poll(atRooms).toEqual(['available'])
    cut(servers[0]!)
    await dead(0)
    for (const from of [seen, hidden]) {
      for (const stream of [romeo, ...nurse]) expect(presencesFrom(stream, from)).toEqual(['unavailable'])
      expect(presencesFrom(tybalt, from)).toEqual([])
    }
    await expect.poll(atRooms).toEqual(['available', 'unavailable'])
    // To one of the component's connections.
    expect([...presencesFrom(rooms, seen), ...presencesFrom(more, seen)]).toEqual([
      'available',
      'unavailable',
    ])
  }, 60_000)

  it('§4.5.2: contacts at all processes are told once, also when who would tell them dies as well', async () => {
    await start(5)
    const all = servers.map(({ server }, number) => ({ number, id: server.cluster!.self.id }))
    // Who dies, and who would be the first to do something for all of those that are left.
    const victim = all[0]!
    const leader = all.slice(1).reduce((one, other) => (other.id < one.id ? other : one))
    const romeo = await enter(victim.number, 'romeo/orchard')
    const second = await enter(leader.number === 1 ? 2 : 1, 'romeo/second')
    const rooms = await component(leader.number === 4 ? 3 : 4)
    rooms.send(`<presence type='subscribe' from='hall@${COMPONENT}' to='romeo@${HOST}'/>`)
    await romeo.next(({ attrs }) => attrs.type === 'subscribe')
    romeo.send(`<presence type='subscribed' to='hall@${COMPONENT}'/>`)
    await rooms.next(({ attrs }) => attrs.from === romeo.jid)
    const contacts: TestStream[] = []
    for (const [index, user] of ['juliet', 'nurse', 'tybalt', 'paris'].entries()) {
      const contact = await enter(index + 1, `${user}/x`)
      await befriend(contact, romeo)
      contacts.push(contact)
    }
    cut(servers[victim.number]!)
    await pause(100)
    cut(servers[leader.number]!)
    await dead(victim.number, leader.number)
    for (const [index, contact] of contacts.entries()) {
      if (index + 1 === leader.number) continue
      expect(presencesFrom(contact, romeo.jid), contact.jid).toEqual(['unavailable'])
      expect(presencesFrom(contact, second.jid), contact.jid).toEqual(['available'])
    }
    expect(presencesFrom(second, romeo.jid).at(-1)).toBe('unavailable')
    await expect.poll(() => presencesFrom(rooms, romeo.jid)).toEqual(['unavailable'])
  }, 60_000)

  it.each([
    ['the process dies', 2, 'never'],
    ['it does not die before the other gives it up', 7, 'never'],
    ['it was taken for dead, and comes back', 2, 'after'],
    ['it was not, and comes back', 10, 'before'],
  ])(
    'a session that comes back elsewhere under its full JID stays available: %s',
    async (_, lease, returns) => {
      await start(3, lease)
      const juliet = await enter(0, 'juliet/balcony')
      const romeo = await enter(1, 'romeo/orchard')
      await befriend(juliet, romeo)
      const nurse = await enter(0, 'nurse/hall')
      const rooms = await component(0)
      const room = `<presence to='hall@${COMPONENT}/romeo'/>`
      romeo.send(`${room}<presence to='${nurse.jid}'/>`)
      await nurse.next(({ attrs }) => attrs.from === romeo.jid)
      cut(servers[1]!)
      const again = await enter(2, 'romeo/orchard')
      expect(again.jid).toBe(romeo.jid)
      again.send(`${room}<presence to='${nurse.jid}'/>`)
      await expect.poll(() => presencesFrom(juliet, romeo.jid).at(-1)).toBe('available')
      await expect.poll(() => presencesFrom(nurse, romeo.jid).at(-1)).toBe('available')
      if (returns !== 'before') await dead(1)
      if (returns !== 'never') {
        await connectAgain(servers[1]!)
        expect((await romeo.streamError()).condition).toBe(returns === 'after' ? 'reset' : 'conflict')
        // What it has still sent is at the others.
        const tybalt = await enter(1, 'tybalt/street')
        tybalt.send(`<message type='chat' to='${juliet.jid}' id='late'/>`)
        await juliet.withId('late')
      }
      expect(presencesFrom(juliet, romeo.jid).at(-1)).toBe('available')
      expect(presencesFrom(nurse, romeo.jid).at(-1)).toBe('available')
      expect(presencesFrom(rooms, romeo.jid).at(-1)).toBe('available')
      // It is who messages and probes go to.
      juliet.send(`<message type='chat' to='${romeo.jid}' id='now'/>`)
      await again.withId('now')
      const late = await enter(0, 'juliet/late')
      await late.next(
        ({ name, attrs }) => name === 'presence' && attrs.from === romeo.jid && attrs.type === undefined,
      )
    },
    60_000,
  )

  it.each(['is restarted', 'does not answer for a while'])(
    'what resources have become while Redis %s is known to all afterwards',
    async (how) => {
      await start(3)
      const juliet = await enter(0, 'juliet/balcony')
      const romeo = await enter(1, 'romeo/orchard')
      const second = await enter(2, 'romeo/second')
      const third = await enter(1, 'romeo/third')
      await befriend(juliet, romeo)
      if (how === 'is restarted') await peer.redis.kill()
      else peer.redis.pause()
      for (const server of servers) {
        await expect.poll(() => server.server.cluster!.state().connected, { timeout: 15_000 }).toBe(false)
      }
      romeo.send('<presence><priority>-1</priority></presence>')
      second.send('<presence><priority>7</priority></presence>')
      await third.close()
      for (const stream of [romeo, second]) await stream.settled()
      if (how === 'is restarted') await peer.redis.start()
      else peer.redis.goOn()
      for (const number of [0, 1, 2]) {
        await expect
          .poll(
            () => {
              const host = servers[number]!.server.hosts.get(HOST)!
              return [...host.resourcesOf('romeo')].map(
                ({ resource, available, priority }) => `${resource} ${available} ${priority}`,
              )
            },
            { timeout: 15_000 },
          )
          .toEqual(['orchard true -1', 'second true 7'])
      }
      await expect.poll(() => presencesFrom(juliet, third.jid).at(-1)).toBe('unavailable')
      juliet.send(`<message type='chat' to='romeo@${HOST}' id='after'/>`)
      await second.withId('after')
      await romeo.close()
      await expect.poll(() => presencesFrom(juliet, romeo.jid).at(-1)).toBe('unavailable')
    },
    60_000,
  )
})
