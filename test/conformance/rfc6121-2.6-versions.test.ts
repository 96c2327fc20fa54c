/**
 * RFC 6121 §2.6, rule by rule: roster versioning, in one process and in several.
 *
 * Not here, because they are a client's to keep: §2.6.2 (when it sends a version), §2.6.3 (it takes an interim push as
 * any other, and asks with the version of the last push that it has had).
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import type { StoredRoster } from '../../plugins/roster/index.ts'
import { login, TestStream } from '../shared/client.ts'
import {
  askRoster,
  enter,
  getRoster,
  getVersion,
  NS_ROSTER,
  pushIn,
  sendPresence,
  setRoster,
  settled,
  stateIn,
} from '../shared/im-client.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { describeStored } from '../shared/server-storages.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`

let servers: TestServer[] = []
let streams: TestStream[] = []

afterEach(async () => {
  for (const stream of streams) await stream.destroy()
  for (const server of servers) await server.stop()
  servers = []
  streams = []
})

async function start(options = {}, users = [JULIET, ROMEO]): Promise<TestServer> {
  const server = await startServer({ virtualHosts: { [HOST]: {} }, ...options }, users)
  servers.push(server)
  return server
}

async function connect(server: TestServer, jid: string): Promise<TestStream> {
  const stream = await enter(server.c2sPort, jid)
  streams.push(stream)
  return stream
}

/** What a client makes of a roster that it has kept. */
class Cache {
  readonly items = new Map<string, string>()
  ver = ''
  /** Of the pushes, in their order. */
  readonly versions: number[] = []

  /** Takes the pushes that have come. */
  take(stream: TestStream): this {
    for (const element of stream.received.splice(0)) {
      const query = pushIn(element)
      if (query === undefined) continue
      const item = query.getChild('item')!
      this.ver = query.attrs.ver as string
      this.versions.push(Number(this.ver))
      if (item.attrs.subscription === 'remove') this.items.delete(item.attrs.jid)
      else this.items.set(item.attrs.jid, `${stateIn(item)} ${item.attrs.name ?? ''}`)
    }
    return this
  }

  async whole(stream: TestStream): Promise<this> {
    const query = (await askRoster(stream)).getChild('query', NS_ROSTER)!
    this.items.clear()
    for (const item of query.getChildElements()) {
      this.items.set(item.attrs.jid, `${stateIn(item)} ${item.attrs.name ?? ''}`)
    }
    this.ver = query.attrs.ver as string
    return this
  }

  sorted(): string[] {
    return [...this.items].map(([jid, text]) => `${jid} ${text}`).sort()
  }
}

/** A resource that has not asked for the roster yet. */
async function another(server: TestServer): Promise<TestStream> {
  const stream = await login(server.c2sPort, `${JULIET}/r${streams.length}`, { presence: false })
  streams.push(stream)
  return stream
}

async function fill(stream: TestStream, count: number): Promise<void> {
  for (let n = 0; n < count; n++) await setRoster(stream, `<item jid='c${n}@b.lit'/>`)
}

const remove = (stream: TestStream, jid: string) =>
  setRoster(stream, `<item jid='${jid}' subscription='remove'/>`)

describeStored('2.6 roster versioning', (lasting) => {
  it('2.6.1 is announced to who has authenticated, and to nobody before', async () => {
    const server = await start()
    const stream = await TestStream.connect(server.c2sPort)
    streams.push(stream)
    await stream.open(`to='${HOST}' version='1.0'`)
    expect((await stream.named('features')).getChild('ver')).toBeUndefined()
    const initial = Buffer.from('\0juliet\0pw').toString('base64')
    stream.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${initial}</auth>`)
    await stream.named('success')
    stream.restart()
    await stream.open(`to='${HOST}' version='1.0'`)
    expect((await stream.named('features')).getChild('ver', 'urn:xmpp:features:rosterver')).toBeDefined()
  })

  it('2.6.2 2.6.3 who has no version gets the whole roster, with its version', async () => {
    const server = await start()
    const juliet = await connect(server, JULIET)
    await fill(juliet, 3)
    for (const ver of [undefined, '']) {
      const query = (await askRoster(juliet, ver)).getChild('query', NS_ROSTER)!
      expect(query.getChildElements()).toHaveLength(3)
      expect(query.attrs.ver).toMatch(/^\d+$/)
    }
  })

  it('2.6.3 who has the version that there is gets an empty result and no pushes', async () => {
    const server = await start()
    const juliet = await connect(server, JULIET)
    await fill(juliet, 3)
    const ver = await getVersion(juliet)
    const stream = await another(server)
    const answer = await askRoster(stream, ver)
    expect(answer.attrs.type).toBe('result')
    expect(answer.children).toEqual([])
    await stream.settled()
    expect(stream.received).toEqual([])
    // It is interested all the same.
    await setRoster(juliet, `<item jid='c0@b.lit' name='new'/>`)
    const push = await stream.next((element) => pushIn(element) !== undefined)
    expect(pushIn(push)!.getChild('item')!.attrs.name).toBe('new')
  })

  it('2.6.3 an empty roster is another thing than one that has not changed', async () => {
    const server = await start()
    const juliet = await connect(server, JULIET)
    const never = await askRoster(juliet, await getVersion(juliet))
    expect(never.getChild('query', NS_ROSTER)?.children).toEqual([])
    await fill(juliet, 1)
    const ver = await getVersion(juliet)
    await remove(juliet, 'c0@b.lit')
    const emptied = await askRoster(await another(server), ver)
    expect(emptied.getChild('query', NS_ROSTER)?.children).toEqual([])
    expect((await askRoster(juliet, await getVersion(juliet))).children).toEqual([])
  })

  it('2.6.3 who has an earlier one gets a push for each item that has changed, as it is now, in order', async () => {
    const server = await start()
    const juliet = await connect(server, JULIET)
    await fill(juliet, 12)
    const cache = await new Cache().whole(juliet)
    for (const name of ['1', '2', '3']) await setRoster(juliet, `<item jid='c5@b.lit' name='${name}'/>`)
    await remove(juliet, 'c7@b.lit')
    await setRoster(juliet, `<item jid='new@b.lit' name='N'/>`)
    await remove(juliet, 'c1@b.lit')
    await setRoster(juliet, `<item jid='c1@b.lit' name='back'/>`)
    const stream = await another(server)
    expect((await askRoster(stream, cache.ver)).children).toEqual([])
    await stream.settled()
    expect(stream.received.map((push) => pushIn(push)!.getChild('item')!.attrs.jid)).toEqual([
      'c5@b.lit',
      'c7@b.lit',
      'new@b.lit',
      'c1@b.lit',
    ])
    cache.take(stream)
    expect(cache.versions).toEqual([...new Set(cache.versions)].sort((one, other) => one - other))
    const now = await new Cache().whole(juliet)
    expect([cache.ver, cache.sorted()]).toEqual([now.ver, now.sorted()])
  })

  it('2.6.3 it gets the whole roster where that is less, or the version is none that is known', async () => {
    const server = await start()
    const juliet = await connect(server, JULIET)
    await fill(juliet, 4)
    const ver = await getVersion(juliet)
    for (const n of [0, 1, 2]) await setRoster(juliet, `<item jid='c${n}@b.lit' name='x'/>`)
    const latest = Number(await getVersion(juliet))
    for (const known of [ver, '1', '0', '-1', 'ver14', '9'.repeat(400), `${latest + 1}`]) {
      const query = (await askRoster(juliet, known)).getChild('query', NS_ROSTER)
      expect(query?.getChildElements(), known).toHaveLength(4)
      expect(query?.attrs.ver).toBe(String(latest))
    }
  })

  it('2.6.3 who was away while very much was removed gets the whole roster', async () => {
    const server = await start()
    const juliet = await connect(server, JULIET)
    await fill(juliet, 101)
    await setRoster(juliet, `<item jid='stays@b.lit'/>`)
    const ver = await getVersion(juliet)
    for (let n = 0; n < 101; n++) await remove(juliet, `c${n}@b.lit`)
    const query = (await askRoster(juliet, ver)).getChild('query', NS_ROSTER)
    expect(query?.getChildElements().map(({ attrs }) => attrs.jid)).toEqual(['stays@b.lit'])
  })

  it('2.6.3 each push has a version of its own, and the last one is the roster’s', async () => {
    const server = await start()
    const [juliet, romeo] = [await connect(server, JULIET), await connect(server, ROMEO)]
    const cache = await new Cache().whole(juliet)
    juliet.received.splice(0)
    await fill(juliet, 5)
    sendPresence(juliet, 'subscribe', ROMEO)
    await settled(HOST, juliet, romeo)
    sendPresence(romeo, 'subscribed', JULIET)
    await settled(HOST, romeo, juliet)
    await remove(juliet, 'c2@b.lit')
    await juliet.settled()
    cache.take(juliet)
    expect(cache.versions).toHaveLength(8)
    expect(cache.versions).toEqual([...new Set(cache.versions)].sort((one, other) => one - other))
    const now = await new Cache().whole(juliet)
    expect([cache.ver, cache.sorted()]).toEqual([now.ver, now.sorted()])
  })

  it('2.6.3 what is not pushed, as a request that waits, is no other version', async () => {
    const server = await start()
    const [juliet, romeo] = [await connect(server, JULIET), await connect(server, ROMEO)]
    await fill(juliet, 1)
    const ver = await getVersion(juliet)
    sendPresence(romeo, 'subscribe', JULIET)
    await juliet.next(({ attrs }) => attrs.type === 'subscribe')
    sendPresence(juliet, 'unsubscribed', ROMEO)
    await settled(HOST, juliet, romeo)
    expect(await getVersion(juliet)).toBe(ver)
  })

  it('2.6.3 versions outlive a restart', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'legate-versions-'))
    try {
      const options = { ...lasting, data_path: folder }
      const juliet = await connect(await start(options), JULIET)
      await fill(juliet, 6)
      const cache = await new Cache().whole(juliet)
      await remove(juliet, 'c3@b.lit')
      const ver = await getVersion(juliet)
      for (const server of servers.splice(0)) await server.stop()

      const server = await start(options, [])
      const stream = await another(server)
      expect((await askRoster(stream, ver)).children).toEqual([])
      const late = await another(server)
      expect((await askRoster(late, cache.ver)).children).toEqual([])
      await late.settled()
      cache.take(late)
      expect(cache.versions).toEqual([Number(ver)])
      expect(cache.items.has('c3@b.lit')).toBe(false)
      await setRoster(stream, `<item jid='c3@b.lit'/>`)
      expect(Number(await getVersion(stream))).toBeGreaterThan(Number(ver))
    } finally {
      for (const server of servers.splice(0)) await server.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('2.6.3 a roster that was taken over goes on with its version', async () => {
    const server = await start()
    const store = server.server.storage.openKeyval<StoredRoster>(HOST, 'roster')
    const items = ['a', 'b', 'c', 'd', 'e'].map((name) => ({
      jid: `${name}@b.lit`,
      subscription: 'both' as const,
    }))
    await store.set('juliet', { items, requests: [], version: 14 })
    const juliet = await connect(server, JULIET)
    expect((await askRoster(juliet, '14')).children).toEqual([])
    // What changed before that is not known.
    expect((await askRoster(juliet, '13')).getChild('query', NS_ROSTER)?.getChildElements()).toHaveLength(5)
    await setRoster(juliet, `<item jid='a@b.lit' name='A'/>`)
    const stream = await another(server)
    expect((await askRoster(stream, '14')).children).toEqual([])
    await stream.settled()
    expect(stream.received.map((push) => pushIn(push)!.getChild('item')!.attrs.jid)).toEqual(['a@b.lit'])
    expect(await getRoster(stream)).toHaveLength(5)
  })
})

describePeer('2.6 roster versioning in a cluster', redisAvailable(), () => {
  it('2.6.3 pushes come in order at each process, whoever makes the changes', async () => {
    const peer: SingleRedis = await startRedis({ appendonly: 'yes' })
    try {
      for (let number = 0; number < 3; number++) {
        const options = {
          storage: 'redis',
          redis: { url: peer.redis.url, prefix: 'test' },
          cluster: { name: `process ${number}` },
        }
        await start(options, number > 0 ? [] : [JULIET])
      }
      const all = await Promise.all(servers.map((server, n) => connect(server, `${JULIET}/at${n}`)))
      await fill(all[0]!, 4)
      const caches: Cache[] = []
      for (const stream of all) {
        caches.push(await new Cache().whole(stream))
        stream.received.splice(0)
      }
      await Promise.all(
        all.map(async (stream, n) => {
          for (let i = 0; i < 12; i++) {
            const jid = `c${(i + n) % 6}@b.lit`
            if (i % 4 === 3) await remove(stream, jid)
            else await setRoster(stream, `<item jid='${jid}' name='${n} ${i}'/>`)
          }
        }),
      )
      const store = servers[0]!.server.storage.openKeyval<StoredRoster>(HOST, 'roster')
      const last = String((await store.get('juliet'))?.version)
      for (const [n, stream] of all.entries()) {
        await expect.poll(() => caches[n]!.take(stream).ver, { timeout: 10_000 }).toBe(last)
      }
      const now = await new Cache().whole(all[0]!)
      for (const cache of caches) {
        expect(cache.versions).toEqual([...new Set(cache.versions)].sort((one, other) => one - other))
        expect(cache.sorted()).toEqual(now.sorted())
      }
      // What one process has written, another knows the changes of.
      const early = await another(servers[1]!)
      await setRoster(all[0]!, `<item jid='c0@b.lit' name='last'/>`)
      const answer = await askRoster(early, now.ver)
      const names = () => {
        const queries = [answer.getChild('query', NS_ROSTER), ...early.received.map(pushIn)]
        const items = queries.flatMap((query) => query?.getChildElements() ?? [])
        return items.filter(({ attrs }) => attrs.jid === 'c0@b.lit').map(({ attrs }) => attrs.name)
      }
      // In the answer, or in a push if it is heard of later.
      await expect.poll(names, { timeout: 10_000 }).toContain('last')
    } finally {
      for (const stream of streams.splice(0)) await stream.destroy()
      for (const server of servers.splice(0)) await server.stop()
      await peer.stop()
    }
  }, 60_000)
})
