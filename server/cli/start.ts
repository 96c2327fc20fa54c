// legate start: the server in the foreground, from reading the configuration to the last stream's end.

import { statSync } from 'node:fs'
import { AdminChannel, ServerRuns } from '../admin/channel.ts'
import { adminCommands } from '../admin/commands.ts'
import { LoggedProblems } from '../admin/problem-log.ts'
import { type Config, type ConfigProblem, loadConfigFile } from '../config/index.ts'
import { openLog } from '../create.ts'
import type { Log, Logger } from '../log.ts'
import { readLogOption } from '../log-option.ts'
import { dataPathOf, Server } from '../server.ts'
import { findConfigFile } from './config-file.ts'
import { watchDeletedAccounts } from './deleted-accounts.ts'
import { examineConfig } from './examine.ts'
import { CommandError, ConfigRefused } from './failure.ts'
import { inOrder } from './findings.ts'
import { knownPlugins } from './known-plugins.ts'
import { writePidFile } from './pid-file.ts'
import { type Reread, ServerProcess, tellProblems } from './server-process.ts'
import { StoredAccounts } from './stored-accounts.ts'

/** Milliseconds between two looks at the certificates, which may have been renewed. */
const CERTIFICATE_INTERVAL = 24 * 3600 * 1000

/**
 * Runs the server until a signal or a crash ends it.
 *
 * @returns the exit code
 * @throws CommandError, ConfigError or an Error whose message says why it can not start
 */
export async function start(configFile: string | undefined): Promise<number> {
  // Nobody listens for it yet, and unheard it would end the process.
  let hungUp = false
  const hearHangUp = (): void => {
    hungUp = true
  }
  process.on('SIGHUP', hearHangUp)
  const path = findConfigFile(configFile)
  const config = await loadConfigFile(path)
  const problems = await acceptable(config)
  writePidFile(config)
  const channel = await openChannel(config)
  const unwatched = openLog(config)
  const logged = new LoggedProblems()
  const log: Log = { ...unwatched, logger: logged.through(unwatched.logger) }
  const server = new Server(config, log.logger)
  const running = new ServerProcess(server, log, logged, () => reread(path, log.logger))
  running.watch()
  process.off('SIGHUP', hearHangUp)
  if (hungUp) running.hangUp()
  tellProblems(problems, log.logger)
  warnRoot(config, log.logger)
  if (channel instanceof AdminChannel) channel.serve(adminCommands(running), log.logger)
  else
    log.logger.warn('commands such as "legate status" will not reach this server', {
      reason: channel.message,
    })
  try {
    return await running.run(() => started(running.server, log))
  } catch (error) {
    // It is told on standard error, too.
    if (!logsToConsole(config)) log.logger.error('the server can not start', { error })
    await running.closeLog()
    throw error
  }
}

/**
 * Opens the admin channel, until the process ends.
 *
 * @returns the failure, with which the server runs all the same
 * @throws CommandError if another server has the data folder
 */
async function openChannel(config: Config): Promise<AdminChannel | Error> {
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
async function acceptable(config: Config): Promise<readonly ConfigProblem[]> {
  const accounts = new StoredAccounts(config)
  const { options, setup } = await examineConfig(config, await knownPlugins(config), accounts.exists)
  await accounts.close()
  if (options.some(({ severity }) => severity === 'error')) {
    throw new ConfigRefused('the configuration has mistakes, so the server does not start:', options)
  }
  return inOrder([...options, ...setup])
}

/** The configuration as it is now. @throws ConfigError, ConfigRefused */
async function reread(path: string, log: Logger): Promise<Reread> {
  const config = await loadConfigFile(path)
  const problems = await acceptable(config)
  tellProblems(problems, log)
  return { config, problems }
}

function started(server: Server, log: Log): void {
  watchDeletedAccounts(server)
  setInterval(() => void server.renewCertificates(), CERTIFICATE_INTERVAL).unref()
  log.logger.info('ready', { hosts: server.hosts.size, config: server.config.path, process: process.pid })
  if (logsToConsole(server.config)) return
  const files = [
    ...new Set(readLogOption(server.config.get('*', 'log')).rules.map(({ filename }) => filename)),
  ]
  console.log(`Legate is ready. ${files.length === 0 ? 'There is no log.' : `Its log: ${files.join(', ')}`}`)
}

/** Whether who started the server sees its errors in the log. */
function logsToConsole(config: Config): boolean {
  const { rules } = readLogOption(config.get('*', 'log'))
  return rules.some(({ filename, levels }) => filename === undefined && levels.has('error'))
}

function warnRoot(config: Config, log: Logger): void {
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
