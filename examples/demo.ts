/**
 * The demo: a server, a component that manages a namespace, and a client, all real and in one process, and
 * every stanza between them as it goes. Run it with `npm run demo`.
 */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, client, xml } from '@xmpp/client'
import type { Component } from '@xmpp/component'
import type { Element } from '@xmpp/xml'
import { createServer, type Server } from '../server/index.ts'
import { Screen } from './demo/screen.ts'
import { type Watch, watch } from './demo/watch.ts'
import { createNotesService, NS_NOTES } from './notes-service.ts'
import { trustOnly } from './trust.ts'

const HOST = 'capulet.lit'
const MANAGER = 'notes.capulet.lit'
const JULIET = 'juliet@capulet.lit'
const PASSWORD = 'wherefore'
const NOTE = 'Ask the nurse about the ladder'
/** Milliseconds after which the demo gives up, whatever it waits for. */
const WATCHDOG = 20_000
/** In the demo's folder. */
const LOG_FILE = 'legate.log'

const screen = new Screen(process.stdout)

/** What the demo shows must be true: if something is not as it should be, the demo fails. */
function ensure(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new Error(otherwise)
}

const NS_DELEGATION = 'urn:xmpp:delegation:2'

const isDelegation = (stanza: Element): boolean => stanza.getChild('delegation', NS_DELEGATION) !== undefined

async function startServer(folder: string): Promise<Server> {
  screen.step('A server starts', `It serves ${HOST} and hands one namespace to a component, ${MANAGER}.`)
  const server = createServer({
    storage: 'internal',
    data_path: folder,
    log: join(folder, LOG_FILE),
    interfaces: ['127.0.0.1'],
    local_interfaces: ['127.0.0.1'],
    // 0: whatever ports are free
    c2s_ports: [0],
    component_ports: [0],
    modules_enabled: ['tls', 'saslauth', 'disco', 'delegation'],
    virtualHosts: { [HOST]: { delegations: { [NS_NOTES]: { jid: MANAGER } } } },
    components: { [MANAGER]: { component_secret: 'secret', modules_enabled: ['delegation'] } },
  })
  await server.start()
  await server.hosts.get(HOST)!.users!.create('juliet', PASSWORD)
  screen.fact('delegated', `${NS_NOTES} of ${HOST}  ──▶  ${MANAGER}`)
  screen.fact('account', `${JULIET}, made through the API`)
  screen.fact('stored in', `LMDB, in ${folder} (removed at the end)`)
  screen.fact('listening', `127.0.0.1:${portOf(server, 'c2s')} for clients`)
  screen.fact('', `127.0.0.1:${portOf(server, 'component')} for components`)
  return server
}

async function connectComponent(server: Server): Promise<{ component: Component; eye: Watch }> {
  screen.step(
    'The component connects',
    'It shows its secret (XEP-0114), and the server tells it what it manages from now on.',
  )
  const service = `xmpp://127.0.0.1:${portOf(server, 'component')}`
  const { entity: component, manager } = createNotesService(
    { service, domain: MANAGER, password: 'secret' },
    [HOST],
  )
  component.reconnect.stop()
  component.on('error', () => {}) // start() throws it
  const eye = watch(component, MANAGER, 'Legate', screen)
  eye.shown = isDelegation
  await component.start()
  const [grant] = await manager.granted(NS_NOTES)
  ensure(grant?.host === HOST, 'the component was told of another host')
  return { component, eye }
}

async function logIn(server: Server): Promise<Client> {
  screen.step('Juliet logs in', 'Her client is @xmpp/client as it is, which knows nothing of delegation.')
  const material = server.tlsOf(HOST)
  ensure(material !== undefined, `${HOST} has no certificate`)
  trustOnly(material.certificatePem)
  const juliet = client({
    service: `xmpp://127.0.0.1:${portOf(server, 'c2s')}`,
    domain: HOST,
    username: 'juliet',
    password: PASSWORD,
    resource: 'balcony',
  })
  juliet.reconnect.stop()
  let mechanism = ''
  juliet.on('send', (element) => {
    if (element.is('auth')) mechanism = String(element.attrs.mechanism)
  })
  juliet.on('error', () => {}) // start() throws it
  const jid = (await juliet.start()).toString()
  const tls = server.fullJids.get(jid)?.connection.tls?.getProtocol()
  ensure(typeof tls === 'string', 'the connection is not encrypted')
  screen.fact('encryption', `${tls}, by STARTTLS`)
  screen.fact('certificate', 'self-signed; the client trusts exactly this one, and checks its name')
  screen.fact('password', `proven with ${mechanism}, not sent`)
  screen.fact('address', jid)
  return juliet
}

async function keepNote(juliet: Client, hers: Watch, components: Watch): Promise<void> {
  screen.step(
    'Juliet keeps a note',
    'She sends it to her own account, as she would ask for her roster. The server sees that the namespace ' +
      'is delegated, and wraps her request for the component.',
  )
  hers.sent = 'an ordinary request'
  components.received = 'wrapped, with her full address and her id inside'
  components.sent = 'the answer, in the same wrapping'
  hers.received = 'unwrapped and checked, as if the server had answered'
  const since = performance.now()
  const request = xml('iq', { type: 'set', id: 'keep-1' }, xml('note', { xmlns: NS_NOTES }, NOTE))
  const result = await juliet.iqCaller.request(request, WATCHDOG)
  const took = performance.now() - since
  ensure(result.getChild('note', NS_NOTES)?.attrs.id === '1', 'the note was not kept')
  screen.outcome(`The component has it as note 1. Four hops, ${took.toFixed(1)} ms with this drawing.`)
}

async function readNotes(juliet: Client, hers: Watch): Promise<void> {
  screen.step(
    'Juliet reads her notes',
    'The same way; here is only what her client sees of it. Nothing tells her that the server is two programs.',
  )
  hers.sent = ''
  hers.received = ''
  const request = xml('iq', { type: 'get', id: 'read-1' }, xml('notes', { xmlns: NS_NOTES }))
  const result = await juliet.iqCaller.request(request, WATCHDOG)
  const text = result.getChild('notes', NS_NOTES)?.getChildText('note')
  ensure(text === NOTE, `the notes came back as ${result.toString()}`)
  screen.outcome('There it is.')
}

async function withoutComponent(juliet: Client, component: Component): Promise<void> {
  screen.step(
    'The component leaves',
    'Its namespace has nobody now. The server says so at once; the client is not left waiting.',
  )
  await component.stop()
  const request = xml('iq', { type: 'get', id: 'read-2' }, xml('notes', { xmlns: NS_NOTES }))
  const condition = await juliet.iqCaller.request(request, WATCHDOG).then(
    () => 'no error',
    (error: Error & { condition?: string }) => error.condition ?? error.message,
  )
  ensure(condition === 'service-unavailable', `the answer was ${condition} instead of service-unavailable`)
  screen.outcome('Refused with service-unavailable, as XEP-0355 wants it.')
}

function portOf(server: Server, service: string): number {
  const address = server.addresses.find((listening) => listening.service === service)
  ensure(address !== undefined, `the server does not listen for ${service}`)
  return address.port
}

async function main(folder: string): Promise<void> {
  screen.title(
    'Legate: namespace delegation (XEP-0355), live',
    'A server, a component and a client talk over real connections on this machine. ' +
      'Stanzas are shown as they are sent and received, only indented.',
  )
  const server = await startServer(folder)
  const { component, eye: components } = await connectComponent(server)
  const juliet = await logIn(server)
  const hers = watch(juliet, 'juliet', 'Legate', screen)
  await keepNote(juliet, hers, components)
  components.shown = () => false
  await readNotes(juliet, hers)
  await withoutComponent(juliet, component)
  await juliet.stop()
  await server.stop()
  screen.summary('That is all of it', [
    'The operator wrote: delegations = { ["urn:example:notes"] = { jid = "notes.capulet.lit" } }',
    'The component is examples/notes-service.ts, forty lines; it could be in any language',
    'The client is as it always was, and never heard of either.',
  ])
}

/** A folder that is gone when the process ends, however it ends. */
function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'legate-demo-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The end, if it did not go well: the reason, and what the server has logged last. */
function giveUp(reason: unknown, folder?: string): never {
  screen.failure(reason instanceof Error ? reason.message || reason.name : String(reason))
  try {
    const lines = readFileSync(join(folder ?? '', LOG_FILE), 'utf8')
      .trimEnd()
      .split('\n')
    screen.note(`The server's log ends with:\n  ${lines.slice(-10).join('\n  ')}`)
  } catch {
    // It has not come so far that there is a log.
  }
  process.exit(1)
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
// Whoever reads along may stop: npm run demo | head
process.stdout.on('error', () => process.exit(0))
let folder: string | undefined
process.on('unhandledRejection', (reason) => giveUp(reason, folder))
const watchdog = setTimeout(() => giveUp(`not done after ${WATCHDOG / 1000} seconds`, folder), WATCHDOG)
try {
  folder = temporaryFolder()
  await main(folder)
} catch (error) {
  giveUp(error, folder)
}
// From here it bites only if something keeps the process from ending.
watchdog.unref()
