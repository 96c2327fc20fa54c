// Accounts with names that were allowed once, and that no JID has by RFC 7622 (§3.3): told, and removed.

import { describe, expect, it } from 'vitest'
import { Users } from '../../server/auth/users.ts'
import { openStorage } from '../../server/storage/index.ts'
import { login } from '../shared/client.ts'
import { type LegateFolder, ON_FREE_PORTS } from '../shared/legate-command.ts'
import { legateFolders } from '../shared/legate-folders.ts'

const HOST = 'VirtualHost "localhost"\n'
const folderWith = legateFolders()

/** Stores accounts as they were stored before their names were looked at, with a vCard each. */
async function store(folder: LegateFolder, usernames: readonly string[]): Promise<void> {
  const storage = openStorage('internal', { path: folder.file('data') })
  const users = new Users(storage.openKeyval('localhost', 'accounts'), { iterations: 4096 })
  const cards = storage.openKeyval<string>('localhost', 'vcard')
  for (const username of usernames) {
    await users.create(username, 'pw')
    await cards.set(username, '<vCard xmlns="vcard-temp"/>')
  }
  await storage.close()
}

/** Who has a vCard. */
async function stored(folder: LegateFolder): Promise<string[]> {
  const storage = openStorage('internal', { path: folder.file('data') })
  const usernames: string[] = []
  for await (const username of storage.openKeyval('localhost', 'vcard').users()) usernames.push(username)
  await storage.close()
  return usernames.sort()
}

describe('legate check', () => {
  it('names them, and how to remove them, as a warning', async () => {
    const folder = folderWith(HOST)
    // One that is refused, one that is another one now, two that are as they were.
    await store(folder, ['♚', 'Ⴀ', 'fussball', 'fußball'])
    const { code, stdout } = await folder.run(['check'])
    const line = stdout.split('\n').find((text) => text.includes('RFC 7622'))
    expect(line).toMatch(/^warning {2}2 accounts of localhost can not be used: .*: "Ⴀ", "♚"\. /)
    expect(line).toContain("legate deluser 'Ⴀ@localhost'")
    expect(code).toBe(0)
  })

  it('of many it names twenty', async () => {
    const folder = folderWith(HOST)
    const storage = openStorage('internal', { path: folder.file('data') })
    const accounts = storage.openKeyval('localhost', 'accounts')
    // Without keys, which take their time.
    await Promise.all(Array.from({ length: 50 }, (_, i) => accounts.set(`♚${i}`, {})))
    await storage.close()
    const { stdout } = await folder.run(['check'])
    expect(stdout).toContain('50 accounts of localhost can not be used')
    expect(stdout.match(/"♚\d+"/g)).toHaveLength(20)
    expect(stdout).toContain(', and 30 more. ')
  })

  it('what is in a name does not drive the terminal', async () => {
    const folder = folderWith(HOST)
    await store(folder, ['a\u001b[2Jb'])
    const { stdout } = await folder.run(['check'])
    expect(stdout).toContain('"a\\u001b[2Jb"')
    expect(stdout).not.toContain('\u001b')
  })
})

describe('legate deluser', () => {
  it('removes such an account by the name that is stored, and everything of it', async () => {
    const folder = folderWith(HOST)
    await store(folder, ['♚', 'Ⴀ', 'juliet'])
    for (const name of ['♚', 'Ⴀ']) {
      expect(await folder.run(['deluser', `${name}@LOCALHOST`])).toEqual({
        code: 0,
        signal: null,
        stdout: `${name}@localhost is deleted, with all that was stored of it.\n`,
        stderr: '',
      })
    }
    expect(await stored(folder)).toEqual(['juliet'])
    expect((await folder.run(['check'])).stdout).not.toContain('RFC 7622')
  })

  it('otherwise a name means the account that it is prepared to', async () => {
    const folder = folderWith(ON_FREE_PORTS + HOST)
    await store(folder, ['juliet', 'ⴀ'])
    expect(await folder.run(['deluser', 'JULIET@localhost'])).toMatchObject({
      code: 0,
      stdout: 'juliet@localhost is deleted, with all that was stored of it.\n',
    })
    // While the server runs.
    const server = await folder.start()
    await (await login(server.c2sPort, 'Ⴀ@localhost/x')).close()
    expect(await folder.run(['deluser', 'Ⴀ@localhost'])).toMatchObject({ code: 0, stderr: '' })
    await expect(login(server.c2sPort, 'Ⴀ@localhost/x')).rejects.toThrow('not-authorized')
    await server.stop()
    expect(await stored(folder)).toEqual([])
  })

  it('says of one that is not there what can not be', async () => {
    const folder = folderWith(HOST)
    await store(folder, ['juliet'])
    expect(await folder.run(['deluser', '♚@localhost'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no account ♚@localhost; no JID has that name'),
    })
    expect(await folder.run(['deluser', '♚@'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('"♚@" is no JID'),
    })
    expect(await stored(folder)).toEqual(['juliet'])
  })
})
