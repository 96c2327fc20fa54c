// Legate as a peer: the built server, started with its command line as an operator does.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { cp, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type AccountRecord, Users } from '../../server/auth/users.ts'
import { openStorage } from '../../server/storage/index.ts'
import { startServer } from '../../test/shared/peers/process.ts'
import { configText } from '../../test/shared/peers/prosody-config.ts'
import { retryPorts } from '../../test/shared/ports.ts'
import { COMPONENT, HOST, SECRET } from '../load/stanzas.ts'
import { PROJECT } from '../project.ts'
import type { BenchPeer, BenchWork } from './peer.ts'

const CLI = join(PROJECT, 'dist/server/cli/main.js')

/** The server of this project. */
export const legate: BenchPeer = {
  name: 'legate',
  title() {
    const { version } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')) as { version: string }
    return `Legate ${version}`
  },
  async available() {
    return existsSync(CLI) ? undefined : 'dist/server/cli/main.js is missing: run npm run build'
  },
  async start(work) {
    const template = await accountsOf(work)
    const directory = await mkdtemp(join(work.directory, 'run-'))
    try {
      return await retryPorts(2, async ([c2sPort, componentPort]) => {
        await cp(template, directory, { recursive: true })
        const file = await writeConfig(work, directory, c2sPort!, componentPort!)
        const server = await startServer({
          name: 'Legate',
          command: [...work.launcher, process.execPath, CLI, 'start', '--config', file],
          cwd: directory,
          ports: [c2sPort!, componentPort!],
        })
        const stop = async () => {
          await server.stop()
          await rm(directory, { recursive: true, force: true })
        }
        return { ...server, c2sPort: c2sPort!, componentPort: componentPort!, stop }
      })
    } catch (error) {
      await rm(directory, { recursive: true, force: true })
      throw error
    }
  },
}

/**
 * A data folder with the accounts, made at the first start with just these. The first account of each password is
 * made as `legate register` makes it; the others are given its record, since to derive keys for each of hundreds
 * would take seconds, and a process for each minutes.
 */
async function accountsOf(work: BenchWork): Promise<string> {
  const name = createHash('sha256').update(JSON.stringify(work.accounts)).digest('hex').slice(0, 16)
  const template = join(work.directory, `accounts-${name}`)
  if (existsSync(template)) return template
  // Made aside, so that it is there whole or not at all.
  const making = await mkdtemp(join(work.directory, 'making-'))
  const storage = openStorage('internal', { path: making })
  try {
    const records = new Map<string, AccountRecord>()
    const writes: Promise<void>[] = []
    for (const { user, host, password } of work.accounts) {
      const store = storage.openKeyval<AccountRecord>(host, 'accounts')
      const record = records.get(password)
      if (record !== undefined) {
        writes.push(store.set(user, record))
        continue
      }
      await new Users(store).create(user, password)
      records.set(password, (await store.get(user))!)
    }
    await Promise.all(writes)
  } finally {
    await storage.close()
  }
  await rename(making, template)
  return template
}

async function writeConfig(
  work: BenchWork,
  directory: string,
  c2sPort: number,
  componentPort: number,
): Promise<string> {
  const file = join(directory, 'prosody.cfg.lua')
  const text = configText({
    globals: {
      data_path: directory,
      log: { warn: '*console' },
      modules_enabled: [
        ...['tls', 'roster', 'saslauth', 'disco', 'ping', 'presence', 'message', 'iq', 'delegation'],
      ],
      modules_disabled: ['s2s'],
      c2s_require_encryption: false,
      allow_unencrypted_plain_auth: true,
      authentication: 'internal_hashed',
      storage: 'internal',
      limits: {},
      // Idle sessions share few accounts.
      max_resources: 1000,
      interfaces: ['127.0.0.1'],
      component_interfaces: ['127.0.0.1'],
      c2s_ports: [c2sPort],
      component_ports: [componentPort],
      ssl: work.tls,
    },
    hosts: {
      [HOST]: { delegations: Object.fromEntries(work.namespaces.map((name) => [name, { jid: COMPONENT }])) },
    },
    components: { [COMPONENT]: { secret: SECRET, options: { modules_enabled: ['delegation'] } } },
  })
  await writeFile(file, text)
  return file
}
