/**
 * Stanzas that are recognised by their shapes, held against the same stanzas scanned: no input may make a difference.
 */

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { unwrapLocated, unwrapText, unwrapTree } from '../../plugins/delegation/wrapping.ts'
import { Stanza } from '../../server/stanza/stanza.ts'
import { CLASS, endOfTextRun, IS_TEXT } from '../../server/stream/chars.ts'
import { outlineOf } from '../../server/stream/outline.ts'
import { ShapeTable } from '../../server/stream/shape-table.ts'
import { LIMITS, mutate, Random, Recorder } from './tokenizer-support.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const NS = 'jabber:client'
const HEADER =
  "<stream:stream to='capulet.lit' version='1.0' xmlns='jabber:client' " +
  "xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='urn:db'>"

/** Stanzas as clients and components send them, and as nobody does. */
const STANZAS = [
  "<iq type='get' id='a1'><query xmlns='jabber:iq:roster'/></iq>",
  '<iq type="set" id="b2" to="x@capulet.lit"><q xmlns="urn:q" node="n"><item jid="a@b"/><item jid="c@d"/></q></iq>',
  "<message type='chat' to='romeo@montague.lit/orchard' id='m1'><body>Wherefore art thou, Romeo?</body></message>",
  "<message to='a@b'><body>&lt;b&gt; &amp; &quot;c&quot; &apos;d&apos;</body><x xmlns='urn:x'/></message>",
  "<message to='a@b'><body>1 > 0</body><subject>s</subject></message>",
  "<presence><show>away</show><status>gone</status><c xmlns='urn:c' ver='1' hash='sha-1'/></presence>",
  '<presence/>',
  "<presence type='unavailable'/>",
  '<message></message>',
  "<iq type='result' id='w' from='p.lit' to='capulet.lit'><delegation xmlns='urn:xmpp:delegation:2'>" +
    "<forwarded xmlns='urn:xmpp:forward:0'><iq xmlns='jabber:client' type='result' id='i' to='a@b/c' from='a@b'>" +
    "<pubsub xmlns='urn:ps'><items node='n'><item id='1'><e xmlns='urn:e'>text</e></item></items></pubsub>" +
    '</iq></forwarded></delegation></iq>',
  "<iq type='result' id='w' from='p.lit' to='capulet.lit'><delegation xmlns='urn:xmpp:delegation:2'>" +
    "<forwarded xmlns='urn:xmpp:forward:0'><iq xmlns='jabber:client' type='result' id='i' to='a@b/c'/>" +
    '</forwarded></delegation></iq>',
  "<iq type='result' id='w'><delegation xmlns='urn:xmpp:delegation:2'><forwarded xmlns='urn:xmpp:forward:0'>" +
    "<iq xmlns='jabber:client' xmlns:p='urn:p' p:type='x' type='error' id='i' to='a@b/c'><p:a/><error/></iq>" +
    '</forwarded></delegation></iq>',
  "<iq type='set' id='p'><p:a xmlns:p='urn:p' p:b='1'><p:c xmlns='urn:d'><e/></p:c></p:a></iq>",
  "<iq type='set' id='p'><a xmlns='urn:a' xml:lang='de'><b xmlns=''><c/></b>tail</a>\n</iq >",
  "<message xml:lang='en' to='ä@b'><body>ünïcode € 😀</body></message>",
  "<message db:x='1'><body>borrowed</body></message>",
  '<message><body><![CDATA[<a>]]></body></message>',
  '<message><body>&#65;</body></message>',
]
const VALUES = [
  '',
  'x',
  'a b',
  'ä€😀',
  '"',
  "'",
  '<',
  '&',
  '&amp;',
  '&#65;',
  '\t',
  '\n',
  ']]>',
  '>',
  '\u0000',
  '\ufffe',
]
const TEXTS = [
  '',
  ' ',
  'x',
  ']',
  ']]',
  ']]>',
  ']>',
  '>',
  '&amp;',
  '&lt;x',
  '&foo;',
  '&',
  '<a/>',
  '\r\n',
  '\u0001',
  '€',
]

/** The same stanza with other values, some of which do not belong there. */
function vary(random: Random, stanza: string): string {
  return stanza
    .replace(/=(['"])(.*?)\1/g, (whole, quote: string) =>
      random.chance(5) ? `=${quote}${random.pick(VALUES)}${quote}` : whole,
    )
    .replace(/>([^<]*)</g, (whole) =>
      random.chance(6) ? `>${random.pick(TEXTS)}${random.pick(TEXTS)}<` : whole,
    )
}

/** A stream in which few shapes come many times. */
function makeStream(random: Random): string[] {
  const shapes = Array.from({ length: 1 + random.below(4) }, () => random.pick(STANZAS))
  const stanzas = Array.from({ length: 2 + random.below(12) }, () => {
    const stanza = random.pick(shapes)
    return random.chance(2) ? stanza : vary(random, stanza)
  })
  return [HEADER, ...stanzas, random.chance(2) ? '</stream:stream>' : '']
}

/** Reads with shapes, without, and says both; all patterns are asked for their cuts from the start. */
function readBoth(table: ShapeTable, chunks: readonly Buffer[], limits = LIMITS) {
  const quick = new Recorder(limits, (defaultNs) => (defaultNs === NS ? table : undefined))
  const slow = new Recorder(limits, () => undefined)
  quick.onElement = () => {
    const last = quick.recognised.at(-1)
    if (last !== undefined) last.pattern.located = true
  }
  quick.feed(...chunks)
  slow.feed(...chunks)
  return { quick, slow }
}

describe('shapes', () => {
  it('tell the same as the scan of each stanza does, whatever comes', () => {
    let recognised = 0
    let table = new ShapeTable(NS)
    for (let seed = 1; seed <= 3000; seed++) {
      const random = new Random(seed)
      // A table is kept over many streams, as the server's are.
      if (seed % 50 === 0) table = new ShapeTable(NS)
      const parts = makeStream(random)
      const chunks = random.chance(3)
        ? parts.map((part) => Buffer.from(part))
        : [Buffer.from(parts.join(random.pick(['', ' ', '\n'])))]
      const { quick, slow } = readBoth(table, chunks)
      expect(quick.told, `seed ${seed}`).toBe(slow.told)
      recognised += quick.recognised.length
      for (const { element, pattern, cuts } of quick.recognised) {
        if (cuts !== undefined) checkCuts(element.inner, pattern, cuts)
      }
    }
    // Else the test would say nothing.
    expect(recognised).toBeGreaterThan(5000)
  })

  it('tell the same of streams with mistakes at any byte', () => {
    const table = new ShapeTable(NS)
    for (let seed = 1; seed <= 3000; seed++) {
      const random = new Random(seed)
      const bytes = mutate(random, makeStream(random).join(''), makeStream(random).join(''))
      const cut = random.below(bytes.length + 1)
      const chunks = random.chance(2) ? [bytes] : [bytes.subarray(0, cut), bytes.subarray(cut)]
      const { quick, slow } = readBoth(table, chunks)
      expect(quick.told, `seed ${seed}`).toBe(slow.told)
    }
  })

  it('tell the same of every one-character change of a stanza whose shape is known', () => {
    const odd = ['<', '>', '&', "'", '"', '/', '=', ' ', ']', 'x', ':', '\u0000', '\ufffe', 'é']
    for (const stanza of STANZAS.slice(0, 10)) {
      for (let at = 0; at <= stanza.length; at++) {
        const table = new ShapeTable(NS)
        for (const character of odd) {
          const inserted = stanza.slice(0, at) + character + stanza.slice(at)
          const replaced = stanza.slice(0, at) + character + stanza.slice(at + 1)
          for (const changed of [inserted, replaced]) {
            const { quick, slow } = readBoth(table, [
              Buffer.from(HEADER + stanza + stanza + changed + stanza),
            ])
            expect(quick.told, changed).toBe(slow.told)
          }
        }
      }
    }
  })

  it('keep the limits that a stream has, those of the stream they were learnt from notwithstanding', () => {
    const table = new ShapeTable(NS)
    const stanza =
      "<iq type='set' id='äääää'><query xmlns='urn:q' a='1' b='2'><long-name><x/></long-name></query></iq>"
    const bytes = [Buffer.from(HEADER + stanza + stanza)]
    expect(readBoth(table, bytes).quick.recognised).toHaveLength(1)
    const length = Buffer.byteLength(stanza)
    for (const limits of [
      { ...LIMITS, depth: 4 },
      { ...LIMITS, depth: 3 },
      { ...LIMITS, attributes: 5 },
      { ...LIMITS, attributes: 2 },
      { ...LIMITS, nameLength: 9 },
      { ...LIMITS, nameLength: 8 },
      { ...LIMITS, stanzaBytes: Math.max(length, HEADER.length) },
    ]) {
      const { quick, slow } = readBoth(table, bytes, limits)
      expect(quick.told, JSON.stringify(limits)).toBe(slow.told)
    }
    for (const stanzaBytes of [length - 1, length, length + 1]) {
      const said = [() => table, () => undefined].map((tableOf) => {
        const recorder = new Recorder(LIMITS, tableOf)
        recorder.feed(HEADER)
        recorder.tokenizer.setLimits({ ...LIMITS, stanzaBytes })
        return recorder.feed(stanza).told
      })
      expect(said[0]).toBe(said[1])
    }
  })

  it('are not kept of what is no stanza, such as a password in an <auth/>', () => {
    const table = new ShapeTable(NS)
    const auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>"
    const { quick } = readBoth(table, [Buffer.from(HEADER + auth.repeat(5))])
    expect(quick.elements).toHaveLength(5)
    expect(quick.recognised).toHaveLength(0)
  })

  it('keep no text that was said', () => {
    const outlined = outlineOf("<message to='a'><body>secret</body></message>", NS)
    const table = new ShapeTable(NS)
    const shape = table.learn("<message to='a'><body>secret</body></message>")
    expect(outlined?.values).toContain('secret')
    expect(JSON.stringify(shape)).not.toContain('secret')
  })

  it('keep nothing alive of what they were learnt from', () => {
    const table = new ShapeTable(NS)
    const size = 1 << 16
    collect()
    const before = process.memoryUsage().heapUsed
    for (let number = 0; number < 300; number++) {
      const stanza = `<message to='somebody@capulet.lit/${number}' type='chat'><body>${'x'.repeat(size - 500)}</body>`
      const chunk = Buffer.from(`${stanza}<a${number} xmlns='urn:example:namespace'/></message>`).toString(
        'latin1',
      )
      expect(table.learn(chunk.slice(0))).toBeDefined()
    }
    collect()
    // Of the 300, 24 are remembered.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(8 * size)
  })

  it('cost no more than a few times the text, however alike they begin', () => {
    const table = new ShapeTable(NS)
    const body = (length: number) => `<message><body>${'x'.repeat(length)}</body>`
    const shapes = [...Array(24).keys()].map((number) => table.learn(`${body(10)}<a${number}/></message>`)!)
    expect(table.find(`${body(60_000)}<b/></message>`, 0, undefined)).toBeUndefined()
    const looked = shapes.reduce((sum, { pattern }) => sum + pattern.lookedAt, 0)
    expect(looked).toBeGreaterThan(60_000)
    expect(looked).toBeLessThan(70_000)
    // Those of the usual length are all looked through.
    expect(table.find(`${body(10)}<a0/></message>`, 0, undefined)).toBe(shapes[0])
  })

  it('stop and pause where they are told to, from within a handler', () => {
    const stanza = "<iq type='get' id='a'><ping xmlns='urn:xmpp:ping'/></iq>"
    for (const act of ['pause', 'stop', 'restart'] as const) {
      const table = new ShapeTable(NS)
      const recorder = new Recorder(LIMITS, () => table)
      recorder.onElement = () => {
        if (recorder.elements.length === 3) recorder.tokenizer[act]()
      }
      recorder.feed(HEADER + stanza.repeat(3) + (act === 'restart' ? HEADER : '') + stanza.repeat(2))
      expect(recorder.elements).toHaveLength(act === 'restart' ? 5 : 3)
      expect(recorder.headers).toHaveLength(act === 'restart' ? 2 : 1)
      if (act === 'pause') {
        recorder.onElement = () => {}
        recorder.tokenizer.resume()
        expect(recorder.elements).toHaveLength(5)
      }
    }
  })

  it('that nobody asks for any more are let go, however they follow each other', () => {
    const table = new ShapeTable(NS)
    const first = table.learn('<message><a0/></message>')!
    let before = first
    for (let number = 1; number < 100; number++) {
      const text = `<message><a${number}/></message>`
      table.learn(text)
      before = table.find(text, 0, before)!
    }
    let chain = 0
    for (let shape = before.next; shape !== undefined && chain < 1000; shape = shape.next) chain++
    expect(first.next).toBeUndefined()
    expect(chain).toBeLessThanOrEqual(24)
  })
})

it('a run of text ends where the table of characters says, however it is looked for', () => {
  const long = 'x'.repeat(100)
  for (let code = 0; code < 0x10000; code++) {
    const text = `${long}${String.fromCharCode(code)}y<`
    const expected = (CLASS[code]! & IS_TEXT) !== 0 ? 102 : 100
    if (endOfTextRun(text, 0) !== expected) expect.fail(`U+${code.toString(16)}`)
    if (endOfTextRun(text, 95) !== expected) expect.fail(`U+${code.toString(16)}, near`)
  }
  expect(endOfTextRun(long, 0)).toBe(100)
  expect(endOfTextRun('', 0)).toBe(0)
})

describe('what a manager answers', () => {
  it('is taken out of its wrapper by the shape as by its text, or left to it', () => {
    const table = new ShapeTable(NS)
    let located = 0
    for (let seed = 1; seed <= 3000; seed++) {
      const random = new Random(seed)
      const reply = random.pick(STANZAS.slice(9, 12))
      const text = random.chance(3) ? reply : vary(random, reply)
      const { quick } = readBoth(table, [Buffer.from(HEADER + reply + text + reply)])
      for (const { element, pattern, cuts } of quick.recognised) {
        const { name, attrs, inner, childCount, payloadName, payloadNs } = element
        const stanza = () => Stanza.fromText(name, { ...attrs }, inner, childCount, payloadName, payloadNs)
        const quickly = stanza()
        quickly.fits(pattern, cuts)
        const taken = unwrapLocated(quickly)
        if (taken === undefined) continue
        located++
        expect(taken).toEqual(unwrapText(stanza()))
        const tree = unwrapTree(stanza())
        expect(typeof tree === 'string' ? tree : tree.attrs).toEqual(taken.attrs)
      }
    }
    expect(located).toBeGreaterThan(1000)
  })
})

/** Every attribute and every content of every element is where the pattern says. */
function checkCuts(
  inner: string,
  pattern: Recorder['recognised'][number]['pattern'],
  cuts: readonly number[],
): void {
  const { elements } = pattern.outline
  const seen = readTags(inner)
  expect(elements).toHaveLength(seen.length)
  elements.forEach((element, index) => {
    const { attributes, content } = seen[index]!
    const values = element.values.map((value) => pattern.valueOf(value, inner, cuts))
    const found = Object.fromEntries(element.attributes.map((name, k) => [name, values[k]]))
    expect(found).toEqual(attributes)
    expect(inner.slice(pattern.placeOf(element.start, cuts), pattern.placeOf(element.end, cuts))).toBe(
      content,
    )
  })
}

/** The elements of accepted text in the order of their start tags, read in the plainest way. */
function readTags(text: string): { attributes: Record<string, string>; content: string }[] {
  const tags: { attributes: Record<string, string>; content: string; from: number }[] = []
  const open: typeof tags = []
  for (const match of text.matchAll(
    /<(\/?)([^\s/>]+)((?:\s+[^\s=>/]+\s*=\s*(?:'[^']*'|"[^"]*"))*)\s*(\/?)>/g,
  )) {
    const after = match.index + match[0].length
    if (match[1] === '/') {
      const tag = open.pop()!
      tag.content = text.slice(tag.from, match.index)
      continue
    }
    const attributes: Record<string, string> = {}
    for (const [, name, single, double] of match[3]!.matchAll(/([^\s=]+)\s*=\s*(?:'([^']*)'|"([^"]*)")/g)) {
      if (name !== 'xmlns') attributes[name!] = single ?? double ?? ''
    }
    const tag = { attributes, content: '', from: after }
    tags.push(tag)
    if (match[4] !== '/') open.push(tag)
  }
  return tags
}
