// legate import: takes over accounts of a file (XEP-0227) or of a Prosody.

import { createReadStream, existsSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import * as z from 'zod'
import { openUsers } from '../auth/open-users.ts'
import { type Config, coreOptions, readOption } from '../config/index.ts'
import { escapeUnsafe } from '../log-text.ts'
import { AtWork } from '../migration/import-mark.ts'
import { type ImportCounts, Importer, type ImportHost } from '../migration/importer.ts'
import { DataError, type Part, placeText } from '../migration/parts.ts'
import { readPortable } from '../migration/portable-reader.ts'
import { countProsodyAccounts, readProsody } from '../migration/prosody.ts'
import { RenewedStorage } from '../migration/renewed-storage.ts'
import { HostStores } from '../migration/stores.ts'
import { dataPathOf, storageKindOf } from '../server.ts'
import { openStorage, type StorageDriver } from '../storage/index.ts'
import { readConfig } from './config-file.ts'
import { openStoragesOf } from './configured-storage.ts'
import { CommandError, EXIT } from './failure.ts'
import { plural } from './findings.ts'
import { inMemory, type MovedAccounts, movedAccounts, storesInMemory } from './moved-accounts.ts'
import { asOwnerOf, tellWhoseItIs } from './owner.ts'
import { Progress, share } from './progress.ts'
import { askServer, NotRunning } from './running-server.ts'

/** What the command line says. */
export interface ImportCommand {
  /** A file, `-` for standard input; with `prosody` a folder. */
  readonly path: string
  readonly prosody: boolean
  readonly host: string | undefined
  readonly user: string | undefined
  readonly replace: boolean
  readonly dryRun: boolean
}

/** Bytes that are read at a time. */
const CHUNK = 65_536

/** What an account that is there already is to an import. */
type Existing = 'stays' | 'gives way' | 'is broken there'

/** One way through everything that is imported. */
interface Pass {
  readonly dry: boolean
  existing(jid: string): Existing
  failed(line: string, jid: string | undefined): void
  noted(line: string): void
}

/** @returns the exit code */
export async function importAccounts(
  configFile: string | undefined,
  command: ImportCommand,
): Promise<number> {
  const config = await readConfig(configFile)
  const moved = movedAccounts(config, command.host, command.user)
  checkPath(command)
  if (command.replace && !command.dryRun && (await isRunning(config)))
    throw new CommandError(NOT_WHILE_RUNNING)
  const folder = dataPathOf(config)
  const isNew =
    moved.hosts.some((host) => storageKindOf(config, host, 'accounts') === 'internal') && !existsSync(folder)
  const open = () => openStoragesOf(config, moved.hosts)
  // To look needs no storage where there is none yet. Only the first time as somebody else: later on, files of the
  // source are opened meanwhile, which the owner of the data folder may not be able to read.
  const storage =
    command.dryRun && isNew
      ? openStorage('memory', { path: folder })
      : await RenewedStorage.open(open, () => asOwnerOf(folder, open))
  try {
    return await new ImportRun(config, moved, command, storage).run()
  } catch (error) {
    if (error instanceof AtWork) throw new CommandError(escapeUnsafe(error.message))
    throw error
  } finally {
    await storage.close()
    if (isNew && !command.dryRun) tellWhoseItIs(folder)
  }
}

class ImportRun {
  private readonly config: Config
  private readonly moved: MovedAccounts
  private readonly command: ImportCommand
  private readonly storage: StorageDriver
  private readonly hosts = new Map<string, ImportHost | string>()
  private bytes = 0
  private accounts = 0

  constructor(config: Config, moved: MovedAccounts, command: ImportCommand, storage: StorageDriver) {
    this.config = config
    this.moved = moved
    this.command = command
    this.storage = storage
    for (const host of moved.hosts) this.hosts.set(host, inMemory(config, host) ?? this.importHost(host))
  }

  async run(): Promise<number> {
    const { replace, dryRun } = this.command
    const broken = new Set<string>()
    if (replace && !dryRun) await this.lookFirst(broken)
    let failures = 0
    const progress = await this.progress(dryRun ? 'read' : 'imported')
    const pass: Pass = {
      dry: dryRun,
      existing: (jid) => (!replace ? 'stays' : broken.has(jid) ? 'is broken there' : 'gives way'),
      failed: (line) => {
        failures++
        progress.tell(`legate: ${escapeUnsafe(line)}`)
      },
      noted: (line) => progress.tell(escapeUnsafe(line)),
    }
    for (const host of this.moved.hosts) {
      for (const store of storesInMemory(this.config, host))
        pass.noted(`The store "${store}" of ${host} is kept in memory: what would be in it is not taken over`)
    }
    const { counts, stopped } = await this.pass(pass).finally(() => progress.stop())
    console.log(summary(counts, dryRun))
    if (counts.imported > 0 && !dryRun && !replace && (await mayRun(this.config)))
      console.error(WHILE_RUNNING)
    if (stopped !== undefined) {
      console.error(
        `legate: ${escapeUnsafe(placeText(stopped.place))}: ${escapeUnsafe(stopped.message)}\n` +
          'What comes after that could not be read. Accounts are there wholly or not at all: put it right and import ' +
          'again, which leaves those that are there as they are',
      )
    }
    return stopped === undefined && failures === 0 ? EXIT.ok : EXIT.failed
  }

  /** Before anything is removed: what can be read of the accounts that are to come in the place of others? */
  private async lookFirst(broken: Set<string>): Promise<void> {
    const progress = await this.progress('looked at')
    const { stopped } = await this.pass({
      dry: true,
      existing: () => 'gives way',
      failed: (_, jid) => {
        if (jid !== undefined) broken.add(jid)
      },
      noted: () => {},
    }).finally(() => progress.stop())
    if (stopped === undefined) return
    throw new CommandError(
      `${escapeUnsafe(placeText(stopped.place))}: ${escapeUnsafe(stopped.message)}: nothing was changed`,
    )
  }

  private async pass(pass: Pass): Promise<{ counts: ImportCounts; stopped: DataError | undefined }> {
    this.bytes = 0
    this.accounts = 0
    const importer = new Importer({
      ...pass,
      hostOf: (name) => this.hosts.get(name) ?? `there is no VirtualHost "${name}" in ${this.config.path}`,
      isMeant: (host, username) => this.moved.isMeant(host, username),
      remove: async (host, username) => {
        const { users } = this.hosts.get(host) as ImportHost
        await users.delete(username)
      },
      iterations: (host) => this.iterations(host),
    })
    if (!pass.dry) {
      for (const host of this.hosts.values()) if (typeof host !== 'string') await importer.cleanUp(host)
    }
    let stopped: DataError | undefined
    try {
      for await (const part of this.parts()) await importer.take(part)
    } catch (error) {
      if (!(error instanceof DataError)) {
        await importer.close().catch(() => {})
        throw readable(error)
      }
      stopped = error
    }
    await importer.close()
    return { counts: importer.counts, stopped }
  }

  private parts(): AsyncIterable<Part> {
    const { path, prosody } = this.command
    const onRead = (bytes: number) => {
      this.bytes += bytes
    }
    const onAccount = () => {
      this.accounts++
    }
    if (prosody)
      return readProsody({ folder: path, isMeant: (host) => this.moved.isHostMeant(host), onRead, onAccount })
    const bytes = path === '-' ? process.stdin : createReadStream(path, { highWaterMark: CHUNK })
    return readPortable({
      bytes: bytes as AsyncIterable<Buffer>,
      name: path === '-' ? 'standard input' : path,
      path: path === '-' ? undefined : resolve(path),
      onRead,
      onAccount,
    })
  }

  private async progress(doing: string): Promise<Progress> {
    const { path, prosody } = this.command
    const accounts = prosody ? await countProsodyAccounts(path) : undefined
    const size = prosody || path === '-' ? undefined : statSync(path).size
    return new Progress(() => {
      const count =
        accounts === undefined
          ? plural(this.accounts, 'account')
          : `${this.accounts} of ${plural(accounts, 'account')}`
      return `${share(this.bytes, size)}, ${count} ${doing}`
    })
  }

  private importHost(host: string): ImportHost {
    return {
      stores: new HostStores(this.storage, host),
      users: openUsers(this.storage, host, this.iterations(host)),
    }
  }

  private iterations(host: string): number {
    return readOption(this.config, host, 'default_iteration_count', coreOptions.default_iteration_count)
  }
}

/** @throws CommandError */
function checkPath({ path, prosody, replace }: ImportCommand): void {
  if (path === '-') {
    if (prosody) throw new CommandError('--from-prosody needs a folder, and - stands for standard input')
    if (replace)
      throw new CommandError('--replace reads everything twice, which standard input can not be; name a file')
    return
  }
  if (!existsSync(path)) throw new CommandError(`there is no ${path}`)
  const isFolder = statSync(path).isDirectory()
  if (prosody && !isFolder)
    throw new CommandError(`${path} is no folder; --from-prosody needs Prosody's data_path`)
  if (!prosody && isFolder)
    throw new CommandError(`${path} is a folder; of a Prosody? Then: legate import --from-prosody ${path}`)
}

const NOT_WHILE_RUNNING =
  '--replace needs the server to be stopped: people may be using the accounts that are to go'
const WHILE_RUNNING =
  'The server runs: what it knows of a name from before there was an account (an empty block list, preferences of ' +
  'the archive) counts until it is started again'

/** Whether a server of this configuration runs. @throws CommandError if it does not say */
async function isRunning(config: Config): Promise<boolean> {
  try {
    await askServer(config, { command: 'status' }, z.unknown())
    return true
  } catch (error) {
    if (error instanceof NotRunning) return false
    throw error
  }
}

/** One that does not say counts as well. */
async function mayRun(config: Config): Promise<boolean> {
  try {
    return await isRunning(config)
  } catch (error) {
    if (error instanceof CommandError) return true
    throw error
  }
}

/** Errors of the file system are for people as they are. */
function readable(error: unknown): unknown {
  const { code, path, message } = error as NodeJS.ErrnoException
  return typeof code === 'string' && typeof path === 'string' ? new CommandError(message) : error
}

function summary({ imported, existing, failed, archived, offline }: ImportCounts, dry: boolean): string {
  const parts = [
    `${plural(imported, 'account')} ${dry ? 'can be imported' : 'imported'}` +
      `, with ${plural(archived, 'archived message')} and ${offline} that wait`,
  ]
  if (existing > 0)
    parts.push(`${existing} there already, and left as ${existing === 1 ? 'it is' : 'they are'}`)
  if (failed > 0) parts.push(`${failed} not imported, as told above`)
  return `${parts.join('; ')}.`
}
