/** Authentication of clients (SASL, RFC 6120 §6) and their resource binding (§7). */

import {
  availableMechanisms,
  bindResource,
  type ChannelBindings,
  c2sOptions,
  coreOptions,
  definePlugin,
  errorReply,
  escapeText,
  type Host,
  joinJid,
  type Module,
  NS_BIND,
  NS_CHANNEL_BINDING,
  NS_SASL,
  NS_SESSION,
  prepareLocal,
  reply,
  type SaslExchange,
  type SaslStep,
  Stanza,
  StreamError,
  type StreamSession,
  startExchange,
  writeElement,
  xml,
} from '../server/index.ts'

const options = {
  c2s_require_encryption: c2sOptions.c2s_require_encryption,
  allow_unencrypted_plain_auth: c2sOptions.allow_unencrypted_plain_auth,
  insecure_sasl_mechanisms: c2sOptions.insecure_sasl_mechanisms,
  disable_sasl_mechanisms: c2sOptions.disable_sasl_mechanisms,
  tls_channel_binding: c2sOptions.tls_channel_binding,
  conflict_resolve: coreOptions.conflict_resolve,
  max_resources: coreOptions.max_resources,
}
type SaslModule = Module<typeof options>

/** Wrong credentials after which a stream is closed (RFC 6120 §6.4.5 wants 2 to 5). */
const MOST_ATTEMPTS = 5
/** Failures of all kinds: a client may have to find out by trial which mechanism it shares with the server. */
const MOST_FAILURES = 10
/** Canonical Base64; `=` alone stands for nothing at all (RFC 6120 §6.4.2). */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

const BIND_FEATURE = `<bind xmlns='${NS_BIND}'><required/></bind>`
const SESSION_FEATURE = `<session xmlns='${NS_SESSION}'><optional/></session>`

/** The stream feature that offers these mechanisms (RFC 6120 §6.4.1). Their names have nothing to be escaped. */
function mechanismsFeature(names: readonly string[]): string {
  let list = ''
  for (const name of names) list += `<mechanism>${name}</mechanism>`
  return `<mechanisms xmlns='${NS_SASL}'>${list}</mechanisms>`
}

/** What a stream is at with its authentication, once it has taken more than one message. */
interface Progress {
  exchange: SaslExchange | undefined
  wrongCredentials: number
  failures: number
}

/** The channel bindings of a TLS connection (RFC 9266, RFC 5929). */
function bindingsOf(session: StreamSession): ChannelBindings | undefined {
  const { tls } = session.connection
  const { tlsMaterial } = session
  if (!session.secure || tls === undefined || tlsMaterial === undefined) return undefined
  // RFC 9266 §4.2: in TLS 1.2 the exporter is only safe with an extension that Node does not tell of.
  const exporter = tls.getProtocol() === 'TLSv1.3'
  return {
    types: () => (exporter ? ['tls-exporter', 'tls-server-end-point'] : ['tls-server-end-point']),
    get(type) {
      if (type === 'tls-server-end-point') return tlsMaterial.endPointHash
      return exporter ? tls.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0)) : undefined
    },
  }
}

/** The mechanisms that are offered on a connection. */
interface Offer {
  readonly names: readonly string[]
  /** As a stream feature; empty if there are none. */
  readonly feature: string
  /** Whether some of them bind to the channel. */
  readonly plus: boolean
}

/** What is offered, made once for each kind of connection and state of the configuration. */
class Offers {
  private readonly module: SaslModule
  private known: (Offer | undefined)[] = []
  private revision = -1

  constructor(module: SaslModule) {
    this.module = module
  }

  to(session: StreamSession): Offer {
    const { options, server } = this.module
    if (this.revision !== server.configRevision) {
      this.known = []
      this.revision = server.configRevision
    }
    const { secure } = session
    const channelBindings = secure && options.tls_channel_binding && bindingsOf(session) !== undefined
    const kind = channelBindings ? 2 : secure ? 1 : 0
    const known = this.known[kind]
    if (known !== undefined) return known
    const names = this.namesFor(secure, channelBindings)
    const plus = names.some((name) => name.endsWith('-PLUS'))
    const offer = { names, feature: names.length === 0 ? '' : mechanismsFeature(names), plus }
    this.known[kind] = offer
    return offer
  }

  /** What -PLUS mechanisms bind to on this connection; undefined if none of them is offered. */
  bindings(session: StreamSession): ChannelBindings | undefined {
    return this.to(session).plus ? bindingsOf(session) : undefined
  }

  private namesFor(secure: boolean, channelBindings: boolean): string[] {
    const { options } = this.module
    if (!secure && options.c2s_require_encryption) return []
    const disabled = [...options.disable_sasl_mechanisms]
    if (!secure) disabled.push(...(options.insecure_sasl_mechanisms ?? []))
    return availableMechanisms({
      channelBindings,
      plainAllowed: secure || options.allow_unencrypted_plain_auth,
      disabled,
    })
  }
}

function saslFailure(condition: string, text: string): Stanza {
  const failure = new Stanza('failure', { xmlns: NS_SASL }, xml(condition))
  if (text !== '') failure.append(xml('text', { 'xml:lang': 'en' }, text))
  return failure
}

/** The decoded content of <auth/> or <response/>; null if it is not Base64. */
function decode(stanza: Stanza): Buffer | undefined | null {
  const text = stanza.getText()
  if (stanza.childCount > 0) return null
  if (text === '') return undefined
  if (text === '=') return Buffer.alloc(0)
  return BASE64.test(text) ? Buffer.from(text, 'base64') : null
}

class Authenticator {
  private readonly module: SaslModule
  private readonly host: Host
  private readonly progress = new WeakMap<StreamSession, Progress>()

  private readonly offers: Offers

  constructor(module: SaslModule, offers: Offers) {
    this.module = module
    this.host = module.host
    this.offers = offers
  }

  auth(session: StreamSession, stanza: Stanza): Promise<void> | true {
    if (this.isOver(session)) return true
    const mechanism = stanza.attrs.mechanism ?? ''
    if (!this.offers.to(session).names.includes(mechanism)) {
      if (!session.secure && this.module.options.c2s_require_encryption) {
        return this.fail(session, 'encryption-required', 'Start TLS before authenticating')
      }
      return this.fail(session, 'invalid-mechanism', 'That mechanism was not offered')
    }
    const exchange = startExchange(mechanism, {
      users: this.host.users!,
      host: this.host.name,
      prepareUsername: prepareLocal,
      channelBindings: this.offers.bindings(session),
    })
    return this.step(session, exchange, stanza)
  }

  response(session: StreamSession, stanza: Stanza): Promise<void> | true {
    if (this.isOver(session)) return true
    const exchange = this.progress.get(session)?.exchange
    if (exchange === undefined) {
      return this.fail(session, 'malformed-request', 'No authentication is under way')
    }
    return this.step(session, exchange, stanza)
  }

  abort(session: StreamSession): true {
    if (this.isOver(session)) return true
    return this.fail(session, 'aborted', '')
  }

  /** RFC 6120 §6.4.6: who has authenticated does not begin again. */
  private isOver(session: StreamSession): boolean {
    if (session.username === undefined) return false
    session.close(new StreamError('policy-violation', 'This stream has been authenticated already'))
    return true
  }

  /** What comes next is not looked at before this has ended: the session holds it back. */
  private async step(
    session: StreamSession,
    exchange: SaslExchange | undefined,
    stanza: Stanza,
  ): Promise<void> {
    const bytes = decode(stanza)
    if (bytes === null || exchange === undefined) {
      this.fail(session, 'incorrect-encoding', 'The content is not Base64')
      return
    }
    this.answer(session, exchange, await exchange.step(bytes))
  }

  private answer(session: StreamSession, exchange: SaslExchange, step: SaslStep): void {
    if (session.destroyed) return
    if (step.kind === 'challenge') {
      this.progressOf(session).exchange = exchange
      session.send(new Stanza('challenge', { xmlns: NS_SASL }, step.data.toString('base64')))
      return
    }
    if (step.kind === 'failure') {
      if (step.cause !== undefined) {
        // That the storage is away is logged once, not for each login.
        const level = (step.cause as { code?: unknown }).code === 'unavailable' ? 'debug' : 'error'
        session.log[level]('authentication could not be done', { error: step.cause })
      }
      this.fail(session, step.condition, step.text)
      return
    }
    this.progress.delete(session)
    session.username = step.username
    session.type = 'c2s_unbound'
    const { mechanism } = exchange
    session.log.info('authenticated', { jid: joinJid(step.username, this.host.name), mechanism })
    this.host.events.fire('authentication-success', { session })
    // Data of SCRAM's last message goes along (RFC 6120 §6.4.6); `=` would stand for empty data.
    const data = step.data?.length === 0 ? '=' : (step.data?.toString('base64') ?? '')
    session.sendText(writeElement('success', { xmlns: NS_SASL }, data))
    session.restart()
  }

  private fail(session: StreamSession, condition: string, text: string): true {
    const progress = this.progressOf(session)
    progress.exchange = undefined
    progress.failures++
    if (condition === 'not-authorized') progress.wrongCredentials++
    session.send(saslFailure(condition, text))
    session.log.info('authentication failed', { condition, text, from: session.connection.remoteAddress })
    this.host.events.fire('authentication-failure', { session, condition, text })
    if (progress.wrongCredentials >= MOST_ATTEMPTS || progress.failures >= MOST_FAILURES) {
      session.close(new StreamError('policy-violation', 'Too many failed authentications'))
    }
    return true
  }

  private progressOf(session: StreamSession): Progress {
    let progress = this.progress.get(session)
    if (progress === undefined) {
      progress = { exchange: undefined, wrongCredentials: 0, failures: 0 }
      this.progress.set(session, progress)
    }
    return progress
  }
}

/** RFC 6120 §7.6 */
function bind(module: SaslModule, session: StreamSession, stanza: Stanza): true | Promise<true> {
  if (session.type !== 'c2s_unbound' || stanza.attrs.type !== 'set') {
    session.send(errorReply(stanza, 'not-allowed', 'A resource is bound once, with an IQ of type set'))
    return true
  }
  const wanted = stanza.payload?.getChildText('resource') ?? undefined
  const { conflict_resolve, max_resources } = module.options
  // What is thrown here is told to the client by the server.
  const { cluster } = module.server
  if (cluster === undefined) {
    return tellBound(session, stanza, bindResource(session, wanted, conflict_resolve, max_resources))
  }
  return cluster.bindings
    .bind(session, wanted, conflict_resolve, max_resources)
    .then((jid) => tellBound(session, stanza, jid))
}

function tellBound(session: StreamSession, stanza: Stanza, jid: string): true {
  session.log.info('bound', { jid })
  const content = writeElement('bind', { xmlns: NS_BIND }, writeElement('jid', {}, escapeText(jid)))
  const { id, from } = stanza.attrs
  session.sendText(writeElement('iq', { type: 'result', id, to: from }, content))
  return true
}

export default definePlugin({
  name: 'saslauth',
  hostType: 'host',
  options,
  load(module) {
    const offers = new Offers(module)
    const authenticator = new Authenticator(module, offers)
    module.hook('stream-features', ({ origin, features }) => {
      if (origin.type === 'c2s_unbound') {
        features.appendWritten(BIND_FEATURE, 'bind', NS_BIND)
        features.appendWritten(SESSION_FEATURE, 'session', NS_SESSION)
        return
      }
      if (origin.type !== 'c2s_unauthed') return
      const { feature } = offers.to(origin)
      if (feature === '') return
      features.appendWritten(feature, 'mechanisms', NS_SASL)
      const bindings = offers.bindings(origin)
      if (bindings !== undefined) {
        // XEP-0440
        const types = bindings.types().map((type) => xml('channel-binding', { type }))
        features.append(xml('sasl-channel-binding', { xmlns: NS_CHANNEL_BINDING }, ...types))
      }
    })
    module.hook(`stanza/${NS_SASL}:auth`, ({ origin, stanza }) => authenticator.auth(origin, stanza))
    module.hook(`stanza/${NS_SASL}:response`, ({ origin, stanza }) => authenticator.response(origin, stanza))
    module.hook(`stanza/${NS_SASL}:abort`, ({ origin }) => authenticator.abort(origin))
    module.hook(`stanza/iq/${NS_BIND}:bind`, ({ origin, stanza }) => bind(module, origin, stanza))
    module.hook(`iq-set/self/${NS_BIND}:bind`, ({ origin, stanza }) => {
      origin.send(errorReply(stanza, 'not-allowed', 'A resource is bound once'))
      return true
    })
    // RFC 3921 §3: obsolete, and asked for by old clients.
    module.hook(`iq-set/self/${NS_SESSION}:session`, ({ origin, stanza }) => {
      origin.send(reply(stanza))
      return true
    })
    module.hook(`iq-set/host/${NS_SESSION}:session`, ({ origin, stanza }) => {
      origin.send(reply(stanza))
      return true
    })
  },
})
