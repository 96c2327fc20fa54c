// npm run bench: measures servers side by side, and prints tables. See README.md.
import { readFileSync, rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describeEnvironment, findLaunchers } from './environment.ts'
import { measurable, type Options, PEERS, readOptions, SCENARIOS, USAGE } from './options.ts'
import {
  type BenchDocument,
  type Cell,
  compare,
  DOCUMENT_VERSION,
  dearer,
  printTables,
  readDocument,
  writeResults,
} from './output/index.ts'
import type { BenchPeer } from './peers/peer.ts'
import { redisMissing } from './peers/redis.ts'
import { tlsFiles } from './peers/tls-files.ts'
import { PROJECT } from './project.ts'
import { runRounds } from './rounds.ts'

async function main(): Promise<void> {
  const asked = readOptions(process.argv.slice(2))
  const { scenarios, skipped } = measurable(asked.scenarios, redisMissing())
  const options: Options = { ...asked, scenarios }
  if (options.help) return console.log(USAGE)
  if (options.list) return console.log(listing())
  if (process.platform !== 'linux') throw new Error('the bench reads CPU times from /proc: it needs Linux')
  for (const line of skipped) console.log(line)
  if (scenarios.length === 0) throw new Error('none of the scenarios can be measured')
  checkOpenFiles(options)

  const old = options.compare === undefined ? undefined : await readDocument(options.compare)
  const peers = await availablePeers(options.peers)
  const launchers = findLaunchers()
  if (launchers.unpinned) console.log(`not bound to processors: ${launchers.unpinned}; expect more noise`)

  const environment = describeEnvironment(launchers.unpinned === undefined)
  const directory = await mkdtemp(join(tmpdir(), 'legate-bench-'))
  // Also when it is interrupted; servers end with us by themselves.
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }))

  const file = options.json ?? join(PROJECT, 'bench/results', `${environment.date.replaceAll(':', '-')}.json`)
  const document = (cells: readonly Cell[]): BenchDocument => ({
    version: DOCUMENT_VERSION,
    environment,
    settings: { ...options.settings, rounds: options.rounds },
    peers: peers.map((peer) => ({ name: peer.name, title: peer.title() })),
    scenarios: options.scenarios.map(({ name, title, section, unit, series }) => {
      return { name, title, section, unit, series }
    }),
    cells: [...cells],
  })
  let saved = false
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      if (saved) console.error(`\ninterrupted; what the peers gave that were through is in ${file}`)
      process.exit(1)
    })
  }
  const { cells, failures } = await runRounds({
    ...options,
    peers,
    launchers,
    directory,
    tls: await tlsFiles(directory),
    progress: (line) => console.log(line),
    complain: (text) => console.error(text),
    save: async (cells) => {
      await writeResults(document(cells), file)
      saved = true
    },
  })

  const results = document(cells)
  console.log(`\n${printTables(results, { details: options.details })}`)
  if (old !== undefined) {
    console.log(`\n${compare(old, results)}`)
    // For whoever runs it by a script.
    if (dearer(old, results).length > 0) process.exitCode = 1
  }
  console.log(`\n${(await writeResults(results, file)).join('\n')}`)
  for (const { peer, scenario } of failures) console.error(`failed: ${scenario} of ${peer}, see above`)
  if (failures.length > 0) process.exitCode = 1
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

/** Files that a process has open beside one for each session. */
const OTHER_FILES = 200

/** The load and each server have a socket for each session. */
function checkOpenFiles({ scenarios, settings }: Options): void {
  const sessions = scenarios.map(({ setup, section }) => {
    return setup.clients + (section === 'memory' ? settings.sessions : setup.bystanders)
  })
  const needed = Math.max(...sessions) + OTHER_FILES
  const limits = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'))
  const limit = limits?.[1] === 'unlimited' ? Number.POSITIVE_INFINITY : Number(limits?.[1])
  if (limit < needed) {
    const way = `raise it with ulimit -n ${needed}, or leave the scenarios with many sessions out (--scenario)`
    throw new Error(`the limit of open files is ${limit}, and ${needed} are needed: ${way}`)
  }
}

function listing(): string {
  const width = Math.max(...SCENARIOS.map(({ name }) => name.length))
  const lines = SCENARIOS.map(({ name, section, title, usual }) => {
    return `${name.padEnd(width)}  ${section.padEnd(7)}  ${title}${usual ? '' : ' (only when named)'}`
  })
  return [`peers: ${PEERS.map(({ name }) => name).join(', ')}`, ...lines].join('\n')
}

await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
})
