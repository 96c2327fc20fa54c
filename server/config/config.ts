// A configuration that has been read: its hosts, and options looked up per host by Prosody's rules.

import { modulesForHost } from './modules.ts'
import type { ConfigProblem, SourcePosition } from './problems.ts'

/** A `VirtualHost` or `Component` of the configuration. */
export interface HostDeclaration {
  /** The domain, prepared (RFC 7622 §3.2). */
  name: string
  type: 'host' | 'component'
  /** Second argument of `Component`; undefined for an external one. */
  module?: string
  /** False where the section says `enabled = false`: such a host is not to be served. */
  enabled: boolean
  position?: SourcePosition
}

/** An option as it was set in one section. */
export interface SetOption {
  value: unknown
  position?: SourcePosition
  /** What `-` took from the list, so that a host can also go without what it would inherit. */
  taken?: readonly string[]
}

/** What a {@link Config} is made of. */
export interface ConfigParts {
  path?: string
  directory: string
  hosts: readonly HostDeclaration[]
  /** Options by section; `*` is the global one. */
  options: ReadonlyMap<string, ReadonlyMap<string, SetOption>>
  warnings?: readonly ConfigProblem[]
}

/** Name of the global section. */
export const GLOBAL = '*'

/** Whether a section's `enabled` leaves the host in service. */
export function isEnabled(value: unknown): boolean {
  return value !== false && value !== 'false'
}

/** A configuration. It never changes; a reload makes a new one. */
export class Config {
  /** Absolute path of the main file; undefined for a configuration given as an object. */
  readonly path: string | undefined
  /** The folder that relative paths in options are relative to. */
  readonly directory: string
  /** In the order of the file. */
  readonly hosts: readonly HostDeclaration[]
  /** What was odd in the file itself; `checkOptions` tells it along with what is odd in the options. */
  readonly warnings: readonly ConfigProblem[]
  readonly #options: ReadonlyMap<string, ReadonlyMap<string, SetOption>>

  constructor(parts: ConfigParts) {
    this.path = parts.path
    this.directory = parts.directory
    this.hosts = parts.hosts
    this.warnings = parts.warnings ?? []
    this.#options = parts.options
  }

  /** Whether the option is set on the host itself. */
  has(host: string, option: string): boolean {
    return this.#own(host, option) !== undefined
  }

  /** The option as the host sees it: its own, else the global one. Host `*` is the global section. */
  get(host: string, option: string): unknown {
    return this.#seen(host, option)?.value
  }

  /** Where what {@link get} returns was set, if that is known. */
  position(host: string, option: string): SourcePosition | undefined {
    return this.#seen(host, option)?.position
  }

  /** Names of the options set on this host itself (`*`: in the global section). */
  optionNames(host: string): string[] {
    return [...(this.#options.get(host)?.keys() ?? [])]
  }

  /** What the host's own list had taken from it with `-`: `modules_enabled = modules_enabled - { "ping" }`. */
  taken(host: string, option: string): readonly string[] {
    return this.#own(host, option)?.taken ?? []
  }

  /** Names of the plugins to load on this host, in the order to load them. */
  modulesFor(host: string): string[] {
    return modulesForHost(this, host)
  }

  #own(host: string, option: string): SetOption | undefined {
    return this.#options.get(host)?.get(option)
  }

  #seen(host: string, option: string): SetOption | undefined {
    return this.#own(host, option) ?? this.#own(GLOBAL, option)
  }
}
