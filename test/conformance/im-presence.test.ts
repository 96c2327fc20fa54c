/** Presence and subscriptions over real sockets (RFC 6121 §3 and §4). */

import type { Element } from '@xmpp/xml'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectComponent, login, type TestStream } from '../shared/client.ts'
import { startServer, type TestServer } from '../shared/server.ts'

const HOST = 'capulet.lit'
const OTHER = 'montague.lit'
const JULIET = `juliet@${HOST}`
const ROMEO = `romeo@${OTHER}`
const ROOMS = 'rooms.capulet.lit'
const NURSE = `nurse@${HOST}`

let server: TestServer
const streams: TestStream[] = []

/** A client that has asked for its roster. */
async function connect(jid: string, presence = '<presence/>'): Promise<TestStream> {
  const stream = await login(server.c2sPort, jid, { presence: false })
  streams.push(stream)
  await roster(stream)
  if (presence !== '') stream.send(presence)
  await settled(stream)
  return stream
}

/** Waits until what these clients have sent has been worked on, and has reached all of them. */
async function settled(...some: TestStream[]): Promise<void> {
  for (const stream of some) await stream.settled()
  for (const stream of some) await stream.settled()
}

let ids = 0

async function roster(stream: TestStream): Promise<Record<string, string>> {
  const answer = await stream.ask(`<iq type='get' id='get${++ids}'><query xmlns='jabber:iq:roster'/></iq>`)
  const states: Record<string, string> = {}
  for (const { attrs } of answer.getChild('query')!.getChildElements()) {
    states[attrs.jid as string] = attrs.ask === undefined ? attrs.subscription : `${attrs.subscription}+ask`
  }
  return states
}

/** Takes what a stream has got: presence as `type from`, roster pushes as `push jid state`. */
function taken(stream: TestStream): string[] {
  return stream.received.splice(0).map(describeStanza)
}

function describeStanza(element: Element): string {
  const { type, from } = element.attrs
  if (element.is('presence')) return `${type ?? 'available'} ${from}`
  const item = element.getChild('query', 'jabber:iq:roster')?.getChild('item')
  if (item === undefined) return element.toString()
  return `push ${item.attrs.jid} ${item.attrs.subscription}${item.attrs.ask === undefined ? '' : '+ask'}`
}

function presence(stream: TestStream, type: string, to: string, content = ''): void {
  stream.send(`<presence type='${type}' to='${to}'>${content}</presence>`)
}

/** Makes `a` see `b`. */
async function subscribe(a: TestStream, b: TestStream): Promise<void> {
  const bareA = a.jid.split('/')[0]!
  const bareB = b.jid.split('/')[0]!
  presence(a, 'subscribe', bareB)
  await settled(a, b)
  presence(b, 'subscribed', bareA)
  await settled(b, a)
}

beforeEach(async () => {
  server = await startServer(
    {
      virtualHosts: { [HOST]: { presence_max_directed: 3 }, [OTHER]: {} },
      components: { [ROOMS]: { component_secret: 'secret' } },
    },
    [JULIET, ROMEO, NURSE],
  )
})

afterEach(async () => {
  for (const stream of streams.splice(0)) await stream.destroy()
  await server.stop()
})

describe('subscriptions', () => {
  it('§3.1: asking, approving, and seeing each other', async () => {
    const romeo = await connect(`${ROMEO}/orchard`, '<presence><show>dnd</show></presence>')
    const juliet = await connect(`${JULIET}/balcony`)
    taken(romeo)
    taken(juliet)

    presence(romeo, 'subscribe', `${JULIET}/balcony`, '<status>Let me</status>')
    await settled(romeo, juliet)
    // The acknowledgement tells nothing: it comes for accounts that do not exist as well.
    expect(taken(romeo)).toEqual([`push ${JULIET} none+ask`, `unavailable ${JULIET}`])
    const request = await juliet.named('presence')
    expect(request.attrs).toMatchObject({ type: 'subscribe', from: ROMEO, to: JULIET })
    expect(request.getChildText('status')).toBe('Let me')
    expect(taken(juliet)).toEqual([])

    presence(juliet, 'subscribed', ROMEO)
    await settled(juliet, romeo)
    expect(taken(juliet)).toEqual([`push ${ROMEO} from`])
    // The approval and the push come before the presence.
    expect(taken(romeo)).toEqual([`subscribed ${JULIET}`, `push ${JULIET} to`, `available ${JULIET}/balcony`])

    presence(juliet, 'subscribe', ROMEO)
    await settled(juliet, romeo)
    taken(romeo)
    presence(romeo, 'subscribed', JULIET)
    await settled(romeo, juliet)
    expect(taken(romeo)).toEqual([`push ${JULIET} both`])
    expect(taken(juliet)).toEqual([
      `push ${ROMEO} from+ask`,
      `unavailable ${ROMEO}`,
      `subscribed ${ROMEO}`,
      `push ${ROMEO} both`,
      `available ${ROMEO}/orchard`,
    ])
    expect([await roster(juliet), await roster(romeo)]).toEqual([{ [ROMEO]: 'both' }, { [JULIET]: 'both' }])
  })

  it('§3.1.3: a request is kept and delivered at each login until it is answered', async () => {
    const romeo = await connect(ROMEO)
    presence(romeo, 'subscribe', JULIET, "<nick xmlns='http://jabber.org/protocol/nick'>R</nick>")
    await settled(romeo)
    for (let i = 0; i < 2; i++) {
      const juliet = await connect(JULIET)
      const request = await juliet.next((element) => element.attrs.type === 'subscribe')
      expect(request.attrs).toMatchObject({ from: ROMEO, to: JULIET })
      expect(request.getChildText('nick', 'http://jabber.org/protocol/nick')).toBe('R')
      expect(await roster(juliet)).toEqual({})
      await juliet.close()
    }
    const juliet = await connect(JULIET)
    presence(juliet, 'unsubscribed', ROMEO)
    await settled(juliet, romeo)
    expect(await roster(romeo)).toEqual({ [JULIET]: 'none' })
    await juliet.close()
    expect(taken(await connect(JULIET))).toEqual([`available ${JULIET}/test`])
  })

  it('§3.1.3: a second request changes nothing; one from a subscriber is answered', async () => {
    const [romeo, juliet] = [await connect(ROMEO), await connect(JULIET)]
    presence(romeo, 'subscribe', JULIET)
    presence(romeo, 'subscribe', JULIET)
    await settled(romeo, juliet)
    expect(taken(juliet).filter((line) => line.startsWith('subscribe'))).toEqual([`subscribe ${ROMEO}`])
    presence(juliet, 'subscribed', ROMEO)
    await settled(juliet, romeo)
    taken(romeo)
    presence(romeo, 'subscribe', JULIET)
    await settled(romeo, juliet)
    // The answer "subscribed" is for those who wait for it (§A.3.3).
    expect(taken(romeo)).toEqual([`available ${JULIET}/test`])
  })

  it('§3.1.4, §A.2.3: nobody is subscribed who has not asked, nor by an approval that nobody asked for', async () => {
    const [romeo, juliet] = [await connect(ROMEO), await connect(JULIET)]
    taken(romeo)
    presence(juliet, 'subscribed', ROMEO)
    await settled(juliet, romeo)
    expect(taken(romeo)).toEqual([])
    // It is a pre-approval (§3.4.2).
    expect([await roster(juliet), await roster(romeo)]).toEqual([{ [ROMEO]: 'none' }, {}])
  })

  it('§3.2: cancelling a subscription makes the contact unavailable', async () => {
    const [romeo, juliet] = [await connect(ROMEO), await connect(JULIET)]
    await subscribe(romeo, juliet)
    taken(romeo)
    taken(juliet)
    presence(juliet, 'unsubscribed', ROMEO)
    await settled(juliet, romeo)
    expect(taken(juliet)).toEqual([`push ${ROMEO} none`])
    expect(taken(romeo).sort()).toEqual(
      [`push ${JULIET} none`, `unavailable ${JULIET}/test`, `unsubscribed ${JULIET}`].sort(),
    )
  })

  it('§3.3: unsubscribing does the same from the other side', async () => {
    const [romeo, juliet] = [await connect(ROMEO), await connect(JULIET)]
    await subscribe(romeo, juliet)
    taken(romeo)
    taken(juliet)
    presence(romeo, 'unsubscribe', JULIET)
    await settled(romeo, juliet)
    expect(taken(juliet)).toEqual([`unsubscribe ${ROMEO}`, `push ${ROMEO} none`])
    expect(taken(romeo)).toEqual([`push ${JULIET} none`, `unavailable ${JULIET}/test`])
    juliet.send('<presence><show>away</show></presence>')
    await settled(juliet, romeo)
    expect(taken(romeo)).toEqual([])
  })

  it('§2.5.2: taking a contact off the roster ends both subscriptions', async () => {
    const [romeo, juliet] = [await connect(ROMEO), await connect(JULIET)]
    await subscribe(romeo, juliet)
    await subscribe(juliet, romeo)
    taken(romeo)
    await juliet.ask(
      `<iq type='set' id='gone'><query xmlns='jabber:iq:roster'><item jid='${ROMEO}' subscription='remove'/></query></iq>`,
    )
    await settled(juliet, romeo)
    expect(await roster(romeo)).toEqual({ [JULIET]: 'none' })
    expect(taken(romeo)).toContain(`unavailable ${JULIET}/test`)
    taken(juliet)
    romeo.send('<presence><show>away</show></presence>')
    await settled(romeo, juliet)
    expect(taken(juliet)).toEqual([])
  })

  it('changes for a contact that is offline are there when it comes', async () => {
    const romeo = await connect(ROMEO)
    let juliet = await connect(JULIET)
    await subscribe(romeo, juliet)
    await juliet.close()
    presence(romeo, 'unsubscribe', JULIET)
    await settled(romeo)
    juliet = await connect(JULIET)
    expect(await roster(juliet)).toEqual({ [ROMEO]: 'none' })
  })

  it('§8.5.1: an account that does not exist can not be told from one that does not answer', async () => {
    const romeo = await connect(ROMEO)
    taken(romeo)
    const seen: string[][] = []
    for (const contact of [JULIET, `nobody@${HOST}`]) {
      for (const type of ['subscribe', 'unsubscribe', 'unsubscribed', 'subscribed', 'probe']) {
        presence(romeo, type, contact)
        presence(romeo, type, `${contact}/x`)
      }
      romeo.send(`<presence to='${contact}'/><presence to='${contact}/x' type='unavailable'/>`)
      await settled(romeo)
      seen.push(taken(romeo).map((line) => line.replaceAll(contact, 'CONTACT')))
    }
    expect(seen[0]).toEqual(seen[1])
  })

  it('oneself and types that there are not', async () => {
    const juliet = await connect(JULIET)
    taken(juliet)
    for (const to of [JULIET, `${JULIET}/test`]) presence(juliet, 'subscribe', to)
    presence(juliet, 'error', JULIET)
    await settled(juliet)
    expect(await roster(juliet)).toEqual({})
    taken(juliet)
    presence(juliet, 'dancing', ROMEO)
    juliet.send("<presence type='dancing' id='d2'/>")
    await settled(juliet)
    expect(taken(juliet)).toEqual([`error ${ROMEO}`, 'error undefined'])
  })
})

describe('presence', () => {
  it('§4.2: initial presence goes to contacts, own resources and oneself; theirs comes back', async () => {
    const romeo = await connect(ROMEO)
    let juliet = await connect(`${JULIET}/one`)
    await subscribe(romeo, juliet)
    await subscribe(juliet, romeo)
    const nurse = await connect(NURSE)
    await juliet.close()
    await settled(romeo, nurse)
    const first = await connect(`${JULIET}/first`)
    for (const stream of [romeo, nurse, first]) taken(stream)

    juliet = await connect(
      `${JULIET}/balcony`,
      '<presence><show>chat</show><priority>3</priority></presence>',
    )
    await settled(juliet, romeo, nurse, first)
    expect(taken(nurse)).toEqual([])
    expect(taken(first)).toEqual([`available ${JULIET}/balcony`])
    const [stanza] = romeo.received
    expect(stanza?.attrs).toMatchObject({ from: `${JULIET}/balcony`, to: ROMEO })
    expect(stanza?.getChildText('show')).toBe('chat')
    expect(taken(romeo)).toEqual([`available ${JULIET}/balcony`])
    const mine = juliet.received.find(({ attrs }) => attrs.from === `${ROMEO}/test`)
    expect(mine?.getChild('delay', 'urn:xmpp:delay')?.attrs.from).toBe(OTHER)
    expect(taken(juliet).sort()).toEqual([
      `available ${JULIET}/balcony`,
      `available ${JULIET}/first`,
      `available ${ROMEO}/test`,
    ])
  })

  it('§4.4, §4.5: changes and the end are told; the probe at a login finds nobody', async () => {
    const romeo = await connect(ROMEO)
    const juliet = await connect(JULIET)
    await subscribe(romeo, juliet)
    taken(romeo)
    juliet.send('<presence><show>xa</show></presence>')
    juliet.send("<presence type='unavailable'><status>bye</status></presence>")
    await settled(juliet, romeo)
    expect(romeo.received[1]?.getChildText('status')).toBe('bye')
    expect(taken(romeo)).toEqual([`available ${JULIET}/test`, `unavailable ${JULIET}/test`])
    juliet.send("<presence type='unavailable'/>")
    await settled(juliet, romeo)
    expect(taken(romeo)).toEqual([])
    const other = await connect(`${ROMEO}/other`)
    expect(taken(other).sort()).toEqual([
      `available ${ROMEO}/other`,
      `available ${ROMEO}/test`,
      `unavailable ${JULIET}`,
    ])
  })

  it.each(['close', 'destroy'] as const)('§4.5: a session that ends by %s is unavailable', async (how) => {
    const romeo = await connect(ROMEO)
    const juliet = await connect(JULIET)
    await subscribe(romeo, juliet)
    taken(romeo)
    await juliet[how]()
    expect(describeStanza(await romeo.named('presence'))).toBe(`unavailable ${JULIET}/test`)
    await settled(romeo)
    expect(taken(romeo)).toEqual([])
  })

  it('§4.6: directed presence, and its end for those only who have got it', async () => {
    const [romeo, nurse] = [await connect(ROMEO), await connect(NURSE)]
    const juliet = await connect(JULIET, '')
    taken(romeo)
    juliet.send(
      `<presence to='${ROMEO}/test'/><presence to='${NURSE}'/><presence to='${NURSE}' type='unavailable'/>`,
    )
    await settled(juliet, romeo, nurse)
    expect(taken(romeo)).toEqual([`available ${JULIET}/test`])
    taken(nurse)
    await juliet.destroy()
    expect(describeStanza(await romeo.named('presence'))).toBe(`unavailable ${JULIET}/test`)
    await settled(nurse)
    expect(taken(nurse)).toEqual([])
  })

  it('directed presence has a limit', async () => {
    const juliet = await connect(JULIET)
    taken(juliet)
    for (let i = 0; i < 4; i++) juliet.send(`<presence to='room${i}@${OTHER}'/>`)
    juliet.send(`<presence to='room0@${OTHER}'/>`)
    await settled(juliet)
    expect(taken(juliet)).toEqual([`error room3@${OTHER}`])
  })

  it('what all contacts would be told has a limit', async () => {
    const other = await connect(`${JULIET}/other`)
    const juliet = await connect(JULIET)
    taken(other)
    taken(juliet)
    const status = (length: number) => `<status>${'x'.repeat(length - '<status></status>'.length)}</status>`
    juliet.send(`<presence id='a'>${status(32_769)}</presence>`)
    juliet.send(`<presence type='unavailable'>${status(32_769)}</presence>`)
    await settled(juliet)
    expect(juliet.received.map(({ attrs }) => attrs)).toMatchObject([
      { type: 'error', id: 'a' },
      { type: 'error' },
    ])
    const error = juliet.received.splice(0)[0]!.getChild('error')!
    expect(error.getChild('policy-violation', 'urn:ietf:params:xml:ns:xmpp-stanzas')).toBeDefined()
    juliet.send(`<presence>${status(32_768)}</presence>`)
    await settled(juliet, other)
    expect(taken(other)).toEqual([`available ${JULIET}/test`])
  })

  it.each(['128', '-129', 'high', '', '1.5', '9'.repeat(40)])(
    '§4.7.2.3: a priority of "%s" is refused and told to nobody',
    async (priority) => {
      const other = await connect(`${JULIET}/other`)
      const juliet = await connect(JULIET, `<presence><priority>${priority}</priority></presence>`)
      expect(taken(juliet)).toEqual(['error undefined'])
      expect(taken(other)).toEqual([`available ${JULIET}/other`])
    },
  )

  it('§4.7.2.3: the bounds are allowed', async () => {
    const juliet = await connect(JULIET, '<presence><priority>-128</priority></presence>')
    juliet.send('<presence><priority> +127 </priority></presence>')
    await settled(juliet)
    expect(taken(juliet)).toEqual([`available ${JULIET}/test`, `available ${JULIET}/test`])
  })

  it('§4.3.2: a probe from a stranger tells nothing, online or not', async () => {
    const nurse = await connect(NURSE)
    const juliet = await connect(JULIET)
    taken(nurse)
    presence(nurse, 'probe', JULIET)
    presence(nurse, 'probe', `${JULIET}/test`)
    await settled(nurse)
    expect(taken(nurse)).toEqual([])

    const rooms = await connectComponent(server.componentPort, ROOMS)
    streams.push(rooms)
    const probe = async (to: string): Promise<string> => {
      rooms.send(`<presence type='probe' from='x@${ROOMS}/y' to='${to}'/>`)
      return describeStanza(await rooms.named('presence'))
    }
    expect(await probe(`${JULIET}/test`)).toBe(`unsubscribed ${JULIET}`)
    expect(await probe(`nobody@${HOST}/test`)).toBe(`unsubscribed nobody@${HOST}`)
    await juliet.close()
    expect(await probe(JULIET)).toBe(`unsubscribed ${JULIET}`)
  })

  it('a component subscribes and is subscribed to', async () => {
    const juliet = await connect(JULIET)
    const rooms = await connectComponent(server.componentPort, ROOMS)
    streams.push(rooms)
    taken(juliet)
    const send = (type: string, from = ROOMS) =>
      rooms.send(`<presence type='${type}' from='${from}' to='${JULIET}/test'/>`)
    send('subscribe', `${ROOMS}/x`)
    expect(describeStanza(await rooms.named('presence'))).toBe(`unavailable ${JULIET}`)
    expect((await juliet.named('presence')).attrs).toMatchObject({
      type: 'subscribe',
      from: ROOMS,
      to: JULIET,
    })
    presence(juliet, 'subscribed', ROOMS)
    expect(describeStanza(await rooms.named('presence'))).toBe(`subscribed ${JULIET}`)
    expect(describeStanza(await rooms.named('presence'))).toBe(`available ${JULIET}/test`)
    send('subscribe')
    expect(describeStanza(await rooms.named('presence'))).toBe(`subscribed ${JULIET}`)
    expect(describeStanza(await rooms.named('presence'))).toBe(`available ${JULIET}/test`)
    presence(juliet, 'subscribe', ROOMS)
    expect((await rooms.named('presence')).attrs).toMatchObject({
      type: 'subscribe',
      from: JULIET,
      to: ROOMS,
    })
    // Asked again at the next login: it may not have been there.
    const again = await connect(`${JULIET}/again`)
    expect((await rooms.next(({ attrs }) => attrs.type === 'subscribe')).attrs.from).toBe(JULIET)
    send('subscribed')
    await again.next(({ attrs }) => attrs.type === 'subscribed')
    expect(await roster(again)).toEqual({ [ROOMS]: 'both' })
  })

  it('the host is seen by everybody', async () => {
    const juliet = await connect(JULIET)
    taken(juliet)
    presence(juliet, 'subscribe', HOST)
    await settled(juliet)
    expect(taken(juliet)).toEqual([
      `push ${HOST} none+ask`,
      `subscribed ${HOST}`,
      `push ${HOST} to`,
      `available ${HOST}`,
    ])
  })
})
