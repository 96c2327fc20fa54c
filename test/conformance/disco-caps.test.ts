/** Entity capabilities of the server (XEP-0115 §5, §6.3), and that they change with what managers announce (D5). */

import { createHash } from 'node:crypto'
import type { Element } from '@xmpp/xml'
import { afterEach, describe, expect, it } from 'vitest'
import { configFromObject } from '../../server/config/index.ts'
import { NS_CAPS, NS_DISCO_INFO, NS_DISCO_ITEMS } from '../../server/stanza/namespaces.ts'
import { connectComponent, login, TestStream } from '../shared/client.ts'
import { componentSettled, conditionOf, errorLines } from '../shared/delegation.ts'
import {
  announce,
  discoQuery,
  feature,
  form,
  hostNode,
  identity,
  infoOf,
} from '../shared/delegation-discovery.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const PUBSUB = `pubsub.${HOST}`
const JULIET = `juliet@${HOST}`
const NS = 'urn:example:thing'

let server: TestServer
const streams: TestStream[] = []

async function start(delegations: Record<string, unknown> = { [NS]: { jid: PUBSUB } }): Promise<void> {
  server = await startServer(
    {
      virtualHosts: { [HOST]: { delegations } },
      components: { [PUBSUB]: { component_secret: 'secret', modules_enabled: ['delegation'] } },
    },
    [JULIET],
  )
}

/** Reads the configuration anew, with another section of the host. */
async function reload(host: Record<string, unknown>): Promise<void> {
  const { config } = server.server
  const names = ['storage', 'data_path', 'interfaces', 'local_interfaces', 'c2s_ports', 'component_ports']
  names.push('c2s_require_encryption', 'allow_unencrypted_plain_auth', 'modules_enabled', 'modules_disabled')
  await server.server.reload(
    configFromObject({
      ...Object.fromEntries(names.map((name) => [name, config.get('*', name)])),
      virtualHosts: { [HOST]: host },
      components: { [PUBSUB]: { component_secret: 'secret', modules_enabled: ['delegation'] } },
    }),
  )
}

async function juliet(): Promise<TestStream> {
  const stream = await login(server.c2sPort, `${JULIET}/balcony`)
  streams.push(stream)
  return stream
}

async function manager(): Promise<TestStream> {
  const stream = await connectComponent(server.componentPort, PUBSUB)
  streams.push(stream)
  return stream
}

/** The features of a client's stream before and after it authenticates. */
async function featuresOfLogin(): Promise<{ before: Element; after: Element }> {
  const stream = await TestStream.connect(server.c2sPort)
  streams.push(stream)
  await stream.open(`to='${HOST}' version='1.0'`)
  const before = await stream.named('features')
  const initial = Buffer.from('\0juliet\0pw').toString('base64')
  stream.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${initial}</auth>`)
  await stream.named('success')
  stream.restart()
  await stream.open(`to='${HOST}' version='1.0'`)
  return { before, after: await stream.named('features') }
}

/** What a client that logs in now is told: the attributes of the `<c/>`. */
async function capsAtLogin(): Promise<{ node: string; ver: string }> {
  const { after } = await featuresOfLogin()
  const c = after.getChild('c', NS_CAPS)!
  expect(c.attrs).toMatchObject({ hash: 'sha-1', node: expect.stringMatching(/^\w+:[^#]+$/) })
  return { node: c.attrs.node as string, ver: c.attrs.ver as string }
}

/** XEP-0115 §5.1, from what came over the wire. Everything in these tests is ASCII. */
function hashOf(query: Element): string {
  const texts = (parts: Element[], name: string) => parts.filter((part) => part.getName() === name)
  const children = query.getChildElements()
  const identities = texts(children, 'identity').map(({ attrs }) =>
    [attrs.category, attrs.type, attrs['xml:lang'] ?? '', attrs.name ?? ''].join('/'),
  )
  const features = texts(children, 'feature').map(({ attrs }) => attrs.var as string)
  const forms = texts(children, 'x').map((x) => {
    const fields = x.getChildren('field').map((field) => [
      field.attrs.var as string,
      ...field
        .getChildren('value')
        .map((value) => value.getText())
        .sort(),
    ])
    const [, type] = fields.find(([name]) => name === 'FORM_TYPE')!
    const others = fields
      .filter(([name]) => name !== 'FORM_TYPE')
      .sort(([a = ''], [b = '']) => (a < b ? -1 : 1))
    return [type, ...others.flat()].join('<')
  })
  const parts = [...identities.sort(), ...features.sort(), ...forms.sort()]
  return createHash('sha1')
    .update(parts.map((part) => `${part}<`).join(''))
    .digest('base64')
}

/** The hash of the host's disco#info. */
async function currentHash(asker: TestStream): Promise<string> {
  return hashOf((await infoOf(asker, HOST)).answer.getChild('query', NS_DISCO_INFO)!)
}

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  const errors = errorLines(server)
  await server.stop()
  expect(errors).toEqual([])
})

describe('XEP-0115: the server’s capabilities', () => {
  it('§6.3: stand in the features of who has authenticated, and of nobody else', async () => {
    await start()
    const { before, after } = await featuresOfLogin()
    expect(before.getChild('c', NS_CAPS)).toBeUndefined()
    expect(after.getChildren('c')).toHaveLength(1)
    expect(after.getChild('bind')).toBeDefined()
  })

  it('§5.1: have the hash of the host’s disco#info, which §7 has the feature in', async () => {
    await start()
    const { ver } = await capsAtLogin()
    const asker = await juliet()
    expect(ver).toBe(await currentHash(asker))
    expect((await infoOf(asker, HOST)).features).toContain(NS_CAPS)
    expect((await infoOf(asker, null)).features).not.toContain(NS_CAPS)
  })

  it('§6.2: the node of the hash tells the same as none', async () => {
    await start()
    const { node, ver } = await capsAtLogin()
    const asker = await juliet()
    const answer = await discoQuery(asker, HOST, NS_DISCO_INFO, `${node}#${ver}`)
    expect(answer.attrs).toMatchObject({ type: 'result', from: HOST, to: asker.jid })
    const query = answer.getChild('query', NS_DISCO_INFO)!
    expect(query.attrs.node).toBe(`${node}#${ver}`)
    expect(hashOf(query)).toBe(ver)
    const plain = await infoOf(asker, HOST)
    expect(query.children.join('')).toBe(plain.answer.getChild('query')!.children.join(''))
  })

  it('another node is not found', async () => {
    await start()
    const { node, ver } = await capsAtLogin()
    const asker = await juliet()
    const never = Buffer.alloc(20).toString('base64')
    for (const unknown of [
      `${node}#${never}`,
      `${node}#`,
      node,
      ver,
      `urn:other#${ver}`,
      `${node}#__proto__`,
    ]) {
      expect(conditionOf(await discoQuery(asker, HOST, NS_DISCO_INFO, unknown)), unknown).toBe(
        'item-not-found',
      )
    }
    expect(conditionOf(await discoQuery(asker, HOST, NS_DISCO_ITEMS, `${node}#${ver}`))).toBe(
      'item-not-found',
    )
  })

  it('are made once, however many log in, until something changes', async () => {
    await start()
    const { items } = server.server.hosts.get(HOST)!
    let made = 0
    const seesAll = (): boolean => {
      made++
      return false
    }
    items.add('disco-filter', seesAll, 'test')
    const { ver } = await capsAtLogin()
    const parts = made
    expect(parts).toBeGreaterThan(0)
    const asker = await juliet()
    expect(await currentHash(asker)).toBe(ver)
    expect(await capsAtLogin()).toMatchObject({ ver })
    expect(made).toBe(parts)
    items.add('feature', 'urn:example:new', 'test')
    expect((await capsAtLogin()).ver).not.toBe(ver)
    expect(made).toBe(2 * parts + 1)
  })

  it('change with the configuration', async () => {
    await start({})
    const before = await capsAtLogin()
    const asker = await juliet()
    // D4: what the server announces itself for a namespace that is delegated now is left out.
    await reload({ delegations: { 'urn:xmpp:ping': { jid: PUBSUB } } })
    const delegated = await capsAtLogin()
    expect(delegated.ver).not.toBe(before.ver)
    expect(delegated.ver).toBe(await currentHash(asker))
    await reload({ name: 'House of Capulet' })
    const named = await capsAtLogin()
    expect(new Set([before.ver, delegated.ver, named.ver]).size).toBe(3)
    expect(named.ver).toBe(await currentHash(asker))
    await reload({})
    expect((await capsAtLogin()).ver).toBe(before.ver)
  })

  it('change with the plugins', async () => {
    await start()
    const before = await capsAtLogin()
    const host = server.server.hosts.get(HOST)!
    server.server.modules.unload(host, 'time')
    const { ver } = await capsAtLogin()
    expect(ver).not.toBe(before.ver)
    expect(ver).toBe(await currentHash(await juliet()))
    await server.server.modules.load(host, 'time')
    expect((await capsAtLogin()).ver).toBe(before.ver)
  })
})

describe('D5: entity capabilities change with what a manager announces', () => {
  const META = form(
    'urn:example:meta',
    `<field var='b'><value>z</value><value>a</value></field><field var='a'><value>1</value></field>`,
  )

  it('it comes, goes, and comes back with something else', async () => {
    await start()
    const asker = await juliet()
    const alone = await capsAtLogin()
    const pubsub = await manager()
    await announce(pubsub, hostNode(NS), identity('store', 'thing', 'Things') + feature(`${NS}#one`) + META)
    await componentSettled(pubsub, HOST)
    const first = await capsAtLogin()
    expect(first.ver).not.toBe(alone.ver)
    expect(first.ver).toBe(await currentHash(asker))
    await pubsub.destroy()
    await server.logged('component disconnected')
    expect(await capsAtLogin()).toEqual(alone)
    expect(await currentHash(asker)).toBe(alone.ver)
    const again = await manager()
    expect(await capsAtLogin()).toEqual(alone)
    await announce(again, hostNode(NS), feature(`${NS}#two`))
    await componentSettled(again, HOST)
    const second = await capsAtLogin()
    expect([alone.ver, first.ver]).not.toContain(second.ver)
    expect(second.ver).toBe(await currentHash(asker))
  })

  it('who was told a hash may ask what it stood for, as long as it is one of the last few', async () => {
    await start()
    const asker = await juliet()
    const pubsub = await manager()
    await announce(pubsub, hostNode(NS), feature(`${NS}#first`))
    await componentSettled(pubsub, HOST)
    const { node, ver } = await capsAtLogin()
    await pubsub.destroy()
    await server.logged('component disconnected')
    const { items } = server.server.hosts.get(HOST)!
    for (let changes = 1; changes <= 4; changes++) {
      const answer = await discoQuery(asker, HOST, NS_DISCO_INFO, `${node}#${ver}`)
      if (changes < 4) expect(hashOf(answer.getChild('query')!)).toBe(ver)
      else expect(conditionOf(answer)).toBe('item-not-found')
      items.add('feature', `urn:example:${changes}`, 'test')
    }
  })

  it('no hash is given for what could be read as something else', async () => {
    await start()
    const pubsub = await manager()
    await announce(pubsub, hostNode(NS), feature(`${NS}#a<${NS}#b`))
    await componentSettled(pubsub, HOST)
    expect((await featuresOfLogin()).after.getChild('c', NS_CAPS)).toBeUndefined()
    const asker = await juliet()
    expect((await infoOf(asker, HOST)).features).toContain(`${NS}#a<${NS}#b`)
    await pubsub.destroy()
    await server.logged('component disconnected')
    expect((await capsAtLogin()).ver).toBe(await currentHash(asker))
  })
})
