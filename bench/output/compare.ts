// Two runs beside each other: what became dearer, what cheaper, and what cannot be told.
import { summarize } from '../statistics.ts'
import type { BenchDocument, ScenarioEntry } from './document.ts'
import { digits, FLOOR, labelOf, OWN, ratioOf, valuesOf } from './figures.ts'
import { oneLine, TEXT_WIDTH, wrap } from './layout.ts'

/** A change counts from here on, if it is also beyond the spread of both runs. */
const LEAST_CHANGE = 0.05
/** The same where a run had one round only, so that its spread is not known. */
const LEAST_CHANGE_UNKNOWN_SPREAD = 0.15
/** A setting that changes the spread, but not what is measured. */
const SETTINGS_ASIDE = ['rounds']

const OLD_ONLY = 'in the old run only'
const NEW_ONLY = 'in the new run only'

/** How one peer's cost in one scenario changed. */
interface Change {
  peer: string
  /** Relative: 0.1 is a tenth dearer. */
  by: number
  line: string
  counts: boolean
}

/** What could not be compared. */
interface Gap {
  peer: string
  scenario: string
  why: string
}

/** Some figures of a run: their middle in the table's sense, and the range of the rounds. */
interface Figures {
  middle: number
  min: number
  max: number
  rounds: number
}

/**
 * Tells what became dearer and what cheaper from the old run to the new one. CPU is compared by its ratio to the
 * floor of the same run where both runs have that, as machines differ and drift; memory, which does not depend on
 * the speed of a machine, and what has no floor beside it, are compared plainly.
 */
export function compare(old: BenchDocument, now: BenchDocument): string {
  const { changes, gaps } = changesOf(old, now)
  const counting = changes.filter(({ counts }) => counts).sort((a, b) => Math.abs(b.by) - Math.abs(a.by))
  const linesOf = (chosen: readonly Change[]) => chosen.map(({ line }) => line)
  const same = changes.length - counting.length
  const blocks = [
    `Compared with the run of ${oneLine(old.environment.date)}`,
    listed('Dearer', linesOf(counting.filter(({ by }) => by > 0))),
    listed('Cheaper', linesOf(counting.filter(({ by }) => by < 0))),
    `Within ${percent(LEAST_CHANGE)} or the spread of the rounds: ${same} of ${changes.length}`,
    listed('Not compared', gapLines(gaps)),
    listed('The runs differ also in this', differences(old, now)),
  ]
  return blocks.filter((block) => block !== '').join('\n')
}

/**
 * A line for everything in which Legate became dearer, by the rules of `compare`. Other peers and the floor are left
 * out: nothing in this project can make them dearer.
 */
export function dearer(old: BenchDocument, now: BenchDocument): string[] {
  return changesOf(old, now)
    .changes.filter(({ peer, counts, by }) => peer === OWN && counts && by > 0)
    .map(({ line }) => line)
}

function changesOf(old: BenchDocument, now: BenchDocument): { changes: Change[]; gaps: Gap[] } {
  const changes: Change[] = []
  const gaps: Gap[] = []
  const before = new Map(old.scenarios.map((scenario) => [scenario.name, scenario]))
  const scenarios = new Map([
    ...before,
    ...now.scenarios.map((one): [string, ScenarioEntry] => [one.name, one]),
  ])
  const peers = new Map([...old.peers, ...now.peers].map((peer) => [peer.name, peer]))
  for (const { name: peer } of peers.values()) {
    const label = labelIn(now, peer) ?? labelIn(old, peer) ?? peer
    const missing = missingRun(old, now, peer)
    if (missing !== undefined) {
      gaps.push({ peer: label, scenario: 'everything', why: missing })
      continue
    }
    for (const scenario of scenarios.values()) {
      const outcome = changeOf(old, now, peer, scenario, before.get(scenario.name))
      if (outcome === undefined) continue
      if (typeof outcome === 'string') gaps.push({ peer: label, scenario: scenario.title, why: outcome })
      else changes.push({ ...outcome, peer, line: oneLine(`${label}, ${scenario.title}: ${outcome.line}`) })
    }
  }
  return { changes, gaps }
}

/** Which run alone has anything of a peer; undefined when both have, or neither. */
function missingRun(old: BenchDocument, now: BenchDocument, peer: string): string | undefined {
  const [before, after] = [old, now].map(({ cells }) =>
    cells.some((one) => one.peer === peer && one.rounds.length > 0),
  )
  return before === after ? undefined : before ? OLD_ONLY : NEW_ONLY
}

/** How the cost changed, or why that cannot be told; undefined where neither run measured it. */
function changeOf(
  old: BenchDocument,
  now: BenchDocument,
  peer: string,
  scenario: ScenarioEntry,
  before: ScenarioEntry | undefined,
): Omit<Change, 'peer'> | string | undefined {
  const [values, oldValues] = [valuesOf(now, peer, scenario.name), valuesOf(old, peer, scenario.name)]
  if (values.length === 0 && oldValues.length === 0) return undefined
  if (values.length === 0) return OLD_ONLY
  if (oldValues.length === 0 || before === undefined) return NEW_ONLY
  if (scenario.unit !== before.unit) return `${before.unit} in the old run, ${scenario.unit} in the new one`

  const relative = scenario.unit === 'µs' && peer !== FLOOR
  const ratios = relative ? [toFloor(old, scenario.name, oldValues), toFloor(now, scenario.name, values)] : []
  const byRatio = ratios[0] !== undefined && ratios[1] !== undefined
  const was = byRatio ? ratios[0]! : figuresOf(oldValues)
  const is = byRatio ? ratios[1]! : figuresOf(values)
  if (!(was.middle > 0)) return `${digits(was.middle)} ${scenario.unit} in the old run gives no ratio`

  const by = (is.middle - was.middle) / was.middle
  const apart = is.min > was.max || is.max < was.min
  const known = is.rounds > 1 && was.rounds > 1
  const counts = apart && Math.abs(by) > (known ? LEAST_CHANGE : LEAST_CHANGE_UNKNOWN_SPREAD)
  const unit = byRatio ? '× floor' : scenario.unit
  const line = `${withSpread(is, unit)}, was ${withSpread(was, unit)}: ${signed(by)}${known ? '' : ', spread unknown'}`
  return { by, counts, line }
}

/**
 * A peer's figures as ratios to the floor: round by round where both have as many, as they were measured in turn; else
 * with a spread as wide as those of both allow.
 */
function toFloor(document: BenchDocument, scenario: string, values: readonly number[]): Figures | undefined {
  const floors = valuesOf(document, FLOOR, scenario)
  if (floors.length === 0) return undefined
  const [own, floor] = [summarize(values), summarize(floors)]
  const middle = ratioOf(own.median, floor.median)
  if (middle === undefined || !(floor.min > 0)) return undefined
  const rounds = Math.min(values.length, floors.length)
  if (floors.length !== values.length)
    return { middle, min: own.min / floor.max, max: own.max / floor.min, rounds }
  const { min, max } = summarize(values.map((value, round) => value / floors[round]!))
  return { middle, min, max, rounds }
}

function figuresOf(values: readonly number[]): Figures {
  const { median, min, max } = summarize(values)
  return { middle: median, min, max, rounds: values.length }
}

/** A line for all scenarios that miss the same peers for the same reason. */
function gapLines(gaps: readonly Gap[]): string[] {
  const byScenario = grouped(gaps, ({ scenario, why }) => JSON.stringify([why, scenario]))
  const byPeers = grouped(byScenario, (group) =>
    JSON.stringify([group[0].why, group.map(({ peer }) => peer)]),
  )
  return byPeers.map((groups) => {
    const [[{ why }]] = groups
    const peers = groups[0].map(({ peer }) => peer).join(', ')
    return oneLine(`${peers}, ${why}: ${groups.map(([{ scenario }]) => scenario).join('; ')}`)
  })
}

/** Items with equal keys together, in the order of the first of each. */
function grouped<T>(items: readonly T[], keyOf: (item: T) => string): [T, ...T[]][] {
  const groups = new Map<string, [T, ...T[]]>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group === undefined) groups.set(keyOf(item), [item])
    else group.push(item)
  }
  return [...groups.values()]
}

/** What else differs between the runs, and may be the reason. */
function differences(old: BenchDocument, now: BenchDocument): string[] {
  const lines: string[] = []
  for (const key of ['cpu', 'node', 'pinned'] as const) {
    const [was, is] = [old.environment[key], now.environment[key]]
    if (was !== is) lines.push(oneLine(`${key} was ${String(was)}, is ${String(is)}`))
  }
  for (const key of new Set([...Object.keys(old.settings), ...Object.keys(now.settings)])) {
    const [was, is] = [old.settings[key], now.settings[key]].map(
      (value) => JSON.stringify(value) ?? 'not set',
    )
    if (was !== is && !SETTINGS_ASIDE.includes(key))
      lines.push(oneLine(`the setting ${key} was ${was}, is ${is}`))
  }
  for (const { name, title } of now.peers) {
    const before = old.peers.find((peer) => peer.name === name)
    if (before !== undefined && before.title !== title)
      lines.push(oneLine(`${name} was ${before.title}, is ${title}`))
  }
  return lines
}

function labelIn(document: BenchDocument, name: string): string | undefined {
  const peer = document.peers.find((one) => one.name === name)
  return peer && labelOf(document, peer)
}

/** A heading and its lines, broken where they are too long for the terminal. */
function listed(heading: string, lines: readonly string[]): string {
  if (lines.length === 0) return ''
  const broken = lines.flatMap((line) => {
    const [first, ...rest] = wrap(line, TEXT_WIDTH - 4)
    return [`  ${first}`, ...rest.map((more) => `    ${more}`)]
  })
  return [`${heading}:`, ...broken].join('\n')
}

function withSpread({ middle, min, max, rounds }: Figures, unit: string): string {
  return rounds > 1
    ? `${digits(middle)} ${unit} (${digits(min)}–${digits(max)})`
    : `${digits(middle)} ${unit}`
}

function signed(share: number): string {
  return `${share < 0 ? '−' : '+'}${percent(Math.abs(share))}`
}

function percent(share: number): string {
  const value = share * 100
  return `${value.toFixed(value < 10 && !Number.isInteger(value) ? 1 : 0)} %`
}
