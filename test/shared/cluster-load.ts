/** Members of a cluster that send each other numbered messages, and the account of them. */

import { expect } from 'vitest'
import type { TestMember } from './cluster-member.ts'

const EVERY_MS = 2

/** Sends all the time, from each to each, until it is told to stop. */
export class ClusterLoad {
  private readonly members: readonly TestMember[]
  private readonly timer: NodeJS.Timeout
  private sent = 0
  private changed = 0

  constructor(members: readonly TestMember[]) {
    this.members = members
    this.timer = setInterval(() => this.send(), EVERY_MS)
  }

  /** How many messages each has sent to each. */
  get count(): number {
    return this.sent
  }

  /** Waits until a number of messages more has come from each to each. */
  async more(count = 20): Promise<void> {
    const wanted = this.sent + count
    await Promise.all(
      this.members.map((member) =>
        member.until(`${count} more are here`, () =>
          this.othersOf(member).every(({ name }) => member.count('received', name) >= wanted),
        ),
      ),
    )
  }

  /** Stops; everything that was sent has arrived once and in order, nobody was taken for dead, all entries are known. */
  async settle(): Promise<void> {
    clearInterval(this.timer)
    const texts = Array.from({ length: this.sent }, (_, i) => `${i}`)
    for (const member of this.members) {
      const others = this.othersOf(member)
      await member.until('all are here', () =>
        others.every(({ name }) => member.count('received', name) >= this.sent),
      )
      await member.until('all entries are here', () =>
        others.every(({ name }) => member.held.get(name)?.get('n') === `${this.changed}`),
      )
      for (const { name } of others) {
        const got = member.of('received').filter(([from]) => from === name)
        expect(got.map(([, text]) => text)).toEqual(texts)
        // Nothing that it holds was ever said to be gone, or to be what it had been before.
        const values = member.of('changed').filter(([from, key]) => from === name && key === 'n')
        const numbers = values.map(([, , value]) => Number(value))
        expect(numbers).toEqual([...numbers].sort((x, y) => x - y))
      }
      expect([member.of('left'), member.of('lost'), member.of('expelled')]).toEqual([[], [], []])
      expect(member.of('joined').length).toBe(new Set(member.of('joined').map(([name]) => name)).size)
    }
  }

  stop(): void {
    clearInterval(this.timer)
  }

  private send(): void {
    const text = `${this.sent++}`
    for (const from of this.members) {
      if (this.sent % 5 === 0) from.bus.publish('n', `${this.changed + 1}`)
      for (const { name } of this.othersOf(from)) from.send(from.idOf(name), text)
    }
    if (this.sent % 5 === 0) this.changed++
  }

  private othersOf(member: TestMember): TestMember[] {
    return this.members.filter((one) => one !== member)
  }
}
