/** What an account does with itself: another password, and its end (XEP-0077 §3.2, §3.3). */

import {
  definePlugin,
  type Element,
  kinds,
  NS_DATA,
  NS_REGISTER,
  option,
  prepareLocal,
  rawFormValues,
  reply,
  StanzaError,
  type StanzaEvent,
  StreamSession,
  UserError,
  WorkLimitError,
  xml,
} from '../../server/index.ts'
import { AccountEnd } from './end.ts'
import { RemovedAccounts } from './grace.ts'

declare module '../../server/event-types.ts' {
  interface EventTypes {
    /** Somebody has removed their account, and it is deleted. */
    'user-deregistered': {
      readonly username: string
      readonly host: string
      readonly source: string
      /** Absent where that was some time ago. */
      readonly session?: StreamSession
    }
    /** Somebody has removed their account, which is disabled and is deleted later. */
    'user-deregistered-pending': {
      readonly username: string
      readonly host: string
      readonly source: string
      readonly session: StreamSession
      /** Unix times in seconds. */
      readonly status: { readonly deleted_at: number; readonly pending_until: number }
    }
  }
}

const options = {
  registration_compat: option({
    schema: kinds.flag().default(true),
    description: 'Whether an account may also ask its host, not only itself, to change or remove it.',
  }),
  registration_delete_grace_period: option({
    schema: kinds.period(0).optional(),
    description: 'How long an account that was removed in-band is only disabled before it is deleted.',
  }),
}

export default definePlugin({
  name: 'user_account_management',
  hostType: 'host',
  options,
  load(module) {
    const { host } = module
    module.addFeature(NS_REGISTER)
    const end = new AccountEnd(module)
    const removed = new RemovedAccounts(module, end)

    const get = ({ stanza }: StanzaEvent, session: StreamSession): true => {
      session.send(
        reply(
          stanza,
          xml(
            'query',
            { xmlns: NS_REGISTER },
            xml('registered'),
            xml('username', {}, session.username!),
            xml('password'),
          ),
        ),
      )
      return true
    }

    const remove = async ({ stanza }: StanzaEvent, session: StreamSession): Promise<true> => {
      const username = session.username!
      const grace = module.options.registration_delete_grace_period
      if (grace !== undefined) {
        const told = await removed.add(username, grace, session).catch((error) => {
          throw refusalOf(error)
        })
        session.log.info('an account was removed by who has it, and is disabled', { user: username })
        session.send(reply(stanza))
        await end.endSessions(username, 'disabled')
        module.fireEvent('user-deregistered-pending', told)
        return true
      }
      await removed.deleteNow(username)
      session.log.info('an account was removed by who has it', { user: username })
      session.send(reply(stanza))
      await end.endSessions(username, 'deleted')
      module.fireEvent('user-deregistered', { username, host: host.name, source: 'mod_register', session })
      return true
    }

    const change = async ({ stanza }: StanzaEvent, session: StreamSession, password: string) => {
      const username = session.username!
      try {
        await host.users!.setPassword(username, password)
      } catch (error) {
        throw refusalOf(error)
      }
      session.log.info('a password was changed by who has it', { user: username })
      session.send(reply(stanza))
      await end.endSessions(username, 'password', session)
      return true as const
    }

    const set = (event: StanzaEvent, session: StreamSession): Promise<true> => {
      const query = event.stanza.payload!
      if (query.getChild('remove') === undefined) {
        return change(event, session, newPassword(query, session.username!))
      }
      // §3.2, the table
      if (query.getChildElements().length > 1) {
        throw new StanzaError('bad-request', '<remove/> stands alone')
      }
      return remove(event, session)
    }

    /** Sessions of the host's own accounts, each for itself: nobody else can, on behalf of one either. */
    const forSession =
      (answer: (event: StanzaEvent, session: StreamSession) => unknown) =>
      (event: StanzaEvent): unknown => {
        const { origin } = event
        if (!(origin instanceof StreamSession) || origin.type !== 'c2s' || origin.host !== host)
          return undefined
        return answer(event, origin)
      }
    const forHost =
      (answer: (event: StanzaEvent, session: StreamSession) => unknown) =>
      (event: StanzaEvent): unknown =>
        module.options.registration_compat ? forSession(answer)(event) : undefined
    module.hook(`iq-get/self/${NS_REGISTER}:query`, forSession(get))
    module.hook(`iq-set/self/${NS_REGISTER}:query`, forSession(set))
    module.hook(`iq-get/host/${NS_REGISTER}:query`, forHost(get))
    module.hook(`iq-set/host/${NS_REGISTER}:query`, forHost(set))
  },
})

/**
 * What the password is to be.
 *
 * @throws StanzaError `bad-request` if something is missing, or the account is another one; `not-acceptable` if it
 *   is empty (§3.3: the one that there is stays)
 */
function newPassword(query: Element, username: string): string {
  const form = query.getChild('x', NS_DATA)
  const values = form === undefined ? undefined : rawFormValues(form)
  const read = (name: string) => (form === undefined ? query.getChild(name)?.getText() : values?.text(name))
  const named = read('username')
  const password = read('password')
  if (named === undefined || password === undefined) {
    throw new StanzaError('bad-request', 'The user name and the new password are needed')
  }
  if (prepareLocal(named) !== username) {
    throw new StanzaError('bad-request', 'The user name is not that of this account')
  }
  if (password === '') throw new StanzaError('not-acceptable', 'The new password is empty')
  return password
}

function refusalOf(error: unknown): unknown {
  if (error instanceof WorkLimitError) {
    return new StanzaError('resource-constraint', 'The server is busy; try again later')
  }
  if (!(error instanceof UserError)) return error
  return error.code === 'not-found'
    ? new StanzaError('registration-required', 'The account is gone')
    : new StanzaError('not-acceptable', error.message)
}
