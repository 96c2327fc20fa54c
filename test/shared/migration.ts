/** Imports and exports over storages that a test has opened, without the command line. */

import { openUsers } from '../../server/auth/open-users.ts'
import {
  type ImportCounts,
  Importer,
  type ImportHost,
  type ImportOptions,
} from '../../server/migration/importer.ts'
import { DataError, type Part, placeText } from '../../server/migration/parts.ts'
import { readPortable } from '../../server/migration/portable-reader.ts'
import { writePortable } from '../../server/migration/portable-writer.ts'
import { HostStores } from '../../server/migration/stores.ts'
import type { StorageDriver } from '../../server/storage/index.ts'

/** What an import has come to, and what it has told. */
export interface Imported {
  readonly counts: ImportCounts
  readonly failed: string[]
  readonly noted: string[]
  /** Why it has not gone on to the end. */
  readonly stopped: string | undefined
}

/** The stores and accounts of a host. */
export function importHost(storage: StorageDriver, host: string): ImportHost {
  return { stores: new HostStores(storage, host), users: openUsers(storage, host, 4096) }
}

/**
 * Imports what comes in parts.
 *
 * @param hosts - those that there are
 * @param existing - what becomes of accounts that are there
 * @param into - all of the hosts, if it is given
 */
export async function importParts(
  storage: StorageDriver,
  hosts: readonly string[],
  parts: AsyncIterable<Part>,
  existing: ReturnType<ImportOptions['existing']> = 'stays',
  into?: ImportHost,
): Promise<Imported> {
  const failed: string[] = []
  const noted: string[] = []
  const importer = new Importer({
    hostOf: (name) =>
      hosts.includes(name) ? (into ?? importHost(storage, name)) : `there is no VirtualHost "${name}"`,
    isMeant: () => true,
    existing: () => existing,
    remove: (host, username) => storage.purgeUser(host, username),
    dry: false,
    failed: (line) => failed.push(line),
    noted: (line) => noted.push(line),
    iterations: () => 4096,
  })
  for (const host of hosts) await importer.cleanUp(importHost(storage, host))
  let stopped: string | undefined
  try {
    for await (const part of parts) await importer.take(part)
  } catch (error) {
    if (!(error instanceof DataError)) throw error
    stopped = `${placeText(error.place)}: ${error.message}`
  }
  await importer.close()
  return { counts: importer.counts, failed, noted, stopped }
}

/** Imports a document of XEP-0227 for the host capulet.lit. @param cut - bytes of each chunk */
export function importText(
  storage: StorageDriver,
  xml: string | Buffer,
  cut = 1000,
  existing: ReturnType<ImportOptions['existing']> = 'stays',
  into?: ImportHost,
): Promise<Imported> {
  const bytes = Buffer.from(xml)
  async function* chunks(): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += cut) yield bytes.subarray(at, at + cut)
  }
  const source = { bytes: chunks(), name: 'x.xml', path: undefined, onRead: () => {}, onAccount: () => {} }
  return importParts(storage, ['capulet.lit'], readPortable(source), existing, into)
}

/** The export of all accounts of capulet.lit. */
export async function exportText(storage: StorageDriver): Promise<string> {
  const { stores } = importHost(storage, 'capulet.lit')
  const usernames: string[] = []
  for await (const username of stores.accounts.users()) usernames.push(username)
  let text = ''
  const hosts = [{ stores, usernames: usernames.sort() }]
  for await (const piece of writePortable(hosts, { accounts: 0, archived: 0, offline: 0 })) text += piece
  return text
}

/** A document with one host, capulet.lit. */
export function document(users: string): string {
  return `<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='urn:xmpp:pie:0'>\n<host jid='capulet.lit'>\n${users}\n</host>\n</server-data>\n`
}
