// The model of docs/scaling.md: what a cluster needs, as functions of its processes (P), sessions (S) and contacts (C).
// What a thing takes is put together from what the code keeps (server/cluster, server/storage) and allocation.ts.
import {
  packedNumber,
  packedString,
  protocolString,
  REDIS_ENTRY,
  redisHash,
  redisKey,
  redisSet,
  redisSmallHash,
  redisString,
  v8Map,
  v8Object,
  v8Slice,
  v8String,
} from './allocation.ts'

/** Lengths of names, in characters. */
export interface Names {
  readonly prefix: number
  readonly host: number
  readonly user: number
  readonly resource: number
}

/** How many there are. */
export interface Size {
  readonly processes: number
  readonly sessions: number
  /** Of each account, all of them online, and all both ways. */
  readonly contacts: number
}

const MEMBER_ID = 16
const BUCKETS = 1024
/** Digits of a number below 1024, on average. */
const BUCKET_DIGITS = 2.89
const UNIX_TIME = 10

const bareLength = ({ user, host }: Names) => user + 1 + host
const fullLength = (names: Names) => bareLength(names) + 1 + names.resource
const digits = (count: number) => String(Math.max(1, Math.round(count))).length
/** Of a session's id, which is a number in base 36. */
const sessionId = (sessions: number) => Math.max(1, Math.round(sessions)).toString(36).length

/** Characters by which a session is told to the others: full JID, number, time, priority 0. */
export function descriptionLength(names: Names, sessions: number): number {
  return fullLength(names) + 1 + digits(sessions) + 1 + UNIX_TIME + 1 + 1
}

// Redis: what is stored.

/** Characters of a stored roster: contacts without a name and a group. */
export function rosterLength(contacts: number, names: Names): number {
  const item = '{"jid":"","subscription":"both"}'.length + bareLength(names)
  return '{"items":[],"requests":[]}'.length + contacts * item + Math.max(0, contacts - 1)
}

/** Bytes in Redis of accounts, each with its record and a roster. @param record - characters of an account's */
export function storedBytes(accounts: number, contacts: number, record: number, names: Names): number {
  const address = bareLength(names)
  const sets = 2
  const keys = accounts + sets * Math.min(BUCKETS, accounts)
  const fields =
    2 * REDIS_ENTRY +
    redisString('keyval:accounts'.length) +
    redisString(record) +
    redisString('keyval:roster'.length) +
    redisString(rosterLength(contacts, names))
  const user = redisKey(names.prefix + ':{3ff}:user:'.length + address, keys) + redisHash(0, 0, 0) + fields
  const perSet = accounts / BUCKETS
  const set = (store: string) =>
    redisKey(names.prefix + ':{3ff}:users::keyval:'.length + names.host + store.length, keys) +
    redisSet(perSet, names.user)
  return accounts * user + BUCKETS * (set('accounts') + set('roster'))
}

// Redis: what the cluster keeps.

/** Bytes of the members' states. */
export function stateBytes({ processes, sessions }: Size, names: Names): number {
  const own = sessions / processes
  return processes * redisHash(own, 1 + sessionId(own), descriptionLength(names, sessions))
}

/** Bytes of who has which resource: a key for each account that is online. */
export function boundBytes({ processes, sessions }: Size, names: Names): number {
  const key = names.prefix + ':{a}:bound:'.length + BUCKET_DIGITS + bareLength(names)
  const owner = MEMBER_ID + 1 + sessionId(sessions / processes)
  return sessions * (redisKey(Math.round(key), sessions) + redisSmallHash([names.resource, owner]))
}

/** Bytes of entries that are in one piece of a stream, and what that takes beside them, as MEMORY USAGE has it. */
const STREAM_NODE_ROOM = 4096
const STREAM_NODE = 550

/** Bytes of one change in the stream of changes, where nothing repeats the entry before. */
export function changeBytes({ processes, sessions }: Size, names: Names): number {
  const own = sessions / processes
  const fixed = 2 + 6 + 2 + 2 + 2
  const member = packedString(1) + packedString(MEMBER_ID)
  const kind = packedString(1) + packedString(1)
  const batch = packedString(1) + packedNumber(2 * own) + packedString(1) + packedString(0)
  const count = packedString(1) + packedNumber(1)
  const change = packedString(1 + sessionId(own)) + packedString(descriptionLength(names, sessions))
  const entry = fixed + member + kind + batch + count + change
  return entry + STREAM_NODE / Math.floor(STREAM_NODE_ROOM / entry)
}

/** Bytes of one change as each process reads it. */
export function changeOnTheWire({ processes, sessions }: Size, names: Names): number {
  const own = sessions / processes
  const parts = [1, MEMBER_ID, 1, 1, 1, digits(2 * own), 1, 0, 1, 1, 1 + sessionId(own)]
  let bytes = '*2\r\n*12\r\n'.length + protocolString('1700000000000000-0'.length)
  for (const length of parts) bytes += protocolString(length)
  return bytes + protocolString(descriptionLength(names, sessions))
}

// Memory of every process.

/** Bytes of heap for all sessions of the other processes, of which so many are there. */
export function directoryBytes(foreign: number, others: number, sessions: number, names: Names): number {
  const id = sessionId(sessions / (others + 1))
  // What it was first told as, of which its JID is a part, and what it is told as now.
  const strings =
    2 * v8String(descriptionLength(names, sessions)) +
    v8String(1 + id) +
    v8String(id) +
    v8Slice(fullLength(names)) +
    v8Slice(bareLength(names)) +
    v8Slice(names.user) +
    v8Slice(names.resource)
  // The resource, its key, and the list of the account's resources.
  const objects = v8Object(16) + v8Object(3) + v8Object(1) + v8Object(1)
  const perMember = foreign / others
  return foreign * (strings + objects) + 2 * v8Map(foreign) + others * 2 * v8Map(perMember)
}

// Commands.

/** Beats of a lease, and waits for something new that end with nothing. */
const BEATS = 8
const WAITS = 2

/** Commands a second of a cluster in which nothing happens. @param lease - in seconds */
export function idleCommands(processes: number, lease: number): number {
  return (processes * (BEATS + WAITS)) / lease
}

/** Seconds between two looks of a process whether accounts that it has sessions of are still there, and how many then. */
const LOOK_SECONDS = 10
const LOOKS = 200

/** Reads of what is stored, a second, in a cluster in which nothing happens: server/cli/deleted-accounts.ts. */
export function idleReads(processes: number, accountsOnline: number): number {
  return (processes * Math.min(accountsOnline / processes, LOOKS)) / LOOK_SECONDS
}

/** Share of contacts that are at another process, where all are spread alike. */
export function acrossShare(processes: number): number {
  return 1 - 1 / processes
}

/** Of one thing that happens alone, with nothing else to share a command with. */
export interface Cost {
  /** Sent by processes to the Redis of the cluster. */
  readonly commands: number
  /** Of those, scripts. */
  readonly scripts: number
  /** To the Redis of the storage, with SCRAM; one less with PLAIN. */
  readonly stored: number
  /** Changes in the stream, each of which all processes read. */
  readonly changes: number
  /** Stanzas and calls that go from one process to another. */
  readonly across: number
}

/** How often a process reads what comes in one step: of changes, it has to look into its inbox as well. */
const READS_OF_CHANGES = 2

/**
 * A login with initial presence, which reaches contacts at all other processes.
 *
 * @param online - share of the contacts
 */
export function loginCost({ processes, contacts }: Size, online = 1): Cost {
  const others = processes - 1
  const scripts =
    1 + // the resource is claimed
    1 + // the session is told
    1 + // it is available; presence and probes
    others + // answers to the probes
    1 // receipts for them
  const reads =
    2 * READS_OF_CHANGES * processes + // told, available
    others + // the answers
    others // the receipts
  const number = 1
  return {
    commands: scripts + reads + number,
    scripts,
    // The keys, once more when the proof is checked, and the roster.
    stored: 3,
    changes: 2,
    // Presence, a probe, and its answer.
    across: 3 * contacts * online * acrossShare(processes),
  }
}

/** A session's orderly end. */
export function logoutCost({ processes, contacts }: Size, online = 1): Cost {
  const others = processes - 1
  const scripts =
    1 + // the resource is given back
    1 + // not available, presence, gone
    others // receipts
  const reads = READS_OF_CHANGES * processes + others
  return {
    commands: scripts + reads,
    scripts,
    stored: 0,
    changes: 2,
    across: contacts * online * acrossShare(processes),
  }
}

/** Another presence of a session that is available. */
export function broadcastCost({ processes, contacts }: Size, online = 1): Cost {
  const others = processes - 1
  return {
    commands: 1 + others + others + others,
    scripts: 1 + others,
    stored: 0,
    changes: 0,
    across: contacts * online * acrossShare(processes),
  }
}

/** A stanza to another process that nobody answers. Who answers within 25 ms saves the receipts. */
export function stanzaCost(): Cost {
  return { commands: 4, scripts: 2, stored: 0, changes: 0, across: 1 }
}

/** A delegated IQ whose manager is at another process, one after the other: each carries the receipt of the last. */
export function delegatedCost(): Cost {
  return { commands: 4, scripts: 2, stored: 0, changes: 0, across: 2 }
}

/** Bytes of heap of a session of the process's own, beside its contacts. Measured: it is too much to be added up. */
export const OWN_SESSION = 5600

/** Bytes of heap for the sessions of the process itself, with the rosters that it keeps for them. */
export function ownBytes(sessions: number, contacts: number, names: Names): number {
  // Its properties, its groups, its JID; and its place in the roster.
  const item = v8Object(5) + v8Object(1) + v8String(bareLength(names))
  return sessions * (OWN_SESSION + contacts * item + v8Map(contacts))
}
