// The same options as an object, for programs that embed the server: createServer({ … }).

import { prepareDomain } from '../jid-profiles.ts'
import { Config, GLOBAL, type HostDeclaration, isEnabled, type SetOption } from './config.ts'
import { isTable } from './kinds.ts'
import { ConfigError, type ConfigProblem } from './problems.ts'

/** A period: seconds, or text such as "5 minutes"; `false` and "never" are for ever. */
export type Period = number | string | false

type OneOrMore<T> = T | readonly T[]

/** Options that a host may have of its own, and that hold for all hosts where they are given globally. */
export interface HostOptions {
  /** Whether the host is served; true if absent. Only for a host. */
  enabled?: boolean
  modules_enabled?: OneOrMore<string>
  modules_disabled?: OneOrMore<string>
  /** Name of a storage for everything, or by the name of a store. */
  storage?: string | Readonly<Record<string, string>>
  default_storage?: string
  authentication?: string
  /** Iterations of PBKDF2 for new passwords. */
  default_iteration_count?: number
  /** File name of the host's certificate chain. */
  certificate?: string
  ssl?: Readonly<Record<string, unknown>> & { key?: string; certificate?: string }
  /** JIDs. */
  admins?: OneOrMore<string>
  /** Name for people. */
  name?: string
  max_resources?: number
  conflict_resolve?: 'kick_old' | 'kick_new' | 'random' | 'increment'
  disco_items?: readonly (readonly [jid: string, name?: string] | { jid: string; name?: string })[]
  disco_hidden?: boolean
  c2s_require_encryption?: boolean
  allow_unencrypted_plain_auth?: boolean
  c2s_timeout?: Period
  c2s_close_timeout?: Period
  c2s_tcp_keepalives?: boolean
  /** Bytes. */
  c2s_stanza_size_limit?: number
  /** Bytes. */
  c2s_unauthed_stanza_size_limit?: number
  insecure_sasl_mechanisms?: OneOrMore<string>
  disable_sasl_mechanisms?: OneOrMore<string>
  tls_channel_binding?: boolean
  component_secret?: string
  component_conflict_resolve?: 'kick_new' | 'kick_old' | 'share'
  validate_from_addresses?: boolean
  /** Bytes. */
  component_stanza_size_limit?: number
  /** Bytes. */
  s2s_stanza_size_limit?: number
  component_tcp_keepalives?: boolean
  /** By namespace; the plugin delegation knows what is inside. */
  delegations?: Readonly<Record<string, unknown>>
  delegation_timeout?: Period
  delegation_compat?: OneOrMore<'urn:xmpp:delegation:1'>
  /** Options of plugins. */
  [option: string]: unknown
}

/** Options of a component. */
export interface ComponentOptions extends HostOptions {
  /** The plugin that serves the component; absent for an external one (XEP-0114). */
  module?: string
}

/** All that a server is configured with: global options, and its hosts. Names are Prosody's. */
export interface ServerOptions extends HostOptions {
  virtualHosts?: Readonly<Record<string, HostOptions>>
  components?: Readonly<Record<string, ComponentOptions>>
  interfaces?: OneOrMore<string>
  local_interfaces?: OneOrMore<string>
  use_ipv4?: boolean
  use_ipv6?: boolean
  tcp_keepalives?: boolean
  /** Relative to the working directory. */
  data_path?: string
  certificates?: string
  /** Where Redis is: one of `url`, `sentinels` and `cluster`. */
  redis?: Readonly<Record<string, unknown>>
  cluster?: Readonly<Record<string, unknown>>
  cluster_lease?: number
  log?: string | readonly unknown[] | Readonly<Record<string, unknown>>
  debug?: boolean
  pidfile?: string
  limits?: Readonly<Record<string, { rate: string; burst?: string | number }>>
  c2s_ports?: OneOrMore<number>
  c2s_interfaces?: OneOrMore<string>
  stanza_depth_limit?: number
  stanza_attribute_limit?: number
  component_ports?: OneOrMore<number>
  component_interfaces?: OneOrMore<string>
}

/**
 * A configuration from an object. Relative paths in it are relative to the working directory.
 * @throws ConfigError where hosts are not what they must be; options are checked by `checkOptions`
 */
export function configFromObject(object: ServerOptions): Config {
  const problems: ConfigProblem[] = []
  const hosts: HostDeclaration[] = []
  const sections = new Map<string, Map<string, SetOption>>()
  const complain = (message: string) => problems.push({ severity: 'error', message })

  const addSection = (name: string, options: Readonly<Record<string, unknown>>, apart: readonly string[]) => {
    const section = new Map<string, SetOption>()
    for (const [option, value] of Object.entries(options)) {
      if (value !== undefined && !apart.includes(option)) section.set(option, { value })
    }
    sections.set(name, section)
  }
  const addHosts = (key: 'virtualHosts' | 'components', type: HostDeclaration['type']) => {
    const declared: unknown = object[key] ?? {}
    if (!isTable(declared)) {
      complain(`${key} must be an object from names to options`)
      return
    }
    for (const [name, options] of Object.entries(declared)) {
      const where = `${key}[${JSON.stringify(name)}]`
      const domain = prepareDomain(name)
      if (domain === undefined) complain(`${where}: this is not a name that a domain can have`)
      else if (!isTable(options)) complain(`${where} must be an object of options`)
      else if (sections.has(domain)) complain(`${where}: the domain ${domain} is declared twice`)
      else {
        const module = type === 'component' ? options['module'] : undefined
        if (module !== undefined && typeof module !== 'string') complain(`${where}.module must be a name`)
        addSection(domain, options, type === 'component' ? ['module'] : [])
        const enabled = isEnabled(options['enabled'])
        hosts.push({ name: domain, type, enabled, ...(typeof module === 'string' && { module }) })
      }
    }
  }

  if (!isTable(object))
    throw new ConfigError([{ severity: 'error', message: 'the options must be an object' }])
  addSection(GLOBAL, object, ['virtualHosts', 'components'])
  addHosts('virtualHosts', 'host')
  addHosts('components', 'component')
  if (problems.length > 0) throw new ConfigError(problems)
  return new Config({ directory: process.cwd(), hosts, options: sections })
}
