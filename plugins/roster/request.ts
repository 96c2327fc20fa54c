/** Reads what a client asks for in a roster get (RFC 6121 §2.6.2) or set (§2.3, §2.4, §2.5). */

import { NS_ROSTER, prepareJid, type Stanza, StanzaError } from '../../server/index.ts'

/** What one contact may have. */
export interface ItemLimits {
  /** Bytes of its name or of a group's. */
  readonly maxNameLength: number
  readonly maxGroups: number
}

/** A checked roster set. */
export interface RosterSet {
  /** Bare JID of the contact, prepared. */
  readonly jid: string
  readonly remove: boolean
  readonly name: string | undefined
  readonly groups: readonly string[]
}

/** As many digits as a number can have without losing some. */
const VERSION = /^\d{1,15}$/

/** The version that a client has kept; undefined if it has none, or one that is none of ours. */
export function knownVersion(stanza: Stanza): number | undefined {
  const ver: string = stanza.payload?.attrs['ver'] ?? ''
  return VERSION.test(ver) ? Number(ver) : undefined
}

/**
 * @param stanza - with the roster's query as its payload
 * @param own - bare JID of the account
 * @throws StanzaError with the condition that RFC 6121 §2.3.3 asks for
 */
export function readRosterSet(stanza: Stanza, own: string, limits: ItemLimits): RosterSet {
  const children = stanza.payload?.getChildElements() ?? []
  const [item] = children
  if (item === undefined || children.length !== 1 || !item.is('item', NS_ROSTER)) {
    throw new StanzaError('bad-request', 'A roster set has exactly one item')
  }
  const prepared = prepareJid(String(item.attrs['jid'] ?? ''))
  if (prepared === undefined || prepared.resource !== undefined) {
    throw new StanzaError('bad-request', 'A roster item needs a bare JID')
  }
  const jid = prepared.bare
  if (jid === own) throw new StanzaError('not-allowed', 'Nobody is a contact of themselves')
  if (item.attrs['subscription'] === 'remove') return { jid, remove: true, name: undefined, groups: [] }

  const name: string = item.attrs['name'] ?? ''
  const { maxNameLength } = limits
  if (Buffer.byteLength(name) > maxNameLength) {
    throw new StanzaError('not-acceptable', `The name is longer than ${maxNameLength} bytes`)
  }
  return { jid, remove: false, name: name === '' ? undefined : name, groups: readGroups(item, limits) }
}

function readGroups(
  item: ReturnType<Stanza['getChildElements']>[number],
  { maxNameLength, maxGroups }: ItemLimits,
): string[] {
  const groups = new Set<string>()
  for (const element of item.getChildren('group', NS_ROSTER)) {
    const group = element.getText()
    if (group === '') throw new StanzaError('not-acceptable', 'A group needs a name')
    if (Buffer.byteLength(group) > maxNameLength) {
      throw new StanzaError('not-acceptable', `The name of a group is longer than ${maxNameLength} bytes`)
    }
    if (groups.has(group)) throw new StanzaError('bad-request', 'A group is named twice')
    groups.add(group)
    if (groups.size > maxGroups) {
      throw new StanzaError('not-acceptable', `A contact may be in ${maxGroups} groups`)
    }
  }
  return [...groups]
}
