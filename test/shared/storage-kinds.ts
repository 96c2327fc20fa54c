/** Runs the same tests over every storage driver. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe } from 'vitest'
import { silentLogger } from '../../server/log.ts'
import { openStorage, type StorageDriver } from '../../server/storage/index.ts'
import { openRedisStorage } from '../../server/storage/redis.ts'
import { redisAvailable, type SingleRedis, startRedis } from './peers/redis.ts'
import { redisSettings } from './redis-settings.ts'
import { describePeer } from './require.ts'

/** @param behaves - the tests; `open` gives an empty storage each time */
export function describeStorages(
  title: string,
  behaves: (kind: string, open: () => Promise<StorageDriver>) => void,
): void {
  describe.each(['internal', 'memory'] as const)(`${title} %s`, (kind) => {
    let folder: string

    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), 'legate-storage-'))
    })

    afterEach(() => rm(folder, { recursive: true }))

    behaves(kind, async () => openStorage(kind, { path: join(folder, 'deep', 'data.d') }))
  })

  describePeer(`${title} redis`, redisAvailable(), () => {
    let peer: SingleRedis
    let tests = 0

    beforeAll(async () => {
      peer = await startRedis()
    })

    afterAll(() => peer.stop())

    behaves('redis', async () => {
      const settings = redisSettings({ url: `unix://${peer.redis.socket}`, prefix: `test${tests++}` })
      const storage = openRedisStorage(settings, silentLogger)
      await storage.whenReady(5000)
      return storage
    })
  })
}
