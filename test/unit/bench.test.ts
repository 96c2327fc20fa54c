// The bench's own tools: figures, options, rounds, and the harness for its peers.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { launchersOn } from '../../bench/environment.ts'
import { Latencies } from '../../bench/load/latency.ts'
import type { Load } from '../../bench/load/requests.ts'
import { chooseScenarios, PEERS, readOptions, SCENARIOS } from '../../bench/options.ts'
import type { BenchPeer } from '../../bench/peers/peer.ts'
import { cpuSeconds, residentKilobytes } from '../../bench/process-figures.ts'
import { Progress } from '../../bench/progress.ts'
import { type Run, runRounds, serverGroups } from '../../bench/rounds.ts'
import { type Scenario, type Setup, spareAccounts, USUAL } from '../../bench/scenarios/scenario.ts'
import { summarize } from '../../bench/statistics.ts'
import { luaText } from '../shared/peers/prosody-config.ts'
import { freePorts } from '../shared/ports.ts'
import { requirePeer } from '../shared/require.ts'

describe('figures', () => {
  it('gives median and spread', () => {
    expect(summarize([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 })
    expect(summarize([4, 1, 2, 3])).toEqual({ median: 2.5, min: 1, max: 4 })
  })

  it('gives quantiles of reply times', () => {
    const latencies = new Latencies()
    expect(latencies.quantile(0.5)).toBe(0)
    for (let ms = 1; ms <= 100; ms++) latencies.add(ms - 0.005)
    expect(latencies.quantile(0.5)).toBeCloseTo(50, 1)
    expect(latencies.quantile(0.99)).toBeCloseTo(99, 1)
  })

  it('reads CPU time and memory of a process', () => {
    expect(cpuSeconds(process.pid)).toBeGreaterThan(0)
    expect(residentKilobytes(process.pid)).toBeGreaterThan(10_000)
  })

  it('tells what is done of a run, and that nothing is left at its end', () => {
    const progress = new Progress(['floor', 'legate'], ['idle'], 2)
    expect(progress.done('floor', 'idle')).toMatch(/^1\/4, /)
    progress.skipped('legate', 'idle')
    progress.skipped('legate', 'idle')
    expect(progress.done('floor', 'idle')).toBe('4/4, 0 s left')
  })
})

describe('options', () => {
  const names = (list?: string) => chooseScenarios(list).map(({ name }) => name)

  it('chooses scenarios by name, beginning and section, in their own order', () => {
    expect(names('message,delegated-iq-1')).toEqual(['delegated-iq-1', 'message'])
    expect(names('login-tls*')).toEqual([
      'login-tls-plain',
      'login-tls-plain-1',
      'login-tls-scram',
      'login-tls-scram-1',
    ])
    expect(names('memory')).toEqual(['idle', 'idle-pending', 'idle-tls', 'idle-pending-tls'])
    expect(names('soak')).toEqual(['soak'])
    expect(names()).toHaveLength(SCENARIOS.length - 1)
    expect(() => names('delegated')).toThrow('--scenario delegated: there is none')
  })

  it('has scenarios and peers of different names', () => {
    expect(new Set(SCENARIOS.map(({ name }) => name)).size).toBe(SCENARIOS.length)
    expect(new Set(SCENARIOS.map(({ title }) => title)).size).toBe(SCENARIOS.length)
    expect(PEERS.map(({ name }) => name)).toEqual(['floor', 'legate', 'prosody', 'ejabberd'])
  })

  it('names the option that is wrong', () => {
    expect(() => readOptions(['--rounds', '0'])).toThrow('--rounds 0: give a number above 0')
    expect(() => readOptions(['--ops', '1.5'])).toThrow('--ops 1.5: give a whole number')
    expect(() => readOptions(['--only', 'floor,x'])).toThrow('--only x: there is only floor, legate')
    expect(readOptions(['--seconds', '0.5', '--only', 'floor'])).toMatchObject({
      settings: { windowCpuSeconds: 0.5, operations: undefined },
      peers: [{ name: 'floor' }],
    })
  })
})

describe('rounds', () => {
  let directory: string
  let asked: string[]
  let running: string[]
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'legate-rounds-'))
    asked = []
    running = []
  })
  afterEach(() => rm(directory, { recursive: true }))

  const load: Load = {
    ask: async (request) => {
      asked.push(request)
      return null as never
    },
    stop: async () => {},
  }

  function peer(name: string, further: Partial<BenchPeer> = {}): BenchPeer {
    return {
      name,
      title: () => name.toUpperCase(),
      available: async () => undefined,
      async start() {
        asked.push(`start ${name}`)
        running.push(name)
        const stop = async () => {
          running.splice(running.indexOf(name), 1)
        }
        return { pid: process.pid, c2sPort: 0, componentPort: 0, log: () => `log of ${name}`, stop }
      },
      ...further,
    }
  }

  function scenario(name: string, setup: Partial<Setup>, measure?: Scenario['measure']): Scenario {
    const done = async () => {
      asked.push(name)
      return { value: 1, details: {} }
    }
    const common = { name, title: name, section: 'traffic', unit: 'µs', usual: true } as const
    return { ...common, setup: { ...USUAL, ...setup }, measure: measure ?? done }
  }

  async function run(peers: BenchPeer[], scenarios: Scenario[], rounds = 1) {
    const complaints: string[] = []
    const saved: number[] = []
    const plan: Run = {
      ...{ peers, scenarios, rounds, directory },
      settings: readOptions([]).settings,
      launchers: launchersOn([]),
      tls: { key: '', certificate: '' },
      progress: () => {},
      complain: (text) => complaints.push(text),
      save: async (cells) => {
        saved.push(cells.flatMap((cell) => cell.rounds).length)
      },
      startLoad: () => load,
    }
    return { ...(await runRounds(plan)), complaints, saved }
  }

  it('lets scenarios with the same setup share a server, and peers take turns', async () => {
    const scenarios = [
      scenario('a', {}),
      scenario('b', { tls: true }),
      scenario('c', {}),
      scenario('d', { fresh: true }),
      scenario('e', { fresh: true }),
    ]
    expect(serverGroups(scenarios).map((group) => group.map(({ name }) => name).join())).toEqual([
      'a,c',
      'b',
      'd',
      'e',
    ])
    const { saved } = await run([peer('p'), peer('q')], scenarios.slice(0, 3))
    const turn = (name: string) => [`start ${name}`, 'connect', 'a', 'c', `start ${name}`, 'connect', 'b']
    expect(asked).toEqual([...turn('p'), ...turn('q')])
    expect(saved).toEqual([3, 6])
    expect(running).toEqual([])
  })

  it('leaves out what a peer lacks, and says why', async () => {
    const { cells, complaints } = await run(
      [peer('p', { lacks: { a: 'it has no a' } })],
      [scenario('a', {}), scenario('b', {})],
    )
    expect(cells.map(({ rounds }) => rounds.length)).toEqual([0, 1])
    expect(complaints).toEqual(['skipped a of p: it has no a'])
  })

  it('goes on with another server after a failure, and does not try that again', async () => {
    let calls = 0
    const failing = scenario('b', {}, async () => {
      if (++calls === 2) throw new Error('it broke')
      return { value: 1, details: {} }
    })
    const { cells, failures, complaints } = await run(
      [peer('p')],
      [scenario('a', {}), failing, scenario('c', {})],
      3,
    )
    expect(calls).toBe(2)
    expect(cells.map(({ rounds }) => rounds.length)).toEqual([3, 0, 3])
    expect(failures).toEqual([{ peer: 'p', scenario: 'b' }])
    expect(complaints).toEqual(['P failed in b: it broke\nIts log ends with:\nlog of p'])
    expect(running).toEqual([])
  })

  it('gives up the whole group of a server that does not start', async () => {
    const start = async () => {
      throw new Error('no')
    }
    const scenarios = [scenario('a', {}), scenario('b', {})]
    const { failures, complaints } = await run([peer('p', { start }), peer('q')], scenarios, 2)
    expect(failures).toHaveLength(2)
    expect(complaints).toEqual(['P failed in a, b: no'])
    expect(asked.filter((what) => what === 'start q')).toHaveLength(2)
  })

  it('gives sessions beside the clients’ accounts enough', () => {
    expect([spareAccounts(0), spareAccounts(2000), spareAccounts(9990)]).toEqual([100, 100, 500])
  })
})

describe('peers', () => {
  it('writes Lua values', () => {
    expect(luaText({ a: ['x', 1, true], 'b"': 'l\n\\' })).toBe(
      '{ ["a"] = { "x", 1, true }, ["b\\034"] = "l\\010\\092" }',
    )
  })

  it('gives different free ports', async () => {
    expect(new Set(await freePorts(20)).size).toBe(20)
  })

  it('runs, skips, or fails where LEGATE_REQUIRE_PEERS=1', () => {
    expect(requirePeer('Prosody', undefined, {})).toEqual({ skip: false, fail: false, why: '' })
    expect(requirePeer('Prosody', 'not installed', {})).toMatchObject({
      skip: true,
      why: 'skipped: not installed',
    })
    const required = requirePeer('Prosody', 'not installed', { LEGATE_REQUIRE_PEERS: '1' })
    expect(required).toMatchObject({ skip: false, fail: true })
    expect(required.why).toContain('not installed')
  })
})
