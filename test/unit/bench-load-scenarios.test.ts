// Every scenario once, with few operations: against the floor, and against a Legate, both in this process.
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { launchersOn } from '../../bench/environment.ts'
import { startFloor } from '../../bench/floor/server.ts'
import { COMPONENT, HOST, SECRET } from '../../bench/load/stanzas.ts'
import { LoadWorker } from '../../bench/load/worker.ts'
import type { BenchPeer, BenchWork, RunningPeer } from '../../bench/peers/peer.ts'
import { tlsFiles } from '../../bench/peers/tls-files.ts'
import { runRounds } from '../../bench/rounds.ts'
import { SCENARIOS } from '../../bench/scenarios/index.ts'
import type { RunSettings, Scenario } from '../../bench/scenarios/scenario.ts'
import { startServer, USUAL_PLUGINS } from '../shared/server.ts'

const OPERATIONS = 20
const MOST_CLIENTS = 160
const MOST_BYSTANDERS = 30

const settings: RunSettings = {
  warmUpCpuSeconds: 0.001,
  windowCpuSeconds: 1,
  operations: OPERATIONS,
  sessions: 24,
  settleSeconds: 0.01,
  idleSeconds: 0.01,
  soakOperations: 10 * OPERATIONS,
}

/**
 * All of them, but with fewer sessions; without those that differ from others in nothing else, and those that need several
 * processes (bench-cluster.test.ts).
 */
const scenarios: readonly Scenario[] = SCENARIOS.filter(
  ({ setup }) => setup.clients <= MOST_CLIENTS && setup.cluster === undefined,
).map((scenario): Scenario => {
  const { setup } = scenario
  return { ...scenario, setup: { ...setup, bystanders: Math.min(setup.bystanders, MOST_BYSTANDERS) } }
})

const SECTIONS = [...new Set(scenarios.map(({ section }) => section))]

describe.each(SECTIONS)('the scenarios of %s', (section) => {
  const own = scenarios.filter((scenario) => scenario.section === section)

  it('are measured of the floor', async () => {
    // It keeps no archive.
    const possible = own.filter(({ setup }) => setup.archived === undefined)
    await measureAll(peer('floor', startFloorHere), possible)
  })

  it('are measured of Legate', async () => {
    await measureAll(peer('legate', startLegateHere), own)
  })
})

async function measureAll(one: BenchPeer, scenarios: readonly Scenario[]): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'legate-bench-'))
  const complaints: string[] = []
  try {
    const { cells } = await runRounds({
      ...{ peers: [one], scenarios, rounds: 1, settings, directory },
      launchers: launchersOn([]),
      tls: await tlsFiles(directory),
      progress: () => {},
      complain: (text) => complaints.push(text),
      save: async () => {},
      startLoad: () => new LoadWorker(),
    })
    expect(complaints).toEqual([])
    for (const { scenario, rounds } of cells) {
      expect(rounds.length, scenario).toBe(1)
      const { value, details } = rounds[0]!
      expect(value, scenario).not.toBeNaN()
      if (details['operations'] !== undefined) expect(details['operations'], scenario).toBe(OPERATIONS)
    }
  } finally {
    await rm(directory, { recursive: true })
  }
}

function peer(name: string, start: (work: BenchWork) => Promise<RunningPeer>): BenchPeer {
  return { name, title: () => name, available: async () => undefined, start }
}

async function startFloorHere({ tls }: BenchWork): Promise<RunningPeer> {
  const pem = { key: readFileSync(tls.key), cert: readFileSync(tls.certificate) }
  const floor = await startFloor({ c2sPort: 0, componentPort: 0, tls: pem })
  return { ...floor, pid: process.pid, log: () => '' }
}

async function startLegateHere({ accounts, namespaces, tls, archive }: BenchWork): Promise<RunningPeer> {
  const delegations = Object.fromEntries(namespaces.map((name) => [name, { jid: COMPONENT }]))
  const server = await startServer({
    ssl: tls,
    limits: {},
    modules_enabled: archive === true ? [...USUAL_PLUGINS, 'mam'] : USUAL_PLUGINS,
    virtualHosts: { [HOST]: { delegations } },
    components: { [COMPONENT]: { component_secret: SECRET, modules_enabled: ['delegation'] } },
  })
  await Promise.all(accounts.map(({ user }) => server.addUser(`${user}@${HOST}`)))
  const { c2sPort, componentPort } = server
  const log = () => server.log.filter((line) => !/ (debug|info) /.test(line)).join('\n')
  return { pid: process.pid, c2sPort, componentPort, log, stop: () => server.stop() }
}
