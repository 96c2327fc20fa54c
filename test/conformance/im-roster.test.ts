/** Rosters over real sockets (RFC 6121 §2). */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { describeStored } from '../shared/server-storages.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`

let server: TestServer
const streams: TestStream[] = []

async function connect(jid: string, presence = false): Promise<TestStream> {
  const stream = await login(server.c2sPort, jid, { presence })
  streams.push(stream)
  return stream
}

let ids = 0

function set(stream: TestStream, item: string, to = ''): Promise<Element> {
  const address = to === '' ? '' : ` to='${to}'`
  return stream.ask(
    `<iq type='set' id='set${++ids}'${address}><query xmlns='jabber:iq:roster'>${item}</query></iq>`,
  )
}

async function get(stream: TestStream): Promise<Element[]> {
  const answer = await stream.ask(`<iq type='get' id='get${++ids}'><query xmlns='jabber:iq:roster'/></iq>`)
  return answer.getChild('query', 'jabber:iq:roster')!.getChildElements()
}

async function push(stream: TestStream): Promise<Element> {
  const iq = await stream.next((element) => element.is('iq') && element.attrs.type === 'set')
  return iq.getChild('query', 'jabber:iq:roster')!.getChild('item')!
}

function condition(answer: Element): string {
  expect(answer.attrs.type).toBe('error')
  return answer.getChild('error')!.getChildElements()[0]!.getName()
}

beforeEach(async () => {
  server = await startServer({ virtualHosts: { [HOST]: { roster_max_items: 5 } } }, [JULIET, ROMEO])
})

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
})

describeStored('roster get and set', (lasting) => {
  it('§2.1.3: a new account has an empty roster', async () => {
    expect(await get(await connect(JULIET))).toEqual([])
  })

  it('§2.3: an item is stored, pushed to interested resources only, and there at the next login', async () => {
    const [balcony, chamber, garden] = [
      await connect(`${JULIET}/balcony`),
      await connect(`${JULIET}/chamber`),
      await connect(`${JULIET}/garden`),
    ]
    await get(balcony)
    await get(chamber)
    const answer = await set(
      balcony,
      `<item jid='Romeo@Capulet.lit' name='R &amp; M' subscription='both' ask='subscribe'><group>Friends</group></item>`,
    )
    expect(answer.attrs.type).toBe('result')
    for (const stream of [balcony, chamber]) {
      const item = await push(stream)
      expect(item.attrs).toMatchObject({ jid: ROMEO, name: 'R & M', subscription: 'none' })
      expect(item.attrs.ask).toBeUndefined()
      expect(item.getChildText('group')).toBe('Friends')
    }
    await garden.settled()
    expect(garden.text).not.toContain('jabber:iq:roster')

    for (const stream of streams.splice(0)) await stream.close()
    const [item] = await get(await connect(JULIET))
    expect(item?.attrs).toMatchObject({ jid: ROMEO, name: 'R & M', subscription: 'none' })
    expect(item?.getChildText('group')).toBe('Friends')
  })

  it('§2.4: an item is replaced with its groups', async () => {
    const juliet = await connect(JULIET)
    await set(juliet, `<item jid='${ROMEO}' name='a'><group>1</group><group>2</group></item>`)
    await set(juliet, `<item jid='${ROMEO}'><group>3</group></item>`)
    const items = await get(juliet)
    expect(items).toHaveLength(1)
    expect(items[0]!.attrs.name).toBeUndefined()
    expect(items[0]!.getChildren('group').map((group) => group.text())).toEqual(['3'])
  })

  it('§2.5: an item is removed; one that is not there gives item-not-found', async () => {
    const juliet = await connect(JULIET)
    await get(juliet)
    await set(juliet, `<item jid='${ROMEO}'/>`)
    await push(juliet)
    expect((await set(juliet, `<item jid='${ROMEO}' subscription='remove'/>`)).attrs.type).toBe('result')
    expect((await push(juliet)).attrs).toMatchObject({ jid: ROMEO, subscription: 'remove' })
    expect(await get(juliet)).toEqual([])
    expect(condition(await set(juliet, `<item jid='${ROMEO}' subscription='remove'/>`))).toBe(
      'item-not-found',
    )
  })

  it.each([
    ['no item', '', 'bad-request'],
    ['two items', `<item jid='a@b.lit'/><item jid='c@b.lit'/>`, 'bad-request'],
    ['something else', `<thing jid='a@b.lit'/>`, 'bad-request'],
    ['an item of another namespace', `<item xmlns='urn:x' jid='a@b.lit'/>`, 'bad-request'],
    ['no jid', '<item/>', 'bad-request'],
    ['a malformed jid', `<item jid='@b.lit'/>`, 'bad-request'],
    ['a full jid', `<item jid='a@b.lit/c'/>`, 'bad-request'],
    ['a group twice', `<item jid='a@b.lit'><group>x</group><group>x</group></item>`, 'bad-request'],
    ['an empty group', `<item jid='a@b.lit'><group/></item>`, 'not-acceptable'],
    ['a long group', `<item jid='a@b.lit'><group>${'x'.repeat(1024)}</group></item>`, 'not-acceptable'],
    ['a long name', `<item jid='a@b.lit' name='${'x'.repeat(1024)}'/>`, 'not-acceptable'],
    ['oneself', `<item jid='${JULIET}'/>`, 'not-allowed'],
  ])('§2.3.3: %s is refused', async (_what, item, expected) => {
    const juliet = await connect(JULIET)
    expect(condition(await set(juliet, item))).toBe(expected)
    expect(await get(juliet)).toEqual([])
  })

  it('keys that mean something in JavaScript are contacts like others', async () => {
    const juliet = await connect(JULIET)
    await set(juliet, `<item jid='__proto__@b.lit' name='constructor'><group>__proto__</group></item>`)
    const [item] = await get(juliet)
    expect(item?.attrs).toMatchObject({ jid: '__proto__@b.lit', name: 'constructor' })
  })

  it('§2.3.3: nobody sets the roster of others, whether or not they exist', async () => {
    const romeo = await connect(ROMEO)
    const item = `<item jid='nurse@${HOST}'/>`
    expect(condition(await set(romeo, item, JULIET))).toBe('forbidden')
    expect(condition(await set(romeo, item, `nobody@${HOST}`))).toBe('forbidden')
    expect(await get(await connect(JULIET))).toEqual([])
  })

  it('others do not get the roster either', async () => {
    const romeo = await connect(ROMEO)
    const ask = (to: string) =>
      romeo.ask(`<iq type='get' id='x${++ids}' to='${to}'><query xmlns='jabber:iq:roster'/></iq>`)
    expect(condition(await ask(JULIET))).toBe('service-unavailable')
    expect(condition(await ask(`nobody@${HOST}`))).toBe('service-unavailable')
  })

  it('the roster has a limit', async () => {
    const juliet = await connect(JULIET)
    for (let i = 0; i < 5; i++)
      expect((await set(juliet, `<item jid='c${i}@b.lit'/>`)).attrs.type).toBe('result')
    expect(condition(await set(juliet, `<item jid='c5@b.lit'/>`))).toBe('resource-constraint')
    expect((await set(juliet, `<item jid='c4@b.lit' name='again'/>`)).attrs.type).toBe('result')
    expect(await get(juliet)).toHaveLength(5)
  })

  it('contacts and requests outlive a restart of the server', async () => {
    await server.stop()
    const folder = mkdtempSync(join(tmpdir(), 'legate-roster-'))
    try {
      const options = { virtualHosts: { [HOST]: {} }, ...lasting, data_path: folder }
      server = await startServer(options, [JULIET, ROMEO])
      const romeo = await connect(ROMEO, true)
      await set(romeo, `<item jid='${JULIET}' name='J'><group>é</group></item>`)
      romeo.send(`<presence type='subscribe' to='${JULIET}'><status>&amp;</status></presence>`)
      await romeo.next(({ attrs }) => attrs.type === 'unavailable' && attrs.from === JULIET)
      await romeo.settled()
      await server.stop()

      server = await startServer(options)
      const [item] = await get(await connect(ROMEO))
      expect(item?.attrs).toMatchObject({ jid: JULIET, name: 'J', subscription: 'none', ask: 'subscribe' })
      expect(item?.getChildText('group')).toBe('é')
      const juliet = await connect(JULIET, true)
      const request = await juliet.next(({ attrs }) => attrs.type === 'subscribe')
      expect(request.getChildText('status')).toBe('&')
    } finally {
      for (const stream of streams.splice(0)) await stream.destroy()
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('changes sent in one go are all made, in order', async () => {
    const juliet = await connect(JULIET)
    const one = (id: string, item: string) =>
      `<iq type='set' id='${id}'><query xmlns='jabber:iq:roster'>${item}</query></iq>`
    juliet.send(
      one('b1', `<item jid='a@b.lit' name='1'/>`) +
        one('b2', `<item jid='a@b.lit' name='2'/>`) +
        one('b3', `<item jid='c@b.lit'/>`) +
        one('b4', `<item jid='c@b.lit' subscription='remove'/>`),
    )
    await juliet.withId('b4')
    expect((await get(juliet)).map(({ attrs }) => [attrs.jid, attrs.name])).toEqual([['a@b.lit', '2']])
  })
})
