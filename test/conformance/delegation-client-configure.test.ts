/** Client mode: an account sees and revokes what it has delegated (rule U5, XEP-0355 §6). */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { TestStream } from '../shared/client.ts'
import { conditionOf, errorLines, newId, unreadRequests } from '../shared/delegation.ts'
import {
  ask,
  client,
  closeScene,
  component,
  fieldOf,
  grant,
  HOST,
  JULIET,
  NS,
  NS2,
  NURSE,
  openScene,
  PUBSUB,
  RIVAL,
  ROMEO,
  type Scene,
  told,
  untold,
} from '../shared/delegation-client.ts'
import { USUAL_PLUGINS } from '../shared/server.ts'
import { describeStored } from '../shared/server-storages.ts'

const NS_COMMANDS = 'http://jabber.org/protocol/commands'
const NODE = 'urn:xmpp:delegation:2#configure'

let scene: Scene
let juliet: TestStream
let pubsub: TestStream
let rival: TestStream

beforeEach(async () => {
  scene = await openScene({ delegation_client_persist: true })
  juliet = await client(scene, `${JULIET}/balcony`)
  pubsub = await component(scene, PUBSUB)
  rival = await component(scene, RIVAL)
})

afterEach(async () => {
  await closeScene(scene)
  expect(errorLines(scene.server)).toEqual([])
})

async function run(stream: TestStream, attrs = '', form = ''): Promise<Element> {
  return stream.ask(
    `<iq type='set' id='${newId()}' to='${HOST}'><command xmlns='${NS_COMMANDS}' node='${NODE}' ${attrs}>${form}</command></iq>`,
  )
}

const commandIn = (answer: Element): Element => answer.getChild('command', NS_COMMANDS)!

const choice = (...keys: string[]) =>
  `<x xmlns='jabber:x:data' type='submit'><field var='revoke'>${keys
    .map((key) => `<value>${key}</value>`)
    .join('')}</field></x>`

/** What can be revoked, by the form of the first step. */
function offered(command: Element): string[] {
  const options = fieldOf(command, 'revoke')!.getChildren('option')
  return options.map((option) => option.getChildText('value')!)
}

describeStored('U5: urn:xmpp:delegation:2#configure', () => {
  it('U5: is a command of the host for its own accounts', async () => {
    const items = await juliet.ask(
      `<iq type='get' id='items' to='${HOST}'><query xmlns='http://jabber.org/protocol/disco#items' node='${NS_COMMANDS}'/></iq>`,
    )
    expect(items.toString()).toContain(NODE)
    const romeo = await client(scene, `${ROMEO}/orchard`)
    expect(conditionOf(await run(romeo))).toBe('forbidden')
  })

  it('U5: is there where nobody has enabled the plugin adhoc, and still after a reload', async () => {
    await closeScene(scene)
    scene = await openScene({}, USUAL_PLUGINS)
    const { server } = scene.server
    const stream = await client(scene, `${JULIET}/balcony`)
    expect(commandIn(await run(stream)).attrs['status']).toBe('completed')
    await server.reload(server.config)
    // Plugins are loaded in turn: this one comes after what the reload has begun.
    await server.modules.load(server.hosts.get(HOST)!, 'ping')
    expect(commandIn(await run(stream)).attrs['status']).toBe('completed')
    expect(server.modules.isLoaded('montague.lit', 'adhoc')).toBe(false)
  })

  it('U5: says so when nothing is delegated', async () => {
    const command = commandIn(await run(juliet))
    expect(command.attrs['status']).toBe('completed')
    expect(command.getChildText('note')).toMatch(/nothing/)
  })

  it('U5: lists what the account has granted, and revokes what is chosen; the entity is told the rest', async () => {
    await grant(pubsub, juliet, [NS, NS2])
    await grant(rival, juliet, ['urn:example:third'])
    const first = commandIn(await run(juliet))
    expect(first.attrs['status']).toBe('executing')
    expect(offered(first)).toEqual([`${NS} ${PUBSUB}`, `${NS2} ${PUBSUB}`, `urn:example:third ${RIVAL}`])
    const [option] = fieldOf(first, 'revoke')!.getChildren('option')
    expect(option!.attrs['label']).toContain(`managed by "${PUBSUB}"`)
    const done = await run(juliet, `sessionid='${first.attrs['sessionid']}'`, choice(`${NS} ${PUBSUB}`))
    expect(commandIn(done).attrs['status']).toBe('completed')
    expect(commandIn(done).getChildText('note')).toContain(NS)
    expect(await told(pubsub)).toEqual({ account: JULIET, namespaces: [NS2] })
    expect(conditionOf(await ask(juliet))).toBe('service-unavailable')
    expect(unreadRequests(pubsub)).toEqual([])
    await rival.ask(`<iq type='get' id='r1' from='${RIVAL}' to='${HOST}'><q xmlns='urn:nothing'/></iq>`)
    expect(untold(rival)).toEqual([])
    // Nor does it come back with what is stored.
    const store = scene.server.server.storage.openKeyval<Record<string, unknown>>(HOST, 'delegation_grants')
    expect(Object.keys((await store.get('juliet')) ?? {}).sort()).toEqual([NS2, 'urn:example:third'].sort())
  })

  it('U5: nothing chosen changes nothing', async () => {
    await grant(pubsub, juliet)
    const first = commandIn(await run(juliet))
    const done = await run(juliet, `sessionid='${first.attrs['sessionid']}' action='complete'`)
    expect(commandIn(done).attrs['status']).toBe('completed')
    expect(offered(commandIn(await run(juliet)))).toEqual([`${NS} ${PUBSUB}`])
    expect(untold(pubsub)).toEqual([])
  })

  it("U5: nobody sees or revokes another's", async () => {
    await grant(pubsub, juliet)
    const nurse = await client(scene, `${NURSE}/room`)
    expect(commandIn(await run(nurse)).attrs['status']).toBe('completed')
    await grant(pubsub, nurse, [NS2])
    const own = commandIn(await run(nurse))
    expect(offered(own)).toEqual([`${NS2} ${PUBSUB}`])
    const forged = await run(nurse, `sessionid='${own.attrs['sessionid']}'`, choice(`${NS} ${PUBSUB}`))
    expect(conditionOf(forged)).toBe('not-acceptable')
    expect(offered(commandIn(await run(juliet)))).toEqual([`${NS} ${PUBSUB}`])
    expect(untold(pubsub)).toEqual([])
  })

  it('U5: revoking by one resource, what another has revoked meanwhile, is a mistake that is told', async () => {
    await grant(pubsub, juliet)
    const garden = await client(scene, `${JULIET}/garden`)
    const [here, there] = [commandIn(await run(juliet)), commandIn(await run(garden))]
    await run(juliet, `sessionid='${here.attrs['sessionid']}'`, choice(`${NS} ${PUBSUB}`))
    const late = await run(garden, `sessionid='${there.attrs['sessionid']}'`, choice(`${NS} ${PUBSUB}`))
    expect(conditionOf(late)).toBe('not-acceptable')
    expect((await told(pubsub)).namespaces).toEqual([])
    expect(untold(pubsub)).toEqual([])
  })
})
