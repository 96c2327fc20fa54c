/** The `privileged_entities` table of a host: what it says, and what is wrong with it. */

import { inspect } from 'node:util'
import * as z from 'zod'
import { kinds, option, type PreparedJid, prepareJid } from '../../server/index.ts'

export const NS_PRIVILEGE = 'urn:xmpp:privilege:2'

export type RosterAccess = 'none' | 'get' | 'set' | 'both'
export type PresenceAccess = 'none' | 'managed_entity' | 'roster'
export type IqAccess = 'get' | 'set' | 'both'

/** What a host lets an entity do with its accounts. */
export interface Privileges {
  /** The privileged entity, prepared: a component's domain or an account's bare JID. */
  readonly jid: string
  readonly entity: PreparedJid
  readonly roster: RosterAccess
  /** Whether it is told of changes of rosters. */
  readonly push: boolean
  /** Whether it may send messages on behalf of the host and its accounts. */
  readonly message: boolean
  readonly presence: PresenceAccess
  /** Namespaces of IQs that it may send on behalf of accounts. */
  readonly iq: ReadonlyMap<string, IqAccess>
}

/** A table that was read: what works of it, and sentences about the rest. */
export interface PrivilegeTable {
  readonly privileges: ReadonlyMap<string, Privileges>
  readonly problems: readonly string[]
}

export const privilegeOptions = {
  privileged_entities: option({
    schema: kinds.table(z.unknown(), 'a table from JIDs to { roster = "get", … }').default({}),
    description: 'Entities that may act for the accounts of the host, and what they may do (XEP-0356).',
  }),
  privilege_iq_timeout: option({
    schema: kinds.period(0.001).default(60),
    description: 'Seconds that the answer to an IQ on behalf of an account may take. Not of Prosody.',
  }),
}

const ROSTER = ['none', 'get', 'set', 'both'] as const
const MESSAGE = ['none', 'outgoing'] as const
const PRESENCE = ['none', 'managed_entity', 'roster'] as const
const KEYS = new Set(['roster', 'roster_push', 'message', 'presence', 'iq'])

/** A mistake in an entry. */
class Mistake extends Error {}

/**
 * Reads a host's table. An entry with a mistake is left out as a whole, the others work.
 *
 * @param table - the option `privileged_entities`
 * @param host - whose it is, for messages
 */
export function readTable(table: Readonly<Record<string, unknown>>, host: string): PrivilegeTable {
  const privileges = new Map<string, Privileges>()
  const problems: string[] = []
  for (const [jid, entry] of Object.entries(table)) {
    try {
      const read = readEntry(jid, entry)
      if (privileges.has(read.jid)) throw new Mistake(`${read.jid} is there already, in another spelling`)
      privileges.set(read.jid, read)
    } catch (error) {
      if (!(error instanceof Mistake)) throw error
      problems.push(`privileged_entities["${jid}"] of ${host}: ${error.message}`)
    }
  }
  return { privileges, problems }
}

/** @throws Mistake */
function readEntry(jid: string, entry: unknown): Privileges {
  const entity = prepareJid(jid)
  if (entity === undefined) throw new Mistake('the entity is no JID')
  if (entity.resource !== undefined) {
    throw new Mistake(`the entity has a resource; name the whole entity: ${entity.bare}`)
  }
  if (typeof entry !== 'object' || entry === null || (Array.isArray(entry) && entry.length > 0)) {
    throw new Mistake('must be a table such as { roster = "get", message = "outgoing" }')
  }
  for (const key of Object.keys(entry)) {
    if (!KEYS.has(key)) {
      throw new Mistake(`"${key}" is not known here; an entity has ${[...KEYS].join(', ')}`)
    }
  }
  const { roster_push: push, ...rest } = entry as Record<string, unknown>
  const roster = oneOf('roster', rest['roster'], ROSTER)
  const message = oneOf('message', rest['message'], MESSAGE)
  const presence = oneOf('presence', rest['presence'], PRESENCE)
  const reads = roster === 'get' || roster === 'both'
  if (push !== undefined && typeof push !== 'boolean') {
    throw new Mistake(`roster_push must be true or false, is ${show(push)}`)
  }
  // XEP-0356 §4.1: pushes go with reading only.
  if (push === true && !reads) throw new Mistake('roster_push needs roster = "get" or "both"')
  // XEP-0356 §7.4
  if (presence === 'roster' && !reads) throw new Mistake('presence = "roster" needs roster = "get" or "both"')
  const iq = readIq(rest['iq'])
  return {
    jid: entity.full,
    entity,
    roster,
    push: push ?? reads,
    message: message === 'outgoing',
    presence,
    iq,
  }
}

function readIq(value: unknown): ReadonlyMap<string, IqAccess> {
  const granted = new Map<string, IqAccess>()
  if (value === undefined) return granted
  if (typeof value !== 'object' || value === null || (Array.isArray(value) && value.length > 0)) {
    throw new Mistake('iq must be a table such as { ["http://jabber.org/protocol/pubsub"] = "set" }')
  }
  for (const [namespace, type] of Object.entries(value)) {
    if (namespace === '') throw new Mistake('iq has an empty namespace')
    if (namespace === NS_PRIVILEGE) throw new Mistake('the privilege namespace itself can not be granted')
    const access = oneOf(`iq["${namespace}"]`, type, ROSTER)
    if (access !== 'none') granted.set(namespace, access)
  }
  return granted
}

function oneOf<const W extends readonly string[]>(name: string, value: unknown, words: W): W[number] {
  if (value === undefined) return words[0]!
  if (typeof value === 'string' && words.includes(value)) return value
  const choice = words.map((word) => `"${word}"`).join(', ')
  throw new Mistake(`${name} must be one of ${choice}, is ${show(value)}`)
}

/** Any value at all, in a line. */
function show(value: unknown): string {
  return inspect(value, { depth: 1, breakLength: Number.POSITIVE_INFINITY, maxStringLength: 100 })
}

/** Whether an access lets somebody send IQs of a type. */
export function allows(access: RosterAccess | undefined, type: string | undefined): boolean {
  return (type === 'get' || type === 'set') && (access === 'both' || access === type)
}
