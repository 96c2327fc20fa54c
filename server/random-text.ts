/** Random text for ids that nobody can guess. */

import { randomFillSync } from 'node:crypto'

/** Filled at once: asking for a few random bytes at a time costs far more than the bytes. */
const pool = Buffer.allocUnsafeSlow(8192)
let next = pool.length

/**
 * Makes an id.
 *
 * @param bytes - how many random bytes are in it, 32 at most
 * @returns their Base64 in the alphabet for URLs, without padding
 */
export function randomText(bytes: number): string {
  if (next + bytes > pool.length) {
    randomFillSync(pool)
    next = 0
  }
  const start = next
  next += bytes
  return pool.toString('base64url', start, next)
}
