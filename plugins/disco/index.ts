/** Service discovery of hosts and accounts (XEP-0030, XEP-0128), and the host's entity capabilities (XEP-0115). */

import {
  coreOptions,
  definePlugin,
  type Element,
  type Identity,
  type Module,
  NS_CAPS,
  NS_DISCO_INFO,
  NS_DISCO_ITEMS,
  reply,
  writeElement,
  xml,
} from '../../server/index.ts'
import { serveAccounts } from './accounts.ts'
import { answerFor, infoAnswer, nodeOf, sendNode } from './answers.ts'
import { HostCaps } from './caps.ts'
import { ClientCaps, type ClientCapsByHost } from './client-caps.ts'

export type { Capabilities, ClientCaps, ClientCapsByHost } from './client-caps.ts'
export type { AnnouncedIdentity, DiscoFilter } from './info.ts'

/** After all other plugins. */
const LAST = -(2 ** 32)

const options = {
  name: coreOptions.name,
  disco_items: coreOptions.disco_items,
}
type DiscoModule = Module<typeof options>

export default definePlugin({
  name: 'disco',
  options,
  load(module) {
    const { host } = module
    const caps = new HostCaps(host)
    if (host.hostType === 'host') {
      const identity: Identity = {
        category: 'server',
        type: 'im',
        get name() {
          return module.options.name ?? 'Legate'
        },
      }
      module.addItem('identity', identity)
    }
    module.addFeature(NS_DISCO_INFO)
    module.addFeature(NS_DISCO_ITEMS)
    // The name may be another, and what filters leave out.
    module.hook('config-reloaded', () => caps.forget(), LAST)

    module.hook(`iq-get/host/${NS_DISCO_INFO}:query`, (event) => {
      const node = nodeOf(event)
      if (node !== '') {
        const answer = answerFor(event, NS_DISCO_INFO, node)
        const asked = { origin: event.origin, stanza: event.stanza, node, reply: answer, exists: false }
        return sendNode(event, asked, module.fireEvent('host-disco-info-node', asked))
      }
      event.origin.send(infoAnswer(reply(event.stanza), caps.content))
      return true
    })
    module.hook(`iq-get/host/${NS_DISCO_ITEMS}:query`, (event) => {
      const node = nodeOf(event)
      const { origin, stanza } = event
      const answer = answerFor(event, NS_DISCO_ITEMS, node)
      if (node !== '') {
        const asked = { origin, stanza, node, reply: answer, exists: false }
        return sendNode(event, asked, module.fireEvent('host-disco-items-node', asked))
      }
      const result = module.fireEvent('host-disco-items', { origin, stanza, reply: answer })
      if (result !== undefined) return result
      answer.payload?.append(...hostItems(module))
      origin.send(answer)
      return true
    })
    if (host.hostType !== 'host') return
    serveAccounts(module)
    announceCaps(module, caps)
    const ofClients = module.shared<ClientCapsByHost>('disco/client-caps', () => new Map())
    ofClients.set(host.name, new ClientCaps(module))
    module.onUnload(() => ofClients.delete(host.name))
  },
})

/** XEP-0115 §6.3: who has authenticated is told what the server is, and need not ask if that is known. */
function announceCaps(module: DiscoModule, caps: HostCaps): void {
  module.addFeature(NS_CAPS)
  module.hook('stream-features', ({ origin, features }) => {
    if (origin.type !== 'c2s_unbound') return
    const { feature } = caps
    if (feature !== undefined) features.appendWritten(writeElement('c', feature, ''), 'c', NS_CAPS)
  })
  module.hook('host-disco-info-node', ({ origin, node, reply: answer }) => {
    const content = caps.contentOf(node)
    if (content === undefined) return undefined
    origin.send(infoAnswer(answer, content, node))
    return true
  })
}

/** The server's hosts right below this one, and those that the option `disco_items` names. */
function hostItems(module: DiscoModule): Element[] {
  const { server, host } = module
  const found = new Map<string, string | undefined>()
  for (const other of server.hosts.values()) {
    const parent = other.name.slice(other.name.indexOf('.') + 1)
    if (parent !== host.name || other === host) continue
    if (server.readOption(other.name, 'disco_hidden', coreOptions.disco_hidden) === true) continue
    // A name for the whole server is not that of each component.
    const name = server.config.has(other.name, 'name')
      ? (server.readOption(other.name, 'name', coreOptions.name) as string | undefined)
      : undefined
    found.set(other.name, name)
  }
  for (const { jid, name } of module.options.disco_items) found.set(jid, name)
  return [...found].map(([jid, name]) => xml('item', name === undefined ? { jid } : { jid, name }))
}
