// The processes that are measured: Legate as an operator starts it, several over two Redis, one for what is stored and
// one for the cluster, so that it can be told which of them does what.
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { type ServerProcess, startServer } from '../../test/shared/peers/process.ts'
import { configText } from '../../test/shared/peers/prosody-config.ts'
import type { RedisPeer } from '../../test/shared/peers/redis.ts'
import { retryPorts } from '../../test/shared/ports.ts'
import { COMPONENT, DELEGATED_NAMESPACE, HOST, SECRET } from '../load/stanzas.ts'
import { residentKilobytes } from '../process-figures.ts'
import { PROJECT } from '../project.ts'

const CLI = join(PROJECT, 'dist/server/cli/main.js')
const PROBE = join(PROJECT, 'dist/bench/scaling/probe.js')
const PROBE_MS = 30_000
const POLL_MS = 10

/** Of every key. */
export const PREFIX = 'legate'

/** What the processes share. */
export interface Shared {
  readonly storage: RedisPeer
  readonly cluster: RedisPeer
  /** For the files of this run. */
  readonly folder: string
  /** `cluster_lease`, in seconds. */
  readonly lease: number
}

/** Memory of a process, after its garbage was collected: bytes. */
export interface Memory {
  readonly heap: number
  readonly resident: number
}

/** One process of Legate. */
export class LegateProcess {
  readonly c2sPort: number
  readonly componentPort: number
  private readonly server: ServerProcess
  private readonly answer: string

  private constructor(server: ServerProcess, answer: string, ports: readonly number[]) {
    this.server = server
    this.answer = answer
    this.c2sPort = ports[0]!
    this.componentPort = ports[1]!
  }

  /** Starts one; it is in the cluster then. @throws Error with its log if it does not start */
  static start(shared: Shared, name: string): Promise<LegateProcess> {
    if (!existsSync(CLI)) throw new Error(`${CLI} is missing: run npm run build`)
    return retryPorts(2, async (ports) => {
      const folder = join(shared.folder, name)
      await mkdir(folder, { recursive: true })
      const file = join(folder, 'prosody.cfg.lua')
      await writeFile(file, configOf(shared, name, folder, ports))
      const answer = join(folder, 'memory.json')
      const server = await startServer({
        name: `Legate ${name}`,
        command: [
          process.execPath,
          ...['--expose-gc', '--import', pathToFileURL(PROBE).href],
          ...[CLI, 'start', '--config', file],
        ],
        cwd: folder,
        env: { ...process.env, LEGATE_SCALING_PROBE: answer },
        ports,
      })
      return new LegateProcess(server, answer, ports)
    })
  }

  get pid(): number {
    return this.server.pid
  }

  log(): string {
    return this.server.log()
  }

  /** Has it collect its garbage. */
  async memory(): Promise<Memory> {
    rmSync(this.answer, { force: true })
    process.kill(this.pid, 'SIGUSR2')
    const deadline = Date.now() + PROBE_MS
    while (!existsSync(this.answer)) {
      if (Date.now() > deadline)
        throw new Error(`process ${this.pid} does not tell its memory\n${this.log()}`)
      await sleep(POLL_MS)
    }
    const { heapUsed } = JSON.parse(readFileSync(this.answer, 'utf8')) as NodeJS.MemoryUsage
    return { heap: heapUsed, resident: residentKilobytes(this.pid) * 1024 }
  }

  /** kill -9. */
  kill(): void {
    process.kill(this.pid, 'SIGKILL')
  }

  stop(): Promise<void> {
    return this.server.stop(15_000)
  }
}

function configOf(
  { storage, cluster, lease }: Shared,
  name: string,
  folder: string,
  ports: number[],
): string {
  return configText({
    globals: {
      data_path: folder,
      log: { warn: '*console' },
      modules_enabled: ['roster', 'saslauth', 'disco', 'ping', 'presence', 'message', 'iq', 'delegation'],
      // What docs/scaling.md counts: with `offline`, a login with presence reads the storage once more.
      modules_disabled: ['s2s', 'offline'],
      c2s_require_encryption: false,
      storage: 'redis',
      redis: { url: storage.url, prefix: PREFIX },
      cluster: { name, redis: { url: cluster.url, prefix: PREFIX } },
      cluster_lease: lease,
      limits: {},
      interfaces: ['127.0.0.1'],
      component_interfaces: ['127.0.0.1'],
      c2s_ports: [ports[0]!],
      component_ports: [ports[1]!],
    },
    hosts: { [HOST]: { delegations: { [DELEGATED_NAMESPACE]: { jid: COMPONENT } } } },
    components: { [COMPONENT]: { secret: SECRET, options: { modules_enabled: ['delegation'] } } },
  })
}
