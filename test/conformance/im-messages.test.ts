/** Messages over real sockets (RFC 6121 §8.5). */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`

let server: TestServer
let romeo: TestStream
const streams: TestStream[] = []

async function connect(jid: string, presence = '<presence/>'): Promise<TestStream> {
  const stream = await login(server.c2sPort, jid, { presence: false })
  streams.push(stream)
  if (presence !== '') stream.send(presence)
  await stream.settled()
  return stream
}

let ids = 0

function write(to: string, type = 'chat', from: TestStream = romeo): string {
  const id = `m${++ids}`
  const address = to === '' ? '' : `to='${to}'`
  from.send(`<message ${address} id='${id}' type='${type}'><body>${id} &lt;3</body></message>`)
  return id
}

/** The ids of the messages that a stream has got. */
async function got(stream: TestStream): Promise<string[]> {
  await romeo.settled()
  await stream.settled()
  return stream.received.filter((element) => element.is('message')).map(({ attrs }) => attrs.id as string)
}

function condition(answer: Element): string {
  expect(answer.attrs.type).toBe('error')
  return answer.getChild('error')!.getChildElements()[0]!.getName()
}

beforeEach(async () => {
  server = await startServer({ virtualHosts: { [HOST]: {} } }, [JULIET, ROMEO])
  romeo = await connect(`${ROMEO}/orchard`, '')
})

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
})

describe('message to a full JID', () => {
  it('§8.5.3.1: goes to that resource and no other, as it was sent', async () => {
    const balcony = await connect(`${JULIET}/balcony`)
    const chamber = await connect(`${JULIET}/chamber`)
    const id = write(`${JULIET}/balcony`)
    const message = await balcony.withId(id)
    expect(message.attrs).toMatchObject({ from: `${ROMEO}/orchard`, to: `${JULIET}/balcony`, type: 'chat' })
    expect(message.getChildText('body')).toBe(`${id} <3`)
    expect(await got(chamber)).toEqual([])
  })

  it('§8.5.3.2.1: of a resource that is gone, chat goes to the account', async () => {
    const chamber = await connect(`${JULIET}/chamber`)
    const id = write(`${JULIET}/balcony`)
    expect((await chamber.withId(id)).attrs.to).toBe(`${JULIET}/balcony`)
  })

  it('§8.5.3.2.1: of a resource that is gone, groupchat is refused, headline and error are dropped', async () => {
    const chamber = await connect(`${JULIET}/chamber`)
    const id = write(`${JULIET}/balcony`, 'groupchat')
    expect(condition(await romeo.withId(id))).toBe('service-unavailable')
    write(`${JULIET}/balcony`, 'headline')
    write(`${JULIET}/balcony`, 'error')
    expect(await got(chamber)).toEqual([])
    expect(await got(romeo)).toEqual([])
  })
})

describe('message to a bare JID', () => {
  it('§8.5.2.1.1: chat goes to the resources with the highest priority', async () => {
    const low = await connect(`${JULIET}/low`, '<presence><priority>1</priority></presence>')
    const high1 = await connect(`${JULIET}/high1`, '<presence><priority>5</priority></presence>')
    const high2 = await connect(`${JULIET}/high2`, '<presence><priority>5</priority></presence>')
    const id = write(JULIET)
    await high1.withId(id)
    await high2.withId(id)
    expect(await got(low)).toEqual([])
  })

  it('§8.5.2.1.1: a headline goes to all but those with a negative priority', async () => {
    const low = await connect(`${JULIET}/low`)
    const high = await connect(`${JULIET}/high`, '<presence><priority>5</priority></presence>')
    const negative = await connect(`${JULIET}/negative`, '<presence><priority>-1</priority></presence>')
    const id = write(JULIET, 'headline')
    await low.withId(id)
    await high.withId(id)
    expect(await got(negative)).toEqual([])
  })

  it('§8.5.2.1.1: groupchat is refused', async () => {
    const juliet = await connect(JULIET)
    expect(condition(await romeo.withId(write(JULIET, 'groupchat')))).toBe('service-unavailable')
    expect(await got(juliet)).toEqual([])
  })

  it('§8.5.2.2: nobody who takes messages gives service-unavailable, as does nobody at all', async () => {
    await connect(`${JULIET}/silent`, '')
    await connect(`${JULIET}/negative`, '<presence><priority>-1</priority></presence>')
    const answers = [
      await romeo.withId(write(JULIET)),
      await romeo.withId(write(`nobody@${HOST}`)),
      await romeo.withId(write(`nobody@${HOST}/x`, 'normal')),
    ]
    for (const answer of answers) expect(condition(answer)).toBe('service-unavailable')
    // The same but for addresses and ids.
    expect(answers[0]!.children.toString()).toBe(answers[1]!.children.toString())
    write(JULIET, 'error')
    write(`nobody@${HOST}`, 'headline')
    expect(await got(romeo)).toEqual([])
  })

  it('§8.5.2.2.1: another plugin may keep what nobody takes, for accounts that exist', async () => {
    const kept: string[] = []
    const host = server.server.hosts.get(HOST)!
    host.events.add('message/offline/handle', (event: { username: string }) => {
      kept.push(event.username)
      return true
    })
    const id = write(`nobody@${HOST}`)
    write(JULIET)
    await romeo.withId(id)
    await romeo.settled()
    expect(kept).toEqual(['juliet'])
    expect(await got(romeo)).toEqual([])
  })

  it('one may write to oneself, with and without an address', async () => {
    const juliet = await connect(JULIET)
    await juliet.withId(write(JULIET, 'chat', juliet))
    await juliet.withId(write('', 'chat', juliet))
  })
})
