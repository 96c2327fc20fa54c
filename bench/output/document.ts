// The results of a run, as they stand in the JSON: what is printed, drawn and compared is made from this alone.
import { readFile } from 'node:fs/promises'
import * as z from 'zod'
import type { Environment } from '../environment.ts'
import type { Measurement, Scenario, Section } from '../scenarios/scenario.ts'

/** Raised when older readers would misread what is written. */
export const DOCUMENT_VERSION = 1

/** The sections in the order in which their tables stand. */
export const SECTIONS = [
  'traffic',
  'login',
  'memory',
  'growth',
  'load',
  'cluster',
  'soak',
] as const satisfies Section[]

/** The details that tables and pictures show, by the names under which scenarios give them. */
export const DETAIL = {
  p50: 'p50 ms',
  p99: 'p99 ms',
  rate: 'operations/s',
  /** Of one processor, in percent: of the server, of all of its processes together, and of what is beside it. */
  serverShare: 'server CPU %',
  loadShare: 'load CPU %',
  redisShare: 'Redis CPU %',
  /** Whatever else ran on the machine. */
  otherShare: 'other CPU %',
  /** For each operation: commands that the server has sent to Redis, and all that Redis has run, also in scripts. */
  commands: 'Redis commands/operation',
  calls: 'Redis calls/operation',
  /** Of the soak, whose value is the resident memory at its end: the same after its first minute. */
  early: 'MB after a minute',
} as const

/** What the rounds gave for one peer and one scenario. No rounds: it was not measured. */
export interface Cell {
  peer: string
  scenario: string
  rounds: Measurement[]
}

/** What the tables need of a peer. */
export interface PeerEntry {
  name: string
  /** Name and version. */
  title: string
}

/** What the tables need of a scenario. */
export type ScenarioEntry = Pick<Scenario, 'name' | 'title' | 'section' | 'unit' | 'series'>

/** All results of a run, and where they come from. */
export interface BenchDocument {
  version: typeof DOCUMENT_VERSION
  environment: Pick<Environment, 'date' | 'node' | 'cpu' | 'pinned'>
  settings: Record<string, unknown>
  /** In the order of the columns. */
  peers: PeerEntry[]
  /** In the order of the rows. */
  scenarios: ScenarioEntry[]
  cells: Cell[]
}

const scenarioSchema = z.object({
  name: z.string(),
  title: z.string(),
  section: z.enum(SECTIONS),
  unit: z.enum(['µs', 'kB', 'MB']),
  series: z.object({ name: z.string(), unit: z.string(), at: z.number() }).optional(),
})

const documentSchema = z.object({
  version: z.literal(DOCUMENT_VERSION),
  // Loose: what is known of the machine is for people, and there may be more of it.
  environment: z.looseObject({ date: z.string(), node: z.string(), cpu: z.string(), pinned: z.boolean() }),
  settings: z.record(z.string(), z.unknown()),
  peers: z.array(z.object({ name: z.string(), title: z.string() })),
  scenarios: z.array(scenarioSchema),
  cells: z.array(
    z.object({
      peer: z.string(),
      scenario: z.string(),
      rounds: z.array(z.object({ value: z.number(), details: z.record(z.string(), z.number()) })),
    }),
  ),
})

/**
 * Reads results back.
 * @throws Error when the file cannot be read or holds no results, naming the file and what is wrong with it
 */
export async function readDocument(file: string): Promise<BenchDocument> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    const reason = error.code === 'ENOENT' ? 'there is no such file' : error.message
    throw new Error(`${file}: ${reason}; give the JSON that an earlier run of the bench wrote`)
  })
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`${file} is not JSON: ${reason}; give the .json file of a run, not what stands beside it`)
  }
  return checkDocument(json, file)
}

function checkDocument(json: unknown, file: string): BenchDocument {
  const version = (json as { version?: unknown } | null)?.version
  if (version !== DOCUMENT_VERSION) {
    const found = version === undefined ? 'no version' : `version ${JSON.stringify(version)}`
    throw new Error(
      `${file} has ${found}, and this bench reads version ${DOCUMENT_VERSION} of its results: measure anew`,
    )
  }
  const result = documentSchema.safeParse(json)
  if (!result.success) {
    const { path, message } = result.error.issues[0]!
    throw new Error(`${file}: ${place(path)}: ${message}`)
  }
  const { peers, scenarios, cells } = result.data
  requireDifferent(
    file,
    'peers',
    peers.map(({ name }) => name),
  )
  requireDifferent(
    file,
    'scenarios',
    scenarios.map(({ name }) => name),
  )
  requireDifferent(
    file,
    'cells',
    cells.map(({ peer, scenario }) => `${peer}, ${scenario}`),
  )
  for (const [index, { peer, scenario }] of cells.entries()) {
    if (!peers.some(({ name }) => name === peer)) {
      throw new Error(`${file}: cells[${index}].peer: "${peer}" is none of the peers`)
    }
    if (!scenarios.some(({ name }) => name === scenario)) {
      throw new Error(`${file}: cells[${index}].scenario: "${scenario}" is none of the scenarios`)
    }
  }
  return result.data
}

function requireDifferent(file: string, where: string, names: string[]): void {
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw new Error(`${file}: ${where}: "${twice}" is there twice`)
}

/** A path in the JSON as one would write it in a program. */
function place(path: readonly PropertyKey[]): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else if (/^\w+$/.test(String(step))) text += `${text === '' ? '' : '.'}${String(step)}`
    else text += `["${String(step)}"]`
  }
  return text === '' ? 'the whole' : text
}
