// Looks through a configuration for everything that can not work, as far as the configuration itself tells.

import {
  type Config,
  ConfigError,
  type ConfigProblem,
  checkOptions,
  coreOptions,
  type HostDeclaration,
  optionProblem,
} from '../config/index.ts'
import type { PluginCheck } from '../module.ts'
import { missingForPeople } from './examine-people.ts'
import { listed, missingPlugins } from './examine-plugins.ts'
import { examinePorts } from './examine-ports.ts'
import { missingRedis } from './examine-redis.ts'
import { type KnownPlugins, withDepends } from './known-plugins.ts'
import { hostProblem, servedHosts } from './reading.ts'

/** What was found, by what follows from it. */
export interface Examined {
  /** Of these an error keeps the server from starting. */
  readonly options: readonly ConfigProblem[]
  /** The server starts, but something that is configured does not work. */
  readonly setup: readonly ConfigProblem[]
  /** About plugins, which the server itself tells when it loads them. */
  readonly plugins: readonly ConfigProblem[]
}

/** The plugin that serves a component which names none: for external components. */
const EXTERNAL_COMPONENT = 'component'

/**
 * Examines a configuration without looking at anything else.
 *
 * @param accountExists - for plugins that check that an account is there
 */
export async function examineConfig(
  config: Config,
  known: KnownPlugins,
  accountExists: PluginCheck['accountExists'],
): Promise<Examined> {
  const options = [...checkOptions(config, known.options), ...hostless(config), ...missingRedis(config)]
  const setup = [...examinePorts(config, known)]
  const plugins = [...missingPlugins(config, known)]
  for (const host of servedHosts(config)) {
    setup.push(...missingSecret(config, host), ...idleOptions(config, host, known))
    setup.push(...missingForPeople(config, host, known))
    plugins.push(...misplacedPlugins(config, host, known))
    for (const name of pluginsToAsk(config, host, known)) {
      const check = known.definitions.get(name)?.check
      if (check === undefined) continue
      try {
        setup.push(...(await check({ config, host, accountExists })))
      } catch (error) {
        // An option of the wrong kind, which checkOptions has told.
        if (!(error instanceof ConfigError)) throw error
      }
    }
  }
  return { options, setup, plugins }
}

function hostless(config: Config): ConfigProblem[] {
  const served = servedHosts(config)
  if (served.some(({ type }) => type === 'host')) return []
  const position = config.path === undefined ? undefined : { file: config.path }
  const message =
    config.hosts.length === 0
      ? 'there is no VirtualHost: add one with the domain of your accounts, such as VirtualHost "example.org"'
      : 'there is no VirtualHost that is enabled, so nobody has an account here: add one, such as VirtualHost "example.org"'
  return [{ severity: 'error', message, position }]
}

/** Whether a component connects from outside (XEP-0114). */
export function isExternal(host: HostDeclaration): boolean {
  return host.type === 'component' && (host.module ?? EXTERNAL_COMPONENT) === EXTERNAL_COMPONENT
}

function missingSecret(config: Config, host: HostDeclaration): ConfigProblem[] {
  if (!isExternal(host) || config.get(host.name, 'component_secret') !== undefined) return []
  return [
    hostProblem(
      config,
      host,
      'error',
      `Component "${host.name}" has no component_secret, so it can not connect: ` +
        'add component_secret = "…" to its section, and give the component the same',
    ),
  ]
}

/** Options of plugins that the host does not have: they do nothing. */
function idleOptions(config: Config, host: HostDeclaration, known: KnownPlugins): ConfigProblem[] {
  const enabled = withDepends(config.modulesFor(host.name), known)
  const problems: ConfigProblem[] = []
  const set = new Set(config.optionNames(host.name))
  // What the global section delegates is delegated by every VirtualHost.
  if (host.type === 'host' && config.get(host.name, 'delegations') !== undefined) set.add('delegations')
  for (const option of set) {
    if (Object.hasOwn(coreOptions, option)) continue
    const readers = [...known.definitions.values()].filter(({ options }) =>
      Object.hasOwn(options ?? {}, option),
    )
    if (readers.length === 0 || readers.some(({ name }) => enabled.has(name))) continue
    const names = readers.map(({ name }) => `"${name}"`).join(' or ')
    // Namespaces that are not delegated are a mistake; other options may be left from another time.
    const severity = option === 'delegations' ? 'error' : 'warning'
    const message =
      `${option} is set, but ${host.name} does not have the plugin that reads it: ` +
      `add ${names} to modules_enabled`
    problems.push(optionProblem(config, severity, host.name, option, message))
  }
  return problems
}

/** Plugins whose check is asked: those of the host with what they depend on, and those it only has the options of. */
function pluginsToAsk(config: Config, host: HostDeclaration, known: KnownPlugins): Set<string> {
  const names = withDepends(config.modulesFor(host.name), known)
  const set = config.optionNames(host.name).filter((option) => !Object.hasOwn(coreOptions, option))
  for (const { name, options = {} } of known.definitions.values()) {
    if (set.some((option) => Object.hasOwn(options, option))) names.add(name)
  }
  return names
}

/** Plugins that a host's own section names and that are for hosts of the other kind. */
function misplacedPlugins(config: Config, host: HostDeclaration, known: KnownPlugins): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const own = config.has(host.name, 'modules_enabled') ? listed(config, host.name) : []
  for (const name of new Set(own)) {
    const wanted = known.definitions.get(name)?.hostType
    if (wanted === undefined || wanted === host.type) continue
    const kind = wanted === 'component' ? 'a Component' : 'a VirtualHost'
    const message = `modules_enabled: the plugin "${name}" is for ${kind}, and ${host.name} is none: take it out`
    problems.push(optionProblem(config, 'error', host.name, 'modules_enabled', message))
  }
  if (host.module !== undefined && known.definitions.get(host.module)?.hostType === 'host') {
    problems.push(hostProblem(config, host, 'error', `the plugin "${host.module}" can not serve a component`))
  }
  return problems
}
