// Which plugins a host loads: Prosody's rules of modules_enabled, modules_disabled and what is always there.

import type { Config } from './config.ts'

/** Loaded on every host that does not disable them. */
export const autoloadedModules: readonly string[] = ['presence', 'message', 'iq', 'offline', 'c2s']

/** Of the global modules, those that a component is given as well. */
export const inheritedByComponents: ReadonlySet<string> = new Set([
  'tls',
  'saslauth',
  'dialback',
  'iq',
  's2s',
  's2s_bidi',
  'smacks',
  'server_contact_info',
])

/** What serves a component that names no module: the protocol for external components (XEP-0114). */
const EXTERNAL_COMPONENT = 'component'

/** The names in a list option; one name alone counts as a list of one. */
function names(value: unknown): string[] {
  const list = Array.isArray(value) ? value : [value]
  return list.filter((name): name is string => typeof name === 'string')
}

/** Names of the plugins to load on a host, each once, a component's own module first. */
export function modulesForHost(config: Config, host: string): string[] {
  const declaration = config.hosts.find(({ name }) => name === host)
  const own = (option: string) => (config.has(host, option) ? names(config.get(host, option)) : [])

  const kept = new Set(config.taken(host, 'modules_disabled'))
  const globallyDisabled = names(config.get('*', 'modules_disabled')).filter((name) => !kept.has(name))
  const disabled = new Set([...globallyDisabled, ...config.taken(host, 'modules_enabled')])

  let modules = [...autoloadedModules, ...names(config.get('*', 'modules_enabled'))]
  modules = modules.filter((name) => !disabled.has(name))
  if (declaration?.type === 'component') {
    modules = modules.filter((name) => inheritedByComponents.has(name))
    modules.unshift(declaration.module ?? EXTERNAL_COMPONENT)
  }
  modules.push(...own('modules_enabled'))
  const disabledHere = new Set(own('modules_disabled'))
  // A component without its module would be nothing: it is loaded even where a list disables it.
  return [...new Set(modules)].filter(
    (name, index) => (index === 0 && declaration?.type === 'component') || !disabledHere.has(name),
  )
}
