/** Ends the sessions of an account that was deleted or disabled, or whose password is another now. */

import type { Host } from '../host.ts'
import type { Server } from '../server.ts'
import { StreamError } from '../stream/errors.ts'
import type { StreamSession } from '../stream/session.ts'

/** Milliseconds that a client has to end its stream. */
const GRACE = 6000

const REASONS = {
  disabled: { told: 'The account is disabled', logged: 'an account was disabled, its sessions end' },
  deleted: { told: 'The account was deleted', logged: 'an account was deleted, its sessions end' },
  password: {
    told: 'The password was changed',
    logged: 'a password was changed, the account’s sessions end',
  },
} as const

const EVENTS = {
  disabled: 'user-disabled',
  deleted: 'user-deleted',
  password: 'user-password-changed',
} as const

/** Why sessions are ended. */
export type EndReason = keyof typeof REASONS

/** Sessions that are being ended. */
export interface EndingSessions {
  readonly count: number
  /** Resolves when all are gone, and what they have stored of a deleted account is too. */
  readonly gone: Promise<void>
}

/**
 * Ends all sessions of an account at this process, those without a resource too, and tells plugins why:
 * `user-deleted`, `user-disabled` or `user-password-changed`.
 *
 * @param but - one that stays
 */
export function endSessions(
  server: Server,
  host: Host,
  username: string,
  reason: EndReason,
  but?: StreamSession,
): EndingSessions {
  const open = [...server.sessions].filter(
    (session) =>
      session.host === host &&
      session.username === username &&
      session !== but &&
      !session.destroyed &&
      !isElsewhere(session),
  )
  const { told, logged } = REASONS[reason]
  if (open.length > 0) host.log.info(logged, { account: username, sessions: open.length })
  for (const session of open) session.close(new StreamError('not-authorized', told))
  server.events.fire(EVENTS[reason], { username, host: host.name })
  // What the sessions stored after the deletion must not be found by a new account of that name.
  const purge = async (): Promise<void> => {
    // Not if somebody has made that account by now.
    await host.users?.purge(username)
  }
  const ended = async (): Promise<void> => {
    if (reason === 'deleted' && open.length > 0) await purge()
    await Promise.all(open.map(({ connection }) => connection.whenGone(GRACE)))
    // What was under way for them is over as well.
    if (reason === 'deleted' && open.length > 0) await purge()
  }
  return { count: open.length, gone: ended() }
}

/** Whether only the connection is here, and the session that it has resumed is another process's, which ends both. */
function isElsewhere({ type, account }: StreamSession): boolean {
  return type === 'c2s' && account === undefined
}
