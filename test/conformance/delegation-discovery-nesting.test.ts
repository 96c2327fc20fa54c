/** What managers announce stands in the server's own service discovery (XEP-0355 §7.2.1 to §7.2.3; rules D2 to D5). */

import type { Element } from '@xmpp/xml'
import xml from '@xmpp/xml'
import { afterEach, describe, expect, it } from 'vitest'
import { configFromObject, type ServerOptions } from '../../server/config/index.ts'
import { NS_DISCO_INFO, NS_DISCO_ITEMS } from '../../server/stanza/namespaces.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { componentSettled, errorLines } from '../shared/delegation.ts'
import {
  announce,
  announcement,
  bareNode,
  feature,
  form,
  hostNode,
  identity,
  infoOf,
  isDiscoQuestion,
  questionAbout,
} from '../shared/delegation-discovery.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const MONTAGUE = 'montague.lit'
const PUBSUB = `pubsub.${HOST}`
const OTHER = `other.${HOST}`
const JULIET = `juliet@${HOST}`
const NURSE = `nurse@${HOST}`
const NS = 'urn:example:thing'
const TWO = 'urn:example:two'

let server: TestServer
const streams: TestStream[] = []

const component = {
  component_secret: 'secret',
  component_conflict_resolve: 'kick_old',
  modules_enabled: ['delegation'],
} as const

async function start(delegations: Record<string, unknown>, more: ServerOptions = {}): Promise<void> {
  const options = {
    virtualHosts: { [HOST]: { delegations } },
    components: { [PUBSUB]: component, [OTHER]: component },
    ...more,
  }
  server = await startServer(options, [JULIET, NURSE])
}

async function juliet(): Promise<TestStream> {
  const stream = await login(server.c2sPort, `${JULIET}/balcony`)
  streams.push(stream)
  return stream
}

async function manager(domain = PUBSUB): Promise<TestStream> {
  const stream = await connectComponent(server.componentPort, domain)
  streams.push(stream)
  return stream
}

const nodesAsked = (stream: TestStream): string[] =>
  stream.received.filter(isDiscoQuestion).map((question) => question.getChild('query')!.attrs.node as string)

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  const errors = errorLines(server)
  await server.stop()
  expect(errors).toEqual([])
})

describe('D2: a manager that has connected is asked', () => {
  it('two nodes for each of its namespaces, by each host that delegates to it, and nobody else', async () => {
    await start(
      {
        [NS]: { jid: PUBSUB },
        [TWO]: { jid: PUBSUB, filtering: ['node'] },
        'urn:example:else': { jid: OTHER },
      },
      {
        virtualHosts: {
          [HOST]: {
            delegations: {
              [NS]: { jid: PUBSUB },
              [TWO]: { jid: PUBSUB, filtering: ['node'] },
              'urn:example:else': { jid: OTHER },
            },
          },
          [MONTAGUE]: { delegations: { [NS]: { jid: PUBSUB } } },
          'verona.lit': {},
        },
      },
    )
    const pubsub = await manager()
    await componentSettled(pubsub, HOST)
    const questions = pubsub.received.filter(isDiscoQuestion)
    const asked = questions.map(({ attrs, children }) => [attrs.from, (children[0] as Element).attrs.node])
    expect(asked.sort()).toEqual(
      [
        [HOST, hostNode(NS)],
        [HOST, hostNode(TWO)],
        [HOST, bareNode(NS)],
        [HOST, bareNode(TWO)],
        [MONTAGUE, hostNode(NS)],
        [MONTAGUE, bareNode(NS)],
      ].sort(),
    )
    for (const { attrs } of questions) expect(attrs).toMatchObject({ to: PUBSUB, type: 'get' })
    expect(new Set(questions.map(({ attrs }) => attrs.id)).size).toBe(questions.length)
  })

  it('but not about the two names of D6', async () => {
    await start({
      'urn:xmpp:delegation:2:bare:disco#info:*': { jid: PUBSUB },
      'urn:xmpp:delegation:2:bare:disco#items:*': { jid: PUBSUB },
    })
    const pubsub = await manager()
    await componentSettled(pubsub, HOST)
    expect(pubsub.received.map((element) => element.getName())).toEqual(['message'])
  })

  it('every time, after it has been told what it manages', async () => {
    await start({ [NS]: { jid: PUBSUB } })
    for (let time = 0; time < 2; time++) {
      const pubsub = await manager()
      await componentSettled(pubsub, HOST)
      expect(pubsub.received.map((element) => element.getName())).toEqual(['message', 'iq', 'iq'])
      await pubsub.close()
    }
  })

  it('an account that manages: its resource, by its full JID', async () => {
    await start({ [NS]: { jid: NURSE } })
    const nurse = await login(server.c2sPort, `${NURSE}/room`)
    streams.push(nurse)
    const question = await questionAbout(nurse, bareNode(NS))
    expect(question.attrs).toMatchObject({ from: HOST, to: `${NURSE}/room` })
    nurse.send(announcement(question, feature(`${NS}#nurse`)).replace(/ from='[^']*'/, ''))
    await nurse.settled()
    const asker = await juliet()
    expect((await infoOf(asker, null)).features).toContain(`${NS}#nurse`)
    // D5: no longer available, so it is no longer asked, and what it has announced goes.
    nurse.send(`<presence type='unavailable'/>`)
    await nurse.settled()
    expect((await infoOf(asker, null)).features).not.toContain(`${NS}#nurse`)
    nurse.send('<presence/>')
    await announce(nurse, bareNode(NS), feature(`${NS}#again`))
    await nurse.settled()
    expect((await infoOf(asker, null)).features).toContain(`${NS}#again`)
    await nurse.close()
    expect((await infoOf(asker, null)).features).not.toContain(`${NS}#again`)
  })
})

describe('D3: what a manager gives', () => {
  const META = form(
    'urn:example:meta',
    `<field var='size' type='text-single' label='Size'><value>a &lt; b</value></field>`,
  )

  it('for :: nodes stands in the host’s disco#info, for :bare: nodes in that of every account', async () => {
    await start({ [NS]: { jid: PUBSUB } })
    const asker = await juliet()
    const pubsub = await manager()
    await announce(pubsub, hostNode(NS), identity('store', 'thing', 'Things') + feature(NS) + META)
    await announce(pubsub, bareNode(NS), identity('pubsub', 'pep') + feature(`${NS}#bare`) + META)
    await componentSettled(pubsub, HOST)
    const host = await infoOf(asker, HOST)
    expect(host.features).toEqual(expect.arrayContaining([NS, NS_DISCO_INFO, 'urn:xmpp:delegation:2']))
    expect(host.features).not.toContain(`${NS}#bare`)
    expect(host.identities).toEqual(expect.arrayContaining(['server/im/Legate', 'store/thing/Things']))
    expect(host.forms.map((x) => x.getChildren('field').map(({ attrs }) => ({ ...attrs })))).toEqual([
      [
        { var: 'FORM_TYPE', type: 'hidden' },
        { var: 'size', type: 'text-single', label: 'Size' },
      ],
    ])
    for (const to of [JULIET, null]) {
      for (let time = 0; time < 2; time++) {
        const account = await infoOf(asker, to)
        expect(account.answer.attrs).toMatchObject({ type: 'result', from: JULIET, to: asker.jid })
        expect(account.features).toEqual([NS_DISCO_INFO, NS_DISCO_ITEMS, `${NS}#bare`])
        expect(account.identities).toEqual(['account/registered', 'pubsub/pep'])
        expect(account.forms.map((x) => x.getChildren('field')[1]!.getChildText('value'))).toEqual(['a < b'])
      }
    }
    const nurse = await login(server.c2sPort, `${NURSE}/room`)
    streams.push(nurse)
    expect((await infoOf(nurse, null)).features).toContain(`${NS}#bare`)
    // XEP-0030 §8 holds as before.
    expect((await infoOf(asker, NURSE)).answer.attrs.type).toBe('error')
  })

  it('for several namespaces stands side by side, nothing twice, the account’s identity among it', async () => {
    await start({ [NS]: { jid: PUBSUB }, [TWO]: { jid: OTHER } })
    const asker = await juliet()
    const [pubsub, other] = [await manager(), await manager(OTHER)]
    const both = `${identity('account', 'registered')}${feature('urn:example:both')}${feature('urn:example:both')}`
    for (const node of [hostNode, bareNode]) {
      await announce(pubsub, node(NS), both + feature('urn:xmpp:ping') + feature(NS) + META + META)
      await announce(other, node(TWO), identity('x', 'y', 'Why') + both + feature(TWO) + META)
    }
    for (const stream of [pubsub, other]) await componentSettled(stream, HOST)
    for (const to of [HOST, JULIET]) {
      const { features, identities, forms } = await infoOf(asker, to)
      expect(features).toEqual(expect.arrayContaining([NS, TWO, 'urn:example:both', 'urn:xmpp:ping']))
      expect(new Set(features).size).toBe(features.length)
      expect(identities).toContain('account/registered')
      expect(identities).toContain('x/y/Why')
      expect(new Set(identities).size).toBe(identities.length)
      expect(forms).toHaveLength(1)
    }
  })

  it('does not take the place of what the server says of itself', async () => {
    await start({ [NS]: { jid: PUBSUB } })
    const asker = await juliet()
    const pubsub = await manager()
    await announce(pubsub, hostNode(NS), identity('server', 'im', 'Another') + identity('a', 'b', 'First'))
    await announce(pubsub, bareNode(NS), identity('account', 'registered', 'Another') + identity('a', 'b'))
    await componentSettled(pubsub, HOST)
    expect((await infoOf(asker, HOST)).identities).toEqual(['server/im/Legate', 'a/b/First'])
    expect((await infoOf(asker, JULIET)).identities).toEqual(['account/registered', 'a/b'])
  })

  it('to one host is not shown by another', async () => {
    const delegations = { [NS]: { jid: PUBSUB } }
    await start({}, { virtualHosts: { [HOST]: { delegations }, [MONTAGUE]: { delegations } } })
    const asker = await juliet()
    const pubsub = await manager()
    pubsub.send(announcement(await questionAbout(pubsub, hostNode(NS), HOST), feature('urn:example:capulet')))
    pubsub.send(
      announcement(await questionAbout(pubsub, hostNode(NS), MONTAGUE), feature('urn:example:montague')),
    )
    await componentSettled(pubsub, HOST)
    expect((await infoOf(asker, HOST)).features).toContain('urn:example:capulet')
    expect((await infoOf(asker, HOST)).features).not.toContain('urn:example:montague')
    expect((await infoOf(asker, MONTAGUE)).features).toContain('urn:example:montague')
    expect((await infoOf(asker, MONTAGUE)).features).not.toContain('urn:example:capulet')
  })

  it('in another language than the one before is no repetition', async () => {
    await start({ [NS]: { jid: PUBSUB } })
    const asker = await juliet()
    const pubsub = await manager()
    const names = `<identity category='a' type='b' name='Dove' xml:lang='en'/><identity category='a' type='b' name='Taube' xml:lang='de'/>`
    for (const node of [hostNode, bareNode]) await announce(pubsub, node(NS), names)
    await componentSettled(pubsub, HOST)
    for (const to of [HOST, JULIET]) {
      const { answer } = await infoOf(asker, to)
      const found = answer.getChild('query')!.getChildren('identity', NS_DISCO_INFO)
      expect(found.map(({ attrs }) => [attrs['xml:lang'], attrs.name])).toEqual(
        expect.arrayContaining([
          ['en', 'Dove'],
          ['de', 'Taube'],
        ]),
      )
    }
  })
})

describe('D4: while a namespace is delegated', () => {
  const PING = 'urn:xmpp:ping'
  const ROSTER = 'jabber:iq:roster'

  it.each([{}, { filtering: ['node'] }])(
    'what the server’s own plugins announce for it is left out, %o',
    async (more) => {
      await start({
        [PING]: { jid: PUBSUB, ...more },
        [ROSTER]: { jid: PUBSUB },
        'http://example.org/a#b': { jid: OTHER },
      })
      const { items, events } = server.server.hosts.get(HOST)!
      const formOf = (type: string) =>
        xml(
          'x',
          { xmlns: 'jabber:x:data', type: 'result' },
          xml('field', { var: 'FORM_TYPE' }, xml('value', {}, type)),
        )
      items.add('feature', `${PING}#more`, 'mine')
      items.add('feature', `${PING}:more`, 'mine')
      items.add('feature', 'http://example.org/a#b', 'else')
      items.add('feature', 'http://example.org/a#b#c', 'else')
      items.add('feature', 'http://example.org/a', 'third')
      items.add('identity', { category: 'mine', type: 'mine' }, 'mine')
      items.add('identity', { category: 'third', type: 'third' }, 'third')
      items.add('extension', formOf(`${PING}#form`), 'mine')
      items.add('extension', formOf(`${ROSTER}`), 'third')
      items.add('extension', formOf('urn:example:kept'), 'mine')
      events.add(
        'account-disco-info',
        (({ reply }: { reply: { payload: Element } }) => {
          reply.payload.append(
            xml('identity', { category: 'own', type: 'own' }),
            xml('feature', { var: `${PING}#own` }),
            xml('feature', { var: 'urn:example:own' }),
            formOf(`${PING}#own`),
          )
        }) as never,
        0,
        'own',
      )
      events.add(
        'account-disco-info',
        (({ reply }: { reply: { payload: Element } }) => {
          reply.payload.append(
            xml('identity', { category: 'kept', type: 'kept' }),
            xml('feature', { var: 'urn:example:k' }),
          )
        }) as never,
        0,
        'kept',
      )
      const asker = await juliet()
      const check = async (): Promise<void> => {
        const host = await infoOf(asker, HOST)
        for (const gone of [
          PING,
          ROSTER,
          `${PING}#more`,
          'http://example.org/a#b',
          'http://example.org/a#b#c',
        ]) {
          expect(host.features).not.toContain(gone)
        }
        expect(host.features).toEqual(expect.arrayContaining([`${PING}:more`, 'http://example.org/a']))
        expect(host.identities).toEqual(['server/im/Legate', 'third/third'])
        expect(host.forms.map((x) => x.getChild('field')!.getChildText('value'))).toEqual([
          'urn:example:kept',
        ])
        const account = await infoOf(asker, JULIET)
        expect(account.identities).toEqual(['account/registered', 'kept/kept'])
        expect(account.features).toEqual([NS_DISCO_INFO, NS_DISCO_ITEMS, 'urn:example:own', 'urn:example:k'])
        expect(account.forms).toEqual([])
      }
      // Whether or not its manager is there.
      await check()
      const pubsub = await manager()
      await componentSettled(pubsub, HOST)
      await check()
      await announce(pubsub, hostNode(PING), feature(PING) + identity('mine', 'mine') + form(`${PING}#form`))
      await announce(pubsub, bareNode(PING), feature(`${PING}#own`))
      await componentSettled(pubsub, HOST)
      const host = await infoOf(asker, HOST)
      expect(host.features).toContain(PING)
      expect(host.features).not.toContain(`${PING}#more`)
      expect(host.identities).toContain('mine/mine')
      expect(host.forms).toHaveLength(2)
      expect((await infoOf(asker, JULIET)).features).toContain(`${PING}#own`)
    },
  )

  it('the identity of an account goes with what its plugin announces for the host', async () => {
    await start({ [PING]: { jid: PUBSUB } })
    const { items, events } = server.server.hosts.get(HOST)!
    items.add('feature', `${PING}#more`, 'mine')
    const add = ({ reply }: { reply: { payload: Element } }): void => {
      reply.payload.append(xml('identity', { category: 'mine', type: 'mine' }))
    }
    events.add('account-disco-info', add as never, 0, 'mine')
    expect((await infoOf(await juliet(), null)).identities).toEqual(['account/registered'])
  })

  it('and no longer: all of it is back', async () => {
    await start({ [PING]: { jid: PUBSUB } })
    const asker = await juliet()
    expect((await infoOf(asker, HOST)).features).not.toContain(PING)
    server.server.modules.unload(server.server.hosts.get(HOST)!, 'delegation')
    expect((await infoOf(asker, HOST)).features).toContain(PING)
  })

  it('the server stays a server, whatever is delegated', async () => {
    await start({ [NS_DISCO_ITEMS]: { jid: PUBSUB } })
    const asker = await juliet()
    const { identities, features } = await infoOf(asker, HOST)
    expect(identities).toContain('server/im/Legate')
    expect(features).not.toContain(NS_DISCO_ITEMS)
    expect((await infoOf(asker, JULIET)).identities).toEqual(['account/registered'])
  })
})

describe('D5: when the manager goes', () => {
  const shows = async (asker: TestStream, name: string): Promise<boolean[]> => {
    const seen: boolean[] = []
    for (const to of [HOST, JULIET]) seen.push((await infoOf(asker, to)).features.includes(name))
    return seen
  }
  const announceBoth = async (stream: TestStream, content: string): Promise<void> => {
    for (const node of [hostNode(NS), bareNode(NS)]) await announce(stream, node, content)
    await componentSettled(stream, HOST)
  }

  it('all of it goes, what others announce stays, and it is asked anew when it comes back', async () => {
    await start({ [NS]: { jid: PUBSUB }, [TWO]: { jid: OTHER } })
    const asker = await juliet()
    const [pubsub, other] = [await manager(), await manager(OTHER)]
    await announceBoth(pubsub, feature('urn:example:old') + identity('a', 'b') + form('urn:example:f'))
    await announce(other, hostNode(TWO), feature('urn:example:other'))
    await componentSettled(other, HOST)
    expect(await shows(asker, 'urn:example:old')).toEqual([true, true])
    await pubsub.destroy()
    await server.logged('component disconnected')
    expect(await shows(asker, 'urn:example:old')).toEqual([false, false])
    const { identities, forms, features } = await infoOf(asker, HOST)
    expect(identities).not.toContain('a/b')
    expect(forms).toEqual([])
    expect(features).toContain('urn:example:other')
    const again = await manager()
    expect(await shows(asker, 'urn:example:old')).toEqual([false, false])
    await announceBoth(again, feature('urn:example:new'))
    expect(await shows(asker, 'urn:example:new')).toEqual([true, true])
  })

  it('replaced by another connection: what the new one says counts, not what the old one has said', async () => {
    await start({ [NS]: { jid: PUBSUB } })
    const asker = await juliet()
    await announceBoth(await manager(), feature('urn:example:old'))
    const second = await manager()
    expect(await shows(asker, 'urn:example:old')).toEqual([false, false])
    await announceBoth(second, feature('urn:example:new'))
    expect(await shows(asker, 'urn:example:new')).toEqual([true, true])
  })

  it('of several connections, one: the other still announces', async () => {
    const shared = { ...component, component_conflict_resolve: 'share' as const }
    await start({ [NS]: { jid: PUBSUB } }, { components: { [PUBSUB]: shared } })
    const asker = await juliet()
    const [first, second] = [await manager(), await manager()]
    await announceBoth(first, feature('urn:example:shared'))
    await announceBoth(second, feature('urn:example:shared'))
    await first.destroy()
    await server.logged('component disconnected')
    expect(await shows(asker, 'urn:example:shared')).toEqual([true, true])
    await second.close()
    expect(await shows(asker, 'urn:example:shared')).toEqual([false, false])
  })

  it('the plugin’s file read anew: asked anew', async () => {
    await start({ [NS]: { jid: PUBSUB } })
    const asker = await juliet()
    const pubsub = await manager()
    await announceBoth(pubsub, feature('urn:example:old'))
    await server.server.modules.reload('delegation')
    expect(await shows(asker, 'urn:example:old')).toEqual([false, false])
    await announceBoth(pubsub, feature('urn:example:new'))
    expect(await shows(asker, 'urn:example:new')).toEqual([true, true])
  })

  it('C6: a namespace is given to another: what the first has announced for it goes, and the second is asked', async () => {
    await start({ [NS]: { jid: PUBSUB }, [TWO]: { jid: PUBSUB } })
    const asker = await juliet()
    const [pubsub, other] = [await manager(), await manager(OTHER)]
    await announceBoth(pubsub, feature('urn:example:first'))
    await announce(pubsub, hostNode(TWO), feature('urn:example:two'))
    const late = await questionAbout(pubsub, bareNode(TWO))
    await componentSettled(pubsub, HOST)
    const { config } = server.server
    const names = [
      'storage',
      'data_path',
      'interfaces',
      'local_interfaces',
      'c2s_ports',
      'component_ports',
    ].concat('c2s_require_encryption', 'allow_unencrypted_plain_auth', 'modules_enabled')
    await server.server.reload(
      configFromObject({
        ...Object.fromEntries(names.map((name) => [name, config.get('*', name)])),
        virtualHosts: { [HOST]: { delegations: { [NS]: { jid: OTHER }, [TWO]: { jid: PUBSUB } } } },
        components: { [PUBSUB]: component, [OTHER]: component },
      }),
    )
    expect(await shows(asker, 'urn:example:first')).toEqual([false, false])
    expect((await infoOf(asker, HOST)).features).toContain('urn:example:two')
    await announceBoth(other, feature('urn:example:second'))
    expect(await shows(asker, 'urn:example:second')).toEqual([true, true])
    // Asked again meanwhile: the earlier question is no longer one.
    pubsub.send(announcement(late, feature('urn:example:stale')))
    await announce(pubsub, bareNode(TWO), feature('urn:example:fresh'))
    await componentSettled(pubsub, HOST)
    const { features } = await infoOf(asker, JULIET)
    expect(features).toContain('urn:example:fresh')
    expect(features).not.toContain('urn:example:stale')
    expect(nodesAsked(pubsub)).not.toContain(hostNode(NS))
  })
})
