// Plugins that a configuration names and that are not there.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import {
  type Config,
  type ConfigProblem,
  insteadOfModule,
  nearest,
  needlessModules,
  optionProblem,
} from '../config/index.ts'
import { pluginPathsOf } from '../plugin-files.ts'
import type { KnownPlugins } from './known-plugins.ts'
import { hostProblem, parsed, servedHosts } from './reading.ts'

/** Each of them once for each section that names it, with what there is instead. */
export function missingPlugins(config: Config, known: KnownPlugins): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  for (const [name, error] of known.missing) {
    if (needlessModules.has(name)) continue
    const broken = error.code === 'unknown-plugin' ? undefined : error.message
    const severity = broken === undefined ? 'warning' : 'error'
    const advice = broken === undefined ? adviceOn(config, name, known) : ''
    const message =
      broken ?? `modules_enabled: there is no plugin "${name}" in Legate yet; it is left out${advice}`
    for (const section of ['*', ...servedHosts(config).map((host) => host.name)]) {
      if (!config.has(section, 'modules_enabled') || !listed(config, section).includes(name)) continue
      problems.push(optionProblem(config, severity, section, 'modules_enabled', message))
    }
    for (const host of servedHosts(config).filter(({ module }) => module === name)) {
      const whole =
        broken ??
        `there is no plugin "${name}" in Legate yet, so nobody answers at the component ${host.name}${advice}`
      problems.push(hostProblem(config, host, severity, whole))
    }
  }
  return problems
}

/** The names in `modules_enabled` of a section. */
export function listed(config: Config, section: string): string[] {
  const value = config.get(section, 'modules_enabled')
  return (Array.isArray(value) ? value : [value]).filter((name): name is string => typeof name === 'string')
}

function adviceOn(config: Config, name: string, { definitions }: KnownPlugins): string {
  const instead = insteadOfModule(name)
  if (instead !== undefined) return `: ${instead}`
  for (const folder of parsed(() => pluginPathsOf(config)) ?? []) {
    for (const file of [`mod_${name}.lua`, join(`mod_${name}`, `mod_${name}.lua`)]) {
      if (existsSync(join(folder, file))) return `: ${join(folder, file)} is Lua, which Legate does not run`
    }
  }
  const meant = nearest(name, definitions.keys())
  return meant === undefined ? '' : `: did you mean "${meant}"?`
}
