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

/** What changes are told with to other processes. */
interface Push {
  readonly username: string
  readonly text: string
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

  const push = ({ username, text }: Push): void => {
    for (const session of host.accounts.get(username)?.sessions.values() ?? []) {
      if (!interested.has(session)) continue
      const id = `blocklist-${Math.random().toString(36).slice(2)}`
      session.sendText(writeElement('iq', { type: 'set', id, to: session.fullJid! }, text))
    }
  }
  const callName = `blocklist ${host.name}`
  const changed = (username: string, text: string): void => {
    push({ username, text })
    cluster?.calls.tellAll(callName, { username, text } satisfies Push)
  }
  if (cluster !== undefined) {
    const heard = (data: unknown) => {
      lists.forget((data as Push).username)
      push(data as Push)
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
    const before = await lists.read(username)
    const roster = await rosters.read(username)
    const after = await lists.update(username, (list) => {
      for (const jid of asked) list.add(jid)
      if (list.size > maxItems()) {
        throw new StanzaError('resource-constraint', `Not more than ${maxItems()} addresses can be blocked`)
      }
    })
    // §3.3: who is blocked sees the account leave.
    for (const { jid, subscription } of roster.items.values()) {
      if (subscription !== 'from' && subscription !== 'both') continue
      if (blocks(before, jid) || !blocks(after, jid)) continue
      for (const resource of host.resourcesOf(username)) {
        if (!resource.available || resource.destroyed) continue
        module.send(new Stanza('presence', { type: 'unavailable', from: resource.fullJid, to: jid }))
      }
    }
    answer(session, stanza)
    changed(username, writeElement('block', { xmlns: NS_BLOCKING }, itemsOf(asked)))
    return true
  })

  module.hook(`iq-set/self/${NS_BLOCKING}:unblock`, async ({ origin, stanza }) => {
    const asked = jidsOf(stanza)
    const session = origin as StreamSession
    const username = session.username!
    const before = await lists.read(username)
    const roster = await rosters.read(username)
    const after = await lists.update(username, (list) => {
      if (asked.length === 0) list.clear()
      else for (const jid of asked) list.delete(jid)
    })
    answer(session, stanza)
    changed(username, writeElement('unblock', { xmlns: NS_BLOCKING }, itemsOf(asked)))
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
