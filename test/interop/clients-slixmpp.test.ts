// What a person does with a client that is made of slixmpp and its plugins, each by its XEP.

import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { HARD_TO_SAY, HOST, type ImServer, startImServer } from '../shared/peers/im-server.ts'
import { slixmppAvailable } from '../shared/peers/slixmpp.ts'
import { SlixmppIm, type SlixmppImOptions } from '../shared/peers/slixmpp-im.ts'
import { describePeer } from '../shared/require.ts'

/** It forgets what it has sent when it asks for a resumption, and then does not find it when it is acknowledged. */
const OWN = /^Inconsistent sequence numbers from the server/

/** Each test has a pair of its own. */
const USERS = Array.from({ length: 20 }, (_, number) => [`juliet${number}`, `romeo${number}`]).flat()

// Programs of other languages take their time to start, several a test.
vi.setConfig({ testTimeout: 60_000 })

describePeer('slixmpp', slixmppAvailable(), () => {
  let server: ImServer
  let pairs = 0
  const running: SlixmppIm[] = []

  beforeAll(async () => {
    // slixmpp 1.8 knows tls-unique only, which TLS 1.3 does not have: see slixmpp.test.ts.
    server = await startImServer(USERS, { tls_channel_binding: false })
  })
  afterEach(async () => {
    const clients = running.splice(0)
    const complaints = clients.flatMap((client) => client.told('complaint').map(({ text }) => String(text)))
    await Promise.all(clients.map((client) => client.stop()))
    expect(
      complaints.filter((text) => !OWN.test(text)),
      'slixmpp warns of nothing',
    ).toEqual([])
  })
  afterAll(() => server?.stop())

  function client(user: string, options: SlixmppImOptions = {}): SlixmppIm {
    const started = new SlixmppIm(server, user, options)
    running.push(started)
    return started
  }

  /** Two accounts that nobody has used, logged in. @param options - of the first */
  async function pair(options?: SlixmppImOptions): Promise<[SlixmppIm, SlixmppIm]> {
    const number = pairs++
    const both: [SlixmppIm, SlixmppIm] = [client(`juliet${number}`, options), client(`romeo${number}`)]
    await Promise.all(both.map((one) => one.login()))
    return both
  }

  const bare = ({ jid }: SlixmppIm): string => jid.split('/')[0]!
  const userOf = ({ jid }: SlixmppIm): string => jid.split('@')[0]!

  /** Each sees the other's presence from now on. */
  async function befriend(one: SlixmppIm, other: SlixmppIm): Promise<void> {
    for (const [asker, asked] of [
      [one, other],
      [other, one],
    ] as const) {
      asker.do('presence', { to: bare(asked), type: 'subscribe' })
      await asked.next('presence', ({ type }) => type === 'subscribe')
      asked.do('presence', { to: bare(asker), type: 'subscribed' })
      await asker.next('presence', ({ type }) => type === 'subscribed')
      await asker.next('presence', ({ type, sender }) => type === 'available' && sender === asked.jid)
    }
    // What servers tell of subscriptions that are new is no part of any test here.
    await Promise.all([one.heard('presence'), other.heard('presence')])
  }

  it('logs in over TLS with SCRAM, and finds the stream features that it looks for', async () => {
    const juliet = client(`juliet${pairs++}`)
    const online = await juliet.login()
    expect(online).toMatchObject({ jid: juliet.jid, mechanism: 'SCRAM-SHA-256', tls: 'TLSv1.3' })
    await juliet.next('sm_enabled', ({ resume }) => resume === true)
    await juliet.next('csi_enabled')
  })

  it('RFC 6121: subscribes both ways, keeps names and groups in its roster, sees presence and its end', async () => {
    const [juliet, romeo] = await pair()
    const groups = ['Montague', 'Ärger & Liebe ♥']
    expect(await juliet.ask('roster_set', { jid: bare(romeo), name: 'Roméo', groups })).toMatchObject({
      condition: null,
    })
    await befriend(juliet, romeo)
    expect((await juliet.ask('roster'))['items']).toEqual({
      [bare(romeo)]: { subscription: 'both', name: 'Roméo', groups: [...groups].sort(), ask: '' },
    })
    await romeo.show('in the orchard 🌳')
    const seen = await juliet.next('presence', ({ status }) => status === 'in the orchard 🌳')
    expect(seen).toMatchObject({ sender: romeo.jid, type: 'available' })
    await romeo.stop()
    await juliet.next('presence', ({ sender, type }) => sender === romeo.jid && type === 'unavailable')
  })

  it('RFC 6121 §5: chats, whatever is said; XEP-0359: each message has the id of its sender and of the archive', async () => {
    const [juliet, romeo] = await pair()
    juliet.do('message', { to: bare(romeo), body: HARD_TO_SAY })
    const heard = await romeo.hears(HARD_TO_SAY)
    expect(heard).toMatchObject({ sender: juliet.jid, type: 'chat', by: bare(romeo), delayed_by: null })
    romeo.do('message', { to: juliet.jid, body: 'Neither, fair maid' })
    await juliet.hears('Neither, fair maid')

    const archived = (await romeo.ask('archive'))['messages'] as Record<string, unknown>[]
    expect(archived[0]).toMatchObject({
      origin: heard['origin'],
      archived: heard['stable'],
      body: HARD_TO_SAY,
    })
    expect(heard['origin']).not.toBe('')
  })

  it('XEP-0160, XEP-0203: hears later what was said while it was away', async () => {
    const [juliet, romeo] = await pair()
    await romeo.stop()
    juliet.do('message', { to: bare(romeo), body: HARD_TO_SAY })
    await juliet.ask('ping', { jid: HOST })
    const again = client(userOf(romeo))
    await again.login()
    expect(await again.hears(HARD_TO_SAY)).toMatchObject({ sender: juliet.jid, delayed_by: HOST })
  })

  it('XEP-0313: reads its archive page by page, forwards and backwards, and of one partner', async () => {
    const [juliet, romeo] = await pair()
    const bodies = Array.from({ length: 25 }, (_, number) => `${number} ${HARD_TO_SAY}`)
    for (const body of bodies) juliet.do('message', { to: bare(romeo), body })
    await romeo.hears(bodies.at(-1)!)
    juliet.do('message', { to: bare(juliet), body: 'to myself' })
    await juliet.hears('to myself')

    const read = async (facts: Record<string, unknown>) =>
      ((await juliet.ask('archive', facts))['messages'] as { body: string }[]).map(({ body }) => body)
    expect(await read({ page: 10, partner: bare(romeo) })).toEqual(bodies)
    expect(await read({ page: 7, partner: bare(romeo), reverse: true })).toEqual([...bodies].reverse())
    expect(await read({ page: 50 })).toEqual([...bodies, 'to myself'])

    const whole = (await juliet.ask('archive'))['messages'] as { archived: string }[]
    expect(await juliet.ask('archive_metadata')).toMatchObject({
      condition: null,
      start: whole[0]!.archived,
      end: whole.at(-1)!.archived,
    })
    const { fields } = await juliet.ask('archive_fields')
    expect(fields).toEqual(expect.arrayContaining(['start', 'end', 'with', 'before-id', 'after-id', 'ids']))
  })

  it('XEP-0441: has its archiving preferences kept', async () => {
    const [juliet, romeo] = await pair()
    const facts = { default: 'never', always: [bare(romeo)], never: [`tybalt@${HOST}`] }
    expect(await juliet.ask('archive_preferences', facts)).toMatchObject({ condition: null, ...facts })
    expect(await juliet.ask('archive_preferences')).toMatchObject({ condition: null, ...facts })
  })

  it('XEP-0280: two clients of an account hear the same conversation', async () => {
    const [juliet, romeo] = await pair()
    const phone = client(userOf(juliet), { resource: 'phone' })
    await phone.login()
    for (const one of [juliet, phone]) {
      expect(await one.ask('carbons', { on: true })).toMatchObject({ condition: null })
    }
    juliet.do('message', { to: bare(romeo), body: HARD_TO_SAY })
    const said = { sender: juliet.jid, to: bare(romeo), body: HARD_TO_SAY }
    expect(await phone.next('carbon_sent')).toMatchObject(said)
    expect(await romeo.hears(HARD_TO_SAY)).toMatchObject(said)
    romeo.do('message', { to: juliet.jid, body: 'to one of them' })
    const heard = { sender: romeo.jid, to: juliet.jid, body: 'to one of them' }
    expect(await phone.next('carbon_received')).toMatchObject(heard)
    expect(await juliet.hears('to one of them')).toMatchObject(heard)

    expect(await phone.ask('carbons', { on: false })).toMatchObject({ condition: null })
    juliet.do('message', { to: bare(romeo), body: 'a secret' })
    await romeo.hears('a secret')
    expect(await phone.heard('carbon_sent')).toEqual([])
    expect(await juliet.heard('carbon_sent')).toEqual([])
  })

  it('XEP-0191: blocks, is told what is blocked, and unblocks', async () => {
    const [juliet, romeo] = await pair()
    // Who has asked for the list is told of its changes.
    expect(await juliet.ask('block_list')).toMatchObject({ condition: null, jids: [] })
    expect(await juliet.ask('block', { jids: [bare(romeo)] })).toMatchObject({ condition: null })
    expect((await juliet.next('blocked'))['jids']).toEqual([bare(romeo)])
    expect((await juliet.ask('block_list'))['jids']).toEqual([bare(romeo)])
    romeo.do('message', { to: bare(juliet), body: 'a word' })
    expect(await romeo.next('error')).toMatchObject({
      sender: bare(juliet),
      condition: 'service-unavailable',
    })
    expect(await juliet.ask('unblock', { jids: [bare(romeo)] })).toMatchObject({ condition: null })
    expect((await juliet.next('unblocked'))['jids']).toEqual([bare(romeo)])
    romeo.do('message', { to: bare(juliet), body: 'another' })
    await juliet.hears('another')
    expect(await juliet.heard('message')).toEqual([])
  })

  it('XEP-0054: shows a card, and sees the card of another', async () => {
    const [juliet, romeo] = await pair()
    expect(
      await juliet.ask('vcard_set', { name: 'Júlia 🌹', url: 'https://capulet.lit/?a&b' }),
    ).toMatchObject({
      condition: null,
    })
    const card = { condition: null, name: 'Júlia 🌹', url: 'https://capulet.lit/?a&b' }
    expect(await juliet.ask('vcard_of')).toMatchObject(card)
    expect(await romeo.ask('vcard_of', { jid: bare(juliet) })).toMatchObject(card)
  })

  it('XEP-0049, XEP-0048: keeps its bookmarks as private XML', async () => {
    const [juliet] = await pair()
    expect(await juliet.ask('bookmarks')).toMatchObject({ condition: null, rooms: {} })
    const rooms = { 'ball@muc.capulet.lit': 'The Ball ♥', 'crypt@muc.capulet.lit': 'Crypt' }
    expect(await juliet.ask('bookmarks_set', { rooms })).toMatchObject({ condition: null })
    expect(await juliet.ask('bookmarks')).toMatchObject({ condition: null, rooms })
  })

  it('XEP-0012: asks how long a friend has been away, and how long the server is up', async () => {
    const [juliet, romeo] = await pair()
    expect(await juliet.ask('last_activity', { jid: bare(romeo) })).toMatchObject({ condition: 'forbidden' })
    await befriend(juliet, romeo)
    expect(await juliet.ask('last_activity', { jid: bare(romeo) })).toMatchObject({ seconds: 0 })
    await romeo.stop()
    await juliet.next('presence', ({ type }) => type === 'unavailable')
    const answer = await juliet.ask('last_activity', { jid: bare(romeo) })
    expect(answer['condition']).toBeNull()
    const { seconds } = await juliet.ask('last_activity', { jid: HOST })
    expect(seconds).toBeTypeOf('number')
  })

  it('XEP-0030, XEP-0115: discovers server and account; XEP-0092, 0199, 0202: what it is, whether it is there, its time', async () => {
    const [juliet, romeo] = await pair()
    const host = await juliet.ask('disco_info', { jid: HOST })
    expect(host).toMatchObject({ condition: null, identities: expect.arrayContaining([['server', 'im']]) })
    expect(host['features']).toEqual(
      expect.arrayContaining([
        'urn:xmpp:blocking',
        'urn:xmpp:carbons:2',
        'urn:xmpp:ping',
        'urn:xmpp:time',
        'vcard-temp',
      ]),
    )
    const account = await juliet.ask('disco_info', { jid: bare(juliet) })
    expect(account['identities']).toContainEqual(['account', 'registered'])
    expect(account['features']).toEqual(expect.arrayContaining(['urn:xmpp:mam:2', 'urn:xmpp:sid:0']))
    expect(await juliet.ask('disco_items', { jid: HOST })).toMatchObject({ condition: null, items: [] })
    expect(await juliet.ask('version', { jid: HOST })).toMatchObject({ condition: null, name: 'Legate' })
    expect(await juliet.ask('time', { jid: HOST })).toMatchObject({
      condition: null,
      utc: expect.stringMatching(/^20/),
    })
    expect(await juliet.ask('ping')).toMatchObject({ condition: null })
    expect(await juliet.ask('ping', { jid: romeo.jid })).toMatchObject({ condition: null })
    expect(await juliet.ask('ping', { jid: 'nowhere.lit' })).toMatchObject({
      condition: 'remote-server-not-found',
    })
  })

  it('XEP-0352: says that nobody looks, and hears what matters all the same', async () => {
    const [juliet, romeo] = await pair()
    await juliet.ask('csi', { active: false })
    romeo.do('message', { to: bare(juliet), body: 'It matters' })
    await juliet.hears('It matters')
    await juliet.ask('csi', { active: true })
    expect(await juliet.ask('ping')).toMatchObject({ condition: null })
  })

  it('XEP-0077: changes its password, and logs in with the new one', async () => {
    const [juliet] = await pair()
    const user = userOf(juliet)
    expect(await juliet.ask('registration')).toMatchObject({
      condition: null,
      registered: true,
      username: user,
    })
    expect(await juliet.ask('change_password', { password: 'pässwörd' })).toMatchObject({ condition: null })
    await juliet.stop()
    const again = client(user, { password: 'pässwörd' })
    expect(await again.login()).toMatchObject({ mechanism: 'SCRAM-SHA-256' })
  })

  describe('XEP-0198: when its connection is cut', () => {
    it.each(['reset', 'lost'] as const)('%s: resumes; each message comes once, in order', async (how) => {
      const { network } = server
      const [juliet, romeo] = await pair({ port: network.port })
      await juliet.next('sm_enabled')
      await befriend(juliet, romeo)
      romeo.do('message', { to: bare(juliet), body: 'before' })
      await juliet.hears('before')

      network.cut(how)
      if (how === 'reset') await juliet.next('disconnected')
      const bodies = Array.from({ length: 12 }, (_, number) => `${number} ${HARD_TO_SAY}`)
      for (const body of bodies) romeo.do('message', { to: bare(juliet), body })
      await romeo.ask('ping', { jid: HOST })
      network.mend()
      // Where nobody has told it, it finds out by itself that nothing comes any more.
      if (how === 'lost') juliet.do('abort')
      const resumed = await juliet.next('resumed')
      expect(resumed).toMatchObject({ jid: juliet.jid })
      // The server has counted everything.
      expect(resumed['handled']).toBe(resumed['sent'])

      const heard = (await juliet.heard('message')).map(({ body }) => body)
      expect(heard).toEqual(bodies)
      juliet.do('message', { to: bare(romeo), body: 'I hear thee' })
      await romeo.hears('I hear thee')
      expect(juliet.told('online')).toEqual([])
      // Her friend has not noticed anything.
      expect(await romeo.heard('presence')).toEqual([])
      const archived = (await juliet.ask('archive', { page: 50 }))['messages'] as { body: string }[]
      expect(archived.map(({ body }) => body)).toEqual(['before', ...bodies, 'I hear thee'])
    })
  })
})
