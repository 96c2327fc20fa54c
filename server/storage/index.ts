/** Storage: opens the driver that the option `storage` names. */

import { type Logger, silentLogger } from '../log.ts'
import type { RedisSettings } from '../redis/index.ts'
import { openLmdbStorage } from './lmdb.ts'
import { openMemoryStorage } from './memory.ts'
import { openRedisStorage } from './redis.ts'
import { type StorageDriver, StorageError, type StorageKind } from './types.ts'

export type {
  ArchiveEntry,
  ArchivePage,
  ArchiveQuery,
  ArchiveStore,
  KeyvalStore,
  MapStore,
  StorageDriver,
  StorageErrorCode,
  StorageKind,
} from './types.ts'
export { StorageError } from './types.ts'

/** What drivers are opened with. */
export interface StorageOptions {
  /** The data folder of `internal`; it is made if it is missing. */
  readonly path: string
  /** Where `redis` is. */
  readonly redis?: RedisSettings | undefined
  /** Where `redis` tells of its connection; nowhere if absent. */
  readonly log?: Logger | undefined
}

/**
 * @param kind `internal` keeps everything in one LMDB file of the data folder; `memory` forgets it at the end;
 *   `redis` keeps it in Redis, and need not be there yet
 * @throws StorageError if the data folder can not be used, or `redis` is not configured; its message tells why
 */
export function openStorage(kind: StorageKind, options: StorageOptions): StorageDriver {
  switch (kind) {
    case 'memory':
      return openMemoryStorage()
    case 'internal':
      return openLmdbStorage(options.path)
    case 'redis':
      if (options.redis === undefined) {
        throw new StorageError(
          'failed',
          'storage = "redis" needs the option redis, which says where Redis is: ' +
            'redis = { url = "redis://127.0.0.1:6379" }',
        )
      }
      return openRedisStorage(options.redis, options.log ?? silentLogger)
  }
}
