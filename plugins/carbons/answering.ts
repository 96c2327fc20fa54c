/** Which resources answer for a message of which they have a copy: who had the message itself has ended without it. */

import { createHash } from 'node:crypto'
import type { Stanza, StreamSession } from '../../server/index.ts'

/** Messages that a session may answer for; for those before nobody does. */
const MOST = 1000

/** A delay that was added last: each session has its own. */
const LAST_DELAY = /<delay [^>]*\/>$/

export class Answering {
  private readonly keys = new WeakMap<StreamSession, Set<string>>()

  add(session: StreamSession, key: string): void {
    let own = this.keys.get(session)
    if (own === undefined) {
      own = new Set()
      this.keys.set(session, own)
    }
    own.add(key)
    if (own.size > MOST) for (const oldest of own.keys()) return void own.delete(oldest)
  }

  has(session: StreamSession, stanza: Stanza): boolean {
    const own = this.keys.get(session)
    return own?.has(keyOf(stanza)) === true
  }
}

/** Tells a message from others of the same account. */
export function keyOf({ attrs, inner }: Stanza): string {
  const { from = '', to = '', id = '' } = attrs
  const text = `${from}\n${to}\n${id}\n${inner.replace(LAST_DELAY, '')}`
  return createHash('sha1').update(text).digest('base64')
}
