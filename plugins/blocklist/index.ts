/** Blocking (XEP-0191): nothing passes between an account and those that it blocks. */

import {
  bareOf,
  definePlugin,
  errorReply,
  kinds,
  localOf,
  type Module,
  mayAnswerWithError,
  NS_BLOCKING,
  option,
  type StanzaEvent,
  type StreamSession,
  xml,
} from '../../server/index.ts'
import type { Rosters } from '../roster/index.ts'
import { serveCommands } from './commands.ts'
import { BlockLists, blocks, type StoredList } from './lists.ts'

/** Before all that would answer. */
const FIRST = 1000

const options = {
  blocklist_max_items: option({
    schema: kinds.integer(1).default(5000),
    description: 'Addresses that an account may block. Not of Prosody.',
  }),
}

export default definePlugin({
  name: 'blocklist',
  hostType: 'host',
  depends: ['roster'],
  options,
  load(module) {
    const { host } = module
    const { cluster } = host.server
    const lists = new BlockLists(host, module.openStore<StoredList>('blocklist'), () => cluster?.self.id)
    if (cluster !== undefined) module.onUnload(cluster.calls.onLeft(() => void lists.forgetAll()))
    module.addFeature(NS_BLOCKING)
    serveCommands(
      module,
      lists,
      module.exportsOf<Rosters>('roster'),
      () => module.options.blocklist_max_items,
    )

    // So that it is there when presence is sent.
    module.hookGlobal('user-deleted', ({ username, host: name }) => {
      if (name === host.name) lists.forget(username)
    })
    module.hook('resource-bind', ({ session }) => {
      if (lists.get(session.username!) === undefined)
        session.hold(lists.read(session.username!).catch(() => {}))
    })
    for (const kind of ['message', 'presence', 'iq'] as const) {
      for (const target of ['bare', 'full', 'host'] as const) {
        module.hook(`pre-${kind}/${target}`, (event) => leaving(module, lists, event), FIRST)
        if (target !== 'host')
          module.hook(`${kind}/${target}`, (event) => arriving(module, lists, event), FIRST)
      }
    }
    // Presence to contacts, and probes of them, are sent by the server.
    module.hook('presence/contact', ({ session, jid }) => {
      const list = lists.lastKnown(session.username!)
      return list !== undefined && blocks(list, jid) ? false : undefined
    })
  },
})

/** What a client of the host sends (§3.5). */
function leaving(module: Module, lists: BlockLists, { origin, stanza, toSelf }: StanzaEvent): unknown {
  const { to, type } = stanza.attrs
  const session = origin as StreamSession
  const { username } = session
  // The host itself, for which a component speaks (XEP-0356 §5.1), blocks nobody.
  if (username === undefined) return undefined
  // Contacts are told of it without being looked at one by one: it has to be known who is not to be.
  if (to === undefined && type === undefined && stanza.name === 'presence') {
    if (lists.lastKnown(username) !== undefined) return undefined
    return lists.read(username).then(() => module.server.router.process(origin, stanza))
  }
  if (to === undefined || toSelf || bareOf(to) === session.bareJid) return undefined
  const list = lists.get(username)
  // It could not be read when the session was bound.
  if (list === undefined) {
    return lists.read(username).then(() => module.server.router.process(origin, stanza))
  }
  if (!blocks(list, to)) return undefined
  if (mayAnswerWithError(stanza)) {
    const error = errorReply(stanza, 'not-acceptable', 'You have blocked this address')
    error.getChild('error')!.append(xml('blocked', { xmlns: `${NS_BLOCKING}:errors` }))
    origin.send(error)
  }
  return true
}

/** What comes for an account of the host (§3.6). */
function arriving(module: Module, lists: BlockLists, { origin, stanza }: StanzaEvent): unknown {
  const { from, to, type } = stanza.attrs
  const username = localOf(to ?? '')
  if (from === undefined || username === undefined || bareOf(from) === bareOf(to!)) return undefined
  const list = lists.get(username)
  if (list === undefined) {
    return lists.read(username).then(() => module.server.router.arrive(origin, stanza))
  }
  if (!blocks(list, from)) return undefined
  // Who is blocked learns no more than of an account that there is not.
  const isSilent = stanza.name === 'presence' || type === 'headline' || !mayAnswerWithError(stanza)
  if (!isSilent) origin.send(errorReply(stanza, 'service-unavailable'))
  return true
}
