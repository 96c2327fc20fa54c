/** The table of pending requests: what it finds is what was put in, whatever comes and goes meanwhile. */

import { expect, it } from 'vitest'
import { type Placed, Slots } from '../../plugins/delegation/slots.ts'
import { Random } from './tokenizer-support.ts'

const idOf = ({ place, turn }: Placed) => `${place}.${turn}`

it('finds each while it is in it, and never again, as a map does', () => {
  const random = new Random(1)
  const slots = new Slots<Placed>()
  const known = new Map<string, Placed>()
  const gone: string[] = []
  for (let step = 0; step < 20_000; step++) {
    if (known.size === 0 || random.chance(2)) {
      const entry = { place: 0, turn: 0 }
      slots.add(entry)
      expect(known.has(idOf(entry))).toBe(false)
      known.set(idOf(entry), entry)
    } else {
      const id = random.pick([...known.keys()].slice(0, 20))
      const entry = known.get(id)!
      expect(slots.find(`x${id}`, 1)).toBe(entry)
      expect(slots.has(entry)).toBe(true)
      slots.delete(entry)
      expect(slots.has(entry)).toBe(false)
      known.delete(id)
      gone.push(id)
    }
    expect(slots.size).toBe(known.size)
    if (gone.length > 0) expect(slots.find(random.pick(gone), 0)).toBeUndefined()
  }
  expect(new Set(slots.all())).toEqual(new Set(known.values()))
})

it('knows one way to write an id', () => {
  const slots = new Slots<Placed>()
  const entry = { place: 0, turn: 0 }
  slots.add(entry)
  expect(slots.find('0.1', 0)).toBe(entry)
  for (const id of [
    '',
    '.',
    '0',
    '0.',
    '.1',
    '00.1',
    '0.01',
    '0.1 ',
    ' 0.1',
    '+0.1',
    '0.1.',
    '0.1e0',
    '-0.1',
    '0.1x',
    '9.1',
  ]) {
    expect(slots.find(id, 0), id).toBeUndefined()
  }
})
