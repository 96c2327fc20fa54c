/** What is held back while an account moves between processes, and for how long. */

import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { type Flow, Moves, type Way } from '../../server/cluster/moves.ts'
import { silentLogger } from '../../server/log.ts'

const JID = 'juliet@capulet.lit'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Moves, with what goes in the order in which it does. */
function moves(log = silentLogger) {
  const made = new Moves(log)
  const gone: string[] = []
  return {
    made,
    gone,
    /** Something goes. @returns what ends it */
    sends(way: Way, bareJid = JID) {
      const flow: Flow = made.sent(bareJid, way)
      const { generation } = flow
      return () => made.arrived(flow, way, generation)
    },
    goes: (name: string) => () => {
      gone.push(name)
      return undefined
    },
    /** One of this process's own senders has something for the account. @returns whether it is held back */
    own: (name: string) => made.holdOwn(JID, 1, () => void gone.push(name)) !== undefined,
    others: (name: string) => made.holdForwarded(JID, () => void gone.push(name)) !== undefined,
  }
}

it('holds nothing back of an account that has not changed, or that nothing is under way for', () => {
  const { made, sends, own, others } = moves()
  made.changes(JID)
  expect([own('a'), made.any]).toEqual([false, false])
  const arrives = sends('own')
  expect([own('a'), others('b'), made.any]).toEqual([false, false, false])
  arrives()
  made.changes(JID)
  expect([own('a'), made.any]).toEqual([false, false])
})

it('holds own stanzas back until all that was sent before the change has arrived, and no longer', () => {
  const { made, gone, sends, own, others } = moves()
  const before = [sends('own'), sends('copies')]
  made.changes(JID)
  // Copies go on for what is not held back.
  const after = sends('copies')
  expect([own('a'), own('b'), made.holdOwn('romeo@capulet.lit', 1, () => undefined)]).toEqual([
    true,
    true,
    undefined,
  ])
  expect(others('of others')).toBe(true)
  before[1]!()
  expect(gone).toEqual(['of others'])
  expect(others('of others')).toBe(false)
  before[0]!()
  expect([gone, made.any]).toEqual([['of others', 'a', 'b'], false])
  after()
  made.changes(JID)
  expect(own('c')).toBe(false)
})

it('sends first what has come back, in the order in which it was sent, when nothing is under way any more', () => {
  const { made, gone, sends, goes, own } = moves()
  const [first, second, third] = [sends('own'), sends('own'), sends('own')]
  made.returned(JID, false, 2, goes('second'), second!)
  expect(own('fourth')).toBe(true)
  made.returned(JID, false, 1, goes('first'), first!)
  expect(gone).toEqual([])
  made.returned(JID, false, 3, goes('third'), third!)
  expect([gone, made.any]).toEqual([['first', 'second', 'third', 'fourth'], false])
})

it('what goes out again waits when it comes back once more, and holds back what comes after it', () => {
  const { made, gone, sends, own } = moves()
  let again = () => {}
  const go = (name: string) => () => {
    gone.push(name)
    again = sends('own')
    return undefined
  }
  made.returned(JID, false, 1, go('first'), sends('own'))
  expect(gone).toEqual(['first'])
  made.returned(JID, false, 4, go('again'), again)
  made.changes(JID)
  expect([gone, own('second')]).toEqual([['first', 'again'], true])
  again()
  expect(gone).toEqual(['first', 'again', 'second'])
})

it('sends copies that have come back before all others, and lets nothing overtake them', () => {
  const { made, gone, sends, own, others } = moves()
  const [one, other, away] = [sends('copies'), sends('copies'), sends('own')]
  let again = () => {}
  const go = () => {
    gone.push('copy')
    again = sends('again')
    return undefined
  }
  made.returned(JID, true, 1, go, one!)
  expect([own('own'), others('of others'), gone]).toEqual([true, true, []])
  other!()
  expect(gone).toEqual(['copy'])
  again()
  expect(gone).toEqual(['copy', 'of others'])
  away!()
  expect([gone, made.any]).toEqual([['copy', 'of others', 'own'], false])
})

it('goes on with the rest when one of those that were held back can not be worked on', async () => {
  const { made, sends } = moves()
  const arrives = sends('copies')
  made.changes(JID)
  const done: string[] = []
  const fails = () => {
    throw new Error('on purpose')
  }
  const forwarded = made.holdForwarded(JID, fails)!.then(() => done.push('forwarded'))
  made.holdOwn(JID, 1, fails)
  made.holdOwn(JID, 1, () => void done.push('own'))
  expect(done).toEqual([])
  arrives()
  await forwarded
  expect([done.sort(), made.any]).toEqual([['forwarded', 'own'], false])
})

it('keeps what is held back in order while one of them is looked for', async () => {
  const { made, sends } = moves()
  const arrives = sends('own')
  made.changes(JID)
  const done: number[] = []
  let found = () => {}
  made.holdOwn(JID, 1, () => {
    done.push(1)
    return new Promise<void>((resolve) => {
      found = resolve
    })
  })
  made.holdOwn(JID, 1, () => void done.push(2))
  arrives()
  made.holdOwn(JID, 1, () => void done.push(3))
  expect(done).toEqual([1])
  found()
  await vi.advanceTimersByTimeAsync(0)
  expect([done, made.any]).toEqual([[1, 2, 3], false])
})

it('holds nobody up for an account that changes all the time', () => {
  const { made, gone, sends, own } = moves()
  let last = sends('own')
  for (let time = 0; time < 200; time++) {
    made.changes(JID)
    own(`${time}`)
    // Copies are under way all the time, and the account changes before what was sent last has arrived.
    const arrives = last
    last = sends('copies')
    arrives()
  }
  expect(gone.length).toBeGreaterThan(190)
})

it('waits no longer than a minute for what is never heard of, and says so', async () => {
  const said: string[] = []
  const { made, gone, sends, own } = moves({
    ...silentLogger,
    warn: (message: string) => void said.push(message),
  })
  const arrives = sends('own')
  sends('own')
  made.changes(JID)
  own('a')
  await vi.advanceTimersByTimeAsync(59_000)
  arrives()
  await vi.advanceTimersByTimeAsync(59_000)
  expect([gone, said]).toEqual([[], []])
  await vi.advanceTimersByTimeAsync(2_000)
  expect([gone, made.any]).toEqual([['a'], false])
  expect(said).toEqual(['stanzas are not waited for any longer'])
})

it('makes senders wait when too much is held back, even if it is empty', () => {
  const { made, sends } = moves()
  sends('own')
  made.changes(JID)
  const go = () => undefined
  expect(made.holdOwn(JID, 200_000, go)).toEqual({ until: undefined })
  expect(made.holdOwn(JID, 200_000, go)!.until).toBeInstanceOf(Promise)
  expect(made.holdOwn('romeo@capulet.lit', 1, go)).toBeUndefined()
})

it('what others have sent does not overtake a copy that has come back and is at work on', async () => {
  const { made, gone, others, goes } = moves()
  let done!: () => void
  const work = new Promise<void>((resolve) => {
    done = resolve
  })
  const go = () => {
    gone.push('copy')
    return work
  }
  made.returned(JID, true, 1, go, () => {})
  expect([gone, others('a'), others('b')]).toEqual([['copy'], true, true])
  done()
  await work
  await Promise.resolve()
  expect([gone, others('c'), made.any]).toEqual([['copy', 'a', 'b'], false, false])
  made.returned(JID, true, 2, goes('next'), () => {})
  expect([gone.at(-1), others('d'), made.any]).toEqual(['next', false, false])
})
