// Commands where the storage is Redis, and what legate check says of the option redis.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { login } from '../shared/client.ts'
import { ON_FREE_PORTS } from '../shared/legate-command.ts'
import { legateFolders } from '../shared/legate-folders.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'

const HOST = 'VirtualHost "localhost"\n'
const folderWith = legateFolders()

describePeer('accounts in Redis', redisAvailable(), () => {
  let peer: SingleRedis

  beforeAll(async () => {
    peer = await startRedis({ requirepass: 'sesame' })
  })
  afterAll(() => peer.stop())

  const configured = () => {
    const redis = `storage = "redis"\nredis = { url = "${peer.redis.url}", password = FileLine("redis.password") }\n`
    const folder = folderWith(ON_FREE_PORTS + redis + HOST)
    folder.write('redis.password', 'sesame\n')
    return folder
  }

  it('are added, changed and deleted, with and without a server that runs', async () => {
    const folder = configured()
    expect(await folder.run(['register', 'juliet', 'localhost', 'pw'])).toMatchObject({
      code: 0,
      stdout: 'juliet@localhost is added.\n',
      stderr: '',
    })
    expect(await folder.run(['register', 'juliet', 'localhost', 'pw'])).toMatchObject({ code: 1 })
    expect(await folder.run(['check'])).toMatchObject({ stdout: /0 errors|no problem|1 host/ })
    const server = await folder.start()
    const roster = "<query xmlns='jabber:iq:roster'"
    const juliet = await login(server.c2sPort, 'juliet@localhost/a')
    await juliet.ask(`<iq type='set' id='1'>${roster}><item jid='romeo@localhost'/></query></iq>`)
    expect(await folder.run(['passwd', 'juliet@localhost'], 'other\n')).toMatchObject({ code: 0, stderr: '' })
    await (await login(server.c2sPort, 'juliet@localhost/b', { password: 'other' })).close()
    expect(await folder.run(['deluser', 'juliet@localhost'])).toMatchObject({ code: 0, stderr: '' })
    await juliet.closed()
    await expect(login(server.c2sPort, 'juliet@localhost/a', { password: 'other' })).rejects.toThrow(
      /not-authorized/,
    )
    expect(await server.stop()).toMatchObject({ code: 0 })
    const left = await peer.redis.cli('--no-auth-warning', '-a', 'sesame', 'keys', '*juliet*')
    expect(left).toBe('')
  })

  it('while Redis is away, a command says so and ends', async () => {
    const folder = configured()
    folder.write('redis.password', 'wrong\n')
    const outcome = await folder.run(['register', 'romeo', 'localhost', 'pw'])
    expect(outcome).toMatchObject({ code: 1, stdout: '' })
    expect(outcome.stderr).toMatch(/^legate: Redis \(127\.0\.0\.1:\d+\) can not be reached: WRONGPASS/)
    expect(outcome.stderr).not.toContain('wrong\n')
  })
})

describe('legate check', () => {
  it.each([
    [
      'nothing',
      'storage = "redis"',
      /prosody\.cfg\.lua:1: the storage "redis" needs to know where Redis is: add redis = \{ url = /,
    ],
    [
      'an unknown key',
      'redis = { url = "redis://a", sentinal = {} }',
      /prosody\.cfg\.lua:1: redis has the unknown key "sentinal"; it may have url, sentinels,/,
    ],
    [
      'a file that is not there',
      'redis = { url = "rediss://a", tls = { cafile = "ca.crt" } }',
      /redis\.tls\.cafile: .*ca\.crt can not be read: ENOENT/,
    ],
    [
      'a password file that is not there',
      'redis = { url = "redis://a", password = FileLine("none") }',
      /redis: FileLine "none" cannot be read: there is no such file/,
    ],
  ])('tells of a mistake: %s', async (_, option, message) => {
    const { code, stdout } = await folderWith(`${option}\n${HOST}`).run(['check'])
    expect(stdout).toMatch(message)
    expect(code).toBe(1)
  })
})
