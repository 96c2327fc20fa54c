// What became of a reload of all workers, as one outcome.

import type { LoggedProblem, ReloadOutcome } from '../admin/answers.ts'
import type { ConfigProblem } from '../config/index.ts'

/** What a worker has answered; neither of both if it did not run, and reads the configuration when it starts. */
export interface WorkerOutcome {
  readonly worker: number
  readonly outcome?: ReloadOutcome
  /** Why there is none. */
  readonly failure?: string
}

/**
 * What all workers say is told once, and what only some do with their numbers.
 *
 * @param problems - of the configuration, which need not be told again
 */
export function workersOutcome(
  config: string | undefined,
  problems: readonly ConfigProblem[],
  workers: readonly WorkerOutcome[],
): ReloadOutcome {
  const answered = workers.flatMap(({ worker, outcome }) =>
    outcome === undefined ? [] : [{ worker, outcome }],
  )
  const failed = workers.flatMap(({ worker, failure }): ConfigProblem[] =>
    failure === undefined ? [] : [{ severity: 'error', message: `worker ${worker}: ${failure}` }],
  )
  const known = new Set(problems.map(ofProblem))
  const own = together(
    answered.map(({ worker, outcome }) => ({
      worker,
      told: outcome.problems.filter((problem) => !known.has(ofProblem(problem))),
    })),
    ofProblem,
    (problem, prefix): ConfigProblem => ({ ...problem, message: prefix + problem.message }),
  )
  const logged = together(
    answered.map(({ worker, outcome }) => ({ worker, told: outcome.logged })),
    ({ level, text }) => `${level} ${text}`,
    (problem, prefix): LoggedProblem => ({ ...problem, text: prefix + problem.text }),
  )
  return {
    taken: failed.length === 0 && answered.every(({ outcome }) => outcome.taken),
    config,
    hosts: Math.max(0, ...answered.map(({ outcome }) => outcome.hosts)),
    problems: [...problems, ...failed, ...own],
    nextStart: [...new Set(answered.flatMap(({ outcome }) => outcome.nextStart))],
    logged,
  }
}

function ofProblem({ severity, message, position }: ConfigProblem): string {
  return `${severity} ${position?.file ?? ''}:${position?.line ?? ''} ${message}`
}

/** What several tell, once; with the numbers of those who do where not all of them do. */
function together<T>(
  tellers: readonly { readonly worker: number; readonly told: readonly T[] }[],
  key: (one: T) => string,
  prefixed: (one: T, prefix: string) => T,
): T[] {
  const byKey = new Map<string, { one: T; workers: number[] }>()
  for (const { worker, told } of tellers) {
    for (const one of told) {
      const same = byKey.get(key(one))
      if (same === undefined) byKey.set(key(one), { one, workers: [worker] })
      else if (!same.workers.includes(worker)) same.workers.push(worker)
    }
  }
  return [...byKey.values()].map(({ one, workers }) => {
    if (workers.length === tellers.length) return one
    return prefixed(one, `worker${workers.length > 1 ? 's' : ''} ${workers.join(', ')}: `)
  })
}
