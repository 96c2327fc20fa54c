/** Delegation where several processes are one server: a manager that is connected to any of them manages for all. */

import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { forwardedTo, innerAnswer, replyText, unreadRequests, wrapped } from '../shared/delegation.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const NS = 'urn:example:notes'
/** So many that it is not chance if all their requests go to one of two connections (F10). */
const USERS = Array.from({ length: 20 }, (_, number) => `user${number}@capulet.lit`)

describePeer('delegation in a cluster', redisAvailable(), () => {
  let peer: SingleRedis
  const servers: TestServer[] = []
  const streams: TestStream[] = []

  beforeAll(async () => {
    peer = await startRedis()
    for (let number = 0; number < 3; number++) {
      servers.push(
        await startServer(
          {
            storage: 'redis',
            redis: { url: peer.redis.url, prefix: 'test' },
            cluster: { name: `process ${number}` },
            cluster_lease: 2,
            virtualHosts: { 'capulet.lit': { delegations: { [NS]: { jid: 'notes.capulet.lit' } } } },
            components: {
              'notes.capulet.lit': {
                component_secret: 'secret',
                modules_enabled: ['delegation'],
                component_conflict_resolve: 'share',
              },
              'first.capulet.lit': { component_secret: 'secret', component_conflict_resolve: 'kick_new' },
              'last.capulet.lit': { component_secret: 'secret', component_conflict_resolve: 'kick_old' },
            },
          },
          number > 0 ? [] : USERS,
        ),
      )
    }
  })

  afterEach(async () => {
    for (const stream of streams.splice(0)) await stream.close()
  })

  afterAll(async () => {
    for (const server of servers) await server.stop()
    await peer.stop()
  })

  const enter = async (server: number, jid: string): Promise<TestStream> => {
    const stream = await login(servers[server]!.c2sPort, jid, { presence: false })
    streams.push(stream)
    return stream
  }
  const manager = async (server: number): Promise<TestStream> => {
    const stream = await connectComponent(servers[server]!.componentPort, 'notes.capulet.lit')
    streams.push(stream)
    await stream.named('message') // its advertisement (A1)
    return stream
  }
  const request = (id: string) => `<iq type='get' id='${id}'><notes xmlns='${NS}'/></iq>`
  /** Every process knows that many connections. */
  const known = async (count: number) => {
    for (const { server } of servers) {
      await expect
        .poll(() => {
          const connections = server
            .sharedTable('component/connections', () => new Map())
            .get('notes.capulet.lit')
          return connections.size
        })
        .toBe(count)
    }
  }
  const serve = async (stream: TestStream): Promise<void> => {
    const forwarded = await forwardedTo(stream)
    stream.send(
      replyText(forwarded, wrapped(innerAnswer(forwarded, {}, `<notes xmlns='${NS}'>done</notes>`))),
    )
  }

  it('A2: a manager is told once, by the process that it is connected to', async () => {
    const notes = await manager(0)
    await known(1)
    const client = await enter(2, USERS[0]!)
    const asked = client.ask(request('1'))
    await serve(notes)
    await asked
    expect(notes.received.filter(({ name }) => name === 'message')).toEqual([])
  })

  it('F2, F4: requests of every process reach it, and are answered', async () => {
    const notes = await manager(1)
    await known(1)
    for (const server of [0, 1, 2]) {
      const client = await enter(server, `${USERS[server]}/x`)
      const asked = client.ask(request(`r${server}`))
      await serve(notes)
      const answer = await asked
      expect(answer.attrs.type).toBe('result')
      expect(answer.getChild('notes', NS)?.text()).toBe('done')
    }
  })

  it('F7: what waits for a manager of another process is answered when that is gone', async () => {
    const notes = await manager(1)
    await known(1)
    const client = await enter(0, USERS[0]!)
    const asked = Array.from({ length: 20 }, (_, number) => client.ask(request(`w${number}`)))
    for (let number = 0; number < 20; number++) await forwardedTo(notes)
    await notes.close()
    for (const answer of await Promise.all(asked)) {
      expect(answer.getChild('error')?.getChild('service-unavailable')).toBeDefined()
    }
    await known(0)
  })

  it('F8: only the connection that was asked can answer, also from another process', async () => {
    const one = await manager(1)
    const other = await manager(2)
    await known(2)
    const client = await enter(0, USERS[0]!)
    const asked = client.ask(request('f8'))
    const forwarded = await Promise.race([forwardedTo(one), forwardedTo(other)])
    const [owner, stranger] = unreadOwner(one, other, forwarded.wrapper.attrs.id!)
    const answer = (text: string) =>
      replyText(forwarded, wrapped(innerAnswer(forwarded, {}, `<notes xmlns='${NS}'>${text}</notes>`)))
    stranger.send(answer('false'))
    await servers[0]!.logged('ignored an answer from somebody who was not asked')
    owner.send(answer('true'))
    expect((await asked).getChild('notes', NS)?.text()).toBe('true')
  })

  const unreadOwner = (one: TestStream, other: TestStream, id: string): [TestStream, TestStream] =>
    one.text.includes(id) ? [one, other] : [other, one]

  it('F10: requests about one account keep to one connection, from every process, also when others come', async () => {
    const connections = [await manager(0), await manager(1)]
    await known(2)
    const clients: TestStream[] = []
    for (const [number, user] of USERS.entries()) {
      for (const server of [0, 1, 2]) clients.push(await enter(server, `${user}/r${server}-${number}`))
    }
    const ask = async (round: string) => {
      const asked = clients.map((client, number) => client.ask(request(`${round}${number}`)))
      await expect
        .poll(() => connections.reduce((sum, stream) => sum + unreadRequests(stream).length, 0))
        .toBe(clients.length)
      const owners = new Map<string, Set<number>>()
      for (const [index, stream] of connections.entries()) {
        while (unreadRequests(stream).length > 0) {
          const forwarded = await forwardedTo(stream)
          const account = forwarded.iq.attrs.from!.split('/')[0]!
          owners.set(account, (owners.get(account) ?? new Set()).add(index))
          stream.send(replyText(forwarded, wrapped(innerAnswer(forwarded))))
        }
      }
      for (const answer of await Promise.all(asked)) expect(answer.attrs.type).toBe('result')
      for (const indices of owners.values()) expect(indices.size).toBe(1)
      return new Map([...owners].map(([account, indices]) => [account, [...indices][0]]))
    }
    const before = await ask('a')
    connections.push(await manager(2))
    await known(3)
    expect(await ask('b')).toEqual(before)
    // Both had something to do.
    expect(new Set(before.values()).size).toBe(2)
  })

  it('kick_new: a component that is connected to one process is refused at another', async () => {
    const first = await connectComponent(servers[0]!.componentPort, 'first.capulet.lit')
    streams.push(first)
    await expect(connectComponent(servers[1]!.componentPort, 'first.capulet.lit')).rejects.toThrow(/conflict/)
    expect(first.ended).toBe(false)
    await first.close()
    // The others hear of that a moment later.
    await expect
      .poll(async () => {
        const next = await connectComponent(servers[1]!.componentPort, 'first.capulet.lit').catch(
          () => undefined,
        )
        if (next !== undefined) streams.push(next)
        return next !== undefined
      })
      .toBe(true)
  })

  it('kick_old: a component that connects to one process replaces the one that is connected to another', async () => {
    const old = await connectComponent(servers[0]!.componentPort, 'last.capulet.lit')
    streams.push(old)
    const now = await connectComponent(servers[1]!.componentPort, 'last.capulet.lit')
    streams.push(now)
    await old.named('error')
    expect(old.text).toContain('<conflict')
    const client = await enter(2, `${USERS[0]}/k`)
    client.send("<message to='last.capulet.lit' id='k'><body>x</body></message>")
    expect((await now.withId('k')).getChildText('body')).toBe('x')
  })
})
