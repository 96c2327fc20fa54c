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

export const statusSchema = z.object({
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
  log: z.object({ warnings: count, errors: count, last: z.array(loggedProblem), setup: z.array(z.string()) }),
})

/** The answer to `status`. */
export type ServerStatus = z.infer<typeof statusSchema>

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
})

/** The answer to `reload`. */
export type ReloadOutcome = z.infer<typeof reloadSchema>

export const endedSchema = z.object({ sessions: count })
