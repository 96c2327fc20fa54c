/** Client mode: what is forwarded, and for how long (rules U3, U5, U6, F3, F7, A2). */

import { afterEach, describe, expect, it, vi } from 'vitest'
import { configFromObject } from '../../server/config/index.ts'
import type { TestStream } from '../shared/client.ts'
import {
  componentSettled,
  conditionOf,
  errorLines,
  forwardedTo,
  goodReply,
  statusOf,
  unreadRequests,
} from '../shared/delegation.ts'
import {
  ask,
  challengeOf,
  client,
  closeScene,
  component,
  grant,
  HOST,
  JULIET,
  MONTAGUE,
  NS,
  NS2,
  NURSE,
  openScene,
  PUBSUB,
  questionFor,
  RIVAL,
  ROMEO,
  requestFor,
  type Scene,
  submission,
  told,
  unreadQuestions,
  untold,
} from '../shared/delegation-client.ts'
import { describeStored } from '../shared/server-storages.ts'

let scene: Scene
let juliet: TestStream
let pubsub: TestStream

async function open(options: Record<string, unknown> = {}): Promise<void> {
  scene = await openScene(options)
  juliet = await client(scene, `${JULIET}/balcony`)
  pubsub = await component(scene, PUBSUB)
}

/** Takes other options of capulet.lit. */
async function reload(options: Record<string, unknown>): Promise<void> {
  const { server } = scene.server
  const settings = Object.fromEntries(
    ['storage', 'redis', 'data_path', 'interfaces', 'c2s_ports', 'component_ports', 'modules_enabled']
      .concat('c2s_require_encryption', 'allow_unencrypted_plain_auth', 'default_iteration_count')
      .map((name) => [name, server.config.get('*', name)]),
  )
  const section = { component_secret: 'secret', modules_enabled: ['delegation'] }
  await server.reload(
    configFromObject({
      ...settings,
      virtualHosts: { [HOST]: { delegation_client_mode: true, ...options }, [MONTAGUE]: {} },
      components: { [PUBSUB]: section, [RIVAL]: section },
    }),
  )
}

/** The manager answers the next request, and the asker has it. */
async function served(manager: TestStream, answer: Promise<unknown>): Promise<Record<string, string>> {
  const request = await forwardedTo(manager)
  manager.send(goodReply(request, '<done xmlns="urn:example:done"/>'))
  expect(String(await answer)).toContain('urn:example:done')
  return request.iq.attrs as Record<string, string>
}

afterEach(async () => {
  const status = await statusOf(scene.server, HOST)
  await closeScene(scene)
  expect(errorLines(scene.server)).toEqual([])
  expect(status.size).toBe(0)
})

describe('U3: forwarding', () => {
  it("U3: the account's own IQs without `to` and to the host, and anyone's to its bare JID", async () => {
    await open()
    await grant(pubsub, juliet)
    expect(await served(pubsub, ask(juliet, null))).not.toHaveProperty('to')
    expect(await served(pubsub, ask(juliet, HOST))).toMatchObject({ from: juliet.jid, to: HOST })
    expect(await served(pubsub, ask(juliet, JULIET))).toMatchObject({ from: juliet.jid, to: JULIET })
    for (const jid of [`${NURSE}/room`, `${ROMEO}/orchard`]) {
      const asker = await client(scene, jid)
      expect(await served(pubsub, ask(asker, JULIET))).toMatchObject({ from: jid, to: JULIET })
    }
    const rival = await component(scene, RIVAL)
    expect(await served(pubsub, ask(rival, JULIET))).toMatchObject({ from: RIVAL, to: JULIET })
  })

  it("U3: nothing else: others' IQs to the host and to themselves, the account's to others, full JIDs", async () => {
    await open()
    await grant(pubsub, juliet)
    const nurse = await client(scene, `${NURSE}/room`)
    for (const to of [null, HOST, NURSE, `${HOST}/thing`]) {
      expect(conditionOf(await ask(nurse, to)), String(to)).toBe('service-unavailable')
    }
    for (const to of [NURSE, `${HOST}/thing`, `${JULIET}/nowhere`, MONTAGUE, `juliet@${MONTAGUE}`, ROMEO]) {
      expect(conditionOf(await ask(juliet, to)), to).toBe('service-unavailable')
    }
    expect(conditionOf(await ask(juliet, HOST, NS2))).toBe('service-unavailable')
    const full = nurse.ask(`<iq type='get' id='full' to='${juliet.jid}'><query xmlns='${NS}'/></iq>`)
    const arrived = await juliet.withId('full')
    juliet.send(`<iq type='result' id='full' to='${arrived.attrs['from']}'/>`)
    expect(conditionOf(await full)).toBe('result')
    await componentSettled(pubsub, HOST)
    expect(unreadRequests(pubsub)).toEqual([])
  })

  it("U3, F3: the manager's own IQs are not forwarded, another's are", async () => {
    await open()
    await grant(pubsub, juliet)
    expect(conditionOf(await ask(pubsub, JULIET))).toBe('service-unavailable')
    expect(unreadRequests(pubsub)).toEqual([])
  })

  it('U3: before the consent, and after a refusal, nothing is forwarded', async () => {
    await open()
    await requestFor(pubsub, JULIET)
    expect(conditionOf(await ask(juliet))).toBe('service-unavailable')
    juliet.send(submission(challengeOf(await questionFor(juliet)), { [NS]: '0' }))
    await told(pubsub)
    expect(conditionOf(await ask(juliet))).toBe('service-unavailable')
    expect(unreadRequests(pubsub)).toEqual([])
  })

  it('U3, C4: a local client that manages is asked at the resource that asked, and only that may answer', async () => {
    await open()
    const bot = await client(scene, `${NURSE}/bot`)
    const phone = await client(scene, `${NURSE}/phone`)
    expect(await grant(bot, juliet)).toEqual({ account: JULIET, namespaces: [NS] })
    const answer = ask(juliet, JULIET)
    const request = await forwardedTo(bot)
    phone.send(goodReply(request, '<forged/>').replace(/ from='[^']*'/, ''))
    await phone.settled()
    bot.send(goodReply(request, '<true/>'))
    expect((await answer).getChild('true')).toBeDefined()
    expect(unreadRequests(phone)).toEqual([])
    // F3: its own are not forwarded; the account's other client is another entity.
    expect(conditionOf(await ask(bot, JULIET))).toBe('service-unavailable')
    await served(bot, ask(phone, JULIET))
  })
})

describe('F7: the manager leaves', () => {
  it('F7: a component: what waits is answered at once, what comes too; A2: told when it is back', async () => {
    await open()
    await grant(pubsub, juliet)
    const waiting = ask(juliet)
    await forwardedTo(pubsub)
    await pubsub.destroy()
    expect(conditionOf(await waiting)).toBe('service-unavailable')
    expect(conditionOf(await ask(juliet))).toBe('service-unavailable')
    const back = await component(scene, PUBSUB)
    expect(await told(back)).toEqual({ account: JULIET, namespaces: [NS] })
    await served(back, ask(juliet))
  })

  it('F7, A3: a local client; another resource of its account does not take its place', async () => {
    await open()
    const bot = await client(scene, `${NURSE}/bot`)
    const phone = await client(scene, `${NURSE}/phone`)
    await grant(bot, juliet)
    const waiting = ask(juliet)
    await forwardedTo(bot)
    await bot.destroy()
    expect(conditionOf(await waiting)).toBe('service-unavailable')
    expect(conditionOf(await ask(juliet))).toBe('service-unavailable')
    expect(unreadRequests(phone)).toEqual([])
    const back = await client(scene, `${NURSE}/bot`)
    expect(await told(back)).toEqual({ account: JULIET, namespaces: [NS] })
    await served(back, ask(juliet))
  })

  it('a grant does not pass to a new account of the manager’s name', async () => {
    await open()
    const bot = await client(scene, `${NURSE}/bot`)
    await grant(bot, juliet)
    await bot.close()
    await madeAnew('nurse')
    const stranger = await client(scene, `${NURSE}/bot`)
    expect(await told(stranger)).toEqual({ account: JULIET, namespaces: [] })
    expect(conditionOf(await ask(juliet))).toBe('service-unavailable')
    expect(unreadRequests(stranger)).toEqual([])
  })
})

/** An account was deleted, and another made of its name, after whatever was granted. */
async function madeAnew(username: string): Promise<void> {
  const accounts = scene.server.server.storage.openKeyval<{ created: number }>(HOST, 'accounts')
  await accounts.update(username, (old) => ({ ...old!, created: old!.created + 10 }))
}

describeStored('U5: how long a grant lasts', () => {
  it("U5: it ends with the account's last session, and the entity is told", async () => {
    await open()
    const garden = await client(scene, `${JULIET}/garden`)
    await grant(pubsub, juliet)
    await garden.close()
    await served(pubsub, ask(juliet))
    expect(untold(pubsub)).toEqual([])
    await juliet.close()
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [] })
    const nurse = await client(scene, `${NURSE}/room`)
    expect(conditionOf(await ask(nurse, JULIET))).toBe('service-unavailable')
    const again = await client(scene, `${JULIET}/balcony`)
    expect(conditionOf(await ask(again))).toBe('service-unavailable')
    expect(unreadRequests(pubsub)).toEqual([])
  })

  it('U5: with delegation_client_persist it stays, also over a restart of the plugin', async () => {
    await open({ delegation_client_persist: true })
    await grant(pubsub, juliet)
    await juliet.close()
    const nurse = await client(scene, `${NURSE}/room`)
    await served(pubsub, ask(nurse, JULIET))
    const { modules, hosts } = scene.server.server
    modules.unload(hosts.get(HOST)!, 'delegation')
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [] })
    expect(conditionOf(await ask(nurse, JULIET))).toBe('service-unavailable')
    await modules.load(hosts.get(HOST)!, 'delegation')
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [NS] })
    const again = await client(scene, `${JULIET}/balcony`)
    await served(pubsub, ask(again))
  })

  it('U5: without it, what another configuration has kept does not come back', async () => {
    await open({ delegation_client_persist: true })
    await grant(pubsub, juliet)
    await reload({ delegation_client_persist: false })
    await served(pubsub, ask(juliet))
    await juliet.close()
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [] })
    await reload({ delegation_client_persist: true })
    const again = await client(scene, `${JULIET}/balcony`)
    expect(conditionOf(await ask(again))).toBe('service-unavailable')
  })

  it('U5: kept grants are not inherited by a new account of the name', async () => {
    await open({ delegation_client_persist: true })
    await grant(pubsub, juliet)
    await juliet.close()
    await madeAnew('juliet')
    const other = await client(scene, `${JULIET}/balcony`)
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [] })
    expect(conditionOf(await ask(other))).toBe('service-unavailable')
    const store = scene.server.server.storage.openKeyval(HOST, 'delegation_grants')
    expect(await store.get('juliet')).toBeUndefined()
  })

  it('U5: kept grants of an account that was deleted end within a minute, without anybody logging in', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    try {
      await open({ delegation_client_persist: true })
      await grant(pubsub, juliet)
      await juliet.close()
      await scene.server.server.hosts.get(HOST)!.users!.delete('juliet')
      vi.advanceTimersByTime(61_000)
      expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [] })
    } finally {
      vi.useRealTimers()
    }
  })

  it('client mode is switched off and on by a reload: its grants end, and the entity is told', async () => {
    await open()
    await grant(pubsub, juliet)
    await reload({ delegation_client_mode: false })
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [] })
    expect(conditionOf(await ask(juliet))).toBe('service-unavailable')
    expect(conditionOf(await requestFor(pubsub, JULIET))).toBe('service-unavailable')
    await reload({})
    await juliet.settled()
    expect(await grant(pubsub, juliet)).toEqual({ account: JULIET, namespaces: [NS] })
    await served(pubsub, ask(juliet))
  })
})

describeStored("U6: an admin's delegation wins", () => {
  it('U6: of the same namespace, and it is not asked for', async () => {
    await open({ delegations: { [NS]: { jid: RIVAL } } })
    const rival = await component(scene, RIVAL)
    expect((await requestFor(pubsub, JULIET)).attrs['type']).toBe('result')
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [] })
    await juliet.settled()
    expect(unreadQuestions(juliet)).toEqual([])
    await served(rival, ask(juliet))
  })

  it('U6: by its filter too: what that lets pass is not the client’s manager’s', async () => {
    await open({ delegations: { [NS]: { jid: RIVAL, filtering: ['node'] } } })
    await requestFor(pubsub, JULIET)
    await told(pubsub)
    expect(conditionOf(await ask(juliet))).toBe('service-unavailable')
    expect(unreadRequests(pubsub)).toEqual([])
  })

  it('U6: one that comes later puts the grant out of force, and in force again when it goes', async () => {
    await open()
    await grant(pubsub, juliet, [NS, NS2])
    const rival = await component(scene, RIVAL)
    await reload({ delegations: { [NS]: { jid: RIVAL } } })
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [NS2] })
    await served(rival, ask(juliet))
    await served(pubsub, ask(juliet, HOST, NS2))
    await reload({})
    expect((await told(pubsub)).namespaces.sort()).toEqual([NS2, NS].sort())
    await served(pubsub, ask(juliet))
  })

  it('U4, U6: what the configuration takes between the question and the answer is not granted', async () => {
    await open()
    await requestFor(pubsub, JULIET, [NS, NS2, 'urn:example:third'])
    const challenge = challengeOf(await questionFor(juliet))
    await reload({
      delegations: { [NS]: { jid: RIVAL } },
      delegation_client_namespaces: { deny: [NS2] },
    })
    juliet.send(submission(challenge, { [NS]: '1', [NS2]: '1', 'urn:example:third': '1' }))
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: ['urn:example:third'] })
  })

  it('U4: a namespace that is denied later is out of force', async () => {
    await open()
    await grant(pubsub, juliet)
    await reload({ delegation_client_namespaces: { deny: [NS] } })
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [] })
    expect(conditionOf(await ask(juliet))).toBe('service-unavailable')
  })
})

describe('C4: an address at a component', () => {
  const SERVANT = `servant@${PUBSUB}/day`

  it('U1 to U3: asks, is granted, manages, and is told again when the component is back (A2)', async () => {
    await open()
    expect(conditionOf(await requestFor(pubsub, JULIET, [NS], { from: SERVANT }))).toBe('result')
    const question = await questionFor(juliet)
    expect(question.toString()).toContain(`servant@${PUBSUB}`)
    juliet.send(submission(challengeOf(question), { [NS]: '1' }))
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [NS] })

    const answer = ask(juliet)
    expect(await served(pubsub, answer)).toMatchObject({ from: juliet.jid })

    await pubsub.destroy()
    expect(conditionOf(await ask(juliet))).toBe('service-unavailable')
    pubsub = await component(scene, PUBSUB)
    const again = await pubsub.next((element) => element.getChild('delegation') !== undefined)
    expect(again.attrs).toMatchObject({ from: HOST, to: SERVANT })
    await served(pubsub, ask(juliet))
  })

  it('F8: another address of it does not answer in its place', async () => {
    await open()
    await requestFor(pubsub, JULIET, [NS], { from: SERVANT })
    juliet.send(submission(challengeOf(await questionFor(juliet)), { [NS]: '1' }))
    await told(pubsub)
    const answer = ask(juliet)
    const request = await forwardedTo(pubsub)
    expect(request.wrapper.attrs['to']).toBe(SERVANT)
    const good = goodReply(request, '<done xmlns="urn:example:done"/>')
    pubsub.send(good.replace(SERVANT, `cook@${PUBSUB}`))
    pubsub.send(good)
    expect(String(await answer)).toContain('urn:example:done')
    expect(scene.server.log.some((line) => line.includes('ignored an answer'))).toBe(true)
  })

  it('U4: the component is limited with all of its addresses together', async () => {
    await open()
    await requestFor(pubsub, JULIET, [NS], { from: SERVANT })
    await questionFor(juliet)
    const other = await requestFor(pubsub, JULIET, [NS2], { from: `cook@${PUBSUB}` })
    expect(conditionOf(other)).toBe('resource-constraint')
  })
})
