/** What the plugins keep of an account: the stores that are exported and imported, and the formats of their values. */

import { MARKS } from '../auth/open-users.ts'
import type { ImportedRecord } from '../auth/users.ts'
import type { KeptStanza } from '../stanza/kept.ts'
import type { ArchiveStore, KeyvalStore, MapStore, StorageDriver } from '../storage/index.ts'

/** A contact in the store `roster` (plugins/roster/roster.ts). */
export interface StoredContact {
  readonly jid: string
  readonly subscription: 'none' | 'to' | 'from' | 'both'
  readonly ask?: true
  readonly approved?: true
  readonly name?: string
  readonly groups?: readonly string[]
  /** Of the roster, when the contact was last changed here. */
  readonly version?: number
}

/** A subscription request that waits for an answer, in the same store. */
export interface StoredRequest {
  readonly from: string
  /** The content of the request, XML text; of that content how many elements there are, and what the first one is. */
  readonly inner: string
  readonly count: number
  readonly payloadName: string
  readonly payloadNs: string
  readonly id?: string
  readonly lang?: string
}

export interface StoredRoster {
  items: StoredContact[]
  requests: StoredRequest[]
  /** What clients keep of it is compared by this. */
  version?: number
  /** What has changed after this version is known; if it is missing, after `version`. */
  since?: number
  removed?: [jid: string, version: number][]
}

/** The store `archive_prefs` (plugins/mam/preferences.ts). */
export interface StoredPreferences {
  readonly default: 'always' | 'never' | 'roster'
  readonly always: readonly string[]
  readonly never: readonly string[]
}

/** The store `blocklist` (plugins/blocklist/lists.ts). */
export type StoredBlockList = Record<string, true>

/** Who is importing an account, which is not whole yet. */
export interface ImportMark {
  readonly process: number
  readonly machine: string
  /** When the process has begun, as the system tells it. */
  readonly begun?: string
  /** Milliseconds since 1970, of when it was last seen at work. */
  readonly when?: number
}

/** The names of the stores that accounts have something in, beside `accounts`. */
export const STORE_NAMES = [
  'roster',
  'vcard',
  'private',
  'blocklist',
  'archive_prefs',
  'offline',
  'archive',
] as const
export type StoreName = (typeof STORE_NAMES)[number]

/** The stores of one host. */
export class HostStores {
  readonly host: string
  readonly accounts: KeyvalStore<ImportedRecord>
  readonly missingKeys: MapStore<true>
  readonly marks: KeyvalStore<ImportMark>
  readonly roster: KeyvalStore<StoredRoster>
  readonly vcard: KeyvalStore<string>
  readonly private: MapStore<string>
  readonly blocklist: KeyvalStore<StoredBlockList>
  readonly archivePrefs: KeyvalStore<StoredPreferences>
  readonly offline: ArchiveStore<KeptStanza>
  readonly archive: ArchiveStore<KeptStanza>

  /** @throws StorageError */
  constructor(storage: StorageDriver, host: string) {
    this.host = host
    this.accounts = storage.openKeyval(host, 'accounts')
    this.missingKeys = storage.openMap(host, 'accounts')
    this.marks = storage.openKeyval(host, MARKS)
    this.roster = storage.openKeyval(host, 'roster')
    this.vcard = storage.openKeyval(host, 'vcard')
    this.private = storage.openMap(host, 'private')
    this.blocklist = storage.openKeyval(host, 'blocklist')
    this.archivePrefs = storage.openKeyval(host, 'archive_prefs')
    this.offline = storage.openArchive(host, 'offline')
    this.archive = storage.openArchive(host, 'archive')
  }

  /** Removes what an import writes of an account, except for the account itself. @throws StorageError */
  async clear(username: string): Promise<void> {
    const elements = await this.private.getAll(username)
    await Promise.all([
      this.roster.set(username, undefined),
      this.vcard.set(username, undefined),
      this.blocklist.set(username, undefined),
      this.archivePrefs.set(username, undefined),
      this.private.setKeys(username, Object.fromEntries([...elements.keys()].map((key) => [key, undefined]))),
      this.offline.delete(username, {}),
      this.archive.delete(username, {}),
    ])
  }
}
