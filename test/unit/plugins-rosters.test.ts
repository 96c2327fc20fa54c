/** Rosters in memory and in the store: order, races with a login, limits, failures. */

import { beforeEach, describe, expect, it } from 'vitest'
import type { Contact, RosterItem } from '../../plugins/roster/index.ts'
import { Pairs } from '../../plugins/roster/pairs.ts'
import { Roster, type StoredRoster } from '../../plugins/roster/roster.ts'
import { Rosters } from '../../plugins/roster/rosters.ts'
import { type Host, type KeyvalStore, type Stanza, StanzaError } from '../../server/index.ts'
import { openStorage } from '../../server/storage/index.ts'

interface FakeSession {
  interested: boolean
  destroyed: boolean
  bareJid: string
  fullJid: string
  sent: Stanza[]
  send(stanza: Stanza): void
}

let store: KeyvalStore<StoredRoster>
let accounts: Map<string, { sessions: Map<string, FakeSession> }>
let rosters: Rosters

function bind(username: string, resource: string): FakeSession {
  const session: FakeSession = {
    interested: true,
    destroyed: false,
    bareJid: `${username}@capulet.lit`,
    fullJid: `${username}@capulet.lit/${resource}`,
    sent: [],
    send(stanza) {
      this.sent.push(stanza)
    },
  }
  const account = accounts.get(username) ?? { sessions: new Map() }
  accounts.set(username, account)
  account.sessions.set(resource, session)
  return session
}

function item(jid: string, fields: Partial<RosterItem> = {}): RosterItem {
  return { jid, subscription: 'none', ask: false, groups: [], ...fields }
}

const put = (username: string, jid: string, fields: Partial<RosterItem> = {}) =>
  rosters.change(username, jid, { edit: ({ request }) => ({ item: item(jid, fields), request }) })

beforeEach(() => {
  store = openStorage('memory', { path: '' }).openKeyval<StoredRoster>('capulet.lit', 'roster')
  accounts = new Map()
  const users = { exists: async (username: string) => username !== 'nobody' }
  const host = { name: 'capulet.lit', accounts, users } as unknown as Host
  rosters = new Rosters(host, store, () => ({ maxItems: 3, maxRequests: 2 }), new Pairs())
})

describe('a stored roster', () => {
  it('comes back as it was', () => {
    const roster = new Roster()
    const request = {
      inner: '<status>x</status>',
      count: 1,
      payloadName: 'status',
      payloadNs: 'jabber:client',
      id: 'a',
    }
    roster.setContact('a@b', { item: item('a@b', { name: 'A', groups: ['x', 'y'], ask: true }), request })
    roster.setContact('__proto__', { item: item('__proto__', { subscription: 'both' }) })
    const stored = JSON.parse(JSON.stringify(roster.encode()))
    const again = Roster.decode(stored)
    expect(again.items).toEqual(roster.items)
    expect(again.requests).toEqual(roster.requests)
    expect(again.textLength).toBe(roster.textLength)
  })

  it('is nothing when it is empty', () => {
    const roster = new Roster()
    roster.setContact('a@b', { item: item('a@b') })
    roster.setContact('a@b', {})
    expect(roster.encode()).toBeUndefined()
    expect(roster.textLength).toBe(0)
  })
})

describe('versions (RFC 6121 §2.6)', () => {
  const with5 = () => {
    const roster = new Roster()
    for (const name of '12345') {
      roster.setContact(`${name}@b`, { item: item(`${name}@b`) })
      roster.itemChanged(`${name}@b`)
    }
    return roster
  }
  const remove = (roster: Roster, jid: string) => {
    roster.setContact(jid, {})
    roster.itemChanged(jid)
  }
  const jidsSince = (roster: Roster, version: number) => roster.changesSince(version).map(({ jid }) => jid)

  it('grow with each change, and tell what has changed since', () => {
    const roster = with5()
    const { version } = roster
    roster.setContact('2@b', { item: item('2@b', { name: 'x' }) })
    roster.itemChanged('2@b')
    remove(roster, '4@b')
    expect(roster.version).toBeGreaterThan(version + 1)
    expect(roster.changesSince(version)).toMatchObject([
      { jid: '2@b', item: { name: 'x', version: version + 1 }, version: version + 1 },
      { jid: '4@b', item: undefined, version: version + 2 },
    ])
    const again = Roster.decode(JSON.parse(JSON.stringify(roster.encode())))
    expect(again.changesSince(version)).toEqual(roster.changesSince(version))
    expect([again.version, again.knowsSince(version)]).toEqual([roster.version, true])
  })

  it('outlive the last item', () => {
    const roster = with5()
    const { version } = roster
    for (const jid of [...roster.items.keys()]) remove(roster, jid)
    const again = Roster.decode(roster.encode())
    expect(again.version).toBe(roster.version)
    expect(jidsSince(again, version)).toEqual(['1@b', '2@b', '3@b', '4@b', '5@b'])
  })

  it('of the very first roster, of others and of the future are not known', () => {
    const roster = with5()
    for (const version of [0, -1, roster.version + 1]) expect(roster.knowsSince(version)).toBe(false)
    expect(new Roster().knowsSince(0)).toBe(false)
    const imported = Roster.decode({
      items: [{ jid: 'a@b', subscription: 'both' }],
      requests: [],
      version: 7,
    })
    expect([6, 7, 8].map((version) => imported.knowsSince(version))).toEqual([false, true, false])
    expect(imported.changesSince(7)).toEqual([])
  })

  it('forget what was removed when it is much, by number or length, and then say so', () => {
    for (const [count, jid] of [
      [101, (n: number) => `${n}@b`],
      [4, (n: number) => `${n}${'x'.repeat(2999)}@b`],
    ] as const) {
      const roster = with5()
      const { version } = roster
      for (let n = 10; n < 10 + count; n++) {
        roster.setContact(jid(n), { item: item(jid(n)) })
        remove(roster, jid(n))
        expect(roster.encode()!.removed!.length).toBeLessThanOrEqual(100)
      }
      expect(roster.knowsSince(version)).toBe(false)
      expect(JSON.stringify(roster.encode()!.removed).length).toBeLessThan(12_000)
      expect(roster.knowsSince(roster.version)).toBe(true)
    }
  })

  it('an item that comes back was not removed', () => {
    const roster = with5()
    const { version } = roster
    remove(roster, '3@b')
    roster.setContact('3@b', { item: item('3@b') })
    roster.itemChanged('3@b')
    expect(roster.changesSince(version)).toMatchObject([{ jid: '3@b', item: { jid: '3@b' } }])
  })

  it('of what was taken over: who is subscribed does not ask', () => {
    const request = { inner: '', count: 0, payloadName: '', payloadNs: '' }
    const roster = Roster.decode({
      items: [{ jid: 'a@b', subscription: 'from' }],
      requests: [
        { from: 'a@b', ...request },
        { from: 'c@d', ...request },
      ],
    })
    expect([...roster.requests.keys()]).toEqual(['c@d'])
  })
})

describe('changes', () => {
  it('are in the store, and in memory for as long as the account is connected', async () => {
    expect(await put('juliet', 'a@b')).toBe(true)
    expect(rosters.kept('juliet')).toBeUndefined()
    bind('juliet', 'x')
    expect([...(await rosters.read('juliet')).items.keys()]).toEqual(['a@b'])
    await put('juliet', 'c@d')
    expect([...rosters.kept('juliet')!.items.keys()]).toEqual(['a@b', 'c@d'])
    accounts.clear()
    rosters.drop('juliet')
    expect(rosters.kept('juliet')).toBeUndefined()
    expect((await store.get('juliet'))?.items.map(({ jid }) => jid)).toEqual(['a@b', 'c@d'])
  })

  it('made while an account logs in are not lost', async () => {
    const done = [put('juliet', 'a@b'), put('juliet', 'c@d')]
    bind('juliet', 'x')
    const read = rosters.read('juliet')
    done.push(put('juliet', 'e@f'))
    expect([...(await read).items.keys()]).toEqual(['a@b', 'c@d'])
    await Promise.all(done)
    expect([...rosters.kept('juliet')!.items.keys()]).toEqual(['a@b', 'c@d', 'e@f'])
  })

  it('of one roster happen one after the other', async () => {
    const seen: string[] = []
    const rename = (name: string) =>
      rosters.change('juliet', 'a@b', {
        edit: () => ({ item: item('a@b', { name }) }),
        changed: (before) => seen.push(`${before.item?.name} ${name}`),
      })
    await Promise.all([rename('1'), rename('2'), rename('3')])
    expect(seen).toEqual(['undefined 1', '1 2', '2 3'])
  })

  it('wait for no others, and others for them: what comes after is run after', async () => {
    const seen: string[] = []
    const change = put('juliet', 'a@b').then(() => seen.push('changed'))
    const after = rosters.after('juliet', () => seen.push('after'))
    expect(rosters.after('romeo', () => seen.push('other'))).toBeUndefined()
    await Promise.all([change, after])
    expect(seen).toEqual(['other', 'changed', 'after'])
    expect(rosters.after('juliet', () => seen.push('at once'))).toBeUndefined()
  })

  it('between two accounts are made one at a time, whoever of them makes them', async () => {
    const seen: string[] = []
    const work = (name: string) => async () => {
      seen.push(`${name} begins`)
      await put('juliet', `${name}@b`)
      seen.push(`${name} ends`)
    }
    const first = rosters.between('juliet', 'romeo@capulet.lit', work('1'))
    const second = rosters.between('romeo', 'juliet@capulet.lit', work('2'))
    const other = rosters.between('juliet', 'nurse@capulet.lit', work('3'))
    expect(seen).toEqual(['1 begins', '3 begins'])
    await Promise.all([first, second, other])
    expect(seen.indexOf('2 begins')).toBeGreaterThan(seen.indexOf('1 ends'))
  })

  it('are told of before they are written, for accounts that there are not as well', async () => {
    for (const username of ['juliet', 'nobody']) {
      const decided: (Contact | undefined)[] = []
      const changed = await rosters.change(username, 'a@b', {
        edit: () => ({ item: item('a@b') }),
        decided: (_before, after) => decided.push(after),
      })
      expect(decided).toEqual([{ item: item('a@b') }])
      expect(changed).toBe(username === 'juliet')
    }
    expect(await store.get('nobody')).toBeUndefined()
  })

  it('that are none write nothing', async () => {
    let writes = 0
    const update = store.update
    store.update = (user, change) => {
      writes++
      return update(user, change)
    }
    expect(await rosters.change('juliet', 'a@b', { edit: () => undefined })).toBe(false)
    expect(writes).toBe(0)
  })

  it('that fail change nothing, and the next one works', async () => {
    bind('juliet', 'x')
    await put('juliet', 'a@b')
    const update = store.update
    store.update = async () => {
      throw new Error('disk full')
    }
    await expect(put('juliet', 'c@d')).rejects.toThrow('disk full')
    expect([...rosters.kept('juliet')!.items.keys()]).toEqual(['a@b'])
    store.update = update
    expect(await put('juliet', 'c@d')).toBe(true)
  })

  it('that are made though their write fails count, also if the store can not be read then', async () => {
    bind('juliet', 'x')
    const { get, update } = store
    for (const isRead of [true, false]) {
      await put('juliet', 'a@b', { subscription: 'both' })
      store.update = async (user, change) => {
        await update(user, change)
        if (!isRead) store.get = () => Promise.reject(new Error('no answer'))
        throw new Error('no answer')
      }
      const removed = rosters.change('juliet', 'a@b', { edit: () => ({}) })
      await expect(removed).rejects.toThrow('no answer')
      expect(rosters.kept('juliet')?.items.size).toBe(isRead ? 0 : undefined)
      Object.assign(store, { get, update })
      expect((await rosters.read('juliet')).items.size).toBe(0)
    }
  })

  it('that are refused for what is stored show that from then on', async () => {
    bind('juliet', 'x')
    const full = () => {
      throw new StanzaError('resource-constraint', 'full')
    }
    for (const refuse of [() => undefined, full]) {
      await put('juliet', 'a@b', { subscription: 'both' })
      await store.set('juliet', undefined)
      const change = rosters.change('juliet', 'a@b', {
        edit: ({ item }) => (item === undefined ? refuse() : {}),
      })
      expect(await change.catch(({ message }) => message)).toBe(refuse === full ? 'full' : false)
      expect(rosters.kept('juliet')!.items.size).toBe(0)
    }
  })
})

describe('limits', () => {
  it('of items', async () => {
    for (const jid of ['a@b', 'c@d', 'e@f']) await put('juliet', jid)
    await expect(put('juliet', 'g@h')).rejects.toMatchObject({ condition: 'resource-constraint' })
    expect(await put('juliet', 'a@b', { name: 'again' })).toBe(true)
  })

  it('of their length; what is there can still change its state or be made shorter', async () => {
    const groups = [...'123456789'].map((digit) => digit.repeat(50))
    await expect(put('juliet', 'a@b', { groups })).rejects.toMatchObject({ condition: 'resource-constraint' })
    expect(await put('juliet', 'a@b', { groups: groups.slice(0, 7) })).toBe(true)
    await expect(put('juliet', 'c@d', { groups })).rejects.toMatchObject({ condition: 'resource-constraint' })
    expect(await put('juliet', 'a@b', { groups: groups.slice(0, 1) })).toBe(true)
  })

  it('of requests: one too many is passed over, and its sender does not learn of it', async () => {
    const request = { inner: '', count: 0, payloadName: '', payloadNs: '' }
    const ask = (jid: string) =>
      rosters.change('juliet', jid, { edit: (contact) => ({ ...contact, request }) })
    expect([await ask('a@b'), await ask('c@d'), await ask('e@f')]).toEqual([true, true, false])
    expect([...(await rosters.read('juliet')).requests.keys()]).toEqual(['a@b', 'c@d'])
  })
})

describe('pushes', () => {
  it('go to the resources that have asked for the roster', async () => {
    const [asked, other] = [bind('juliet', 'x'), bind('juliet', 'y')]
    other.interested = false
    await put('juliet', 'a@b', { name: '<A>', groups: ['g'], ask: true })
    rosters.push('juliet', 'a@b')
    rosters.push('juliet', 'gone@b')
    rosters.push('romeo', 'a@b')
    expect(other.sent).toEqual([])
    const [changed, removed] = asked.sent
    expect(changed?.attrs).toMatchObject({
      type: 'set',
      from: 'juliet@capulet.lit',
      to: 'juliet@capulet.lit/x',
    })
    const child = changed?.getChild('query', 'jabber:iq:roster')?.getChild('item')
    expect(child?.attrs).toEqual({ jid: 'a@b', subscription: 'none', ask: 'subscribe', name: '<A>' })
    expect(child?.getChildText('group')).toBe('g')
    const gone = removed?.getChild('query')?.getChild('item')
    expect(gone?.attrs).toEqual({ jid: 'gone@b', subscription: 'remove' })
  })
})
