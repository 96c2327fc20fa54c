/**
 * What accounts that are being deleted had for a roster, until their contacts have been told: whoever deletes one writes
 * it down first, a command without a running server too, and the plugin `roster` tells them.
 */

import type { MapStore, StorageDriver } from '../storage/index.ts'

/** An account that is being deleted, or is gone. */
export interface EndedAccount<R = unknown> {
  /** Of the account, Unix time in seconds: an account of that name that was created later is another one. */
  readonly created: number
  /** As it is stored. */
  readonly roster: R
}

type Stores = Pick<StorageDriver, 'openKeyval' | 'openMap'>

/** By user name: of the host, beside its rosters, as what an account has itself goes with it. */
export function openEndedAccounts<R>(storage: Stores, host: string): MapStore<EndedAccount<R>> {
  return storage.openMap(host, 'roster')
}

/**
 * Writes down what there is to be told at the end of an account: to be called before it is deleted, so that nothing
 * is forgotten if that is all that happens, and after it, since its roster may have changed until then.
 *
 * @param created - of the account
 * @returns whether there is something
 * @throws StorageError (as a rejection)
 */
export async function noteEnd(
  storage: Stores,
  host: string,
  username: string,
  created: number,
): Promise<boolean> {
  const roster = await storage.openKeyval(host, 'roster').get(username)
  if (roster === undefined) return false
  await openEndedAccounts(storage, host).set(null, username, { created, roster })
  return true
}
