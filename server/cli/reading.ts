// Small readings of a configuration that several commands need.

import { type Config, ConfigError, type ConfigProblem, type HostDeclaration } from '../config/index.ts'

/** The file of the storage `internal`, in the data folder. */
export const STORAGE_FILE = 'storage.mdb'

/** Hosts without `enabled = false`. */
export function servedHosts(config: Config): HostDeclaration[] {
  return config.hosts.filter(({ enabled }) => enabled)
}

/** What reading gives; undefined where the option is of the wrong kind, which checkOptions tells. */
export function parsed<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof ConfigError) return undefined
    throw error
  }
}

/** Something that is wrong with a host as such: it is told at the host's section. */
export function hostProblem(
  config: Config,
  host: HostDeclaration,
  severity: ConfigProblem['severity'],
  message: string,
): ConfigProblem {
  return { severity, message, host: host.name, position: host.position ?? { file: config.path ?? '' } }
}
