// Finds the configuration file when --config does not name one.

import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Config, loadConfigFile } from '../config/index.ts'
import { CommandError } from './failure.ts'

/** Where a configuration is looked for, in this order; relative ones are of the working directory. */
export const CONFIG_PLACES: readonly string[] = [
  'prosody.cfg.lua',
  'legate.cfg.lua',
  '/etc/legate/prosody.cfg.lua',
  '/etc/legate/legate.cfg.lua',
]

/** Prosody's own file is not taken unasked: its data folder is another server's. */
const PROSODY_CONFIG = '/etc/prosody/prosody.cfg.lua'

/**
 * The configuration file to use, as an absolute path.
 *
 * @param given - what `--config` or LEGATE_CONFIG says
 * @throws CommandError if there is none
 */
export function findConfigFile(given: string | undefined): string {
  if (given !== undefined) {
    const path = resolve(given)
    if (!existsSync(path))
      throw new CommandError(`there is no file ${path}; --config names the configuration`)
    return path
  }
  const found = CONFIG_PLACES.map((place) => resolve(place)).find((path) => existsSync(path))
  if (found !== undefined) return found
  const prosody = existsSync(PROSODY_CONFIG)
    ? `\n  Prosody has a configuration here; Legate reads it too: --config ${PROSODY_CONFIG}`
    : ''
  throw new CommandError(
    `there is no configuration. It is looked for at\n${CONFIG_PLACES.map((place) => `    ${resolve(place)}`).join('\n')}\n` +
      '  To begin, put this into prosody.cfg.lua, or name a file with --config FILE:\n' +
      '    modules_enabled = { "tls", "saslauth", "roster", "disco" }\n' +
      `    VirtualHost "localhost"${prosody}`,
  )
}

/**
 * Finds and reads the configuration for a command that only looks at it or at the storage: systemd's
 * credentials, which only the service has, may be missing.
 *
 * @throws CommandError if there is none, ConfigError if it can not be read
 */
export function readConfig(given: string | undefined): Promise<Config> {
  return loadConfigFile(findConfigFile(given), { credentials: 'optional' })
}
