// The plugins that a configuration uses and those that Legate has, and all options that they and the core read.

import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { allCoreOptions, type Config, type OptionSpec } from '../config/index.ts'
import type { PluginDefinition } from '../module.ts'
import { importPlugin, PluginError, pluginPathsOf } from '../plugin-files.ts'

/** What is known of plugins. */
export interface KnownPlugins {
  /** By name: those that the configuration names and that are there, and all of Legate's own. */
  readonly definitions: ReadonlyMap<string, PluginDefinition>
  /** By name: why a plugin that the configuration names is not there. */
  readonly missing: ReadonlyMap<string, PluginError>
  /** By name: every option that the core or a plugin reads. */
  readonly options: ReadonlyMap<string, OptionSpec>
}

/** Imports the plugins, without loading them. */
export async function knownPlugins(config: Config): Promise<KnownPlugins> {
  const definitions = new Map<string, PluginDefinition>()
  const missing = new Map<string, PluginError>()
  const named = new Set(config.hosts.flatMap(({ name }) => config.modulesFor(name)))
  const paths = pluginPathsOf(config)
  for (const name of new Set([...named, ...ownPlugins()])) {
    try {
      definitions.set(name, await importPlugin(name, paths))
    } catch (error) {
      if (!(error instanceof PluginError)) throw error
      if (named.has(name)) missing.set(name, error)
    }
  }
  const options = new Map<string, OptionSpec>()
  for (const { options: own } of definitions.values()) {
    for (const [name, spec] of Object.entries(own ?? {})) options.set(name, spec)
  }
  // A plugin that reads an option of the core declares it as the core does.
  for (const [name, spec] of allCoreOptions) options.set(name, spec)
  return { definitions, missing, options }
}

/** Plugins, what they depend on, what that depends on … */
export function withDepends(names: Iterable<string>, { definitions }: KnownPlugins): Set<string> {
  const all = new Set(names)
  // A set is also iterated over what is added meanwhile.
  for (const name of all) for (const other of definitions.get(name)?.depends ?? []) all.add(other)
  return all
}

/** Names of the plugins that come with Legate. */
function ownPlugins(): string[] {
  const folder = fileURLToPath(new URL('../../plugins/', import.meta.url))
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() || /(?<!\.d)\.[jt]s$/.test(entry.name))
    .map(({ name }) => name.replace(/\.[jt]s$/, ''))
}
