/** Client mode where several processes are one server (rules U1 to U6). */

import { connect, createServer, type Server as NetServer, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import type { StoredGrants } from '../../plugins/delegation/client-grants.ts'
import { configFromObject } from '../../server/config/index.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import {
  componentSettled,
  conditionOf,
  errorLines,
  forwardedTo,
  goodReply,
  newId,
  unreadRequests,
} from '../shared/delegation.ts'
import {
  ask,
  challengeOf,
  grant,
  HOST,
  NS,
  NS2,
  questionFor,
  requestFor,
  submission,
  told,
  unreadQuestions,
  untold,
} from '../shared/delegation-client.ts'
import { redisAvailable, type SingleRedis, startRedis } from '../shared/peers/redis.ts'
import { describePeer } from '../shared/require.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'

/** Its grants are kept, and its accounts have a second to answer. */
const KEPT = 'kept.lit'
/** May have several connections, as `twin`; the others have one. */
const SHARED = 'shared.capulet.lit'
const TWIN = 'twin.capulet.lit'
const PUBSUB = 'pubsub.capulet.lit'
const RIVAL = 'rival.capulet.lit'
/** What they are granted is kept: only for tests that do not look at what others are told. */
const ARCHIVE = 'archive.capulet.lit'
const BLOG = 'blog.capulet.lit'
const USERS = Array.from({ length: 45 }, (_, number) => `user${number}`)
const WITNESS = `witness@${HOST}`
const NS_COMMANDS = 'http://jabber.org/protocol/commands'
const PROCESSES = [0, 1, 2]

/** The way from a process to the Redis of the cluster. It can be cut: for the others the process is dead then. */
class Cable {
  private readonly sockets = new Set<Socket>()
  private readonly server: NetServer
  private isCut = false

  constructor(to: number) {
    this.server = createServer((near) => {
      if (this.isCut) {
        near.destroy()
        return
      }
      const far = connect(to, '127.0.0.1')
      near.pipe(far).pipe(near)
      for (const socket of [near, far]) {
        this.sockets.add(socket)
        socket.on('error', () => {})
        socket.on('close', () => {
          this.sockets.delete(socket)
          near.destroy()
          far.destroy()
        })
      }
    })
  }

  listen(): Promise<number> {
    return new Promise((resolve) => {
      this.server.listen(0, '127.0.0.1', () => {
        const address = this.server.address()
        resolve(typeof address === 'object' ? address!.port : Number.NaN)
      })
    })
  }

  cut(): void {
    this.isCut = true
    for (const socket of this.sockets) socket.destroy()
  }

  mend(): void {
    this.isCut = false
  }

  close(): void {
    this.cut()
    this.server.close()
  }
}

describePeer('client mode in a cluster', redisAvailable(), () => {
  let peer: SingleRedis
  const servers: TestServer[] = []
  const cables: Cable[] = []
  const clusterPorts: number[] = []
  const streams: TestStream[] = []
  let nextUser = 0

  /** @param host - options of capulet.lit */
  const optionsFor = (number: number, host: Record<string, unknown> = {}) => {
    const component = { component_secret: 'secret', modules_enabled: ['delegation'] }
    const shared = { ...component, component_conflict_resolve: 'share' } as const
    return {
      storage: 'redis',
      redis: { url: peer.redis.url, prefix: 'test' },
      cluster: {
        name: `process ${number}`,
        redis: { url: `redis://127.0.0.1:${clusterPorts[number]}`, prefix: 'test' },
      },
      cluster_lease: 2,
      modules_enabled: [...USUAL_PLUGINS, 'adhoc'],
      virtualHosts: {
        [HOST]: { delegation_client_mode: true, ...host },
        [KEPT]: {
          delegation_client_mode: true,
          delegation_client_persist: true,
          delegation_consent_timeout: 1,
        },
      },
      components: {
        [SHARED]: shared,
        [TWIN]: shared,
        [PUBSUB]: component,
        [RIVAL]: component,
        [ARCHIVE]: component,
        [BLOG]: component,
      },
    }
  }

  beforeAll(async () => {
    peer = await startRedis()
    for (const number of PROCESSES) {
      const cable = new Cable(peer.redis.port)
      cables.push(cable)
      clusterPorts.push(await cable.listen())
      const users =
        number > 0 ? [] : [WITNESS, ...USERS.flatMap((user) => [`${user}@${HOST}`, `${user}@${KEPT}`])]
      servers.push(await startServer(optionsFor(number), users))
    }
  }, 60_000)

  afterEach(async () => {
    for (const stream of streams.splice(0)) await stream.destroy()
    for (const number of PROCESSES) await comeBack(number)
    for (const test of servers) {
      const lines = errorLines(test, ['taken this one for dead', 'Redis', 'storage', 'redis'])
      expect(lines).toEqual([])
    }
    await gone()
  })

  afterAll(async () => {
    for (const server of servers) await server.stop()
    for (const cable of cables) cable.close()
    await peer.stop()
  })

  /** Every process knows that nobody is there any more. */
  const gone = async () => {
    for (const { server } of servers) {
      await expect
        .poll(
          () => {
            const cluster = server.cluster!
            const others = [...cluster.members.values()].map((member) => cluster.directory.counts(member))
            return others.reduce((sum, { sessions, connections }) => sum + sessions + connections, 0)
          },
          { timeout: 5000 },
        )
        .toBe(0)
    }
  }
  /** An account of its own for each test: requests to it are counted for ten minutes. */
  const someone = (host = HOST) => `${USERS[nextUser++]}@${host}`
  const enter = async (server: number, jid: string): Promise<TestStream> => {
    const stream = await login(servers[server]!.c2sPort, jid)
    streams.push(stream)
    await stream.settled()
    await known((other) => other.cluster!.directory.find(stream.jid)?.available === true, server)
    return stream
  }
  const manager = async (server: number, domain: string): Promise<TestStream> => {
    const connections = (other: TestServer['server']) => other.cluster!.directory.connectionsOf(domain).length
    const before = PROCESSES.map((number) => connections(servers[number]!.server))
    const stream = await connectComponent(servers[server]!.componentPort, domain)
    streams.push(stream)
    await known((other, number) => connections(other) === before[number]! + 1, server)
    return stream
  }
  /** Waits until something holds at the other processes. */
  const known = async (
    holds: (server: TestServer['server'], number: number) => boolean,
    except: number,
    timeout = 2000,
  ): Promise<void> => {
    for (const number of PROCESSES) {
      if (number !== except)
        await expect.poll(() => holds(servers[number]!.server, number), { timeout }).toBe(true)
    }
  }
  /** Waits until whatever these had to do before has come to the last one. */
  const heard = async (by: TestStream, from: readonly TestStream[]): Promise<void> => {
    for (const stream of from) {
      const id = newId()
      stream.send(`<message from='${stream.jid}' to='${by.jid}' id='${id}'><body>heard?</body></message>`)
      await by.withId(id)
    }
  }
  /** A client of its own at each process. */
  const witnesses = async (): Promise<TestStream[]> => {
    return await Promise.all(PROCESSES.map((number) => enter(number, `${WITNESS}/witness${number}`)))
  }
  /** At each process a request falls under a manager's grant, and is answered. */
  const served = async (entity: TestStream, answer: Promise<unknown>): Promise<void> => {
    entity.send(goodReply(await forwardedTo(entity), '<done xmlns="urn:example:done"/>'))
    expect(String(await answer)).toContain('urn:example:done')
  }
  const reloadAll = async (host: Record<string, unknown> = {}) => {
    for (const [number, { server }] of servers.entries()) {
      const settings = ['data_path', 'interfaces', 'local_interfaces', 'c2s_ports', 'component_ports'].concat(
        ['c2s_require_encryption', 'allow_unencrypted_plain_auth', 'default_iteration_count'],
      )
      const same = Object.fromEntries(settings.map((name) => [name, server.config.get('*', name)]))
      await server.reload(configFromObject({ ...same, ...optionsFor(number, host) }))
    }
  }
  const grantsOf = (server: number, jid: string): Promise<StoredGrants | undefined> => {
    const [local = '', domain = ''] = jid.split('@')
    return servers[server]!.server.storage.openKeyval<StoredGrants>(domain, 'delegation_grants').get(local)
  }
  const revoke = (client: TestStream, ...keys: string[]) => {
    const values = keys.map((key) => `<value>${key}</value>`).join('')
    const to = client.jid.split('/')[0]!.split('@')[1]
    const form = `<x xmlns='jabber:x:data' type='submit'><field var='revoke'>${values}</field></x>`
    const run = (attrs: string, content: string) =>
      client.ask(
        `<iq type='set' id='${newId()}' to='${to}'><command xmlns='${NS_COMMANDS}' node='urn:xmpp:delegation:2#configure' ${attrs}>${content}</command></iq>`,
      )
    return run('', '').then((first) => {
      const { sessionid } = first.getChild('command', NS_COMMANDS)!.attrs
      return run(`sessionid='${sessionid}' action='complete'`, form)
    })
  }

  it('U1: every resource at every process is asked, with one challenge', async () => {
    const jid = someone()
    const resources = await Promise.all(PROCESSES.map((number) => enter(number, `${jid}/r${number}`)))
    const pubsub = await manager(0, PUBSUB)
    expect((await requestFor(pubsub, jid)).attrs.type).toBe('result')
    const questions = await Promise.all(resources.map((stream) => questionFor(stream)))
    expect(new Set(questions.map(challengeOf)).size).toBe(1)
    expect(questions.map(({ attrs }) => attrs.to)).toEqual(resources.map((stream) => stream.jid))
  })

  it('U2, U3: an answer at another process counts once, and is in force at all of them', async () => {
    const jid = someone()
    const resources = await Promise.all(PROCESSES.map((number) => enter(number, `${jid}/r${number}`)))
    const pubsub = await manager(0, PUBSUB)
    await requestFor(pubsub, jid)
    const challenge = challengeOf(await questionFor(resources[1]!))
    // What it sends right behind its answer is forwarded already.
    resources[1]!.send(submission(challenge, { [NS]: '1' }))
    await served(pubsub, ask(resources[1]!))
    expect(await told(pubsub)).toEqual({ account: jid, namespaces: [NS] })
    for (const late of resources) {
      late.send(submission(challenge, { [NS]: '0' }))
      expect(conditionOf(await late.named('message').then(skipQuestion(late)))).toBe('item-not-found')
      await served(pubsub, ask(late))
    }
    await heard(pubsub, await witnesses())
    expect(untold(pubsub)).toEqual([])
  })
  const skipQuestion = (stream: TestStream) => async (message: import('@xmpp/xml').Element) =>
    message.attrs.type === 'error' ? message : await stream.next(({ attrs }) => attrs.type === 'error')

  it('U2: of answers that are given at several processes at the same time, one counts', async () => {
    const pubsub = await manager(0, PUBSUB)
    for (let round = 0; round < 3; round++) {
      const jid = someone()
      const resources = await Promise.all(PROCESSES.map((number) => enter(number, `${jid}/r${number}`)))
      await requestFor(pubsub, jid, [NS, NS2])
      const challenge = challengeOf(await questionFor(resources[0]!))
      const answers: Record<string, string>[] = [{ [NS]: '1' }, { [NS2]: '1' }, { [NS]: '0' }]
      for (const [number, stream] of resources.entries()) {
        stream.send(submission(challenge, answers[number]!))
      }
      const refused = () =>
        resources.map((stream) => stream.received.some(({ attrs }) => attrs.type === 'error'))
      await expect.poll(() => refused().filter((is) => is).length).toBe(2)
      const winner = refused().indexOf(false)
      expect(await told(pubsub)).toEqual({ account: jid, namespaces: [[NS], [NS2], []][winner] })
      await heard(pubsub, resources)
      expect(untold(pubsub)).toEqual([])
    }
  })

  it("U2: another account's answer does not count, at any process", async () => {
    const jid = someone()
    const owner = await enter(1, `${jid}/r`)
    const pubsub = await manager(0, PUBSUB)
    await requestFor(pubsub, jid)
    const challenge = challengeOf(await questionFor(owner))
    for (const stranger of await witnesses()) {
      stranger.send(submission(challenge, { [NS]: '1' }))
      expect(conditionOf(await stranger.named('message'))).toBe('item-not-found')
    }
    owner.send(submission(challenge, { [NS]: '1' }))
    expect(await told(pubsub)).toEqual({ account: jid, namespaces: [NS] })
  })

  it('U2: what was not answered in time is refused once, and can not be answered at any process', async () => {
    const jid = someone(KEPT)
    const owner = await enter(1, `${jid}/r`)
    const pubsub = await manager(0, PUBSUB)
    await requestFor(pubsub, jid, [NS], { to: KEPT })
    const challenge = challengeOf(await questionFor(owner))
    expect(await told(pubsub)).toEqual({ account: jid, namespaces: [] })
    await heard(owner, [await enter(0, `${someone(KEPT)}/r`)])
    owner.send(submission(challenge, { [NS]: '1' }).replace(`'${HOST}'`, `'${KEPT}'`))
    const error = await owner.next(({ attrs }) => attrs.type === 'error')
    expect(conditionOf(error)).toBe('item-not-found')
    // It may ask again.
    expect((await requestFor(pubsub, jid, [NS], { to: KEPT })).attrs.type).toBe('result')
    await questionFor(owner)
    await heard(pubsub, await witnesses())
    expect(untold(pubsub)).toEqual([])
  })

  it('U2, U5: with the last session, wherever it is, the question and the grants end, and it is told once', async () => {
    const jid = someone()
    const [one, other] = [await enter(1, `${jid}/one`), await enter(2, `${jid}/other`)]
    const pubsub = await manager(0, PUBSUB)
    const rival = await manager(2, RIVAL)
    await grant(pubsub, one)
    await heard(other, [pubsub])
    await requestFor(rival, jid, [NS2])
    await questionFor(other)
    await one.close()
    await served(pubsub, ask(other))
    expect([...untold(pubsub), ...untold(rival)]).toEqual([])
    await other.close()
    expect(await told(pubsub)).toEqual({ account: jid, namespaces: [] })
    expect(await told(rival)).toEqual({ account: jid, namespaces: [] })
    const all = await witnesses()
    for (const witness of all) expect(conditionOf(await ask(witness, jid))).toBe('service-unavailable')
    for (const entity of [pubsub, rival]) await heard(entity, all)
    expect([...untold(pubsub), ...untold(rival), ...unreadRequests(pubsub)]).toEqual([])
  })

  it('U5: two last sessions that end at the same time at two processes leave no grant behind', async () => {
    const pubsub = await manager(0, PUBSUB)
    const all = await witnesses()
    for (let round = 0; round < 3; round++) {
      const jid = someone()
      const [one, other] = [await enter(1, `${jid}/one`), await enter(2, `${jid}/other`)]
      await grant(pubsub, one)
      await Promise.all([one.close(), other.close()])
      expect(await told(pubsub)).toEqual({ account: jid, namespaces: [] })
      await heard(pubsub, all)
      expect(untold(pubsub)).toEqual([])
    }
  })

  it('U5: what is revoked at one process is not forwarded by the others any more', async () => {
    const jid = someone()
    const resources = await Promise.all(PROCESSES.map((number) => enter(number, `${jid}/r${number}`)))
    const pubsub = await manager(0, PUBSUB)
    await grant(pubsub, resources[2]!, [NS, NS2])
    for (const stream of resources) await heard(stream, [pubsub])
    for (const stream of resources) await served(pubsub, ask(stream))
    const answer = await revoke(resources[1]!, `${NS} ${PUBSUB}`)
    expect(String(answer)).toContain('Revoked')
    expect(await told(pubsub)).toEqual({ account: jid, namespaces: [NS2] })
    for (const stream of resources) {
      // What was told before a message is known when it comes.
      await heard(stream, [resources[1]!])
      expect(conditionOf(await ask(stream))).toBe('service-unavailable')
      await served(pubsub, ask(stream, HOST, NS2))
    }
    await heard(pubsub, resources)
    expect([...untold(pubsub), ...unreadRequests(pubsub)]).toEqual([])
  })

  it('U5: of changes at the same time at several processes none is lost, here and in the store', async () => {
    const archive = await manager(0, ARCHIVE)
    const blog = await manager(1, BLOG)
    for (let round = 0; round < 3; round++) {
      const jid = someone(KEPT)
      const resources = await Promise.all(PROCESSES.map((number) => enter(number, `${jid}/r${number}`)))
      const grantKept = async (entity: TestStream, namespace: string) => {
        await requestFor(entity, jid, [namespace], { to: KEPT })
        const challenge = challengeOf(await questionFor(resources[0]!))
        return submission(challenge, { [namespace]: '1' }).replace(`'${HOST}'`, `'${KEPT}'`)
      }
      resources[0]!.send(await grantKept(archive, 'urn:example:first'))
      expect((await told(archive)).namespaces).toEqual(['urn:example:first'])
      await heard(resources[2]!, [resources[0]!])
      const answers = [await grantKept(archive, NS), await grantKept(blog, NS2)]
      // One is decided at process 0, one at process 1, and process 2 revokes.
      resources[0]!.send(answers[0]!)
      resources[1]!.send(answers[1]!)
      await revoke(resources[2]!, `urn:example:first ${ARCHIVE}`)
      await expect
        .poll(() => grantsOf(0, jid).then((stored) => Object.keys(stored ?? {}).sort()))
        .toEqual([NS, NS2].sort())
      for (const stream of resources) {
        await heard(stream, resources)
        await served(archive, ask(stream, null, NS))
        await served(blog, ask(stream, null, NS2))
        expect(conditionOf(await ask(stream, null, 'urn:example:first'))).toBe('service-unavailable')
      }
      while (untold(archive).length > 0) await told(archive)
      while (untold(blog).length > 0) await told(blog)
    }
  })

  it('U4: one question of an entity at a time, from whichever process it asks', async () => {
    const jid = someone()
    const owner = await enter(2, `${jid}/r`)
    const [one, other] = [await manager(0, SHARED), await manager(1, SHARED)]
    const answers = await Promise.all([requestFor(one, jid), requestFor(other, jid, [NS2])])
    expect(answers.map(conditionOf).sort()).toEqual(['resource-constraint', 'result'])
    await questionFor(owner)
    expect(conditionOf(await requestFor(other, jid, [NS2]))).toBe('resource-constraint')
    await heard(owner, await witnesses())
    expect(unreadQuestions(owner)).toEqual([])
  })

  it('U4: an account has five questions before it at a time, whoever asks at whichever process', async () => {
    const jid = someone()
    await enter(0, `${jid}/r`)
    const bots = await Promise.all(Array.from({ length: 7 }, (_, i) => enter(i % 3, `${someone()}/bot`)))
    const answers = await Promise.all(bots.map((bot) => requestFor(bot, jid)))
    expect(answers.filter(({ attrs }) => attrs.type === 'result')).toHaveLength(5)
    const refused = answers.filter(({ attrs }) => attrs.type === 'error')
    expect(refused.map(conditionOf)).toEqual(['service-unavailable', 'service-unavailable'])
  })

  it('U4: requests of an entity are counted at all processes together', async () => {
    const connections = [await manager(0, TWIN), await manager(1, TWIN), await manager(2, TWIN)]
    const asked = Array.from({ length: 63 }, (_, i) => requestFor(connections[i % 3]!, `nobody${i}@${HOST}`))
    const conditions = (await Promise.all(asked)).map(conditionOf)
    expect(conditions.filter((one) => one === 'service-unavailable')).toHaveLength(60)
    expect(conditions.filter((one) => one === 'resource-constraint')).toHaveLength(3)
  })

  it('U4: requests to one account are counted at all processes together, whether or not it exists', async () => {
    const bots = [await enter(0, `${someone()}/bot`)]
    const bare = bots[0]!.jid.split('/')[0]!
    for (const number of [1, 2]) bots.push(await enter(number, `${bare}/bot${number}`))
    const asked = Array.from({ length: 12 }, (_, i) => requestFor(bots[i % 3]!, `nobody@${HOST}`))
    const conditions = (await Promise.all(asked)).map(conditionOf)
    expect(conditions.filter((one) => one === 'service-unavailable')).toHaveLength(10)
    expect(conditions.filter((one) => one === 'resource-constraint')).toHaveLength(2)
  })

  it('U4: while Redis does not answer, nobody is asked: an error that says to wait', async () => {
    const jid = someone()
    const owner = await enter(0, `${jid}/r`)
    const pubsub = await manager(0, PUBSUB)
    peer.redis.pause()
    const refused = await requestFor(pubsub, jid)
    peer.redis.goOn()
    expect(conditionOf(refused)).toBe('resource-constraint')
    expect(refused.getChild('error')!.attrs.type).toBe('wait')
    expect(unreadQuestions(owner)).toEqual([])
    await expect
      .poll(async () => (await requestFor(pubsub, jid)).attrs.type, { timeout: 8000 })
      .toBe('result')
    await questionFor(owner)
  }, 20_000)

  it('C6: a reload of every process is told once, by the process that the entity is connected to', async () => {
    const jid = someone()
    const owner = await enter(2, `${jid}/r`)
    const pubsub = await manager(1, PUBSUB)
    await grant(pubsub, owner, [NS, NS2])
    const all = await witnesses()
    await heard(all[0]!, [pubsub])
    await reloadAll({ delegation_client_namespaces: { deny: [NS] } })
    expect(await told(pubsub)).toEqual({ account: jid, namespaces: [NS2] })
    for (const stream of [owner, ...all]) {
      expect(conditionOf(await ask(stream, jid))).toBe('service-unavailable')
    }
    await reloadAll()
    expect((await told(pubsub)).namespaces.sort()).toEqual([NS, NS2].sort())
    await served(pubsub, ask(owner))
    await reloadAll({ delegation_client_mode: false })
    expect(await told(pubsub)).toEqual({ account: jid, namespaces: [] })
    for (const stream of [owner, ...all]) {
      expect(conditionOf(await ask(stream, jid))).toBe('service-unavailable')
    }
    await reloadAll()
    expect(conditionOf(await ask(owner))).toBe('service-unavailable')
    await heard(pubsub, all)
    expect(untold(pubsub)).toEqual([])
  })

  it('U5: what is not to be kept any more ends at a reload, and is told once', async () => {
    await reloadAll({ delegation_client_persist: true })
    const jid = someone()
    const owner = await enter(2, `${jid}/r`)
    const pubsub = await manager(1, PUBSUB)
    await grant(pubsub, owner)
    await owner.close()
    const all = await witnesses()
    for (const witness of all) await served(pubsub, ask(witness, jid))
    await reloadAll()
    expect(await told(pubsub)).toEqual({ account: jid, namespaces: [] })
    await heard(pubsub, all)
    expect(untold(pubsub)).toEqual([])
    expect(await grantsOf(1, jid)).toBeUndefined()
  })

  it('A2: an entity that connects is told once, by its process', async () => {
    const jid = someone()
    const owner = await enter(2, `${jid}/r`)
    const before = await manager(0, PUBSUB)
    await grant(before, owner)
    await before.destroy()
    await gone1(PUBSUB)
    const again = await manager(1, PUBSUB)
    expect(await told(again)).toEqual({ account: jid, namespaces: [NS] })
    await heard(again, await witnesses())
    expect(untold(again)).toEqual([])
  })
  const gone1 = async (domain: string) => {
    for (const { server } of servers) {
      await expect.poll(() => server.cluster!.directory.connectionsOf(domain).length).toBe(0)
    }
  }

  /** For the others a process is dead. */
  const die = async (number: number): Promise<void> => {
    cables[number]!.cut()
    await known((other) => other.cluster!.members.size === 2, number, 8000)
  }
  /** It is back, as another one, and knows what the others know. */
  const comeBack = async (number: number): Promise<void> => {
    cables[number]!.mend()
    for (const { server } of servers) {
      await expect.poll(() => server.cluster!.members.size, { timeout: 10_000 }).toBe(3)
      // Its other connections to Redis are back as well.
      await expect
        .poll(() => server.cluster!.registry.nextSequence().catch(() => 0), { timeout: 10_000 })
        .toBeGreaterThan(0)
    }
  }

  it('the process that has asked dies: its question ends everywhere, and may be asked again', async () => {
    const jid = someone()
    const owner = await enter(2, `${jid}/r`)
    const lost = await manager(0, SHARED)
    const left = await manager(1, SHARED)
    await requestFor(lost, jid)
    const challenge = challengeOf(await questionFor(owner))
    await die(0)
    expect(await told(left)).toEqual({ account: jid, namespaces: [] })
    owner.send(submission(challenge, { [NS]: '1' }))
    expect(conditionOf(await owner.next(({ attrs }) => attrs.type === 'error'))).toBe('item-not-found')
    expect(conditionOf(await ask(owner))).toBe('service-unavailable')
    expect(await grant(left, owner)).toEqual({ account: jid, namespaces: [NS] })
    await heard(owner, [left])
    await served(left, ask(owner))
    await comeBack(0)
    // It knows nothing of its question any more, and all of what was granted meanwhile.
    const late = await enter(0, `${jid}/late`)
    late.send(submission(challenge, { [NS]: '1' }))
    expect(conditionOf(await late.next(({ attrs }) => attrs.type === 'error'))).toBe('item-not-found')
    await expect.poll(() => servers[0]!.server.hosts.get(HOST)!.isOnline(jid.split('@')[0]!)).toBe(true)
    await expect.poll(() => outcome(left, late, jid), { timeout: 8000 }).toBe('result')
    await componentSettled(left, HOST)
    expect(untold(left)).toEqual([])
  }, 30_000)

  /** What becomes of a request to an account, whose manager answers if it gets there. */
  const outcome = async (entity: TestStream, asker: TestStream, account: string) => {
    const answer = ask(asker, account)
    let isOver = false
    answer.then(() => {
      isOver = true
    })
    await expect.poll(() => isOver || unreadRequests(entity).length > 0).toBe(true)
    if (unreadRequests(entity).length > 0) entity.send(goodReply(await forwardedTo(entity)))
    return conditionOf(await answer)
  }

  it('an answer that is given while the process that has asked is cut off counts for nothing', async () => {
    const jid = someone()
    const owner = await enter(2, `${jid}/r`)
    const pubsub = await manager(0, PUBSUB)
    await requestFor(pubsub, jid)
    const challenge = challengeOf(await questionFor(owner))
    cables[0]!.cut()
    // It is held until the other is dead.
    owner.send(submission(challenge, { [NS]: '1' }))
    const error = await owner.next(({ attrs }) => attrs.type === 'error')
    expect(conditionOf(error)).toBe('item-not-found')
    await comeBack(0)
    expect(conditionOf(await ask(owner))).toBe('service-unavailable')
  }, 30_000)

  it('U5: what was revoked while a process was cut off is not forwarded by it when it is back', async () => {
    const jid = someone()
    const owner = await enter(2, `${jid}/r`)
    const pubsub = await manager(1, PUBSUB)
    await grant(pubsub, owner, [NS, NS2])
    const before = await enter(0, `${someone()}/asker`)
    for (const stream of [before, owner]) await heard(stream, [pubsub])
    await served(pubsub, ask(before, jid))
    await die(0)
    await revoke(owner, `${NS} ${PUBSUB}`)
    expect((await told(pubsub)).namespaces).toEqual([NS2])
    await comeBack(0)
    const asker = await enter(0, `${someone()}/asker`)
    await expect.poll(() => outcome(pubsub, asker, jid), { timeout: 8000 }).toBe('service-unavailable')
    await served(pubsub, ask(asker, jid, NS2))
  }, 30_000)
})
