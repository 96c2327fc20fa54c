// legate/manager: what a handler returns or throws, and what of it is sent.

import xml from '@xmpp/xml'
import { describe, expect, it } from 'vitest'
import { checkedPayload, thrownError, wrappedAnswer } from '../../manager/answer.ts'
import { StanzaError } from '../../manager/index.ts'
import type { ForwardedRequest } from '../../manager/request.ts'
import { misfit } from '../../manager/well-formed.ts'
import { parse } from '../shared/parse.ts'

const NS = 'urn:example:notes'
const MOST = 1000

/** An error as `@xmpp/error` makes it. */
function libraryError(name: string, condition: unknown, more: Record<string, unknown> = {}): Error {
  return Object.assign(new Error(`${condition} - text`), { name, condition, ...more })
}

describe('the payload of a result', () => {
  it('is an element in a namespace, or nothing', () => {
    expect(checkedPayload(undefined, MOST)).toBeUndefined()
    const payload = xml('note', { xmlns: NS }, 'Buy rue')
    expect(checkedPayload(payload, MOST)).toBe(payload)
    expect(() => checkedPayload(xml('note'), MOST)).toThrow(/the <note\/> .* has no namespace/)
    expect(() => checkedPayload(xml('note', { xmlns: 'jabber:client' }), MOST)).toThrow(/no namespace/)
    for (const wrong of ['text', 7, null, true, {}, [payload], { name: 'note', attrs: {} }]) {
      expect(() => checkedPayload(wrong, MOST)).toThrow('a handler must return an element')
    }
  })

  it('has its own namespace, not that of the request that it is a part of', () => {
    const part = parse(`<notes xmlns='${NS}'><note/></notes>`).getChild('note')
    expect(part?.getNS()).toBe(NS)
    expect(() => checkedPayload(part, MOST)).toThrow(/no namespace/)
  })

  it('has no more than so many bytes', () => {
    expect(() => checkedPayload(xml('note', { xmlns: NS }, '♥'.repeat(400)), MOST)).toThrow(
      'has more than 1000 bytes',
    )
    expect(checkedPayload(xml('note', { xmlns: NS }, 'a'.repeat(400)), MOST)).toBeDefined()
  })

  it('RFC 6120 §11.3: is XML, since a server ends the stream for what is none', () => {
    const deep = (child: Parameters<typeof xml>[2]) => xml('a', { xmlns: NS }, xml('b', {}, child))
    expect(misfit(deep('\t\n\r 🌹 ♥'))).toBeUndefined()
    expect(misfit(deep('\0'))).toMatch('U+0000')
    expect(misfit(deep('\u001b[1m'))).toMatch('U+001B')
    expect(misfit(deep('\uFFFE'))).toMatch('U+FFFE')
    expect(misfit(deep('\uD83C'))).toMatch('U+D83C')
    expect(misfit(xml('a', { xmlns: NS, title: '\u0007' }))).toMatch('U+0007')
    expect(misfit(deep(xml('note title')))).toMatch('"note title"')
    expect(misfit(deep(xml('x><y')))).toMatch('which is none in XML')
    expect(misfit(deep(xml('')))).toMatch('which is none in XML')
    expect(misfit(deep(xml('a', { 'on"x': '1' })))).toMatch('which is none in XML')
    expect(misfit(deep(xml('a', { '1st': '1' })))).toMatch('which is none in XML')
    expect(misfit(xml('größe', { xmlns: NS, 'xml:lang': 'de', none: undefined }))).toBeUndefined()
  })

  it('declares its prefixes: a part of the request that is sent back may not', () => {
    const request = parse(`<iq xmlns:n='${NS}'><n:note n:id='1'><n:text/></n:note></iq>`)
    const [note] = request.getChildElements()
    expect(note?.getNS()).toBe(NS)
    expect(() => checkedPayload(note, MOST)).toThrow('does not declare the prefix of n:note')
    expect(misfit(parse(`<n:note xmlns:n='${NS}' n:id='1'><n:text/></n:note>`))).toBeUndefined()
    expect(misfit(parse(`<a xmlns='${NS}'><b xmlns:n='urn:x'/><n:c/></a>`))).toMatch('prefix of n:c')
    expect(misfit(xml('n:note', { 'xmlns:n': '' }))).toMatch('declares xmlns:n to be nothing')
  })
})

describe('what a handler throws', () => {
  it('is a stanza error with its condition, type and text', () => {
    expect(thrownError(new StanzaError('item-not-found', 'No such note'))?.toString()).toBe(
      '<error type="cancel"><item-not-found xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/>' +
        '<text xmlns="urn:ietf:params:xml:ns:xmpp-stanzas">No such note</text></error>',
    )
    expect(thrownError(new StanzaError('forbidden', '', 'cancel'))?.attrs.type).toBe('cancel')
  })

  it('may be one of @xmpp/error, with a condition of the application’s', () => {
    const application = xml('too-many', { xmlns: `${NS}#errors` })
    const thrown = libraryError('StanzaError', 'resource-constraint', {
      type: 'wait',
      text: 'Full',
      application,
    })
    const error = thrownError(thrown)
    expect(error?.attrs.type).toBe('wait')
    expect(error?.getChildText('text')).toBe('Full')
    expect(error?.getChild('too-many', `${NS}#errors`)).toBeDefined()
  })

  it('is a failure otherwise: nothing of it reaches the asker', () => {
    for (const thrown of [
      new Error('secret of the database'),
      libraryError('SASLError', 'not-authorized'),
      libraryError('StreamError', 'conflict'),
      libraryError('StanzaError', 'no-such-condition'),
      libraryError('StanzaError', '__proto__'),
      libraryError('StanzaError', { toString: () => 'forbidden' }),
      { name: 'StanzaError', condition: 'forbidden' },
      'forbidden',
      undefined,
      null,
    ]) {
      expect(thrownError(thrown)).toBeUndefined()
    }
  })

  it('is mended where it would be no XML', () => {
    const broken = { type: 'fatal', text: 'a\0b', application: xml('a b', { xmlns: NS }) }
    expect(thrownError(libraryError('StanzaError', 'conflict', broken))?.toString()).toBe(
      '<error type="cancel"><conflict xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>',
    )
  })
})

it('F4: the answer bears id and addresses as the request had them', () => {
  const { iq } = {
    iq: { id: `a'"<&`, from: 'Juliet@capulet.lit/b', to: undefined },
  } as unknown as ForwardedRequest
  const answer = wrappedAnswer({ iq } as ForwardedRequest, undefined, false)
  const inner = parse(answer.toString()).getChild('forwarded')?.getChild('iq', 'jabber:client')
  expect(inner?.attrs).toEqual({
    xmlns: 'jabber:client',
    type: 'result',
    id: `a'"<&`,
    to: 'Juliet@capulet.lit/b',
  })
})
