/** Message archives over real sockets (XEP-0313, XEP-0059, XEP-0359). */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { KeptStanza, ServerOptions } from '../../server/index.ts'
import { ChosenStorage } from '../../server/storage/chosen.ts'
import { type ArchiveStore, StorageError } from '../../server/storage/index.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { ALL_STORAGES, describeStoredIn } from '../shared/server-storages.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`
const NURSE = `nurse@${HOST}`
const MAM = 'urn:xmpp:mam:2'
const RSM = 'http://jabber.org/protocol/rsm'
const SID = 'urn:xmpp:sid:0'

let server: TestServer
let juliet: TestStream
let romeo: TestStream
const streams: TestStream[] = []
let ids = 0

beforeEach(() => start({ modules_enabled: [...USUAL_PLUGINS, 'mam', 'carbons', 'offline'] }))

afterEach(stop)

async function start(options: ServerOptions): Promise<void> {
  server = await startServer({ ...options, max_archive_query_results: 10, virtualHosts: { [HOST]: {} } }, [
    JULIET,
    ROMEO,
    NURSE,
  ])
  juliet = await connect(`${JULIET}/balcony`)
  romeo = await connect(`${ROMEO}/orchard`)
}

async function stop(): Promise<void> {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
}

async function connect(jid: string): Promise<TestStream> {
  const stream = await login(server.c2sPort, jid)
  streams.push(stream)
  return stream
}

async function say(from: TestStream, to: string, id: string, content = `<body>${id}</body>`, type = 'chat') {
  from.send(`<message id='${id}' to='${to}' type='${type}'>${content}</message>`)
  await from.settled()
}

const field = (name: string, ...values: string[]) =>
  `<field var='${name}'>${values.map((value) => `<value>${value}</value>`).join('')}</field>`

interface Answer {
  iq: Element
  /** The results, in the order in which they came. */
  results: Element[]
  /** Ids of their messages. */
  messages: string[]
  /** Ids in the archive. */
  ids: string[]
  complete: boolean
  fin: Element | undefined
}

async function query(stream: TestStream, form = '', set = '', more = ''): Promise<Answer> {
  await stream.settled()
  stream.received.length = 0
  const x =
    form === ''
      ? ''
      : `<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>${MAM}</value></field>${form}</x>`
  const rsm = set === '' ? '' : `<set xmlns='${RSM}'>${set}</set>`
  const iq = await stream.ask(
    `<iq type='set' id='q${++ids}'><query xmlns='${MAM}' queryid='f${ids}'>${x}${rsm}${more}</query></iq>`,
  )
  const results = stream.received
    .filter(({ name }) => name === 'message')
    .map((message) => {
      expect(message.attrs.from).toBe(stream.jid.split('/')[0])
      const result = message.getChild('result', MAM)!
      expect(result.attrs['queryid']).toBe(`f${ids}`)
      return result
    })
  const fin = iq.getChild('fin', MAM)
  return {
    iq,
    results,
    messages: results.map((result) => messageOf(result).attrs.id as string),
    ids: results.map(({ attrs }) => attrs.id as string),
    complete: fin?.attrs['complete'] === 'true',
    fin,
  }
}

const messageOf = (result: Element) =>
  result.getChild('forwarded', 'urn:xmpp:forward:0')!.getChild('message')!
const conditionOf = (iq: Element) => iq.getChild('error')?.getChildElements()[0]?.getName()
const stanzaIdOf = (message: Element) =>
  message.getChildren('stanza-id', SID).map(({ attrs }) => [attrs['by'], attrs.id])

describeStoredIn(ALL_STORAGES, 'archiving', () => {
  it('§5.1: both sides have what was said, with the time when it was', async () => {
    const before = Date.now()
    await say(romeo, JULIET, 'm1', '<body>&lt;3</body>')
    await say(juliet, romeo.jid, 'm2')
    for (const stream of [juliet, romeo]) {
      const { results, messages, complete } = await query(stream)
      expect(messages).toEqual(['m1', 'm2'])
      expect(complete).toBe(true)
      const first = messageOf(results[0]!)
      expect([first.attrs.from, first.attrs.to, first.getChildText('body')]).toEqual([
        romeo.jid,
        JULIET,
        '<3',
      ])
      expect(first.getNS()).toBe('jabber:client')
      const stamp = results[0]!.getChild('forwarded')!.getChild('delay', 'urn:xmpp:delay')!.attrs[
        'stamp'
      ] as string
      expect(Date.parse(stamp)).toBeGreaterThanOrEqual(before)
      expect(Date.parse(stamp)).toBeLessThanOrEqual(Date.now())
    }
  })

  it('XEP-0359 §3: a message comes with the id that it has in the archive, and no forged one', async () => {
    const forged = `<stanza-id xmlns='${SID}' by='${JULIET}' id='forged'/><stanza-id xmlns='${SID}' by='x.org' id='theirs'/>`
    await say(romeo, juliet.jid, 'm1', `<body>x</body>${forged}`)
    const message = await juliet.withId('m1')
    const { ids: found } = await query(juliet)
    expect(stanzaIdOf(message)).toEqual([
      ['x.org', 'theirs'],
      [JULIET, found[0]],
    ])
    // Copies have it, too.
    const chamber = await connect(`${JULIET}/chamber`)
    await chamber.ask(`<iq type='set' id='c${++ids}'><enable xmlns='urn:xmpp:carbons:2'/></iq>`)
    await say(romeo, juliet.jid, 'm2')
    const copy = await chamber.next(({ name }) => name === 'message')
    const inner = copy.getChild('received')!.getChild('forwarded')!.getChild('message')!
    expect(stanzaIdOf(inner)).toEqual([[JULIET, (await query(juliet)).ids[1]]])
  })

  it('XEP-0359 §5: an address is the same however it is written', async () => {
    const forged = ['JULIET@Capulet.lit', `juliet@${HOST}.`, `Juliet@${HOST}/x`]
      .map((by) => `<stanza-id xmlns='${SID}' by='${by}' id='forged'/>`)
      .join('')
    await say(romeo, juliet.jid, 'm1', `<body>x</body>${forged}`)
    const message = await juliet.withId('m1')
    const { ids: found } = await query(juliet)
    expect(stanzaIdOf(message)).toEqual([
      [`Juliet@${HOST}/x`, 'forged'],
      [JULIET, found[0]],
    ])
  })

  it('§5.1.3: what is no conversation, or not to be kept, is not archived', async () => {
    await say(romeo, JULIET, 'headline', '<body>x</body>', 'headline')
    await say(romeo, juliet.jid, 'groupchat', '<body>x</body>', 'groupchat')
    await say(romeo, JULIET, 'state', `<composing xmlns='http://jabber.org/protocol/chatstates'/>`)
    await say(romeo, JULIET, 'hint', `<body>x</body><no-store xmlns='urn:xmpp:hints'/>`)
    await say(romeo, JULIET, 'receipt', `<received xmlns='urn:xmpp:receipts' id='m'/>`)
    await say(romeo, JULIET, 'wanted', `<x xmlns='urn:x'/><store xmlns='urn:xmpp:hints'/>`)
    for (const stream of [juliet, romeo])
      expect((await query(stream)).messages).toEqual(['receipt', 'wanted'])
  })

  it('of those who are not there, too; once of what one writes to oneself; and nothing for nobody', async () => {
    await say(romeo, NURSE, 'm1')
    await say(romeo, `nobody@${HOST}`, 'm2')
    const nurse = await connect(`${NURSE}/kitchen`)
    expect((await query(nurse)).messages).toEqual(['m1'])
    await say(nurse, NURSE, 'note')
    expect((await query(nurse)).messages).toEqual(['m1', 'note'])
  })
})

describeStoredIn(ALL_STORAGES, 'archive_expires_after', () => {
  it('what is older is removed, of every account, and nothing else', async () => {
    await stop()
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    try {
      const modules_enabled = [...USUAL_PLUGINS, 'mam']
      await start({ modules_enabled, archive_expires_after: 86_400, archive_cleanup_interval: 10 })
      await say(romeo, JULIET, 'new')
      const archive = server.server.storage.openArchive<KeptStanza>(HOST, 'archive')
      const [entry] = (await archive.find('juliet', {}, 1)).entries
      const old = Date.now() - 2 * 86_400_000
      // More than are removed at once.
      await Promise.all(
        Array.from({ length: 1100 }, (_, i) =>
          archive.append('juliet', entry!.value, old + i, `${i % 3}@b.lit`),
        ),
      )
      await archive.append('nurse', entry!.value, old, ROMEO)
      vi.advanceTimersByTime(11_000)
      await expect.poll(() => archive.count('juliet', {})).toBe(1)
      await expect.poll(() => archive.count('nurse', {})).toBe(0)
      expect(await archive.count('juliet', { with: '1@b.lit' })).toBe(0)
      expect((await query(juliet)).messages).toEqual(['new'])
      const users: string[] = []
      for await (const user of archive.users()) users.push(user)
      expect(users.sort()).toEqual(['juliet', 'romeo'])
    } finally {
      vi.useRealTimers()
    }
  })

  it('it is looked for soon after the start: a server that is restarted daily never gets to a day', async () => {
    await stop()
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    try {
      await start({ modules_enabled: [...USUAL_PLUGINS, 'mam'], archive_expires_after: 86_400 })
      await say(romeo, JULIET, 'new')
      const archive = server.server.storage.openArchive<KeptStanza>(HOST, 'archive')
      const [entry] = (await archive.find('juliet', {}, 1)).entries
      await archive.append('juliet', entry!.value, Date.now() - 2 * 86_400_000, ROMEO)
      vi.advanceTimersByTime(62_000)
      await expect.poll(() => archive.count('juliet', {})).toBe(1)
      expect((await query(juliet)).messages).toEqual(['new'])
    } finally {
      vi.useRealTimers()
    }
  })

  it('an archive that can not be read keeps no other one from being looked at', async () => {
    await stop()
    const open = ChosenStorage.prototype.openArchive
    const opening = vi.spyOn(ChosenStorage.prototype, 'openArchive').mockImplementation(function <T>(
      this: ChosenStorage,
      ...names: [string, string]
    ): ArchiveStore<T> {
      const archive = open.call(this, ...names) as ArchiveStore<T>
      const unreadable = Promise.reject(new StorageError('unavailable', 'Redis did not answer in time'))
      unreadable.catch(() => {})
      return {
        ...archive,
        delete: (username, range) => (username === 'juliet' ? unreadable : archive.delete(username, range)),
      }
    })
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    try {
      const modules_enabled = [...USUAL_PLUGINS, 'mam']
      await start({ modules_enabled, archive_expires_after: 86_400, archive_cleanup_interval: 10 })
      opening.mockRestore()
      const archive = server.server.storage.openArchive<KeptStanza>(HOST, 'archive')
      const value = { name: 'message', attrs: { from: ROMEO }, inner: '<body>x</body>' }
      const old = Date.now() - 2 * 86_400_000
      // In whatever order they are looked at.
      for (const user of ['benvolio', 'juliet', 'nurse']) await archive.append(user, value, old, ROMEO)
      vi.advanceTimersByTime(11_000)
      await expect.poll(() => archive.count('benvolio', {})).toBe(0)
      await expect.poll(() => archive.count('nurse', {})).toBe(0)
      expect(await server.logged('still in some archives')).toContain('did not answer in time')
      expect(await archive.count('juliet', {})).toBe(1)
    } finally {
      vi.useRealTimers()
    }
  })
})

describeStoredIn(ALL_STORAGES, 'queries', () => {
  /** Ten messages with each of two; their ids in the archive. */
  async function filled(): Promise<string[]> {
    for (let i = 0; i < 20; i++) {
      romeo.send(
        `<message id='m${i}' to='${i % 2 === 0 ? JULIET : NURSE}' type='chat'><body>${i}</body></message>`,
      )
    }
    await romeo.settled()
    const first = await query(romeo)
    const second = await query(romeo, '', `<after>${first.ids.at(-1)}</after>`)
    return [...first.ids, ...second.ids]
  }

  const numbered = (...numbers: number[]) => numbers.map((number) => `m${number}`)
  const from = (first: number, count: number) =>
    numbered(...Array.from({ length: count }, (_, i) => first + i))

  it('§4.3, XEP-0059: pages forwards and backwards, and says when there is nothing more', async () => {
    const all = await filled()
    const first = await query(romeo)
    expect([first.messages, first.complete]).toEqual([from(0, 10), false])
    expect(first.fin!.getChild('set', RSM)!.getChildText('first')).toBe(all[0])
    expect(first.fin!.getChild('set', RSM)!.getChildText('last')).toBe(all[9])
    const next = await query(romeo, '', `<max>10</max><after>${all[9]}</after>`)
    expect([next.messages, next.complete]).toEqual([from(10, 10), true])
    const last = await query(romeo, '', '<max>3</max><before/>')
    expect([last.messages, last.complete]).toEqual([from(17, 3), false])
    const before = await query(romeo, '', `<max>100</max><before>${all[3]}</before>`)
    expect([before.messages, before.complete]).toEqual([from(0, 3), true])
    const flipped = await query(romeo, '', '<max>3</max><before/>', '<flip-page/>')
    expect(flipped.messages).toEqual(numbered(19, 18, 17))
    const counted = await query(romeo, '', '<max>0</max>')
    expect([counted.messages, counted.fin!.getChild('set', RSM)!.getChildText('count')]).toEqual([[], '20'])
  })

  it('§4.1: by partner, time and ids', async () => {
    const all = await filled()
    expect((await query(romeo, field('with', NURSE))).messages).toEqual(
      from(0, 20).filter((_, i) => i % 2 === 1),
    )
    expect((await query(romeo, field('with', `${NURSE}/kitchen`))).messages).toEqual([])
    expect((await query(juliet, field('with', romeo.jid))).messages).toHaveLength(10)
    expect((await query(juliet, field('with', `${ROMEO}/garden`))).messages).toEqual([])
    // Of a full JID there are pages, too, the last of which says so.
    const one = await query(juliet, field('with', romeo.jid), '<max>3</max>')
    expect([one.messages, one.complete]).toEqual([numbered(0, 2, 4), false])
    const rest = await query(juliet, field('with', romeo.jid), `<max>7</max><after>${one.ids[2]}</after>`)
    expect([rest.messages, rest.complete]).toEqual([numbered(6, 8, 10, 12, 14, 16, 18), true])
    const past = new Date(Date.now() - 3_600_000).toISOString()
    const future = new Date(Date.now() + 3_600_000).toISOString()
    expect((await query(romeo, field('end', past))).messages).toEqual([])
    expect((await query(romeo, field('start', future))).messages).toEqual([])
    expect((await query(romeo, field('start', past) + field('end', future))).messages).toHaveLength(10)
    expect((await query(romeo, field('after-id', all[3]!) + field('before-id', all[6]!))).messages).toEqual(
      from(4, 2),
    )
    expect((await query(romeo, field('ids', all[7]!, all[2]!))).messages).toEqual(numbered(2, 7))
  })

  it('who looks for one resource in a long archive holds up nobody else', async () => {
    const archive = server.server.storage.openArchive<unknown>(HOST, 'archive')
    const begin = Date.now() - 1_000_000
    const value = {
      name: 'message',
      attrs: { from: `${NURSE}/kitchen`, to: JULIET },
      inner: '<body>x</body>',
    }
    for (let i = 0; i < 3000; i++) await archive.append('juliet', value, begin + i, NURSE)
    const answered: string[] = []
    let other: Promise<unknown> | undefined
    const remove = server.server.hosts.get(HOST)!.events.add(
      `iq-set/self/${MAM}:query`,
      () => {
        other = romeo.settled().then(() => answered.push('ping'))
      },
      100,
    )
    const { complete, messages } = await query(juliet, field('with', `${NURSE}/cellar`), '<max>1</max>')
    answered.push('query')
    remove()
    await other
    expect(answered).toEqual(['ping', 'query'])
    expect([complete, messages]).toEqual([true, []])
    const page = await query(juliet, field('with', `${NURSE}/kitchen`), '<max>2</max><before/>')
    expect([page.complete, page.results.length]).toEqual([false, 2])
  })

  it('on behalf of an account only the messages themselves can not be had (XEP-0356)', async () => {
    await stop()
    const jid = `pubsub.${HOST}`
    server = await startServer(
      {
        modules_enabled: [...USUAL_PLUGINS, 'mam', 'privilege'],
        virtualHosts: { [HOST]: { privileged_entities: { [jid]: { iq: { [MAM]: 'both' } } } } },
        components: { [jid]: { component_secret: 'secret', modules_enabled: ['privilege'] } },
      },
      [JULIET, ROMEO],
    )
    romeo = await connect(`${ROMEO}/orchard`)
    await say(romeo, JULIET, 'm1')
    const component = await connectComponent(server.componentPort, jid)
    streams.push(component)
    const ask = async (type: string, payload: string) => {
      const inner = `<iq xmlns='jabber:client' type='${type}' to='${JULIET}' id='in'>${payload}</iq>`
      component.send(
        `<iq type='${type}' from='${jid}' to='${JULIET}' id='p${++ids}'><privileged_iq xmlns='urn:xmpp:privilege:2'>${inner}</privileged_iq></iq>`,
      )
      const answer = await component.withId(`p${ids}`)
      return answer.getChild('privilege')!.getChild('forwarded')!.getChild('iq')!
    }
    expect(conditionOf(await ask('set', `<query xmlns='${MAM}'/>`))).toBe('feature-not-implemented')
    const metadata = await ask('get', `<metadata xmlns='${MAM}'/>`)
    expect(metadata.getChild('metadata', MAM)!.getChild('start')).toBeDefined()
  })

  it('§4: refuses ids that there are not, and what is no query', async () => {
    const [id] = await filled()
    const unknown = 'f'.repeat(24)
    for (const set of [`<after>${unknown}</after>`, `<before>nothing</before>`]) {
      expect(conditionOf((await query(romeo, '', set)).iq)).toBe('item-not-found')
    }
    for (const form of [field('ids', id!, unknown), field('before-id', 'x'), field('after-id', unknown)]) {
      expect(conditionOf((await query(romeo, form)).iq)).toBe('item-not-found')
    }
    expect(conditionOf((await query(juliet, field('after-id', id!))).iq)).toBe('item-not-found')
    expect(conditionOf((await query(romeo, field('start', 'yesterday'))).iq)).toBe('bad-request')
    expect(conditionOf((await query(romeo, field('with', '@'))).iq)).toBe('jid-malformed')
    expect(conditionOf((await query(romeo, '', '<max>many</max>')).iq)).toBe('bad-request')
    const foreign = await romeo.ask(
      `<iq type='set' id='q${++ids}' to='${JULIET}'><query xmlns='${MAM}'/></iq>`,
    )
    expect(conditionOf(foreign)).toBe('service-unavailable')
  })

  it('§4.1.5, §6: the form, the ends of the archive, and the announcement', async () => {
    const form = await romeo.ask(`<iq type='get' id='q${++ids}'><query xmlns='${MAM}'/></iq>`)
    const vars = form
      .getChild('query')!
      .getChild('x')!
      .getChildren('field')
      .map(({ attrs }) => attrs['var'])
    expect(vars).toEqual(['FORM_TYPE', 'with', 'start', 'end', 'before-id', 'after-id', 'ids'])
    const ends = async () => {
      const answer = await romeo.ask(`<iq type='get' id='q${++ids}'><metadata xmlns='${MAM}'/></iq>`)
      return answer
        .getChild('metadata', MAM)!
        .getChildElements()
        .map(({ name, attrs }) => [name, attrs.id])
    }
    expect(await ends()).toEqual([])
    const all = await filled()
    expect(await ends()).toEqual([
      ['start', all[0]],
      ['end', all[19]],
    ])
    for (const to of [ROMEO, HOST]) {
      const info = await romeo.ask(
        `<iq type='get' id='q${++ids}' to='${to}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>`,
      )
      const features = info
        .getChild('query')!
        .getChildren('feature')
        .map(({ attrs }) => attrs['var'])
      for (const feature of [MAM, `${MAM}#extended`, SID]) expect(features).toContain(feature)
    }
  })
})

async function prefs(stream: TestStream, content?: string, policy = 'always'): Promise<Element> {
  return stream.ask(
    content === undefined
      ? `<iq type='get' id='p${++ids}'><prefs xmlns='${MAM}'/></iq>`
      : `<iq type='set' id='p${++ids}'><prefs xmlns='${MAM}' default='${policy}'>${content}</prefs></iq>`,
  )
}

function toWhoIsNotThere(options: {
  modules_enabled: readonly string[]
  offline_max_messages?: number
}): void {
  beforeEach(async () => {
    await stop()
    await start(options)
  })

  /** What has come of messages with these ids: `id: condition`. */
  const errors = () =>
    romeo.received
      .filter(({ attrs }) => attrs.type === 'error')
      .map((error) => `${error.attrs.id}: ${conditionOf(error)}`)

  it('what is in the archive has not failed, and what is not has', async () => {
    await say(romeo, NURSE, 'm1')
    await say(romeo, `${NURSE}/gone`, 'm2')
    await say(romeo, NURSE, 'm3', "<body>m3</body><no-store xmlns='urn:xmpp:hints'/>")
    await say(romeo, NURSE, 'm4', "<active xmlns='http://jabber.org/protocol/chatstates'/>")
    await say(romeo, `nobody@${HOST}`, 'm5')
    const expected = ['m3', 'm4', 'm5'].map((id) => `${id}: service-unavailable`)
    // What a mailbox would drop without a word it drops, too, if it is there and may keep nothing.
    if (options.modules_enabled.includes('offline')) expected.splice(0, 2)
    expect(errors()).toEqual(expected)
    const nurse = await connect(`${NURSE}/kitchen`)
    expect((await query(nurse)).messages).toEqual(['m1', 'm2'])
  })

  it('XEP-0359 §3: an id that the sender has made up counts for nothing', async () => {
    await prefs(juliet, '', 'never')
    await juliet.close()
    await say(romeo, JULIET, 'm1', `<body>m1</body><stanza-id xmlns='${SID}' by='${JULIET}' id='x'/>`)
    expect(errors()).toEqual(['m1: service-unavailable'])
  })

  it('what can not be written to the archive has failed', async () => {
    await stop()
    const open = ChosenStorage.prototype.openArchive
    const opening = vi.spyOn(ChosenStorage.prototype, 'openArchive').mockImplementation(function <T>(
      this: ChosenStorage,
      ...names: [string, string]
    ): ArchiveStore<T> {
      const append = () => Promise.reject(new Error('the disk is full'))
      return { ...(open.call(this, ...names) as ArchiveStore<T>), append }
    })
    await start(options)
    opening.mockRestore()
    await say(romeo, NURSE, 'm1')
    await expect.poll(errors).toEqual(['m1: service-unavailable'])
  })
}

for (const [what, options] of [
  ['without offline', { modules_enabled: [...USUAL_PLUGINS, 'mam'] }],
  [
    'where nothing may wait',
    { modules_enabled: [...USUAL_PLUGINS, 'mam', 'offline'], offline_max_messages: 0 },
  ],
] as const) {
  const title = `RFC 6121 §8.5.2.2.1: to who is not there, ${what}`
  describeStoredIn(ALL_STORAGES, title, () => toWhoIsNotThere(options))
}

describeStoredIn(ALL_STORAGES, 'preferences', () => {
  it('XEP-0441: say with whom messages are archived', async () => {
    expect((await prefs(juliet)).getChild('prefs')!.attrs['default']).toBe('always')
    const answer = await prefs(juliet, `<always><jid>${NURSE}</jid></always><never/>`, 'never')
    expect(answer.getChild('prefs')!.getChild('always')!.getChildText('jid')).toBe(NURSE)
    const nurse = await connect(`${NURSE}/kitchen`)
    await say(romeo, JULIET, 'm1')
    expect(stanzaIdOf(await juliet.withId('m1'))).toEqual([])
    await say(nurse, JULIET, 'm2')
    await say(juliet, ROMEO, 'm3')
    expect((await query(juliet)).messages).toEqual(['m2'])
    expect((await query(romeo)).messages).toEqual(['m1', 'm3'])
  })

  it('XEP-0441: with contacts only, also for who is not there', async () => {
    await prefs(juliet, '', 'roster')
    juliet.send(
      `<iq type='set' id='r${++ids}'><query xmlns='jabber:iq:roster'><item jid='${NURSE}'/></query></iq>`,
    )
    await juliet.settled()
    await juliet.close()
    const nurse = await connect(`${NURSE}/kitchen`)
    await say(romeo, JULIET, 'm1')
    await say(nurse, JULIET, 'm2')
    const again = await connect(`${JULIET}/balcony`)
    expect((await query(again)).messages).toEqual(['m2'])
  })

  it('refuses what is no preference', async () => {
    expect(conditionOf(await prefs(juliet, '', 'sometimes'))).toBe('bad-request')
    expect(conditionOf(await prefs(juliet, '<never><jid>@</jid></never>'))).toBe('jid-malformed')
  })
})
