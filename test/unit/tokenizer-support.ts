/** What the tests of the tokenizer share: a recorder, and documents from a seed. */

import type { ShapeTables } from '../../server/stream/assembler.ts'
import { StreamError } from '../../server/stream/errors.ts'
import type { KnownHeaders } from '../../server/stream/known-headers.ts'
import type { Pattern } from '../../server/stream/shapes.ts'
import {
  type StreamHeader,
  Tokenizer,
  type TokenizerHandler,
  type TokenizerLimits,
} from '../../server/stream/tokenizer.ts'

export const LIMITS: TokenizerLimits = { stanzaBytes: 65536, depth: 32, attributes: 32, nameLength: 64 }

export const HEADER =
  "<?xml version='1.0'?><stream:stream to='capulet.lit' version='1.0' xmlns='jabber:client' " +
  "xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback'>"

export interface SeenElement {
  name: string
  xmlns: string
  attrs: Record<string, string>
  inner: string
  childCount: number
  payloadName: string
  payloadNs: string
}

/** Notes what a tokenizer tells. */
export class Recorder implements TokenizerHandler {
  headers: StreamHeader[] = []
  elements: SeenElement[] = []
  closed = 0
  error: StreamError | undefined
  readonly tokenizer: Tokenizer
  /** called after each element */
  onElement: (element: SeenElement) => void = () => {}

  /** Stanzas that were recognised by their shapes. */
  recognised: { element: SeenElement; pattern: Pattern; cuts: readonly number[] | undefined }[] = []

  constructor(limits: TokenizerLimits = LIMITS, tableOf?: ShapeTables, headers: KnownHeaders | null = null) {
    this.tokenizer = new Tokenizer(this, limits, tableOf, headers)
  }

  streamOpened(header: StreamHeader): void {
    this.headers.push(header)
  }

  element(
    name: string,
    xmlns: string,
    attrs: Record<string, string>,
    inner: string,
    childCount: number,
    payloadName: string,
    payloadNs: string,
    pattern?: Pattern,
    cuts?: readonly number[],
  ): void {
    const element = { name, xmlns, attrs, inner, childCount, payloadName, payloadNs }
    this.elements.push(element)
    if (pattern !== undefined) this.recognised.push({ element, pattern, cuts })
    this.onElement(element)
  }

  streamClosed(): void {
    this.closed++
  }

  /** Writes, and keeps the error that stops it. */
  feed(...chunks: (string | Buffer)[]): this {
    for (const chunk of chunks) {
      try {
        this.tokenizer.write(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)
      } catch (error) {
        if (!(error instanceof StreamError)) throw error
        this.error ??= error
      }
    }
    return this
  }

  /** All that was told, in a form to compare. */
  get told(): string {
    const headers = this.headers.map((header) => [
      Object.entries(header.attrs),
      header.defaultNs,
      [...header.prefixes],
    ])
    const elements = this.elements.map((element) => ({ ...element, attrs: Object.entries(element.attrs) }))
    const error = this.error && [this.error.condition, this.error.message]
    return JSON.stringify({ headers, elements, closed: this.closed, error })
  }
}

/** A random number generator (mulberry32) that gives the same for the same seed. */
export class Random {
  private state: number

  constructor(seed: number) {
    this.state = seed >>> 0
  }

  /** An integer from 0 to below `limit`. */
  below(limit: number): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let t = this.state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % limit
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T
  }
}

const LOCAL_NAMES = [
  'a',
  'body',
  'query',
  'x-1',
  'é',
  'item',
  '__proto__',
  'constructor',
  'имя',
  'n.m_0',
  '名',
]
const PREFIXES = ['p', 'q', 'db', 'π', 'long-prefix']
const NAMESPACES = ['urn:a', 'urn:b', 'jabber:client', 'urn:ü', 'http://jabber.org/protocol/pubsub']
const TEXTS = [
  'hello',
  ' ',
  '\n',
  '\r\n',
  '\t',
  '&amp;',
  '&lt;',
  '&gt;',
  '&quot;',
  '&apos;',
  '&#65;',
  '&#x1F600;',
  '&#10;',
  'ä',
  '€',
  '😀',
  ']',
  ']]',
  '>',
  '\u0085',
  '\u2028',
  '\ufeff',
]

/** A document that is right: a stream with stanzas of every shape. */
export function makeDocument(random: Random): string {
  let out = random.chance(3) ? '' : "<?xml version='1.0' encoding='UTF-8'?>"
  out += random.chance(8) ? '\n' : ''
  if (out === '\n') out = ' \n'
  else if (out.endsWith('?>\n')) out += ' '
  out += "<stream:stream to='a.lit' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
  out += " xmlns:db='urn:db' xml:lang='en'>"
  const scope = new Map([
    ['db', 'urn:db'],
    ['stream', 'http://etherx.jabber.org/streams'],
  ])
  for (let k = random.below(4) + 1; k > 0; k--) {
    out += makeElement(random, scope, 0)
    if (random.chance(3)) out += random.pick([' ', '\n', '\r\n\t'])
  }
  return `${out}</stream:stream>`
}

function makeElement(random: Random, outer: ReadonlyMap<string, string>, depth: number): string {
  const scope = new Map(outer)
  const parts: string[] = []
  for (const prefix of PREFIXES) {
    if (!random.chance(8)) continue
    const namespace = random.pick(NAMESPACES)
    scope.set(prefix, namespace)
    parts.push(`xmlns:${prefix}=${quoted(random, namespace)}`)
  }
  if (random.chance(4))
    parts.push(`xmlns=${quoted(random, depth > 0 && random.chance(6) ? '' : random.pick(NAMESPACES))}`)
  const usable = [...scope.keys()]
  const names = new Set<string>()
  for (let k = random.below(4); k > 0; k--) names.add(random.pick(LOCAL_NAMES))
  for (const name of names) {
    const prefix = random.chance(4) ? `${random.pick(usable)}:` : ''
    parts.push(`${prefix}${name}${random.pick(['=', '=', ' = ', '\n='])}${quoted(random, makeText(random))}`)
  }
  if (random.chance(8)) parts.push("xml:lang='de'")
  let tag = random.pick(LOCAL_NAMES)
  if (depth > 0 && random.chance(3)) tag = `${random.pick(usable)}:${tag}`
  let out = `<${tag}`
  for (const part of parts) out += random.pick([' ', ' ', '\n', '\t ']) + part
  if (random.chance(6)) out += ' '
  if (random.chance(4)) return `${out}/>`
  out += '>'
  for (let k = random.below(4); k > 0; k--) {
    if (depth < 5 && random.chance(2)) out += makeElement(random, scope, depth + 1)
    else if (random.chance(6))
      out += `<![CDATA[${random.pick(['', 'a<b>&c;', ']]', ']]]', 'ü]>', '\r\n'])}]]>`
    else out += makeText(random).replaceAll(']]>', ']] >')
  }
  return `${out}</${tag}${random.chance(8) ? '\n' : ''}>`
}

function makeText(random: Random): string {
  let text = ''
  for (let k = random.below(5); k > 0; k--) text += random.pick(TEXTS)
  return text.replaceAll(']]>', ']] >')
}

function quoted(random: Random, text: string): string {
  const quote = random.pick(['"', "'"])
  return quote + text + quote
}

const INSERTED = [
  ...[
    '<',
    '>',
    '&',
    ';',
    '"',
    "'",
    '/',
    '=',
    ':',
    ' ',
    ']',
    ']]>',
    '<!',
    '<![CDATA[',
    '<!--',
    '-->',
    '<?',
    '?>',
  ],
  ...['&amp', '&#', '&#x', '&#0;', '&#xD800;', '&foo;', '\u0000', '\u0001', '\ufffe', '\uffff', 'xmlns=""'],
  ...[
    "xmlns:p=''",
    " xmlns:xml='urn:x'",
    ' a="1"',
    " a='2'",
    '</a>',
    '<a>',
    '<a/>',
    '<p:a>',
    'p:',
    '×',
    '😀',
  ],
  ...[
    "<a xmlns:p='urn:x' p:b='' xmlns:q='urn:x' q:b=''/>",
    'ⅰ',
    '\u0300',
    '</stream:stream>',
    '--',
    '\r',
    '\n',
  ],
]

/** A document with a few bytes changed, cut, inserted, or taken from another one. */
export function mutate(random: Random, document: string, other: string): Buffer {
  let bytes = Buffer.from(document)
  for (let k = random.below(3) + 1; k > 0; k--) {
    const at = random.below(bytes.length + 1)
    const before = bytes.subarray(0, at)
    const size = random.below(random.pick([2, 4, 20]))
    switch (random.below(5)) {
      case 0:
        bytes = Buffer.concat([before, bytes.subarray(at + size)])
        break
      case 1:
      case 2:
        bytes = Buffer.concat([before, Buffer.from(random.pick(INSERTED)), bytes.subarray(at)])
        break
      case 3: {
        const copy = Buffer.from(bytes)
        if (at < copy.length) copy[at] = random.chance(4) ? random.below(256) : random.below(128)
        bytes = copy
        break
      }
      default: {
        const from = Buffer.from(other)
        const start = random.below(from.length)
        bytes = Buffer.concat([before, from.subarray(start, start + size * 3), bytes.subarray(at)])
      }
    }
  }
  return bytes
}
