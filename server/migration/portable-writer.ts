/** Writes accounts in the Portable Import/Export Format (XEP-0227), a piece at a time. */

import { SCRAM_HASHES } from '../auth/scram.ts'
import type { ImportedRecord } from '../auth/users.ts'
import { joinJid } from '../jid.ts'
import type { KeptStanza } from '../stanza/kept.ts'
import { NS_BLOCKING, NS_CLIENT, NS_FORWARD, NS_MAM, NS_PRIVATE, NS_ROSTER } from '../stanza/namespaces.ts'
import { escapeText } from '../stanza/serialize.ts'
import { writeElement } from '../stanza/stanza.ts'
import type { ArchiveEntry, ArchiveStore } from '../storage/index.ts'
import { NS_DELAY } from './content.ts'
import { NS_PIE, uniform } from './elements.ts'
import { NS_PIE_MAM, NS_PIE_SCRAM } from './portable-elements.ts'
import type { HostStores, StoredContact, StoredPreferences, StoredRequest, StoredRoster } from './stores.ts'

/** Messages that are read at a time. */
const PAGE = 200

/** What has been written so far. */
export interface ExportCounts {
  accounts: number
  archived: number
  offline: number
}

/** What is to be exported. */
export interface ExportHost {
  readonly stores: HostStores
  /** Names of accounts, in the order in which they are to be. */
  readonly usernames: readonly string[]
}

/**
 * The text of an export, in pieces of some kilobytes.
 *
 * @param counts - what is counted up meanwhile
 * @throws StorageError
 */
export async function* writePortable(
  hosts: readonly ExportHost[],
  counts: ExportCounts,
): AsyncGenerator<string> {
  yield `<?xml version='1.0' encoding='UTF-8'?>\n${opening('server-data', { xmlns: NS_PIE })}`
  for (const { stores, usernames } of hosts) {
    yield opening('host', { jid: stores.host })
    for (const username of usernames) {
      const record = await stores.accounts.get(username)
      // It may have been deleted a moment ago. One that is disabled would come back enabled.
      if (record === undefined || record.disabled !== undefined) continue
      yield* writeAccount(stores, username, record, counts)
      counts.accounts++
    }
    yield '</host>\n'
  }
  yield '</server-data>\n'
}

async function* writeAccount(
  stores: HostStores,
  username: string,
  record: ImportedRecord,
  counts: ExportCounts,
): AsyncGenerator<string> {
  const { host } = stores
  const [roster, vcard, elements, blocked, preferences] = await Promise.all([
    stores.roster.get(username),
    stores.vcard.get(username),
    stores.private.getAll(username),
    stores.blocklist.get(username),
    stores.archivePrefs.get(username),
  ])
  let text = opening('user', { name: username }) + credentials(record)
  if (roster !== undefined) text += rosterElement(roster)
  for (const request of roster?.requests ?? [])
    text += `${requestElement(request, joinJid(username, host))}\n`
  yield text
  if (vcard !== undefined) yield `${uniform(vcard)}\n`
  if (elements.size > 0) {
    const keys = [...elements.keys()].sort()
    yield list(
      'query',
      NS_PRIVATE,
      keys.map((key) => uniform(elements.get(key)!)),
    )
  }
  if (blocked !== undefined) {
    const jids = Object.keys(blocked).sort()
    yield list(
      'blocklist',
      NS_BLOCKING,
      jids.map((jid) => writeElement('item', { jid }, '')),
    )
  }
  if (preferences !== undefined) yield preferencesElement(preferences)
  yield* writeMessages(stores.offline, username, 'offline-messages', undefined, (entry) => {
    counts.offline++
    return offlineElement(entry, host)
  })
  yield* writeMessages(stores.archive, username, 'archive', NS_PIE_MAM, (entry) => {
    counts.archived++
    return archiveElement(entry)
  })
  yield '</user>\n'
}

async function* writeMessages(
  store: ArchiveStore<KeptStanza>,
  username: string,
  name: string,
  xmlns: string | undefined,
  write: (entry: ArchiveEntry<KeptStanza>) => string,
): AsyncGenerator<string> {
  let after: string | undefined
  let isOpen = false
  for (;;) {
    const { entries, last, more } = await store.find(username, { after }, PAGE)
    if (entries.length > 0) {
      if (!isOpen) yield opening(name, { xmlns })
      isOpen = true
      yield entries.map((entry) => `${write(entry)}\n`).join('')
    }
    after = last
    if (more) continue
    if (isOpen) yield `</${name}>\n`
    return
  }
}

function opening(name: string, attrs: Record<string, string | undefined>): string {
  return `${writeElement(name, attrs, '').slice(0, -2)}>\n`
}

function list(
  name: string,
  xmlns: string,
  items: readonly string[],
  attrs?: Record<string, string | undefined>,
): string {
  return `${opening(name, { xmlns, ...attrs })}${items.map((item) => `${item}\n`).join('')}</${name}>\n`
}

/** XEP-0227 §3.3 */
function credentials(record: ImportedRecord): string {
  let text = ''
  for (const hash of SCRAM_HASHES) {
    const keys = record[`SCRAM-${hash}`]
    if (keys === undefined) continue
    const inner =
      writeElement('iter-count', {}, String(keys.iterations)) +
      writeElement('salt', {}, keys.salt) +
      writeElement('server-key', {}, keys.serverKey) +
      writeElement('stored-key', {}, keys.storedKey)
    text += `${writeElement('scram-credentials', { xmlns: NS_PIE_SCRAM, mechanism: `SCRAM-${hash}` }, inner)}\n`
  }
  return text
}

/** §3.4: as clients get it. An empty one, too, has its version. */
function rosterElement({ items, version }: StoredRoster): string {
  if (items.length === 0 && version === undefined) return ''
  return list('query', NS_ROSTER, items.map(contactElement), { ver: version?.toString() })
}

function contactElement({ jid, name, subscription, ask, approved, groups = [] }: StoredContact): string {
  const attrs = {
    jid,
    name,
    subscription,
    ask: ask ? 'subscribe' : undefined,
    approved: approved ? 'true' : undefined,
  }
  return writeElement(
    'item',
    attrs,
    groups.map((group) => writeElement('group', {}, escapeText(group))).join(''),
  )
}

function requestElement({ from, inner, id, lang }: StoredRequest, to: string): string {
  const attrs = { xmlns: NS_CLIENT, type: 'subscribe', id, from, to, 'xml:lang': lang }
  return writeElement('presence', attrs, uniform(inner))
}

/** XEP-0441 */
function preferencesElement({ default: policy, always, never }: StoredPreferences): string {
  const jids = (list: readonly string[]) =>
    list.map((jid) => writeElement('jid', {}, escapeText(jid))).join('')
  const inner = writeElement('always', {}, jids(always)) + writeElement('never', {}, jids(never))
  return `${writeElement('prefs', { xmlns: NS_MAM, default: policy }, inner)}\n`
}

function messageElement({ name, attrs, inner }: KeptStanza, more = ''): string {
  return writeElement(name, { ...attrs, xmlns: NS_CLIENT }, uniform(inner) + more)
}

function offlineElement({ value, when }: ArchiveEntry<KeptStanza>, host: string): string {
  const delay = { xmlns: NS_DELAY, from: host, stamp: new Date(when).toISOString() }
  return messageElement(value, writeElement('delay', delay, ''))
}

function archiveElement({ id, when, value }: ArchiveEntry<KeptStanza>): string {
  const delay = writeElement('delay', { xmlns: NS_DELAY, stamp: new Date(when).toISOString() }, '')
  const forwarded = writeElement('forwarded', { xmlns: NS_FORWARD }, delay + messageElement(value))
  return writeElement('result', { xmlns: NS_MAM, id }, forwarded)
}
