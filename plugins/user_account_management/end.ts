/** The end of an account: its contacts are told, all that is stored of it goes, and its sessions end everywhere. */

import {
  type EndReason,
  endSessions,
  type Host,
  type Module,
  StanzaError,
  type StreamSession,
  UserError,
} from '../../server/index.ts'
import type { RostersByHost } from '../roster/index.ts'

/** Milliseconds that other processes have to say that they have ended the sessions. */
const ANSWER_MS = 2000

interface EndedAccount {
  readonly username: string
  readonly reason: EndReason
}

/** Ends accounts of one host, and their sessions. */
export class AccountEnd {
  private readonly module: Module
  private readonly host: Host
  private readonly callName: string

  constructor(module: Module) {
    this.module = module
    this.host = module.host
    this.callName = `user_account_management/end ${module.host.name}`
    const { cluster } = module.server
    if (cluster === undefined) return
    module.onUnload(
      cluster.calls.on(this.callName, (data) => {
        const { username, reason } = data as EndedAccount
        this.endHere(username, reason)
        return true
      }),
    )
  }

  /**
   * Takes an account away, with all that is stored of it.
   *
   * @returns whether all of it is gone; otherwise `purge` is to be tried again
   * @throws StanzaError `registration-required` if it is gone; StorageError (as rejections): as long as the account
   *   is there, nothing else has gone either
   */
  async take(username: string): Promise<boolean> {
    const { host, module } = this
    const ended = module.shared<RostersByHost>('roster/hosts', () => new Map()).get(host.name)?.ended
    // What a process that dies from here on leaves undone is found.
    const account = await host.users!.read(username)
    if (account === undefined) throw new StanzaError('registration-required', 'The account is gone')
    await ended?.note(username, account.created)
    try {
      // First the account: from now on nobody logs in to it, and nobody changes its roster.
      await host.users!.delete(username)
    } catch (error) {
      if (!(error instanceof UserError)) throw error
      throw new StanzaError('registration-required', 'The account is gone')
    }
    try {
      await ended?.note(username, account.created)
    } catch (error) {
      // What was noted before is as good as the same.
      host.log.error('the last changes of the roster of a deleted account may be lost', {
        user: username,
        error,
      })
    }
    await ended?.tell(username)
    return this.purge(username)
  }

  /**
   * Removes what is left of an account that is gone; of another one that has its name now, nothing. It does not fail.
   *
   * @returns whether it could
   */
  async purge(username: string): Promise<boolean> {
    const { host } = this
    try {
      await host.users!.purge(username)
      return true
    } catch (error) {
      host.log.error('what a deleted account has stored may be left', { user: username, error })
      return false
    }
  }

  /**
   * Ends the sessions of an account at all processes.
   *
   * @param but - one that stays
   */
  async endSessions(username: string, reason: EndReason, but?: StreamSession): Promise<void> {
    this.endHere(username, reason, but)
    const { cluster } = this.module.server
    if (cluster === undefined) return
    const others = [...cluster.members.values()].filter(({ id }) => id !== cluster.self.id)
    const ids = others.map(({ id }) => id)
    const told: EndedAccount = { username, reason }
    const answers = await cluster.calls.ask(ids, this.callName, told, ANSWER_MS)
    const silent = others.filter(({ id }) => !answers.has(id)).map(({ info }) => info.name)
    if (silent.length === 0) return
    this.host.log.warn('sessions of an account may be left at processes that do not answer', {
      user: username,
      reason,
      processes: silent,
    })
  }

  private endHere(username: string, reason: EndReason, but?: StreamSession): void {
    const { gone } = endSessions(this.module.server, this.host, username, reason, but)
    gone.catch((error: unknown) => {
      this.host.log.error('what a deleted account has stored may be left', { user: username, error })
    })
  }
}
