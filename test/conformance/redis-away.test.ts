/** A server whose storage is Redis, while Redis is away: errors that say to wait, and all comes back by itself. */

import { readFile } from 'node:fs/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { login } from '../shared/client.ts'
import { redisAvailable, type SingleRedis, startRedis, until } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const ROSTER = "<query xmlns='jabber:iq:roster'"

describePeer('storage = "redis"', redisAvailable(), () => {
  let peer: SingleRedis
  let test: TestServer

  beforeEach(async () => {
    peer = await startRedis({ appendonly: 'yes', appendfsync: 'always' })
    test = await startServer(
      {
        storage: 'redis',
        redis: { url: peer.redis.url, prefix: 'legate:test' },
        virtualHosts: { 'capulet.lit': {} },
      },
      ['juliet@capulet.lit', 'romeo@capulet.lit', 'nurse@capulet.lit'],
    )
  })

  afterEach(async () => {
    await test.stop()
    await peer.stop()
  })

  const addContact = (id: string, jid: string) =>
    `<iq type='set' id='${id}'>${ROSTER}><item jid='${jid}'/></query></iq>`
  const enter = (jid: string) => login(test.c2sPort, jid)

  it('serves accounts and rosters as any other storage', async () => {
    const juliet = await enter('juliet@capulet.lit/balcony')
    expect((await juliet.ask(addContact('1', 'romeo@capulet.lit'))).attrs.type).toBe('result')
    expect(String(await juliet.ask(`<iq type='get' id='2'>${ROSTER}/></iq>`))).toContain('romeo@capulet.lit')
    await juliet.close()
    expect(await peer.redis.cli('keys', '*user:juliet@capulet.lit')).toMatch(/^legate:test:\{/)
  })

  it.each([
    ['is killed', (): Promise<void> => peer.redis.kill(), (): Promise<void> => peer.redis.start()],
    ['is stopped', async () => peer.redis.pause(), async () => peer.redis.goOn()],
  ])(
    'Redis %s: logins and stanzas that need it are told to wait, and are served when it is back',
    async (_, take, give) => {
      const juliet = await enter('juliet@capulet.lit/balcony')
      const nurse = await enter('nurse@capulet.lit/hall')
      await take()
      // RFC 6120 §6.5.10
      await expect(enter('romeo@capulet.lit/orchard')).rejects.toThrow(/temporary-auth-failure/)
      const refused = await juliet.ask(addContact('3', 'romeo@capulet.lit'))
      expect(refused.attrs.type).toBe('error')
      // RFC 6120 §8.3.2: what was sent may be sent again.
      expect(refused.getChild('error')?.attrs['type']).toBe('wait')
      expect(refused.getChild('error')?.getChild('resource-constraint')).toBeDefined()
      // What needs no storage goes on.
      juliet.send("<message to='nurse@capulet.lit/hall' id='m'><body>what man art thou</body></message>")
      expect(String(await nurse.withId('m'))).toContain('what man art thou')
      await give()
      await test.logged('Redis is back')
      expect((await juliet.ask(addContact('4', 'romeo@capulet.lit'))).attrs.type).toBe('result')
      await (await enter('romeo@capulet.lit/orchard')).close()
      await juliet.close()
      await nurse.close()
      expect(test.log.filter((line) => line.includes('Redis is away'))).toHaveLength(1)
      expect(test.log.filter((line) => line.includes('Redis is back'))).toHaveLength(1)
      expect(test.log.filter((line) => !line.startsWith(' ') && /\berror\b/.test(line.slice(0, 60)))).toEqual(
        [],
      )
    },
  )

  it('starts while Redis is away, and serves when it is there', async () => {
    await peer.redis.kill()
    const late = await startServer({
      storage: 'redis',
      redis: { url: peer.redis.url, prefix: 'legate:test' },
      virtualHosts: { 'capulet.lit': {} },
    })
    try {
      await expect(login(late.c2sPort, 'romeo@capulet.lit/orchard')).rejects.toThrow(/temporary-auth-failure/)
      await peer.redis.start()
      await late.logged('Redis is back')
      await (await login(late.c2sPort, 'romeo@capulet.lit/orchard')).close()
    } finally {
      await late.stop()
    }
  })

  it('what an account has stored is in the append-only file', async () => {
    const juliet = await enter('juliet@capulet.lit/balcony')
    await juliet.ask(addContact('5', 'mercutio@capulet.lit'))
    const folder = (await peer.redis.cli('config', 'get', 'dir')).split('\n')[1]!
    const file = `${folder}/appendonlydir/appendonly.aof.1.incr.aof`
    await until('it is there', async () => (await readFile(file, 'utf8')).includes('mercutio@capulet.lit'))
    await juliet.close()
  })
})
