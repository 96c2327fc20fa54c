/** Keeping the part of the heap small in which new objects are made. */

import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/**
 * Bytes after which it grows no more. V8 lets it grow to two and three times 16 MB, for throughput: a server of many
 * idle sessions would spend as much on it as on thousands of them, and a busy one gains a few per cent.
 */
const LARGE_ENOUGH = 8 << 20
const LOOK_AGAIN_MS = 100

/** From when it is large enough, it stays as it is. */
export function limitYoungGeneration(): void {
  const look = setInterval(() => {
    const space = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')
    // A Node that calls it otherwise has other rules.
    if (space !== undefined && space.space_size < LARGE_ENOUGH) return
    clearInterval(look)
    // V8 reads this one whenever it might grow; the limit itself is read once, before any program runs.
    if (space !== undefined) setFlagsFromString('--semi-space-growth-factor=1')
  }, LOOK_AGAIN_MS)
  look.unref()
}
