/** The `delegations` table of a host: what it says, and what is wrong with it (C1 to C3). */

import { inspect } from 'node:util'
import { NS_DELEGATION, NS_DELEGATION_1, type PreparedJid, prepareJid } from '../../server/index.ts'
import { isRemainingDisco } from './discovery-remaining.ts'

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
  /** Whether each asker's requests, and their answers, keep their order (F9). */
  readonly ordered: boolean
  /** The delegation namespace that the manager speaks: of wrappers, advertisements and nodes of its disco#info. */
  readonly xmlns: string
  /** Whether an account has granted it (U2), and not the configuration: then any address can manage (C4). */
  readonly byAccount?: true
}

/** A table that was read: what works of it, and sentences about the rest. */
export interface DelegationTable {
  readonly delegations: ReadonlyMap<string, Delegation>
  readonly problems: readonly string[]
}

/** Keys that an entry may have. */
const ENTRY_KEYS = new Set(['jid', 'filtering', 'timeout', 'ordered', 'version'])

/** Attribute names: what may stand in `filtering`. A declaration of a namespace is none. */
const ATTRIBUTE_NAME = /^(?!xmlns(?::|$))[A-Za-z_][A-Za-z0-9._-]*(?::[A-Za-z_][A-Za-z0-9._-]*)?$/

/**
 * Reads a host's table. An entry with a mistake is left out, the others work.
 *
 * @param table - the option `delegations`
 * @param host - whose it is, for messages
 * @param defaultTimeout - seconds
 * @param compat - older delegation namespaces that entries may ask for by their `version`
 */
export function readTable(
  table: Readonly<Record<string, unknown>>,
  host: string,
  defaultTimeout: number,
  compat: readonly string[] = [],
): DelegationTable {
  const delegations = new Map<string, Delegation>()
  const problems: string[] = []
  for (const [namespace, entry] of Object.entries(table)) {
    const result = readEntry(namespace, entry, defaultTimeout, compat)
    if (typeof result === 'string') problems.push(`delegations["${namespace}"] of ${host}: ${result}`)
    else delegations.set(namespace, result)
  }
  return { delegations, problems }
}

/** The delegation, or what is wrong. */
function readEntry(
  namespace: string,
  entry: unknown,
  defaultTimeout: number,
  compat: readonly string[],
): Delegation | string {
  if (namespace === '') return 'the namespace is empty'
  if (namespace === NS_DELEGATION || compat.includes(namespace))
    return 'the delegation namespace itself can not be delegated'
  if (typeof entry !== 'object' || entry === null || (Array.isArray(entry) && entry.length > 0)) {
    return 'must be a table such as { jid = "pubsub.example.org" }'
  }
  // An empty Lua table is neither list nor record: it lacks the jid.
  const { jid, filtering, timeout, ordered = false, version = 2 } = entry as Record<string, unknown>
  for (const key of Object.keys(entry)) {
    if (!ENTRY_KEYS.has(key)) {
      return `"${key}" is not known here; an entry has jid, filtering, timeout, ordered and version`
    }
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
  if (typeof ordered !== 'boolean') return `ordered must be true or false, is ${show(ordered)}`
  if (version !== 1 && version !== 2) return `version must be 1 or 2, is ${show(version)}`
  if (version === 1 && !compat.includes(NS_DELEGATION_1)) {
    return `version = 1 has to be allowed on the host: delegation_compat = { "${NS_DELEGATION_1}" }`
  }
  if (version === 1 && isRemainingDisco(namespace)) {
    return 'version 1 can not delegate service discovery; leave version out'
  }
  return {
    namespace,
    jid: manager.full,
    manager,
    filtering: attributes,
    timeout: timeout ?? defaultTimeout,
    ordered,
    xmlns: version === 1 ? NS_DELEGATION_1 : NS_DELEGATION,
  }
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
