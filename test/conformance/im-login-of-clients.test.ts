/**
 * What Gajim, Dino and Conversations ask of a server when they log in (of the last by what it is known to support; the
 * others' sources were read in passing): each IQ is answered, by a result or by an error that says what is the matter (RFC 6120 §8.2.3, §8.3), never by silence or a stream error.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { login, type TestStream } from '../shared/client.ts'
import { IM_PLUGINS } from '../shared/peers/im-server.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'

const HOST = 'capulet.lit'
const NS_SM = 'urn:xmpp:sm:3'

const OK = 'result'
/** RFC 6120 §8.3.3.19: what nobody serves. */
const NOBODY = 'service-unavailable'

/** What a client asks, and what it gets. */
interface Question {
  /** What it wants, and by which specification. */
  what: string
  type: 'get' | 'set'
  /** Left out where the client sends no `to`. */
  to?: (account: string) => string
  payload: string
  /** From a server with everything for people. */
  outcome: string
  /** From a server that does not know any of it; the same where it is left out. */
  without?: string
}

const server = () => HOST
const account = (jid: string) => jid

const info = (what: string, to: Question['to']): Question => ({
  what: `XEP-0030, ${what}`,
  type: 'get',
  to,
  payload: `<query xmlns='http://jabber.org/protocol/disco#info'/>`,
  outcome: OK,
})
const items = (what: string, to: Question['to']): Question => ({
  what: `XEP-0030, ${what}`,
  type: 'get',
  to,
  payload: `<query xmlns='http://jabber.org/protocol/disco#items'/>`,
  outcome: OK,
})
/** Without the plugin `adhoc` there is no such node. */
const COMMANDS: Question = {
  what: 'XEP-0050: commands of the server',
  type: 'get',
  to: server,
  payload: `<query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/>`,
  outcome: 'item-not-found',
}
const privateXml = (what: string, element: string): Question => ({
  what: `XEP-0049, ${what}`,
  type: 'get',
  payload: `<query xmlns='jabber:iq:private'>${element}</query>`,
  outcome: OK,
  without: NOBODY,
})
/** Without a service for it, nobody serves PEP: a delegated one is `examples` and `libervia.test.ts`. */
const pep = (what: string, node: string, to?: Question['to']): Question => ({
  what: `XEP-0163, ${what}`,
  type: 'get',
  to,
  payload: `<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='${node}'/></pubsub>`,
  outcome: NOBODY,
})
const publish = (what: string, node: string, item: string): Question => ({
  what: `XEP-0163, ${what}`,
  type: 'set',
  payload:
    `<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='${node}'><item id='current'>${item}</item>` +
    `</publish><publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>` +
    `<value>http://jabber.org/protocol/pubsub#publish-options</value></field><field var='pubsub#access_model'>` +
    `<value>open</value></field></x></publish-options></pubsub>`,
  outcome: NOBODY,
})

const ROSTER: Question = {
  what: 'RFC 6121 §2.6: the roster, with an empty version',
  type: 'get',
  payload: `<query xmlns='jabber:iq:roster' ver=''/>`,
  outcome: OK,
}
const CARBONS: Question = {
  what: 'XEP-0280: copies',
  type: 'set',
  payload: `<enable xmlns='urn:xmpp:carbons:2'/>`,
  outcome: OK,
  without: NOBODY,
}
const BLOCKED: Question = {
  what: 'XEP-0191: who is blocked',
  type: 'get',
  payload: `<blocklist xmlns='urn:xmpp:blocking'/>`,
  outcome: OK,
  without: NOBODY,
}
const PING: Question = {
  what: 'XEP-0199: whether the server is there',
  type: 'get',
  to: server,
  payload: `<ping xmlns='urn:xmpp:ping'/>`,
  outcome: OK,
}
const RELAYS: Question = {
  what: 'XEP-0215: relays for calls',
  type: 'get',
  to: server,
  payload: `<services xmlns='urn:xmpp:extdisco:2'/>`,
  outcome: NOBODY,
}
const UPLOAD: Question = {
  what: 'XEP-0363: a slot for a file',
  type: 'get',
  to: server,
  payload: `<request xmlns='urn:xmpp:http:upload:0' filename='a.jpg' size='1' content-type='image/jpeg'/>`,
  outcome: NOBODY,
}
const CARD: Question = {
  what: 'XEP-0054: its own card, which is not there yet',
  type: 'get',
  to: account,
  payload: `<vCard xmlns='vcard-temp'/>`,
  outcome: 'item-not-found',
  without: NOBODY,
}
const DEVICES = pep('the devices of OMEMO', 'eu.siacs.conversations.axolotl.devicelist', account)

/** XEP-0313: the end of the archive, and what came after the message that it has last seen. */
function archive(page: string, more = ''): Question {
  return {
    what: `XEP-0313, ${page}`,
    type: 'set',
    payload:
      `<query xmlns='urn:xmpp:mam:2' queryid='q'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' ` +
      `type='hidden'><value>urn:xmpp:mam:2</value></field>${more}</x><set xmlns='http://jabber.org/protocol/rsm'>` +
      `${page}</set></query>`,
    outcome: OK,
    without: NOBODY,
  }
}
const SINCE = `<field var='start'><value>2026-01-01T00:00:00Z</value></field>`

const CLIENTS: Record<string, Question[]> = {
  Gajim: [
    info('the server', server),
    info('the account', account),
    items('the server', server),
    { ...ROSTER, payload: `<query xmlns='jabber:iq:roster'/>` },
    privateXml('bookmarks', `<storage xmlns='storage:bookmarks'/>`),
    privateXml('notes about contacts', `<storage xmlns='storage:rosternotes'/>`),
    privateXml('what separates groups', `<roster xmlns='roster:delimiter'/>`),
    pep('bookmarks', 'urn:xmpp:bookmarks:1'),
    BLOCKED,
    CARBONS,
    archive('<max>50</max>', SINCE),
    archive('<max>1</max><before/>'),
    { ...CARD, to: undefined, what: 'XEP-0054: its own card, of whom it does not name' },
    DEVICES,
    publish(
      'OMEMO',
      'eu.siacs.conversations.axolotl.devicelist',
      `<list xmlns='eu.siacs.conversations.axolotl'/>`,
    ),
    pep('the keys of OpenPGP', 'urn:xmpp:openpgp:0:public-keys', account),
    {
      what: 'XEP-0292: changes of its card',
      type: 'set',
      to: account,
      payload: `<pubsub xmlns='http://jabber.org/protocol/pubsub'><subscribe node='urn:xmpp:vcard4' jid='juliet@capulet.lit'/></pubsub>`,
      outcome: NOBODY,
    },
    COMMANDS,
    RELAYS,
    UPLOAD,
    {
      what: 'XEP-0441: what is archived',
      type: 'get',
      payload: `<prefs xmlns='urn:xmpp:mam:2'/>`,
      outcome: OK,
      without: NOBODY,
    },
    PING,
  ],
  Dino: [
    info('the server', server),
    info('the account', account),
    items('the server', server),
    CARBONS,
    ROSTER,
    BLOCKED,
    privateXml('bookmarks', `<storage xmlns='storage:bookmarks'/>`),
    pep('bookmarks', 'urn:xmpp:bookmarks:1'),
    pep('the devices of OMEMO', 'eu.siacs.conversations.axolotl.devicelist'),
    publish(
      'OMEMO',
      'eu.siacs.conversations.axolotl.bundles:1',
      `<bundle xmlns='eu.siacs.conversations.axolotl'/>`,
    ),
    archive('<max>20</max><before/>'),
    archive('<max>20</max>', `${SINCE}<field var='end'><value>2026-12-31T00:00:00Z</value></field>`),
    RELAYS,
    { ...CARD, to: account },
    {
      what: 'XEP-0202: the time of the server',
      type: 'get',
      to: server,
      payload: `<time xmlns='urn:xmpp:time'/>`,
      outcome: OK,
    },
    UPLOAD,
    PING,
  ],
  Conversations: [
    info('the server', server),
    info('the account', account),
    items('the server', server),
    COMMANDS,
    CARBONS,
    ROSTER,
    privateXml('bookmarks', `<storage xmlns='storage:bookmarks'/>`),
    pep('bookmarks', 'urn:xmpp:bookmarks:1'),
    pep('bookmarks of old', 'storage:bookmarks'),
    BLOCKED,
    archive('<max>50</max>', SINCE),
    archive('<max>50</max><before/>', `${SINCE}<field var='with'><value>romeo@capulet.lit</value></field>`),
    DEVICES,
    publish(
      'OMEMO',
      'eu.siacs.conversations.axolotl.devicelist',
      `<list xmlns='eu.siacs.conversations.axolotl'/>`,
    ),
    pep('its avatar', 'urn:xmpp:avatar:metadata', account),
    pep('its nickname', 'http://jabber.org/protocol/nick', account),
    CARD,
    {
      what: 'XEP-0357: a push service',
      type: 'set',
      payload: `<enable xmlns='urn:xmpp:push:0' jid='push.example.org' node='n'/>`,
      outcome: NOBODY,
    },
    {
      what: 'XEP-0363, of old: a slot for a file',
      type: 'get',
      to: server,
      payload: `<request xmlns='urn:xmpp:http:upload'><filename>a.jpg</filename><size>1</size></request>`,
      outcome: NOBODY,
    },
    UPLOAD,
    RELAYS,
    {
      what: 'XEP-0077: whether it is registered',
      type: 'get',
      to: server,
      payload: `<query xmlns='jabber:iq:register'/>`,
      outcome: OK,
      without: NOBODY,
    },
    {
      what: 'RFC 3921 §3: a session',
      type: 'set',
      payload: `<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>`,
      outcome: OK,
    },
    PING,
  ],
}

/** `result`, or the condition of an error that is as RFC 6120 §8.3.2 wants it. */
function outcomeOf(answer: Awaited<ReturnType<TestStream['ask']>>): string {
  if (answer.attrs.type === 'result') return OK
  const error = answer.getChild('error')
  const [condition] = error?.getChildElements() ?? []
  expect(error?.attrs.type, 'the type of an error').toMatch(/^(auth|cancel|continue|modify|wait)$/)
  expect(condition?.getNS()).toBe('urn:ietf:params:xml:ns:xmpp-stanzas')
  return condition?.getName() ?? 'nothing'
}

describe.each([
  ['a server with everything for people', IM_PLUGINS, true],
  ['a server that knows nothing of it', USUAL_PLUGINS, false],
])('%s', (_, modules_enabled, everything) => {
  let running: TestServer

  beforeAll(async () => {
    running = await startServer(
      { modules_enabled, virtualHosts: { [HOST]: {} } },
      Object.keys(CLIENTS).map((client) => `${client.toLowerCase()}@${HOST}`),
    )
  })
  afterAll(() => running?.stop())

  it.each(Object.entries(CLIENTS))('%s logs in, and has everything answered', async (client, questions) => {
    const bare = `${client.toLowerCase()}@${HOST}`
    const stream = await login(running.c2sPort, `${bare}/${client}`, { presence: false })
    try {
      if (stream.text.includes(NS_SM)) {
        // XEP-0198 §3: as all of them do where it is offered
        stream.send(`<enable xmlns='${NS_SM}' resume='true'/>`)
        expect((await stream.named('enabled')).attrs.id).toBeDefined()
      }
      // All at once, with presence in between, as they do.
      const ids = questions.map((_, number) => `${client}-${number}`)
      const iqs = questions.map(({ type, to, payload }, number) => {
        const address = to === undefined ? '' : ` to='${to(bare)}'`
        return `<iq type='${type}' id='${ids[number]}'${address}>${payload}</iq>`
      })
      const caps = `<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:x' ver='q07IKJEyjvHSyhy//CH0CxmKi8w='/>`
      stream.send(`${iqs.slice(0, 5).join('')}<presence>${caps}</presence>${iqs.slice(5).join('')}`)
      const answers = []
      for (const id of ids) answers.push(await stream.withId(id))
      const got = answers.map((answer, number) => [questions[number]!.what, outcomeOf(answer)])
      const wanted = questions.map((one) => [
        one.what,
        everything ? one.outcome : (one.without ?? one.outcome),
      ])
      expect(got).toEqual(wanted)
      for (const [number, { attrs }] of answers.entries()) {
        // RFC 6120 §8.1.2.1: the answer comes from whom was asked.
        const to = questions[number]!.to?.(bare)
        expect([undefined, bare, to], questions[number]!.what).toContain(attrs.from)
        if (to !== undefined && to !== bare) expect(attrs.from).toBe(to)
      }
      await stream.settled()
      expect(stream.ended).toBe(false)
    } finally {
      await stream.destroy()
    }
  })
})
