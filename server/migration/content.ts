/** What the elements of an account mean, in whatever they are kept: contacts, requests, messages. */

import type { Element } from '@xmpp/xml'
import { bareOf, prepareJid } from '../jid.ts'
import type { KeptStanza } from '../stanza/kept.ts'
import { NS_CLIENT, NS_FORWARD } from '../stanza/namespaces.ts'
import { contentText, NS_PIE, stanzaAttributes } from './elements.ts'
import { type AccountPart, ContentError } from './parts.ts'
import type { StoredContact, StoredRequest } from './stores.ts'

export const NS_DELAY = 'urn:xmpp:delay'
const NS_LEGACY_DELAY = 'jabber:x:delay'
/** Beyond it there might be no room for what changes here. */
const HIGHEST_VERSION = 2 ** 50
const SUBSCRIPTIONS = ['none', 'to', 'from', 'both'] as const

/** A bare JID, prepared. @throws ContentError */
export function bareJid(text: string, what: string): string {
  const jid = prepareJid(text)
  if (jid === undefined) throw new ContentError(`the address of ${what} is no JID: "${text}"`)
  return jid.bare
}

/**
 * A contact of a roster.
 *
 * @throws ContentError
 */
export function contactOf(fields: {
  jid: string
  subscription: string | undefined
  ask: string | undefined
  approved: string | undefined
  name: string | undefined
  groups: readonly string[]
}): StoredContact {
  const jid = bareJid(fields.jid, 'a contact')
  const subscription = SUBSCRIPTIONS.find((state) => state === (fields.subscription ?? 'none'))
  if (subscription === undefined)
    throw new ContentError(
      `the contact ${jid} has a subscription that there is not: "${fields.subscription}"`,
    )
  const groups = [...new Set(fields.groups)].filter((group) => group !== '')
  // Who sees the presence already has no use for it; some keep it all the same.
  const isOpen = subscription === 'none' || subscription === 'to'
  const approved = isOpen && (fields.approved === 'true' || fields.approved === '1')
  return {
    jid,
    subscription,
    ...(fields.ask === 'subscribe' && { ask: true }),
    ...(approved && { approved }),
    ...(fields.name !== undefined && fields.name !== '' && { name: fields.name }),
    ...(groups.length > 0 && { groups }),
  }
}

/** A roster's version, if it is a number that can go on here. Others' may be of any kind (RFC 6121 §2.6.1). */
export function rosterVersion(version: unknown): AccountPart | undefined {
  const number = typeof version === 'string' && /^[1-9]\d*$/.test(version) ? Number(version) : version
  if (typeof number !== 'number' || !Number.isInteger(number)) return undefined
  return number > 0 && number <= HIGHEST_VERSION ? { kind: 'roster-version', version: number } : undefined
}

/** A request to see the account's presence. @throws ContentError */
export function requestOf(presence: Element, from: string): StoredRequest {
  const { id, 'xml:lang': lang } = stanzaAttributes(presence)
  const children = presence.getChildElements()
  const [first] = children
  return {
    from: bareJid(from, 'a subscription request'),
    inner: contentText(presence),
    count: children.length,
    payloadName: first?.getName() ?? '',
    payloadNs: first === undefined ? '' : namespaceIn(first),
    ...(id !== undefined && { id }),
    ...(lang !== undefined && { lang }),
  }
}

/** A message that waits for its recipient. @throws ContentError */
export function offlineMessage(message: Element, host: string): AccountPart {
  checkMessage(message)
  const delays = message.getChildElements().filter((child) => child.is('delay', NS_DELAY))
  const own = delays.filter(({ attrs }) => attrs['from'] === host).at(-1)
  const when = momentOf((own ?? delays.at(-1))?.attrs['stamp']) ?? legacyMoment(message) ?? Date.now()
  // The server says so itself when it hands the message over.
  if (own !== undefined) message.children = message.children.filter((child) => child !== own)
  return { kind: 'offline', stanza: keptStanza(message), when }
}

/** A message of an archive, `<result/>` as in XEP-0313. @throws ContentError */
export function archivedMessage(result: Element, own: string): AccountPart {
  const forwarded = result.getChild('forwarded', NS_FORWARD)
  const message = forwarded?.getChildElements().find((child) => child.getName() === 'message')
  if (message === undefined) throw new ContentError('there is no message in a result of the archive')
  checkMessage(message)
  const stamp = forwarded!.getChild('delay', NS_DELAY)?.attrs['stamp'] as string | undefined
  const when = momentOf(stamp)
  if (when === undefined)
    throw new ContentError(`the time of a message in the archive is none: "${stamp ?? ''}"`)
  const stanza = keptStanza(message)
  return { kind: 'archived', stanza, when, partner: partnerOf(stanza, own), id: result.attrs['id'] as string }
}

/** With whom the owner of an archive exchanged a message: a bare JID. */
function partnerOf({ attrs }: KeptStanza, own: string): string {
  const from = prepareJid(attrs['from'] ?? '')
  const to = prepareJid(attrs['to'] ?? '')
  if (from !== undefined && from.bare !== own) return from.bare
  return to?.bare ?? from?.bare ?? own
}

export function keptStanza(stanza: Element): KeptStanza {
  return { name: stanza.getName(), attrs: stanzaAttributes(stanza), inner: contentText(stanza) }
}

function checkMessage(message: Element): void {
  const namespace = namespaceIn(message)
  if (message.getName() === 'message' && namespace === NS_CLIENT) return
  throw new ContentError(`there is <${message.name}/> of "${namespace}" where a message was expected`)
}

/** Some leave the namespace of stanzas away, so that it seems to be that of the file. */
function namespaceIn(element: Element): string {
  const namespace = (element.getNS() ?? '') as string
  return namespace === NS_PIE ? NS_CLIENT : namespace
}

const DATE_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/
const LEGACY = /^(\d{4})(\d\d)(\d\d)T(\d\d:\d\d:\d\d)$/

/** Milliseconds since 1970, of a time as XEP-0082 writes it. */
export function momentOf(stamp: unknown): number | undefined {
  if (typeof stamp !== 'string' || !DATE_TIME.test(stamp)) return undefined
  const time = Date.parse(stamp)
  return Number.isFinite(time) && time >= 0 ? time : undefined
}

/** XEP-0091, which came before. */
function legacyMoment(message: Element): number | undefined {
  const stamp: unknown = message.getChild('x', NS_LEGACY_DELAY)?.attrs['stamp']
  return typeof stamp === 'string' ? momentOf(stamp.replace(LEGACY, '$1-$2-$3T$4Z')) : undefined
}

/** A JID of a list, as it is compared: also of a domain or with a resource. @throws ContentError */
export function listedJid(text: string, what: string): string {
  const jid = prepareJid(text)
  if (jid === undefined) throw new ContentError(`${what} is no JID: "${text}"`)
  return jid.full
}

/** The bare JID of an account by names that are not prepared yet. */
export function ownJid(username: string, host: string): string {
  return prepareJid(`${username}@${host}`)?.bare ?? bareOf(`${username}@${host}`)
}
