/** What has become of delegated requests, in numbers: by host and namespace. */

import type { ManagerConnection } from './manager.ts'
import type { Delegation } from './table.ts'

/** How requests of a namespace have ended. */
export interface DelegationCounts {
  forwarded: number
  answered: number
  /** Answers that failed F4. */
  refused: number
  /** Errors of the wrapper (F6). */
  failed: number
  timedOut: number
  /** There was no manager, or it left (F7). */
  unavailable: number
}

/** The numbers of one namespace of one host. */
export interface DelegationMetrics {
  host: string
  namespace: string
  /** JID of the managing entity. */
  manager: string
  /** How many connections it has now; of an account, sessions that may be asked. */
  connections: number
  /** Since when there is one without a break: the oldest of those that live, in seconds since the epoch. */
  connectedSince: number | undefined
  /** Requests that wait for an answer now. */
  pending: number
  forwarded: number
  answered: number
  /** Errors of the wrapper (F6). */
  failed: number
  /** Replies that were not taken, by the rule that they broke: `F4-id`, `F8-sender`. */
  refused: Record<string, number>
  timedOut: number
  /** Requests without a manager, or whose manager left (F7). */
  unavailable: number
  /** Milliseconds between a request and the manager's reply, since the host was loaded; to some 5 per cent. */
  replyMs: { median: number | undefined; p99: number | undefined }
  /** How often a reply took so many milliseconds: what several processes have counted can be added up. */
  replyTimes: [milliseconds: number, count: number][]
}

/** Buckets between a time and its double. */
const STEPS = 8
/** Milliseconds: what is faster lands in the first bucket. */
const SHORTEST = 0.01
/** The last one is for everything beyond three hours. */
const BUCKETS = 30 * STEPS

/** Times in buckets that grow with them: adding costs nothing that is kept. */
export class ReplyTimes {
  private readonly buckets = new Float64Array(BUCKETS)
  private total = 0

  /** @param milliseconds - 0 or more */
  add(milliseconds: number): void {
    const bucket = milliseconds > SHORTEST ? Math.floor(Math.log2(milliseconds / SHORTEST) * STEPS) : 0
    this.buckets[Math.min(bucket, BUCKETS - 1)]!++
    this.total++
  }

  /**
   * @param share - 0.5 for the median
   * @returns milliseconds, the middle of the bucket; undefined if there were none
   */
  quantile(share: number): number | undefined {
    if (this.total === 0) return undefined
    let left = Math.max(1, Math.ceil(this.total * share))
    let bucket = 0
    while (bucket < BUCKETS - 1) {
      left -= this.buckets[bucket]!
      if (left <= 0) break
      bucket++
    }
    return middleOf(bucket)
  }

  /** Those that were added: the middle of a bucket, in milliseconds, and how many there are in it. */
  counts(): [milliseconds: number, count: number][] {
    const counts: [number, number][] = []
    for (const [bucket, count] of this.buckets.entries())
      if (count > 0) counts.push([middleOf(bucket), count])
    return counts
  }
}

function middleOf(bucket: number): number {
  return Number((SHORTEST * 2 ** ((bucket + 0.5) / STEPS)).toPrecision(3))
}

let turn: number | undefined
function turnOver(): void {
  turn = undefined
}

/**
 * Milliseconds, by the clock of `performance`, when the work of this turn of the event loop began: the clock is
 * not asked for each of many requests. What is sent goes out when a turn ends, so no reply comes in the same.
 */
export function turnTime(): number {
  if (turn === undefined) {
    turn = performance.now()
    setImmediate(turnOver)
  }
  return turn
}

/** What is counted of one namespace. */
export class NamespaceMetrics {
  readonly counts: DelegationCounts = {
    forwarded: 0,
    answered: 0,
    refused: 0,
    failed: 0,
    timedOut: 0,
    unavailable: 0,
  }
  readonly replyTimes = new ReplyTimes()
  pending = 0
  /** By rule. */
  private readonly refusals = new Map<string, number>()

  refused(rule: string): void {
    this.refusals.set(rule, (this.refusals.get(rule) ?? 0) + 1)
  }

  get refusedByRule(): Record<string, number> {
    return Object.fromEntries(this.refusals)
  }
}

/** What the hosts of a server report, each for its namespaces. */
export type MetricsReport = () => DelegationMetrics[]

/**
 * Adds a host's numbers to the shared table `metrics`, as a part of its entry `delegation`.
 *
 * @param providers - the shared table
 * @param reports - of all hosts
 * @returns takes them out again; with the last host's the entry goes
 */
export function provideMetrics(
  providers: Map<string, () => unknown>,
  reports: Set<MetricsReport>,
  report: MetricsReport,
): () => void {
  reports.add(report)
  providers.set('delegation', () => [...reports].flatMap((of) => of()))
  return () => {
    reports.delete(report)
    if (reports.size === 0) providers.delete('delegation')
  }
}

/** The numbers of a delegation as others read them. @param connections - of its manager */
export function metricsRow(
  host: string,
  { namespace, jid }: Delegation,
  connections: readonly ManagerConnection[],
  metrics: NamespaceMetrics,
): DelegationMetrics {
  const { counts, replyTimes, pending } = metrics
  const { forwarded, answered, failed, timedOut, unavailable } = counts
  return {
    host,
    namespace,
    manager: jid,
    connections: connections.length,
    connectedSince: connections.length === 0 ? undefined : Math.min(...connections.map(sinceOf)),
    pending,
    forwarded,
    answered,
    failed,
    refused: metrics.refusedByRule,
    timedOut,
    unavailable,
    replyMs: { median: replyTimes.quantile(0.5), p99: replyTimes.quantile(0.99) },
    replyTimes: replyTimes.counts(),
  }
}

/** Unix time in seconds since when a manager is connected. */
function sinceOf({ session }: ManagerConnection): number {
  return session.since
}
