/** What tests of delegation share: a manager's side of XEP-0355, written out by hand. */

import type { Element } from '@xmpp/xml'
import type { DelegationStatus } from '../../plugins/delegation/index.ts'
import { NS_CLIENT, NS_DELEGATION, NS_FORWARD } from '../../server/stanza/namespaces.ts'
import { type Attributes, writeElement } from '../../server/stanza/stanza.ts'
import type { TestStream } from './client.ts'
import type { TestServer } from './server.ts'

/** A request as a manager gets it. */
export interface ForwardedRequest {
  readonly wrapper: Element
  /** The asker's IQ. */
  readonly iq: Element
  readonly payload: Element
}

function isForwarded(element: Element): boolean {
  return element.attrs.type === 'set' && element.getChild('delegation', NS_DELEGATION) !== undefined
}

/** The next request that a manager is sent. */
export async function forwardedTo(manager: TestStream): Promise<ForwardedRequest> {
  return readForwarded(await manager.next(isForwarded))
}

function readForwarded(wrapper: Element): ForwardedRequest {
  const iq = wrapper
    .getChild('delegation', NS_DELEGATION)!
    .getChild('forwarded', NS_FORWARD)!
    .getChild('iq', NS_CLIENT)!
  return { wrapper, iq, payload: iq.getChildElements()[0]! }
}

/** The request that a stanza is; undefined if it is none. */
export function forwardedRequest(element: Element): ForwardedRequest | undefined {
  return isForwarded(element) ? readForwarded(element) : undefined
}

/** Requests that have come and nobody has asked for. */
export function unreadRequests(manager: TestStream): Element[] {
  return manager.received.filter(isForwarded)
}

/** `<delegation><forwarded>` around something. */
export function wrapped(content: string): string {
  return `<delegation xmlns='${NS_DELEGATION}'><forwarded xmlns='${NS_FORWARD}'>${content}</forwarded></delegation>`
}

/**
 * The IQ that answers a request.
 *
 * @param changes - attributes that are not as they should be; `undefined` leaves one out
 * @param content - of the IQ
 */
export function innerAnswer({ iq }: ForwardedRequest, changes: Attributes = {}, content = ''): string {
  const { id, from, to } = iq.attrs as Attributes
  return writeElement('iq', { xmlns: NS_CLIENT, type: 'result', id, to: from, from: to, ...changes }, content)
}

/**
 * The manager's whole reply.
 *
 * @param content - of the wrapper
 * @param changes - attributes of the wrapper that are not as they should be
 */
export function replyText({ wrapper }: ForwardedRequest, content: string, changes: Attributes = {}): string {
  const { id, from, to } = wrapper.attrs as Attributes
  return writeElement('iq', { type: 'result', id, to: from, from: to, ...changes }, content)
}

/** A good answer with this content. */
export function goodReply(request: ForwardedRequest, content = ''): string {
  return replyText(request, wrapped(innerAnswer(request, {}, content)))
}

/** The condition of an error answer; for a result, its type. */
export function conditionOf(answer: Element): string {
  if (answer.attrs.type !== 'error') return String(answer.attrs.type)
  return answer.getChild('error')?.getChildElements()[0]?.getName() ?? 'an error without condition'
}

/** What the plugin counts on a host. */
export async function statusOf(test: TestServer, host: string): Promise<DelegationStatus> {
  const module = await test.server.modules.load(test.server.hosts.get(host)!, 'delegation')
  return module.exports as DelegationStatus
}

/** Lines of level error, those with these words left out. */
export function errorLines(test: TestServer, expected: readonly string[] = []): string[] {
  return test.log.filter(
    (line) =>
      /^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d )?error/.test(line) &&
      !expected.some((words) => line.includes(words)),
  )
}

let ids = 0

/** An id that no other IQ of the test has. */
export function newId(): string {
  return `q${++ids}`
}

/**
 * Waits until everything that a component has sent was worked on, and all that was sent to it for that has
 * arrived: asks an address that no plugin serves.
 */
export async function componentSettled(component: TestStream, host: string): Promise<void> {
  await component.ask(
    `<iq type='get' id='${newId()}' from='${component.jid}' to='${host}'><nothing xmlns='urn:example:settled'/></iq>`,
  )
}
