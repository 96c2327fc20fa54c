// What is made of the results: tables for the terminal, files to keep, and a comparison of two runs.
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { summarize } from '../statistics.ts'
import type { BenchDocument } from './document.ts'
import { digits, labelOf } from './figures.ts'
import { goalsTable } from './goals.ts'
import { markdownTable, markdownText, oneLine, textTables } from './layout.ts'
import { costPicture } from './picture-cost.ts'
import { growthPicture } from './picture-growth.ts'
import { loadPicture } from './picture-load.ts'
import { sectionTables } from './tables.ts'

export { compare, dearer } from './compare.ts'
export {
  type BenchDocument,
  type Cell,
  DETAIL,
  DOCUMENT_VERSION,
  type PeerEntry,
  readDocument,
  type ScenarioEntry,
} from './document.ts'
export { digits } from './figures.ts'

/** What to print. */
export interface PrintOptions {
  /** Also the medians of what was seen beside the figures, a line for each peer and scenario. */
  details?: boolean
}

/** The results as text for a terminal of 110 columns: a table a section, the goals, and where it was measured. */
export function printTables(document: BenchDocument, options: PrintOptions = {}): string {
  const goals = goalsTable(document)
  const blocks = [
    textTables(sectionTables(document)),
    goals === undefined ? '' : textTables([goals]),
    options.details === true ? detailLines(document).join('\n') : '',
    closingLines(document).map(oneLine).join('\n'),
  ]
  return blocks.filter((block) => block !== '').join('\n\n')
}

/** A picture beside the JSON: the end of its name, what it is called, and how it is drawn if there is what it shows. */
const PICTURES = [
  { suffix: 'cost', title: 'Cost beside the floor and the peers', draw: costPicture },
  { suffix: 'load', title: 'Reply time by load', draw: loadPicture },
  { suffix: 'growth', title: 'How the cost grows', draw: growthPicture },
] as const

/**
 * Writes the results as JSON to `file`, and beside it the tables as Markdown (`.md`) and the pictures (`-cost.svg`,
 * `-load.svg`, `-growth.svg`) of what was measured. Makes the folder if it is missing.
 * @returns the paths of what was written, the JSON first
 */
export async function writeResults(document: BenchDocument, file: string): Promise<string[]> {
  const stem = file.replace(/\.json$/, '')
  const pictures = PICTURES.flatMap(({ suffix, title, draw }) => {
    const content = draw(document)
    return content === undefined ? [] : [{ path: `${stem}-${suffix}.svg`, title, content }]
  })
  const files = [
    { path: file, content: `${JSON.stringify(document, undefined, 2)}\n` },
    { path: `${stem}.md`, content: markdown(document, pictures) },
    ...pictures,
  ]
  await mkdir(dirname(file), { recursive: true })
  for (const { path, content } of files) {
    // Results are saved while a run goes on: if that is interrupted here, what was saved before is still whole.
    await writeFile(`${path}.part`, content)
    await rename(`${path}.part`, path)
  }
  return files.map(({ path }) => path)
}

function markdown(document: BenchDocument, pictures: readonly { path: string; title: string }[]): string {
  const tables = sectionTables(document)
  const goals = goalsTable(document)
  const blocks = [
    '# Bench results',
    ...(goals === undefined ? tables : [...tables, goals]).flatMap((table) => [
      `## ${markdownText(table.caption)}`,
      markdownTable(table),
    ]),
    ...pictures.map(({ path, title }) => `![${title}](${encodeURIComponent(basename(path))})`),
    ...closingLines(document).map(markdownText),
  ]
  return `${blocks.join('\n\n')}\n`
}

/** What the columns are, and where the numbers come from. */
function closingLines(document: BenchDocument): string[] {
  const { cpu, node, date, pinned } = document.environment
  const peers = document.peers.map((peer) => {
    const label = labelOf(document, peer)
    return peer.title.startsWith(label) ? peer.title : `${label}: ${peer.title}`
  })
  const counts = document.cells.map(({ rounds }) => rounds.length).filter((count) => count > 0)
  const rounds = counts.length === 0 ? 0 : Math.max(...counts)
  const processors = pinned ? '' : 'not bound to processors, '
  return [
    `Median (least–greatest) of ${rounds === 1 ? 'one round' : `${rounds} rounds`}. ÷: Legate to that peer.`,
    `${peers.join('; ')}. ${cpu}, ${processors}Node ${node}, ${date}.`,
  ]
}

function detailLines(document: BenchDocument): string[] {
  return document.cells.flatMap(({ peer, scenario, rounds }) => {
    const names = [...new Set(rounds.flatMap(({ details }) => Object.keys(details)))]
    if (names.length === 0) return []
    const parts = names.map((name) => {
      const { median } = summarize(rounds.flatMap(({ details }) => details[name] ?? []))
      return `${name} ${digits(median)}`
    })
    return [oneLine(`${scenario}, ${peer}: ${parts.join(', ')}`)]
  })
}
