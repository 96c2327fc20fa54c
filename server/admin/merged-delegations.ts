/** The figures of delegation of several processes as those of one server. */

import type { CountedDelegation, DelegationFigures } from './answers.ts'

/** How often a reply took so many milliseconds. */
type ReplyTimes = readonly (readonly [number, number])[]

/**
 * Adds up what each process has counted. Connections are not added: every process knows the managers of all.
 *
 * @param all - of each process
 */
export function mergedDelegations(all: readonly (readonly CountedDelegation[])[]): DelegationFigures[] {
  const groups = new Map<string, CountedDelegation[]>()
  for (const figures of all.flat()) {
    const key = `${figures.host} ${figures.namespace}`
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [figures])
    else group.push(figures)
  }
  return [...groups.values()].map(merged)
}

function merged(group: CountedDelegation[]): DelegationFigures {
  const { host, namespace, manager } = group[0]!
  const sum = (of: (figures: CountedDelegation) => number): number =>
    group.reduce((total, figures) => total + of(figures), 0)
  const since = group.flatMap(({ connectedSince }) => connectedSince ?? [])
  const refused: Record<string, number> = {}
  for (const figures of group) {
    for (const [rule, count] of Object.entries(figures.refused)) refused[rule] = (refused[rule] ?? 0) + count
  }
  return {
    host,
    namespace,
    manager,
    connections: Math.max(...group.map(({ connections }) => connections)),
    connectedSince: since.length === 0 ? undefined : Math.min(...since),
    pending: sum(({ pending }) => pending),
    forwarded: sum(({ forwarded }) => forwarded),
    answered: sum(({ answered }) => answered),
    failed: sum(({ failed }) => failed),
    refused,
    timedOut: sum(({ timedOut }) => timedOut),
    unavailable: sum(({ unavailable }) => unavailable),
    replyMs: mergedTimes(group),
  }
}

/** Quantiles can not be added up: they are those of all replies together. */
function mergedTimes(group: readonly CountedDelegation[]): DelegationFigures['replyMs'] {
  const measured = group.filter(({ replyMs }) => replyMs.median !== undefined)
  if (measured.length === 0) return {}
  if (measured.length === 1) return measured[0]!.replyMs
  const counted = measured.flatMap(({ replyTimes }) => (replyTimes === undefined ? [] : [replyTimes]))
  // Without all of the counts nobody knows.
  if (counted.length < measured.length) return {}
  const times = counted.flat().sort(([one], [other]) => one - other)
  return { median: quantile(times, 0.5), p99: quantile(times, 0.99) }
}

function quantile(times: ReplyTimes, share: number): number | undefined {
  const total = times.reduce((sum, [, count]) => sum + count, 0)
  let left = Math.max(1, Math.ceil(total * share))
  for (const [milliseconds, count] of times) {
    left -= count
    if (left <= 0) return milliseconds
  }
  return undefined
}
