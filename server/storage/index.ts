/** Storage: opens the driver that the option `storage` names. */

import { openLmdbStorage } from './lmdb.ts'
import { openMemoryStorage } from './memory.ts'
import type { StorageDriver } from './types.ts'

export type { KeyvalStore, MapStore, StorageDriver, StorageErrorCode } from './types.ts'
export { StorageError } from './types.ts'

/**
 * @param kind `internal` keeps everything in one LMDB file of the data folder; `memory` forgets it at the end
 * @param options.path the data folder; it is made if it is missing (`memory` does not use it)
 * @throws StorageError if the data folder can not be used; its message tells why
 */
export function openStorage(kind: 'internal' | 'memory', options: { path: string }): StorageDriver {
  return kind === 'memory' ? openMemoryStorage() : openLmdbStorage(options.path)
}
