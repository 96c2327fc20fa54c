/** The driver `redis` with one Redis: its keys, its cost, and what it does when Redis is killed, stopped or cut off. */

import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { type Logger, silentLogger } from '../../server/log.ts'
import { COMMAND_MS } from '../../server/redis/index.ts'
import { openRedisStorage, type RedisStorage } from '../../server/storage/redis.ts'
import { redisAvailable, type SingleRedis, startRedis, until } from '../shared/peers/redis.ts'
import { redisSettings } from '../shared/redis-settings.ts'
import { describePeer } from '../shared/require.ts'

const HOST = 'capulet.lit'
/** Milliseconds more than the deadline, on a machine that is busy. */
const SLACK_MS = 1500
const UNAVAILABLE = { name: 'StorageError', code: 'unavailable' }

const opened: RedisStorage[] = []

afterEach(async () => {
  for (const storage of opened.splice(0)) await storage.close()
})

async function open(option: Record<string, unknown>, log: Logger = silentLogger): Promise<RedisStorage> {
  const storage = openRedisStorage(redisSettings(option), log)
  opened.push(storage)
  await storage.whenReady(5000)
  return storage
}

/** A logger that keeps what it is told, from `info` on. */
function recorder(): { log: Logger; lines: string[] } {
  const lines: string[] = []
  const keep = (level: string) => (message: string, fields?: Record<string, unknown>) => {
    lines.push(`${level}: ${message}${fields?.['reason'] === undefined ? '' : ` (${fields['reason']})`}`)
  }
  const log: Logger = { ...silentLogger, info: keep('info'), warn: keep('warn'), error: keep('error') }
  return { log, lines }
}

describePeer('one Redis', redisAvailable(), () => {
  let peer: SingleRedis

  beforeAll(async () => {
    peer = await startRedis({ appendonly: 'yes', appendfsync: 'always' })
  })
  afterAll(() => peer.stop())

  beforeEach(async () => {
    await peer.redis.cli('flushall')
    await peer.redis.cli('config', 'resetstat')
  })

  /** How often each command was called. */
  async function calls(): Promise<Record<string, number>> {
    const stats = await peer.redis.cli('info', 'commandstats')
    return Object.fromEntries(
      [...stats.matchAll(/^cmdstat_(\S+):calls=(\d+)/gm)].map((m) => [m[1]!, Number(m[2])]),
    )
  }

  const keys = async () => (await peer.redis.cli('keys', '*')).split('\n').filter(Boolean).sort()

  it('has the keys that docs/redis-keys.md describes', async () => {
    const storage = await open({ url: peer.redis.url, prefix: 'montague:7' })
    await storage.openKeyval(HOST, 'accounts').set('juliet', { a: 1 })
    await storage.openMap(HOST, 'archive').set('juliet', 'k', ['v'])
    await storage.openKeyval(HOST, 'accounts').set(null, 0)
    await storage.openKeyval('[::1]', 'a:b').set('a@b:c%', 1)
    const found = await keys()
    const bucket = /^montague:7:\{([0-3][0-9a-f]{2})\}:/
    expect(found.filter((key) => !bucket.test(key))).toEqual([])
    const named = found.map((key) => key.replace(bucket, '')).sort()
    expect(named).toEqual(
      [
        'user:juliet@capulet.lit',
        'map:juliet@capulet.lit:archive',
        'users:capulet.lit:keyval:accounts',
        'users:capulet.lit:map:archive',
        'user:capulet.lit',
        'user:a%40b%3Ac%25@[%3A%3A1]',
        'users:[%3A%3A1]:keyval:a:b',
      ].sort(),
    )
    const user = found.find((key) => key.endsWith('user:juliet@capulet.lit'))!
    expect((await peer.redis.cli('hgetall', user)).split('\n')).toEqual([
      'keyval:accounts',
      '{"a":1}',
      'map:archive',
    ])
    expect(await peer.redis.cli('hget', user.replace(':user:', ':map:').concat(':archive'), 'k')).toBe(
      '["v"]',
    )
    const index = user.replace('user:juliet@capulet.lit', 'users:capulet.lit:keyval:accounts')
    expect(await peer.redis.cli('smembers', index)).toBe('juliet')
  })

  it('takes one command to read and one to write, and never goes through the keys', async () => {
    const storage = await open({ url: peer.redis.url })
    const keyval = storage.openKeyval<number>(HOST, 'test')
    const map = storage.openMap<number>(HOST, 'test')
    await keyval.set('juliet', 0)
    await peer.redis.cli('config', 'resetstat')
    for (let i = 0; i < 10; i++) await keyval.set('juliet', i)
    for (let i = 0; i < 10; i++) await keyval.get('juliet')
    for (let i = 0; i < 10; i++) await map.setKeys('juliet', { a: i, b: i })
    for (let i = 0; i < 10; i++) await map.getAll('juliet')
    await Promise.all(Array.from({ length: 100 }, () => keyval.update('juliet', (old = 0) => old + 1)))
    const made = await calls()
    expect(made).toMatchObject({ evalsha: 21, hgetall: 10, hmget: 1 })
    for await (const _ of keyval.users());
    await storage.purgeUser(HOST, 'juliet')
    expect(Object.keys(await calls()).filter((name) => /^(keys|scan|flush.*|sort)$/.test(name))).toEqual([])
  })

  it('a page of an archive that Redis has lost says from where to go on', async () => {
    const storage = await open({ url: peer.redis.url })
    const archive = storage.openArchive<number>(HOST, 'archive')
    const ids: string[] = []
    for (let i = 0; i < 5; i++) ids.push(await archive.append('juliet', i, i, 'nurse'))
    const entries = (await keys()).find((key) => key.includes(':archive:juliet@'))!
    await peer.redis.cli('hdel', entries, ids[0]!, ids[1]!)
    expect(await archive.find('juliet', {}, 2)).toEqual({ entries: [], last: ids[1], more: true })
    const next = await archive.find('juliet', { after: ids[1] }, 2)
    expect([next.entries.map(({ value }) => value), next.last]).toEqual([[2, 3], ids[3]])
    await peer.redis.cli('del', entries)
    const lost = { entries: [], last: ids[3], more: true }
    expect(await archive.find('juliet', { with: 'nurse' }, 2, true)).toEqual(lost)
  })

  it('reads no more than some entries of an archive at once to remove them', async () => {
    const storage = await open({ url: peer.redis.url })
    const archive = storage.openArchive<number>(HOST, 'archive')
    await Promise.all(Array.from({ length: 120 }, (_, i) => archive.append('juliet', i, i, 'nurse')))
    await peer.redis.cli('config', 'resetstat')
    expect(await archive.delete('juliet', {})).toBe(120)
    expect((await calls())['hmget']).toBe(3)
  })

  it('leaves nothing of a user who is purged, and of values that are removed', async () => {
    const storage = await open({ url: peer.redis.url })
    const keyval = storage.openKeyval<number>(HOST, 'test')
    const map = storage.openMap<number>(HOST, 'test')
    for (const user of ['juliet', 'romeo']) {
      await keyval.set(user, 1)
      await map.setKeys(user, { a: 1, b: 2 })
    }
    await keyval.set('romeo', undefined)
    await map.setKeys('romeo', { a: undefined, b: undefined })
    await storage.purgeUser(HOST, 'juliet')
    expect(await keys()).toEqual([])
  })

  it('a purge that meets writes of another process takes all or leaves them whole', async () => {
    const [mine, other] = [await open({ url: peer.redis.url }), await open({ url: peer.redis.url })]
    const writing = Array.from({ length: 60 }, (_, i) =>
      i % 2 === 0
        ? other.openMap<number>(HOST, `m${i}`).setKeys('juliet', { a: i, b: i })
        : other.openKeyval<number>(HOST, `k${i}`).set('juliet', i),
    )
    const purges = Promise.all(Array.from({ length: 5 }, () => mine.purgeUser(HOST, 'juliet')))
    await Promise.all([...writing, purges])
    await mine.purgeUser(HOST, 'juliet')
    expect(await keys()).toEqual([])
  })

  it('updates with nobody in between, over two processes', async () => {
    const storages = [await open({ url: peer.redis.url }), await open({ url: peer.redis.url })]
    await Promise.all(
      storages.map(async (storage) => {
        const store = storage.openKeyval<number>(HOST, 'test')
        for (let i = 0; i < 150; i++) await store.update('juliet', (old = 0) => old + 1)
      }),
    )
    expect(await storages[0]!.openKeyval<number>(HOST, 'test').get('juliet')).toBe(300)
  })

  it('brings its scripts again where Redis has forgotten them', async () => {
    const storage = await open({ url: peer.redis.url })
    const store = storage.openKeyval<number>(HOST, 'test')
    await store.set('juliet', 1)
    await peer.redis.cli('script', 'flush')
    await store.set('juliet', 2)
    expect(await store.get('juliet')).toBe(2)
  })

  it('says when the memory of Redis is full, and that a user may not write', async () => {
    const storage = await open({ url: peer.redis.url })
    const store = storage.openKeyval<number>(HOST, 'test')
    await store.set('juliet', 1)
    await peer.redis.cli('config', 'set', 'maxmemory', '1')
    await expect(store.set('juliet', 2)).rejects.toMatchObject({ code: 'disk-full' })
    await peer.redis.cli('config', 'set', 'maxmemory', '0')
    await peer.redis.cli('acl', 'setuser', 'reader', 'on', '>pw', '~*', '+@read', '+@connection', '+info')
    const reader = await open({ url: peer.redis.url, username: 'reader', password: 'pw' })
    const read = reader.openKeyval<number>(HOST, 'test')
    expect(await read.get('juliet')).toBe(1)
    await expect(read.set('juliet', 2)).rejects.toMatchObject({
      code: 'not-writable',
      message: /redis\.username/,
    })
    expect(await store.get('juliet')).toBe(1)
  })

  it('with a wrong password it stays away, and says why', async () => {
    const { log, lines } = recorder()
    const storage = openRedisStorage(
      redisSettings({ url: peer.redis.url, username: 'nobody', password: 'x' }),
      log,
    )
    opened.push(storage)
    await expect(storage.whenReady(500)).rejects.toMatchObject({ ...UNAVAILABLE, message: /WRONGPASS/ })
    await expect(storage.openKeyval(HOST, 'test').get('juliet')).rejects.toMatchObject(UNAVAILABLE)
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatch(/^warn: Redis is away.*WRONGPASS/)
  })

  it('uses the database and the password of the URL', async () => {
    await peer.redis.cli('acl', 'setuser', 'legate', 'on', '>p:w/d', '~legate:*', '+@all')
    const url = `redis://legate:${encodeURIComponent('p:w/d')}@127.0.0.1:${peer.redis.port}/3`
    const storage = await open({ url })
    await storage.openKeyval(HOST, 'test').set('juliet', 1)
    expect(await keys()).toEqual([])
    expect(await peer.redis.cli('-n', '3', 'dbsize')).toBe('2')
  })

  it('killed and started again under load: what was acknowledged is there, and it comes back by itself', async () => {
    const { log, lines } = recorder()
    const storage = await open({ url: peer.redis.url }, log)
    const store = storage.openKeyval<number>(HOST, 'test')
    const acknowledged = new Map<string, number>()
    let [stopped, refused, slowest] = [false, 0, 0]
    const writers = Array.from({ length: 20 }, async (_, n) => {
      for (let i = 1; !stopped; i++) {
        const user = `user${n}`
        const began = Date.now()
        try {
          // Half of them by update, which must neither be lost nor made twice.
          if (n % 2 === 0) await store.set(user, i)
          else await store.update(user, () => i)
          acknowledged.set(user, i)
        } catch (error) {
          expect(error).toMatchObject(UNAVAILABLE)
          refused++
          await sleep(5)
        }
        slowest = Math.max(slowest, Date.now() - began)
      }
    })
    await until(
      'they write',
      async () => acknowledged.size === 20 && [...acknowledged.values()].every((n) => n > 20),
    )
    await peer.redis.kill()
    await until('writes are refused', async () => refused > 20)
    const before = new Map(acknowledged)
    await peer.redis.start()
    await until('they write again', async () =>
      [...acknowledged].every(([user, count]) => count > before.get(user)!),
    )
    stopped = true
    await Promise.all(writers)
    for (const [user, count] of acknowledged) expect(await store.get(user)).toBeGreaterThanOrEqual(count)
    expect(slowest).toBeLessThan(COMMAND_MS + SLACK_MS)
    expect(lines.map((line) => line.split(/[;(]/)[0])).toEqual(['warn: Redis is away', 'info: Redis is back'])
  })

  it('an update whose answer is lost is not made twice', async () => {
    const store = (await open({ url: peer.redis.url })).openKeyval<number>(HOST, 'test')
    let [acknowledged, unknown] = [0, 0]
    let stopped = false
    const writer = (async () => {
      while (!stopped) {
        await store
          .update('juliet', (old = 0) => old + 1)
          .then(
            () => acknowledged++,
            async () => {
              unknown++
              await sleep(10)
            },
          )
      }
    })()
    for (let round = 1; round <= 3; round++) {
      const had = acknowledged
      await until('it writes', async () => acknowledged > had + 20)
      await peer.redis.cli('client', 'kill', 'type', 'normal', 'skipme', 'yes')
      await until('one was refused', async () => unknown >= round)
    }
    stopped = true
    await writer
    await until('it can be read', async () => (await store.get('juliet')) !== undefined)
    const made = (await store.get('juliet'))!
    expect(made).toBeGreaterThanOrEqual(acknowledged)
    expect(made).toBeLessThanOrEqual(acknowledged + unknown)
  })

  it('stopped for seconds: nothing hangs, what is refused is refused soon, and all comes back', async () => {
    const { log, lines } = recorder()
    const store = (await open({ url: peer.redis.url }, log)).openKeyval<number>(HOST, 'test')
    await store.set('juliet', 0)
    peer.redis.pause()
    try {
      const began = Date.now()
      const first = [store.get('juliet'), store.set('juliet', 1), store.update('romeo', () => 1)]
      for (const result of await Promise.allSettled(first)) {
        expect(result).toMatchObject({ status: 'rejected', reason: UNAVAILABLE })
      }
      expect(Date.now() - began).toBeLessThan(COMMAND_MS + SLACK_MS)
      const again = Date.now()
      for (let i = 0; i < 100; i++) await expect(store.set('juliet', 1)).rejects.toMatchObject(UNAVAILABLE)
      expect(Date.now() - again).toBeLessThan(1000)
    } finally {
      peer.redis.goOn()
    }
    await until('it writes', () => store.set('juliet', 2).then(() => true))
    await sleep(300)
    expect(await store.get('juliet')).toBe(2)
    expect(lines.map((line) => line.split(/[;(]/)[0])).toEqual(['warn: Redis is away', 'info: Redis is back'])
  })

  it('advises on a Redis that forgets, and says nothing of one that does not', async () => {
    const first = recorder()
    await open({ url: peer.redis.url }, first.log)
    expect(first.lines).toEqual([])
    await peer.redis.cli('config', 'set', 'appendonly', 'no', 'maxmemory-policy', 'allkeys-lru')
    const second = recorder()
    await open({ url: peer.redis.url }, second.log)
    await until('it is told', async () => second.lines.length === 2)
    await peer.redis.cli('config', 'set', 'appendonly', 'yes', 'maxmemory-policy', 'noeviction')
    expect(second.lines[0]).toMatch(/appendonly yes/)
    expect(second.lines[1]).toMatch(/noeviction/)
  })
})

/** Passes connections on; what one sends can be held back, and set free when others have passed it by. */
class Detour {
  readonly server: Server
  private readonly sockets: Socket[] = []
  private held: { to: Socket; data: Buffer }[] | undefined

  constructor(target: number) {
    this.server = createServer((near) => {
      const far = connect(target, '127.0.0.1')
      this.sockets.push(near, far)
      const held = () => (this.held !== undefined && this.old.has(near) ? this.held : undefined)
      near.on('data', (data: Buffer) => {
        const waiting = held()
        if (waiting === undefined) far.write(data)
        else waiting.push({ to: far, data })
      })
      far.on('data', (data: Buffer) => near.write(data))
      // A network that is cut does not tell the one side that the other has gone.
      near.on('close', () => held() === undefined && far.destroy())
      far.on('close', () => near.destroy())
      for (const socket of [near, far]) socket.on('error', () => {})
    })
  }

  private readonly old = new Set<Socket>()

  get port(): number {
    return (this.server.address() as { port: number }).port
  }

  /** From now on, what the connections that there are send does not arrive. */
  hold(): void {
    this.held = []
    for (const socket of this.sockets) this.old.add(socket)
  }

  /** What was held back arrives. @returns how much that was, in bytes */
  release(): number {
    let bytes = 0
    for (const { to, data } of this.held ?? []) {
      bytes += data.length
      to.write(data)
    }
    return bytes
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy()
    this.server.close()
  }
}

describePeer('a network between', redisAvailable(), () => {
  let peer: SingleRedis
  let proxy: Detour

  beforeAll(async () => {
    peer = await startRedis()
    proxy = new Detour(peer.redis.port)
    proxy.server.listen(0, '127.0.0.1')
    await once(proxy.server, 'listening')
  })
  afterAll(async () => {
    proxy.close()
    await peer.stop()
  })

  it('a write that was given up and arrives late does not undo one that was acknowledged after it', async () => {
    const store = (await open({ url: `redis://127.0.0.1:${proxy.port}` })).openKeyval<string>(HOST, 'test')
    await store.set('juliet', 'first')
    proxy.hold()
    await expect(store.set('juliet', 'given up')).rejects.toMatchObject({
      ...UNAVAILABLE,
      message: /Whether the change was made is not known/,
    })
    await until('it writes', () => store.set('juliet', 'acknowledged').then(() => true))
    expect(proxy.release()).toBeGreaterThan(0)
    await sleep(300)
    expect(await store.get('juliet')).toBe('acknowledged')
  })
})
