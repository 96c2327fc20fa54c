/** Clients with stream management for tests (XEP-0198). */

import type { Element } from '@xmpp/xml'
import { login, TestStream } from './client.ts'

export const SM = 'urn:xmpp:sm:3'

/** A client that has authenticated with PLAIN, and has not bound a resource. */
export async function authenticate(port: number, bare: string, password = 'pw'): Promise<TestStream> {
  const stream = await TestStream.connect(port)
  const [local = '', host = ''] = bare.split('@')
  await stream.open(`to='${host}' version='1.0'`)
  await stream.named('features')
  const initial = Buffer.from(`\0${local}\0${password}`).toString('base64')
  stream.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${initial}</auth>`)
  await stream.named('success')
  stream.restart()
  await stream.open(`to='${host}' version='1.0'`)
  return stream
}

/** A client that manages its stream: it counts, and acknowledges when the test says so. */
export class ManagedClient {
  readonly stream: TestStream
  readonly id: string
  readonly enabled: Element
  /** Stanzas that have come and are counted. */
  h: number
  /** Ids of messages that have come, over this connection. */
  readonly messages: string[] = []
  /** All that has come and was counted, over this connection. */
  readonly stanzas: Element[] = []
  /** Whether it answers when it is asked. */
  answers = false
  asked = 0

  constructor(stream: TestStream, id: string, enabled: Element, h = 0) {
    this.stream = stream
    this.id = id
    this.enabled = enabled
    this.h = h
    for (const element of stream.received.splice(0)) if (!this.watch(element)) stream.received.push(element)
    stream.watch = (element) => this.watch(element)
  }

  acknowledge(h = this.h): void {
    this.stream.send(`<a xmlns='${SM}' h='${h}'/>`)
  }

  /** What the server says it has handled. */
  async handled(): Promise<number> {
    this.stream.send(`<r xmlns='${SM}'/>`)
    const answer = await this.stream.named('a')
    return Number(answer.attrs.h)
  }

  /** Drops the connection, and waits until the server has seen it. */
  async cut(hibernated: () => boolean): Promise<void> {
    await this.stream.destroy()
    await until(hibernated)
  }

  private watch(element: Element): boolean {
    const name = element.getName()
    if (name === 'r' && element.attrs.xmlns === SM) {
      this.asked++
      if (this.answers) this.acknowledge()
      return true
    }
    if (name === 'message' || name === 'presence' || name === 'iq') {
      this.h++
      this.stanzas.push(element)
    }
    if (name !== 'message') return false
    this.messages.push(element.attrs.id ?? '')
    return false
  }
}

/** A client that has logged in and enabled stream management. */
export async function manage(
  port: number,
  jid: string,
  { resume = true, presence = true, attrs = '' } = {},
): Promise<ManagedClient> {
  const stream = await login(port, jid, { presence: false })
  stream.send(`<enable xmlns='${SM}'${resume ? " resume='true'" : ''} ${attrs}/>`)
  const enabled = await stream.named('enabled')
  const client = new ManagedClient(stream, enabled.attrs.id ?? '', enabled)
  if (presence) {
    stream.send('<presence/>')
    await stream.settled()
  }
  return client
}

/** Resumes a client's session over another connection. */
export async function resume(port: number, client: ManagedClient, h = client.h): Promise<ManagedClient> {
  const stream = await authenticate(port, client.stream.jid.split('/')[0]!)
  stream.jid = client.stream.jid
  stream.send(`<resume xmlns='${SM}' previd='${client.id}' h='${h}'/>`)
  const resumed = await stream.next((element) => ['resumed', 'failed'].includes(element.getName()))
  if (resumed.getName() !== 'resumed') throw new Error(`not resumed: ${resumed.toString()}`)
  return new ManagedClient(stream, client.id, resumed, h)
}

/** Waits until something is so. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}
