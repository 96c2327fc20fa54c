/** The connection to Redis: its states, a second one that blocks, TLS, and the rights that it needs. */

import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Cluster, Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { silentLogger } from '../../server/log.ts'
import { makeSelfSigned } from '../../server/net/selfsigned.ts'
import { reconnectPause, SILENCE_MS } from '../../server/redis/connection.ts'
import { RedisConnection, type RedisState } from '../../server/redis/index.ts'
import { openRedisStorage } from '../../server/storage/redis.ts'
import {
  type ClusterRedis,
  redisAvailable,
  type SentinelRedis,
  type SingleRedis,
  startCluster,
  startRedis,
  startSentinels,
  until,
} from '../shared/peers/redis.ts'
import { redisSettings } from '../shared/redis-settings.ts'
import { describePeer } from '../shared/require.ts'

const opened: RedisConnection[] = []

afterEach(async () => {
  for (const connection of opened.splice(0)) await connection.close()
})

function open(option: Record<string, unknown>, purpose = 'test', blocking = 0): RedisConnection {
  const connection = new RedisConnection(redisSettings(option), { purpose, log: silentLogger, blocking })
  opened.push(connection)
  return connection
}

describe('the pause before another attempt', () => {
  it('grows, has a bound, and is not the same for all', () => {
    for (let attempt = 1; attempt < 100; attempt++) {
      const longest = Math.min(50 * 2 ** (attempt - 1), 2000)
      const pause = reconnectPause(attempt)
      expect(pause).toBeGreaterThanOrEqual(longest / 2)
      expect(pause).toBeLessThanOrEqual(longest)
    }
    expect(new Set(Array.from({ length: 50 }, () => reconnectPause(9))).size).toBeGreaterThan(5)
  })
})

describePeer('a connection', redisAvailable(), () => {
  let peer: SingleRedis

  beforeAll(async () => {
    peer = await startRedis()
  })
  afterAll(() => peer.stop())

  it('is connecting, ready, away, ready, closed, and tells of each', async () => {
    const connection = open({ url: peer.redis.url })
    const states: RedisState[] = [connection.state]
    connection.onState((state) => states.push(state))
    expect(await connection.whenReady(5000)).toBe(true)
    expect([connection.reason, connection.awayFor]).toEqual([undefined, 0])
    await peer.redis.kill()
    await until('it is away', async () => connection.state === 'away')
    expect(connection.reason).not.toBe('')
    await expect(connection.client.get('x')).rejects.toThrow(/isn't writeable/)
    expect(await connection.whenReady(100)).toBe(false)
    expect(connection.awayFor).toBeGreaterThanOrEqual(90)
    await peer.redis.start()
    expect(await connection.whenReady(10_000)).toBe(true)
    await connection.close()
    await connection.close()
    expect(states).toEqual(['connecting', 'ready', 'away', 'ready', 'closed'])
    expect(await connection.whenReady(1000)).toBe(false)
    await expect(connection.client.get('x')).rejects.toThrow(/closed|isn't writeable/)
  })

  it('answers are waited for when it is closed', async () => {
    const connection = open({ url: peer.redis.url })
    await connection.whenReady(5000)
    const answers = Promise.all(Array.from({ length: 500 }, (_, i) => connection.client.set(`k${i}`, i)))
    await connection.close()
    expect(await answers).toHaveLength(500)
  })

  it('closing it does not wait for a Redis that is stopped, or was never there', async () => {
    const connection = open({ url: peer.redis.url })
    await connection.whenReady(5000)
    peer.redis.pause()
    try {
      await connection.close()
    } finally {
      peer.redis.goOn()
    }
    await open({ url: 'redis://127.0.0.1:1' }).close()
    await open({ sentinels: { 1: { host: '127.0.0.1', port: 1 }, name: 'x' } }).close()
    await open({ cluster: [{ host: '127.0.0.1', port: 1 }] }).close()
  })

  it.each([
    ['sentinels', { sentinels: { 1: { host: '127.0.0.1', port: 1 }, name: 'x' } }],
    ['a cluster', { cluster: [{ host: '127.0.0.1', port: 1 }] }],
  ])('without %s it is away, and says why', async (_, option) => {
    const connection = open(option)
    await until('it is away', async () => connection.state === 'away')
    expect(connection.reason).toMatch(/ECONNREFUSED|Connection is closed/)
    await expect(connection.client.get('x')).rejects.toThrow()
  })

  it('another one may block for longer than a command may take', async () => {
    const connection = open({ url: peer.redis.url })
    const blocking = open({ url: peer.redis.url }, 'blocks', 3000)
    await Promise.all([connection.whenReady(5000), blocking.whenReady(5000)])
    const waited = blocking.client.blpop('list', 0)
    const reader = blocking.client.status
    expect(reader).toBe('ready')
    await new Promise((resolve) => setTimeout(resolve, SILENCE_MS + 500))
    await connection.client.rpush('list', 'item')
    expect(await waited).toEqual(['list', 'item'])
    expect(await peer.redis.cli('client', 'list')).toMatch(/name=legate-blocks/)
  })

  it('a user with the rights of docs/redis-keys.md can do all', async () => {
    const text = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'redis-keys.md'), 'utf8')
    const rights = /`(~P:\* [^`]+)`/.exec(text)![1]!.replace('~P:', '~legate:').split(' ')
    await peer.redis.cli('acl', 'setuser', 'legate', 'on', '>pw', ...rights)
    const storage = openRedisStorage(
      redisSettings({ url: peer.redis.url, username: 'legate', password: 'pw' }),
      silentLogger,
    )
    try {
      await storage.whenReady(5000)
      const keyval = storage.openKeyval<number>('capulet.lit', 'test')
      const map = storage.openMap<number>('capulet.lit', 'test')
      await keyval.set('juliet', 1)
      await keyval.update('juliet', (old = 0) => old + 1)
      await map.setKeys('juliet', { a: 1, b: undefined })
      expect(await keyval.get('juliet')).toBe(2)
      expect(await map.get('juliet', 'a')).toBe(1)
      expect(await map.getAll('juliet')).toEqual(new Map([['a', 1]]))
      const users: string[] = []
      for await (const user of map.users()) users.push(user)
      expect(users).toEqual(['juliet'])
      await keyval.set('juliet', undefined)
      await storage.purgeUser('capulet.lit', 'juliet')
    } finally {
      await storage.close()
    }
    const refused = await peer.redis.cli('acl', 'log')
    expect([...refused.matchAll(/^object\n(.*)$/gm)].map((match) => match[1])).toEqual(['config|get'])
  })
})

describePeer('a stream to Redis that tells of several errors', redisAvailable(), () => {
  const hosts = (peers: readonly { port: number }[]) => peers.map(({ port }) => ({ host: '127.0.0.1', port }))

  // ioredis listens for the first one only; nobody hearing of another would end the process.
  it.each([
    ['one server', () => startRedis(), ({ redis }: SingleRedis) => ({ url: redis.url })],
    ['a Unix socket', () => startRedis(), ({ redis }: SingleRedis) => ({ url: `unix://${redis.socket}` })],
    [
      "the sentinels' master",
      () => startSentinels(),
      ({ sentinels, name }: SentinelRedis) => ({
        sentinels: { ...Object.fromEntries(hosts(sentinels).entries()), name },
      }),
    ],
    ['a node of a cluster', () => startCluster(), ({ nodes }: ClusterRedis) => ({ cluster: hosts(nodes) })],
  ] as [string, () => Promise<{ stop(): Promise<void> }>, (peer: never) => Record<string, unknown>][])(
    'of %s does not end the process, and the connection comes back',
    async (_, start, optionFor) => {
      const peer = await start()
      try {
        const connection = open(optionFor(peer as never))
        expect(await connection.whenReady(10_000)).toBe(true)
        const { client } = connection
        const clients = client.isCluster ? (client as Cluster).nodes() : [client as Redis]
        // A node of which nothing was wanted yet has none.
        for (const { stream } of clients.filter((one) => one.stream !== undefined)) {
          for (let time = 0; time < 3; time++) stream.emit('error', new Error('it has failed'))
          stream.destroy()
        }
        await until('it answers again', async () => (await client.set('x', '1')) === 'OK')
      } finally {
        await peer.stop()
      }
    },
    30_000,
  )
})

describePeer('TLS', redisAvailable(), () => {
  let peer: SingleRedis
  const folder = mkdtempSync(join(tmpdir(), 'legate-redis-tls-'))
  const file = (name: string) => join(folder, name)

  beforeAll(async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    writeFileSync(file('key.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }))
    writeFileSync(file('cert.pem'), makeSelfSigned('redis.capulet.lit', privateKey))
    peer = await startRedis((port) => ({
      port: '0',
      'tls-port': String(port),
      'tls-key-file': file('key.pem'),
      'tls-cert-file': file('cert.pem'),
      'tls-ca-cert-file': file('cert.pem'),
    }))
  })
  afterAll(async () => {
    await peer.stop()
    rmSync(folder, { recursive: true })
  })

  const url = () => `rediss://127.0.0.1:${peer.redis.port}`
  const tls = () => ({ cafile: file('cert.pem'), servername: 'redis.capulet.lit' })

  it('is used, with a certificate of the client where Redis asks for one', async () => {
    const whole = { ...tls(), key: file('key.pem'), certificate: file('cert.pem') }
    const connection = open({ url: url(), tls: whole })
    expect(await connection.whenReady(5000)).toBe(true)
    expect(await connection.client.set('a', 1)).toBe('OK')
  })

  it('a Redis whose certificate nobody vouches for is not trusted', async () => {
    const connection = open({ url: url() })
    await until('it is away', async () => connection.state === 'away')
    expect(connection.reason).toMatch(/certificate|altnames/)
  })

  it('names the option whose file can not be read', () => {
    expect(() => open({ url: url(), tls: { cafile: file('none.pem') } })).toThrow(
      /redis\.tls\.cafile: .*none\.pem can not be read/,
    )
  })
})
