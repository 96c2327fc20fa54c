// Reply times by load: how long a delegated IQ takes, and how many a second there are, the more are in flight.
import { loopMeasure } from './closed-loop.ts'
import { type Scenario, USUAL } from './scenario.ts'

/** Requests in flight, of all clients together; from ten on, all clients take part. */
const STEPS = [1, 2, 5, 10, 20, 40, 80, 160, 320, 640]
const WINDOW_SHARE = 0.5

/** One row a step. */
export const REPLY_TIME_SCENARIOS: readonly Scenario[] = STEPS.map((inFlight) => {
  const senders = Math.min(inFlight, USUAL.clients)
  return {
    name: `load-${inFlight}`,
    title: `delegated IQ, ${inFlight} in flight in all`,
    section: 'load',
    unit: 'µs',
    series: { name: 'delegated IQ', unit: 'requests in flight', at: inFlight },
    usual: true,
    setup: USUAL,
    measure: loopMeasure({ traffic: 'delegated-iq', senders, inFlight, windowShare: WINDOW_SHARE }),
  }
})
