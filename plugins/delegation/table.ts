/** The `delegations` table of a host: what it says, and what is wrong with it (C1 to C3). */

import { inspect } from 'node:util'
import { NS_DELEGATION, type PreparedJid, prepareJid } from '../../server/index.ts'

/** A namespace that is managed by somebody else. */
export interface Delegation {
  readonly namespace: string
  /** The managing entity, prepared. */
  readonly jid: string
  readonly manager: PreparedJid
  /** Attributes that must all be on the payload for an IQ to be forwarded; empty: no filter. */
  readonly filtering: readonly string[]
  /** Seconds that the manager may take. */
  readonly timeout: number
}

/** A table that was read: what works of it, and sentences about the rest. */
export interface DelegationTable {
  readonly delegations: ReadonlyMap<string, Delegation>
  readonly problems: readonly string[]
}

/** Keys that an entry may have. */
const ENTRY_KEYS = new Set(['jid', 'filtering', 'timeout'])

/** Delegates disco#info or disco#items of a bare JID (XEP-0355 §7.2.3): named apart, since it is no payload's namespace. */
const REMAINING_DISCO = /^urn:xmpp:delegation:2:bare:disco#(?:info|items):\*$/

/** Attribute names: what may stand in `filtering`. A declaration of a namespace is none. */
const ATTRIBUTE_NAME = /^(?!xmlns(?::|$))[A-Za-z_][A-Za-z0-9._-]*(?::[A-Za-z_][A-Za-z0-9._-]*)?$/

/**
 * Reads a host's table. An entry with a mistake is left out, the others work.
 *
 * @param table - the option `delegations`
 * @param host - whose it is, for messages
 * @param defaultTimeout - seconds
 */
export function readTable(
  table: Readonly<Record<string, unknown>>,
  host: string,
  defaultTimeout: number,
): DelegationTable {
  const delegations = new Map<string, Delegation>()
  const problems: string[] = []
  for (const [namespace, entry] of Object.entries(table)) {
    const result = readEntry(namespace, entry, defaultTimeout)
    if (typeof result === 'string') problems.push(`delegations["${namespace}"] of ${host}: ${result}`)
    else delegations.set(namespace, result)
  }
  return { delegations, problems }
}

/** The delegation, or what is wrong. */
function readEntry(namespace: string, entry: unknown, defaultTimeout: number): Delegation | string {
  if (namespace === '') return 'the namespace is empty'
  if (namespace === NS_DELEGATION) return 'the delegation namespace itself can not be delegated'
  if (REMAINING_DISCO.test(namespace)) return 'service discovery can not be delegated by this version'
  if (typeof entry !== 'object' || entry === null || (Array.isArray(entry) && entry.length > 0)) {
    return 'must be a table such as { jid = "pubsub.example.org" }'
  }
  // An empty Lua table is neither list nor record: it lacks the jid.
  const { jid, filtering, timeout } = entry as Record<string, unknown>
  for (const key of Object.keys(entry)) {
    if (!ENTRY_KEYS.has(key)) return `"${key}" is not known here; an entry has jid, filtering and timeout`
  }
  if (jid === undefined || jid === '') return 'jid is missing: name the component that manages the namespace'
  const manager = typeof jid === 'string' ? prepareJid(jid) : undefined
  if (manager === undefined) return `jid is no JID: ${show(jid)}`
  if (manager.local === undefined && manager.resource !== undefined) {
    return `jid is an address of a component: ${manager.full}; name the component: ${manager.domain}`
  }
  const attributes = readFiltering(filtering)
  if (typeof attributes === 'string') return attributes
  if (timeout !== undefined && !(typeof timeout === 'number' && timeout > 0 && Number.isFinite(timeout))) {
    return `timeout must be a number of seconds above 0, is ${show(timeout)}`
  }
  return { namespace, jid: manager.full, manager, filtering: attributes, timeout: timeout ?? defaultTimeout }
}

function readFiltering(filtering: unknown): readonly string[] | string {
  if (filtering === undefined) return []
  // An empty Lua table is neither list nor record.
  const list = typeof filtering === 'object' && filtering !== null ? Object.values(filtering) : undefined
  if (list === undefined || (!Array.isArray(filtering) && list.length > 0)) {
    return 'filtering must be a list of attribute names, such as { "node" }'
  }
  for (const name of list) {
    if (typeof name !== 'string' || !ATTRIBUTE_NAME.test(name)) {
      return `filtering has ${show(name)}, which is no attribute name`
    }
  }
  return [...new Set(list as string[])]
}

/** Any value at all, in a line. */
function show(value: unknown): string {
  return inspect(value, { depth: 1, breakLength: Number.POSITIVE_INFINITY, maxStringLength: 100 })
}
