// What a scenario is: something measured of a running server. Another one is another file beside this.
import type { Load } from '../load/remote.ts'
import type { RunningPeer } from '../peers/peer.ts'

/** Settings of the whole run. */
export interface RunSettings {
  /** Clients that make the load, and how many operations each keeps in flight. */
  clients: number
  inFlight: number
  warmUpSeconds: number
  /** Seconds of server CPU that a window lasts, unless `operations` is given. */
  windowCpuSeconds: number
  operations: number | undefined
  /** Idle sessions. */
  sessions: number
  /** How many accounts there are. */
  accounts: number
}

/** What one run of a scenario gave: the figure of the table, and what else was seen. */
export interface Measurement {
  /** In the scenario's unit. */
  value: number
  /** For information, by name, with the unit in the name. */
  details: Record<string, number>
}

/** Something to measure. */
export interface Scenario {
  /** For --scenario. */
  readonly name: string
  /** Heading of its column. */
  readonly title: string
  readonly unit: 'µs' | 'kB'
  /** Scenarios that need a server nobody has used yet get one; the others share one. */
  readonly freshServer: boolean
  /** Measures. With a shared server, the component and the clients are connected. */
  measure(server: RunningPeer, load: Load, settings: RunSettings): Promise<Measurement>
}
