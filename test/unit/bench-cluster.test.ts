// The bench of several processes over Redis: who is where, what is counted, and what the tables say of it.
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { launchersOn } from '../../bench/environment.ts'
import { Connection } from '../../bench/load/connection.ts'
import { inOrderOfWorkers } from '../../bench/load/placement.ts'
import { clientJid, operationId } from '../../bench/load/stanzas.ts'
import { TRAFFIC, type TrafficName } from '../../bench/load/traffic.ts'
import { LoadWorker } from '../../bench/load/worker.ts'
import { chooseScenarios, measurable, readOptions, SCENARIOS } from '../../bench/options.ts'
import { goalsOf } from '../../bench/output/goals.ts'
import { type BenchDocument, compare, DETAIL, dearer, printTables } from '../../bench/output/index.ts'
import { TEXT_WIDTH } from '../../bench/output/layout.ts'
import { sectionTables } from '../../bench/output/tables.ts'
import { legate } from '../../bench/peers/legate.ts'
import { workersIn } from '../../bench/peers/legate-cluster.ts'
import { redisMissing } from '../../bench/peers/redis.ts'
import { tlsFiles } from '../../bench/peers/tls-files.ts'
import { machineCpuSeconds, remotePortsOf } from '../../bench/process-figures.ts'
import { callsBetween, RedisFigures, readCalls } from '../../bench/redis-figures.ts'
import { runRounds } from '../../bench/rounds.ts'
import { CLUSTER_SCENARIOS, clusterMeasurement } from '../../bench/scenarios/cluster.ts'
import { describePeer } from '../shared/require.ts'
import { row, sampleDocument } from './bench-output-sample.ts'

describe('what is measured', () => {
  it('is named as a section, and left out with a line where there is no Redis', () => {
    const cluster = chooseScenarios('cluster')
    expect(cluster.map(({ name }) => name)).toEqual(CLUSTER_SCENARIOS.map(({ name }) => name))
    expect(cluster).toHaveLength(14)
    expect(measurable(SCENARIOS, undefined)).toEqual({ scenarios: [...SCENARIOS], skipped: [] })
    const without = measurable(SCENARIOS, 'no redis-server')
    expect(without.scenarios).toHaveLength(SCENARIOS.length - 14)
    expect(without.skipped).toEqual(['skipped the section cluster: no redis-server'])
  })

  it('has two processes where the single one is, and Redis where the load is', () => {
    const on = (list: string) => ['taskset', '-c', list]
    const free = { server: [], load: [], redis: [] }
    const first = { server: on('2'), load: on('3') }
    expect(launchersOn([2, 3])).toMatchObject({ ...first, redis: on('3'), two: free, unpinned: undefined })
    expect(launchersOn([2, 3, 5])).toMatchObject({
      ...{ ...first, redis: on('5') },
      two: { server: on('2,3'), load: on('5'), redis: on('5') },
    })
    expect(launchersOn([2, 3, 5, 6]).two).toEqual({ server: on('2,3'), load: on('5'), redis: on('6') })
    expect(launchersOn([2])).toMatchObject({ ...free, two: free, unpinned: expect.stringContaining('one') })
  })

  it('reads who the workers are', () => {
    const log = [2, 10, 1].map(
      (number) => `x info a worker has started worker=${number} process=4${number}\n`,
    )
    expect(workersIn(log.join(''))).toEqual([
      { name: 'worker 1', pid: 41 },
      { name: 'worker 2', pid: 42 },
      { name: 'worker 10', pid: 410 },
    ])
  })
})

describe('traffic between halves', () => {
  const jids = Array.from({ length: 20 }, (_, index) => clientJid(index))

  function receivers(name: TrafficName, senders: number): number[] {
    return Array.from({ length: senders }, (_, sender) => {
      const text = TRAFFIC[name].compose(jids, sender, operationId(sender, 0, 0))
      const receiver = jids.findIndex((jid) => text.includes(`to='${jid}'`))
      const reached = jids.flatMap((_, one) => (TRAFFIC[name].reaches(sender, one, jids.length) ? [one] : []))
      expect(reached).toEqual([receiver])
      return receiver
    })
  }

  it('goes from the first to the second', () => {
    expect(receivers('message-to-other-half', 10)).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19])
  })

  it('goes half within and half across, as much in both directions, to each from one', () => {
    for (const name of ['message-to-both-halves', 'large-message-to-both-halves'] as const) {
      const to = receivers(name, 20)
      expect([...to].sort((a, b) => a - b)).toEqual(jids.map((_, index) => index))
      const across = to.map((receiver, sender) => receiver < 10 !== sender < 10)
      expect(across.slice(0, 10).filter(Boolean)).toHaveLength(5)
      expect(across.slice(10).filter(Boolean)).toHaveLength(5)
    }
  })
})

describe('who is connected to which process', () => {
  it('finds the connections of a process, and wants as many with each', async () => {
    const server = createServer((socket) => socket.on('error', () => {}))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    const connection = await Connection.open(port, 'one')
    try {
      expect(remotePortsOf(process.pid).has(port)).toBe(true)
      const client = { jid: clientJid(0), connection }
      expect(inOrderOfWorkers([client], [])).toEqual([client])
      expect(inOrderOfWorkers([client], [process.pid])).toEqual([client])
      expect(() => inOrderOfWorkers([client, client], [process.ppid, process.ppid])).toThrow('spread evenly')
    } finally {
      connection.close()
      server.close()
    }
  })
})

const INFO = [
  '# Commandstats',
  'cmdstat_evalsha:calls=10,usec=5,usec_per_call=0.5,rejected_calls=0,failed_calls=0',
  'cmdstat_xread:calls=7,usec=1',
  'cmdstat_xadd:calls=30,usec=1',
  'cmdstat_client|setname:calls=2,usec=1',
  'cmdstat_info:calls=99,usec=1',
  '',
].join('\r\n')

describe('Redis’s commands', () => {
  it('tells what was sent from what scripts have run', () => {
    const calls = readCalls(INFO)
    expect(calls).toEqual({ sent: 19, run: 49 })
    expect(callsBetween({ sent: 10, run: 20 }, calls)).toEqual({ sent: 9, run: 29 })
  })

  /** A Redis that answers each question with these pieces. */
  async function redis(pieces: readonly string[], ask: (figures: RedisFigures) => Promise<void>) {
    const sockets: Socket[] = []
    const server = createServer((socket) => {
      sockets.push(socket)
      socket.setNoDelay(true).on('error', () => {})
      socket.on('data', async (chunk) => {
        const questions = chunk.toString().split('INFO').length - 1
        for (let question = 0; question < questions; question++) {
          for (const piece of pieces) await new Promise((done) => socket.write(piece, done))
        }
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const figures = await RedisFigures.open((server.address() as { port: number }).port)
    try {
      await ask(figures)
    } finally {
      figures.close()
      for (const socket of sockets) socket.destroy()
      server.close()
    }
  }

  it('are read in pieces, one answer after another', async () => {
    const answer = `$${INFO.length}\r\n${INFO}\r\n`
    await redis([answer.slice(0, 2), answer.slice(2, 50), answer.slice(50)], async (figures) => {
      const both = await Promise.all([figures.calls(), figures.calls()])
      expect(both).toEqual([readCalls(INFO), readCalls(INFO)])
    })
  })

  it('are no figures where Redis refuses', async () => {
    await redis(['-NOAUTH Authentication required.\r\n'], async (figures) => {
      await expect(figures.calls()).rejects.toThrow('NOAUTH')
      await expect(figures.calls()).rejects.toThrow('NOAUTH')
    })
  })
})

describe('a window', () => {
  const parts = [
    { name: 'A', pid: 1 },
    { name: 'B', pid: 2 },
  ]
  const result = {
    operations: 1000,
    wallSeconds: 2,
    serverCpuSeconds: 0.03,
    loadCpuSeconds: 0.5,
    machineCpuSeconds: 1,
    partCpuSeconds: [0.01, 0.02, 0.1],
    p50: 1,
    p99: 2,
  }

  it('gives CPU of all and of each, and commands without those of idle processes', () => {
    const { value, details } = clusterMeasurement(
      result,
      { parts },
      { sent: 504, run: 3020 },
      { sent: 2, run: 10 },
    )
    expect(value).toBeCloseTo(30)
    expect(details['A µs']).toBeCloseTo(10)
    expect(details['B µs']).toBeCloseTo(20)
    expect(details['Redis µs']).toBeCloseTo(100)
    expect(details[DETAIL.redisShare]).toBeCloseTo(5)
    expect(details[DETAIL.otherShare]).toBeCloseTo(18.5)
    expect(details[DETAIL.commands]).toBeCloseTo(0.5)
    expect(details[DETAIL.calls]).toBeCloseTo(3)
  })

  it('is not below nothing', () => {
    const { details } = clusterMeasurement(
      { ...result, machineCpuSeconds: 0 },
      { parts },
      { sent: 3, run: 3 },
      { sent: 2, run: 2 },
    )
    expect([details[DETAIL.commands], details[DETAIL.otherShare]]).toEqual([0, 0])
  })

  it('knows what the machine does', () => {
    const before = machineCpuSeconds()
    expect(before).toBeGreaterThan(0)
    expect(machineCpuSeconds()).toBeGreaterThanOrEqual(before)
  })
})

/** A run of one row of the section, of Legate alone. */
function documentOf(name: string, details: Record<string, number>, costs: readonly number[] = [12]) {
  const sample = { ...row('cluster', name, `the ${name}`, [undefined, costs[0]]), details: [{}, details] }
  const document: BenchDocument = sampleDocument({ samples: [sample], peers: ['legate'], rounds: 1 })
  document.cells[0]!.rounds = costs.map((value) => ({ value, details }))
  return document
}

describe('the table', () => {
  const details = {
    ...{ [DETAIL.p50]: 0.41, [DETAIL.rate]: 61_234.5, [DETAIL.commands]: 0.034, [DETAIL.serverShare]: 98.6 },
    ...{ [DETAIL.redisShare]: 12, [DETAIL.loadShare]: 30.2, [DETAIL.otherShare]: 0 },
  }

  it('has cost, reply time, throughput, commands and shares of CPU', () => {
    const [table] = sectionTables(documentOf('message-across', details, [12, 11, 13]))
    expect(table!.caption).toBe('Several processes, Legate: over Redis; % of one processor')
    expect(table!.rows[0]!.fields.map((field) => field.join(' '))).toEqual([
      ...['12.0 (11.0–13.0)', '0.41', '61,235', '0.034', '99 / 12 / 30 / 0'],
    ])
    const none = { ...details, [DETAIL.commands]: 0.0004 }
    expect(sectionTables(documentOf('message-within', none))[0]!.rows[0]!.fields[3]).toEqual(['0'])
    expect(sectionTables(documentOf('message-within', {}))[0]!.rows[0]!.fields.slice(1)).toEqual([
      ...[['–'], ['–'], ['–'], ['–']],
    ])
  })

  it('keeps to the terminal with titles as they are', () => {
    const samples = CLUSTER_SCENARIOS.map(({ name, title }) => ({
      ...row('cluster', name, title, [undefined, 1234.5]),
      details: [{}, details],
    }))
    const text = printTables(sampleDocument({ samples, peers: ['legate'] }))
    for (const line of text.split('\n').slice(0, -1))
      expect(line.length, line).toBeLessThanOrEqual(TEXT_WIDTH)
    // A line a row.
    expect(text).toMatch(/^message across, 16 in flight .* 61,235 /m)
  })
})

describe('goals and comparison', () => {
  const verdict = (name: string, details: Record<string, number>) =>
    goalsOf(documentOf(name, details)).map(({ goal, measured, met }) => `${goal}: ${measured} ${met}`)

  it('wants no commands within a process, not even within scripts', () => {
    expect(verdict('message-within', { [DETAIL.calls]: 0.0002, [DETAIL.commands]: 0 })).toEqual([
      'no Redis commands (< 0.01): 0.00020 true',
    ])
    expect(verdict('delegated-iq-within-1', { [DETAIL.calls]: 1.5, [DETAIL.commands]: 0 })).toEqual([
      'no Redis commands (< 0.01): 1.50 false',
    ])
  })

  it('wants less than a command for what goes across under load', () => {
    expect(verdict('delegated-iq-across', { [DETAIL.calls]: 6, [DETAIL.commands]: 0.2 })).toEqual([
      '< 1 Redis command: 0.20 true',
    ])
    expect(verdict('message-across', { [DETAIL.commands]: 1 })).toEqual(['< 1 Redis command: 1.00 false'])
    expect(verdict('message-across-1', { [DETAIL.commands]: 4 })).toEqual([])
    expect(verdict('message-across', {})).toEqual([])
  })

  it('tells what became dearer', () => {
    const [old, now] = [
      documentOf('message-across', {}, [10, 11]),
      documentOf('message-across', {}, [15, 16]),
    ]
    expect(dearer(old, now)).toEqual([
      'Legate, the message-across: 15.5 µs (15.0–16.0), was 10.5 µs (10.0–11.0): +48 %',
    ])
    expect(compare(old, old)).toContain('Within 5 % or the spread of the rounds: 1 of 1')
  })
})

describePeer('the scenarios of several processes', redisMissing() ?? (await legate.available()), () => {
  vi.setConfig({ testTimeout: 120_000 })

  it('are measured of Legate, and of no other peer', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'legate-bench-'))
    const complaints: string[] = []
    const { startCluster: _, ...single } = { ...legate, name: 'single' }
    try {
      const { cells } = await runRounds({
        ...{ peers: [legate, single], scenarios: CLUSTER_SCENARIOS, rounds: 1, directory },
        settings: {
          ...readOptions(['--ops', '200', '--warm-up', '0.001']).settings,
          ...{ settleSeconds: 0.01, idleSeconds: 1 },
        },
        launchers: launchersOn([]),
        tls: await tlsFiles(directory),
        progress: () => {},
        complain: (text) => complaints.push(text),
        save: async () => {},
        startLoad: () => new LoadWorker(),
      })
      expect(complaints).toEqual([])
      for (const { peer, scenario, rounds } of cells) {
        expect(rounds.length, `${scenario} of ${peer}`).toBe(peer === 'legate' ? 1 : 0)
        if (peer !== 'legate') continue
        const { value, details } = rounds[0]!
        expect(value, scenario).not.toBeNaN()
        expect(details['operations'], scenario).toBe(200)
        const commands = details[DETAIL.commands]!
        if (/-within|workers-1/.test(scenario)) expect(commands, scenario).toBeLessThan(0.2)
        // One at a time, nothing can be gathered.
        else if (/-across-1/.test(scenario)) expect(commands, scenario).toBeGreaterThan(1)
        else if (/-across/.test(scenario)) expect(commands, scenario).toBeGreaterThan(0)
      }
      const left = await readdir(join(directory, 'legate'))
      expect(left).toEqual([])
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})
