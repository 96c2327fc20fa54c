/** The accounts of a host over all that the storage has of their names. */

import type { StorageDriver } from '../storage/index.ts'
import { Users } from './users.ts'

/** The keyval store where accounts are marked that an import is at. Of the storage of `accounts`. */
export const MARKS = 'accounts_import'

/**
 * @param iterations - of PBKDF2 for new passwords
 * @throws StorageError, RangeError
 */
export function openUsers(
  storage: Pick<StorageDriver, 'openKeyval' | 'openMap' | 'purgeUser'>,
  host: string,
  iterations: number,
): Users {
  return new Users(storage.openKeyval(host, 'accounts'), {
    iterations,
    missingKeys: storage.openMap(host, 'accounts'),
    remains: {
      marks: storage.openKeyval(host, MARKS),
      purge: (username) => storage.purgeUser(host, username, 'accounts', MARKS),
    },
  })
}
