// Where the numbers come from, and how processes are kept apart on it.
import { execFileSync } from 'node:child_process'
import { availableParallelism, cpus, release, totalmem } from 'node:os'

/** What belongs to the numbers. */
export interface Environment {
  date: string
  node: string
  cpu: string
  processors: number
  memoryMegabytes: number
  kernel: string
  /** Whether server and load were bound to a processor each. */
  pinned: boolean
}

/** Describes this machine. */
export function describeEnvironment(pinned: boolean): Environment {
  return {
    date: new Date().toISOString(),
    node: process.version,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    processors: availableParallelism(),
    memoryMegabytes: Math.round(totalmem() / (1 << 20)),
    kernel: release(),
    pinned,
  }
}

/** What is put before commands to bind them to processors. */
export interface Launchers {
  server: readonly string[]
  load: readonly string[]
  /** What a server of several processes has beside it. */
  redis: readonly string[]
  /** For servers that may have two processors. */
  two: { server: readonly string[]; load: readonly string[]; redis: readonly string[] }
  /** Why nothing is bound; undefined when it is. */
  unpinned: string | undefined
}

/** Server on one processor, load on another, where there are two and `taskset` is there to say so. */
export function findLaunchers(): Launchers {
  if (availableParallelism() < 2) return unbound('there is one processor only')
  try {
    // Which processors this process may use: they need not begin with 0 in a container.
    const list = execFileSync('taskset', ['-cp', String(process.pid)], { encoding: 'utf8' })
    return launchersOn(processorsIn(list.slice(list.lastIndexOf(':') + 1)))
  } catch {
    return unbound('taskset is missing (apt-get install util-linux)')
  }
}

/**
 * Redis is with the load where there are two processors. A server of two has some that nobody else has only where there
 * are four, or three with Redis and the load on one; on two, all share both, and the system decides.
 */
export function launchersOn(processors: readonly number[]): Launchers {
  const [first, second, third, fourth] = processors
  if (second === undefined) return unbound('this process may use one processor only')
  const on = (...some: number[]) => ['taskset', '-c', some.join()]
  return {
    server: on(first!),
    load: on(second),
    redis: on(third ?? second),
    two:
      third === undefined
        ? FREE
        : { server: on(first!, second), load: on(third), redis: on(fourth ?? third) },
    unpinned: undefined,
  }
}

const FREE = { server: [], load: [], redis: [] } as const

function unbound(unpinned: string): Launchers {
  return { ...FREE, two: FREE, unpinned }
}

/** The numbers in a list like `0-3,8`. */
function processorsIn(list: string): number[] {
  return list.split(',').flatMap((range) => {
    const [first, last] = range.trim().split('-').map(Number)
    return Array.from({ length: (last ?? first!) - first! + 1 }, (_, index) => first! + index)
  })
}
