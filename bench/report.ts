// The results as tables: aligned text for the terminal, Markdown, and a line for each detail.
import type { BenchPeer } from './peers/peer.ts'
import type { Measurement, Scenario } from './scenarios/scenario.ts'
import { summarize } from './statistics.ts'

/** What the rounds gave for one peer and one scenario. */
export interface Cell {
  peer: string
  scenario: string
  rounds: Measurement[]
}

/** All results, and in what order they are shown. */
export interface Results {
  peers: readonly Pick<BenchPeer, 'name' | 'title'>[]
  scenarios: readonly Pick<Scenario, 'name' | 'title' | 'unit'>[]
  cells: readonly Cell[]
}

/** Peers that the others are compared with, if they were measured. */
const REFERENCES = ['floor', 'prosody']

/** One row a peer; three columns a scenario: the figure, and how it stands to the floor and to Prosody. */
export function tableRows(results: Results): string[][] {
  const heading = ['']
  for (const { title, unit } of results.scenarios) {
    heading.push(`${title}, ${unit}`, ...REFERENCES.map((reference) => `÷ ${reference}`))
  }
  const rows = results.peers.map((peer) => {
    const row = [peer.title()]
    for (const scenario of results.scenarios) {
      const own = medianOf(results, peer.name, scenario.name)
      row.push(figure(results, peer.name, scenario.name))
      for (const reference of REFERENCES) row.push(ratio(own, medianOf(results, reference, scenario.name)))
    }
    return row
  })
  return [heading, ...rows]
}

/** Rows as text: the first column to the left, the others to the right. */
export function textTable(rows: readonly string[][]): string {
  const widths = columnWidths(rows)
  return rows
    .map((row) => row.map((cell, column) => align(cell, widths[column]!, column)).join('  '))
    .map((line) => line.trimEnd())
    .join('\n')
}

/** Rows as a Markdown table. */
export function markdownTable(rows: readonly string[][]): string {
  const widths = columnWidths(rows)
  const rule = widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  const [heading, ...rest] = rows
  return [heading!, rule, ...rest]
    .map((row) => `| ${row.map((cell, column) => align(cell, widths[column]!, column)).join(' | ')} |`)
    .join('\n')
}

/** The medians of what was seen beside the figures, a line for each peer and scenario. */
export function detailLines(results: Results): string[] {
  return results.cells.map(({ peer, scenario, rounds }) => {
    const names = Object.keys(rounds[0]?.details ?? {})
    const parts = names.map((name) => {
      const { median } = summarize(rounds.map((round) => round.details[name] ?? 0))
      return `${name} ${digits(median)}`
    })
    return `${scenario}, ${peer}: ${parts.join(', ')}`
  })
}

/** A number with two or three significant digits, or all before the point. */
export function digits(value: number): string {
  const magnitude = Math.abs(value)
  if (magnitude > 0 && magnitude < 0.1) return value.toPrecision(2)
  return value.toFixed(magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : 2)
}

function figure(results: Results, peer: string, scenario: string): string {
  const rounds = find(results, peer, scenario)
  if (rounds.length === 0) return ''
  const { median, min, max } = summarize(rounds.map((round) => round.value))
  return rounds.length === 1 ? digits(median) : `${digits(median)} (${digits(min)}–${digits(max)})`
}

function ratio(own: number | undefined, other: number | undefined): string {
  return own === undefined || other === undefined ? '' : digits(own / other)
}

function medianOf(results: Results, peer: string, scenario: string): number | undefined {
  const rounds = find(results, peer, scenario)
  return rounds.length === 0 ? undefined : summarize(rounds.map((round) => round.value)).median
}

function find(results: Results, peer: string, scenario: string): readonly Measurement[] {
  return results.cells.find((cell) => cell.peer === peer && cell.scenario === scenario)?.rounds ?? []
}

function columnWidths(rows: readonly string[][]): number[] {
  return rows[0]!.map((_, column) => Math.max(4, ...rows.map((row) => row[column]!.length)))
}

function align(cell: string, width: number, column: number): string {
  return column === 0 ? cell.padEnd(width) : cell.padStart(width)
}
