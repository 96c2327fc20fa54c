// legate status: what the server that runs is and does.

import { type LoggedProblem, type ServerStatus, statusSchema } from '../admin/answers.ts'
import { escapeUnsafe } from '../log-text.ts'
import { readConfig } from './config-file.ts'
import { EXIT } from './failure.ts'
import { plural, shortPath } from './findings.ts'
import { askServer } from './running-server.ts'
import { dateTime, duration, megabytes, pairs, printJson, table } from './text.ts'

/** @returns the exit code */
export async function status(configFile: string | undefined, json: boolean): Promise<number> {
  const told = await askServer(await readConfig(configFile), { command: 'status' }, statusSchema)
  if (json) printJson(told)
  else for (const line of describe(told, Date.now())) console.log(line)
  return EXIT.ok
}

function describe(told: ServerStatus, now: number): string[] {
  const { log } = told
  const lines = [...about(told, now), '', ...hosts(told)]
  if (told.components.length > 0) lines.push('', ...components(told, now))
  if (told.unauthenticated > 0) {
    lines.push('', `${plural(told.unauthenticated, 'connection')} not logged in.`)
  }
  for (const problem of log.setup) lines.push('', `Of the log: ${escapeUnsafe(problem)}`)
  if (log.last.length > 0) lines.push('', 'Last warnings and errors:', ...loggedLines(log.last))
  return lines
}

/** One line each, with what they were and when. */
export function loggedLines(problems: readonly LoggedProblem[]): string[] {
  return problems.map(({ time, level, text }) => {
    const label = level === 'warn' ? 'warning' : 'error'
    return `  ${dateTime(time)}  ${label.padEnd(7)}  ${escapeUnsafe(text)}`
  })
}

function about(told: ServerStatus, now: number): string[] {
  const { version, process, state, startedAt, log, memory, busy } = told
  const since = `${duration(now - startedAt)} (since ${dateTime(startedAt)})`
  const doing = {
    starting: `is starting, for ${since}`,
    ready: `has run for ${since}`,
    ending: 'is ending',
  }[state]
  const share = (part: number): string => `${Math.round(part * 100)} %`
  const listening = told.listening.map(
    ({ service, address, port }) => `${service} ${addressOf(address, port)}`,
  )
  return [
    `Legate ${escapeUnsafe(version)}, process ${process}, ${doing}`,
    ...pairs([
      ['  configuration', `${shortPath(told.config ?? '-')}, read ${dateTime(told.configuredAt)}`],
      ['  data folder', told.dataPath],
      ['  listening', listening.join(', ') || '-'],
      ['  memory', `${megabytes(memory.resident)}, ${megabytes(memory.heap)} of it in use for JavaScript`],
      ['  processor', `${share(busy.now)} of a core now, ${share(busy.average)} since the start`],
      ['  Node', told.node],
      ['  log', `${plural(log.errors, 'error')}, ${plural(log.warnings, 'warning')} since the start`],
    ]),
  ]
}

function addressOf(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

function hosts({ hosts }: ServerStatus): string[] {
  return table(
    [
      { head: 'HOST' },
      { head: 'ACCOUNTS ONLINE', align: 'right' },
      { head: 'SESSIONS', align: 'right' },
      { head: 'NOT YET BOUND', align: 'right' },
    ],
    hosts.map(({ name, accounts, bound, authenticated }) => [
      name,
      String(accounts),
      String(bound),
      String(authenticated),
    ]),
  )
}

function components({ components }: ServerStatus, now: number): string[] {
  return table(
    [{ head: 'COMPONENT' }, { head: 'STATE' }],
    components.map(({ name, external, connections }) => [name, stateOf(external, connections, now)]),
  )
}

function stateOf(
  external: boolean,
  connections: ServerStatus['components'][number]['connections'],
  now: number,
): string {
  if (!external) return 'part of the server'
  if (connections.length === 0) return 'not connected'
  const since = Math.min(...connections.map((connection) => connection.since))
  const from = [...new Set(connections.map(({ address }) => address))].join(', ')
  const count = connections.length === 1 ? '' : `, ${connections.length} connections`
  return `connected for ${duration(now - since)}${count}, from ${from}`
}
