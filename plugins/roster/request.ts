/** Reads what a client asks for in a roster set (RFC 6121 §2.3, §2.4, §2.5). */

import { NS_ROSTER, prepareJid, type Stanza, StanzaError } from '../../server/index.ts'

/** Bytes of a contact's name or of a group's. */
const MAX_NAME_BYTES = 1023
/** Groups that one contact may be in. */
const MAX_GROUPS = 100

/** A checked roster set. */
export interface RosterSet {
  /** Bare JID of the contact, prepared. */
  readonly jid: string
  readonly remove: boolean
  readonly name: string | undefined
  readonly groups: readonly string[]
}

/**
 * @param stanza - with the roster's query as its payload
 * @param own - bare JID of the account
 * @throws StanzaError with the condition that RFC 6121 §2.3.3 asks for
 */
export function readRosterSet(stanza: Stanza, own: string): RosterSet {
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
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) {
    throw new StanzaError('not-acceptable', `The name is longer than ${MAX_NAME_BYTES} bytes`)
  }
  return { jid, remove: false, name: name === '' ? undefined : name, groups: readGroups(item) }
}

function readGroups(item: ReturnType<Stanza['getChildElements']>[number]): string[] {
  const groups = new Set<string>()
  for (const element of item.getChildren('group', NS_ROSTER)) {
    const group = element.getText()
    if (group === '') throw new StanzaError('not-acceptable', 'A group needs a name')
    if (Buffer.byteLength(group) > MAX_NAME_BYTES) {
      throw new StanzaError('not-acceptable', `The name of a group is longer than ${MAX_NAME_BYTES} bytes`)
    }
    if (groups.has(group)) throw new StanzaError('bad-request', 'A group is named twice')
    groups.add(group)
    if (groups.size > MAX_GROUPS) {
      throw new StanzaError('not-acceptable', `A contact may be in ${MAX_GROUPS} groups`)
    }
  }
  return [...groups]
}
