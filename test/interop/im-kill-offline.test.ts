/** kill -9 while messages that were kept are handed over (XEP-0160): none is lost; who acknowledges gets none twice. */

import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { type AccountRecord, Users } from '../../server/auth/users.ts'
import { openLmdbStorage } from '../../server/storage/lmdb.ts'
import { login, type TestStream } from '../shared/client.ts'
import { inTime } from '../shared/in-time.ts'
import { randomNumbers } from '../shared/kept-messages.ts'
import { LegateFolder, ON_FREE_PORTS, type RunningLegate } from '../shared/legate-command.ts'
import { type ManagedClient, manage, resume, until } from '../shared/stream-management.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`
const ROUNDS = 2
const MESSAGES = 400
const TEST_MS = 120_000

const endings: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
}, TEST_MS)

/** A server with its own storage and two accounts. */
async function prepare(): Promise<LegateFolder> {
  const folder = new LegateFolder(
    `${ON_FREE_PORTS}modules_enabled = { "saslauth", "roster", "disco", "ping", "offline", "smacks" }
storage = "internal"\ndata_path = "data"\nVirtualHost "${HOST}"\n`,
  )
  endings.push(() => folder.remove())
  mkdirSync(folder.file('data'))
  const storage = openLmdbStorage(folder.file('data'))
  try {
    const accounts = new Users(storage.openKeyval<AccountRecord>(HOST, 'accounts'), { iterations: 4096 })
    for (const user of ['juliet', 'romeo']) await accounts.create(user, 'pw')
  } finally {
    await storage.close()
  }
  return folder
}

async function kill({ child }: RunningLegate): Promise<void> {
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await inTime('a process that was killed is gone', exit, 10_000)
}

/** Has the server keep messages that nobody is there for. @returns their ids */
async function write({ c2sPort }: RunningLegate, round: number): Promise<string[]> {
  const romeo = await login(c2sPort, `${ROMEO}/orchard`)
  const ids = Array.from({ length: MESSAGES }, (_, i) => `r${round}m${i}`)
  for (const id of ids)
    romeo.send(`<message type='chat' id='${id}' to='${JULIET}'><body>${id}</body></message>`)
  await romeo.settled()
  await romeo.close()
  return ids
}

/** All that is kept, for a client that acknowledges. @returns their ids */
async function collect({ c2sPort }: RunningLegate, count: number): Promise<string[]> {
  const juliet = await manage(c2sPort, `${JULIET}/collects`)
  juliet.answers = true
  juliet.acknowledge()
  await inTime(
    `${count} messages come`,
    until(() => juliet.messages.length >= count),
    20_000,
    () => `${juliet.messages.length}`,
  )
  // Nothing comes behind them.
  for (let turn = 0; turn < 3; turn++) {
    juliet.acknowledge()
    await juliet.stream.settled()
  }
  await juliet.stream.close()
  return juliet.messages
}

/** @returns what the stream has sent until the connection was gone */
function messagesOf({ text }: TestStream): string[] {
  return [...text.matchAll(/<message [^>]*?id=['"](r\d+m\d+)['"][\s\S]*?<\/message>/g)].map(([, id]) => id!)
}

describe('a server that is killed while it hands over what it has kept', () => {
  it(
    'gives all of it again to a client that has not acknowledged it, and nothing that it has',
    async () => {
      const folder = await prepare()
      let server = await folder.start()
      const ids = await write(server, 0)
      const first = await manage(server.c2sPort, `${JULIET}/balcony`)
      expect(first.messages).toEqual(ids.slice(0, 100))
      await kill(server)
      server = await folder.start()
      const second = await manage(server.c2sPort, `${JULIET}/balcony`)
      expect(second.messages).toEqual(ids.slice(0, 100))
      const last = second.stanzas.findIndex(({ attrs }) => attrs.id === ids[59]) + 1
      second.acknowledge(last)
      await second.stream.settled()
      await kill(server)
      server = await folder.start()
      expect(await collect(server, MESSAGES - 60)).toEqual(ids.slice(60))
      await server.stop()
    },
    TEST_MS,
  )

  it(
    'a session that waits with messages loses none that were kept, and they stand there once',
    async () => {
      const folder = await prepare()
      let server = await folder.start()
      const ids = await write(server, 0)
      const client = await manage(server.c2sPort, `${JULIET}/balcony`)
      await client.stream.destroy()
      await server.logged(/the session waits for another one/)
      await kill(server)
      server = await folder.start()
      expect(await collect(server, MESSAGES)).toEqual(ids)
      await server.stop()
    },
    TEST_MS,
  )

  it(
    'what has come for a session that waits is there, once, and only what was not acknowledged',
    async () => {
      const folder = await prepare()
      let server = await folder.start()
      const client = await manage(server.c2sPort, `${JULIET}/balcony`)
      await client.stream.destroy()
      await server.logged(/the session waits for another one/)
      const ids = await write(server, 0)
      const back = await resume(server.c2sPort, client)
      await until(() => back.messages.length === MESSAGES)
      back.acknowledge(back.stanzas.findIndex(({ attrs }) => attrs.id === ids[99]) + 1 + client.h)
      await back.stream.settled()
      await kill(server)
      server = await folder.start()
      expect(await collect(server, MESSAGES - 100)).toEqual(ids.slice(100))
      await server.stop()
    },
    TEST_MS,
  )

  it.each([1, 2])(
    'at any moment: a client that acknowledges loses nothing, and gets nothing twice that is known to be handled (seed %i)',
    async (seed) => {
      const folder = await prepare()
      const random = randomNumbers(seed)
      let server = await folder.start()
      for (let round = 0; round < ROUNDS; round++) {
        const ids = await write(server, round)
        const juliet = await manage(server.c2sPort, `${JULIET}/balcony`)
        const enough = Math.floor((0.3 + 0.6 * random()) * MESSAGES)
        /** So many are known to be handled. */
        let certain = 0
        const goesOn = acknowledgeAll(juliet, (count) => {
          certain = count
        })
        await until(() => certain >= enough)
        await kill(server)
        await juliet.stream.closed()
        await goesOn
        server = await folder.start()
        const seen = juliet.messages
        expect(seen).toEqual(ids.slice(0, seen.length))
        const rest = await collect(server, MESSAGES - seen.length)
        expect(rest).toEqual(ids.slice(MESSAGES - rest.length))
        const twice = seen.length + rest.length - MESSAGES
        expect(twice).toBeGreaterThanOrEqual(0)
        expect(twice).toBeLessThanOrEqual(seen.length - certain)
      }
      await server.stop()
    },
    TEST_MS,
  )

  it.each([3, 4])(
    'at any moment: a client that acknowledges nothing loses nothing (seed %i)',
    async (seed) => {
      const folder = await prepare()
      const random = randomNumbers(seed)
      let server = await folder.start()
      for (let round = 0; round < ROUNDS; round++) {
        const ids = await write(server, round)
        const juliet = await login(server.c2sPort, `${JULIET}/balcony`, { presence: false })
        const enough = Math.floor((0.1 + 0.8 * random()) * MESSAGES)
        juliet.send('<presence/>')
        await until(
          () => juliet.text.includes(`'${ids[enough]}'`) || juliet.text.includes(`"${ids[enough]}"`),
        )
        await kill(server)
        await juliet.closed()
        server = await folder.start()
        const seen = messagesOf(juliet)
        expect(seen).toEqual(ids.slice(0, seen.length))
        const rest = await collect(server, MESSAGES - seen.length)
        expect(rest).toEqual(ids.slice(MESSAGES - rest.length))
        // No more than were on their way at a time.
        expect(seen.length + rest.length - MESSAGES).toBeLessThanOrEqual(100)
      }
      await server.stop()
    },
    TEST_MS,
  )
})

/** Acknowledges all that comes, and asks after each time, until the connection is gone. */
async function acknowledgeAll(client: ManagedClient, certain: (messages: number) => void): Promise<void> {
  const { stream, messages } = client
  try {
    for (;;) {
      const count = messages.length
      client.acknowledge()
      await stream.settled()
      certain(count)
    }
  } catch {
    // It was killed.
  }
}
