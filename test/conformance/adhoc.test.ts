/** Ad-hoc commands (XEP-0050), with commands that a plugin could have added. */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AdhocAnswer, AdhocCommand, AdhocRequest } from '../../plugins/adhoc/index.ts'
import { formElement, readForm, StanzaError } from '../../server/index.ts'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { conditionOf, errorLines, newId } from '../shared/delegation.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from '../shared/server.ts'

const HOST = 'capulet.lit'
const OTHER = 'montague.lit'
const RIVAL = `rival.${HOST}`
const NS = 'http://jabber.org/protocol/commands'
const NS_INFO = 'http://jabber.org/protocol/disco#info'
const NS_ITEMS = 'http://jabber.org/protocol/disco#items'

let server: TestServer
let juliet: TestStream
let nurse: TestStream
const streams: TestStream[] = []
const steps: AdhocRequest[] = []

async function client(jid: string): Promise<TestStream> {
  const stream = await login(server.c2sPort, jid)
  streams.push(stream)
  return stream
}

const layout = {
  formType: 'urn:example:wizard',
  fields: [{ var: 'name', type: 'text-single' as const, label: 'Name', required: true }],
}

/** Two steps: a name, and whether it is right. */
const wizard: AdhocCommand = {
  node: 'wizard',
  name: 'Wizard',
  permission: 'user',
  async handle(step): Promise<AdhocAnswer> {
    steps.push(step)
    await Promise.resolve()
    if (step.action === 'execute' || step.action === 'prev') {
      return { status: 'executing', form: formElement(layout), actions: ['next'], state: 'asked' }
    }
    if (step.action === 'next') {
      const { values, problems } = readForm(layout, step.form!)
      if (problems.length > 0) throw new StanzaError('not-acceptable', problems.join('; '))
      const state = { name: values.text('name') }
      return { status: 'executing', form: formElement({ fields: [] }), actions: ['prev', 'complete'], state }
    }
    const { name } = step.state as { name: string }
    return {
      status: 'completed',
      form: formElement({ fields: [{ var: 'name', type: 'text-single', value: name }] }, 'result'),
      notes: [{ type: 'info', text: `Hello, ${name}` }],
    }
  },
}

const hello: AdhocCommand = {
  node: 'hello',
  name: 'Hello',
  permission: 'user',
  handle: () => ({ status: 'completed', notes: [{ type: 'info', text: 'Hello' }] }),
}

const shutdown: AdhocCommand = {
  node: 'shutdown',
  name: 'Shut down',
  permission: 'admin',
  handle: () => ({ status: 'completed' }),
}

beforeEach(async () => {
  steps.length = 0
  server = await startServer(
    {
      virtualHosts: { [HOST]: { admins: [`Nurse@${HOST}`], adhoc_timeout: 1 }, [OTHER]: {} },
      components: { [RIVAL]: { component_secret: 'secret', validate_from_addresses: false } },
      modules_enabled: [...USUAL_PLUGINS, 'adhoc'],
    },
    [`juliet@${HOST}`, `nurse@${HOST}`, `romeo@${OTHER}`],
  )
  const { items } = server.server.hosts.get(HOST)!
  for (const command of [wizard, hello, shutdown]) items.add('adhoc', command, 'test')
  juliet = await client(`juliet@${HOST}/balcony`)
  nurse = await client(`nurse@${HOST}/room`)
})

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
  expect(errorLines(server)).toEqual([])
})

/** Sends a command's step. */
function run(stream: TestStream, attrs: string, content = ''): Promise<Element> {
  return stream.ask(
    `<iq type='set' id='${newId()}' to='${HOST}'><command xmlns='${NS}' ${attrs}>${content}</command></iq>`,
  )
}

const commandIn = (answer: Element): Element => answer.getChild('command', NS)!

/** The condition that XEP-0050 adds to an error. */
function detailOf(answer: Element): string {
  const child = answer
    .getChild('error')
    ?.getChildElements()
    .find((part) => part.getNS() === NS)
  return child?.getName() ?? ''
}

const nameForm = (name: string) =>
  `<x xmlns='jabber:x:data' type='submit'><field var='name'><value>${name}</value></field></x>`

async function begun(stream = juliet): Promise<string> {
  return commandIn(await run(stream, `node='wizard' action='execute'`)).attrs['sessionid'] as string
}

function disco(stream: TestStream, xmlns: string, node = ''): Promise<Element> {
  const attr = node === '' ? '' : `node='${node}'`
  return stream.ask(`<iq type='get' id='${newId()}' to='${HOST}'><query xmlns='${xmlns}' ${attr}/></iq>`)
}

describe('XEP-0050 §2: discovering commands', () => {
  const itemsOf = (answer: Element) =>
    answer
      .getChild('query')!
      .getChildren('item')
      .map(({ attrs }) => attrs['node'])

  it('§2.1: the host announces the feature', async () => {
    const info = (await disco(juliet, NS_INFO)).getChild('query')!
    expect(info.getChildren('feature').map(({ attrs }) => attrs['var'])).toContain(NS)
  })

  it('§2.2: the items of the node are the commands that the asker may execute', async () => {
    expect(itemsOf(await disco(juliet, NS_ITEMS, NS))).toEqual(['hello', 'wizard'])
    expect(itemsOf(await disco(nurse, NS_ITEMS, NS))).toEqual(['hello', 'shutdown', 'wizard'])
    const romeo = await client(`romeo@${OTHER}/orchard`)
    expect(itemsOf(await disco(romeo, NS_ITEMS, NS))).toEqual([])
    const [item] = (await disco(juliet, NS_ITEMS, NS)).getChild('query')!.getChildren('item')
    expect(item?.attrs).toMatchObject({ jid: HOST, node: 'hello', name: 'Hello' })
  })

  it('§2.3: a command is automation/command-node; the list automation/command-list', async () => {
    const info = (await disco(juliet, NS_INFO, 'wizard')).getChild('query')!
    expect(info.getChild('identity')!.attrs).toMatchObject({
      category: 'automation',
      type: 'command-node',
      name: 'Wizard',
    })
    expect(info.getChildren('feature').map(({ attrs }) => attrs['var'])).toEqual([NS, 'jabber:x:data'])
    const list = (await disco(juliet, NS_INFO, NS)).getChild('query')!
    expect(list.getChild('identity')!.attrs['type']).toBe('command-list')
    expect(itemsOf(await disco(juliet, NS_ITEMS, 'wizard'))).toEqual([])
  })

  it('a command for admins is forbidden to others, and there is no other node', async () => {
    expect(conditionOf(await disco(juliet, NS_INFO, 'shutdown'))).toBe('forbidden')
    expect(conditionOf(await disco(juliet, NS_ITEMS, 'shutdown'))).toBe('item-not-found')
    expect(conditionOf(await disco(nurse, NS_INFO, 'shutdown'))).toBe('result')
    expect(conditionOf(await disco(juliet, NS_INFO, 'nothing'))).toBe('item-not-found')
  })
})

describe('XEP-0050 §3: executing', () => {
  it('§2.4.1: a command of one step is completed at once', async () => {
    const command = commandIn(await run(juliet, `node='hello' action='execute'`))
    expect(command.attrs).toMatchObject({ node: 'hello', status: 'completed' })
    expect(command.attrs['sessionid']).toBeTruthy()
    expect(command.getChild('note')!.attrs['type']).toBe('info')
    expect(command.getChildText('note')).toBe('Hello')
  })

  it('§2.4.2: several steps: forward, back, forward, complete', async () => {
    const first = commandIn(await run(juliet, `node='wizard'`))
    expect(first.attrs['status']).toBe('executing')
    expect(first.getChild('actions')!.attrs['execute']).toBe('next')
    expect(first.getChild('x', 'jabber:x:data')!.attrs['type']).toBe('form')
    const id = first.attrs['sessionid'] as string
    const second = commandIn(
      await run(juliet, `node='wizard' sessionid='${id}' action='next'`, nameForm('J')),
    )
    expect(second.attrs['sessionid']).toBe(id)
    expect(
      second
        .getChild('actions')!
        .getChildElements()
        .map((child) => child.getName()),
    ).toEqual(['prev', 'complete'])
    await run(juliet, `node='wizard' sessionid='${id}' action='prev'`)
    // §3.4: without an action, the default one.
    await run(juliet, `node='wizard' sessionid='${id}'`, nameForm('Juliet'))
    const last = commandIn(await run(juliet, `node='wizard' sessionid='${id}'`))
    expect(last.attrs).toMatchObject({ status: 'completed', sessionid: id })
    expect(last.getChildText('note')).toBe('Hello, Juliet')
    expect(steps.map(({ action }) => action)).toEqual(['execute', 'next', 'prev', 'next', 'complete'])
    expect(steps[0]).toMatchObject({ account: `juliet@${HOST}`, state: undefined })
    expect(steps[4]!.session.fullJid).toBe(`juliet@${HOST}/balcony`)
    const again = await run(juliet, `node='wizard' sessionid='${id}' action='complete'`)
    expect(detailOf(again)).toBe('bad-sessionid')
  })

  it('§2.4.3: cancel ends it', async () => {
    const id = await begun()
    const answer = commandIn(await run(juliet, `node='wizard' sessionid='${id}' action='cancel'`))
    expect(answer.attrs).toMatchObject({ status: 'canceled', sessionid: id })
    expect(detailOf(await run(juliet, `node='wizard' sessionid='${id}'`))).toBe('bad-sessionid')
    expect(steps).toHaveLength(1)
  })

  it("a handler's StanzaError is the answer, and ends the command", async () => {
    const id = await begun()
    const answer = await run(juliet, `node='wizard' sessionid='${id}' action='next'`, nameForm(''))
    expect(conditionOf(answer)).toBe('not-acceptable')
    expect(detailOf(await run(juliet, `node='wizard' sessionid='${id}'`))).toBe('bad-sessionid')
  })

  it('§3.6: what is wrong with an action is said', async () => {
    expect(conditionOf(await run(juliet, `node='nothing'`))).toBe('item-not-found')
    expect(detailOf(await run(juliet, `node='wizard' action='destroy'`))).toBe('malformed-action')
    expect(detailOf(await run(juliet, `node='wizard' action='next'`))).toBe('bad-action')
    expect(detailOf(await run(juliet, `node='wizard' action='cancel'`))).toBe('bad-action')
    const id = await begun()
    expect(detailOf(await run(juliet, `node='wizard' sessionid='${id}' action='complete'`))).toBe(
      'bad-action',
    )
    // A session that was made up, even one's own command's, is none.
    expect(detailOf(await run(juliet, `node='wizard' sessionid='mine'`))).toBe('bad-sessionid')
    expect(detailOf(await run(juliet, `node='hello' sessionid='${id}'`))).toBe('bad-sessionid')
    expect(commandIn(await run(juliet, `node='wizard' sessionid='${id}'`, nameForm('x')))).toBeDefined()
  })
})

describe('who may execute', () => {
  it('user: accounts of the host; admin: those that the option names', async () => {
    expect(conditionOf(await run(juliet, `node='shutdown'`))).toBe('forbidden')
    expect(commandIn(await run(nurse, `node='shutdown'`)).attrs['status']).toBe('completed')
    const romeo = await client(`romeo@${OTHER}/orchard`)
    expect(conditionOf(await run(romeo, `node='hello'`))).toBe('forbidden')
  })

  it('a component that writes the from of an admin is none', async () => {
    const rival = await connectComponent(server.componentPort, RIVAL)
    streams.push(rival)
    rival.send(
      `<iq type='set' id='forged' from='nurse@${HOST}/room' to='${HOST}'><command xmlns='${NS}' node='shutdown'/></iq>`,
    )
    const answer = await rival.withId('forged')
    expect(conditionOf(answer)).toBe('forbidden')
  })

  it("nobody goes on with another's session, nor with one's own other resource", async () => {
    const id = await begun()
    expect(detailOf(await run(nurse, `node='wizard' sessionid='${id}'`, nameForm('N')))).toBe('bad-sessionid')
    const other = await client(`juliet@${HOST}/garden`)
    expect(detailOf(await run(other, `node='wizard' sessionid='${id}' action='cancel'`))).toBe(
      'bad-sessionid',
    )
    expect(conditionOf(await run(juliet, `node='wizard' sessionid='${id}'`, nameForm('J')))).toBe('result')
  })
})

describe('what is remembered is bounded', () => {
  it('a session has ten commands at a time: the oldest gives way', async () => {
    const ids: string[] = []
    for (let i = 0; i < 11; i++) ids.push(await begun())
    expect(detailOf(await run(juliet, `node='wizard' sessionid='${ids[0]}'`, nameForm('x')))).toBe(
      'bad-sessionid',
    )
    expect(conditionOf(await run(juliet, `node='wizard' sessionid='${ids[1]}'`, nameForm('x')))).toBe(
      'result',
    )
  })

  it('a step that takes longer than adhoc_timeout comes too late', async () => {
    const id = await begun()
    // The server's own clock says when: another timer of the same length that was set later.
    await new Promise<void>((resolve) => server.server.timers.after(1.3, resolve))
    expect(detailOf(await run(juliet, `node='wizard' sessionid='${id}'`, nameForm('x')))).toBe(
      'bad-sessionid',
    )
  })
})
