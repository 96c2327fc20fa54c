/** What becomes of a stanza whose copies went to several processes. */

import { expect, it } from 'vitest'
import { Copies } from '../../server/cluster/copies.ts'

function copies(count: number) {
  const made = new Copies()
  for (let number = 0; number < count; number++) made.goes()
  const done: string[] = []
  const does = (what: string) => () => void done.push(what)
  return {
    made,
    done,
    comesBack: (name: string) => made.missed({ again: does(`${name} again`), over: does(`${name} over`) }),
    isLost: (name: string) => made.missed({ lost: does(`${name} lost`) }),
  }
}

it('is not missed if one has arrived, whenever', () => {
  const { made, done, comesBack, isLost } = copies(3)
  comesBack('a')
  made.arrived()
  expect(done).toEqual([])
  isLost('b')
  expect(done).toEqual(['a over'])
})

it('is sent again, once, if it has come back and none has arrived', () => {
  const { done, comesBack, isLost } = copies(3)
  isLost('a')
  comesBack('b')
  expect(done).toEqual([])
  comesBack('c')
  expect(done).toEqual(['b again', 'c over'])
})

it('is lost, once, if all are', () => {
  const { done, isLost } = copies(2)
  isLost('a')
  isLost('b')
  expect(done).toEqual(['a lost'])
})
