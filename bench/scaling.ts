// node dist/bench/scaling.js: measures clusters of three sizes, and puts what the model says beside it.
// docs/scaling.md says what it means.
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { redisAvailable } from '../test/shared/peers/redis.ts'
import { carry, describeNeeds, TEN_MILLION, UNITS } from './scaling/carry.ts'
import { measureEntries } from './scaling/inboxes.ts'
import type { Size } from './scaling/model.ts'
import { figure, measureSize, type Row } from './scaling/run.ts'

/** Each of them varies all three, and none in the same way. */
const SIZES: readonly Size[] = [
  { processes: 2, sessions: 1000, contacts: 10 },
  { processes: 3, sessions: 4000, contacts: 20 },
  { processes: 4, sessions: 10_000, contacts: 50 },
]

const USAGE = `node dist/bench/scaling.js [options]
  --size P,S,C   one size instead of the three: processes (2 and more), sessions and contacts (even numbers)
  --carry        measures nothing, and prints what the model says of ten million accounts
  --json FILE    writes the figures there, too`

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      size: { type: 'string' },
      carry: { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return console.log(USAGE)
  if (values.carry) return console.log(describeNeeds(carry(TEN_MILLION, UNITS)))
  if (process.platform !== 'linux') throw new Error('CPU times are read from /proc: this needs Linux')
  const missing = redisAvailable()
  if (missing !== undefined) throw new Error(missing)
  const sizes = values.size === undefined ? SIZES : [readSize(values.size)]
  const results: { size: Size; rows: Row[] }[] = []
  for (const size of sizes) {
    console.error(title(size))
    results.push({ size, rows: await measureSize(size, console.error) })
  }
  console.error('entries in inboxes')
  const entries = await measureEntries()
  console.log(table(results))
  console.log(
    `\nRedis, CPU for an entry in an inbox: ${figure(entries.alone)} µs alone, ${figure(entries.together)} µs with others`,
  )
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, null, 1)}\n`)
}

function readSize(text: string): Size {
  const [processes = 0, sessions = 0, contacts = 0] = text.split(',').map(Number)
  const even = (value: number) => Number.isInteger(value / 2) && value > 0
  if (!Number.isInteger(processes) || processes < 2 || !even(sessions) || !even(contacts)) {
    throw new Error(
      `--size ${text}: give P,S,C such as 2,1000,10: two processes at least, even numbers behind`,
    )
  }
  if (contacts >= sessions) throw new Error(`--size ${text}: there are only ${sessions} accounts to know`)
  return { processes, sessions, contacts }
}

function title({ processes, sessions, contacts }: Size): string {
  return `P=${processes} S=${sessions} C=${contacts}`
}

/** As Markdown: a figure of the model, what was measured, and how far it is off. */
function table(results: readonly { size: Size; rows: readonly Row[] }[]): string {
  const whats = new Map<string, string>()
  for (const { rows } of results) for (const { what, unit } of rows) whats.set(what, unit)
  const lines = [
    `| | ${results.map(({ size }) => title(size)).join(' | ')} |`,
    `|---|${results.map(() => '---|').join('')}`,
  ]
  for (const [what, unit] of whats) {
    const cells = results.map(({ rows }) => cell(rows.find((row) => row.what === what)))
    lines.push(`| ${what} (${unit}) | ${cells.join(' | ')} |`)
  }
  return lines.join('\n')
}

function cell(row: Row | undefined): string {
  if (row === undefined) return '–'
  if (row.predicted === undefined) return figure(row.measured)
  const off = Math.round((row.predicted / row.measured - 1) * 100)
  return `${figure(row.predicted)} / ${figure(row.measured)} (${off > 0 ? '+' : ''}${off} %)`
}

await main()
