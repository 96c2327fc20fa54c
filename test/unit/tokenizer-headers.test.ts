// Stream headers that are known by their text are read as if they were scanned.
import { describe, expect, it } from 'vitest'
import { KnownHeaders } from '../../server/stream/known-headers.ts'
import type { TokenizerLimits } from '../../server/stream/tokenizer.ts'
import { HEADER, LIMITS, Recorder } from './tokenizer-support.ts'

const STREAMS = "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
const HEADERS = [
  HEADER,
  `<stream:stream to='a.lit' version='1.0' ${STREAMS}>`,
  `<?xml version="1.0"?>\n<stream:stream\tto="a.lit" ${STREAMS} >`,
  `<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:component:accept' to='c.a.lit'>`,
  `<stream xmlns='http://etherx.jabber.org/streams' to='a.lit'>`,
  `<?xml version='1.0'?><stream:stream to='&lt;a&gt;' xml:lang='de' ${STREAMS}>`,
  `<stream:stream ${STREAMS}/>`,
  `<stream:stream to='a' to='b' ${STREAMS}>`,
  `<stream:other ${STREAMS}>`,
]
const AFTER = [
  '',
  `<message><body>x</body></message>`,
  `<stream:features/><db:result to='x'/>`,
  `</stream:stream>`,
  `<message`,
  '&',
]

function whatIsSaid(recorder: Recorder): unknown {
  const { headers, elements, closed, error } = recorder
  const told = headers.map(({ attrs, defaultNs, prefixes }) => ({
    attrs,
    defaultNs,
    prefixes: [...prefixes],
  }))
  return { told, elements, closed, error: error?.condition, text: error?.message }
}

/** What is said by scanning, and by a tokenizer that has met the header. */
function bothWays(header: string, chunks: string[], limits: TokenizerLimits = LIMITS): void {
  const known = new KnownHeaders()
  new Recorder(LIMITS, undefined, known).feed(header)
  const said = whatIsSaid(new Recorder(limits, undefined, known).feed(...chunks))
  expect(said).toEqual(whatIsSaid(new Recorder(limits).feed(...chunks)))
}

describe('a stream header that has been read before', () => {
  it('is found', () => {
    const known = new KnownHeaders()
    new Recorder(LIMITS, undefined, known).feed(HEADER)
    expect(known.find(`${HEADER}<a/>`, 0, LIMITS)?.header.attrs.to).toBe('capulet.lit')
    expect(known.find(HEADER.slice(0, -1), 0, LIMITS)).toBeUndefined()
  })

  it.each(HEADERS)('says the same: %s', (header) => {
    for (const after of AFTER) {
      bothWays(header, [header + after])
      bothWays(header, [header, after])
    }
  })

  it.each(HEADERS)('says the same however it is cut: %s', (header) => {
    const text = header + AFTER[1]
    for (let cut = 1; cut < text.length; cut++) bothWays(header, [text.slice(0, cut), text.slice(cut)])
  })

  it('says the same when one character is another', () => {
    for (let at = 0; at < HEADER.length; at++) {
      for (const other of ['<', '>', "'", ' ', 'x', '&', '\u0000', 'é']) {
        bothWays(HEADER, [HEADER.slice(0, at) + other + HEADER.slice(at + 1) + AFTER[1]])
      }
    }
  })

  it('is refused by limits that it does not keep', () => {
    for (let stanzaBytes = 1; stanzaBytes < HEADER.length + 2; stanzaBytes++) {
      bothWays(HEADER, [HEADER], { ...LIMITS, stanzaBytes })
    }
    for (let attributes = 0; attributes < 8; attributes++)
      bothWays(HEADER, [HEADER], { ...LIMITS, attributes })
    for (let nameLength = 1; nameLength < 20; nameLength++)
      bothWays(HEADER, [HEADER], { ...LIMITS, nameLength })
  })

  it('is found again after a restart, in the middle of a chunk too', () => {
    const known = new KnownHeaders()
    const said = [known, null].map((headers) => {
      const recorder = new Recorder(LIMITS, undefined, headers)
      recorder.onElement = ({ name }) => {
        if (name === 'auth') recorder.tokenizer.restart()
      }
      recorder.feed(HEADER, '<auth/>', HEADER, '<auth/>', `${HEADER}<auth/>${HEADER}<a/>`)
      return whatIsSaid(recorder)
    })
    expect(said[0]).toEqual(said[1])
    expect(said[0]).toMatchObject({ error: undefined, elements: [{}, {}, {}, { name: 'a' }] })
  })

  it('may pause the stream, and what follows is read when it goes on', () => {
    const known = new KnownHeaders()
    const said = [known, known, null].map((headers) => {
      const recorder = new Recorder(LIMITS, undefined, headers)
      recorder.streamOpened = (header) => {
        recorder.headers.push(header)
        recorder.tokenizer.pause()
      }
      recorder.feed(`${HEADER}<message/>`, '<iq/>')
      const before = recorder.elements.length
      recorder.tokenizer.resume()
      return { before, after: whatIsSaid(recorder) }
    })
    expect(said[0]).toEqual(said[2])
    expect(said[1]).toEqual(said[2])
    expect(said[1]).toMatchObject({ before: 0, after: { elements: [{ name: 'message' }, { name: 'iq' }] } })
  })

  it('is not kept if it names its sender, or is long', () => {
    const known = new KnownHeaders()
    const from = HEADER.replace('to=', "from='juliet@capulet.lit' to=")
    const long = HEADER.replace('capulet.lit', `${'x'.repeat(500)}.lit`)
    for (const header of [from, long]) {
      new Recorder(LIMITS, undefined, known).feed(header)
      expect(known.find(header, 0, LIMITS)).toBeUndefined()
    }
  })

  it('that is used is not driven out by ever new ones', () => {
    const known = new KnownHeaders()
    const feed = (header: string) => new Recorder(LIMITS, undefined, known).feed(header)
    for (let number = 0; number < 16; number++) feed(HEADER)
    for (let number = 0; number < 2000; number++) {
      feed(HEADER)
      for (let other = 0; other < 7; other++) feed(HEADER.replace('capulet', `x${number}-${other}`))
    }
    expect(known.find(HEADER, 0, LIMITS)).toBeDefined()
  })
})
