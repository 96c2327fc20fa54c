// The Redis of a server that is several processes: Debian's redis-server, which writes nothing to the disk.
import { existsSync } from 'node:fs'
import { type ServerProcess, startServer } from '../../test/shared/peers/process.ts'
import { retryPorts } from '../../test/shared/ports.ts'

const SERVER = '/usr/bin/redis-server'

/** Why there is no Redis here, with the way out; undefined when there is. */
export function redisMissing(): string | undefined {
  return existsSync(SERVER) ? undefined : `${SERVER} is missing (apt-get install redis-server)`
}

/** A Redis that is ready. */
export interface BenchRedis extends ServerProcess {
  readonly port: number
}

/**
 * Starts one that is empty, on 127.0.0.1.
 * @param launcher put before its command; binds it to a processor
 * @param directory its folder; nothing is written there
 */
export function startRedis(launcher: readonly string[], directory: string): Promise<BenchRedis> {
  return retryPorts(1, async ([port]) => {
    const settings = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', directory]
    const server = await startServer({
      name: 'Redis',
      command: [...launcher, SERVER, ...settings],
      cwd: directory,
      ports: [port!],
    })
    return { ...server, port: port! }
  })
}
