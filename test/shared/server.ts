/** Starts servers for tests: in this process, on free ports, in memory or where `describeStored` says. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { Writable } from 'node:stream'
import { configFromObject, type ServerOptions } from '../../server/config/index.ts'
import { createLogger } from '../../server/log.ts'
import { Server } from '../../server/server.ts'

/** The plugins of a usual server. */
export const USUAL_PLUGINS = ['tls', 'saslauth', 'roster', 'disco', 'ping', 'version', 'time', 'delegation']

export interface TestServer {
  readonly server: Server
  readonly c2sPort: number
  readonly componentPort: number
  /** Lines of the log so far. */
  readonly log: string[]
  /** Waits for a line of the log that has these words; those that were written before count too. */
  logged(words: string): Promise<string>
  addUser(jid: string, password?: string): Promise<void>
  stop(): Promise<void>
}

/** @param name - of what the server keeps: different for different data, the same after a restart */
type StorageOptions = (name: string) => ServerOptions

export const storageInMemory: StorageOptions = () => ({ storage: 'memory' })
let usualStorage = storageInMemory

/** What servers that are started from now on keep things in, if their options do not say it. */
export function setUsualStorage(options: StorageOptions): void {
  usualStorage = options
}

/**
 * Messages to who is not connected are refused, unless `offline` is named: what most tests are about is seen by that,
 * and RFC 6121 has rules of its own for servers without it (§8.5.2.2.1).
 */
function withoutOffline({ modules_enabled: named = [] }: ServerOptions): ServerOptions {
  return named.includes('offline') ? {} : { modules_disabled: ['offline'] }
}

/**
 * Starts a server. Encryption is not asked for, unless the options do; users of `users` have the password `pw`.
 *
 * @param options - as of `createServer`; ports, interfaces and storage have defaults for tests, and `offline` is only
 *   there if it is named
 * @param users - bare JIDs
 */
export async function startServer(options: ServerOptions, users: string[] = []): Promise<TestServer> {
  const folder = mkdtempSync(join(tmpdir(), 'legate-test-'))
  const log: string[] = []
  const waiting: { words: string; resolve: (line: string) => void }[] = []
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      for (const line of chunk.toString().split('\n')) {
        if (line === '') continue
        log.push(line)
        for (const waiter of [...waiting]) {
          if (!line.includes(waiter.words)) continue
          waiting.splice(waiting.indexOf(waiter), 1)
          waiter.resolve(line)
        }
      }
      done()
    },
  })
  const config = configFromObject({
    ...(options.storage === undefined ? usualStorage(basename(String(options.data_path ?? folder))) : {}),
    data_path: folder,
    interfaces: ['127.0.0.1'],
    local_interfaces: ['127.0.0.1'],
    c2s_ports: [0],
    component_ports: [0],
    c2s_require_encryption: false,
    allow_unencrypted_plain_auth: true,
    default_iteration_count: 4096,
    // All tests come from one address.
    login_throttle: false,
    // Its users are strangers to each other.
    presence_open_resources: true,
    modules_enabled: USUAL_PLUGINS,
    ...withoutOffline(options),
    ...options,
  })
  const logger = createLogger([{ levels: { min: 'debug' }, to: 'console' }], {
    directory: folder,
    stdout: sink,
  })
  const server = new Server(config, logger.logger)
  const portOf = (service: string) =>
    server.addresses.find((address) => address.service === service)?.port ?? Number.NaN
  const test: TestServer = {
    server,
    log,
    get c2sPort() {
      return portOf('c2s')
    },
    get componentPort() {
      return portOf('component')
    },
    logged(words) {
      const line = log.find((written) => written.includes(words))
      if (line !== undefined) return Promise.resolve(line)
      return new Promise((resolve) => waiting.push({ words, resolve }))
    },
    async addUser(jid, password = 'pw') {
      const [local = '', domain = ''] = jid.split('@')
      await server.hosts.get(domain)!.users!.create(local, password)
    },
    async stop() {
      await server.stop()
      await logger.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  await server.start()
  for (const jid of users) await test.addUser(jid)
  return test
}
