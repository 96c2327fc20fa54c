// The load in a process of its own.
import { type ChildProcess, spawn } from 'node:child_process'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Load, LoadReply, LoadRequestName, LoadRequests } from './requests.ts'

/** A load process. */
export class LoadProcess implements Load {
  private readonly child: ChildProcess

  /** @param launcher put before the command, e.g. `['taskset', '-c', '1']` */
  constructor(launcher: readonly string[]) {
    const script = fileURLToPath(new URL(`./main${extname(import.meta.url)}`, import.meta.url))
    const [program, ...args] = [...launcher, process.execPath, ...nodeOptions(), script]
    this.child = spawn(program!, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  }

  ask<Name extends LoadRequestName>(
    request: Name,
    take: LoadRequests[Name]['take'],
  ): Promise<LoadRequests[Name]['give']> {
    return new Promise((resolve, reject) => {
      const ended = () => {
        settle()
        reject(new Error('the load process has ended, see above'))
      }
      const replied = (message: unknown) => {
        settle()
        const reply = message as LoadReply
        if ('error' in reply) reject(new Error(reply.error))
        else resolve(reply.gives as LoadRequests[Name]['give'])
      }
      const settle = () => {
        this.child.off('exit', ended).off('message', replied)
      }
      this.child.on('exit', ended).on('message', replied)
      this.child.send({ request, with: take }, (error) => error && ended())
    })
  }

  stop(): Promise<void> {
    return new Promise((resolve) => {
      if (this.child.exitCode !== null || this.child.signalCode !== null) return resolve()
      this.child.once('exit', () => resolve())
      this.child.kill('SIGTERM')
    })
  }
}

/** Options of Node for the load, from LEGATE_BENCH_LOAD_OPTIONS, e.g. `--cpu-prof`: for profiling the load itself. */
function nodeOptions(): string[] {
  return (process.env['LEGATE_BENCH_LOAD_OPTIONS'] ?? '').split(' ').filter((option) => option !== '')
}
