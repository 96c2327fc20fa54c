// The picture of what an operation and a login cost each peer: bars on a logarithmic axis.
import { type BenchDocument, type PeerEntry, type ScenarioEntry, SECTIONS } from './document.ts'
import { digits, FLOOR, labelOf, measuredPeers, ratioOf, ratioText, summaryOf } from './figures.ts'
import { type LogScale, logScale, tickText } from './scale.ts'
import {
  BELOW_TITLE,
  colourOf,
  element,
  escapeXml,
  hundredths,
  line,
  MARGIN,
  type Markup,
  svgFile,
  text,
} from './svg.ts'

const SHOWN: readonly string[] = SECTIONS.filter((section) => section === 'traffic' || section === 'login')
const WIDTH = 860
const LABEL_ROOM = 90
const VALUE_ROOM = 150
const BAR = 13
const BAR_STEP = 19
const GROUP_HEAD = 24
const GROUP_GAP = 12
const CAP = 3
const NOTE = 'Logarithmic axis. Whiskers: from the least to the greatest round.'

/** The picture as an SVG file; undefined when nothing that it shows was measured. */
export function costPicture(document: BenchDocument): string | undefined {
  const shown = document.scenarios.filter(({ section, unit }) => SHOWN.includes(section) && unit === 'µs')
  const scenarios = shown.filter((scenario) => measuredPeers(document, [scenario]).length > 0)
  const peers = measuredPeers(document, scenarios)
  if (peers.length === 0) return undefined

  const summaries = scenarios.flatMap(({ name }) =>
    peers.flatMap((peer) => summaryOf(document, peer.name, name) ?? []),
  )
  const left = MARGIN + LABEL_ROOM
  const right = WIDTH - MARGIN - VALUE_ROOM
  const values = summaries.flatMap(({ min, max, median }) => [min, max, median])
  const scale = logScale(values, left, right, decadeBelow(values))
  const groupHeight = GROUP_HEAD + peers.length * BAR_STEP + GROUP_GAP
  const top = BELOW_TITLE + 16
  const bottom = top + scenarios.length * groupHeight
  const groups = scenarios.map((scenario, index) =>
    groupOf(document, scenario, peers, scale, top + index * groupHeight),
  )
  return svgFile(document, {
    name: 'cost',
    title: 'Cost: µs of server CPU per operation',
    description: describe(document, scenarios, peers),
    width: WIDTH,
    height: bottom + 50,
    body: [text(MARGIN, BELOW_TITLE, NOTE, { class: 'small faint' }), ...groups, axisNumbers(scale, bottom)],
  })
}

/** The power of ten below all values, so that the shortest bar is one. */
function decadeBelow(values: readonly number[]): number[] {
  const shown = values.filter((value) => value > 0)
  return shown.length === 0 ? [] : [10 ** (Math.ceil(Math.log10(Math.min(...shown))) - 1)]
}

function axisNumbers(scale: LogScale, bottom: number): Markup {
  const numbers = scale.ticks.map((tick) =>
    text(scale.at(tick), bottom + 8, `${tickText(tick)} µs`, { class: 'small faint', anchor: 'middle' }),
  )
  return element('g', {}, numbers)
}

function groupOf(
  document: BenchDocument,
  scenario: ScenarioEntry,
  peers: readonly PeerEntry[],
  scale: LogScale,
  top: number,
): Markup {
  const [first, last] = [top + GROUP_HEAD, top + GROUP_HEAD + peers.length * BAR_STEP]
  const grid = scale.ticks.map((tick) => line(scale.at(tick), first, scale.at(tick), last, 'grid'))
  const rows = peers.flatMap((peer, index) => {
    const middle = first + index * BAR_STEP + BAR_STEP / 2
    const label = text(MARGIN + LABEL_ROOM - 8, middle + 4, labelOf(document, peer), { anchor: 'end' })
    return [label, ...barOf(document, scenario, peer, scale, middle)]
  })
  return element('g', {}, [text(MARGIN, top + 16, scenario.title, { class: 'strong' }), ...grid, ...rows])
}

function barOf(
  document: BenchDocument,
  { name }: ScenarioEntry,
  peer: PeerEntry,
  scale: LogScale,
  middle: number,
): Markup[] {
  const start = scale.at(0)
  const summary = summaryOf(document, peer.name, name)
  if (summary === undefined) return [text(start + 6, middle + 4, 'not measured', { class: 'small faint' })]
  const { median, min, max } = summary
  const [end, low, high] = [scale.at(median), scale.at(min), scale.at(max)]
  const marks = [
    element('rect', {
      x: start,
      y: middle - BAR / 2,
      width: end - start,
      height: BAR,
      class: `fill-${colourOf(peer)}`,
    }),
  ]
  if (high > low) marks.push(whiskers(low, high, middle))
  const figure = element('tspan', { class: 'strong' }, [`${digits(median)} µs`])
  const multiple = multipleOf(document, peer, name)
  const parts =
    multiple === undefined ? [figure] : [figure, element('tspan', { dx: 8 }, [escapeXml(multiple)])]
  marks.push(element('text', { x: Math.max(end, high) + 8, y: middle + 4, class: 'small over' }, parts))
  return marks
}

/** From the least to the greatest round; on a seam of the background's colour, to be seen on any bar. */
function whiskers(low: number, high: number, middle: number): Markup {
  const cap = (x: number) => `M${hundredths(x)} ${hundredths(middle - CAP)}v${2 * CAP}`
  const d = `M${hundredths(low)} ${hundredths(middle)}H${hundredths(high)}${cap(low)}${cap(high)}`
  return element('path', { d, class: 'seam' }) + element('path', { d, class: 'whisker' })
}

/** How many times the floor a peer costs; undefined for the floor itself, or without it. */
function multipleOf(document: BenchDocument, peer: PeerEntry, scenario: string): string | undefined {
  if (peer.name === FLOOR) return undefined
  const own = summaryOf(document, peer.name, scenario)?.median
  const ratio = ratioOf(own, summaryOf(document, FLOOR, scenario)?.median)
  return ratio === undefined ? undefined : `${ratioText(ratio)} × floor`
}

function describe(
  document: BenchDocument,
  scenarios: readonly ScenarioEntry[],
  peers: readonly PeerEntry[],
): string {
  const sentences = scenarios.map(({ name, title }) => {
    const parts = peers.flatMap((peer) => {
      const summary = summaryOf(document, peer.name, name)
      if (summary === undefined) return []
      const multiple = multipleOf(document, peer, name)
      const figure = `${labelOf(document, peer)} ${digits(summary.median)} µs`
      return [multiple === undefined ? figure : `${figure} (${multiple})`]
    })
    return `${title}: ${parts.join(', ')}.`
  })
  return `Horizontal bars. ${NOTE} ${sentences.join(' ')}`
}
