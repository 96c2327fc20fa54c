// The table of a server that is several processes over Redis: what an operation costs it, how long it takes, and what
// Redis has to do for it.
import { type BenchDocument, DETAIL, type PeerEntry, type ScenarioEntry } from './document.ts'
import { DASH, detailOf, digits, summaryOf, thousands } from './figures.ts'
import type { Field, Row, Table } from './layout.ts'

/** Fewer commands for an operation than that are none: what Redis is asked for now and then, and nothing's cause. */
export const NO_COMMANDS = 0.01

/**
 * A row a scenario, for one peer.
 */
export function clusterTable(
  document: BenchDocument,
  scenarios: readonly ScenarioEntry[],
  peer: PeerEntry,
  caption: string,
): Table {
  const rows = scenarios.map((scenario): Row => {
    const detail = (which: keyof typeof DETAIL, write: (value: number) => string): string => {
      const value = detailOf(document, peer.name, scenario.name, DETAIL[which])
      return value === undefined ? DASH : write(value)
    }
    const shares = (['serverShare', 'redisShare', 'loadShare', 'otherShare'] as const).map((which) =>
      detail(which, (share) => share.toFixed(0)),
    )
    return {
      title: scenario.title,
      fields: [
        figure(document, peer, scenario),
        [detail('p50', digits)],
        [detail('rate', thousands)],
        [detail('commands', (count) => (count < NO_COMMANDS ? '0' : digits(count)))],
        [shares.every((share) => share === DASH) ? DASH : shares.join(' / ')],
      ],
    }
  })
  return {
    caption,
    heading: [
      ['µs of', 'server CPU'],
      ['p50', 'ms'],
      ['operations', 'per second'],
      ['Redis', 'commands'],
      ['% CPU: server /', 'Redis / load / other'],
    ],
    rows,
  }
}

function figure(document: BenchDocument, peer: PeerEntry, { name }: ScenarioEntry): Field {
  const summary = summaryOf(document, peer.name, name)
  if (summary === undefined) return [DASH]
  const { median, min, max } = summary
  return min === max ? [digits(median)] : [digits(median), `(${digits(min)}–${digits(max)})`]
}
