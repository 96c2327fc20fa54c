// Server CPU for each delegated IQ, message and presence, with much in flight and with one at a time.
import { PAGE_SIZE } from '../load/stanzas.ts'
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

const CONTACTS = 100
const ARCHIVED = 1000
/** Operations of many stanzas: fewer of them warm up as well. */
const WARM_UP_OPERATIONS = 50

/** Presence of one to as many contacts as many people have, and what clients ask for when they come: the last page. */
export const IM_SCENARIOS: readonly Scenario[] = [
  ...[IN_FLIGHT, 1].map(presenceToMany),
  ...[USUAL.clients, 1].map(mamPage),
]

function presenceToMany(inFlight: number): Scenario {
  return {
    name: `presence-${CONTACTS}${inFlight === 1 ? '-1' : ''}`,
    title: `presence to a roster of ${CONTACTS}, ${inFlight} in flight`,
    ...common(false),
    setup: { ...USUAL, clients: CONTACTS + 1, roster: 'first' },
    measure: loopMeasure({ traffic: 'presence', senders: 1, inFlight, warmUpOperations: WARM_UP_OPERATIONS }),
  }
}

function mamPage(inFlight: number): Scenario {
  return {
    name: `mam-page${inFlight === 1 ? '-1' : ''}`,
    title: `MAM page of ${PAGE_SIZE}, ${inFlight} in flight`,
    ...common(false),
    setup: { ...USUAL, roster: false, archived: ARCHIVED },
    measure: loopMeasure({
      traffic: 'mam-page',
      senders: inFlight,
      inFlight,
      archived: ARCHIVED,
      warmUpOperations: WARM_UP_OPERATIONS,
    }),
  }
}

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
