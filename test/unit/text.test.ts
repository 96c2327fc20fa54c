/** Text that is kept must not keep what it was cut from. */

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { detached } from '../../server/text.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const CHUNK = 'x'.repeat(1 << 16)

/** Bytes that stay in use for each of many strings cut from chunks of 64 kB. */
function kept(cut: (chunk: string, at: number) => string): number {
  collect()
  const before = process.memoryUsage().heapUsed
  const strings: string[] = []
  for (let number = 0; number < 500; number++) {
    const chunk = Buffer.from(`${number}${CHUNK}`).toString('latin1')
    strings.push(cut(chunk, number))
  }
  collect()
  const after = process.memoryUsage().heapUsed
  expect(strings).toHaveLength(500)
  return (after - before) / 500
}

it.each([1, 12, 13, 14, 40, 1000])('a copy of %i characters keeps no chunk alive', (length) => {
  expect(kept((chunk, at) => detached(chunk.slice(at, at + length)))).toBeLessThan(4 * length + 1000)
})

it('a slice does, which is why there are copies', () => {
  expect(kept((chunk, at) => chunk.slice(at, at + 40))).toBeGreaterThan(60_000)
})

it.each(['', 'a', 'twelve chars', 'thirteen chars', 'ä€😀'.repeat(10), '\ud800 alone, and long enough'])(
  'a copy of %j is the same',
  (text) => expect(detached(text)).toBe(text),
)
