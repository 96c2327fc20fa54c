/** Receipts for messages of another process: what has come while one was under way is owed as well. */

import { expect, it } from 'vitest'
import { Incoming } from '../../server/cluster/incoming.ts'

/** Takes messages that are done at once. */
function take(incoming: Incoming, count: number, size: number): void {
  for (let i = 0; i < count; i++) incoming.take(size, undefined, () => {})
}

it('much that came while a receipt was under way is as urgent as if it had come later', () => {
  const incoming = new Incoming()
  incoming.begin(1, false)
  take(incoming, 10, 20_000)
  expect(incoming.urgent).toBe(true)
  const receipt = incoming.receipt()
  expect(receipt).toMatchObject({ got: 10, settled: 10 })
  take(incoming, 10, 20_000)
  incoming.delivered(receipt)
  expect([incoming.owes, incoming.urgent]).toEqual([true, true])
  incoming.delivered(incoming.receipt())
  expect([incoming.owes, incoming.urgent]).toEqual([false, false])
})

it('little that came meanwhile is owed, and not urgent', () => {
  const incoming = new Incoming()
  incoming.begin(1, false)
  take(incoming, 10, 20_000)
  const receipt = incoming.receipt()
  take(incoming, 1, 20_000)
  incoming.delivered(receipt)
  expect([incoming.owes, incoming.urgent]).toEqual([true, false])
})
