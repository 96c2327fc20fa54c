/** Messages that have been in the archive for long enough are removed (`archive_expires_after`). */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Module } from '../../server/index.ts'
import type { MessageArchive } from './answers.ts'

/** Seconds after the plugin was loaded: where it is restarted every day, an interval of a day is never over. */
const FIRST = 60

type ExpiryModule = Pick<Module, 'log' | 'after' | 'every'> & {
  readonly options: { readonly archive_expires_after: number; readonly archive_cleanup_interval: number }
}

/** Looks for messages that have expired now and then, and soon for the first time. */
export function removeExpired(module: ExpiryModule, archive: MessageArchive): void {
  const { archive_cleanup_interval: interval } = module.options
  let isAtWork = false
  const look = async () => {
    if (isAtWork) return
    isAtWork = true
    try {
      await purge(module, archive)
    } finally {
      isAtWork = false
    }
  }
  if (interval > FIRST && Number.isFinite(interval)) module.after(FIRST, look)
  module.every(interval, look)
}

/** Removes what has expired, one account after the other. */
async function purge(module: ExpiryModule, archive: MessageArchive): Promise<void> {
  const seconds = module.options.archive_expires_after
  if (!Number.isFinite(seconds)) return
  const end = Date.now() - seconds * 1000
  let removed = 0
  let failed = 0
  let reason: unknown
  for await (const username of archive.users()) {
    try {
      removed += await archive.delete(username, { end })
    } catch (error) {
      // The server has stopped.
      if ((error as { code?: unknown }).code === 'closed') return
      // One archive that can not be read keeps no other one from being looked at.
      failed++
      reason ??= error
    }
    // Everybody else has a turn: the storage may answer at once.
    await nextTurn()
  }
  module.log.debug('messages that have expired were removed from the archive', { removed })
  if (failed > 0) {
    module.log.warn('messages that have expired are still in some archives', {
      accounts: failed,
      error: reason,
    })
  }
}
