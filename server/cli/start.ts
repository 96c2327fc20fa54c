// legate start: the server in the foreground, from reading the configuration to the last stream's end.

import { AdminChannel } from '../admin/channel.ts'
import { answerCluster } from '../admin/cluster-calls.ts'
import { type AdminCommands, adminCommands } from '../admin/commands.ts'
import { LoggedProblems } from '../admin/problem-log.ts'
import { type Config, type ConfigProblem, loadConfigFile } from '../config/index.ts'
import type { Log } from '../log.ts'
import { Server } from '../server.ts'
import { findConfigFile } from './config-file.ts'
import { writePidFile } from './pid-file.ts'
import { ServerProcess, tellProblems } from './server-process.ts'
import {
  acceptable,
  keepUp,
  logsToConsole,
  openChannel,
  reread,
  tellReady,
  warnRoot,
  watchedLog,
} from './starting.ts'
import { Supervisor } from './supervisor.ts'
import { refuseWorkers } from './worker-config.ts'

/** What takes signals and answers commands: the server, or what watches over its workers. */
interface Running {
  readonly commands: AdminCommands
  /** Takes signals and crashes from now on. */
  watch(): void
  hangUp(): void
  closeLog(): Promise<void>
  /** Runs to the end. @returns the exit code */
  run(): Promise<number>
}

/**
 * Runs the server until a signal or a crash ends it.
 *
 * @param workers - how many processes it is; undefined for this one alone
 * @returns the exit code
 * @throws CommandError, ConfigError or an Error whose message says why it can not start
 */
export async function start(configFile: string | undefined, workers?: number): Promise<number> {
  // Nobody listens for it yet, and unheard it would end the process.
  let hungUp = false
  const hearHangUp = (): void => {
    hungUp = true
  }
  process.on('SIGHUP', hearHangUp)
  const path = findConfigFile(configFile)
  const config = await loadConfigFile(path)
  const problems = await acceptable(config)
  if (workers !== undefined) refuseWorkers(config, workers)
  writePidFile(config)
  const channel = await openChannel(config)
  const logged = new LoggedProblems()
  const log = watchedLog(config, logged)
  const running =
    workers === undefined ? alone(config, path, log, logged) : new Supervisor(config, workers, log, logged)
  running.watch()
  process.off('SIGHUP', hearHangUp)
  if (hungUp) running.hangUp()
  begin(config, problems, log)
  if (channel instanceof AdminChannel) channel.serve(running.commands, log.logger)
  else
    log.logger.warn('commands such as "legate status" will not reach this server', {
      reason: channel.message,
    })
  try {
    return await running.run()
  } catch (error) {
    // It is told on standard error, too.
    if (!logsToConsole(config)) log.logger.error('the server can not start', { error })
    await running.closeLog()
    throw error
  }
}

function begin(config: Config, problems: readonly ConfigProblem[], { logger }: Log): void {
  tellProblems(problems, logger)
  warnRoot(config, logger)
}

/** A server of one process. */
function alone(config: Config, path: string, log: Log, logged: LoggedProblems): Running {
  const server = new Server(config, log.logger)
  const running = new ServerProcess(server, log, logged, async () => {
    const read = await reread(path)
    tellProblems(read.problems, log.logger)
    return read
  })
  return {
    commands: adminCommands(running),
    watch: () => running.watch(),
    hangUp: () => running.hangUp(),
    closeLog: () => running.closeLog(),
    run: () =>
      running.run(() => {
        keepUp(server)
        answerCluster(running, () => running.hangUp())
        tellReady(server.config, log, server.hosts.size)
      }),
  }
}
