// What all scenarios with a closed loop of stanzas have in common.
import type { TrafficName } from '../load/traffic.ts'
import type { WindowPlan, WindowResult } from '../load/window.ts'
import { DETAIL } from '../output/document.ts'
import type { RunningPeer } from '../peers/peer.ts'
import type { Measurement, RunSettings, Scenario } from './scenario.ts'

/** How a scenario loads the server. */
export interface LoopShape {
  traffic: TrafficName
  /** The first so many clients send. */
  senders: number
  /** Operations in flight, of all clients together. */
  inFlight: number
  /** Bytes of the payload of a delegated request's answer. 0, or left out: the usual one, of some 300. */
  payloadBytes?: number
  /** Messages in each client's archive, where pages are asked for. */
  archived?: number
  /** Share of the usual window's CPU seconds; 1 if left out. */
  windowShare?: number
  /** Operations that warm up at least, where they are dear. */
  warmUpOperations?: number
}

/** Compilers and caches are warm after so many operations, even if the warm-up's seconds are over sooner. */
const WARM_UP_OPERATIONS = 2000
/** A server that has had the same traffic already needs this share of the warm-up. */
const REPEATED_SHARE = 0.25

/** What servers have been warmed up with. */
const warmed = new WeakMap<RunningPeer, Set<string>>()

/** How long to warm up and to measure. @param kind of traffic: of one kind, the first warms up for longer */
export function windowPlan(
  server: RunningPeer,
  settings: RunSettings,
  kind: string,
  windowShare = 1,
): WindowPlan {
  const kinds = warmed.get(server) ?? new Set()
  warmed.set(server, kinds)
  const share = kinds.has(kind) ? REPEATED_SHARE : 1
  kinds.add(kind)
  return {
    pids: server.cluster?.parts.map(({ pid }) => pid) ?? [server.pid],
    warmUpCpuSeconds: settings.warmUpCpuSeconds * share,
    warmUpOperations: 0,
    windowCpuSeconds: settings.windowCpuSeconds * windowShare,
    windowOperations: settings.operations,
  }
}

/** Measures server CPU for each operation in a loop, in µs. */
export function loopMeasure(shape: LoopShape): Scenario['measure'] {
  return async (server, load, settings) => {
    const { traffic, senders, inFlight, payloadBytes = 0, archived, windowShare } = shape
    const plan = windowPlan(server, settings, traffic, windowShare)
    // Every client has had a turn. Where operations are counted, few are enough.
    const least = Math.max(shape.warmUpOperations ?? WARM_UP_OPERATIONS, senders)
    plan.warmUpOperations = Math.min(least, settings.operations ?? least)
    const loop = { ...plan, traffic, senders, inFlight, payloadBytes }
    return measurementOf(await load.ask('loop', archived === undefined ? loop : { ...loop, archived }))
  }
}

/** A window's result as the table shows it: µs of server CPU for each operation. */
export function measurementOf(result: WindowResult): Measurement {
  const { operations, wallSeconds, serverCpuSeconds, loadCpuSeconds, p50, p99 } = result
  return {
    value: (serverCpuSeconds / operations) * 1e6,
    details: {
      operations,
      [DETAIL.rate]: operations / wallSeconds,
      [DETAIL.p50]: p50,
      [DETAIL.p99]: p99,
      'server CPU s': serverCpuSeconds,
      [DETAIL.serverShare]: (serverCpuSeconds / wallSeconds) * 100,
      [DETAIL.loadShare]: (loadCpuSeconds / wallSeconds) * 100,
    },
  }
}
