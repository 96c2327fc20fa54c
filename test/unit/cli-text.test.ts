// How the command line writes tables, times and delegations.

import { describe, expect, it } from 'vitest'
import type { DelegationFigures } from '../../server/admin/answers.ts'
import { describeDelegations } from '../../server/cli/delegations.ts'
import { duration, pairs, replyTime, table } from '../../server/cli/text.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

describe('durations', () => {
  it.each([
    [-5, '0 s'],
    [59_999, '59 s'],
    [MINUTE, '1 min'],
    [HOUR - 1, '59 min'],
    [HOUR, '1 h'],
    [3 * HOUR + 12 * MINUTE + 59 * SECOND, '3 h 12 min'],
    [24 * HOUR, '1 d'],
    [400 * 24 * HOUR + 23 * HOUR, '400 d 23 h'],
  ])('%d ms are %s', (milliseconds, text) => {
    expect(duration(milliseconds)).toBe(text)
  })

  it.each([
    [undefined, '-'],
    [0, '0 ms'],
    [0.0105, '0.0105 ms'],
    [12.345, '12.3 ms'],
    [999.4, '999 ms'],
    [999.6, '1 s'],
    [1234.5, '1.23 s'],
    [29_999, '30 s'],
  ])('a reply time of %s ms is %s', (milliseconds, text) => {
    expect(replyTime(milliseconds)).toBe(text)
  })
})

describe('tables', () => {
  it('have columns as wide as they must be, numbers to the right, and no space at the end', () => {
    const columns = [{ head: 'NAME' }, { head: 'COUNT', align: 'right' as const }, { head: 'LAST' }]
    expect(
      table(columns, [
        ['jülïet', '5', ''],
        ['😀', '12345678', 'x'],
      ]),
    ).toEqual(['NAME       COUNT  LAST', 'jülïet         5', '😀       12345678  x'])
  })

  it('show what would control the terminal', () => {
    expect(table([{ head: 'A' }], [['\u001b[2J\n\u009b\u202e']])).toEqual([
      'A',
      '\\u001b[2J\\n\\u009b\\u202e',
    ])
    expect(pairs([['name', 'a\rb']])).toEqual(['name  a\\rb'])
  })
})

describe('delegations', () => {
  const now = 1_800_000_000_000
  const figures: DelegationFigures = {
    host: 'capulet.lit',
    namespace: 'http://jabber.org/protocol/pubsub',
    manager: 'pubsub.capulet.lit',
    connections: 1,
    connectedSince: now - 3 * HOUR,
    pending: 2,
    forwarded: 120,
    answered: 100,
    failed: 3,
    refused: { 'F4-id': 4, 'F4-from': 1, 'F8-sender': 0 },
    timedOut: 6,
    unavailable: 7,
    replyMs: { median: 0.5, p99: 20 },
  }

  it('are a table where that fits', () => {
    for (const width of [undefined, 200]) {
      const lines = describeDelegations([figures], undefined, width, now)
      expect(lines[1]!.split(/ {2,}/)).toEqual([
        ...['capulet.lit', 'http://jabber.org/protocol/pubsub', 'pubsub.capulet.lit', '3 h'],
        ...['2', '120', '100', '3', '5', '6', '7', '0.5 ms', '20 ms'],
      ])
      expect(lines.at(-1)).toMatch(/pubsub: 4 F4-id, 1 F4-from$/)
    }
  })

  it('are told one after the other where the terminal is too narrow for a table', () => {
    const away = { ...figures, connections: 0, connectedSince: undefined, refused: {}, replyMs: {} }
    const lines = describeDelegations([figures, away], undefined, 80, now)
    expect(lines.map((line) => line.replace(/\(since .*\)/, '(since …)'))).toEqual([
      'capulet.lit  http://jabber.org/protocol/pubsub',
      '  manager        pubsub.capulet.lit',
      '  connected for  3 h (since …)',
      '  pending        2',
      '  forwarded      120',
      '  answered       100',
      '  failed         3',
      '  refused        5: 4 F4-id, 1 F4-from',
      '  timed out      6',
      '  unavailable    7',
      '  reply time     median 0.5 ms, 99 % within 20 ms',
      '',
      'capulet.lit  http://jabber.org/protocol/pubsub',
      '  manager        pubsub.capulet.lit',
      '  connected for  not connected',
      '  pending        2',
      '  forwarded      120',
      '  answered       100',
      '  failed         3',
      '  refused        0',
      '  timed out      6',
      '  unavailable    7',
      '  reply time     median -, 99 % within -',
    ])
  })
})
