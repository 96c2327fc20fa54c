// Which accounts an export or an import is about: --host and --user.

import type { Config } from '../config/index.ts'
import { prepareDomain, prepareJid, prepareLocal } from '../jid.ts'
import { STORE_NAMES } from '../migration/stores.ts'
import { storageKindOf } from '../server.ts'
import { CommandError } from './failure.ts'

/** What the options say. */
export interface MovedAccounts {
  /** VirtualHosts of the configuration that are meant. */
  readonly hosts: readonly string[]
  /** Whether an account is meant, of whatever host. */
  isMeant(host: string, username: string): boolean
  /** Whether any account of a host is. */
  isHostMeant(host: string): boolean
  /** The one account that is meant; undefined if there may be several. */
  readonly username: string | undefined
}

/** @throws CommandError */
export function movedAccounts(
  config: Config,
  hostOption: string | undefined,
  userOption: string | undefined,
): MovedAccounts {
  let host = hostOption === undefined ? undefined : prepareDomain(hostOption)
  if (hostOption !== undefined && host === undefined) throw new CommandError(`"${hostOption}" is no domain`)
  let username: string | undefined
  if (userOption !== undefined) {
    const jid = userOption.includes('@') ? prepareJid(userOption) : undefined
    username = jid === undefined ? prepareLocal(userOption) : jid.local
    if (username === undefined) throw new CommandError(`"${userOption}" is no user name`)
    if (jid !== undefined && host !== undefined && host !== jid.domain)
      throw new CommandError(`${userOption} is no user of ${host}`)
    host ??= jid?.domain
    if (host === undefined)
      throw new CommandError(`of which host is ${username}? Add --host, or say --user ${username}@HOST`)
  }
  const declared = config.hosts.filter(({ type }) => type === 'host').map(({ name }) => name)
  if (declared.length === 0) throw new CommandError(`there is no VirtualHost in ${config.path}`)
  if (host !== undefined && !declared.includes(host)) {
    throw new CommandError(
      `there is no VirtualHost "${host}" in ${config.path}; those there are: ${declared.join(', ')}`,
    )
  }
  return {
    hosts: host === undefined ? declared : [host],
    isHostMeant: (name) => host === undefined || name === host,
    isMeant: (name, user) =>
      (host === undefined || name === host) && (username === undefined || user === username),
    username,
  }
}

/** Why the accounts of a host can be neither read nor written by a command; undefined if they can. */
export function inMemory(config: Config, host: string): string | undefined {
  return storageKindOf(config, host, 'accounts') === 'memory'
    ? `the accounts of ${host} are kept in memory (storage = "memory"), which only the running server has and forgets ` +
        'at its end; to keep them set storage = "internal" or storage = "redis"'
    : undefined
}

/** Stores of a host that are kept in memory, though its accounts are not. */
export function storesInMemory(config: Config, host: string): string[] {
  return STORE_NAMES.filter((store) => storageKindOf(config, host, store) === 'memory')
}
