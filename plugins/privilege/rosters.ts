/** Rosters of accounts for privileged entities (XEP-0356 §4): asked for, changed, and pushed. */

import { randomBytes } from 'node:crypto'
import {
  escapeText,
  localOf,
  type Module,
  NS_ROSTER,
  Stanza,
  StanzaError,
  type StanzaEvent,
  writeElement,
} from '../../server/index.ts'
import type { RosterItem } from '../roster/index.ts'
import type { Grants } from './entities.ts'
import { AccountOrigin, ifAccount } from './on-behalf.ts'
import { allows } from './table.ts'

/**
 * A roster get or set for an account that is not the sender's own. The account's server answers as it would
 * answer the account, so the same may be asked for and the same is refused.
 *
 * @throws StanzaError `forbidden` where the permission was not granted (§4.3)
 */
export function askRoster(
  module: Module,
  grants: Grants,
  { origin, stanza, toSelf }: StanzaEvent,
): true | Promise<true> | undefined {
  const { type, id, from, to } = stanza.attrs
  const username = toSelf ? undefined : localOf(to ?? '')
  if (username === undefined) return undefined
  if (!allows(grants.of(origin, stanza)?.roster, type)) {
    throw new StanzaError('forbidden', 'This roster is for its account only')
  }
  const ask = async () => {
    const account = new AccountOrigin(grants.host, username, (answer) => {
      if (answer.name !== 'iq' || answer.attrs.id !== id) return
      const copy = answer.clone()
      copy.attrs.from = to!
      copy.attrs.to = from!
      origin.send(copy)
    })
    const own = stanza.clone()
    own.attrs.from = account.bareJid
    delete (own.attrs as Record<string, string | undefined>)['to']
    const event: StanzaEvent = { origin: account, stanza: own, toSelf: true }
    const asked = module.fireEvent(`iq-${type as 'get' | 'set'}/self/${NS_ROSTER}:query`, event)
    if (asked === undefined) throw new StanzaError('service-unavailable', 'This host has no rosters')
    await asked
  }
  return ifAccount(grants.host, username, ask, () => {
    throw new StanzaError('item-not-found', `There is no account ${to}`)
  })
}

/**
 * A client asks for its roster. Where that namespace is delegated, the roster's plugin does not see it, and the
 * client is to have its pushes all the same (RFC 6121 §2.1.6, XEP-0355 §5.2.4).
 */
export function noteInterest(
  module: Module,
  grants: Grants,
  { origin, stanza, toSelf }: StanzaEvent,
): undefined {
  if (stanza.payloadNs !== NS_ROSTER || stanza.attrs.type !== 'get' || !toSelf) return undefined
  const session = module.server.fullJids.get(origin.fullJid ?? '')
  for (const { roster } of grants.all()) {
    if (session !== undefined && roster !== 'none') session.interested = true
  }
  return undefined
}

/** Tells entities of an item's new state (§4.4). @param item - undefined if it was removed */
export function pushItem(grants: Grants, username: string, jid: string, item: RosterItem | undefined): void {
  for (const privileges of grants.all()) {
    if (!privileges.push) continue
    for (const recipient of grants.recipients(privileges)) {
      const query = writeElement('query', { xmlns: NS_ROSTER }, itemText(jid, item))
      const attrs = {
        type: 'set',
        id: randomBytes(9).toString('base64url'),
        from: `${username}@${grants.host.name}`,
        to: recipient.to,
      }
      grants.send(recipient, Stanza.fromText('iq', attrs, query, 1, 'query', NS_ROSTER))
    }
  }
}

function itemText(jid: string, item: RosterItem | undefined): string {
  if (item === undefined) return writeElement('item', { jid, subscription: 'remove' }, '')
  const { subscription, ask, approved, name, groups } = item
  const inner = groups.map((group) => `<group>${escapeText(group)}</group>`).join('')
  return writeElement(
    'item',
    { jid, subscription, ask: ask ? 'subscribe' : undefined, approved: approved && 'true', name },
    inner,
  )
}
