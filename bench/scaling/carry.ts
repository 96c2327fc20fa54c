// The model carried on to sizes that no machine here can be: what so many accounts ask of each part.
import {
  acrossShare,
  boundBytes,
  changeBytes,
  changeOnTheWire,
  directoryBytes,
  idleReads,
  type Names,
  ownBytes,
  stateBytes,
  storedBytes,
} from './model.ts'

/** Who they are, and what they do. */
export interface Assumptions {
  readonly accounts: number
  /** Share of the accounts that is online, each with one session. */
  readonly online: number
  readonly contacts: number
  /** Share of an account's contacts that is online while it is. */
  readonly contactsOnline: number
  /** Seconds that a session lasts. */
  readonly lasts: number
  /** Seconds between two broadcasts of a session, beside its first and its last. */
  readonly broadcastEvery: number
  /** Seconds between two messages of a session. */
  readonly messageEvery: number
  /** Sessions of one process. */
  readonly perProcess: number
  readonly names: Names
}

/** What this machine took for one, in microseconds of CPU; see docs/scaling.md. */
export interface UnitCosts {
  /** Redis, for an entry in an inbox, sent and read: alone in its script, or with those for all others. */
  readonly entryAlone: number
  readonly entryTogether: number
  /** Redis, for a read of what is stored. */
  readonly read: number
  /** A process, for a change of another that comes alone. */
  readonly change: number
  /** A process, for presence that it delivers. */
  readonly delivery: number
}

/** What it comes to. */
export interface Needs {
  readonly sessions: number
  readonly processes: number
  /** Bytes in the Redis of the storage, and of the cluster without the stream of changes. */
  readonly stored: number
  readonly registered: number
  /** Bytes of the stream of changes: a minute of it. */
  readonly stream: number
  /** Bytes of heap in each process: its own sessions, and the directory of the others. */
  readonly own: number
  readonly directory: number
  /** The directories of all processes together. */
  readonly directories: number
  /** A second. */
  readonly logins: number
  readonly changes: number
  /** Bytes a second that Redis sends of changes, to one process and to all. */
  readonly changesTo: number
  readonly changesToAll: number
  /** Stanzas a second between processes: presence, messages, and both. */
  readonly presenceAcross: number
  readonly messagesAcross: number
  readonly across: number
  /** Stanzas a second of each ordered pair of processes: what could share an entry. */
  readonly forPair: number
  /** Receipts a second that find no stanza to go with. */
  readonly receipts: number
  /** Cores of the one Redis of the cluster: if entries for all others share scripts, and if each has its own. */
  readonly redisAtBest: number
  readonly redisAtWorst: number
  /** Reads a second of what is stored: for logins, and to see whether accounts are still there; cores for them. */
  readonly reads: number
  readonly looks: number
  readonly storageCores: number
  /** Share of a core in each process: for changes of others, and for presence. */
  readonly forChanges: number
  readonly forPresence: number
  /** Bytes a second for the beats of all, which tell each of all others. */
  readonly beats: number
}

/** Characters of an account's record. */
const RECORD = 330
const LEASE = 10
const BEATS = 8
/** Of an id and a count, and of an id, a number, a time, in Redis's protocol. */
const BEAT_BYTES = 80
/** For so long a receipt waits for a stanza that it could go with. */
const RECEIPT_SECONDS = 0.025
const STREAM_SECONDS = 60
const CHANGES_OF_SESSION = 4
/** At its login a session tells its presence, asks for that of others and is answered; at its end it tells once more. */
const PRESENCE_OF_SESSION = 4
const READS_OF_LOGIN = 3

/** Receipts a second from one process to another that sends it so many stanzas a second, and is sent as many. */
export function receiptsOf(stanzas: number): number {
  return Math.min(stanzas, 1 / RECEIPT_SECONDS) * Math.exp(-stanzas * RECEIPT_SECONDS)
}

/** Carries the model on. */
export function carry(assumptions: Assumptions, costs: UnitCosts): Needs {
  const { accounts, online, contacts, contactsOnline, lasts, names, perProcess } = assumptions
  const sessions = accounts * online
  const processes = Math.ceil(sessions / perProcess)
  const size = { processes, sessions, contacts }
  const logins = sessions / lasts
  const changes = logins * CHANGES_OF_SESSION
  const reached = contacts * contactsOnline
  const broadcasts = sessions / assumptions.broadcastEvery
  const presence = (logins * PRESENCE_OF_SESSION + broadcasts) * reached
  const share = acrossShare(processes)
  const presenceAcross = presence * share
  const messagesAcross = (sessions / assumptions.messageEvery) * share
  const across = presenceAcross + messagesAcross
  const pairs = processes * (processes - 1)
  const receipts = pairs * receiptsOf(across / pairs)
  const directory = directoryBytes(sessions - sessions / processes, processes - 1, sessions, names)
  const changesTo = changes * changeOnTheWire(size, names)
  const reads = logins * READS_OF_LOGIN
  const looks = idleReads(processes, sessions)
  return {
    sessions,
    processes,
    stored: storedBytes(accounts, contacts, RECORD, names),
    registered: stateBytes(size, names) + boundBytes(size, names),
    stream: changes * STREAM_SECONDS * changeBytes(size, names),
    own: ownBytes(sessions / processes, contacts, names),
    directory,
    directories: directory * processes,
    logins,
    changes,
    changesTo,
    changesToAll: changesTo * processes,
    presenceAcross,
    messagesAcross,
    across,
    forPair: across / pairs,
    receipts,
    redisAtBest: ((across + receipts) * costs.entryTogether) / 1e6,
    redisAtWorst: ((across + receipts) * costs.entryAlone) / 1e6,
    reads,
    looks,
    storageCores: ((reads + looks) * costs.read) / 1e6,
    forChanges: (changes * costs.change) / 1e6,
    forPresence: (presence * costs.delivery) / processes / 1e6,
    beats: (processes * processes * BEATS * BEAT_BYTES) / LEASE,
  }
}

/** Ten million accounts of a service for everybody: most are phones that stay for long, and are seldom all awake. */
export const TEN_MILLION: Assumptions = {
  accounts: 10_000_000,
  online: 0.2,
  contacts: 50,
  contactsOnline: 0.2,
  lasts: 3600,
  broadcastEvery: 1200,
  messageEvery: 120,
  perProcess: 50_000,
  names: { prefix: 6, host: 11, user: 10, resource: 10 },
}

/** Of the machine of docs/scaling.md. */
export const UNITS: UnitCosts = { entryAlone: 35, entryTogether: 10, read: 20, change: 150, delivery: 50 }

/** As lines of a table in Markdown. */
export function describeNeeds(needs: Needs): string {
  const GB = 1e9
  const MB = 1e6
  const lines: [string, number, string][] = [
    ['sessions', needs.sessions, ''],
    ['processes', needs.processes, ''],
    ['Redis of the storage: memory', needs.stored / GB, 'GB'],
    ['Redis of the storage: reads for logins', needs.reads, 'a second'],
    ['Redis of the storage: reads to see whether accounts are still there', needs.looks, 'a second'],
    ['Redis of the storage: CPU for both', needs.storageCores, 'cores'],
    ['Redis of the cluster: memory of sessions', needs.registered / MB, 'MB'],
    ['Redis of the cluster: memory of a minute of changes', needs.stream / MB, 'MB'],
    ['logins, and as many logouts', needs.logins, 'a second'],
    ['changes', needs.changes, 'a second'],
    ['changes, to each process', needs.changesTo / MB, 'MB a second'],
    ['changes, to all processes', needs.changesToAll / MB, 'MB a second'],
    ['beats, to all processes', needs.beats / MB, 'MB a second'],
    ['presence across', needs.presenceAcross, 'stanzas a second'],
    ['messages across', needs.messagesAcross, 'stanzas a second'],
    ['both, from one process to one other', needs.forPair, 'stanzas a second'],
    ['receipts that go alone', needs.receipts, 'a second'],
    ['Redis of the cluster: CPU if entries for all others share scripts', needs.redisAtBest, 'cores'],
    ['Redis of the cluster: CPU if each has its own', needs.redisAtWorst, 'cores'],
    ['each process: heap of its own sessions', needs.own / MB, 'MB'],
    ['each process: heap of the directory', needs.directory / MB, 'MB'],
    ['all processes: heap of the directories', needs.directories / GB, 'GB'],
    ['each process: CPU for changes of others, at most', needs.forChanges, 'cores'],
    ['each process: CPU for presence', needs.forPresence, 'cores'],
  ]
  return lines
    .map(([what, value, unit]) => `| ${what} | ${short(value)} ${unit} |`.replace('  |', ' |'))
    .join('\n')
}

function short(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(2)))
}
