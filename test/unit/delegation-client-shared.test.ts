/** Grants that several processes change at the same time: all end with the same, and so does the store (U5). */

import { describe, expect, it } from 'vitest'
import { Grants, type StoredGrants } from '../../plugins/delegation/client-grants.ts'
import type { GrantChange } from '../../plugins/delegation/client-marks.ts'
import { createLogger } from '../../server/log.ts'
import { openMemoryStorage } from '../../server/storage/memory.ts'

const HOST = 'capulet.lit'
const NS = 'urn:example:thing'
const NS2 = 'urn:example:other'
const PUBSUB = 'pubsub.capulet.lit'
const RIVAL = 'rival.capulet.lit'
const { logger } = createLogger([], { directory: '/' })

interface Told {
  readonly username: string
  readonly changes: GrantChange[]
}

/** A process, and what it has told the others that has not come there yet. */
function makeProcess(name: string): { grants: Grants; told: Told[] } {
  const grants = new Grants(logger, () => 30)
  const told: Told[] = []
  grants.share(name, (username, changes) => told.push({ username, changes }))
  return { grants, told }
}

/** Brings what one has told to the other. */
const bring = (from: { told: Told[] }, to: { grants: Grants }) =>
  from.told.splice(0).map(({ username, changes }) => to.grants.take(username, changes))

const contents = (grants: Grants, username = 'juliet') =>
  Object.fromEntries(
    grants.of(username).map(({ delegation }) => [delegation.namespace, delegation.jid] as const),
  )

describe('U5: grants of several processes', () => {
  it('different namespaces at the same time: both are there, everywhere', async () => {
    const [one, other] = [makeProcess('one'), makeProcess('other')]
    one.grants.put('juliet', NS, PUBSUB, 1)
    other.grants.put('juliet', NS2, RIVAL, 1)
    await Promise.all([one.grants.save('juliet'), other.grants.save('juliet')])
    bring(one, other)
    bring(other, one)
    for (const { grants } of [one, other]) expect(contents(grants)).toEqual({ [NS]: PUBSUB, [NS2]: RIVAL })
  })

  it.each(['one', 'other'])(
    'a grant and a revocation of one namespace at the same time (%s is told first)',
    async (first) => {
      const [one, other] = [makeProcess('one'), makeProcess('other')]
      const store = openMemoryStorage().openKeyval<StoredGrants>(HOST, 'delegation_grants')
      one.grants.put('juliet', NS, PUBSUB, 1)
      await one.grants.save('juliet')
      bring(one, other)
      for (const { grants } of [one, other]) await grants.keepIn(store)
      expect(Object.keys((await store.get('juliet'))!)).toEqual([NS])
      one.grants.put('juliet', NS, RIVAL, 2)
      other.grants.remove('juliet', NS)
      await Promise.all([one.grants.save('juliet'), other.grants.save('juliet')])
      if (first === 'one') bring(other, one)
      bring(one, other)
      bring(other, one)
      expect(contents(one.grants)).toEqual(contents(other.grants))
      await new Promise((done) => setImmediate(done))
      const stored = Object.entries((await store.get('juliet')) ?? {}).map(([name, { jid }]) => [name, jid])
      expect(Object.fromEntries(stored)).toEqual(contents(one.grants))
    },
  )

  it('what is told twice, or late, changes nothing', async () => {
    const [one, other] = [makeProcess('one'), makeProcess('other')]
    one.grants.put('juliet', NS, PUBSUB, 1)
    await one.grants.save('juliet')
    const [old] = one.told
    bring(one, other)
    other.grants.remove('juliet', NS)
    await other.grants.save('juliet')
    expect(other.grants.take('juliet', old!.changes)).toEqual([])
    expect(contents(other.grants)).toEqual({})
    expect(bring(other, one)).toEqual([[NS]])
    expect(contents(one.grants)).toEqual({})
  })

  it('who comes later learns what is granted, and what is no longer, though the store still had it', async () => {
    const one = makeProcess('one')
    one.grants.put('juliet', NS, PUBSUB, 1)
    one.grants.put('juliet', NS2, PUBSUB, 1)
    one.grants.remove('juliet', NS)
    await one.grants.save('juliet')
    const late = makeProcess('late')
    const store = openMemoryStorage().openKeyval<StoredGrants>(HOST, 'delegation_grants')
    await store.set('juliet', { [NS]: { jid: PUBSUB, since: 1 }, [NS2]: { jid: PUBSUB, since: 1 } })
    await late.grants.keepIn(store)
    for (const username of one.grants.knownAccounts()) {
      expect(late.grants.take(username, one.grants.changesOf(username))).toEqual([NS])
    }
    expect(contents(late.grants)).toEqual({ [NS2]: PUBSUB })
  })

  it('a store that fails is written later', async () => {
    const grants = new Grants(logger, () => 30)
    const store = openMemoryStorage().openKeyval<StoredGrants>(HOST, 'delegation_grants')
    let away = false
    await grants.keepIn({
      ...store,
      update: (user, change) =>
        away ? Promise.reject(new Error('the storage is away')) : store.update(user, change),
    })
    away = true
    grants.put('juliet', NS, PUBSUB, 1)
    await expect(grants.save('juliet')).rejects.toThrow('away')
    away = false
    await grants.tidy()
    expect(await store.get('juliet')).toEqual({ [NS]: { jid: PUBSUB, since: 1 } })
  })
})
