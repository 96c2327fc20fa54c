// legate export: writes accounts to a file (XEP-0227).

import { randomBytes } from 'node:crypto'
import { lstatSync, renameSync, rmSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { type ExportCounts, type ExportHost, writePortable } from '../migration/portable-writer.ts'
import { RenewedStorage } from '../migration/renewed-storage.ts'
import { HostStores } from '../migration/stores.ts'
import { dataPathOf, storageKindOf } from '../server.ts'
import type { StorageDriver } from '../storage/index.ts'
import { readConfig } from './config-file.ts'
import { isMade, openStoragesOf } from './configured-storage.ts'
import { CommandError, EXIT } from './failure.ts'
import { plural } from './findings.ts'
import { inMemory, type MovedAccounts, movedAccounts, storesInMemory } from './moved-accounts.ts'
import { asOwnerOf } from './owner.ts'
import { Progress, share } from './progress.ts'

/** What the command line says. */
export interface ExportCommand {
  /** A file, or `-` for standard output. */
  readonly path: string
  readonly host: string | undefined
  readonly user: string | undefined
}

/** Characters that are gathered before they are written. */
const CHUNK = 65_536

/** @returns the exit code */
export async function exportAccounts(
  configFile: string | undefined,
  command: ExportCommand,
): Promise<number> {
  const config = await readConfig(configFile)
  const moved = movedAccounts(config, command.host, command.user)
  for (const host of moved.hosts) {
    const reason = inMemory(config, host)
    if (reason !== undefined) throw new CommandError(reason)
    for (const store of storesInMemory(config, host))
      console.error(`The store "${store}" of ${host} is kept in memory: what is in it is not exported`)
  }
  const folder = dataPathOf(config)
  const isInternal = moved.hosts.every((host) => storageKindOf(config, host, 'accounts') === 'internal')
  // Looking at what there is makes nothing.
  if (isInternal && isMade(folder) === 'none')
    throw new CommandError(`there are no accounts yet in ${folder}`)
  const target = command.path === '-' ? new Output(process.stdout) : await TargetFile.open(command.path)
  const counts: ExportCounts = { accounts: 0, archived: 0, offline: 0 }
  let written = 0
  const progress = new Progress(
    () => `${share(written, undefined)}, ${plural(counts.accounts, 'account')} exported`,
  )
  try {
    const storage = await RenewedStorage.open(() =>
      asOwnerOf(folder, () => openStoragesOf(config, moved.hosts)),
    )
    try {
      let text = ''
      for await (const piece of writePortable(await hostsOf(storage, moved), counts)) {
        text += piece
        if (text.length < CHUNK) continue
        written += await target.write(text)
        text = ''
      }
      await target.write(text)
    } finally {
      await storage.close()
    }
    await target.finish()
  } catch (error) {
    await target.abandon()
    throw error
  } finally {
    progress.stop()
  }
  // Standard output may be the export.
  console.error(
    `${plural(counts.accounts, 'account')} exported, with ${plural(counts.archived, 'archived message')} and ` +
      `${counts.offline} that wait.`,
  )
  return EXIT.ok
}

async function hostsOf(storage: StorageDriver, moved: MovedAccounts): Promise<ExportHost[]> {
  const hosts: ExportHost[] = []
  for (const host of moved.hosts) {
    const stores = new HostStores(storage, host)
    const usernames: string[] = []
    for await (const username of stores.accounts.users()) {
      if (moved.isMeant(host, username)) usernames.push(username)
    }
    if (moved.username !== undefined && usernames.length === 0)
      throw new CommandError(`there is no account ${moved.username}@${host}`)
    // A storage has them in an order of its own.
    if (usernames.length > 0) hosts.push({ stores, usernames: usernames.sort() })
  }
  return hosts
}

/** Where an export goes. */
class Output {
  private readonly stream: NodeJS.WriteStream
  private failure: Error | undefined

  constructor(stream: NodeJS.WriteStream) {
    this.stream = stream
    stream.on('error', (error) => {
      this.failure ??= error
    })
  }

  /** @returns how many bytes that were */
  async write(text: string): Promise<number> {
    const bytes = Buffer.from(text)
    await new Promise<void>((resolve, reject) => {
      this.stream.write(bytes, (error) => (error == null ? resolve() : reject(error)))
    }).catch((error: Error) => {
      throw new CommandError(`the export could not be written: ${error.message}`)
    })
    return bytes.length
  }

  async finish(): Promise<void> {
    if (this.failure !== undefined)
      throw new CommandError(`the export could not be written: ${this.failure.message}`)
  }

  async abandon(): Promise<void> {}
}

/** A file that is there when it is complete, and that only its owner can read: passwords can be tried on it. */
class TargetFile {
  private readonly path: string
  private readonly scratch: string
  private readonly file: FileHandle

  private constructor(path: string, scratch: string, file: FileHandle) {
    this.path = path
    this.scratch = scratch
    this.file = file
  }

  /** @throws CommandError */
  static async open(given: string): Promise<TargetFile> {
    const path = resolve(given)
    const there = lstatSync(path, { throwIfNoEntry: false })
    if (there !== undefined && !there.isFile()) {
      throw new CommandError(`${path} is there and no file; name another, or - for standard output`)
    }
    const scratch = `${path}.${randomBytes(6).toString('hex')}.part`
    try {
      return new TargetFile(path, scratch, await open(scratch, 'wx', 0o600))
    } catch (error) {
      throw new CommandError(`nothing can be written in ${dirname(path)}: ${(error as Error).message}`)
    }
  }

  async write(text: string): Promise<number> {
    const bytes = Buffer.from(text)
    try {
      await this.file.writeFile(bytes)
    } catch (error) {
      throw new CommandError(`the export could not be written: ${(error as Error).message}`)
    }
    return bytes.length
  }

  async finish(): Promise<void> {
    await this.file.sync()
    await this.file.close()
    renameSync(this.scratch, this.path)
  }

  async abandon(): Promise<void> {
    await this.file.close().catch(() => {})
    rmSync(this.scratch, { force: true })
  }
}
