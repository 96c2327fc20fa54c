/** What people expect of instant messaging, with their resources at several processes of a server. */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { RedisConnection } from '../../server/redis/index.ts'
import { ChosenStorage } from '../../server/storage/chosen.ts'
import type { ArchiveStore } from '../../server/storage/types.ts'
import { login, type TestStream } from '../shared/client.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'

const HOST = 'capulet.lit'
const [JULIET, ROMEO, NURSE] = ['juliet', 'romeo', 'nurse'].map((user) => `${user}@${HOST}`) as [
  string,
  string,
  string,
]
const PLUGINS = ['carbons', 'blocklist', 'mam', 'offline', 'vcard', 'private', 'lastactivity']
const CARBONS = 'urn:xmpp:carbons:2'
const FORWARD = 'urn:xmpp:forward:0'
const BLOCKING = 'urn:xmpp:blocking'
const MAM = 'urn:xmpp:mam:2'
const SID = 'urn:xmpp:sid:0'
const LAST = 'jabber:iq:last'

let ids = 0

type Connections = Record<'commands' | 'blocking', RedisConnection>

/** From now on the others hear nothing of a process, as if it had died. */
function cut({ server }: TestServer): void {
  const { bus } = server.cluster as unknown as { bus: Connections }
  for (const { client } of [bus.commands, bus.blocking]) client.disconnect()
}

async function connectAgain({ server }: TestServer): Promise<void> {
  const { bus } = server.cluster as unknown as { bus: Connections }
  for (const { client } of [bus.commands, bus.blocking]) await client.connect()
}

/** Sends a message. @returns its id */
function say(from: TestStream, to: string, content = '<body>hi</body>', type = 'chat'): string {
  const id = `m${++ids}`
  from.send(`<message id='${id}' to='${to}' type='${type}'>${content}</message>`)
  return id
}

function copyIn(message: Element): Element | undefined {
  return message.getChild('received', CARBONS) ?? message.getChild('sent', CARBONS)
}

function original(message: Element): Element {
  return copyIn(message)?.getChild('forwarded', FORWARD)?.getChild('message') ?? message
}

/** Messages that have come, taken out: `m1` for one, `received m1` for a copy. */
function taken(stream: TestStream): string[] {
  const messages = stream.received.filter(({ name }) => name === 'message')
  stream.received.splice(0)
  return messages.map((message) =>
    [copyIn(message)?.getName(), original(message).attrs.id].filter((word) => word !== undefined).join(' '),
  )
}

/** The ids that an account has given to a message. */
const stableIds = (message: Element, by: string) =>
  original(message)
    .getChildren('stanza-id', SID)
    .flatMap(({ attrs }) => (attrs['by'] === by ? [attrs.id] : []))

const conditionOf = (answer: Element) => answer.getChild('error')?.getChildElements()[0]?.getName()

/** An account's archive as a client reads it, page by page: the ids of the entries, and of the messages in them. */
async function archiveOf(stream: TestStream): Promise<[id: string, message: string][]> {
  const entries: [string, string][] = []
  for (;;) {
    const query = `q${++ids}`
    const after = entries.length === 0 ? '' : `<after>${entries.at(-1)![0]}</after>`
    const page = `<set xmlns='http://jabber.org/protocol/rsm'>${after}</set>`
    stream.send(`<iq type='set' id='${query}'><query xmlns='${MAM}' queryid='${query}'>${page}</query></iq>`)
    let isLast = false
    for (let more = true; more; ) {
      const next = await stream.next(
        (one) => one.attrs.id === query || one.getChild('result', MAM)?.attrs['queryid'] === query,
      )
      more = next.name === 'message'
      if (more) {
        const result = next.getChild('result', MAM)!
        const message = result.getChild('forwarded', FORWARD)!.getChild('message')!
        entries.push([result.attrs.id as string, message.attrs.id as string])
      } else isLast = next.getChild('fin', MAM)!.attrs['complete'] === 'true'
    }
    if (isLast) return entries
  }
}

describePeer('instant messaging in a cluster', redisAvailable(), () => {
  let peer: SingleRedis
  let servers: TestServer[]
  let streams: TestStream[]

  beforeEach(async () => {
    peer = await startRedis({ appendonly: 'yes', appendfsync: 'always' })
    servers = []
    streams = []
  })

  afterEach(async () => {
    for (const stream of streams) stream.socket.destroy()
    for (const server of servers) await server.stop()
    await peer.stop()
    vi.restoreAllMocks()
  })

  const start = async (count: number, lease = 8): Promise<void> => {
    for (let number = 0; number < count; number++) {
      servers.push(
        await startServer(
          {
            storage: 'redis',
            redis: { url: peer.redis.url, prefix: 'test' },
            cluster: { name: `process ${number}` },
            cluster_lease: lease,
            modules_enabled: [...USUAL_PLUGINS, ...PLUGINS],
            virtualHosts: { [HOST]: {} },
          },
          number > 0 ? [] : [JULIET, ROMEO, NURSE],
        ),
      )
    }
  }
  const enter = async (server: number, jid: string, priority: number | undefined = 0) => {
    const stream = await login(servers[server]!.c2sPort, jid, { presence: false })
    streams.push(stream)
    if (priority !== undefined) stream.send(`<presence><priority>${priority}</priority></presence>`)
    return stream
  }
  /** With carbons. */
  const enterWanting = async (server: number, jid: string, priority = 0): Promise<TestStream> => {
    const stream = await enter(server, jid, priority)
    await carbons(stream, 'enable')
    return stream
  }
  const carbons = async (stream: TestStream, to: 'enable' | 'disable') => {
    const answer = await stream.ask(`<iq type='set' id='c${++ids}'><${to} xmlns='${CARBONS}'/></iq>`)
    expect(answer.attrs.type).toBe('result')
  }
  /** All processes know the same resources of an account. */
  const known = async (user: string, ...resources: string[]): Promise<void> => {
    for (const { server } of servers) {
      const host = server.hosts.get(HOST)!
      await expect
        .poll(() => [...host.resourcesOf(user)].filter((one) => one.available).map((one) => one.resource))
        .toEqual(resources)
    }
  }
  /** What has been sent before is where it is going, and what that brings, and so on. */
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 3; turn++) {
      for (const stream of streams) if (!stream.socket.destroyed) await stream.settled()
      for (const { server } of servers) await server.cluster!.calls.heard(5000)
    }
  }
  /** They see each other. */
  const befriend = async (one: TestStream, other: TestStream): Promise<void> => {
    for (const [asks, answers] of [
      [one, other],
      [other, one],
    ] as const) {
      asks.send(`<presence type='subscribe' to='${answers.jid.split('/')[0]}'/>`)
      await answers.next(({ attrs }) => attrs.type === 'subscribe')
      answers.send(`<presence type='subscribed' to='${asks.jid.split('/')[0]}'/>`)
      await asks.next(({ attrs }) => attrs.from === answers.jid && attrs.type === undefined)
    }
  }

  it('XEP-0280: resources at all processes get a copy of what others get and send, and each once', async () => {
    await start(3)
    const balcony = await enterWanting(0, `${JULIET}/balcony`, 5)
    const chamber = await enterWanting(1, `${JULIET}/chamber`)
    const garden = await enter(2, `${JULIET}/garden`)
    const romeo = await enterWanting(2, `${ROMEO}/orchard`)
    const street = await enterWanting(0, `${ROMEO}/street`, -1)
    await known('juliet', 'balcony', 'chamber', 'garden')
    await known('romeo', 'orchard', 'street')
    const all = [balcony, chamber, garden, romeo, street]
    const got = async () => {
      await settle()
      return all.map(taken)
    }
    // To the resource with the highest priority, to a full JID, to a full JID that there is not.
    for (const to of [JULIET, `${JULIET}/balcony`, `${JULIET}/none`]) {
      const id = say(romeo, to)
      expect(await got()).toEqual([[id], [`received ${id}`], [], [], [`sent ${id}`]])
    }
    let id = say(romeo, garden.jid)
    expect(await got()).toEqual([[`received ${id}`], [`received ${id}`], [id], [], [`sent ${id}`]])
    id = say(chamber, ROMEO)
    expect(await got()).toEqual([[`sent ${id}`], [], [], [id], [`received ${id}`]])
    // Several have the highest priority: each has it itself.
    chamber.send('<presence><priority>5</priority></presence>')
    await expect
      .poll(
        () =>
          servers
            .map(({ server }) => server.hosts.get(HOST)!.resourcesOf('juliet'))
            .flatMap((one) => [...one].filter(({ priority }) => priority === 5)).length,
      )
      .toBe(6)
    id = say(street, JULIET)
    expect(await got()).toEqual([[id], [id], [], [`sent ${id}`], []])
    id = say(romeo, JULIET, `<body>x</body><private xmlns='${CARBONS}'/>`)
    expect(await got()).toEqual([[id], [id], [], [], []])
    id = say(balcony, romeo.jid, `<body>x</body><private xmlns='${CARBONS}'/>`)
    expect(await got()).toEqual([[], [], [], [id], []])
    await carbons(chamber, 'disable')
    await carbons(garden, 'enable')
    id = say(romeo, balcony.jid)
    expect(await got()).toEqual([[id], [], [`received ${id}`], [], [`sent ${id}`]])
  }, 60_000)

  it('XEP-0280 §4: once it is answered, copies come from processes that have not known the resource before', async () => {
    await start(2)
    const romeo = await enter(0, `${ROMEO}/orchard`)
    const balcony = await enter(0, `${JULIET}/balcony`, 5)
    for (let round = 0; round < 20; round++) {
      const chamber = await enter(1, `${JULIET}/r${round}`, undefined)
      await carbons(chamber, 'enable')
      const [sent, received] = [say(balcony, ROMEO), say(romeo, balcony.jid)]
      const copies = [await chamber.named('message'), await chamber.named('message')]
      expect(copies.map((copy) => original(copy).attrs.id).sort()).toEqual([sent, received].sort())
      await chamber.close()
    }
  }, 60_000)

  it('XEP-0313: each side has a message once, whose id is the same in all copies of it', async () => {
    await start(3)
    const balcony = await enterWanting(0, `${JULIET}/balcony`, 5)
    const chamber = await enterWanting(1, `${JULIET}/chamber`)
    const romeo = await enterWanting(2, `${ROMEO}/orchard`)
    const street = await enterWanting(0, `${ROMEO}/street`, -1)
    await known('juliet', 'balcony', 'chamber')
    await known('romeo', 'orchard', 'street')
    const forged = `<body>x</body><stanza-id xmlns='${SID}' by='${JULIET}' id='forged'/><stanza-id xmlns='${SID}' by='${ROMEO}' id='forged'/>`
    const sent = [JULIET, chamber.jid, `${JULIET}/none`].map((to) => say(romeo, to, forged))
    sent.push(say(street, JULIET), say(chamber, ROMEO), say(balcony, street.jid), say(romeo, NURSE))
    await settle()
    const messages = [balcony, chamber, romeo, street].map((stream) => {
      const found = stream.received.splice(0).filter(({ name }) => name === 'message')
      return new Map(found.map((message) => [original(message).attrs.id as string, message]))
    }) as [Map<string, Element>, Map<string, Element>, Map<string, Element>, Map<string, Element>]
    const archives: [string, string][][] = []
    // By any process.
    for (const stream of [balcony, chamber, romeo, street]) archives.push(await archiveOf(stream))
    expect(archives[1]).toEqual(archives[0])
    expect(archives[3]).toEqual(archives[2])
    expect(archives[0]!.map(([, id]) => id).sort()).toEqual(sent.slice(0, 6).sort())
    expect(archives[2]!.map(([, id]) => id).sort()).toEqual([...sent].sort())
    for (const [account, here, there, entries] of [
      [JULIET, messages[0], messages[1], archives[0]!],
      [ROMEO, messages[2], messages[3], archives[2]!],
    ] as const) {
      for (const [archived, id] of entries) {
        const copies = [here, there].flatMap((stream) => stream.get(id) ?? [])
        // Who has sent it has no copy of it.
        expect(copies.length, id).toBeGreaterThan(0)
        for (const copy of copies) expect(stableIds(copy, account), id).toEqual([archived])
      }
    }
  }, 60_000)

  it('XEP-0313: what is on its way to a resource that goes is archived once, and copied once', async () => {
    await start(2)
    const romeo = await enter(0, `${ROMEO}/orchard`)
    // Whose process is the account's.
    const chamber = await enterWanting(0, `${JULIET}/chamber`, -1)
    for (let round = 0; round < 10; round++) {
      const balcony = await enter(1, `${JULIET}/balcony`, 1)
      await known('juliet', 'chamber', 'balcony')
      const sent = Array.from({ length: 10 }, () => say(romeo, JULIET))
      // The first process does not know yet that it is gone.
      balcony.socket.destroy()
      await known('juliet', 'chamber')
      await settle()
      const entries = (await archiveOf(chamber)).map(([, id]) => id).filter((id) => sent.includes(id))
      expect(entries).toEqual(sent)
      const copies = taken(chamber)
      expect(new Set(copies).size).toBe(copies.length)
      expect(taken(romeo)).toEqual([])
    }
  }, 60_000)

  it('XEP-0441: preferences hold at all processes once they are answered', async () => {
    await start(2)
    const balcony = await enter(0, `${JULIET}/balcony`)
    const chamber = await enter(1, `${JULIET}/chamber`, -1)
    const romeo = await enter(1, `${ROMEO}/orchard`)
    await known('juliet', 'balcony', 'chamber')
    const kept: string[] = []
    for (let round = 0; round < 10; round++) {
      const policy = round % 2 === 0 ? 'never' : 'always'
      const [changes, other] = round % 4 < 2 ? [balcony, chamber] : [chamber, balcony]
      await changes.ask(
        `<iq type='set' id='p${++ids}'><prefs xmlns='${MAM}' default='${policy}'><always/><never/></prefs></iq>`,
      )
      const got = await other.ask(`<iq type='get' id='p${++ids}'><prefs xmlns='${MAM}'/></iq>`)
      expect(got.getChild('prefs')?.attrs['default']).toBe(policy)
      const said = [
        say(romeo, chamber.jid),
        say(romeo, balcony.jid),
        say(chamber, NURSE),
        say(balcony, NURSE),
      ]
      await settle()
      if (policy === 'always') kept.push(...said)
    }
    expect((await archiveOf(balcony)).map(([, id]) => id).sort()).toEqual(kept.sort())
  }, 60_000)

  it('XEP-0191: a change of the list holds at all processes once it is answered, and is told at all', async () => {
    await start(3)
    const balcony = await enter(0, `${JULIET}/balcony`, 5)
    const chamber = await enter(1, `${JULIET}/chamber`)
    const romeo = [await enter(1, `${ROMEO}/orchard`), await enter(2, `${ROMEO}/street`)] as const
    const nurse = await enter(2, `${NURSE}/hall`)
    await known('juliet', 'balcony', 'chamber')
    await befriend(balcony, romeo[0])
    await befriend(balcony, nurse)
    const list = (stream: TestStream) =>
      stream.ask(`<iq type='get' id='b${++ids}'><blocklist xmlns='${BLOCKING}'/></iq>`)
    for (const stream of [balcony, chamber]) expect((await list(stream)).attrs.type).toBe('result')
    for (let round = 0; round < 4; round++) {
      const [changes, other] = round % 2 === 0 ? [balcony, chamber] : [chamber, balcony]
      await settle()
      for (const stream of streams) stream.received.splice(0)
      const change = (name: string) =>
        changes.ask(
          `<iq type='set' id='b${++ids}'><${name} xmlns='${BLOCKING}'><item jid='${ROMEO}'/></${name}></iq>`,
        )
      // What it sends all the time must not come behind its leaving.
      other.send('<presence><show>dnd</show></presence>'.repeat(20))
      await change('block')
      for (const stream of [balcony, chamber]) {
        expect((await stream.next(({ attrs }) => attrs.type === 'set')).getChild('block')).toBeDefined()
      }
      expect((await list(other)).getChild('blocklist')?.getChildElements()).toHaveLength(1)
      for (const stream of romeo) {
        for (const to of [JULIET, balcony.jid, chamber.jid]) {
          const id = say(stream, to)
          expect(conditionOf(await stream.withId(id))).toBe('service-unavailable')
        }
      }
      for (const stream of [balcony, chamber]) {
        const id = say(stream, romeo[1].jid)
        expect(conditionOf(await stream.withId(id))).toBe('not-acceptable')
        stream.send('<presence><show>away</show></presence>')
      }
      await settle()
      for (const stream of romeo) {
        for (const from of [balcony.jid, chamber.jid]) {
          const seen = stream.received.filter(({ name, attrs }) => name === 'presence' && attrs.from === from)
          expect(seen.at(-1)?.attrs.type, `${from} at ${stream.jid}`).toBe('unavailable')
        }
        expect(taken(stream)).toEqual([])
      }
      expect([...taken(balcony), ...taken(chamber)]).toEqual([])
      expect(nurse.received.filter(({ attrs }) => attrs.type === 'unavailable')).toEqual([])
      await change('unblock')
      const id = say(romeo[1], chamber.jid)
      await chamber.withId(id)
      for (const stream of [balcony, chamber]) {
        expect((await stream.next(({ attrs }) => attrs.type === 'set')).getChild('unblock')).toBeDefined()
        await stream.withId(say(romeo[0], stream.jid))
      }
      for (const stream of romeo) {
        for (const from of [balcony.jid, chamber.jid]) {
          await stream.next(({ attrs }) => attrs.from === from && attrs.type === undefined)
        }
      }
    }
  }, 60_000)

  it('XEP-0191: a process that was cut off forgets the lists that it knew', async () => {
    await start(2, 2)
    const romeo = await enter(1, `${ROMEO}/orchard`)
    const balcony = await enter(0, `${JULIET}/balcony`)
    // For an account that nobody holds, the sender's process knows its list.
    await balcony.close()
    say(romeo, JULIET)
    await romeo.settled()
    cut(servers[1]!)
    await expect.poll(() => servers[0]!.server.cluster!.members.size, { timeout: 15_000 }).toBe(1)
    const juliet = await enter(0, `${JULIET}/balcony`, undefined)
    const block = `<block xmlns='${BLOCKING}'><item jid='${ROMEO}'/></block>`
    expect((await juliet.ask(`<iq type='set' id='b'>${block}</iq>`)).attrs.type).toBe('result')
    await juliet.close()
    await connectAgain(servers[1]!)
    await romeo.closed()
    const again = await enter(1, `${ROMEO}/orchard`)
    const id = say(again, JULIET)
    expect(conditionOf(await again.withId(id))).toBe('service-unavailable')
  }, 60_000)

  /** From now on appending to an archive waits in `held`, while there is such a list, for users that are named. */
  const holdAppending = (name: string, ...users: string[]) => {
    const gate: { held: (() => void)[] | undefined; letGo(): void } = {
      held: undefined,
      letGo() {
        for (const go of this.held?.splice(0) ?? []) go()
        this.held = undefined
      },
    }
    const open = ChosenStorage.prototype.openArchive
    vi.spyOn(ChosenStorage.prototype, 'openArchive').mockImplementation(function <T>(
      this: ChosenStorage,
      host: string,
      store: string,
    ): ArchiveStore<T> {
      const real = open.call(this, host, store) as ArchiveStore<T>
      if (store !== name) return real
      const append: ArchiveStore<T>['append'] = async (...entry) => {
        if (gate.held !== undefined && users.includes(entry[0] ?? '')) {
          await new Promise<void>((resolve) => gate.held?.push(resolve))
        }
        return real.append(...entry)
      }
      return { ...real, append }
    })
    return gate
  }

  it('XEP-0198 §4: what another process has not written is not done yet, and IQs do not wait for it', async () => {
    const gate = holdAppending('archive', 'juliet')
    await start(2)
    const juliet = await enter(1, `${JULIET}/balcony`)
    const romeo = await enter(0, `${ROMEO}/orchard`)
    await known('juliet', 'balcony')
    const sender = servers[0]!.server.fullJids.get(romeo.jid)!
    for (const to of [JULIET, juliet.jid]) {
      gate.held = []
      const id = say(romeo, to)
      // It is delivered, and the archive of who has sent it has it.
      await juliet.withId(id)
      await romeo.settled()
      expect(sender.finished(false)).toBeUndefined()
      let isDone = false
      const done = sender.finished(true)?.then(() => {
        isDone = true
      })
      await romeo.settled()
      await servers[1]!.server.cluster!.calls.heard(5000)
      expect([isDone, gate.held.length]).toEqual([false, 1])
      gate.letGo()
      await done
      expect((await archiveOf(juliet)).at(-1)?.[1]).toBe(id)
      expect(sender.finished(true)).toBeUndefined()
    }
  }, 60_000)

  it('an IQ is not answered before what was sent ahead of it is in the archives', async () => {
    const gate = holdAppending('archive', 'juliet', 'romeo')
    await start(1)
    const romeo = await enter(0, `${ROMEO}/orchard`)
    const juliet = await enter(0, `${JULIET}/balcony`)
    await juliet.settled()
    gate.held = []
    const [first, second] = [say(romeo, JULIET), say(romeo, juliet.jid)]
    const answer = romeo.settled()
    // They are delivered meanwhile.
    await juliet.withId(first)
    await juliet.withId(second)
    expect(gate.held.length).toBe(4)
    let isAnswered = false
    answer.then(() => {
      isAnswered = true
    })
    for (let turn = 0; turn < 3; turn++) await juliet.settled()
    expect(isAnswered).toBe(false)
    gate.letGo()
    await answer
    expect((await archiveOf(romeo)).map(([, id]) => id).sort()).toEqual([first, second].sort())
  }, 60_000)

  it('XEP-0160: what is kept at one process while its recipient comes to another is given to it', async () => {
    const gate = holdAppending('offline', 'juliet')
    await start(3)
    const romeo = await enter(0, `${ROMEO}/orchard`)
    for (const [place, before] of [
      [1, false],
      [2, true],
    ] as const) {
      // Somebody is there who takes no messages: that process keeps them.
      const hidden = before ? await enter(1, `${JULIET}/hidden`, -1) : undefined
      if (before) await known('juliet', 'hidden')
      gate.held = []
      const id = say(romeo, JULIET)
      await expect.poll(() => gate.held?.length).toBe(1)
      const juliet = await enter(place, `${JULIET}/balcony`)
      await juliet.settled()
      expect(taken(juliet)).toEqual([])
      gate.letGo()
      expect((await juliet.withId(id)).getChild('delay', 'urn:xmpp:delay')).toBeDefined()
      await settle()
      expect(taken(juliet)).toEqual([])
      await juliet.close()
      await hidden?.close()
    }
    expect(taken(romeo)).toEqual([])
  }, 60_000)

  it('XEP-0160: each message comes once, whenever and wherever resources of its recipient come and go', async () => {
    await start(3)
    const writers = [await enter(0, `${ROMEO}/orchard`), await enter(1, `${NURSE}/hall`)]
    const sent: string[] = []
    const seen: string[] = []
    const write = () => {
      for (const writer of writers) for (let i = 0; i < 5; i++) sent.push(say(writer, JULIET))
    }
    for (let round = 0; round < 15; round++) {
      write()
      // Two at the same moment, at two processes.
      const places = [round % 3, (round + 1) % 3]
      const coming = Promise.all(
        places.map((place, priority) => enter(place, `${JULIET}/r${place}`, priority)),
      )
      write()
      const juliets = await coming
      write()
      for (const juliet of juliets) {
        juliet.send(`<presence type='unavailable'/>`)
        await juliet.settled()
      }
      await settle()
      for (const juliet of juliets) {
        await juliet.close()
        seen.push(...taken(juliet))
      }
      streams = streams.filter((stream) => !juliets.includes(stream))
    }
    const last = await enter(2, `${JULIET}/last`)
    await settle()
    seen.push(...taken(last))
    expect(seen.sort()).toEqual([...sent].sort())
    expect(writers.map(taken)).toEqual([[], []])
  }, 120_000)

  it('XEP-0012: an account is there if it is at another process, and its end is known when that has died', async () => {
    await start(3, 2)
    const juliet = await enter(1, `${JULIET}/balcony`)
    const romeo = await enter(0, `${ROMEO}/orchard`)
    await befriend(juliet, romeo)
    const seen = async () => {
      const answer = await romeo.ask(
        `<iq type='get' id='l${++ids}' to='${JULIET}'><query xmlns='${LAST}'/></iq>`,
      )
      const query = answer.getChild('query')
      return conditionOf(answer) ?? (query?.getText() || (query?.attrs['seconds'] === '0' ? 'now' : 'before'))
    }
    expect(await seen()).toBe('now')
    juliet.send(`<presence type='unavailable'><status>bye</status></presence>`)
    await romeo.next(({ attrs }) => attrs.from === juliet.jid && attrs.type === 'unavailable')
    await expect.poll(seen).toBe('bye')
    juliet.send('<presence/>')
    await romeo.next(({ attrs }) => attrs.from === juliet.jid && attrs.type === undefined)
    cut(servers[1]!)
    await romeo.next(({ attrs }) => attrs.from === juliet.jid && attrs.type === 'unavailable')
    await expect.poll(seen).toMatch(/^(now|before)$/)
  }, 60_000)

  it('XEP-0054, XEP-0049: what is stored at one process is read at another as soon as it is answered', async () => {
    await start(2)
    const balcony = await enter(0, `${JULIET}/balcony`)
    const chamber = await enter(1, `${JULIET}/chamber`)
    const romeo = await enter(1, `${ROMEO}/orchard`)
    for (let round = 0; round < 10; round++) {
      const [writes, reads] = round % 2 === 0 ? [balcony, chamber] : [chamber, balcony]
      const card = `<vCard xmlns='vcard-temp'><FN>Juliet ${round}</FN></vCard>`
      await writes.ask(`<iq type='set' id='v${++ids}'>${card}</iq>`)
      for (const [stream, to] of [
        [reads, ''],
        [romeo, ` to='${JULIET}'`],
      ] as const) {
        const answer = await stream.ask(`<iq type='get' id='v${++ids}'${to}><vCard xmlns='vcard-temp'/></iq>`)
        expect(answer.getChild('vCard')?.getChildText('FN')).toBe(`Juliet ${round}`)
      }
      const own = `<query xmlns='jabber:iq:private'><a xmlns='urn:x'>${round}</a><b${round} xmlns='urn:x'>b</b${round}></query>`
      await writes.ask(`<iq type='set' id='v${++ids}'>${own}</iq>`)
      const stored = await reads.ask(
        `<iq type='get' id='v${++ids}'><query xmlns='jabber:iq:private'><a xmlns='urn:x'/></query></iq>`,
      )
      expect(stored.getChild('query')?.getChildText('a')).toBe(`${round}`)
    }
  }, 60_000)
})
