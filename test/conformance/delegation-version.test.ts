/** Managers that speak urn:xmpp:delegation:1, XEP-0355 before 0.5 (rules A1, F2, F4, C3, C6, D1). */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { checkDelegations } from '../../plugins/delegation/check.ts'
import { configFromObject, type ServerOptions } from '../../server/config/index.ts'
import { NS_CLIENT, NS_DELEGATION, NS_DELEGATION_1, NS_FORWARD } from '../../server/stanza/namespaces.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import {
  conditionOf,
  errorLines,
  type ForwardedRequest,
  forwardedTo,
  goodReply,
  newId,
  statusOf,
} from '../shared/delegation.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'

const HOST = 'capulet.lit'
const OLD = `old.${HOST}`
const FIRST = 'urn:example:first'
const SECOND = 'urn:example:second'

const component = { component_secret: 'secret', modules_enabled: ['delegation'] }
const options = (
  delegations: Record<string, unknown>,
  compat: string[] = [NS_DELEGATION_1],
): ServerOptions => ({
  virtualHosts: { [HOST]: { delegations, delegation_compat: compat as 'urn:xmpp:delegation:1'[] } },
  components: { [OLD]: component },
})

let server: TestServer
let old: TestStream
let juliet: TestStream

beforeEach(async () => {
  server = await startServer(
    options({ [FIRST]: { jid: OLD, version: 1, filtering: ['node'] }, [SECOND]: { jid: OLD, version: 2 } }),
    [`juliet@${HOST}`],
  )
  old = await connectComponent(server.componentPort, OLD)
  juliet = await login(server.c2sPort, `juliet@${HOST}/balcony`)
})

afterEach(async () => {
  const { size } = await statusOf(server, HOST)
  for (const stream of [juliet, old]) await stream.destroy()
  await server.stop()
  expect(errorLines(server)).toEqual([])
  expect(size).toBe(0)
})

const ask = (): Promise<Element> =>
  juliet.ask(`<iq type='get' id='${newId()}'><query xmlns='${FIRST}' node='x'/></iq>`)

async function oldRequest(): Promise<ForwardedRequest> {
  const wrapper = await old.next(({ attrs }) => attrs.type === 'set')
  const iq = wrapper
    .getChild('delegation', NS_DELEGATION_1)!
    .getChild('forwarded', NS_FORWARD)!
    .getChild('iq', NS_CLIENT)!
  return { wrapper, iq, payload: iq.getChildElements()[0]! }
}

const oldReply = (request: ForwardedRequest, content = ''): string =>
  goodReply(request, content).replaceAll(NS_DELEGATION, NS_DELEGATION_1)

const toldBy = (xmlns: string): Promise<Element> =>
  old.next((element) => element.is('message') && element.getChild('delegation', xmlns) !== undefined)

const namespacesIn = (message: Element): unknown[] =>
  message
    .getChild('delegation')!
    .getChildElements()
    .map(({ attrs }) => attrs.namespace)

describe('version = 1', () => {
  it('A1: the manager is told of each version’s namespaces in that version', async () => {
    const first = await toldBy(NS_DELEGATION_1)
    expect(namespacesIn(first)).toEqual([FIRST])
    expect(first.getChild('delegation')!.getChild('delegated')!.getChild('attribute')!.attrs.name).toBe(
      'node',
    )
    expect(namespacesIn(await toldBy(NS_DELEGATION))).toEqual([SECOND])
  })

  it('F2, F4: the wrapper and its answer are of that version', async () => {
    const answer = ask()
    const request = await oldRequest()
    expect(request.wrapper.attrs).toMatchObject({ type: 'set', from: HOST, to: OLD })
    expect(request.iq.attrs.from).toBe(juliet.jid)
    old.send(oldReply(request, '<fine xmlns="urn:x"/>'))
    expect((await answer).getChild('fine', 'urn:x')).toBeDefined()
  })

  it('F4: space and prefixes in the answer make no difference', async () => {
    const answer = ask()
    const request = await oldRequest()
    const { id, from, to } = request.wrapper.attrs
    old.send(
      `<iq type='result' id='${id}' from='${to}' to='${from}'> <d:delegation xmlns:d='${NS_DELEGATION_1}'>` +
        `<forwarded xmlns='${NS_FORWARD}'><iq xmlns='${NS_CLIENT}' type='result' id='${request.iq.attrs.id}' ` +
        `to='${request.iq.attrs.from}'/></forwarded></d:delegation></iq>`,
    )
    expect(conditionOf(await answer)).toBe('result')
  })

  it('F5: an answer of the other version is refused, either way', async () => {
    const answer = ask()
    old.send(goodReply(await oldRequest()))
    expect(conditionOf(await answer)).toBe('service-unavailable')
    const other = juliet.ask(`<iq type='get' id='${newId()}'><query xmlns='${SECOND}'/></iq>`)
    old.send(oldReply(await forwardedTo(old)))
    expect(conditionOf(await other)).toBe('service-unavailable')
  })

  it('D1: the host announces both', async () => {
    const info = await juliet.ask(
      `<iq type='get' id='${newId()}' to='${HOST}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>`,
    )
    const features = info
      .getChild('query')!
      .getChildren('feature')
      .map(({ attrs }) => attrs.var)
    expect(features).toContain(NS_DELEGATION)
    expect(features).toContain(NS_DELEGATION_1)
  })

  it('C6: an entry that changes its version is told in both', async () => {
    await toldBy(NS_DELEGATION_1)
    await toldBy(NS_DELEGATION)
    const { config } = server.server
    const kept = ['storage', 'data_path', 'interfaces', 'local_interfaces', 'c2s_ports', 'component_ports']
    const global = Object.fromEntries(
      [...kept, 'c2s_require_encryption', 'allow_unencrypted_plain_auth'].map((name) => [
        name,
        config.get('*', name),
      ]),
    )
    const changed = options({ [FIRST]: { jid: OLD, filtering: ['node'] }, [SECOND]: { jid: OLD } }, [])
    await server.server.reload(configFromObject({ ...global, modules_enabled: USUAL_PLUGINS, ...changed }))
    expect(namespacesIn(await toldBy(NS_DELEGATION_1))).toEqual([])
    expect(namespacesIn(await toldBy(NS_DELEGATION))).toEqual([FIRST, SECOND])
    const info = await juliet.ask(
      `<iq type='get' id='${newId()}' to='${HOST}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>`,
    )
    expect(info.toString()).not.toContain(NS_DELEGATION_1)
    const answer = ask()
    old.send(goodReply(await forwardedTo(old)))
    expect(conditionOf(await answer)).toBe('result')
  })
})

describe('the configuration', () => {
  const problems = async (given: ServerOptions): Promise<string[]> => {
    const config = configFromObject({ modules_enabled: ['delegation'], ...given })
    const accountExists = () => Promise.resolve(true)
    const host = config.hosts.find(({ name }) => name === HOST)!
    return (await checkDelegations({ config, host, accountExists })).map(({ message }) => message)
  }

  it('C1: version = 1 has to be allowed', async () => {
    expect(await problems(options({ [FIRST]: { jid: OLD, version: 1 } }))).toEqual([])
    expect(await problems(options({ [FIRST]: { jid: OLD, version: 1 } }, []))).toEqual([
      `delegations["${FIRST}"] of ${HOST}: version = 1 has to be allowed on the host: ` +
        `delegation_compat = { "${NS_DELEGATION_1}" }`,
    ])
  })

  it('C3: the older namespace can not be delegated where it is spoken', async () => {
    expect(await problems(options({ [NS_DELEGATION_1]: { jid: OLD } }))).toEqual([
      `delegations["${NS_DELEGATION_1}"] of ${HOST}: the delegation namespace itself can not be delegated`,
    ])
  })

  it('what version 1 did not have can not be asked for in it', async () => {
    const remaining = 'urn:xmpp:delegation:2:bare:disco#info:*'
    expect(await problems(options({ [remaining]: { jid: OLD, version: 1 } }))).toEqual([
      `delegations["${remaining}"] of ${HOST}: version 1 can not delegate service discovery; leave version out`,
    ])
  })
})
