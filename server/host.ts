/** A VirtualHost or a Component host: its events, sessions, items and accounts. */

import type { Users } from './auth/users.ts'
import { Events } from './events.ts'
import { ItemList } from './items.ts'
import type { Logger } from './log.ts'
import { RoomyMap } from './roomy-map.ts'
import type { Server } from './server.ts'
import type { Origin, Resource } from './session.ts'
import type { Stanza } from './stanza/stanza.ts'
import type { StreamSession } from './stream/session.ts'

export type HostType = 'host' | 'component'

/** The bound sessions of one account. */
export interface AccountSessions {
  readonly username: string
  /** Resource → session. */
  readonly sessions: Map<string, StreamSession>
}

const NOBODY: readonly StreamSession[] = []

/** One domain that this server answers for. */
export class Host implements Origin {
  readonly type = 'host'
  readonly name: string
  readonly hostType: HostType
  readonly server: Server
  readonly events: Events
  readonly items = new ItemList()
  readonly log: Logger
  /** Local accounts; a component has none. */
  readonly users: Users | undefined
  /** Accounts with bound sessions, by localpart. */
  readonly accounts = new RoomyMap<string, AccountSessions>()
  readonly fullJid = undefined

  constructor(server: Server, name: string, hostType: HostType, users: Users | undefined) {
    this.server = server
    this.name = name
    this.hostType = hostType
    this.users = users
    this.log = server.log.child('host', { host: name })
    this.events = new Events((error, event, owner, payload) =>
      server.handlerFailed(error, event, owner, payload, this),
    )
  }

  get host(): Host {
    return this
  }

  /** An answer to a stanza that this host has sent goes its ordinary way. */
  send(stanza: Stanza): void {
    this.server.router.route(stanza)
  }

  /** The bound session of a full JID's resource, if there is one. */
  sessionOf(username: string, resource: string): StreamSession | undefined {
    return this.accounts.get(username)?.sessions.get(resource)
  }

  /** The bound resources of an account, at other processes too; who was bound first comes first. */
  resourcesOf(username: string): Iterable<Resource> {
    const local = this.accounts.get(username)?.sessions.values() ?? NOBODY
    const { cluster } = this.server
    if (cluster === undefined) return local
    const remote = cluster.directory.resourcesOf(`${username}@${this.name}`)
    return remote.length === 0 ? local : cluster.inOrder(local, remote)
  }

  /** Whether an account has bound resources, at this process or another. */
  isOnline(username: string): boolean {
    if (this.accounts.has(username)) return true
    const remote = this.server.cluster?.directory.resourcesOf(`${username}@${this.name}`)
    return remote !== undefined && remote.length > 0
  }

  /** Every bound session of this host. */
  *allSessions(): Iterable<StreamSession> {
    for (const account of this.accounts.values()) yield* account.sessions.values()
  }
}
