// The rounds: in each, every peer in turn is started, measured in every scenario, and stopped.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Launchers } from './environment.ts'
import { LoadProcess } from './load/remote.ts'
import type { Load } from './load/requests.ts'
import { delegatedNamespaces, HOST, PASSWORD, spareName, userName } from './load/stanzas.ts'
import { type Cell, digits } from './output/index.ts'
import type { BenchPeer, BenchWork, RunningPeer } from './peers/peer.ts'
import { Progress } from './progress.ts'
import {
  type Measurement,
  type RunSettings,
  type Scenario,
  type Setup,
  spareAccounts,
} from './scenarios/scenario.ts'

/** What to run. */
export interface Run {
  peers: readonly BenchPeer[]
  scenarios: readonly Scenario[]
  rounds: number
  settings: RunSettings
  launchers: Launchers
  /** A folder for the peers' folders. */
  directory: string
  /** Key and certificate of the servers. */
  tls: BenchWork['tls']
  /** Told of each figure as it comes. */
  progress(line: string): void
  /** Told of what could not be measured, and why. */
  complain(text: string): void
  /** Called whenever a peer is through, with all cells as they are then. */
  save(cells: readonly Cell[]): Promise<void>
  /** Starts a load; a process of its own if left out. */
  startLoad?(): Load
}

/** What came out. */
export interface RunResult {
  cells: Cell[]
  /** Scenarios that failed, with whom they failed: they have no figures. */
  failures: { peer: string; scenario: string }[]
}

/**
 * Runs everything. Peers take turns within a round, so that what the machine does meanwhile meets them all.
 * What fails is told, and not tried again; the rest goes on.
 */
export async function runRounds(run: Run): Promise<RunResult> {
  return new Rounds(run).run()
}

/** Scenarios that share a server: those with the same setup, but those that want a fresh one each. */
export function serverGroups(scenarios: readonly Scenario[]): Scenario[][] {
  const groups: Scenario[][] = []
  for (const scenario of scenarios) {
    const { setup } = scenario
    const group = groups.find(([first]) => !setup.fresh && isDeepStrictEqual(first!.setup, setup))
    if (group === undefined) groups.push([scenario])
    else group.push(scenario)
  }
  return groups
}

/** Whether a scenario can be measured of a peer. */
function isFor({ name, setup }: Scenario, peer: BenchPeer): boolean {
  if (setup.cluster !== undefined && peer.startCluster === undefined) return false
  return peer.lacks?.[name] === undefined
}

class Rounds {
  private readonly plan: Run
  private readonly cells: Cell[]
  private readonly failures: RunResult['failures'] = []
  private readonly estimate: Progress

  constructor(run: Run) {
    this.plan = run
    this.cells = run.peers.flatMap((peer) =>
      run.scenarios.map((scenario) => ({ peer: peer.name, scenario: scenario.name, rounds: [] })),
    )
    this.estimate = new Progress(
      run.peers.map(({ name }) => name),
      run.scenarios.map(({ name }) => name),
      run.rounds,
    )
  }

  async run(): Promise<RunResult> {
    const { peers, scenarios, rounds } = this.plan
    for (const peer of peers) {
      for (const { name } of scenarios) {
        const reason = peer.lacks?.[name]
        if (reason !== undefined) this.plan.complain(`skipped ${name} of ${peer.name}: ${reason}`)
      }
    }
    for (let round = 1; round <= rounds; round++) {
      for (const peer of peers) {
        for (const group of serverGroups(scenarios)) await this.runGroup(round, peer, group)
        await this.plan.save(this.cells)
      }
    }
    return { cells: this.cells, failures: this.failures }
  }

  /** A server for these scenarios, and another one for the rest of them after one has failed. */
  private async runGroup(round: number, peer: BenchPeer, group: readonly Scenario[]): Promise<void> {
    const left = group.filter((scenario) => isFor(scenario, peer) && !this.hasFailed(peer, scenario.name))
    for (const one of group) if (!left.includes(one)) this.estimate.skipped(peer.name, one.name)
    while (left.length > 0) {
      const started: { server?: RunningPeer; load?: Load } = {}
      let current: Scenario | undefined
      try {
        await this.start(peer, left[0]!.setup, started)
        while (left.length > 0) {
          current = left[0]!
          const measurement = await current.measure(started.server!, started.load!, this.plan.settings)
          left.shift()
          this.measured(round, peer, current, measurement)
        }
      } catch (error) {
        // When there was no scenario yet, none of these can be measured.
        const failed = current === undefined ? left.splice(0) : left.splice(0, 1)
        this.failed(peer, failed, error, started.server)
      } finally {
        await started.load?.stop()
        await started.server?.stop()
      }
    }
  }

  private async start(
    peer: BenchPeer,
    setup: Setup,
    started: { server?: RunningPeer; load?: Load },
  ): Promise<void> {
    const { settings, launchers, tls } = this.plan
    const directory = join(this.plan.directory, peer.name)
    await mkdir(directory, { recursive: true })
    // Only clients with accounts of their own need no others.
    const clientsOnly = setup.clients > 0 && setup.bystanders === 0 && !setup.fresh
    const spare = clientsOnly ? 0 : spareAccounts(Math.max(setup.bystanders, settings.sessions))
    const users = [
      ...Array.from({ length: setup.clients }, (_, index) => userName(index)),
      ...Array.from({ length: spare }, (_, index) => spareName(index)),
    ]
    const form = setup.cluster
    const launch = form?.form === 'workers' ? launchers.two : launchers
    const work: BenchWork = {
      directory,
      accounts: users.map((user) => ({ user, host: HOST, password: PASSWORD })),
      namespaces: delegatedNamespaces(setup.namespaces),
      tls,
      passwords: setup.passwords,
      archive: setup.archived !== undefined,
      launcher: launch.server,
    }
    const server =
      form === undefined
        ? await peer.start(work)
        : await peer.startCluster!({ ...work, form, redisLauncher: launch.redis })
    started.server = server
    started.load = this.plan.startLoad?.() ?? new LoadProcess(launch.load)
    const { c2sPort, componentPort, cluster } = server
    const connect = { c2sPort, componentPort, setup, spareAccounts: spare }
    const spread = cluster && { c2sPorts: cluster.c2sPorts, workers: cluster.workers }
    await started.load.ask('connect', spread === undefined ? connect : { ...connect, spread })
  }

  private measured(round: number, peer: BenchPeer, scenario: Scenario, measurement: Measurement): void {
    this.cell(peer, scenario).rounds.push(measurement)
    const { rounds, progress } = this.plan
    const left = this.estimate.done(peer.name, scenario.name)
    const value = `${digits(measurement.value)} ${scenario.unit}`
    progress(`round ${round}/${rounds}  ${peer.name}  ${scenario.name}  ${value}  (${left})`)
  }

  private failed(
    peer: BenchPeer,
    scenarios: readonly Scenario[],
    error: unknown,
    server: RunningPeer | undefined,
  ): void {
    const reason = error instanceof Error ? error.message : String(error)
    const names = scenarios.map(({ name }) => name).join(', ')
    const log = server?.log().slice(-4000).trim() ?? ''
    const logged = log === '' ? '' : `\nIts log ends with:\n${log}`
    this.plan.complain(`${peer.title()} failed in ${names}: ${reason}${logged}`)
    for (const scenario of scenarios) {
      this.failures.push({ peer: peer.name, scenario: scenario.name })
      // A server that fails now and then has no figure.
      this.cell(peer, scenario).rounds.length = 0
      this.estimate.skipped(peer.name, scenario.name)
    }
  }

  private hasFailed(peer: BenchPeer, scenario: string): boolean {
    return this.failures.some((failure) => failure.peer === peer.name && failure.scenario === scenario)
  }

  private cell(peer: BenchPeer, scenario: Scenario): Cell {
    return this.cells.find((cell) => cell.peer === peer.name && cell.scenario === scenario.name)!
  }
}
