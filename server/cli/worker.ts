// A worker: one of the processes of `legate start --workers`, which its supervisor tells what to do.

import cluster from 'node:cluster'
import { answerCluster } from '../admin/cluster-calls.ts'
import { type AdminCommands, adminCommands, workerCommands } from '../admin/commands.ts'
import { LoggedProblems } from '../admin/problem-log.ts'
import { AdminError, type AdminRequest } from '../admin/protocol.ts'
import { loadConfigFile } from '../config/index.ts'
import { Server } from '../server.ts'
import { findConfigFile } from './config-file.ts'
import { CommandError, EXIT, explain } from './failure.ts'
import { ServerProcess } from './server-process.ts'
import { acceptable, keepUp, watchedLog } from './starting.ts'
import { workerConfig } from './worker-config.ts'
import { type FromWorker, isWorkerMessage, type ToWorker } from './worker-messages.ts'

/**
 * Runs one worker until its supervisor ends it, or is gone.
 *
 * @param number - its, from 1 on
 * @returns the exit code
 */
export async function startWorker(configFile: string | undefined, number: number): Promise<number> {
  const { worker } = cluster
  if (worker === undefined || !process.connected) {
    throw new CommandError('--worker is what workers are started with: use legate start --workers NUMBER')
  }
  // Ctrl-C reaches all processes of the terminal, and this one hears of it from its supervisor.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
  // Without its supervisor it ends in order: Node would end it at once.
  worker.exitedAfterDisconnect = true
  let stop = (code: number): void => process.exit(code)
  process.once('disconnect', () => stop(EXIT.failed))
  process.on('message', (message: unknown) => {
    if (isWorkerMessage(message) && message.legate === 'stop') stop(EXIT.ok)
  })
  void tell({ legate: 'here' })
  try {
    const path = findConfigFile(configFile)
    const config = workerConfig(await loadConfigFile(path), number)
    const logged = new LoggedProblems()
    const log = watchedLog(config, logged, number)
    const server = new Server(config, log.logger)
    // What there is to tell about it, the supervisor tells.
    const running = new ServerProcess(server, log, logged, async () => {
      const fresh = await loadConfigFile(path)
      return { config: workerConfig(fresh, number), problems: await acceptable(fresh) }
    })
    running.watchCrashes()
    stop = (code) => running.stop(code, code === EXIT.ok ? {} : { reason: 'the supervisor is gone' })
    const commands = { ...adminCommands(running), ...workerCommands(running) }
    return await running.run(() => {
      keepUp(server)
      answerCluster(running, () => void tell({ legate: 'reload' }))
      answerTo(commands)
      tell({ legate: 'ready', tag: server.cluster?.self.info.tag ?? '', hosts: server.hosts.size })
    })
  } catch (error) {
    await tell({ legate: 'failed', message: explain(error) })
    return EXIT.failed
  }
}

function answerTo(commands: AdminCommands): void {
  process.on('message', (message: ToWorker) => {
    if (!isWorkerMessage(message) || message.legate !== 'ask') return
    const { id, request } = message
    void perform(commands, request).then(
      (result) => tell({ legate: 'answer', id, ok: true, result }),
      (error: unknown) => {
        const internal = !(error instanceof AdminError)
        return tell({ legate: 'answer', id, ok: false, error: messageOf(error), internal })
      },
    )
  })
}

async function perform(commands: AdminCommands, request: AdminRequest): Promise<unknown> {
  const command = commands[request.command]
  if (command === undefined) throw new AdminError(`the server has no command "${request.command}"`)
  return command(request)
}

/** Resolves when it is on its way. */
function tell(message: FromWorker): Promise<void> {
  return new Promise((resolve) => {
    if (process.connected) process.send!(message, undefined, undefined, () => resolve())
    else resolve()
  })
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error instanceof AdminError ? error.message : (error.stack ?? error.message)
}
