// A synthetic result of the bench, of the size that real ones have.
import type { BenchDocument, ScenarioEntry } from '../../bench/output/index.ts'

/** µs (or kB) of floor, Legate, Prosody and ejabberd; undefined where one was not measured. */
type Costs = readonly (number | undefined)[]

const PEERS = [
  { name: 'floor', title: 'floor (a relay, no XML)' },
  { name: 'legate', title: 'Legate 0.1.0' },
  { name: 'prosody', title: 'Prosody 0.12.3' },
  { name: 'ejabberd', title: 'ejabberd 23.01' },
]

/** Round by round, how far the machine was off. */
const NOISE = [1.01, 0.98, 1, 1.04, 0.97]

/** A scenario's entry, and what each peer costs in it. */
export interface Sample {
  entry: ScenarioEntry
  costs: Costs
  /** Details by peer. */
  details?: readonly Record<string, number>[]
}

/** A row of a section without series. */
export function row(
  section: ScenarioEntry['section'],
  name: string,
  title: string,
  costs: Costs,
  unit: ScenarioEntry['unit'] = 'µs',
): Sample {
  return { entry: { name, title, section, unit }, costs }
}

function growthRows(series: string, unit: string, rows: readonly [number, Costs][]): Sample[] {
  return rows.map(([at, costs]) => ({
    entry: {
      name: `${series.replaceAll(/\W+/g, '-')}-${at}`,
      title: `${series}: ${at.toLocaleString('en')} ${unit}`,
      section: 'growth',
      unit: 'µs',
      series: { name: series, unit, at },
    },
    costs,
  }))
}

/** A closed loop against a peer that serves `capacity` operations a second and needs `base` ms at rest. */
function loadRows(capacities: readonly number[], base: readonly number[]): Sample[] {
  return [1, 2, 5, 10, 20, 40, 80, 160, 320, 640].map((inFlight) => ({
    entry: {
      name: `load-${inFlight}`,
      title: `delegated IQ, ${inFlight} in flight in all`,
      section: 'load',
      unit: 'µs',
      series: { name: 'delegated IQ', unit: 'requests in flight', at: inFlight },
    },
    costs: capacities.map((capacity) => 1e6 / capacity),
    details: capacities.map((capacity, peer) => {
      const rest = base[peer]!
      const rate = 1 / ((1 / ((inFlight / rest) * 1000)) ** 2 + (1 / capacity) ** 2) ** 0.5
      const p50 = (inFlight / rate) * 1000
      return { 'p50 ms': p50, 'p99 ms': p50 * (1.4 + 2 / inFlight ** 0.3), 'operations/s': rate }
    }),
  }))
}

const USUAL: readonly Sample[] = [
  row('traffic', 'delegated-iq', 'delegated IQ, 16 in flight', [5.21, 18.2, 480, 201]),
  row('traffic', 'delegated-iq-1', 'delegated IQ, 1 in flight', [62, 88.4, 690, 410]),
  row('traffic', 'message', 'message, 16 in flight', [1.5, 6, 212, 90]),
  row('traffic', 'message-1', 'message, 1 in flight', [31, 44, 260, undefined]),
  row('traffic', 'presence', 'presence to 9 contacts, 16 in flight', [4.1, 14.9, 402, 377]),
  row('traffic', 'delegated-iq-tls', 'delegated IQ, 16 in flight, TLS', [11.4, 29.9, 530, 240]),
  row('traffic', 'message-tls', 'message, 16 in flight, TLS', [4.4, 12.1, 260, 118]),
  row('login', 'login-plain', 'login, PLAIN, 16 at a time', [650, 720, 2270, 870]),
  row('login', 'login-scram', 'login, SCRAM, 16 at a time', [undefined, 1450, 4120, 2210]),
  row('login', 'login-tls-scram', 'login, SCRAM, TLS, 16 at a time', [2900, 4400, 10_230, 7740]),
  row('memory', 'idle', 'idle session', [8.8, 13.1, 26.4, 96], 'kB'),
  row('memory', 'idle-tls', 'idle session, TLS', [31, 44.2, 60.5, 171], 'kB'),
  ...growthRows('sessions, delegated IQ', 'sessions', [
    [10, [5.2, 18.2, 480, 201]],
    [1000, [5.3, 18.6, 492, 206]],
    [10_000, [5.5, 20.4, 540, 233]],
  ]),
  ...growthRows('sessions all active, message', 'sessions', [
    [10, [1.5, 6, 212, 90]],
    [1000, [1.7, 6.9, 220, 99]],
    [10_000, [2.1, 8.4, 268, 112]],
  ]),
  ...growthRows('delegated namespaces', 'namespaces', [
    [1, [5.2, 18.2, 480, 201]],
    [10, [5.2, 18.1, 495, 203]],
    [200, [5.2, 18.9, 1020, 260]],
  ]),
  ...growthRows('payload', 'bytes', [
    [200, [5.2, 18.2, 480, 201]],
    [2000, [6.6, 22, 720, 260]],
    [20_000, [19, 61, 3010, 900]],
    [200_000, [140, 420, 28_100, 7200]],
  ]),
  ...growthRows('pending requests', 'requests pending for each client', [
    [1, [5.2, 18.2, 480, 201]],
    [16, [5.2, 17.1, 470, 199]],
    [1000, [5.3, 19.5, undefined, 230]],
  ]),
  ...loadRows([62_000, 34_000, 2100, 6000], [0.07, 0.11, 0.9, 0.42]),
  {
    ...row('soak', 'soak', '10 million delegated IQs', [61, 98, undefined, undefined], 'MB'),
    details: [{ 'MB after a minute': 60 }, { 'MB after a minute': 96 }, {}, {}],
  },
]

/** What to make a document of. */
export interface SampleOptions {
  /** Names of the peers; all without. */
  peers?: readonly string[]
  rounds?: number
  samples?: readonly Sample[]
}

/** A document of some peers, scenarios and rounds. */
export function sampleDocument(options: SampleOptions = {}): BenchDocument {
  const { peers = PEERS.map(({ name }) => name), rounds = NOISE.length, samples = USUAL } = options
  const noise = rounds === 1 ? [1] : NOISE.slice(0, rounds)
  return {
    version: 1,
    environment: { date: '2026-01-02T03:04:05.678Z', node: 'v20.20.2', cpu: 'A Processor', pinned: true },
    settings: { sessions: 2000, warmUpSeconds: 3, rounds },
    peers: PEERS.filter(({ name }) => peers.includes(name)),
    scenarios: samples.map(({ entry }) => entry),
    cells: samples.flatMap(({ entry, costs, details }, row) =>
      PEERS.flatMap(({ name }, peer) => {
        const cost = costs[peer]
        if (cost === undefined || !peers.includes(name)) return []
        // Not the same noise for all, as it is not.
        const values = noise.map((_, round) => cost * noise[(round + row + peer) % noise.length]!)
        const own = details?.[peer] ?? { 'operations/s': 1e6 / cost, 'p50 ms': 0.3, 'p99 ms': 0.9 }
        return [
          { peer: name, scenario: entry.name, rounds: values.map((value) => ({ value, details: own })) },
        ]
      }),
    ),
  }
}
