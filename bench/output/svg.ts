// Writing SVG: elements with escaped text, marks, and colours for light and dark.
import type { BenchDocument, PeerEntry } from './document.ts'

/** A piece of SVG. */
export type Markup = string

/**
 * Colours of the peers, for light and for dark. People with any of the three kinds of dichromacy can tell the first
 * four apart (a test holds that); peers beyond those share the last, and all are labelled besides.
 */
export const COLOURS = {
  floor: { light: '#24292f', dark: '#f0f3f6' },
  legate: { light: '#00589c', dark: '#3a8ee0' },
  prosody: { light: '#d55e00', dark: '#e57532' },
  ejabberd: { light: '#00a078', dark: '#4cc79c' },
  other: { light: '#8c7a9e', dark: '#a594b8' },
} as const

/** The background in light and in dark. */
export const PAPER = { light: '#ffffff', dark: '#0d1117' } as const

const INK = { light: '#1f2328', dark: '#e6edf3' } as const
const FAINT = { light: '#59636e', dark: '#9198a1' } as const
const GRID = { light: '#d8dee4', dark: '#30363d' } as const

type Attributes = Readonly<Record<string, string | number | undefined>>

/** An element; numbers are rounded to hundredths, undefined attributes left out, children taken as they are. */
export function element(name: string, attributes: Attributes, children: readonly Markup[] = []): Markup {
  const list = Object.entries(attributes).flatMap(([key, value]) => {
    if (value === undefined) return []
    return [` ${key}="${typeof value === 'number' ? hundredths(value) : escapeXml(value)}"`]
  })
  const start = `<${name}${list.join('')}`
  return children.length === 0 ? `${start}/>` : `${start}>${children.join('')}</${name}>`
}

/** Text that XML reads as it is; characters that XML does not allow become U+FFFD. */
export function escapeXml(text: string): string {
  return text
    .replace(/[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, '\uFFFD')
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

/** Where a text stands, and how. */
export interface TextStyle {
  /** `strong`, `small`, `faint`, or several. */
  class?: string
  anchor?: 'start' | 'middle' | 'end'
}

/** Text with its baseline at `y`. */
export function text(x: number, y: number, content: string, style: TextStyle = {}): Markup {
  const anchor = style.anchor === 'start' ? undefined : style.anchor
  return element('text', { x, y, class: style.class, 'text-anchor': anchor }, [escapeXml(content)])
}

/** A line between two points. */
export function line(x1: number, y1: number, x2: number, y2: number, className: string): Markup {
  return element('line', { x1, y1, x2, y2, class: className })
}

/** A line through points. */
export function polyline(points: readonly Point[], className: string): Markup {
  const list = points.map(({ x, y }) => `${hundredths(x)},${hundredths(y)}`).join(' ')
  return element('polyline', { points: list, class: className })
}

/** A place in the picture. */
export interface Point {
  x: number
  y: number
}

/** The mark of a peer at a point: each has a shape of its own, too. */
export function marker({ x, y }: Point, peer: PeerEntry): Markup {
  const className = `fill-${colourOf(peer)} halo`
  const path = (d: string) => element('path', { d, class: className })
  const at = (dx: number, dy: number) => `${hundredths(x + dx)} ${hundredths(y + dy)}`
  switch (colourOf(peer)) {
    case 'floor':
      return element('rect', { x: x - 3.5, y: y - 3.5, width: 7, height: 7, class: className })
    case 'prosody':
      return path(`M${at(0, -5)}L${at(5, 4)}L${at(-5, 4)}Z`)
    case 'ejabberd':
      return path(`M${at(0, -5.5)}L${at(5, 0)}L${at(0, 5.5)}L${at(-5, 0)}Z`)
    default:
      return element('circle', { cx: x, cy: y, r: 4, class: className })
  }
}

/** The key of a peer's colour, as in `fill-KEY` and `line-KEY`. */
export function colourOf({ name }: PeerEntry): keyof typeof COLOURS {
  return name in COLOURS ? (name as keyof typeof COLOURS) : 'other'
}

/** How wide a text is about, in pixels; rather too wide. */
export function textWidth(content: string, size = FONT_SIZE): number {
  return [...content].length * size * 0.6
}

/** The size of text that is not `small`, in pixels. */
export const FONT_SIZE = 13
/** The size of `small` text, in pixels. */
export const SMALL_SIZE = 11

/** What a picture is, before it is drawn. */
export interface Picture {
  /** Tells its ids from those of other pictures in the same page. */
  name: string
  title: string
  /** What is to be seen, for those who cannot. */
  description: string
  width: number
  height: number
  body: readonly Markup[]
}

/** The margin around pictures, in pixels. */
export const MARGIN = 20
/** Where what is below the title begins. */
export const BELOW_TITLE = 52

/** A whole SVG file, with the title at its head and where it was measured at its foot. */
export function svgFile(document: BenchDocument, picture: Picture): string {
  const { name, title, description, width, height, body } = picture
  const { cpu, node, date } = document.environment
  const [titleId, descriptionId] = [`${name}-title`, `${name}-description`]
  const attributes = {
    xmlns: 'http://www.w3.org/2000/svg',
    viewBox: `0 0 ${hundredths(width)} ${hundredths(height)}`,
    width,
    height,
    role: 'img',
    'aria-labelledby': `${titleId} ${descriptionId}`,
  }
  const children = [
    element('title', { id: titleId }, [escapeXml(title)]),
    element('desc', { id: descriptionId }, [escapeXml(description)]),
    element('style', {}, [STYLE]),
    element('rect', { width, height, class: 'paper' }),
    text(MARGIN, 30, title, { class: 'title' }),
    ...body,
    text(MARGIN, height - 12, `${cpu}, Node ${node}, ${date.slice(0, 10)}`, { class: 'small faint' }),
  ]
  return `${element(
    'svg',
    attributes,
    ['', ...children, ''].map((child) => `${child}\n`),
  )}\n`
}

function rules(scheme: 'light' | 'dark'): string {
  const colours = Object.entries(COLOURS).map(([key, colour]) => {
    return `.fill-${key}{fill:${colour[scheme]}} .line-${key}{stroke:${colour[scheme]}}`
  })
  return [
    `.paper{fill:${PAPER[scheme]}} .halo{stroke:${PAPER[scheme]}} text{fill:${INK[scheme]}}`,
    `.seam,.over{stroke:${PAPER[scheme]}} .whisker{stroke:${INK[scheme]}} .faint{fill:${FAINT[scheme]}} .key{stroke:${FAINT[scheme]}}`,
    `.grid{stroke:${GRID[scheme]}} .axis{stroke:${FAINT[scheme]}}`,
    ...colours,
  ].join('\n')
}

const STYLE = `
text{font:${FONT_SIZE}px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
.title{font-size:18px;font-weight:600} .strong{font-weight:600} .small{font-size:${SMALL_SIZE}px}
.grid{stroke-width:1} .axis{stroke-width:1} .whisker,.seam{fill:none} .whisker{stroke-width:1.5} .seam{stroke-width:4} .key{stroke-width:2;fill:none}
.p50,.p99{fill:none;stroke-linejoin:round} .p50{stroke-width:2.5} .p99{stroke-width:1.25}
.p99{stroke-dasharray:5 4}
.halo{stroke-width:1.5} .over{paint-order:stroke;stroke-width:4;stroke-linejoin:round}
${rules('light')}
@media (prefers-color-scheme:dark){
${rules('dark')}
}
`.replaceAll('"', "'")

/** A number as it stands in the picture. */
export function hundredths(value: number): string {
  return String(Math.round(value * 100) / 100)
}
