/** Runs tests of servers with each storage that what they keep may be in. */

import { afterAll, beforeAll, describe } from 'vitest'
import type { ServerOptions } from '../../server/config/index.ts'
import { STORAGE_KINDS, type StorageKind } from '../../server/storage/types.ts'
import { redisAvailable, type SingleRedis, startRedis } from './peers/redis.ts'
import { describePeer } from './require.ts'
import { setUsualStorage, storageInMemory } from './server.ts'

export const ALL_STORAGES = STORAGE_KINDS

let redis: Promise<SingleRedis> | undefined
let isToBeStopped = false

/**
 * `describe`, once for memory and once for Redis: servers that `startServer` starts in it without an option `storage`
 * keep there what they keep, and those of one `data_path` the same. There is one Redis for all tests of a file.
 *
 * @param tests - with options for those that restart a server: in place of memory, LMDB
 */
export function describeStored(title: string, tests: (lasting: ServerOptions) => void): void {
  describeStoredIn(['memory', 'redis'], title, tests)
}

/** As `describeStored`, with other storages. */
export function describeStoredIn(
  kinds: readonly StorageKind[],
  title: string,
  tests: (lasting: ServerOptions) => void,
): void {
  for (const kind of kinds) {
    if (kind === 'redis') describeRedis(title, tests)
    else {
      describe(kind === 'memory' ? title : `${title} (LMDB)`, () => {
        useStorage(async () => () => ({ storage: kind }))
        tests({ storage: 'internal' })
      })
    }
  }
}

function describeRedis(title: string, tests: (lasting: ServerOptions) => void): void {
  if (!isToBeStopped) afterAll(async () => (await redis)?.stop())
  isToBeStopped = true
  describePeer(`${title} (Redis)`, redisAvailable(), () => {
    useStorage(async () => {
      redis ??= startRedis({ appendonly: 'yes', appendfsync: 'always' })
      const url = `unix://${(await redis).redis.socket}`
      return (prefix) => ({ storage: 'redis', redis: { url, prefix } })
    })
    tests({})
  })
}

function useStorage(prepare: () => Promise<Parameters<typeof setUsualStorage>[0]>): void {
  beforeAll(async () => setUsualStorage(await prepare()))
  afterAll(() => setUsualStorage(storageInMemory))
}
