/** The tokenizer and how its input is cut: same result, linear time, bounded memory. */

import { describe, expect, it } from 'vitest'
import { HEADER, LIMITS, makeDocument, mutate, Random, Recorder } from './tokenizer-support.ts'

const whole = (bytes: Buffer) => new Recorder().feed(bytes).told

function bytewise(bytes: Buffer): string {
  const seen = new Recorder()
  for (let k = 0; k < bytes.length; k++) seen.feed(bytes.subarray(k, k + 1))
  return seen.told
}

function checkCuts(bytes: Buffer): void {
  const expected = whole(bytes)
  expect(bytewise(bytes)).toBe(expected)
  for (let cut = 1; cut < bytes.length; cut++) {
    const told = new Recorder().feed(bytes.subarray(0, cut), bytes.subarray(cut)).told
    if (told !== expected) expect(told, `cut at ${cut}`).toBe(expected)
  }
}

describe('cut at every byte, the same is told', () => {
  it('of documents that are right', () => {
    for (let seed = 1; seed <= 20; seed++) checkCuts(Buffer.from(makeDocument(new Random(seed))))
  })

  it('of documents with mistakes', () => {
    for (let seed = 1001; seed <= 1040; seed++) {
      const random = new Random(seed)
      checkCuts(mutate(random, makeDocument(random), makeDocument(random)))
    }
  })

  it.each([
    '<a>&amp;&#65;&#x42;]]&gt;<![CDATA[]]]]><![CDATA[x]]></a >',
    "<a b = '&quot;\t'\n><b xmlns:p=\"urn:é\" p:c='1'/></a><x/>",
    '<a>]]></a>',
    '<a>&bogus;</a>',
    '<a>\u{1f600}\u0000</a>',
    '<ab></ac>',
  ])('of %s', (text) => {
    checkCuts(Buffer.from(`${HEADER}${text}</stream:stream>`))
  })

  it('when a limit is passed before a mistake, or after', () => {
    for (const length of [10, 11, 12, 13, 14, 15, 16, 17]) {
      const bytes = Buffer.from(`${HEADER}<a>${'é'.repeat(length)}\u0000</a>`)
      const limits = { ...LIMITS, stanzaBytes: 400 }
      const all = new Recorder(limits).feed(HEADER)
      const cut = new Recorder(limits).feed(HEADER)
      all.tokenizer.setLimits({ ...limits, stanzaBytes: 30 })
      cut.tokenizer.setLimits({ ...limits, stanzaBytes: 30 })
      const rest = bytes.subarray(Buffer.byteLength(HEADER))
      all.feed(rest)
      for (let k = 0; k < rest.length; k++) cut.feed(rest.subarray(k, k + 1))
      expect(cut.told).toBe(all.told)
    }
  })

  it('of a stanza that begins far into a chunk', () => {
    const space = ' '.repeat(5000)
    const stanza = "<message to='a.lit' é='1'><p:body xmlns:p='urn:p'>ü text</p:body></message>"
    for (let cut = 1; cut < stanza.length; cut += 3) {
      const seen = new Recorder().feed(HEADER, space + stanza.slice(0, cut), `${stanza.slice(cut)}<iq/>`)
      expect(seen.told).toBe(new Recorder().feed(HEADER + stanza, '<iq/>').told)
    }
    // The header, too.
    const seen = new Recorder().feed(space + HEADER.slice(21, 60), HEADER.slice(60), stanza)
    expect(seen.told).toBe(new Recorder().feed(HEADER.slice(21), stanza).told)
  })
})

describe('time and memory', () => {
  const limits = { ...LIMITS, stanzaBytes: 10_000_000, nameLength: 1_000_000, attributes: 100_000 }

  function seconds(text: string): number {
    const bytes = Buffer.from(text)
    const seen = new Recorder(limits).feed(HEADER)
    const start = process.hrtime.bigint()
    for (let k = 0; k < bytes.length; k++) seen.tokenizer.write(bytes.subarray(k, k + 1))
    const took = Number(process.hrtime.bigint() - start) / 1e9
    expect(seen.elements).toHaveLength(1)
    return took
  }

  it.each<[string, (size: number) => string]>([
    ['text', (n) => `<a>${'x'.repeat(n)}</a>`],
    ['text of two bytes a character', (n) => `<a>${'é'.repeat(n / 2)}</a>`],
    ['an attribute value', (n) => `<a b='${'x'.repeat(n)}'/>`],
    ['references', (n) => `<a b='${'&amp;'.repeat(n / 10)}'>${'&#65;'.repeat(n / 10)}</a>`],
    ['CDATA', (n) => `<a><![CDATA[${']'.repeat(n)}]]></a>`],
    ['a name', (n) => `<a><${'x'.repeat(n / 2)}></${'x'.repeat(n / 2)}></a>`],
    ['a start tag', (n) => `<a ${Array.from({ length: n / 10 }, (_, k) => `x${k}=''`).join(' ')}/>`],
    ['many elements', (n) => `<a>${'<b/>'.repeat(n / 4)}</a>`],
  ])('fed byte by byte is linear: %s', (_what, make) => {
    const size = 20_000
    seconds(make(size))
    // Quadratic time gives 16. What else the machine does can spoil one measurement, hardly all of them.
    let short = Number.POSITIVE_INFINITY
    let long = Number.POSITIVE_INFINITY
    for (let k = 0; k < 10 && (k === 0 || long / short >= 8); k++) {
      short = Math.min(short, seconds(make(size)))
      long = Math.min(long, seconds(make(size * 4)))
    }
    expect(long / short).toBeLessThan(8)
  })

  it('many prefixes in force do not slow each element', () => {
    const declare = Array.from({ length: 2000 }, (_, k) => `xmlns:p${k}='urn:${k}'`).join(' ')
    const start = process.hrtime.bigint()
    const seen = new Recorder(limits).feed(HEADER, `<a ${declare}>${'<p0:b/>'.repeat(50_000)}</a>`)
    expect(seen.elements[0]?.childCount).toBe(50_000)
    expect(Number(process.hrtime.bigint() - start) / 1e9).toBeLessThan(2)
  })

  it('white space between stanzas is not kept', () => {
    const seen = new Recorder().feed(HEADER)
    const spaces = Buffer.alloc(65536, ' ')
    const before = process.memoryUsage().heapUsed
    for (let fed = 0; fed < 50_000_000; fed += spaces.length) seen.tokenizer.write(spaces)
    expect(seen.tokenizer.bufferedBytes).toBe(0)
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(64_000_000)
    expect(seen.feed('<a/>').elements).toHaveLength(1)
  })
})
