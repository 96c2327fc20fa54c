/** What Prosody keeps of an account (util.datamanager, storage_internal), store by store. */

import { Element } from '@xmpp/xml'
import { hashLength, SCRAM_HASHES, type ScramHash } from '../auth/scram.ts'
import { prepareJid } from '../jid.ts'
import { NS_CLIENT, NS_VCARD, NS_XML } from '../stanza/namespaces.ts'
import { checkedKeys } from './account-writer.ts'
import { contactOf, keptStanza, listedJid, momentOf, requestOf, rosterVersion } from './content.ts'
import { checkName, checkText, ImportedElement, standalone } from './elements.ts'
import { type LuaData, type LuaTable, utf8 } from './lua-data.ts'
import { type AccountPart, ContentError } from './parts.ts'

/** What holds a stanza's namespace where it is not written. */
const CLIENT = new Element('stream', { xmlns: NS_CLIENT })

/** `accounts`: a password, or the keys of one hash. @throws ContentError */
export function* accountParts(stored: LuaData): Generator<AccountPart> {
  const account = tableOf(stored, 'the account')
  if (account.get('disabled') === true)
    throw new ContentError(
      'this account is disabled, and would be enabled by an import: delete its file, or set disabled to false',
    )
  const created = secondsOf(account.get('created'))
  yield { kind: 'times', created, updated: secondsOf(account.get('updated')) ?? created }
  const [storedKey, serverKey, salt] = ['stored_key', 'server_key', 'salt'].map((name) => account.get(name))
  if (typeof storedKey === 'string' && typeof serverKey === 'string' && typeof salt === 'string') {
    const [stored, server] = [bytesOf(storedKey, 'stored_key'), bytesOf(serverKey, 'server_key')]
    const hash = hashOf(stored.length)
    const iterations = Number(account.get('iteration_count'))
    yield {
      kind: 'keys',
      hash,
      keys: checkedKeys(hash, Buffer.from(salt, 'latin1'), iterations, stored, server),
    }
  }
  const password = account.get('password')
  if (typeof password === 'string' && password !== '') yield { kind: 'password', password: textOf(password) }
}

function hashOf(length: number): ScramHash {
  const hash = SCRAM_HASHES.find((known) => hashLength(known) === length)
  if (hash !== undefined) return hash
  throw new ContentError(
    `stored_key has ${length} bytes, which is the length of no hash of ${SCRAM_HASHES.join(', ')}`,
  )
}

/** `roster` @throws ContentError */
export function* rosterParts(stored: LuaData): Generator<AccountPart> {
  for (const [key, value] of tableOf(stored, 'the roster')) {
    if (
      key === false ||
      (key === 'pending' && typeof tableOf(value, 'pending').get('subscription') !== 'string')
    ) {
      const metadata = key === false ? tableOf(value, 'the roster') : undefined
      const version = rosterVersion(metadata?.get('version'))
      if (version !== undefined) yield version
      // Before 0.10 it was beside the contacts.
      const pending = metadata === undefined ? value : metadata.get('pending')
      if (pending === undefined) continue
      for (const [jid, request] of tableOf(pending, 'pending')) {
        if (typeof jid !== 'string' || request === undefined || request === false) continue
        const presence =
          request instanceof Map ? elementOf(request, CLIENT) : new Element('presence', { xmlns: NS_CLIENT })
        yield { kind: 'request', request: requestOf(presence, textOf(jid)) }
      }
      continue
    }
    if (typeof key !== 'string') throw new ContentError('a contact has no address')
    const item = tableOf(value, `the contact ${key}`)
    const groups = item.get('groups')
    const names = groups === undefined ? [] : [...tableOf(groups, 'groups').keys()]
    yield {
      kind: 'contact',
      contact: contactOf({
        jid: textOf(key),
        subscription: optionalText(item.get('subscription')),
        ask: optionalText(item.get('ask')),
        approved: item.get('approved') === true ? 'true' : optionalText(item.get('approved')),
        name: optionalText(item.get('name')),
        groups: names.filter((name) => typeof name === 'string').map(textOf),
      }),
    }
  }
}

/** `vcard` @throws ContentError */
export function* vcardParts(stored: LuaData): Generator<AccountPart> {
  const card = elementOf(stored, CLIENT)
  if (!card.is('vCard', NS_VCARD)) throw new ContentError(`<${card.name}/> is no vCard`)
  yield { kind: 'vcard', text: standalone(card) }
}

/** `private`: elements by name and namespace. @throws ContentError */
export function* privateParts(stored: LuaData): Generator<AccountPart> {
  for (const [key, value] of tableOf(stored, 'private')) {
    if (value === undefined) continue
    const element = elementOf(value, CLIENT)
    if (typeof key !== 'string') throw new ContentError('an element has no name')
    yield { kind: 'private', key: `${element.getName()}:${element.getNS()}`, text: standalone(element) }
  }
}

/** `blocklist` @throws ContentError */
export function* blocklistParts(stored: LuaData): Generator<AccountPart> {
  for (const [key, value] of tableOf(stored, 'the block list')) {
    if (typeof key !== 'string' || value === undefined || value === false) continue
    yield { kind: 'blocked', jid: listedJid(textOf(key), 'who is blocked') }
  }
}

/** `privacy`: the default list's rules that block somebody, as mod_blocklist takes them over. @throws ContentError */
export function* privacyParts(stored: LuaData): Generator<AccountPart> {
  const privacy = tableOf(stored, 'the privacy lists')
  const name = privacy.get('default')
  const lists = privacy.get('lists')
  if (typeof name !== 'string' || !(lists instanceof Map)) return
  const list = lists.get(name)
  const items = list instanceof Map ? list.get('items') : undefined
  if (!(items instanceof Map)) return
  for (const item of items.values()) {
    if (!(item instanceof Map) || item.get('type') !== 'jid' || item.get('action') !== 'deny') continue
    yield { kind: 'blocked', jid: listedJid(textOf(item.get('value')), 'who is blocked') }
  }
}

/** `archive_prefs` @throws ContentError */
export function* preferencesParts(stored: LuaData): Generator<AccountPart> {
  const table = tableOf(stored, 'the preferences')
  const chosen = table.get(false)
  const named = (wanted: boolean): string[] =>
    [...table]
      .filter(([key, value]) => typeof key === 'string' && value === wanted)
      .map(([key]) => listedJid(textOf(key), 'who is named in the preferences'))
  yield {
    kind: 'preferences',
    preferences: {
      default: chosen === 'roster' ? 'roster' : chosen === false ? 'never' : 'always',
      always: named(true),
      never: named(false),
    },
  }
}

/** An item of `offline`. @throws ContentError */
export function offlinePart(stored: LuaData): AccountPart {
  const { stanza, when } = messageOf(stored)
  return { kind: 'offline', stanza, when }
}

/** An item of `archive`. @throws ContentError */
export function archivePart(stored: LuaData, own: string): AccountPart {
  const { stanza, when, item } = messageOf(stored)
  const partner = prepareJid(textOf(item.get('with') ?? ''))?.bare ?? own
  return { kind: 'archived', stanza, when, partner, id: undefined }
}

function messageOf(stored: LuaData) {
  const item = tableOf(stored, 'a message')
  const message = elementOf(stored, CLIENT)
  if (!message.is('message', NS_CLIENT)) throw new ContentError(`<${message.name}/> is no message`)
  const { stamp } = message.attrs as Record<string, string>
  delete message.attrs['stamp']
  delete message.attrs['stamp_legacy']
  const seconds = item.get('when')
  const when = typeof seconds === 'number' ? Math.round(seconds * 1000) : momentOf(stamp)
  if (when === undefined || !Number.isFinite(when) || when < 0)
    throw new ContentError('a message has no time')
  return { item, when, stanza: keptStanza(message) }
}

/** An element as util.stanza preserialises it. @throws ContentError */
function elementOf(stored: LuaData, parent: Element): Element {
  const table = tableOf(stored, 'an element')
  const element = new ImportedElement(checkName(textOf(table.get('name'))))
  if (element.name.includes(':')) throw new ContentError(`"${element.name}" is no name of an element`)
  element.parent = parent
  const attrs: Record<string, string> = {}
  for (const [key, value] of tableOf(table.get('attr') ?? new Map(), 'attr')) {
    if (typeof key !== 'string') continue
    attrs[attributeName(textOf(key), attrs)] = checkText(textOf(value))
  }
  // It is written at each of them.
  if (parent !== CLIENT && attrs['xmlns'] === parent.getNS()) delete attrs['xmlns']
  element.attrs = attrs
  for (let index = 1; table.has(index); index++) {
    const child = table.get(index)
    if (child instanceof Map) element.children.push(elementOf(child, element))
    else element.children.push(checkText(textOf(child)))
  }
  return element
}

/** Prosody joins the namespace of an attribute and its name; here it gets a prefix, which is declared. */
function attributeName(key: string, attrs: Record<string, string>): string {
  const [, namespace, name] = /^([^\u0001|]+)[\u0001|](.+)$/s.exec(key) ?? []
  if (namespace === undefined || name === undefined) {
    checkName(key)
    if (key.includes(':') && !key.startsWith('xml:'))
      throw new ContentError(`the prefix of "${key}" is not known`)
    return key
  }
  if (namespace === NS_XML) return checkName(`xml:${name}`)
  const prefix = `ns${Object.keys(attrs).length + 1}`
  attrs[`xmlns:${prefix}`] = checkText(namespace)
  return checkName(`${prefix}:${name}`)
}

function tableOf(value: LuaData, what: string): LuaTable {
  if (value instanceof Map) return value
  throw new ContentError(`${what} is no table`)
}

function textOf(value: LuaData): string {
  const text = typeof value === 'string' ? utf8(value) : typeof value === 'number' ? String(value) : undefined
  if (text === undefined)
    throw new ContentError(
      typeof value === 'string' ? 'a text is no UTF-8' : 'there is no text where one was expected',
    )
  return text
}

function optionalText(value: LuaData): string | undefined {
  return value === undefined ? undefined : textOf(value)
}

function secondsOf(value: LuaData): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.floor(value) : undefined
}

function bytesOf(hex: string, what: string): Buffer {
  if (!/^(?:[0-9a-fA-F]{2})+$/.test(hex)) throw new ContentError(`${what} is not hexadecimal`)
  return Buffer.from(hex, 'hex')
}
