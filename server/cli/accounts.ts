// legate register, adduser, passwd, restore, deluser: they work on the storage, whether or not the server runs.

import { existsSync } from 'node:fs'
import { endedSchema } from '../admin/answers.ts'
import type { EndReason } from '../admin/end-sessions.ts'
import { noteEnd } from '../auth/ended-accounts.ts'
import { MARKS, openUsers } from '../auth/open-users.ts'
import type { UserError, Users } from '../auth/users.ts'
import { type Config, coreOptions, readOption } from '../config/index.ts'
import { joinJid, prepareDomain, prepareJid, prepareLocal } from '../jid.ts'
import { escapeUnsafe } from '../log-text.ts'
import { isAtWork } from '../migration/import-mark.ts'
import type { ImportMark } from '../migration/stores.ts'
import { dataPathOf, storageKindOf } from '../server.ts'
import { readConfig } from './config-file.ts'
import { type ConfiguredStorage, openConfigured } from './configured-storage.ts'
import { CommandError, EXIT } from './failure.ts'
import { plural } from './findings.ts'
import { becomeOwnerOf, tellWhoseItIs } from './owner.ts'
import { askPassword } from './password.ts'
import { askServer, NotRunning } from './running-server.ts'

/** An account that a command is about. */
interface Account {
  readonly username: string
  readonly host: string
  /** The bare JID, prepared. */
  readonly jid: string
}

/** What a command works with. */
interface Accounts {
  readonly config: Config
  readonly users: Users
  readonly storage: ConfiguredStorage
}

/** `legate register USER HOST PASSWORD`. @returns the exit code */
export async function register(
  configFile: string | undefined,
  user: string,
  host: string,
  password: string,
): Promise<number> {
  const username = prepareLocal(user)
  if (username === undefined)
    throw new CommandError(`"${user}" is no user name that a JID can have${withHost(user)}`)
  const domain = prepareDomain(host)
  if (domain === undefined) throw new CommandError(`"${host}" is no domain`)
  const account = { username, host: domain, jid: joinJid(username, domain) }
  return work(configFile, account, 'add', (accounts) => create(accounts, account, password))
}

/** `legate adduser JID`. @returns the exit code */
export async function addUser(configFile: string | undefined, jid: string): Promise<number> {
  const account = readAccount(jid)
  return work(configFile, account, 'add', async (accounts) => {
    const { users } = accounts
    // Before the password is asked for in vain.
    await checkFree(users, account)
    await create(accounts, account, await askPassword(account.jid))
  })
}

/** `legate passwd JID`. @returns the exit code */
export async function changePassword(
  configFile: string | undefined,
  jid: string,
  disconnect: boolean,
): Promise<number> {
  const account = readAccount(jid)
  return work(configFile, account, 'change', async ({ config, users }) => {
    const record = await users.read(account.username)
    if (record === undefined) throw notThere(account)
    if (record.disabled !== undefined) throw isRemoved(account)
    await users.setPassword(account.username, await askPassword(account.jid))
    console.log(
      `The password of ${account.jid} is changed.${disconnect ? '' : ' Sessions that are open stay open.'}`,
    )
    if (disconnect) await endSessions(config, account, 'password')
  })
}

/** `legate restore JID`, of an account that was removed and is not deleted yet. @returns the exit code */
export async function restoreUser(configFile: string | undefined, jid: string): Promise<number> {
  const account = readAccount(jid)
  return work(configFile, account, 'change', async ({ users }) => {
    const record = await users.read(account.username)
    if (record === undefined) throw notThere(account)
    if (record.disabled === undefined) throw new CommandError(`${account.jid} has not been removed`)
    await users.disable(account.username, undefined)
    console.log(`${account.jid} is restored, with its password and all that was stored of it.`)
  })
}

/** `legate deluser JID`; also of an account whose name no JID has any more. @returns the exit code */
export async function deleteUser(configFile: string | undefined, jid: string): Promise<number> {
  const misnamed = readMisnamed(jid)
  const prepared = misnamed === undefined || prepareJid(jid) !== undefined ? readAccount(jid) : misnamed
  return work(configFile, prepared, 'change', async ({ config, users, storage }) => {
    const isThere = misnamed !== undefined && (await users.exists(misnamed.username))
    const account = isThere ? misnamed : prepared
    await checkNotImported(storage, account)
    const record = await users.read(account.username)
    if (record === undefined) {
      // What a deletion or an import has left that did not come to its end.
      for (const { username, host } of misnamed === undefined ? [account] : [account, misnamed])
        await storage.purgeUser(host, username, 'accounts')
      await letForget(config, account)
      throw notThere(account, '. What was stored of an earlier one, if anything was left, is removed')
    }
    // A name that is none has nobody who could know it.
    const hasRoster = account !== misnamed && (await storage.prepareStore(account.host, 'roster'))
    const note = async () =>
      hasRoster && (await noteEnd(storage, account.host, account.username, record.created))
    await note()
    // First the account, so that nobody logs in to what is being taken apart.
    await users.delete(account.username)
    const hasContacts = await note()
    try {
      await users.purge(account.username)
    } catch (error) {
      const jid = escapeUnsafe(account.jid)
      console.error(
        `${jid} is deleted, but not all that was stored of it; to remove that: legate deluser ${jid}`,
      )
      throw error
    }
    console.log(`${escapeUnsafe(account.jid)} is deleted, with all that was stored of it.`)
    const isTold = await endSessions(config, account, 'deleted')
    if (hasContacts && !isTold) {
      console.log('Its contacts are told by the server, within a minute if one runs, or when it is started.')
    }
  })
}

/**
 * Lets the server, if it runs, end the sessions of an account.
 *
 * @returns whether it does
 * @throws CommandError if they stay open
 */
async function endSessions(config: Config, { username, host }: Account, reason: EndReason): Promise<boolean> {
  const question = { command: 'end-sessions', host, username, reason }
  try {
    const { sessions, silent = [] } = await askServer(config, question, endedSchema)
    if (sessions > 0) console.log(`${plural(sessions, 'session')} of it ended.`)
    if (silent.length > 0) {
      const names = escapeUnsafe(silent.join(', '))
      console.error(
        reason === 'deleted'
          ? `These processes do not answer, and end its sessions when they can: ${names}`
          : `These processes do not answer, so its sessions there stay open: ${names}`,
      )
    }
    return true
  } catch (error) {
    if (error instanceof NotRunning) return false
    if (!(error instanceof CommandError)) throw error
    // It sees for itself that an account is gone.
    if (reason === 'deleted')
      console.error(`The server ends its sessions within seconds, if it runs: ${error.message}`)
    else throw new CommandError(`the sessions that are open stay open: ${error.message}`)
    return false
  }
}

/** Lets the server, if it runs, end what it has of an account of that name that was deleted. */
async function letForget(config: Config, { username, host }: Account): Promise<void> {
  try {
    await askServer(config, { command: 'end-sessions', host, username, reason: 'deleted' }, endedSchema)
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
  }
}

async function create({ config, users }: Accounts, account: Account, password: string): Promise<void> {
  await checkFree(users, account)
  await letForget(config, account)
  try {
    await users.create(account.username, password)
  } catch (error) {
    const { code } = error as UserError
    if (code === 'exists') await checkFree(users, account)
    if (code === 'unfinished') throw isUnfinished(account)
    throw error
  }
  console.log(`${account.jid} is added.`)
}

/** @throws CommandError if there is an account, or one that was removed and is still kept */
async function checkFree(users: Users, account: Account): Promise<void> {
  const record = await users.read(account.username)
  if (record === undefined) return
  throw record.disabled === undefined ? alreadyThere(account) : isRemoved(account)
}

function alreadyThere({ jid }: Account): CommandError {
  return new CommandError(
    `there is an account ${jid} already; to give it another password: legate passwd ${jid}`,
  )
}

function isRemoved({ jid }: Account): CommandError {
  return new CommandError(
    `${jid} was removed by who had it, and is kept for some time (registration_delete_grace_period): to restore ` +
      `it: legate restore ${jid}; to delete it now: legate deluser ${jid}`,
  )
}

function isUnfinished({ jid }: Account): CommandError {
  return new CommandError(
    `an import of ${jid} is at work, or did not come to its end: to have it, import it again; to remove what there ` +
      `is of it: legate deluser ${jid}`,
  )
}

/** @throws CommandError if an import is at the account just now */
async function checkNotImported(storage: ConfiguredStorage, { username, host, jid }: Account): Promise<void> {
  const mark = await storage.openKeyval<ImportMark>(host, MARKS).get(username)
  if (mark === undefined || !isAtWork(mark)) return
  throw new CommandError(
    `${escapeUnsafe(jid)} is being imported (process ${mark.process}); wait for the end of that, or end it`,
  )
}

/** @param done - a sentence on what was done all the same */
function notThere({ username, jid }: Account, done = ''): CommandError {
  const wayOut =
    username === prepareLocal(username) ? `to add it: legate adduser ${jid}` : 'no JID has that name'
  return new CommandError(`there is no account ${escapeUnsafe(jid)}; ${wayOut}${done}`)
}

/** For those who give register a JID, as adduser wants it. */
function withHost(user: string): string {
  return user.includes('@')
    ? '; register takes the user and the host apart: legate register USER HOST PASSWORD'
    : ''
}

function readAccount(text: string): Account {
  const jid = prepareJid(text)
  if (jid === undefined) throw new CommandError(`"${text}" is no JID; one looks like juliet@example.org`)
  if (jid.local === undefined)
    throw new CommandError(`"${text}" has no user; a JID looks like juliet@example.org`)
  if (jid.resource !== undefined) {
    throw new CommandError(`"${text}" has a resource; the account is ${jid.bare}`)
  }
  return { username: jid.local, host: jid.domain, jid: jid.bare }
}

/** An account by the very name that it is stored under, if that is none that a JID has (RFC 7622 §3.3). */
function readMisnamed(text: string): Account | undefined {
  const at = text.lastIndexOf('@')
  const username = text.slice(0, Math.max(at, 0))
  const host = prepareDomain(text.slice(at + 1))
  if (username === '' || host === undefined || prepareLocal(username) === username) return undefined
  return { username, host, jid: joinJid(username, host) }
}

/** Opens the storage that the server of the configuration uses, and closes it after the work. */
async function work(
  configFile: string | undefined,
  account: Account,
  kind: 'add' | 'change',
  act: (accounts: Accounts) => Promise<void>,
): Promise<number> {
  const config = await readConfig(configFile)
  checkHost(config, account.host)
  if (storageKindOf(config, account.host, 'accounts') === 'memory') {
    throw new CommandError(
      `the accounts of ${account.host} are kept in memory (storage = "memory"), which only the running server has ` +
        'and forgets at its end; to keep them set storage = "internal" or storage = "redis"',
    )
  }
  const folder = dataPathOf(config)
  const isNew = storageKindOf(config, account.host, 'accounts') === 'internal' && !existsSync(folder)
  if (isNew && kind === 'change') throw notThere(account)
  becomeOwnerOf(folder)
  const storage = await openConfigured(config, account.host)
  try {
    const iterations = readOption(
      config,
      account.host,
      'default_iteration_count',
      coreOptions.default_iteration_count,
    )
    const users = openUsers(storage, account.host, iterations)
    await act({ config, users, storage })
  } finally {
    await storage.close()
  }
  if (isNew) tellWhoseItIs(folder)
  return EXIT.ok
}

function checkHost(config: Config, host: string): void {
  const declared = config.hosts.find(({ name }) => name === host)
  if (declared?.type === 'host') return
  if (declared !== undefined) {
    throw new CommandError(`${host} is a component, and has no accounts; only a VirtualHost has`)
  }
  const hosts = config.hosts.filter(({ type }) => type === 'host').map(({ name }) => name)
  throw new CommandError(
    `there is no VirtualHost "${host}" in ${config.path}; ` +
      (hosts.length === 0 ? 'it has none' : `those there are: ${hosts.join(', ')}`),
  )
}
