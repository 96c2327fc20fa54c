/** Client connections: their streams, their features and their end (RFC 6120). */

import {
  bareOf,
  Connection,
  c2sOptions,
  coreOptions,
  definePlugin,
  type Host,
  isStanzaName,
  type Module,
  NS_CLIENT,
  prepareDomain,
  prepareJid,
  Stanza,
  StreamError,
  type StreamHeader,
  type StreamProfile,
  StreamSession,
  type TokenizerLimits,
  unbindResource,
} from '../server/index.ts'

const options = {
  ...c2sOptions,
  interfaces: coreOptions.interfaces,
  tcp_keepalives: coreOptions.tcp_keepalives,
}
type C2sModule = Module<typeof options>

/** Seconds without a byte after which a client is sent white space, to find out whether it is there. */
const READ_TIMEOUT = 840
/** Seconds between two looks at who is silent. */
const READ_CHECK = 60

/** Seconds after which TCP's keep-alive is turned on. */
const KEEP_ALIVE_AFTER = 60

/** RFC 6120 §4.7.5 */
const VERSION = /^[1-9]\d{0,4}\.\d{1,5}$/

class C2sProfile implements StreamProfile {
  readonly name = 'c2s'
  readonly defaultNs = NS_CLIENT
  private readonly module: C2sModule

  constructor(module: C2sModule) {
    this.module = module
  }

  /** Before authentication nothing longer than a SASL message is expected. */
  get limits(): TokenizerLimits {
    const { options } = this.module
    return { stanzaBytes: options.c2s_unauthed_stanza_size_limit, depth: 10, attributes: 20, nameLength: 256 }
  }

  get closeTimeout(): number {
    return this.module.options.c2s_close_timeout
  }

  opened(session: StreamSession, header: StreamHeader): void {
    const { version, from } = header.attrs
    const host = this.hostOf(session, header)
    const to = from === undefined ? undefined : prepareJid(from)?.full
    session.openStream({ id: session.streamId, from: host?.name, to, version: '1.0', 'xml:lang': 'en' })
    if (header.defaultNs !== NS_CLIENT) {
      throw new StreamError('invalid-namespace', `The content namespace of a client is ${NS_CLIENT}`)
    }
    if (host === undefined) throw missingHost(header)
    // A missing version means 0.9, which knows no features.
    if (version === undefined || !VERSION.test(version)) {
      throw new StreamError('unsupported-version', 'This server speaks version 1.0 of XMPP')
    }
    if (session.username !== undefined) checkFrom(session, from)
    session.lang = header.attrs['xml:lang']
    session.log.debug('stream opened', { host: host.name, secure: session.secure })
    const features = Stanza.fromText('stream:features', {}, '', 0, '', '')
    host.events.fire('stream-features', { origin: session, features })
    session.send(features)
  }

  received(session: StreamSession, stanza: Stanza): void {
    const { xmlns } = stanza.attrs
    if (xmlns === undefined && session.type === 'c2s' && isStanzaName(stanza.name)) {
      checkFrom(session, stanza.attrs.from)
      // RFC 6120 §8.1.5: the stream's language is the stanza's, unless that has one of its own.
      if (session.lang !== undefined) stanza.attrs['xml:lang'] ??= session.lang
      this.module.server.router.process(session, stanza)
      return
    }
    if (xmlns === undefined && !isStanzaName(stanza.name)) {
      throw new StreamError('unsupported-stanza-type', `<${stanza.name}/> is not a stanza`)
    }
    let result: unknown
    if (xmlns !== undefined) {
      // Such a namespace would have the name of an event for IQs.
      if (!xmlns.startsWith('iq/')) result = fire(session, xmlns, stanza.name, stanza)
    } else if (stanza.name === 'iq' && session.type === 'c2s_unbound') {
      checkFrom(session, stanza.attrs.from)
      if (this.module.server.router.refuseIq(session, stanza)) return
      result = fire(session, `iq/${stanza.payloadNs}`, stanza.payloadName, stanza)
    }
    if (result instanceof Promise) session.hold(result)
    if (result !== undefined) return
    if (xmlns === undefined) {
      // RFC 6120 §4.9.3.12, §7.1
      const first = session.username === undefined ? 'Authenticate' : 'Bind a resource'
      throw new StreamError('not-authorized', `${first} first`)
    }
    throw new StreamError(
      'unsupported-stanza-type',
      `<${stanza.name} xmlns='${xmlns}'/> is not understood here`,
    )
  }

  closed(session: StreamSession, reason: string | undefined): void {
    this.module.server.sessions.delete(session)
    unbindResource(session, reason)
    session.host?.events.fire('c2s-closed', { session, reason })
    session.log.debug('disconnected', { reason })
  }

  /** The host that a header names; undefined if there is none (RFC 6120 §4.9.3.6, §4.9.3.7). */
  private hostOf(session: StreamSession, { attrs }: StreamHeader): Host | undefined {
    const { server } = this.module
    const host = server.hosts.get(prepareDomain(attrs.to ?? '') ?? '')
    if (host?.hostType !== 'host' || !server.modules.isLoaded(host.name, 'c2s')) return undefined
    // Who is authenticated for one host does not become somebody of another.
    if (session.username !== undefined && session.host !== host) return undefined
    session.host = host
    return host
  }
}

function missingHost({ attrs }: StreamHeader): StreamError {
  if (attrs.to === undefined) return new StreamError('improper-addressing', "The stream header lacks 'to'")
  return new StreamError('host-unknown', 'This server does not serve that host')
}

/** A client may name nobody but itself (RFC 6120 §4.9.3.9, §8.1.2.1). */
function checkFrom(session: StreamSession, from: string | undefined): void {
  if (from === undefined || from === session.fullJid || from === session.bareJid) return
  const prepared = prepareJid(from)
  const bare = `${session.username}@${session.host?.name}`
  if (prepared !== undefined) {
    if (prepared.full === session.fullJid || prepared.full === bare) return
    if (session.fullJid === undefined && bareOf(prepared.full) === bare) return
  }
  throw new StreamError('invalid-from', "The 'from' is not the address of this session")
}

function fire(session: StreamSession, xmlns: string, name: string, stanza: Stanza): unknown {
  return session.host?.events.fireScoped('stanza', xmlns, name, { origin: session, stanza, toSelf: true })
}

/** The time for logging in is over. */
function loginOver(session: StreamSession): void {
  if (session.type === 'c2s') return
  session.close(new StreamError('connection-timeout', 'Logging in took too long'))
}

/** A connection that has lasted: from now on the system looks whether the peer is there still. */
function keepAlive(session: StreamSession): void {
  session.connection.keepAlive()
}

export default definePlugin({
  name: 'c2s',
  hostType: 'host',
  options,
  shared(module) {
    const { server, options } = module
    const profile = new C2sProfile(module)
    module.listen({
      name: 'c2s',
      ports: options.c2s_ports,
      interfaces: options.c2s_interfaces ?? options.interfaces,
      connected(socket) {
        const connection = new Connection(socket, server.timers)
        const session = new StreamSession(connection, profile, 'c2s_unauthed', module.log, server.timers)
        server.sessions.add(session)
        server.events.fire('session-opened', { session })
        if (session.log.debugEnabled) session.log.debug('connected', { from: connection.remoteAddress })
        session.cancelAtEnd(server.timers.after(options.c2s_timeout, loginOver, session))
        if (options.c2s_tcp_keepalives ?? options.tcp_keepalives) {
          // Not sooner: it asks nothing within its first minute, and is four calls of the system.
          session.cancelAtEnd(server.timers.after(KEEP_ALIVE_AFTER, keepAlive, session))
        }
      },
    })
    module.every(READ_CHECK, () => {
      const before = Date.now() - READ_TIMEOUT * 1000
      for (const session of server.sessions) {
        if (session.type !== 'c2s' || session.connection.lastRead > before) continue
        if (session.host?.events.fire('c2s-read-timeout', { session }) === undefined) session.sendText(' ')
      }
    })
  },
  load(module) {
    // Raised as soon as it is known whose stream it is.
    module.hook('authentication-success', ({ session }) => {
      session.setLimits({
        stanzaBytes: module.options.c2s_stanza_size_limit,
        depth: module.options.stanza_depth_limit,
        attributes: module.options.stanza_attribute_limit,
        nameLength: 1024,
      })
    })
  },
})
