// Looking results up, and writing numbers for people.
import { type Summary, summarize } from '../statistics.ts'
import type { BenchDocument, PeerEntry, ScenarioEntry } from './document.ts'

/** The peer that the bench is about. */
export const OWN = 'legate'

/** The peer that costs what sockets alone cost. */
export const FLOOR = 'floor'

/** What stands where nothing was measured. */
export const DASH = '–'

/** Median, least and greatest of a cell's rounds; undefined when it was not measured. */
export function summaryOf(document: BenchDocument, peer: string, scenario: string): Summary | undefined {
  const values = valuesOf(document, peer, scenario)
  return values.length === 0 ? undefined : summarize(values)
}

/** The figure of each round. */
export function valuesOf(document: BenchDocument, peer: string, scenario: string): number[] {
  return roundsOf(document, peer, scenario).map(({ value }) => value)
}

/** The median of a detail over the rounds that have it; undefined when none has. */
export function detailOf(
  document: BenchDocument,
  peer: string,
  scenario: string,
  detail: string,
): number | undefined {
  const values = roundsOf(document, peer, scenario).flatMap(({ details }) => details[detail] ?? [])
  return values.length === 0 ? undefined : summarize(values).median
}

/** The ratio of two figures; undefined where there are none, or nothing to divide by. */
export function ratioOf(figure: number | undefined, reference: number | undefined): number | undefined {
  if (figure === undefined || reference === undefined || !(reference > 0)) return undefined
  return figure / reference
}

/** The peers of which anything was measured, in order. */
export function measuredPeers(document: BenchDocument, scenarios: readonly ScenarioEntry[]): PeerEntry[] {
  return document.peers.filter((peer) =>
    scenarios.some((scenario) => roundsOf(document, peer.name, scenario.name).length > 0),
  )
}

/** How a peer is called where there is little room: the first word of its title, if that tells it from the rest. */
export function labelOf(document: BenchDocument, peer: PeerEntry): string {
  const firstWord = ({ title }: PeerEntry) => title.trim().split(/\s/, 1)[0]!
  const word = firstWord(peer)
  const unique = word !== '' && document.peers.every((other) => other === peer || firstWord(other) !== word)
  return unique ? word : peer.name
}

/** Rows that belong together: the same section and series, by their place in it. */
export interface Series {
  name: string
  unit: string
  rows: { scenario: ScenarioEntry; at: number }[]
}

/** The series of some scenarios, in the order of their first rows; rows without a series are a series each. */
export function seriesOf(scenarios: readonly ScenarioEntry[]): Series[] {
  const byKey = new Map<string, Series>()
  for (const scenario of scenarios) {
    const { name, unit, at } = scenario.series ?? { name: scenario.title, unit: '', at: 0 }
    const key = scenario.series === undefined ? `row ${scenario.name}` : `series ${name}`
    let series = byKey.get(key)
    if (series === undefined) {
      series = { name, unit, rows: [] }
      byKey.set(key, series)
    }
    series.rows.push({ scenario, at })
  }
  for (const { rows } of byKey.values()) rows.sort((a, b) => a.at - b.at)
  return [...byKey.values()]
}

/** The median that a peer's other figures in a series are relative to; undefined when it was not measured. */
export function firstOf(document: BenchDocument, peer: string, series: Series): number | undefined {
  const first = series.rows[0]
  return first && summaryOf(document, peer, first.scenario.name)?.median
}

/** The order in which curves are drawn: Legate's last, so that no other covers it. */
export function ownLast<T extends { peer: PeerEntry }>(curves: readonly T[]): T[] {
  const isOwn = ({ peer }: T) => Number(peer.name === OWN)
  return [...curves].sort((a, b) => isOwn(a) - isOwn(b))
}

/** A number with two or three significant digits, or all before the point. */
export function digits(value: number): string {
  const magnitude = Math.abs(value)
  if (magnitude > 0 && magnitude < 0.1) return value.toPrecision(2)
  return value.toFixed(magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : 2)
}

/** A ratio: how many times as much, or which part of it (`1/26`) where that is below a half. */
export function ratioText(ratio: number | undefined): string {
  if (ratio === undefined) return DASH
  return ratio > 0 && ratio < 0.5 ? `1/${digits(1 / ratio)}` : digits(ratio)
}

/** A whole number with its thousands told apart. */
export function thousands(value: number): string {
  return Math.round(value).toLocaleString('en')
}

function roundsOf(document: BenchDocument, peer: string, scenario: string) {
  return document.cells.find((cell) => cell.peer === peer && cell.scenario === scenario)?.rounds ?? []
}
