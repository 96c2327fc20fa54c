// legate status: what the server that runs is and does.

import { type ServerStatus, statusSchema } from '../admin/answers.ts'
import { escapeUnsafe } from '../log-text.ts'
import { describeCluster } from './cluster-status.ts'
import { readConfig } from './config-file.ts'
import { EXIT } from './failure.ts'
import { plural, shortPath } from './findings.ts'
import { askServer } from './running-server.ts'
import { componentTable, hostTable, listeningOn, loggedLines } from './status-tables.ts'
import { dateTime, duration, megabytes, pairs, percent, printJson } from './text.ts'

/** @returns the exit code */
export async function status(configFile: string | undefined, json: boolean): Promise<number> {
  const told = await askServer(await readConfig(configFile), { command: 'status' }, statusSchema)
  if (json) printJson(told)
  else for (const line of describe(told, Date.now())) console.log(line)
  return EXIT.ok
}

function describe(told: ServerStatus, now: number): string[] {
  const { log, cluster } = told
  if (cluster !== undefined) return describeCluster(told, cluster, now)
  const lines = [...about(told, now), '', ...hostTable(told.hosts)]
  if (told.components.length > 0) lines.push('', ...componentTable(told.components, now))
  if (told.unauthenticated > 0) {
    lines.push('', `${plural(told.unauthenticated, 'connection')} not logged in.`)
  }
  for (const problem of log.setup) lines.push('', `Of the log: ${escapeUnsafe(problem)}`)
  if (log.last.length > 0) lines.push('', 'Last warnings and errors:', ...loggedLines(log.last))
  return lines
}

function about(told: ServerStatus, now: number): string[] {
  const { version, process, state, startedAt, log, memory, busy } = told
  const since = `${duration(now - startedAt)} (since ${dateTime(startedAt)})`
  const doing = {
    starting: `is starting, for ${since}`,
    ready: `has run for ${since}`,
    ending: 'is ending',
  }[state]
  return [
    `Legate ${escapeUnsafe(version)}, process ${process}, ${doing}`,
    ...pairs([
      ['  configuration', `${shortPath(told.config ?? '-')}, read ${dateTime(told.configuredAt)}`],
      ['  data folder', told.dataPath],
      ['  listening', listeningOn(told)],
      ['  memory', `${megabytes(memory.resident)}, ${megabytes(memory.heap)} of it in use for JavaScript`],
      ['  processor', `${percent(busy.now)} of a core now, ${percent(busy.average)} since the start`],
      ['  Node', told.node],
      ['  log', `${plural(log.errors, 'error')}, ${plural(log.warnings, 'warning')} since the start`],
    ]),
  ]
}
