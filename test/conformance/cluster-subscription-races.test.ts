/** Subscriptions changed by both sides at once, at several processes: in the end both rosters agree (RFC 6121 §3). */

import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { KeyvalStore } from '../../server/index.ts'
import type { RedisConnection } from '../../server/redis/index.ts'
import { login, type TestStream } from '../shared/client.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const ROUNDS = 30
const SEEDS = [1, 2, 3]
const MIRRORED: Record<string, string> = { none: 'none', to: 'from', from: 'to', both: 'both' }

/** A small generator, so that what is sent can be had again (mulberry32). */
function randomFrom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

/** Reading and writing rosters takes some milliseconds, now more, now less: others come in between. */
function slowDown({ server }: TestServer, random: (below: number) => number): void {
  const byHost = server.sharedTable('roster/hosts', () => new Map<string, { store: KeyvalStore<unknown> }>())
  const rosters = byHost.get(HOST)!
  const { store } = rosters
  const late = async <T>(work: () => Promise<T>): Promise<T> => {
    await pause(random(4))
    const result = await work()
    await pause(random(4))
    return result
  }
  rosters.store = {
    ...store,
    get: (user) => late(() => store.get(user)),
    update: (user, change) => late(() => store.update(user, change)),
  }
}

/** How many stand in queues. */
const LENGTHS =
  "local n = 0 for _, key in ipairs(redis.call('KEYS', '*:turn:*')) do n = n + redis.call('LLEN', key) end return n"

let ids = 0

async function itemOf(stream: TestStream, contact: string): Promise<{ subscription: string; ask: boolean }> {
  const answer = await stream.ask(`<iq type='get' id='g${++ids}'><query xmlns='jabber:iq:roster'/></iq>`)
  const item = answer.getChild('query')!.getChildByAttr('jid', contact)
  return { subscription: item?.attrs.subscription ?? 'none', ask: item?.attrs.ask === 'subscribe' }
}

describePeer('subscriptions in a cluster', redisAvailable(), () => {
  let peer: SingleRedis
  const servers: TestServer[] = []
  const streams: TestStream[] = []

  beforeAll(async () => {
    peer = await startRedis()
    const users = SEEDS.flatMap((seed) => [`juliet${seed}@${HOST}`, `romeo${seed}@${HOST}`])
    for (let number = 0; number < 3; number++) {
      servers.push(await start(number, number > 0 ? [] : [...users, `nurse@${HOST}`, `tybalt@${HOST}`]))
      slowDown(servers[number]!, randomFrom(number))
    }
  })

  afterEach(async () => {
    for (const stream of streams.splice(0)) await stream.destroy()
  })

  afterAll(async () => {
    for (const server of servers) await server.stop()
    await peer.stop()
  })

  const start = (number: number, users: string[] = []): Promise<TestServer> =>
    startServer(
      {
        storage: 'redis',
        redis: { url: peer.redis.url, prefix: 'test' },
        cluster: { name: `process ${number}` },
        cluster_lease: 2,
        virtualHosts: { [HOST]: {} },
      },
      users,
    )
  const enter = async (server: number, jid: string): Promise<TestStream> => {
    const stream = await login(servers[server]!.c2sPort, jid)
    streams.push(stream)
    return stream
  }

  it.each(SEEDS)(
    'both rosters agree whatever is sent at once (seed %i)',
    async (seed) => {
      const random = randomFrom(seed)
      const juliet = `juliet${seed}@${HOST}`
      const romeo = `romeo${seed}@${HOST}`
      const a = await enter(0, juliet)
      const b = await enter(1, romeo)
      // Another resource of his, at a third process.
      const elsewhere = await enter(2, `${romeo}/elsewhere`)
      const all = [
        [a, romeo],
        [b, juliet],
        [elsewhere, juliet],
      ] as const
      for (const [stream, contact] of all) await itemOf(stream, contact)
      const act = (contact: string): string => {
        const item = (rest: string) =>
          `<iq type='set' id='s${++ids}'><query xmlns='jabber:iq:roster'><item jid='${contact}' ${rest}/></query></iq>`
        const types = [
          'subscribe',
          'subscribe',
          'subscribed',
          'subscribed',
          'unsubscribe',
          'unsubscribed',
          'probe',
        ]
        const choice = random(types.length + 2)
        if (choice === types.length) return item(`name='${ids}'`)
        if (choice > types.length) return random(3) === 0 ? item(`subscription='remove'`) : item(`name='x'`)
        return `<presence to='${contact}' type='${types[choice]}'/>`
      }
      for (let round = 0; round < ROUNDS; round++) {
        await Promise.all(
          all.map(async ([stream, contact]) => {
            for (let some = random(3); some >= 0; some--) {
              let text = ''
              for (let i = random(4); i > 0; i--) text += act(contact)
              stream.send(text)
              if (random(2) === 0) await pause(random(4))
            }
          }),
        )
        for (const [stream] of all) await stream.settled()
        // What has to go to another process may still be under way; two rosters that have crossed stay as they are.
        await expect
          .poll(
            async () => {
              const [mine, theirs] = [await itemOf(a, romeo), await itemOf(b, juliet)]
              const there = await itemOf(elsewhere, juliet)
              return {
                theirs: theirs.subscription,
                mirrored: MIRRORED[mine.subscription],
                there: there.subscription,
              }
            },
            { message: `after round ${round}`, timeout: 3000 },
          )
          .toSatisfy(({ theirs, mirrored, there }) => theirs === mirrored && there === theirs)
      }
      for (const { log } of servers) expect(log.filter((line) => line.includes('failed'))).toEqual([])
    },
    60_000,
  )

  it('who is just being bound elsewhere hears of changes by a process that does not know yet', async () => {
    const juliet = await enter(0, `nurse@${HOST}`)
    // This process reads late what the others tell.
    const { directory } = servers[0]!.server.cluster!
    const { changed } = directory
    const later: (() => void)[] = []
    directory.changed = (...change) => void later.push(() => changed.apply(directory, change))
    try {
      const romeo = await enter(1, `tybalt@${HOST}/street`)
      await itemOf(romeo, juliet.jid)
      expect(servers[0]!.server.hosts.get(HOST)!.isOnline('tybalt')).toBe(false)
      juliet.send(`<presence type='subscribe' to='tybalt@${HOST}'/>`)
      await romeo.next(({ attrs }) => attrs.type === 'subscribe')
      romeo.send(`<presence type='subscribed' to='nurse@${HOST}'/>`)
      await juliet.next(({ attrs }) => attrs.type === 'subscribed')
      juliet.send(`<presence type='unsubscribe' to='tybalt@${HOST}'/>`)
      await romeo.next(({ attrs }) => attrs.type === 'unsubscribe')
      await expect.poll(async () => (await itemOf(romeo, `nurse@${HOST}`)).subscription).toBe('none')
    } finally {
      directory.changed = changed
      for (const late of later) late()
    }
  }, 60_000)

  describe('turns', () => {
    const turnsOf = (number: number) => servers[number]!.server.cluster!.turns

    it('are taken by one process at a time, first come, first served', async () => {
      const order: string[] = []
      const take = async (number: number, name: string) => {
        const end = await turnsOf(number).take('one two')
        order.push(`${name} begins`)
        await pause(5)
        order.push(`${name} ends`)
        end()
      }
      const first = await turnsOf(0).take('one two')
      const all: Promise<void>[] = []
      for (const [number, name] of ['a', 'b', 'c', 'd', 'e', 'f'].entries()) {
        all.push(take(number % 3, name))
        // It stands in the queue.
        await expect.poll(() => peer.redis.cli('eval', LENGTHS, '0')).toBe(String(number + 2))
      }
      first()
      await Promise.all(all)
      expect(order).toEqual(
        ['a', 'b', 'c', 'd', 'e', 'f'].flatMap((name) => [`${name} begins`, `${name} ends`]),
      )
      await expect.poll(() => peer.redis.cli('eval', LENGTHS, '0')).toBe('0')
    })

    it('one that has ended does not stay in the way if Redis was not told', async () => {
      const registry = servers[0]!.server.cluster!.registry
      const { leaveQueue } = registry
      registry.leaveQueue = () => Promise.reject(new Error('Redis is away'))
      const end = await turnsOf(0).take('three four')
      end()
      const again = await turnsOf(0).take('three four')
      again()
      registry.leaveQueue = leaveQueue
      ;(await turnsOf(1).take('three four'))()
    })

    it('the turn of a process that is dead is over', async () => {
      const dying = await start(3)
      await dying.server.cluster!.turns.take('five six')
      const next = turnsOf(0).take('five six')
      const { bus } = dying.server.cluster as unknown as { bus: Record<string, RedisConnection> }
      for (const connection of [bus.commands!, bus.blocking!]) connection.client.disconnect()
      ;(await next)()
      await dying.stop()
    })
  })

  it('while Redis is away, who wants to change a subscription is told to wait, and nothing changes', async () => {
    const juliet = await enter(0, `nurse@${HOST}`)
    await itemOf(juliet, `tybalt@${HOST}`)
    peer.redis.pause()
    await expect.poll(() => servers[0]!.server.cluster!.state().connected, { timeout: 10_000 }).toBe(false)
    juliet.send(`<presence type='subscribe' to='tybalt@${HOST}' id='wait'/>`)
    const refused = await juliet.withId('wait')
    expect(refused.getChild('error')?.attrs.type).toBe('wait')
    peer.redis.goOn()
    await expect
      .poll(
        async () => {
          juliet.send(`<presence type='subscribe' to='tybalt@${HOST}'/>`)
          await juliet.settled()
          return (await itemOf(juliet, `tybalt@${HOST}`)).ask
        },
        { timeout: 10_000 },
      )
      .toBe(true)
  }, 60_000)
})
