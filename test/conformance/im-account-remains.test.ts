/** Accounts that are deleted while the storage fails, or the process dies: what a new one of the name sees (XEP-0077 §3.2). */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { MARKS } from '../../server/auth/open-users.ts'
import { StorageError } from '../../server/storage/index.ts'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { describeStored } from '../shared/server-storages.ts'
import { opened } from '../shared/streams.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`
const NS = 'jabber:iq:register'
const PLUGINS = [...USUAL_PLUGINS, 'register', 'vcard', 'private', 'blocklist', 'offline', 'mam']
const ARCHIVED = `<iq type='set' id='mam'><query xmlns='urn:xmpp:mam:2'/></iq>`

let server: TestServer
const streams: TestStream[] = []
let ids = 0

const start = async (options: object = {}) => {
  server = await startServer(
    { modules_enabled: PLUGINS, virtualHosts: { [HOST]: {} }, allow_registration: true, ...options },
    [JULIET, ROMEO],
  )
}

const connect = async (jid: string, password = 'pw') => {
  const stream = await login(server.c2sPort, jid, { password })
  streams.push(stream)
  return stream
}
const users = () => server.server.hosts.get(HOST)!.users!
const pending = async () => (await server.server.storage.openMap(HOST, 'accounts_cleanup').getAll(null)).size
const lookAgain = () => server.server.events.fire('server-started', {})
const failed = (answer: Element) => answer.getChild('error')?.getChildElements()[0]?.getName()
const remove = (stream: TestStream) =>
  stream.ask(`<iq type='set' id='r${++ids}'><query xmlns='${NS}'><remove/></query></iq>`)

async function register(password = 'secret'): Promise<string> {
  const stream = await opened(server.c2sPort, HOST)
  streams.push(stream)
  const content = `<username>juliet</username><password>${password}</password>`
  const answer = await stream.ask(
    `<iq type='set' id='r${++ids}'><query xmlns='${NS}'>${content}</query></iq>`,
  )
  return failed(answer) ?? answer.attrs.type
}

/** Juliet has something everywhere, and a message waits for her. */
async function livedIn(): Promise<TestStream> {
  const [juliet, romeo] = [await connect(`${JULIET}/one`), await connect(`${ROMEO}/two`)]
  const requests = [
    `<query xmlns='jabber:iq:roster'><item jid='nurse@${HOST}'/></query>`,
    `<vCard xmlns='vcard-temp'><FN>Juliet</FN></vCard>`,
    `<query xmlns='jabber:iq:private'><notes xmlns='urn:example:notes'>old</notes></query>`,
    `<block xmlns='urn:xmpp:blocking'><item jid='paris@${HOST}'/></block>`,
    `<prefs xmlns='urn:xmpp:mam:2' default='always'><always/><never/></prefs>`,
  ]
  for (const request of requests) {
    const answer = await juliet.ask(`<iq type='set' id='s${++ids}'>${request}</iq>`)
    expect(answer.attrs.type).toBe('result')
  }
  romeo.send(`<message to='${JULIET}' type='chat'><body>old</body></message>`)
  await juliet.named('message')
  const offline = server.server.storage.openArchive(HOST, 'offline')
  const kept = {
    name: 'message',
    attrs: { to: JULIET, from: ROMEO, type: 'chat' },
    inner: '<body>old</body>',
  }
  await offline.append('juliet', kept, Date.now(), ROMEO)
  return juliet
}

/** What a client that logs in now sees of what was before. */
async function seen(password = 'secret'): Promise<string[]> {
  const juliet = await connect(`${JULIET}/again`, password)
  const found: string[] = []
  for (const [name, request] of [
    ['roster', `<query xmlns='jabber:iq:roster'/>`],
    ['vcard', `<vCard xmlns='vcard-temp'/>`],
    ['private', `<query xmlns='jabber:iq:private'><notes xmlns='urn:example:notes'/></query>`],
    ['blocklist', `<blocklist xmlns='urn:xmpp:blocking'/>`],
  ] as const) {
    const answer = await juliet.ask(`<iq type='get' id='g${++ids}'>${request}</iq>`)
    if (/nurse|paris|Juliet<|old/.test(String(answer))) found.push(name)
  }
  await juliet.ask(ARCHIVED)
  await juliet.settled()
  for (const message of juliet.received.filter(({ name }) => name === 'message'))
    found.push(message.getChild('result', 'urn:xmpp:mam:2') === undefined ? 'offline' : 'archive')
  return found
}

/** What is stored of Juliet. */
async function stored(): Promise<string[]> {
  const { storage } = server.server
  const found: string[] = []
  for (const store of ['accounts', 'roster', 'vcard', 'blocklist', 'archive_prefs'])
    if ((await storage.openKeyval(HOST, store).get('juliet')) !== undefined) found.push(store)
  if ((await storage.openMap(HOST, 'private').getAll('juliet')).size > 0) found.push('private')
  for (const store of ['archive', 'offline'])
    if ((await storage.openArchive(HOST, store).count('juliet', {})) > 0) found.push(store)
  return found
}

/** Lets removals fail, until the function that is returned is called. */
function failing(): () => void {
  const { storage } = server.server
  const { purgeUser } = storage
  storage.purgeUser = () => Promise.reject(new StorageError('unavailable', 'the storage is away'))
  return () => {
    storage.purgeUser = purgeUser
  }
}

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
})

describeStored('an account whose deletion fails in the midst', () => {
  beforeEach(() => start())

  it('sees what is its own: the test would', async () => {
    await (await livedIn()).close()
    expect(new Set(await seen('pw'))).toEqual(
      new Set(['roster', 'vcard', 'private', 'blocklist', 'archive', 'offline']),
    )
  })

  it('has no name that is given away while it is not gone, and then a new one sees nothing', async () => {
    const juliet = await livedIn()
    const mend = failing()
    expect((await remove(juliet)).attrs.type).toBe('result')
    await juliet.closed()
    expect(await users().exists('juliet')).toBe(false)
    expect(await register()).not.toBe('result')
    expect(await users().exists('juliet')).toBe(false)
    mend()
    expect(await register()).toBe('result')
    expect(await seen()).toEqual([])
  })

  it('is gone wholly when the server looks again, or is started', async () => {
    const juliet = await livedIn()
    const mend = failing()
    await remove(juliet)
    await juliet.closed()
    await server.logged('what a deleted account has stored may be left')
    expect(await stored()).not.toEqual([])
    expect(await pending()).toBe(1)
    mend()
    lookAgain()
    await expect.poll(pending).toBe(0)
    expect(await stored()).toEqual([])
  })

  it('at the end of its time: too', async () => {
    await (await livedIn()).close()
    const overdue = { deleted_at: 1, pending_until: 2 }
    await server.server.storage.openMap(HOST, 'accounts_cleanup').set(null, 'juliet', overdue)
    await users().disable('juliet', { reason: 'ibr', when: 1, until: 2 })
    const mend = failing()
    lookAgain()
    await server.logged('what a deleted account has stored may be left')
    await expect.poll(() => users().exists('juliet')).toBe(false)
    expect(await pending()).toBe(1)
    mend()
    await expect
      .poll(async () => {
        lookAgain()
        return pending()
      })
      .toBe(0)
    expect(await stored()).toEqual([])
  })

  it('and a new one of its name keeps what is its own when the server looks again', async () => {
    const juliet = await livedIn()
    const mend = failing()
    await remove(juliet)
    await juliet.closed()
    mend()
    expect(await register()).toBe('result')
    const again = await connect(`${JULIET}/new`, 'secret')
    await again.ask(`<iq type='set' id='v'><vCard xmlns='vcard-temp'><FN>New</FN></vCard></iq>`)
    lookAgain()
    await expect.poll(pending).toBe(0)
    expect(await stored()).toEqual(expect.arrayContaining(['accounts', 'vcard']))
    expect(await users().verifyPassword('juliet', 'secret')).toBe(true)
  })

  it('is taken anew between its end and the removal of what it had: both as they should be', async () => {
    const juliet = await livedIn()
    const { storage } = server.server
    const { purgeUser } = storage
    let isTaken = false
    storage.purgeUser = async (...user) => {
      if (!isTaken) {
        isTaken = true
        await users().create('juliet', 'secret')
        await storage.openMap(HOST, 'private').set('juliet', 'mine', '<mine/>')
      }
      await purgeUser.apply(storage, user)
    }
    await remove(juliet)
    await juliet.closed()
    await expect.poll(pending).toBe(0)
    expect(await stored()).toEqual(['accounts', 'private'])
    expect(await seen()).toEqual([])
  })
})

describeStored('a name', () => {
  beforeEach(() => start())

  it('is not given to strangers while an account that was deleted has sessions', async () => {
    const juliet = await connect(`${JULIET}/one`)
    // By a command that could not tell it.
    await users().delete('juliet')
    expect(await register()).toBe('conflict')
    server.server.events.fire('server-started', {})
    await juliet.close()
    await expect.poll(() => register()).toBe('result')
  })

  it('nor after an import that was killed', async () => {
    await users().delete('juliet')
    const marks = server.server.storage.openKeyval(HOST, MARKS)
    await marks.set('juliet', { process: 1, machine: 'another.example' })
    expect(await register()).toBe('conflict')
    await marks.set('juliet', undefined)
    expect(await register()).toBe('result')
  })

  it('has no block list of before in memory, when whoever has deleted it has died', async () => {
    const juliet = await livedIn()
    await juliet.close()
    await users().delete('juliet')
    expect(await register()).toBe('result')
    expect(await seen()).toEqual([])
  })
})
