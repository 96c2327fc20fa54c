// What a host whose accounts are people's lacks, where they would notice: as users of Prosody expect it to be there.

import {
  type Config,
  type ConfigProblem,
  c2sOptions,
  type HostDeclaration,
  optionProblem,
  readOption,
} from '../config/index.ts'
import { type KnownPlugins, withDepends } from './known-plugins.ts'
import { hostProblem, parsed } from './reading.ts'

/** Warnings about a VirtualHost. One that does not name `roster` is not taken for a host of people. */
export function missingForPeople(
  config: Config,
  host: HostDeclaration,
  known: KnownPlugins,
): ConfigProblem[] {
  if (host.type !== 'host') return []
  if (!config.has('*', 'modules_enabled') && !config.has(host.name, 'modules_enabled')) {
    const message =
      `${host.name} has no modules_enabled, so nobody can log in: a server for people has at least ` +
      'modules_enabled = { "tls", "saslauth", "roster", "disco" }'
    return [hostProblem(config, host, 'warning', message)]
  }
  const named = config.modulesFor(host.name)
  if (!named.includes('roster') || !named.includes('c2s')) return []
  const plugins = withDepends(named, known)
  const tell = (message: string) =>
    optionProblem(config, 'warning', host.name, 'modules_enabled', `modules_enabled: ${message}`)
  if (!plugins.has('saslauth')) return [tell('"saslauth" is not in it, so nobody can log in')]
  if (plugins.has('tls') || !needsStartTls(config, host.name, known)) return []
  return [
    tell(
      '"tls" is not in it, and clients must have TLS before they log in (c2s_require_encryption), ' +
        'so nobody can log in at c2s_ports',
    ),
  ]
}

/** Whether there are ports at which a client has to begin TLS after it has connected. */
function needsStartTls(config: Config, host: string, { options }: KnownPlugins): boolean {
  const ports = options.get('c2s_ports')
  return (
    parsed(
      () =>
        readOption(config, host, 'c2s_require_encryption', c2sOptions.c2s_require_encryption) &&
        ports !== undefined &&
        (readOption(config, '*', 'c2s_ports', ports) as number[]).length > 0,
    ) === true
  )
}
