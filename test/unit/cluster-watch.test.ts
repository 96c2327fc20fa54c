/** Who is taken for dead, by simulated clocks. */

import { describe, expect, it } from 'vitest'
import { BEAT, FENCE, Watch } from '../../server/cluster/watch.ts'

const LEASE = 8000
const EVERY = BEAT * LEASE

/** An observer that looks once every {@link EVERY}, at a member that beats until some time, as often. */
function observe(watch: Watch, from: number, to: number, lastBeat: number, late = 0): number | undefined {
  for (let now = from; now <= to; now += EVERY) {
    const beat = Math.floor((Math.min(now, lastBeat) + late) / EVERY)
    const dead = watch.saw(now, now + 1, new Map([['x', `${beat}`]]))
    if (dead.length > 0) return now
  }
  return undefined
}

describe('the watch', () => {
  it('takes a member for dead within the lease, and not before it has ceased to work', () => {
    for (let late = 0; late < EVERY; late += 100) {
      for (let killed = 30_000; killed < 30_000 + EVERY; killed += 100) {
        const lastBeat = Math.floor((killed + late) / EVERY) * EVERY - late
        const dead = observe(new Watch(LEASE), 0, 60_000, killed, late)!
        expect(dead - killed).toBeLessThanOrEqual(LEASE)
        expect(dead - lastBeat).toBeGreaterThan(FENCE * LEASE)
      }
    }
  })

  it('takes nobody for dead who lives', () => {
    expect(observe(new Watch(LEASE), 0, 100_000, Number.POSITIVE_INFINITY)).toBeUndefined()
  })

  it('begins anew after it could not see', () => {
    const watch = new Watch(LEASE)
    expect(observe(watch, 0, 20_000, 19_000)).toBeUndefined()
    // Redis was away for a minute: the others may need some time to come back.
    const dead = observe(watch, 80_000, 100_000, 19_000)!
    expect(dead - 80_000).toBeGreaterThan(LEASE)
    watch.lost()
    expect(observe(watch, dead + EVERY, dead + EVERY + 0.75 * LEASE, 19_000)).toBeUndefined()
  })
})
