/** What the tokenizer hands over, what it refuses, and how it is held back. */

import { describe, expect, it } from 'vitest'
import type { StreamErrorCondition } from '../../server/stream/errors.ts'
import { HEADER, LIMITS, Recorder } from './tokenizer-support.ts'

const NS_STREAM = 'http://etherx.jabber.org/streams'
const inStream = (...chunks: (string | Buffer)[]) => new Recorder().feed(HEADER, ...chunks)

describe('the stream header', () => {
  it('is handed over with its attributes, default namespace and prefixes', () => {
    const { headers, error } = inStream()
    expect(error).toBeUndefined()
    expect(headers).toHaveLength(1)
    expect({ ...headers[0]!.attrs }).toEqual({ to: 'capulet.lit', version: '1.0' })
    expect(headers[0]!.defaultNs).toBe('jabber:client')
    expect([...headers[0]!.prefixes]).toEqual([['db', 'jabber:server:dialback']])
  })

  it('may be written with another prefix, or none', () => {
    for (const header of [
      `<s:stream xmlns:s='${NS_STREAM}' xmlns='jabber:client'><iq/></s:stream>`,
      `<stream xmlns='${NS_STREAM}'><iq xmlns='jabber:client'/></stream>`,
    ]) {
      const { closed, elements, error } = new Recorder().feed(header)
      expect(error).toBeUndefined()
      expect(elements[0]).toMatchObject({ name: 'iq', xmlns: 'jabber:client' })
      expect(closed).toBe(1)
    }
  })

  it('that is an empty element opens and closes the stream', () => {
    const seen = new Recorder().feed(`<stream:stream xmlns:stream='${NS_STREAM}'/> anything <`)
    expect([seen.headers.length, seen.closed, seen.error]).toEqual([1, 1, undefined])
  })

  it('may come after white space, if there is no XML declaration (RFC 6120 §11.7)', () => {
    expect(new Recorder().feed(' \n', HEADER.replace(/^<\?.*?\?>/, '')).headers).toHaveLength(1)
  })

  it.each([
    `<?xml version="1.0"?>`,
    `<?xml version='1.0' encoding='UTF-8'?>`,
    `<?xml version='1.0' encoding="utf-8" standalone='yes' ?>\n`,
    `<?xml\tversion = '1.0'\n?>`,
  ])('may have the XML declaration %s', (declaration) => {
    const { headers, error } = new Recorder().feed(HEADER.replace(/^<\?.*?\?>/, declaration))
    expect(error).toBeUndefined()
    expect(headers).toHaveLength(1)
  })
})

describe('an element', () => {
  const one = (text: string) => {
    const { elements, error } = inStream(text)
    expect(error).toBeUndefined()
    expect(elements).toHaveLength(1)
    return { ...elements[0]!, attrs: { ...elements[0]!.attrs } }
  }

  it('has its name, attributes, text and first child', () => {
    expect(one("<iq type='get' id='1' xml:lang='en'><q:query xmlns:q='urn:x'/><b>&lt;</b> t</iq >")).toEqual({
      name: 'iq',
      xmlns: 'jabber:client',
      attrs: { type: 'get', id: '1', 'xml:lang': 'en' },
      inner: "<q:query xmlns:q='urn:x'/><b>&lt;</b> t",
      childCount: 2,
      payloadName: 'query',
      payloadNs: 'urn:x',
    })
  })

  it('has no xmlns among its attributes, its namespace is told apart', () => {
    expect(one("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AA==</auth>")).toMatchObject(
      {
        xmlns: 'urn:ietf:params:xml:ns:xmpp-sasl',
        attrs: { mechanism: 'PLAIN' },
        inner: 'AA==',
        childCount: 0,
        payloadName: '',
        payloadNs: '',
      },
    )
    expect(one("<iq xmlns=''/>")).toMatchObject({ xmlns: '', attrs: {} })
    expect(one("<iq xmlns='jabber:client'><a/></iq>")).toMatchObject({
      attrs: {},
      payloadNs: 'jabber:client',
    })
  })

  it('takes along the prefixes of the header that it uses, and no others', () => {
    const dialback = 'jabber:server:dialback'
    expect(one('<iq><a><db:b/></a></iq>').attrs).toEqual({ 'xmlns:db': dialback })
    expect(one("<iq db:x='1'/>").attrs).toEqual({ 'db:x': '1', 'xmlns:db': dialback })
    expect(one("<iq><a stream:x='1'/></iq>").attrs).toEqual({ 'xmlns:stream': NS_STREAM })
    expect(one("<iq xmlns:db='urn:own'><db:b/></iq>").attrs).toEqual({ 'xmlns:db': 'urn:own' })
    expect(one("<iq><db:b xmlns:db='urn:own'/></iq>").attrs).toEqual({})
    expect(one("<iq><a xmlns:db='urn:own'><db:b/></a><db:b/></iq>").attrs).toEqual({ 'xmlns:db': dialback })
    expect(one('<stream:features/>')).toMatchObject({ name: 'features', xmlns: NS_STREAM, attrs: {} })
  })

  it('has its attribute values decoded and normalised (XML 1.0 §3.3.3)', () => {
    expect(one("<iq id='a&amp;b\t\r\n&#10;&#x1F600;\"é' to='&apos;&quot;&lt;&gt;'/>").attrs).toEqual({
      id: 'a&b  \n😀"é',
      to: '\'"<>',
    })
  })

  it('may have any XML name as an attribute', () => {
    const { elements } = inStream("<iq __proto__='1' constructor='2' toString='3'/>")
    expect(Object.entries(elements[0]!.attrs)).toEqual([
      ['__proto__', '1'],
      ['constructor', '2'],
      ['toString', '3'],
    ])
    expect(elements[0]!.attrs['valueOf']).toBeUndefined()
  })

  it('with another prefix may have children that declare their own namespace', () => {
    expect(one("<stream:features><a xmlns='urn:x'><b/></a><stream:c/></stream:features>")).toMatchObject({
      name: 'features',
      attrs: { 'xmlns:stream': NS_STREAM },
      payloadNs: 'urn:x',
    })
  })

  it('gives its CDATA sections as they were received', () => {
    expect(one('<a><![CDATA[<b>&]]]]><![CDATA[>]]></a>').inner).toBe('<![CDATA[<b>&]]]]><![CDATA[>]]>')
  })
})

describe('refused', () => {
  const W: StreamErrorCondition = 'not-well-formed'
  const R: StreamErrorCondition = 'restricted-xml'
  const E: StreamErrorCondition = 'unsupported-encoding'
  const P: StreamErrorCondition = 'bad-namespace-prefix'
  const open = `<stream:stream xmlns='jabber:client' xmlns:stream='${NS_STREAM}'>`

  it.each<[StreamErrorCondition, string]>([
    [R, '<!-- x -->'],
    [R, '<a><!-- x --></a>'],
    [R, '<a><?php x?></a>'],
    [R, '<?php x?>'],
    [R, '<?xml-stylesheet x?>'],
    [R, '<!DOCTYPE a>'],
    [R, '<a>&nbsp;</a>'],
    [R, '<a>&AMP;</a>'],
    [R, "<a b='&longername;'/>"],
    [R, '<a>&é;</a>'],
    [W, "<?xml version='1.0'?>"],
    [W, '<a></b>'],
    [W, '<a></ab>'],
    [W, '<ab></a>'],
    [W, '<a></a b>'],
    [W, '<a></ a>'],
    [W, "<a x='1' x='2'/>"],
    [W, "<a xmlns:p='urn:x' xmlns:q='urn:x' p:b='' q:b=''/>"],
    [W, "<a xmlns='urn:x' xmlns='urn:x'/>"],
    [W, "<a x='<'/>"],
    [W, '<a x=1/>'],
    [W, '<a x/>'],
    [W, "<a x='1'y='2'/>"],
    [W, '<a / >'],
    [W, '< a/>'],
    [W, '<1/>'],
    [W, '<-a/>'],
    [W, '<a><</a>'],
    [W, '<a>]]></a>'],
    [W, '<a>]]]></a>'],
    [W, '<a>&</a>'],
    [W, '<a>&amp</a>'],
    [W, '<a>&;</a>'],
    [W, '<a>& amp;</a>'],
    [W, '<a>&#;</a>'],
    [W, '<a>&#x;</a>'],
    [W, '<a>&#X41;</a>'],
    [W, '<a>&#a;</a>'],
    [W, '<a>&#0;</a>'],
    [W, '<a>&#8;</a>'],
    [W, '<a>&#xD800;</a>'],
    [W, '<a>&#xFFFE;</a>'],
    [W, '<a>&#x110000;</a>'],
    [W, '<a>&#99999999999999999999999999;</a>'],
    [W, '<a>\u0000</a>'],
    [W, '<a>\u000b</a>'],
    [W, '<a>\uffff</a>'],
    [W, '<a><![CDATA[\ufffe]]></a>'],
    [W, "<a b='\u0001'/>"],
    [W, '\u0000'],
    [W, '<a><![cdata[]]></a>'],
    [W, '<p:a/>'],
    [W, "<a p:b=''/>"],
    [W, "<a><b xmlns:p='urn:x'/><p:c/></a>"],
    [W, '<a:b:c/>'],
    [W, "<a xmlns:p='urn:x' p:b:c=''/>"],
    [W, '<:a/>'],
    [W, '<a:/>'],
    [W, '<a:1/>'],
    [W, "<a xmlns:p=''/>"],
    [W, "<a xmlns:=''/>"],
    [W, "<a xmlns:xmlns='urn:x'/>"],
    [W, '<xmlns:a/>'],
    [W, "<a xmlns:xml='urn:x'/>"],
    [W, "<a xmlns:x='http://www.w3.org/XML/1998/namespace'/>"],
    [W, "<a xmlns='http://www.w3.org/XML/1998/namespace'/>"],
    [W, "<a xmlns='http://www.w3.org/2000/xmlns/'/>"],
    [W, "<a xmlns:p='http://www.w3.org/2000/xmlns/'/>"],
    [W, "<a xmlns='urn:x iq'/>"],
    [W, "<a xmlns='urn:x|iq'/>"],
    // Names of the 5th edition, not the 4th; of the 4th, not as a start; of neither; beyond the BMP.
    [W, '<ⰰ/>'],
    [W, '<a\u0370/>'],
    [W, '<\u0300/>'],
    [W, '<a×/>'],
    [W, '<a\u{10000}/>'],
    [P, "<c:message xmlns:c='jabber:client'/>"],
    [P, "<c:message xmlns:c='jabber:server'/>"],
    [P, "<c:iq xmlns:c='jabber:component:accept'/>"],
    [P, '<xml:a/>'],
    // Handed over without its prefix, its child would seem to be in urn:x.
    [P, "<p:a xmlns:p='urn:x'><b/></p:a>"],
    [P, "<p:a xmlns:p='urn:x' xmlns='urn:y'><p:c><b/></p:c></p:a>"],
    ['bad-format', 'text'],
    ['bad-format', '<![CDATA[x]]>'],
    ['bad-format', '&amp;'],
  ])('%s: within a stream, %s', (condition, text) => {
    const seen = new Recorder().feed(open, text)
    expect(seen.error?.condition).toBe(condition)
    expect(seen.elements).toEqual([])
    // After that it ignores everything.
    seen.feed('<a/>')
    expect(seen.elements).toEqual([])
  })

  it.each<[StreamErrorCondition, string]>([
    ['invalid-namespace', "<stream xmlns='jabber:client'>"],
    ['invalid-namespace', '<stream>'],
    ['invalid-namespace', "<stream:stream xmlns:stream='urn:x'>"],
    ['bad-format', `<stream:features xmlns:stream='${NS_STREAM}'>`],
    [W, '<stream:stream>'],
    [W, 'GET / HTTP/1.1\r\n\r\n'],
    [W, '\ufeff<stream:stream'],
    [W, '</stream:stream>'],
    [W, '<![CDATA['],
    [W, `\n<?xml version='1.0'?>${open}`],
    [W, `<?xml version='1.0'?><?xml version='1.0'?>${open}`],
    [W, "<?xml version='1.1'?>"],
    [W, '<?xml version=1.0?>'],
    [W, '<?xml?>'],
    [W, "<?xml encoding='UTF-8' version='1.0'?>"],
    [W, "<?xml version='1.0' standalone='maybe'?>"],
    [E, "<?xml version='1.0' encoding='ISO-8859-1'?>"],
    [E, "<?xml version='1.0' encoding='UTF-16'?>"],
    ['policy-violation', `<?xml version='1.0'${' '.repeat(300)}?>`],
    [R, '<!DOCTYPE stream>'],
    [R, '<!-- x -->'],
    [R, '<?foo?>'],
  ])('%s: at the start, %s', (condition, text) => {
    const seen = new Recorder().feed(text)
    expect(seen.error?.condition).toBe(condition)
    expect(seen.headers).toEqual([])
  })

  it.each([
    ['overlong', [0xc0, 0xaf]],
    ['overlong, three bytes', [0xe0, 0x80, 0xaf]],
    ['overlong, four bytes', [0xf0, 0x80, 0x80, 0xaf]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['beyond U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
    ['a lead without its trail', [0xe2, 0x82, 0x41]],
    ['a trail without its lead', [0x80]],
    ['never a byte of UTF-8', [0xff]],
  ])('unsupported-encoding: %s', (_what, bytes) => {
    for (const cut of [0, 1, bytes.length]) {
      const seen = inStream('<a/><a>', Buffer.from(bytes.slice(0, cut)), Buffer.from(bytes.slice(cut)))
      expect(seen.error?.condition).toBe(E)
      expect(seen.elements).toHaveLength(1)
    }
  })

  it('what precedes the mistake is handed over', () => {
    const seen = inStream(
      Buffer.concat([Buffer.from('<a/><b>é</b>'), Buffer.from([0xff]), Buffer.from('<c/>')]),
    )
    expect(seen.elements.map(({ name }) => name)).toEqual(['a', 'b'])
    expect(seen.error?.condition).toBe(E)
  })
})

describe('limits', () => {
  const limited = (limits: Partial<typeof LIMITS>, ...chunks: string[]) =>
    new Recorder({ ...LIMITS, ...limits }).feed(HEADER, ...chunks)

  it('stanzaBytes counts bytes, tags included, and not what is between stanzas', () => {
    const stanza = `<a>${'é'.repeat(200)}</a>`
    const bytes = Buffer.byteLength(stanza)
    expect(limited({ stanzaBytes: bytes }, ` ${stanza}`, ' ', stanza).elements).toHaveLength(2)
    const { error, elements } = limited({ stanzaBytes: bytes - 1 }, stanza)
    expect(elements).toEqual([])
    expect(error?.condition).toBe('policy-violation')
    expect(error?.message).toContain(`${bytes - 1}`)
  })

  it.each(['<a>', "<a x='", '<', '<a ', '<a><![CDATA[', '<a>&#', '<a></a', '<a>&#x'])(
    'a stanza that begins with %s and never ends is refused at the limit',
    (start) => {
      const seen = inStream(start)
      const filler = start.endsWith('#') || start.endsWith('x') ? '0' : start === '<' ? 'a' : ' '
      let fed = start.length
      for (; seen.error === undefined && fed < 200_000; fed += 1000) seen.feed(filler.repeat(1000))
      expect(seen.error?.condition).toBe('policy-violation')
      expect(fed).toBeLessThanOrEqual(LIMITS.stanzaBytes + 1000 + start.length)
    },
  )

  it('stanzaBytes holds for the header', () => {
    const seen = new Recorder({ ...LIMITS, stanzaBytes: 500 }).feed(
      `${HEADER.slice(0, -1)} id='${'x'.repeat(500)}'>`,
    )
    expect(seen.error?.condition).toBe('policy-violation')
    expect(seen.headers).toEqual([])
  })

  it('depth', () => {
    expect(limited({ depth: 3 }, '<a><b><c/></b></a>').elements).toHaveLength(1)
    expect(limited({ depth: 3 }, '<a><b><c><d/></c></b></a>').error?.condition).toBe('policy-violation')
  })

  it('attributes', () => {
    const tag = (count: number) =>
      `<a>${`<b ${Array.from({ length: count }, (_, k) => `x${k}=''`).join(' ')}/>`}</a>`
    expect(limited({ attributes: 40 }, tag(40)).elements).toHaveLength(1)
    expect(limited({ attributes: 40 }, tag(41)).error?.condition).toBe('policy-violation')
    expect(limited({ attributes: 40 }, tag(30).replace("x29=''", "x3=''")).error?.condition).toBe(
      'not-well-formed',
    )
  })

  it('nameLength', () => {
    expect(limited({ nameLength: 20 }, `<${'a'.repeat(20)}/>`).elements).toHaveLength(1)
    for (const text of [`<${'a'.repeat(21)}/>`, `<a ${'b'.repeat(21)}=''/>`]) {
      expect(limited({ nameLength: 20 }, text).error?.condition).toBe('policy-violation')
    }
  })

  it('may be raised while the stream goes on', () => {
    const seen = limited({ stanzaBytes: 400 }, `<a>${'x'.repeat(300)}`)
    seen.tokenizer.setLimits(LIMITS)
    seen.feed(`${'x'.repeat(300)}</a>`)
    expect(seen.error).toBeUndefined()
    expect(seen.elements[0]?.inner).toHaveLength(600)
  })
})

describe('restart, stop, pause', () => {
  it('restart: the rest of the chunk belongs to the new stream', () => {
    const seen = new Recorder()
    seen.onElement = ({ name }) => {
      if (name === 'auth') seen.tokenizer.restart()
    }
    seen.feed(
      `${HEADER}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>é</auth>${HEADER}<iq/></stream:stream>`,
    )
    expect(seen.error).toBeUndefined()
    expect(seen.headers).toHaveLength(2)
    expect(seen.elements.map(({ name }) => name)).toEqual(['auth', 'iq'])
    expect(seen.closed).toBe(1)
  })

  it('restart forgets the prefixes of the old stream', () => {
    const seen = inStream()
    seen.tokenizer.restart()
    seen.feed(`<s:stream xmlns:s='${NS_STREAM}'><db:a/>`)
    expect(seen.error?.condition).toBe('not-well-formed')
  })

  it('stop: what follows <starttls/> is discarded, whatever it is, and restart begins again', () => {
    const seen = new Recorder()
    seen.onElement = ({ name }) => {
      if (name === 'starttls') seen.tokenizer.stop()
    }
    const secret = Buffer.concat([Buffer.from('<message/><'), Buffer.from([0xff, 0xe2])])
    seen.feed(
      Buffer.concat([Buffer.from(`${HEADER}<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`), secret]),
    )
    seen.feed('<message/>')
    expect(seen.elements.map(({ name }) => name)).toEqual(['starttls'])
    expect(seen.error).toBeUndefined()
    expect(seen.tokenizer.bufferedBytes).toBe(0)
    seen.tokenizer.restart()
    seen.feed(HEADER, '<iq/>')
    expect(seen.error).toBeUndefined()
    expect(seen.elements.map(({ name }) => name)).toEqual(['starttls', 'iq'])
  })

  it('stop and restart from one handler discard the rest of the chunk all the same', () => {
    const seen = new Recorder()
    seen.onElement = ({ name }) => {
      if (name !== 'starttls') return
      seen.tokenizer.stop()
      seen.tokenizer.restart()
    }
    seen.feed(`${HEADER}<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><message/>`)
    seen.feed(HEADER, '<iq/>')
    expect(seen.error).toBeUndefined()
    expect(seen.elements.map(({ name }) => name)).toEqual(['starttls', 'iq'])
  })

  it('pause: nothing is handed over until resume, and what waits is counted', () => {
    const seen = new Recorder()
    seen.onElement = () => seen.tokenizer.pause()
    const stanzas = '<a/><b>é</b><c/>'
    seen.feed(HEADER + stanzas)
    expect(seen.elements).toHaveLength(1)
    expect(seen.tokenizer.bufferedBytes).toBe(Buffer.byteLength(stanzas) - 4)
    seen.feed('<d', '/>')
    expect(seen.tokenizer.bufferedBytes).toBe(Buffer.byteLength(stanzas))
    for (const expected of ['ab', 'abc', 'abcd']) {
      seen.tokenizer.resume()
      expect(seen.elements.map(({ name }) => name).join('')).toBe(expected)
    }
    expect(seen.tokenizer.bufferedBytes).toBe(0)
    seen.tokenizer.resume()
    seen.feed('<e/>')
    expect(seen.elements).toHaveLength(5)
  })

  it('pause keeps a mistake until its turn', () => {
    const seen = new Recorder()
    seen.onElement = () => seen.tokenizer.pause()
    seen.feed(Buffer.concat([Buffer.from(`${HEADER}<a/><b/>`), Buffer.from([0xff])]), '<c/>')
    expect(seen.error).toBeUndefined()
    seen.tokenizer.resume()
    expect(seen.elements).toHaveLength(2)
    expect(() => seen.tokenizer.resume()).toThrow('UTF-8')
    expect(seen.tokenizer.bufferedBytes).toBe(0)
  })

  it('pause and resume from one handler change nothing', () => {
    const seen = new Recorder()
    seen.onElement = () => {
      seen.tokenizer.pause()
      seen.tokenizer.resume()
    }
    expect(seen.feed(`${HEADER}<a/><b/></stream:stream>`).closed).toBe(1)
    expect(seen.elements).toHaveLength(2)
  })

  it('pause, then restart, then resume: what waited belongs to the new stream', () => {
    const seen = new Recorder()
    seen.onElement = ({ name }) => {
      if (name === 'auth') seen.tokenizer.pause()
    }
    seen.feed(`${HEADER}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>${HEADER}<iq/>`)
    seen.tokenizer.restart()
    seen.tokenizer.resume()
    expect(seen.error).toBeUndefined()
    expect(seen.headers).toHaveLength(2)
    expect(seen.elements).toHaveLength(2)
  })

  it('a write from a handler is read after the rest of the chunk', () => {
    const seen = new Recorder()
    seen.onElement = ({ name }) => {
      if (name === 'a') seen.tokenizer.write(Buffer.from('<c/>'))
    }
    seen.feed(`${HEADER}<a/><b/>`)
    expect(seen.elements.map(({ name }) => name)).toEqual(['a', 'b', 'c'])
  })

  it('what a handler throws comes out of write, and ends the reading', () => {
    const seen = new Recorder()
    seen.onElement = () => {
      throw new RangeError('mine')
    }
    expect(() => seen.feed(`${HEADER}<a/><b/>`)).toThrow('mine')
    seen.feed('<c/>')
    expect(seen.elements).toHaveLength(1)
  })

  it('after the end of the stream everything is ignored', () => {
    const seen = inStream('</stream:stream>', ' \n', '<a/> text', Buffer.from([0xff]))
    expect([seen.closed, seen.elements.length, seen.error]).toEqual([1, 0, undefined])
  })
})
