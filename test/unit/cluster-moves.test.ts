/** What is held back while an account moves between processes, and for how long. */

import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { Bus } from '../../server/cluster/bus.ts'
import type { Calls } from '../../server/cluster/calls.ts'
import type { Directory } from '../../server/cluster/directory.ts'
import { Moves } from '../../server/cluster/moves.ts'
import { silentLogger } from '../../server/log.ts'

const JID = 'juliet@capulet.lit'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Moves of a process whose questions are answered when the test says so. */
function moves() {
  const asked: { name: string; member: string; answer: () => void }[] = []
  const calls = {
    on: () => () => {},
    ask: ([member]: string[], name: string) =>
      new Promise<void>((resolve) => {
        asked.push({ name, member: member!, answer: () => resolve() })
      }),
  }
  const bus = { settled: () => 0 }
  const directory = { resourcesOf: () => [] }
  const made = new Moves(
    bus as unknown as Bus,
    calls as unknown as Calls,
    directory as unknown as Directory,
    silentLogger,
  )
  const answer = async () => {
    for (const question of asked.splice(0)) question.answer()
    await vi.advanceTimersByTimeAsync(0)
  }
  return { made, asked, answer, names: () => asked.map(({ name, member }) => `${name} ${member}`) }
}

it('asks a process once for all that was sent to it, however often the account changes', async () => {
  const { made, names, answer } = moves()
  for (let time = 0; time < 100; time++) made.follows(JID, 'B', 7)
  expect(names()).toEqual(['cluster/moved B', 'cluster/moved-copies B'])
  made.follows(JID, 'C', 3)
  made.follows(JID, 'B', 8)
  expect(names().length).toBe(6)
  await answer()
  expect(made.any).toBe(false)
})

it('goes on with the rest when one of those that were held back can not be worked on', async () => {
  const { made, answer } = moves()
  made.follows(JID, 'B', 1)
  const done: string[] = []
  const fails = () => {
    throw new Error('on purpose')
  }
  const forwarded = made.holdForwarded(JID, fails)!.then(() => done.push('forwarded'))
  made.holdOwn(JID, 1, fails)
  made.holdOwn(JID, 1, () => void done.push('own'))
  expect(done).toEqual([])
  await answer()
  await forwarded
  expect([done.sort(), made.any]).toEqual([['forwarded', 'own'], false])
})

it('keeps what is held back in order while one of them is looked for', async () => {
  const { made, answer } = moves()
  made.follows(JID, 'B', 1)
  const done: number[] = []
  let found = () => {}
  made.holdOwn(JID, 1, () => {
    done.push(1)
    return new Promise<void>((resolve) => {
      found = resolve
    })
  })
  made.holdOwn(JID, 1, () => void done.push(2))
  await answer()
  made.holdOwn(JID, 1, () => void done.push(3))
  expect(done).toEqual([1])
  found()
  await vi.advanceTimersByTimeAsync(0)
  expect([done, made.any]).toEqual([[1, 2, 3], false])
})

it('holds nobody up for an account that changes all the time', async () => {
  const { made, asked } = moves()
  let went = false
  made.follows(JID, 'B', 1)
  made.holdOwn(JID, 1, () => {
    went = true
    return undefined
  })
  let sent = 1
  for (let time = 0; time < 200 && !went; time++) {
    // Each time something is sent before what was asked last is answered.
    const before = asked.splice(0)
    made.follows(JID, 'B', ++sent)
    for (const question of before) question.answer()
    await vi.advanceTimersByTimeAsync(0)
  }
  expect(went).toBe(true)
})

it('makes senders wait when too much is held back, even if it is empty', () => {
  const { made } = moves()
  made.follows(JID, 'B', 1)
  const go = () => undefined
  expect(made.holdOwn(JID, 200_000, go)).toEqual({ until: undefined })
  expect(made.holdOwn(JID, 200_000, go)!.until).toBeInstanceOf(Promise)
  expect(made.holdOwn('romeo@capulet.lit', 1, go)).toBeUndefined()
})
