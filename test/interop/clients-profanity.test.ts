// What a person does with Profanity in a terminal, and sees there.

import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { HARD_TO_SAY, HOST, type ImServer, startImServer } from '../shared/peers/im-server.ts'
import { Profanity, type ProfanityOptions, profanityAvailable } from '../shared/peers/profanity.ts'
import { describePeer } from '../shared/require.ts'

/** Each test has a pair of its own. */
const USERS = Array.from({ length: 12 }, (_, number) => [`juliet${number}`, `romeo${number}`]).flat()

// Programs of other languages take their time to start, several a test.
vi.setConfig({ testTimeout: 60_000 })

describePeer('Profanity', profanityAvailable(), () => {
  let server: ImServer
  let pairs = 0
  const running: Profanity[] = []

  beforeAll(async () => {
    server = await startImServer(USERS)
  })
  afterEach(async () => {
    const clients = running.splice(0)
    const complaints = clients.flatMap((client) => client.complaints())
    await Promise.all(clients.map((client) => client.stop()))
    expect(complaints, 'Profanity warns of nothing').toEqual([])
  })
  afterAll(() => server?.stop())

  function start(options: ProfanityOptions = { trusted: server.certificate }): Profanity {
    const client = new Profanity(options)
    running.push(client)
    return client
  }

  /** The bare JIDs of two accounts that nobody has used. */
  function names(): [string, string] {
    const number = pairs++
    return [`juliet${number}@${HOST}`, `romeo${number}@${HOST}`]
  }

  interface Pair {
    juliet: Profanity
    julietJid: string
    romeo: Profanity
    romeoJid: string
  }

  /** Both logged in. @param port - where the first connects */
  async function pair(port = server.c2sPort, reconnect = 0): Promise<Pair> {
    const [julietJid, romeoJid] = names()
    const juliet = start({ trusted: server.certificate, reconnect })
    const romeo = start()
    await Promise.all([
      juliet.login(`${julietJid}/balcony`, port),
      romeo.login(`${romeoJid}/orchard`, server.c2sPort),
    ])
    return { juliet, julietJid, romeo, romeoJid }
  }

  /** Each sees the other's presence from now on, by what people do. */
  async function befriend({ juliet, julietJid, romeo, romeoJid }: Pair): Promise<void> {
    await juliet.do(`/sub request ${romeoJid}`)
    await romeo.shows(`Received authorization request from ${julietJid}`)
    await romeo.do(`/sub allow ${julietJid}`)
    await juliet.shows(`Subscription received from ${romeoJid}`)
    await juliet.shows(`++ ${romeoJid} (orchard) is online`)
    await romeo.do(`/sub request ${julietJid}`)
    await juliet.shows(`Received authorization request from ${romeoJid}`)
    await juliet.do(`/sub allow ${romeoJid}`)
    await romeo.shows(`++ ${julietJid} (balcony) is online`)
  }

  it('logs in over TLS with SCRAM, trusting the certificate', async () => {
    const [jid] = names()
    const juliet = start()
    const screen = await juliet.login(`${jid}/balcony`, server.c2sPort)
    expect(screen).toMatch(/\[TLS\] \[online\]/)
    expect(screen).not.toContain('verification failed')
    expect(juliet.log()).toContain('SASL SCRAM-SHA-256 auth successful')
  })

  it('asks about a certificate that it does not know, and goes on when that is allowed', async () => {
    const [jid] = names()
    const juliet = start({})
    await juliet.connect(`${jid}/balcony`, server.c2sPort)
    await juliet.shows('TLS certificate verification failed')
    await juliet.do('/tls allow')
    expect(await juliet.shows('logged in successfully')).toMatch(/\[TLS\] \[online\]/)
  })

  it('is not logged in with a wrong password', async () => {
    const [jid] = names()
    const juliet = start()
    await juliet.connect(`${jid}/balcony`, server.c2sPort, 'wrong')
    expect(await juliet.shows('Login failed')).not.toContain('logged in successfully')
    // It says so in its log.
    expect(juliet.complaints().join()).toMatch(/SASL|auth/i)
    running.splice(running.indexOf(juliet), 1)
    await juliet.stop()
  })

  it('asks for a subscription, approves one by hand, has groups and nicknames, and sees presence', async () => {
    const both = await pair()
    const { juliet, romeo, romeoJid } = both
    await befriend(both)
    await juliet.do(`/roster nick ${romeoJid} Roméo`)
    await juliet.shows(`Nickname for ${romeoJid} set to: Roméo.`)
    await juliet.do(`/roster group add Montague♥ ${romeoJid}`)
    await juliet.shows('Roméo added to group Montague♥')
    await juliet.do('/roster')
    await juliet.shows(new RegExp(`${romeoJid} \\(Roméo\\) - both - Montague♥`))
    await romeo.do('/status set away "in the orchard 🌳"')
    await juliet.shows('++ Roméo (orchard) is away, "in the orchard 🌳"')
    await romeo.do('/disconnect')
    await juliet.shows('-- Roméo (orchard) is offline')
  })

  it('remembers its roster with another login', async () => {
    const [jid, friend] = names()
    const first = start()
    await first.login(`${jid}/first`, server.c2sPort)
    await first.do(`/roster add ${friend} Roméo`)
    await first.shows(`Roster item added: ${friend} (Roméo)`)
    await first.do(`/roster group add Montague♥ ${friend}`)
    await first.shows('Roméo added to group Montague♥')
    const second = start()
    await second.login(`${jid}/second`, server.c2sPort)
    await second.do('/roster')
    await second.shows(`${friend} (Roméo) - none - Montague♥`)
  })

  it('chats in two windows, whatever is said', async () => {
    const both = await pair()
    const { juliet, julietJid, romeo, romeoJid } = both
    await juliet.do(`/msg ${romeoJid} ${HARD_TO_SAY}`)
    await juliet.shows(`me: ${HARD_TO_SAY}`)
    await romeo.openChat(julietJid)
    await romeo.shows(`${julietJid}/balcony: ${HARD_TO_SAY}`)
    await romeo.do('Neither, fair maid 🌹')
    await juliet.shows(`${romeoJid}/orchard: Neither, fair maid 🌹`)
  })

  it('XEP-0313: loads the history on opening a chat, in order, on a machine that has never seen it', async () => {
    const { juliet, julietJid, romeo, romeoJid } = await pair()
    await juliet.do(`/msg ${romeoJid} ${HARD_TO_SAY}`)
    await romeo.openChat(julietJid)
    await romeo.shows(HARD_TO_SAY)
    for (const number of [1, 2, 3]) await romeo.do(`No. ${number}, said he`)
    await juliet.shows('No. 3, said he')

    const again = start()
    await again.login(`${julietJid}/elsewhere`, server.c2sPort)
    await again.do('/mam on')
    await again.shows('Message Archive Management enabled.')
    await again.do(`/msg ${romeoJid}`)
    await again.shows('No. 3, said he')
    // Profanity asks a second time for what came already: its <after/> is not in the <set/> of XEP-0059.
    const archived = [HARD_TO_SAY, 'No. 1, said he', 'No. 2, said he', 'No. 3, said he']
    expect((await again.said()).slice(0, 4)).toEqual(archived)
  })

  it('XEP-0191, 0048, 0049, 0012, 0092, 0199: blocks, keeps bookmarks, asks about the server', async () => {
    const [jid, enemy] = names()
    const juliet = start()
    await juliet.login(`${jid}/balcony`, server.c2sPort)
    const told: [command: string, outcome: string | RegExp][] = [
      [`/blocked add ${enemy}`, `User ${enemy} successfully blocked.`],
      ['/blocked', new RegExp(`Blocked users:\n.* +${enemy}`)],
      [`/blocked remove ${enemy}`, /successfully unblocked/],
      ['/bookmark add ball@muc.capulet.lit nick me', 'Bookmark added for ball@muc.capulet.lit.'],
      ['/ping', /Ping response from server: \d+ms/],
      ['/lastactivity get', `${HOST} up since`],
      [`/serversoftware ${HOST}`, /Name +: Legate/],
      ['/disco info', 'urn:xmpp:mam:2'],
      ['/carbons on', 'Message carbons preference enabled.'],
    ]
    for (const [command, outcome] of told) {
      await juliet.do(command)
      await juliet.shows(outcome)
    }
    const other = start()
    await other.login(`${jid}/other`, server.c2sPort)
    await other.do('/bookmark list')
    await other.shows('ball@muc.capulet.lit')
  })

  describe('XEP-0198: when its connection is cut', () => {
    it('resumes; each message comes once, in order, and its friend sees nothing of it', async () => {
      const { network } = server
      const both = await pair(network.port, 1)
      const { juliet, julietJid, romeo, romeoJid } = both
      await befriend(both)
      await romeo.do(`/msg ${julietJid} before`)
      await juliet.openChat(romeoJid)
      await juliet.shows('before')

      network.cut('reset')
      await juliet.do('/win 1')
      await juliet.shows('Lost connection.')
      for (const number of [1, 2, 3, 4]) await romeo.do(`No. ${number} 🌹`)
      await romeo.shows('me: No. 4 🌹')
      await romeo.do('/win 1')
      await romeo.do('/ping')
      await romeo.shows('Ping response from server')
      network.mend()
      await juliet.shows((screen) => screen.split('logged in successfully').length === 3)
      expect(juliet.log()).toContain('Session resumed successfully.')
      expect(await romeo.screen()).not.toContain('is offline')

      await juliet.openChat(romeoJid)
      await juliet.do('Speak again, bright angel')
      await juliet.shows('me: Speak again, bright angel')
      const rest = [1, 2, 3, 4].map((number) => `No. ${number} 🌹`)
      expect(await juliet.said()).toEqual(['before', ...rest, 'Speak again, bright angel'])
      await romeo.do('/win 2')
      await romeo.shows(/balcony: Speak again, bright angel/)
      expect(await romeo.said()).toEqual(['before', ...rest, 'Speak again, bright angel'])
    })
  })
})
