// What the command line says when something can not be done, and the exit codes.

import { UserError } from '../auth/users.ts'
import { ConfigError, type ConfigProblem } from '../config/index.ts'
import { StorageError } from '../storage/index.ts'
import { formatFinding, inOrder } from './findings.ts'

/** Exit codes of `legate`. */
export const EXIT = { ok: 0, failed: 1, usage: 2 } as const

/** Something that a person can put right; the message says what and how, and no stack is shown. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
}

/** The same, with the problems of a configuration. */
export class ConfigRefused extends CommandError {
  readonly problems: readonly ConfigProblem[]

  constructor(message: string, problems: readonly ConfigProblem[]) {
    super(message)
    this.problems = problems
  }
}

/** An error as lines for the terminal: with its stack only where it is a mistake of Legate's. */
export function explain(error: unknown): string {
  if (error instanceof ConfigError) return lines('the configuration can not be used:', error.problems)
  if (error instanceof ConfigRefused) return lines(error.message, error.problems)
  if (error instanceof CommandError || error instanceof UserError || error instanceof StorageError) {
    return `legate: ${error.message}`
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return `legate: this should not have happened; please report it:\n${text}`
}

function lines(message: string, problems: readonly ConfigProblem[]): string {
  return [`legate: ${message}`, ...inOrder(problems).map((problem) => formatFinding(problem))].join('\n')
}
