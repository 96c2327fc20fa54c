/** Components that come and go where several processes are one server: what the others know of them, and when. */

import { createHash } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Bus } from '../../server/cluster/bus.ts'
import type { Cluster } from '../../server/cluster/cluster.ts'
import { connectComponent, TestStream } from '../shared/client.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const DOMAIN = 'notes.capulet.lit'

describePeer('a component of a cluster', redisAvailable(), () => {
  let peer: SingleRedis
  const servers: TestServer[] = []

  beforeAll(async () => {
    peer = await startRedis()
    for (let number = 0; number < 2; number++) {
      servers.push(
        await startServer({
          storage: 'redis',
          redis: { url: peer.redis.url, prefix: 'test' },
          cluster: { name: `process ${number}` },
          // Nobody is to be taken for dead here.
          cluster_lease: 20,
          virtualHosts: { 'capulet.lit': { delegations: { 'urn:example:notes': { jid: DOMAIN } } } },
          components: {
            [DOMAIN]: {
              component_secret: 'secret',
              modules_enabled: ['delegation'],
              component_conflict_resolve: 'share',
            },
          },
        }),
      )
    }
  })
  afterAll(async () => {
    for (const server of servers) await server.stop()
    await peer.stop()
  })

  /** How many connections of the component a process knows at the others. */
  const elsewhere = (number: number) =>
    servers[number]!.server.cluster!.directory.connectionsOf(DOMAIN).length

  it('that ends while it is made known is not there for the others', async () => {
    const [here] = servers as [TestServer]
    peer.redis.pause()
    try {
      const stream = await TestStream.connect(here.componentPort)
      await shakeHands(stream)
      const joining = () => [...here.server.sessions].find(({ type }) => type === 'component')
      await expect.poll(joining).toBeDefined()
      // As when its host goes; that the peer has gone is not seen while what it sends is held back.
      joining()!.close()
      await stream.destroy()
    } finally {
      peer.redis.goOn()
    }
    // What is told after it would come after it.
    const staying = await connectComponent(here.componentPort, DOMAIN)
    await expect.poll(() => elsewhere(1)).toBeGreaterThan(0)
    expect(elsewhere(1)).toBe(1)
    await staying.close()
    await expect.poll(() => elsewhere(1)).toBe(0)
  })

  it('is sent nothing before the answer to its handshake, though others know of it before', async () => {
    const [here, there] = servers.map(({ server }) => server.cluster!) as [Cluster, Cluster]
    const { bus } = here as unknown as { bus: Bus }
    let goOn: (value?: unknown) => void = () => {}
    const late = new Promise((resolve) => {
      goOn = resolve
    })
    bus.published = () => late.then(() => {})
    const stream = await TestStream.connect(servers[0]!.componentPort)
    try {
      await shakeHands(stream)
      await expect.poll(() => elsewhere(1)).toBe(1)
      // It asks at once what the manager announces; when this is answered, that has come.
      expect((await there.calls.ask(there.members.keys(), 'nothing', null, 5000)).size).toBe(1)
      expect(stream.received).toEqual([])
    } finally {
      Reflect.deleteProperty(bus, 'published')
      goOn()
    }
    expect((await stream.next()).getName()).toBe('handshake')
    await stream.next(({ attrs }) => (attrs.id as string | undefined)?.startsWith(there.tag) === true)
    await stream.close()
  })
})

/** Sends the handshake; whether it is answered does not matter. */
async function shakeHands(stream: TestStream): Promise<void> {
  const header = await stream.open(`to='${DOMAIN}'`, 'jabber:component:accept')
  const digest = createHash('sha1').update(`${header.attrs.id}secret`).digest('hex')
  stream.send(`<handshake>${digest}</handshake>`)
}
