/** The mark of an account that an import is at: whose it is, and whether they are still at work. */

import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import type { ImportMark } from './stores.ts'

/** Minutes after which a mark that another machine has not renewed is one that was left behind. */
const OLD_MINUTES = 10
/** Milliseconds after which an import renews its mark. */
export const RENEWED_AFTER_MS = 60_000

/** The mark of this process. */
export function ownMark(): ImportMark {
  const begun = beginOf(process.pid)
  return {
    process: process.pid,
    machine: hostname(),
    when: Date.now(),
    ...(begun !== undefined && { begun }),
  }
}

/** Whether another process, whose mark this is, is still importing. */
export function isAtWork({ process: id, machine, begun, when }: ImportMark): boolean {
  // Nobody here can look for it.
  if (machine !== hostname()) return when !== undefined && Math.abs(Date.now() - when) < OLD_MINUTES * 60_000
  if (id === process.pid) return false
  try {
    process.kill(id, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  // The number may be another one's by now.
  const present = beginOf(id)
  return begun === undefined || present === undefined || begun === present
}

/** Another import works on the same storage; the message is for people. */
export class AtWork extends Error {
  constructor({ process, machine }: ImportMark) {
    super(
      machine === hostname()
        ? `another import is at work (process ${process}); wait for its end, or end it, and import again`
        : `another import is at work on ${machine} (process ${process}), or was within ${OLD_MINUTES} minutes; ` +
            'wait for its end, and import again',
    )
  }
}

/** When a process has begun, and in which run of the machine; undefined if the system does not tell as Linux does. */
function beginOf(id: number): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    const stat = readFileSync(`/proc/${id}/stat`, 'utf8')
    // proc(5): field 22; before it, in parentheses, is a name that may have anything in it, as field 2.
    const ticks = stat.slice(stat.lastIndexOf(') ') + 2).split(' ')[22 - 3]
    return ticks === undefined ? undefined : `${boot} ${ticks}`
  } catch {
    return undefined
  }
}
