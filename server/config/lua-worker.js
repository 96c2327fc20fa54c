// @ts-check
// The thread that runs prosody.cfg.lua in Lua 5.4 (WebAssembly). Whatever the file does happens here; see
// lua-process.js for what is around it.

import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { LuaFactory } from 'wasmoon'
import { LUA_PRELUDE } from './lua-prelude.js'
import { wrapTables } from './lua-tables.js'

/**
 * @typedef {object} LuaJob
 * @property {string} path absolute path of the main file
 * @property {Record<string, string | undefined>} env what `ENV_X` and `os.getenv` see
 * @property {boolean} credentialsOptional whether `Credential` without a directory only warns
 * @property {number} memoryBytes what the file's values may take at most
 * @property {number} timeoutMs how long the file may run
 * @property {SharedArrayBuffer} place two int32: number of the file and line being run
 */

/** More than this no file is read: a configuration, a certificate and a list of words are far below. */
const MAX_FILE_BYTES = 4 * 1024 * 1024
const MAX_PRINTED_LINES = 1000
const MAX_GLOB_FILES = 1000

const port = /** @type {import('node:worker_threads').MessagePort} */ (parentPort)
const job = /** @type {LuaJob} */ (workerData)
const place = new Int32Array(job.place)
// Keeps the thread: it does not end by itself, its process is ended.
port.on('message', () => {})

let printed = 0
/** @type {string[]} */
let globbed = []

/** @param {string} path @param {string} directory */
const resolvePath = (path, directory) => (isAbsolute(path) ? path : join(directory, path))

/** @param {unknown} error */
function reason(error) {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ENOENT') return 'there is no such file'
  if (code === 'ENOTDIR') return 'a part of the path is not a folder'
  if (code === 'EACCES' || code === 'EPERM') return 'permission to read it is denied'
  return error instanceof Error ? error.message : String(error)
}

/**
 * The text of a file for Lua: `T` and text, `H` and hexadecimal where the bytes are no text, `E` and why not.
 * Only regular files are read: a pipe or a device would block the thread where nothing can stop it.
 * @param {string} path
 */
function readForLua(path) {
  try {
    const stat = statSync(path)
    if (stat.isDirectory()) return 'Eit is a folder, not a file'
    if (!stat.isFile()) return 'Eit is not a regular file'
    if (stat.size > MAX_FILE_BYTES) return `Eit is larger than ${MAX_FILE_BYTES} bytes`
    const bytes = readFileSync(path)
    if (bytes.length > MAX_FILE_BYTES) return `Eit is larger than ${MAX_FILE_BYTES} bytes`
    const text = bytes.toString('utf8')
    const isText = !bytes.includes(0) && Buffer.from(text, 'utf8').equals(bytes)
    return isText ? `T${text}` : `H${bytes.toString('hex')}`
  } catch (error) {
    return `E${reason(error)}`
  }
}

/** The file that two paths mean, to know a file that includes itself. @param {string} path */
function identity(path) {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

/**
 * The files that `Include` means with `*` and `?` in the last part of the path; those whose name begins with a
 * dot are left out, as Prosody does. Returns how many there are, or -1 where the folder cannot be read.
 * @param {string} pattern absolute
 */
function glob(pattern) {
  globbed = []
  const folder = dirname(pattern)
  const expression = basename(pattern)
    .split('')
    .map((c) => (c === '*' ? '[^]*' : c === '?' ? '[^]' : c.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')))
    .join('')
    // neighbouring stars are one: without this `*****x` takes for ever
    .replace(/(\[\^\]\*)+/g, '[^]*')
  const name = new RegExp(`^${expression}$`, 'u')
  try {
    const found = readdirSync(folder).filter((file) => !file.startsWith('.') && name.test(file))
    globbed = found.sort().map((file) => join(folder, file))
    return globbed.length > MAX_GLOB_FILES ? -2 : globbed.length
  } catch {
    return -1
  }
}

/** What the Lua part calls; it takes these from the globals and hides them before the file is run. */
const calls = {
  note: (/** @type {number} */ file, /** @type {number} */ line) => {
    place[0] = file
    place[1] = line
  },
  opened: (/** @type {number} */ number, /** @type {string} */ path) => {
    port.postMessage({ type: 'file', number, path })
  },
  print: (/** @type {string} */ line) => {
    printed++
    if (printed <= MAX_PRINTED_LINES) port.postMessage({ type: 'print', line })
    if (printed === MAX_PRINTED_LINES)
      port.postMessage({ type: 'print', line: '(further lines are left out)' })
  },
  getenv: (/** @type {string} */ name) => (Object.hasOwn(job.env, name) ? job.env[name] : undefined),
  read: readForLua,
  resolve: resolvePath,
  folder: dirname,
  identity,
  glob,
  globbed: (/** @type {number} */ index) => globbed[index],
  wrap: wrapTables,
  done: (/** @type {string} */ json) => port.postMessage({ type: 'done', json }),
  failed: (/** @type {string} */ message, /** @type {number} */ file, /** @type {number} */ line) =>
    port.postMessage({ type: 'failed', message, file, line }),
}

try {
  const lua = await new LuaFactory().createEngine({
    openStandardLibs: true,
    injectObjects: false,
    enableProxy: false,
    traceAllocations: true,
  })
  for (const [name, call] of Object.entries(calls)) lua.global.set(`legate_${name}`, call)
  lua.global.set('legate_main', job.path)
  lua.global.set('legate_credentials_optional', job.credentialsOptional)
  port.postMessage({ type: 'running' })
  lua.global.setMemoryMax(lua.global.getMemoryUsed() + job.memoryBytes)
  lua.doStringSync(LUA_PRELUDE)
} catch (error) {
  const message = error instanceof Error ? error.message : String(error)
  port.postMessage({ type: 'failed', message, file: place[0], line: place[1] })
}
