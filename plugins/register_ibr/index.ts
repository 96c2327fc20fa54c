/** Accounts that are made over a stream that nobody has logged in on (XEP-0077 §3.1.1). */

import {
  c2sOptions,
  definePlugin,
  errorReply,
  kinds,
  type Module,
  NS_REGISTER,
  NS_REGISTER_FEATURE,
  option,
  optionProblem,
  prepareLocal,
  readOption,
  reply,
  type Stanza,
  StanzaError,
  StreamError,
  type StreamSession,
  UserError,
  WorkLimitError,
  writeElement,
} from '../../server/index.ts'
import { FIELD_NAMES, layoutOf, questionOf, type Registration, readRegistration } from './fields.ts'

/** Somebody wants an account; handlers may refuse. */
export interface UserRegistering {
  readonly username: string
  readonly host: string
  /** Address that it is asked from. */
  readonly ip: string
  readonly session: StreamSession
  /** Fields other than the user name and the password. */
  readonly additional: Readonly<Record<string, string>>
  /** Whether the account may be made. */
  allowed: boolean
  /** What who asks is told if it may not. */
  error?: StanzaError
}

declare module '../../server/event-types.ts' {
  interface EventTypes {
    'user-registering': UserRegistering
    /** Somebody has made an account. */
    'user-registered': {
      readonly username: string
      readonly host: string
      readonly source: string
      readonly session: StreamSession
    }
  }
}

const options = {
  c2s_require_encryption: c2sOptions.c2s_require_encryption,
  allow_registration: option({
    schema: kinds.flag().default(false),
    description: 'Whether anybody may make an account.',
  }),
  registration_invite_only: option({
    schema: kinds.flag().optional(),
    description:
      'Whether accounts are only made for those who were invited: nobody is here. True if `invites_register` is enabled.',
  }),
  additional_registration_fields: option({
    schema: kinds
      .list(kinds.word('the name of a field'), 'names of fields')
      .superRefine((names, context) => {
        for (const [index, name] of names.entries()) {
          if (FIELD_NAMES.includes(name.replace(/\+$/, ''))) continue
          const message = `must be one of ${FIELD_NAMES.join(', ')}, with a + behind it if it is required`
          context.addIssue({ code: 'custom', message, path: [index] })
        }
      })
      .default([]),
    description: 'What else is asked for when an account is made; `email+` has to be filled in.',
  }),
  registration_title: option({
    schema: kinds.text().default('A new account'),
    description: 'Title of the form for an account.',
  }),
  registration_instructions: option({
    schema: kinds.text().default('Choose a user name and a password.'),
    description: 'What those are told who want to make an account.',
  }),
}
type IbrModule = Module<typeof options>

const FEATURE = writeElement('register', { xmlns: NS_REGISTER_FEATURE }, '')
/** Options, any of which keeps accounts from being made without end. */
const LIMITS = [
  'min_seconds_between_registrations',
  'registration_throttle_max',
  'allowlist_registration_only',
  'whitelist_registration_only',
]
/** Times that one stream may ask for an account; each shows whether a name is taken. */
const MOST_ATTEMPTS = 10

/** What is kept of an account besides what it logs in with: Unix time in seconds, and the other fields. */
type AccountDetails = { readonly registered: number } & Readonly<Record<string, string | number>>

export default definePlugin({
  name: 'register_ibr',
  hostType: 'host',
  depends: ['register_limits'],
  options,
  async check({ config, host }) {
    const name = 'allow_registration'
    if (!readOption(config, host.name, name, options.allow_registration)) return []
    const warn = (message: string) => optionProblem(config, 'warning', host.name, name, message)
    const { registration_invite_only: inviteOption } = options
    const inviteOnly = readOption(config, host.name, 'registration_invite_only', inviteOption)
    if (inviteOnly ?? needsInvites(config.modulesFor(host.name))) {
      return [warn(`${name}: accounts are for those with an invitation here, and nobody can have one`)]
    }
    if (LIMITS.some((limit) => config.has(host.name, limit) || config.has('*', limit))) return []
    return [
      warn(
        `${name}: anybody may make as many accounts as they like; min_seconds_between_registrations = 600 allows ` +
          'one in ten minutes to each address',
      ),
    ]
  },
  load(module) {
    const door = new Door(module)
    module.hook('stream-features', ({ origin, features }) => {
      if (origin.type === 'c2s_unauthed' && door.isOpen && door.isSafe(origin)) {
        features.appendWritten(FEATURE, 'register', NS_REGISTER_FEATURE)
      }
    })
    module.hook(`stanza/iq/${NS_REGISTER}:query`, ({ origin, stanza }) => door.asked(origin, stanza))
  },
})

function needsInvites(modules: readonly string[]): boolean {
  return modules.includes('invites_register')
}

/** Where accounts are made. */
class Door {
  private readonly module: IbrModule
  private readonly details
  private readonly attempts = new WeakMap<StreamSession, number>()
  private readonly registered = new WeakSet<StreamSession>()
  private open = false
  private revision = -1

  constructor(module: IbrModule) {
    this.module = module
    this.details = module.openStore<AccountDetails>('account_details')
  }

  /** Whether accounts are made at all; asked for each stream. */
  get isOpen(): boolean {
    const { module } = this
    const { config, configRevision } = module.server
    if (this.revision !== configRevision) {
      this.revision = configRevision
      const { allow_registration, registration_invite_only } = module.options
      // Who has been closed to strangers by an invitation of Prosody's does not become open to all here.
      const inviteOnly = registration_invite_only ?? needsInvites(config.modulesFor(module.host.name))
      this.open = allow_registration && !inviteOnly
    }
    return this.open
  }

  /** Whether a password may be sent over the stream. */
  isSafe(session: StreamSession): boolean {
    return session.secure || !this.module.options.c2s_require_encryption
  }

  asked(session: StreamSession, stanza: Stanza): true | Promise<true> {
    // Nobody has an address yet, whatever is written there.
    delete (stanza.attrs as Record<string, string | undefined>)['from']
    if (this.module.server.router.refuseIq(session, stanza)) return true
    const { type } = stanza.attrs
    // An answer to what nobody has asked.
    if (type !== 'get' && type !== 'set') return true
    if (session.type !== 'c2s_unauthed' || !this.isOpen) {
      session.send(errorReply(stanza, 'service-unavailable', 'Accounts are not made here'))
      return true
    }
    if (!this.isSafe(session)) {
      session.send(errorReply(stanza, 'policy-violation', 'Start TLS first'))
      return true
    }
    if (type === 'set') return this.set(session, stanza)
    session.send(reply(stanza, questionOf(this.layout())))
    return true
  }

  private layout() {
    const { options } = this.module
    return layoutOf({
      title: options.registration_title,
      instructions: options.registration_instructions,
      additional: options.additional_registration_fields,
    })
  }

  private set(session: StreamSession, stanza: Stanza): true | Promise<true> {
    const attempts = (this.attempts.get(session) ?? 0) + 1
    if (attempts > MOST_ATTEMPTS) {
      session.close(new StreamError('policy-violation', 'Too many attempts to make an account'))
      return true
    }
    this.attempts.set(session, attempts)
    const query = stanza.payload!
    if (query.getChild('remove') !== undefined) {
      // §3.2, the table
      throw new StanzaError('registration-required', 'Log in to remove an account')
    }
    // §3.1.1: one account a stream.
    if (this.registered.has(session)) throw new StanzaError('not-acceptable', 'Log in to the account first')
    const registration = readRegistration(this.layout(), query)
    const username = prepareLocal(registration.username)
    if (username === undefined) {
      throw new StanzaError('not-acceptable', 'That is no user name that an address can have')
    }
    this.askOthers(session, username, registration)
    return this.create(session, stanza, username, registration)
  }

  /** @throws StanzaError if a plugin is against it */
  private askOthers(session: StreamSession, username: string, { additional }: Registration): void {
    const { module } = this
    const asked: UserRegistering = {
      username,
      host: module.host.name,
      ip: session.connection.remoteAddress,
      session,
      additional,
      allowed: true,
    }
    module.fireEvent('user-registering', asked)
    if (asked.allowed) return
    session.log.info('an account was refused', {
      user: username,
      from: asked.ip,
      reason: asked.error?.message,
    })
    throw asked.error ?? new StanzaError('not-acceptable')
  }

  private async create(
    session: StreamSession,
    stanza: Stanza,
    username: string,
    { password, additional }: Registration,
  ): Promise<true> {
    const { host } = this.module
    const users = host.users!
    try {
      if (!(await users.exists(username))) this.forgetFormer(username)
      await users.create(username, password)
    } catch (error) {
      throw refusalOf(error)
    }
    try {
      await this.details.set(username, { ...additional, registered: Math.floor(Date.now() / 1000) })
    } catch (error) {
      await users.delete(username)
      throw error
    }
    this.registered.add(session)
    host.log.info('an account was made', { user: username, from: session.connection.remoteAddress })
    session.send(reply(stanza))
    this.module.fireEvent('user-registered', { username, host: host.name, source: 'mod_register', session })
    return true
  }

  /**
   * What is remembered of an account of that name that was deleted: whoever did that may not have come to tell.
   *
   * @throws StanzaError if it still has sessions, which would be the new one's
   */
  private forgetFormer(username: string): void {
    const { host, server } = this.module
    if (host.isOnline(username)) throw new StanzaError('conflict', 'The name is not free yet')
    server.events.fire('user-deleted', { username, host: host.name })
  }
}

/** What somebody is told whose account could not be made. */
function refusalOf(error: unknown): unknown {
  if (error instanceof WorkLimitError) {
    return new StanzaError('resource-constraint', 'The server is busy; try again later')
  }
  if (!(error instanceof UserError)) return error
  if (error.code === 'unfinished') return new StanzaError('conflict', 'The name is not free yet')
  return error.code === 'exists'
    ? new StanzaError('conflict', 'There is an account of that name')
    : new StanzaError('not-acceptable', error.message)
}
