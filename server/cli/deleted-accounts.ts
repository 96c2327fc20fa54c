// Ends the sessions of accounts that `legate deluser` has taken out of the storage, which the server shares.

import { coreOptions, readOption } from '../config/index.ts'
import type { AccountSessions, Host } from '../host.ts'
import type { Server } from '../server.ts'
import { StreamError } from '../stream/errors.ts'

/** Seconds between two looks. */
const INTERVAL = 10
/** Milliseconds that a client has to end its stream. */
const GRACE = 6000
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
      .catch((error) => server.log.error('accounts could not be looked at', { error }))
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
    for (const account of [...host.accounts.values()]) {
      if (!(await host.users.exists(account.username))) await endAccount(server, host, account)
      if (++count % AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

async function endAccount(
  server: Server,
  host: Host,
  { username, sessions }: AccountSessions,
): Promise<void> {
  const open = [...sessions.values()]
  host.log.info('an account was deleted, its sessions end', { account: username, sessions: open.length })
  for (const session of open) session.close(new StreamError('not-authorized', 'The account was deleted'))
  await Promise.all(open.map(({ connection }) => connection.whenGone(GRACE)))
  // What the sessions stored after the deletion must not be found by a new account of that name.
  if (!(await host.users!.exists(username))) await server.storage.purgeUser(host.name, username)
}
