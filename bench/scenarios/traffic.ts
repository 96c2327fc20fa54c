// Server CPU for each delegated IQ, message and presence, with much in flight and with one at a time.
import type { TrafficName } from '../load/traffic.ts'
import { loopMeasure } from './closed-loop.ts'
import { type Scenario, USUAL } from './scenario.ts'

/** Operations in flight for each of the ten clients. */
export const IN_FLIGHT = 16

const KINDS: readonly { traffic: TrafficName; title: string }[] = [
  { traffic: 'delegated-iq', title: 'delegated IQ' },
  { traffic: 'message', title: 'message' },
  { traffic: 'presence', title: 'presence to 9 contacts' },
]

/** Each kind, over TCP and TLS, with 16 in flight for each client, and with one for all of them. */
export const TRAFFIC_SCENARIOS: readonly Scenario[] = [false, true].flatMap((tls) =>
  KINDS.flatMap(({ traffic, title }) => [many(traffic, title, tls), lone(traffic, title, tls)]),
)

function many(traffic: TrafficName, title: string, tls: boolean): Scenario {
  const { clients } = USUAL
  return {
    name: `${traffic}${tls ? '-tls' : ''}`,
    title: `${title}, ${IN_FLIGHT} in flight${tls ? ', TLS' : ''}`,
    ...common(tls),
    measure: loopMeasure({ traffic, senders: clients, inFlight: clients * IN_FLIGHT }),
  }
}

/** What a stanza costs that comes alone: nothing can be gathered. */
function lone(traffic: TrafficName, title: string, tls: boolean): Scenario {
  return {
    name: `${traffic}${tls ? '-tls' : ''}-1`,
    title: `${title}, 1 in flight${tls ? ', TLS' : ''}`,
    ...common(tls),
    measure: loopMeasure({ traffic, senders: 1, inFlight: 1 }),
  }
}

function common(tls: boolean) {
  return {
    section: 'traffic',
    unit: 'µs',
    usual: true,
    setup: { ...USUAL, tls },
  } as const
}
