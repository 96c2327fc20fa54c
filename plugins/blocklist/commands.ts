/** How an account sees and changes whom it blocks (XEP-0191 §3). */

import {
  bareOf,
  type Module,
  NS_BLOCKING,
  type Origin,
  prepareJid,
  reply,
  Stanza,
  StanzaError,
  type StreamSession,
  writeElement,
} from '../../server/index.ts'
import type { Rosters } from '../roster/index.ts'
import { type BlockLists, blocks } from './lists.ts'

/** Milliseconds that other processes have to do what a change asks of them. */
const OTHERS_MS = 5000

/**
 * Characters that an address may have on average; some may have more when others have fewer. A list is written as a
 * whole at each change, so its size is what a change costs.
 */
const AVERAGE_LENGTH = 128

/** What a change of a list asks of each process. */
interface Change {
  readonly username: string
  /** What the account's resources are told. */
  readonly text: string
  /** Contacts who do not see them any more. */
  readonly hiddenFrom: readonly string[]
  /** Who is blocked now: they do not see those either that have sent them presence (RFC 6121 §4.6). */
  readonly blocked: readonly string[]
}

/**
 * Serves the commands.
 *
 * @param maxItems - JIDs that an account may block
 */
export function serveCommands(
  module: Module,
  lists: BlockLists,
  rosters: Rosters,
  maxItems: () => number,
): void {
  const { host } = module
  const { cluster } = host.server
  /** Resources that have asked for the list: they are told of changes (§3.2). */
  const interested = new WeakSet<StreamSession>()
  /** Of the plugin presence: whom a session has sent directed presence to. */
  const directed = module.shared('presence/directed', () => new WeakMap<StreamSession, Set<string>>())

  const sessionsOf = (username: string) => [...(host.accounts.get(username)?.sessions.values() ?? [])]
  /** §3.3: who is blocked sees the account leave, in order with what its resources have sent. */
  const hide = ({ username, hiddenFrom, blocked }: Change): void => {
    const list = new Set(blocked)
    for (const session of sessionsOf(username)) {
      if (session.destroyed) continue
      const addresses = new Set(session.available ? hiddenFrom : [])
      const sentTo = directed.get(session)
      for (const to of sentTo ?? []) {
        if (!blocks(list, to)) continue
        sentTo!.delete(to)
        if (!addresses.has(bareOf(to))) addresses.add(to)
      }
      if (sentTo?.size === 0) directed.delete(session)
      for (const to of addresses) {
        module.send(new Stanza('presence', { type: 'unavailable', from: session.fullJid, to }), session)
      }
    }
  }
  const push = ({ username, text }: Change): void => {
    for (const session of sessionsOf(username)) {
      if (!interested.has(session)) continue
      const id = `blocklist-${Math.random().toString(36).slice(2)}`
      session.sendText(writeElement('iq', { type: 'set', id, to: session.fullJid! }, text))
    }
  }
  const callName = `blocklist ${host.name}`
  /** Resolves when the change holds everywhere. */
  const changed = async (change: Change): Promise<void> => {
    hide(change)
    await cluster?.calls.askAll(callName, change, OTHERS_MS)
  }
  if (cluster !== undefined) {
    const heard = async (data: unknown): Promise<true> => {
      const change = data as Change
      try {
        await lists.forget(change.username)
      } finally {
        hide(change)
        push(change)
      }
      return true
    }
    module.onUnload(cluster.calls.on(callName, heard))
  }

  module.hook(`iq-get/self/${NS_BLOCKING}:blocklist`, async ({ origin, stanza }) => {
    const session = origin as StreamSession
    const list = await lists.read(session.username!)
    interested.add(session)
    const content = writeElement('blocklist', { xmlns: NS_BLOCKING }, itemsOf(list))
    session.send(Stanza.fromText('iq', reply(stanza).attrs, content, 1, 'blocklist', NS_BLOCKING))
    return true
  })

  module.hook(`iq-set/self/${NS_BLOCKING}:block`, async ({ origin, stanza }) => {
    const asked = jidsOf(stanza)
    if (asked.length === 0) throw new StanzaError('bad-request', 'There is nobody to block')
    const session = origin as StreamSession
    const username = session.username!
    if (asked.some((jid) => bareOf(jid) === session.bareJid)) {
      throw new StanzaError('not-acceptable', 'An account can not block itself')
    }
    const roster = await rosters.read(username)
    const { before, after } = await lists.update(username, (list) => {
      for (const jid of asked) list.add(jid)
      if (list.size > maxItems()) {
        throw new StanzaError('resource-constraint', `Not more than ${maxItems()} addresses can be blocked`)
      }
      let length = 0
      for (const jid of list) length += jid.length
      if (length > maxItems() * AVERAGE_LENGTH) {
        throw new StanzaError('resource-constraint', 'The addresses that are blocked are too long together')
      }
    })
    const hiddenFrom: string[] = []
    for (const { jid, subscription } of roster.items.values()) {
      if (subscription !== 'from' && subscription !== 'both') continue
      if (!blocks(before, jid) && blocks(after, jid)) hiddenFrom.push(jid)
    }
    const text = writeElement('block', { xmlns: NS_BLOCKING }, itemsOf(asked))
    const change = { username, text, hiddenFrom, blocked: asked }
    await changed(change)
    answer(session, stanza)
    push(change)
    return true
  })

  module.hook(`iq-set/self/${NS_BLOCKING}:unblock`, async ({ origin, stanza }) => {
    const asked = jidsOf(stanza)
    const session = origin as StreamSession
    const username = session.username!
    const roster = await rosters.read(username)
    const { before, after } = await lists.update(username, (list) => {
      if (asked.length === 0) list.clear()
      else for (const jid of asked) list.delete(jid)
    })
    const text = writeElement('unblock', { xmlns: NS_BLOCKING }, itemsOf(asked))
    const change = { username, text, hiddenFrom: [], blocked: [] }
    await changed(change)
    answer(session, stanza)
    push(change)
    // §3.4: who may see the account again sees it now, as if it had asked.
    for (const { jid, subscription } of roster.items.values()) {
      if (subscription !== 'from' && subscription !== 'both') continue
      if (!blocks(before, jid) || blocks(after, jid)) continue
      module.send(new Stanza('presence', { type: 'probe', from: jid, to: session.bareJid }))
    }
    return true
  })
}

function answer(origin: Origin, stanza: Stanza): void {
  origin.send(reply(stanza))
}

/** @throws StanzaError `jid-malformed` */
function jidsOf(stanza: Stanza): string[] {
  const items = stanza.payload?.getChildren('item', NS_BLOCKING) ?? []
  return items.map(({ attrs }) => {
    const jid = prepareJid(attrs.jid ?? '')
    if (jid === undefined) throw new StanzaError('jid-malformed', `This is no address: ${attrs.jid ?? ''}`)
    return jid.full
  })
}

function itemsOf(list: Iterable<string>): string {
  let text = ''
  for (const jid of list) text += writeElement('item', { jid }, '')
  return text
}
