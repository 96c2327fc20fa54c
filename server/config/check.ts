// Looks through a configuration for what cannot be right: options of the wrong kind, unknown ones, misplaced ones.

import { type Config, GLOBAL } from './config.ts'
import { nearest } from './nearest.ts'
import { type OptionSpec, optionProblem, parseOption } from './option-spec.ts'
import type { ConfigProblem } from './problems.ts'
import { prosodyOnlyOptions } from './prosody-options.ts'

/**
 * What is wrong with the options of a configuration, in the order of its sections, after what was odd in the
 * file itself. Each problem names the host, and file and line where they are known.
 * @param known the options that the core and all plugins in use read, by name
 */
export function checkOptions(config: Config, known: ReadonlyMap<string, OptionSpec>): ConfigProblem[] {
  const problems: ConfigProblem[] = [...config.warnings]
  for (const host of [GLOBAL, ...config.hosts.map(({ name }) => name)]) {
    for (const name of config.optionNames(host)) {
      const tell = (severity: 'error' | 'warning', message: string) => {
        problems.push(optionProblem(config, severity, host, name, message))
      }
      const spec = known.get(name)
      if (spec === undefined) {
        tell('warning', unknown(name, known))
        continue
      }
      const parsed = parseOption(name, config.get(host, name), spec)
      if ('problems' in parsed) for (const message of parsed.problems) tell('error', message)
      else {
        const advice = spec.advice?.(parsed.value)
        if (advice !== undefined) tell('warning', advice)
      }
      if (spec.scope === 'global' && host !== GLOBAL) {
        tell(
          'warning',
          `${name} holds for the whole server and is not read here: set it before the first VirtualHost`,
        )
      } else if (spec.scope === 'host' && host === GLOBAL) {
        tell('warning', `${name} is only read in the section of a VirtualHost or Component, not here`)
      }
    }
  }
  return problems
}

function unknown(name: string, known: ReadonlyMap<string, OptionSpec>): string {
  if (prosodyOnlyOptions.has(name)) return `${name} is an option of Prosody that Legate does not use`
  const meant = nearest(name, known.keys())
  return `the option ${name} is not known${meant === undefined ? '' : `: did you mean ${meant}?`}`
}
