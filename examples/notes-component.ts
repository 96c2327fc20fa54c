/**
 * A component that manages a namespace: every account of the server can keep notes in it.
 *
 * It speaks `urn:example:notes`, a namespace of this example's own:
 *
 * - IQ set `<note xmlns='urn:example:notes'>Buy rue</note>` keeps a note; the result is `<note id='1'/>`
 * - IQ get `<notes xmlns='urn:example:notes'/>` gives all notes of the account
 * - IQ get `<note xmlns='urn:example:notes' id='1'/>` gives one
 *
 * Clients send that to their own account and know of no component. The server forwards it (XEP-0355), the
 * component answers, and the server hands the answer to the client as if it were its own.
 */

import { realpathSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { type Component, type ComponentOptions, component, xml } from '@xmpp/component'
import type { Element } from '@xmpp/xml'

export const NS_NOTES = 'urn:example:notes'
export const NS_DELEGATION = 'urn:xmpp:delegation:2'
const NS_FORWARD = 'urn:xmpp:forward:0'
const NS_CLIENT = 'jabber:client'
const NS_DISCO_INFO = 'http://jabber.org/protocol/disco#info'
const NS_STANZAS = 'urn:ietf:params:xml:ns:xmpp-stanzas'

/** What one account may keep, so that nobody can fill the memory. */
const MOST_NOTES = 100
/** In characters. */
const LONGEST_NOTE = 1000
/** Of all accounts together. */
const MOST_ACCOUNTS = 10_000

/** Notes by account (bare JID). They are gone when the program ends: an example keeps them in memory. */
type Notebooks = Map<string, string[]>

/** Makes the component; `start()` it then. It connects again by itself when the server restarts. */
export function createNotesComponent(options: ComponentOptions): Component {
  const manager = component(options)
  const notebooks: Notebooks = new Map()

  // A request of some client, in the server's wrapping.
  manager.iqCallee.set(NS_DELEGATION, 'delegation', ({ stanza, element }) => {
    const request = element.getChild('forwarded', NS_FORWARD)?.getChild('iq', NS_CLIENT)
    if (request === undefined) return error('modify', 'bad-request')
    const { from: asker = '', to, id } = request.attrs as Record<string, string | undefined>
    const account = asker.split('/')[0]!
    // Anybody can send a wrapper with a forged request in it. Only a server speaks in the name of its
    // accounts, and only from its bare domain, which no client can take for its `from`.
    if (stanza.attrs.from !== account.split('@')[1]) return error('auth', 'forbidden')

    // Your own notes and nobody else's. Without `to`, a request means the asker's own account.
    const mine = to === undefined || to === account
    const answer = mine ? answerTo(request, account, notebooks) : error('auth', 'forbidden')
    const type = answer.is('error') ? 'error' : 'result'
    const reply = xml('iq', { xmlns: NS_CLIENT, type, id, from: to, to: asker }, answer)
    return xml('delegation', { xmlns: NS_DELEGATION }, xml('forwarded', { xmlns: NS_FORWARD }, reply))
  })

  // The server asks what to announce in its own disco#info (`::`) and in that of accounts (`:bare:`).
  manager.iqCallee.get(NS_DISCO_INFO, 'query', ({ element }) => {
    const { node } = element.attrs as Record<string, string | undefined>
    if (node === undefined) {
      const identity = xml('identity', { category: 'component', type: 'generic', name: 'Notes' })
      return xml('query', { xmlns: NS_DISCO_INFO }, identity, xml('feature', { var: NS_DISCO_INFO }))
    }
    if (node === `${NS_DELEGATION}::${NS_NOTES}`) return xml('query', { xmlns: NS_DISCO_INFO, node })
    if (node !== `${NS_DELEGATION}:bare:${NS_NOTES}`) return error('cancel', 'item-not-found')
    return xml('query', { xmlns: NS_DISCO_INFO, node }, xml('feature', { var: NS_NOTES }))
  })

  return manager
}

/** The payload of the answer to one request about an account's notes; an `<error/>` if it can not be met. */
function answerTo(request: Element, account: string, notebooks: Notebooks): Element {
  const notes = notebooks.get(account) ?? []
  const { type } = request.attrs
  const note = request.getChild('note', NS_NOTES)
  if (type === 'set' && note !== undefined) {
    const text = note.text().trim()
    if (text === '') return error('modify', 'bad-request')
    if (text.length > LONGEST_NOTE || notes.length >= MOST_NOTES) return error('wait', 'resource-constraint')
    if (!notebooks.has(account) && notebooks.size >= MOST_ACCOUNTS)
      return error('wait', 'resource-constraint')
    notebooks.set(account, [...notes, text])
    return xml('note', { xmlns: NS_NOTES, id: String(notes.length + 1) })
  }
  if (type === 'get' && request.getChild('notes', NS_NOTES) !== undefined) {
    const all = notes.map((text, index) => xml('note', { id: String(index + 1) }, text))
    return xml('notes', { xmlns: NS_NOTES }, ...all)
  }
  if (type === 'get' && note !== undefined) {
    const id = String(note.attrs.id)
    const text = notes.find((_, index) => String(index + 1) === id)
    return text === undefined ? error('cancel', 'item-not-found') : xml('note', { xmlns: NS_NOTES, id }, text)
  }
  return error('cancel', 'feature-not-implemented')
}

function error(type: string, condition: string): Element {
  return xml('error', { type }, xml(condition, { xmlns: NS_STANZAS }))
}

const USAGE = `notes-component [--host 127.0.0.1] [--port 5347] [--domain notes.localhost] [--secret secret]
or, in the environment: COMPONENT_HOST, COMPONENT_PORT, COMPONENT_DOMAIN, COMPONENT_SECRET`

/** Runs it alone, against the server of notes.cfg.lua. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      host: { type: 'string', default: process.env['COMPONENT_HOST'] ?? '127.0.0.1' },
      port: { type: 'string', default: process.env['COMPONENT_PORT'] ?? '5347' },
      domain: { type: 'string', default: process.env['COMPONENT_DOMAIN'] ?? 'notes.localhost' },
      secret: { type: 'string', default: process.env['COMPONENT_SECRET'] ?? 'secret' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(USAGE)
    return
  }
  const service = `xmpp://${values.host}:${values.port}`
  const manager = createNotesComponent({ service, domain: values.domain, password: values.secret })
  tellWhatHappens(manager, service, values.domain)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      manager.reconnect.stop()
      manager.stop().finally(() => process.exit(0))
    })
  }
  // A failure has been told of, and is tried again.
  await manager.start().catch(() => {})
}

function tellWhatHappens(manager: Component, service: string, domain: string): void {
  let lastFailure = ''
  manager.on('online', () => {
    lastFailure = ''
    console.log(`connected to ${service} as ${domain}`)
  })
  manager.on('error', (failure: Error & { code?: string; condition?: string }) => {
    if (failure.condition === 'not-authorized' || failure.condition === 'host-unknown') {
      console.error(`${service} refused: ${failure.message}`)
      console.error(`Does its configuration have: Component "${domain}" and this component_secret?`)
      process.exit(1)
    }
    const reason = failure.message || failure.code || failure.name
    if (reason !== lastFailure) console.error(`${service}: ${reason}; trying again every second`)
    lastFailure = reason
  })
  manager.on('stanza', (stanza: Element) => {
    const delegation = stanza.getChild('delegation', NS_DELEGATION)
    // `online` comes a moment after the first stanza.
    for (const { attrs } of delegation?.getChildren('delegated') ?? []) {
      setImmediate(() => console.log(`manages ${attrs.namespace} for ${stanza.attrs.from}`))
    }
    const request = delegation?.getChild('forwarded', NS_FORWARD)?.getChild('iq', NS_CLIENT)
    const payload = request?.getChildElements()[0]
    if (payload !== undefined) {
      console.log(
        `${request?.attrs.from}: ${request?.attrs.type} <${payload.name} xmlns='${payload.getNS()}'/>`,
      )
    }
  })
}

const program = process.argv[1]
if (program !== undefined && import.meta.url === pathToFileURL(realpathSync(program)).href) {
  main().catch((error: Error) => {
    console.error(`${error.message}\n${USAGE}`)
    process.exit(1)
  })
}
