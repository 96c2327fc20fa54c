// Clients of three kinds meet at one server: slixmpp, @xmpp/client, and Profanity in a terminal.

import { xml } from '@xmpp/client'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { trustOnly } from '../../examples/trust.ts'
import { HARD_TO_SAY, HOST, type ImServer, startImServer } from '../shared/peers/im-server.ts'
import { Profanity, profanityAvailable } from '../shared/peers/profanity.ts'
import { slixmppAvailable } from '../shared/peers/slixmpp.ts'
import { SlixmppIm } from '../shared/peers/slixmpp-im.ts'
import { XmppJs } from '../shared/peers/xmppjs.ts'
import { describePeer } from '../shared/require.ts'

const TESTS = 4

// Programs of other languages take their time to start, several a test.
vi.setConfig({ testTimeout: 60_000 })

describePeer('slixmpp, @xmpp/client and Profanity', slixmppAvailable() ?? profanityAvailable(), () => {
  let server: ImServer
  let trustAgain: () => void
  let tests = 0
  let juliet: string
  let romeo: string
  let nurse: string
  const running: { stop(): Promise<void> }[] = []

  beforeAll(async () => {
    const names = ['juliet', 'romeo', 'nurse']
    const users = Array.from({ length: TESTS }, (_, number) => names.map((name) => `${name}${number}`)).flat()
    // slixmpp 1.8 knows tls-unique only, which TLS 1.3 does not have: see slixmpp.test.ts.
    server = await startImServer(users, { tls_channel_binding: false })
    trustAgain = trustOnly(server.certificate)
  })
  afterEach(async () => {
    await Promise.all(running.splice(0).map((one) => one.stop()))
  })
  afterAll(async () => {
    trustAgain?.()
    await server?.stop()
  })

  /** Local parts of three accounts that nobody has used. */
  function newNames(): void {
    const number = tests++
    juliet = `juliet${number}`
    romeo = `romeo${number}`
    nurse = `nurse${number}`
  }

  const address = (user: string) => `${user}@${HOST}`

  async function profanity(user: string, cut = false): Promise<Profanity> {
    const client = new Profanity({ trusted: server.certificate, reconnect: cut ? 1 : 0 })
    running.push(client)
    await client.login(`${address(user)}/profanity`, cut ? server.network.port : server.c2sPort)
    return client
  }

  async function slixmpp(user: string, cut = false): Promise<SlixmppIm> {
    const client = new SlixmppIm(server, user, cut ? { port: server.network.port } : {})
    running.push(client)
    await client.login()
    return client
  }

  async function xmppjs(user: string, cut = false): Promise<XmppJs> {
    const client = new XmppJs(server, user, cut ? { port: server.network.port } : {})
    running.push(client)
    await client.login({ roster: !cut })
    return client
  }

  it('each talks with each, whatever is said', async () => {
    newNames()
    const [terminal, python, script] = await Promise.all([profanity(juliet), slixmpp(romeo), xmppjs(nurse)])

    python.do('message', { to: address(nurse), body: `${HARD_TO_SAY} 1` })
    expect((await script.hears(`${HARD_TO_SAY} 1`)).attrs.from).toBe(python.jid)
    await script.say(python.jid, `${HARD_TO_SAY} 2`)
    expect(await python.hears(`${HARD_TO_SAY} 2`)).toMatchObject({ sender: script.jid })

    python.do('message', { to: address(juliet), body: `${HARD_TO_SAY} 3` })
    await terminal.openChat(address(romeo))
    await terminal.shows(`${python.jid}: ${HARD_TO_SAY} 3`)
    await terminal.do(`${HARD_TO_SAY} 4`)
    expect(await python.hears(`${HARD_TO_SAY} 4`)).toMatchObject({ sender: `${address(juliet)}/profanity` })

    await terminal.do('/win 1')
    await script.say(address(juliet), `${HARD_TO_SAY} 5`)
    await terminal.openChat(address(nurse))
    await terminal.shows(`${script.jid}: ${HARD_TO_SAY} 5`)
    await terminal.do(`${HARD_TO_SAY} 6`)
    expect((await script.hears(`${HARD_TO_SAY} 6`)).attrs.from).toBe(`${address(juliet)}/profanity`)

    // Each has its part of it in its archive, and sees the same.
    const archived = ((await python.ask('archive'))['messages'] as { body: string }[]).map(({ body }) => body)
    expect(archived).toEqual([1, 2, 3, 4].map((number) => `${HARD_TO_SAY} ${number}`))
    expect((await script.archive(address(juliet))).map(({ body }) => body)).toEqual([
      `${HARD_TO_SAY} 5`,
      `${HARD_TO_SAY} 6`,
    ])
  })

  it('asks for a subscription, has it approved by hand, and each sees the presence and the caps of the other', async () => {
    newNames()
    const [terminal, python, script] = await Promise.all([profanity(juliet), slixmpp(romeo), xmppjs(nurse)])
    python.do('presence', { to: address(juliet), type: 'subscribe' })
    await terminal.shows(`Received authorization request from ${address(romeo)}`)
    await terminal.do(`/sub allow ${address(romeo)}`)
    const seen = ({ sender }: Record<string, unknown>) => sender === `${address(juliet)}/profanity`
    expect((await python.next('presence', seen))['caps']).toBe('http://profanity-im.github.io')

    await terminal.do(`/sub request ${address(romeo)}`)
    await python.next('presence', ({ type }) => type === 'subscribe')
    python.do('presence', { to: address(juliet), type: 'subscribed' })
    await terminal.shows(`++ ${address(romeo)} (slixmpp) is online`)

    await script.xmpp.send(xml('presence', { to: address(juliet), type: 'subscribe' }))
    await terminal.shows(`Received authorization request from ${address(nurse)}`)
    await terminal.do(`/sub allow ${address(nurse)}`)
    const present = (stanza: { name: string; attrs: { from?: string; type?: string } }) =>
      stanza.name === 'presence' && stanza.attrs.from === `${address(juliet)}/profanity`
    await script.next(present, 'presence')

    await python.show('in the orchard 🌳')
    await terminal.shows(`++ ${address(romeo)} (slixmpp) is online, "in the orchard 🌳"`)
    await terminal.do('/status set dnd "♥ & <3"')
    const busy = await script.next((stanza) => stanza.getChildText('show') === 'dnd', 'presence')
    expect(busy.getChildText('status')).toBe('♥ & <3')
    await python.next('presence', ({ status }) => status === '♥ & <3')

    expect((await python.ask('roster'))['items']).toMatchObject({
      [address(juliet)]: { subscription: 'both' },
    })
    expect(await script.roster()).toMatchObject({ [address(juliet)]: { subscription: 'to' } })
    await python.stop()
    await terminal.shows(`-- ${address(romeo)} (slixmpp) is offline`)
  })

  it('two clients of one account see one conversation, and one roster', async () => {
    newNames()
    const [terminal, python, script] = await Promise.all([profanity(juliet), slixmpp(juliet), xmppjs(romeo)])
    await terminal.do('/carbons on')
    expect(await python.ask('carbons', { on: true })).toMatchObject({ condition: null })
    await terminal.shows('Message carbons preference enabled.')

    python.do('message', { to: address(romeo), body: HARD_TO_SAY })
    await script.hears(HARD_TO_SAY)
    await terminal.do(`/msg ${address(romeo)}`)
    await terminal.shows(`me: ${HARD_TO_SAY}`)
    await script.say(python.jid, 'to the one')
    expect(await python.hears('to the one')).toMatchObject({ sender: script.jid })
    await terminal.shows('to the one')
    await terminal.do('from the other 🌹')
    await script.hears('from the other 🌹')
    expect(await python.next('carbon_sent')).toMatchObject({ body: 'from the other 🌹', to: script.jid })

    await terminal.do('/win 1')
    await terminal.do(`/roster add ${address(nurse)} Nurse`)
    const pushed = await python.next('push', ({ items }) => address(nurse) in (items as object))
    expect(pushed['items']).toMatchObject({ [address(nurse)]: { name: 'Nurse' } })
    await python.ask('roster_set', { jid: address(nurse), name: 'Amme', groups: ['Capulet ♥'] })
    await terminal.do('/roster')
    await terminal.shows(`${address(nurse)} (Amme) - none - Capulet ♥`)
  })

  it('XEP-0198: all of them are cut off at once, and none has lost or seen anything twice', async () => {
    newNames()
    const [terminal, python, script] = await Promise.all([
      profanity(juliet, true),
      slixmpp(romeo, true),
      xmppjs(nurse, true),
    ])
    await python.next('sm_enabled')
    const sender = await xmppjs(romeo)
    // Three conversations from one account that stays connected.
    for (const user of [juliet, romeo, nurse]) await sender.say(`${address(user)}`, 'before')
    await terminal.openChat(address(romeo))
    await terminal.shows('before')
    await python.hears('before')
    await script.hears('before')

    server.network.cut('reset')
    await python.next('disconnected')
    await script.until(() => script.xmpp.status !== 'online', 'its end')
    await terminal.do('/win 1')
    await terminal.shows('Lost connection.')
    const words = Array.from({ length: 10 }, (_, number) => `${number} ♥ 🌹`)
    for (const word of words) {
      for (const user of [juliet, romeo, nurse])
        await sender.say(`${address(user)}/${resourceOf(user)}`, word)
    }
    await sender.settled()
    server.network.mend()

    await python.next('resumed')
    await script.until(() => script.resumptions === 1, 'its resumption')
    await terminal.shows((screen) => screen.split('logged in successfully').length === 3)
    expect((await python.heard('message')).map(({ body }) => body)).toEqual(words)
    expect(await script.heard()).toEqual(words)
    await terminal.openChat(address(romeo))
    await terminal.shows(words.at(-1)!)
    expect(await terminal.said()).toEqual(['before', ...words])
  })

  function resourceOf(user: string): string {
    if (user === juliet) return 'profanity'
    return user === romeo ? 'slixmpp' : 'js'
  }
})
