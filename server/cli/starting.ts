// What `legate start` does before and around a server, whether it is one process or several.

import { statSync } from 'node:fs'
import { AdminChannel, ServerRuns } from '../admin/channel.ts'
import type { LoggedProblems } from '../admin/problem-log.ts'
import { type Config, type ConfigProblem, loadConfigFile } from '../config/index.ts'
import { openLog } from '../create.ts'
import type { Log, Logger } from '../log.ts'
import { readLogOption } from '../log-option.ts'
import { dataPathOf, type Server } from '../server.ts'
import { watchDeletedAccounts } from './deleted-accounts.ts'
import { examineConfig } from './examine.ts'
import { CommandError, ConfigRefused } from './failure.ts'
import { inOrder } from './findings.ts'
import { knownPlugins } from './known-plugins.ts'
import type { Reread } from './server-process.ts'
import { StoredAccounts } from './stored-accounts.ts'

/** Milliseconds between two looks at the certificates, which may have been renewed. */
const CERTIFICATE_INTERVAL = 24 * 3600 * 1000

/**
 * Opens the admin channel, until the process ends.
 *
 * @returns the failure, with which the server runs all the same
 * @throws CommandError if another server has the data folder
 */
export async function openChannel(config: Config): Promise<AdminChannel | Error> {
  try {
    const channel = await AdminChannel.open(dataPathOf(config))
    process.on('exit', () => channel.remove())
    return channel
  } catch (error) {
    if (error instanceof ServerRuns) throw new CommandError(error.message)
    return error as Error
  }
}

/** What there is to tell about a configuration. @throws ConfigRefused if the server must not run with it */
export async function acceptable(config: Config): Promise<readonly ConfigProblem[]> {
  const accounts = new StoredAccounts(config)
  const { options, setup } = await examineConfig(config, await knownPlugins(config), accounts.exists)
  await accounts.close()
  if (options.some(({ severity }) => severity === 'error')) {
    throw new ConfigRefused('the configuration has mistakes, so the server does not start:', options)
  }
  return inOrder([...options, ...setup])
}

/**
 * The configuration as it is now.
 *
 * @throws ConfigError, ConfigRefused
 */
export async function reread(path: string): Promise<Reread> {
  const config = await loadConfigFile(path)
  return { config, problems: await acceptable(config) }
}

/** Opens the log; what is wrong goes into it and is remembered. @param worker - whose it is */
export function watchedLog(config: Config, logged: LoggedProblems, worker?: number): Log {
  const unwatched = openLog(config, worker)
  return { ...unwatched, logger: logged.through(unwatched.logger) }
}

/** Begins what goes on as long as the server runs. */
export function keepUp(server: Server): void {
  watchDeletedAccounts(server)
  setInterval(() => void server.renewCertificates(), CERTIFICATE_INTERVAL).unref()
}

/** Says that everything is served. @param fields - further ones of the log's line */
export function tellReady(
  config: Config,
  log: Log,
  hosts: number,
  fields: Record<string, unknown> = {},
): void {
  log.logger.info('ready', { hosts, config: config.path, process: process.pid, ...fields })
  if (logsToConsole(config)) return
  const files = [...new Set(readLogOption(config.get('*', 'log')).rules.map(({ filename }) => filename))]
  console.log(`Legate is ready. ${files.length === 0 ? 'There is no log.' : `Its log: ${files.join(', ')}`}`)
}

/** Whether who started the server sees its errors in the log. */
export function logsToConsole(config: Config): boolean {
  const { rules } = readLogOption(config.get('*', 'log'))
  return rules.some(({ filename, levels }) => filename === undefined && levels.has('error'))
}

/** Says what comes of running as root, if that is so. */
export function warnRoot(config: Config, log: Logger): void {
  if (process.geteuid?.() !== 0) return
  log.warn('running as root, which Legate does not need: a mistake in it would be one in all of the machine')
  try {
    const { uid } = statSync(dataPathOf(config))
    if (uid !== 0) {
      log.warn('the data folder is not root’s: a file that root makes in it locks its owner out', {
        folder: dataPathOf(config),
        owner: uid,
      })
    }
  } catch {
    // It is made when the storage is opened.
  }
}
