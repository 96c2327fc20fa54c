// Prosody's `log` option in its forms, read into a list of where which levels go.

export const LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type Level = (typeof LEVELS)[number]

/** One destination of the log. */
export interface LogRule {
  /** a file name as configured, or undefined for the console */
  filename: string | undefined
  levels: ReadonlySet<Level>
  timestamps: boolean
}

/**
 * Reads the `log` option: absent, a file name, `"*console"`, or a table of levels and rules.
 * What can not be honoured is said in `problems`, and goes to the console.
 */
export function readLogOption(option: unknown): { rules: LogRule[]; problems: string[] } {
  const problems: string[] = []
  const rules: LogRule[] = []
  if (option === undefined || option === null) {
    rules.push(toConsole(from('info')))
  } else if (typeof option === 'string') {
    // A sink named in a string has all levels, a file those that are no debugging
    rules.push(namedRule(option, option.startsWith('*') ? from('debug') : from('info'), problems))
  } else if (typeof option === 'object') {
    const entries = option instanceof Map ? [...option] : Object.entries(option)
    for (const [key, value] of entries as [unknown, unknown][]) {
      const rule = readEntry(key, value, problems)
      if (rule !== undefined) rules.push(rule)
    }
  } else {
    problems.push(`log: expected a file name or a table, got ${typeof option}; logging to the console`)
    rules.push(toConsole(from('info')))
  }
  return { rules, problems }
}

function readEntry(key: unknown, value: unknown, problems: string[]): LogRule | undefined {
  const name = String(key)
  if (isLevel(name)) {
    if (typeof value === 'string') return namedRule(value, from(name), problems)
    problems.push(`log.${name}: expected a file name or "*console", got ${typeof value}`)
    return undefined
  }
  if (!/^\d+$/.test(name)) {
    problems.push(`log: there is no level "${name}"; levels are ${LEVELS.join(', ')}`)
    return undefined
  }
  if (typeof value === 'string') return namedRule(value, from('debug'), problems)
  if (typeof value === 'object' && value !== null) return readRule(value as Record<string, unknown>, problems)
  problems.push(
    `log: expected a table like { levels = { min = "info" }, to = "console" }, got ${typeof value}`,
  )
  return undefined
}

function readRule(rule: Record<string, unknown>, problems: string[]): LogRule | undefined {
  const levels = readLevels(rule['levels'], problems)
  const timestamps = rule['timestamps'] !== false
  const to = rule['to']
  if (to === 'file') {
    if (typeof rule['filename'] === 'string') return { filename: rule['filename'], levels, timestamps }
    problems.push('log: a rule with to = "file" needs a filename; its levels go to the console')
    return { ...toConsole(levels), timestamps }
  }
  if (to === 'nowhere') return undefined
  return { ...namedRule(`*${String(to)}`, levels, problems), timestamps }
}

/** A destination written as `*console` or as a file name. */
function namedRule(text: string, levels: ReadonlySet<Level>, problems: string[]): LogRule {
  if (!text.startsWith('*')) return { filename: text, levels, timestamps: true }
  if (text === '*syslog') {
    const problem =
      'log: syslog is not supported, its levels go to the console; under systemd the journal takes them from there'
    if (!problems.includes(problem)) problems.push(problem)
  } else if (text !== '*console' && text !== '*stdout') {
    problems.push(`log: there is no destination "${text.slice(1)}"; its levels go to the console`)
  }
  return toConsole(levels)
}

function readLevels(levels: unknown, problems: string[]): ReadonlySet<Level> {
  if (levels === undefined || levels === null) return from('debug')
  const chosen = new Set<Level>()
  const add = (name: unknown): void => {
    if (isLevel(name)) chosen.add(name)
    else problems.push(`log: there is no level "${String(name)}"; levels are ${LEVELS.join(', ')}`)
  }
  if (typeof levels !== 'object') {
    add(levels)
    return chosen
  }
  const entries = levels instanceof Map ? [...levels] : Object.entries(levels)
  const limits = new Map<unknown, unknown>(entries as [unknown, unknown][])
  const min = limits.get('min')
  const max = limits.get('max')
  if (min !== undefined || max !== undefined) {
    for (const limit of [min, max]) if (limit !== undefined && !isLevel(limit)) add(limit)
    const lowest = isLevel(min) ? LEVELS.indexOf(min) : 0
    const highest = isLevel(max) ? LEVELS.indexOf(max) : LEVELS.length - 1
    for (const level of LEVELS.slice(lowest, highest + 1)) chosen.add(level)
  }
  for (const [key, name] of limits) if (key !== 'min' && key !== 'max') add(name)
  return chosen
}

function isLevel(name: unknown): name is Level {
  return (LEVELS as readonly unknown[]).includes(name)
}

function from(level: Level): ReadonlySet<Level> {
  return new Set(LEVELS.slice(LEVELS.indexOf(level)))
}

function toConsole(levels: ReadonlySet<Level>): LogRule {
  return { filename: undefined, levels, timestamps: true }
}
