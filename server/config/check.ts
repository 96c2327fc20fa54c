// Looks through a configuration for what cannot be right: options of the wrong kind, unknown ones, misplaced ones.

import { type Config, GLOBAL } from './config.ts'
import { type OptionSpec, optionProblem, parseOption } from './option-spec.ts'
import type { ConfigProblem } from './problems.ts'
import { prosodyOnlyOptions } from './prosody-options.ts'

/** Names longer than this are not compared: none that is known is near them. */
const MAX_COMPARED = 64

/** Letters to change, add, leave out or swap with their neighbour to make one word of the other. */
function distance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let least = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, beforeLast[j - 2]! + 1)
      }
      row.push(least)
    }
    beforeLast = last
    last = row
  }
  return last[b.length]!
}

/** The known name that a misspelt one is nearest to, if it is near. */
function nearest(name: string, candidates: Iterable<string>): string | undefined {
  if (name.length > MAX_COMPARED) return undefined
  const most = name.length < 5 ? 1 : name.length < 10 ? 2 : 3
  let best: string | undefined
  let least = most + 1
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - name.length) >= least) continue
    const apart = distance(name.toLowerCase(), candidate)
    if (apart < least) {
      best = candidate
      least = apart
    }
  }
  return best
}

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
