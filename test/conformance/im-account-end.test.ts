/** The contacts of accounts that were deleted from outside are told, once, whatever has died meanwhile (XEP-0077 §3.2). */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { noteEnd, openEndedAccounts, type Server } from '../../server/index.ts'
import type { TestStream } from '../shared/client.ts'
import { enter, getItem, getRoster, settled, stateIn, subscribe, taken } from '../shared/im-client.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { troubles } from '../shared/streams.ts'

const HOST = 'capulet.lit'
const OTHER = 'montague.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${OTHER}`
const ENDED = ['unsubscribe', 'unsubscribed']

let server: TestServer
let romeo: TestStream
const streams: TestStream[] = []

async function connect(jid: string, to = server): Promise<TestStream> {
  const stream = await enter(to.c2sPort, jid)
  streams.push(stream)
  return stream
}

/** Juliet and Romeo see each other. */
async function friends(): Promise<TestStream> {
  const juliet = await connect(`${JULIET}/balcony`)
  romeo = await connect(`${ROMEO}/orchard`)
  await subscribe(OTHER, juliet, romeo)
  await subscribe(OTHER, romeo, juliet)
  await settled(OTHER, juliet, romeo)
  return juliet
}

/** As `legate deluser` does it, as far as it comes. @param created - of the account; as it is, if left out */
async function note(created?: number): Promise<void> {
  const users = server.server.hosts.get(HOST)!.users!
  const known = created ?? (await users.read('juliet'))!.created
  await noteEnd(server.server.storage, HOST, 'juliet', known)
}

const remove = async () => {
  await server.server.hosts.get(HOST)!.users!.delete('juliet')
  await server.server.storage.purgeUser(HOST, 'juliet')
}
const isNoted = async () =>
  (await openEndedAccounts(server.server.storage, HOST).get(null, 'juliet')) !== undefined
const deleted = (at: Server) => at.events.fire('user-deleted', { username: 'juliet', host: HOST })

/** What Romeo has been sent, in lines, sorted. */
async function told(): Promise<string[]> {
  await romeo.settled()
  return taken(romeo).sort()
}

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  expect(troubles(server)).toEqual([])
  await server.stop()
})

describe('one process', () => {
  beforeEach(async () => {
    server = await startServer(
      { virtualHosts: { [HOST]: {}, [OTHER]: {} }, presence_open_resources: false },
      [JULIET, ROMEO, `nurse@${HOST}`],
    )
  })

  it('§3.2: subscriptions end, both ways, and requests', async () => {
    const juliet = await friends()
    const nurse = await connect(`nurse@${HOST}/kitchen`)
    nurse.send(`<presence type='subscribe' to='${JULIET}'/>`)
    await settled(HOST, nurse, juliet)
    await note()
    await remove()
    taken(romeo)
    taken(nurse)
    deleted(server.server)
    await expect.poll(isNoted).toBe(false)
    expect(await told()).toEqual([
      `push ${JULIET} from`,
      `push ${JULIET} none`,
      `unavailable ${juliet.jid}`,
      ...ENDED.map((type) => `${type} ${JULIET}`),
    ])
    expect(stateIn(await getItem(romeo, JULIET))).toBe('none')
    await nurse.settled()
    expect(taken(nurse)).toContain(`unsubscribed ${JULIET}`)
    expect(stateIn(await getItem(nurse, JULIET))).toBe('none')
    // Once.
    deleted(server.server)
    expect(await told()).toEqual([])
  })

  it('whoever deleted it has died: it is told when the server starts', async () => {
    await (await friends()).close()
    await note()
    await remove()
    await told()
    server.server.events.fire('server-started', {})
    await expect.poll(isNoted).toBe(false)
    expect(await told()).toEqual(expect.arrayContaining(ENDED.map((type) => `${type} ${JULIET}`)))
    expect(stateIn(await getItem(romeo, JULIET))).toBe('none')
  })

  it('whoever was about to delete it has died: it has not ended, and nobody is told', async () => {
    await friends()
    await note()
    await told()
    deleted(server.server)
    server.server.events.fire('server-started', {})
    const noted = await openEndedAccounts(server.server.storage, HOST).get(null, 'juliet')
    expect(noted).toBeDefined()
    expect(await told()).toEqual([])
    expect(stateIn(await getItem(romeo, JULIET))).toBe('both')
  })

  it('a new account of that name is another: contacts of the old one are told, its own stay', async () => {
    await (await friends()).close()
    const created = 1
    await note(created)
    await remove()
    await server.addUser(JULIET)
    const juliet = await connect(`${JULIET}/balcony`)
    const nurse = await connect(`nurse@${HOST}/kitchen`)
    await subscribe(HOST, juliet, nurse)
    await told()
    server.server.events.fire('server-started', {})
    await expect.poll(isNoted).toBe(false)
    expect(await told()).toEqual(expect.arrayContaining(ENDED.map((type) => `${type} ${JULIET}`)))
    expect((await getRoster(juliet)).map(({ attrs }) => `${attrs.jid} ${attrs.subscription}`)).toEqual([
      `nurse@${HOST} to`,
    ])
  })
})

describePeer('several processes', redisAvailable(), () => {
  let peer: SingleRedis
  let second: TestServer

  beforeEach(async () => {
    peer = await startRedis({ appendonly: 'yes', appendfsync: 'always' })
    const options = (name: string) => ({
      storage: 'redis' as const,
      redis: { url: peer.redis.url, prefix: 'test' },
      cluster: { name },
      virtualHosts: { [HOST]: {}, [OTHER]: {} },
    })
    server = await startServer(options('one'), [JULIET, ROMEO])
    second = await startServer(options('two'))
    await expect.poll(() => server.server.cluster!.members.size).toBe(2)
  })

  afterEach(async () => {
    await second.stop()
    await peer.stop()
  })

  it('one of them tells, whichever hears of it', async () => {
    await (await friends()).close()
    await note()
    await remove()
    await told()
    deleted(second.server)
    deleted(server.server)
    await expect.poll(isNoted).toBe(false)
    await settled(OTHER, romeo)
    const lines = await told()
    expect(lines.filter((line) => /^un(su|av)/.test(line))).toEqual(ENDED.map((type) => `${type} ${JULIET}`))
    expect(stateIn(await getItem(romeo, JULIET))).toBe('none')
  })
})
