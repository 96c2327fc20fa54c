/** Client connections: their streams, their features and their end (RFC 6120), with TLS first on some ports. */

import type { Socket } from 'node:net'
import {
  acceptTls,
  bareOf,
  Connection,
  c2sOptions,
  coreOptions,
  definePlugin,
  detached,
  type Host,
  isStanzaName,
  type Module,
  NS_CLIENT,
  NS_PING,
  prepareDomain,
  prepareJid,
  randomText,
  Stanza,
  StreamError,
  type StreamHeader,
  type StreamProfile,
  StreamSession,
  type TlsMaterial,
  type TokenizerLimits,
  unbindResource,
  writeElement,
} from '../server/index.ts'

const options = {
  ...c2sOptions,
  interfaces: coreOptions.interfaces,
  network_settings: coreOptions.network_settings,
  tcp_keepalives: coreOptions.tcp_keepalives,
}
type C2sModule = Module<typeof options>

/** Seconds without a byte after which a client is asked whether it is there; as in Prosody. */
const READ_TIMEOUT = 840
/** Seconds between two looks at who is silent, at most. */
const READ_CHECK = 60

/** A language as RFC 5646 §2.1 has them, and none that is long: it goes along with each stanza. */
const LANGUAGE = /^[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*$/
const LONGEST_LANGUAGE = 35

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
    session.lang = languageOf(header)
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
      const { router } = this.module.server
      const { type } = stanza.attrs
      // An answer says that what came before is handled, too (RFC 6120 §10.1): it waits until that would outlive us.
      const before =
        stanza.name === 'iq' && (type === 'get' || type === 'set') ? session.finished(false) : undefined
      if (before === undefined) router.process(session, stanza)
      else {
        const process = () => (session.destroyed ? undefined : router.process(session, stanza))
        session.hold(before.then(process))
      }
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
    } else if (stanza.name === 'iq' && session.type === 'c2s_unauthed') {
      // XEP-0077 §3.1.1: an account may be made before there is one to log in with.
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

/** The language that a header names, in memory of its own; undefined if it names none. */
function languageOf({ attrs }: StreamHeader): string | undefined {
  const lang = attrs['xml:lang']
  if (lang === undefined || lang.length > LONGEST_LANGUAGE || !LANGUAGE.test(lang)) return undefined
  return detached(lang)
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

/** Finds out which clients are gone without a word (RFC 6120 §4.6). */
class Silence {
  private readonly module: C2sModule
  /** When those that are silent were asked, in milliseconds since the epoch. */
  private asked = new Map<StreamSession, number>()
  /** When the next look is due. */
  private due = 0

  constructor(module: C2sModule) {
    this.module = module
  }

  /** Looks again and again. */
  watch(): void {
    const { options } = this.module
    const seconds = Math.min(READ_CHECK, this.readTimeout / 4, options.c2s_answer_timeout / 4)
    this.due = Date.now() + seconds * 1000
    this.module.after(seconds, () => {
      // Where the process stood still for longer, answers may have come that it has not read yet.
      const late = Date.now() - this.due > 1000 * Math.max(1, seconds)
      this.watch()
      if (!late) this.look()
    })
  }

  private get readTimeout(): number {
    return this.module.options.network_settings?.read_timeout ?? READ_TIMEOUT
  }

  private look(): void {
    const { options, server } = this.module
    const now = Date.now()
    const silentBefore = now - this.readTimeout * 1000
    const askedBefore = now - options.c2s_answer_timeout * 1000
    const before = this.asked
    this.asked = new Map()
    for (const session of server.sessions) {
      const { connection, profile } = session
      if (connection.lastRead > silentBefore || connection.closed || !(profile instanceof C2sProfile))
        continue
      const asked = before.get(session)
      if (asked === undefined || asked <= askedBefore) {
        this.asked.set(session, now)
        this.ask(session, asked !== undefined)
      } else this.asked.set(session, asked)
    }
  }

  /** @param again - it was asked before, and has sent nothing since */
  private ask(session: StreamSession, again: boolean): void {
    // Handlers that know better (XEP-0198) return true, or false of a client that owes them an answer.
    const result = session.host?.events.fire('c2s-read-timeout', { session })
    if (result === true) return
    if (result === undefined && !again && session.type === 'c2s') {
      // White space would be answered by the other side's system only, or by whatever is in between.
      const { host, fullJid } = session
      const content = writeElement('ping', { xmlns: NS_PING }, '')
      const attrs = { type: 'get', id: randomText(6), from: host?.name, to: fullJid }
      session.sendText(writeElement('iq', attrs, content))
      return
    }
    session.close(new StreamError('connection-timeout', 'Nothing was heard of this client'))
  }
}

/** RFC 7301 §6, XEP-0368 §3 */
const PROTOCOL = 'xmpp-client'

function beginTls({ server }: C2sModule, session: StreamSession): void {
  const { connection, log } = session
  const materialOf = (name: string | undefined): TlsMaterial | undefined => {
    if (name !== undefined) return server.tlsOf(prepareDomain(name) ?? '')
    for (const host of server.hosts.keys()) {
      const material = server.tlsOf(host)
      if (material !== undefined) return material
    }
    return undefined
  }
  acceptTls(connection, PROTOCOL, materialOf, (material) => {
    session.secure = true
    session.tlsMaterial = material
    const cipher = connection.tls?.getCipher()
    log.debug('TLS is on', { version: cipher?.version, cipher: cipher?.name, first: true })
  })
}

/** A connection has been made. @param direct - whether TLS comes before the stream */
function connected(module: C2sModule, profile: C2sProfile, socket: Socket, direct: boolean): void {
  const { options, server } = module
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
  if (direct) beginTls(module, session)
}

export default definePlugin({
  name: 'c2s',
  hostType: 'host',
  options,
  shared(module) {
    const { options } = module
    const profile = new C2sProfile(module)
    module.listen({
      name: 'c2s',
      ports: options.c2s_ports,
      interfaces: options.c2s_interfaces ?? options.interfaces,
      connected: (socket) => connected(module, profile, socket, false),
    })
    module.listen({
      name: 'c2s_direct_tls',
      ports: options.c2s_direct_tls_ports,
      interfaces: options.c2s_direct_tls_interfaces ?? options.interfaces,
      connected: (socket) => connected(module, profile, socket, true),
    })
    new Silence(module).watch()
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
