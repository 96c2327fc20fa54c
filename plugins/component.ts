/** External components: their connections, and what is sent to them (XEP-0114). */

import { createHash, timingSafeEqual } from 'node:crypto'
import {
  bareOf,
  type Cluster,
  ComponentConnections,
  Connection,
  componentOptions,
  coreOptions,
  definePlugin,
  detached,
  domainOf,
  errorReply,
  type Host,
  isStanzaName,
  type Module,
  mayAnswerWithError,
  NS_CLIENT,
  NS_COMPONENT,
  type Peer,
  prepareDomain,
  prepareJid,
  type RemoteConnection,
  reply,
  Stanza,
  type StanzaEvent,
  StreamError,
  type StreamHeader,
  type StreamProfile,
  StreamSession,
  type TokenizerLimits,
  xml,
} from '../server/index.ts'

const options = {
  ...componentOptions,
  local_interfaces: coreOptions.local_interfaces,
  tcp_keepalives: coreOptions.tcp_keepalives,
  name: coreOptions.name,
}
type ComponentModule = Module<typeof options>

const NS_DISCO_INFO = 'http://jabber.org/protocol/disco#info'
/** Seconds in which a component must have authenticated. */
const HANDSHAKE_TIMEOUT = 30
/** Seconds without a byte after which a component is sent white space, so that routers keep the connection. */
const READ_TIMEOUT = 300
const READ_CHECK = 60
const CLOSE_TIMEOUT = 5
/** Requests of a component's connections whose answers are still awaited; of more, the oldest are forgotten. */
const MOST_AWAITED = 10_000
/** Milliseconds after which an answer is for the connection that has asked the same later. */
const OUTDATED_MS = 30_000

/** A connection that awaits an answer. */
interface Asker {
  readonly peer: Peer
  /** Milliseconds since 1970. */
  readonly since: number
}

/** The component of a host: what its stream may do, and its connections. */
class ComponentHost {
  readonly module: ComponentModule
  readonly connections: ComponentConnections
  /**
   * While connections share the work: who awaits the answer to a request that one of them has sent. They know nothing
   * of each other's ids: of those that have asked the same, the first one gets the first answer.
   */
  private readonly awaited = new Map<string, Asker[]>()

  constructor(module: ComponentModule, connections: ComponentConnections) {
    this.module = module
    this.connections = connections
  }

  get host(): Host {
    return this.module.host
  }

  /** XEP-0114 §3: the digest of the stream's id and the secret. */
  authenticate(session: StreamSession, stanza: Stanza): Promise<void> | undefined {
    const { log, options } = this.module
    const from = session.connection.remoteAddress
    if (options.component_secret === undefined) {
      log.error('a component wants to connect, but component_secret is not set', { from })
      throw new StreamError('not-authorized', 'No secret is configured for this component')
    }
    const expected = createHash('sha1')
      .update(session.streamId + options.component_secret)
      .digest()
    const given = Buffer.from(stanza.getText().trim(), 'hex')
    if (stanza.childCount > 0 || given.length !== expected.length || !timingSafeEqual(given, expected)) {
      log.warn('a component gave a wrong secret', { from })
      throw new StreamError('not-authorized', 'The handshake does not fit the secret')
    }
    const shares = options.component_conflict_resolve === 'share'
    if (this.connections.size > 0 && !shares) this.resolveConflict(from)
    session.type = 'component'
    session.setLimits(limitsOf(this.module))
    const { cluster } = this.module.server
    if (cluster === undefined) {
      this.connected(session, shares, 0)
      return undefined
    }
    return this.join(session, shares, cluster)
  }

  private connected(session: StreamSession, shares: boolean, sequence: number): void {
    this.connections.add(session, shares, sequence)
    const from = session.connection.remoteAddress
    this.module.log.info('component connected', { from, connections: this.connections.size })
    session.send(new Stanza('handshake'))
    this.host.events.fire('component-authenticated', { session })
  }

  /** Tells the other processes, and looks whether somebody was there first. */
  private async join(session: StreamSession, shares: boolean, cluster: Cluster): Promise<void> {
    let sequence: number
    try {
      sequence = await cluster.connected(session, shares)
    } catch (error) {
      session.log.warn('a component could not be made known to the other processes', { error })
      session.close(new StreamError('resource-constraint', 'The connection can not be registered now'))
      return
    }
    if (session.destroyed) return
    const earlier = shares
      ? []
      : cluster.directory.connectionsOf(this.host.name).filter((other) => other.sequence < sequence)
    if (earlier.length > 0) {
      if (this.module.options.component_conflict_resolve !== 'kick_old') {
        session.close(new StreamError('conflict', 'The component is connected already'))
        return
      }
      await cluster.endConnections(earlier)
    }
    this.connected(session, shares, sequence)
  }

  /** A connection to another process has appeared. */
  joined(connection: RemoteConnection): void {
    this.connections.add(connection, connection.shares, connection.sequence)
  }

  left(connection: RemoteConnection): void {
    this.connections.delete(connection)
    if (this.connections.size === 0) this.awaited.clear()
  }

  disconnected(session: StreamSession, reason: string | undefined): void {
    this.module.server.cluster?.gone(session)
    if (!this.connections.delete(session)) return
    if (this.connections.size === 0) this.awaited.clear()
    this.module.log.info('component disconnected', { reason, connections: this.connections.size })
    this.host.events.fire('component-disconnected', { session, reason })
  }

  /** A stanza for the component, or for any address at its domain. */
  deliver(event: StanzaEvent): true | Promise<true> {
    const { connections } = this
    const session = connections.shared ? this.connectionFor(event.stanza) : connections.first
    if (!(session instanceof Promise)) return this.deliverTo(session, event)
    return session.then((found) => this.deliverTo(found, event))
  }

  private deliverTo(session: Peer | undefined, { origin, stanza }: StanzaEvent): true {
    if (session !== undefined) {
      session.send(stanza)
      return true
    }
    if (!mayAnswerWithError(stanza)) return true
    const { name } = this.module.options
    if (name !== undefined && asksForIdentity(stanza, this.host.name)) {
      const identity = xml('identity', { category: 'component', type: 'generic', name })
      const feature = xml('feature', { var: NS_DISCO_INFO })
      origin.send(reply(stanza, xml('query', { xmlns: NS_DISCO_INFO }, identity, feature)))
      return true
    }
    if (stanza.name !== 'presence') {
      origin.send(errorReply(stanza, 'remote-server-timeout', 'The component is not connected'))
    }
    return true
  }

  /** A connection has sent something: an answer to its request has to come to it, not to another. */
  sent(session: Peer, { name, attrs }: Stanza): void {
    if (!this.connections.shared || name !== 'iq' || (attrs.type !== 'get' && attrs.type !== 'set')) return
    const [asker, asked] = [prepareJid(attrs.from ?? '')?.full, prepareJid(attrs.to ?? '')?.full]
    const key = awaitedKey(attrs.id, asker, asked)
    const now = Date.now()
    const askers = (this.awaited.get(key) ?? []).filter(
      ({ peer, since }) => peer !== session && !peer.destroyed && now - since < OUTDATED_MS,
    )
    askers.push({ peer: session, since: now })
    this.awaited.delete(key)
    if (this.awaited.size >= MOST_AWAITED) {
      const [oldest] = this.awaited.keys()
      this.awaited.delete(oldest!)
    }
    this.awaited.set(key, askers)
  }

  /** The connection that an answer is for. */
  private askerOf({ attrs }: Stanza): Peer | undefined {
    const key = awaitedKey(attrs.id, attrs.to, attrs.from)
    const askers = this.awaited.get(key)
    if (askers === undefined) return undefined
    while (askers[0]?.peer.destroyed === true) askers.shift()
    const asker = askers.shift()
    if (askers.length === 0) this.awaited.delete(key)
    return asker?.peer
  }

  /** Of several connections: the one that has been named, that awaits the answer, or that the sender belongs to. */
  private connectionFor(stanza: Stanza): Peer | undefined | Promise<Peer | undefined> {
    const { type, from } = stanza.attrs
    const directed = this.connections.directionOf(stanza)
    if (directed !== undefined) return directed.destroyed ? undefined : directed
    if (stanza.name === 'iq' && (type === 'result' || type === 'error')) {
      const asker = this.askerOf(stanza)
      if (asker !== undefined) return asker
    }
    return this.connections.of(bareOf(from!))
  }

  private resolveConflict(from: string): void {
    if (this.module.options.component_conflict_resolve === 'kick_old') {
      for (const session of [...this.connections]) {
        // Those of other processes are ended when this one is known there.
        if (session instanceof StreamSession)
          session.close(new StreamError('conflict', 'Replaced by a new connection'))
      }
      return
    }
    this.module.log.warn('a second connection of the component was refused', { from })
    throw new StreamError('conflict', 'The component is connected already')
  }
}

/** @param asker - a prepared address, as `asked` */
function awaitedKey(id: string | undefined, asker: string | undefined, asked: string | undefined): string {
  // A space may be in a resource, a line's end in no address.
  return detached(`${asker ?? ''}\n${asked ?? ''}\n${id ?? ''}`)
}

function asksForIdentity(stanza: Stanza, host: string): boolean {
  return (
    stanza.name === 'iq' &&
    stanza.attrs.type === 'get' &&
    stanza.attrs.to === host &&
    stanza.payloadNs === NS_DISCO_INFO &&
    !stanza.payloadAttrs.node
  )
}

function limitsOf({ options }: ComponentModule): TokenizerLimits {
  const stanzaBytes = options.component_stanza_size_limit ?? options.s2s_stanza_size_limit
  return { stanzaBytes, depth: 512, attributes: 512, nameLength: 1024 }
}

class ComponentProfile implements StreamProfile {
  readonly name = 'component'
  readonly defaultNs = NS_COMPONENT
  // A handshake is 40 characters.
  readonly limits = { stanzaBytes: 4096, depth: 4, attributes: 20, nameLength: 256 }
  readonly closeTimeout = CLOSE_TIMEOUT
  private readonly module: ComponentModule
  private readonly hosts: ReadonlyMap<string, ComponentHost>

  constructor(module: ComponentModule, hosts: ReadonlyMap<string, ComponentHost>) {
    this.module = module
    this.hosts = hosts
  }

  opened(session: StreamSession, header: StreamHeader): void {
    const component = this.hosts.get(prepareDomain(header.attrs.to ?? '') ?? '')
    session.host = component?.host
    // XEP-0114 knows neither version nor features; the id is what the digest is made with.
    session.openStream({ id: session.streamId, from: component?.host.name ?? header.attrs.to })
    if (header.defaultNs !== NS_COMPONENT) {
      throw new StreamError('invalid-namespace', `The content namespace of a component is ${NS_COMPONENT}`)
    }
    if (header.attrs.to === undefined) {
      throw new StreamError('improper-addressing', "The stream header lacks 'to'")
    }
    if (component === undefined) {
      throw new StreamError('host-unknown', 'No external component is configured by that name')
    }
  }

  received(session: StreamSession, stanza: Stanza): void {
    const component = this.hosts.get(session.host?.name ?? '')
    if (component === undefined) throw new StreamError('host-gone', 'The component is no longer configured')
    // Some libraries write the namespace of clients on their stanzas.
    if (stanza.attrs.xmlns === NS_CLIENT) delete (stanza.attrs as Record<string, string | undefined>).xmlns
    const ours = stanza.attrs.xmlns === undefined
    if (session.type === 'component_unauthed') {
      if (!ours || stanza.name !== 'handshake')
        throw new StreamError('not-authorized', 'The handshake comes first')
      const joining = component.authenticate(session, stanza)
      if (joining !== undefined) session.hold(joining)
      return
    }
    if (!ours || !isStanzaName(stanza.name)) {
      throw new StreamError('unsupported-stanza-type', `<${stanza.name}/> is not a stanza`)
    }
    checkFrom(component, stanza)
    if (stanza.attrs.to === undefined) {
      if (mayAnswerWithError(stanza)) {
        session.send(errorReply(stanza, 'bad-request', "A component must give its stanzas a 'to'"))
      }
      return
    }
    component.sent(session, stanza)
    this.module.server.router.process(session, stanza)
  }

  closed(session: StreamSession, reason: string | undefined): void {
    this.module.server.sessions.delete(session)
    this.hosts.get(session.host?.name ?? '')?.disconnected(session, reason)
  }
}

/** A component speaks for its own domain only, unless the operator trusts it with others. */
function checkFrom(component: ComponentHost, stanza: Stanza): void {
  const { from } = stanza.attrs
  const { name } = component.host
  if (component.module.options.validate_from_addresses) {
    const own = from === name || (from !== undefined && domainOf(prepareJid(from)?.full ?? '') === name)
    if (!own) throw new StreamError('invalid-from', `The 'from' of a stanza is not an address at ${name}`)
  } else if (from === undefined) stanza.attrs.from = name
}

const NOTHING_SHARED = (): Map<string, ComponentHost> => new Map()
const NO_CONNECTIONS = (): Map<string, ComponentConnections> => new Map()

export default definePlugin({
  name: 'component',
  hostType: 'component',
  options,
  shared(module) {
    const { server, options } = module
    const profile = new ComponentProfile(module, module.shared('component/hosts', NOTHING_SHARED))
    module.listen({
      name: 'component',
      ports: options.component_ports,
      interfaces: options.component_interfaces ?? options.local_interfaces,
      connected(socket) {
        const connection = new Connection(socket, server.timers)
        connection.shared = true
        if (options.component_tcp_keepalives ?? options.tcp_keepalives) connection.keepAlive()
        const session = new StreamSession(
          connection,
          profile,
          'component_unauthed',
          module.log,
          server.timers,
        )
        server.sessions.add(session)
        server.events.fire('session-opened', { session })
        session.log.debug('connected', { from: connection.remoteAddress })
        session.cancelAtEnd(
          server.timers.after(HANDSHAKE_TIMEOUT, () => {
            if (session.type === 'component') return
            session.close(new StreamError('connection-timeout', 'The handshake took too long'))
          }),
        )
      },
    })
    module.every(READ_CHECK, () => {
      const before = Date.now() - READ_TIMEOUT * 1000
      for (const session of server.sessions) {
        if (session.type !== 'component' || session.connection.lastRead > before) continue
        if (session.host?.events.fire('component-read-timeout', { session }) === undefined)
          session.sendText(' ')
      }
    })
  },
  load(module) {
    const connections = new ComponentConnections()
    const component = new ComponentHost(module, connections)
    const hosts = module.shared('component/hosts', NOTHING_SHARED)
    // For plugins that ask which connection something goes to.
    const connectionsOf = module.shared('component/connections', NO_CONNECTIONS)
    hosts.set(module.host.name, component)
    connectionsOf.set(module.host.name, connections)
    module.onUnload(() => {
      hosts.delete(module.host.name)
      for (const session of [...connections]) {
        if (!(session instanceof StreamSession)) continue
        session.close(new StreamError('host-gone', 'The component is no longer configured'))
        component.disconnected(session, 'the component is no longer configured')
      }
      connectionsOf.delete(module.host.name)
    })
    const { cluster } = module.server
    if (cluster !== undefined) {
      connections.decideBy(cluster.claimsFor(module.host.name), cluster.seed)
      for (const other of cluster.directory.connectionsOf(module.host.name)) component.joined(other)
    }
    module.hook('component-joined', ({ connection }) => component.joined(connection))
    module.hook('component-left', ({ connection }) => component.left(connection))
    module.hook('component-sent', ({ peer, stanza }) => component.sent(peer, stanza))
    for (const kind of ['iq', 'message', 'presence'] as const) {
      for (const target of ['bare', 'full', 'host'] as const) {
        module.hook(`${kind}/${target}`, (event: StanzaEvent) => component.deliver(event), -1)
      }
    }
  },
})
