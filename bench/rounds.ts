// The rounds: in each, every peer in turn is started, measured in every scenario, and stopped.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Launchers } from './environment.ts'
import { Load } from './load/remote.ts'
import { HOST, PASSWORD, userName } from './load/stanzas.ts'
import type { BenchPeer } from './peers/peer.ts'
import { type Cell, digits } from './report.ts'
import type { RunSettings, Scenario } from './scenarios/scenario.ts'

/** What to run. */
export interface Run {
  peers: readonly BenchPeer[]
  scenarios: readonly Scenario[]
  rounds: number
  settings: RunSettings
  launchers: Launchers
  /** A folder for the peers' folders. */
  directory: string
  /** Told of each figure as it comes. */
  progress(line: string): void
}

/**
 * Runs everything. Peers take turns within a round, so that what the machine does meanwhile meets them all.
 * @throws Error at the first thing that goes wrong, with the server's log
 */
export async function runRounds(run: Run): Promise<Cell[]> {
  const cells = run.peers.flatMap((peer) =>
    run.scenarios.map((scenario): Cell => ({ peer: peer.name, scenario: scenario.name, rounds: [] })),
  )
  for (let round = 1; round <= run.rounds; round++) {
    for (const peer of run.peers) {
      for (const group of serverGroups(run.scenarios)) {
        await runGroup(run, peer, group, (scenario, measurement) => {
          const cell = cells.find((one) => one.peer === peer.name && one.scenario === scenario.name)!
          cell.rounds.push(measurement)
          run.progress(
            `round ${round}/${run.rounds}  ${peer.name}  ${scenario.name}  ${digits(measurement.value)} ${scenario.unit}`,
          )
        })
      }
    }
  }
  return cells
}

/** Scenarios that share a server, and those that want one of their own. */
function serverGroups(scenarios: readonly Scenario[]): Scenario[][] {
  const shared = scenarios.filter((scenario) => !scenario.freshServer)
  const own = scenarios.filter((scenario) => scenario.freshServer).map((scenario) => [scenario])
  return shared.length > 0 ? [shared, ...own] : own
}

async function runGroup(
  run: Run,
  peer: BenchPeer,
  group: readonly Scenario[],
  done: (scenario: Scenario, measurement: Awaited<ReturnType<Scenario['measure']>>) => void,
): Promise<void> {
  const directory = join(run.directory, peer.name)
  await mkdir(directory, { recursive: true })
  const accounts = Array.from({ length: run.settings.accounts }, (_, index) => {
    return { user: userName(index), host: HOST, password: PASSWORD }
  })
  const server = await peer.start({ directory, accounts, launcher: run.launchers.server })
  const load = new Load(run.launchers.load)
  let current = 'logging in'
  try {
    if (!group.some((scenario) => scenario.freshServer)) {
      const { c2sPort, componentPort } = server
      await load.ask('connect', { c2sPort, componentPort, clients: run.settings.clients })
    }
    for (const scenario of group) {
      current = scenario.name
      done(scenario, await scenario.measure(server, load, run.settings))
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const log = server.log().slice(-4000).trim()
    const logged = log === '' ? '' : `\nIts log ends with:\n${log}`
    throw new Error(`${peer.title()}, ${current}: ${reason}${logged}`, { cause: error })
  } finally {
    await load.stop()
    await server.stop()
  }
}
