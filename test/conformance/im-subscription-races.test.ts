/** Subscriptions changed by both sides at once: in the end both rosters agree (RFC 6121 §3). */

import { afterEach, beforeEach, expect, it } from 'vitest'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { describeStoredIn } from '../shared/server-storages.ts'

const HOST = 'capulet.lit'
const USERS = [`juliet@${HOST}`, `romeo@${HOST}`] as const
const ROUNDS = 40

let server: TestServer
const streams: TestStream[] = []

beforeEach(async () => {
  server = await startServer({ virtualHosts: { [HOST]: {} } }, [...USERS])
})

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
})

/** A small generator, so that a failure can be had again (mulberry32). */
function randomFrom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

let ids = 0

async function subscriptionOf(stream: TestStream, contact: string): Promise<string> {
  const answer = await stream.ask(`<iq type='get' id='g${++ids}'><query xmlns='jabber:iq:roster'/></iq>`)
  const item = answer.getChild('query')!.getChildByAttr('jid', contact)
  return item?.attrs.subscription ?? 'none'
}

async function race(seed: number): Promise<void> {
  const random = randomFrom(seed)
  const [juliet, romeo] = USERS
  const a = await login(server.c2sPort, juliet)
  const b = await login(server.c2sPort, romeo)
  const elsewhere = await login(server.c2sPort, `${romeo}/elsewhere`)
  streams.push(a, b, elsewhere)
  const act = (contact: string): string => {
    const item = (rest: string) =>
      `<iq type='set' id='s${++ids}'><query xmlns='jabber:iq:roster'><item jid='${contact}' ${rest}/></query></iq>`
    const types = [
      'subscribe',
      'subscribe',
      'subscribed',
      'subscribed',
      'unsubscribe',
      'unsubscribed',
      'probe',
    ]
    const choice = random(types.length + 2)
    if (choice === types.length) return item(`name='${ids}'`)
    if (choice > types.length) return random(3) === 0 ? item(`subscription='remove'`) : item(`name='x'`)
    return `<presence to='${contact}' type='${types[choice]}'/>`
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const [stream, contact] of [
      [a, romeo],
      [b, juliet],
      [elsewhere, juliet],
    ] as const) {
      let text = ''
      for (let i = random(4); i > 0; i--) text += act(contact)
      stream.send(text)
    }
    for (const stream of [a, b, elsewhere, a, b, elsewhere]) await stream.settled()
    const [mine, theirs] = [await subscriptionOf(a, romeo), await subscriptionOf(b, juliet)]
    const mirrored = { none: 'none', to: 'from', from: 'to', both: 'both' }[mine]
    expect(theirs, `after round ${round}`).toBe(mirrored)
  }
  expect(server.log.filter((line) => line.includes('failed'))).toEqual([])
}

// Where writing takes long enough for others to come in between.
const SLOW = ['internal', 'redis'] as const

describeStoredIn(SLOW, 'subscriptions changed by both sides', () => {
  it.each([1, 2, 3])('both rosters agree whatever is sent at once (seed %i)', race)
})
