/** Who a stanza comes from that an entity sends on behalf of an account or of the host. */

import type { Host, Logger, Origin, Stanza } from '../../server/index.ts'

/**
 * Stands where the session of an account would: what it sends has passed the account's host as if a client of
 * the account had sent it, so plugins find the names that they know of a session. It has no resource.
 */
export class AccountOrigin implements Origin {
  readonly type: 'c2s' | 'host'
  readonly host: Host
  readonly username: string | undefined
  /** The bare JID: what the router stamps as `from`. */
  readonly fullJid: string
  readonly bareJid: string
  readonly log: Logger
  interested = false
  private readonly behind: Origin | undefined
  private readonly answered: (stanza: Stanza) => void

  /**
   * @param host - the account's
   * @param username - undefined for the host itself
   * @param answered - gets what is sent to the account's session
   * @param behind - the entity's connection, where that shall wait as a client would have to. Not for IQs: the
   *   answer may have to come from the very same connection
   */
  constructor(host: Host, username: string | undefined, answered: (stanza: Stanza) => void, behind?: Origin) {
    this.type = username === undefined ? 'host' : 'c2s'
    this.host = host
    this.username = username
    this.bareJid = username === undefined ? host.name : `${username}@${host.name}`
    this.fullJid = this.bareJid
    this.log = host.log
    this.behind = behind
    this.answered = answered
  }

  send(stanza: Stanza): void {
    this.answered(stanza)
  }

  hold(until: Promise<unknown>): void {
    this.behind?.hold?.(until)
  }
}

/** Does something now if an account is known to be there, otherwise when the storage has said so. */
export function ifAccount(
  host: Host,
  username: string,
  then: () => unknown,
  otherwise: () => never,
): true | Promise<true> {
  if (host.isOnline(username)) {
    const result = then()
    return result instanceof Promise ? result.then(() => true as const) : true
  }
  const exists = host.users?.exists(username) ?? Promise.resolve(false)
  return exists.then(async (found): Promise<true> => {
    if (!found) otherwise()
    await then()
    return true
  })
}
