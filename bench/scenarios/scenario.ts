// What a scenario is: something measured of a running server. Another one is another file beside this.
import type { Load } from '../load/requests.ts'
import type { ClusterForm, RunningPeer } from '../peers/peer.ts'

/** Settings of the whole run. */
export interface RunSettings {
  /** Seconds of server CPU of the first warm-up with a kind of traffic. */
  warmUpCpuSeconds: number
  /** Seconds of server CPU that a window lasts, unless `operations` is given. */
  windowCpuSeconds: number
  operations: number | undefined
  /** Idle sessions. */
  sessions: number
  /** Memory counts once it has hardly changed for so long. */
  settleSeconds: number
  /** How long a server of several processes is watched with nothing to do. */
  idleSeconds: number
  /** Operations of the soak, after its first minute. */
  soakOperations: number
}

/** What one run of a scenario gave: the figure of the table, and what else was seen. */
export interface Measurement {
  /** In the scenario's unit. */
  value: number
  /** For information, by name, with the unit in the name. */
  details: Record<string, number>
}

/** What a scenario needs to be there. Scenarios with equal setups share a server and its connected load. */
export interface Setup {
  /** Whether clients connect through STARTTLS. Components never do: XEP-0114 knows no TLS. */
  readonly tls: boolean
  /** Clients that make the load; each has an account of its own. 0: none, and no component either. */
  readonly clients: number
  /** Further sessions that are logged in and do nothing, spread over the accounts. */
  readonly bystanders: number
  /** Namespaces delegated to the component, the one of the load among them. */
  readonly namespaces: number
  /** Which clients are in each other's rosters (subscription `both`): all, none, or the first and all others. */
  readonly roster: boolean | 'first'
  /** Messages in the archive of each client; without, there is no archive. */
  readonly archived?: number
  /** The form that servers keep passwords in, where they have a choice: see BenchWork. */
  readonly passwords: 'plain' | 'keys'
  /** Scenarios that need a server nobody has used yet get one. */
  readonly fresh: boolean
  /** Where the server is several processes over Redis; not every peer can be that. */
  readonly cluster?: ClusterForm
}

/** The usual setup: ten clients, each other's contacts, plain TCP. */
export const USUAL: Setup = {
  tls: false,
  clients: 10,
  bystanders: 0,
  namespaces: 1,
  roster: true,
  passwords: 'plain',
  fresh: false,
}

/** Sessions beside the clients' share accounts, but no more than so many one of them. */
const SESSIONS_AN_ACCOUNT = 20
const LEAST_ACCOUNTS = 100

/** How many accounts there are beside the clients', for so many sessions. */
export function spareAccounts(sessions: number): number {
  return Math.max(LEAST_ACCOUNTS, Math.ceil(sessions / SESSIONS_AN_ACCOUNT))
}

/** Which table a scenario's row stands in. */
export type Section = 'traffic' | 'login' | 'memory' | 'growth' | 'load' | 'cluster' | 'soak'

/** Something to measure. */
export interface Scenario {
  /** For --scenario; lower case and hyphens. */
  readonly name: string
  /** The beginning of its row. */
  readonly title: string
  readonly section: Section
  readonly unit: 'µs' | 'kB' | 'MB'
  /**
   * In sections whose rows belong together ('growth', 'load'): the row's series, e.g. `sessions`, and its place in
   * it, e.g. 1000.
   */
  readonly series?: { readonly name: string; readonly unit: string; readonly at: number }
  /** Whether it is measured when no scenario is named: the soak is not. */
  readonly usual: boolean
  readonly setup: Setup
  /** Measures. The load is connected as the setup says. */
  measure(server: RunningPeer, load: Load, settings: RunSettings): Promise<Measurement>
}
