/** The option `redis`: what it may be, and what is said of mistakes in it. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { checkOptions, formatProblem, loadConfigFile } from '../../server/config/index.ts'
import { allCoreOptions } from '../../server/config/options.ts'
import { redisSettingsOf } from '../../server/server.ts'

const folder = mkdtempSync(join(tmpdir(), 'legate-redis-option-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0

async function configured(option: string) {
  const file = join(folder, `${files++}.cfg.lua`)
  writeFileSync(file, `${option}\nVirtualHost "localhost"\n`)
  return loadConfigFile(file)
}

it.each([
  ['an empty table', 'redis = {}', /redis needs one of url, sentinels and cluster/],
  [
    'two places',
    'redis = { url = "redis://a", cluster = { { host = "b" } } }',
    /redis has url and cluster: only one of/,
  ],
  [
    'a URL of another kind',
    'redis = { url = "http://a" }',
    /redis\.url must be a URL such as "redis:\/\/127\.0\.0\.1:6379\/0"/,
  ],
  ['a URL that is none', 'redis = { url = "127.0.0.1:6379" }', /redis\.url must be a URL such as/],
  [
    'a password twice',
    'redis = { url = "redis://:sesame@a", password = "y" }',
    /redis has a password in url and another as password: keep one/,
  ],
  [
    'a user without a password',
    'redis = { url = "redis://a", username = "u" }',
    /redis needs a password for its username/,
  ],
  [
    'sentinels without a name',
    'redis = { sentinels = { { host = "a" } } }',
    /redis\.sentinels needs the name of the master, as sentinel\.conf has it/,
  ],
  [
    'a sentinel without a host',
    'redis = { sentinels = { { port = 1 }, name = "m" } }',
    /redis\.sentinels\[1\]\.host is missing: it must be a host name or IP address/,
  ],
  [
    'a cluster with a database',
    'redis = { cluster = { { host = "a" } }, db = 1 }',
    /redis\.db must be 0 or absent/,
  ],
  ['a cluster that is no list', 'redis = { cluster = "a" }', /redis\.cluster must be a list of nodes/],
  [
    'a bad port',
    'redis = { cluster = { { host = "a", port = 0 } } }',
    /redis\.cluster\[1\]\.port must be a whole number from 1 to 65535/,
  ],
  [
    'a bad prefix',
    'redis = { url = "redis://a", prefix = "a{b}" }',
    /redis\.prefix must be 1 to 64 letters, digits/,
  ],
  [
    'half a certificate',
    'redis = { url = "rediss://a", tls = { key = "k" } }',
    /redis\.tls needs both key and certificate/,
  ],
  [
    'on a host',
    'VirtualHost "a"\nredis = { url = "redis://a" }',
    /redis holds for the whole server and is not read here/,
  ],
])('a mistake: %s', async (_, option, message) => {
  const problems = checkOptions(await configured(option), allCoreOptions).map(formatProblem)
  expect(problems).toHaveLength(1)
  expect(problems[0]).toMatch(message)
  expect(problems[0]).not.toContain('sesame')
})

it('reads each way to say where Redis is', async () => {
  const read = async (option: string) => redisSettingsOf(await configured(option))
  expect(await read('redis = { url = "unix:///run/redis.sock", wait_replicas = 1 }')).toMatchObject({
    place: { kind: 'socket', path: '/run/redis.sock' },
    prefix: 'legate',
    waitReplicas: 1,
    db: 0,
  })
  expect(await read('redis = { url = "/run/redis.sock", db = 4 }')).toMatchObject({
    place: { kind: 'socket', path: '/run/redis.sock' },
    db: 4,
  })
  expect(await read('redis = { url = "rediss://us%40er:se%2Fsame@[::1]:6380/2" }')).toMatchObject({
    place: { kind: 'single', host: '::1', port: 6380 },
    username: 'us@er',
    password: 'se/same',
    tls: {},
    db: 2,
    directory: folder,
  })
  expect(
    await read(
      'redis = { sentinels = { { host = "a" }, { host = "b", port = 1 }, name = "m" }, sentinel_password = "x", tls = true }',
    ),
  ).toMatchObject({
    place: {
      kind: 'sentinel',
      master: 'm',
      sentinels: [
        { host: 'a', port: 26379 },
        { host: 'b', port: 1 },
      ],
    },
    sentinelPassword: 'x',
    tls: {},
  })
  expect(
    await read(
      'redis = { cluster = { { host = "a" } }, username = "u", password = "sesame", prefix = "x:y" }',
    ),
  ).toMatchObject({
    place: { kind: 'cluster', nodes: [{ host: 'a', port: 6379 }] },
    prefix: 'x:y',
    username: 'u',
    password: 'sesame',
  })
  expect(await read('')).toBeUndefined()
})
