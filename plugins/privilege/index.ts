/** Privileged entities (XEP-0356): what a host lets other programs do for its accounts. */

import { definePlugin, type Module, NS_ROSTER, type Peer, StreamSession } from '../../server/index.ts'
import type {} from '../roster/index.ts'
import { checkPrivileges } from './check.ts'
import { advertisement, type EntityListener, Grants, Registry } from './entities.ts'
import { PrivilegedIqs } from './iqs.ts'
import { sendMessage } from './messages.ts'
import { PresenceFeed } from './presence.ts'
import { askRoster, noteInterest, pushItem } from './rosters.ts'
import { NS_PRIVILEGE, type Privileges, privilegeOptions } from './table.ts'

/** As in Prosody: before presence is worked on. */
const BEFORE_PRESENCE = 150

type PrivilegeModule = Module<typeof privilegeOptions>

/** What the plugin exports on a VirtualHost. */
export interface PrivilegeStatus {
  /** How many IQs on behalf of accounts wait for their answers. */
  readonly pendingIqs: number
}

/** The part on a VirtualHost: it grants privileges. */
class Grantor implements EntityListener {
  readonly grants: Grants
  readonly iqs: PrivilegedIqs
  readonly feed: PresenceFeed
  private readonly module: PrivilegeModule

  constructor(module: PrivilegeModule, registry: Registry) {
    this.module = module
    this.grants = new Grants(module.host, registry)
    this.iqs = new PrivilegedIqs(this.grants, module.log, () => module.options.privilege_iq_timeout)
    this.feed = new PresenceFeed(module as unknown as Module, this.grants)
    this.readConfig()
  }

  connected(session: StreamSession, jid: string): void {
    const privileges = this.grants.get(jid)
    if (privileges !== undefined) this.tell(session, session.fullJid ?? jid, privileges)
  }

  disconnected(session: StreamSession): void {
    this.iqs.gone(session)
    this.feed.disconnected(session)
  }

  /**
   * Takes the table anew, and tells the entities whose privileges have changed: those that are connected to this
   * process. Others are told by theirs, when that has reloaded.
   */
  reload(): void {
    const before = new Map([...this.grants.all()].map((privileges) => [privileges.jid, privileges]))
    this.readConfig()
    for (const jid of new Set([...before.keys(), ...[...this.grants.all()].map((entry) => entry.jid)])) {
      const [old, now] = [before.get(jid), this.grants.get(jid)]
      if (textOf(old) === textOf(now)) continue
      for (const session of this.sessionsOf((now ?? old)!)) {
        if (now?.presence !== old?.presence) this.grants.registry.sent.delete(session.fullJid ?? jid)
        this.tell(session, session.fullJid ?? jid, now, old)
      }
      if (now !== undefined && now.presence !== old?.presence) this.feed.replays.granted(now)
    }
  }

  /** The host begins to grant privileges: entities that are connected already are told now. */
  loaded(): void {
    for (const privileges of this.grants.all()) {
      for (const session of this.sessionsOf(privileges)) this.connected(session, privileges.jid)
      this.feed.replays.granted(privileges)
    }
  }

  /** An entity's connections to this process. */
  private *sessionsOf(privileges: Privileges): Iterable<StreamSession> {
    if (privileges.entity.local === undefined) {
      for (const peer of this.grants.registry.components.get(privileges.jid) ?? []) {
        if (peer instanceof StreamSession) yield peer
      }
      return
    }
    for (const { session } of this.grants.recipients(privileges)) {
      if (session instanceof StreamSession) yield session
    }
  }

  private tell(session: StreamSession, to: string, now: Privileges | undefined, before?: Privileges): void {
    session.send(advertisement(this.module.host, to, now, before))
    this.module.log.info('told an entity of its privileges', { entity: to })
    if (now === undefined) this.feed.replays.gone(session)
    if (now === undefined || now.presence === before?.presence) return
    this.feed.replays
      .start(session, to, now)
      .catch((error) => this.module.log.error('presence could not be sent to an entity', { to, error }))
  }

  private readConfig(): void {
    const problems = this.grants.read(this.module.options.privileged_entities)
    for (const problem of problems) this.module.log.error(problem)
  }
}

/** What an entity is told, in a form that can be compared. */
function textOf(privileges: Privileges | undefined): string {
  return JSON.stringify(privileges && { ...privileges, iq: [...privileges.iq].sort() })
}

function loadOnHost(module: PrivilegeModule, registry: Registry): void {
  const grantor = new Grantor(module, registry)
  const { grants, iqs, feed } = grantor
  module.exports = {
    get pendingIqs() {
      return iqs.size
    },
  } satisfies PrivilegeStatus

  const anyModule = module as unknown as Module
  for (const type of ['get', 'set'] as const) {
    module.hook(`iq-${type}/bare/${NS_ROSTER}:query`, (event) => askRoster(anyModule, grants, event))
  }
  module.hook('pre-iq/bare', (event) => noteInterest(anyModule, grants, event))
  module.hook('roster-item-changed', ({ username, jid, item }) => pushItem(grants, username, jid, item))

  module.hook('message/host', (event) => sendMessage(grants, event))

  // To whomever else it is addressed, it is refused and goes no further.
  for (const target of ['bare', 'full', 'host'] as const) {
    module.hook(`iq/${target}/${NS_PRIVILEGE}:privileged_iq`, (event) => iqs.request(event))
  }
  module.hook('iq/bare', (event) => iqs.answer(event), 1)
  module.hookGlobal('peer-left', ({ peer }) => iqs.left(peer))

  const online = (session: StreamSession): void => {
    // What came while it was unavailable was not sent.
    registry.sent.delete(session.fullJid!)
    for (const listener of registry.listeners) listener.connected(session, session.bareJid!)
  }
  const offline = (session: StreamSession): void => {
    for (const listener of registry.listeners) listener.disconnected(session)
    registry.sent.delete(session.fullJid!)
  }
  module.hook('presence/initial', (event) => {
    feed.becameAvailable(event)
    const session = module.server.fullJids.get(event.origin.fullJid ?? '')
    if (session !== undefined) online(session)
  })
  module.hook('presence/bare', (event) => feed.received(event), BEFORE_PRESENCE)
  module.hook('presence/full', (event) => feed.received(event), BEFORE_PRESENCE)
  module.hook('resource-unbind', ({ session }) => offline(session))

  module.hook('config-reloaded', () => grantor.reload())
  // Loaded while accounts are online: other hosts' entities among them are told now.
  registry.hosts.add(module.host.name)
  for (const session of module.host.allSessions()) if (session.presence !== undefined) online(session)
  registry.listeners.add(grantor)
  grantor.loaded()
  module.onUnload(() => {
    registry.listeners.delete(grantor)
    registry.hosts.delete(module.host.name)
    iqs.abandonAll()
    for (const session of module.host.allSessions()) offline(session)
  })
}

function loadOnComponent(module: PrivilegeModule, registry: Registry): void {
  const { name } = module.host
  const appeared = (peer: Peer): void => {
    const peers = registry.components.get(name)
    if (peers === undefined) registry.components.set(name, new Set([peer]))
    else peers.add(peer)
  }
  const connected = (session: StreamSession): void => {
    appeared(session)
    for (const listener of registry.listeners) listener.connected(session, name)
  }
  const disconnected = (peer: Peer): void => {
    const peers = registry.components.get(name)
    if (peers?.delete(peer) !== true) return
    if (peers.size === 0) registry.components.delete(name)
    if (!(peer instanceof StreamSession)) return
    // Whoever connects to this process next has been sent nothing by it.
    if (![...peers].some((other) => other instanceof StreamSession)) registry.sent.delete(name)
    for (const listener of registry.listeners) listener.disconnected(peer)
  }
  module.hook('component-authenticated', ({ session }) => connected(session))
  module.hook('component-disconnected', ({ session }) => disconnected(session))
  // The process that it is connected to tells it; this one sends it what concerns accounts.
  module.hook('component-joined', ({ connection }) => appeared(connection))
  module.hook('component-left', ({ connection }) => disconnected(connection))
  // Loaded while the component is connected: it is told now.
  for (const session of module.server.sessions) {
    if (session.type === 'component' && session.host === module.host) connected(session)
  }
  for (const peer of module.server.cluster?.directory.connectionsOf(name) ?? []) appeared(peer)
  module.onUnload(() => {
    for (const peer of [...(registry.components.get(name) ?? [])]) disconnected(peer)
  })
}

export default definePlugin({
  name: 'privilege',
  options: privilegeOptions,
  check: checkPrivileges,
  load(module) {
    const registry = module.shared('privilege/registry', () => new Registry())
    if (module.host.hostType === 'component') loadOnComponent(module, registry)
    else loadOnHost(module, registry)
  },
})
