/** Accounts: what is kept, and what nobody may find out. */

import { describe, expect, it, vi } from 'vitest'
import { type AccountRecord, preparePassword, Users } from '../../server/auth/users.ts'
import { WorkLimit } from '../../server/auth/work-limit.ts'
import { type KeyvalStore, openStorage } from '../../server/storage/index.ts'

const ITERATIONS = 4096

function setup() {
  const storage = openStorage('memory', { path: '' })
  const store = storage.openKeyval<AccountRecord>('capulet.lit', 'accounts')
  return { store, users: new Users(store, { iterations: ITERATIONS }) }
}

async function list(users: Users): Promise<string[]> {
  const names: string[] = []
  for await (const name of users.list()) names.push(name)
  return names.sort()
}

describe('users', () => {
  it('creates, checks, changes and deletes', async () => {
    const { users } = setup()
    expect(await users.exists('juliet')).toBe(false)
    await users.create('juliet', 'r0m30')
    await users.create('romeo', 'x')
    expect(await users.exists('juliet')).toBe(true)
    expect(await list(users)).toEqual(['juliet', 'romeo'])
    expect(await users.verifyPassword('juliet', 'r0m30')).toBe(true)
    expect(await users.verifyPassword('juliet', 'R0m30')).toBe(false)
    expect(await users.verifyPassword('juliet', '')).toBe(false)
    expect(await users.verifyPassword('romeo', 'r0m30')).toBe(false)
    await users.setPassword('juliet', 'new')
    expect(await users.verifyPassword('juliet', 'r0m30')).toBe(false)
    expect(await users.verifyPassword('juliet', 'new')).toBe(true)
    await users.delete('juliet')
    expect(await users.exists('juliet')).toBe(false)
    expect(await users.verifyPassword('juliet', 'new')).toBe(false)
    expect(await list(users)).toEqual(['romeo'])
  })

  it('who is disabled is there, and nobody can log in; only who knows the password learns of it', async () => {
    const { users } = setup()
    await users.create('juliet', 'r0m30')
    const disabled = { reason: 'ibr', when: 1, until: 2 } as const
    // Once with the password remembered, once without.
    for (const known of [await users.verifyPassword('juliet', 'r0m30'), false]) {
      if (!known) await users.setPassword('juliet', 'r0m30')
      await users.disable('juliet', disabled)
      expect(await users.verifyPassword('juliet', 'r0m30')).toBe(false)
      expect(await users.checkPassword('juliet', 'r0m30')).toBe('disabled')
      expect(await users.checkPassword('juliet', 'x')).toBe('wrong')
      expect(await users.keysFor('juliet', 'SHA-256')).toMatchObject({ disabled: true })
    }
    expect((await users.read('juliet'))!.disabled).toEqual(disabled)
    await expect(users.create('juliet', 'x')).rejects.toMatchObject({ code: 'exists' })
    await users.disable('juliet', undefined)
    expect(await users.verifyPassword('juliet', 'r0m30')).toBe(true)
    expect(await users.keysFor('juliet', 'SHA-256')).not.toHaveProperty('disabled')
    await expect(users.disable('romeo', disabled)).rejects.toMatchObject({ code: 'not-found' })
  })

  it('a password that is changed, or an account that is deleted, while one is looked at, lets nobody in', async () => {
    const { users } = setup()
    await users.create('juliet', 'r0m30')
    await users.create('romeo', 'x')
    const checks = [users.verifyPassword('juliet', 'r0m30'), users.verifyPassword('romeo', 'x')]
    await users.delete('romeo')
    expect(await checks[1]).toBe(false)
    expect(await checks[0]).toBe(true)
  })

  it('fails with a code', async () => {
    const { users } = setup()
    await users.create('juliet', 'r0m30')
    await expect(users.create('juliet', 'other')).rejects.toMatchObject({ name: 'UserError', code: 'exists' })
    await expect(users.create('', 'x')).rejects.toMatchObject({ code: 'bad-username' })
    await expect(users.setPassword('nobody', 'x')).rejects.toMatchObject({ code: 'not-found' })
    await expect(users.delete('nobody')).rejects.toMatchObject({ code: 'not-found' })
    for (const password of ['', '\u{ad}', 'a\0', 'a\u{1ab0}', 'x'.repeat(1024), 'é'.repeat(512)]) {
      await expect(users.create('romeo', password)).rejects.toMatchObject({ code: 'bad-password' })
      await expect(users.setPassword('juliet', password)).rejects.toMatchObject({ code: 'bad-password' })
    }
    expect(await users.exists('romeo')).toBe(false)
    expect(await users.verifyPassword('juliet', 'r0m30')).toBe(true)
  })

  it('keeps no password, a salt for each hash, and the times', async () => {
    const { users, store } = setup()
    vi.useFakeTimers({ now: 1_000_000_900, toFake: ['Date'] })
    try {
      await users.create('juliet', 'r0m30')
      const record = await store.get('juliet')
      expect(record).toMatchObject({ created: 1_000_000, updated: 1_000_000 })
      expect(record?.['SCRAM-SHA-1'].salt).not.toBe(record?.['SCRAM-SHA-256'].salt)
      expect(Buffer.from(record?.['SCRAM-SHA-1'].storedKey ?? '', 'base64')).toHaveLength(20)
      expect(Buffer.from(record?.['SCRAM-SHA-256'].serverKey ?? '', 'base64')).toHaveLength(32)
      expect(JSON.stringify(record)).not.toContain('r0m30')
      vi.setSystemTime(2_000_000_000)
      await users.setPassword('juliet', 'r0m30')
      const changed = await store.get('juliet')
      expect(changed).toMatchObject({ created: 1_000_000, updated: 2_000_000 })
      expect(changed?.['SCRAM-SHA-1'].salt).not.toBe(record?.['SCRAM-SHA-1'].salt)
    } finally {
      vi.useRealTimers()
    }
  })

  it('takes 10000 iterations if nothing is said, and no number that is too small', async () => {
    const { store } = setup()
    expect((await new Users(store).keysFor('nobody', 'SHA-1')).iterations).toBe(10_000)
    for (const iterations of [0, 4095, 4096.5, Number.NaN, 2 ** 31]) {
      expect(() => new Users(store, { iterations })).toThrow(RangeError)
    }
  })

  it('of several that create an account at the same time, one succeeds', async () => {
    const { store } = setup()
    const passwords = ['a', 'b', 'c', 'd']
    const results = await Promise.allSettled(
      passwords.map((password) => new Users(store, { iterations: ITERATIONS }).create('juliet', password)),
    )
    const winners = passwords.filter((_, i) => results[i]?.status === 'fulfilled')
    expect(winners).toHaveLength(1)
    expect(await new Users(store).verifyPassword('juliet', winners[0] ?? '')).toBe(true)
  })

  it('a password is prepared with SASLprep, when it is set and when it is checked', async () => {
    const { users } = setup()
    await users.create('juliet', 'cafe\u{301}\u{a0}\u{ad}IX')
    expect(await users.verifyPassword('juliet', 'caf\u{e9} \u{2168}')).toBe(true)
  })

  it('a password has a length limit that is checked before anything costly', () => {
    expect(preparePassword('x'.repeat(1023), 'stored')).toHaveLength(1023)
    expect(preparePassword('\u{ad}'.repeat(5000), 'query')).toBeUndefined()
    // One character that NFKC makes eighteen of.
    expect(preparePassword('\u{fdfa}'.repeat(100), 'query')).toBeUndefined()
  })
})

describe('an unknown user', () => {
  it('has keys like anybody, always the same, also after a restart', async () => {
    const { users, store } = setup()
    await users.create('juliet', 'r0m30')
    for (const hash of ['SHA-1', 'SHA-256'] as const) {
      const real = await users.keysFor('juliet', hash)
      const decoy = await users.keysFor('nobody', hash)
      expect(Object.keys(decoy).sort()).toEqual(Object.keys(real).sort())
      expect(decoy.iterations).toBe(real.iterations)
      for (const field of ['salt', 'storedKey', 'serverKey'] as const) {
        expect(decoy[field]).toHaveLength(real[field].length)
      }
      expect(await users.keysFor('nobody', hash)).toEqual(decoy)
      expect(await new Users(store, { iterations: ITERATIONS }).keysFor('nobody', hash)).toEqual(decoy)
      expect((await users.keysFor('nobody2', hash)).salt).not.toBe(decoy.salt)
    }
    const salts = await Promise.all(
      (['SHA-1', 'SHA-256'] as const).map((hash) => users.keysFor('nobody', hash)),
    )
    expect(salts[0]?.salt).not.toBe(salts[1]?.salt)
  })

  it('has other keys on another host', async () => {
    const [one, two] = [setup(), setup()]
    expect(await one.users.keysFor('nobody', 'SHA-1')).not.toEqual(await two.users.keysFor('nobody', 'SHA-1'))
  })

  it('is not listed, and neither is the secret that makes its keys', async () => {
    const { users, store } = setup()
    await users.keysFor('nobody', 'SHA-1')
    expect(await store.get(null)).toHaveProperty('decoySecret')
    expect(await list(users)).toEqual([])
  })

  it('gets one secret from two processes that begin at the same time', async () => {
    const { store } = setup()
    const keys = await Promise.all([1, 2, 3].map(() => new Users(store).keysFor('nobody', 'SHA-1')))
    expect(keys[1]).toEqual(keys[0])
    expect(keys[2]).toEqual(keys[0])
  })

  it('costs as much to check as a known one', async () => {
    const { users } = setup()
    await users.create('juliet', 'r0m30')
    const crypto = { known: 0, unknown: 0 }
    for (const [kind, name] of [
      ['known', 'juliet'],
      ['unknown', 'nobody'],
    ] as const) {
      const times: number[] = []
      for (let i = 0; i < 15; i++) {
        const start = process.hrtime.bigint()
        expect(await users.verifyPassword(name, 'wrong')).toBe(false)
        times.push(Number(process.hrtime.bigint() - start))
      }
      crypto[kind] = Math.min(...times)
    }
    // Without the derivation it would be some hundred times less.
    expect(crypto.unknown).toBeGreaterThan(crypto.known / 3)
    expect(crypto.known).toBeGreaterThan(crypto.unknown / 3)
  })
})

describe('a repeated login', () => {
  it('is cheap, until the password changes, here or in another process', async () => {
    const storage = openStorage('memory', { path: '' })
    const store = storage.openKeyval<AccountRecord>('capulet.lit', 'accounts')
    const users = new Users(store, { iterations: 300_000 })
    const other = new Users(store, { iterations: 300_000 })
    await users.create('juliet', 'r0m30')
    const time = async (password: string) => {
      const start = process.hrtime.bigint()
      const result = await users.verifyPassword('juliet', password)
      return { result, nanoseconds: Number(process.hrtime.bigint() - start) }
    }
    const first = await time('r0m30')
    const second = await time('r0m30')
    expect([first.result, second.result]).toEqual([true, true])
    expect(second.nanoseconds).toBeLessThan(first.nanoseconds / 5)
    expect((await time('wrong')).result).toBe(false)
    await other.setPassword('juliet', 'new')
    expect((await time('r0m30')).result).toBe(false)
    expect((await time('new')).result).toBe(true)
    await other.delete('juliet')
    expect((await time('new')).result).toBe(false)
  })
})

it('a store that fails makes every method fail, and works again afterwards', async () => {
  const { store } = setup()
  let broken = true
  const get: KeyvalStore<AccountRecord>['get'] = (user) =>
    broken ? Promise.reject(new Error('broken')) : store.get(user)
  const users = new Users({ ...store, get }, { iterations: ITERATIONS })
  await expect(users.create('juliet', 'r0m30')).rejects.toThrow('broken')
  await expect(users.verifyPassword('juliet', 'r0m30')).rejects.toThrow('broken')
  await expect(users.keysFor('juliet', 'SHA-1')).rejects.toThrow('broken')
  broken = false
  await users.create('juliet', 'r0m30')
  expect(await users.verifyPassword('juliet', 'r0m30')).toBe(true)
})

it('WorkLimit runs a few at a time, in order, and refuses too many', async () => {
  const limit = new WorkLimit(2, 3)
  const started: number[] = []
  const gates: (() => void)[] = []
  const all = Array.from({ length: 6 }, (_, i) =>
    limit.run(() => {
      started.push(i)
      return new Promise<number>((resolve, reject) =>
        gates.push(() => (i === 0 ? reject(new Error('0')) : resolve(i))),
      )
    }),
  )
  const settled = Promise.allSettled(all)
  await expect(all[5]).rejects.toMatchObject({ name: 'WorkLimitError' })
  expect(started).toEqual([0, 1])
  for (let i = 0; i < 5; i++) {
    await vi.waitFor(() => expect(gates.length).toBeGreaterThan(i))
    expect(started.length).toBeLessThanOrEqual(i + 2)
    gates[i]?.()
  }
  expect((await settled).map(({ status }) => status)).toEqual([
    'rejected',
    ...Array.from({ length: 4 }, () => 'fulfilled'),
    'rejected',
  ])
  expect(started).toEqual([0, 1, 2, 3, 4])
})
