/** Wrapping and unwrapping of delegated IQs: the quick way against the careful one, and both against sax. */

import sax from 'sax'
import { describe, expect, it } from 'vitest'
import { unwrap, unwrapText, unwrapTree, wrap } from '../../plugins/delegation/wrapping.ts'
import { NS_CLIENT, NS_COMPONENT, NS_DELEGATION, NS_FORWARD } from '../../server/stanza/namespaces.ts'
import { Stanza, writeElement } from '../../server/stanza/stanza.ts'
import { Random, Recorder } from './tokenizer-support.ts'

const CASES = Number(process.env['FUZZ_CASES'] ?? 4000)

const headerOf = (xmlns: string): string =>
  `<?xml version='1.0'?><stream:stream to='x' version='1.0' xmlns='${xmlns}' ` +
  `xmlns:stream='http://etherx.jabber.org/streams' xmlns:s='urn:of-stream' xmlns:p='urn:outer'>`

interface Node {
  /** `{namespace}local` */
  name: string
  attrs: [name: string, value: string][]
  children: (Node | string)[]
}

/** The first child of the root, as sax reads it. */
function readWithSax(text: string): Node {
  const parser = sax.parser(true, { xmlns: true })
  const root: Node = { name: '', attrs: [], children: [] }
  const stack = [root]
  let attrs: Node['attrs'] = []
  const addText = (added: string): void => {
    const { children } = stack.at(-1)!
    if (typeof children.at(-1) === 'string') children.push(children.pop() + added)
    else if (added !== '') children.push(added)
  }
  parser.onerror = (error) => {
    throw error
  }
  parser.onattribute = (attribute) => {
    const { name, prefix, local, uri, value } = attribute as sax.QualifiedAttribute
    if (prefix !== 'xmlns' && name !== 'xmlns') attrs.push([`{${prefix === '' ? '' : uri}}${local}`, value])
  }
  parser.onopentag = (tag) => {
    const { uri, local } = tag as sax.QualifiedTag
    const node: Node = { name: `{${uri}}${local}`, attrs: attrs.sort(), children: [] }
    attrs = []
    stack.at(-1)!.children.push(node)
    stack.push(node)
  }
  parser.onclosetag = () => stack.pop()
  parser.ontext = addText
  parser.oncdata = addText
  parser.write(text)
  const [stream] = root.children
  return (stream as Node).children.find((child) => typeof child === 'object') as Node
}

const elementsOf = ({ children }: Node): Node[] => children.filter((child) => typeof child === 'object')

/** A stanza as a session hands it over; undefined if the tokenizer refuses it. */
function readStanza(text: string, xmlns: string = NS_CLIENT): Stanza | undefined {
  const recorder = new Recorder({ stanzaBytes: 1 << 20, depth: 100, attributes: 100, nameLength: 200 })
  recorder.feed(headerOf(xmlns), text)
  const [element] = recorder.elements
  if (recorder.error !== undefined || element === undefined || recorder.elements.length > 1) return undefined
  if (element.xmlns !== xmlns || element.name !== 'iq') return undefined
  const { name, attrs, inner, childCount, payloadName, payloadNs } = element
  return Stanza.fromText(name, attrs, inner, childCount, payloadName, payloadNs)
}

/** The inner IQ by sax, or undefined if a rule of F4 about elements does not hold. */
function innerBySax(text: string): Node | undefined {
  let node = readWithSax(text)
  for (const name of [`{${NS_DELEGATION}}delegation`, `{${NS_FORWARD}}forwarded`, `{${NS_CLIENT}}iq`]) {
    const [child, ...others] = elementsOf(node)
    if (child?.name !== name || others.length > 0) return undefined
    node = child
  }
  return node
}

/** The IQ as a client is sent it, read by sax. */
function delivered(attrs: Record<string, string>, inner: string): Node {
  return readWithSax(`<s xmlns='${NS_CLIENT}'>${Stanza.fromInner('iq', attrs, inner)}</s>`)
}

/** Holds both ways against each other and against sax. @returns which way it went */
function check(text: string): 'refused by the tokenizer' | 'text' | 'tree' | 'refused' {
  const reply = readStanza(text)
  if (reply === undefined) return 'refused by the tokenizer'
  const expected = innerBySax(headerOf(NS_CLIENT) + text)
  const quick = unwrapText(reply.clone())
  const careful = unwrapTree(reply.clone())
  if (expected === undefined) {
    expect([text, quick, typeof careful]).toEqual([text, undefined, 'string'])
    return 'refused'
  }
  if (typeof careful === 'string') throw new Error(`${careful}: ${text}`)
  expect([text, delivered(careful.attrs, careful.inner)]).toEqual([text, expected])
  expect(careful.childCount).toBe(elementsOf(expected).length)
  if (quick === undefined) return 'tree'
  expect([text, delivered(quick.attrs, quick.inner)]).toEqual([text, expected])
  expect([text, { ...quick.attrs }, quick.childCount]).toEqual([
    text,
    { ...careful.attrs },
    careful.childCount,
  ])
  return 'text'
}

const CONTENT_TEXTS = [
  '',
  ' ',
  'text',
  '&amp;&lt;',
  '&#x1F600;',
  'é日本',
  '<![CDATA[</iq>&]]>',
  '<![CDATA[]]>',
  ']]&gt;',
]
const CONTENT_NAMES = ['a', 'iq', 'p:a', 's:a', 'forwarded', 'delegation', 'error', 'é']
const CONTENT_ATTRIBUTES = [
  '',
  '',
  " xmlns=''",
  " xmlns='urn:x'",
  ` xmlns="${NS_CLIENT}"`,
  ` xmlns='${NS_FORWARD}'`,
  " xmlns:p='urn:inner'",
  " p:b='1'",
  ` b=">'/"`,
  " s:b='&lt;'",
]

function makeContent(random: Random, depth: number): string {
  let text = ''
  for (let count = random.below(3); count >= 0; count--) {
    text += random.pick(CONTENT_TEXTS)
    if (depth === 0 || random.chance(3)) continue
    const name = random.pick(CONTENT_NAMES)
    const attributes = random.pick(CONTENT_ATTRIBUTES)
    text += random.chance(3)
      ? `<${name}${attributes}/>`
      : `<${name}${attributes}>${makeContent(random, depth - 1)}</${name}>`
  }
  return text
}

/** A reply, mostly as a manager would write it. */
function makeReply(random: Random): string {
  const odd = (): boolean => random.chance(6)
  const quote = random.pick(["'", '"'])
  const attribute = (name: string, value: string): string => ` ${name}=${quote}${value}${quote}`
  const gap = odd() ? random.pick([' ', '\n', 'text', '<![CDATA[]]>', '<x/>']) : ''
  const more = (): string =>
    odd() ? random.pick([" xmlns:p='urn:middle'", " x='y'", " xmlns:q='urn:q'", ' ']) : ''
  const tag = (name: string, xmlns: string, content: string, attributes: string): string => {
    const prefix = odd() ? random.pick(['c', 'p']) : ''
    const full = prefix === '' ? name : `${prefix}:${name}`
    const declared = odd() ? '' : attribute(prefix === '' ? 'xmlns' : `xmlns:${prefix}`, xmlns)
    const open = `<${full}${declared}${attributes}${more()}`
    return content === '' && random.chance(2) ? `${open}/>` : `${open}>${content}</${full}>`
  }
  const wanted = ` type='result'${attribute('id', random.pick(['a', '&#10;&apos;', 'é', '']))}${attribute('to', 'b')}`
  const content = random.chance(3) ? '' : makeContent(random, 3)
  const iq = tag('iq', random.chance(20) ? 'jabber:server' : NS_CLIENT, content, wanted)
  const forwarded = tag('forwarded', NS_FORWARD, gap + iq + (random.chance(20) ? iq : ''), '')
  const delegation = tag('delegation', NS_DELEGATION, forwarded + (random.chance(10) ? gap : ''), '')
  return `<iq type='result' id='x'${more()}>${random.chance(10) ? gap : ''}${delegation}</iq>`
}

const PIECES = [
  '<',
  '>',
  '/',
  "'",
  '"',
  '=',
  ' ',
  '&',
  ';',
  ':',
  'p',
  'iq',
  '</iq>',
  '<iq ',
  ']]>',
  '<![CDATA[',
  'xmlns',
]

/** Takes out, puts in or doubles something. */
function mutate(random: Random, text: string): string {
  let mutated = text
  for (let count = random.below(3); count >= 0; count--) {
    const at = random.below(mutated.length)
    const end = Math.min(mutated.length, at + 1 + random.below(12))
    switch (random.below(3)) {
      case 0:
        mutated = mutated.slice(0, at) + mutated.slice(end)
        break
      case 1:
        mutated = mutated.slice(0, at) + random.pick(PIECES) + mutated.slice(at)
        break
      default:
        mutated = mutated.slice(0, end) + mutated.slice(at)
    }
  }
  return mutated
}

const forwarded = (iq: string): string =>
  `<iq type='result' id='x'><delegation xmlns='${NS_DELEGATION}'><forwarded xmlns='${NS_FORWARD}'>${iq}</forwarded></delegation></iq>`

describe('unwrap', () => {
  it.each([
    `<iq xmlns='${NS_CLIENT}' type='result'/>`,
    `<iq xmlns='${NS_CLIENT}' type='result'></iq>`,
    `<iq xmlns='${NS_CLIENT}' type='result'> </iq>`,
    `<iq type='result' xmlns="${NS_CLIENT}" ><a/></iq>`,
    `<iq xmlns='${NS_CLIENT}'><a><a></a><a/>></a> text &amp; </iq>`,
    `<iq xmlns='${NS_CLIENT}'><iq><iq/></iq></iq>`,
    `<iq xmlns='${NS_CLIENT}'><a b='</iq>'/></iq>`.replace('</iq>', '&lt;/iq>'),
    `<iq xmlns='${NS_CLIENT}'><a><![CDATA[</a></iq></forwarded>]]></a></iq>`,
    `<iq xmlns='${NS_CLIENT}' xmlns:n='urn:n' n:a='1'><n:b/></iq>`,
    `<iq xmlns='jabber&#58;client'/>`,
  ])('F4: the quick way takes %s', (iq) => {
    expect(check(forwarded(iq))).toBe('text')
  })

  it.each([
    `<iq xmlns='${NS_CLIENT}'><a/><b/></iq>`,
    `<iq xmlns='${NS_CLIENT}'><![CDATA[x]]><a/></iq>`,
    `<iq\nxmlns='${NS_CLIENT}'/>`,
    `<iq xmlns='${NS_CLIENT}'></iq >`,
    ` <iq xmlns='${NS_CLIENT}'/>`,
    `<iq xmlns='${NS_CLIENT}'/> `,
    `<iq xmlns='${NS_CLIENT}'><s:a/></iq>`,
    `<iq xmlns='${NS_CLIENT}' s:a='1'/>`,
    `<c:iq xmlns:c='${NS_CLIENT}'><c:a/><a/>text<a xmlns='urn:x'/></c:iq>`,
    `<c:iq xmlns:c='${NS_CLIENT}' xmlns='urn:x'><a/><c:a><b/></c:a></c:iq>`,
    `<c:iq xmlns:c='${NS_CLIENT}' xmlns=''><a/></c:iq>`,
  ])('F4: the careful way takes %s', (iq) => {
    expect(check(forwarded(iq))).toBe('tree')
  })

  it.each([
    '',
    'text',
    '<iq/>',
    "<iq xmlns=''/>",
    "<iq xmlns='jabber:server'/>",
    `<iq xmlns='${NS_COMPONENT}'/>`,
    `<iq xmlns='${NS_CLIENT}'/><iq xmlns='${NS_CLIENT}'/>`,
    `<iq xmlns='${NS_CLIENT}'/><x/>`,
    `<iqs xmlns='${NS_CLIENT}'/>`,
    `<x><iq xmlns='${NS_CLIENT}'/></x>`,
    `</forwarded><forwarded><iq xmlns='${NS_CLIENT}'/>`,
    `<p:iq xmlns='${NS_CLIENT}'/>`,
  ])('F5: nobody takes %s', (iq) => {
    expect(check(forwarded(iq))).toBe('refused')
    expect(typeof unwrap(readStanza(forwarded(iq))!)).toBe('string')
  })

  it('keeps attributes of any name, in both ways', () => {
    for (const iq of [
      `<iq xmlns='${NS_CLIENT}' __proto__='a' constructor='b'/>`,
      `<iq __proto__='a' constructor='b'\nxmlns='${NS_CLIENT}' /> `,
    ]) {
      const unwrapped = unwrap(readStanza(forwarded(iq))!)
      if (typeof unwrapped === 'string') throw new Error(unwrapped)
      expect(Object.entries(unwrapped.attrs)).toEqual([
        ['__proto__', 'a'],
        ['constructor', 'b'],
      ])
      expect(writeElement('iq', unwrapped.attrs, '')).toBe("<iq __proto__='a' constructor='b'/>")
    }
  })

  it('a reply whose tree somebody has read gives the same', () => {
    const text = forwarded(`<iq xmlns='${NS_CLIENT}' type='result' id='1'><a xmlns='urn:x'>&lt;</a></iq>`)
    const reply = readStanza(text)!
    expect(reply.children).toHaveLength(1)
    const unwrapped = unwrap(reply)
    if (typeof unwrapped === 'string') throw new Error(unwrapped)
    expect(delivered(unwrapped.attrs, unwrapped.inner)).toEqual(innerBySax(headerOf(NS_CLIENT) + text))
  })

  it('generated and mutated replies: both ways agree with each other and with sax', () => {
    const random = new Random(355)
    const seen = { 'refused by the tokenizer': 0, text: 0, tree: 0, refused: 0 }
    for (let i = 0; i < CASES; i++) {
      const text = makeReply(random)
      seen[check(text)]++
      seen[check(mutate(random, text))]++
    }
    // The generator is worth nothing if it does not get everywhere.
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(50)
  })
})

describe('wrap', () => {
  function wrapped(text: string, xmlns: string): Node {
    const request = readStanza(text, xmlns)!
    const written = wrap(request, 'id.1', 'capulet.lit', 'pubsub.capulet.lit').toString()
    // As the manager reads it, whose stream declares no prefix.
    const node = readWithSax(`<s xmlns='${NS_COMPONENT}'>${written}</s>`)
    expect(node.attrs).toEqual([
      ['{}from', 'capulet.lit'],
      ['{}id', 'id.1'],
      ['{}to', 'pubsub.capulet.lit'],
      ['{}type', 'set'],
    ])
    const iq = innerBySax(`<s xmlns='${NS_COMPONENT}'>${written}</s>`)
    if (iq === undefined) throw new Error(`no IQ in ${written}`)
    return iq
  }

  it('leaves the request as it was', () => {
    const text = `<iq type='get' id='1' from='a@b/c'><query xmlns='urn:x'>&amp;</query></iq>`
    const request = readStanza(text, NS_CLIENT)!
    wrap(request, 'id', 'capulet.lit', 'pubsub.capulet.lit')
    expect([request.isText, request.toString()]).toEqual([true, text])
  })

  it('F2: generated requests mean the same to the manager as they did to the server', () => {
    const random = new Random(297)
    let count = 0
    for (let i = 0; i < CASES; i++) {
      const payload = `${random.pick(CONTENT_TEXTS)}<${random.pick(['query', 's:query', 'p:query'])}`
      const name = payload.slice(payload.lastIndexOf('<') + 1)
      const attributes = random.pick([
        '',
        " xml:lang='fr'",
        " xmlns:p='urn:own' p:a='1'",
        " s:a='&#10;'",
        ' b="&quot;"',
      ])
      const text =
        `<iq type='get' id='&#10;&apos;${random.below(9)}'${attributes}>` +
        `${payload}${random.pick(CONTENT_ATTRIBUTES)}>${makeContent(random, 3)}</${name}></iq>`
      if (readStanza(text, NS_CLIENT) === undefined) continue
      expect([text, wrapped(text, NS_CLIENT)]).toEqual([text, readWithSax(headerOf(NS_CLIENT) + text)])
      count++
    }
    expect(count).toBeGreaterThan(50)
  })
})
