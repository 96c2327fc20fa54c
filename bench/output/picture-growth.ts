// The picture of how the cost grows: a small one for each series, relative to the series' first row.
import type { BenchDocument, PeerEntry } from './document.ts'
import { digits, firstOf, labelOf, ownLast, ratioOf, type Series, seriesOf, summaryOf } from './figures.ts'
import { spread } from './labels.ts'
import { logScale, tickText } from './scale.ts'
import {
  BELOW_TITLE,
  colourOf,
  element,
  line,
  MARGIN,
  type Markup,
  marker,
  polyline,
  svgFile,
  text,
} from './svg.ts'

const COLUMNS = 2
const PANEL_WIDTH = 410
const PANEL_HEIGHT = 248
const AXIS_ROOM = 40
const NAME_ROOM = 112
const HEAD = 30
const PLOT = 160
const LABEL_STEP = 15
/** Each panel shows half to double at least, so that what is flat looks flat. */
const LEAST_RANGE = [0.5, 2] as const

/** A peer's cost over a series, relative to the first row. */
interface Curve {
  peer: PeerEntry
  points: { at: number; ratio: number }[]
}

/** The picture as an SVG file; undefined when nothing that it shows was measured. */
export function growthPicture(document: BenchDocument): string | undefined {
  const scenarios = document.scenarios.filter(
    ({ section, series }) => section === 'growth' && series !== undefined,
  )
  const panels = seriesOf(scenarios)
    .map((series) => ({ series, curves: curvesOf(document, series) }))
    .filter(({ curves }) => curves.length > 0)
  if (panels.length === 0) return undefined
  const rows = Math.ceil(panels.length / COLUMNS)
  return svgFile(document, {
    name: 'growth',
    title: 'How the cost grows: relative to the first of each series',
    description: describe(document, panels),
    width: 2 * MARGIN + COLUMNS * PANEL_WIDTH,
    height: BELOW_TITLE + rows * PANEL_HEIGHT + 30,
    body: panels.map(({ series, curves }, index) => {
      const left = MARGIN + (index % COLUMNS) * PANEL_WIDTH
      const top = BELOW_TITLE + Math.floor(index / COLUMNS) * PANEL_HEIGHT
      return panel(document, series, curves, left, top)
    }),
  })
}

/** Peers of which the first row and another one were measured. */
function curvesOf(document: BenchDocument, series: Series): Curve[] {
  const curves = document.peers.map((peer) => {
    const first = firstOf(document, peer.name, series)
    const points = series.rows.flatMap(({ scenario, at }) => {
      const ratio = ratioOf(summaryOf(document, peer.name, scenario.name)?.median, first)
      // Zero has no place on a logarithmic axis.
      return ratio !== undefined && ratio > 0 ? [{ at, ratio }] : []
    })
    return { peer, points }
  })
  return ownLast(curves.filter(({ points }) => points.length > 1))
}

function panel(
  document: BenchDocument,
  series: Series,
  curves: readonly Curve[],
  panelLeft: number,
  top: number,
): Markup {
  const [left, right] = [panelLeft + AXIS_ROOM, panelLeft + PANEL_WIDTH - NAME_ROOM]
  const [upper, lower] = [top + HEAD, top + HEAD + PLOT]
  const places = [...new Set(series.rows.map(({ at }) => at))]
  const x = placesAlong(places, left + 8, right - 8)
  const ratios = curves.flatMap(({ points }) => points.map(({ ratio }) => ratio))
  const y = logScale(ratios, lower, upper, LEAST_RANGE)

  const ends = curves.map(({ points }) => y.at(points.at(-1)!.ratio))
  const heights = spread(ends, LABEL_STEP, upper, lower)
  const drawn = curves.flatMap(({ peer, points }, index) => {
    const placed = points.map(({ at, ratio }) => ({ x: x(at), y: y.at(ratio) }))
    const end = placed.at(-1)!
    const label = `${labelOf(document, peer)} ×${digits(points.at(-1)!.ratio)}`
    return [
      polyline(placed, `p50 line-${colourOf(peer)}`),
      ...placed.map((point) => marker(point, peer)),
      line(end.x + 7, end.y, right + 5, heights[index]!, 'axis'),
      text(right + 8, heights[index]! + 4, label, { class: 'small' }),
    ]
  })
  return element('g', {}, [
    text(panelLeft, top + 14, series.name, { class: 'strong' }),
    text(right, lower + 31, series.unit, { class: 'small faint', anchor: 'end' }),
    ...places.flatMap((at) => [
      line(x(at), upper, x(at), lower, 'grid'),
      text(x(at), lower + 16, tickText(at), { class: 'small faint', anchor: 'middle' }),
    ]),
    ...y.ticks.flatMap((tick) => [
      line(left, y.at(tick), right, y.at(tick), tick === 1 ? 'axis' : 'grid'),
      text(left - 6, y.at(tick) + 4, `×${tickText(tick)}`, { class: 'small faint', anchor: 'end' }),
    ]),
    ...drawn,
  ])
}

/** Where the places of a series stand: by their logarithm, or in equal steps where one of them has none. */
function placesAlong(places: readonly number[], left: number, right: number): (at: number) => number {
  const logarithmic = places.every((place) => place > 0)
  const measure = (place: number) => (logarithmic ? Math.log(place) : places.indexOf(place))
  const [first, last] = [measure(places[0]!), measure(places.at(-1)!)]
  const span = Math.max(last - first, Number.EPSILON)
  return (place) => left + ((measure(place) - first) / span) * (right - left)
}

function describe(
  document: BenchDocument,
  panels: readonly { series: Series; curves: readonly Curve[] }[],
): string {
  const sentences = panels.flatMap(({ series, curves }) =>
    curves.map(({ peer, points }) => {
      const parts = points.map(({ at, ratio }) =>
        `×${digits(ratio)} at ${tickText(at)} ${series.unit}`.trim(),
      )
      return `${series.name}, ${labelOf(document, peer)}: ${parts.join(', ')}.`
    }),
  )
  return `Lines over logarithmic axes, each beginning at 1. ${sentences.join(' ')}`
}
