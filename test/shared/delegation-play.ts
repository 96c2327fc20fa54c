/** The people of the tests of answers: an asker, the manager that is asked, and a component that is not. */

import type { Element } from '@xmpp/xml'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import { connectComponent, login, type TestStream } from './client.ts'
import { errorLines, type ForwardedRequest, forwardedTo, newId, statusOf } from './delegation.ts'
import { startServer, type TestServer } from './server.ts'

export const HOST = 'capulet.lit'
export const MONTAGUE = 'montague.lit'
export const PUBSUB = `pubsub.${HOST}`
export const RIVAL = `rival.${HOST}`
export const JULIET = `juliet@${HOST}`
export const ROMEO = `romeo@${MONTAGUE}`
/** Both hosts delegate it to the manager. */
export const NS = 'urn:example:thing'

export interface Play {
  server: TestServer
  /** A client. */
  juliet: TestStream
  /** The manager. */
  pubsub: TestStream
  /** A component that may send from any address. */
  rival: TestStream
}

/** Sets the stage for a file of tests; after each of them nothing may be left waiting or have come unasked. */
export function stage(): Play {
  const play = {} as Play

  beforeAll(async () => {
    const delegations = { [NS]: { jid: PUBSUB } }
    const options = { component_secret: 'secret', modules_enabled: ['delegation'] }
    play.server = await startServer(
      {
        virtualHosts: { [HOST]: { delegations }, [MONTAGUE]: { delegations } },
        components: { [PUBSUB]: options, [RIVAL]: { ...options, validate_from_addresses: false } },
      },
      [JULIET, ROMEO, `tybalt@${HOST}`],
    )
    play.juliet = await login(play.server.c2sPort, `${JULIET}/balcony`)
    play.pubsub = await connectComponent(play.server.componentPort, PUBSUB)
    play.rival = await connectComponent(play.server.componentPort, RIVAL)
  })

  afterEach(async () => {
    const { server, juliet } = play
    expect((await statusOf(server, HOST)).size).toBe(0)
    expect((await statusOf(server, MONTAGUE)).size).toBe(0)
    await juliet.settled()
    expect(juliet.received.filter((element) => element.getName() === 'iq')).toEqual([])
  })

  afterAll(async () => {
    for (const stream of [play.juliet, play.pubsub, play.rival]) await stream.destroy()
    await play.server.stop()
    expect(errorLines(play.server)).toEqual([])
  })
  return play
}

/** A client's request, its answer that will come, and what the manager got of it. @param to - null: nobody */
export async function askThrough(
  { pubsub }: Play,
  asker: TestStream,
  to: string | null = HOST,
  id = newId(),
): Promise<{ request: ForwardedRequest; answer: Promise<Element> }> {
  const address = to === null ? '' : `to='${to}'`
  const answer = asker.ask(`<iq type='get' id='${id}' ${address}><query xmlns='${NS}'/></iq>`)
  return { request: await forwardedTo(pubsub), answer }
}
