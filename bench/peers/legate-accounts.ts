// Accounts of Legate's, made quickly.
import { type AccountRecord, Users } from '../../server/auth/users.ts'
import type { StorageDriver } from '../../server/storage/index.ts'
import type { BenchAccount } from './peer.ts'

/**
 * Makes accounts. The first of each password is made as `legate register` makes it; the others are given its record,
 * since to derive keys for each of hundreds would take seconds, and a process for each minutes.
 */
export async function makeAccounts(storage: StorageDriver, accounts: readonly BenchAccount[]): Promise<void> {
  const records = new Map<string, AccountRecord>()
  const writes: Promise<void>[] = []
  for (const { user, host, password } of accounts) {
    const store = storage.openKeyval<AccountRecord>(host, 'accounts')
    const record = records.get(password)
    if (record !== undefined) {
      writes.push(store.set(user, record))
      continue
    }
    await new Users(store).create(user, password)
    records.set(password, (await store.get(user))!)
  }
  await Promise.all(writes)
}
