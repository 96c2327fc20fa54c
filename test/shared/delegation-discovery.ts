/** What tests of nested service discovery share: the host's questions, a manager's answers, what askers see. */

import type { Element } from '@xmpp/xml'
import { NS_DATA, NS_DELEGATION, NS_DISCO_INFO, type NS_DISCO_ITEMS } from '../../server/stanza/namespaces.ts'
import { writeElement } from '../../server/stanza/stanza.ts'
import type { TestStream } from './client.ts'
import { newId } from './delegation.ts'

/** Whether a host asks what a manager announces (D2). */
export function isDiscoQuestion(element: Element): boolean {
  const query = element.attrs.type === 'get' ? element.getChild('query', NS_DISCO_INFO) : undefined
  return String(query?.attrs.node ?? '').startsWith(`${NS_DELEGATION}:`)
}

export const hostNode = (namespace: string): string => `${NS_DELEGATION}::${namespace}`
export const bareNode = (namespace: string): string => `${NS_DELEGATION}:bare:${namespace}`

/** The question about a node; of several hosts, from this one. */
export function questionAbout(manager: TestStream, node: string, from?: string): Promise<Element> {
  return manager.next(
    (element) =>
      isDiscoQuestion(element) &&
      element.getChild('query')!.attrs.node === node &&
      (from === undefined || element.attrs.from === from),
  )
}

export function feature(name: string): string {
  return writeElement('feature', { var: name }, '')
}

export function identity(category: string, type: string, name?: string): string {
  return writeElement('identity', { category, type, name }, '')
}

/** A form as XEP-0128 has it. @param fields - as text */
export function form(type: string, fields = ''): string {
  return (
    `<x xmlns='${NS_DATA}' type='result'>` +
    `<field var='FORM_TYPE' type='hidden'><value>${type}</value></field>${fields}</x>`
  )
}

/** A manager's answer to a question. @param content - of the query */
export function announcement({ attrs, ...question }: Element, content: string): string {
  const node = (question.children[0] as Element).attrs.node as string
  const query = writeElement('query', { xmlns: NS_DISCO_INFO, node }, content)
  return writeElement('iq', { type: 'result', id: attrs.id, to: attrs.from, from: attrs.to }, query)
}

/** Waits for the question about a node and answers it. */
export async function announce(manager: TestStream, node: string, content: string): Promise<void> {
  manager.send(announcement(await questionAbout(manager, node), content))
}

/** What somebody is told of an address. */
export interface Seen {
  readonly features: string[]
  /** `category/type/name` */
  readonly identities: string[]
  readonly forms: Element[]
  readonly answer: Element
}

/** Asks for disco#info without a node. @param to - null: nobody */
export async function infoOf(asker: TestStream, to: string | null): Promise<Seen> {
  const answer = await discoQuery(asker, to, NS_DISCO_INFO)
  const parts = answer.getChild('query', NS_DISCO_INFO)?.getChildElements() ?? []
  const named = (name: string) => parts.filter((part) => part.getName() === name)
  return {
    features: named('feature').map(({ attrs }) => attrs.var as string),
    identities: named('identity').map(({ attrs }) =>
      [attrs.category, attrs.type, ...(attrs.name === undefined ? [] : [attrs.name])].join('/'),
    ),
    forms: named('x'),
    answer,
  }
}

/** A request of service discovery. */
export function discoQuery(
  asker: TestStream,
  to: string | null,
  xmlns: typeof NS_DISCO_INFO | typeof NS_DISCO_ITEMS,
  node?: string,
): Promise<Element> {
  const query = writeElement('query', { xmlns, node }, '')
  const attrs = { type: 'get', id: newId(), to: to ?? undefined, from: fromOf(asker) }
  return asker.ask(writeElement('iq', attrs, query))
}

/** Components say who they are. */
function fromOf({ jid }: TestStream): string | undefined {
  return jid.includes('@') ? undefined : jid
}
