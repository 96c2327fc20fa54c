/** Finds plugins by name and reads their definitions. */

import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type Config, coreOptions, readOption } from './config/index.ts'
import type { PluginDefinition } from './module.ts'

/** Why a plugin is not there. */
export class PluginError extends Error {
  readonly code: 'unknown-plugin' | 'wrong-host' | 'broken-plugin' | 'circular-depends'

  constructor(code: PluginError['code'], message: string) {
    super(message)
    this.name = 'PluginError'
    this.code = code
  }
}

const PLUGIN_NAME = /^[a-z0-9_]+$/
const OWN_EXTENSION = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
const OWN_FOLDER = fileURLToPath(new URL('../plugins/', import.meta.url))

/** The folders of the operator's own plugins (option `plugin_paths`). */
export function pluginPathsOf(config: Config): string[] {
  const paths = readOption(config, '*', 'plugin_paths', coreOptions.plugin_paths)
  return paths.map((path) => resolve(config.directory, path))
}

/**
 * Where a plugin's file is: `NAME` or `NAME/index` in one of the folders.
 *
 * @param name - as in `modules_enabled`
 * @param paths - folders that are searched before Legate's own
 */
export function findPlugin(name: string, paths: readonly string[] = []): string | undefined {
  if (!PLUGIN_NAME.test(name)) return undefined
  for (const path of paths) {
    for (const file of [join(path, `${name}.js`), join(path, name, 'index.js')])
      if (existsSync(file)) return file
  }
  for (const file of [
    join(OWN_FOLDER, name + OWN_EXTENSION),
    join(OWN_FOLDER, name, `index${OWN_EXTENSION}`),
  ]) {
    if (existsSync(file)) return file
  }
  return undefined
}

/**
 * Reads a plugin's definition without loading it on a host.
 *
 * @throws PluginError
 */
export async function importPlugin(
  name: string,
  paths: readonly string[] = [],
  revision = 0,
): Promise<PluginDefinition> {
  const file = findPlugin(name, paths)
  if (file === undefined) {
    throw new PluginError('unknown-plugin', `there is no plugin "${name}"; take it out of modules_enabled`)
  }
  const url = pathToFileURL(file).href
  let imported: { default?: unknown }
  try {
    // Another address makes Node read the file again.
    imported = await import(/* @vite-ignore */ revision === 0 ? url : `${url}?revision=${revision}`)
  } catch (error) {
    throw new PluginError(
      'broken-plugin',
      `the plugin "${name}" can not be read: ${(error as Error).message}`,
    )
  }
  const definition = imported.default
  if (!isDefinition(definition)) {
    throw new PluginError(
      'broken-plugin',
      `${file} has no definePlugin({ name, load }) as its default export`,
    )
  }
  if (definition.name !== name) {
    throw new PluginError('broken-plugin', `${file} calls itself "${definition.name}", not "${name}"`)
  }
  return definition
}

function isDefinition(value: unknown): value is PluginDefinition {
  if (typeof value !== 'object' || value === null) return false
  const { name, load, shared, depends = [] } = value as Partial<PluginDefinition>
  const callable = [load, shared].every((part) => part === undefined || typeof part === 'function')
  return typeof name === 'string' && callable && Array.isArray(depends)
}
