// The measured window: warm-up first, then the window at both ends of which the server's CPU time is read, then
// what is still in flight.
import { cpuSeconds, machineCpuSeconds } from '../process-figures.ts'
import { Latencies } from './latency.ts'

/** How long to measure. */
export interface WindowPlan {
  /** The processes of the server, whose CPU time is read, and counts together. */
  pids: readonly number[]
  /** Other processes whose CPU time is to be told. */
  beside?: readonly number[]
  /** Seconds of server CPU before the window, and how many operations must be complete by then at least. */
  warmUpCpuSeconds: number
  warmUpOperations: number
  /** The window lasts until the server has used so many seconds of CPU … */
  windowCpuSeconds: number
  /** … or, if given, until so many operations are complete. */
  windowOperations?: number
}

/** What one window gave. */
export interface WindowResult {
  operations: number
  /** Seconds of the window. */
  wallSeconds: number
  /** Seconds of CPU in the window, of all of the server's processes together. */
  serverCpuSeconds: number
  loadCpuSeconds: number
  /** The same of everything that runs on the machine, and what its host has taken from it. */
  machineCpuSeconds: number
  /** The same as of the server of each of its processes, and then of each of those beside it. */
  partCpuSeconds: number[]
  /** Milliseconds from sending to completion. */
  p50: number
  p99: number
}

const CHECK_MS = 20
const STALLED_MS = 20_000
/** A window of CPU seconds ends then in any case: a server that hardly uses CPU is not what is measured here. */
const WINDOW_LIMIT_MS = 120_000
/** So does a warm-up, after so long for each second of CPU. */
const WARM_UP_LIMIT_MS = 5000

/** Counts the operations of a warm-up and a window. */
export class Window {
  phase: 'warm-up' | 'window' | 'drain' = 'warm-up'
  result: WindowResult | undefined
  private readonly plan: WindowPlan
  private readonly latencies = new Latencies()
  private readonly timer: NodeJS.Timeout
  private readonly onStandstill: (error: Error) => void
  private readonly onMark: () => void
  private completed = 0
  private start: { at: number; completed: number; cpu: number[]; machine: number; load: NodeJS.CpuUsage }
  private last = { completed: -1, at: performance.now() }

  /**
   * Begins.
   * @param onStandstill told when no operation completes for long
   * @param onMark called at both ends of the window
   */
  constructor(plan: WindowPlan, onStandstill: (error: Error) => void, onMark: () => void = () => {}) {
    this.plan = plan
    this.onStandstill = onStandstill
    this.onMark = onMark
    this.start = this.mark(performance.now())
    this.timer = setInterval(() => this.check(), CHECK_MS)
  }

  /** Counts an operation that is complete; another one is to begin unless the phase is `drain`. */
  count(sentAt: number, now: number): void {
    this.completed++
    if (this.phase !== 'window') return
    this.latencies.add(now - sentAt)
    const { windowOperations } = this.plan
    if (windowOperations !== undefined && this.completed - this.start.completed >= windowOperations) {
      this.end(now)
    }
  }

  /** No further checks. */
  close(): void {
    clearInterval(this.timer)
  }

  private check(): void {
    const now = performance.now()
    const { completed, start, plan } = this
    if (completed !== this.last.completed) {
      this.last = { completed, at: now }
    } else if (now - this.last.at > STALLED_MS) {
      this.onStandstill(new Error('standstill: answers are missing'))
      return
    }
    try {
      if (this.phase === 'warm-up') {
        if (completed < plan.warmUpOperations) return
        const warm = this.used() >= plan.warmUpCpuSeconds
        if (warm || now - start.at > plan.warmUpCpuSeconds * WARM_UP_LIMIT_MS) this.begin(now)
      } else if (this.phase === 'window' && plan.windowOperations === undefined) {
        const enough = this.used() >= plan.windowCpuSeconds
        if (enough || now - start.at > WINDOW_LIMIT_MS) this.end(now)
      }
    } catch (error) {
      // The server's process is gone.
      this.onStandstill(error instanceof Error ? error : new Error(String(error)))
    }
  }

  /** Seconds of server CPU since the warm-up's or the window's beginning. */
  private used(): number {
    return sum(this.partsUsed(this.plan.pids))
  }

  /** The same of each of these, the first of which are the server's. */
  private partsUsed(pids: readonly number[]): number[] {
    return pids.map((pid, index) => cpuSeconds(pid) - this.start.cpu[index]!)
  }

  private begin(now: number): void {
    this.phase = 'window'
    this.start = this.mark(now)
    this.onMark()
  }

  private mark(now: number) {
    const cpu = this.allPids().map(cpuSeconds)
    return { at: now, completed: this.completed, cpu, machine: machineCpuSeconds(), load: process.cpuUsage() }
  }

  private allPids(): number[] {
    return [...this.plan.pids, ...(this.plan.beside ?? [])]
  }

  private end(now: number): void {
    this.phase = 'drain'
    this.onMark()
    const parts = this.partsUsed(this.allPids())
    const load = process.cpuUsage(this.start.load)
    this.result = {
      operations: this.completed - this.start.completed,
      wallSeconds: (now - this.start.at) / 1000,
      serverCpuSeconds: sum(parts.slice(0, this.plan.pids.length)),
      loadCpuSeconds: (load.user + load.system) / 1e6,
      machineCpuSeconds: machineCpuSeconds() - this.start.machine,
      partCpuSeconds: parts,
      p50: this.latencies.quantile(0.5),
      p99: this.latencies.quantile(0.99),
    }
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
