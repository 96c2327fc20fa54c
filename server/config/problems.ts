// What is wrong with a configuration, and how it is said.

/** A place in a file of the configuration. Lines count from 1. */
export interface SourcePosition {
  file: string
  line?: number
}

/** One thing that is wrong. An error keeps the server from starting, a warning is only told. */
export interface ConfigProblem {
  severity: 'error' | 'warning'
  message: string
  /** The host in whose section the option was set; absent for the global section. */
  host?: string
  option?: string
  position?: SourcePosition
}

/** A problem in one line: `file:line: host capulet.lit: message`. */
export function formatProblem(problem: ConfigProblem): string {
  const { position, host, message } = problem
  const place =
    position === undefined
      ? ''
      : position.line === undefined
        ? `${position.file}: `
        : `${position.file}:${position.line}: `
  return `${place}${host === undefined || host === '*' ? '' : `host ${host}: `}${message}`
}

/** The configuration cannot be used. `problems` has each reason, `message` all of them, one a line. */
export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[]) {
    super(problems.map(formatProblem).join('\n'))
    this.name = 'ConfigError'
    this.problems = problems
  }
}
