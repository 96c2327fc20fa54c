/** The timer wheel, by the fake clock. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { TimerWheel } from '../../server/timers.ts'

let wheel: TimerWheel
let failures: unknown[]

beforeEach(() => {
  vi.useFakeTimers()
  failures = []
  wheel = new TimerWheel((error) => failures.push(error))
})

afterEach(() => {
  wheel.stop()
  vi.useRealTimers()
})

/** Seconds after which it fires, to a quarter of a second. */
function firesAfter(seconds: number, most = seconds + 2): number | undefined {
  let fired = false
  wheel.after(seconds, () => {
    fired = true
  })
  for (let time = 0.25; time <= most; time += 0.25) {
    vi.advanceTimersByTime(250)
    if (fired) return time
  }
  return undefined
}

describe('after', () => {
  it.each([0, 0.1, 0.25, 0.3, 1, 30, 255.5, 255.75, 256, 256.25, 511.75, 512, 600, 3600])(
    '%d seconds: not before, and at most half a second later',
    (seconds) => {
      const time = firesAfter(seconds)!
      expect(time).toBeGreaterThanOrEqual(seconds)
      expect(time).toBeLessThanOrEqual(seconds + 0.75)
    },
  )

  it('fires once, wherever the wheel stands', () => {
    for (let turn = 0; turn < 30; turn++) {
      vi.advanceTimersByTime(turn * 9_750)
      const fire = vi.fn()
      wheel.after(256, fire)
      vi.advanceTimersByTime(255_500)
      expect(fire).not.toHaveBeenCalled()
      vi.advanceTimersByTime(1_000_000)
      expect(fire).toHaveBeenCalledTimes(1)
    }
  })

  it('something negative is as soon as can be', () => {
    expect(firesAfter(-5, 1)).toBeDefined()
  })

  it('Infinity is never; no number is a mistake', () => {
    const never = wheel.after(Number.POSITIVE_INFINITY, () => expect.unreachable())
    vi.advanceTimersByTime(1e7)
    never.cancel()
    expect(() => wheel.after(Number.NaN, () => {})).toThrow(RangeError)
  })

  it('keeps no process alive by itself', () => {
    vi.useRealTimers()
    const own = new TimerWheel(() => {})
    const unref = vi.spyOn(Object.getPrototypeOf(setInterval(() => {}, 1e6).unref()), 'unref')
    own.after(1, () => {})
    expect(unref).toHaveBeenCalled()
    own.stop()
    unref.mockRestore()
  })
})

describe('cancel', () => {
  it('takes it out, before, at and after its time', () => {
    const fire = vi.fn()
    wheel.after(1, fire).cancel()
    const second = wheel.after(1, fire)
    wheel.after(0.5, () => second.cancel())
    const third = wheel.after(1, () => {})
    vi.advanceTimersByTime(5000)
    third.cancel()
    expect(fire).not.toHaveBeenCalled()
  })

  it('works from within a callback of the same moment', () => {
    const fire = vi.fn()
    let second = { cancel() {} }
    wheel.after(1, () => second.cancel())
    second = wheel.after(1, fire)
    vi.advanceTimersByTime(5000)
    expect(fire).not.toHaveBeenCalled()
  })
})

describe('every', () => {
  it('fires again and again, until it is cancelled, also from within', () => {
    let count = 0
    const timeout = wheel.every(1, () => {
      if (++count === 3) timeout.cancel()
    })
    vi.advanceTimersByTime(20_000)
    expect(count).toBe(3)
  })

  it('goes on after a failure, which is told', () => {
    wheel.every(1, () => {
      throw new Error('no')
    })
    const fire = vi.fn()
    wheel.every(1, fire)
    vi.advanceTimersByTime(6_000)
    expect(failures.length).toBeGreaterThanOrEqual(3)
    expect(fire.mock.calls.length).toBe(failures.length)
  })
})

it('what a callback adds does not fire in the same turn', () => {
  const seen: number[] = []
  wheel.after(0, () => {
    seen.push(1)
    wheel.after(0, () => seen.push(2))
  })
  vi.advanceTimersByTime(250)
  expect(seen).toEqual([1])
  vi.advanceTimersByTime(1000)
  expect(seen).toEqual([1, 2])
})

it('stop forgets everything', () => {
  wheel.after(1, () => expect.unreachable())
  wheel.stop()
  vi.advanceTimersByTime(5000)
  expect(vi.getTimerCount()).toBe(0)
})

describe('many at once', () => {
  it('other events come between, and each still fires once, those that are cancelled not at all', async () => {
    vi.useRealTimers()
    const count = 2000
    let fired = 0
    const busy = (): void => {
      fired++
      const until = performance.now() + 0.05
      while (performance.now() < until);
    }
    const timeouts = Array.from({ length: count }, () => wheel.after(0.001, busy))
    let between = 0
    let cancelled = false
    while (fired < count - (cancelled ? 1 : 0)) {
      await new Promise((resolve) => setImmediate(resolve))
      if (fired === 0 || fired >= count - 1) continue
      between++
      if (!cancelled) timeouts.at(-1)!.cancel()
      cancelled = true
    }
    expect(between).toBeGreaterThan(3)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(fired).toBe(count - 1)
    expect(failures).toEqual([])
  })

  it('stopped in the middle, the rest does not fire', () => {
    const fire = vi.fn(() => wheel.stop())
    for (let count = 0; count < 3; count++) wheel.after(0.1, fire)
    vi.advanceTimersByTime(10_000)
    expect(fire).toHaveBeenCalledTimes(1)
  })
})
