/** Many requests at once, and nothing left of them (rules F4, F7). */

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
  wrapped,
} from '../shared/delegation.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const PUBSUB = `pubsub.${HOST}`
const NS = 'urn:example:thing'
const USERS = ['juliet', 'romeo', 'nurse', 'tybalt']

let server: TestServer
let pubsub: TestStream
let askers: TestStream[]

beforeEach(async () => {
  server = await startServer(
    {
      virtualHosts: { [HOST]: { delegations: { [NS]: { jid: PUBSUB } } } },
      components: { [PUBSUB]: { component_secret: 'secret', modules_enabled: ['delegation'] } },
    },
    USERS.map((user) => `${user}@${HOST}`),
  )
  pubsub = await connectComponent(server.componentPort, PUBSUB)
  askers = await Promise.all(USERS.map((user) => login(server.c2sPort, `${user}@${HOST}/here`)))
})

afterEach(async () => {
  const { size } = await statusOf(server, HOST)
  for (const stream of [...askers, pubsub]) await stream.destroy()
  await server.stop()
  expect(errorLines(server)).toEqual([])
  expect(size).toBe(0)
})

/** Every account asks; all with the same ids. @returns the answers, later, and the requests in order */
async function inFlight(each: number) {
  const prefix = newId()
  const answers = askers.flatMap((asker) =>
    Array.from({ length: each }, (_, number) =>
      asker.ask(`<iq type='get' id='${prefix}-${number}'><query xmlns='${NS}' number='${number}'/></iq>`),
    ),
  )
  const requests: ForwardedRequest[] = []
  for (const _ of answers) requests.push(await forwardedTo(pubsub))
  expect((await statusOf(server, HOST)).size).toBe(answers.length)
  return { answers, requests }
}

/** An answer that says whom it is for. */
const named = (request: ForwardedRequest): string =>
  goodReply(
    request,
    `<for xmlns='${NS}' who='${request.iq.attrs.from}' number='${request.payload.attrs.number}'/>`,
  )

describe('200 requests in flight from four accounts', () => {
  it('F4: answered in reverse: each asker has its own answers, each once', async () => {
    const { answers, requests } = await inFlight(50)
    pubsub.send(requests.toReversed().map(named).join(''))
    const results = await Promise.all(answers)
    for (const [index, result] of results.entries()) {
      const asker = askers[Math.floor(index / 50)]!
      expect(result.attrs).toMatchObject({ type: 'result', to: asker.jid })
      expect(result.getChild('for')!.attrs).toMatchObject({ who: asker.jid, number: String(index % 50) })
    }
    for (const asker of askers) {
      await asker.settled()
      expect(asker.received.filter((element) => element.is('iq'))).toEqual([])
    }
  })

  it('F4: answers handed round among the askers reach none of them', async () => {
    const { answers, requests } = await inFlight(50)
    pubsub.send(
      requests
        .map((request, index) => {
          const other = requests[(index + 50) % requests.length]!
          return replyText(request, wrapped(innerAnswer(other)))
        })
        .join(''),
    )
    for (const answer of await Promise.all(answers)) expect(conditionOf(answer)).toBe('service-unavailable')
  })

  it('F4: good, bad, doubled and missing answers mixed', async () => {
    const { answers, requests } = await inFlight(50)
    pubsub.send(
      requests
        .map((request, index) => {
          if (index % 4 === 0) return named(request)
          if (index % 4 === 1) return replyText(request, wrapped(innerAnswer(request, { id: 'wrong' })))
          if (index % 4 === 2) return named(request).repeat(2)
          return ''
        })
        .join(''),
    )
    await componentSettled(pubsub, HOST)
    expect((await statusOf(server, HOST)).size).toBe(50)
    await pubsub.destroy()
    const results = await Promise.all(answers)
    const conditions = results.map(conditionOf)
    // The order in which sockets are read is not ours: the requests tell what each asker is due.
    const due = new Map<string, string>()
    for (const [index, { iq, payload }] of requests.entries()) {
      due.set(`${iq.attrs.from} ${payload.attrs.number}`, index % 2 === 0 ? 'result' : 'service-unavailable')
    }
    for (const [index, condition] of conditions.entries()) {
      expect(condition).toBe(due.get(`${askers[Math.floor(index / 50)]!.jid} ${index % 50}`))
    }
    expect((await statusOf(server, HOST)).counts.get(NS)).toEqual({
      forwarded: 200,
      answered: 100,
      refused: 50,
      failed: 0,
      timedOut: 0,
      unavailable: 50,
    })
  })

  it('F7: askers that leave meanwhile disturb nobody', async () => {
    const { answers, requests } = await inFlight(50)
    const leaving = askers.slice(0, 2)
    for (const answer of answers.slice(0, 100)) answer.catch(() => {})
    for (const asker of leaving) await asker.destroy()
    pubsub.send(requests.map(named).join(''))
    for (const answer of await Promise.all(answers.slice(100))) expect(conditionOf(answer)).toBe('result')
    await componentSettled(pubsub, HOST)
  })
})
