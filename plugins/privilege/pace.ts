/** Keeps what tells an entity very much from filling the memory: a host may have very many accounts. */

import type { StreamSession } from '../../server/index.ts'

/** Bytes that may wait for an entity while it is told who is online. */
const PACE = 64 * 1024
/** Milliseconds until it is looked whether they still do. */
const PAUSE = 10

/** Waits until an entity has taken most of what it was sent. @returns undefined if it has */
export function drained(session: StreamSession): Promise<void> | undefined {
  return session.connection.waiting > PACE ? untilDrained(session) : undefined
}

async function untilDrained(session: StreamSession): Promise<void> {
  while (session.connection.waiting > PACE && !session.destroyed) {
    await new Promise<void>((resolve) => setTimeout(resolve, PAUSE))
  }
}
