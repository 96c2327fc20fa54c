/** Messages on behalf of the host and its accounts (XEP-0356 §5). */

import { prepareJid, type Stanza, StanzaError, type StanzaEvent } from '../../server/index.ts'
import { encapsulated, forwardedIn } from './encapsulated.ts'
import type { Grants } from './entities.ts'
import { AccountOrigin, ifAccount } from './on-behalf.ts'
import { NS_PRIVILEGE } from './table.ts'

/**
 * A message for the host, perhaps with one to be sent on.
 *
 * @throws StanzaError `forbidden` where the permission was not granted, or the sender is not a bare JID of the host
 */
export function sendMessage(
  grants: Grants,
  { origin, stanza }: StanzaEvent,
): true | Promise<true> | undefined {
  // What comes back of our own advertisement is not for sending.
  if (stanza.attrs.type === 'error') return undefined
  const privilege = stanza.getChild('privilege', NS_PRIVILEGE)
  if (privilege === undefined) return undefined
  if (grants.of(origin, stanza)?.message !== true) {
    throw new StanzaError('forbidden', 'No messages may be sent on behalf of others')
  }
  if (stanza.childCount !== 1) throw new StanzaError('bad-request', '<privilege/> must stand alone')
  const message = encapsulated(forwardedIn(privilege), 'message')
  const from = prepareJid(message.attrs.from ?? '')
  const { host } = grants
  if (from === undefined || from.domain !== host.name || from.resource !== undefined) {
    throw new StanzaError('forbidden', `The sender must be ${host.name} or the bare JID of an account there`)
  }
  const send = () => {
    // Whose errors come back: they belong to the account, of which no resource has sent anything.
    const failed = (answer: Stanza) =>
      host.log.debug('a message on behalf of an account has failed', {
        account: from.full,
        to: answer.attrs.from,
      })
    const sender = new AccountOrigin(host, from.local, failed, origin)
    host.server.router.process(sender, message)
  }
  if (from.local === undefined) {
    send()
    return true
  }
  return ifAccount(host, from.local, send, () => {
    throw new StanzaError('forbidden', `There is no account ${from.full}`)
  })
}
