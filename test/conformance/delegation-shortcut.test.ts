/** Wrappers that are written to a component at once must not escape those who want to see them. */

import { afterEach, beforeEach, expect, it } from 'vitest'
import type { StanzaEvent } from '../../server/index.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { forwardedTo, unreadRequests } from '../shared/delegation.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const PUBSUB = `pubsub.${HOST}`
const NS = 'urn:example:thing'

let server: TestServer
let juliet: TestStream
let pubsub: TestStream

beforeEach(async () => {
  server = await startServer(
    {
      virtualHosts: { [HOST]: { delegations: { [NS]: { jid: PUBSUB } } } },
      components: { [PUBSUB]: { component_secret: 'secret', modules_enabled: ['delegation'] } },
    },
    [`juliet@${HOST}`],
  )
  juliet = await login(server.c2sPort, `juliet@${HOST}/balcony`)
  pubsub = await connectComponent(server.componentPort, PUBSUB)
})

afterEach(async () => {
  for (const stream of [juliet, pubsub]) await stream.destroy()
  await server.stop()
})

it.each([
  'iq/host',
  'iq-set/host/urn:xmpp:delegation:2:delegation',
  'iq/host/urn:xmpp:delegation:2:delegation',
])(
  'F2: who listens to %s of the component sees them, from when it listens until it does no more',
  async (name) => {
    const { events } = server.server.hosts.get(PUBSUB)!
    const seen: string[] = []
    const ask = async (id: string) => {
      juliet.send(`<iq type='get' id='${id}'><thing xmlns='${NS}'/></iq>`)
      return await forwardedTo(pubsub)
    }
    const before = await ask('a')
    const remove = events.add(name, ({ stanza }: StanzaEvent) => {
      seen.push(stanza.toString())
      return undefined
    })
    const during = await ask('b')
    remove()
    await ask('c')
    expect(seen).toHaveLength(1)
    expect(seen[0]).toContain(`id='b'`)
    // And what comes is the same.
    const withoutIds = (text: string) => text.replaceAll(/ id=(['"])[^'"]*\1/g, '')
    expect(withoutIds(during.wrapper.toString())).toBe(withoutIds(before.wrapper.toString()))
  },
)

it('F2: a handler that takes them keeps them from the component', async () => {
  const { events } = server.server.hosts.get(PUBSUB)!
  events.add('iq/host', () => true, 1)
  juliet.send(`<iq type='get' id='a'><thing xmlns='${NS}'/></iq>`)
  await juliet.settled()
  // What else was sent to it came in order.
  juliet.send(`<message to='${PUBSUB}'/>`)
  await pubsub.next((element) => element.attrs.from === `juliet@${HOST}/balcony`)
  expect(unreadRequests(pubsub)).toEqual([])
})
