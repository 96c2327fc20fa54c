/** A data folder of Prosody's storage "internal", account by account. */

import { existsSync } from 'node:fs'
import { opendir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ownJid } from './content.ts'
import type { LuaData } from './lua-data.ts'
import { type LuaItem, type OnRead, readLuaFile, readLuaList } from './lua-file.ts'
import { type AccountPart, ContentError, DataError, type Part } from './parts.ts'
import {
  accountParts,
  archivePart,
  blocklistParts,
  offlinePart,
  preferencesParts,
  privacyParts,
  privateParts,
  rosterParts,
  vcardParts,
} from './prosody-stores.ts'

type PartsOf = (stored: LuaData) => Generator<AccountPart>

/** Stores of one value. */
const VALUES: Readonly<Record<string, PartsOf>> = {
  accounts: accountParts,
  roster: rosterParts,
  vcard: vcardParts,
  private: privateParts,
  archive_prefs: preferencesParts,
}
/** What else is read. */
const LISTS = ['blocklist', 'privacy', 'offline', 'archive']

/** What to look for, and whom to tell how it goes. */
export interface ProsodySource {
  readonly folder: string
  isMeant(host: string): boolean
  readonly onRead: OnRead
  /** An account has been read. */
  readonly onAccount: () => void
}

/**
 * The pieces of all accounts.
 *
 * @throws DataError if it is no such folder; errors of the file system
 */
export async function* readProsody(source: ProsodySource): AsyncGenerator<Part> {
  const hosts = await hostsOf(source.folder)
  if (hosts.length === 0) {
    throw new DataError(
      { file: source.folder },
      'there are no accounts of Prosody here. It is the folder that the option data_path of prosody.cfg.lua names, ' +
        'mostly /var/lib/prosody, with a folder for each host; what Prosody keeps with another storage than ' +
        '"internal" it moves itself: prosodyctl, or prosody-migrator',
    )
  }
  for (const { folder, host } of hosts) if (source.isMeant(host)) yield* readHost(source, folder, host)
}

/** How many accounts there are, for telling how far an import has come. */
export async function countProsodyAccounts(folder: string): Promise<number> {
  let count = 0
  for (const host of await hostsOf(folder)) {
    for await (const { name } of await opendir(join(folder, host.folder, 'accounts'))) {
      if (name.endsWith('.dat')) count++
    }
  }
  return count
}

/** Folders of hosts that have accounts, in order. */
async function hostsOf(folder: string): Promise<{ folder: string; host: string }[]> {
  const found: { folder: string; host: string }[] = []
  for (const name of (await readdir(folder)).sort()) {
    const host = decodeName(name)
    if (host !== undefined && existsSync(join(folder, name, 'accounts'))) found.push({ folder: name, host })
  }
  return found
}

async function* readHost(source: ProsodySource, folder: string, host: string): AsyncGenerator<Part> {
  const path = join(source.folder, folder)
  for (const store of (await readdir(path, { withFileTypes: true })).sort((a, b) =>
    a.name < b.name ? -1 : 1,
  )) {
    if (!store.isDirectory() || Object.hasOwn(VALUES, store.name) || LISTS.includes(store.name)) continue
    yield { kind: 'ignored', what: `the store "${store.name}"`, place: { file: join(folder, store.name) } }
  }
  for await (const { name } of await opendir(join(path, 'accounts'))) {
    if (!name.endsWith('.dat')) continue
    const user = name.slice(0, -'.dat'.length)
    const username = decodeName(user)
    const place = { file: join(folder, 'accounts', name) }
    if (username === undefined) {
      yield { kind: 'failure', place, text: `"${user}" is no name of a file of Prosody's` }
      continue
    }
    yield { kind: 'begin', host, username, place }
    yield* readAccount(source, folder, user, ownJid(username, host))
    yield { kind: 'end' }
    source.onAccount()
  }
}

/** One account; what is wrong with it is its own matter. */
async function* readAccount(
  source: ProsodySource,
  folder: string,
  user: string,
  own: string,
): AsyncGenerator<Part> {
  const { onRead } = source
  const fileOf = (store: string, extension: string) => {
    const name = join(folder, store, `${user}.${extension}`)
    return [join(source.folder, name), name] as const
  }
  try {
    for (const [store, partsOf] of Object.entries(VALUES)) {
      yield* valueParts(...fileOf(store, 'dat'), onRead, partsOf)
    }
    const [blocklist] = fileOf('blocklist', 'dat')
    if (existsSync(blocklist)) yield* valueParts(...fileOf('blocklist', 'dat'), onRead, blocklistParts)
    else yield* valueParts(...fileOf('privacy', 'dat'), onRead, privacyParts)
    yield* listParts(...fileOf('offline', 'list'), onRead, offlinePart)
    yield* listParts(...fileOf('archive', 'list'), onRead, (stored) => archivePart(stored, own))
  } catch (error) {
    if (error instanceof DataError) yield { kind: 'broken', place: error.place, text: error.message }
    else if (isUnreadable(error)) yield { kind: 'broken', place: { file: error.path }, text: error.message }
    else throw error
  }
}

async function* valueParts(
  path: string,
  name: string,
  onRead: OnRead,
  partsOf: PartsOf,
): AsyncGenerator<AccountPart> {
  const item = await readLuaFile(path, name, onRead)
  if (item !== undefined) yield* placed(name, item, () => partsOf(item.value))
}

async function* listParts(
  path: string,
  name: string,
  onRead: OnRead,
  partOf: (stored: LuaData) => AccountPart,
): AsyncGenerator<AccountPart> {
  for await (const item of readLuaList(path, name, onRead))
    yield* placed(name, item, () => [partOf(item.value)])
}

function* placed(
  file: string,
  { line }: LuaItem,
  parts: () => Iterable<AccountPart>,
): Generator<AccountPart> {
  try {
    yield* parts()
  } catch (error) {
    throw error instanceof ContentError ? new DataError({ file, line }, error.message) : error
  }
}

function isUnreadable(error: unknown): error is NodeJS.ErrnoException & { path: string } {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).path === 'string'
}

const decoder = new TextDecoder('utf-8', { fatal: true })

/** `capulet%2elit` is capulet.lit; undefined if no host or user can be called so. */
function decodeName(name: string): string | undefined {
  if (!/^(?:[A-Za-z0-9]|%[0-9a-fA-F]{2})+$/.test(name)) return undefined
  try {
    return decoder.decode(
      Buffer.from(
        name.replace(/%(..)/g, (_, byte: string) => String.fromCharCode(Number.parseInt(byte, 16))),
        'latin1',
      ),
    )
  } catch {
    return undefined
  }
}
