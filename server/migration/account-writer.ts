/**
 * Writes one account: what its stores have first, and the account itself last. Until then the account is marked as
 * unfinished, and if anything is in the way all of it is taken back.
 */

import { randomBytes } from 'node:crypto'
import {
  deriveKeys,
  hashLength,
  SALT_LENGTH,
  SCRAM_HASHES,
  type ScramHash,
  type ScramKeys,
} from '../auth/scram.ts'
import { type ImportedRecord, preparePassword, UserError } from '../auth/users.ts'
import type { KeptStanza } from '../stanza/kept.ts'
import { isArchiveId, newArchiveId, whenOf } from '../storage/archive.ts'
import { ownMark, RENEWED_AFTER_MS } from './import-mark.ts'
import type { ImportHost } from './importer.ts'
import { type AccountPart, ContentError, type Place } from './parts.ts'
import type {
  StoredBlockList,
  StoredContact,
  StoredPreferences,
  StoredRequest,
  StoredRoster,
} from './stores.ts'

/** Messages, and characters of theirs, that are gathered before they are written. */
const MOST_ENTRIES = 500
const MOST_CHARACTERS = 1_000_000
/** Characters of all that is no message. */
const MOST_KEPT = 16_000_000

export interface AccountWriterOptions {
  readonly target: ImportHost
  readonly username: string
  readonly jid: string
  /** Where the account begins. */
  readonly place: Place
  readonly dry: boolean
  readonly iterations: number
  /** Removes the account that is there. */
  readonly remove: (() => Promise<void>) | undefined
}

interface Entry {
  readonly store: 'offline' | 'archive'
  readonly stanza: KeptStanza
  readonly when: number
  readonly partner: string
  readonly id: string
}

/** One account on its way into the storage. */
export class AccountWriter {
  readonly jid: string
  readonly place: Place
  /** Nothing of it is to be imported. */
  isBroken = false
  /** Characters that are kept in memory until it is finished. */
  size = 0
  archived = 0
  offline = 0
  /** What is to be told of it. */
  readonly notes: string[] = []
  private readonly options: AccountWriterOptions
  private begun: Promise<void> | undefined
  /** Milliseconds since 1970, of its mark. */
  private marked = 0
  private entries: Entry[] = []
  private entrySize = 0
  private password: string | undefined
  private readonly keys = new Map<ScramHash, ScramKeys>()
  private created: number | undefined
  private updated: number | undefined
  private readonly contacts = new Map<string, StoredContact>()
  private version: number | undefined
  /** The roster is not the one that clients may have kept under its version. */
  private isOtherRoster = false
  private readonly requests = new Map<string, StoredRequest>()
  private readonly elements = new Map<string, string>()
  private readonly blocked = new Set<string>()
  private vcard: string | undefined
  private preferences: StoredPreferences | undefined

  constructor(options: AccountWriterOptions) {
    this.options = options
    this.jid = options.jid
    this.place = options.place
  }

  /** @throws StorageError, ContentError */
  async add(part: AccountPart): Promise<void> {
    if (this.size - this.entrySize > MOST_KEPT)
      throw new ContentError(`beside messages there is more than ${MOST_KEPT / 1e6} MB of it`)
    switch (part.kind) {
      case 'password':
        this.password = part.password
        return
      case 'keys':
        this.keys.set(part.hash, part.keys)
        return
      case 'times':
        this.created = part.created
        this.updated = part.updated
        return
      case 'contact':
        // One's own address is no contact.
        if (part.contact.jid === this.jid) {
          this.isOtherRoster = true
          return
        }
        // Two addresses that are one here.
        if (this.contacts.has(part.contact.jid)) this.isOtherRoster = true
        this.contacts.set(part.contact.jid, part.contact)
        this.size += 200 + (part.contact.name?.length ?? 0) + lengthOf(part.contact.groups ?? [])
        return
      case 'roster-version':
        this.version = part.version
        return
      case 'request':
        this.requests.set(part.request.from, part.request)
        this.size +=
          200 + part.request.inner.length + lengthOf([part.request.id ?? '', part.request.lang ?? ''])
        return
      case 'vcard':
        this.vcard = part.text
        this.size += part.text.length
        return
      case 'private':
        this.elements.set(part.key, part.text)
        this.size += part.text.length
        return
      case 'blocked':
        this.blocked.add(part.jid)
        this.size += 100
        return
      case 'preferences':
        this.preferences = part.preferences
        return
      case 'offline':
        this.offline++
        await this.append('offline', part.stanza, part.when, part.stanza.attrs['from'] ?? '', undefined)
        return
      case 'archived':
        this.archived++
        await this.append('archive', part.stanza, part.when, part.partner, part.id)
    }
  }

  /** Writes what has not been written, and the account. @throws StorageError, UserError */
  async finish(): Promise<void> {
    const record = await this.record()
    if (this.options.dry) return
    const { target, username } = this.options
    const { stores, users } = target
    await this.begin()
    const { blocked } = this
    const list: StoredBlockList = Object.fromEntries([...blocked].map((jid) => [jid, true as const]))
    await Promise.all([
      this.flush(),
      stores.roster.set(username, this.roster()),
      stores.vcard.set(username, this.vcard),
      stores.private.setKeys(username, Object.fromEntries(this.elements)),
      stores.blocklist.set(username, blocked.size === 0 ? undefined : list),
      stores.archivePrefs.set(username, this.preferences),
    ])
    await users.take(username, record)
    await stores.marks.set(username, undefined)
  }

  /** Takes back what has been written. @throws StorageError */
  async discard(): Promise<void> {
    const { target, username } = this.options
    // What could not begin has written nothing.
    const isBegun = await this.begun?.then(
      () => true,
      () => false,
    )
    if (isBegun !== true) return
    await target.stores.clear(username)
    await target.stores.marks.set(username, undefined)
  }

  private async append(
    store: Entry['store'],
    stanza: KeptStanza,
    when: number,
    partner: string,
    id: string | undefined,
  ): Promise<void> {
    if (this.options.dry) return
    // Where it fits it is the id that clients know.
    const isOurs = id !== undefined && isArchiveId(id) && whenOf(id) === when
    this.entries.push({ store, stanza, when, partner, id: isOurs ? id : newArchiveId(when) })
    const length = stanza.inner.length + lengthOf(Object.values(stanza.attrs))
    this.size += length
    this.entrySize += length
    if (this.entries.length >= MOST_ENTRIES || this.entrySize >= MOST_CHARACTERS) {
      await this.begin()
      if (Date.now() - this.marked > RENEWED_AFTER_MS) await this.mark()
      await this.flush()
    }
  }

  private begin(): Promise<void> {
    this.begun ??= this.makeRoom()
    return this.begun
  }

  private async makeRoom(): Promise<void> {
    const { target, username, remove } = this.options
    const { stores, users } = target
    await remove?.()
    await users.purge(username)
    await this.mark()
    // Whoever makes an account looks for a mark when it is made: one of both sees the other.
    if (!(await users.exists(username))) return
    await stores.marks.set(username, undefined)
    throw new UserError('exists', `the user ${username} exists already`)
  }

  private async mark(): Promise<void> {
    this.marked = Date.now()
    await this.options.target.stores.marks.set(this.options.username, ownMark())
  }

  private async flush(): Promise<void> {
    const { entries } = this
    const { target, username } = this.options
    this.entries = []
    this.size -= this.entrySize
    this.entrySize = 0
    await Promise.all(
      entries.map(({ store, stanza, when, partner, id }) =>
        target.stores[store].append(username, stanza, when, partner, id),
      ),
    )
  }

  private roster(): StoredRoster | undefined {
    const { contacts, requests } = this
    const version = this.isOtherRoster ? undefined : this.version
    if (contacts.size === 0 && requests.size === 0 && version === undefined) return undefined
    return {
      items: [...contacts.values()],
      requests: [...requests.values()],
      ...(version !== undefined && { version }),
    }
  }

  /** @throws UserError */
  private async record(): Promise<ImportedRecord> {
    const now = Math.floor(Date.now() / 1000)
    const times = { created: this.created ?? now, updated: this.updated ?? now }
    if (this.keys.size < SCRAM_HASHES.length && this.password !== undefined) {
      const prepared = preparePassword(this.password, 'stored')
      if (prepared !== undefined) {
        for (const hash of SCRAM_HASHES) {
          // To look whether it could be done needs no keys.
          if (!this.options.dry)
            this.keys.set(hash, await deriveKeys(hash, prepared, this.options.iterations))
        }
        return { ...this.allKeys(), ...times }
      }
      if (this.keys.size === 0)
        throw new UserError('bad-password', 'its password is none that SASLprep allows')
    }
    if (this.keys.size === 0) {
      this.notes.push(
        `has no password that could be taken over: nobody can log in until "legate passwd ${this.jid}"`,
      )
      for (const hash of SCRAM_HASHES) this.keys.set(hash, nobodysKeys(hash, this.options.iterations))
    }
    return { ...this.allKeys(), ...times }
  }

  private allKeys(): Partial<Record<`SCRAM-${ScramHash}`, ScramKeys>> {
    return Object.fromEntries([...this.keys].map(([hash, keys]) => [`SCRAM-${hash}`, keys]))
  }
}

/** Characters, and what each text costs besides. */
function lengthOf(texts: readonly string[]): number {
  return texts.reduce((sum, text) => sum + 50 + text.length, 0)
}

/** Keys that no password fits. */
function nobodysKeys(hash: ScramHash, iterations: number): ScramKeys {
  const random = (): string => randomBytes(hashLength(hash)).toString('base64')
  return {
    salt: randomBytes(SALT_LENGTH).toString('base64'),
    iterations,
    storedKey: random(),
    serverKey: random(),
  }
}

/** Iterations beyond which one login would keep the server busy for many seconds. */
const MOST_ITERATIONS = 10_000_000
/** Bytes of a salt. */
const LONGEST_SALT = 1024

/**
 * Keys of another server, if they can be such.
 *
 * @throws ContentError
 */
export function checkedKeys(
  hash: ScramHash,
  salt: Buffer,
  iterations: number,
  storedKey: Buffer,
  serverKey: Buffer,
): ScramKeys {
  if (salt.length === 0 || salt.length > LONGEST_SALT)
    throw new ContentError(`the salt of SCRAM-${hash} is none`)
  if (!Number.isInteger(iterations) || iterations < 1 || iterations > MOST_ITERATIONS) {
    throw new ContentError(`the iteration count of SCRAM-${hash} is none from 1 to ${MOST_ITERATIONS}`)
  }
  for (const [name, key] of [
    ['stored', storedKey],
    ['server', serverKey],
  ] as const) {
    if (key.length === hashLength(hash)) continue
    throw new ContentError(
      `the ${name} key of SCRAM-${hash} has ${key.length} bytes instead of ${hashLength(hash)}`,
    )
  }
  return {
    salt: salt.toString('base64'),
    iterations,
    storedKey: storedKey.toString('base64'),
    serverKey: serverKey.toString('base64'),
  }
}
