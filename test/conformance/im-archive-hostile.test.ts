/** What senders, moments and sheer amounts must not do to archives (XEP-0313, XEP-0359). */

import { afterEach, describe, expect, it, vi } from 'vitest'
import type { KeptStanza, ServerOptions } from '../../server/index.ts'
import { ChosenStorage } from '../../server/storage/chosen.ts'
import type { ArchiveStore } from '../../server/storage/index.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { componentSettled, conditionOf, errorLines } from '../shared/delegation.ts'
import { HOST, innerMessage, JULIET, messageFor, NURSE, PUBSUB } from '../shared/privilege.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { ALL_STORAGES, describeStoredIn } from '../shared/server-storages.ts'

const ROMEO = `romeo@${HOST}`
/** Whose name is what becomes of none at all. */
const UNDEFINED = `undefined@${HOST}`
const MAM = 'urn:xmpp:mam:2'

let server: TestServer
let juliet: TestStream
let romeo: TestStream
let pubsub: TestStream
let ids = 0

async function start(options: ServerOptions = {}): Promise<void> {
  server = await startServer(
    {
      modules_enabled: [...USUAL_PLUGINS, 'mam', 'carbons', 'blocklist', 'privilege'],
      ...options,
      virtualHosts: { [HOST]: { privileged_entities: { [PUBSUB]: { message: 'outgoing' } } } },
      components: { [PUBSUB]: { component_secret: 'secret', modules_enabled: ['privilege'] } },
    },
    [JULIET, ROMEO, NURSE, UNDEFINED],
  )
  pubsub = await connectComponent(server.componentPort, PUBSUB)
  juliet = await login(server.c2sPort, `${JULIET}/balcony`)
  romeo = await login(server.c2sPort, `${ROMEO}/orchard`)
}

afterEach(async () => {
  for (const stream of [juliet, romeo, pubsub]) await stream.destroy()
  await server.stop()
  expect(errorLines(server)).toEqual([])
})

const archiveOf = () => server.server.storage.openArchive<KeptStanza>(HOST, 'archive')
const entriesOf = async (username: string) => (await archiveOf().find(username, {}, 1000)).entries
const archived = async (username: string) => (await entriesOf(username)).map(({ value }) => value.attrs['id'])
const received = (stream: TestStream) =>
  stream.received.filter(({ name }) => name === 'message').map(({ attrs }) => attrs.id)

async function say(to: string, id: string, content: string): Promise<void> {
  romeo.send(`<message id='${id}' to='${to}' type='chat'>${content}</message>`)
  await romeo.settled()
}

/** Starts a server whose archive is another one in something. */
async function startWith(
  change: (archive: ArchiveStore<KeptStanza>) => Partial<ArchiveStore<KeptStanza>>,
  options: ServerOptions = {},
): Promise<void> {
  const open = ChosenStorage.prototype.openArchive
  const opening = vi.spyOn(ChosenStorage.prototype, 'openArchive').mockImplementation(function <T>(
    this: ChosenStorage,
    ...names: [string, string]
  ): ArchiveStore<T> {
    const archive = open.call(this, ...names) as ArchiveStore<unknown>
    return { ...archive, ...change(archive as ArchiveStore<KeptStanza>) } as ArchiveStore<T>
  })
  try {
    await start(options)
  } finally {
    opening.mockRestore()
  }
}

/** Asks with a form for archived messages. @returns their ids, and the IQ */
async function query(stream: TestStream, field = '', values: readonly string[] = []) {
  await stream.settled()
  stream.received.length = 0
  const fields = `<field var='${field}'>${values.map((value) => `<value>${value}</value>`).join('')}</field>`
  const form = `<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>${MAM}</value></field>${fields}</x>`
  const iq = await stream.ask(
    `<iq type='set' id='q${++ids}'><query xmlns='${MAM}'>${field === '' ? '' : form}</query></iq>`,
  )
  const messages = stream.received
    .map((message) => message.getChild('result', MAM)?.getChild('forwarded')?.getChild('message'))
    .filter((message) => message !== undefined)
  return { iq, messages: messages.map(({ attrs }) => attrs.id as string) }
}

const message = (id: string, body = 'x') => ({
  name: 'message',
  attrs: { id, from: ROMEO, to: JULIET, type: 'chat' },
  inner: `<body>${body}</body>`,
})

describeStoredIn(ALL_STORAGES, 'who sends', () => {
  it('RFC 6120 §10.3.1: the first message without `to` is for the own account', async () => {
    await start()
    juliet.send(`<message id='m1' type='chat'><body>x</body></message>`)
    await juliet.settled()
    expect(received(juliet)).toEqual(['m1'])
    expect(await archived('juliet')).toEqual(['m1'])
    // It says so in the archive, where nobody knows who has sent it to whom.
    expect((await entriesOf('juliet'))[0]!.value.attrs['to']).toBe(JULIET)
  })

  it('RFC 6120 §10.3.1: also where the roster decides what is archived', async () => {
    await start({ default_archive_policy: 'roster' })
    juliet.send(`<message id='m1' type='chat'><body>x</body></message>`)
    await juliet.settled()
    expect(received(juliet)).toEqual(['m1'])
    expect(await archived('juliet')).toEqual([])
  })

  it('XEP-0356 §5: a message without `to` on behalf of an account is archived there', async () => {
    await start()
    pubsub.send(messageFor(HOST, innerMessage({ from: NURSE, id: 'm1' })))
    pubsub.send(messageFor(HOST, innerMessage({ from: JULIET, id: 'm2' })))
    await componentSettled(pubsub, HOST)
    await juliet.settled()
    expect(received(juliet)).toEqual(['m2'])
    // It is delivered while it is written.
    await expect.poll(() => archived('nurse')).toEqual(['m1'])
    await expect.poll(() => archived('juliet')).toEqual(['m2'])
  })

  it('XEP-0356 §5.1: what the host itself says is in the archive of who gets it', async () => {
    await start()
    pubsub.send(messageFor(HOST, innerMessage({ from: HOST, to: JULIET, id: 'm1' })))
    await componentSettled(pubsub, HOST)
    await juliet.settled()
    expect(received(juliet)).toEqual(['m1'])
    await expect.poll(() => archived('juliet')).toEqual(['m1'])
    expect(await archived('undefined')).toEqual([])
  })
})

describe('namespaces that are written with references (XML 1.0 §4.1)', () => {
  it('XEP-0359 §5: an id that the sender has made up does not get through', async () => {
    await start()
    const forged = [
      `<stanza-id xmlns='urn:xmpp:sid&#58;0' by='${JULIET}' id='forged'/>`,
      `<stanza-id xmlns='&#x75;rn:xmpp:sid:0' by='juliet&#64;${HOST}' id='forged'/>`,
      `<s:stanza-id xmlns:s='urn:xmpp:sid&#x3a;0' by='${JULIET}' id='forged'/>`,
    ]
    await say(juliet.jid, 'm1', `<body>x</body>${forged.join('')}`)
    const ofMessage = (await juliet.withId('m1'))
      .getChildElements()
      .filter((child) => child.getName() === 'stanza-id')
    const [entry] = await entriesOf('juliet')
    expect(ofMessage.map(({ attrs }) => [attrs['by'], attrs.id])).toEqual([[JULIET, entry!.id]])
  })

  it('XEP-0334 §4: hints are what they are', async () => {
    await start()
    await say(JULIET, 'm1', `<body>x</body><no-store xmlns='urn:xmpp&#58;hints'/>`)
    await say(JULIET, 'm2', `<body>x</body><h:no-permanent-store xmlns:h='urn:xmpp:hint&#x73;'/>`)
    await say(JULIET, 'm3', `<x xmlns='urn:x'/><store xmlns='urn:xmpp&#58;hints'/>`)
    expect(await archived('juliet')).toEqual(['m3'])
    expect(await archived('romeo')).toEqual(['m3'])
  })
})

describe('queries', () => {
  it('§4.3: a page of which everything is removed while it is read is followed by the next one', async () => {
    let removes = true
    await startWith(
      (archive) => ({
        find: async (...args) => {
          const page = await archive.find(...args)
          if (!removes || page.entries.length === 0) return page
          removes = false
          // As Redis does it: which entries there are, and what is in them, is read one after the other.
          await archive.remove(
            args[0],
            page.entries.map(({ id }) => id),
          )
          return { ...page, entries: [] }
        },
      }),
      { max_archive_query_results: 5 },
    )
    for (let i = 0; i < 12; i++) await archiveOf().append('juliet', message(`m${i}`), 1000 + i, ROMEO)
    const { iq, messages } = await query(juliet)
    expect(iq.attrs.type).toBe('result')
    expect(messages).toEqual(['m5', 'm6', 'm7', 'm8', 'm9'])
  })

  it('§4.1.4: an id that is named twice does not stand for one that there is not', async () => {
    await start()
    const id = await archiveOf().append('juliet', message('m1'), 1000, ROMEO)
    const unknown = 'f'.repeat(24)
    expect(conditionOf((await query(juliet, 'ids', [id, id, unknown])).iq)).toBe('item-not-found')
    expect((await query(juliet, 'ids', [id, id])).messages).toEqual(['m1'])
  })

  it('of what is too much for one answer no more is read than is needed to know', async () => {
    const asked: number[] = []
    await startWith((archive) => ({
      get: (username, some) => {
        asked.push(some.length)
        return archive.get(username, some)
      },
    }))
    const archive = archiveOf()
    const found: string[] = []
    for (let i = 0; i < 100; i++) {
      found.push(await archive.append('juliet', message(`m${i}`, 'x'.repeat(100_000)), 1000 + i, ROMEO))
    }
    expect(conditionOf((await query(juliet, 'ids', found)).iq)).toBe('resource-constraint')
    expect(asked).toEqual([25, 25])
    const { messages } = await query(juliet, 'ids', found.slice(0, 30))
    expect(messages).toEqual(Array.from({ length: 30 }, (_, i) => `m${i}`))
  })

  it('a long page is read in parts', async () => {
    const limits: number[] = []
    await startWith(
      (archive) => ({
        find: (username, range, limit, reverse) => {
          limits.push(limit)
          return archive.find(username, range, limit, reverse)
        },
      }),
      { max_archive_query_results: 1000 },
    )
    for (let i = 0; i < 120; i++) await archiveOf().append('juliet', message(`m${i}`), 1000 + i, ROMEO)
    const { iq, messages } = await query(juliet)
    expect(messages).toEqual(Array.from({ length: 120 }, (_, i) => `m${i}`))
    expect(iq.getChild('fin', MAM)!.attrs['complete']).toBe('true')
    expect(limits).toEqual([50, 50, 50])
  })
})

describe('writes', () => {
  const IN_TIME = { timeout: 10_000 }
  const BODY = 'x'.repeat(200_000)

  it.each([
    [
      'a component',
      (id: string) => `<message from='${PUBSUB}' to='${JULIET}/balcony' id='${id}' type='chat'>`,
    ],
    ['one that speaks for an account', undefined],
  ])('%s that sends more than can be written waits, and nothing is lost', async (_, opening) => {
    let release: () => void = () => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    let writing = 0
    await startWith((archive) => ({
      append: async (username, ...args) => {
        if (username === 'juliet') writing++
        await released
        return archive.append(username, ...args)
      },
    }))
    // She counts only: to read it all takes seconds.
    let bytes = 0
    juliet.socket.removeAllListeners('data').on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    // Eight million characters, in the sender's archive and hers or in hers alone.
    const most = opening === undefined ? 21 : 42
    const count = most + 10
    const content = `<body>${BODY}</body>`
    for (let i = 0; i < count; i++) {
      const id = `m${i}`
      const attrs = { from: ROMEO, to: `${JULIET}/balcony`, id, type: 'chat' }
      pubsub.send(
        opening === undefined
          ? messageFor(HOST, innerMessage(attrs, content))
          : `${opening(id)}${content}</message>`,
      )
    }
    await expect.poll(() => bytes > most * BODY.length, IN_TIME).toBe(true)
    for (let i = 0; i < 5; i++) await romeo.settled()
    expect(writing).toBe(most)
    release()
    await expect.poll(() => bytes > count * BODY.length, IN_TIME).toBe(true)
    await expect.poll(() => archived('juliet')).toHaveLength(count)
  })
})
