/** Service discovery of hosts and accounts (XEP-0030, XEP-0128). */

import type { Element } from '@xmpp/xml'
import {
  bareOf,
  coreOptions,
  definePlugin,
  errorReply,
  type Identity,
  localOf,
  type Module,
  NS_DISCO_INFO,
  NS_DISCO_ITEMS,
  reply,
  Stanza,
  type StanzaEvent,
  serialize,
  writeElement,
  xml,
} from '../server/index.ts'
import type { RostersByHost } from './roster/index.ts'

/**
 * An item of the list `disco-filter`: leaves out of the host's disco#info what another plugin announces.
 *
 * @param kind - the list that it is in
 * @param item - a feature's name, an Identity, or a form
 * @param owner - the plugin that has added it
 * @returns whether it is left out
 */
export type DiscoFilter = (
  kind: 'feature' | 'identity' | 'extension',
  item: string | Identity | Element,
  owner: string,
) => boolean

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

    module.hook(`iq-get/host/${NS_DISCO_INFO}:query`, (event) => {
      const node = nodeOf(event)
      if (node !== '') {
        const answer = answerFor(event, NS_DISCO_INFO, node)
        const asked = { origin: event.origin, stanza: event.stanza, node, reply: answer, exists: false }
        return sendNode(event, asked, module.fireEvent('host-disco-info-node', asked))
      }
      event.origin.send(answerWithText(event, NS_DISCO_INFO, hostInfo(module)))
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
    if (host.hostType === 'host') serveAccounts(module)
  },
})

/** disco of bare JIDs, for the account itself and for who is subscribed to its presence. */
function serveAccounts(module: DiscoModule): void {
  module.hook(`iq-get/bare/${NS_DISCO_INFO}:query`, (event) =>
    whenAllowed(module, event, (username) => {
      const { origin, stanza } = event
      const node = nodeOf(event)
      const answer = answerFor(event, NS_DISCO_INFO, node)
      if (node !== '') {
        const asked = { origin, stanza, username, node, reply: answer, exists: false }
        return sendNode(event, asked, module.fireEvent('account-disco-info-node', asked))
      }
      answer.payload?.append(
        xml('identity', { category: 'account', type: 'registered' }),
        xml('feature', { var: NS_DISCO_INFO }),
        xml('feature', { var: NS_DISCO_ITEMS }),
      )
      const result = module.fireEvent('account-disco-info', { origin, stanza, username, reply: answer })
      if (result !== undefined) return result
      origin.send(answer)
      return true
    }),
  )
  module.hook(`iq-get/bare/${NS_DISCO_ITEMS}:query`, (event) =>
    whenAllowed(module, event, (username) => {
      const { origin, stanza } = event
      const node = nodeOf(event)
      const answer = answerFor(event, NS_DISCO_ITEMS, node)
      if (node !== '') {
        const asked = { origin, stanza, username, node, reply: answer, exists: false }
        return sendNode(event, asked, module.fireEvent('account-disco-items-node', asked))
      }
      const result = module.fireEvent('account-disco-items', { origin, stanza, username, reply: answer })
      if (result !== undefined) return result
      origin.send(answer)
      return true
    }),
  )
}

/**
 * Answers if the asker may know that there is such an account (XEP-0030 §8). All others get what they get for one
 * that does not exist: nobody serves the request.
 */
function whenAllowed(
  module: DiscoModule,
  event: StanzaEvent,
  answer: (username: string) => unknown,
): unknown {
  const { origin, stanza, toSelf } = event
  const username = localOf(stanza.attrs.to ?? origin.fullJid ?? '')
  if (username === undefined) return undefined
  if (toSelf) return answer(username)
  const rosters = module.shared<RostersByHost>('roster/hosts', () => new Map()).get(module.host.name)
  if (rosters === undefined) return undefined
  const asker = bareOf(stanza.attrs.from ?? '')
  const kept = rosters.kept(username)
  if (kept !== undefined) return isSubscribed(kept.items.get(asker)) ? answer(username) : undefined
  return rosters.read(username).then((roster) => {
    if (isSubscribed(roster.items.get(asker))) return answer(username)
    origin.send(errorReply(stanza, 'service-unavailable'))
    return true
  })
}

function isSubscribed(item: { readonly subscription: string } | undefined): boolean {
  return item?.subscription === 'from' || item?.subscription === 'both'
}

function nodeOf({ stanza }: StanzaEvent): string {
  return stanza.payloadAttrs['node'] ?? ''
}

/** The answer with a query that plugins can add to. */
function answerFor(event: StanzaEvent, xmlns: string, node: string): Stanza {
  const answer = reply(event.stanza, xml('query', node === '' ? { xmlns } : { xmlns, node }))
  // Who asks without `to` is answered by the account; some clients want to see that.
  if (event.toSelf) answer.attrs.from ??= bareOf(event.origin.fullJid ?? '')
  return answer
}

/** The answer around a query's content that is text already. */
function answerWithText({ stanza }: StanzaEvent, xmlns: string, content: string): Stanza {
  const { attrs } = reply(stanza)
  return Stanza.fromText('iq', attrs, writeElement('query', { xmlns }, content), 1, 'query', xmlns)
}

/** Sends the answer about a node, if a plugin knows the node. */
function sendNode(
  { origin, stanza }: StanzaEvent,
  asked: { readonly reply: Stanza; readonly exists: boolean },
  result: unknown,
): unknown {
  if (result !== undefined) return result
  origin.send(asked.exists ? asked.reply : errorReply(stanza, 'item-not-found', 'There is no such node'))
  return true
}

/** Identities, features and forms that the host's plugins have added, each once. */
function hostInfo(module: DiscoModule): string {
  const { items } = module.host
  const filters = items.get<DiscoFilter>('disco-filter')
  const parts = new Set<string>()
  const kinds = new Set<string>()
  for (const { owner, item } of items.entries<Identity>('identity')) {
    if (filters.some((leavesOut) => leavesOut('identity', item, owner))) continue
    const { category, type, name } = item
    // Of one kind, the first counts, as in Prosody.
    const kind = JSON.stringify([category, type])
    if (!kinds.has(kind)) parts.add(writeElement('identity', { category, type, name }, ''))
    kinds.add(kind)
  }
  for (const { owner, item } of items.entries<string>('feature')) {
    if (filters.some((leavesOut) => leavesOut('feature', item, owner))) continue
    parts.add(writeElement('feature', { var: item }, ''))
  }
  for (const { owner, item } of items.entries<Element>('extension')) {
    if (filters.some((leavesOut) => leavesOut('extension', item, owner))) continue
    parts.add(serialize(item))
  }
  return [...parts].join('')
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
