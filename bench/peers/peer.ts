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
   * The accounts it must have. It must also delegate DELEGATED_NAMESPACE of HOST to COMPONENT, which logs in with
   * SECRET (all in load/stanzas.ts), take PLAIN without TLS, and limit nothing.
   */
  accounts: readonly BenchAccount[]
  /** Put before the server's command; binds it to a processor. */
  launcher: readonly string[]
}

/** A server that is ready. */
export interface RunningPeer {
  /** The process whose CPU time and memory count. */
  readonly pid: number
  readonly c2sPort: number
  readonly componentPort: number
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
  /** Starts it with fresh state; called once a round and scenario group. */
  start(work: BenchWork): Promise<RunningPeer>
}
