// npm run bench: measures servers side by side, and prints one table. See README.md.
import { rmSync } from 'node:fs'
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { describeEnvironment, findLaunchers } from './environment.ts'
import { floor } from './peers/floor.ts'
import { legate } from './peers/legate.ts'
import type { BenchPeer } from './peers/peer.ts'
import { prosody } from './peers/prosody.ts'
import { PROJECT } from './project.ts'
import { detailLines, markdownTable, type Results, tableRows, textTable } from './report.ts'
import { runRounds } from './rounds.ts'
import { idleSession } from './scenarios/idle.ts'
import type { RunSettings, Scenario } from './scenarios/scenario.ts'
import { delegatedIq, message } from './scenarios/traffic.ts'

const PEERS: readonly BenchPeer[] = [floor, legate, prosody]
const SCENARIOS: readonly Scenario[] = [delegatedIq, message, idleSession]

const CLIENTS = 10
/** Idle sessions are spread over more accounts, so that few of them share one. */
const IDLE_ACCOUNTS = 50

const USAGE = `npm run bench -- [options]
  --rounds N        rounds, of which the table shows medians and spread (5)
  --only A,B        of the peers: ${names(PEERS)}
  --scenario A,B    of the scenarios: ${names(SCENARIOS)}
  --ops N           operations in a measured window, instead of --seconds
  --seconds N       seconds of server CPU in a measured window (2)
  --warm-up N       seconds of load before it (3)
  --sessions N      idle sessions (2000)
  --json FILE       where the results go (bench/results/DATE.json, and .md beside it)`

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      only: { type: 'string' },
      scenario: { type: 'string' },
      ops: { type: 'string' },
      seconds: { type: 'string', default: '2' },
      'warm-up': { type: 'string', default: '3' },
      sessions: { type: 'string', default: '2000' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return console.log(USAGE)
  if (process.platform !== 'linux') throw new Error('the bench reads CPU times from /proc: it needs Linux')

  const settings: RunSettings = {
    clients: CLIENTS,
    inFlight: 16,
    warmUpSeconds: count('warm-up', values['warm-up']),
    windowCpuSeconds: count('seconds', values.seconds),
    operations: values.ops === undefined ? undefined : count('ops', values.ops),
    sessions: count('sessions', values.sessions),
    accounts: CLIENTS,
  }
  const rounds = count('rounds', values.rounds)
  const scenarios = choose('scenario', SCENARIOS, values.scenario)
  if (scenarios.includes(idleSession)) settings.accounts = IDLE_ACCOUNTS
  const peers = await availablePeers(choose('only', PEERS, values.only))
  const launchers = findLaunchers()
  if (launchers.unpinned) console.log(`not bound to processors: ${launchers.unpinned}; expect more noise`)

  const environment = describeEnvironment(launchers.unpinned === undefined)
  const directory = await mkdtemp(join(tmpdir(), 'legate-bench-'))
  // Also when it is interrupted; servers end with us by themselves.
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

  const progress = (line: string) => console.log(line)
  const run = { peers, scenarios, rounds, settings, launchers, directory, progress }
  const results: Results = { peers, scenarios, cells: await runRounds(run) }
  const rows = tableRows(results)
  console.log(`\n${textTable(rows)}\n\n${detailLines(results).join('\n')}`)

  const file = values.json ?? join(PROJECT, 'bench/results', `${environment.date.replaceAll(':', '-')}.json`)
  await mkdir(dirname(file), { recursive: true })
  const document = {
    environment,
    settings: { ...settings, rounds },
    peers: peers.map((peer) => ({ name: peer.name, title: peer.title() })),
    scenarios: scenarios.map(({ name, title, unit }) => ({ name, title, unit })),
    cells: results.cells,
  }
  await writeFile(file, `${JSON.stringify(document, undefined, 2)}\n`)
  const markdown = `${file.replace(/\.json$/, '')}.md`
  const { cpu, node, date } = environment
  await writeFile(markdown, `${markdownTable(rows)}\n\n${cpu}, Node ${node}, ${rounds} rounds, ${date}\n`)
  console.log(`\n${file}\n${markdown}`)
}

/** The peers that can be measured here; says of the others why not. */
async function availablePeers(peers: readonly BenchPeer[]): Promise<BenchPeer[]> {
  const available: BenchPeer[] = []
  for (const peer of peers) {
    const reason = await peer.available()
    if (reason === undefined) available.push(peer)
    else console.log(`skipped ${peer.name}: ${reason}`)
  }
  if (available.length === 0) throw new Error('none of the peers can be measured')
  return available
}

function choose<T extends { name: string }>(
  option: string,
  all: readonly T[],
  list: string | undefined,
): T[] {
  if (list === undefined) return [...all]
  const wanted = list.split(',').map((name) => name.trim())
  const unknown = wanted.find((name) => !all.some((one) => one.name === name))
  if (unknown !== undefined) throw new Error(`--${option} ${unknown}: there is only ${names(all)}`)
  return all.filter(({ name }) => wanted.includes(name))
}

function count(option: string, text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new Error(`--${option} ${text}: give a number above 0`)
  return value
}

function names(all: readonly { name: string }[]): string {
  return all.map(({ name }) => name).join(', ')
}

await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
})
