/** A manager that means harm costs nobody but its own askers anything (rules F4 to F8), seen from one beside it. */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import {
  componentSettled,
  conditionOf,
  errorLines,
  type ForwardedRequest,
  forwardedTo,
  goodReply,
  innerAnswer,
  newId,
  replyText,
  statusOf,
  unreadRequests,
  wrapped,
} from '../shared/delegation.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const EVIL = `evil.${HOST}`
const GOOD = `good.${HOST}`
const EVIL_NS = 'urn:example:evil'
const GOOD_NS = 'urn:example:good'
/** The same manager, with little time to answer. */
const HASTY_NS = 'urn:example:hasty'
/** Milliseconds that a round trip beside the harm may take; the machine may be busy with other things too. */
const PATIENCE = 5000
const MEGABYTE = 1_000_000

let server: TestServer
let evil: TestStream
let good: TestStream
/** Asks the one that means harm. */
let tybalt: TestStream
/** Asks the other one. */
let juliet: TestStream

beforeEach(async () => {
  const component = { component_secret: 'secret', modules_enabled: ['delegation'] }
  server = await startServer(
    {
      virtualHosts: {
        [HOST]: {
          delegations: {
            [EVIL_NS]: { jid: EVIL },
            [HASTY_NS]: { jid: EVIL, timeout: 1 },
            [GOOD_NS]: { jid: GOOD },
          },
        },
      },
      // As trusting as an operator can be: it may send from any address, and what it likes.
      components: {
        [EVIL]: { ...component, validate_from_addresses: false, component_stanza_size_limit: 20 * MEGABYTE },
        [GOOD]: component,
      },
    },
    [`tybalt@${HOST}`, `juliet@${HOST}`],
  )
  evil = await connectComponent(server.componentPort, EVIL)
  good = await connectComponent(server.componentPort, GOOD)
  tybalt = await login(server.c2sPort, `tybalt@${HOST}/street`)
  juliet = await login(server.c2sPort, `juliet@${HOST}/balcony`)
  for (const manager of [evil, good]) {
    await manager.named('message')
    await componentSettled(manager, HOST)
  }
})

afterEach(async () => {
  const status = await statusOf(server, HOST)
  // Whatever the one did, the other has had its requests answered, and nothing else has come to it or its asker.
  expect(status.counts.get(GOOD_NS)).toMatchObject({ refused: 0, failed: 0, timedOut: 0, unavailable: 0 })
  expect(status.counts.get(GOOD_NS)!.answered).toBe(status.counts.get(GOOD_NS)!.forwarded)
  await juliet.settled()
  await componentSettled(good, HOST)
  expect(unreadRequests(good)).toEqual([])
  expect(juliet.received.filter(isAnswer)).toEqual([])
  expect(good.received.filter(isAnswer)).toEqual([])
  expect(status.size).toBe(0)
  for (const stream of [evil, good, tybalt, juliet]) await stream.destroy()
  await server.stop()
  expect(errorLines(server)).toEqual([])
})

const isAnswer = ({ attrs }: Element): boolean => attrs.type === 'result' || attrs.type === 'error'

const ask = (asker: TestStream, namespace: string): Promise<Element> =>
  asker.ask(`<iq type='get' id='${newId()}'><query xmlns='${namespace}'/></iq>`)

/** One request to the manager beside, answered rightly. @returns milliseconds */
async function beside(): Promise<number> {
  const since = performance.now()
  const answer = ask(juliet, GOOD_NS)
  const request = await forwardedTo(good)
  good.send(goodReply(request, `<fine xmlns='${GOOD_NS}'/>`))
  expect((await answer).getChild('fine', GOOD_NS)).toBeDefined()
  return performance.now() - since
}

/** The manager beside goes on working until something has happened. */
async function besideUntil(done: Promise<unknown>): Promise<void> {
  let over = false
  const ends = done.finally(() => {
    over = true
  })
  while (!over) expect(await beside()).toBeLessThan(PATIENCE)
  await ends
}

/** What `count` requests to the hostile manager are, and their answers, later. */
async function evilRequests(
  count: number,
  namespace = EVIL_NS,
): Promise<{ requests: ForwardedRequest[]; answers: Promise<Element>[] }> {
  const answers = Array.from({ length: count }, () => ask(tybalt, namespace))
  const requests: ForwardedRequest[] = []
  for (const _ of answers) requests.push(await forwardedTo(evil))
  return { requests, answers }
}

describe('a manager that', () => {
  it('F8: guesses the ids of others’ requests', async () => {
    // What it is asked itself tells how ids are made: a place in a table, and how often it was used.
    const { requests, answers } = await evilRequests(1)
    const [, prefix = '', place = ''] = /^(.*\.)(\d+)\.\d+$/.exec(String(requests[0]!.wrapper.attrs.id))!
    const answer = ask(juliet, GOOD_NS)
    const request = await forwardedTo(good)
    expect(request.wrapper.attrs.id).toBe(`${prefix}${Number(place) + 1}.1`)
    for (const from of [EVIL, GOOD]) {
      evil.send(replyText(request, wrapped(innerAnswer(request, {}, '<forged/>')), { from }))
      evil.send(replyText(request, '', { from, type: 'error' }))
    }
    await componentSettled(evil, HOST)
    expect((await statusOf(server, HOST)).size).toBe(2)
    good.send(goodReply(request, '<true/>'))
    expect((await answer).getChild('true')).toBeDefined()
    evil.send(goodReply(requests[0]!))
    await answers[0]
  })

  it('F4, F5: answers in the name of others, or to others', async () => {
    const { requests, answers } = await evilRequests(5)
    const lies = [
      { from: `juliet@${HOST}` },
      { from: GOOD },
      { to: juliet.jid },
      { id: 'bind' },
      { to: juliet.jid, from: `juliet@${HOST}` },
    ]
    evil.send(
      requests
        .map((request, index) => replyText(request, wrapped(innerAnswer(request, lies[index]))))
        .join(''),
    )
    for (const answer of answers) expect(conditionOf(await answer)).toBe('service-unavailable')
    await beside()
  })

  it('F8: floods the host with replies that nobody has asked for', async () => {
    const { requests, answers } = await evilRequests(1)
    const [request] = requests
    const unasked = Array.from({ length: 10_000 }, (_, number) =>
      replyText(request!, wrapped(innerAnswer(request!, { to: juliet.jid })), { id: `x${number}` }),
    )
    evil.send(unasked.join(''))
    await besideUntil(componentSettled(evil, HOST))
    evil.send(goodReply(request!))
    expect(conditionOf(await answers[0]!)).toBe('result')
  })

  it('answers with 10 MB, again and again, to one who does not read', async () => {
    const { requests, answers } = await evilRequests(2)
    tybalt.socket.pause()
    const content = `<large xmlns='${EVIL_NS}'>${'x'.repeat(10 * MEGABYTE)}</large>`
    for (const request of requests) evil.send(goodReply(request, content))
    await besideUntil(componentSettled(evil, HOST))
    // Its own asker loses the connection over it.
    const ended = Promise.allSettled(answers)
    tybalt.socket.resume()
    await besideUntil(tybalt.closed())
    await ended
    expect(await server.logged('more data waits to be sent than is kept')).toBeDefined()
  })

  it('answers with more than it may: its stream ends, its askers have an answer', async () => {
    const { requests, answers } = await evilRequests(2)
    const content = `<large xmlns='${EVIL_NS}'>${'x'.repeat(25 * MEGABYTE)}</large>`
    evil.send(goodReply(requests[0]!, content))
    await besideUntil(Promise.all(answers))
    for (const answer of answers) expect(conditionOf(await answer)).toBe('service-unavailable')
    expect((await evil.streamError()).condition).toBe('policy-violation')
  })

  it('F7: never answers', async () => {
    const { answers } = await evilRequests(500, HASTY_NS)
    await besideUntil(Promise.all(answers))
    for (const answer of answers) expect(conditionOf(await answer)).toBe('service-unavailable')
    expect((await statusOf(server, HOST)).counts.get(HASTY_NS)).toMatchObject({
      forwarded: 500,
      timedOut: 500,
    })
  })

  it('F4: answers everything twice, and both ways', async () => {
    const { requests, answers } = await evilRequests(200)
    for (const request of requests) {
      evil.send(
        goodReply(request, '<first/>') +
          goodReply(request, '<second/>') +
          replyText(request, '', { type: 'error' }),
      )
    }
    await besideUntil(componentSettled(evil, HOST))
    for (const answer of answers) expect((await answer).getChild('first')).toBeDefined()
    await tybalt.settled()
    expect(tybalt.received.filter(isAnswer)).toEqual([])
    expect((await statusOf(server, HOST)).counts.get(EVIL_NS)).toMatchObject({
      answered: 200,
      refused: 0,
      failed: 0,
    })
  })

  it('F7: closes in the middle of a stanza, and comes back, over and over', async () => {
    for (let round = 0; round < 10; round++) {
      const { requests, answers } = await evilRequests(5)
      const reply = goodReply(requests[0]!, '<half/>')
      evil.socket.end(reply.slice(0, reply.length - 1 - round * 20))
      await besideUntil(evil.closed())
      for (const answer of answers) expect(conditionOf(await answer)).toBe('service-unavailable')
      evil = await connectComponent(server.componentPort, EVIL)
      await evil.named('message')
    }
  })

  it('does not read what it is asked', async () => {
    evil.socket.pause()
    const padding = 'x'.repeat(100_000)
    const answers = Array.from({ length: 40 }, () =>
      tybalt.ask(`<iq type='get' id='${newId()}'><query xmlns='${HASTY_NS}'>${padding}</query></iq>`),
    )
    const all = Promise.all(answers)
    await besideUntil(all)
    for (const answer of await all) expect(conditionOf(answer)).toBe('service-unavailable')
    evil.socket.resume()
  })
})
