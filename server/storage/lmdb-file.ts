/** Opens the LMDB file, having looked at it first, because LMDB crashes the process on a damaged one. */

import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { endianness } from 'node:os'
import { dirname } from 'node:path'
import { open, type RootDatabase } from 'lmdb'
import { StorageError } from './types.ts'

/** The database: text under binary keys. */
export type Database = RootDatabase<string, Buffer>

/**
 * Opens the file, or makes it, with its folder.
 *
 * @throws StorageError `not-writable`, `disk-full`, `corrupt` or `failed`
 */
export function openDatabase(file: string): Database {
  prepare(file)
  try {
    return open<string, Buffer>({
      path: file,
      noSubdir: true,
      encoding: 'string',
      keyEncoding: 'binary',
      // A commit is done when it is on the disk. (The alternative, committing first and flushing behind, is no
      // faster for us: we wait for the flush either way.)
      overlappingSync: false,
      // We batch ourselves (WriteQueue); lmdb's own batching leaves a rejected promise behind that nobody
      // can catch when a commit fails, which would end the process.
      eventTurnBatching: false,
    })
  } catch (error) {
    throw explain(error, file, 'open')
  }
}

/** An error of the file system or of LMDB, in the operator's words. */
export function explain(error: unknown, file: string, act: 'open' | 'read' | 'write'): StorageError {
  if (error instanceof StorageError) return error
  const { code, message } = error as { code?: unknown; message?: string }
  const why = message ?? String(error)
  switch (code) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case 13:
    case 1:
    case 30:
      return new StorageError(
        'not-writable',
        `can not ${act} ${file}: permission denied (${why}). Run as the user that owns it, or give it to this user`,
        error,
      )
    case 'ENOTDIR':
    case 'EEXIST':
    case 'EISDIR':
    case 20:
    case 21:
      return new StorageError(
        'not-writable',
        `can not ${act} ${file}: ${why}. The data folder has to be a folder`,
        error,
      )
    case 'ENOSPC':
    case 'EDQUOT':
    case 28:
    case 122:
      return new StorageError('disk-full', `can not ${act} ${file}: the disk is full (${why})`, error)
    case 5: // EIO; LMDB also says it for a write that was cut short, as the last one that fits
      return new StorageError(
        'disk-full',
        `can not ${act} ${file}: the disk is full, or fails (${why})`,
        error,
      )
    case -30797: // MDB_PAGE_NOTFOUND
    case -30796: // MDB_CORRUPTED
    case -30794: // MDB_VERSION_MISMATCH
    case -30793: // MDB_INVALID
      return corrupt(file, why)
    default:
      return new StorageError('failed', `can not ${act} ${file}: ${why}`, error)
  }
}

function corrupt(file: string, why: string): StorageError {
  return new StorageError(
    'corrupt',
    `${file} is damaged or no database of Legate (${why}). Move it away and restore a backup`,
  )
}

function prepare(file: string): void {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    // Keys of accounts are in there: for the owner only.
    createLock(`${file}-lock`)
    create(file)
    accessSync(`${file}-lock`, constants.R_OK | constants.W_OK)
    const fd = openSync(file, 'r+')
    try {
      verify(fd, file)
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    throw explain(error, file, 'open')
  }
}

function create(path: string, content?: Buffer): void {
  try {
    writeFileSync(path, content ?? '', { flag: 'wx', mode: 0o600 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/**
 * Makes the lock file, with its room on the disk: LMDB makes it with a hole, and a hole that can not be filled
 * kills the process (SIGBUS). It appears with all its content, because another process may use it at once, and
 * is not opened when it is there: closing it would take away the locks that LMDB in this process holds on it.
 */
function createLock(path: string): void {
  if (existsSync(path)) return
  const whole = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`
  try {
    create(whole, Buffer.alloc(LOCK_LENGTH))
    linkSync(whole, path)
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    // A file system without hard links: LMDB makes the file.
    if (!['EEXIST', 'EPERM', 'ENOTSUP', 'ENOSYS'].includes(code) || !existsSync(whole)) throw error
  } finally {
    rmSync(whole, { force: true })
  }
}

/** Makes sure that there is room for a new database: LMDB crashes if it can not write the beginning of one. */
function checkRoom(file: string): void {
  const probe = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`
  try {
    create(probe, Buffer.alloc(4 * 65536))
  } finally {
    rmSync(probe, { force: true })
  }
}

/** Bytes: room for some 250 processes and threads that read. */
const LOCK_LENGTH = 16_384

const MAGIC = 0xbeefc0de
const NO_PAGE = 0xffff_ffff_ffff_ffffn

/** Where things are in an LMDB meta page (64 bits, data format 2), in bytes. */
const META = {
  magic: 24,
  pageSize: 48,
  freeRoot: 88,
  mainRoot: 136,
  lastPage: 144,
  transaction: 152,
  length: 160,
}
const MAGIC_OF_32_BITS = 16

function verify(fd: number, file: string): void {
  if (fstatSync(fd).size === 0) {
    checkRoom(file)
    return
  }
  const first = readMeta(fd, 0)
  if (first.getUint32(MAGIC_OF_32_BITS, littleEndian) === MAGIC) return
  if (first.getUint32(META.magic, littleEndian) !== MAGIC) throw corrupt(file, 'it does not begin as one')
  const pageSize = first.getUint32(META.pageSize, littleEndian)
  if (pageSize < 512 || pageSize > 65536) throw corrupt(file, `a page size of ${pageSize} bytes`)
  const second = readMeta(fd, pageSize)
  if (second.getUint32(META.magic, littleEndian) !== MAGIC) throw corrupt(file, 'its second page is not one')

  const transaction = (meta: DataView) => meta.getBigUint64(META.transaction, littleEndian)
  const current = transaction(second) > transaction(first) ? second : first
  const pages = BigInt(Math.floor(fstatSync(fd).size / pageSize))
  for (const root of [META.freeRoot, META.mainRoot]) {
    const page = current.getBigUint64(root, littleEndian)
    if (page !== NO_PAGE && page >= pages) throw corrupt(file, 'its end is missing')
  }
  // A file may end before its last page, if that page is free. Whether it is, only reading everything tells.
  if (current.getBigUint64(META.lastPage, littleEndian) >= pages) readThrough(file)
}

const littleEndian = endianness() === 'LE'

function readMeta(fd: number, position: number): DataView {
  const bytes = new Uint8Array(META.length)
  readSync(fd, bytes, 0, META.length, position)
  return new DataView(bytes.buffer)
}

/** Reads all records, in a process of its own: where the file is cut off, that process is killed (SIGBUS). */
function readThrough(file: string): void {
  const script = `
    const [lmdb, path] = process.argv.slice(1)
    const db = require(lmdb).open({
      path, noSubdir: true, encoding: 'binary', keyEncoding: 'binary', overlappingSync: false, readOnly: true,
    })
    for (const { value } of db.getRange()) value.at(-1)`
  const lmdb = createRequire(import.meta.url).resolve('lmdb')
  const { status, signal } = spawnSync(process.execPath, ['-e', script, lmdb, file], { stdio: 'ignore' })
  if (status !== 0) throw corrupt(file, `it can not be read through: ${signal ?? `status ${status}`}`)
}
