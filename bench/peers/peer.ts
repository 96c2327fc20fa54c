// What the bench asks of a server that it measures. Another server is another file like those beside this one.

/** The accounts that a server must have. */
export interface BenchAccount {
  user: string
  host: string
  password: string
}

/** What a peer is given to start with. */
export interface BenchWork {
  /** An empty folder of this peer's for the whole run: what it keeps there is there at its next start. */
  directory: string
  /**
   * The accounts it must have. It must also take PLAIN without TLS (and SCRAM-SHA-1), know contacts' presence and
   * rosters, let 1000 and more sessions share an account, and limit nothing.
   */
  accounts: readonly BenchAccount[]
  /** The namespaces that HOST delegates to COMPONENT, which logs in with SECRET (all in load/stanzas.ts). */
  namespaces: readonly string[]
  /** Files in PEM with a key and a certificate for HOST; STARTTLS is to be offered on the same port, not required. */
  tls: { key: string; certificate: string }
  /**
   * The form to keep passwords in, where a server has a choice: `plain` makes PLAIN cheap, but SCRAM derives its keys
   * at each login then; `keys` makes SCRAM cheap, but PLAIN derives them. `plain` when left out.
   */
  passwords?: 'plain' | 'keys'
  /** Whether it archives every message of the accounts (XEP-0313); without, it has no archive. */
  archive?: boolean
  /** Put before the server's command; binds it to a processor. */
  launcher: readonly string[]
}

/**
 * How a server is several processes over Redis: `pair`, two that are started each by itself, with ports of their own;
 * `workers`, so many that share the ports, or, for comparison, a single process of the same configuration.
 */
export type ClusterForm = { readonly form: 'pair' } | { readonly form: 'workers'; readonly count: number }

/** What a peer is given to start with as several processes. */
export interface ClusterWork extends BenchWork {
  form: ClusterForm
  /** Put before Redis's command. */
  redisLauncher: readonly string[]
}

/** One process of a server. */
export interface ServerPart {
  /** For the results. */
  readonly name: string
  readonly pid: number
}

/** A server of several processes. */
export interface RunningCluster {
  /** All whose CPU time counts together. */
  readonly parts: readonly ServerPart[]
  /** Where clients connect: the first part of them to the first, and so on. */
  readonly c2sPorts: readonly number[]
  /** The processes among which whoever connects to one port is spread; none where each has its own. */
  readonly workers: readonly number[]
  /** What they have in common, whose CPU time does not count. */
  readonly redis: { readonly pid: number; readonly port: number }
}

/** A server that is ready. */
export interface RunningPeer {
  /** The process whose CPU time and memory count, where it is one. */
  readonly pid: number
  readonly c2sPort: number
  readonly componentPort: number
  /** Where it is several. */
  readonly cluster?: RunningCluster
  /** What it has logged, for the case that something fails. */
  log(): string
  stop(): Promise<void>
}

/** A server that can be measured. */
export interface BenchPeer {
  /** For --only. */
  readonly name: string
  /** For the table: name and version. */
  title(): string
  /** Why it can not be measured here, with the way out; undefined when it can. */
  available(): Promise<string | undefined>
  /** The names of scenarios that it can not be measured in, each with why. */
  readonly lacks?: Readonly<Record<string, string>>
  /** Starts it with fresh state; called once a round and scenario group. */
  start(work: BenchWork): Promise<RunningPeer>
  /** Starts it as several processes; missing where a server is not measured as that. */
  startCluster?(work: ClusterWork): Promise<RunningPeer & { readonly cluster: RunningCluster }>
}
