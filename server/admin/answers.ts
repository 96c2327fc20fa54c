/** What a server tells about itself over the admin channel: checked by who tells it and by who reads it. */

import * as z from 'zod'

const count = z.number().nonnegative()
/** Milliseconds since the epoch. */
const moment = z.number()

const hostStatus = z.object({
  name: z.string(),
  /** Clients that have a resource. */
  bound: count,
  /** Clients that have logged in and have none yet. */
  authenticated: count,
  /** Accounts that have clients with a resource. */
  accounts: count,
})

const componentStatus = z.object({
  name: z.string(),
  /** Whether it connects from outside (XEP-0114); else a plugin serves it. */
  external: z.boolean(),
  connections: z.array(z.object({ since: moment, address: z.string() })),
})

const loggedProblem = z.object({ time: moment, level: z.enum(['warn', 'error']), text: z.string() })

/** Something that was logged as a warning or an error. */
export type LoggedProblem = z.infer<typeof loggedProblem>

const logFigures = z.object({
  warnings: count,
  errors: count,
  last: z.array(loggedProblem),
  setup: z.array(z.string()),
})

const processSchema = z.object({
  version: z.string(),
  process: z.number(),
  state: z.enum(['starting', 'ready', 'ending']),
  startedAt: moment,
  /** Of the last configuration that was taken. */
  configuredAt: moment,
  config: z.string().optional(),
  dataPath: z.string(),
  node: z.string(),
  /** Bytes. */
  memory: z.object({ resident: count, heap: count }),
  /** Of the time of one core, 0 to 1, while the answer was made and since the start. */
  busy: z.object({ now: z.number(), average: z.number() }),
  listening: z.array(z.object({ service: z.string(), address: z.string(), port: z.number() })),
  hosts: z.array(hostStatus),
  components: z.array(componentStatus),
  /** Connections that have not logged in. */
  unauthenticated: count,
  log: logFigures,
})

/** What a process tells of itself. */
export type OwnStatus = z.infer<typeof processSchema>

export const delegationSchema = z.object({
  host: z.string(),
  namespace: z.string(),
  manager: z.string(),
  /** Of the manager, at the moment. */
  connections: count,
  connectedSince: moment.optional(),
  pending: count,
  forwarded: count,
  answered: count,
  /** Errors of the wrapper. */
  failed: count,
  /** Answers that broke a rule, by rule. */
  refused: z.record(z.string(), count),
  timedOut: count,
  unavailable: count,
  /** Milliseconds until the manager's answer; absent before the first. */
  replyMs: z.object({ median: count.optional(), p99: count.optional() }),
})

/** One delegated namespace of one host. */
export type DelegationFigures = z.infer<typeof delegationSchema>

/** As processes of a cluster tell them to each other. */
export const countedDelegationSchema = delegationSchema.extend({
  /** How often the manager took so many milliseconds; absent if that was not counted. */
  replyTimes: z.array(z.tuple([z.number(), count])).optional(),
})

export type CountedDelegation = z.infer<typeof countedDelegationSchema>

/** What a process tells the others of its cluster. */
export const memberFiguresSchema = z.object({
  machine: z.string(),
  status: processSchema,
  /** By host: accounts with clients here, but for those that another process counts, too. */
  countedAccounts: z.record(z.string(), count),
  /** The Redis of the cluster, as this process sees it. */
  redis: z.object({
    connected: z.boolean(),
    /** Milliseconds since it could last be reached. */
    silentFor: count,
    /** Sent since the start. */
    commands: count,
  }),
  /** The Redis of the storage, if there is one. */
  storage: z.object({ state: z.string(), awayFor: count }).optional(),
  /** What waits for other processes, by their ids. */
  queues: z.array(z.object({ id: z.string(), unacknowledged: count, waitingBytes: count })),
})

export type MemberFigures = z.infer<typeof memberFiguresSchema>

const memberSchema = z.object({
  id: z.string(),
  name: z.string(),
  process: z.number(),
  since: moment,
  version: z.string(),
  /** Bound clients and components' connections, as the asked process knows them. */
  known: z.object({ sessions: count, connections: count }),
  /** Absent if it does not answer. */
  figures: memberFiguresSchema.optional(),
})

export type ClusterMember = z.infer<typeof memberSchema>

const clusterSchema = z.object({
  /** The process that was asked. */
  self: z.string(),
  members: z.array(memberSchema),
  /** Of all that have answered. */
  hosts: z.array(hostStatus),
  components: z.array(componentStatus),
  unauthenticated: count,
  delegations: z.array(delegationSchema),
})

export type ClusterStatus = z.infer<typeof clusterSchema>

const supervisorSchema = z.object({
  process: z.number(),
  state: z.enum(['starting', 'ready', 'ending']),
  startedAt: moment,
  workers: z.array(
    z.object({
      number: z.number(),
      process: z.number().optional(),
      state: z.enum(['starting', 'ready', 'waiting', 'stopping', 'stopped']),
      /** How often it has died, and was started again. */
      deaths: count,
    }),
  ),
  log: logFigures,
})

export type SupervisorStatus = z.infer<typeof supervisorSchema>

export const statusSchema = processSchema.extend({
  /** Where several processes are one server. */
  cluster: clusterSchema.optional(),
  /** Where it has workers. */
  supervisor: supervisorSchema.optional(),
})

/** The answer to `status`. */
export type ServerStatus = z.infer<typeof statusSchema>

const problem = z.object({
  severity: z.enum(['error', 'warning']),
  message: z.string(),
  host: z.string().optional(),
  option: z.string().optional(),
  position: z.object({ file: z.string(), line: z.number().optional() }).optional(),
})

export const reloadSchema = z.object({
  /** Whether the server runs with the new configuration; else it goes on with the old one. */
  taken: z.boolean(),
  config: z.string().optional(),
  hosts: count,
  problems: z.array(problem),
  /** Options that have changed and are only read at a start. */
  nextStart: z.array(z.string()),
  /** What was logged while the hosts were reloaded: plugins and certificates that can not be loaded, for one. */
  logged: z.array(loggedProblem),
  /** Other processes of the cluster that were told to read their own, by name. */
  told: z.array(z.string()).optional(),
})

/** The answer to `reload`. */
export type ReloadOutcome = z.infer<typeof reloadSchema>

export const toldSchema = reloadSchema.pick({ told: true })

export const endedSchema = z.object({
  sessions: count,
  /** Processes of the cluster that have not answered, by name. */
  silent: z.array(z.string()).optional(),
})

/** The answer to `end-sessions`. */
export type EndedSessions = z.infer<typeof endedSchema>
