/** Work as a user whom permissions hold for: root is let through everywhere. */

import { chownSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** Debian's and others' `nobody`. */
const NOBODY = 65534

function giveAway(path: string): void {
  chownSync(path, NOBODY, NOBODY)
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const inner = join(path, entry.name)
    if (entry.isDirectory()) giveAway(inner)
    else chownSync(inner, NOBODY, NOBODY)
  }
}

/**
 * Does something without root's rights, if this process has them; a folder and what is in it are given to the
 * user who does it.
 */
export async function unprivileged<T>(folder: string, work: () => T | Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0) return work()
  giveAway(folder)
  process.seteuid?.(NOBODY)
  try {
    return await work()
  } finally {
    process.seteuid?.(0)
  }
}
