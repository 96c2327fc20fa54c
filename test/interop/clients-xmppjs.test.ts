// What a person does with a client that is made of @xmpp/client, each by its XEP.

import { xml } from '@xmpp/client'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { trustOnly } from '../../examples/trust.ts'
import { HARD_TO_SAY, HOST, type ImServer, startImServer } from '../shared/peers/im-server.ts'
import { conditionOf, XmppJs } from '../shared/peers/xmppjs.ts'

/** Each test has a pair of its own. */
const USERS = Array.from({ length: 10 }, (_, number) => [`juliet${number}`, `romeo${number}`]).flat()

// Programs of other languages take their time to start, several a test.
vi.setConfig({ testTimeout: 60_000 })

describe('@xmpp/client', () => {
  let server: ImServer
  let trustAgain: () => void
  let pairs = 0
  const running: XmppJs[] = []

  beforeAll(async () => {
    server = await startImServer(USERS)
    trustAgain = trustOnly(server.certificate)
  })
  afterEach(async () => {
    await Promise.all(running.splice(0).map((one) => one.stop()))
  })
  afterAll(async () => {
    trustAgain?.()
    await server?.stop()
  })

  function client(user: string, options?: { port?: number; resource?: string; password?: string }): XmppJs {
    const one = new XmppJs(server, user, options)
    running.push(one)
    return one
  }

  /** Two accounts that nobody has used, logged in; the first one through the network that is to be cut, if so. */
  async function pair(cut = false): Promise<[XmppJs, XmppJs]> {
    const number = pairs++
    const juliet = client(`juliet${number}`, cut ? { port: server.network.port } : {})
    const romeo = client(`romeo${number}`)
    await Promise.all([juliet.login({ roster: !cut }), romeo.login()])
    return [juliet, romeo]
  }

  const bare = ({ jid }: XmppJs): string => jid.split('/')[0]!

  /** Each sees the other's presence from now on. */
  async function befriend(one: XmppJs, other: XmppJs): Promise<void> {
    for (const [asker, asked] of [
      [one, other],
      [other, one],
    ] as const) {
      const typed = (type: string | undefined) => (stanza: { name: string; attrs: { type?: string } }) =>
        stanza.name === 'presence' && stanza.attrs.type === type
      await asker.xmpp.send(xml('presence', { to: bare(asked), type: 'subscribe' }))
      await asked.next(typed('subscribe'), 'a request')
      await asked.xmpp.send(xml('presence', { to: bare(asker), type: 'subscribed' }))
      await asker.next(typed('subscribed'), 'an approval')
      await asker.next(typed(undefined), 'presence')
    }
    // What servers tell of subscriptions that are new is no part of any test here.
    for (const friend of [one, other]) friend.received.length = 0
  }

  it('logs in over TLS with SCRAM, and has stream management enabled', async () => {
    const juliet = client(`juliet${pairs++}`)
    await juliet.login()
    expect(juliet.xmpp.isSecure()).toBe(true)
    expect(juliet.mechanisms).toEqual(['SCRAM-SHA-1'])
    expect(juliet.streamManagement.enabled).toBe(true)
    expect(juliet.errors).toEqual([])
  })

  it('RFC 6121: keeps names and groups in its roster, subscribes, sees presence and its end', async () => {
    const [juliet, romeo] = await pair()
    const groups = ['Montague', 'Ärger & Liebe ♥']
    const item = xml(
      'item',
      { jid: bare(romeo), name: 'Roméo' },
      ...groups.map((name) => xml('group', {}, name)),
    )
    await juliet.xmpp.iqCaller.set(xml('query', { xmlns: 'jabber:iq:roster' }, item))
    await befriend(juliet, romeo)
    expect(await juliet.roster()).toEqual({ [bare(romeo)]: { subscription: 'both', name: 'Roméo', groups } })
    await romeo.xmpp.send(xml('presence', {}, xml('show', {}, 'dnd'), xml('status', {}, HARD_TO_SAY)))
    const seen = await juliet.next((stanza) => stanza.getChildText('show') === 'dnd', 'presence')
    expect(seen.attrs.from).toBe(romeo.jid)
    expect(seen.getChildText('status')).toBe(HARD_TO_SAY)
    await romeo.stop()
    await juliet.next(({ attrs }) => attrs.type === 'unavailable' && attrs.from === romeo.jid, 'its end')
  })

  it('chats, and XEP-0313: reads its archive', async () => {
    const [juliet, romeo] = await pair()
    await juliet.say(bare(romeo), HARD_TO_SAY)
    const heard = await romeo.hears(HARD_TO_SAY)
    await romeo.say(juliet.jid, 'Neither, fair maid')
    await juliet.hears('Neither, fair maid')
    const archived = await romeo.archive(bare(juliet))
    expect(archived.map(({ body }) => body)).toEqual([HARD_TO_SAY, 'Neither, fair maid'])
    expect(heard.getChild('stanza-id', 'urn:xmpp:sid:0')?.attrs).toMatchObject({
      by: bare(romeo),
      id: archived[0]!.id,
    })
    expect((await juliet.archive(bare(romeo))).map(({ body }) => body)).toEqual([
      HARD_TO_SAY,
      'Neither, fair maid',
    ])
  })

  it('RFC 6120 §8.4: asks for what nobody serves, and is answered', async () => {
    const [juliet, romeo] = await pair()
    const ask = (to?: string) => juliet.xmpp.iqCaller.get(xml('query', { xmlns: 'urn:example:nobody' }), to)
    for (const to of [undefined, HOST, bare(juliet), bare(romeo), romeo.jid, `nobody@${HOST}`]) {
      expect(await conditionOf(ask(to)), to ?? 'without to').toBe('service-unavailable')
    }
    expect(await conditionOf(ask('nowhere.lit'))).toBe('remote-server-not-found')
  })

  describe('XEP-0198: when its connection is cut', () => {
    it.each(['reset', 'lost'] as const)('%s: resumes; each message comes once, in order', async (how) => {
      const { network } = server
      const [juliet, romeo] = await pair(true)
      await befriend(juliet, romeo)
      await romeo.say(bare(juliet), 'before')
      await juliet.hears('before')

      network.cut(how)
      if (how === 'reset') await juliet.until(() => juliet.xmpp.status !== 'online', 'its end')
      const bodies = Array.from({ length: 12 }, (_, number) => `${number} ${HARD_TO_SAY}`)
      for (const body of bodies) await romeo.say(bare(juliet), body)
      await romeo.settled()
      network.mend()
      // Where nobody has told it, it finds out by itself that nothing comes any more.
      if (how === 'lost') juliet.drop()
      await juliet.until(() => juliet.resumptions === 1, 'its resumption')

      expect(await juliet.heard()).toEqual(bodies)
      const id = await juliet.say(bare(romeo), 'I hear thee')
      await romeo.hears('I hear thee')
      await juliet.until(() => juliet.acknowledged.includes(id), 'an acknowledgement')
      expect(juliet.logins).toBe(1)
      // Her friend has not noticed anything.
      expect(await romeo.seen()).toEqual([])
      const archived = await juliet.archive(bare(romeo))
      expect(archived.map(({ body }) => body)).toEqual(['before', ...bodies, 'I hear thee'])
    })

    it('what it says while it is cut off arrives once', async () => {
      const { network } = server
      const [juliet, romeo] = await pair(true)
      network.cut('lost')
      const bodies = Array.from({ length: 5 }, (_, number) => `${number} ${HARD_TO_SAY}`)
      for (const body of bodies) await juliet.say(bare(romeo), body)
      network.mend()
      juliet.drop()
      await juliet.until(() => juliet.resumptions === 1, 'its resumption')
      await romeo.hears(bodies.at(-1)!)
      expect(await romeo.heard()).toEqual(bodies.slice(0, -1))
    })
  })
})
