// Commands that are killed in the midst of an account: what is left, and what a new account of the name finds.

import { once } from 'node:events'
import { expect, it } from 'vitest'
import { MARKS, openUsers } from '../../server/auth/open-users.ts'
import { openStorage, type StorageDriver } from '../../server/storage/index.ts'
import { type LegateFolder, ON_FREE_PORTS } from '../shared/legate-command.ts'
import { legateFolders } from '../shared/legate-folders.ts'

const JULIET = 'juliet@localhost'
const CONFIG = `${ON_FREE_PORTS}VirtualHost "localhost"\n`
/** So many that to remove them takes a while. */
const MANY = 20_000
const folderWith = legateFolders()

/** Works on the storage of a folder, while others may. */
async function inside<T>(folder: LegateFolder, work: (storage: StorageDriver) => Promise<T>): Promise<T> {
  const storage = openStorage('internal', { path: folder.file('data') })
  try {
    return await work(storage)
  } finally {
    await storage.close()
  }
}

const archived = (storage: StorageDriver) => storage.openArchive('localhost', 'archive').count('juliet', {})

/** Juliet has a vCard and many messages. */
async function fill(storage: StorageDriver): Promise<void> {
  await storage.openKeyval('localhost', 'vcard').set('juliet', '<vCard xmlns="vcard-temp"/>')
  const archive = storage.openArchive('localhost', 'archive')
  await Promise.all(Array.from({ length: MANY }, (_, i) => archive.append('juliet', 'x', i + 1, 'a@b.c')))
}

/** What is stored of Juliet. */
const left = (folder: LegateFolder) =>
  inside(folder, async (storage) => ({
    account: await openUsers(storage, 'localhost', 4096).exists('juliet'),
    vcard: (await storage.openKeyval('localhost', 'vcard').get('juliet')) !== undefined,
    archived: await archived(storage),
  }))

/** `legate deluser`, killed when the account is gone, and most of what it had is not. */
async function killedDeletion(): Promise<LegateFolder> {
  const folder = folderWith(CONFIG)
  await inside(folder, async (storage) => {
    const users = openUsers(storage, 'localhost', 4096)
    await users.create('juliet', 'pw')
    await fill(storage)
    const child = folder.spawn(['deluser', JULIET])
    const exit = once(child, 'exit')
    while (await users.exists('juliet')) await new Promise(setImmediate)
    child.kill('SIGKILL')
    await exit
    expect(await archived(storage)).toBeGreaterThan(0)
  })
  return folder
}

it('kill -9 of deluser: a new account finds nothing', async () => {
  const folder = await killedDeletion()
  expect(await folder.run(['register', 'juliet', 'localhost', 'pw'])).toMatchObject({ code: 0, stderr: '' })
  expect(await left(folder)).toEqual({ account: true, vcard: false, archived: 0 })
})

it('kill -9 of deluser: the next one removes what is left, and says so', async () => {
  const folder = await killedDeletion()
  expect(await folder.run(['deluser', JULIET])).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(
      /there is no account juliet@localhost; .* of an earlier one, .* is removed/,
    ),
  })
  expect(await left(folder)).toEqual({ account: false, vcard: false, archived: 0 })
})

const UNFINISHED = {
  code: 1,
  stderr: expect.stringMatching(
    /an import of juliet@localhost is at work, .* legate deluser juliet@localhost/,
  ),
}

it('while an import is at an account nobody else has its name, nor takes away what is there of it', async () => {
  const folder = folderWith(CONFIG)
  const child = folder.spawn(['import', '-'])
  const exit = once(child, 'exit')
  child.stdin.on('error', () => {}) // of what it has not read
  const message =
    "<result xmlns='urn:xmpp:mam:2'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' " +
    "stamp='2010-07-10T23:08:25Z'/><message xmlns='jabber:client' from='a@b.c'><body>x</body></message></forwarded></result>"
  child.stdin.write(
    "<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'><user name='juliet' password='pw'>" +
      `<archive xmlns='urn:xmpp:pie:0#mam'>${message.repeat(2000)}`,
  )
  await expect.poll(async () => (await left(folder)).archived, { timeout: 15_000 }).toBeGreaterThan(0)
  const [added, deleted] = await Promise.all([
    folder.run(['register', 'juliet', 'localhost', 'pw']),
    folder.run(['deluser', JULIET]),
  ])
  expect(added).toMatchObject(UNFINISHED)
  expect(deleted).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/juliet@localhost is being imported \(process \d+\)/),
  })
  child.kill('SIGKILL')
  await exit
  expect((await left(folder)).archived).toBeGreaterThan(0)
})

it('when an import was killed nobody else has its name, until deluser frees it', async () => {
  const folder = folderWith(CONFIG)
  await inside(folder, async (storage) => {
    const mark = { process: 1, machine: 'another.example' }
    await storage.openKeyval('localhost', MARKS).set('juliet', mark)
    await storage.openKeyval('localhost', 'vcard').set('juliet', '<vCard xmlns="vcard-temp"/>')
  })
  expect(await folder.run(['register', 'juliet', 'localhost', 'pw'])).toMatchObject(UNFINISHED)
  expect(await left(folder)).toEqual({ account: false, vcard: true, archived: 0 })
  expect(await folder.run(['deluser', JULIET])).toMatchObject({ code: 1 })
  expect(await left(folder)).toEqual({ account: false, vcard: false, archived: 0 })
  expect(await folder.run(['register', 'juliet', 'localhost', 'pw'])).toMatchObject({ code: 0, stderr: '' })
})
