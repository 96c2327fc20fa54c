/** Clients of people, for tests of RFC 6121: rosters, subscriptions, presence, as a person's client sees them. */

import type { Element } from '@xmpp/xml'
import { login, type TestStream } from './client.ts'
import { componentSettled } from './delegation.ts'

export const NS_ROSTER = 'jabber:iq:roster'

let ids = 0

/** Those that have asked for their rosters. */
const interested = new WeakSet<TestStream>()

/** The bare JID of a stream, or of a JID. */
export function bare(of: TestStream | string): string {
  return (typeof of === 'string' ? of : of.jid).split('/')[0]!
}

/** A client that has asked for its roster, and has sent presence if there is any. */
export async function enter(port: number, jid: string, presence = '<presence/>'): Promise<TestStream> {
  const stream = await login(port, jid, { presence: false })
  await getRoster(stream)
  if (presence !== '') stream.send(presence)
  await stream.settled()
  return stream
}

/** The answer to a roster get. @param ver - the version that the client has kept */
export function askRoster(stream: TestStream, ver?: string): Promise<Element> {
  const attribute = ver === undefined ? '' : ` ver='${ver}'`
  interested.add(stream)
  return stream.ask(`<iq type='get' id='get${++ids}'><query xmlns='${NS_ROSTER}'${attribute}/></iq>`)
}

/** The items of the whole roster. */
export async function getRoster(stream: TestStream): Promise<Element[]> {
  const answer = await askRoster(stream)
  return answer.getChild('query', NS_ROSTER)!.getChildElements()
}

export async function getItem(stream: TestStream, jid: string): Promise<Element | undefined> {
  return (await getRoster(stream)).find(({ attrs }) => attrs.jid === jid)
}

/** The version of the roster. */
export async function getVersion(stream: TestStream): Promise<string> {
  return (await askRoster(stream)).getChild('query', NS_ROSTER)!.attrs.ver as string
}

/** The answer to a roster set. @param to - '' for none */
export function setRoster(stream: TestStream, items: string, to = ''): Promise<Element> {
  const address = to === '' ? '' : ` to='${to}'`
  return stream.ask(
    `<iq type='set' id='set${++ids}'${address}><query xmlns='${NS_ROSTER}'>${items}</query></iq>`,
  )
}

/** The roster query of a push; undefined for everything else. */
export function pushIn(element: Element): Element | undefined {
  return element.is('iq') && element.attrs.type === 'set' ? element.getChild('query', NS_ROSTER) : undefined
}

/** The condition of an error, with its type: `bad-request modify`. */
export function errorIn(answer: Element): string {
  const error = answer.getChild('error')
  return `${error?.getChildElements()[0]?.getName()} ${error?.attrs.type}`
}

/** Sends presence of a type to somebody. @param from - for components */
export function sendPresence(stream: TestStream, type: string, to: string, content = '', from = ''): void {
  const address = from === '' ? '' : ` from='${from}'`
  const attribute = type === '' ? '' : ` type='${type}'`
  stream.send(`<presence${address}${attribute} to='${to}'>${content}</presence>`)
}

/** What an item says of a subscription: `none+ask+approved`. */
export function stateIn(item: Element | undefined): string {
  if (item === undefined) return 'absent'
  const { subscription, ask, approved } = item.attrs
  return `${subscription}${ask === 'subscribe' ? '+ask' : ''}${approved === 'true' ? '+approved' : ''}`
}

/** A stanza in a line: presence as `type from`, roster pushes as `push jid state`. */
export function lineOf(element: Element): string {
  const { type, from } = element.attrs
  if (element.is('presence')) return `${type ?? 'available'} ${from}`
  const item = pushIn(element)?.getChild('item')
  return item === undefined ? element.toString() : `push ${item.attrs.jid} ${stateIn(item)}`
}

/** Takes what a stream has got. */
export function taken(stream: TestStream): string[] {
  return stream.received.splice(0).map(lineOf)
}

/** Waits until what these have sent has been worked on, and has reached all of them. @param host - that components ask */
export async function settled(host: string, ...streams: TestStream[]): Promise<void> {
  for (let times = 0; times < 2; times++) {
    for (const stream of streams) {
      if (!stream.jid.includes('@')) await componentSettled(stream, host)
      // It comes after what others have changed in it.
      else if (interested.has(stream)) await getRoster(stream)
      else await stream.settled()
    }
  }
}

/** Makes the first see the second. */
export async function subscribe(host: string, asker: TestStream, asked: TestStream): Promise<void> {
  sendPresence(asker, 'subscribe', bare(asked))
  await settled(host, asker, asked)
  sendPresence(asked, 'subscribed', bare(asker))
  await settled(host, asked, asker)
}
