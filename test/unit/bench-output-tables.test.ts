// The bench's tables: what stands in them, and that they can be read in a terminal and in Markdown.
import { describe, expect, it } from 'vitest'
import { labelOf } from '../../bench/output/figures.ts'
import { goalsOf } from '../../bench/output/goals.ts'
import { type BenchDocument, DETAIL, printTables } from '../../bench/output/index.ts'
import { markdownTable, type Table, TEXT_WIDTH, textTables } from '../../bench/output/layout.ts'
import { sectionTables } from '../../bench/output/tables.ts'
import { row, sampleDocument } from './bench-output-sample.ts'

const MESSAGE = [row('traffic', 'message', 'message', [2, 7, 100, 50])]

/** The fields of a row, each in one text. */
function fieldsOf(tables: readonly Table[], title: string): string[] | undefined {
  const found = tables.flatMap(({ rows }) => rows).find((one) => one.title === title)
  return found?.fields.map((field) => field.join(' '))
}

describe('tables of sections', () => {
  it('gives median, spread, and Legate’s ratios to the others', () => {
    const [table] = sectionTables(sampleDocument({ samples: MESSAGE }))
    expect(table!.caption).toBe('Traffic: µs of server CPU per operation')
    expect(table!.heading.map((field) => field.join(' '))).toEqual([
      ...['floor', 'Legate', 'Prosody', 'ejabberd'],
      ...['÷ floor', '÷ Prosody', '÷ ejabberd'],
    ])
    expect(fieldsOf([table!], 'message')).toEqual([
      ...['2.00 (1.94–2.08)', '7.00 (6.79–7.28)', '100 (97.0–104)', '50.0 (48.5–52.0)'],
      ...['3.50', '1/14.3', '1/7.14'],
    ])
  })

  it('leaves out columns of peers that were not measured, and the ratios with them', () => {
    const [table] = sectionTables(sampleDocument({ samples: MESSAGE, peers: ['legate', 'prosody'] }))
    expect(table!.heading.map((field) => field.join(' '))).toEqual(['Legate', 'Prosody', '÷ Prosody'])
    const [without] = sectionTables(sampleDocument({ samples: MESSAGE, peers: ['floor', 'prosody'] }))
    expect(without!.heading).toEqual([['floor'], ['Prosody']])
  })

  it('shows one peer and one round without ratios and spread', () => {
    const tables = sectionTables(sampleDocument({ samples: MESSAGE, peers: ['legate'], rounds: 1 }))
    expect(fieldsOf(tables, 'message')).toEqual(['7.00'])
  })

  it('has a dash where a cell is missing, and where there is nothing to divide by', () => {
    const document = sampleDocument({
      samples: [
        row('traffic', 'a', 'a', [0, 5, undefined, 1]),
        row('traffic', 'b', 'b', [1, undefined, 2, 0]),
      ],
      rounds: 1,
    })
    const tables = sectionTables(document)
    expect(fieldsOf(tables, 'a')).toEqual(['0.00', '5.00', '–', '1.00', '–', '–', '5.00'])
    expect(fieldsOf(tables, 'b')).toEqual(['1.00', '–', '2.00', '0.00', '–', '–', '–'])
  })

  it('shows growth in the order of its series, relative to each peer’s first', () => {
    const document = sampleDocument()
    const growth = sectionTables(document).find(({ caption }) => caption.startsWith('Growth'))!
    const last = fieldsOf([growth], 'sessions, delegated IQ: 10,000 sessions')!
    expect(last[0]).toMatch(/^5\.50 ×1\.06 \(/)
    expect(last[1]).toMatch(/^20\.4 ×1\.12 \(/)
    document.scenarios.reverse()
    const places = sectionTables(document)
      .find(({ caption }) => caption.startsWith('Growth'))!
      .rows.map(({ title }) => title)
    expect(places.filter((title) => title.startsWith('payload'))).toEqual([
      'payload: 200 bytes',
      'payload: 2,000 bytes',
      'payload: 20,000 bytes',
      'payload: 200,000 bytes',
    ])
  })

  it('shows reply times and operations per second by load', () => {
    const document = sampleDocument({ rounds: 1 })
    const cell = document.cells.find(({ peer, scenario }) => peer === 'legate' && scenario === 'load-10')!
    cell.rounds[0]!.details = { [DETAIL.p50]: 0.3, [DETAIL.p99]: 0.9, [DETAIL.rate]: 31_234.5 }
    document.cells.find(({ peer, scenario }) => peer === 'prosody' && scenario === 'load-10')!.rounds = []
    const fields = fieldsOf(sectionTables(document), 'delegated IQ, 10 in flight in all')!
    expect(fields.slice(1, 3)).toEqual(['0.30 / 0.90 (31,235)', '–'])
  })

  it('names the unit in the row where it is not that of all', () => {
    const samples = [row('memory', 'a', 'a', [1, 1, 1, 1], 'kB'), row('memory', 'b', 'b', [1, 1, 1, 1], 'MB')]
    const [table] = sectionTables(sampleDocument({ samples }))
    expect(table!.caption).toBe('Memory')
    expect(table!.rows.map(({ title }) => title)).toEqual(['a, kB', 'b, MB'])
  })

  it('calls peers by the first word of their title, if only one has it', () => {
    const document = sampleDocument()
    expect(labelOf(document, document.peers[2]!)).toBe('Prosody')
    document.peers.push({ name: 'prosody-trunk', title: 'Prosody trunk' })
    expect(labelOf(document, document.peers[2]!)).toBe('prosody')
  })
})

describe('text', () => {
  it('keeps to the terminal, with all sections, peers and rounds', () => {
    for (const line of printTables(sampleDocument()).split('\n').slice(0, -1)) {
      expect(line.length, line).toBeLessThanOrEqual(TEXT_WIDTH)
    }
  })

  it('is a line a row where there is room, and stacks fields where there is not', () => {
    const two = sampleDocument({ samples: MESSAGE, peers: ['floor', 'legate'] })
    expect(textTables(sectionTables(two))).toBe(
      [
        'Traffic: µs of server CPU per operation',
        '                    floor            Legate  ÷ floor',
        'message  2.00 (1.94–2.08)  7.00 (6.79–7.28)     3.50',
      ].join('\n'),
    )
    const title = 'a message whose title is long enough to be broken'
    const four = sampleDocument({ samples: [row('traffic', 'message', title, [2, 7, 100, 50])] })
    expect(textTables(sectionTables(four)).split('\n').slice(3)).toEqual([
      'a message whose title is long             2.00         7.00         100         50.0   3.50   1/14.3    1/7.14',
      'enough to be broken                (1.94–2.08)  (6.79–7.28)  (97.0–104)  (48.5–52.0)',
    ])
  })

  it('keeps control characters and line breaks out of the terminal', () => {
    const samples = [row('traffic', 'evil', 'evil\u001b[2J\r\ntitle\u2028', [1, 1, 1, 1])]
    const text = printTables(sampleDocument({ samples }))
    expect(text).toContain('evil [2J title')
    expect(text).not.toMatch(/[^\n\P{Cc}]|\u2028/u)
  })

  it('gives details only when asked, as medians of the rounds that have them', () => {
    const document = sampleDocument({ samples: MESSAGE, peers: ['legate'], rounds: 3 })
    for (const [index, round] of document.cells[0]!.rounds.entries()) round.details = { 'p50 ms': index + 1 }
    document.cells[0]!.rounds[2]!.details = { other: 7 }
    expect(printTables(document)).not.toContain('p50 ms')
    expect(printTables(document, { details: true })).toContain('message, legate: p50 ms 1.50, other 7.00')
  })

  it('says how many rounds there were, and where', () => {
    const lines = printTables(sampleDocument({ samples: MESSAGE, rounds: 1 })).split('\n')
    expect(lines.at(-2)).toBe('Median (least–greatest) of one round. ÷: Legate to that peer.')
    expect(lines.at(-1)).toContain('Prosody 0.12.3; ejabberd 23.01. A Processor, Node v20.20.2, 2026-01-02')
  })

  it('is no table, but no failure, where nothing was measured', () => {
    expect(printTables(sampleDocument({ peers: [] }))).toMatch(/^Median .* of 0 rounds/)
  })
})

describe('Markdown', () => {
  it('aligns, and escapes what Markdown would read', () => {
    const document = sampleDocument({
      samples: [row('traffic', 'evil', '<b>a|b</b> & *c*\nd', [2, 7, 100, 50])],
      peers: ['floor', 'legate'],
      rounds: 1,
    })
    expect(markdownTable(sectionTables(document)[0]!)).toBe(
      [
        '|                                       | floor | Legate | ÷ floor |',
        '| ------------------------------------- | ----: | -----: | ------: |',
        '| &lt;b&gt;a\\|b&lt;/b&gt; &amp; \\*c\\* d |  2.00 |   7.00 |    3.50 |',
      ].join('\n'),
    )
  })
})

describe('goals', () => {
  /** The goal lines for one scenario with these costs, as measured and verdict. */
  function verdicts(name: string, costs: readonly (number | undefined)[], unit: 'µs' | 'kB' = 'µs') {
    const section = unit === 'kB' ? 'memory' : 'traffic'
    const goals = goalsOf(sampleDocument({ samples: [row(section, name, name, costs, unit)], rounds: 1 }))
    return goals.map(({ goal, measured, met }) => `${goal}: ${measured} ${met ? 'met' : 'missed'}`)
  }

  it('holds ratios to their limits, which count as met', () => {
    expect(verdicts('delegated-iq', [2, 7, 140, 56])).toEqual([
      '≤ 3.5 × floor: 3.50 met',
      '≤ 1/20 × Prosody: 1/20.0 met',
      '≤ 1/8 × ejabberd: 1/8.00 met',
    ])
    expect(verdicts('message', [2, 8, 90, 90])).toEqual([
      '≤ 3.5 × floor: 4.00 missed',
      '≤ 1/12 × Prosody: 1/11.3 missed',
      '≤ 1/12 × ejabberd: 1/11.3 missed',
    ])
    expect(verdicts('message-1', [10, 15, 1, 1])).toEqual(['≤ 1.6 × floor: 1.50 met'])
    expect(verdicts('delegated-iq-1', [10, 17, 1, 1])).toEqual(['≤ 1.6 × floor: 1.70 missed'])
    expect(verdicts('login-plain', [600, 900, 2700, 1])).toEqual([
      '≤ 1.5 × floor: 1.50 met',
      '≤ 1/3 × Prosody: 1/3.00 met',
    ])
  })

  it('shows a miss as one, however narrow', () => {
    expect(verdicts('message', [2, 7.001, undefined, undefined])).toEqual(['≤ 3.5 × floor: 3.5005 missed'])
  })

  it('leaves out what was not measured', () => {
    expect(verdicts('delegated-iq', [undefined, 7, 140, undefined])).toEqual(['≤ 1/20 × Prosody: 1/20.0 met'])
    expect(verdicts('delegated-iq', [2, undefined, 140, 5])).toEqual([])
    expect(verdicts('presence', [2, 7, 140, 56])).toEqual([])
    expect(printTables(sampleDocument({ samples: MESSAGE, peers: ['floor'] }))).not.toContain('Goals')
  })

  it('holds idle sessions to 16 kB, and with TLS to Prosody’s', () => {
    expect(verdicts('idle', [8, 16, 1, 1], 'kB')).toEqual(['≤ 16 kB: 16.0 kB met'])
    expect(verdicts('idle', [8, 16.5, 1, 1], 'kB')).toEqual(['≤ 16 kB: 16.5 kB missed'])
    expect(verdicts('idle-tls', [8, 44, 60, 1], 'kB')).toEqual(['< Prosody (60.0 kB): 44.0 kB met'])
    expect(verdicts('idle-tls', [8, 60, 60, 1], 'kB')).toEqual(['< Prosody (60.0 kB): 60.0 kB missed'])
  })

  it('holds each series of sessions to its first row, if it has both ends', () => {
    const goals = () => goalsOf(document).filter(({ goal }) => goal === '< 1.2 × the first')
    const document = sampleDocument()
    expect(goals().map(({ what, measured, met }) => [what, measured, met])).toEqual([
      ['sessions, delegated IQ, from 10 to 10,000', '1.12', true],
      ['sessions all active, message, from 10 to 10,000', '1.40', false],
    ])
    document.scenarios = document.scenarios.filter(({ series }) => series?.at !== 10_000)
    expect(goals()).toEqual([])
  })

  it('holds the soak to what it was after a minute', () => {
    const soak = (end: number) => {
      const details: Record<string, number>[] = [{}, { [DETAIL.early]: 100 }, {}, {}]
      const samples = [{ ...row('soak', 'soak', 'soak', [1, end, 1, 1], 'MB'), details }]
      return goalsOf(sampleDocument({ samples, rounds: 1 })).map(({ measured, met }) => `${measured} ${met}`)
    }
    expect([soak(90), soak(110), soak(111), soak(85)].flat()).toEqual([
      '0.90 true',
      '1.10 true',
      '1.11 false',
      '0.85 false',
    ])
  })

  it('says how many were met', () => {
    const document: BenchDocument = sampleDocument({ samples: MESSAGE, rounds: 1 })
    expect(printTables(document)).toContain('Goals: 2 of 3 met')
  })
})
