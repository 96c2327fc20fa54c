// The picture of the reply time by load: p50 and p99 over operations per second, as more requests are in flight.
import { type BenchDocument, DETAIL, type PeerEntry } from './document.ts'
import { detailOf, digits, labelOf, ownLast, type Series, seriesOf, thousands } from './figures.ts'
import { LabelSpace } from './labels.ts'
import { logScale, tickText } from './scale.ts'
import {
  BELOW_TITLE,
  colourOf,
  element,
  line,
  MARGIN,
  type Markup,
  marker,
  type Point,
  polyline,
  SMALL_SIZE,
  svgFile,
  text,
  textWidth,
} from './svg.ts'

const WIDTH = 860
const AXIS_ROOM = 56
/** From the top of a panel to its plot, the plot's height, and what is below it. */
const HEAD = 28
const PLOT = 340
const FOOT = 56
const KEYS = 26

/** What is known of a peer with so many requests in flight. */
interface LoadPoint {
  inFlight: number
  rate: number
  p50: number
  p99: number | undefined
}

/** A peer's points in one series, by the number in flight. */
interface Curve {
  peer: PeerEntry
  points: LoadPoint[]
}

/** The picture as an SVG file; undefined when nothing that it shows was measured. */
export function loadPicture(document: BenchDocument): string | undefined {
  const scenarios = document.scenarios.filter(
    ({ section, series }) => section === 'load' && series !== undefined,
  )
  const panels = seriesOf(scenarios)
    .map((series) => ({ series, curves: curvesOf(document, series) }))
    .filter(({ curves }) => curves.length > 0)
  if (panels.length === 0) return undefined
  const top = BELOW_TITLE + KEYS
  const height = HEAD + PLOT + FOOT
  return svgFile(document, {
    name: 'load',
    title: 'Reply time by load',
    description: describe(document, panels),
    width: WIDTH,
    height: top + panels.length * height + 24,
    body: [
      keys(),
      ...panels.map(({ series, curves }, index) => panel(document, series, curves, top + index * height)),
    ],
  })
}

function curvesOf(document: BenchDocument, series: Series): Curve[] {
  const curves = document.peers.map((peer) => {
    const points = series.rows.flatMap(({ scenario: { name }, at }) => {
      const detail = (key: string) => detailOf(document, peer.name, name, key)
      const [rate, p50, p99] = [detail(DETAIL.rate), detail(DETAIL.p50), detail(DETAIL.p99)]
      // Zero has no place on a logarithmic axis.
      if (rate === undefined || p50 === undefined || !(rate > 0) || !(p50 > 0)) return []
      return [{ inFlight: at, rate, p50, p99: p99 !== undefined && p99 > 0 ? p99 : undefined }]
    })
    return { peer, points }
  })
  return ownLast(curves.filter(({ points }) => points.length > 0))
}

function keys(): Markup {
  const y = BELOW_TITLE + 2
  return element('g', {}, [
    line(MARGIN, y, MARGIN + 32, y, 'p50 key'),
    text(MARGIN + 40, y + 4, 'p50', { class: 'small' }),
    line(MARGIN + 80, y, MARGIN + 112, y, 'p99 key'),
    text(MARGIN + 120, y + 4, 'p99', { class: 'small' }),
    text(MARGIN + 160, y + 4, 'Numbers beside points: requests in flight', { class: 'small faint' }),
  ])
}

function panel(document: BenchDocument, series: Series, curves: readonly Curve[], top: number): Markup {
  const [left, right] = [MARGIN + AXIS_ROOM, WIDTH - MARGIN - 20]
  const [upper, lower] = [top + HEAD, top + HEAD + PLOT]
  const points = curves.flatMap((curve) => curve.points)
  const x = logScale(
    points.map(({ rate }) => rate),
    left,
    right,
  )
  const y = logScale(
    points.flatMap(({ p50, p99 }) => [p50, p99 ?? p50]),
    lower,
    upper,
  )

  const space = new LabelSpace({ x: left, y: upper, width: right - left, height: PLOT + 6 })
  const drawn = curves.map(({ peer, points }) => {
    const p50 = points.map((point) => ({ x: x.at(point.rate), y: y.at(point.p50) }))
    const p99 = points.flatMap((point) => {
      return point.p99 === undefined ? [] : [{ x: x.at(point.rate), y: y.at(point.p99) }]
    })
    space.takeLine(p50)
    space.takeLine(p99)
    for (const { x, y } of p50) space.take({ x: x - 5, y: y - 5, width: 10, height: 10 })
    return { peer, points, p50, p99 }
  })
  const labels: Markup[] = []
  // Names first: without its name a line says nothing, without a number a point still does.
  for (const { peer, p50 } of drawn) labels.push(nameLabel(space, labelOf(document, peer), p50))
  const marks = drawn.flatMap(({ p50 }) => p50)
  for (const { points, p50 } of drawn) {
    for (const [index, point] of p50.entries())
      labels.push(inFlightLabel(space, points[index]!.inFlight, point, marks))
  }
  return element('g', {}, [
    text(MARGIN, top + 12, series.name, { class: 'strong' }),
    ...x.ticks.flatMap((tick) => [
      line(x.at(tick), upper, x.at(tick), lower, 'grid'),
      text(x.at(tick), lower + 16, tickText(tick), { class: 'small faint', anchor: 'middle' }),
    ]),
    ...y.ticks.flatMap((tick) => [
      line(left, y.at(tick), right, y.at(tick), 'grid'),
      text(left - 8, y.at(tick) + 4, `${tickText(tick)} ms`, { class: 'small faint', anchor: 'end' }),
    ]),
    text(right, lower + 34, 'operations per second', { class: 'small faint', anchor: 'end' }),
    ...drawn.flatMap(({ peer, p50, p99 }) => [
      polyline(p99, `p99 line-${colourOf(peer)}`),
      ...p99.map(({ x, y }) => element('circle', { cx: x, cy: y, r: 2, class: `fill-${colourOf(peer)}` })),
      polyline(p50, `p50 line-${colourOf(peer)}`),
      ...p50.map((point) => marker(point, peer)),
    ]),
    ...labels,
  ])
}

/** The peer's name at the last of its points that has room for it; at the last one in any case. */
function nameLabel(space: LabelSpace, name: string, points: readonly Point[]): Markup {
  const width = textWidth(name)
  for (const point of [...points].reverse()) {
    const place = space.place(point, width, 15)
    if (place !== undefined) return text(place.x, place.y, name, { class: 'strong over' })
  }
  const last = points.at(-1)!
  return text(last.x - 8, last.y - 8, name, { class: 'strong over', anchor: 'end' })
}

/** The number in flight, where there is room for it. */
function inFlightLabel(space: LabelSpace, inFlight: number, point: Point, marks: readonly Point[]): Markup {
  const label = thousands(inFlight)
  const place = space.place(point, textWidth(label, SMALL_SIZE), 12, marks)
  return place === undefined ? '' : text(place.x, place.y, label, { class: 'small over' })
}

function describe(
  document: BenchDocument,
  panels: readonly { series: Series; curves: readonly Curve[] }[],
): string {
  const sentences = panels.flatMap(({ series, curves }) =>
    curves.map(({ peer, points }) => {
      const parts = points.map(({ inFlight, rate, p50, p99 }) => {
        const times = `p50 ${digits(p50)} ms${p99 === undefined ? '' : `, p99 ${digits(p99)} ms`}`
        return `${thousands(inFlight)} in flight: ${times} at ${thousands(rate)} operations per second`
      })
      return `${series.name}, ${labelOf(document, peer)}: ${parts.join('; ')}.`
    }),
  )
  return `Lines on logarithmic axes. ${sentences.join(' ')}`
}
