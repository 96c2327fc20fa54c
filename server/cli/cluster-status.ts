// legate status of a server that is several processes.

import type { ClusterMember, ClusterStatus, LoggedProblem, ServerStatus } from '../admin/answers.ts'
import { escapeUnsafe } from '../log-text.ts'
import { describeDelegations } from './delegations.ts'
import { plural, shortPath } from './findings.ts'
import { componentTable, hostTable, listeningOn, loggedLines } from './status-tables.ts'
import { type Column, dateTime, duration, kilobytes, megabytes, pairs, percent, table } from './text.ts'

/** Lines of the log that are shown. */
const MOST_LOGGED = 10

/**
 * All processes, and what they are together, in lines.
 *
 * @param told - by the process that was asked
 * @param now - milliseconds since the epoch
 */
export function describeCluster(told: ServerStatus, cluster: ClusterStatus, now: number): string[] {
  const { hosts, components, delegations, unauthenticated } = cluster
  const lines = [...about(told, cluster, now), '', ...processes(cluster, now), '', ...redis(cluster)]
  lines.push(...queues(cluster), ...lameWorkers(told), '', ...hostTable(hosts))
  if (components.length > 0) lines.push('', ...componentTable(components, now))
  if (delegations.length > 0) {
    lines.push('', ...describeDelegations(delegations, undefined, process.stdout.columns, now))
  }
  if (unauthenticated > 0) lines.push('', `${plural(unauthenticated, 'connection')} not logged in.`)
  for (const problem of told.log.setup) lines.push('', `Of the log: ${escapeUnsafe(problem)}`)
  const logged = lastLogged(told, cluster)
  if (logged.length > 0) lines.push('', 'Last warnings and errors:', ...loggedLines(logged))
  return lines
}

function about(told: ServerStatus, { self, members }: ClusterStatus, now: number): string[] {
  const { version, supervisor } = told
  const name = members.find(({ id }) => id === self)?.name ?? ''
  const machines = new Set(members.map(({ figures }) => figures?.machine).filter((machine) => machine))
  const where = machines.size > 1 ? ` on ${machines.size} machines` : ''
  const rows: [string, string][] = [
    ['  configuration', `${shortPath(told.config ?? '-')}, read ${dateTime(told.configuredAt)}`],
    ['  data folder', told.dataPath],
    ['  listening', listeningOn(told)],
    ['  Node', told.node],
  ]
  if (supervisor !== undefined) {
    const since = `${duration(now - supervisor.startedAt)} (since ${dateTime(supervisor.startedAt)})`
    rows.push(['  supervisor', `process ${supervisor.process}, has run for ${since}`])
  }
  return [
    escapeUnsafe(
      `Legate ${version}, ${members.length === 1 ? '1 process' : `${members.length} processes`}${where}; asked was ${name}`,
    ),
    ...pairs(rows),
  ]
}

const PROCESS_COLUMNS: readonly Column[] = [
  { head: 'PROCESS' },
  { head: 'ID', align: 'right' },
  { head: 'MACHINE' },
  { head: 'VERSION' },
  { head: 'RUNS FOR' },
  { head: 'STATE' },
  { head: 'SESSIONS', align: 'right' },
  { head: 'COMPONENTS', align: 'right' },
  { head: 'MEMORY', align: 'right' },
  { head: 'BUSY NOW', align: 'right' },
  { head: 'ON AVERAGE', align: 'right' },
]

function processes({ members }: ClusterStatus, now: number): string[] {
  const rows = members.map(({ name, process, since, version, known, figures }) => [
    name,
    String(process),
    figures?.machine ?? '-',
    version,
    duration(now - since),
    figures?.status.state ?? 'no answer',
    String(known.sessions),
    String(known.connections),
    ...(figures === undefined
      ? ['-', '-', '-']
      : [
          megabytes(figures.status.memory.resident),
          percent(figures.status.busy.now),
          percent(figures.status.busy.average),
        ]),
  ])
  const sum = (of: (member: ClusterMember) => number): number =>
    members.reduce((total, member) => total + of(member), 0)
  const memory = sum(({ figures }) => figures?.status.memory.resident ?? 0)
  const sessions = sum(({ known }) => known.sessions)
  const connections = sum(({ known }) => known.connections)
  const all = ['all', '', '', '', '', '', String(sessions), String(connections), megabytes(memory)]
  return table(PROCESS_COLUMNS, members.length > 1 ? [...rows, all] : rows)
}

function redis({ members }: ClusterStatus): string[] {
  return table(
    [
      { head: 'PROCESS' },
      { head: 'REDIS' },
      { head: 'STORAGE' },
      { head: 'COMMANDS', align: 'right' },
      { head: 'QUEUED', align: 'right' },
      { head: 'BYTES', align: 'right' },
    ],
    members.flatMap(({ name, figures }) => {
      if (figures === undefined) return []
      const { redis, storage, queues } = figures
      const queued = queues.reduce((total, { unacknowledged }) => total + unacknowledged, 0)
      const bytes = queues.reduce((total, { waitingBytes }) => total + waitingBytes, 0)
      const state = redis.connected ? 'connected' : `away for ${duration(redis.silentFor)}`
      return [[name, state, storageState(storage), String(redis.commands), String(queued), kilobytes(bytes)]]
    }),
  )
}

function storageState(storage: { state: string; awayFor: number } | undefined): string {
  if (storage === undefined) return '-'
  if (storage.state === 'ready') return 'connected'
  return storage.state === 'away' ? `away for ${duration(storage.awayFor)}` : storage.state
}

/** What waits for each process that much waits for. */
function queues({ members }: ClusterStatus): string[] {
  const names = new Map(members.map(({ id, name }) => [id, name]))
  const lines = members.flatMap(({ name, figures }) =>
    (figures?.queues ?? [])
      .filter(({ unacknowledged }) => unacknowledged > 0)
      .map(({ id, unacknowledged, waitingBytes }) =>
        escapeUnsafe(
          `  ${name} to ${names.get(id) ?? id}: ${plural(unacknowledged, 'message')}, ${kilobytes(waitingBytes)}`,
        ),
      ),
  )
  return lines.length === 0 ? [] : ['', 'Sent, and not yet acknowledged:', ...lines]
}

/** Workers that do not run now, or have died before. */
function lameWorkers({ supervisor }: ServerStatus): string[] {
  const lines = (supervisor?.workers ?? [])
    .filter(({ state, deaths }) => state !== 'ready' || deaths > 0)
    .map(({ number, state, deaths }) => {
      const died = deaths === 0 ? '' : `, has died ${plural(deaths, 'time')}`
      return `  worker ${number}: ${state === 'waiting' ? 'is started again after a pause' : state}${died}`
    })
  return lines.length === 0 ? [] : ['', 'Workers:', ...lines]
}

/** The last lines of all logs; what several processes say is told once. */
function lastLogged({ supervisor }: ServerStatus, { members }: ClusterStatus): LoggedProblem[] {
  const tellers = members.flatMap(({ name, figures }) =>
    figures === undefined ? [] : [{ name, last: figures.status.log.last }],
  )
  const byText = new Map<string, { problem: LoggedProblem; names: string[] }>()
  const add = (problem: LoggedProblem, name: string): void => {
    const key = `${problem.level} ${problem.text}`
    const same = byText.get(key)
    const latest = same === undefined || same.problem.time < problem.time ? problem : same.problem
    byText.set(key, { problem: latest, names: [...(same?.names ?? []), name] })
  }
  for (const { name, last } of tellers) for (const problem of last) add(problem, name)
  for (const problem of supervisor?.log.last ?? []) add(problem, 'supervisor')
  return [...byText.values()]
    .map(({ problem, names }) =>
      names.length === tellers.length && tellers.length > 1
        ? problem
        : { ...problem, text: `${names.join(', ')}: ${problem.text}` },
    )
    .sort((one, other) => one.time - other.time)
    .slice(-MOST_LOGGED)
}
