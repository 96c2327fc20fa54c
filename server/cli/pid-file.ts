// The file with the server's process id (option `pidfile`).

import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { type Config, coreOptions, readOption } from '../config/index.ts'
import { dataPathOf } from '../server.ts'
import { CommandError } from './failure.ts'

/**
 * Writes the process id to the file that the configuration names, if it names one; relative to the data folder, as
 * in Prosody. The file goes when the process ends, however it does (but for SIGKILL).
 *
 * @throws CommandError if another Legate that runs has the file, or if it can not be written
 */
export function writePidFile(config: Config): void {
  const name = readOption(config, '*', 'pidfile', coreOptions.pidfile)
  if (name === undefined) return
  const folder = dataPathOf(config)
  const path = resolve(folder, name)
  try {
    // Another's data folder is left alone: the storage makes it if it is missing.
    if (dirname(path) === folder) mkdirSync(folder, { recursive: true, mode: 0o700 })
    claim(path)
  } catch (error) {
    if (error instanceof CommandError) throw error
    throw new CommandError(
      `the pidfile ${path} can not be written: ${(error as Error).message}; make its folder, let the server write ` +
        'to it, or take pidfile out of the configuration',
    )
  }
  process.on('exit', () => {
    if (readPid(path) === process.pid) rmSync(path, { force: true })
  })
}

function claim(path: string): void {
  for (let tries = 0; ; tries++) {
    try {
      publish(path)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || tries === 2) throw error
    }
    const pid = readPid(path)
    if (pid !== undefined && pid !== process.pid && isLegate(pid)) {
      throw new CommandError(`Legate runs already, as process ${pid} (${path}); end that one first`)
    }
    rmSync(path, { force: true }) // left by one that was killed
  }
}

/** The file appears with its content: one that is empty would look like a stale one to a second server. */
function publish(path: string): void {
  const whole = `${path}.${process.pid}`
  try {
    writeFileSync(whole, `${process.pid}\n`, { mode: 0o644 })
    linkSync(whole, path)
  } finally {
    rmSync(whole, { force: true })
  }
}

function readPid(path: string): number | undefined {
  try {
    const pid = Number(readFileSync(path, 'utf8').trim())
    return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined
  } catch {
    return undefined
  }
}

/** Whether a process is a server of ours: ids are given again, after a restart of the machine above all. */
function isLegate(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  let words: string[]
  try {
    words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return true // no Linux: somebody lives, and who can not be told
  }
  const own = basename(process.argv[1] ?? '')
  return words.includes('start') && words.some((word) => ['legate', 'main.js', own].includes(basename(word)))
}
