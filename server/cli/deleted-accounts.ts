// Ends the sessions of accounts that are no longer in the storage, which the server shares: where `legate deluser`
// could not tell it over the admin channel.

import { endSessions } from '../admin/end-sessions.ts'
import { coreOptions, readOption } from '../config/index.ts'
import type { Server } from '../server.ts'
import { StorageError } from '../storage/index.ts'

/** Seconds between two looks. */
const INTERVAL = 10
/** Accounts that are looked at before others have a turn. */
const AT_ONCE = 200

/**
 * Looks every so often whether the accounts that have sessions are still there.
 *
 * @param seconds - between two looks
 */
export function watchDeletedAccounts(server: Server, seconds = INTERVAL): void {
  let looking = false
  server.timers.every(seconds, () => {
    if (looking) return
    looking = true
    look(server)
      .catch((error) => {
        // It is logged once that it is away, and it is looked again.
        if (error instanceof StorageError && error.code === 'unavailable') return
        server.log.error('accounts could not be looked at', { error })
      })
      .finally(() => {
        looking = false
      })
  })
}

async function look(server: Server): Promise<void> {
  let count = 0
  for (const host of [...server.hosts.values()]) {
    // Where somebody else knows the accounts, not being in our storage says nothing.
    const { authentication } = coreOptions
    const known = readOption(server.config, host.name, 'authentication', authentication)
    if (host.users === undefined || !known.startsWith('internal_')) continue
    for (const { username } of [...host.accounts.values()]) {
      if (!(await host.users.exists(username))) await endSessions(server, host, username, 'deleted').gone
      if (++count % AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve))
    }
  }
}
