// legate/manager over @xmpp/component, on Legate and on a real Prosody: the same program does the same on both.

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Component, component, xml } from '@xmpp/component'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createNotesService, NS_NOTES } from '../../examples/notes-service.ts'
import {
  createManager,
  type DelegatedRequest,
  type DelegationManager,
  type ManagerFault,
  StanzaError,
} from '../../manager/index.ts'
import { login, type TestStream } from '../shared/client.ts'
import { conditionOf, newId } from '../shared/delegation.ts'
import { prosodyAvailable, startProsody } from '../shared/peers/prosody.ts'
import { describePeer } from '../shared/require.ts'
import { startServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const MANAGER = 'm.capulet.lit'
const NS = 'urn:example:scrolls'
const NS_DISCO_INFO = 'http://jabber.org/protocol/disco#info'
const NS_DELEGATION = 'urn:xmpp:delegation:2'
const USERS = ['juliet', 'romeo']
const DELEGATIONS = { [NS]: { jid: MANAGER, filtering: ['shelf'] }, [NS_NOTES]: { jid: MANAGER } }

interface Peer {
  readonly c2sPort: number
  readonly componentPort: number
  stop(): Promise<void>
}

async function startLegate(): Promise<Peer> {
  return startServer(
    {
      virtualHosts: { [HOST]: { delegations: DELEGATIONS } },
      components: { [MANAGER]: { component_secret: 'secret', modules_enabled: ['delegation'] } },
    },
    USERS.map((user) => `${user}@${HOST}`),
  )
}

async function startRealProsody(): Promise<Peer> {
  return startProsody({
    accounts: USERS.map((user) => ({ user, host: HOST, password: 'pw' })),
    modules: ['delegation'],
    hosts: { [HOST]: { delegations: DELEGATIONS } },
    components: { [MANAGER]: { secret: 'secret', options: { modules_enabled: ['delegation'] } } },
  })
}

/** Features of a disco#info answer. */
async function featuresOf(client: TestStream, to: string): Promise<string[]> {
  const answer = await client.ask(
    `<iq type='get' id='${newId()}' to='${to}'><query xmlns='${NS_DISCO_INFO}'/></iq>`,
  )
  const query = answer.getChild('query', NS_DISCO_INFO)
  return query?.getChildren('feature').map(({ attrs }) => String(attrs.var)) ?? []
}

function iq(type: 'get' | 'set', payload: string, to?: string): string {
  return `<iq type='${type}' id='${newId()}'${to === undefined ? '' : ` to='${to}'`}>${payload}</iq>`
}

const SCROLL = `<scroll xmlns='${NS}' shelf='a'/>`

function onPeer(start: () => Promise<Peer>): void {
  let peer: Peer
  let entity: Component
  let manager: DelegationManager
  const clients: TestStream[] = []
  const requests: DelegatedRequest[] = []
  const faults: ManagerFault[] = []

  beforeAll(async () => {
    peer = await start()
    const service = `xmpp://127.0.0.1:${peer.componentPort}`
    entity = component({ service, domain: MANAGER, password: 'secret' })
    entity.reconnect.delay = 20
    entity.on('error', () => {})
    const onFault = (fault: ManagerFault): void => {
      faults.push(fault)
    }
    manager = createManager(entity, { hosts: [HOST], onFault })
    const answer = async (request: DelegatedRequest) => {
      requests.push(request)
      const { payload, own, type } = request
      if (payload.attrs.shelf === 'none') throw new StanzaError('item-not-found', 'No such shelf')
      if (!own && type === 'set') throw new StanzaError('forbidden')
      return xml('scroll', { xmlns: NS, of: request.account, shelf: payload.attrs.shelf }, 'A & B <C>')
    }
    manager.handle(NS, answer, {
      host: { features: [`${NS}#of-host`] },
      account: { features: [NS, `${NS}#of-accounts`] },
    })
    await entity.start()
    await manager.granted(NS, HOST)
  })
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.close()
    requests.length = 0
    faults.length = 0
  })
  afterAll(async () => {
    entity?.reconnect.stop()
    if (entity?.status === 'online') await entity.stop()
    await peer?.stop()
  })

  async function user(name: string, resource = 'test'): Promise<TestStream> {
    const client = await login(peer.c2sPort, `${name}@${HOST}/${resource}`)
    clients.push(client)
    return client
  }

  it('A1: is told of its namespaces, with their filters', () => {
    expect([...manager.grantsOf(HOST).values()]).toEqual(
      expect.arrayContaining([
        { host: HOST, namespace: NS, filtering: ['shelf'] },
        { host: HOST, namespace: NS_NOTES, filtering: [] },
      ]),
    )
  })

  it('F1 to F4: is given asker and account, and its payload comes back', async () => {
    const juliet = await user('juliet', 'balcony')
    const answer = await juliet.ask(iq('get', SCROLL))
    expect(answer.attrs.type).toBe('result')
    expect(answer.getChild('scroll', NS)?.attrs).toMatchObject({ of: `juliet@${HOST}`, shelf: 'a' })
    expect(answer.getChildText('scroll')).toBe('A & B <C>')
    await juliet.ask(iq('set', SCROLL, `juliet@${HOST}`))
    const romeo = await user('romeo')
    await romeo.ask(iq('get', SCROLL, `juliet@${HOST}`))
    expect(requests).toMatchObject([
      { type: 'get', asker: `juliet@${HOST}/balcony`, account: `juliet@${HOST}`, own: true, host: HOST },
      { type: 'set', asker: `juliet@${HOST}/balcony`, account: `juliet@${HOST}`, own: true, host: HOST },
      { type: 'get', asker: `romeo@${HOST}/test`, account: `juliet@${HOST}`, own: false, host: HOST },
    ])
  })

  it('F6: a stanza error that it throws reaches the asker as it is', async () => {
    const romeo = await user('romeo')
    const missing = await romeo.ask(iq('get', SCROLL.replace("'a'", "'none'")))
    expect(conditionOf(missing)).toBe('item-not-found')
    expect(missing.getChild('error')?.getChildText('text')).toBe('No such shelf')
    expect(conditionOf(await romeo.ask(iq('set', SCROLL, `juliet@${HOST}`)))).toBe('forbidden')
    // Granted, and nobody here handles it.
    const unhandled = await romeo.ask(iq('get', `<notes xmlns='${NS_NOTES}'/>`))
    expect(conditionOf(unhandled)).toBe('service-unavailable')
    expect(faults).toEqual([])
  })

  it('D3: its features stand in the disco#info of the host, and of accounts', async () => {
    const juliet = await user('juliet')
    // The server asks the component for them on its own time.
    await expect.poll(() => featuresOf(juliet, HOST)).toContain(`${NS}#of-host`)
    await expect.poll(() => featuresOf(juliet, `juliet@${HOST}`)).toContain(`${NS}#of-accounts`)
    expect(await featuresOf(juliet, HOST)).not.toContain(`${NS}#of-accounts`)
    expect(await featuresOf(juliet, `juliet@${HOST}`)).not.toContain(`${NS}#of-host`)
  })

  it('refuses a wrapper that a client has forged', async () => {
    const romeo = await user('romeo')
    const forged =
      `<delegation xmlns='${NS_DELEGATION}'><forwarded xmlns='urn:xmpp:forward:0'>` +
      `<iq xmlns='jabber:client' type='get' id='x' from='juliet@${HOST}/balcony'>${SCROLL}</iq></forwarded></delegation>`
    expect(conditionOf(await romeo.ask(iq('set', forged, MANAGER)))).toBe('forbidden')
    romeo.send(
      `<message to='${MANAGER}'><delegation xmlns='${NS_DELEGATION}'><delegated namespace='urn:x'/></delegation></message>`,
    )
    expect(conditionOf(await romeo.ask(iq('get', SCROLL)))).toBe('result')
    expect(manager.grantsOf(HOST).has('urn:x')).toBe(false)
    expect(requests).toHaveLength(1)
    expect(faults).toMatchObject([{ kind: 'refused', host: `romeo@${HOST}/test` }])
  })

  it('A2: comes back by itself when the connection breaks, and is granted its namespaces anew', async () => {
    const juliet = await user('juliet')
    const lost = once(manager, 'grants')
    const { socket } = entity as unknown as { socket: { destroy(): void } }
    socket.destroy()
    expect(await lost).toEqual([HOST, new Map()])
    await manager.granted(NS, HOST)
    expect(conditionOf(await juliet.ask(iq('get', SCROLL)))).toBe('result')
  })

  it('answers many at once, each its own', async () => {
    const juliet = await user('juliet')
    const shelves = Array.from({ length: 50 }, (_, index) => `s${index}`)
    const answers = await Promise.all(
      shelves.map((shelf) => juliet.ask(iq('get', SCROLL.replace("'a'", `'${shelf}'`)))),
    )
    expect(answers.map((answer) => answer.getChild('scroll')?.attrs.shelf)).toEqual(shelves)
    expect(manager.pending).toBe(0)
  })
}

describe('on Legate', () => {
  onPeer(startLegate)
})

describePeer('on Prosody', prosodyAvailable(), () => {
  onPeer(startRealProsody)
})

describe('examples/notes-service', () => {
  const DIST = fileURLToPath(new URL('../../dist', import.meta.url))
  const PROGRAM = `${DIST}/examples/notes-service.js`
  const missing = existsSync(PROGRAM) ? undefined : `${PROGRAM} is not there (npm run build)`
  let peer: Peer

  beforeAll(async () => {
    peer = await startLegate()
  })
  afterAll(() => peer?.stop())

  it('keeps notes of one’s own account, each with its limits', async () => {
    const service = `xmpp://127.0.0.1:${peer.componentPort}`
    const { entity, manager } = createNotesService({ service, domain: MANAGER, password: 'secret' }, [HOST])
    entity.reconnect.stop()
    const juliet = await login(peer.c2sPort, `juliet@${HOST}/js`)
    try {
      await entity.start()
      await manager.granted(NS_NOTES)
      const keep = (text: string) => juliet.ask(iq('set', `<note xmlns='${NS_NOTES}'>${text}</note>`))
      expect((await keep('Buy rue')).getChild('note', NS_NOTES)?.attrs.id).toBe('1')
      expect(conditionOf(await keep(' '))).toBe('bad-request')
      expect(conditionOf(await keep('x'.repeat(501)))).toBe('resource-constraint')
      const one = await juliet.ask(iq('get', `<note xmlns='${NS_NOTES}' id='1'/>`))
      expect(one.getChildText('note', NS_NOTES)).toBe('Buy rue')
      expect(conditionOf(await juliet.ask(iq('get', `<note xmlns='${NS_NOTES}' id='2'/>`)))).toBe(
        'item-not-found',
      )
      expect(conditionOf(await juliet.ask(iq('set', `<notes xmlns='${NS_NOTES}'/>`)))).toBe(
        'feature-not-implemented',
      )
      expect(conditionOf(await juliet.ask(iq('get', `<notes xmlns='${NS_NOTES}'/>`, `romeo@${HOST}`)))).toBe(
        'forbidden',
      )
      await expect.poll(() => featuresOf(juliet, `juliet@${HOST}`)).toContain(NS_NOTES)
    } finally {
      await juliet.close()
      await entity.stop()
    }
  })

  describePeer('as a program', missing, () => {
    it('says what it manages, and ends when it is told to', async () => {
      const options = ['--port', String(peer.componentPort), '--domain', MANAGER]
      const program = spawn(process.execPath, [PROGRAM, ...options])
      const lines: string[] = []
      const output = createInterface({ input: program.stdout })
      const toldAll = new Promise<void>((resolve) => {
        output.on('line', (line) => {
          lines.push(line)
          if (line.startsWith('manages') && lines.length === 3) resolve()
        })
      })
      await toldAll
      expect(lines[0]).toBe(`connected to xmpp://127.0.0.1:${peer.componentPort} as ${MANAGER}`)
      expect(lines.slice(1).sort()).toEqual([`manages ${NS_NOTES} for ${HOST}`, `manages ${NS} for ${HOST}`])
      program.kill('SIGTERM')
      expect(await once(program, 'exit')).toEqual([0, null])
    })

    it('says how it is used when an option is wrong', async () => {
      const wrong = promisify(execFile)(process.execPath, [PROGRAM, '--for', 'a@b'])
      await expect(wrong).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/"a@b" is no host[\s\S]*notes-service\.js \[--host/),
      })
    })

    it('the package exports the library as legate/manager', async () => {
      const script = `console.log(Object.keys(await import('legate/manager')).sort().join())`
      const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
        cwd: `${DIST}/..`,
      })
      expect(stdout.trim()).toBe('DelegationManager,STANZA_ERROR_TYPES,StanzaError,createManager')
    })
  })
})
