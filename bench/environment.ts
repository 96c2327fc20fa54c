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

/** What is put before commands to bind them to a processor. */
export interface Launchers {
  server: readonly string[]
  load: readonly string[]
  /** Why nothing is bound; undefined when it is. */
  unpinned: string | undefined
}

/** Server on one processor, load on another, where there are two and `taskset` is there to say so. */
export function findLaunchers(): Launchers {
  const free = { server: [], load: [] }
  if (availableParallelism() < 2) return { ...free, unpinned: 'there is one processor only' }
  try {
    // Which processors this process may use: they need not begin with 0 in a container.
    const list = execFileSync('taskset', ['-cp', String(process.pid)], { encoding: 'utf8' })
    const allowed = processorsIn(list.slice(list.lastIndexOf(':') + 1))
    if (allowed.length < 2) return { ...free, unpinned: 'this process may use one processor only' }
    return {
      server: ['taskset', '-c', String(allowed[0])],
      load: ['taskset', '-c', String(allowed[1])],
      unpinned: undefined,
    }
  } catch {
    return { ...free, unpinned: 'taskset is missing (apt-get install util-linux)' }
  }
}

/** The numbers in a list like `0-3,8`. */
function processorsIn(list: string): number[] {
  return list.split(',').flatMap((range) => {
    const [first, last] = range.trim().split('-').map(Number)
    return Array.from({ length: (last ?? first!) - first! + 1 }, (_, index) => first! + index)
  })
}
