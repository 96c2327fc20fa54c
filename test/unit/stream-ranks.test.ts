/** What priorities a session has had, and since when. */

import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { NO_RANKS, priorityDuring, type Rank, rankedAnew } from '../../server/stream/ranks.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'] })
})

afterEach(() => {
  vi.useRealTimers()
})

/** Ranks that begin at some times. */
function ranksOf(...all: [since: number, priority: number | undefined][]): readonly Rank[] {
  let ranks = NO_RANKS
  for (const [since, priority] of all) {
    vi.setSystemTime(since)
    ranks = rankedAnew(ranks, priority)
  }
  return ranks
}

it('knows the priority that was the same all the time', () => {
  const ranks = ranksOf([1000, 5], [2000, 5], [3000, -1], [4000, undefined], [5000, 0])
  for (const [from, until, priority] of [
    [999, 1500, undefined],
    [1000, 1000, 5],
    [1000, 2999, 5],
    [1500, 3000, undefined],
    [3000, 3999, -1],
    [4000, 4500, undefined],
    [4500, 5500, undefined],
    [5000, 9000, 0],
    [0, 500, undefined],
  ] as const)
    expect([from, until, priorityDuring(ranks, from, until)]).toEqual([from, until, priority])
  expect(priorityDuring(NO_RANKS, 0, 9000)).toBeUndefined()
})

it('forgets what was long ago, and keeps nothing where nothing changes', () => {
  const many = ranksOf(...Array.from({ length: 20 }, (_, i): [number, number] => [i * 100, i % 2]))
  expect(many).toHaveLength(8)
  expect(priorityDuring(many, 1900, 1950)).toBe(1)
  expect(priorityDuring(many, 1200, 1250)).toBe(0)
  expect(priorityDuring(many, 1100, 1150)).toBeUndefined()
  expect(rankedAnew(many, 1)).toBe(many)
})
