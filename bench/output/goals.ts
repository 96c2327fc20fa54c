// What Legate is to reach, and whether it did: ratios within one run, as the issue on speed sets them.
import { NO_COMMANDS } from './cluster-table.ts'
import { type BenchDocument, DETAIL } from './document.ts'
import { detailOf, digits, labelOf, OWN, ratioOf, ratioText, seriesOf, summaryOf } from './figures.ts'
import type { Table } from './layout.ts'

/** A goal that could be held against what was measured. */
export interface Goal {
  what: string
  goal: string
  measured: string
  met: boolean
}

/** Legate's median must be at most so many times that of another peer; below one it says how many parts of it. */
interface RatioGoal {
  scenario: string
  /** The name of the peer, and the greatest ratio. */
  most: Readonly<Record<string, number>>
}

const RATIOS: readonly RatioGoal[] = [
  { scenario: 'delegated-iq', most: { floor: 3.5, prosody: 1 / 20, ejabberd: 1 / 8 } },
  { scenario: 'message', most: { floor: 3.5, prosody: 1 / 12, ejabberd: 1 / 12 } },
  { scenario: 'delegated-iq-1', most: { floor: 1.6 } },
  { scenario: 'message-1', most: { floor: 1.6 } },
  { scenario: 'login-plain', most: { floor: 1.5, prosody: 1 / 3 } },
]
const IDLE_KILOBYTES = 16
const IDLE = 'idle'
const IDLE_TLS = 'idle-tls'
/** The growth series that count sessions, one or several. */
const SESSIONS = /^sessions\b/
const FEW_SESSIONS = 10
const MANY_SESSIONS = 10_000
const GROWTH = 1.2
/** What stays within a process has nothing to do with Redis, not even within scripts. */
const WITHOUT_REDIS = ['delegated-iq-within', 'delegated-iq-within-1', 'message-within', 'message-within-1']
/** What goes across goes in batches. */
const BATCHED = ['delegated-iq-across', 'message-across']
const BATCHED_COMMANDS = 1
const SOAK_LEAST = 0.9
const SOAK_MOST = 1.1

/** The goals of which all that they speak of was measured. */
export function goalsOf(document: BenchDocument): Goal[] {
  return [
    ...ratioGoals(document),
    ...idleGoals(document),
    ...growthGoals(document),
    ...clusterGoals(document),
    ...soakGoals(document),
  ]
}

/** The goals as a table; undefined without any. */
export function goalsTable(document: BenchDocument): Table | undefined {
  const goals = goalsOf(document)
  if (goals.length === 0) return undefined
  const met = goals.filter((goal) => goal.met).length
  return {
    caption: `Goals: ${met} of ${goals.length} met`,
    heading: [['goal'], ['measured'], ['']],
    rows: goals.map((goal) => ({
      title: goal.what,
      fields: [[goal.goal], [goal.measured], [goal.met ? 'met' : 'missed']],
    })),
  }
}

function ratioGoals(document: BenchDocument): Goal[] {
  return RATIOS.flatMap(({ scenario, most }) =>
    Object.entries(most).flatMap(([peer, limit]) => {
      const ratio = ratioOf(median(document, OWN, scenario), median(document, peer, scenario))
      if (ratio === undefined) return []
      const met = ratio <= limit
      const bound = limit < 1 ? `1/${Math.round(1 / limit)}` : String(limit)
      const goal = `≤ ${bound} × ${peerLabel(document, peer)}`
      return [{ what: titleOf(document, scenario), goal, measured: exact(ratio, limit, ratioText), met }]
    }),
  )
}

function idleGoals(document: BenchDocument): Goal[] {
  const goals: Goal[] = []
  const idle = median(document, OWN, IDLE)
  if (idle !== undefined) {
    goals.push({
      what: titleOf(document, IDLE),
      goal: `≤ ${IDLE_KILOBYTES} kB`,
      measured: `${exact(idle, IDLE_KILOBYTES, digits)} kB`,
      met: idle <= IDLE_KILOBYTES,
    })
  }
  const own = median(document, OWN, IDLE_TLS)
  const prosody = median(document, 'prosody', IDLE_TLS)
  if (own !== undefined && prosody !== undefined) {
    const label = peerLabel(document, 'prosody')
    goals.push({
      what: titleOf(document, IDLE_TLS),
      goal: `< ${label} (${digits(prosody)} kB)`,
      measured: `${exact(own, prosody, digits)} kB`,
      met: own < prosody,
    })
  }
  return goals
}

function growthGoals(document: BenchDocument): Goal[] {
  const growth = document.scenarios.filter(
    ({ section, series }) => section === 'growth' && series !== undefined,
  )
  return seriesOf(growth).flatMap(({ name, rows }) => {
    if (!SESSIONS.test(name)) return []
    const at = (count: number) => {
      const row = rows.find((one) => one.at === count)
      return row && median(document, OWN, row.scenario.name)
    }
    const ratio = ratioOf(at(MANY_SESSIONS), at(FEW_SESSIONS))
    if (ratio === undefined) return []
    return [
      {
        what: `${name}, from ${FEW_SESSIONS} to ${MANY_SESSIONS.toLocaleString('en')}`,
        goal: `< ${GROWTH} × the first`,
        measured: exact(ratio, GROWTH, digits),
        met: ratio < GROWTH,
      },
    ]
  })
}

function clusterGoals(document: BenchDocument): Goal[] {
  const below = (scenario: string, detail: string, limit: number, goal: string): Goal[] => {
    const commands = detailOf(document, OWN, scenario, detail)
    if (commands === undefined) return []
    const measured = exact(commands, limit, digits)
    return [{ what: titleOf(document, scenario), goal, measured, met: commands < limit }]
  }
  return [
    ...WITHOUT_REDIS.flatMap((scenario) => {
      return below(scenario, DETAIL.calls, NO_COMMANDS, `no Redis commands (< ${NO_COMMANDS})`)
    }),
    ...BATCHED.flatMap((scenario) => {
      return below(scenario, DETAIL.commands, BATCHED_COMMANDS, `< ${BATCHED_COMMANDS} Redis command`)
    }),
  ]
}

function soakGoals(document: BenchDocument): Goal[] {
  return document.scenarios.flatMap(({ name, title, section }) => {
    if (section !== 'soak') return []
    const ratio = ratioOf(median(document, OWN, name), detailOf(document, OWN, name, DETAIL.early))
    if (ratio === undefined) return []
    const met = ratio >= SOAK_LEAST && ratio <= SOAK_MOST
    const near = ratio < 1 ? SOAK_LEAST : SOAK_MOST
    const goal = `${SOAK_LEAST} to ${SOAK_MOST} × after a minute`
    return [{ what: title, goal, measured: exact(ratio, near, digits), met }]
  })
}

/** The measured value, with as many digits more as it takes to be seen on its own side of the limit. */
function exact(value: number, limit: number, format: (value: number) => string): string {
  const text = format(value)
  return value === limit || text !== format(limit) ? text : String(Number(value.toPrecision(6)))
}

function median(document: BenchDocument, peer: string, scenario: string): number | undefined {
  return summaryOf(document, peer, scenario)?.median
}

function titleOf(document: BenchDocument, scenario: string): string {
  return document.scenarios.find(({ name }) => name === scenario)?.title ?? scenario
}

function peerLabel(document: BenchDocument, name: string): string {
  const peer = document.peers.find((one) => one.name === name)
  return peer === undefined ? name : labelOf(document, peer)
}
