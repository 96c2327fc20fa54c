// Addresses by RFC 7622 over real sockets: who logs in as whom, what is delivered to whom, what is refused.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import {
  authenticated,
  base64,
  bindIq,
  conditionOf,
  NS_SASL,
  opened,
  scram,
  troubles,
} from '../shared/streams.ts'

const HOST = 'bücher.example'
const A_LABEL = 'xn--bcher-kva.example'
const ACCOUNTS = ['jülïet', 'fußball', 'fussball', 'σ', 'ς', 'क\u094d\u200dष', 'אב1', 'ꭰ', 'iv', 'romeo']

let server: TestServer
const streams: TestStream[] = []

async function connect(jid: string): Promise<TestStream> {
  const stream = await login(server.c2sPort, jid)
  streams.push(stream)
  return stream
}

async function bound(user: string, resource: string): Promise<TestStream> {
  const stream = await authenticated(server.c2sPort, user, HOST)
  streams.push(stream)
  stream.jid = (await stream.ask(bindIq(resource))).getChild('bind')?.getChildText('jid') ?? ''
  return stream
}

const rosterSet = (jid: string) =>
  `<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='${jid}'/></query></iq>`

beforeAll(async () => {
  server = await startServer(
    { virtualHosts: { [A_LABEL]: {} } },
    ACCOUNTS.map((local) => `${local}@${HOST}`),
  )
})

afterEach(async () => {
  await Promise.all(streams.splice(0).map((stream) => stream.destroy()))
})

afterAll(async () => {
  expect(troubles(server)).toEqual([])
  await server.stop()
})

describe('domainparts', () => {
  it.each([A_LABEL, HOST, 'BÜCHER.EXAMPLE', 'bu\u0308cher.example', 'ｂücher．example', `${HOST}.`])(
    '§3.2: %s is the host, whose name is its U-labels',
    async (to) => {
      const stream = await opened(server.c2sPort, to)
      streams.push(stream)
      expect(stream.header?.attrs.from).toBe(HOST)
      const romeo = await connect(`romeo@${HOST}`)
      const answer = await romeo.ask(`<iq type='get' id='1' to='${to}'><ping xmlns='urn:xmpp:ping'/></iq>`)
      expect([answer.attrs.type, answer.attrs.from]).toEqual(['result', HOST])
    },
  )
})

describe('localparts', () => {
  it.each([
    ['jülïet', 'jülïet'],
    ['JÜLÏET', 'jülïet'],
    ['ju\u0308li\u0308et', 'jülïet'],
    ['ｊüｌïｅｔ', 'jülïet'],
    ['fußball', 'fußball'],
    ['FUẞBALL', 'fußball'],
    ['FUSSBALL', 'fussball'],
    ['Σ', 'σ'],
    ['ς', 'ς'],
    ['क\u094d\u200dष', 'क\u094d\u200dष'],
    ['אב1', 'אב1'],
    ['Ꭰ', 'ꭰ'],
    // No name by RFC 8265; SASLprep, which RFC 5802 §5.1 asks for, makes one of it
    ['Ⅳ', 'iv'],
    ['ro\u00admeo', 'romeo'],
  ])('§3.3: %j logs in as %j, with PLAIN and with SCRAM', async (user, local) => {
    const plain = await bound(user, 'plain')
    expect(plain.jid).toBe(`${local}@${HOST}/plain`)
    const stream = await opened(server.c2sPort, HOST)
    streams.push(stream)
    expect((await scram(stream, 'SCRAM-SHA-256', user)).getName()).toBe('success')
    stream.restart()
    await stream.open(`to='${HOST}' version='1.0'`)
    await stream.named('features')
    const answer = await stream.ask(bindIq('scram'))
    expect(answer.getChild('bind')?.getChildText('jid')).toBe(`${local}@${HOST}/scram`)
    expect(server.server.hosts.get(HOST)!.accounts.get(local)?.sessions.size).toBe(2)
  })

  it('§3.3: an authzid is the same in every spelling', async () => {
    const stream = await opened(server.c2sPort, HOST)
    streams.push(stream)
    const initial = base64(`JÜLÏET@${A_LABEL}\0jülïet\0pw`)
    stream.send(`<auth xmlns='${NS_SASL}' mechanism='PLAIN'>${initial}</auth>`)
    expect((await stream.next()).getName()).toBe('success')
  })

  it.each(['♚', 'foo bar', 'a@b', 'a＠b', '\u{1f600}', 'אa', 'a\u202eb', '\u0378', '½/½', '\u00ad'])(
    '§3.3: %j is nobody, and does not log in',
    async (user) => {
      const stream = await opened(server.c2sPort, HOST)
      streams.push(stream)
      stream.send(`<auth xmlns='${NS_SASL}' mechanism='PLAIN'>${base64(`\0${user}\0pw`)}</auth>`)
      const failure = await stream.next()
      expect([failure.getName(), conditionOf(failure)]).toEqual(['failure', 'not-authorized'])
    },
  )

  it('§3.3: a message comes in every spelling of the address, and not in another letter', async () => {
    const romeo = await connect(`romeo@${HOST}`)
    const [eszett, ss] = [await connect(`fußball@${HOST}`), await connect(`fussball@${HOST}`)]
    for (const [to, receiver, other] of [
      [`FUẞball@${A_LABEL}`, eszett, ss],
      [`ｆｕｓｓｂａｌｌ@BÜCHER.example`, ss, eszett],
    ] as const) {
      romeo.send(`<message to='${to}' id='m'><body>hi</body></message>`)
      expect((await receiver.withId('m')).getChildText('body')).toBe('hi')
      await other.settled()
      expect(other.received.filter((element) => element.is('message'))).toEqual([])
    }
  })
})

describe('resourceparts', () => {
  it.each([
    ['mön\u00a0téléphone', 'mön téléphone'],
    [' spaces ', ' spaces '],
    ['Ⅳ ﬁ Ａ', 'Ⅳ ﬁ Ａ'],
    ['e\u0301', 'é'],
    ['\u{1f4f1}\u{1f3fd}', '\u{1f4f1}\u{1f3fd}'],
    ['aא/@', 'aא/@'],
    ['é'.repeat(511), 'é'.repeat(511)],
  ])('§3.4: %j is bound as %j, and reached by both', async (wanted, resource) => {
    const stream = await bound('romeo', wanted)
    expect(stream.jid).toBe(`romeo@${HOST}/${resource}`)
    const sender = await connect(`fussball@${HOST}`)
    for (const spelling of [wanted, resource]) {
      sender.send(`<message to='romeo@${HOST}/${spelling}' id='m'><body>hi</body></message>`)
      expect((await stream.withId('m')).getChildText('body')).toBe('hi')
    }
  })

  it.each(['a\u00adb', '\u200b', '\u2764\ufe0f', 'a\u202eb', '\u0378', '\u1100', 'é'.repeat(512)])(
    'RFC 6120 §7.7.2.1: %j gives bad-request, and another may be tried',
    async (wanted) => {
      const stream = await authenticated(server.c2sPort, 'romeo', HOST)
      streams.push(stream)
      const answer = await stream.ask(bindIq(wanted))
      expect([answer.attrs.type, conditionOf(answer)]).toEqual(['error', 'bad-request'])
      expect((await stream.ask(bindIq('balcony', 'again'))).attrs.type).toBe('result')
    },
  )
})

describe('what is no address', () => {
  // RFC 7622 §3.5, table 2, but for the space before a resource (erratum 4560); and the rules it names
  it.each([
    '&quot;juliet&quot;@example.com',
    'foo bar@example.com',
    '@example.com/',
    'henryⅣ@example.com',
    '♚@example.com',
    'juliet@',
    '/foobar',
    'a·b@example.com',
    'a\u200db@example.com',
    'אa@example.com',
    'ju\u00adliet@example.com',
    '♚.example',
    'xn--45h.example',
    'aא.example',
    '1a.אב',
    'example.com/\u200b',
    'example.com/l·',
    `${'é'.repeat(512)}@example.com`,
  ])('RFC 6120 §8.3.3.8: %s gives jid-malformed', async (to) => {
    const romeo = await connect(`romeo@${HOST}`)
    for (const stanza of [
      `<message id='1' to='${to}'/>`,
      `<iq id='1' type='get' to='${to}'><ping xmlns='urn:xmpp:ping'/></iq>`,
      `<presence id='1' to='${to}'/>`,
    ]) {
      romeo.send(stanza)
      const answer = await romeo.withId('1')
      expect([answer.attrs.type, conditionOf(answer)]).toEqual(['error', 'jid-malformed'])
    }
  })
})

describe('rosters', () => {
  it('an item has the prepared address, and there is one for all its spellings', async () => {
    const romeo = await connect(`romeo@${HOST}`)
    for (const jid of [`JÜLÏET@${A_LABEL}`, `ju\u0308li\u0308et@${HOST}`, `ｊüｌïｅｔ@BÜCHER.example`]) {
      expect((await romeo.ask(rosterSet(jid))).attrs.type).toBe('result')
    }
    const answer = await romeo.ask("<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>")
    const items = answer.getChild('query')!.getChildElements()
    expect(items.map((item) => item.attrs.jid)).toEqual([`jülïet@${HOST}`])
  })

  it('ß and ss, σ and ς are different contacts', async () => {
    const stream = await connect(`fussball@${HOST}`)
    const contacts = [`fußball@${HOST}`, `σ@${HOST}`, `ς@${HOST}`]
    for (const jid of contacts) expect((await stream.ask(rosterSet(jid))).attrs.type).toBe('result')
    const answer = await stream.ask("<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>")
    const items = answer.getChild('query')!.getChildElements()
    expect(items.map((item) => item.attrs.jid).sort()).toEqual([...contacts].sort())
  })

  it.each(['♚@example.com', 'foo bar@example.com', 'aא.example'])('%s is no contact', async (jid) => {
    const answer = await (await connect(`romeo@${HOST}`)).ask(rosterSet(jid))
    expect([answer.attrs.type, conditionOf(answer)]).toEqual(['error', 'bad-request'])
  })
})
