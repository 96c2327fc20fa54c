/** The queue of stanzas that were not acknowledged, what is counted, and the delay that is added. */

import { describe, expect, it } from 'vitest'
import { isImportant } from '../../plugins/csi_simple/important.ts'
import { AckQueue, readCounter } from '../../plugins/smacks/queue.ts'
import { withDelay } from '../../server/stanza/delay.ts'
import { isStanzaText } from '../../server/stream/outlet.ts'

const texts = (queue: AckQueue) => [...queue.entries()].map(({ text }) => text)

describe('the queue', () => {
  it('takes out what is acknowledged, and nothing that can not be', () => {
    const queue = new AckQueue()
    for (let i = 1; i <= 1000; i++) queue.push(`${i}`, i)
    const wrong = [1001, 2 ** 32 - 1]
    for (const h of wrong) expect(queue.acknowledge(h)).toBe(false)
    let expected = Array.from({ length: 1000 }, (_, i) => `${i + 1}`)
    for (const h of [0, 1, 1, 2, 63, 64, 65, 500, 998]) {
      expect(queue.acknowledge(h)).toBe(true)
      expected = expected.filter((text) => Number(text) > h)
      expect(texts(queue)).toEqual(expected)
      expect([queue.length, queue.sent, queue.oldest]).toEqual([expected.length, 1000, Number(expected[0])])
      expect(queue.size).toBe(expected.join('').length)
      if (h > 0) expect(queue.acknowledge(h - 1)).toBe(false)
    }
    queue.push('1001', 1001)
    queue.detach()
    expect(texts(queue)).toEqual(['999', '1000', '1001'])
    queue.clear()
    expect([queue.length, queue.size, queue.sent, queue.acked]).toEqual([0, 0, 1001, 1001])
    expect(queue.oldest).toBeUndefined()
  })

  it('tells those who want to hear of one that it is acknowledged, once, and gives them with what is left', () => {
    const queue = new AckQueue(2 ** 32 - 50)
    const heard: number[] = []
    const receiptOf = (number: number) => ({ acknowledged: () => heard.push(number), missed() {} })
    for (let i = 0; i < 300; i++) queue.push(`${i}`, i, i % 3 === 0 ? receiptOf(i) : undefined)
    for (const count of [1, 2, 3, 70, 71, 200, 240]) {
      expect(queue.acknowledge((2 ** 32 - 50 + count) % 2 ** 32)).toBe(true)
      expect(heard).toEqual(Array.from({ length: Math.ceil(count / 3) }, (_, i) => i * 3))
      for (const { text, receipt } of queue.entries())
        expect(receipt !== undefined).toBe(Number(text) % 3 === 0)
    }
    queue.push('300', 300, receiptOf(300))
    queue.clear()
    expect(heard).toEqual(Array.from({ length: 101 }, (_, i) => i * 3))
    queue.push('301', 301)
    expect([...queue.entries()].map(({ receipt }) => receipt)).toEqual([undefined])
  })

  it('counts modulo 2^32', () => {
    const queue = new AckQueue(2 ** 32 - 3)
    for (const text of ['a', 'b', 'c', 'd', 'e']) queue.push(text, 0)
    expect(queue.sent).toBe(2)
    expect(queue.acknowledge(3)).toBe(false)
    expect(queue.acknowledge(2 ** 32 - 4)).toBe(false)
    expect(queue.acknowledge(2 ** 32 - 1)).toBe(true)
    expect(texts(queue)).toEqual(['c', 'd', 'e'])
    expect(queue.acknowledge(0)).toBe(true)
    expect(texts(queue)).toEqual(['d', 'e'])
    expect(queue.acknowledge(2)).toBe(true)
    expect(queue.sent).toBe(2)
  })

  it('stays small however much goes through it', () => {
    const queue = new AckQueue()
    queue.push('x', 0)
    for (let i = 1; i < 10_000; i++) {
      queue.push('x', i)
      expect(queue.acknowledge(i)).toBe(true)
    }
    expect((queue as unknown as { texts: string[] }).texts.length).toBeLessThan(100)
  })

  it.each(['', '-1', '+1', '1.0', '1e3', '0x1', ' 1', '4294967296', '99999999999999', undefined])(
    'takes %j for no counter',
    (text) => expect(readCounter(text)).toBeUndefined(),
  )

  it.each([
    ['0', 0],
    ['4294967295', 2 ** 32 - 1],
  ])('takes %s for one', (text, count) => expect(readCounter(text)).toBe(count))
})

describe('the text of a stanza', () => {
  it.each(['<message/>', "<iq type='get'/>", '<presence>x</presence>'])('%s is counted', (text) =>
    expect(isStanzaText(text)).toBe(true),
  )

  it.each([' ', '', "<messages xmlns='urn:x'/>", "<r xmlns='urn:xmpp:sm:3'/>", '<iqx/>', '<presences/>'])(
    '%j is not',
    (text) => expect(isStanzaText(text)).toBe(false),
  )

  it.each([
    [
      "<message to='a'/>",
      "<message to='a'><delay xmlns='urn:xmpp:delay' from='h' stamp='1970-01-01T00:00:01Z'/></message>",
    ],
    [
      '<presence><show>xa</show></presence>',
      "<presence><show>xa</show><delay xmlns='urn:xmpp:delay' from='h' stamp='1970-01-01T00:00:01Z'/></presence>",
    ],
    ["<iq type='get'/>", "<iq type='get'/>"],
    [
      "<message><delay xmlns='urn:xmpp:delay'/></message>",
      "<message><delay xmlns='urn:xmpp:delay'/></message>",
    ],
  ])('%s says that it is late', (text, late) => expect(withDelay(text, 'h', 1000)).toBe(late))

  it.each([
    ["<presence from='a'/>", false],
    ["<presence type='unavailable'/>", false],
    ["<presence type='subscribed'/>", true],
    ["<message type='headline'><body>x</body></message>", false],
    ["<message type='chat'><active xmlns='http://jabber.org/protocol/chatstates'/></message>", false],
    ["<message><received xmlns='urn:xmpp:receipts' id='x'/></message>", false],
    ["<message><sent xmlns='urn:xmpp:carbons:2'/></message>", true],
    ["<message type='error'/>", true],
    ["<iq type='result'/>", true],
    [' ', true],
    ["<r xmlns='urn:xmpp:sm:3'/>", true],
  ])('%s: has to come at once: %s', (text, is) => expect(isImportant(text, [])).toBe(is))
})
