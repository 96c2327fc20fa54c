/** Delegations as they are configured (rules C1 to C5), with the files and mistakes of real operators. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { afterEach, describe, expect, it } from 'vitest'
import { checkDelegations } from '../../plugins/delegation/check.ts'
import { configFromObject, loadConfigFile, type ServerOptions } from '../../server/config/index.ts'
import { createLogger } from '../../server/log.ts'
import { Server } from '../../server/server.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import {
  componentSettled,
  conditionOf,
  errorLines,
  forwardedTo,
  goodReply,
  newId,
  unreadRequests,
} from '../shared/delegation.ts'
import { startServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const PUBSUB = `pubsub.${HOST}`

const endings: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})

const query = (to: string, payload: string): string =>
  `<iq type='get' id='${newId()}' ${to === '' ? '' : `to='${to}'`}>${payload}</iq>`

/** Asks; the manager answers. */
async function isForwarded(asker: TestStream, manager: TestStream, payload: string): Promise<void> {
  const answer = asker.ask(query('', payload))
  manager.send(goodReply(await forwardedTo(manager)))
  expect([payload, (await answer).attrs.type]).toEqual([payload, 'result'])
}

/** Asks; the manager hears nothing of it. */
async function isNotForwarded(asker: TestStream, manager: TestStream, payload: string): Promise<void> {
  expect([payload, conditionOf(await asker.ask(query('', payload)))]).toEqual([
    payload,
    'service-unavailable',
  ])
  await componentSettled(manager, HOST)
  expect(unreadRequests(manager)).toEqual([])
}

/** Starts a server from the text of a prosody.cfg.lua, as `legate start` does, with ports and paths of its own. */
async function startFrom(lua: string): Promise<{ server: Server; log: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'legate-config-'))
  endings.push(async () => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'prosody.cfg.lua')
  const own = [
    `data_path = "${folder}"`,
    'storage = "memory"',
    'interfaces = { "127.0.0.1" }',
    'c2s_ports = { 0 }',
    'component_ports = { 0 }',
    'component_interfaces = { "127.0.0.1" }',
    'c2s_require_encryption = false',
    'allow_unencrypted_plain_auth = true',
  ]
  writeFileSync(file, `${own.join('\n')}\n${lua}`)
  const log: string[] = []
  const stdout = new Writable({
    write(chunk: Buffer, _encoding, done) {
      log.push(...chunk.toString().split('\n').filter(Boolean))
      done()
    },
  })
  const logger = createLogger([{ levels: { min: 'debug' }, to: 'console' }], { directory: folder, stdout })
  const server = new Server(await loadConfigFile(file), logger.logger)
  await server.start()
  endings.push(() => server.stop().then(() => logger.close()))
  return { server, log }
}

async function connectTo(server: Server): Promise<{ juliet: TestStream; pubsub: TestStream }> {
  const portOf = (service: string) => server.addresses.find((address) => address.service === service)!.port
  await server.hosts.get(HOST)!.users!.create('juliet', 'pw')
  const pubsub = await connectComponent(portOf('component'), PUBSUB, 'yourpassword')
  const juliet = await login(portOf('c2s'), `juliet@${HOST}/balcony`)
  endings.push(
    () => pubsub.destroy(),
    () => juliet.destroy(),
  )
  return { juliet, pubsub }
}

describe('the page of the original module', () => {
  it('its example: two namespaces for one component, one of them filtered', async () => {
    const { server, log } = await startFrom(`
      modules_enabled = {
              "roster"; "saslauth"; "disco";

              "delegation";
      }

      VirtualHost "capulet.lit"

          delegations = {
              ["urn:xmpp:mam:0"] = {
                  filtering = {"node"};
                  jid = "pubsub.capulet.lit";
              },
              ["http://jabber.org/protocol/pubsub"] = {
                  jid = "pubsub.capulet.lit";
              },
          }

      Component "pubsub.capulet.lit"
          component_secret = "yourpassword"
          modules_enabled = {"delegation"}
    `)
    const { juliet, pubsub } = await connectTo(server)
    const list = (await pubsub.named('message')).getChild('delegation')!.getChildElements()
    // A table of Lua has no order.
    const attributes = Object.fromEntries(
      list.map((delegated) => [
        delegated.attrs.namespace as string,
        delegated.getChildElements().map(({ attrs }) => attrs.name as string),
      ]),
    )
    expect(attributes).toEqual({ 'urn:xmpp:mam:0': ['node'], 'http://jabber.org/protocol/pubsub': [] })
    await isForwarded(juliet, pubsub, "<query xmlns='urn:xmpp:mam:0' node='urn:xmpp:microblog:0'/>")
    await isNotForwarded(juliet, pubsub, "<query xmlns='urn:xmpp:mam:0'/>")
    await isForwarded(juliet, pubsub, "<pubsub xmlns='http://jabber.org/protocol/pubsub'/>")
    await isForwarded(juliet, pubsub, "<pubsub xmlns='http://jabber.org/protocol/pubsub' node='x'/>")
    expect(log.filter((line) => / error /.test(line))).toEqual([])
  })

  it('its newer example, with the nodes of service discovery: what is a namespace works', async () => {
    const { server, log } = await startFrom(`
      modules_enabled = { "saslauth", "delegation" }
      VirtualHost "capulet.lit"
          delegations = {
              ["urn:xmpp:mam:2"] = { filtering = {"node"}; jid = "pubsub.capulet.lit"; },
              ["http://jabber.org/protocol/pubsub"] = { jid = "pubsub.capulet.lit"; },
              ["http://jabber.org/protocol/pubsub#owner"] = { jid = "pubsub.capulet.lit"; },
              ["urn:xmpp:delegation:2:bare:disco#info:*"] = { jid = "pubsub.capulet.lit"; },
              ["urn:xmpp:delegation:2:bare:disco#items:*"] = { jid = "pubsub.capulet.lit"; },
          }
      Component "pubsub.capulet.lit"
          component_secret = "yourpassword"
          modules_enabled = {"delegation"}
    `)
    const { juliet, pubsub } = await connectTo(server)
    await isForwarded(juliet, pubsub, "<query xmlns='urn:xmpp:mam:2' node='x'/>")
    await isForwarded(juliet, pubsub, "<pubsub xmlns='http://jabber.org/protocol/pubsub'/>")
    await isForwarded(juliet, pubsub, "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'/>")
    expect(log.filter((line) => / error /.test(line) && !line.includes('disco#'))).toEqual([])
  })
})

/** A namespace, an entry with a mistake, and words of what is said about it. */
const MISTAKES: [namespace: string, entry: unknown, words: string][] = [
  ['', { jid: PUBSUB }, 'the namespace is empty'],
  ['urn:xmpp:delegation:2', { jid: PUBSUB }, 'can not be delegated'],
  ['urn:bad:true', true, 'must be a table'],
  ['urn:bad:text', PUBSUB, 'must be a table'],
  ['urn:bad:number', 1, 'must be a table'],
  ['urn:bad:null', null, 'must be a table'],
  ['urn:bad:list', [PUBSUB], 'must be a table'],
  ['urn:bad:empty', {}, 'jid is missing'],
  ['urn:bad:no-jid', { filtering: ['node'] }, 'jid is missing'],
  ['urn:bad:empty-jid', { jid: '' }, 'jid is missing'],
  ['urn:bad:false-jid', { jid: false }, 'jid is no JID'],
  ['urn:bad:number-jid', { jid: 5347 }, 'jid is no JID'],
  ['urn:bad:list-jid', { jid: [PUBSUB] }, 'jid is no JID'],
  ['urn:bad:at', { jid: '@' }, 'jid is no JID'],
  ['urn:bad:space', { jid: 'pub sub.capulet.lit' }, 'jid is no JID'],
  ['urn:bad:resource', { jid: `${PUBSUB}/x` }, 'name the component'],
  ['urn:bad:misspelt', { jid: PUBSUB, filter: ['node'] }, '"filter" is not known here'],
  ['urn:bad:filtering-text', { jid: PUBSUB, filtering: 'node' }, 'filtering must be a list'],
  ['urn:bad:filtering-table', { jid: PUBSUB, filtering: { node: true } }, 'filtering must be a list'],
  ['urn:bad:filtering-number', { jid: PUBSUB, filtering: [1] }, 'no attribute name'],
  ['urn:bad:filtering-space', { jid: PUBSUB, filtering: ['a b'] }, 'no attribute name'],
  ['urn:bad:filtering-empty', { jid: PUBSUB, filtering: [''] }, 'no attribute name'],
  ['urn:bad:filtering-xmlns', { jid: PUBSUB, filtering: ['xmlns'] }, 'no attribute name'],
  ['urn:bad:filtering-prefix', { jid: PUBSUB, filtering: ['xmlns:x'] }, 'no attribute name'],
  ['urn:bad:timeout-text', { jid: PUBSUB, timeout: 'soon' }, 'timeout must be'],
  ['urn:bad:timeout-zero', { jid: PUBSUB, timeout: 0 }, 'timeout must be'],
  ['urn:bad:timeout-negative', { jid: PUBSUB, timeout: -1 }, 'timeout must be'],
  ['urn:bad:ordered', { jid: PUBSUB, ordered: 'yes' }, 'ordered must be true or false'],
  ['urn:bad:version', { jid: PUBSUB, version: 3 }, 'version must be 1 or 2'],
  ['urn:bad:version-text', { jid: PUBSUB, version: '1' }, 'version must be 1 or 2'],
  ['urn:bad:old', { jid: PUBSUB, version: 1 }, 'delegation_compat = { "urn:xmpp:delegation:1" }'],
]

const options = (delegations: Record<string, unknown>, more: ServerOptions = {}): ServerOptions => ({
  virtualHosts: { [HOST]: { delegations, ...more } },
  components: { [PUBSUB]: { component_secret: 'secret', modules_enabled: ['delegation'] } },
})

describe('C1 to C3: mistakes', () => {
  it('each is an error that names host and namespace; the other entries work', async () => {
    const good = {
      'urn:good:first': { jid: PUBSUB },
      'urn:good:last': { jid: PUBSUB, filtering: [], timeout: 5 },
    }
    const [first, last] = Object.entries(good)
    const table = Object.fromEntries([
      first!,
      ...MISTAKES.map(([namespace, entry]) => [namespace, entry]),
      last!,
    ]) as Record<string, unknown>
    const server = await startServer(options(table), [`juliet@${HOST}`])
    endings.push(() => server.stop())
    for (const [namespace, , words] of MISTAKES) {
      const lines = errorLines(server).filter((line) =>
        line.includes(`delegations["${namespace}"] of ${HOST}: `),
      )
      expect([namespace, lines]).toEqual([namespace, [expect.stringContaining(words)]])
    }
    expect(errorLines(server)).toHaveLength(MISTAKES.length)
    const pubsub = await connectComponent(server.componentPort, PUBSUB)
    const juliet = await login(server.c2sPort, `juliet@${HOST}`)
    const list = (await pubsub.named('message')).getChild('delegation')!.getChildElements()
    expect(list.map(({ attrs }) => attrs.namespace)).toEqual(Object.keys(good))
    for (const namespace of Object.keys(good))
      await isForwarded(juliet, pubsub, `<query xmlns='${namespace}'/>`)
    for (const [namespace] of MISTAKES.slice(1))
      await isNotForwarded(juliet, pubsub, `<query xmlns='${namespace}' node='1'/>`)
  })

  it.each([
    ['a list', [{ jid: PUBSUB }]],
    ['text', PUBSUB],
    ['a number', 1],
    ['false', false],
  ])('the whole table is %s: nothing is delegated, and that is an error', async (_, table) => {
    const server = await startServer(options(table as never), [`juliet@${HOST}`])
    endings.push(() => server.stop())
    expect(errorLines(server).join('\n')).toContain('delegations')
    const juliet = await login(server.c2sPort, `juliet@${HOST}`)
    const answer = await juliet.ask(query('', "<query xmlns='urn:example:thing'/>"))
    expect(conditionOf(answer)).toBe('service-unavailable')
  })

  it.each(['never', false, '1 hour', 1e9] as const)(
    'delegation_timeout = %s: requests are forwarded',
    async (timeout) => {
      const table = { 'urn:example:thing': { jid: PUBSUB } }
      const server = await startServer(options(table, { delegation_timeout: timeout }), [`juliet@${HOST}`])
      endings.push(() => server.stop())
      const pubsub = await connectComponent(server.componentPort, PUBSUB)
      const juliet = await login(server.c2sPort, `juliet@${HOST}`)
      await isForwarded(juliet, pubsub, "<query xmlns='urn:example:thing'/>")
      const lost = juliet.ask(query('', "<query xmlns='urn:example:thing'/>"))
      await forwardedTo(pubsub)
      await pubsub.destroy()
      expect(conditionOf(await lost)).toBe('service-unavailable')
      expect(errorLines(server)).toEqual([])
    },
  )

  it('the global section delegates for every VirtualHost', async () => {
    const server = await startServer(
      {
        delegations: { 'urn:example:thing': { jid: PUBSUB } },
        virtualHosts: { [HOST]: {}, 'montague.lit': {} },
        components: { [PUBSUB]: { component_secret: 'secret', modules_enabled: ['delegation'] } },
      },
      [`juliet@${HOST}`],
    )
    endings.push(() => server.stop())
    const pubsub = await connectComponent(server.componentPort, PUBSUB)
    const told = [await pubsub.named('message'), await pubsub.named('message')]
    expect(told.map(({ attrs }) => attrs.from).sort()).toEqual([HOST, 'montague.lit'])
  })
})

describe('legate check', () => {
  async function checked(object: ServerOptions): Promise<string[]> {
    const config = configFromObject({ modules_enabled: ['delegation'], ...object })
    const problems = []
    for (const host of config.hosts) {
      problems.push(
        ...(await checkDelegations({
          config,
          host,
          accountExists: async (domain, username) => `${username}@${domain}` === `nurse@${HOST}`,
        })),
      )
    }
    expect(problems.every(({ severity }) => severity === 'error')).toBe(true)
    return problems.map(({ message }) => message)
  }

  it('C1, C3: says every mistake that the start says', async () => {
    const table = Object.fromEntries(MISTAKES.map(([namespace, entry]) => [namespace, entry]))
    const messages = await checked(options(table as Record<string, unknown>))
    expect(messages).toHaveLength(MISTAKES.length)
    for (const [namespace, , words] of MISTAKES) {
      const mine = messages.filter((message) => message.includes(`delegations["${namespace}"] of ${HOST}: `))
      expect([namespace, mine]).toEqual([namespace, [expect.stringContaining(words)]])
    }
  })

  it.each([
    ['nothing', PUBSUB, undefined],
    ['nothing, for an account', `nurse@${HOST}`, undefined],
    ['nothing, for a resource of an account', `nurse@${HOST}/room`, undefined],
    ['a component that does not enable the plugin', `idle.${HOST}`, 'modules_enabled = { "delegation" }'],
    ['a host that is not there', 'pubsub.montague.lit', 'add: Component "pubsub.montague.lit"'],
    ['an account that is not there', `nobody@${HOST}`, 'legate adduser'],
    ['a VirtualHost', HOST, 'is a VirtualHost'],
    ['an address of a component', `x@${PUBSUB}`, `name the component: ${PUBSUB}`],
    ['an account whose host does not enable the plugin', 'nurse@verona.lit', 'does not enable the plugin'],
  ])('C5: %s', async (_, jid, words) => {
    const messages = await checked({
      virtualHosts: {
        [HOST]: { delegations: { 'urn:example:thing': { jid } } },
        'verona.lit': { modules_disabled: ['delegation'] },
      },
      components: {
        [PUBSUB]: { modules_enabled: ['delegation'] },
        [`idle.${HOST}`]: {},
      },
    })
    expect(messages).toEqual(
      words === undefined
        ? []
        : [expect.stringMatching(/^delegations\["urn:example:thing"\] of capulet\.lit: /)],
    )
    if (words !== undefined) expect(messages[0]).toContain(words)
  })
})
