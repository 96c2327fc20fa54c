/** What goes to Redis with one command: changes, messages and receipts, in the order in which they came about. */

import { pack } from './batch.ts'
import type { Receipt } from './incoming.ts'
import type { Membership, Peer } from './membership.ts'
import type { Operation } from './store.ts'

/** Characters in one command, about: Redis does nothing else while it takes them. */
const LIMIT = 512_000

export interface Shipment {
  readonly operations: readonly Operation[]
  readonly receipts: readonly (readonly [Peer, Receipt])[]
}

/** What stands before a batch of messages. */
export interface Heading extends Omit<Receipt, 'size'> {
  /** Number of the first message, or of the next one if there is none. */
  readonly first: number
  /** Whether a receipt is wanted at once. */
  readonly asks: boolean
}

function writeHeading({ first, got, settled, missing, asks, early }: Heading): string {
  const text = `${first} ${got} ${settled} ${missing ? 'm' : ''}${asks ? 'a' : ''}`
  return early.length === 0 ? text : `${text} ${early.join(',')}`
}

export function readHeading(text: string): Heading {
  const [first, got, settled, flags = '', early = ''] = text.split(' ')
  const missing = flags.includes('m')
  return {
    first: Number(first),
    got: Number(got),
    settled: Number(settled),
    missing,
    asks: flags.includes('a'),
    early: early === '' ? [] : early.split(',').map(Number),
  }
}

/**
 * Takes what can be sent.
 *
 * @param allReceipts - also those that could wait a little longer
 * @param wake - whether something goes to our own inbox, so that who waits for it wakes
 */
export function load(life: Membership, allReceipts: boolean, wake: boolean): Shipment {
  const operations: Operation[] = []
  const receipts = new Map<Peer, Receipt>()
  let size = 0

  const add = (peer: Peer, first: number, packed: string) => {
    const receipt = peer.in.receipt()
    receipts.set(peer, receipt)
    const receiptText = writeHeading({ ...receipt, first, asks: peer.out.asking })
    peer.out.asking = false
    operations.push({ to: peer.member.id, receipt: receiptText, packed })
  }
  const addMessages = (before: number) => {
    for (const peer of life.peers.values()) {
      if (size >= LIMIT) return
      const run = peer.out.take(before, LIMIT - size)
      if (run === undefined) continue
      size += run.size
      add(peer, run.first, pack(run.texts))
    }
  }

  const { publication } = life
  for (const batch of publication.pending) {
    addMessages(batch.seq)
    if (size >= LIMIT) break
    operations.push(batch)
    size += batch.size
  }
  publication.sending()
  if (size < LIMIT) addMessages(Number.POSITIVE_INFINITY)
  for (const peer of life.peers.values()) {
    const due = peer.out.asking || peer.in.urgent || (allReceipts && peer.in.owes)
    if (due && !receipts.has(peer) && !peer.out.unknown) add(peer, peer.out.next, '')
  }
  if (wake) operations.push({ to: life.self.id, receipt: '', packed: '' })
  return { operations, receipts: [...receipts] }
}
