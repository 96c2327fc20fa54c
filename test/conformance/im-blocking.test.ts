/** Blocking over real sockets (XEP-0191). */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { ChosenStorage } from '../../server/storage/chosen.ts'
import { type KeyvalStore, StorageError } from '../../server/storage/index.ts'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { ALL_STORAGES, describeStoredIn } from '../shared/server-storages.ts'

const HOST = 'capulet.lit'
const OTHER = 'montague.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${OTHER}`
const BLOCKING = 'urn:xmpp:blocking'

let server: TestServer
const streams: TestStream[] = []
let ids = 0

beforeEach(async () => {
  server = await startServer(
    {
      modules_enabled: [...USUAL_PLUGINS, 'blocklist', 'offline'],
      blocklist_max_items: 3,
      virtualHosts: { [HOST]: {}, [OTHER]: {} },
    },
    [JULIET, ROMEO],
  )
})

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
})

async function connect(jid: string, presence = true): Promise<TestStream> {
  const stream = await login(server.c2sPort, jid, { presence })
  streams.push(stream)
  return stream
}

const items = (...jids: string[]) => jids.map((jid) => `<item jid='${jid}'/>`).join('')

function change(stream: TestStream, name: 'block' | 'unblock', ...jids: string[]): Promise<Element> {
  return stream.ask(
    `<iq type='set' id='b${++ids}'><${name} xmlns='${BLOCKING}'>${items(...jids)}</${name}></iq>`,
  )
}

async function listOf(stream: TestStream): Promise<string[]> {
  const answer = await stream.ask(`<iq type='get' id='b${++ids}'><blocklist xmlns='${BLOCKING}'/></iq>`)
  return answer
    .getChild('blocklist', BLOCKING)!
    .getChildren('item')
    .map(({ attrs }) => attrs.jid as string)
}

const conditionOf = (answer: Element) => answer.getChild('error')?.getChildElements()[0]?.getName()

async function settle(...all: TestStream[]): Promise<void> {
  for (let turn = 0; turn < 2; turn++) for (const stream of all) await stream.settled()
}

/** Romeo and Juliet see each other. */
async function couple(): Promise<{ juliet: TestStream; romeo: TestStream }> {
  const juliet = await connect(`${JULIET}/balcony`)
  const romeo = await connect(`${ROMEO}/orchard`)
  for (const [one, other] of [
    [juliet, romeo],
    [romeo, juliet],
  ] as const) {
    one.send(`<presence type='subscribe' to='${other.jid.split('/')[0]}'/>`)
    await other.next(({ attrs }) => attrs.type === 'subscribe')
    other.send(`<presence type='subscribed' to='${one.jid.split('/')[0]}'/>`)
    await one.next(({ attrs }) => attrs.type === 'subscribed')
  }
  await settle(juliet, romeo)
  juliet.received.length = 0
  romeo.received.length = 0
  return { juliet, romeo }
}

describeStoredIn(ALL_STORAGES, 'the list', () => {
  it('§3.1 to §3.4: is changed, told, and kept', async () => {
    const juliet = await connect(`${JULIET}/balcony`)
    const chamber = await connect(`${JULIET}/chamber`)
    expect(await listOf(juliet)).toEqual([])
    expect((await change(juliet, 'block', ROMEO, 'Tybalt@Capulet.lit/x')).attrs.type).toBe('result')
    const push = await juliet.next(({ attrs }) => attrs.type === 'set')
    expect(
      push
        .getChild('block', BLOCKING)!
        .getChildren('item')
        .map(({ attrs }) => attrs.jid),
    ).toEqual([ROMEO, 'tybalt@capulet.lit/x'])
    expect(await listOf(chamber)).toEqual([ROMEO, 'tybalt@capulet.lit/x'])
    await change(chamber, 'unblock', ROMEO)
    expect((await juliet.next(({ attrs }) => attrs.type === 'set')).getChild('unblock')).toBeDefined()
    await change(chamber, 'unblock')
    expect(await listOf(chamber)).toEqual([])
    await chamber.settled()
    // The first change came before it had asked for the list.
    const told = chamber.received.filter(({ attrs }) => attrs.type === 'set')
    expect(told.map((iq) => iq.getChildElements()[0]!.getChildren('item').length)).toEqual([1, 0])
  })

  it('refuses nobody, no address, the account itself, and too many', async () => {
    const juliet = await connect(`${JULIET}/balcony`)
    expect(conditionOf(await change(juliet, 'block'))).toBe('bad-request')
    expect(conditionOf(await change(juliet, 'block', ROMEO, '@'))).toBe('jid-malformed')
    expect(conditionOf(await change(juliet, 'block', `${JULIET}/x`))).toBe('not-acceptable')
    expect(conditionOf(await change(juliet, 'block', 'a@x', 'b@x', 'c@x', 'd@x'))).toBe('resource-constraint')
    expect(await listOf(juliet)).toEqual([])
    const info = await juliet.ask(
      `<iq type='get' id='d${++ids}' to='${HOST}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>`,
    )
    expect(info.toString()).toContain(BLOCKING)
  })

  it('refuses addresses that are too long together, since a list is written as a whole', async () => {
    const juliet = await connect(`${JULIET}/balcony`)
    const long = (letter: string) => `${letter.repeat(100)}@${OTHER}/${'r'.repeat(150)}`
    expect((await change(juliet, 'block', long('a'))).attrs.type).toBe('result')
    expect(conditionOf(await change(juliet, 'block', long('b')))).toBe('resource-constraint')
    expect((await change(juliet, 'block', ROMEO)).attrs.type).toBe('result')
    expect(await listOf(juliet)).toEqual([long('a'), ROMEO])
  })
})

describeStoredIn(ALL_STORAGES, 'who is blocked', () => {
  it('§3.6: reaches the account no more than one that there is not', async () => {
    const { juliet, romeo } = await couple()
    await change(juliet, 'block', ROMEO)
    romeo.send(`<message id='m1' type='chat' to='${JULIET}'><body>x</body></message>`)
    expect(conditionOf(await romeo.withId('m1'))).toBe('service-unavailable')
    romeo.send(`<message id='m2' to='${juliet.jid}'><body>x</body></message>`)
    expect(conditionOf(await romeo.withId('m2'))).toBe('service-unavailable')
    romeo.send(`<message id='m3' type='headline' to='${JULIET}'><body>x</body></message>`)
    for (const to of [JULIET, juliet.jid]) {
      const answer = await romeo.ask(
        `<iq type='get' id='q${++ids}' to='${to}'><ping xmlns='urn:xmpp:ping'/></iq>`,
      )
      expect(conditionOf(answer)).toBe('service-unavailable')
    }
    juliet.received.length = 0
    romeo.received.length = 0
    romeo.send('<presence><show>away</show></presence>')
    romeo.send(`<presence to='${juliet.jid}'/>`)
    juliet.send('<presence><show>dnd</show></presence>')
    await settle(romeo, juliet)
    const from = (stream: TestStream) => stream.received.map(({ attrs }) => attrs.from?.split('/')[0])
    expect(from(juliet)).not.toContain(ROMEO)
    expect(from(romeo)).not.toContain(JULIET)
  })

  it('§3.6: also while nobody is there for the account', async () => {
    const juliet = await connect(`${JULIET}/balcony`)
    const romeo = await connect(`${ROMEO}/orchard`)
    await change(juliet, 'block', OTHER)
    await juliet.close()
    romeo.send(`<message id='m1' type='chat' to='${JULIET}'><body>x</body></message>`)
    expect(conditionOf(await romeo.withId('m1'))).toBe('service-unavailable')
    const again = await connect(`${JULIET}/balcony`)
    await settle(romeo, again)
    expect(again.received.filter(({ name }) => name === 'message')).toEqual([])
  })

  it('§3.5: can not be written to', async () => {
    const { juliet, romeo } = await couple()
    await change(juliet, 'block', `${ROMEO}/orchard`)
    juliet.send(`<message id='m1' type='chat' to='${romeo.jid}'><body>x</body></message>`)
    const error = await juliet.withId('m1')
    expect(conditionOf(error)).toBe('not-acceptable')
    expect(error.getChild('error')!.getChild('blocked', `${BLOCKING}:errors`)).toBeDefined()
    const answer = await juliet.ask(
      `<iq type='get' id='q${++ids}' to='${romeo.jid}'><ping xmlns='urn:xmpp:ping'/></iq>`,
    )
    expect(conditionOf(answer)).toBe('not-acceptable')
    // Only that resource is blocked.
    juliet.send(`<message id='m2' type='chat' to='${ROMEO}'><body>x</body></message>`)
    expect((await romeo.withId('m2')).attrs.type).toBe('chat')
  })

  it('§3.3, §3.4: sees the account leave, and come back when it is not blocked any more', async () => {
    const { juliet, romeo } = await couple()
    await change(juliet, 'block', ROMEO)
    expect((await romeo.named('presence')).attrs).toMatchObject({ type: 'unavailable', from: juliet.jid })
    await change(juliet, 'unblock', ROMEO)
    const presence = await romeo.named('presence')
    expect([presence.attrs.from, presence.attrs.type]).toEqual([juliet.jid, undefined])
    romeo.send(`<message id='m1' type='chat' to='${JULIET}'><body>x</body></message>`)
    expect((await juliet.withId('m1')).attrs.type).toBe('chat')
  })

  it('§3.3: sees the account leave, too, if it was sent presence without being a contact, and no more later', async () => {
    const juliet = await connect(`${JULIET}/balcony`)
    const romeo = await connect(`${ROMEO}/orchard`)
    juliet.send(`<presence to='${romeo.jid}'/>`)
    await romeo.next(({ attrs }) => attrs.from === juliet.jid)
    await change(juliet, 'block', ROMEO)
    await settle(juliet, romeo)
    const presence = () => romeo.received.filter(({ attrs }) => attrs.from === juliet.jid)
    expect(presence().map(({ attrs }) => attrs.type)).toEqual(['unavailable'])
    await juliet.close()
    await settle(romeo)
    expect(presence()).toHaveLength(1)
  })

  it('§3.6: what it has asked for before is not told again until it is not blocked any more', async () => {
    const juliet = await connect(`${JULIET}/balcony`)
    const romeo = await connect(`${ROMEO}/orchard`)
    romeo.send(`<presence type='subscribe' to='${JULIET}'/>`)
    await juliet.next(({ attrs }) => attrs.type === 'subscribe')
    await change(juliet, 'block', ROMEO)
    const asked = async (resource: string) => {
      const stream = await connect(`${JULIET}/${resource}`)
      await settle(stream)
      return stream.received.filter(({ attrs }) => attrs.type === 'subscribe').map(({ attrs }) => attrs.from)
    }
    expect(await asked('chamber')).toEqual([])
    await change(juliet, 'unblock', ROMEO)
    expect(await asked('garden')).toEqual([ROMEO])
  })

  it('is told nothing, however many others are written to meanwhile', async () => {
    const { juliet, romeo } = await couple()
    await change(juliet, 'block', ROMEO)
    await settle(juliet, romeo)
    let many = ''
    for (let i = 0; i < 10_100; i++) many += `<presence type='unavailable' to='u${i}@${HOST}'/>`
    romeo.send(many)
    await settle(romeo)
    romeo.received.length = 0
    juliet.send('<presence><show>dnd</show></presence>')
    await settle(juliet, romeo)
    await juliet.close()
    await settle(romeo)
    expect(romeo.received.filter(({ name }) => name === 'presence')).toEqual([])
  })

  it('is told nothing if the list could not be read when the session was bound', async () => {
    const { juliet, romeo } = await couple()
    await change(juliet, 'block', ROMEO)
    await juliet.close()
    await server.server.modules.unload(server.server.hosts.get(HOST)!, 'blocklist')
    const open = ChosenStorage.prototype.openKeyval
    let away = true
    const opening = vi.spyOn(ChosenStorage.prototype, 'openKeyval').mockImplementation(function <T>(
      this: ChosenStorage,
      ...names: [string, string]
    ): KeyvalStore<T> {
      const store = open.call(this, ...names) as KeyvalStore<T>
      const get = (user: string | null) =>
        away ? Promise.reject(new StorageError('unavailable', 'Redis is away')) : store.get(user)
      return { ...store, get }
    })
    await server.server.modules.load(server.server.hosts.get(HOST)!, 'blocklist')
    opening.mockRestore()
    const chamber = await connect(`${JULIET}/chamber`, false)
    romeo.received.length = 0
    chamber.send('<presence/>')
    expect((await chamber.named('presence')).getChild('error')?.attrs['type']).toBe('wait')
    away = false
    chamber.send('<presence/>')
    await settle(chamber, romeo)
    expect(server.server.fullJids.get(chamber.jid)!.available).toBe(true)
    expect(romeo.received.filter(({ name }) => name === 'presence')).toEqual([])
  })

  it('is not told of a session that comes or goes', async () => {
    const { juliet, romeo } = await couple()
    await change(juliet, 'block', ROMEO)
    await settle(juliet, romeo)
    romeo.received.length = 0
    const chamber = await connect(`${JULIET}/chamber`)
    await chamber.close()
    await settle(juliet, romeo)
    expect(romeo.received.filter(({ name }) => name === 'presence')).toEqual([])
  })

  it.each([
    ['full', `${ROMEO}/orchard`, true],
    ['another resource', `${ROMEO}/garden`, false],
    ['bare', ROMEO, true],
    ['domain', OTHER, true],
    ['domain with resource', `${OTHER}/orchard`, true],
    ['another domain', 'example.org', false],
  ])('§3: addresses match as they are: %s', async (_, jid, blocked) => {
    const juliet = await connect(`${JULIET}/balcony`)
    const romeo = await connect(`${ROMEO}/orchard`)
    await change(juliet, 'block', jid)
    romeo.send(`<message id='m1' type='chat' to='${JULIET}'><body>x</body></message>`)
    await settle(romeo, juliet)
    expect(juliet.received.some(({ attrs }) => attrs.id === 'm1')).toBe(!blocked)
  })
})
