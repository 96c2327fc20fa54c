/** What goes on beside somebody's stanzas, and who waits for it. */

import { expect, it } from 'vitest'
import { Unfinished } from '../../server/stream/unfinished.ts'

async function isSettled(promise: Promise<void> | undefined): Promise<boolean> {
  let settled = false
  promise?.then(() => {
    settled = true
  })
  await new Promise(setImmediate)
  return settled
}

it('is waited for as far as it was begun before', async () => {
  const unfinished = new Unfinished()
  const [one, two, three] = [{}, {}, {}]
  expect(unfinished.done(true)).toBeUndefined()
  unfinished.begin(one)
  unfinished.begin(two)
  const first = unfinished.done(false)
  unfinished.begin(three)
  const second = unfinished.done(false)
  unfinished.end(two)
  expect(await isSettled(first)).toBe(false)
  unfinished.end(one)
  expect([await isSettled(first), await isSettled(second)]).toEqual([true, false])
  unfinished.end(three)
  expect(await isSettled(second)).toBe(true)
  expect([unfinished.count, unfinished.done(true)]).toEqual([0, undefined])
})

it('of what is elsewhere, only by those who ask for it', async () => {
  const unfinished = new Unfinished()
  const [here, elsewhere] = [{}, {}]
  unfinished.begin(elsewhere, true)
  expect([unfinished.count, unfinished.done(false)]).toEqual([0, undefined])
  unfinished.begin(here)
  const [own, all] = [unfinished.done(false), unfinished.done(true)]
  unfinished.end(here)
  unfinished.end(here)
  expect([await isSettled(own), await isSettled(all)]).toEqual([true, false])
  unfinished.end(elsewhere)
  expect(await isSettled(all)).toBe(true)
})

it('what is begun twice is over at its first end, and who waits waits for none that ended before', async () => {
  const unfinished = new Unfinished()
  const [one, two] = [{}, {}]
  unfinished.begin(one)
  unfinished.begin(one, false)
  unfinished.begin(two, true)
  unfinished.end(one)
  expect(unfinished.done(false)).toBeUndefined()
  const all = Array.from({ length: 1000 }, () => unfinished.done(true))
  unfinished.begin(one)
  const own = unfinished.done(false)
  unfinished.end(two)
  expect(await isSettled(all[999])).toBe(true)
  expect(await isSettled(own)).toBe(false)
  unfinished.end(one)
  expect(await isSettled(own)).toBe(true)
})

it('who waits for what is handed on waits for what that becomes, and for nothing that was begun besides', async () => {
  const unfinished = new Unfinished()
  const [one, other, next, later] = [{}, {}, {}, {}]
  unfinished.begin(one, true)
  const [all, own] = [unfinished.done(true), unfinished.done(false)]
  expect(own).toBeUndefined()
  unfinished.begin(other, true)
  const since = unfinished.begun
  unfinished.begin(next, true)
  unfinished.end(one, since)
  unfinished.begin(later, true)
  expect(await isSettled(all)).toBe(false)
  unfinished.end(next)
  expect(await isSettled(all)).toBe(true)
  const rest = unfinished.done(true)
  unfinished.end(other)
  unfinished.end(later)
  expect(await isSettled(rest)).toBe(true)
})
