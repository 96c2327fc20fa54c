/** In-band registration over real sockets (XEP-0077). */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { login, TestStream } from '../shared/client.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { describeStored } from '../shared/server-storages.ts'
import { opened, secured, startTls, troubles } from '../shared/streams.ts'

const HOST = 'capulet.lit'
const OTHER = 'montague.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${OTHER}`
const NS = 'jabber:iq:register'
const NS_FEATURE = 'http://jabber.org/features/iq-register'
const NS_DATA = 'jabber:x:data'
const STORES = [
  'accounts',
  'roster',
  'vcard',
  'blocklist',
  'lastactivity',
  'account_details',
  'archive_prefs',
]
const PLUGINS = [
  ...USUAL_PLUGINS,
  'register',
  'vcard',
  'private',
  'blocklist',
  'lastactivity',
  'offline',
  'mam',
]

let server: TestServer
const streams: TestStream[] = []
let ids = 0

async function start(options: object = {}, users = [JULIET, ROMEO]): Promise<void> {
  server = await startServer(
    { modules_enabled: PLUGINS, virtualHosts: { [HOST]: {}, [OTHER]: {} }, ...options },
    users,
  )
}

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  expect(troubles(server)).toEqual([])
  await server.stop()
})

const kept = <T extends TestStream>(stream: T): T => {
  streams.push(stream)
  return stream
}
const connect = async (jid: string, presence = true) => kept(await login(server.c2sPort, jid, { presence }))
const stranger = async (host = HOST) => kept(await opened(server.c2sPort, host))

const register = (content: string, type = 'set', attrs = '') =>
  `<iq type='${type}' id='r${++ids}' ${attrs}><query xmlns='${NS}'>${content}</query></iq>`
const account = (user: string, password = 'secret', more = '') =>
  `<username>${user}</username><password>${password}</password>${more}`
const form = (fields: Record<string, string>, type = 'submit') => {
  const written = Object.entries(fields).map(
    ([name, value]) => `<field var='${name}'><value>${value}</value></field>`,
  )
  return `<x xmlns='${NS_DATA}' type='${type}'>${written.join('')}</x>`
}
/** How an answer ended. */
const outcome = (answer: Element): string =>
  answer.attrs.type === 'result'
    ? 'result'
    : `${answer.getChild('error')?.attrs.type} ${answer.getChild('error')?.getChildElements()[0]?.getName()}`

const canLogIn = (jid: string, password = 'pw') =>
  login(server.c2sPort, `${jid}/try${++ids}`, { password, presence: false }).then(
    async (stream) => {
      await stream.close()
      return true
    },
    () => false,
  )

describeStored('accounts that are made (§3.1)', () => {
  beforeEach(() => start({ allow_registration: true }))

  it('§7: are offered as a stream feature, until somebody has authenticated', async () => {
    const stream = kept(await TestStream.connect(server.c2sPort))
    await stream.open(`to='${HOST}' version='1.0'`)
    expect((await stream.named('features')).getChild('register', NS_FEATURE)).toBeDefined()
    const juliet = await connect(JULIET)
    expect(juliet.text.split(NS_FEATURE)).toHaveLength(2)
  })

  it('§3.1: the fields are told, as elements and as a form', async () => {
    const query = (await (await stranger()).ask(register('', 'get'))).getChild('query', NS)!
    const names = query.getChildElements().map((child) => child.getName())
    expect(names).toEqual(['instructions', 'username', 'password', 'x'])
    const fields = query.getChild('x', NS_DATA)!.getChildren('field')
    expect(fields.map(({ attrs }) => attrs.var)).toEqual(['FORM_TYPE', 'username', 'password'])
    expect(fields[0]!.getChildText('value')).toBe(NS)
  })

  it('§3.1: an account is made, and can be logged in to over the same stream', async () => {
    const stream = await stranger()
    expect(outcome(await stream.ask(register(account('Nurse'))))).toBe('result')
    const initial = Buffer.from('\0nurse\0secret').toString('base64')
    stream.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${initial}</auth>`)
    expect((await stream.next()).getName()).toBe('success')
    expect(await canLogIn(`nurse@${HOST}`, 'secret')).toBe(true)
    expect(await canLogIn(`nurse@${OTHER}`, 'secret')).toBe(false)
  })

  it('§4: the form goes before the elements', async () => {
    const stream = await stranger()
    const filled = form({ FORM_TYPE: NS, username: 'nurse', password: 'secret' })
    expect(outcome(await stream.ask(register(account('friar', 'other', filled))))).toBe('result')
    expect(await canLogIn(`nurse@${HOST}`, 'secret')).toBe(true)
    expect(await canLogIn(`friar@${HOST}`, 'other')).toBe(false)
  })

  it('§3.1: a name that is taken gives conflict, and the account stays as it was', async () => {
    const stream = await stranger()
    expect(outcome(await stream.ask(register(account('JULIET'))))).toBe('cancel conflict')
    expect(await canLogIn(JULIET, 'secret')).toBe(false)
    expect(await canLogIn(JULIET)).toBe(true)
  })

  it.each([
    ['no password', '<username>nurse</username>'],
    ['an empty password', account('nurse', '')],
    ['no name', '<password>secret</password>'],
    ['a name that no address can have', account('nur se')],
    ['a name with an @', account('nurse@capulet.lit')],
    ['a long name', account('n'.repeat(1024))],
    ['a password that SASLprep does not allow', account('nurse', 'a&#x9;b')],
    ['a password without end', account('nurse', 'x'.repeat(2000))],
    [
      'a form of another kind',
      form({ FORM_TYPE: 'urn:example:other', username: 'nurse', password: 'secret' }),
    ],
    ['a form that is cancelled', form({ username: 'nurse', password: 'secret' }, 'cancel')],
    ['nothing at all', ''],
  ])('§3.1: %s gives not-acceptable', async (_, content) => {
    const stream = await stranger()
    expect(outcome(await stream.ask(register(content)))).toBe('modify not-acceptable')
    expect(await canLogIn(`nurse@${HOST}`, 'secret')).toBe(false)
  })

  it('§3.1.1: one account is made on a stream', async () => {
    const stream = await stranger()
    expect(outcome(await stream.ask(register(account('nurse'))))).toBe('result')
    expect(outcome(await stream.ask(register(account('friar'))))).toBe('modify not-acceptable')
    expect(await canLogIn(`friar@${HOST}`, 'secret')).toBe(false)
  })

  it('§3.1.1: a stream that tries name after name is closed', async () => {
    const stream = await stranger()
    for (let count = 0; count < 10; count++) {
      expect(outcome(await stream.ask(register(account('juliet'))))).toBe('cancel conflict')
    }
    stream.send(register(account('juliet')))
    expect((await stream.streamError()).condition).toBe('policy-violation')
  })

  it('§3.2: who has no account can not remove one', async () => {
    const stream = await stranger()
    const wanted = register('<username>juliet</username><remove/>', 'set', `from='${JULIET}'`)
    expect(outcome(await stream.ask(wanted))).toBe('auth registration-required')
    expect(await canLogIn(JULIET)).toBe(true)
  })

  it('§3.3: a password is not changed without being logged in, whatever the address says', async () => {
    const stream = await stranger()
    const wanted = register(account('juliet', 'other'), 'set', `from='${JULIET}/x' to='${HOST}'`)
    expect(outcome(await stream.ask(wanted))).toBe('cancel conflict')
    expect(await canLogIn(JULIET)).toBe(true)
  })

  it('RFC 6120 §8.2.3: an IQ that is none is refused', async () => {
    const stream = await stranger()
    expect(outcome(await stream.ask(register('', 'wrong')))).toBe('modify bad-request')
    stream.send(`<iq type='result' id='x'><query xmlns='${NS}'/></iq>`)
    expect(outcome(await stream.ask(register('', 'get')))).toBe('result')
  })

  it('RFC 6120 §7.1: other IQs still end the stream', async () => {
    const stream = await stranger()
    stream.send(`<iq type='get' id='x'><ping xmlns='urn:xmpp:ping'/></iq>`)
    expect((await stream.streamError()).condition).toBe('not-authorized')
    const other = await stranger()
    other.send(`<iq type='set' id='x'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>`)
    expect((await other.streamError()).condition).toBe('not-authorized')
  })

  it('two who want the same name: one gets it', async () => {
    const both = [await stranger(), await stranger()]
    const answers = await Promise.all(
      both.map((stream, i) => stream.ask(register(account('nurse', `secret${i}`)))),
    )
    expect(answers.map(outcome).sort()).toEqual(['cancel conflict', 'result'])
    const winner = answers.findIndex((answer) => outcome(answer) === 'result')
    expect(await canLogIn(`nurse@${HOST}`, `secret${winner}`)).toBe(true)
  })
})

describeStored('accounts that are not made', () => {
  it('by default: there is no feature, and service-unavailable (§3.1)', async () => {
    await start()
    const stream = await stranger()
    expect(stream.text).not.toContain(NS_FEATURE)
    expect(outcome(await stream.ask(register('', 'get')))).toBe('cancel service-unavailable')
    expect(outcome(await stream.ask(register(account('nurse'))))).toBe('cancel service-unavailable')
    expect(await canLogIn(`nurse@${HOST}`, 'secret')).toBe(false)
  })

  it.each([
    ['registration_invite_only', { registration_invite_only: true }],
    ['Prosody’s plugin for invitations', { modules_enabled: [...PLUGINS, 'invites_register'] }],
  ])('where %s asks for an invitation', async (_, options) => {
    await start({ allow_registration: true, ...options })
    const stream = await stranger()
    expect(stream.text).not.toContain(NS_FEATURE)
    expect(outcome(await stream.ask(register(account('nurse'))))).toBe('cancel service-unavailable')
    server.log.splice(0)
  })

  it('§11: before TLS, where that is required', async () => {
    await start({ allow_registration: true, c2s_require_encryption: true })
    const stream = await stranger()
    expect(stream.text).not.toContain(NS_FEATURE)
    expect(outcome(await stream.ask(register('', 'get')))).toBe('modify policy-violation')
    expect(outcome(await stream.ask(register(account('nurse'))))).toBe('modify policy-violation')
    await startTls(stream)
    await stream.open(`to='${HOST}' version='1.0'`)
    expect((await stream.named('features')).getChild('register', NS_FEATURE)).toBeDefined()
    expect(outcome(await stream.ask(register(account('nurse'))))).toBe('result')
    const { stream: other } = await secured(server.c2sPort)
    expect(outcome(await kept(other).ask(register(account('nurse'))))).toBe('cancel conflict')
  })
})

describeStored('limits', () => {
  const limited = { allow_registration: true, registration_allowlist: [] }

  it('§3.1.1: so many accounts are made from one address, whatever the stream', async () => {
    await start({ ...limited, min_seconds_between_registrations: 600 })
    expect(outcome(await (await stranger()).ask(register(account('nurse'))))).toBe('result')
    expect(outcome(await (await stranger()).ask(register(account('friar'))))).toBe('wait policy-violation')
    // Which names there are is not for them to see either.
    expect(outcome(await (await stranger()).ask(register(account('juliet'))))).toBe('wait policy-violation')
    // Of each host.
    expect(outcome(await (await stranger(OTHER)).ask(register(account('nurse'))))).toBe('result')
    expect(outcome(await (await stranger()).ask(register('', 'get')))).toBe('result')
  })

  it('addresses of the allowlist are not counted', async () => {
    await start({ ...limited, registration_throttle_max: 0, registration_allowlist: ['127.0.0.0/8'] })
    expect(outcome(await (await stranger()).ask(register(account('nurse'))))).toBe('result')
  })

  it('addresses of the blocklist make none', async () => {
    await start({ ...limited, registration_blocklist: ['127.0.0.1'] })
    expect(outcome(await (await stranger()).ask(register(account('nurse'))))).toBe('auth forbidden')
  })

  it('who has reset the connection behind the request, and so has no address any more, makes none', async () => {
    await start({ ...limited, registration_blocklist: ['127.0.0.1'] })
    const { hosts, sessions } = server.server
    await stranger()
    const asked = {
      username: 'nurse',
      host: HOST,
      ip: 'unknown',
      session: [...sessions][0]!,
      additional: {},
      allowed: true,
    }
    hosts.get(HOST)!.events.fire('user-registering', asked)
    expect(asked.allowed).toBe(false)
  })

  it('only those of the allowlist do, where that is asked for', async () => {
    await start({ ...limited, allowlist_registration_only: true, registration_allowlist: ['192.0.2.1'] })
    expect(outcome(await (await stranger()).ask(register(account('nurse'))))).toBe('auth forbidden')
  })
})

describeStored('more fields', () => {
  beforeEach(() => start({ allow_registration: true, additional_registration_fields: ['email+', 'nick'] }))

  it('§3.1: are asked for, and kept', async () => {
    const stream = await stranger()
    const query = (await stream.ask(register('', 'get'))).getChild('query', NS)!
    expect(query.getChild('email')).toBeDefined()
    expect(outcome(await stream.ask(register(account('nurse'))))).toBe('modify not-acceptable')
    const content = account('nurse', 'secret', '<email>nurse@example.org</email><misc>x</misc>')
    expect(outcome(await stream.ask(register(content)))).toBe('result')
    const details = await server.server.storage.openKeyval(HOST, 'account_details').get('nurse')
    expect(details).toEqual({ email: 'nurse@example.org', registered: expect.any(Number) })
  })
})

describeStored('who has an account (§3.3)', () => {
  beforeEach(() => start())

  it('§3.1: is told so', async () => {
    const juliet = await connect(JULIET)
    for (const attrs of ['', `to='${HOST}'`, `to='${JULIET}'`]) {
      const query = (await juliet.ask(register('', 'get', attrs))).getChild('query', NS)!
      expect(query.getChild('registered')).toBeDefined()
      expect(query.getChildText('username')).toBe('juliet')
      expect(query.getChildText('password')).toBe('')
    }
  })

  it('§9: sees the feature', async () => {
    const juliet = await connect(JULIET)
    const info = await juliet.ask(
      `<iq type='get' id='i' to='${HOST}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>`,
    )
    expect(
      info
        .getChild('query')!
        .getChildren('feature')
        .map(({ attrs }) => attrs.var),
    ).toContain(NS)
  })

  it.each([
    ['the host', `to='${HOST}'`, account('juliet', 'other')],
    ['nobody', '', account('Juliet', 'other')],
    ['itself', `to='${JULIET}'`, form({ username: 'juliet', password: 'other' })],
  ])('§3.3: changes its password, asking %s', async (_, attrs, content) => {
    const juliet = await connect(`${JULIET}/one`)
    const balcony = await connect(`${JULIET}/two`)
    expect(outcome(await juliet.ask(register(content, 'set', attrs)))).toBe('result')
    expect((await balcony.streamError()).condition).toBe('not-authorized')
    await juliet.settled()
    expect(await canLogIn(JULIET)).toBe(false)
    expect(await canLogIn(JULIET, 'other')).toBe(true)
  })

  it.each([
    ['modify not-acceptable', 'an empty password', account('juliet', '')],
    ['modify not-acceptable', 'a password that is none', account('juliet', 'a&#x9;b')],
    ['modify bad-request', 'no password', '<username>juliet</username>'],
    ['modify bad-request', 'no name', '<password>other</password>'],
    ['modify bad-request', 'another’s name', account('romeo', 'other')],
    ['modify bad-request', 'the name of nobody', account('mercutio', 'other')],
    [
      'modify bad-request',
      'a form with a field twice',
      form({ username: 'juliet', password: 'a' }).replace(
        '</x>',
        `<field var='password'><value>b</value></field></x>`,
      ),
    ],
  ])('§3.3: gets %s for %s, and sees none of it again', async (wanted, _, content) => {
    const juliet = await connect(JULIET)
    const answer = await juliet.ask(register(content, 'set', `to='${HOST}'`))
    expect(outcome(answer)).toBe(wanted)
    expect(answer.getChild('query')).toBeUndefined()
    expect(await canLogIn(JULIET)).toBe(true)
  })

  it('nobody changes or removes the account of another', async () => {
    await server.addUser(`romeo@${HOST}`)
    const romeo = await connect(`romeo@${HOST}`)
    const foreigner = await connect(ROMEO)
    for (const stream of [romeo, foreigner]) {
      for (const content of [account('juliet', 'other'), '<remove/>']) {
        const answer = await stream.ask(register(content, 'set', `to='${JULIET}'`))
        expect(outcome(answer)).toBe('cancel service-unavailable')
      }
    }
    for (const content of [account('romeo', 'other'), '<remove/>']) {
      const answer = await foreigner.ask(register(content, 'set', `to='${HOST}'`))
      expect(outcome(answer)).toBe('cancel service-unavailable')
    }
    for (const jid of [JULIET, ROMEO, `romeo@${HOST}`]) expect(await canLogIn(jid)).toBe(true)
  })
})

describeStored('an account that is removed (§3.2)', () => {
  beforeEach(() => start())

  it('gets its answer, then not-authorized, at all sessions', async () => {
    const juliet = await connect(`${JULIET}/one`)
    const balcony = await connect(`${JULIET}/two`)
    expect(outcome(await juliet.ask(register('<remove/>')))).toBe('result')
    expect((await juliet.streamError()).condition).toBe('not-authorized')
    expect((await balcony.streamError()).condition).toBe('not-authorized')
    expect(await canLogIn(JULIET)).toBe(false)
  })

  it('also by asking the host', async () => {
    const juliet = await connect(JULIET, false)
    expect(outcome(await juliet.ask(register('<remove/>', 'set', `to='${HOST}'`)))).toBe('result')
    expect((await juliet.streamError()).condition).toBe('not-authorized')
  })

  it('stays where <remove/> does not stand alone: bad-request', async () => {
    const juliet = await connect(JULIET)
    for (const content of ['<remove/><username>juliet</username>', '<username>juliet</username><remove/>']) {
      expect(outcome(await juliet.ask(register(content)))).toBe('modify bad-request')
    }
    expect(await canLogIn(JULIET)).toBe(true)
  })

  it('takes back its subscriptions, both ways, and its requests', async () => {
    const juliet = await connect(JULIET)
    const romeo = await connect(ROMEO)
    await server.addUser(`nurse@${HOST}`)
    const nurse = await connect(`nurse@${HOST}`)
    for (const stream of [juliet, romeo, nurse]) {
      await stream.ask(`<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>`)
    }
    const typed = (type: string) => (element: Element) =>
      element.name === 'presence' && element.attrs.type === type
    // Both ways with Romeo; the nurse has asked, and was not answered.
    for (const [one, other, jid, otherJid] of [
      [juliet, romeo, JULIET, ROMEO],
      [romeo, juliet, ROMEO, JULIET],
    ] as const) {
      one.send(`<presence type='subscribe' to='${otherJid}'/>`)
      await other.next(typed('subscribe'))
      other.send(`<presence type='subscribed' to='${jid}'/>`)
      await one.next(typed('subscribed'))
    }
    nurse.send(`<presence type='subscribe' to='${JULIET}'/>`)
    await juliet.next(typed('subscribe'))
    for (const stream of [juliet, romeo, nurse]) await stream.settled()
    romeo.received.splice(0)
    nurse.received.splice(0)

    expect(outcome(await juliet.ask(register('<remove/>')))).toBe('result')
    await juliet.closed()
    await romeo.settled()
    await nurse.settled()
    const types = (stream: TestStream) =>
      stream.received.filter(({ name }) => name === 'presence').map(({ attrs }) => attrs.type)
    expect(types(romeo).sort()).toEqual(['unavailable', 'unsubscribe', 'unsubscribed'])
    expect(types(nurse)).toEqual(['unsubscribed'])
    const item = async (stream: TestStream) => {
      const answer = await stream.ask(
        `<iq type='get' id='roster${++ids}'><query xmlns='jabber:iq:roster'/></iq>`,
      )
      const found = answer
        .getChild('query')!
        .getChildren('item')
        .find(({ attrs }) => attrs.jid === JULIET)
      return { subscription: found?.attrs.subscription, ask: found?.attrs.ask }
    }
    expect(await item(romeo)).toEqual({ subscription: 'none', ask: undefined })
    expect(await item(nurse)).toEqual({ subscription: 'none', ask: undefined })
  })

  it('leaves nothing for a new one of the same name', async () => {
    const juliet = await connect(`${JULIET}/one`)
    const romeo = await connect(ROMEO)
    const requests = [
      `<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='${ROMEO}'/></query></iq>`,
      `<iq type='set' id='2'><vCard xmlns='vcard-temp'><FN>Juliet</FN></vCard></iq>`,
      `<iq type='set' id='3'><query xmlns='jabber:iq:private'><notes xmlns='urn:example:notes'/></query></iq>`,
      `<iq type='set' id='4'><block xmlns='urn:xmpp:blocking'><item jid='${ROMEO}'/></block></iq>`,
      `<iq type='set' id='5'><prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never/></prefs></iq>`,
    ]
    for (const request of requests) expect(outcome(await juliet.ask(request))).toBe('result')
    expect(outcome(await juliet.ask(register('<remove/>')))).toBe('result')
    await juliet.closed()
    const { storage } = server.server
    const left = async () => {
      const stores: string[] = []
      for (const store of STORES) {
        for await (const user of storage.openKeyval(HOST, store).users())
          if (user === 'juliet') stores.push(store)
      }
      return stores
    }
    await expect.poll(left).toEqual([])
    await server.addUser(JULIET)
    const again = await connect(`${JULIET}/two`)
    romeo.send(`<message to='${JULIET}' type='chat'><body>hello</body></message>`)
    await again.named('message')
    const prefs = await again.ask(`<iq type='get' id='6'><prefs xmlns='urn:xmpp:mam:2'/></iq>`)
    expect(prefs.getChild('prefs')!.attrs.default).not.toBe('never')
  })

  it('can be made again over the wire', async () => {
    await server.stop()
    await start({ allow_registration: true })
    const juliet = await connect(JULIET)
    await juliet.ask(register('<remove/>'))
    expect(outcome(await (await stranger()).ask(register(account('juliet'))))).toBe('result')
    expect(await canLogIn(JULIET, 'secret')).toBe(true)
  })
})

describe('registration_delete_grace_period', () => {
  const store = () =>
    server.server.storage.openMap<{ deleted_at: number; pending_until: number }>(HOST, 'accounts_cleanup')
  const users = () => server.server.hosts.get(HOST)!.users!
  const refusal = (password: string) =>
    login(server.c2sPort, `${JULIET}/again`, { password }).then(
      () => 'none',
      (error: Error) => /<(not-authorized|account-disabled)/.exec(error.message)?.[1] ?? error.message,
    )
  const lookAgain = () => server.server.events.fire('server-started', {})

  /** Juliet has removed her account, and its time is over. */
  async function overdue(): Promise<void> {
    await store().set(null, 'juliet', { deleted_at: 1, pending_until: 2 })
    await users().disable('juliet', { reason: 'ibr', when: 1, until: 2 })
  }

  it('nobody can log in, its name is taken, and its contacts are told nothing', async () => {
    await start({ allow_registration: true, registration_delete_grace_period: '1 day' })
    const juliet = await connect(`${JULIET}/one`)
    const other = await connect(`${JULIET}/two`)
    const roster = `<query xmlns='jabber:iq:roster'><item jid='${ROMEO}'/></query>`
    await juliet.ask(`<iq type='set' id='add'>${roster}</iq>`)
    const before = Math.floor(Date.now() / 1000)
    expect(outcome(await juliet.ask(register('<remove/>')))).toBe('result')
    expect((await juliet.streamError()).condition).toBe('not-authorized')
    expect((await other.streamError()).condition).toBe('not-authorized')
    expect(await refusal('pw')).toBe('account-disabled')
    // Only who knows the password learns of it.
    expect(await refusal('other')).toBe('not-authorized')
    expect(outcome(await (await stranger()).ask(register(account('juliet'))))).toBe('cancel conflict')
    const { deleted_at, pending_until } = (await store().get(null, 'juliet'))!
    expect(deleted_at).toBeGreaterThanOrEqual(before)
    expect(pending_until).toBe(deleted_at + 86_400)
    lookAgain()
    expect(await refusal('pw')).toBe('account-disabled')
    expect(await server.server.storage.openKeyval(HOST, 'roster').get('juliet')).toBeDefined()
    expect((await store().getAll(null)).size).toBe(1)
  })

  it('it is deleted when the time is over, and its name is free', async () => {
    await start({ allow_registration: true, registration_delete_grace_period: 1 })
    const juliet = await connect(JULIET)
    expect(outcome(await juliet.ask(register('<remove/>')))).toBe('result')
    await expect.poll(() => users().exists('juliet'), { timeout: 10_000 }).toBe(false)
    await expect.poll(async () => (await store().getAll(null)).size).toBe(0)
    expect(await refusal('pw')).toBe('not-authorized')
    expect(outcome(await (await stranger()).ask(register(account('juliet'))))).toBe('result')
  })

  it('also when the server was restarted meanwhile, and the option is gone', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'legate-grace-'))
    const options = { storage: 'internal', data_path: folder }
    try {
      await start({ ...options, registration_delete_grace_period: 3600 })
      const juliet = await connect(JULIET)
      expect(outcome(await juliet.ask(register('<remove/>')))).toBe('result')
      await juliet.closed()
      await overdue()
      await server.stop()
      await start(options, [])
      await expect.poll(() => users().exists('juliet')).toBe(false)
      await expect.poll(async () => (await store().getAll(null)).size).toBe(0)
    } finally {
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it.each([
    ['restored', undefined],
    ['removed again', { reason: 'ibr', when: 1, until: 4e9 }],
    ['removed for ever', { reason: 'ibr', when: 1 }],
  ] as const)('one that was %s meanwhile is left', async (_, disabled) => {
    await start()
    await overdue()
    await users().disable('juliet', disabled)
    lookAgain()
    await expect.poll(async () => (await store().getAll(null)).size).toBe(0)
    expect(await refusal('pw')).toBe(disabled === undefined ? 'none' : 'account-disabled')
  })

  it('"never" keeps it for ever', async () => {
    await start({ registration_delete_grace_period: 'never' })
    const juliet = await connect(JULIET)
    expect(outcome(await juliet.ask(register('<remove/>')))).toBe('result')
    expect((await users().read('juliet'))!.disabled).not.toHaveProperty('until')
    expect((await store().getAll(null)).size).toBe(0)
  })

  it('a new password does not enable it', async () => {
    await start()
    await overdue()
    await users().setPassword('juliet', 'other')
    expect(await refusal('other')).toBe('account-disabled')
  })
})

describePeer('several processes', redisAvailable(), () => {
  let peer: SingleRedis
  let second: TestServer

  beforeEach(async () => {
    peer = await startRedis({ appendonly: 'yes', appendfsync: 'always' })
    const options = (name: string) => ({
      modules_enabled: PLUGINS,
      storage: 'redis' as const,
      redis: { url: peer.redis.url, prefix: 'test' },
      cluster: { name },
      allow_registration: true,
      registration_allowlist: [],
      registration_throttle_max: 1,
      virtualHosts: { [HOST]: {} },
    })
    await start(options('one'), [JULIET])
    second = await startServer(options('two'))
    await expect.poll(() => server.server.cluster!.members.size).toBe(2)
  })

  afterEach(async () => {
    await second.stop()
    await peer.stop()
  })

  it('§3.3: the other sessions end wherever they are, when a password is changed', async () => {
    const juliet = await connect(`${JULIET}/one`)
    const balcony = kept(await login(second.c2sPort, `${JULIET}/two`))
    await balcony.settled()
    expect(outcome(await juliet.ask(register(account('juliet', 'other'))))).toBe('result')
    expect((await balcony.streamError()).condition).toBe('not-authorized')
    await juliet.settled()
  })

  it('§3.2: all sessions end wherever they are, when the account is removed', async () => {
    const juliet = await connect(`${JULIET}/one`)
    const balcony = kept(await login(second.c2sPort, `${JULIET}/two`))
    await balcony.settled()
    expect(outcome(await juliet.ask(register('<remove/>')))).toBe('result')
    expect((await balcony.streamError()).condition).toBe('not-authorized')
    expect((await juliet.streamError()).condition).toBe('not-authorized')
    expect(await canLogIn(JULIET)).toBe(false)
  })

  it('one of them deletes an account whose time is over', async () => {
    let deleted = 0
    for (const { server: one } of [server, second]) {
      one.hosts.get(HOST)!.events.add('user-deregistered', () => void deleted++, 0, 'test')
    }
    const juliet = await connect(`${JULIET}/one`)
    await server.server.storage
      .openMap(HOST, 'accounts_cleanup')
      .set(null, 'juliet', { deleted_at: 1, pending_until: 2 })
    await server.server.hosts.get(HOST)!.users!.disable('juliet', { reason: 'ibr', when: 1, until: 2 })
    for (const { server: one } of [server, second]) one.events.fire('server-started', {})
    await expect.poll(() => deleted).toBe(1)
    expect((await juliet.streamError()).condition).toBe('not-authorized')
    expect(await canLogIn(JULIET)).toBe(false)
    expect(deleted).toBe(1)
  })

  it('accounts from one address are counted together', async () => {
    expect(outcome(await (await stranger()).ask(register(account('nurse'))))).toBe('result')
    const there = async (user: string) =>
      outcome(await kept(await opened(second.c2sPort)).ask(register(account(user))))
    // The other process has heard of it by the time that it has heard of a change after it.
    await expect.poll(() => there('nurse')).toBe('wait policy-violation')
    expect(await there('friar')).toBe('wait policy-violation')
  })
})
