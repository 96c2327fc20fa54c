/** What accounts keep at the server: private XML (XEP-0049) and vCards (XEP-0054). */

import { afterEach, beforeEach, expect, it } from 'vitest'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { ALL_STORAGES, describeStoredIn } from '../shared/server-storages.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`
const PRIVATE = 'jabber:iq:private'

let server: TestServer
let juliet: TestStream
let romeo: TestStream
let ids = 0

beforeEach(async () => {
  const modules_enabled = [...USUAL_PLUGINS, 'private', 'vcard']
  server = await startServer({ modules_enabled, private_max_elements: 3, virtualHosts: { [HOST]: {} } }, [
    JULIET,
    ROMEO,
  ])
  juliet = await login(server.c2sPort, `${JULIET}/balcony`)
  romeo = await login(server.c2sPort, `${ROMEO}/orchard`)
})

afterEach(async () => {
  for (const stream of [juliet, romeo]) await stream.destroy()
  await server.stop()
})

const iq = (stream: TestStream, type: string, content: string, to?: string) =>
  stream.ask(`<iq type='${type}' id='i${++ids}'${to === undefined ? '' : ` to='${to}'`}>${content}</iq>`)

function conditionOf(answer: Awaited<ReturnType<typeof iq>>): string | undefined {
  return answer.getChild('error')?.getChildElements()[0]?.getName()
}

describeStoredIn(ALL_STORAGES, 'private XML storage', () => {
  const query = (content: string) => `<query xmlns='${PRIVATE}'>${content}</query>`
  const stored = async (stream: TestStream, element: string) =>
    (await iq(stream, 'get', query(element))).getChild('query', PRIVATE)?.children.join('')

  it('is announced', async () => {
    const info = await iq(juliet, 'get', `<query xmlns='http://jabber.org/protocol/disco#info'/>`, HOST)
    const vars = info
      .getChild('query')
      ?.getChildren('feature')
      .map(({ attrs }) => attrs.var)
    expect(vars).toContain(PRIVATE)
    expect(vars).toContain('vcard-temp')
  })

  it('§2.2: gives an element back as it was set, or as it was asked for where there is none', async () => {
    const element = `<storage xmlns="storage:bookmarks"><conference jid="a@b" name="&lt;"/>text &amp; more</storage>`
    expect((await iq(juliet, 'set', query(element))).attrs.type).toBe('result')
    expect(await stored(juliet, `<storage xmlns='storage:bookmarks'/>`)).toBe(element)
    expect(await stored(juliet, `<other xmlns='storage:bookmarks'/>`)).toBe(
      '<other xmlns="storage:bookmarks"/>',
    )
    expect(await stored(romeo, `<storage xmlns='storage:bookmarks'/>`)).toBe(
      '<storage xmlns="storage:bookmarks"/>',
    )
  })

  it('an element keeps its namespaces, wherever they were declared', async () => {
    await iq(
      juliet,
      'set',
      `<query xmlns='${PRIVATE}' xmlns:p='urn:p'><p:a q='1'><p:b xmlns='urn:d'/></p:a></query>`,
    )
    const answer = await iq(juliet, 'get', query(`<a xmlns='urn:p'/>`))
    const a = answer.getChild('query')!.getChildElements()[0]!
    expect([a.getName(), a.getNS(), a.attrs['q']]).toEqual(['a', 'urn:p', '1'])
    expect(a.getChildElements()[0]!.getNS()).toBe('urn:p')
  })

  it('§2.3: several may be set at once, an empty one removes, and each is replaced as a whole', async () => {
    await iq(juliet, 'set', query(`<a xmlns='urn:1'>1</a><a xmlns='urn:2'>2</a>`))
    await iq(juliet, 'set', query(`<a xmlns='urn:1'>3</a><a xmlns='urn:2'/>`))
    expect(await stored(juliet, `<a xmlns='urn:1'/>`)).toBe('<a xmlns="urn:1">3</a>')
    expect(await stored(juliet, `<a xmlns='urn:2'/>`)).toBe('<a xmlns="urn:2"/>')
  })

  it('refuses queries without an element of its own namespace, and those for others', async () => {
    for (const content of ['', '<a/>', `<a xmlns=''/>`]) {
      expect(conditionOf(await iq(juliet, 'get', query(content)))).toBe('bad-request')
      expect(conditionOf(await iq(juliet, 'set', query(content)))).toBe('bad-request')
    }
    expect(conditionOf(await iq(juliet, 'get', query(`<a xmlns='urn:1'/><a xmlns='urn:2'/>`)))).toBe(
      'bad-request',
    )
    expect(conditionOf(await iq(romeo, 'get', query(`<a xmlns='urn:1'/>`), JULIET))).toBe(
      'service-unavailable',
    )
    expect(conditionOf(await iq(romeo, 'set', query(`<a xmlns='urn:1'>x</a>`), JULIET))).toBe(
      'service-unavailable',
    )
  })

  it('keeps no more than private_max_elements, and all of a set or nothing', async () => {
    await iq(juliet, 'set', query(`<a xmlns='urn:1'>1</a><a xmlns='urn:2'>1</a>`))
    const refused = await iq(juliet, 'set', query(`<a xmlns='urn:3'>1</a><a xmlns='urn:4'>1</a>`))
    expect(conditionOf(refused)).toBe('resource-constraint')
    expect(await stored(juliet, `<a xmlns='urn:3'/>`)).toBe('<a xmlns="urn:3"/>')
    const exchanged = query(
      `<a xmlns='urn:1'/><a xmlns='urn:2'>2</a><a xmlns='urn:3'>1</a><a xmlns='urn:4'>1</a>`,
    )
    expect((await iq(juliet, 'set', exchanged)).attrs.type).toBe('result')
  })

  it('keeps no more than can be read at each change; what is there can be made less', async () => {
    const half = (count: number) => query(`<a xmlns='urn:${count}'>${'x'.repeat(200_000)}</a>`)
    await server.server.storage
      .openMap<string>(HOST, 'private')
      .set('juliet', 'b:urn:b', `<b xmlns='urn:b'>${'x'.repeat(750_000)}</b>`)
    expect((await iq(juliet, 'set', half(1))).attrs.type).toBe('result')
    expect(conditionOf(await iq(juliet, 'set', half(2)))).toBe('resource-constraint')
    expect(await stored(juliet, `<a xmlns='urn:2'/>`)).toBe('<a xmlns="urn:2"/>')
    expect((await iq(juliet, 'set', query(`<a xmlns='urn:1'>1</a>`))).attrs.type).toBe('result')
    expect((await iq(juliet, 'set', half(2))).attrs.type).toBe('result')
  })
})

describeStoredIn(ALL_STORAGES, 'vCards', () => {
  const CARD = `<vCard xmlns="vcard-temp"><FN>Juliet &amp; Co</FN><N><FAMILY>Capulet</FAMILY></N></vCard>`
  const ask = `<vCard xmlns='vcard-temp'/>`

  it('§3.1, §3.2: an account sets its own, and everybody reads it, whether or not it is online', async () => {
    expect((await iq(juliet, 'set', CARD)).attrs.type).toBe('result')
    for (const [stream, to] of [
      [juliet, undefined],
      [juliet, JULIET],
      [romeo, JULIET],
    ] as const) {
      const answer = await iq(stream, 'get', ask, to)
      expect(answer.getChild('vCard')?.toString()).toBe(CARD)
    }
    await juliet.close()
    const answer = await iq(romeo, 'get', ask, JULIET)
    expect([answer.attrs.from, answer.getChild('vCard')?.getChildText('FN')]).toEqual([JULIET, 'Juliet & Co'])
  })

  it('§3.3: one that there is not looks like one of an account that there is not', async () => {
    for (const to of [undefined, JULIET, `nobody@${HOST}`]) {
      expect(conditionOf(await iq(romeo, 'get', ask, to))).toBe('item-not-found')
    }
    await iq(juliet, 'set', CARD)
    await iq(juliet, 'set', ask)
    expect(conditionOf(await iq(romeo, 'get', ask, JULIET))).toBe('item-not-found')
  })

  it('§3.2: nobody sets that of another, and clients answer for themselves', async () => {
    expect(conditionOf(await iq(romeo, 'set', CARD, JULIET))).toBe('forbidden')
    expect(conditionOf(await iq(romeo, 'get', ask, JULIET))).toBe('item-not-found')
    const asked = iq(romeo, 'get', ask, `${JULIET}/balcony`)
    const got = await juliet.named('iq')
    juliet.send(`<iq type='result' id='${got.attrs.id}' to='${got.attrs.from}'>${CARD}</iq>`)
    expect((await asked).getChild('vCard')?.toString()).toBe(CARD)
  })
})
