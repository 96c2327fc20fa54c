// What the tests with libervia-pubsub ask of an account's PEP service, and what they read from the answers.
import type { Element } from '@xmpp/xml'
import { expect } from 'vitest'
import type { TestStream } from '../client.ts'
import { newId } from '../delegation.ts'

export const NS_PUBSUB = 'http://jabber.org/protocol/pubsub'
export const NS_EVENT = `${NS_PUBSUB}#event`
export const NS_PAM = 'urn:xmpp:pam:0'
export const NS_INFO = 'http://jabber.org/protocol/disco#info'
export const NS_ITEMS = 'http://jabber.org/protocol/disco#items'
export const NS_MAM = 'urn:xmpp:mam:2'
export const NS_FORM = 'jabber:x:data'

/** Asks for something and returns what has come back. @param to - undefined: nobody */
export function request(
  stream: TestStream,
  type: string,
  to: string | undefined,
  payload: string,
): Promise<Element> {
  const address = to === undefined ? '' : ` to='${to}'`
  return stream.ask(`<iq type='${type}' id='${newId()}'${address}>${payload}</iq>`)
}

/** The same with publish-subscribe. @param part - the end of its namespace, e.g. `#owner` */
export function pubsub(
  stream: TestStream,
  type: string,
  to: string | undefined,
  content: string,
  part = '',
): Promise<Element> {
  return request(stream, type, to, `<pubsub xmlns='${NS_PUBSUB}${part}'>${content}</pubsub>`)
}

let names = 0

/** The name of a node or an item that nothing else has, and no other begins with. */
export const newName = (): string => `urn:example:n${++names}.`

/** What the items of these tests carry. */
export const payload = (text: string): string => `<mood xmlns='urn:example:mood'>${text}</mood>`

/** Publishes on the own account. */
export async function publish(stream: TestStream, node: string, id: string, text: string): Promise<void> {
  const content = `<publish node='${node}'><item id='${id}'>${payload(text)}</item></publish>`
  const answer = await pubsub(stream, 'set', undefined, content)
  expect(answer.toString()).toContain(`type="result"`)
}

/** id and text of the items in an answer or a notification. */
export function itemsIn(holder: Element | undefined): [string, string][] {
  const items = holder?.getChild('items')?.getChildren('item') ?? []
  return items.map((item) => [item.attrs.id as string, item.getChildText('mood') ?? ''])
}

/** id and text of a node's items. @param to - the account; undefined: the own, by no address */
export async function read(
  stream: TestStream,
  to: string | undefined,
  node: string,
): Promise<[string, string][]> {
  const answer = await pubsub(stream, 'get', to, `<items node='${node}'/>`)
  expect(answer.attrs.type).toBe('result')
  return itemsIn(answer.getChild('pubsub', NS_PUBSUB))
}

/** Finds the notifications of what happened to an item. @param what - `item` or `retract` */
export function about(
  stream: TestStream,
  node: string,
  what: string,
  id: string,
): (element: Element) => boolean {
  // The service goes on notifying resources that have left, which reaches those that are there.
  const own = [stream.jid, stream.jid.split('/')[0]]
  return (element) => {
    if (!element.is('message') || !own.includes(element.attrs.to as string)) return false
    const items = element.getChild('event', NS_EVENT)?.getChild('items')
    return items?.attrs.node === node && items.getChildren(what).some(({ attrs }) => attrs.id === id)
  }
}

/** The notification of what happened to an item, which comes once. */
export async function notified(stream: TestStream, node: string, what: string, id: string): Promise<Element> {
  const fits = about(stream, node, what, id)
  const message = await stream.next(fits)
  await stream.settled()
  expect(stream.received.filter(fits).map(String)).toEqual([])
  return message
}

/** What service discovery tells of an account or of one of its nodes. */
export async function discover(
  stream: TestStream,
  to: string | undefined,
  namespace = NS_INFO,
  node = '',
): Promise<Element> {
  const attr = node === '' ? '' : ` node='${node}'`
  const answer = await request(stream, 'get', to, `<query xmlns='${namespace}'${attr}/>`)
  expect(answer.toString()).toContain(`type="result"`)
  return answer.getChild('query', namespace)!
}

/** `category/type` of each. */
export const identitiesIn = (query: Element): string[] =>
  query.getChildren('identity').map(({ attrs }) => `${attrs.category}/${attrs.type}`)

export const featuresIn = (query: Element): string[] =>
  query.getChildren('feature').map(({ attrs }) => attrs.var as string)

/** A submitted configuration of who may read. */
export const accessModel = (node: string, model: string): string =>
  `<configure node='${node}'><x xmlns='${NS_FORM}' type='submit'>` +
  `<field var='FORM_TYPE' type='hidden'><value>${NS_PUBSUB}#node_config</value></field>` +
  `<field var='pubsub#access_model'><value>${model}</value></field></x></configure>`
