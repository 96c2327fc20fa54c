/** Pages of an archive, as clients get them (XEP-0313 §4.2, §4.3). */

import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  type ArchiveEntry,
  type ArchiveQuery,
  type ArchiveStore,
  type KeptStanza,
  NS_CLIENT,
  NS_FORWARD,
  NS_MAM,
  NS_RSM,
  reply,
  type Stanza,
  StanzaError,
  type StreamSession,
  writeElement,
  xml,
} from '../../server/index.ts'
import type { MamQuery } from './query.ts'

export type MessageArchive = ArchiveStore<KeptStanza>
type Entry = ArchiveEntry<KeptStanza>

/** Characters of a page, after which it ends: a client gets it as a whole before it can acknowledge anything. */
const LONGEST_PAGE = 1 << 20
/** Characters of what is asked for by ids, which comes as a whole. */
const LONGEST_FOUND = 4 * LONGEST_PAGE
/** Entries that are read at once: each may be as long as a stanza. */
const READ_AT_ONCE = 50
/** The same where not all of them fit, or all of them are to be in memory. */
const SCANNED_AT_ONCE = 25

interface Page {
  /** In the order of the archive. */
  readonly entries: readonly Entry[]
  /** Whether there is nothing more in the direction that was asked for. */
  readonly complete: boolean
}

/**
 * Sends a page, and then the IQ's answer.
 *
 * @param most - entries that one page may have
 * @throws StanzaError `item-not-found` (as a rejection) for ids that there are not; StorageError
 */
export async function answerQuery(
  archive: MessageArchive,
  session: StreamSession,
  stanza: Stanza,
  query: MamQuery,
  most: number,
): Promise<void> {
  const username = session.username!
  await checkIds(archive, username, query)
  const { entries, complete } = await findPage(archive, username, query, most)
  for (const entry of query.flip ? [...entries].reverse() : entries) {
    session.sendText(resultMessage(session, query.queryId, entry))
  }
  const set = xml('set', { xmlns: NS_RSM })
  const [first, last] = [entries[0], entries.at(-1)]
  if (first !== undefined && last !== undefined) {
    const [begin, end] = query.flip ? [last, first] : [first, last]
    set.append(xml('first', {}, begin.id), xml('last', {}, end.id))
  }
  if (query.page.max === 0 && query.ids === undefined && query.fullWith === undefined) {
    set.append(xml('count', {}, String(await archive.count(username, rangeOf(query)))))
  }
  const attrs: Record<string, string> = complete ? { xmlns: NS_MAM, complete: 'true' } : { xmlns: NS_MAM }
  session.send(reply(stanza, xml('fin', attrs, set)))
}

async function checkIds(archive: MessageArchive, username: string, query: MamQuery): Promise<void> {
  const { afterId, beforeId, page } = query
  const named = new Set([afterId, beforeId, page.after, page.before].filter((id) => id !== undefined))
  named.delete('')
  if (named.size > 0) await entriesWith(archive, username, [...named])
}

/** @throws StanzaError `item-not-found` (as a rejection) for ids that there are not, `resource-constraint`; StorageError */
async function entriesWith(
  archive: MessageArchive,
  username: string,
  ids: readonly string[],
): Promise<Entry[]> {
  const entries: Entry[] = []
  let length = 0
  for (let at = 0; at < ids.length; at += SCANNED_AT_ONCE) {
    const some = ids.slice(at, at + SCANNED_AT_ONCE)
    const found = await archive.get(username, some)
    if (found.length < some.length) throw new StanzaError('item-not-found', 'There is no entry with this id')
    for (const { value } of found) length += value.inner.length
    if (length > LONGEST_FOUND)
      throw new StanzaError('resource-constraint', 'That is too much at once: ask for fewer')
    entries.push(...found)
  }
  return entries
}

function rangeOf({ start, end, with: partner, afterId, beforeId, page }: MamQuery): ArchiveQuery {
  const after = later(afterId, page.after)
  const before = page.before === '' ? beforeId : earlier(beforeId, page.before)
  return { start, end, with: partner, after, before }
}

function later(one: string | undefined, other: string | undefined): string | undefined {
  return one === undefined || (other !== undefined && other > one) ? other : one
}

function earlier(one: string | undefined, other: string | undefined): string | undefined {
  return one === undefined || (other !== undefined && other < one) ? other : one
}

async function findPage(
  archive: MessageArchive,
  username: string,
  query: MamQuery,
  most: number,
): Promise<Page> {
  const size = Math.min(query.page.max ?? most, most)
  if (query.ids !== undefined) {
    const found = await entriesWith(archive, username, [...new Set(query.ids)])
    return { entries: found.sort((a, b) => (a.id < b.id ? -1 : 1)), complete: true }
  }
  const backwards = query.page.before !== undefined
  const entries: Entry[] = []
  // What is looked at does not depend on how few are asked for: an archive is long.
  const atOnce = query.fullWith === undefined ? Math.min(Math.max(size, 1), READ_AT_ONCE) : SCANNED_AT_ONCE
  let length = 0
  const isFull = () => entries.length === size || length >= LONGEST_PAGE
  let range = rangeOf(query)
  for (;;) {
    const page = await archive.find(username, range, atOnce, backwards)
    for (const entry of page.entries) {
      if (!fits(entry, query)) continue
      if (isFull()) return ordered(entries, backwards, false)
      entries.push(entry)
      length += entry.value.inner.length
    }
    if (!page.more) return ordered(entries, backwards, true)
    // Only those of one full JID are looked for further on.
    if (isFull() && query.fullWith === undefined) return ordered(entries, backwards, false)
    // Entries that were removed at this very moment are not in the page.
    const { last } = page
    range = backwards ? { ...range, before: last } : { ...range, after: last }
    // Everybody else has a turn: the storage may answer at once.
    await nextTurn()
  }
}

function ordered(entries: Entry[], backwards: boolean, complete: boolean): Page {
  return { entries: backwards ? entries.reverse() : entries, complete }
}

function fits({ value }: Entry, { fullWith }: MamQuery): boolean {
  return fullWith === undefined || value.attrs['from'] === fullWith || value.attrs['to'] === fullWith
}

function resultMessage(
  session: StreamSession,
  queryId: string | undefined,
  { id, when, value }: Entry,
): string {
  const stamp = new Date(when).toISOString()
  const delay = writeElement('delay', { xmlns: 'urn:xmpp:delay', stamp }, '')
  const message = writeElement(value.name, { ...value.attrs, xmlns: NS_CLIENT }, value.inner)
  const forwarded = writeElement('forwarded', { xmlns: NS_FORWARD }, delay + message)
  const result = writeElement('result', { xmlns: NS_MAM, queryid: queryId, id }, forwarded)
  return writeElement('message', { to: session.fullJid!, from: session.bareJid! }, result)
}
