// Legate as a peer: the built server, started with its command line as an operator does.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { cp, mkdtemp, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { openStorage } from '../../server/storage/index.ts'
import { startServer } from '../../test/shared/peers/process.ts'
import { retryPorts } from '../../test/shared/ports.ts'
import { PROJECT } from '../project.ts'
import { makeAccounts } from './legate-accounts.ts'
import { startLegateCluster } from './legate-cluster.ts'
import { CLI, writeConfig } from './legate-config.ts'
import type { BenchPeer, BenchWork } from './peer.ts'

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
        const file = await writeConfig(work, directory, [c2sPort!, componentPort!])
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
  startCluster: startLegateCluster,
}

/** A data folder with the accounts, made at the first start with just these. */
async function accountsOf(work: BenchWork): Promise<string> {
  const name = createHash('sha256').update(JSON.stringify(work.accounts)).digest('hex').slice(0, 16)
  const template = join(work.directory, `accounts-${name}`)
  if (existsSync(template)) return template
  // Made aside, so that it is there whole or not at all.
  const making = await mkdtemp(join(work.directory, 'making-'))
  const storage = openStorage('internal', { path: making })
  try {
    await makeAccounts(storage, work.accounts)
  } finally {
    await storage.close()
  }
  await rename(making, template)
  return template
}
