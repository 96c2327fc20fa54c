// Legate over Redis: two processes that are started each by itself, the workers of `legate start --workers`, or the one
// process that there is without that. Accounts and rosters are in the same Redis.
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { redisOption } from '../../server/redis/index.ts'
import { openStorage } from '../../server/storage/index.ts'
import { type ServerProcess, startServer } from '../../test/shared/peers/process.ts'
import type { LuaOptions } from '../../test/shared/peers/prosody-config.ts'
import { retryPorts } from '../../test/shared/ports.ts'
import { makeAccounts } from './legate-accounts.ts'
import { CLI, writeConfig } from './legate-config.ts'
import type { ClusterWork, RunningCluster, RunningPeer, ServerPart } from './peer.ts'
import { startRedis } from './redis.ts'

const PAIR = ['A', 'B']
const ALONE = ['process']

const REDIS_MS = 10_000

/** What was started of it. */
interface Started {
  processes: ServerProcess[]
  parts: ServerPart[]
  c2sPorts: number[]
  workers: number[]
  componentPort: number
}

/** Starts Redis and the processes; of a pair, the component connects to the second. */
export async function startLegateCluster(
  work: ClusterWork,
): Promise<RunningPeer & { readonly cluster: RunningCluster }> {
  const directory = await mkdtemp(join(work.directory, 'run-'))
  const running: ServerProcess[] = []
  const stop = async () => {
    // Redis last, so that they can take their leave.
    for (const one of running.splice(0)) await one.stop()
    await rm(directory, { recursive: true, force: true })
  }
  try {
    const redis = await startRedis(work.redisLauncher, directory)
    running.push(redis)
    await storeAccounts(work, redis.port, directory)
    const { form } = work
    const url = { url: `redis://127.0.0.1:${redis.port}` }
    const started =
      form.form === 'workers' && form.count > 1
        ? await startWorkers(work, directory, url, form.count, running)
        : await startEach(work, directory, url, form.form === 'pair' ? PAIR : ALONE, running)
    const { processes, parts, c2sPorts, workers, componentPort } = started
    return {
      pid: processes[0]!.pid,
      c2sPort: c2sPorts[0]!,
      componentPort,
      cluster: { parts, c2sPorts, workers, redis: { pid: redis.pid, port: redis.port } },
      log: () => processes.map((one) => one.log()).join(''),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Processes with ports of their own. */
async function startEach(
  work: ClusterWork,
  directory: string,
  redis: LuaOptions,
  names: readonly string[],
  running: ServerProcess[],
): Promise<Started> {
  const started: Started = { processes: [], parts: [], c2sPorts: [], workers: [], componentPort: 0 }
  for (const name of names) {
    const folder = join(directory, name)
    await mkdir(folder)
    await retryPorts(2, async ([c2sPort, componentPort]) => {
      const file = await writeConfig(work, folder, [c2sPort!, componentPort!], {
        ...clustered(redis),
        cluster: { name },
      })
      const server = await startServer({
        name: `Legate ${name}`,
        command: [...work.launcher, process.execPath, CLI, 'start', '--config', file],
        cwd: folder,
        ports: [c2sPort!, componentPort!],
      })
      running.unshift(server)
      started.processes.push(server)
      started.parts.push({ name, pid: server.pid })
      started.c2sPorts.push(c2sPort!)
      started.componentPort = componentPort!
    })
  }
  return started
}

function startWorkers(
  work: ClusterWork,
  directory: string,
  redis: LuaOptions,
  count: number,
  running: ServerProcess[],
): Promise<Started> {
  return retryPorts(2, async ([c2sPort, componentPort]) => {
    // That they are ready, and who they are, the log says.
    const file = await writeConfig(work, directory, [c2sPort!, componentPort!], {
      ...clustered(redis),
      cluster: {},
      log: { info: '*console' },
    })
    const command = [process.execPath, CLI, 'start', '--config', file, '--workers', String(count)]
    const server = await startServer({
      name: 'Legate',
      command: [...work.launcher, ...command],
      cwd: directory,
      ports: [c2sPort!, componentPort!],
      ready: `workers=${count}`,
    })
    running.unshift(server)
    const found = workersIn(server.log())
    if (found.length !== count) throw new Error(`Legate has ${found.length} of ${count} workers`)
    return {
      processes: [server],
      parts: [...found, { name: 'supervisor', pid: server.pid }],
      c2sPorts: [c2sPort!],
      workers: found.map(({ pid }) => pid),
      componentPort: componentPort!,
    }
  })
}

/** The workers that a supervisor's log tells of, in their order. */
export function workersIn(log: string): ServerPart[] {
  const found = [...log.matchAll(/ a worker has started worker=(\d+) process=(\d+)/g)]
  return found
    .map(([, number, pid]) => ({ name: `worker ${number}`, pid: Number(pid) }))
    .sort((one, other) => one.name.localeCompare(other.name, 'en', { numeric: true }))
}

function clustered(redis: LuaOptions): LuaOptions {
  return { redis, storage: 'redis' }
}

async function storeAccounts(work: ClusterWork, port: number, directory: string): Promise<void> {
  const settings = { ...redisOption.parse({ url: `redis://127.0.0.1:${port}` }), directory }
  const storage = openStorage('redis', { path: directory, redis: settings })
  try {
    await storage.whenReady?.(REDIS_MS)
    await makeAccounts(storage, work.accounts)
  } finally {
    await storage.close()
  }
}
