/** The people of the tests of privileges, and what a privileged entity writes and reads. */

import type { Element } from '@xmpp/xml'
import { afterAll, beforeAll, expect } from 'vitest'
import { NS_CLIENT, NS_FORWARD } from '../../server/stanza/namespaces.ts'
import { type Attributes, writeElement } from '../../server/stanza/stanza.ts'
import { connectComponent, login, type TestStream } from './client.ts'
import { componentSettled, conditionOf, errorLines, newId } from './delegation.ts'
import { startServer, type TestServer } from './server.ts'

export const NS_PRIVILEGE = 'urn:xmpp:privilege:2'
export const NS_PUBSUB = 'http://jabber.org/protocol/pubsub'
export const HOST = 'capulet.lit'
export const MONTAGUE = 'montague.lit'
/** Has every privilege on the first host, and none on the second. */
export const PUBSUB = `pubsub.${HOST}`
/** Has none. May send from any address. */
export const RIVAL = `rival.${HOST}`
export const JULIET = `juliet@${HOST}`
export const NURSE = `nurse@${HOST}`
export const ROMEO = `romeo@${MONTAGUE}`
export const PLUGINS = ['saslauth', 'roster', 'disco', 'ping', 'delegation', 'privilege']

export interface PrivilegePlay {
  server: TestServer
  juliet: TestStream
  romeo: TestStream
  pubsub: TestStream
  rival: TestStream
}

/** Sets the stage for a file of tests. @param privileges - of the component pubsub on the first host */
export function privilegeStage(privileges: Record<string, unknown>, more: object = {}): PrivilegePlay {
  const play = {} as PrivilegePlay
  beforeAll(async () => {
    const component = { component_secret: 'secret', modules_enabled: ['privilege', 'delegation'] }
    play.server = await startServer(
      {
        modules_enabled: PLUGINS,
        virtualHosts: { [HOST]: { privileged_entities: { [PUBSUB]: privileges }, ...more }, [MONTAGUE]: {} },
        components: { [PUBSUB]: component, [RIVAL]: { ...component, validate_from_addresses: false } },
      },
      [JULIET, NURSE, ROMEO],
    )
    play.pubsub = await connectComponent(play.server.componentPort, PUBSUB)
    play.rival = await connectComponent(play.server.componentPort, RIVAL)
    play.juliet = await login(play.server.c2sPort, `${JULIET}/balcony`)
    play.romeo = await login(play.server.c2sPort, `${ROMEO}/orchard`)
  })
  afterAll(async () => {
    for (const stream of [play.juliet, play.romeo, play.pubsub, play.rival]) await stream.destroy()
    await play.server.stop()
    expect(errorLines(play.server)).toEqual([])
  })
  return play
}

export function isAdvertisement(element: Element): boolean {
  return element.getName() === 'message' && element.getChild('privilege', NS_PRIVILEGE) !== undefined
}

/** The permissions in an advertisement, each as its attributes; `iq` has its namespaces. */
export function permissionsIn(message: Element): Record<string, unknown>[] {
  return message
    .getChild('privilege', NS_PRIVILEGE)!
    .getChildren('perm')
    .map((perm) => {
      const namespaces = perm.getChildren('namespace').map((child) => ({ ...child.attrs }))
      return { ...perm.attrs, ...(namespaces.length > 0 && { namespaces }) }
    })
}

/** A message for a host that has one to be sent on. */
export function messageFor(host: string, forwarded: string, from = PUBSUB, id = newId()): string {
  const content = writeElement('forwarded', { xmlns: NS_FORWARD }, forwarded)
  const privilege = writeElement('privilege', { xmlns: NS_PRIVILEGE }, content)
  return writeElement('message', { from, to: host, id }, privilege)
}

export function innerMessage(attrs: Attributes, content = '<body>hi</body>'): string {
  return writeElement('message', { xmlns: NS_CLIENT, ...attrs }, content)
}

/** An IQ on behalf of an account. @param changes - of the top-level IQ */
export function privilegedIq(inner: string, changes: Attributes = {}): string {
  const privileged = writeElement('privileged_iq', { xmlns: NS_PRIVILEGE }, inner)
  return writeElement('iq', { from: PUBSUB, to: JULIET, type: 'set', id: newId(), ...changes }, privileged)
}

export function innerIq(attrs: Attributes = {}, payload = `<pubsub xmlns='${NS_PUBSUB}'/>`): string {
  return writeElement(
    'iq',
    { xmlns: NS_CLIENT, type: 'set', id: 'sub_1', to: `${ROMEO}/orchard`, ...attrs },
    payload,
  )
}

/** The forwarded answer in what an entity gets. */
export function forwardedAnswer(answer: Element): Element {
  expect(answer.attrs.type).toBe('result')
  return answer
    .getChild('privilege', NS_PRIVILEGE)!
    .getChild('forwarded', NS_FORWARD)!
    .getChild('iq', NS_CLIENT)!
}

/** Sends a stanza with an id, and gives the condition of the error that it gets. */
export async function refusalOf(stream: TestStream, text: string): Promise<string> {
  const id = /\sid='(.*?)'/.exec(text)![1]!
  stream.send(text)
  const answer = await stream.next(
    (element) => element.attrs.id === id && ['error', 'result'].includes(element.attrs.type as string),
  )
  return conditionOf(answer)
}

/** Waits until all that a client has sent, and all that was sent to it before, has come. */
export async function nothingFor(stream: TestStream, fits: (element: Element) => boolean): Promise<void> {
  if (stream.jid.includes('@')) await stream.settled()
  else await componentSettled(stream, HOST)
  expect(stream.received.filter(fits).map(String)).toEqual([])
}

/** Makes the list of a host's accounts one without an end, and counts those who have begun and who still go through it. */
export function endlessAccounts(server: TestServer): { readonly begun: number; readonly underWay: number } {
  const readers = { begun: 0, underWay: 0 }
  server.server.hosts.get(HOST)!.users!.list = async function* () {
    readers.begun++
    readers.underWay++
    try {
      for (;;) {
        yield 'juliet'
        await new Promise(setImmediate)
      }
    } finally {
      readers.underWay--
    }
  }
  return readers
}

/** Makes two accounts see each other. */
export async function befriend(one: TestStream, other: TestStream): Promise<void> {
  const bare = (stream: TestStream) => stream.jid.split('/')[0]!
  for (const [asker, asked] of [
    [one, other],
    [other, one],
  ] as const) {
    asker.send(`<presence type='subscribe' to='${bare(asked)}'/>`)
    await asked.next((element) => element.attrs.type === 'subscribe' && element.attrs.from === bare(asker))
    asked.send(`<presence type='subscribed' to='${bare(asker)}'/>`)
    await asker.next((element) => element.attrs.type === 'subscribed' && element.attrs.from === bare(asked))
    await asker.next((element) => element.getName() === 'presence' && element.attrs.from === asked.jid)
  }
}
