/** An authentication by SASL under way: its steps, and what the mechanisms are given. */

import type { Users } from './users.ts'

/** What binds an authentication to the TLS channel that it runs in. */
export interface ChannelBindings {
  /**
   * The data of a type: `tls-exporter` (RFC 9266) or `tls-server-end-point` (RFC 5929 §4). `undefined` if this
   * connection does not have it.
   */
  get(type: 'tls-exporter' | 'tls-server-end-point'): Buffer | undefined
  /** The types that this connection has. */
  types(): string[]
}

export interface SaslContext {
  users: Users
  /** Prepares a user name to the localpart of the host's accounts; `undefined` if it is malformed. */
  prepareUsername(name: string): string | undefined
  /** The domain of the accounts, prepared. */
  host: string
  /**
   * `undefined` if no -PLUS mechanism was offered. If it is given and has types, a client that says that it saw
   * none offered is turned away, because somebody took them from the offer (RFC 5802 §6).
   */
  channelBindings: ChannelBindings | undefined
  /**
   * Asked before a password or a proof is looked at, also where there is no such user. Undefined lets it go on, a
   * promise holds it back; `false` refuses it.
   */
  admit?(username: string): Promise<boolean> | undefined
}

/** The conditions of RFC 6120 §6.5. */
export type SaslFailure =
  | 'aborted'
  | 'account-disabled'
  | 'credentials-expired'
  | 'encryption-required'
  | 'incorrect-encoding'
  | 'invalid-authzid'
  | 'invalid-mechanism'
  | 'malformed-request'
  | 'mechanism-too-weak'
  | 'not-authorized'
  | 'temporary-auth-failure'

export type SaslStep =
  | { kind: 'challenge'; data: Buffer }
  /** `data` is the server's last word, for SCRAM its signature; `username` is the localpart. */
  | { kind: 'success'; data: Buffer | undefined; username: string }
  /** `cause` is what went wrong on our side, for the log. */
  | { kind: 'failure'; condition: SaslFailure; text: string; cause?: unknown }

export interface SaslExchange {
  readonly mechanism: string
  /**
   * Takes the client's next message and answers it. It never rejects. After success or failure the exchange is
   * over, and so it is when a message comes before the last one was answered.
   *
   * @param data `undefined` for a first step without an initial response
   */
  step(data: Buffer | undefined): Promise<SaslStep>
}

/** One mechanism at work: takes each message of the client and answers it. */
export type Mechanism = (message: Buffer) => Promise<SaslStep>

/** One of several messages: it is resumed with each, gives challenges, and returns how it ended. */
export type Dialogue = AsyncGenerator<Extract<SaslStep, { kind: 'challenge' }>, SaslStep, Buffer>

/** A dialogue as a mechanism. */
export function mechanismOf(dialogue: Dialogue): Mechanism {
  let started = false
  return async (message) => {
    // A generator's first call only takes it to where it waits for a message.
    if (!started) {
      started = true
      await dialogue.next(message)
    }
    return (await dialogue.next(message)).value
  }
}

/** Whether -PLUS mechanisms were offered. */
export function hasBindings({ channelBindings }: SaslContext): boolean {
  return channelBindings !== undefined && channelBindings.types().length > 0
}

export function failure(condition: SaslFailure, text: string): Extract<SaslStep, { kind: 'failure' }> {
  return { kind: 'failure', condition, text }
}

/** Of an attempt that is not looked at, because too many others have failed. */
export function refused(): Extract<SaslStep, { kind: 'failure' }> {
  return failure('temporary-auth-failure', 'too many logins have failed; try again later')
}

/** Of somebody who knows the password of an account that is disabled (RFC 6120 §6.5.2). */
export function disabled(): Extract<SaslStep, { kind: 'failure' }> {
  return failure('account-disabled', 'the account was deleted or disabled')
}

/** Keeps order: one message at a time, none after the end, and no exception out of it. */
export class Exchange implements SaslExchange {
  readonly mechanism: string
  readonly #run: Mechanism
  #state: 'new' | 'asked' | 'working' | 'over' = 'new'

  constructor(mechanism: string, run: Mechanism) {
    this.mechanism = mechanism
    this.#run = run
  }

  async step(data: Buffer | undefined): Promise<SaslStep> {
    const state = this.#state
    if (state === 'over') return failure('malformed-request', 'the authentication is over')
    if (state === 'working') {
      this.#state = 'over'
      return failure('malformed-request', 'a message came before the last one was answered')
    }
    if (data === undefined) {
      // RFC 4422 §5: these mechanisms begin with the client; an empty challenge asks it to.
      this.#state = state === 'new' ? 'asked' : 'over'
      if (state === 'new') return { kind: 'challenge', data: Buffer.alloc(0) }
      return failure('malformed-request', 'the message is missing')
    }
    this.#state = 'working'
    let step: SaslStep
    try {
      step = await this.#run(data)
    } catch (cause) {
      const text = 'the account can not be read now; try again later'
      step = { ...failure('temporary-auth-failure', text), cause }
    }
    // A message that came meanwhile has ended it.
    if ((this.#state as string) === 'over') return failure('malformed-request', 'the authentication is over')
    this.#state = step.kind === 'challenge' ? 'asked' : 'over'
    return step
  }
}
