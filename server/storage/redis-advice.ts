/** Tells the operator, once, of a Redis that forgets: what is kept in it are accounts, not a cache. */

import type { Logger } from '../log.ts'
import type { RedisConnection } from '../redis/index.ts'

/** Asks how Redis keeps what it has, when it is first there. Where that is not to be asked, nothing is said. */
export function adviseOnPersistence(connection: RedisConnection, log: Logger): void {
  const stop = connection.onState((state) => {
    if (state !== 'ready') return
    stop()
    Promise.all([setting(connection, 'appendonly'), setting(connection, 'maxmemory-policy')]).then(
      ([appendonly, policy]) => {
        if (appendonly === 'no') {
          log.warn(
            'Redis keeps no append-only file: what was acknowledged is lost when it ends. Set in redis.conf: ' +
              'appendonly yes, appendfsync always',
          )
        }
        if (policy?.startsWith('allkeys-')) {
          log.warn(
            'Redis throws keys away when its memory is full, and so accounts. Set in redis.conf: maxmemory-policy noeviction',
            { policy },
          )
        }
      },
      () => {},
    )
  })
}

async function setting(connection: RedisConnection, name: string): Promise<string | undefined> {
  const answer: unknown = await connection.client.call('config', 'GET', name)
  return Array.isArray(answer) ? String(answer[1]) : undefined
}
