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
   * @throws StanzaError `registration-required` if it is gone; StorageError (as rejections): as long as the account
   *   is there, nothing else has gone either
   */
  async take(username: string): Promise<void> {
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
      await ended?.tell(username)
      await module.server.storage.purgeUser(host.name, username)
    } catch (error) {
      // The account is gone all the same; it is tried once more when its sessions have ended.
      host.log.error('what a deleted account has stored may be left', { user: username, error })
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
