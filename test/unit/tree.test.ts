/** Trees from accepted text, and text from trees. */

import { Element } from '@xmpp/xml'
import { describe, expect, it } from 'vitest'
import {
  buildChildren,
  escapeAttribute,
  escapeText,
  payloadAttributes,
  serialize,
} from '../../server/stanza/tree.ts'
import { HEADER, LIMITS, makeDocument, Random, Recorder } from './tokenizer-support.ts'

const parent = new Element('message')
const build = (inner: string) => buildChildren(inner, parent)
const text = (inner: string) => build(inner)[0]

function shape(node: Element | string): unknown {
  if (typeof node === 'string') return node
  return [node.name, Object.entries(node.attrs), (node.children as (Element | string)[]).map(shape)]
}

describe('buildChildren', () => {
  it('builds elements with their attributes as written, and their parents', () => {
    const children = build("a<b x = '1' xmlns='urn:b'\n y=\"'\"><p:c xmlns:p='urn:p'/>t</b><d></d >z")
    expect(children.map(shape)).toEqual([
      'a',
      [
        'b',
        [
          ['x', '1'],
          ['xmlns', 'urn:b'],
          ['y', "'"],
        ],
        [['p:c', [['xmlns:p', 'urn:p']], []], 't'],
      ],
      ['d', [], []],
      'z',
    ])
    const b = children[1] as Element
    expect(b).toBeInstanceOf(Element)
    expect(b.parent).toBe(parent)
    const c = b.getChild('c', 'urn:p')
    expect(c?.parent).toBe(b)
    expect(parent.children).toEqual([])
    // What @xmpp/xml does with attributes works on ours.
    expect(c?.getXmlns()).toMatchObject({ 'urn:p': 'p', 'urn:b': '' })
  })

  it('decodes text, merges CDATA, and makes line ends \\n (XML 1.0 §2.11)', () => {
    expect(build('&lt;a&gt;&amp;<![CDATA[<b>&amp;]]>&#x1F600;<![CDATA[]]>')).toEqual(['<a>&<b>&amp;😀'])
    expect(text('1\r\n2\r3\n4&#13;&#10;5')).toBe('1\n2\n3\n4\r\n5')
    expect(text('<![CDATA[1\r\n2\r3\r]]>')).toBe('1\n2\n3\n')
    expect(build('')).toEqual([])
    expect(build('<![CDATA[]]>')).toEqual([])
  })

  it('normalises attribute values (XML 1.0 §3.3.3)', () => {
    expect((text("<a b='1\r\n2\t3\n4&#10;5&#9;&quot;'/>") as Element).attrs.b).toBe('1 2 3 4\n5\t"')
  })

  it('takes any attribute name', () => {
    const { attrs } = text("<a __proto__='1' constructor='2'/>") as Element
    expect(Object.entries(attrs)).toEqual([
      ['__proto__', '1'],
      ['constructor', '2'],
    ])
  })

  it('does not mind depth', () => {
    const depth = 100_000
    const element = text('<a>'.repeat(depth) + '</a>'.repeat(depth)) as Element
    expect(serialize(element)).toHaveLength(depth * 7 - 3)
  })

  it('neither hangs nor throws on text that was not accepted', () => {
    const tokens = [
      '<',
      '>',
      '</',
      '/>',
      '&',
      ';',
      '&#',
      '&#-5;',
      '&#x;',
      '<![CDATA[',
      ']]>',
      '=',
      "'",
      '"',
      'a',
      ' ',
      '<!',
    ]
    for (let seed = 1; seed < 3000; seed++) {
      const random = new Random(seed)
      let garbage = ''
      for (let k = random.below(12); k >= 0; k--) garbage += random.pick(tokens)
      expect(
        () => serialize(new Element('a', {})).concat(...build(garbage).map(String)),
        garbage,
      ).not.toThrow()
      expect(() => payloadAttributes(garbage), garbage).not.toThrow()
    }
  })
})

describe('payloadAttributes', () => {
  it('gives the attributes of the first child', () => {
    expect({
      ...payloadAttributes("t<![CDATA[<x y='0'/>]]><a b='&lt;' xmlns='urn:a' p:c=\"2\"><d e='3'/></a>"),
    }).toEqual({
      b: '<',
      xmlns: 'urn:a',
      'p:c': '2',
    })
    expect({ ...payloadAttributes('<a/>') }).toEqual({})
    expect({ ...payloadAttributes('text') }).toEqual({})
    expect({ ...payloadAttributes('<![CDATA[<a/>]]>') }).toEqual({})
  })
})

describe('serialize', () => {
  it('escapes what is to be escaped', () => {
    expect(escapeText('a<b>&c"\'\t\n\r')).toBe('a&lt;b&gt;&amp;c"\'\t\n&#xD;')
    expect(escapeAttribute('a<b>&c"\'\t\n\r')).toBe('a&lt;b&gt;&amp;c&quot;&apos;&#x9;&#xA;&#xD;')
    expect(escapeText('é€😀\u0085\ufffd')).toBe('é€😀\u0085\ufffd')
    expect(escapeText(']]>')).toBe(']]&gt;')
  })

  it('replaces what XML does not allow (§2.2)', () => {
    expect(escapeText('a\u0000b\u001fc\ufffed\uffff')).toBe('a\ufffdb\ufffdc\ufffdd\ufffd')
    expect(escapeText('\ud83d')).toBe('\ufffd')
    expect(escapeText('\ud83dx\ude00')).toBe('\ufffdx\ufffd')
    expect(escapeAttribute('\ude00\ud83d\ude00')).toBe('\ufffd😀')
  })

  it('leaves out attributes and children that are not there', () => {
    const element = new Element('a', { b: undefined, c: null, d: 1, e: '' })
    element.children = [undefined, null, 5, ''] as unknown as string[]
    expect(serialize(element)).toBe('<a d="1" e="">5</a>')
    expect(serialize(new Element('a', {}))).toBe('<a/>')
  })

  it('what is built from a stanza, written, and read again is the same', () => {
    for (let seed = 1; seed < 300; seed++) {
      const first = new Recorder().feed(makeDocument(new Random(seed)))
      for (const { inner, attrs, xmlns } of first.elements) {
        const element = new Element('message', {})
        element.attrs = { xmlns, ...attrs }
        element.children = buildChildren(inner, element)
        const again = new Recorder({ ...LIMITS, stanzaBytes: 1_000_000 }).feed(HEADER, serialize(element))
        expect(again.error, `seed ${seed}`).toBeUndefined()
        const copy = new Element('message', {})
        expect(buildChildren(again.elements[0]!.inner, copy).map(shape), `seed ${seed}`).toEqual(
          (element.children as (Element | string)[]).map(shape),
        )
      }
    }
  })
})
