/** Reading the table `delegations` (rules C1 to C3). The mistakes one by one are in delegation-config.test.ts. */

import { describe, expect, it } from 'vitest'
import { readTable } from '../../plugins/delegation/table.ts'
import { Random } from './tokenizer-support.ts'

const read = (table: Record<string, unknown>) => readTable(table, 'capulet.lit', 30)

describe('readTable', () => {
  it('C1: gives jid prepared, filter and time', () => {
    const { delegations, problems } = read({
      'urn:a': { jid: 'PubSub.Capulet.LIT', filtering: ['node', 'node', 'xml:lang'], timeout: 0.5 },
      'urn:b': { jid: 'Nurse@capulet.lit/Room' },
    })
    expect(problems).toEqual([])
    expect(delegations.get('urn:a')).toMatchObject({
      namespace: 'urn:a',
      jid: 'pubsub.capulet.lit',
      filtering: ['node', 'xml:lang'],
      timeout: 0.5,
    })
    expect(delegations.get('urn:b')).toMatchObject({
      jid: 'nurse@capulet.lit/Room',
      filtering: [],
      timeout: 30,
    })
  })

  it('C2: an empty filter of Lua is none, whichever way it is read', () => {
    for (const filtering of [[], {}, Object.create(null)]) {
      expect(read({ 'urn:a': { jid: 'a.b', filtering } }).delegations.get('urn:a')?.filtering).toEqual([])
    }
  })

  it('keeps the default time where it is for ever', () => {
    const { delegations } = readTable({ 'urn:a': { jid: 'a.b' } }, 'capulet.lit', Number.POSITIVE_INFINITY)
    expect(delegations.get('urn:a')?.timeout).toBe(Number.POSITIVE_INFINITY)
  })

  it('an empty table is no mistake', () => {
    expect(read({})).toEqual({ delegations: new Map(), problems: [] })
  })

  it('C3: the delegation namespace alone is refused, not what only looks like it', () => {
    const { delegations } = read({
      'urn:xmpp:delegation:2': { jid: 'a.b' },
      'urn:xmpp:delegation:1': { jid: 'a.b' },
      'urn:xmpp:delegation:2#x': { jid: 'a.b' },
    })
    expect([...delegations.keys()]).toEqual(['urn:xmpp:delegation:1', 'urn:xmpp:delegation:2#x'])
  })

  it('whatever stands in it: no throw, one sentence for each entry that is left out', () => {
    const random = new Random(2)
    const values = [
      undefined,
      null,
      true,
      0,
      -1,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      '',
      'node',
      'a.b',
      'a@b/c',
      '@',
      '\u0000',
      'x'.repeat(5000),
      [],
      ['node'],
      [[]],
      {},
      { node: 1 },
      Object.create(null),
      () => {},
      Symbol.iterator,
      10n,
    ]
    const keys = ['jid', 'filtering', 'timeout', 'filter', '__proto__', 'constructor']
    for (let round = 0; round < 3000; round++) {
      const table: Record<string, unknown> = {}
      for (let count = random.below(4); count >= 0; count--) {
        const entry: Record<string, unknown> = { jid: 'a.b' }
        for (let changes = random.below(3); changes >= 0; changes--) {
          Object.defineProperty(entry, random.pick(keys), {
            value: random.pick(values),
            enumerable: true,
            configurable: true,
            writable: true,
          })
        }
        table[`urn:${count}`] = random.chance(5) ? random.pick(values) : entry
      }
      const { delegations, problems } = read(table)
      expect(delegations.size + problems.length).toBe(Object.keys(table).length)
      for (const problem of problems) expect(problem).toMatch(/^delegations\["urn:\d"\] of capulet\.lit: ./)
      for (const { jid, filtering, timeout } of delegations.values()) {
        expect(jid.length).toBeGreaterThan(0)
        expect(filtering.every((name) => typeof name === 'string' && name !== '')).toBe(true)
        expect(timeout).toBeGreaterThan(0)
      }
    }
  })
})
