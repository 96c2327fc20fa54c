// legate reload: as SIGHUP, and tells what became of it.

import { type ReloadOutcome, reloadSchema } from '../admin/answers.ts'
import { type Config, ConfigError, type ConfigProblem } from '../config/index.ts'
import { escapeUnsafe } from '../log-text.ts'
import { readConfig } from './config-file.ts'
import { ConfigRefused, EXIT } from './failure.ts'
import { formatFinding, inOrder, mayColour, shortPath } from './findings.ts'
import { askServer } from './running-server.ts'
import { loggedLines } from './status-tables.ts'
import { printJson } from './text.ts'

/** Milliseconds: a configuration may take its time, and there may be many hosts with keys to read. */
const TIMEOUT = 120_000

/** @returns the exit code: 1 if the server goes on with the old configuration */
export async function reload(configFile: string | undefined, json: boolean): Promise<number> {
  const outcome = await askServer(await config(configFile), { command: 'reload' }, reloadSchema, TIMEOUT)
  if (json) printJson(outcome)
  else tell(outcome)
  return outcome.taken ? EXIT.ok : EXIT.failed
}

async function config(configFile: string | undefined): Promise<Config> {
  try {
    return await readConfig(configFile)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    throw new ConfigRefused(
      'the configuration has mistakes, so the server was not asked to read it; it goes on with the old one:',
      error.problems,
    )
  }
}

/** Without what would control the terminal: it is the server that says this. */
function safe({ message, position, ...problem }: ConfigProblem): ConfigProblem {
  return {
    ...problem,
    message: escapeUnsafe(message),
    position: position === undefined ? undefined : { ...position, file: escapeUnsafe(position.file) },
  }
}

function tell({ taken, config, hosts, problems, nextStart, logged, told = [] }: ReloadOutcome): void {
  for (const problem of inOrder(problems)) {
    console.log(formatFinding(safe(problem), mayColour(process.stdout)))
  }
  if (nextStart.length > 0)
    console.log(escapeUnsafe(`Changed, but only read at the next start: ${nextStart.join(', ')}`))
  if (logged.length > 0) {
    console.log('Meanwhile the server has logged:')
    for (const line of loggedLines(logged)) console.log(line)
  }
  if (!taken) {
    console.error('legate: the configuration has mistakes: the server goes on with the old one')
    return
  }
  const path = config === undefined ? 'The configuration' : escapeUnsafe(shortPath(config))
  console.log(`${path} is read again. Hosts and components that are served: ${hosts}.`)
  if (told.length > 0) {
    const names = escapeUnsafe(told.join(', '))
    console.log(
      `Other processes were told to read their own, and their logs tell what became of it: ${names}.`,
    )
  }
}
