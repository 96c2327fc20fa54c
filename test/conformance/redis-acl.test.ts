/** What the documents say that a user of Redis needs is enough, and is what they say (docs/*-keys.md). */

import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { login } from '../shared/client.ts'
import { redisAvailable, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'

const PREFIX = 'test'
const HOST = 'capulet.lit'
const SM = 'urn:xmpp:sm:3'

/** The rules in the first passage of a document that grants keys. */
function rulesOf(document: string, begin: string): string[] {
  const text = readFileSync(new URL(`../../docs/${document}`, import.meta.url), 'utf8')
  const at = text.indexOf(`\`${begin}`)
  expect(at, document).toBeGreaterThan(0)
  return text
    .slice(at + 1, text.indexOf('`', at + 1))
    .replaceAll('P:', `${PREFIX}:`)
    .split(' ')
}

describePeer('a user of Redis with few rights', redisAvailable(), () => {
  it.each([
    ['for the storage', ['~P:*'], false],
    ['for the storage and several processes', ['~P:*', '~{P:cluster}:*'], true],
  ])('%s', async (_, begins, clusters) => {
    const peer = await startRedis()
    const servers: TestServer[] = []
    try {
      const rules = rulesOf('redis-keys.md', begins[0]!)
      if (clusters) rules.push(...rulesOf('cluster-keys.md', begins[1]!))
      await peer.redis.cli('ACL', 'SETUSER', 'legate', 'on', '>pw', 'resetkeys', '-@all', ...rules)
      const url = `redis://legate:pw@127.0.0.1:${peer.redis.port}`
      for (let number = 0; number < (clusters ? 2 : 1); number++) {
        servers.push(
          await startServer(
            {
              modules_enabled: [...USUAL_PLUGINS, 'mam', 'offline', 'carbons', 'blocklist', 'smacks'],
              default_archive_policy: true,
              storage: 'redis',
              redis: { url, prefix: PREFIX },
              ...(clusters ? { cluster: { name: `process ${number}` } } : {}),
              virtualHosts: { [HOST]: {} },
            },
            number > 0 ? [] : [`juliet@${HOST}`, `romeo@${HOST}`],
          ),
        )
      }
      const juliet = await login(servers[0]!.c2sPort, `juliet@${HOST}/balcony`)
      juliet.send(`<message type='chat' to='romeo@${HOST}' id='offline'><body>o</body></message>`)
      await juliet.settled()
      const romeo = await login(servers.at(-1)!.c2sPort, `romeo@${HOST}/orchard`)
      expect((await romeo.withId('offline')).getChildText('body')).toBe('o')
      juliet.send(`<presence type='subscribe' to='romeo@${HOST}'/>`)
      await romeo.next(({ attrs }) => attrs.type === 'subscribe')
      romeo.send(`<presence type='subscribed' to='juliet@${HOST}'/>`)
      await juliet.next(({ attrs }) => attrs.type === 'subscribed')
      await juliet.ask(
        `<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='a.b'/></block></iq>`,
      )
      await juliet.ask(`<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>`)
      const page = await romeo.ask(`<iq type='set' id='m'><query xmlns='urn:xmpp:mam:2'/></iq>`)
      expect(page.getChild('fin', 'urn:xmpp:mam:2')?.attrs.complete).toBe('true')
      // Ends, and is remembered: the same resource is bound by another session.
      romeo.send(`<enable xmlns='${SM}' resume='true'/>`)
      await romeo.named('enabled')
      const again = await login(servers[0]!.c2sPort, `romeo@${HOST}/orchard`)
      await again.close()
      await juliet.close()
      for (const server of servers.splice(0)) await server.stop()
      const lines = (await peer.redis.cli('ACL', 'LOG')).split('\n')
      const denied = lines.filter((_, at) => lines[at - 1] === 'object')
      // It is only asked so that it can be warned of; the document says that it may be left out.
      expect(denied.filter((command) => command !== 'config|get')).toEqual([])
    } finally {
      for (const server of servers) await server.stop()
      await peer.stop()
    }
  })
})
