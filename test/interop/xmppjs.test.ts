// @xmpp/client and @xmpp/component, the libraries of the JavaScript XMPP world, log in and do their job.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, client, xml } from '@xmpp/client'
import { type Component, component } from '@xmpp/component'
import type { Element } from '@xmpp/xml'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createNotesService, NS_NOTES } from '../../examples/notes-service.ts'
import { trustOnly } from '../../examples/trust.ts'
import type { ServerOptions } from '../../server/config/index.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'

const HOST = 'capulet.lit'
const MANAGER = 'notes.capulet.lit'
const NS_DELEGATION = 'urn:xmpp:delegation:2'

const options: ServerOptions = {
  c2s_require_encryption: true,
  virtualHosts: { [HOST]: { delegations: { [NS_NOTES]: { jid: MANAGER } } } },
  components: { [MANAGER]: { component_secret: 'secret', modules_enabled: ['delegation'] } },
}
const users = [`juliet@${HOST}`, `romeo@${HOST}`]

const running: (Client | Component)[] = []

async function stopAll(): Promise<void> {
  for (const entity of running.splice(0)) {
    entity.reconnect.stop()
    if (entity.status === 'online') await entity.stop()
  }
}

interface ClientUnderTest {
  xmpp: Client
  /** Names of the mechanisms that it has tried. */
  mechanisms: string[]
  errors: Error[]
}

function newClient(port: number, username: string, password = 'pw'): ClientUnderTest {
  const service = `xmpp://127.0.0.1:${port}`
  const xmpp = client({ service, domain: HOST, username, password, resource: 'js' })
  xmpp.reconnect.delay = 50
  const mechanisms: string[] = []
  const errors: Error[] = []
  xmpp.on('error', (error) => errors.push(error))
  xmpp.on('send', (element) => {
    if (element.is('auth')) mechanisms.push(String(element.attrs.mechanism))
  })
  running.push(xmpp)
  return { xmpp, mechanisms, errors }
}

/** What the tests need of either of them. */
interface Entity {
  addListener(event: 'stanza', listener: (stanza: Element) => void): unknown
  addListener(event: 'online', listener: () => void): unknown
  removeListener(event: 'stanza', listener: (stanza: Element) => void): unknown
}

/** Resolves when it is online, the next time. Errors before that do not matter: it tries again. */
function online(entity: Entity): Promise<void> {
  return new Promise((resolve) => entity.addListener('online', resolve))
}

/** The next stanza that fits. */
function stanza(entity: Entity, fits: (stanza: Element) => boolean): Promise<Element> {
  return new Promise((resolve) => {
    const listener = (arrived: Element): void => {
      if (!fits(arrived)) return
      entity.removeListener('stanza', listener)
      resolve(arrived)
    }
    entity.addListener('stanza', listener)
  })
}

async function startManager(port: number): Promise<Component> {
  const service = `xmpp://127.0.0.1:${port}`
  const { entity: manager } = createNotesService({ service, domain: MANAGER, password: 'secret' }, [HOST])
  manager.reconnect.delay = 50
  manager.on('error', () => {})
  running.push(manager)
  await manager.start()
  return manager
}

async function conditionOf(asking: Promise<unknown>): Promise<string | undefined> {
  const failure = await asking.then(
    () => new Error('there was no error'),
    (error: Error & { condition?: string }) => error,
  )
  return 'condition' in failure ? failure.condition : failure.message
}

describe('@xmpp/client over TLS', () => {
  let server: TestServer
  let trustAgain: () => void

  beforeAll(async () => {
    server = await startServer(options, users)
    trustAgain = trustOnly(server.server.tlsOf(HOST)!.certificatePem)
  })
  afterEach(stopAll)
  afterAll(async () => {
    trustAgain?.()
    await server?.stop()
  })

  it('logs in over STARTTLS with SCRAM-SHA-1, checking the certificate, and binds its resource', async () => {
    const { xmpp, mechanisms, errors } = newClient(server.c2sPort, 'juliet')
    const jid = await xmpp.start()
    expect(jid.toString()).toBe(`juliet@${HOST}/js`)
    expect(xmpp.isSecure()).toBe(true)
    expect(mechanisms).toEqual(['SCRAM-SHA-1'])
    expect(errors).toEqual([])
  })

  it('does not log in with a wrong password', async () => {
    const { xmpp, errors } = newClient(server.c2sPort, 'juliet', 'wrong')
    expect(await conditionOf(xmpp.start())).toBe('not-authorized')
    expect(errors[0]).toMatchObject({ name: 'SASLError', condition: 'not-authorized' })
    await xmpp.stop()
  })

  it('refuses a certificate that it does not trust', async () => {
    trustAgain()
    try {
      const { xmpp } = newClient(server.c2sPort, 'juliet')
      xmpp.reconnect.stop()
      await expect(xmpp.start()).rejects.toThrow(/self-signed certificate/)
    } finally {
      trustAgain = trustOnly(server.server.tlsOf(HOST)!.certificatePem)
    }
  })

  it('gets its roster, its own presence, and messages of another', async () => {
    const { xmpp: juliet } = newClient(server.c2sPort, 'juliet')
    const { xmpp: romeo } = newClient(server.c2sPort, 'romeo')
    await Promise.all([juliet.start(), romeo.start()])
    const roster = await juliet.iqCaller.get(xml('query', { xmlns: 'jabber:iq:roster' }))
    expect(roster?.getChildren('item')).toEqual([])

    const present = stanza(juliet, (arrived) => arrived.is('presence'))
    await juliet.send(xml('presence'))
    expect((await present).attrs.from).toBe(`juliet@${HOST}/js`)

    const text = 'But <soft>, "what" & light ♥ 🌹'
    const message = stanza(juliet, (arrived) => arrived.is('message'))
    await romeo.send(xml('message', { to: `juliet@${HOST}`, type: 'chat' }, xml('body', {}, text)))
    const { attrs } = await message
    expect(attrs).toMatchObject({ from: `romeo@${HOST}/js`, to: `juliet@${HOST}`, type: 'chat' })
    expect((await message).getChildText('body')).toBe(text)
  })

  it('answers a ping of another client, and asks one', async () => {
    const { xmpp: juliet } = newClient(server.c2sPort, 'juliet')
    const { xmpp: romeo } = newClient(server.c2sPort, 'romeo')
    await Promise.all([juliet.start(), romeo.start()])
    await juliet.send(xml('presence'))
    const ping = xml('iq', { type: 'get', to: `juliet@${HOST}/js` }, xml('ping', { xmlns: 'urn:xmpp:ping' }))
    const pong = await romeo.iqCaller.request(ping)
    expect(pong.attrs).toMatchObject({ type: 'result', from: `juliet@${HOST}/js` })
  })

  it('A1, F1 to F4: has its IQs answered by a manager with @xmpp/component', async () => {
    const service = `xmpp://127.0.0.1:${server.componentPort}`
    const { entity: manager } = createNotesService({ service, domain: MANAGER, password: 'secret' }, [HOST])
    manager.on('error', () => {})
    running.push(manager)
    const told = stanza(manager, (arrived) => arrived.is('message'))
    await manager.start()
    const delegated = (await told).getChild('delegation', NS_DELEGATION)!.getChildren('delegated')
    expect(delegated.map(({ attrs }) => attrs.namespace)).toEqual([NS_NOTES])

    const { xmpp: juliet } = newClient(server.c2sPort, 'juliet')
    await juliet.start()
    const kept = await juliet.iqCaller.set(xml('note', { xmlns: NS_NOTES }, 'A & B <C>'))
    expect(kept?.attrs.id).toBe('1')
    const notes = await juliet.iqCaller.get(xml('notes', { xmlns: NS_NOTES }), `juliet@${HOST}`)
    expect(notes?.getChildText('note')).toBe('A & B <C>')
    // F6: an error inside the wrapper is the client's
    const missing = xml('note', { xmlns: NS_NOTES, id: '7' })
    expect(await conditionOf(juliet.iqCaller.get(missing))).toBe('item-not-found')
    const { xmpp: romeo } = newClient(server.c2sPort, 'romeo')
    await romeo.start()
    const hers = romeo.iqCaller.get(xml('notes', { xmlns: NS_NOTES }), `juliet@${HOST}`)
    expect(await conditionOf(hers)).toBe('forbidden')
  })

  it('F7: is told at once that there is no manager', async () => {
    const { xmpp: juliet } = newClient(server.c2sPort, 'juliet')
    await juliet.start()
    const asking = juliet.iqCaller.get(xml('notes', { xmlns: NS_NOTES }))
    expect(await conditionOf(asking)).toBe('service-unavailable')
  })

  it('the notes service refuses a wrapper that a client has forged', async () => {
    await startManager(server.componentPort)
    const { xmpp: romeo } = newClient(server.c2sPort, 'romeo')
    await romeo.start()
    const inner = xml(
      'iq',
      { xmlns: 'jabber:client', type: 'get', id: 'x', from: `juliet@${HOST}/balcony` },
      xml('notes', { xmlns: NS_NOTES }),
    )
    const wrapper = xml(
      'delegation',
      { xmlns: NS_DELEGATION },
      xml('forwarded', { xmlns: 'urn:xmpp:forward:0' }, inner),
    )
    expect(await conditionOf(romeo.iqCaller.set(wrapper, MANAGER))).toBe('forbidden')
  })
})

describe('@xmpp/client over plain TCP', () => {
  let server: TestServer

  beforeAll(async () => {
    const modules_enabled = USUAL_PLUGINS.filter((name) => name !== 'tls')
    server = await startServer({ ...options, c2s_require_encryption: false, modules_enabled }, users)
  })
  afterEach(stopAll)
  afterAll(() => server?.stop())

  it('logs in with SCRAM-SHA-1 and does not send its password', async () => {
    const { xmpp, mechanisms } = newClient(server.c2sPort, 'juliet')
    expect((await xmpp.start()).toString()).toBe(`juliet@${HOST}/js`)
    expect(xmpp.isSecure()).toBe(false)
    expect(mechanisms).toEqual(['SCRAM-SHA-1'])
  })
})

describe('@xmpp/component', () => {
  let server: TestServer

  beforeAll(async () => {
    server = await startServer(options, users)
  })
  afterEach(stopAll)
  afterAll(() => server?.stop())

  it('is refused with a wrong secret', async () => {
    const service = `xmpp://127.0.0.1:${server.componentPort}`
    const manager = component({ service, domain: MANAGER, password: 'wrong' })
    manager.reconnect.stop()
    manager.on('error', () => {})
    expect(await conditionOf(manager.start())).toBe('not-authorized')
  })
})

describe('after a restart of the server', () => {
  const data_path = mkdtempSync(join(tmpdir(), 'legate-restart-'))
  afterEach(stopAll)
  afterAll(() => rmSync(data_path, { recursive: true, force: true }))

  it('client and component come back by themselves, and delegation works again', async () => {
    const kept: ServerOptions = { ...options, storage: 'internal', data_path }
    const first = await startServer(kept, users)
    const ports = { c2s_ports: [first.c2sPort], component_ports: [first.componentPort] }
    const trustAgain = trustOnly(first.server.tlsOf(HOST)!.certificatePem)
    let second: TestServer | undefined
    try {
      const manager = await startManager(first.componentPort)
      const { xmpp: juliet, errors } = newClient(first.c2sPort, 'juliet')
      await juliet.start()
      const back = [online(juliet), online(manager)]
      await first.stop()
      second = await startServer({ ...kept, ...ports })
      await Promise.all(back)
      expect(errors[0]).toMatchObject({ condition: 'system-shutdown' })

      const result = await juliet.iqCaller.set(xml('note', { xmlns: NS_NOTES }, 'still here'))
      expect(result?.attrs.id).toBe('1')
    } finally {
      trustAgain()
      await stopAll()
      await (second ?? first).stop()
    }
  })
})
