// The option `log` in all of Prosody's forms, as a list of rules.

import * as z from 'zod'
import { isTable, sequenceOf } from './kinds.ts'
import { showValue } from './values.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export const logLevels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']

/** Where some levels of the log go. */
export interface LogRule {
  levels: readonly LogLevel[]
  to: 'file' | 'console' | 'stdout' | 'syslog' | 'nowhere'
  /** As written, relative to the configuration's folder; only for `to: 'file'`. */
  filename?: string
  /** strftime format, or whether there is a time at all. */
  timestamps?: string | boolean
}

const SINKS: readonly LogRule['to'][] = ['file', 'console', 'stdout', 'syslog', 'nowhere']
const HELP =
  'must be a file name, or a table such as { info = "legate.log"; error = "*syslog"; { levels = { "debug" }, to = "console" } }'

class Wrong extends Error {}

function isLevel(value: unknown): value is LogLevel {
  return (logLevels as readonly unknown[]).includes(value)
}

function level(value: unknown): LogLevel {
  if (isLevel(value)) return value
  throw new Wrong(`has the level ${showValue(value)}: the levels are ${logLevels.join(', ')}`)
}

function sink(name: unknown): LogRule['to'] {
  const found = SINKS.find((candidate) => candidate === name)
  if (found) return found
  throw new Wrong(`goes to ${showValue(name)}: a log can go to ${SINKS.join(', ')}`)
}

function between(min: LogLevel, max: LogLevel = 'error'): LogLevel[] {
  return logLevels.slice(logLevels.indexOf(min), logLevels.indexOf(max) + 1)
}

/** `levels` of a rule: absent, one level, a list, or { min = …, max = … }. */
function levelsOf(value: unknown): LogLevel[] {
  if (value === undefined) return [...logLevels]
  if (typeof value === 'string') return [level(value)]
  const listed = sequenceOf(value).map(level)
  if (!isTable(value)) {
    if (Array.isArray(value)) return listed
    throw new Wrong('has levels that are neither a level nor a list of them')
  }
  const { min, max } = value
  if (min === undefined && max === undefined) return listed
  return [...new Set([...between(level(min ?? 'debug'), level(max ?? 'error')), ...listed])]
}

/** A target written as text: `*syslog`, or a file's name. */
function target(value: unknown, levels: LogLevel[], whose = ''): LogRule {
  if (typeof value !== 'string' || value === '') {
    throw new Wrong(`needs a file name or "*console"${whose}, is ${showValue(value)}`)
  }
  if (value.startsWith('*')) return { levels, to: sink(value.slice(1)) }
  return { levels, to: 'file', filename: value, timestamps: true }
}

function rule(value: unknown): LogRule {
  if (typeof value === 'string') return target(value, [...logLevels])
  if (!isTable(value)) throw new Wrong(HELP)
  const { timestamps, filename } = value
  const to = sink(value['to'])
  const out: LogRule = { levels: levelsOf(value['levels']), to }
  if (to === 'file') {
    if (typeof filename !== 'string' || filename === '') throw new Wrong('goes to a file without a filename')
    out.filename = filename
  }
  if (typeof timestamps === 'string' || typeof timestamps === 'boolean') out.timestamps = timestamps
  return out
}

/** @throws Wrong */
function rules(value: unknown): LogRule[] {
  // A sink named in a string has all levels, a file those that are no debugging.
  if (typeof value === 'string')
    return [target(value, value.startsWith('*') ? [...logLevels] : between('info'))]
  if (!isTable(value) && !Array.isArray(value)) throw new Wrong(HELP)
  const found: LogRule[] = []
  for (const [key, entry] of Object.entries(value)) {
    if (!Array.isArray(value) && !/^\d+$/.test(key))
      found.push(target(entry, between(level(key)), ` for ${key}`))
  }
  return [...found, ...sequenceOf(value).map(rule)]
}

/** Schema of the option `log`; reads as a list of {@link LogRule}. */
export const logOption = z.unknown().transform((value, context): LogRule[] => {
  try {
    return rules(value)
  } catch (error) {
    if (!(error instanceof Wrong)) throw error
    context.addIssue({ code: 'custom', message: error.message })
    return z.NEVER
  }
})
