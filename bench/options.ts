// The options of npm run bench.
import { parseArgs } from 'node:util'
import { ejabberd } from './peers/ejabberd.ts'
import { floor } from './peers/floor.ts'
import { legate } from './peers/legate.ts'
import type { BenchPeer } from './peers/peer.ts'
import { prosody } from './peers/prosody.ts'
import { SCENARIOS } from './scenarios/index.ts'
import type { RunSettings, Scenario } from './scenarios/scenario.ts'

export { SCENARIOS }

/** What can be measured, in the order in which they take turns. */
export const PEERS: readonly BenchPeer[] = [floor, legate, prosody, ejabberd]

/** What is to be done. */
export interface Options {
  help: boolean
  list: boolean
  /** Whether all details are printed. */
  details: boolean
  peers: readonly BenchPeer[]
  scenarios: readonly Scenario[]
  rounds: number
  settings: RunSettings
  /** Where the results go, if not to the usual place. */
  json: string | undefined
  /** Earlier results. */
  compare: string | undefined
}

const SETTLE_SECONDS = 1.5
/** The usual `cluster_lease`: what Legate's processes do by themselves is as often in each. */
const IDLE_SECONDS = 10

const SECTIONS = [...new Set(SCENARIOS.map(({ section }) => section))]

/** For --help. */
export const USAGE = `npm run bench -- [options]
  --rounds N        rounds, of which the tables show medians and spread (3)
  --only A,B        of the peers: ${PEERS.map(({ name }) => name).join(', ')}
  --scenario A,B    of the scenarios, see --list: names, beginnings of names with * behind them,
                    or sections: ${SECTIONS.join(', ')}
  --ops N           operations in a measured window, instead of --seconds
  --seconds N       seconds of server CPU in a measured window (1)
  --warm-up N       seconds of server CPU before it, fewer where it has had the same already (2)
  --sessions N      sessions whose memory is measured (2000)
  --soak-ops N      operations of the soak (10000000)
  --json FILE       where the results go (bench/results/DATE.json); tables and pictures go beside it
  --compare FILE    tells what became dearer since the run that wrote this JSON
  --details         prints what was seen beside the figures, too
  --list            prints the scenarios`

/**
 * Reads the command line.
 * @throws Error that names the option that is wrong
 */
export function readOptions(args: readonly string[]): Options {
  const text = (fallback?: string) => ({ type: 'string', default: fallback }) as const
  const flag = { type: 'boolean', default: false } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: text('3'),
      only: text(),
      scenario: text(),
      ops: text(),
      seconds: text('1'),
      'warm-up': text('2'),
      sessions: text('2000'),
      'soak-ops': text('10000000'),
      json: text(),
      compare: text(),
      details: flag,
      list: flag,
      help: flag,
    },
  })
  return {
    help: values.help,
    list: values.list,
    details: values.details,
    peers: choosePeers(values.only),
    scenarios: chooseScenarios(values.scenario),
    rounds: count('rounds', values.rounds!),
    settings: {
      warmUpCpuSeconds: amount('warm-up', values['warm-up']!),
      windowCpuSeconds: amount('seconds', values.seconds!),
      operations: values.ops === undefined ? undefined : count('ops', values.ops),
      sessions: count('sessions', values.sessions!),
      settleSeconds: SETTLE_SECONDS,
      idleSeconds: IDLE_SECONDS,
      soakOperations: count('soak-ops', values['soak-ops']!),
    },
    json: values.json,
    compare: values.compare,
  }
}

/** The scenarios of a list; the usual ones without. @throws Error when something in it is none */
export function chooseScenarios(list: string | undefined): Scenario[] {
  if (list === undefined) return SCENARIOS.filter(({ usual }) => usual)
  const chosen = words(list).flatMap((word) => {
    const found = SCENARIOS.filter(({ name, section }) => {
      return word.endsWith('*') ? name.startsWith(word.slice(0, -1)) : name === word || section === word
    })
    if (found.length === 0) throw new Error(`--scenario ${word}: there is none, see --list`)
    return found
  })
  return SCENARIOS.filter((scenario) => chosen.includes(scenario))
}

/** The scenarios that can be measured here; of the others, a line for each section that says why not. */
export function measurable(
  scenarios: readonly Scenario[],
  redisMissing: string | undefined,
): { scenarios: Scenario[]; skipped: string[] } {
  const lack = ({ setup }: Scenario) => (setup.cluster === undefined ? undefined : redisMissing)
  const lines = scenarios.flatMap((scenario) => {
    const reason = lack(scenario)
    return reason === undefined ? [] : [`skipped the section ${scenario.section}: ${reason}`]
  })
  return {
    scenarios: scenarios.filter((scenario) => lack(scenario) === undefined),
    skipped: [...new Set(lines)],
  }
}

function choosePeers(list: string | undefined): BenchPeer[] {
  const wanted = list === undefined ? PEERS.map(({ name }) => name) : words(list)
  const names = PEERS.map(({ name }) => name)
  const unknown = wanted.find((name) => !names.includes(name))
  if (unknown !== undefined) throw new Error(`--only ${unknown}: there is only ${names.join(', ')}`)
  return PEERS.filter(({ name }) => wanted.includes(name))
}

function words(list: string): string[] {
  return list.split(',').map((word) => word.trim())
}

function amount(option: string, text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new Error(`--${option} ${text}: give a number above 0`)
  return value
}

function count(option: string, text: string): number {
  const value = amount(option, text)
  if (!Number.isInteger(value)) throw new Error(`--${option} ${text}: give a whole number`)
  return value
}
