// What is known of an option, and reading an option by it.

import type * as z from 'zod'
import type { Config } from './config.ts'
import { isTable } from './kinds.ts'
import { ConfigError, type ConfigProblem } from './problems.ts'
import { showValue } from './values.ts'

/** An option: its schema, with the default and coercions, and what it is for. */
export interface OptionSpec<T = unknown> {
  /** What an absent option (`undefined`) gives is the default. */
  schema: z.ZodType<T>
  /** `global`: one for the whole server, a host cannot have its own. Otherwise either. */
  scope?: 'global' | 'host' | 'any'
  description: string
  /** Its value is never shown in a message. */
  secret?: boolean
  /** What to tell about a value that is valid but does not do what one may think. */
  advice?(value: T): string | undefined
}

/** Declares an option, keeping the type of what it reads as. */
export function option<T>(spec: OptionSpec<T>): OptionSpec<T> {
  return spec
}

type Parsed<T> = { value: T } | { problems: string[] }

/** `delegations["urn:x"].jid`, `c2s_ports[1]`: Lua's way of saying where in a table. */
function pathOf(name: string, path: readonly PropertyKey[]): string {
  let out = name
  for (const key of path) {
    if (typeof key === 'number') out += `[${key + 1}]`
    else if (/^[A-Za-z_]\w*$/.test(String(key))) out += `.${String(key)}`
    else out += `[${JSON.stringify(String(key).slice(0, 100))}]`
  }
  return out
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value
  for (const key of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined
    at = (at as Record<PropertyKey, unknown>)[key]
  }
  return at
}

/** An empty table of Lua is neither a list nor an object: what was not meant is tried the other way. */
function otherEmpty(value: unknown): unknown {
  if (Array.isArray(value) && value.length === 0) return {}
  if (isTable(value) && Object.keys(value).length === 0) return []
  return undefined
}

/** Parses an option's value; problems are sentences that begin with the option's name. */
export function parseOption<T>(name: string, value: unknown, spec: OptionSpec<T>): Parsed<T> {
  let result = spec.schema.safeParse(value)
  if (!result.success) {
    const other = otherEmpty(value)
    const again = other === undefined ? result : spec.schema.safeParse(other)
    if (again.success) result = again
  }
  if (result.success) return { value: result.data }
  const problems = result.error.issues.map((issue) => {
    const where = pathOf(name, issue.path)
    if (!issue.message.startsWith('must ')) {
      return `${where}${/^(has|goes|needs) /.test(issue.message) ? '' : ':'} ${issue.message}`
    }
    const wrong = valueAt(value, issue.path)
    if (wrong === undefined && issue.path.length > 0) return `${where} is missing: it ${issue.message}`
    return spec.secret === true
      ? `${where} ${issue.message}`
      : `${where} ${issue.message}, is ${showValue(wrong)}`
  })
  return { problems: [...new Set(problems)] }
}

/** A problem with an option, at the place where it was set. */
export function optionProblem(
  config: Config,
  severity: 'error' | 'warning',
  host: string,
  name: string,
  message: string,
): ConfigProblem {
  const position = config.position(host, name)
  return {
    severity,
    message,
    option: name,
    ...(host !== '*' && { host }),
    ...(position && { position }),
  }
}

/**
 * An option as a host sees it, parsed, or its default.
 * @throws ConfigError where it is of the wrong kind
 */
export function readOption<T>(config: Config, host: string, name: string, spec: OptionSpec<T>): T {
  const parsed = parseOption(name, config.get(host, name), spec)
  if ('value' in parsed) return parsed.value
  throw new ConfigError(parsed.problems.map((message) => optionProblem(config, 'error', host, name, message)))
}
