/** Stream management where several processes are one server: sessions are resumed at any of them (XEP-0198 §5). */

import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { login, type TestStream } from '../shared/client.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'
import { authenticate, type ManagedClient, manage, resume, SM, until } from '../shared/stream-management.ts'

const HOST = 'capulet.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${HOST}`

describePeer('stream management in a cluster', redisAvailable(), () => {
  let peer: SingleRedis
  const servers: TestServer[] = []
  const streams: TestStream[] = []
  let ids = 0

  const startOne = async (number: number, users: string[] = []): Promise<TestServer> =>
    startServer(
      {
        storage: 'redis',
        redis: { url: peer.redis.url, prefix: 'test' },
        cluster: { name: `process ${number}` },
        cluster_lease: 2,
        conflict_resolve: 'kick_old',
        modules_enabled: [...USUAL_PLUGINS, 'smacks', 'offline', 'carbons', 'csi_simple', 'register'],
        virtualHosts: { [HOST]: { max_resources: 3, smacks_hibernation_time: 60 } },
      },
      users,
    )

  beforeAll(async () => {
    peer = await startRedis()
    for (let number = 0; number < 3; number++) {
      servers.push(await startOne(number, number === 0 ? [JULIET, ROMEO] : []))
    }
  })

  afterEach(async () => {
    for (const stream of streams.splice(0)) await stream.destroy()
    for (const { server } of servers) {
      for (const session of [...server.sessions]) session.close()
      await until(() => server.sessions.size === 0)
    }
  })

  afterAll(async () => {
    for (const server of servers) await server.stop()
    await peer.stop()
  })

  const portOf = (server: number) => servers[server]!.c2sPort
  const sessionAt = (server: number, jid: string) => servers[server]!.server.fullJids.get(jid)
  const juliet = async (server: number, resource = 'balcony'): Promise<ManagedClient> => {
    const client = await manage(portOf(server), `${JULIET}/${resource}`)
    streams.push(client.stream)
    client.acknowledge()
    await client.stream.settled()
    return client
  }
  const enter = async (server: number, jid: string): Promise<TestStream> => {
    const stream = await login(portOf(server), jid)
    streams.push(stream)
    await stream.settled()
    return stream
  }
  const again = async (server: number, client: ManagedClient, h = client.h): Promise<ManagedClient> => {
    const back = await resume(portOf(server), client, h)
    streams.push(back.stream)
    return back
  }
  const cut = (server: number, client: ManagedClient) =>
    client.cut(() => sessionAt(server, client.stream.jid)?.hibernating === true)
  const say = (from: TestStream, to: string): string => {
    const id = `m${++ids}`
    from.send(`<message id='${id}' to='${to}' type='chat'><body>hi</body></message>`)
    return id
  }

  it.each([
    ['another process than before', 1],
    ['the same as its contact', 2],
  ])('a session is resumed at %s: nobody sees anything, nothing is lost or comes twice', async (_, at) => {
    const romeo = await enter(2, `${ROMEO}/orchard`)
    const client = await juliet(0)
    client.stream.send(`<presence to='${romeo.jid}'/>`)
    await romeo.next(({ attrs }) => attrs.from === client.stream.jid)
    const session = sessionAt(0, client.stream.jid)
    const before = await client.handled()
    const arrived = say(romeo, client.stream.jid)
    await until(() => client.messages.includes(arrived))
    await cut(0, client)
    const missed = [say(romeo, client.stream.jid), say(romeo, JULIET)]
    await romeo.settled()
    const back = await again(at, client)
    expect(back.enabled.attrs).toMatchObject({ h: `${before}`, previd: client.id })
    await until(() => back.messages.length === 2)
    expect(back.messages).toEqual(missed)
    // It is used as any other.
    const own = Array.from({ length: 20 }, (_unused, i) => `own${i}`)
    for (const id of own)
      back.stream.send(`<message id='${id}' to='${romeo.jid}' type='chat'><body/></message>`)
    for (const id of own)
      expect((await romeo.named('message')).attrs).toMatchObject({ id, from: client.stream.jid })
    expect(await back.handled()).toBe(before + own.length)
    const next = say(romeo, client.stream.jid)
    await until(() => back.messages.includes(next))
    back.acknowledge()
    await back.stream.settled()
    expect(sessionAt(0, client.stream.jid)).toBe(session)
    expect(session?.hibernating).toBe(false)
    expect(romeo.received.filter(({ attrs }) => attrs.type === 'unavailable')).toEqual([])
    // Its end is one for all.
    await back.stream.close()
    expect((await romeo.next(({ attrs }) => attrs.type === 'unavailable')).attrs.from).toBe(client.stream.jid)
    await until(() => session?.destroyed === true)
  })

  it('goes on from process to process, and back to its own', async () => {
    const romeo = await enter(2, `${ROMEO}/orchard`)
    const client = await juliet(0)
    let last = client
    for (const [round, at] of [1, 2, 1, 0, 2].entries()) {
      // Every second time the connection before is thought alive.
      const before = last
      if (round % 2 === 1) await cut(0, before)
      last = await again(at, before)
      if (round % 2 === 0) {
        expect((await before.stream.streamError()).condition).toBe('conflict')
        await before.stream.closed()
      }
      const id = say(romeo, client.stream.jid)
      const stream = last
      await until(() => stream.messages.includes(id))
      expect(stream.messages).toEqual([id])
      await stream.stream.settled()
    }
    expect(sessionAt(0, client.stream.jid)?.destroyed).toBe(false)
  })

  it('a connection that is lost at the other process is waited for as at the own', async () => {
    const romeo = await enter(2, `${ROMEO}/orchard`)
    const client = await juliet(0)
    await cut(0, client)
    const back = await again(1, client)
    await cut(0, back)
    const id = say(romeo, client.stream.jid)
    await romeo.settled()
    const third = await again(1, back)
    await until(() => third.messages.includes(id))
  })

  it('what is misused ends the session, at whichever process', async () => {
    const client = await juliet(0)
    await cut(0, client)
    const back = await again(1, client)
    back.stream.send(`<a xmlns='${SM}' h='77'/>`)
    expect((await back.stream.streamError()).condition).toBe('undefined-condition')
    await back.stream.closed()
    await until(() => sessionAt(0, client.stream.jid) === undefined)
    const other = await juliet(0)
    await cut(0, other)
    const spoofed = await again(1, other)
    spoofed.stream.send(`<message from='${ROMEO}' to='${ROMEO}'/>`)
    expect((await spoofed.stream.streamError()).condition).toBe('invalid-from')
    await spoofed.stream.closed()
    const third = await juliet(0)
    await cut(0, third)
    const nameless = await again(1, third)
    nameless.stream.send("<message xmlns='' to='x'/>")
    expect((await nameless.stream.streamError()).condition).toBe('unsupported-stanza-type')
    await nameless.stream.closed()
  })

  it('only the account itself resumes its session, and only one that can count', async () => {
    const client = await juliet(0)
    await cut(0, client)
    const stranger = await authenticate(portOf(1), ROMEO)
    stranger.send(`<resume xmlns='${SM}' previd='${client.id}' h='0'/>`)
    expect((await stranger.named('failed')).getChild('item-not-found')).toBeDefined()
    const wrong = await authenticate(portOf(1), JULIET)
    wrong.send(`<resume xmlns='${SM}' previd='${client.id}' h='${client.h + 5}'/>`)
    expect((await wrong.streamError()).condition).toBe('undefined-condition')
    const unknown = await authenticate(portOf(1), JULIET)
    unknown.send(`<resume xmlns='${SM}' previd='${client.id}x' h='0'/>`)
    expect((await unknown.named('failed')).getChild('item-not-found')).toBeDefined()
    streams.push(stranger, wrong, unknown)
    await again(1, client)
  })

  it('a client that binds the same resource at another process gets what waits, once', async () => {
    const romeo = await enter(2, `${ROMEO}/orchard`)
    const client = await juliet(0)
    await cut(0, client)
    const sent = [say(romeo, client.stream.jid), say(romeo, JULIET)]
    await romeo.settled()
    await until(() => client.stream.jid !== '' && sessionAt(0, client.stream.jid)?.hibernating === true)
    const next = await enter(1, client.stream.jid)
    expect([(await next.named('message')).attrs.id, (await next.named('message')).attrs.id]).toEqual(sent)
    await next.settled()
    expect(next.received.filter(({ name }) => name === 'message')).toEqual([])
  })

  it('one that waits makes room for one that comes to another process', async () => {
    const waiting = await juliet(0, 'a')
    await cut(0, waiting)
    await enter(1, `${JULIET}/b`)
    await enter(2, `${JULIET}/c`)
    await enter(1, `${JULIET}/d`)
    expect(sessionAt(0, waiting.stream.jid)).toBeUndefined()
    await expect(enter(2, `${JULIET}/e`)).rejects.toThrow('could not bind')
  })

  it('when the process of the connection stops while the resumption waits, the session waits on', async () => {
    const extra = await startOne(3)
    servers.push(extra)
    const client = await juliet(0)
    const session = sessionAt(0, client.stream.jid)!
    const writing = {}
    session.begin(writing)
    await cut(0, client)
    const stream = await authenticate(extra.c2sPort, JULIET)
    streams.push(stream)
    stream.send(`<resume xmlns='${SM}' previd='${client.id}' h='${client.h}'/>`)
    const login = [...extra.server.sessions].find(({ type }) => type === 'c2s_unbound')!
    await until(() => login.released() !== undefined)
    await extra.server.cluster!.calls.heard(5000)
    servers.pop()
    await extra.stop()
    await until(() => servers[0]!.server.cluster!.members.size === 3)
    session.end(writing)
    await servers[0]!.server.cluster!.calls.heard(5000)
    expect(session.hibernating).toBe(true)
    await (await again(1, client)).stream.settled()
  })

  it('a client whose session is another process’s changes its password and stays; the others end', async () => {
    const [client, other] = [await juliet(0), await juliet(0, 'garden')]
    await cut(0, client)
    await cut(0, other)
    const [back, gone] = [await again(1, client), await again(1, other)]
    const change = (password: string) =>
      back.stream.ask(
        `<iq type='set' id='change-${password}'><query xmlns='jabber:iq:register'>` +
          `<username>juliet</username><password>${password}</password></query></iq>`,
      )
    expect((await change('new')).attrs.type).toBe('result')
    expect((await gone.stream.streamError()).condition).toBe('not-authorized')
    await gone.stream.closed()
    expect((await change('pw')).attrs.type).toBe('result')
    await back.stream.settled()
    await back.stream.close()
  })

  it('unloaded where the connection is, the session waits for its client to come to another process', async () => {
    const client = await juliet(0)
    await cut(0, client)
    const back = await again(1, client)
    const { hosts, modules } = servers[1]!.server
    modules.unload(hosts.get(HOST)!, 'smacks')
    expect((await back.stream.streamError()).condition).toBe('reset')
    await back.stream.closed()
    await until(() => sessionAt(0, client.stream.jid)?.hibernating === true)
    await modules.load(hosts.get(HOST)!, 'smacks')
    await (await again(1, back)).stream.settled()
  })

  it('when the process of the connection stops, the session waits; when its own does, the client is told', async () => {
    const extra = await startOne(3)
    servers.push(extra)
    const romeo = await enter(2, `${ROMEO}/orchard`)
    const client = await juliet(0)
    await cut(0, client)
    const back = await again(3, client)
    back.acknowledge()
    await back.stream.settled()
    servers.pop()
    await extra.stop()
    await until(() => sessionAt(0, client.stream.jid)?.hibernating === true)
    const id = say(romeo, client.stream.jid)
    await romeo.settled()
    const third = await again(1, back)
    await until(() => third.messages.includes(id))

    const own = await startOne(4)
    servers.push(own)
    const there = await manage(own.c2sPort, `${JULIET}/there`)
    await there.stream.destroy()
    await until(() => own.server.fullJids.get(there.stream.jid)?.hibernating === true)
    const elsewhere = await again(1, there)
    servers.pop()
    await own.stop()
    expect((await elsewhere.stream.streamError()).condition).toBe('system-shutdown')
    await elsewhere.stream.closed()
  })
})
