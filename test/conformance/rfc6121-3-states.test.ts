/**
 * RFC 6121 appendix A, row by row: what becomes of a subscription, as a client (§A.2) and its contact (§A.3) see it. The
 * contact is a component's, so that only one roster is looked at. Twelve states: the nine of §A.1, and three with a
 * pre-approval (§3.4.2). Each row has a contact of its own.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connectComponent, type TestStream } from '../shared/client.ts'
import {
  bare,
  enter,
  getItem,
  lineOf,
  sendPresence,
  setRoster,
  settled,
  stateIn,
} from '../shared/im-client.ts'
import { startServer, type TestServer } from '../shared/server.ts'
import { describeStored } from '../shared/server-storages.ts'

const HOST = 'capulet.lit'
const CONTACTS = `contacts.${HOST}`

type Type = 'subscribe' | 'unsubscribe' | 'subscribed' | 'unsubscribed'

/** How a state comes about: what the client sends (`>`), and the contact (`<`); and how the roster shows it. */
const STATES: Record<string, { way: string; shown: string; pendingIn?: true }> = {
  None: { way: '', shown: 'none' },
  'None + Pending Out': { way: '>subscribe', shown: 'none+ask' },
  'None + Pending In': { way: '<subscribe', shown: 'none', pendingIn: true },
  'None + Pending Out+In': { way: '>subscribe <subscribe', shown: 'none+ask', pendingIn: true },
  To: { way: '>subscribe <subscribed', shown: 'to' },
  'To + Pending In': { way: '>subscribe <subscribed <subscribe', shown: 'to', pendingIn: true },
  From: { way: '<subscribe >subscribed', shown: 'from' },
  'From + Pending Out': { way: '<subscribe >subscribed >subscribe', shown: 'from+ask' },
  Both: { way: '<subscribe >subscribed >subscribe <subscribed', shown: 'both' },
  'None + Approved': { way: '>subscribed', shown: 'none+approved' },
  'None + Pending Out + Approved': { way: '>subscribe >subscribed', shown: 'none+ask+approved' },
  'To + Approved': { way: '>subscribe <subscribed >subscribed', shown: 'to+approved' },
}

/** A row: the state before; whether the stanza gets through; the state after, if it is another. */
type Row = [before: string, passed: boolean, after?: string]

const MUST = true
const NOT = false

const OUTBOUND: Record<string, { type: Type; rows: Row[] }> = {
  'A.2.1': {
    type: 'subscribe',
    rows: [
      ['None', MUST, 'None + Pending Out'],
      ['None + Pending Out', MUST],
      ['None + Pending In', MUST, 'None + Pending Out+In'],
      ['None + Pending Out+In', MUST],
      ['To', MUST],
      ['To + Pending In', MUST],
      ['From', MUST, 'From + Pending Out'],
      ['From + Pending Out', MUST],
      ['Both', MUST],
      ['None + Approved', MUST, 'None + Pending Out + Approved'],
      ['None + Pending Out + Approved', MUST],
      ['To + Approved', MUST],
    ],
  },
  'A.2.2': {
    type: 'unsubscribe',
    rows: [
      ['None', MUST],
      ['None + Pending Out', MUST, 'None'],
      ['None + Pending In', MUST],
      ['None + Pending Out+In', MUST, 'None + Pending In'],
      ['To', MUST, 'None'],
      ['To + Pending In', MUST, 'None + Pending In'],
      ['From', MUST],
      ['From + Pending Out', MUST, 'From'],
      ['Both', MUST, 'From'],
      ['None + Approved', MUST],
      ['None + Pending Out + Approved', MUST, 'None + Approved'],
      ['To + Approved', MUST, 'None + Approved'],
    ],
  },
  'A.2.3': {
    type: 'subscribed',
    rows: [
      ['None', NOT, 'None + Approved'],
      ['None + Pending Out', NOT, 'None + Pending Out + Approved'],
      ['None + Pending In', MUST, 'From'],
      ['None + Pending Out+In', MUST, 'From + Pending Out'],
      ['To', NOT, 'To + Approved'],
      ['To + Pending In', MUST, 'Both'],
      ['From', NOT],
      ['From + Pending Out', NOT],
      ['Both', NOT],
      ['None + Approved', NOT],
      ['None + Pending Out + Approved', NOT],
      ['To + Approved', NOT],
    ],
  },
  'A.2.4': {
    type: 'unsubscribed',
    rows: [
      ['None', NOT],
      ['None + Pending Out', NOT],
      ['None + Pending In', MUST, 'None'],
      ['None + Pending Out+In', MUST, 'None + Pending Out'],
      ['To', NOT],
      ['To + Pending In', MUST, 'To'],
      ['From', MUST, 'None'],
      ['From + Pending Out', MUST, 'None + Pending Out'],
      ['Both', MUST, 'To'],
      ['None + Approved', NOT, 'None'],
      ['None + Pending Out + Approved', NOT, 'None + Pending Out'],
      ['To + Approved', NOT, 'To'],
    ],
  },
}

const INBOUND: Record<string, { type: Type; rows: Row[] }> = {
  'A.3.1': {
    type: 'subscribe',
    rows: [
      ['None', MUST, 'None + Pending In'],
      ['None + Pending Out', MUST, 'None + Pending Out+In'],
      ['None + Pending In', NOT],
      ['None + Pending Out+In', NOT],
      ['To', MUST, 'To + Pending In'],
      ['To + Pending In', NOT],
      ['From', NOT],
      ['From + Pending Out', NOT],
      ['Both', NOT],
      ['None + Approved', NOT, 'From'],
      ['None + Pending Out + Approved', NOT, 'From + Pending Out'],
      ['To + Approved', NOT, 'Both'],
    ],
  },
  'A.3.2': {
    type: 'unsubscribe',
    rows: [
      ['None', NOT],
      ['None + Pending Out', NOT],
      ['None + Pending In', MUST, 'None'],
      ['None + Pending Out+In', MUST, 'None + Pending Out'],
      ['To', NOT],
      ['To + Pending In', MUST, 'To'],
      ['From', MUST, 'None'],
      ['From + Pending Out', MUST, 'None + Pending Out'],
      ['Both', MUST, 'To'],
      ['None + Approved', NOT],
      ['None + Pending Out + Approved', NOT],
      ['To + Approved', NOT],
    ],
  },
  'A.3.3': {
    type: 'subscribed',
    rows: [
      ['None', NOT],
      ['None + Pending Out', MUST, 'To'],
      ['None + Pending In', NOT],
      ['None + Pending Out+In', MUST, 'To + Pending In'],
      ['To', NOT],
      ['To + Pending In', NOT],
      ['From', NOT],
      ['From + Pending Out', MUST, 'Both'],
      ['Both', NOT],
      ['None + Approved', NOT],
      ['None + Pending Out + Approved', MUST, 'To + Approved'],
      ['To + Approved', NOT],
    ],
  },
  'A.3.4': {
    type: 'unsubscribed',
    rows: [
      ['None', NOT],
      ['None + Pending Out', MUST, 'None'],
      ['None + Pending In', NOT],
      ['None + Pending Out+In', MUST, 'None + Pending In'],
      ['To', MUST, 'None'],
      ['To + Pending In', MUST, 'None + Pending In'],
      ['From', NOT],
      ['From + Pending Out', MUST, 'From'],
      ['Both', MUST, 'From'],
      ['None + Approved', NOT],
      ['None + Pending Out + Approved', MUST, 'None + Approved'],
      ['To + Approved', MUST, 'None + Approved'],
    ],
  },
}

const sees = (state: string) => state.startsWith('From') || state === 'Both'

let server: TestServer
let contacts: TestStream
let users = 0

/** An account with a contact in some state. */
class Scene {
  readonly user: TestStream
  readonly contact: string

  private constructor(user: TestStream, contact: string) {
    this.user = user
    this.contact = contact
  }

  static async begin(state: string, isItem: boolean): Promise<Scene> {
    const account = `user${++users}@${HOST}`
    await server.addUser(account)
    const scene = new Scene(await enter(server.c2sPort, `${account}/r`), `contact${users}@${CONTACTS}`)
    if (isItem) await setRoster(scene.user, `<item jid='${scene.contact}' name='C'><group>g</group></item>`)
    for (const step of STATES[state]!.way.split(' ')) {
      if (step !== '') await scene.send(step[0] as '<' | '>', step.slice(1))
    }
    expect(await scene.state()).toBe(`${STATES[state]!.shown}${STATES[state]!.pendingIn ? '+in' : ''}`)
    scene.user.received.splice(0)
    contacts.received.splice(0)
    return scene
  }

  /** What the contact gets of it. */
  readonly isToContact = ({ name, attrs }: { name: string; attrs: Record<string, string> }): boolean =>
    name === 'presence' && attrs.to === this.contact

  async send(direction: '<' | '>', type: string): Promise<void> {
    if (direction === '>') sendPresence(this.user, type, this.contact)
    else sendPresence(contacts, type, bare(this.user), '', this.contact)
    await settled(HOST, this.user, contacts)
    await settled(HOST, contacts, this.user)
  }

  /** What the roster shows, and with `+in` that a request waits: another resource gets it then. */
  async state(): Promise<string> {
    const other = await enter(server.c2sPort, `${bare(this.user)}/other`)
    const requests = other.received.filter(({ attrs }) => attrs.type === 'subscribe')
    const item = await getItem(other, this.contact)
    await other.close()
    if (item !== undefined && item.attrs.name !== undefined) expect(item.getChildText('group')).toBe('g')
    const shown = item === undefined ? 'none' : stateIn(item)
    return `${shown}${requests.length > 0 ? '+in' : ''}`
  }

  /** Whether the contact is an item. */
  async isItem(): Promise<boolean> {
    return (await getItem(this.user, this.contact)) !== undefined
  }
}

/** A contact that is an item for itself; where the state allows it, also one that was never added. */
function variants(state: string): boolean[] {
  return state === 'None' || state === 'None + Pending In' ? [true, false] : [true]
}

function shownOf(state: string): string {
  return `${STATES[state]!.shown}${STATES[state]!.pendingIn ? '+in' : ''}`
}

function outbound(section: string, { type, rows }: (typeof OUTBOUND)[string]): void {
  for (const [before, routed, after = before] of rows) {
    for (const isItem of variants(before)) {
      const who = isItem ? '' : ', a contact that is not on the roster'
      it(`${section} ${type}: ${before}${who} → ${after}, ${routed ? '' : 'not '}routed`, async () => {
        const scene = await Scene.begin(before, isItem)
        await scene.send('>', type)
        const got = contacts.received.filter(scene.isToContact)
        const own = got.filter(({ attrs }) => attrs.type === type)
        expect(own.map(({ attrs }) => [attrs.from, attrs.to])).toEqual(
          routed ? [[bare(scene.user), scene.contact]] : [],
        )
        const isChange = shownOf(after).replace('+in', '') !== shownOf(before).replace('+in', '')
        const pushes = scene.user.received.map(lineOf).filter((line) => line.startsWith('push'))
        expect(pushes).toEqual(isChange ? [`push ${scene.contact} ${STATES[after]!.shown}`] : [])
        expect(await scene.state()).toBe(shownOf(after))
        if (before === 'None + Pending In' && after === 'None') expect(await scene.isItem()).toBe(isItem)
        // §3.1.5: who is allowed to see the account sees it; §3.2.2: who is not any more sees it go.
        const shown = got.map(lineOf).filter((line) => line.endsWith(scene.user.jid))
        if (!sees(before) && sees(after)) expect(shown).toEqual([`available ${scene.user.jid}`])
        else if (sees(before) && !sees(after)) expect(shown).toEqual([`unavailable ${scene.user.jid}`])
        else expect(shown).toEqual([])
        await scene.user.close()
      })
    }
  }
}

function inbound(section: string, { type, rows }: (typeof INBOUND)[string]): void {
  for (const [before, delivered, after = before] of rows) {
    for (const isItem of variants(before)) {
      const who = isItem ? '' : ', a contact that is not on the roster'
      it(`${section} ${type}: ${before}${who} → ${after}, ${delivered ? '' : 'not '}delivered`, async () => {
        const scene = await Scene.begin(before, isItem)
        await scene.send('<', type)
        const lines = scene.user.received.map(lineOf)
        const isChange = shownOf(after).replace('+in', '') !== shownOf(before).replace('+in', '')
        // §3.1.6, §3.2.3, §3.3.3: what was sent comes before the push.
        expect(lines).toEqual([
          ...(delivered ? [`${type} ${scene.contact}`] : []),
          ...(isChange ? [`push ${scene.contact} ${STATES[after]!.shown}`] : []),
        ])
        const got = contacts.received.filter(scene.isToContact).map(lineOf)
        const account = bare(scene.user)
        if (type === 'subscribe') {
          // §A.3.1 [1], [2]; an acknowledgement otherwise (§3.1.3).
          const sees = ['From', 'From + Pending Out', 'Both'].includes(after)
          expect(got).toEqual(
            sees ? [`subscribed ${account}`, `available ${scene.user.jid}`] : [`unavailable ${account}`],
          )
        } else if (sees(before) && !sees(after)) {
          // §3.3.3, §A.3.2 [1]
          expect(got).toEqual([`unavailable ${scene.user.jid}`, `unsubscribed ${account}`])
        } else expect(got).toEqual([])
        expect(await scene.isItem()).toBe(isItem)
        expect(await scene.state()).toBe(shownOf(after))
        await scene.user.close()
      })
    }
  }
}

describeStored('the states of a subscription', () => {
  beforeAll(async () => {
    const components = { [CONTACTS]: { component_secret: 'secret' } }
    server = await startServer({ virtualHosts: { [HOST]: {} }, components })
    contacts = await connectComponent(server.componentPort, CONTACTS)
  })

  afterAll(async () => {
    await contacts.destroy()
    await server.stop()
  })

  describe.each(Object.entries(OUTBOUND))('%s outbound', outbound)
  describe.each(Object.entries(INBOUND))('%s inbound', inbound)
})
