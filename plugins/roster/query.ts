/** Roster queries as clients get them (RFC 6121 §2.1): text, since a roster may be long. */

import { randomBytes } from 'node:crypto'
import { escapeText, NS_ROSTER, Stanza, type StreamSession, writeElement } from '../../server/index.ts'
import type { ItemChange, ReadonlyRoster, RosterItem } from './roster.ts'

/** A whole roster (§2.1.4). @param attrs - of the IQ */
export function rosterResult(attrs: Record<string, string>, { items, version }: ReadonlyRoster): Stanza {
  let content = ''
  for (const item of items.values()) content += itemText(item)
  return rosterIq(attrs, version, content)
}

/** Tells a session of an item's new state (§2.1.6). */
export function sendPush(session: StreamSession, { jid, item, version }: ItemChange): void {
  const id = randomBytes(9).toString('base64url')
  const attrs = { type: 'set', id, from: session.bareJid!, to: session.fullJid! }
  const text = item === undefined ? writeElement('item', { jid, subscription: 'remove' }, '') : itemText(item)
  session.send(rosterIq(attrs, version, text))
}

function itemText({ jid, subscription, ask, approved, name, groups }: RosterItem): string {
  let inner = ''
  for (const group of groups) inner += `<group>${escapeText(group)}</group>`
  return writeElement(
    'item',
    { jid, subscription, ask: ask ? 'subscribe' : undefined, approved: approved && 'true', name },
    inner,
  )
}

function rosterIq(attrs: Record<string, string>, version: number, content: string): Stanza {
  const query = writeElement('query', { xmlns: NS_ROSTER, ver: String(version) }, content)
  return Stanza.fromText('iq', attrs, query, 1, 'query', NS_ROSTER)
}
