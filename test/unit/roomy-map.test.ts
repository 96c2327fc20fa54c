/** Tables for what comes and goes. */

import { describe, expect, it } from 'vitest'
import { RoomyMap, RoomySet } from '../../server/roomy-map.ts'

describe('RoomyMap', () => {
  it('has what was set, in that order, and nothing else', () => {
    const map = new RoomyMap<string, number>()
    expect([map.size, [...map.keys()], [...map.values()]]).toEqual([0, [], []])
    map.set('0', 1)
    map.set('1', 2)
    map.set('0', 3)
    expect([map.size, [...map.keys()], [...map.values()]]).toEqual([2, ['0', '1'], [3, 2]])
    expect([map.get('0'), map.has('1'), map.get('2'), map.has('2')]).toEqual([3, true, undefined, false])
    expect([map.delete('0'), map.delete('0'), map.size, [...map.keys()]]).toEqual([true, false, 1, ['1']])
  })

  it('keeps the order through thousands of changes', () => {
    const map = new RoomyMap<string, number>()
    for (let i = 0; i < 5000; i++) {
      map.set(`k${i}`, i)
      if (i >= 10) map.delete(`k${i - 10}`)
    }
    expect([...map.values()]).toEqual([4990, 4991, 4992, 4993, 4994, 4995, 4996, 4997, 4998, 4999])
  })

  it('what is taken out while it is looked through is not met any more', () => {
    const map = new RoomyMap<string, number>()
    for (const key of ['a', 'b', 'c']) map.set(key, 1)
    const met = []
    for (const key of map.keys()) {
      met.push(key)
      map.delete('b')
    }
    expect(met).toEqual(['a', 'c'])
  })
})

describe('RoomySet', () => {
  it('has each object once', () => {
    const set = new RoomySet<object>()
    const [one, other] = [{}, {}]
    set.add(one)
    set.add(one)
    set.add(other)
    expect([set.size, set.has(one), [...set]]).toEqual([2, true, [one, other]])
    expect([set.delete(one), set.delete(one), set.size, set.has(one)]).toEqual([true, false, 1, false])
  })
})
