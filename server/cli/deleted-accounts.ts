// Ends the sessions of accounts that are no longer in the storage, which the server shares, or are disabled there:
// where `legate deluser` could not tell it over the admin channel, or another process did not hear of it.

import { endSessions } from '../admin/end-sessions.ts'
import { coreOptions, readOption } from '../config/index.ts'
import type { Host } from '../host.ts'
import type { Server } from '../server.ts'
import { StorageError } from '../storage/index.ts'

/** Seconds between two looks. */
const INTERVAL = 10
/** Accounts that are looked at each time: with more of them a round takes several. */
const AT_ONCE = 200

/**
 * Looks every so often whether the accounts that have sessions are still there, and not disabled.
 *
 * @param seconds - between two looks
 */
export function watchDeletedAccounts(server: Server, seconds = INTERVAL): void {
  let looking = false
  let round = accountsOf(server)
  const look = async (): Promise<void> => {
    for (let count = 0; count < AT_ONCE; count++) {
      const next = round.next()
      if (next.done === true) {
        round = accountsOf(server)
        return
      }
      const { host, username } = next.value
      const account = await host.users!.read(username)
      if (account !== undefined && account.disabled === undefined) continue
      const reason = account === undefined ? 'deleted' : 'disabled'
      await endSessions(server, host, username, reason).gone
    }
  }
  server.timers.every(seconds, () => {
    if (looking) return
    looking = true
    look()
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

/** The accounts that have sessions, one after the other. */
function* accountsOf(server: Server): Generator<{ host: Host; username: string }, void> {
  for (const host of [...server.hosts.values()]) {
    // Where somebody else knows the accounts, not being in our storage says nothing.
    const { authentication } = coreOptions
    const known = readOption(server.config, host.name, 'authentication', authentication)
    if (host.users === undefined || !known.startsWith('internal_')) continue
    for (const { username } of [...host.accounts.values()]) {
      // It may be long ago that the round began.
      if (host.accounts.has(username)) yield { host, username }
    }
  }
}
