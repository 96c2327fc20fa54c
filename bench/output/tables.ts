// One table for each section: a row a scenario, a column a peer, and how Legate stands to the others.

import { clusterTable } from './cluster-table.ts'
import { type BenchDocument, DETAIL, type PeerEntry, type ScenarioEntry, SECTIONS } from './document.ts'
import {
  DASH,
  detailOf,
  digits,
  firstOf,
  labelOf,
  measuredPeers,
  OWN,
  ratioOf,
  ratioText,
  type Series,
  seriesOf,
  summaryOf,
  thousands,
} from './figures.ts'
import type { Field, Row, Table } from './layout.ts'

/** What the figures of a section are, each after its unit. */
const CAPTIONS = {
  traffic: ['Traffic', 'of server CPU per operation'],
  login: ['Login', 'of server CPU per login'],
  memory: ['Memory', 'of resident memory per session'],
  growth: ['Growth', 'of server CPU per operation, × the first of its series'],
  load: ['Reply times', 'p50 / p99 in ms (operations per second)'],
  cluster: ['Several processes', 'over Redis; % of one processor'],
  soak: ['Soak', 'of resident memory at the end'],
} as const

/** The tables of all sections that have anything measured. */
export function sectionTables(document: BenchDocument): Table[] {
  return SECTIONS.flatMap((section) => {
    const scenarios = document.scenarios.filter((scenario) => scenario.section === section)
    const peers = measuredPeers(document, scenarios)
    if (peers.length === 0) return []
    const [title, what] = CAPTIONS[section]
    if (section === 'load') return [loadTable(document, scenarios, peers, `${title}: ${what}`)]
    if (section === 'cluster') {
      return peers.map((peer) =>
        clusterTable(document, scenarios, peer, `${title}, ${labelOf(document, peer)}: ${what}`),
      )
    }
    const units = new Set(scenarios.map(({ unit }) => unit))
    const caption = units.size === 1 ? `${title}: ${[...units][0]} ${what}` : title
    return [costTable(document, scenarios, peers, caption)]
  })
}

function costTable(
  document: BenchDocument,
  scenarios: readonly ScenarioEntry[],
  peers: readonly PeerEntry[],
  caption: string,
): Table {
  const references = peers.some(({ name }) => name === OWN) ? peers.filter(({ name }) => name !== OWN) : []
  const oneUnit = scenarios.every(({ unit }) => unit === scenarios[0]!.unit)
  const series = seriesOf(scenarios)
  const rows = series.flatMap((one) =>
    one.rows.map(({ scenario }): Row => {
      const own = summaryOf(document, OWN, scenario.name)?.median
      const medians = references.map(({ name }) => summaryOf(document, name, scenario.name)?.median)
      return {
        title: oneUnit ? scenario.title : `${scenario.title}, ${scenario.unit}`,
        fields: [
          ...peers.map((peer) => figureField(document, peer.name, scenario, one)),
          ...medians.map((median) => [ratioText(ratioOf(own, median))]),
        ],
      }
    }),
  )
  return {
    caption,
    heading: [
      ...peers.map((peer) => [labelOf(document, peer)]),
      ...references.map((peer) => ['÷', labelOf(document, peer)]),
    ],
    rows,
  }
}

/** Median, growth since the first of its series, and spread. */
function figureField(document: BenchDocument, peer: string, scenario: ScenarioEntry, series: Series): Field {
  const summary = summaryOf(document, peer, scenario.name)
  if (summary === undefined) return [DASH]
  const { median, min, max } = summary
  const growth = scenario.series && ratioOf(median, firstOf(document, peer, series))
  const figure = growth === undefined ? digits(median) : `${digits(median)} ×${digits(growth)}`
  return min === max ? [figure] : [figure, `(${digits(min)}–${digits(max)})`]
}

function loadTable(
  document: BenchDocument,
  scenarios: readonly ScenarioEntry[],
  peers: readonly PeerEntry[],
  caption: string,
): Table {
  const detail = (peer: PeerEntry, { name }: ScenarioEntry, which: keyof typeof DETAIL) =>
    detailOf(document, peer.name, name, DETAIL[which])
  const rows = seriesOf(scenarios).flatMap((series) =>
    series.rows.map(({ scenario }) => ({
      title: scenario.title,
      fields: peers.map((peer) => {
        const [p50, p99] = [detail(peer, scenario, 'p50'), detail(peer, scenario, 'p99')]
        const rate = detail(peer, scenario, 'rate')
        if (p50 === undefined && p99 === undefined && rate === undefined) return [DASH]
        const times = [p50, p99].map((time) => (time === undefined ? DASH : digits(time))).join(' / ')
        return [times, `(${rate === undefined ? DASH : thousands(rate)})`]
      }),
    })),
  )
  return { caption, heading: peers.map((peer) => [labelOf(document, peer)]), rows }
}
