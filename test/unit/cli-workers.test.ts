// What `legate` makes of several processes: pauses, outcomes, sums, and the words for them.

import { describe, expect, it } from 'vitest'
import type {
  CountedDelegation,
  MemberFigures,
  ReloadOutcome,
  ServerStatus,
} from '../../server/admin/answers.ts'
import { sumOfComponents, sumOfHosts } from '../../server/admin/cluster-sums.ts'
import { mergedDelegations } from '../../server/admin/merged-delegations.ts'
import { describeCluster } from '../../server/cli/cluster-status.ts'
import { RestartPause } from '../../server/cli/restart-pause.ts'
import { workerConfig } from '../../server/cli/worker-config.ts'
import { workersOutcome } from '../../server/cli/worker-reloads.ts'
import { configFromObject, coreOptions, readOption } from '../../server/config/index.ts'

const MINUTE = 60_000

describe('the pause before a worker is started again', () => {
  it('doubles up to half a minute, and is short again after a healthy minute', () => {
    const pause = new RestartPause()
    const pauses = Array.from({ length: 10 }, () => pause.next(MINUTE - 1))
    expect(pauses).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000])
    expect(pause.next(MINUTE)).toBe(100)
    expect(pause.next(0)).toBe(200)
  })
})

describe('a worker’s configuration', () => {
  it('is the same, but for the name in the cluster', () => {
    const config = configFromObject({
      cluster: { name: 'verona', redis: { url: 'redis://127.0.0.1:1' } },
      c2s_ports: [5222],
      virtualHosts: { 'capulet.lit': { max_resources: 3 } },
    })
    const own = workerConfig(config, 2)
    const { name, redis } = readOption(own, '*', 'cluster', coreOptions.cluster)!
    expect(name).toBe('verona/worker 2')
    expect(redis).toEqual(readOption(config, '*', 'cluster', coreOptions.cluster)!.redis)
    expect(own.get('*', 'c2s_ports')).toEqual([5222])
    expect(own.get('capulet.lit', 'max_resources')).toBe(3)
    expect(own.hosts).toEqual(config.hosts)
    expect(own.optionNames('*')).toEqual(config.optionNames('*'))
  })

  it('may have an empty table', () => {
    const config = configFromObject({ cluster: {}, virtualHosts: { 'capulet.lit': {} } })
    const own = workerConfig(config, 1)
    expect(readOption(own, '*', 'cluster', coreOptions.cluster)?.name).toMatch(/.\/worker 1$/)
  })
})

describe('a reload of several workers', () => {
  const outcome = (fields: Partial<ReloadOutcome> = {}): ReloadOutcome => ({
    taken: true,
    hosts: 1,
    problems: [],
    nextStart: [],
    logged: [],
    ...fields,
  })
  const warning = (message: string) => ({ severity: 'warning' as const, message })
  const logged = (text: string, time: number) => ({ time, level: 'warn' as const, text })

  it('tells once what all say, and what some say with their numbers', () => {
    const all = [
      outcome({ problems: [warning('old')], nextStart: ['log'], logged: [logged('all', 1)] }),
      outcome({
        problems: [warning('old')],
        nextStart: ['log'],
        logged: [logged('all', 2), logged('two', 3)],
      }),
      outcome({ nextStart: ['log'], logged: [logged('all', 4), logged('two', 5), logged('one', 6)] }),
    ]
    const told = workersOutcome(
      'a.cfg.lua',
      [warning('old')],
      all.map((one, index) => ({ worker: index + 1, outcome: one })),
    )
    expect(told).toMatchObject({ taken: true, config: 'a.cfg.lua', hosts: 1, nextStart: ['log'] })
    expect(told.problems).toEqual([warning('old')])
    expect(told.logged.map(({ text }) => text)).toEqual(['all', 'workers 2, 3: two', 'worker 3: one'])
  })

  it('is not taken if one worker has not', () => {
    const told = workersOutcome(
      undefined,
      [],
      [{ worker: 1, outcome: outcome() }, { worker: 2, failure: 'no answer' }, { worker: 3 }],
    )
    expect(told).toMatchObject({
      taken: false,
      problems: [{ severity: 'error', message: 'worker 2: no answer' }],
    })
  })
})

describe('delegations of several processes', () => {
  const figures = (fields: Partial<CountedDelegation>): CountedDelegation => ({
    host: 'capulet.lit',
    namespace: 'urn:x',
    manager: 'x.capulet.lit',
    connections: 0,
    pending: 0,
    forwarded: 0,
    answered: 0,
    failed: 0,
    refused: {},
    timedOut: 0,
    unavailable: 0,
    replyMs: {},
    ...fields,
  })

  it('are added up; quantiles are those of all replies', () => {
    const one = figures({
      connections: 2,
      connectedSince: 2000,
      forwarded: 5,
      pending: 1,
      refused: { 'F4-id': 1 },
      replyMs: { median: 1, p99: 1 },
      replyTimes: [[1, 3]],
    })
    const two = figures({
      connections: 2,
      connectedSince: 1000,
      forwarded: 7,
      refused: { 'F4-id': 1, 'F8-sender': 2 },
      replyMs: { median: 100, p99: 900 },
      replyTimes: [
        [1, 1],
        [100, 5],
        [900, 1],
      ],
    })
    expect(mergedDelegations([[one], [two, figures({ namespace: 'urn:y' })]])).toEqual([
      {
        ...figures({}),
        connections: 2,
        connectedSince: 1000,
        forwarded: 12,
        pending: 1,
        refused: { 'F4-id': 2, 'F8-sender': 2 },
        replyMs: { median: 100, p99: 900 },
      },
      figures({ namespace: 'urn:y' }),
    ])
  })

  it('of which only one has replies have its times, and without counts none', () => {
    const one = figures({ replyMs: { median: 1, p99: 2 } })
    expect(mergedDelegations([[one], [figures({})]])[0]!.replyMs).toEqual({ median: 1, p99: 2 })
    expect(mergedDelegations([[one], [one]])[0]!.replyMs).toEqual({})
  })
})

describe('the status of a cluster', () => {
  const NOW = 10_000_000
  const log = { warnings: 0, errors: 0, last: [], setup: [] }
  const memberFigures = (machine: string, bound: number, counted: number): MemberFigures => ({
    machine,
    status: {
      version: '1.0',
      process: 7,
      state: 'ready',
      startedAt: NOW - MINUTE,
      configuredAt: NOW,
      dataPath: '/data',
      node: 'v20',
      memory: { resident: 50e6, heap: 1e6 },
      busy: { now: 0.5, average: 0.1 },
      listening: [],
      hosts: [{ name: 'capulet.lit', bound, authenticated: 1, accounts: bound }],
      components: [
        { name: 'x.capulet.lit', external: true, connections: [{ since: NOW - MINUTE, address: '::1' }] },
      ],
      unauthenticated: 0,
      log: { ...log, last: [{ time: NOW, level: 'warn', text: 'both' }] },
    },
    countedAccounts: { 'capulet.lit': counted },
    redis: { connected: machine === 'a', silentFor: 5000, commands: 99 },
    storage: { state: 'away', awayFor: 61_000 },
    queues: [{ id: 'C', unacknowledged: 3, waitingBytes: 4096 }],
  })
  const all = [memberFigures('a', 2, 2), memberFigures('b', 3, 1)]
  const members = ['A', 'B', 'C'].map((id, index) => ({
    id,
    name: `worker ${index + 1}`,
    process: 7 + index,
    since: NOW - MINUTE,
    version: '1.0',
    known: { sessions: index, connections: 1 },
    figures: all[index],
  }))
  const told: ServerStatus = {
    ...all[0]!.status,
    supervisor: {
      process: 6,
      state: 'ready',
      startedAt: NOW - MINUTE,
      workers: [
        { number: 1, process: 7, state: 'ready', deaths: 2 },
        { number: 2, state: 'waiting', deaths: 1 },
      ],
      log: { ...log, last: [{ time: NOW, level: 'error', text: 'a worker has \u001b died' }] },
    },
  }
  const cluster = {
    self: 'A',
    members,
    hosts: sumOfHosts(all),
    components: sumOfComponents(all),
    unauthenticated: 2,
    delegations: [],
  }
  const lines = describeCluster(told, cluster, NOW)

  it.each([
    'Legate 1.0, 3 processes on 2 machines; asked was worker 1',
    'worker 1   7  a        1.0      1 min     ready             0           1   50 MB      50 %        10 %',
    'worker 3   9  -        1.0      1 min     no answer         2           1       -         -           -',
    'all                                                         3           3  100 MB',
    'worker 1  connected     away for 1 min        99       3   4 kB',
    'worker 2  away for 5 s  away for 1 min        99       3   4 kB',
    '  worker 2 to worker 3: 3 messages, 4 kB',
    '  worker 1: ready, has died 2 times',
    '  worker 2: is started again after a pause, has died 1 time',
    'capulet.lit                3         5              2',
    'x.capulet.lit  connected for 1 min, 2 connections, from ::1',
    '2 connections not logged in.',
  ])('tells: %s', (line) => expect(lines).toContain(line))

  it('tells once what both log, and who else has logged what', () => {
    expect(lines.slice(-2)).toEqual([
      expect.stringMatching(/ warning {2}both$/),
      expect.stringMatching(/ error {4}supervisor: a worker has \\u001b died$/),
    ])
  })
})
