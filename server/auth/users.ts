/** The accounts of a host. Passwords are kept as SCRAM keys only. */

import { createHash, hash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { KeyvalStore, MapStore } from '../storage/index.ts'
import { saslprep } from './saslprep.ts'
import {
  deriveKeys,
  hashLength,
  hmac,
  SALT_LENGTH,
  SCRAM_HASHES,
  type ScramHash,
  type ScramKeys,
} from './scram.ts'

/** That nobody can log in to an account, and why. */
export interface DisabledAccount {
  /** Who has it has removed it. */
  reason: 'ibr'
  /** Unix time in seconds. */
  when: number
  /** Unix time in seconds when it is to be deleted; absent if never. */
  until?: number
}

/** What is stored of an account. */
export interface AccountRecord {
  'SCRAM-SHA-1': ScramKeys
  'SCRAM-SHA-256': ScramKeys
  disabled?: DisabledAccount
  /** Unix time in seconds. */
  created: number
  /** Unix time in seconds of the last change of the password. */
  updated: number
}

/** The same of an account that was imported: another server mostly has the keys of one hash only. */
export type ImportedRecord = Partial<Pick<AccountRecord, 'SCRAM-SHA-1' | 'SCRAM-SHA-256'>> &
  Pick<AccountRecord, 'created' | 'updated' | 'disabled'>

/** What is stored of the host itself (the user `null`): Base64. */
interface DecoySecret {
  decoySecret: string
}

/** What a password is for an account: that of one that is disabled is told only to who knows it. */
export type PasswordCheck = 'right' | 'wrong' | 'disabled'

export type UserErrorCode = 'exists' | 'unfinished' | 'not-found' | 'bad-username' | 'bad-password'

/** An account could not be made or changed; the message is for people. */
export class UserError extends Error {
  readonly code: UserErrorCode

  constructor(code: UserErrorCode, message: string) {
    super(message)
    this.name = 'UserError'
    this.code = code
  }
}

/** As Prosody's `default_iteration_count`. */
export const DEFAULT_ITERATIONS = 10_000

/** RFC 5802 §5.1 asks for 4096 and more. */
const MIN_ITERATIONS = 4096

/** Bytes of a password, prepared; more is an attack, since it is hashed before anybody is authenticated. */
export const MAX_PASSWORD_LENGTH = 1023

/** What is stored of accounts without keys for a hash, and of the host if it has such accounts: that hash → true. */
export type MissingKeys = MapStore<true>

/** What may be stored of names that have no account. */
export interface Remains {
  /** The host's keyval store of accounts that an import is at. */
  readonly marks: KeyvalStore<unknown>
  /** Removes all that is stored of a name, unless there is an account of it, or an import is at it, by then. */
  purge(username: string): Promise<void>
}

/** Accounts without some keys that are looked at to find out what is missing: mostly all lack the same. */
const LOOKED_AT = 50

/** Logins that are remembered. */
const REMEMBERED = 10_000

/**
 * User names are localparts as the JID module prepares them: here they are compared as they are.
 *
 * Every method rejects with a `StorageError` if the store fails.
 */
export class Users {
  readonly #store: KeyvalStore<ImportedRecord | DecoySecret>
  readonly #missingKeys: MissingKeys | undefined
  readonly #remains: Remains | undefined
  readonly #iterations: number
  #missing: ReadonlySet<ScramHash> = new Set()
  #decoySecret: Promise<Buffer> | undefined
  readonly #rememberKey = randomBytes(32).toString('hex')
  /** User name → keyed hash of what last logged in, the oldest first. */
  readonly #remembered = new Map<string, Buffer>()

  /**
   * @param store the host's store `accounts`; the record of the host itself is used too
   * @param options.iterations of PBKDF2 for new passwords, 4096 at least; 10000 if left out
   * @param options.missingKeys the host's map of the same name, where imported accounts may lack keys
   * @param options.remains what new accounts must not find; without it nobody looks
   * @throws RangeError if iterations is not a whole number from 4096 to 2³¹-1
   */
  constructor(
    store: KeyvalStore<AccountRecord>,
    options: { iterations?: number; missingKeys?: MissingKeys; remains?: Remains } = {},
  ) {
    const iterations = options.iterations ?? DEFAULT_ITERATIONS
    if (!Number.isInteger(iterations) || iterations < MIN_ITERATIONS || iterations > 2 ** 31 - 1) {
      throw new RangeError(`the iteration count is ${iterations}; it has to be ${MIN_ITERATIONS} or more`)
    }
    this.#store = store as KeyvalStore<ImportedRecord | DecoySecret>
    this.#iterations = iterations
    this.#missingKeys = options.missingKeys
    this.#remains = options.remains
  }

  /**
   * The hashes that some accounts have no keys for, as far as is known: with SCRAM of those they could not log in.
   * Another set each time that it changes.
   */
  get missing(): ReadonlySet<ScramHash> {
    return this.#missing
  }

  /** Looks again which hashes there are accounts without keys for. */
  async lookForMissing(): Promise<void> {
    if (this.#missingKeys === undefined) return
    const found = new Set<ScramHash>()
    if ((await this.#missingKeys.getAll(null)).size > 0) {
      let count = 0
      for await (const username of this.#missingKeys.users()) {
        const lacking = await this.#missingKeys.getAll(username)
        for (const hash of SCRAM_HASHES) if (lacking.has(hash)) found.add(hash)
        if (++count === LOOKED_AT || found.size === SCRAM_HASHES.length) break
      }
      if (found.size === 0)
        await this.#missingKeys.setKeys(null, { 'SHA-1': undefined, 'SHA-256': undefined })
    }
    if (found.size !== this.#missing.size || [...found].some((hash) => !this.#missing.has(hash)))
      this.#missing = found
  }

  async exists(username: string): Promise<boolean> {
    return readAccount(await this.#store.get(username)) !== undefined
  }

  /**
   * Adds an account. What a deletion that did not come to its end has left of its name is removed first.
   *
   * @throws UserError `exists`, `unfinished` (an import is at it, or was killed), `bad-username` or `bad-password`
   */
  async create(username: string, password: string): Promise<void> {
    if (username === '') throw new UserError('bad-username', 'the user name is empty')
    const exists = () => new UserError('exists', `the user ${username} exists already`)
    if (await this.exists(username)) throw exists()
    if (await this.#isMarked(username)) throw unfinished(username)
    const keys = await this.#derive(password)
    await this.purge(username)
    const now = unixTime()
    await this.#store.update(username, (old) => {
      if (old !== undefined) throw exists()
      return { ...keys, created: now, updated: now }
    })
    // An import marks a name and then looks whether there is an account: one of both sees the other.
    if (!(await this.#isMarked(username))) return
    await this.#store.set(username, undefined)
    throw unfinished(username)
  }

  /** Removes what is stored of a name, unless it is an account's, or an import's that is at it. */
  async purge(username: string): Promise<void> {
    await this.#remains?.purge(username)
  }

  async #isMarked(username: string): Promise<boolean> {
    return (await this.#remains?.marks.get(username)) !== undefined
  }

  /** @throws UserError `not-found` or `bad-password` */
  async setPassword(username: string, password: string): Promise<void> {
    if (!(await this.exists(username))) throw notFound(username)
    const keys = await this.#derive(password)
    await this.#store.update(username, (old) => {
      if (old === undefined || !isAccount(old)) throw notFound(username)
      const { created, disabled } = old
      return { ...keys, created, updated: unixTime(), ...(disabled && { disabled }) }
    })
    await this.#completed(username)
  }

  /**
   * Adds an account with the keys that another server had.
   *
   * @throws UserError `exists`
   */
  async take(username: string, record: ImportedRecord): Promise<void> {
    const lacking = SCRAM_HASHES.filter((hash) => record[`SCRAM-${hash}`] === undefined)
    if (lacking.length > 0 && this.#missingKeys !== undefined) {
      const missing = Object.fromEntries(lacking.map((hash) => [hash, true as const]))
      // Before the account, so that nobody finds it without.
      await Promise.all([username, null].map((user) => this.#missingKeys!.setKeys(user, missing)))
    }
    try {
      await this.#store.update(username, (old) => {
        if (old !== undefined) throw new UserError('exists', `the user ${username} exists already`)
        return record
      })
    } catch (error) {
      const existing = await this.read(username)
      if (existing?.['SCRAM-SHA-1'] !== undefined && existing['SCRAM-SHA-256'] !== undefined)
        await this.#completed(username)
      throw error
    }
  }

  /** The record of an account as it is stored. */
  async read(username: string): Promise<ImportedRecord | undefined> {
    return readAccount(await this.#store.get(username))
  }

  /**
   * Lets nobody log in to an account any more; its name stays taken.
   *
   * @param disabled - undefined to let them log in again
   * @throws UserError `not-found`
   */
  async disable(username: string, disabled: DisabledAccount | undefined): Promise<void> {
    await this.#store.update(username, (old) => {
      if (old === undefined || !isAccount(old)) throw notFound(username)
      const { disabled: _, ...record } = old
      return disabled === undefined ? record : { ...record, disabled }
    })
  }

  /**
   * Removes the account; for what other stores have of it there is `purge`.
   *
   * @throws UserError `not-found`
   */
  async delete(username: string): Promise<void> {
    this.#remembered.delete(username)
    // The account comes last: the import of one that is there was killed when it was done.
    if ((await this.#isMarked(username)) && (await this.exists(username)))
      await this.#remains?.marks.set(username, undefined)
    await this.#store.update(username, (old) => {
      if (old === undefined) throw notFound(username)
      return undefined
    })
  }

  list(): AsyncIterable<string> {
    return this.#store.users()
  }

  /**
   * Checks a password as it was typed. It takes the same time whether or not there is such a user, unless the
   * password is right and was so before (then it is quick), or the account has keys of another server's making.
   *
   * @throws WorkLimitError if too many passwords wait to be checked
   */
  async verifyPassword(username: string, password: string): Promise<boolean> {
    return (await this.checkPassword(username, password)) === 'right'
  }

  /** The same, which also tells of an account that is disabled. */
  async checkPassword(username: string, password: string): Promise<PasswordCheck> {
    const prepared = preparePassword(password, 'query')
    if (prepared === undefined) return 'wrong'
    const account = readAccount(await this.#store.get(username))
    const hash: ScramHash =
      account !== undefined && account['SCRAM-SHA-256'] === undefined ? 'SHA-1' : 'SHA-256'
    const stored = account?.[`SCRAM-${hash}`]

    // The stored key is in the hash: after a change of the password it fits no more. Made for everybody.
    const fingerprint = sha256(`${this.#rememberKey}|${stored?.storedKey}|${prepared}`)
    const remembered = this.#remembered.get(username)
    if (stored !== undefined && remembered !== undefined && timingSafeEqual(remembered, fingerprint))
      return account?.disabled === undefined ? 'right' : 'disabled'

    const decoy = await this.#decoy(username, hash)
    const keys = stored ?? decoy
    const salt = Buffer.from(keys.salt, 'base64')
    const derived = await deriveKeys(hash, prepared, keys.iterations, salt)
    // A decoy's stored key is the hash of nothing that anybody has.
    if (!equal(derived.storedKey, keys.storedKey)) return 'wrong'
    this.#remember(username, fingerprint)
    if (account?.['SCRAM-SHA-1'] === undefined || account['SCRAM-SHA-256'] === undefined)
      await this.#complete(username, prepared, keys).catch(() => {}) // it is tried again at the next login
    // The account may have been deleted, or its password changed, while this one was looked at.
    const current = readAccount(await this.#store.get(username))
    if (current?.[`SCRAM-${hash}`]?.storedKey !== keys.storedKey) return 'wrong'
    return current.disabled === undefined ? 'right' : 'disabled'
  }

  /**
   * The keys to check a SCRAM proof with. For a user that does not exist they are made up, always the same
   * ones, and no password fits them, so that nobody finds out which accounts there are (RFC 5802 §9).
   *
   * @returns `disabled` is for those only who have shown that they know the password
   */
  async keysFor(username: string, hash: ScramHash): Promise<ScramKeys & { disabled?: true }> {
    const account = readAccount(await this.#store.get(username))
    const decoy = await this.#decoy(username, hash)
    if (account === undefined) return decoy
    const keys = account[`SCRAM-${hash}`]
    // It was imported a moment ago. Nobody gets in with the decoy's; the next try finds the hash offered no more.
    if (keys === undefined && !this.#missing.has(hash)) this.#missing = new Set([...this.#missing, hash])
    if (keys === undefined) return decoy
    return account.disabled === undefined ? keys : { ...keys, disabled: true }
  }

  /** Makes the keys that an account lacks, now that its password is known. */
  async #complete(username: string, prepared: string, proven: ScramKeys): Promise<void> {
    const made = {
      'SCRAM-SHA-1': await deriveKeys('SHA-1', prepared, this.#iterations),
      'SCRAM-SHA-256': await deriveKeys('SHA-256', prepared, this.#iterations),
    }
    const record = await this.#store.update(username, (old) => {
      if (old === undefined || !isAccount(old)) return old
      // Another password may have been set meanwhile.
      const isSame = [old['SCRAM-SHA-1'], old['SCRAM-SHA-256']].some(
        (keys) => keys?.storedKey === proven.storedKey,
      )
      return isSame ? { ...made, ...old } : old
    })
    const account = readAccount(record)
    if (account?.['SCRAM-SHA-1'] !== undefined && account['SCRAM-SHA-256'] !== undefined)
      await this.#completed(username)
  }

  /** An account has keys for every hash. */
  async #completed(username: string): Promise<void> {
    if (this.#missingKeys === undefined) return
    const lacking = await this.#missingKeys.getAll(username)
    if (lacking.size === 0) return
    await this.#missingKeys.setKeys(
      username,
      Object.fromEntries([...lacking.keys()].map((hash) => [hash, undefined])),
    )
    await this.lookForMissing()
  }

  async #derive(password: string): Promise<Record<'SCRAM-SHA-1' | 'SCRAM-SHA-256', ScramKeys>> {
    const prepared = preparePassword(password, 'stored')
    if (prepared === undefined) {
      throw new UserError(
        'bad-password',
        `the password is empty, longer than ${MAX_PASSWORD_LENGTH} bytes, or has characters that SASLprep ` +
          '(RFC 4013) does not allow, as control characters and marks newer than Unicode 3.2',
      )
    }
    return {
      'SCRAM-SHA-1': await deriveKeys('SHA-1', prepared, this.#iterations),
      'SCRAM-SHA-256': await deriveKeys('SHA-256', prepared, this.#iterations),
    }
  }

  async #decoy(username: string, hash: ScramHash): Promise<ScramKeys> {
    this.#decoySecret ??= this.#loadDecoySecret()
    const secret = await this.#decoySecret
    const bytes = (purpose: string) => hmac('SHA-256', secret, `${purpose}|${hash}|${username}`)
    const key = (purpose: string) => bytes(purpose).subarray(0, hashLength(hash)).toString('base64')
    return {
      salt: bytes('salt').subarray(0, SALT_LENGTH).toString('base64'),
      iterations: this.#iterations,
      storedKey: key('stored'),
      serverKey: key('server'),
    }
  }

  async #loadDecoySecret(): Promise<Buffer> {
    try {
      const read = (record: ImportedRecord | DecoySecret | undefined) =>
        record !== undefined && 'decoySecret' in record ? record : undefined
      const stored =
        read(await this.#store.get(null)) ??
        read(
          // Another process may have made one meanwhile.
          await this.#store.update(
            null,
            (old) => read(old) ?? { decoySecret: randomBytes(32).toString('base64') },
          ),
        )
      if (stored === undefined) throw new Error('the store did not keep the secret of the accounts')
      return Buffer.from(stored.decoySecret, 'base64')
    } catch (error) {
      this.#decoySecret = undefined
      throw error
    }
  }

  #remember(username: string, fingerprint: Buffer): void {
    this.#remembered.delete(username)
    this.#remembered.set(username, fingerprint)
    if (this.#remembered.size <= REMEMBERED) return
    const [oldest] = this.#remembered.keys()
    if (oldest !== undefined) this.#remembered.delete(oldest)
  }
}

/** A password in the form that is hashed, or `undefined` if it can be nobody's. */
export function preparePassword(password: string, use: 'query' | 'stored'): string | undefined {
  // Before SASLprep, whose work grows with the length; a mapping shortens or lengthens a little.
  if (password.length > 4 * MAX_PASSWORD_LENGTH) return undefined
  const prepared = saslprep(password, use)
  if (prepared === undefined || prepared === '') return undefined
  return Buffer.byteLength(prepared) <= MAX_PASSWORD_LENGTH ? prepared : undefined
}

function readAccount(record: ImportedRecord | DecoySecret | undefined): ImportedRecord | undefined {
  return record !== undefined && isAccount(record) ? record : undefined
}

function isAccount(record: ImportedRecord | DecoySecret): record is ImportedRecord {
  return 'SCRAM-SHA-256' in record || 'SCRAM-SHA-1' in record
}

function notFound(username: string): UserError {
  return new UserError('not-found', `there is no user ${username}`)
}

function unfinished(username: string): UserError {
  return new UserError('unfinished', `an import of the user ${username} has not come to its end`)
}

function equal(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a, 'base64'), Buffer.from(b, 'base64')]
  return left.length === right.length && timingSafeEqual(left, right)
}

/** Node has had `hash` since 20.12; it takes less than half as long. */
const sha256: (text: string) => Buffer =
  typeof hash === 'function'
    ? (text) => hash('sha256', text, 'buffer')
    : (text) => createHash('sha256').update(text).digest()

function unixTime(): number {
  return Math.floor(Date.now() / 1000)
}
