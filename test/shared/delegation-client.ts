/** What tests of client mode share: entities that ask, and accounts that answer, written out by hand. */

import type { Element } from '@xmpp/xml'
import type { ServerOptions } from '../../server/config/index.ts'
import { NS_DELEGATION } from '../../server/stanza/namespaces.ts'
import { connectComponent, login, type TestStream } from './client.ts'
import { newId } from './delegation.ts'
import { startServer, type TestServer, USUAL_PLUGINS } from './server.ts'

export const HOST = 'capulet.lit'
export const MONTAGUE = 'montague.lit'
/** May manage. */
export const PUBSUB = `pubsub.${HOST}`
/** May manage as well, and send from any address. */
export const RIVAL = `rival.${HOST}`
/** Its section does not enable the plugin. */
export const DEAF = `deaf.${HOST}`
export const JULIET = `juliet@${HOST}`
export const NURSE = `nurse@${HOST}`
export const ROMEO = `romeo@${MONTAGUE}`
export const NS = 'urn:example:thing'
export const NS2 = 'urn:example:other'

export interface Scene {
  server: TestServer
  streams: TestStream[]
}

/** A server in client mode. @param options - of capulet.lit @param plugins - of both hosts */
export async function openScene(
  options: Record<string, unknown> = {},
  plugins: string[] = [...USUAL_PLUGINS, 'adhoc'],
): Promise<Scene> {
  const component = { component_secret: 'secret', modules_enabled: ['delegation'] }
  const all: ServerOptions = {
    virtualHosts: { [HOST]: { delegation_client_mode: true, ...options }, [MONTAGUE]: {} },
    components: {
      [PUBSUB]: component,
      [RIVAL]: { ...component, validate_from_addresses: false },
      [DEAF]: { component_secret: 'secret', modules_enabled: [] },
    },
    modules_enabled: plugins,
  }
  return { server: await startServer(all, [JULIET, NURSE, ROMEO]), streams: [] }
}

export async function closeScene({ server, streams }: Scene): Promise<void> {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
}

/** A client whose presence has been worked on. */
export async function client({ server, streams }: Scene, jid: string, presence = true): Promise<TestStream> {
  const stream = await login(server.c2sPort, jid, { presence })
  streams.push(stream)
  await stream.settled()
  return stream
}

export async function component({ server, streams }: Scene, domain: string): Promise<TestStream> {
  const stream = await connectComponent(server.componentPort, domain)
  streams.push(stream)
  return stream
}

/** Asks for delegations. @returns the answer to the IQ */
export function requestFor(
  entity: TestStream,
  account: string,
  namespaces: readonly string[] = [NS],
  { from = entity.jid, to = HOST }: { from?: string; to?: string } = {},
): Promise<Element> {
  const list = namespaces.map((namespace) => `<delegate namespace='${namespace}'/>`).join('')
  return entity.ask(
    `<iq type='get' id='${newId()}' from='${from}' to='${to}'><query xmlns='${NS_DELEGATION}' to='${account}'>${list}</query></iq>`,
  )
}

const isQuestion = (element: Element): boolean =>
  element.getChild('x', 'jabber:x:data')?.attrs['type'] === 'form'

export function questionFor(stream: TestStream): Promise<Element> {
  return stream.next((element) => element.getName() === 'message' && isQuestion(element))
}

/** Questions that have come and nobody has asked for. */
export function unreadQuestions(stream: TestStream): Element[] {
  return stream.received.filter((element) => element.getName() === 'message' && isQuestion(element))
}

export function fieldsOf(question: Element): Element[] {
  return question.getChild('x', 'jabber:x:data')!.getChildren('field')
}

export function fieldOf(question: Element, name: string): Element | undefined {
  return fieldsOf(question).find((field) => field.attrs['var'] === name)
}

export function challengeOf(question: Element): string {
  return fieldOf(question, 'challenge')!.getChildText('value')!
}

/** The message with an account's answer. */
export function submission(
  challenge: string,
  values: Record<string, string>,
  { type = 'submit', formType = NS_DELEGATION, attrs = '' } = {},
): string {
  const fields = Object.entries({ FORM_TYPE: formType, challenge, ...values })
    .map(([name, value]) => `<field var='${name}'><value>${value}</value></field>`)
    .join('')
  return `<message to='${HOST}' id='${newId()}' ${attrs}><x xmlns='jabber:x:data' type='${type}'>${fields}</x></message>`
}

/** What an entity was told that it manages. */
export interface Told {
  readonly account: string | undefined
  readonly namespaces: string[]
}

const isList = (element: Element): boolean =>
  element.getName() === 'message' && element.getChild('delegation', NS_DELEGATION) !== undefined

function readList(message: Element): Told {
  const list = message.getChild('delegation', NS_DELEGATION)!
  const namespaces = list.getChildren('delegated').map(({ attrs }) => attrs['namespace'] as string)
  return { account: list.attrs['to'] as string | undefined, namespaces }
}

/** The next list of delegations that an entity is told. */
export async function told(entity: TestStream): Promise<Told> {
  return readList(await entity.next(isList))
}

/** Lists that have come and nobody has asked for. */
export function untold(entity: TestStream): Told[] {
  return entity.received.filter(isList).map(readList)
}

/** An account grants everything that an entity asks it for. */
export async function grant(
  entity: TestStream,
  account: TestStream,
  namespaces: readonly string[] = [NS],
): Promise<Told> {
  const bare = account.jid.split('/')[0]!
  const answer = await requestFor(entity, bare, namespaces)
  if (answer.attrs['type'] !== 'result') throw new Error(`was not asked: ${answer.toString()}`)
  const question = await questionFor(account)
  const values = Object.fromEntries(namespaces.map((namespace) => [namespace, '1']))
  account.send(submission(challengeOf(question), values))
  return told(entity)
}

/** A request in a namespace. @param to - null: nobody */
export function ask(stream: TestStream, to: string | null = HOST, namespace = NS): Promise<Element> {
  const address = to === null ? '' : `to='${to}'`
  const from = stream.jid.includes('@') ? '' : `from='${stream.jid}'`
  return stream.ask(`<iq type='get' id='${newId()}' ${address} ${from}><query xmlns='${namespace}'/></iq>`)
}
