// Two runs of the bench beside each other: what counts as a change, and what is said of the rest.
import { describe, expect, it } from 'vitest'
import { type BenchDocument, compare, dearer } from '../../bench/output/index.ts'
import { TEXT_WIDTH } from '../../bench/output/layout.ts'
import { row, sampleDocument } from './bench-output-sample.ts'

type Rounds = Readonly<Record<string, readonly number[]>>

/** A run with one scenario, the rounds' figures by peer. */
function run(rounds: Rounds, unit: 'µs' | 'kB' = 'µs', name = 'message'): BenchDocument {
  const document = structuredClone(
    sampleDocument({ samples: [row('traffic', name, `the ${name}`, [], unit)], peers: Object.keys(rounds) }),
  )
  document.cells = Object.entries(rounds).map(([peer, values]) => {
    return { peer, scenario: name, rounds: values.map((value) => ({ value, details: {} })) }
  })
  return document
}

describe('what counts as a change', () => {
  it('compares by the ratio to the floor of the same run: a slower machine alone is no change', () => {
    const old = run({ floor: [2, 2.1, 1.9], legate: [6, 6.3, 5.7] })
    const slower = run({ floor: [4, 4.2, 3.8], legate: [12, 12.6, 11.4] })
    expect(dearer(old, slower)).toEqual([])
    expect(compare(old, slower)).not.toContain('Legate')
    const reallySlower = run({ floor: [4, 4.2, 3.8], legate: [18, 18.9, 17.1] })
    expect(dearer(old, reallySlower)).toEqual([
      'Legate, the message: 4.50 × floor (4.50–4.50), was 3.00 × floor (3.00–3.00): +50 %',
    ])
    expect(compare(old, reallySlower)).toContain('Dearer:\n  floor, the message: 4.00 µs')
  })

  it('compares plainly where one run has no floor, or it is zero', () => {
    const old = run({ legate: [6, 6.1, 5.9] })
    const now = run({ floor: [2, 2, 2], legate: [8, 8.1, 7.9] })
    const line = 'Legate, the message: 8.00 µs (7.90–8.10), was 6.00 µs (5.90–6.10): +33 %'
    expect(dearer(old, now)).toEqual([line])
    expect(dearer(run({ floor: [0, 0, 0], legate: [6, 6.1, 5.9] }), now)).toEqual([line])
  })

  it('compares memory plainly, which does not depend on the speed of a machine', () => {
    const old = run({ floor: [8, 8, 8], legate: [12, 12, 12] }, 'kB', 'idle')
    const now = run({ floor: [4, 4, 4], legate: [12, 12, 12] }, 'kB', 'idle')
    expect(dearer(old, now)).toEqual([])
  })

  it('needs more than five hundredths', () => {
    expect(dearer(run({ legate: [100, 100] }), run({ legate: [105, 105] }))).toEqual([])
    expect(dearer(run({ legate: [100, 100] }), run({ legate: [106, 106] }))).toHaveLength(1)
  })

  it('needs ranges that do not overlap', () => {
    expect(dearer(run({ legate: [100, 100, 121] }), run({ legate: [120, 120, 120] }))).toEqual([])
    expect(dearer(run({ legate: [100, 100, 119] }), run({ legate: [120, 120, 120] }))).toHaveLength(1)
  })

  it('needs more than fifteen hundredths where one run has one round', () => {
    expect(dearer(run({ legate: [100] }), run({ legate: [114, 114] }))).toEqual([])
    const lines = dearer(run({ legate: [100] }), run({ legate: [116, 116] }))
    expect(lines).toEqual(['Legate, the message: 116 µs (116–116), was 100 µs: +16 %, spread unknown'])
  })

  it('takes rounds in pairs with the floor, so that drift within a run is no spread', () => {
    const old = run({ floor: [2, 4, 6], legate: [6, 12, 18] })
    const now = run({ floor: [6, 2, 4], legate: [21, 7, 14] })
    expect(dearer(old, now)).toHaveLength(1)
    // With a round less there are no pairs, and the drift is spread.
    const unpaired = run({ floor: [6, 2], legate: [21, 7, 14] })
    expect(dearer(old, unpaired)).toEqual([])
  })

  it('tells of other peers, but counts Legate alone as dearer', () => {
    const old = run({ prosody: [100, 100], legate: [9, 9] })
    const now = run({ prosody: [150, 150], legate: [6, 6] })
    expect(dearer(old, now)).toEqual([])
    const text = compare(old, now)
    expect(text).toContain('Dearer:\n  Prosody, the message: 150 µs (150–150), was 100 µs (100–100): +50 %')
    expect(text).toContain(
      'Cheaper:\n  Legate, the message: 6.00 µs (6.00–6.00), was 9.00 µs (9.00–9.00): −33 %',
    )
  })

  it('says so when nothing changed', () => {
    const text = compare(sampleDocument(), sampleDocument())
    expect(text).not.toMatch(/^(Dearer|Cheaper|Not compared|The runs differ)/m)
    expect(text).toMatch(/^Within 5 % or the spread of the rounds: (\d+) of \1$/m)
  })
})

describe('what cannot be compared', () => {
  it('lists different units, what is in one run only, and what was zero, with the reason', () => {
    const old = run({ legate: [6, 6], prosody: [0, 0] })
    expect(compare(old, run({ legate: [6, 6] }, 'kB'))).toContain(
      'Not compared:\n  Legate, µs in the old run, kB in the new one: the message\n  Prosody, in the old run only: everything',
    )
    expect(compare(old, run({ legate: [6, 6], prosody: [1, 1] }))).toContain(
      'Prosody, 0.00 µs in the old run gives no ratio: the message',
    )
    const other = compare(old, run({ legate: [6, 6], prosody: [1, 1] }, 'µs', 'presence'))
    expect(other).toContain('Legate, Prosody, in the old run only: the message')
    expect(other).toContain('Legate, Prosody, in the new run only: the presence')
  })

  it('treats a cell without rounds as missing', () => {
    const now = run({ legate: [] })
    expect(compare(run({ legate: [6] }), now)).toContain('Legate, in the old run only: everything')
    expect(dearer(run({ legate: [] }), now)).toEqual([])
  })

  it('keeps to the terminal’s width and to single lines', () => {
    const now = structuredClone(sampleDocument())
    now.cells = now.cells.filter(({ scenario }) => scenario === 'message')
    now.peers[1]!.title = 'Legate\u001b[31m\nevil'
    for (const line of compare(sampleDocument(), now).split('\n')) {
      expect(line.length, line).toBeLessThanOrEqual(TEXT_WIDTH)
      expect(line).not.toMatch(/\p{Cc}/u)
    }
  })

  it('names settings, machine and versions that differ, but not the number of rounds', () => {
    const now = structuredClone(sampleDocument({ rounds: 3 }))
    now.environment.node = 'v24.0.0'
    now.settings['sessions'] = 500
    now.settings['operations'] = 1000
    now.peers[2]!.title = 'Prosody 13.0.1'
    const text = compare(sampleDocument(), now)
    expect(text.slice(text.indexOf('The runs differ'))).toBe(
      [
        'The runs differ also in this:',
        '  node was v20.20.2, is v24.0.0',
        '  the setting sessions was 2000, is 500',
        '  the setting operations was not set, is 1000',
        '  prosody was Prosody 0.12.3, is Prosody 13.0.1',
      ].join('\n'),
    )
  })
})
