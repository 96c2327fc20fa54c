// Server CPU for each delegated IQ, and for each message, in a closed loop.
import type { TrafficName } from '../load/traffic.ts'
import type { Scenario } from './scenario.ts'

/** Client → server → component → server → client. */
export const delegatedIq = trafficScenario('delegated-iq', 'delegated IQ (4 hops)')

/** Client → server → client. */
export const message = trafficScenario('message', 'message (2 hops)')

/** Compilers and caches are warm after so many operations, even if the warm-up's seconds are over sooner. */
const WARM_UP_OPERATIONS = 2000

function trafficScenario(name: TrafficName, title: string): Scenario {
  return {
    name,
    title,
    unit: 'µs',
    freshServer: false,
    async measure(server, load, settings) {
      const result = await load.ask('loop', {
        traffic: name,
        pid: server.pid,
        inFlight: settings.inFlight,
        warmUpSeconds: settings.warmUpSeconds,
        warmUpOperations: WARM_UP_OPERATIONS,
        windowCpuSeconds: settings.windowCpuSeconds,
        windowOperations: settings.operations,
      })
      return {
        value: (result.serverCpuSeconds / result.operations) * 1e6,
        details: {
          operations: result.operations,
          'operations/s': result.operations / result.wallSeconds,
          'p50 ms': result.p50,
          'p99 ms': result.p99,
          'server CPU s': result.serverCpuSeconds,
          'server CPU %': (result.serverCpuSeconds / result.wallSeconds) * 100,
          'load CPU %': (result.loadCpuSeconds / result.wallSeconds) * 100,
        },
      }
    },
  }
}
