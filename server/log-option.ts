/** Where which levels of the log go, from the option `log`. */

import { type LogLevel, logLevels, logOption } from './config/log-option.ts'

export const LEVELS = logLevels
export type Level = LogLevel

/** One destination of the log. */
export interface LogRule {
  /** A file name as configured, or undefined for the console. */
  filename: string | undefined
  levels: ReadonlySet<Level>
  timestamps: boolean
}

/**
 * Reads the `log` option in any of Prosody's forms. What can not be honoured is said in `problems`, and goes to
 * the console.
 *
 * @param option - absent: the console
 * @param debug - whether that has the level debug too
 */
export function readLogOption(option: unknown, debug = false): { rules: LogRule[]; problems: string[] } {
  const problems: string[] = []
  const absent = { filename: undefined, levels: from(debug ? 'debug' : 'info'), timestamps: true }
  if (option === undefined || option === null) return { rules: [absent], problems }
  const parsed = logOption.safeParse(option)
  if (!parsed.success) {
    for (const { message } of parsed.error.issues) problems.push(`log ${message}; it goes to the console`)
    return { rules: [absent], problems }
  }
  const rules = parsed.data
    .filter(({ to }) => to !== 'nowhere')
    .map(({ levels, to, filename, timestamps }): LogRule => {
      if (to === 'syslog' && problems.length === 0) {
        problems.push(
          'log: syslog is not supported, its levels go to the console; under systemd the journal takes them from there',
        )
      }
      return {
        filename: to === 'file' ? filename : undefined,
        levels: new Set(levels),
        timestamps: timestamps !== false,
      }
    })
  return { rules, problems }
}

function from(level: Level): ReadonlySet<Level> {
  return new Set(LEVELS.slice(LEVELS.indexOf(level)))
}
