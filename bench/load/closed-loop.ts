// The closed loop: every client keeps a fixed number of operations in flight, and each one that completes
// starts the next. The server's CPU time is read at both ends of the measured window.
import { cpuSeconds } from '../process-figures.ts'
import type { Client } from './client.ts'
import { Latencies } from './latency.ts'
import { clientOfId, slotId, slotOfId, slotPrefix } from './stanzas.ts'
import { TRAFFIC, type TrafficName } from './traffic.ts'

/** How to measure. */
export interface LoopPlan {
  traffic: TrafficName
  /** The server, whose CPU time is read. */
  pid: number
  /** Operations in flight for each client. */
  inFlight: number
  /** Seconds before the window, and how many operations they must have completed at least. */
  warmUpSeconds: number
  warmUpOperations: number
  /** The window lasts until the server has used so many seconds of CPU … */
  windowCpuSeconds: number
  /** … or, if given, until so many operations are complete. */
  windowOperations?: number
}

/** What one window gave. */
export interface LoopResult {
  operations: number
  /** Seconds of the window. */
  wallSeconds: number
  /** Seconds of CPU in the window. */
  serverCpuSeconds: number
  loadCpuSeconds: number
  /** Milliseconds from sending to completion. */
  p50: number
  p99: number
}

interface Slot {
  prefix: string
  sequence: number
  /** The id that is awaited. */
  id: string
  sentAt: number
}

const CHECK_MS = 20
const STALLED_MS = 15_000
/** A window ends then in any case: a server that hardly uses CPU is not what is measured here. */
const WINDOW_LIMIT_MS = 120_000

/**
 * Runs one warm-up and one window over clients that are logged in.
 * @throws Error on a wrong answer, an answer to nothing, an error, a broken connection or a standstill
 */
export function runClosedLoop(clients: readonly Client[], plan: LoopPlan): Promise<LoopResult> {
  const traffic = TRAFFIC[plan.traffic]
  const jids = clients.map((client) => client.jid)
  const slots = clients.map((_, client) =>
    Array.from({ length: plan.inFlight }, (_, slot): Slot => {
      return { prefix: slotPrefix(client, slot), sequence: 0, id: '', sentAt: 0 }
    }),
  )

  return new Promise((resolve, reject) => {
    let phase: 'warm-up' | 'window' | 'drain' = 'warm-up'
    let completed = 0
    let pending = 0
    let latencies = new Latencies()
    let start = { at: performance.now(), completed: 0, cpu: 0, load: process.cpuUsage() }
    let result: LoopResult | undefined
    let last = { completed: -1, at: performance.now() }

    const begin = (client: number, slot: Slot, now: number) => {
      slot.id = slotId(slot.prefix, slot.sequence++)
      slot.sentAt = now
      pending++
      clients[client]!.connection.send(traffic.compose(jids, client, slot.id))
    }

    const complete = (id: string, now: number) => {
      const client = clientOfId(id)
      const slot = slots[client]?.[slotOfId(id)]
      if (slot === undefined || slot.id !== id) throw new Error(`an answer to nothing that was asked: ${id}`)
      slot.id = ''
      pending--
      completed++
      if (phase === 'window') latencies.add(now - slot.sentAt)
      if (phase !== 'drain') begin(client, slot, now)
      else if (pending === 0) finish()
      if (phase === 'window' && plan.windowOperations !== undefined) {
        if (completed - start.completed >= plan.windowOperations) endWindow(now)
      }
    }

    const beginWindow = (now: number) => {
      phase = 'window'
      latencies = new Latencies()
      start = { at: now, completed, cpu: cpuSeconds(plan.pid), load: process.cpuUsage() }
    }

    const endWindow = (now: number) => {
      phase = 'drain'
      const load = process.cpuUsage(start.load)
      result = {
        operations: completed - start.completed,
        wallSeconds: (now - start.at) / 1000,
        serverCpuSeconds: cpuSeconds(plan.pid) - start.cpu,
        loadCpuSeconds: (load.user + load.system) / 1e6,
        p50: latencies.quantile(0.5),
        p99: latencies.quantile(0.99),
      }
    }

    const check = () => {
      const now = performance.now()
      if (completed !== last.completed) last = { completed, at: now }
      else if (now - last.at > STALLED_MS)
        return fail(new Error(`standstill: ${pending} answers are missing`))
      try {
        if (phase === 'warm-up') {
          const warm = now - start.at >= plan.warmUpSeconds * 1000 && completed >= plan.warmUpOperations
          if (warm) beginWindow(now)
        } else if (phase === 'window') {
          const enough = cpuSeconds(plan.pid) - start.cpu >= plan.windowCpuSeconds
          if (now - start.at > WINDOW_LIMIT_MS) endWindow(now)
          else if (enough && plan.windowOperations === undefined) endWindow(now)
        }
      } catch (error) {
        fail(error instanceof Error ? error : new Error(String(error)))
      }
    }

    const timer = setInterval(check, CHECK_MS)
    const release = () => {
      clearInterval(timer)
      for (const { connection } of clients) {
        connection.onFailure = () => {}
        connection.listen(() => {})
      }
    }
    const fail = (error: Error) => {
      release()
      reject(error)
    }
    const finish = () => {
      release()
      resolve(result!)
    }

    for (const { connection } of clients) {
      connection.onFailure = fail
      connection.listen((text, from, to) => {
        const id = traffic.completes(text, from, to)
        if (id !== undefined) complete(id, performance.now())
      })
    }
    const now = performance.now()
    slots.forEach((own, client) => {
      for (const slot of own) begin(client, slot, now)
    })
  })
}
