/** The internal driver as a file: durability, several processes, damage. */

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { Users } from '../../server/auth/users.ts'
import { openStorage, type StorageDriver } from '../../server/storage/index.ts'
import { unprivileged } from '../shared/unprivileged.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const HOST = 'capulet.lit'

/** The sources as JavaScript, for processes of their own, where `lmdb` can be found from. */
let built: string
let folder: string
const opened: StorageDriver[] = []
const children: ChildProcess[] = []

beforeAll(() => {
  const cache = join(ROOT, 'node_modules', '.cache')
  mkdirSync(cache, { recursive: true })
  built = mkdtempSync(join(cache, 'legate-test-'))
  const options = [
    ...['--ignoreConfig', '--noCheck', '--skipLibCheck', '--rewriteRelativeImportExtensions'],
    ...['--target', 'es2022', '--module', 'nodenext', '--moduleResolution', 'nodenext', '--types', 'node'],
    ...['--rootDir', join(ROOT, 'server'), '--outDir', built],
  ]
  const sources = [join(ROOT, 'server', 'storage', 'index.ts'), join(ROOT, 'server', 'auth', 'users.ts')]
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  execFileSync(process.execPath, [compiler, ...options, ...sources], { cwd: ROOT, stdio: 'pipe' })
  writeFileSync(join(built, 'package.json'), '{"type":"module"}')
})

afterAll(() => rm(built, { recursive: true }))

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'legate-lmdb-'))
})

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  for (const storage of opened.splice(0)) await storage.close()
  await rm(folder, { recursive: true })
})

function openHere(): StorageDriver {
  const storage = openStorage('internal', { path: folder })
  opened.push(storage)
  return storage
}

/** Starts a process that runs statements with `storage`, `Users`, `say(line)` and `heard()` (a line from us). */
function start(statements: string) {
  const url = (path: string) => JSON.stringify(pathToFileURL(join(built, path)).href)
  const script = `
    import { createInterface } from 'node:readline'
    import { writeSync } from 'node:fs'
    import { openStorage } from ${url('storage/index.js')}
    import { Users } from ${url('auth/users.js')}
    const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
    const say = (line) => writeSync(1, line + '\\n')
    const heard = async () => (await lines.next()).value
    const storage = openStorage('internal', { path: ${JSON.stringify(folder)} })
    ${statements}
    await storage.close()
    process.exit()`
  const file = join(folder, `child${children.length}.mjs`)
  writeFileSync(file, script)
  const child = spawn(process.execPath, [file], { stdio: ['pipe', 'pipe', 'inherit'] })
  children.push(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    exited: once(child, 'exit'),
    kill: () => child.kill('SIGKILL'),
    say: (line: string) => child.stdin.write(`${line}\n`),
    heard: async (): Promise<string | undefined> => (await lines.next()).value,
  }
}

it('keeps everything when it is closed and opened again', async () => {
  const first = openHere()
  await first.openKeyval<number>(HOST, 'test').set('juliet', 1)
  await first.openMap<number>(HOST, 'test').set('juliet', 'k'.repeat(1000), 2)
  await first.close()
  const second = openHere()
  expect(await second.openKeyval<number>(HOST, 'test').get('juliet')).toBe(1)
  expect(await second.openMap<number>(HOST, 'test').getAll('juliet')).toEqual(
    new Map([['k'.repeat(1000), 2]]),
  )
})

it('opened twice in one process, each sees the other, and closing one leaves the other at work', async () => {
  const [first, second] = [openHere(), openHere()]
  const [one, two] = [first.openKeyval<number>(HOST, 'test'), second.openKeyval<number>(HOST, 'test')]
  const add = (old = 0) => old + 1
  await Promise.all(Array.from({ length: 200 }, (_, i) => (i % 2 ? one : two).update('juliet', add)))
  expect([await one.get('juliet'), await two.get('juliet')]).toEqual([200, 200])
  await first.close()
  await two.update('juliet', add)
  expect(await two.get('juliet')).toBe(201)
})

it('another process sees a change at its next read, and so do we', async () => {
  const store = openHere().openKeyval<string>(HOST, 'test')
  const child = start(`
    const store = storage.openKeyval('${HOST}', 'test')
    for (let line = await heard(); line !== 'end'; line = await heard()) {
      const [user, value] = line.split(' ')
      if (value) await store.set(user, value)
      say(String(await store.get(user)))
    }`)
  for (let round = 0; round < 30; round++) {
    expect(await store.get('juliet')).toBe(round === 0 ? undefined : `theirs${round - 1}`)
    await store.set('romeo', `ours${round}`)
    child.say('romeo')
    expect(await child.heard()).toBe(`ours${round}`)
    child.say(`juliet theirs${round}`)
    expect(await child.heard()).toBe(`theirs${round}`)
    expect(await store.get('juliet')).toBe(`theirs${round}`)
  }
  // Far more than the file had room for when we opened it.
  child.say(`large ${'x'.repeat(3_000_000)}`)
  expect((await child.heard())?.length).toBe(3_000_000)
  expect((await store.get('large'))?.length).toBe(3_000_000)
  child.say('end')
  expect(await child.exited).toEqual([0, null])
})

it('updates of two processes do not get lost', async () => {
  const store = openHere().openKeyval<number>(HOST, 'test')
  const child = start(`
    const store = storage.openKeyval('${HOST}', 'test')
    say('ready')
    for (let i = 0; i < 100; i++) await store.update('juliet', (old = 0) => old + 1)`)
  await child.heard()
  for (let i = 0; i < 100; i++) await store.update('juliet', (old = 0) => old + 1)
  expect(await child.exited).toEqual([0, null])
  expect(await store.get('juliet')).toBe(200)
})

it('of two processes that create an account at the same time, one succeeds', async () => {
  const here = new Users(openHere().openKeyval(HOST, 'accounts'), { iterations: 4096 })
  const child = start(`
    const users = new Users(storage.openKeyval('${HOST}', 'accounts'), { iterations: 4096 })
    say('ready')
    for (let name = await heard(); name !== 'end'; name = await heard()) {
      say(await users.create(name, 'theirs').then(() => 'created', (error) => error.code))
    }`)
  await child.heard()
  for (let round = 0; round < 8; round++) {
    const name = `juliet${round}`
    child.say(name)
    const ours = await here.create(name, 'ours').then(
      () => 'created',
      (error: { code: string }) => error.code,
    )
    expect([ours, await child.heard()].sort()).toEqual(['created', 'exists'])
    expect(await here.verifyPassword(name, ours === 'created' ? 'ours' : 'theirs')).toBe(true)
  }
  child.say('end')
  expect(await child.exited).toEqual([0, null])
})

it('what was acknowledged is there after kill -9, and the file goes on working', async () => {
  const child = start(`
    const store = storage.openMap('${HOST}', 'test')
    for (let i = 0; ; i++) {
      await store.setKeys('juliet', { ['a' + i]: i, ['b' + i]: 'x'.repeat(i) })
      say(String(i))
    }`)
  let acknowledged = -1
  while (acknowledged < 40) acknowledged = Number(await child.heard())
  child.kill()
  await child.exited
  for (let line = await child.heard(); line !== undefined; line = await child.heard())
    acknowledged = Number(line)

  const store = openHere().openMap<unknown>(HOST, 'test')
  const all = await store.getAll('juliet')
  for (let i = 0; i <= acknowledged; i++)
    expect([all.get(`a${i}`), all.get(`b${i}`)]).toEqual([i, 'x'.repeat(i)])
  // The last one may have been written but not acknowledged; in halves it is not there.
  expect(all.size % 2).toBe(0)
  await store.set('juliet', 'after', 1)
  expect(await store.get('juliet', 'after')).toBe(1)
})

const hasPrlimit = spawnSync('prlimit', ['--version']).status === 0

it.skipIf(!hasPrlimit)('a write for which there is no room is refused, and the rest goes on', async () => {
  const child = start(`
    process.on('SIGXFSZ', () => {})
    console.error = () => {}
    const store = storage.openKeyval('${HOST}', 'test')
    say('ready')
    await heard()
    const results = []
    for (let i = 0; i < 14; i++) {
      results.push(await store.set('large' + i, 'x'.repeat(100_000)).then(() => 'kept', (error) => error.code))
    }
    say(JSON.stringify(results))
    await store.set('large0', 'small')
    say(await store.get('large0') + ' ' + (await store.get('large13')))`)
  await child.heard()
  execFileSync('prlimit', ['--pid', String(children[0]?.pid), '--fsize=1048576'])
  child.say('go')
  const results = JSON.parse((await child.heard()) ?? '') as string[]
  expect(results.filter((result) => result === 'kept').length).toBeGreaterThan(5)
  expect(results.at(-1)).toBe('disk-full')
  expect(await child.heard()).toBe('small undefined')
  expect(await child.exited).toEqual([0, null])
})

it('makes files that only their owner can read', async () => {
  const path = join(folder, 'new')
  const storage = openStorage('internal', { path })
  opened.push(storage)
  for (const name of ['storage.mdb', 'storage.mdb-lock'])
    expect(statSync(join(path, name)).mode & 0o077).toBe(0)
  expect(statSync(path).mode & 0o077).toBe(0)
})

it('tells that a folder can not be written', async () => {
  chmodSync(folder, 0o500)
  await unprivileged(folder, () => {
    expect(openHere).toThrow(expect.objectContaining({ code: 'not-writable' }))
  })
  chmodSync(folder, 0o700)
})

it('tells that the data folder is a file', () => {
  writeFileSync(join(folder, 'data'), '')
  for (const path of [join(folder, 'data'), join(folder, 'data', 'below')]) {
    expect(() => openStorage('internal', { path })).toThrow(
      expect.objectContaining({ code: 'not-writable', message: expect.stringContaining(path) }),
    )
  }
})

it.each([
  ['text', Buffer.alloc(100_000, 'x')],
  ['zeros', Buffer.alloc(100_000)],
  ['a few bytes', Buffer.from('short')],
])('tells that the file is no database: %s', (_, content) => {
  writeFileSync(join(folder, 'storage.mdb'), content)
  expect(openHere).toThrow(expect.objectContaining({ code: 'corrupt' }))
})

it('tells that the file was cut off, wherever', async () => {
  const store = openHere().openMap<string>(HOST, 'test')
  for (let i = 0; i < 20; i++) {
    await store.setKeys(
      'juliet',
      Object.fromEntries(Array.from({ length: 20 }, (_, j) => [`${i}-${j}`, 'x'.repeat(900)])),
    )
  }
  await opened.splice(0)[0]?.close()
  const file = join(folder, 'storage.mdb')
  const { size } = statSync(file)
  for (const part of [0.9, 0.5, 0.1, 0]) {
    truncateSync(file, Math.max(4096, Math.floor((size * part) / 4096) * 4096))
    expect(openHere).toThrow(expect.objectContaining({ code: 'corrupt' }))
  }
})

it('a file with more behind it is fine', async () => {
  await openHere().openKeyval<number>(HOST, 'test').set('juliet', 1)
  await opened.splice(0)[0]?.close()
  appendFileSync(join(folder, 'storage.mdb'), Buffer.alloc(8192))
  expect(await openHere().openKeyval<number>(HOST, 'test').get('juliet')).toBe(1)
})

it('what a user has is removed some at a time: others do not wait until all of it is gone', async () => {
  const storage = openHere()
  const archive = storage.openArchive<string>(HOST, 'archive')
  const begin = Date.now()
  const ids = await Promise.all(
    Array.from({ length: 3000 }, (_, i) => archive.append('juliet', 'x', begin + i, 'romeo@capulet.lit')),
  )
  expect(ids).toHaveLength(3000)
  await archive.append('nurse', 'x', begin, 'romeo@capulet.lit')
  const done: string[] = []
  await Promise.all([
    storage.purgeUser(HOST, 'juliet').then(() => done.push('removed')),
    storage
      .openKeyval<number>(HOST, 'vcard')
      .set('nurse', 1)
      .then(() => done.push('written')),
  ])
  expect(done).toEqual(['written', 'removed'])
  expect([await archive.count('juliet', {}), await archive.count('nurse', {})]).toEqual([0, 1])
  expect(await archive.count('juliet', { with: 'romeo@capulet.lit' })).toBe(0)
})
