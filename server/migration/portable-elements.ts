/** The elements that a user of an export (XEP-0227) has, and the pieces of an account that they are. */

import type { Element } from '@xmpp/xml'
import { SCRAM_HASHES } from '../auth/scram.ts'
import { NS_BLOCKING, NS_CLIENT, NS_MAM, NS_PRIVATE, NS_ROSTER, NS_VCARD } from '../stanza/namespaces.ts'
import { checkedKeys } from './account-writer.ts'
import { archivedMessage, contactOf, listedJid, offlineMessage, requestOf, rosterVersion } from './content.ts'
import { NS_PIE, standalone } from './elements.ts'
import { type AccountPart, ContentError } from './parts.ts'

export const NS_PIE_SCRAM = `${NS_PIE}#scram`
export const NS_PIE_MAM = `${NS_PIE}#mam`
const NS_PRIVACY = 'jabber:iq:privacy'

/** What kind of piece an element is. */
export type ElementParts =
  | 'contact'
  | 'private'
  | 'offline'
  | 'archived'
  | 'blocked'
  | 'credentials'
  | 'vcard'
  | 'request'
  | 'privacy'
  | 'preferences'

/** Elements whose children are pieces, by name and namespace: they may be of any length. */
export const LISTS: ReadonlyMap<string, ElementParts> = new Map([
  [`query ${NS_ROSTER}`, 'contact'],
  [`query ${NS_PRIVATE}`, 'private'],
  [`offline-messages ${NS_PIE}`, 'offline'],
  [`archive ${NS_PIE_MAM}`, 'archived'],
  [`blocklist ${NS_BLOCKING}`, 'blocked'],
])

/** Elements that are pieces themselves. */
export const WHOLE_ELEMENTS: ReadonlyMap<string, ElementParts> = new Map([
  [`scram-credentials ${NS_PIE_SCRAM}`, 'credentials'],
  [`vCard ${NS_VCARD}`, 'vcard'],
  [`presence ${NS_CLIENT}`, 'request'],
  [`presence ${NS_PIE}`, 'request'],
  [`query ${NS_PRIVACY}`, 'privacy'],
  [`prefs ${NS_MAM}`, 'preferences'],
])

/**
 * The pieces that an element is.
 *
 * @param account - whose it is: its bare JID and its host
 * @throws ContentError
 */
export function partsOf(
  kind: ElementParts,
  element: Element,
  account: { readonly own: string; readonly host: string },
): AccountPart[] {
  switch (kind) {
    case 'contact':
      return element.is('item', NS_ROSTER) ? [contactPart(element)] : []
    case 'private':
      return [privatePart(element)]
    case 'offline':
      return [offlineMessage(element, account.host)]
    case 'archived':
      return element.is('result', NS_MAM) ? [archivedMessage(element, account.own)] : []
    case 'blocked':
      return element.is('item', NS_BLOCKING)
        ? [{ kind: 'blocked', jid: listedJid(attribute(element, 'jid') ?? '', 'who is blocked') }]
        : []
    case 'credentials':
      return credentialParts(element)
    case 'vcard':
      return [{ kind: 'vcard', text: standalone(element) }]
    case 'request':
      return attribute(element, 'type') === 'subscribe'
        ? [{ kind: 'request', request: requestOf(element, attribute(element, 'from') ?? '') }]
        : []
    case 'privacy':
      return privacyParts(element)
    case 'preferences':
      return [preferencesPart(element)]
  }
}

/** What a list says itself, beside the pieces in it: which version of the roster it is. */
export function listPart(kind: ElementParts, list: Element): AccountPart | undefined {
  return kind === 'contact' ? rosterVersion(attribute(list, 'ver')) : undefined
}

function attribute({ attrs }: Element, name: string): string | undefined {
  return attrs[name] as string | undefined
}

function contactPart(item: Element): AccountPart {
  const contact = contactOf({
    jid: attribute(item, 'jid') ?? '',
    subscription: attribute(item, 'subscription'),
    ask: attribute(item, 'ask'),
    approved: attribute(item, 'approved'),
    name: attribute(item, 'name'),
    groups: item.getChildren('group', NS_ROSTER).map((group) => group.getText()),
  })
  return { kind: 'contact', contact }
}

function privatePart(element: Element): AccountPart {
  const namespace = (element.getNS() ?? '') as string
  if (namespace === '' || namespace === NS_PRIVATE)
    throw new ContentError(`<${element.name}/> of the private storage has no namespace of its own`)
  return { kind: 'private', key: `${element.getName()}:${namespace}`, text: standalone(element) }
}

/** XEP-0227 §3.3 */
function credentialParts(element: Element): AccountPart[] {
  const mechanism = attribute(element, 'mechanism') ?? ''
  const hash = SCRAM_HASHES.find((known) => mechanism === `SCRAM-${known}`)
  if (hash === undefined) return []
  const text = (name: string): string => {
    const value = element.getChild(name, NS_PIE_SCRAM)?.getText().trim()
    if (value === undefined) throw new ContentError(`the credentials for ${mechanism} have no <${name}/>`)
    return value
  }
  const bytes = (name: string): Buffer => {
    const value = text(name)
    if (!BASE64.test(value))
      throw new ContentError(`<${name}/> of the credentials for ${mechanism} is no Base64`)
    return Buffer.from(value, 'base64')
  }
  const count = text('iter-count')
  const iterations = /^[1-9]\d*$/.test(count) ? Number(count) : Number.NaN
  return [
    {
      kind: 'keys',
      hash,
      keys: checkedKeys(hash, bytes('salt'), iterations, bytes('stored-key'), bytes('server-key')),
    },
  ]
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** Of privacy lists (XEP-0016) whom the default one keeps away altogether: the rest there is not here. */
function privacyParts(query: Element): AccountPart[] {
  const active = query.getChild('default')?.attrs['name'] as string | undefined
  const list = query.getChildren('list').find(({ attrs }) => active !== undefined && attrs['name'] === active)
  return (list?.getChildren('item') ?? [])
    .filter((item) => attribute(item, 'type') === 'jid' && attribute(item, 'action') === 'deny')
    .filter((item) => item.getChildElements().length === 0)
    .map((item) => ({ kind: 'blocked', jid: listedJid(attribute(item, 'value') ?? '', 'who is blocked') }))
}

/** As XEP-0441 has them. */
function preferencesPart(prefs: Element): AccountPart {
  const policy = attribute(prefs, 'default')
  if (policy !== 'always' && policy !== 'never' && policy !== 'roster')
    throw new ContentError(
      `the preferences of the archive have a default that there is not: "${policy ?? ''}"`,
    )
  const list = (name: string) =>
    (prefs.getChild(name)?.getChildren('jid') ?? []).map((jid) =>
      listedJid(jid.getText(), 'who is named in the preferences'),
    )
  return {
    kind: 'preferences',
    preferences: { default: policy, always: list('always'), never: list('never') },
  }
}
