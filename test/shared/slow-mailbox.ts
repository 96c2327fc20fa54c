/** Offline messages whose storage takes its time, as long as a test wants. */

import { vi } from 'vitest'
import { Mailbox } from '../../plugins/offline/mailbox.ts'

const { inTurn } = Mailbox.prototype

/** What the next ones wait for that read or write what is kept: so many of them. */
export function holdMailbox(times = 1) {
  let go!: () => void
  const gate = new Promise<void>((resolve) => {
    go = resolve
  })
  const spy = vi.spyOn(Mailbox.prototype, 'inTurn')
  spy.mockClear()
  for (let i = 0; i < times; i++) {
    spy.mockImplementationOnce(function (this: Mailbox, username, work) {
      return inTurn.call(this, username, async () => {
        await gate
        return work()
      })
    } as typeof inTurn)
  }
  return {
    go,
    /** How many have come. */
    get waiting(): number {
      return Math.min(spy.mock.calls.length, times)
    },
  }
}
