/** Keeping the part of the heap small in which new objects are made. */

import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/**
 * Bytes after which it grows no more: both halves of it, of 4 MB each. V8 lets it grow to several times as much, for
 * throughput: but what the processor's cache holds is quicker than what it does not, and a server of many idle
 * sessions would spend as much on it as on thousands of them.
 */
const LARGE_ENOUGH = 8_000_000
const LOOK_AGAIN_MS = 100

/**
 * From when it is large enough, it stays as it is; when V8 has made it smaller, which it does when it looks through
 * all of the heap, it may grow again.
 */
export function limitYoungGeneration(): void {
  // V8 reads this flag whenever it might grow. The limit itself is read once, before any program runs.
  let factor = 1
  setFlagsFromString('--semi-space-growth-factor=1')
  // To look through so little takes a millisecond, and to have several threads do it costs more than it saves.
  setFlagsFromString('--no-parallel-scavenge')
  const look = setInterval(() => {
    const space = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')
    // A Node that calls it otherwise has other rules.
    const wanted = space !== undefined && space.space_size < LARGE_ENOUGH ? 2 : 1
    if (wanted === factor) return
    factor = wanted
    setFlagsFromString(`--semi-space-growth-factor=${factor}`)
  }, LOOK_AGAIN_MS)
  look.unref()
}
