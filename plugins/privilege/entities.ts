/** Who is privileged on a host, who of them is connected, and telling them so. */

import {
  bareOf,
  domainOf,
  type Host,
  type Origin,
  type Peer,
  type Server,
  Stanza,
  StreamSession,
  xml,
} from '../../server/index.ts'
import type { SentLog } from './sent.ts'
import { NS_PRIVILEGE, type Privileges, readTable } from './table.ts'

/** Told of entities that come to this process and go; one for each VirtualHost that grants privileges. */
export interface EntityListener {
  /** @param jid - a component's domain, or an account's bare JID */
  connected(session: StreamSession, jid: string): void
  disconnected(session: StreamSession): void
}

/** What the plugin's parts on all hosts share. */
export class Registry {
  /** Connections of components whose section enables `privilege`, to other processes too, by domain. */
  readonly components = new Map<string, Set<Peer>>()
  /** VirtualHosts that enable `privilege`: only accounts of these can be privileged. */
  readonly hosts = new Set<string>()
  readonly listeners = new Set<EntityListener>()
  /** What an address has been sent of others' presence, so that it gets each only once (§8). */
  readonly sent = new Map<string, SentLog>()
  /** Ids of processes of the cluster that are dead; something of them may still be under way through others. */
  readonly dead = new Set<string>()

  sentTo(to: string): SentLog {
    let log = this.sent.get(to)
    if (log === undefined) {
      log = new Map()
      this.sent.set(to, log)
    }
    return log
  }
}

/** An address at which an entity can be reached now. */
export interface Recipient {
  readonly to: string
  /** Of an account, here or at another process; a component's connection is its host's to choose. */
  readonly session: Peer | undefined
}

/** The privileges that one host grants. */
export class Grants {
  private table: ReadonlyMap<string, Privileges> = new Map()
  readonly host: Host
  readonly registry: Registry
  private readonly server: Server

  constructor(host: Host, registry: Registry) {
    this.host = host
    this.registry = registry
    this.server = host.server
  }

  /**
   * Takes a table.
   *
   * @returns what is wrong with it
   */
  read(table: Readonly<Record<string, unknown>>): readonly string[] {
    const { privileges, problems } = readTable(table, this.host.name)
    this.table = privileges
    return problems
  }

  all(): Iterable<Privileges> {
    return this.table.values()
  }

  get(jid: string): Privileges | undefined {
    return this.table.get(jid)
  }

  /**
   * What the sender of a stanza may do. The connection, which is one to this process, tells who it is; of a
   * component, only its own domain is privileged, not whoever it speaks for.
   */
  of(origin: Origin, { attrs }: Stanza): Privileges | undefined {
    if (this.table.size === 0) return undefined
    const jid = this.entityOf(origin, attrs.from ?? '')
    return jid === undefined ? undefined : this.table.get(jid)
  }

  private entityOf(origin: Origin, from: string): string | undefined {
    if (origin.type === 'component') {
      const name = origin.host?.name ?? ''
      const isOurs =
        origin instanceof StreamSession && this.registry.components.get(name)?.has(origin) === true
      return isOurs && bareOf(from) === name ? name : undefined
    }
    // Who acts for an account is not that account's session, so privileges do not add up.
    if (origin.fullJid === undefined || this.server.fullJids.get(origin.fullJid) !== origin) return undefined
    const bare = bareOf(origin.fullJid)
    return this.registry.hosts.has(domainOf(bare)) ? bare : undefined
  }

  /** Where an entity can be reached: a component, or the available resources of an account. */
  *recipients({ entity, jid }: Privileges): Iterable<Recipient> {
    if (entity.local === undefined) {
      if (this.registry.components.has(entity.domain)) yield { to: jid, session: undefined }
      return
    }
    if (!this.registry.hosts.has(entity.domain)) return
    for (const session of this.server.hosts.get(entity.domain)?.resourcesOf(entity.local) ?? []) {
      if (session.available && !session.destroyed) yield { to: session.fullJid!, session }
    }
  }

  /** Sends an entity something that has been made for it. */
  send({ session }: Recipient, stanza: Stanza): void {
    if (session !== undefined) session.send(stanza)
    else this.server.router.route(stanza, this.host)
  }
}

/**
 * The message that tells an entity of its privileges (§4.2, §5.2, §6.2, §7.2).
 *
 * @param before - what it had; what of that is gone is said to be
 */
export function advertisement(
  host: Host,
  to: string,
  now: Privileges | undefined,
  before?: Privileges,
): Stanza {
  const privilege = xml('privilege', { xmlns: NS_PRIVILEGE })
  const { roster = 'none', message = false, presence = 'none', iq = new Map<string, string>() } = now ?? {}
  if (roster !== 'none') {
    privilege.append(xml('perm', { access: 'roster', type: roster, push: String(now?.push === true) }))
  } else if (before !== undefined && before.roster !== 'none') {
    privilege.append(xml('perm', { access: 'roster', type: 'none' }))
  }
  if (message || before?.message === true) {
    privilege.append(xml('perm', { access: 'message', type: message ? 'outgoing' : 'none' }))
  }
  if (iq.size > 0 || (before?.iq.size ?? 0) > 0) {
    const namespaces = [...iq].map(([ns, type]) => xml('namespace', { ns, type }))
    privilege.append(xml('perm', { access: 'iq' }, ...namespaces))
  }
  if (presence !== 'none' || (before !== undefined && before.presence !== 'none')) {
    privilege.append(xml('perm', { access: 'presence', type: presence }))
  }
  return new Stanza('message', { from: host.name, to }, privilege)
}
