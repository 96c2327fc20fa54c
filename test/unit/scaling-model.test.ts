// The model of docs/scaling.md: what is put together must be what the code writes, and grow as the document says.

import { describe, expect, it } from 'vitest'
import {
  allocated,
  packedNumber,
  packedString,
  powerOfTwo,
  protocolString,
  redisBuckets,
  redisHash,
  redisKey,
  redisSmallHash,
  redisString,
  v8Map,
  v8Slice,
  v8String,
} from '../../bench/scaling/allocation.ts'
import { type Assumptions, carry, TEN_MILLION, UNITS } from '../../bench/scaling/carry.ts'
import {
  acrossShare,
  boundBytes,
  broadcastCost,
  changeBytes,
  changeOnTheWire,
  delegatedCost,
  descriptionLength,
  directoryBytes,
  idleCommands,
  idleReads,
  loginCost,
  logoutCost,
  type Names,
  ownBytes,
  rosterLength,
  stanzaCost,
  stateBytes,
  storedBytes,
} from '../../bench/scaling/model.ts'
import { describeSession } from '../../server/cluster/directory.ts'

const NAMES: Names = {
  prefix: 'legate'.length,
  host: 'capulet.lit'.length,
  user: 6,
  resource: 'bench'.length,
}

describe('what things take', () => {
  it('jemalloc gives sizes of its classes', () => {
    expect([1, 8, 9, 16, 17, 24, 56, 128].map(allocated)).toEqual([8, 8, 16, 16, 32, 32, 64, 128])
    expect([129, 160, 161, 256, 257, 321, 1025, 4096].map(allocated)).toEqual([
      160, 160, 192, 256, 320, 384, 1280, 4096,
    ])
  })

  it('strings of Redis have a header that grows with them', () => {
    expect(redisString(6)).toBe(8)
    expect(redisString(31)).toBe(48)
    expect(redisString(43)).toBe(48)
    expect(redisString(300)).toBe(320)
  })

  it('tables have a power of two of buckets', () => {
    expect([0, 4, 5, 1024, 1025].map((count) => powerOfTwo(count, 4))).toEqual([4, 4, 8, 1024, 2048])
    expect(redisBuckets(1025)).toBe(16_384)
    expect(redisHash(1000, 3, 43)).toBe(16 + 64 + 8192 + 1000 * (32 + 8 + 48))
    expect(redisKey(40, 1024)).toBe(32 + 48 + 8)
    expect(v8Map(5)).toBe(40 + 28 * 8)
  })

  it('packed lists and the protocol count what is around a value', () => {
    expect(packedString(16)).toBe(18)
    expect(packedString(100)).toBe(103)
    expect([1, 200, 5000, 40_000, 1e7, 1e10].map(packedNumber)).toEqual([2, 3, 4, 5, 6, 10])
    expect(redisSmallHash([5, 19])).toBe(16 + 48)
    expect(protocolString(16)).toBe(Buffer.byteLength(`$16\r\n${'x'.repeat(16)}\r\n`))
  })

  it('V8 copies short parts of strings, and refers to long ones', () => {
    expect(v8String(43)).toBe(64)
    expect(v8Slice(6)).toBe(24)
    expect(v8Slice(18)).toBe(32)
  })
})

describe('the model and the code', () => {
  it('a session is described as the directory reads it', () => {
    const text = describeSession('u00042@capulet.lit/bench', { sequence: 1234, since: 1_795_000_000 }, 0)
    expect(descriptionLength(NAMES, 1234)).toBe(text.length)
  })

  it('a stored roster is as long as it is written', () => {
    for (const contacts of [0, 1, 50]) {
      const items = Array.from({ length: contacts }, () => ({
        jid: 'u00042@capulet.lit',
        subscription: 'both',
      }))
      expect(rosterLength(contacts, NAMES)).toBe(JSON.stringify({ items, requests: [] }).length)
    }
  })

  it('a change is as long on the wire as Redis writes it', () => {
    const sessions = 1000
    const fields = ['i', 'a'.repeat(16), 't', 'c', 's', '1000', 'k', '', 'n', '1', 'sdw']
    fields.push('x'.repeat(descriptionLength(NAMES, sessions)))
    const strings = ['1700000000000000-0'].map((text) => `$${text.length}\r\n${text}\r\n`)
    const list = fields.map((text) => `$${text.length}\r\n${text}\r\n`).join('')
    const text = `*2\r\n${strings.join('')}*${fields.length}\r\n${list}`
    expect(changeOnTheWire({ processes: 2, sessions, contacts: 0 }, NAMES)).toBe(text.length)
  })
})

describe('what grows with what', () => {
  const size = { processes: 4, sessions: 10_000, contacts: 50 }

  it('Redis: with accounts and their contacts, and with sessions', () => {
    const stored = (accounts: number, contacts: number) => storedBytes(accounts, contacts, 330, NAMES)
    expect(stored(10_000, 100) - stored(10_000, 50)).toBeGreaterThan(10_000 * 50 * 50)
    const twice = { ...size, sessions: 20_000 }
    expect(stateBytes(twice, NAMES) / stateBytes(size, NAMES)).toBeCloseTo(2, 1)
    expect(boundBytes(twice, NAMES) / boundBytes(size, NAMES)).toBeCloseTo(2, 1)
    expect(boundBytes({ ...size, processes: 8 }, NAMES)).toBeCloseTo(boundBytes(size, NAMES), -5)
    expect(changeBytes(size, NAMES)).toBeGreaterThan(descriptionLength(NAMES, 10_000))
  })

  it('every process: with all sessions, whosever they are', () => {
    const one = directoryBytes(10_000, 3, 13_333, NAMES)
    expect(directoryBytes(40_000, 3, 53_333, NAMES) / one).toBeCloseTo(4, 0)
    expect(one / 10_000).toBeGreaterThan(500)
    expect(ownBytes(100, 60, NAMES)).toBeGreaterThan(ownBytes(100, 50, NAMES))
  })

  it('commands: idle, with processes; of what happens alone, with processes and not with contacts', () => {
    expect(idleCommands(3, 10)).toBe(3)
    expect(idleReads(4, 10_000)).toBe(80)
    expect(idleReads(4, 100)).toBe(10)
    for (const cost of [loginCost, logoutCost, broadcastCost]) {
      expect(cost({ ...size, contacts: 100 }).commands).toBe(cost(size).commands)
      expect(cost({ ...size, processes: 5 }).commands).toBeGreaterThan(cost(size).commands)
    }
    expect([2, 3, 4].map((processes) => loginCost({ ...size, processes }).commands)).toEqual([16, 23, 30])
    expect([2, 3, 4].map((processes) => logoutCost({ ...size, processes }).commands)).toEqual([8, 12, 16])
    expect([2, 3, 4].map((processes) => broadcastCost({ ...size, processes }).commands)).toEqual([4, 7, 10])
    expect(stanzaCost().commands).toBe(4)
    expect(delegatedCost().commands).toBe(4)
  })

  it('stanzas across: with contacts that are online, and with the share of other processes', () => {
    expect(acrossShare(4)).toBe(0.75)
    expect(broadcastCost(size).across).toBe(37.5)
    expect(broadcastCost(size, 0.2).across).toBeCloseTo(7.5)
    expect(loginCost(size).across).toBe(3 * 37.5)
  })
})

describe('carried on', () => {
  it('twice as many accounts need twice as much, and twice the directory in twice the processes', () => {
    const twice: Assumptions = { ...TEN_MILLION, accounts: 2 * TEN_MILLION.accounts }
    const [one, two] = [carry(TEN_MILLION, UNITS), carry(twice, UNITS)]
    expect(two.processes).toBe(2 * one.processes)
    expect(two.across / one.across).toBeCloseTo(2, 1)
    expect(two.directory / one.directory).toBeCloseTo(2, 0)
    expect(two.directories / one.directories).toBeCloseTo(4, 0)
    expect(two.changesToAll / one.changesToAll).toBeCloseTo(4, 0)
    // Fewer stanzas can share an entry.
    expect(two.forPair / one.forPair).toBeCloseTo(0.5, 1)
  })

  it('ten million accounts are more than one Redis can carry across, and less than the storage minds', () => {
    const needs = carry(TEN_MILLION, UNITS)
    expect(needs.sessions).toBe(2_000_000)
    expect(needs.redisAtWorst).toBeGreaterThan(1)
    expect(needs.looks).toBeLessThan(needs.reads)
  })
})
