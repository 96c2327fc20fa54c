/** What is left of an account's name: no new account finds it, and none loses what is its own. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { MARKS, openUsers } from '../../server/auth/open-users.ts'
import type { Users } from '../../server/auth/users.ts'
import { ChosenStorage } from '../../server/storage/chosen.ts'
import type { StorageDriver } from '../../server/storage/index.ts'
import { document, importHost, importText } from '../shared/migration.ts'
import { describeStorages } from '../shared/storage-kinds.ts'

const HOST = 'capulet.lit'
const MARK = { process: 1, machine: 'another.example' }
const KEYVALS = ['roster', 'vcard', 'blocklist', 'archive_prefs', 'account_details']
const ARCHIVES = ['archive', 'offline']

describeStorages('what is left of a name', (_, open) => {
  let storage: StorageDriver
  let users: Users

  beforeEach(async () => {
    storage = await open()
    users = openUsers(storage, HOST, 4096)
  })

  afterEach(() => storage.close())

  /** Stores something in all stores. */
  async function fill(what = 'old', username = 'juliet'): Promise<void> {
    for (const store of KEYVALS) await storage.openKeyval(HOST, store).set(username, what)
    await storage.openMap(HOST, 'private').set(username, what, what)
    for (const store of ARCHIVES) await storage.openArchive(HOST, store).append(username, what, 1, 'a@b.c')
  }

  /** Where there is something, and what. */
  async function left(username = 'juliet'): Promise<string[]> {
    const found: string[] = []
    for (const store of KEYVALS) {
      const value = await storage.openKeyval(HOST, store).get(username)
      if (value !== undefined) found.push(`${store} ${value}`)
    }
    for (const key of (await storage.openMap(HOST, 'private').getAll(username)).keys())
      found.push(`private ${key}`)
    for (const store of ARCHIVES) {
      const { entries } = await storage.openArchive(HOST, store).find(username, {}, 10)
      found.push(...entries.map(({ value }) => `${store} ${value}`))
    }
    return found
  }

  const ALL = KEYVALS.length + 1 + ARCHIVES.length
  const marks = () => storage.openKeyval(HOST, MARKS)

  it('is gone when an account is made', async () => {
    await users.create('juliet', 'old')
    await fill()
    await fill('hers', 'nurse')
    await users.delete('juliet')
    // Here whoever deletes it has died.
    await users.create('juliet', 'new')
    expect(await left()).toEqual([])
    expect(await users.verifyPassword('juliet', 'new')).toBe(true)
    expect(await left('nurse')).toHaveLength(ALL)
  })

  it('an account that is there keeps everything when somebody wants its name', async () => {
    await users.create('juliet', 'old')
    await fill()
    await expect(users.create('juliet', 'new')).rejects.toMatchObject({ code: 'exists' })
    expect(await left()).toHaveLength(ALL)
  })

  it('is gone when an account is imported, in the stores that imports do not know too', async () => {
    await fill()
    const { failed } = await importText(storage, document("<user name='juliet' password='pw'/>"))
    expect(failed).toEqual([])
    expect(await users.exists('juliet')).toBe(true)
    expect(await left()).toEqual([])
  })

  it('no account is made of a name that an import is at, or was when it was killed', async () => {
    await marks().set('juliet', MARK)
    await fill()
    await expect(users.create('juliet', 'new')).rejects.toMatchObject({ code: 'unfinished' })
    expect(await users.exists('juliet')).toBe(false)
    await users.purge('juliet')
    expect(await left()).toHaveLength(ALL)
    expect(await marks().get('juliet')).toEqual(MARK)
  })

  it('nor if the import begins while the account is being made', async () => {
    const whileMade = openUsers(
      {
        openKeyval: (...store) => storage.openKeyval(...store),
        openMap: (...store) => storage.openMap(...store),
        // The last thing before the account is there.
        async purgeUser(...user) {
          await storage.purgeUser(...user)
          await marks().set('juliet', MARK)
          await fill('imported')
        },
      },
      HOST,
      4096,
    )
    await expect(whileMade.create('juliet', 'new')).rejects.toMatchObject({ code: 'unfinished' })
    expect(await users.read('juliet')).toBeUndefined()
    expect(await left()).toHaveLength(ALL)
  })

  it('an import leaves an account that was made when it had begun, with what it has', async () => {
    const host = importHost(storage, HOST)
    const { marks } = host.stores
    const set = marks.set.bind(marks)
    let isMade = false
    marks.set = async (user, mark) => {
      if (!isMade) {
        isMade = true
        await users.create('juliet', 'new')
        await fill('new')
      }
      await set(user, mark)
    }
    // So many messages that some would be written before the end.
    const message =
      "<result xmlns='urn:xmpp:mam:2'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' " +
      "stamp='2010-07-10T23:08:25Z'/><message xmlns='jabber:client' from='a@b.c'><body>x</body></message></forwarded></result>"
    const archive = `<archive xmlns='urn:xmpp:pie:0#mam'>${message.repeat(600)}</archive>`
    const { failed } = await importText(
      storage,
      document(`<user name='juliet' password='pw'>${archive}</user><user name='nurse' password='pw'/>`),
      1000,
      'stays',
      host,
    )
    expect(failed).toEqual([
      expect.stringMatching(
        /somebody has added this account meanwhile: juliet@capulet\.lit is not imported$/,
      ),
    ])
    expect(await users.exists('nurse')).toBe(true)
    expect(await users.verifyPassword('juliet', 'new')).toBe(true)
    expect((await left()).filter((line) => line.endsWith(' new'))).toHaveLength(ALL)
    expect(await left()).toHaveLength(ALL)
    expect(await marks.get('juliet')).toBeUndefined()
  })

  it('the end of the old account takes nothing of the new one, nor leaves it anything', async () => {
    await users.create('juliet', 'old')
    await fill()
    const archive = storage.openArchive<string>(HOST, 'archive')
    await Promise.all(Array.from({ length: 2500 }, (_, i) => archive.append('juliet', 'old', i + 1, 'a@b.c')))
    await users.delete('juliet')
    const purged = users.purge('juliet')
    await users.create('juliet', 'new')
    await fill('new')
    await purged
    await users.purge('juliet')
    expect((await left()).filter((line) => line.endsWith(' new'))).toHaveLength(ALL)
    expect(await archive.count('juliet', {})).toBe(1)
    expect(await users.verifyPassword('juliet', 'new')).toBe(true)
  })

  it('a mark that an import has left of an account that is whole does not outlive the account', async () => {
    await users.create('juliet', 'old')
    await marks().set('juliet', MARK)
    await fill()
    await users.delete('juliet')
    await users.purge('juliet')
    expect(await left()).toEqual([])
    await users.create('juliet', 'new')
  })

  it('where the storage fails no account is made', async () => {
    await fill()
    const failing = openUsers(
      {
        openKeyval: (...store) => storage.openKeyval(...store),
        openMap: (...store) => storage.openMap(...store),
        purgeUser: () => Promise.reject(new Error('it is away')),
      },
      HOST,
      4096,
    )
    await expect(failing.create('juliet', 'new')).rejects.toThrow('it is away')
    expect(await users.exists('juliet')).toBe(false)
  })
})

it('over several storages too: neither is left, and neither loses what is an account’s or an import’s', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'legate-remains-'))
  const storage = new ChosenStorage({ path: folder }, (_, store) =>
    store === 'accounts' || store === MARKS ? 'memory' : 'internal',
  )
  try {
    const users = openUsers(storage, HOST, 4096)
    const cards = storage.openKeyval(HOST, 'vcard')
    const marks = storage.openKeyval(HOST, MARKS)
    await cards.set('juliet', 'old')
    await marks.set('juliet', MARK)
    await users.purge('juliet')
    expect(await cards.get('juliet')).toBe('old')
    await marks.set('juliet', undefined)
    await users.create('juliet', 'new')
    expect(await cards.get('juliet')).toBeUndefined()
    await cards.set('juliet', 'new')
    await users.purge('juliet')
    expect(await cards.get('juliet')).toBe('new')
  } finally {
    await storage.close()
    rmSync(folder, { recursive: true })
  }
})
