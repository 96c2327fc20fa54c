// The bench's pictures: valid XML whatever the titles, readable without colours, and nothing on top of each other.
import { parser } from 'sax'
import { describe, expect, it } from 'vitest'
import type { BenchDocument } from '../../bench/output/index.ts'
import { spread } from '../../bench/output/labels.ts'
import { costPicture } from '../../bench/output/picture-cost.ts'
import { growthPicture } from '../../bench/output/picture-growth.ts'
import { loadPicture } from '../../bench/output/picture-load.ts'
import { logScale, tickText } from '../../bench/output/scale.ts'
import { COLOURS, PAPER } from '../../bench/output/svg.ts'
import { row, sampleDocument } from './bench-output-sample.ts'

interface Node {
  name: string
  attributes: Record<string, string>
  /** With that of its children. */
  text: string
}

/** All elements of a picture, in order of their ends; fails where it is not well-formed. */
function elementsOf(svg: string): Node[] {
  const strict = parser(true)
  const open: Node[] = []
  const all: Node[] = []
  strict.onerror = (error) => {
    throw error
  }
  strict.onopentag = ({ name, attributes }) => {
    open.push({ name, attributes: attributes as Record<string, string>, text: '' })
  }
  strict.ontext = (text) => {
    for (const node of open) node.text += text
  }
  strict.onclosetag = () => {
    all.push(open.pop()!)
  }
  strict.write(svg).close()
  return all
}

const PICTURES = { cost: costPicture, load: loadPicture, growth: growthPicture }
type PictureName = keyof typeof PICTURES
const NAMES = Object.keys(PICTURES) as PictureName[]

/** The elements of a picture of a document. */
function draw(name: PictureName, document: BenchDocument): Node[] {
  const svg = PICTURES[name](document)
  if (svg === undefined) throw new Error(`there is no picture of ${name}`)
  return elementsOf(svg)
}

const textsOf = (nodes: readonly Node[]) =>
  nodes.filter(({ name }) => name === 'text').map(({ text }) => text)
const withClass = (nodes: readonly Node[], wanted: string) =>
  nodes.filter(({ attributes }) => attributes['class']?.split(' ').includes(wanted))

/** What is about to break XML, CSS or the terminal. */
const HOSTILE = `<b>&"']]>--\u0000\u001b\ud800`
const HARMLESS = `<b>&"']]>--\ufffd\ufffd\ufffd`

function hostileDocument(): BenchDocument {
  const document = structuredClone(sampleDocument())
  for (const peer of document.peers) peer.title = `${peer.name}${HOSTILE} of ${HOSTILE}`
  document.scenarios = document.scenarios.map(({ title, series, ...rest }) => {
    const hostile = series && { ...series, name: series.name + HOSTILE, unit: HOSTILE }
    return { ...rest, title: title + HOSTILE, series: hostile }
  })
  Object.assign(document.environment, { cpu: HOSTILE, node: HOSTILE, date: HOSTILE })
  return document
}

describe.each(NAMES)('the picture of %s', (name) => {
  it('is valid XML with title and description, also where titles are hostile', () => {
    for (const document of [sampleDocument(), hostileDocument()]) {
      const nodes = draw(name, document)
      const svg = nodes.at(-1)!
      expect(svg.name).toBe('svg')
      expect(svg.attributes).toMatchObject({ xmlns: 'http://www.w3.org/2000/svg', role: 'img' })
      const ids = svg.attributes['aria-labelledby']!.split(' ')
      expect(nodes.slice(0, 2).map((node) => [node.name, node.attributes['id']])).toEqual([
        ['title', ids[0]],
        ['desc', ids[1]],
      ])
      expect(nodes[1]!.text.length).toBeGreaterThan(100)
    }
  })

  it('shows hostile titles as text', () => {
    const nodes = draw(name, hostileDocument())
    expect(textsOf(nodes).filter((text) => text.includes(HARMLESS)).length).toBeGreaterThan(2)
    expect(nodes[1]!.text).toContain(HARMLESS)
    expect(nodes.map((node) => node.name)).not.toContain('b')
  })

  it('has no number that is none', () => {
    const documents = [sampleDocument(), sampleDocument({ rounds: 1 }), zeros()]
    for (const document of documents)
      expect(PICTURES[name](document) ?? '').not.toMatch(/NaN|Infinity|undefined/)
  })

  it('is drawn for one peer and one round, and for no peer not at all', () => {
    expect(textsOf(draw(name, sampleDocument({ peers: ['legate'], rounds: 1 }))).join()).toContain('Legate')
    expect(PICTURES[name](sampleDocument({ peers: [] }))).toBeUndefined()
    expect(PICTURES[name](sampleDocument({ samples: [] }))).toBeUndefined()
  })

  it('labels every peer in words, and keeps texts off each other and inside', () => {
    const nodes = draw(name, sampleDocument())
    for (const label of ['floor', 'Legate', 'Prosody', 'ejabberd']) {
      expect(textsOf(nodes).some((text) => text.startsWith(label))).toBe(true)
    }
    const boxes = nodes.filter((node) => node.name === 'text').map(boxOf)
    const { width, height } = nodes.at(-1)!.attributes
    for (const [index, box] of boxes.entries()) {
      expect(box.left, box.text).toBeGreaterThanOrEqual(0)
      expect(box.right, box.text).toBeLessThanOrEqual(Number(width))
      expect(box.bottom, box.text).toBeLessThanOrEqual(Number(height))
      for (const other of boxes.slice(index + 1)) {
        const apart =
          box.right <= other.left ||
          other.right <= box.left ||
          box.bottom <= other.top ||
          other.bottom <= box.top
        expect(apart, `${box.text} and ${other.text}`).toBe(true)
      }
    }
  })

  it('is for light and dark alike', () => {
    const style = draw(name, sampleDocument()).find((node) => node.name === 'style')!.text
    const [light, dark] = style.split('@media (prefers-color-scheme:dark)')
    for (const [key, colour] of Object.entries(COLOURS)) {
      expect(light).toContain(`.fill-${key}{fill:${colour.light}}`)
      expect(dark).toContain(`.fill-${key}{fill:${colour.dark}}`)
    }
  })
})

/** Everything is nothing. */
function zeros(): BenchDocument {
  const document = structuredClone(sampleDocument())
  for (const round of document.cells.flatMap(({ rounds }) => rounds)) {
    round.value = 0
    round.details = { 'p50 ms': 0, 'p99 ms': 0, 'operations/s': 0 }
  }
  return document
}

/** About where a text is. */
function boxOf({ attributes, text }: Node) {
  const classes = attributes['class']?.split(' ') ?? []
  const size = classes.includes('title') ? 18 : classes.includes('small') ? 11 : 13
  const [x, y, width] = [Number(attributes['x']), Number(attributes['y']), [...text].length * size * 0.52]
  const anchor = attributes['text-anchor'] ?? 'start'
  const left = anchor === 'start' ? x : anchor === 'end' ? x - width : x - width / 2
  return { text, left, right: left + width, top: y - size * 0.75, bottom: y + size * 0.1 }
}

describe('costs', () => {
  const costs = [2, 7, 100, undefined]
  const document = sampleDocument({ samples: [row('traffic', 'message', 'message', costs)] })

  it('writes value and multiple of the floor beside the bars, and what was not measured', () => {
    const texts = textsOf(draw('cost', document))
    expect(texts).toEqual(expect.arrayContaining(['2.00 µs', '7.00 µs3.50 × floor', '100 µs50.0 × floor']))
    expect(texts).not.toContain('ejabberd')
    const both = [
      ...[row('login', 'login', 'login', [1, 1, 1, 1])],
      row('traffic', 'message', 'message', costs),
    ]
    expect(textsOf(draw('cost', sampleDocument({ samples: both })))).toContain('not measured')
  })

  it('has whiskers only where there is a spread', () => {
    expect(withClass(draw('cost', document), 'whisker')).toHaveLength(3)
    const one = sampleDocument({ samples: [row('traffic', 'message', 'message', costs)], rounds: 1 })
    expect(withClass(draw('cost', one), 'whisker')).toHaveLength(0)
  })

  it('makes bars as long as their logarithm, and none of zero', () => {
    const samples = [row('traffic', 'message', 'message', [1, 10, 100, 0])]
    const nodes = draw('cost', sampleDocument({ samples, rounds: 1 }))
    const [floor, legate, prosody, ejabberd] = ['floor', 'legate', 'prosody', 'ejabberd'].map((peer) =>
      Number(withClass(nodes, `fill-${peer}`)[0]!.attributes['width']),
    )
    expect(floor).toBeGreaterThan(0)
    expect(legate! - floor!).toBeCloseTo(prosody! - legate!, 0)
    expect(ejabberd).toBe(0)
  })
})

describe('reply times', () => {
  it('draws p50 as a line, p99 dashed, and writes the number in flight at the points', () => {
    const nodes = draw('load', sampleDocument({ peers: ['legate'] }))
    expect(
      nodes.filter(({ name }) => name === 'polyline').map(({ attributes }) => attributes['class']),
    ).toEqual(['p99 line-legate', 'p50 line-legate'])
    const texts = textsOf(nodes)
    for (const inFlight of [1, 2, 5, 10, 20, 40, 80, 160, 320, 640]) expect(texts).toContain(String(inFlight))
  })

  it('passes over points without times', () => {
    const document = structuredClone(sampleDocument({ peers: ['legate', 'floor'] }))
    for (const { peer, rounds } of document.cells) {
      if (peer === 'floor') for (const round of rounds) round.details = {}
    }
    expect(withClass(draw('load', document), 'line-floor')).toEqual([])
    expect(loadPicture(zeros())).toBeUndefined()
  })

  it('has a panel for each series', () => {
    const document = structuredClone(sampleDocument())
    document.scenarios = document.scenarios.map((scenario) => {
      const { section, series } = scenario
      const other = section === 'load' && series !== undefined && series.at > 20
      return other ? { ...scenario, series: { ...series, name: 'message' } } : scenario
    })
    expect(textsOf(draw('load', document))).toEqual(expect.arrayContaining(['delegated IQ', 'message']))
  })
})

describe('growth', () => {
  it('has a panel for each series, and at each line’s end the peer and how much dearer', () => {
    const texts = textsOf(draw('growth', sampleDocument()))
    expect(texts).toEqual(
      expect.arrayContaining([
        ...['sessions, delegated IQ', 'delegated namespaces', 'payload', 'pending requests'],
        ...['Legate ×1.12', 'Prosody ×58.5', '10,000', '200,000', 'bytes'],
      ]),
    )
  })

  it('leaves out peers without the first row, and without another', () => {
    const document = structuredClone(sampleDocument())
    document.cells = document.cells.filter(({ peer, scenario }) => {
      return peer !== 'prosody' || !/-10$|-1$|-200$/.test(scenario)
    })
    const description = draw('growth', document)[1]!.text
    expect(description).not.toContain('sessions, delegated IQ, Prosody')
    expect(description).toContain(
      'sessions, delegated IQ, Legate: ×1.00 at 10 sessions, ×1.02 at 1,000 sessions',
    )
  })

  it('has places at zero, in equal steps', () => {
    const document = structuredClone(sampleDocument())
    document.scenarios = document.scenarios.map((scenario) => {
      const { series } = scenario
      return series?.at === 10 ? { ...scenario, series: { ...series, at: 0 } } : scenario
    })
    expect(textsOf(draw('growth', document))).toContain('0')
    expect(growthPicture(document)).not.toMatch(/NaN|Infinity/)
  })
})

describe('scales', () => {
  it('stand by logarithm between round values', () => {
    const scale = logScale([1, 100], 0, 200)
    expect([1, 10, 100].map((value) => Math.round(scale.at(value)))).toEqual([0, 100, 200])
    expect([scale.at(0), scale.at(-5)]).toEqual([0, 0])
    expect(scale.ticks).toEqual([1, 2, 5, 10, 20, 50, 100])
    expect(logScale([0.3, 70_000], 0, 1).ticks).toEqual([1, 10, 100, 1000, 10_000, 100_000])
  })

  it('exist for one value, and for none', () => {
    expect(logScale([5], 0, 100).ticks).toEqual([5, 10])
    expect(logScale([0, Number.NaN], 0, 100).ticks).toEqual([1, 2, 5, 10])
  })

  it('write ticks without exponents', () => {
    expect([0.002, 0.5, 1, 20_000, 1_000_000].map(tickText)).toEqual([
      '0.002',
      '0.5',
      '1',
      '20,000',
      '1,000,000',
    ])
  })

  it('move labels apart, as little as that takes', () => {
    expect(spread([10, 50, 11], 15, 0, 100)).toEqual([10, 50, 25])
    expect(spread([98, 99], 15, 0, 100)).toEqual([85, 100])
    expect(spread([-3], 15, 0, 100)).toEqual([0])
  })
})

describe('colours', () => {
  // Machado, Oliveira, Fernandes 2009: how full dichromacy maps linear RGB.
  const SIGHT = {
    usual: [1, 0, 0, 0, 1, 0, 0, 0, 1],
    protanopia: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
    deuteranopia: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
    tritanopia: [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039],
  }
  type Triple = [number, number, number]

  function linear(colour: string): Triple {
    const [r, g, b] = [1, 3, 5].map((start) => Number.parseInt(colour.slice(start, start + 2), 16) / 255)
    const one = (share: number) => (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4)
    return [one(r!), one(g!), one(b!)]
  }

  function seen([r, g, b]: Triple, matrix: readonly number[]): Triple {
    const part = (row: number) =>
      Math.min(1, Math.max(0, matrix[row]! * r + matrix[row + 1]! * g + matrix[row + 2]! * b))
    return [part(0), part(3), part(6)]
  }

  function lab([r, g, b]: Triple): Triple {
    const curve = (share: number) => (share > 0.008856 ? Math.cbrt(share) : 7.787 * share + 16 / 116)
    const x = curve((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505)
    const y = curve(luminance([r, g, b]))
    const z = curve((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089)
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]
  }

  function luminance([r, g, b]: Triple): number {
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }

  const { other: _, ...peers } = COLOURS

  it.each(['light', 'dark'] as const)('can be told apart by everybody in %s', (scheme) => {
    const colours = Object.values(peers).map((colour) => linear(colour[scheme]))
    for (const [sight, matrix] of Object.entries(SIGHT)) {
      for (const [index, a] of colours.entries()) {
        for (const b of colours.slice(index + 1)) {
          const [first, second] = [lab(seen(a, matrix)), lab(seen(b, matrix))]
          const distance = Math.hypot(...first.map((part, axis) => part - second[axis]!))
          expect(distance, `${sight}, ${scheme}`).toBeGreaterThan(20)
        }
      }
    }
  })

  it.each(['light', 'dark'] as const)('stand out from the background in %s (WCAG 2.1, 1.4.11)', (scheme) => {
    const paper = luminance(linear(PAPER[scheme]))
    for (const [name, colour] of Object.entries(COLOURS)) {
      const [low, high] = [luminance(linear(colour[scheme])), paper].sort((a, b) => a - b)
      expect((high! + 0.05) / (low! + 0.05), name).toBeGreaterThanOrEqual(3)
    }
  })
})
