/** Who waits after wrong passwords, and for how long; with a clock of the test's own. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type LoginAttempt, LoginThrottle, networkOf } from '../../server/auth/login-throttle.ts'
import { TimerWheel } from '../../server/timers.ts'

const HERE = '192.0.2.1'
const ELSEWHERE = '198.51.100.7'
const EXEMPT = 'exempt'

let throttle: LoginThrottle
let timers: TimerWheel
let failed: unknown[]

beforeEach(() => {
  vi.useFakeTimers({
    toFake: ['Date', 'setInterval', 'clearInterval', 'setImmediate', 'clearImmediate', 'performance'],
  })
  failed = []
  timers = new TimerWheel((error) => failed.push(error))
  throttle = new LoginThrottle(timers)
})

afterEach(() => {
  timers.stop()
  vi.useRealTimers()
  expect(failed).toEqual([])
})

interface Login {
  readonly attempt: LoginAttempt
  /** Undefined while it waits. */
  admitted: boolean | undefined
  gone: boolean
}

function begin(username: string, from = HERE, longest = 16): Login {
  const address = from === EXEMPT ? undefined : from
  const login: Login = {
    attempt: throttle.begin({ address, host: 'capulet.lit', longest, isGone: () => login.gone }),
    admitted: undefined,
    gone: false,
  }
  const admitted = login.attempt.admit(username)
  if (admitted === undefined) login.admitted = true
  else void admitted.then((outcome) => (login.admitted = outcome))
  return login
}

/** Logins that are wrong at once, none of which may wait. */
function wrong(count: number, username: string | ((index: number) => string), address?: string): void {
  for (let index = 0; index < count; index++) {
    const login = begin(typeof username === 'string' ? username : username(index), address)
    expect(login.admitted).toBe(true)
    login.attempt.ended('wrong')
  }
}

const anybody = (index: number) => `user${index}`

/** Seconds until a login is let through, to the next half. */
async function secondsUntil(login: Login): Promise<number> {
  for (let steps = 0; steps < 200; steps++) {
    if (login.admitted !== undefined) return steps / 2
    await vi.advanceTimersByTimeAsync(500)
  }
  return Number.POSITIVE_INFINITY
}

describe('wrong passwords from an address', () => {
  it('are free at first, and then each doubles the time that the next login waits', async () => {
    wrong(10, anybody)
    const waits: number[] = []
    for (let index = 0; index < 7; index++) {
      const login = begin(`more${index}`)
      waits.push(await secondsUntil(login))
      login.attempt.ended('wrong')
    }
    for (const [index, at] of [0.5, 1, 2, 4, 8, 16, 16].entries()) {
      // The wheel turns in quarters of a second; something is forgotten meanwhile.
      expect(waits[index], `${waits}`).toBeGreaterThanOrEqual(at / 2)
      expect(waits[index], `${waits}`).toBeLessThanOrEqual(at + 1)
    }
  })

  it('make its logins come one by one, each after the outcome of the one before', async () => {
    wrong(10, anybody)
    const logins = ['a', 'b', 'c'].map((name) => begin(name))
    await vi.advanceTimersByTimeAsync(20_000)
    expect(logins.map(({ admitted }) => admitted)).toEqual([true, undefined, undefined])
    logins[0]!.attempt.ended('right')
    await vi.advanceTimersByTimeAsync(20_000)
    expect(logins.map(({ admitted }) => admitted)).toEqual([true, true, undefined])
    logins[1]!.attempt.ended('unknown')
    await vi.advanceTimersByTimeAsync(20_000)
    expect(logins[2]!.admitted).toBe(true)
  })

  it('do not concern other addresses', () => {
    wrong(10, anybody)
    expect(begin('juliet', ELSEWHERE).admitted).toBe(true)
    expect(begin('juliet').admitted).toBeUndefined()
  })

  it('of IPv6 are those of its /64', () => {
    wrong(10, anybody, '2001:db8:1:2::1')
    expect(begin('juliet', '2001:db8:1:2:ffff::9').admitted).toBeUndefined()
    expect(begin('juliet', '2001:db8:1:3::1').admitted).toBe(true)
  })

  it('many at once: some are looked at before the fifth outcome is known, then no more', async () => {
    const logins = Array.from({ length: 300 }, (_, index) => begin(`user${index}`))
    await vi.advanceTimersByTimeAsync(0)
    const first = logins.filter(({ admitted }) => admitted === true)
    expect(first).toHaveLength(64)
    for (const { attempt } of first) attempt.ended('wrong')
    await vi.advanceTimersByTimeAsync(60_000)
    expect(logins.filter(({ admitted }) => admitted === true)).toHaveLength(64 + 4)
  })

  it('right ones at once all get through without waiting for time', async () => {
    const logins = Array.from({ length: 1000 }, (_, index) => begin(`user${index}`))
    for (const login of logins) {
      await vi.advanceTimersByTimeAsync(0)
      expect(login.admitted).toBe(true)
      login.attempt.ended('right')
    }
  })

  it('beyond those that may wait are refused at once; those that have gone take no place', async () => {
    wrong(10, anybody)
    const waiting = Array.from({ length: 32 }, (_, index) => begin(`w${index}`))
    const refused = begin('juliet')
    await vi.advanceTimersByTimeAsync(0)
    expect(refused.admitted).toBe(false)
    for (const login of waiting) login.gone = true
    const next = begin('juliet')
    await vi.advanceTimersByTimeAsync(16_000)
    expect(next.admitted).toBe(true)
    expect(waiting.every(({ admitted }) => admitted === false)).toBe(true)
  })

  it('are forgotten', async () => {
    for (let index = 0; index < 10; index++) begin(`x${index}`, ELSEWHERE).attempt.ended('wrong')
    expect(begin('juliet', ELSEWHERE).admitted).toBeUndefined()
    await vi.advanceTimersByTimeAsync(11 * 60_000)
    expect(begin('paris', ELSEWHERE).admitted).toBe(true)
  })

  it('do not count where the address is exempt', () => {
    for (let index = 0; index < 50; index++) {
      const login = begin(`user${index}`, EXEMPT)
      login.attempt.ended('wrong')
    }
    expect(begin('juliet', EXEMPT).admitted).toBe(true)
  })
})

describe('wrong passwords for an account', () => {
  const from = (index: number) => `203.0.113.${index}`

  it('have each login to it wait a little, wherever it comes from, and not behind others', async () => {
    for (let index = 0; index < 20; index++) begin('juliet', from(index)).attempt.ended('wrong')
    for (let index = 0; index < 15; index++) {
      const login = begin('juliet', from(index))
      await secondsUntil(login)
      login.attempt.ended('wrong')
    }
    const attackers = Array.from({ length: 100 }, (_, index) => begin('juliet', from(100 + index)))
    const owner = begin('juliet', ELSEWHERE)
    expect(owner.admitted).toBeUndefined()
    expect(await secondsUntil(owner)).toBeLessThanOrEqual(5)
    expect(attackers).toHaveLength(100)
    expect(begin('romeo', ELSEWHERE).admitted).toBe(true)
  })

  it('do not concern who has logged in to it from there before', () => {
    const login = begin('juliet', ELSEWHERE)
    login.attempt.ended('right')
    for (let index = 0; index < 50; index++) begin('juliet', from(index)).attempt.ended('wrong')
    for (let index = 0; index < 20; index++) begin(`user${index}`, ELSEWHERE).attempt.ended('wrong')
    const again = begin('juliet', ELSEWHERE)
    expect(again.admitted).toBe(true)
    again.attempt.ended('right')
    // Until it was wrong several times itself.
    for (let index = 0; index < 5; index++) {
      const next = begin('juliet', ELSEWHERE)
      expect(next.admitted).toBe(true)
      next.attempt.ended('wrong')
    }
    expect(begin('juliet', ELSEWHERE).admitted).toBeUndefined()
  })

  it("one's own right password does not make wrong ones for others free", () => {
    for (let index = 0; index < 10; index++) {
      begin('tybalt').attempt.ended('right')
      begin(`victim${index}`).attempt.ended('wrong')
    }
    expect(begin('juliet').admitted).toBeUndefined()
    expect(begin('tybalt').admitted).toBe(true)
  })
})

it('what is remembered is bounded', () => {
  for (let index = 0; index < 30_000; index++) {
    begin(`user${index}`, `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`).attempt.ended(
      index % 2 === 0 ? 'wrong' : 'right',
    )
  }
  const tables = throttle as unknown as Record<string, { entries: Map<string, unknown> }>
  for (const name of ['places', 'accounts', 'known']) expect(tables[name]!.entries.size).toBe(10_000)
})

it.each([
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['2001:0db8:0000:0001:2:3:4:5', '2001:db8:0:1::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['1:2:3:4:5::', '1:2:3:4::/64'],
  ['1::2:3:4:5:6:7', '1:0:2:3::/64'],
  ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
  ['unknown', 'unknown'],
])('the network of %s is %s', (address, network) => {
  expect(networkOf(address)).toBe(network)
})
