// How the cost of an operation grows with what is around it: each series varies one thing.
import type { TrafficName } from '../load/traffic.ts'
import { type LoopShape, loopMeasure } from './closed-loop.ts'
import { type Scenario, type Setup, USUAL } from './scenario.ts'
import { IN_FLIGHT } from './traffic.ts'

const SESSIONS = [10, 1000, 10_000]
/** From 160 on, no client has more than one request in flight, and nothing can be gathered for it. */
const ACTIVE = [10, 160, 1000, 10_000]
const NAMESPACES = [1, 10, 200]
const PAYLOADS = [200, 2000, 20_000, 200_000]
/** There are many rows: shorter windows than elsewhere do. */
const WINDOW_SHARE = 0.6
/** From ten times this on, operations are so few in a window that it has to be longer. */
const USUAL_PAYLOAD = 2000
const PENDING = [1, 16, 1000]
const DELEGATED = { traffic: 'delegated-iq', senders: USUAL.clients } as const
const USUAL_LOAD = USUAL.clients * IN_FLIGHT

/** Dear operations warm up as many bytes as usual ones do, about, and some of them in any case. */
function payloadWarmUp(bytes: number): number {
  return Math.max(100, Math.min(2000, 2_000_000 / bytes))
}

interface Row {
  name: string
  series: NonNullable<Scenario['series']>
  title: string
  setup: Partial<Setup>
  shape: LoopShape
}

/** Ten clients make the load among so many sessions; the others are logged in and do nothing. */
const amongSessions = SESSIONS.flatMap((at) =>
  kinds((traffic, kind): Row => {
    return {
      name: `sessions-${at}${suffix(traffic)}`,
      series: { name: `sessions, ${kind}`, unit: 'sessions', at },
      title: `${kind}, 10 of ${text(at)} sessions active`,
      setup: { bystanders: at - USUAL.clients },
      shape: { traffic, senders: USUAL.clients, inFlight: USUAL_LOAD },
    }
  }),
)

/** The same load, but so many clients take turns in making it. */
const spreadOverSessions = ACTIVE.flatMap((at) =>
  kinds((traffic, kind): Row => {
    return {
      name: `active-${at}${suffix(traffic)}`,
      series: { name: `active sessions, ${kind}`, unit: 'sessions', at },
      title: `${kind}, spread over ${text(at)} sessions`,
      // So many contacts nobody has.
      setup: { clients: at, roster: at === USUAL.clients },
      shape: { traffic, senders: at, inFlight: USUAL_LOAD },
    }
  }),
)

const namespaces = NAMESPACES.map((at): Row => {
  return {
    name: `namespaces-${at}`,
    series: { name: 'delegated namespaces', unit: 'namespaces', at },
    title: `delegated IQ, ${at} ${at === 1 ? 'namespace' : 'namespaces'} delegated`,
    setup: { namespaces: at },
    shape: { ...DELEGATED, inFlight: USUAL_LOAD },
  }
})

const payloads = PAYLOADS.map((at): Row => {
  return {
    name: `payload-${at}`,
    series: { name: 'payload', unit: 'bytes', at },
    title: `delegated IQ, payload of ${at / 1000} kB`,
    setup: {},
    shape: {
      ...DELEGATED,
      inFlight: USUAL_LOAD,
      payloadBytes: at,
      warmUpOperations: payloadWarmUp(at),
      windowShare: at > USUAL_PAYLOAD * 10 ? 2 : WINDOW_SHARE,
    },
  }
})

const pending = PENDING.map((at): Row => {
  return {
    name: `pending-${at}`,
    series: { name: 'pending requests', unit: 'requests pending for each client', at },
    title: `delegated IQ, ${text(at)} pending for each client`,
    setup: {},
    shape: { ...DELEGATED, inFlight: USUAL.clients * at, warmUpOperations: USUAL.clients * at * 2 },
  }
})

/** All series; rows of one series stand together. */
export const GROWTH_SCENARIOS: readonly Scenario[] = [
  ...byKind(amongSessions),
  ...byKind(spreadOverSessions),
  ...namespaces,
  ...payloads,
  ...pending,
].map(({ name, series, title, setup, shape }): Scenario => {
  return {
    name,
    title,
    section: 'growth',
    unit: 'µs',
    series,
    usual: true,
    setup: { ...USUAL, ...setup },
    measure: loopMeasure({ windowShare: WINDOW_SHARE, ...shape }),
  }
})

function kinds<T>(make: (traffic: TrafficName, kind: string) => T): T[] {
  return [make('delegated-iq', 'delegated IQ'), make('message', 'message')]
}

function byKind(rows: readonly Row[]): Row[] {
  const delegated = rows.filter(({ shape }) => shape.traffic === 'delegated-iq')
  return [...delegated, ...rows.filter((row) => !delegated.includes(row))]
}

function suffix(traffic: TrafficName): string {
  return traffic === 'delegated-iq' ? '' : `-${traffic}`
}

function text(count: number): string {
  return count.toLocaleString('en')
}
