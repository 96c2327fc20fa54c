/** Privileged entities as they are configured and told (XEP-0356 §4.1, §4.2, §5.2, §6.2, §7.2, §7.5). */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { checkPrivileges } from '../../plugins/privilege/check.ts'
import { configFromObject, loadConfigFile, type ServerOptions } from '../../server/config/index.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { componentSettled, conditionOf } from '../shared/delegation.ts'
import {
  endlessAccounts,
  forwardedAnswer,
  HOST,
  innerIq,
  innerMessage,
  isAdvertisement,
  JULIET,
  MONTAGUE,
  messageFor,
  NS_PRIVILEGE,
  NS_PUBSUB,
  NURSE,
  PLUGINS,
  PUBSUB,
  permissionsIn,
  privilegedIq,
  ROMEO,
  refusalOf,
} from '../shared/privilege.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const endings: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})

type Table = Record<string, unknown>
const component = { component_secret: 'secret', modules_enabled: ['privilege'] }

function options(capulet: Table, montague: Table = {}): ServerOptions {
  return {
    modules_enabled: PLUGINS,
    virtualHosts: {
      [HOST]: { privileged_entities: capulet },
      [MONTAGUE]: { privileged_entities: montague },
    },
    components: { [PUBSUB]: component, 'idle.lit': { component_secret: 'secret' } },
  }
}

async function start(what: ServerOptions): Promise<TestServer> {
  const server = await startServer(what, [JULIET, NURSE, ROMEO])
  endings.push(() => server.stop())
  return server
}

async function connect(server: TestServer, domain = PUBSUB): Promise<TestStream> {
  const stream = await connectComponent(server.componentPort, domain)
  endings.push(() => stream.destroy())
  return stream
}

async function user(server: TestServer, jid: string, presence = true): Promise<TestStream> {
  const stream = await login(server.c2sPort, jid, { presence })
  endings.push(() => stream.destroy())
  return stream
}

function reload(server: TestServer, what: ServerOptions): Promise<void> {
  const keep = ['storage', 'data_path', 'interfaces', 'local_interfaces', 'c2s_ports', 'component_ports']
  const names = [...keep, 'c2s_require_encryption', 'allow_unencrypted_plain_auth']
  const global = Object.fromEntries(names.map((name) => [name, server.server.config.get('*', name)]))
  return server.server.reload(configFromObject({ ...global, ...what }))
}

async function noAdvertisement(stream: TestStream): Promise<void> {
  await componentSettled(stream, HOST)
  expect(stream.received.filter(isAdvertisement).map(String)).toEqual([])
}

const ALL = {
  roster: 'both',
  message: 'outgoing',
  presence: 'roster',
  iq: { [NS_PUBSUB]: 'set', 'urn:x': 'both', 'urn:y': 'none' },
}

describe('XEP-0356: advertisement', () => {
  it('all permissions, in one message from the host once the entity has connected', async () => {
    const server = await start(options({ [PUBSUB]: ALL }))
    const pubsub = await connect(server)
    const message = await pubsub.next()
    expect(message.attrs).toMatchObject({ from: HOST, to: PUBSUB })
    expect(message.getChild('privilege')!.getNS()).toBe(NS_PRIVILEGE)
    expect(permissionsIn(message)).toEqual([
      { access: 'roster', type: 'both', push: 'true' },
      { access: 'message', type: 'outgoing' },
      {
        access: 'iq',
        namespaces: [
          { ns: NS_PUBSUB, type: 'set' },
          { ns: 'urn:x', type: 'both' },
        ],
      },
      { access: 'presence', type: 'roster' },
    ])
  })

  it.each([
    [{ roster: 'get' }, [{ access: 'roster', type: 'get', push: 'true' }]],
    [{ roster: 'get', roster_push: false }, [{ access: 'roster', type: 'get', push: 'false' }]],
    [{ roster: 'set' }, [{ access: 'roster', type: 'set', push: 'false' }]],
    [{ presence: 'managed_entity' }, [{ access: 'presence', type: 'managed_entity' }]],
    [{ roster: 'none', message: 'none', presence: 'none' }, []],
  ])('%o is told as such', async (privileges, expected) => {
    const server = await start(options({ [PUBSUB]: privileges }))
    const pubsub = await connect(server)
    expect(permissionsIn(await pubsub.next(isAdvertisement))).toEqual(expected)
  })

  it('each host tells what it grants, and one that grants nothing tells nothing', async () => {
    const server = await start(options({ [PUBSUB]: { roster: 'get' } }, { [PUBSUB]: { roster: 'set' } }))
    const pubsub = await connect(server)
    const told = [await pubsub.next(isAdvertisement), await pubsub.next(isAdvertisement)]
    expect(told.map(({ attrs }) => attrs.from).sort()).toEqual([HOST, MONTAGUE])
    await noAdvertisement(pubsub)
  })

  it('only components whose section enables the plugin are told, and only they may act', async () => {
    const server = await start(options({ 'idle.lit': ALL }))
    const idle = await connect(server, 'idle.lit')
    await noAdvertisement(idle)
    const roster = `<iq type='get' id='r' from='idle.lit' to='${JULIET}'><query xmlns='jabber:iq:roster'/></iq>`
    expect(conditionOf(await idle.ask(roster))).toBe('forbidden')
  })

  it('an account is told at its initial presence, for another host too, and can act', async () => {
    const server = await start(options({ [ROMEO]: { ...ALL } }))
    const juliet = await user(server, `${JULIET}/balcony`)
    await juliet.settled()
    const romeo = await user(server, `${ROMEO}/orchard`, false)
    await romeo.settled()
    expect(romeo.received.filter(isAdvertisement)).toEqual([])
    romeo.send('<presence/>')
    const message = await romeo.next(isAdvertisement)
    expect(message.attrs).toMatchObject({ from: HOST, to: `${ROMEO}/orchard` })
    const presence = await romeo.next((element) => element.attrs.from === `${JULIET}/balcony`)
    expect(presence.attrs.to).toBe(`${ROMEO}/orchard`)
    const roster = await romeo.ask(
      `<iq type='get' id='r' to='${JULIET}'><query xmlns='jabber:iq:roster'/></iq>`,
    )
    expect(roster.attrs.type).toBe('result')
    await romeo.ask(
      `<iq type='set' id='s' to='${NURSE}'><query xmlns='jabber:iq:roster'><item jid='a@b.lit'/></query></iq>`,
    )
    const push = await romeo.next((element) => element.attrs.from === NURSE && element.attrs.type === 'set')
    expect(push.attrs.to).toBe(`${ROMEO}/orchard`)
    romeo.send(messageFor(HOST, innerMessage({ from: NURSE, to: `${JULIET}/balcony` }), `${ROMEO}/orchard`))
    expect((await juliet.next((element) => element.getName() === 'message')).attrs.from).toBe(NURSE)
  })

  it('§10: privileges do not add up: acting for an account that is privileged gives nothing more', async () => {
    const server = await start(
      options({ [PUBSUB]: { iq: { 'jabber:iq:roster': 'get' } }, [NURSE]: { roster: 'both' } }),
    )
    const pubsub = await connect(server)
    const query = "<query xmlns='jabber:iq:roster'/>"
    const nurse = await user(server, `${NURSE}/kitchen`)
    await nurse.next(isAdvertisement)
    pubsub.send(
      privilegedIq(innerIq({ type: 'get', to: JULIET }, query), { to: NURSE, type: 'get', id: 'up' }),
    )
    expect(conditionOf(forwardedAnswer(await pubsub.withId('up')))).toBe('forbidden')
  })
})

describe('the page of the original module', () => {
  it('its example reads as it does there; entities elsewhere could never be told', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'legate-privilege-'))
    endings.push(async () => rmSync(folder, { recursive: true, force: true }))
    const file = join(folder, 'prosody.cfg.lua')
    writeFileSync(
      file,
      `
      modules_enabled = { "roster"; "saslauth"; "privilege"; }

      VirtualHost "capulet.lit"
          privileged_entities = {
            ["romeo@montaigu.lit"] = {
                roster = "get";
                presence = "managed_entity";
            },
            ["juliet@capulet.lit"] = {
                roster = "both";
                message = "outgoing";
                presence = "roster";
            },
            ["pubsub.capulet.lit"] = {
                roster = "get";
                message = "outgoing";
                presence = "roster";
                iq = {
                    ["http://jabber.org/protocol/pubsub"] = "set";
                };
            },
          }

      Component "pubsub.capulet.lit"
          component_secret = "yourpassword"
          modules_enabled = {"privilege"}
      `,
    )
    const config = await loadConfigFile(file)
    const host = config.hosts.find(({ name }) => name === HOST)!
    const problems = await checkPrivileges({ config, host, accountExists: async () => true })
    expect(problems.map(({ message }) => message)).toEqual([
      expect.stringContaining('no host or component here is called montaigu.lit'),
    ])
    expect(problems[0]!.position?.file).toBe(file)
  })
})

describe('reloading', () => {
  it('tells entities whose privileges have changed, what is gone too, and takes effect at once', async () => {
    const server = await start(options({ [PUBSUB]: ALL }))
    const pubsub = await connect(server)
    await pubsub.next(isAdvertisement)
    await reload(server, options({ [PUBSUB]: ALL }))
    await noAdvertisement(pubsub)
    await reload(server, options({ [PUBSUB]: { message: 'outgoing' } }))
    expect(permissionsIn(await pubsub.next(isAdvertisement))).toEqual([
      { access: 'roster', type: 'none' },
      { access: 'message', type: 'outgoing' },
      { access: 'iq' },
      { access: 'presence', type: 'none' },
    ])
    expect(await refusalOf(pubsub, privilegedIq(innerIq()))).toBe('forbidden')
    await reload(server, options({}))
    expect(permissionsIn(await pubsub.next(isAdvertisement))).toEqual([{ access: 'message', type: 'none' }])
    const text = messageFor(HOST, innerMessage({ from: JULIET, to: ROMEO }))
    expect(await refusalOf(pubsub, text)).toBe('forbidden')
  })

  it('presence that is granted later is sent then', async () => {
    const server = await start(options({ [PUBSUB]: { presence: 'none' } }))
    const pubsub = await connect(server)
    const juliet = await user(server, `${JULIET}/balcony`)
    await juliet.settled()
    await reload(server, options({ [PUBSUB]: { presence: 'managed_entity' } }))
    expect((await pubsub.named('presence')).attrs).toMatchObject({ from: `${JULIET}/balcony`, to: PUBSUB })
    await reload(server, options({ [PUBSUB]: { presence: 'none' } }))
    await reload(server, options({ [PUBSUB]: { presence: 'managed_entity' } }))
    await pubsub.named('presence')
  })

  it('§8: who is being told what was before is told no more when that is taken back, and by one at a time', async () => {
    const server = await start(options({ [PUBSUB]: { roster: 'get', presence: 'roster' } }))
    const readers = endlessAccounts(server)
    await connect(server)
    await expect.poll(() => readers.underWay).toBe(1)
    await reload(server, options({}))
    await expect.poll(() => readers.underWay).toBe(0)
    await reload(server, options({ [PUBSUB]: { roster: 'get', presence: 'roster' } }))
    await expect.poll(() => readers.underWay).toBe(1)
    await server.server.modules.reload('privilege')
    await expect.poll(() => readers.begun).toBe(3)
    await expect.poll(() => readers.underWay).toBe(1)
  })

  it('the plugin loaded anew on the host or the component finds who is connected', async () => {
    const server = await start(options({ [PUBSUB]: ALL }))
    const pubsub = await connect(server)
    await pubsub.next(isAdvertisement)
    pubsub.send(privilegedIq(innerIq({ to: `${JULIET}/deaf` }), { id: 'held' }))
    await server.server.modules.reload('privilege')
    await pubsub.next(isAdvertisement)
    const roster = `<iq type='get' id='r' from='${PUBSUB}' to='${JULIET}'><query xmlns='jabber:iq:roster'/></iq>`
    expect((await pubsub.ask(roster)).attrs.type).toBe('result')
  })
})

describe('connections that share a component’s work', () => {
  it('each is told, and sent the presence of who is online', async () => {
    const shared = options({ [PUBSUB]: { presence: 'managed_entity' } })
    const server = await start({
      ...shared,
      components: { [PUBSUB]: { ...component, component_conflict_resolve: 'share' } },
    })
    const juliet = await user(server, `${JULIET}/balcony`)
    await juliet.settled()
    for (const one of [await connect(server), await connect(server)]) {
      await one.next(isAdvertisement)
      expect((await one.named('presence')).attrs.from).toBe(`${JULIET}/balcony`)
    }
  })
})

describe('an IQ on behalf of an account that nobody answers', () => {
  it('gives remote-server-timeout after privilege_iq_timeout', async () => {
    const server = await start({ ...options({ [PUBSUB]: ALL }), privilege_iq_timeout: 0.3 } as ServerOptions)
    const pubsub = await connect(server)
    const romeo = await user(server, `${ROMEO}/orchard`)
    await romeo.settled()
    const answer = await pubsub.ask(privilegedIq(innerIq(), { id: 'slow' }))
    expect(conditionOf(answer)).toBe('remote-server-timeout')
    expect(answer.attrs).toMatchObject({ from: JULIET, to: PUBSUB })
    const request = await romeo.next((element) => element.attrs.type === 'set')
    romeo.send(`<iq type='result' to='${JULIET}' id='${request.attrs.id}'/>`)
    await romeo.settled()
    await componentSettled(pubsub, HOST)
    expect(pubsub.received.filter(({ attrs }) => attrs.id === 'slow')).toEqual([])
  })
})

/** Entity, entry, words of the message. */
const MISTAKES: [string, unknown, string][] = [
  ['@@', { roster: 'get' }, 'the entity is no JID'],
  [`${JULIET}/balcony`, { roster: 'get' }, `name the whole entity: ${JULIET}`],
  ['a.lit', 'get', 'must be a table'],
  ['b.lit', ['roster'], 'must be a table'],
  ['c.lit', { rooster: 'get' }, '"rooster" is not known here'],
  ['d.lit', { roster: 'read' }, 'roster must be one of "none", "get", "set", "both"'],
  ['e.lit', { message: true }, 'message must be one of "none", "outgoing"'],
  ['f.lit', { presence: 'all' }, 'presence must be one of "none", "managed_entity", "roster"'],
  ['g.lit', { presence: 'roster' }, 'presence = "roster" needs roster = "get" or "both"'],
  ['h.lit', { presence: 'roster', roster: 'set' }, 'presence = "roster" needs roster'],
  ['i.lit', { iq: 'set' }, 'iq must be a table'],
  ['j.lit', { iq: { [NS_PUBSUB]: 'publish' } }, `iq["${NS_PUBSUB}"] must be one of`],
  ['k.lit', { iq: { '': 'get' } }, 'empty namespace'],
  ['l.lit', { iq: { [NS_PRIVILEGE]: 'set' } }, 'the privilege namespace itself'],
  ['m.lit', { roster: 'get', roster_push: 'yes' }, 'roster_push must be true or false'],
  ['n.lit', { roster: 'set', roster_push: true }, 'roster_push needs roster'],
  [PUBSUB.toUpperCase(), { roster: 'get' }, 'is there already, in another spelling'],
]

describe('mistakes', () => {
  it('§7.4: presence = "roster" without reading rosters MUST be rejected; entries with mistakes are left out, others work', async () => {
    const table = Object.fromEntries([[PUBSUB, { roster: 'get' }], ...MISTAKES])
    const server = await start(options(table))
    for (const [jid, , words] of MISTAKES) {
      const line = await server.logged(`privileged_entities["${jid}"] of ${HOST}: `)
      expect(line).toContain(words)
    }
    const pubsub = await connect(server)
    expect(permissionsIn(await pubsub.next(isAdvertisement))).toEqual([
      { access: 'roster', type: 'get', push: 'true' },
    ])
  })
})

describe('legate check', () => {
  async function checked(object: ServerOptions): Promise<string[]> {
    const config = configFromObject(object)
    const problems = []
    for (const host of config.hosts) {
      problems.push(
        ...(await checkPrivileges({
          config,
          host,
          accountExists: async (domain, username) => [JULIET, ROMEO].includes(`${username}@${domain}`),
        })),
      )
    }
    expect(problems.every(({ severity }) => severity === 'error')).toBe(true)
    return problems.map(({ message }) => message)
  }

  it('says every mistake that the start says', async () => {
    const messages = await checked(options(Object.fromEntries([[PUBSUB, { roster: 'get' }], ...MISTAKES])))
    expect(messages).toHaveLength(MISTAKES.length)
    for (const [jid, , words] of MISTAKES) {
      const mine = messages.filter((message) =>
        message.startsWith(`privileged_entities["${jid}"] of ${HOST}: `),
      )
      expect([jid, mine.length, mine[0]]).toEqual([jid, 1, expect.stringContaining(words)])
    }
  })

  it('nothing of a table without a mistake', async () => {
    expect(await checked(options({ [PUBSUB]: ALL, [JULIET]: ALL }, { [JULIET]: ALL, [PUBSUB]: {} }))).toEqual(
      [],
    )
  })

  it.each([
    ['elsewhere.lit', 'add: Component "elsewhere.lit"'],
    ['idle.lit', 'add to its section: modules_enabled = { "privilege" }'],
    [`x@${PUBSUB}`, `name the component: ${PUBSUB}`],
    [MONTAGUE, 'is a VirtualHost; name a component or an account'],
    [NURSE, `legate adduser ${NURSE}`],
  ])('%s would never be told', async (jid, words) => {
    const messages = await checked(options({ [jid]: { message: 'outgoing' } }))
    expect(messages).toEqual([expect.stringContaining(words)])
    expect(messages[0]).toContain(`privileged_entities["${jid}"] of ${HOST}: `)
  })

  it('an account of a host without the plugin, and a host without rosters', async () => {
    const [message, ...rest] = await checked({
      modules_enabled: ['saslauth'],
      virtualHosts: {
        [HOST]: { modules_enabled: ['privilege'], privileged_entities: { [ROMEO]: { roster: 'get' } } },
        [MONTAGUE]: {},
      },
    })
    expect(message).toContain(`the host ${MONTAGUE} of the account ${ROMEO} does not enable the plugin`)
    expect(rest).toEqual([expect.stringContaining('add "roster" to its modules_enabled')])
  })
})
