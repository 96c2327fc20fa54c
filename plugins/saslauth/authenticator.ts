/** The course of an authentication (RFC 6120 §6.4): messages, failures, and the end. */

import {
  type Host,
  joinJid,
  type LoginAttempt,
  LoginThrottle,
  NS_SASL,
  prepareLocal,
  type SaslExchange,
  type SaslStep,
  Stanza,
  StreamError,
  type StreamSession,
  startExchange,
  writeElement,
  xml,
} from '../../server/index.ts'
import type { Offers } from './offers.ts'
import type { SaslModule } from './options.ts'

/** Wrong credentials after which a stream is closed (RFC 6120 §6.4.5 wants 2 to 5). */
const MOST_ATTEMPTS = 5
/** Failures of all kinds: a client may have to find out by trial which mechanism it shares with the server. */
const MOST_FAILURES = 10
/** Canonical Base64; `=` alone stands for nothing at all (RFC 6120 §6.4.2). */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** An exchange of messages, and what has it wait. */
interface Login {
  readonly exchange: SaslExchange
  readonly attempt: LoginAttempt | undefined
}

/** What a stream is at with its authentication, once it has taken more than one message. */
interface Progress {
  login: Login | undefined
  wrongCredentials: number
  failures: number
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

export class Authenticator {
  private readonly module: SaslModule
  private readonly host: Host
  private readonly progress = new WeakMap<StreamSession, Progress>()

  private readonly offers: Offers
  /** One for all hosts: an address has its tries with all of them together. */
  private readonly throttle: LoginThrottle

  constructor(module: SaslModule, offers: Offers) {
    this.module = module
    this.host = module.host
    this.offers = offers
    this.throttle = module.shared('saslauth/throttle', () => new LoginThrottle(module.server.timers))
  }

  auth(session: StreamSession, stanza: Stanza): Promise<void> | true {
    if (this.isOver(session)) return true
    const mechanism = stanza.attrs.mechanism ?? ''
    if (!this.offers.to(session).names.includes(mechanism)) {
      return this.refuseMechanism(session, mechanism)
    }
    const attempt = this.attemptOf(session)
    const exchange = startExchange(mechanism, {
      users: this.host.users!,
      host: this.host.name,
      prepareUsername: prepareLocal,
      channelBindings: this.offers.bindings(session),
      admit: attempt && ((username) => this.admit(session, attempt, username)),
    })
    return this.step(session, exchange && { exchange, attempt }, stanza)
  }

  private refuseMechanism(session: StreamSession, mechanism: string): true {
    const { options, server } = this.module
    if (!session.secure && options.c2s_require_encryption) {
      return this.fail(session, 'encryption-required', 'Start TLS before authenticating')
    }
    if (session.secure || !this.offers.overTls(mechanism)) {
      return this.fail(session, 'invalid-mechanism', 'That mechanism was not offered')
    }
    return server.modules.isLoaded(this.host.name, 'tls')
      ? this.fail(session, 'encryption-required', 'Start TLS before using that mechanism')
      : this.fail(session, 'mechanism-too-weak', 'That mechanism shows the password to whoever listens')
  }

  private attemptOf(session: StreamSession): LoginAttempt | undefined {
    const { login_throttle, login_throttle_longest, login_throttle_exempt } = this.module.options
    if (!login_throttle) return undefined
    const { remoteAddress } = session.connection
    return this.throttle.begin({
      address: login_throttle_exempt.includes(remoteAddress) ? undefined : remoteAddress,
      host: this.host.name,
      longest: login_throttle_longest,
      isGone: () => session.destroyed,
    })
  }

  private admit(
    session: StreamSession,
    attempt: LoginAttempt,
    username: string,
  ): Promise<boolean> | undefined {
    const admitted = attempt.admit(username)
    if (admitted !== undefined) {
      session.log.info('a login has to wait: others with a wrong password came before it', {
        jid: joinJid(username, this.host.name),
        from: session.connection.remoteAddress,
      })
    }
    return admitted
  }

  response(session: StreamSession, stanza: Stanza): Promise<void> | true {
    if (this.isOver(session)) return true
    const login = this.progress.get(session)?.login
    if (login === undefined) {
      return this.fail(session, 'malformed-request', 'No authentication is under way')
    }
    return this.step(session, login, stanza)
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
  private async step(session: StreamSession, login: Login | undefined, stanza: Stanza): Promise<void> {
    const bytes = decode(stanza)
    if (bytes === null || login === undefined) {
      this.fail(session, 'incorrect-encoding', 'The content is not Base64')
      return
    }
    const step = await login.exchange.step(bytes)
    if (step.kind === 'success') login.attempt?.ended('right')
    else if (step.kind === 'failure') {
      login.attempt?.ended(step.condition === 'not-authorized' ? 'wrong' : 'unknown')
    }
    this.answer(session, login, step)
  }

  private answer(session: StreamSession, login: Login, step: SaslStep): void {
    if (session.destroyed) return
    if (step.kind === 'challenge') {
      this.progressOf(session).login = login
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
    const { mechanism } = login.exchange
    session.log.info('authenticated', { jid: joinJid(step.username, this.host.name), mechanism })
    this.host.events.fire('authentication-success', { session })
    // Data of SCRAM's last message goes along (RFC 6120 §6.4.6); `=` would stand for empty data.
    const data = step.data?.length === 0 ? '=' : (step.data?.toString('base64') ?? '')
    session.sendText(writeElement('success', { xmlns: NS_SASL }, data))
    session.restart()
  }

  private fail(session: StreamSession, condition: string, text: string): true {
    const progress = this.progressOf(session)
    progress.login = undefined
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
      progress = { login: undefined, wrongCredentials: 0, failures: 0 }
      this.progress.set(session, progress)
    }
    return progress
  }
}
