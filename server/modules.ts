/** Loads, reloads and unloads plugins, with what they depend on. */

import { insteadOfModule, needlessModules } from './config/index.ts'
import type { Host } from './host.ts'
import { Module, type PluginDefinition } from './module.ts'
import { importPlugin, PluginError, pluginPathsOf } from './plugin-files.ts'
import type { Server } from './server.ts'

interface SharedPart {
  readonly module: Module
  readonly hosts: Set<string>
}

/** The plugins of a server. */
export class ModuleManager {
  private readonly server: Server
  private readonly loaded = new Map<string, Map<string, Module>>()
  private readonly sharedParts = new Map<string, SharedPart>()
  private readonly definitions = new Map<string, PluginDefinition>()
  private revision = 0
  // One change at a time: two that load the same plugin would load it twice.
  private work: Promise<unknown> = Promise.resolve()

  constructor(server: Server) {
    this.server = server
  }

  /** Names of the plugins on a host, in the order in which they were loaded. */
  namesOn(host: string): string[] {
    return [...(this.loaded.get(host)?.keys() ?? [])]
  }

  /** Whether a host has a plugin. */
  isLoaded(host: string, name: string): boolean {
    return this.loaded.get(host)?.has(name) ?? false
  }

  /**
   * Loads a plugin on a host, and what it depends on before it. Does nothing if it is there.
   *
   * It waits for other loads to end: a plugin's own `load` must not wait for it, but has `depends`.
   *
   * @throws PluginError, or what the plugin's `load` throws; nothing of it stays then
   */
  load(host: Host, name: string): Promise<Module> {
    return this.inTurn(() => this.loadNow(host, name, []))
  }

  /** Loads all plugins of a host that the configuration names; one that fails is logged and left out. */
  loadAll(host: Host): Promise<void> {
    return this.inTurn(async () => {
      for (const name of this.server.config.modulesFor(host.name)) await this.tryLoad(host, name)
    })
  }

  /** Unloads what the configuration no longer names, and loads what is new. */
  update(host: Host): Promise<void> {
    return this.inTurn(async () => {
      const wanted = this.server.config.modulesFor(host.name)
      const needed = this.withDepends(wanted)
      for (const name of this.namesOn(host.name).reverse()) {
        if (!needed.has(name)) this.unload(host, name)
      }
      for (const name of wanted) await this.tryLoad(host, name)
    })
  }

  /** Unloads a plugin, and before it those that depend on it. */
  unload(host: Host, name: string): void {
    const modules = this.modulesOf(host)
    const module = modules.get(name)
    if (module === undefined) return
    for (const [other] of [...modules].reverse()) {
      if (this.definitions.get(other)?.depends?.includes(name) === true) this.unload(host, other)
    }
    modules.delete(name)
    module.dispose()
    this.dropShared(name, host)
    host.log.debug('unloaded', { plugin: name })
  }

  /** Unloads all plugins of a host, the last one first. */
  unloadAll(host: Host): void {
    for (const name of this.namesOn(host.name).reverse()) this.unload(host, name)
    this.loaded.delete(host.name)
  }

  /**
   * Loads a plugin's file anew, on every host that has it; those that depend on it are loaded again too.
   * Other files that it imports are not read again.
   *
   * @throws PluginError if the new file can not be read, or what its `load` throws; the old plugin stays then
   */
  reload(name: string): Promise<void> {
    return this.inTurn(async () => {
      const fresh = await importPlugin(name, pluginPathsOf(this.server.config), ++this.revision)
      const old = this.definitions.get(name)
      const removed: [Host, string[]][] = []
      for (const host of this.server.hosts.values()) {
        if (!this.isLoaded(host.name, name)) continue
        const before = this.namesOn(host.name)
        this.unload(host, name)
        removed.push([host, before.filter((other) => !this.isLoaded(host.name, other))])
      }
      this.definitions.set(name, fresh)
      const loadAgain = async () => {
        for (const [host, names] of removed) for (const other of names) await this.loadNow(host, other, [])
      }
      try {
        await loadAgain()
      } catch (error) {
        for (const [host] of removed) this.unload(host, name)
        if (old !== undefined) this.definitions.set(name, old)
        await loadAgain()
        throw error
      }
    })
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.work.then(work)
    this.work = result.catch(() => {})
    return result
  }

  /** @param chain - the plugins that are being loaded, each because the one before depends on it */
  private async loadNow(host: Host, name: string, chain: readonly string[]): Promise<Module> {
    const modules = this.modulesOf(host)
    const present = modules.get(name)
    if (present !== undefined) return present
    const path = [...chain, name]
    if (chain.includes(name)) {
      throw new PluginError(
        'circular-depends',
        `the plugin "${name}" depends on itself: ${path.join(' → ')}; take one of them out of "depends"`,
      )
    }
    const plugin = await this.definitionOf(name)
    if (plugin.hostType !== undefined && plugin.hostType !== host.hostType) {
      const kind = plugin.hostType === 'component' ? 'a Component' : 'a VirtualHost'
      throw new PluginError('wrong-host', `the plugin "${name}" can only be loaded on ${kind}`)
    }
    const module = this.create(plugin, host, path)
    await module.resolveDepends()
    await this.addShared(plugin, host)
    try {
      await plugin.load?.(module)
    } catch (error) {
      module.dispose()
      this.dropShared(name, host)
      throw error
    }
    modules.set(name, module)
    module.log.debug('loaded')
    return module
  }

  private async tryLoad(host: Host, name: string): Promise<void> {
    try {
      await this.loadNow(host, name, [])
    } catch (error) {
      if (error instanceof PluginError && error.code === 'unknown-plugin') {
        if (needlessModules.has(name)) return
        const instead = insteadOfModule(name)
        const advice = instead === undefined ? '' : ` (${instead})`
        host.log.warn(`modules_enabled names "${name}", which Legate does not have: it is left out${advice}`)
      } else if (error instanceof PluginError && error.code === 'wrong-host' && !this.namedBy(host, name)) {
        // Inherited from the global section, where it was meant for hosts of the other kind.
      } else host.log.error(`the plugin "${name}" could not be loaded`, { error })
    }
  }

  /** Whether the host's own section names a plugin. */
  private namedBy(host: Host, name: string): boolean {
    if (!this.server.config.has(host.name, 'modules_enabled')) return false
    const own = this.server.config.get(host.name, 'modules_enabled')
    return Array.isArray(own) && own.includes(name)
  }

  /** Plugins, what they depend on, what that depends on … */
  private withDepends(names: readonly string[]): ReadonlySet<string> {
    const all = new Set(names)
    // A set is also iterated over what is added meanwhile.
    for (const name of all) for (const other of this.definitions.get(name)?.depends ?? []) all.add(other)
    return all
  }

  private async definitionOf(name: string): Promise<PluginDefinition> {
    let definition = this.definitions.get(name)
    if (definition === undefined) {
      definition = await importPlugin(name, pluginPathsOf(this.server.config), this.revision)
      this.definitions.set(name, definition)
    }
    return definition
  }

  private modulesOf(host: Host): Map<string, Module> {
    let modules = this.loaded.get(host.name)
    if (modules === undefined) {
      modules = new Map()
      this.loaded.set(host.name, modules)
    }
    return modules
  }

  private create(plugin: PluginDefinition, host: Host | undefined, chain: readonly string[] = []): Module {
    return new Module({
      server: this.server,
      host,
      plugin,
      depends: async (name) =>
        host === undefined ? undefined : (await this.loadNow(host, name, chain)).exports,
    })
  }

  private async addShared(plugin: PluginDefinition, host: Host): Promise<void> {
    if (plugin.shared === undefined) return
    let part = this.sharedParts.get(plugin.name)
    if (part === undefined) {
      const module = this.create(plugin, undefined)
      try {
        await plugin.shared(module)
      } catch (error) {
        module.dispose()
        throw error
      }
      part = { module, hosts: new Set() }
      this.sharedParts.set(plugin.name, part)
    }
    part.hosts.add(host.name)
  }

  private dropShared(name: string, host: Host): void {
    const part = this.sharedParts.get(name)
    if (part === undefined) return
    part.hosts.delete(host.name)
    if (part.hosts.size > 0) return
    this.sharedParts.delete(name)
    part.module.dispose()
  }
}
