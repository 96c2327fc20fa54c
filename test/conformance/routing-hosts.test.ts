/** Hosts: added, removed and kept by a reload of the configuration; the server's start and stop. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { configFromObject, type ServerOptions } from '../../server/index.ts'
import { connectComponent, login, TestStream } from '../shared/client.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { bindIq, conditionOf, troubles } from '../shared/streams.ts'

let test: TestServer

beforeEach(async () => {
  test = await startServer(
    {
      virtualHosts: { 'capulet.lit': {}, 'montague.lit': {} },
      components: { 'echo.capulet.lit': { component_secret: 'secret' } },
    },
    ['juliet@capulet.lit', 'romeo@montague.lit'],
  )
})

afterEach(async () => {
  expect(troubles(test)).toEqual([])
  await test.stop()
})

const reload = (options: ServerOptions) =>
  test.server.reload(
    configFromObject({
      storage: 'memory',
      data_path: test.server.dataPath,
      interfaces: ['127.0.0.1'],
      local_interfaces: ['127.0.0.1'],
      c2s_ports: [0],
      component_ports: [0],
      c2s_require_encryption: false,
      allow_unencrypted_plain_auth: true,
      default_iteration_count: 4096,
      modules_enabled: USUAL_PLUGINS,
      modules_disabled: ['offline'],
      ...options,
    }),
  )

const PING = "<ping xmlns='urn:xmpp:ping'/>"

describe('a reload', () => {
  it('adds hosts, and disturbs nobody', async () => {
    const juliet = await login(test.c2sPort, 'juliet@capulet.lit/balcony')
    const { c2sPort } = test
    await reload({
      virtualHosts: { 'capulet.lit': {}, 'montague.lit': {}, 'verona.lit': {} },
      components: {
        'echo.capulet.lit': { component_secret: 'secret' },
        'new.verona.lit': { component_secret: 's' },
      },
    })
    expect(test.c2sPort).toBe(c2sPort)
    await test.addUser('prince@verona.lit')
    const prince = await login(c2sPort, 'prince@verona.lit/court')
    prince.send(`<message to='${juliet.jid}' id='peace'/>`)
    expect((await juliet.withId('peace')).attrs.from).toBe(prince.jid)
    const component = await connectComponent(test.componentPort, 'new.verona.lit', 's')
    await Promise.all([juliet.close(), prince.close(), component.close()])
  })

  it('removes hosts: their streams end with host-gone, others stay', async () => {
    const juliet = await login(test.c2sPort, 'juliet@capulet.lit/balcony')
    const romeo = await login(test.c2sPort, 'romeo@montague.lit/orchard')
    const echo = await connectComponent(test.componentPort, 'echo.capulet.lit')
    await reload({ virtualHosts: { 'capulet.lit': {} } })
    for (const gone of [romeo, echo]) {
      expect((await gone.streamError()).condition).toBe('host-gone')
      await gone.closed()
    }
    expect(test.server.fullJids.size).toBe(1)
    expect(test.componentPort).toBeNaN()
    for (const to of ['montague.lit', 'echo.capulet.lit']) {
      const answer = await juliet.ask(`<iq type='get' id='${to}' to='${to}'>${PING}</iq>`)
      expect(conditionOf(answer)).toBe('remote-server-not-found')
    }
    const stream = await TestStream.connect(test.c2sPort)
    await stream.open("to='montague.lit' version='1.0'")
    expect((await stream.streamError()).condition).toBe('host-unknown')
    await juliet.close()
  })

  it('loads and unloads plugins, and those that are needed stay loaded', async () => {
    const juliet = await login(test.c2sPort, 'juliet@capulet.lit/balcony')
    const before = test.server.modules.namesOn('capulet.lit')
    const ping = () => juliet.ask(`<iq type='get' id='p' to='capulet.lit'>${PING}</iq>`)
    expect((await ping()).attrs.type).toBe('result')
    await reload({
      virtualHosts: { 'capulet.lit': {}, 'montague.lit': {} },
      modules_enabled: USUAL_PLUGINS.filter((name) => name !== 'ping'),
    })
    expect(conditionOf(await ping())).toBe('service-unavailable')
    await reload({ virtualHosts: { 'capulet.lit': {}, 'montague.lit': {} } })
    expect((await ping()).attrs.type).toBe('result')
    expect(test.server.modules.namesOn('capulet.lit').sort()).toEqual(before.sort())
    expect(test.log.filter((line) => line.includes('unloaded plugin=roster'))).toEqual([])
    await juliet.close()
  })

  it('gives other values of options to what is there', async () => {
    await reload({ virtualHosts: { 'capulet.lit': { max_resources: 1 }, 'montague.lit': {} } })
    const first = await login(test.c2sPort, 'juliet@capulet.lit/one')
    await expect(login(test.c2sPort, 'juliet@capulet.lit/two')).rejects.toThrow('resource-constraint')
    await first.close()
  })

  it('many at once are done one after the other, and the last one counts', async () => {
    await Promise.all([
      reload({ virtualHosts: { 'a.lit': {} } }),
      reload({ virtualHosts: { 'b.lit': {} } }),
      reload({ virtualHosts: { 'capulet.lit': {}, 'c.lit': {} } }),
    ])
    expect([...test.server.hosts.keys()].sort()).toEqual(['c.lit', 'capulet.lit'])
  })
})

describe('plugins of sessions that are under way', () => {
  it('saslauth, c2s and iq reloaded: sessions stay, new ones come', async () => {
    const juliet = await login(test.c2sPort, 'juliet@capulet.lit/balcony')
    for (const name of ['iq', 'saslauth', 'tls', 'c2s', 'delegation']) await test.server.modules.reload(name)
    await juliet.settled()
    const second = await login(test.c2sPort, 'juliet@capulet.lit/second')
    juliet.send(`<message to='${second.jid}' id='hello'/>`)
    await second.withId('hello')
    expect(conditionOf(await second.ask(bindIq('third', 'again')))).toBe('not-allowed')
    await Promise.all([juliet.close(), second.close()])
    await expect.poll(() => test.server.sessions.size).toBe(0)
  })
})

describe('the server', () => {
  it('starts once, and can be stopped twice', async () => {
    await expect(test.server.start()).rejects.toThrow('once')
    const port = test.c2sPort
    await Promise.all([test.server.stop(), test.server.stop()])
    await expect(TestStream.connect(port)).rejects.toThrow('ECONNREFUSED')
  })

  it('listens on the addresses of its interfaces that use_ipv4 and use_ipv6 leave', async () => {
    const other = await startServer({
      virtualHosts: { 'capulet.lit': {} },
      c2s_interfaces: ['127.0.0.1', '::1'],
      use_ipv6: false,
    })
    expect(other.server.addresses.map(({ address }) => address)).toEqual(['127.0.0.1'])
    await other.stop()
  })

  it('stopped within a reload, stops', async () => {
    let stopped = Promise.resolve()
    test.server.events.add('host-activated', () => {
      stopped = test.server.stop()
    })
    await reload({ virtualHosts: { 'capulet.lit': {}, 'verona.lit': {}, 'padua.lit': {} } })
    await stopped
    for (const name of test.server.hosts.keys()) expect(test.server.modules.namesOn(name)).toEqual([])
    expect(test.server.addresses).toEqual([])
    expect(test.server.sessions.size).toBe(0)
  })

  it('whose port is taken does not start, and says which', async () => {
    const options = { virtualHosts: { 'capulet.lit': {} }, c2s_ports: [test.c2sPort] }
    await expect(startServer(options)).rejects.toThrow(`port ${test.c2sPort}`)
  })
})
