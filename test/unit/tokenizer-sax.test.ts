/** The tokenizer held against `sax`: what it accepts is XML, and means the same. */

import { isUtf8 } from 'node:buffer'
import { Element } from '@xmpp/xml'
import sax from 'sax'
import { describe, expect, it } from 'vitest'
import { buildChildren } from '../../server/stanza/tree.ts'
import { makeDocument, mutate, Random, Recorder, type SeenElement } from './tokenizer-support.ts'

/** Per test; set FUZZ_MILLISECONDS to look further. */
const MILLISECONDS = Number(process.env['FUZZ_MILLISECONDS'] ?? 3000)
const NS_XML = 'http://www.w3.org/XML/1998/namespace'

/** An element with expanded names: `{namespace}local`. Texts that adjoin are one. */
interface Node {
  name: string
  attrs: Record<string, string>
  children: (Node | string)[]
}

// sax normalises neither line ends nor the white space of values; what is lost here, tree.test.ts checks.
const plainText = (text: string) => text.replace(/[\r\n]+/g, '\n')
const plainValue = (text: string) => text.replace(/[ \t\r\n]+/g, ' ')

function addText(children: (Node | string)[], text: string): void {
  if (text === '') return
  const last = children.length - 1
  if (typeof children[last] === 'string') children[last] += text
  else children.push(text)
}

/** What sax reads: the stanzas that are complete, and its first complaint. */
function readWithSax(text: string): { stanzas: Node[]; error: string | undefined; ended: boolean } {
  const parser = sax.parser(true, { xmlns: true })
  const stanzas: Node[] = []
  const stack: Node[] = []
  let error: string | undefined
  // sax reads on after the root element; we do not.
  let ended = false
  parser.onerror = (e) => {
    if (!ended) error ??= e.message
  }
  // Not from the tag's record of attributes, in which sax loses `__proto__`.
  let attrs: Record<string, string> = Object.create(null)
  parser.onattribute = (attribute) => {
    const { name, prefix, local, uri, value } = attribute as sax.QualifiedAttribute
    if (prefix !== 'xmlns' && name !== 'xmlns')
      attrs[`{${prefix === '' ? '' : uri}}${local}`] = plainValue(value)
  }
  parser.onopentag = (tag) => {
    const { uri, local } = tag as sax.QualifiedTag
    const node = { name: `{${uri}}${local}`, attrs, children: [] }
    attrs = Object.create(null)
    if (stack.length > 1) stack[stack.length - 1]!.children.push(node)
    stack.push(node)
  }
  parser.onclosetag = () => {
    const node = stack.pop()!
    if (stack.length === 0) ended = true
    if (stack.length === 1 && error === undefined && !ended) stanzas.push(node)
  }
  const text_ = (part: string) => {
    if (stack.length > 1) addText(stack[stack.length - 1]!.children, part)
  }
  parser.ontext = text_
  parser.oncdata = text_
  try {
    parser.write(text)
  } catch (e) {
    if (!ended) error ??= String(e)
  }
  return { stanzas: stanzas.map(normalise), error, ended }
}

function normalise(node: Node): Node {
  const children = node.children.map((child) =>
    typeof child === 'string' ? plainText(child) : normalise(child),
  )
  return { ...node, children }
}

/** What we read, from nothing but what is handed over. */
function readStanza(seen: SeenElement): Node {
  const element = new Element(seen.name, { ...seen.attrs })
  element.attrs = seen.attrs
  element.children = buildChildren(seen.inner, element)
  return expand(element, new Map([['', seen.xmlns]]))
}

function expand(element: Element, outer: ReadonlyMap<string, string>): Node {
  const scope = new Map(outer)
  const written = Object.entries(element.attrs as Record<string, string>)
  for (const [name, value] of written) {
    if (name === 'xmlns') scope.set('', value)
    else if (name.startsWith('xmlns:')) scope.set(name.slice(6), value)
  }
  scope.set('xml', NS_XML)
  const expanded = (name: string, isAttribute: boolean) => {
    const colon = name.indexOf(':')
    const prefix = colon < 0 ? '' : name.slice(0, colon)
    const namespace = isAttribute && colon < 0 ? '' : scope.get(prefix)
    if (namespace === undefined) throw new Error(`${name}: its prefix is not declared`)
    return `{${namespace}}${name.slice(colon + 1)}`
  }
  const attrs: Record<string, string> = Object.create(null)
  for (const [name, value] of written) {
    if (name === 'xmlns' || name.startsWith('xmlns:')) continue
    attrs[expanded(name, true)] = plainValue(value)
  }
  const children = (element.children as (Element | string)[]).map((child) =>
    typeof child === 'string' ? plainText(child) : expand(child, scope),
  )
  return { name: expanded(element.name, false), attrs, children }
}

// What sax lets pass and we refuse, and why that is right.
const STRICTER: [RegExp, string][] = [
  [/^unsupported-encoding: the encoding is/, 'sax is given a string'],
  [/^restricted-xml/, 'RFC 6120 §11.1 forbids it'],
  [/^policy-violation/, 'a limit'],
  [/^bad-namespace-prefix/, 'RFC 6120 §4.9.3.2'],
  [/^bad-format: text between stanzas/, 'nothing a stream may hold'],
  [/^(bad-format|invalid-namespace): the root element/, 'not a stream'],
  [/^not-well-formed: \]\]> in text/, 'sax does not look for it (XML 1.0 §2.4)'],
  [/^not-well-formed: attribute .* twice/, 'sax ignores the second one (XML 1.0 §3.1)'],
  [/^not-well-formed: the character U\+/, 'sax does not look at characters (XML 1.0 §2.2)'],
  [/^not-well-formed: a reference to a character/, 'sax allows most of them (XML 1.0 §4.1)'],
  [/^not-well-formed: .*XML declaration/, 'sax does not look into it (XML 1.0 §2.8)'],
  [
    /^not-well-formed: a namespace that is no URI/,
    'parsers differ on what is joined to a name (Namespaces §2.1)',
  ],
  [/^not-well-formed: < in an attribute value/, 'sax lets it pass (XML 1.0 §3.1)'],
  [/^not-well-formed: <!\[ that begins/, 'sax takes it for a markup declaration'],
  [/^not-well-formed: text before the stream header/, 'sax allows a byte order mark'],
  [
    /^not-well-formed: (the namespace of xmlns|the XML namespace|xmlns:.* is empty|the prefix xmlns)/,
    'Namespaces §3',
  ],
  [/^not-well-formed: a name (with two colons|that ends in a colon)/, 'Namespaces §4'],
  [
    /^not-well-formed: (white space is missing|a start tag with something|< that begins no tag|an end tag with more|an attribute without|an end tag that is not)/,
    'a name of the 5th edition only',
  ],
]

const name5thOnly = /[^\u0000-\u007f]/

function compare(bytes: Buffer): void {
  const recorder = new Recorder().feed(bytes)
  const ours = recorder.elements.map(readStanza)
  if (!isUtf8(bytes)) {
    expect(recorder.error ?? recorder.closed).toBeTruthy()
    return
  }
  const text = bytes.toString()
  const theirs = readWithSax(text)
  if (recorder.error === undefined) {
    expect(theirs.error).toBeUndefined()
    expect(ours).toEqual(theirs.stanzas)
    return
  }
  expect(ours).toEqual(theirs.stanzas.slice(0, ours.length))
  // Nor has sax accepted what it has not read to the end.
  if (theirs.error !== undefined || !theirs.ended) return
  const reason = `${recorder.error.condition}: ${recorder.error.message}`
  const known = STRICTER.find(([pattern]) => pattern.test(reason))
  expect(known, reason).toBeDefined()
  if (known?.[1].startsWith('a name of the 5th')) expect(text, reason).toMatch(name5thOnly)
}

/** Runs `check` on as many seeds as the time allows, and names the one that fails. */
function forSeeds(first: number, least: number, check: (random: Random) => Buffer): void {
  const until = Date.now() + MILLISECONDS
  let seed = first
  for (; seed < first + 20000 && (seed < first + least || Date.now() < until); seed++) {
    const bytes = check(new Random(seed))
    try {
      compare(bytes)
    } catch (error) {
      throw new Error(`seed ${seed}: ${JSON.stringify(bytes.toString())}`, { cause: error })
    }
  }
}

describe('the tokenizer and sax', () => {
  it(
    'read the same from documents that are right',
    () => {
      forSeeds(1, 200, (random) => {
        const document = makeDocument(random)
        const recorder = new Recorder().feed(document)
        if (recorder.error === undefined) expect(recorder.closed).toBe(1)
        else expect(recorder.error.condition).toBe('not-well-formed')
        return Buffer.from(document)
      })
    },
    MILLISECONDS + 20_000,
  )

  it(
    'read the same from documents with mistakes, or we refuse for a reason that is known',
    () => {
      forSeeds(1_000_000, 200, (random) => mutate(random, makeDocument(random), makeDocument(random)))
    },
    MILLISECONDS + 20_000,
  )
})
