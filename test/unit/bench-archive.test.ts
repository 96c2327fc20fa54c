// The bench's pages of the archive: what is wrong with one must not pass for a page.
import { describe, expect, it } from 'vitest'
import { PageReader } from '../../bench/load/archive.ts'
import { stanzaEnd } from '../../bench/load/reading.ts'
import { OTHER, PART } from '../../bench/load/skeleton.ts'
import { archivedMessage, ID_LENGTH, operationId, PAGE_SIZE } from '../../bench/load/stanzas.ts'

const ARCHIVED = 1000
const id = (sequence: number, client = 3) => operationId(client, 0, sequence)
const numbers = Array.from({ length: PAGE_SIZE }, (_, index) => ARCHIVED - PAGE_SIZE + index)

/** A message of the page; servers order attributes and choose quotes as they like. */
function result(number: number, queryId: string): string {
  return (
    `<message to="u0003@capulet.lit/bench"><result id='${number}' queryid="${queryId}" xmlns='urn:xmpp:mam:2'>` +
    `<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/>` +
    `${archivedMessage(number)}</forwarded></result></message>`
  )
}

function end(iqId: string): string {
  return (
    `<iq type="result" id="${iqId}"><fin xmlns='urn:xmpp:mam:2' queryid='${iqId}'>` +
    `<set xmlns='http://jabber.org/protocol/rsm'><first>1</first><last>2</last></set></fin></iq>`
  )
}

const page = (pageId: string) => [...numbers.map((number) => result(number, pageId)), end(pageId)]

/** What a reader makes of these stanzas: the ids of complete pages, and how many were read the slow way. */
function read(stanzas: readonly string[]): { complete: string[]; slow: number } {
  const complete: string[] = []
  let slow = 0
  const reader = new PageReader(ARCHIVED, (bytes, at) =>
    complete.push(bytes.toString('latin1', at, at + ID_LENGTH)),
  )
  const bytes = Buffer.from(stanzas.join(''), 'latin1')
  for (let at = 0; at < bytes.length; ) {
    let next = reader.quick(bytes, at)
    if (next === PART) throw new Error('only a part')
    if (next === OTHER) {
      next = stanzaEnd(bytes, at)
      if (next < 0) throw new Error('no end')
      reader.slow(bytes, at, next)
      slow++
    }
    at = next
  }
  return { complete, slow }
}

describe('pages of the archive', () => {
  it('end behind the message that they wrap', () => {
    const text = result(950, id(1))
    expect(stanzaEnd(Buffer.from(`${text}<presence/>`), 0)).toBe(text.length)
  })

  it('are complete with their ends, and compared with the one before', () => {
    const pages = [1, 2, 3].flatMap((sequence) => page(id(sequence)))
    expect(read(pages)).toEqual({ complete: [1, 2, 3].map((sequence) => id(sequence)), slow: PAGE_SIZE + 1 })
  })

  it('come among other stanzas', () => {
    const other = [
      `<presence from='a@b'/>`,
      `<message from='a@b'><body>x</body></message>`,
      `<iq type='get' id='x'/>`,
    ]
    const mixed = page(id(1)).flatMap((stanza) => [...other, stanza])
    expect(read(mixed).complete).toEqual([id(1)])
  })

  it.each([
    ['a message is missing', page(id(1)).toSpliced(7, 1), 'no message'],
    ['two change places', [result(951, id(1)), result(950, id(1))], 'no message'],
    ['there is one too many', page(id(1)).toSpliced(7, 0, result(957, id(1))), 'no message'],
    ['one is of another page', page(id(1)).toSpliced(7, 1, result(957, id(2))), 'a page of two requests'],
    ['the end is of another one', page(id(1)).toSpliced(-1, 1, end(id(2))), 'a page of two requests'],
    ['it is an error', [`<iq type='error' id='${id(1)}'/>`], 'an error instead of a page'],
    ['a later one is empty', [...page(id(1)), end(id(2))], 'no message'],
    [
      'a later one is wrong',
      [...page(id(1)), ...page(id(2)).toSpliced(3, 1, result(954, id(2)))],
      'no message',
    ],
  ])('fail if %s', (_, stanzas, message) => expect(() => read(stanzas)).toThrow(message))
})
