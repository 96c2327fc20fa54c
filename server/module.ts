/** The `module` object that a plugin is given, one for each host that it is loaded on. */

import type { Element } from '@xmpp/xml'
import type { z } from 'zod'
import {
  type Config,
  type ConfigProblem,
  coreOptions,
  type HostDeclaration,
  type OptionSpec,
} from './config/index.ts'
import type { EventPayload } from './event-types.ts'
import type { Handler } from './events.ts'
import type { Host, HostType } from './host.ts'
import type { Logger } from './log.ts'
import type { ServiceListener } from './net/listeners.ts'
import type { Server } from './server.ts'
import type { Origin } from './session.ts'
import type { Stanza } from './stanza/stanza.ts'
import type { ArchiveStore, KeyvalStore, MapStore } from './storage/index.ts'
import type { Timeout } from './timers.ts'

export type OptionSpecs = Record<string, OptionSpec>
/** The values of a plugin's options, as its schemas give them. */
export type OptionValues<O extends OptionSpecs> = { readonly [K in keyof O]: z.infer<O[K]['schema']> }

/** What a plugin's check may look at. */
export interface PluginCheck {
  readonly config: Config
  readonly host: HostDeclaration
  /** Whether an account is in the storage. */
  accountExists(host: string, username: string): Promise<boolean>
}

/** What a plugin is. */
export interface PluginDefinition<O extends OptionSpecs = OptionSpecs> {
  /** As written in `modules_enabled`. */
  readonly name: string
  /** The options that it reads, with their schemas. */
  readonly options?: O
  /** Plugins that must be loaded on the same host before it. */
  readonly depends?: readonly string[]
  /** Where it may be loaded; the default is anywhere. */
  readonly hostType?: HostType
  /** What is wrong with the plugin's options on a host, for `legate check`. */
  check?(check: PluginCheck): Promise<ConfigProblem[]>
  /** Runs once per server, before the first `load`: for what hosts share, such as a listener. */
  shared?(module: Module<O>): void | Promise<void>
  /** Runs for each host. */
  load?(module: Module<O>): void | Promise<void>
}

/** Gives a plugin's options and events their types. */
export function definePlugin<O extends OptionSpecs = Record<never, never>>(
  definition: PluginDefinition<O>,
): PluginDefinition<O> {
  return definition
}

/** A service discovery identity (XEP-0030 §3.1). */
export interface Identity {
  readonly category: string
  readonly type: string
  readonly name?: string
}

/** How a module reaches the rest of the server; given by the module manager. */
export interface ModuleContext {
  readonly server: Server
  /** Undefined for the part that hosts share. */
  readonly host: Host | undefined
  readonly plugin: PluginDefinition
  depends(name: string): Promise<unknown>
}

/**
 * Prosody's module API in TypeScript spelling. Whatever a plugin adds through it is undone when the
 * plugin is unloaded.
 */
export class Module<O extends OptionSpecs = OptionSpecs> {
  readonly name: string
  readonly log: Logger
  readonly server: Server
  /** Values of the plugin's options on this host; read anew after a reload of the configuration. */
  readonly options: OptionValues<O>
  private readonly context: ModuleContext
  private readonly undo = new Set<() => void>()
  private disposed = false
  private readonly depended = new Map<string, unknown>()

  constructor(context: ModuleContext) {
    this.context = context
    this.name = context.plugin.name
    this.server = context.server
    const parent = context.host?.log ?? context.server.log
    this.log = parent.child(this.name)
    this.options = optionReader(context) as OptionValues<O>
  }

  /** The host that the plugin is loaded on. @throws in the part that hosts share */
  get host(): Host {
    if (this.context.host === undefined) throw new Error(`${this.name}: the shared part has no host`)
    return this.context.host
  }

  /**
   * Calls a handler at each event of this host (in the shared part: of the server).
   *
   * @param event - its name, as in Prosody: `iq/host`, `iq-get/bare/NS:name`, `resource-bind` …
   * @param handler - returns nothing to let the next handler have the event, anything else to end it;
   *   a promise ends it, and its failure gives the asker an error as a throw does
   * @param priority - higher comes first; the default is 0
   */
  hook<N extends string>(event: N, handler: Handler<EventPayload<N>>, priority = 0): void {
    const events = this.context.host?.events ?? this.server.events
    this.keep(events.add(event, handler as Handler<never>, priority, this.name))
  }

  /** The same for an event of the server. */
  hookGlobal<N extends string>(event: N, handler: Handler<EventPayload<N>>, priority = 0): void {
    this.keep(this.server.events.add(event, handler as Handler<never>, priority, this.name))
  }

  /** Fires an event on this host (in the shared part: on the server). */
  fireEvent<N extends string>(event: N, payload: EventPayload<N>): unknown {
    return (this.context.host?.events ?? this.server.events).fire(event, payload)
  }

  /** Announces a feature in the host's service discovery. */
  addFeature(feature: string): void {
    this.addItem('feature', feature)
  }

  /** Announces an identity in the host's service discovery. */
  addIdentity(category: string, type: string, name?: string): void {
    this.addItem('identity', { category, type, name } satisfies Identity)
  }

  /** Announces a form in the host's service discovery (XEP-0128). @returns a function that takes it back */
  addExtension(form: Element): () => void {
    return this.addItem('extension', form)
  }

  /** Adds something to one of the host's lists, for other plugins to find. @returns a function that takes it back */
  addItem(list: string, item: unknown): () => void {
    const remove = this.host.items.add(list, item, this.name)
    this.keep(remove)
    return () => {
      this.undo.delete(remove)
      remove()
    }
  }

  /** What all plugins of this host have added to a list. */
  getHostItems<T>(list: string): T[] {
    return this.host.items.get<T>(list)
  }

  /**
   * What another plugin that this one `depends` on has exported.
   *
   * @param name - of a plugin listed in `depends`
   */
  exportsOf<T>(name: string): T {
    if (!this.depended.has(name)) throw new Error(`${this.name}: "${name}" is not among its depends`)
    return this.depended.get(name) as T
  }

  /** What plugins that depend on this one get. */
  exports: unknown

  /**
   * A table that all modules of the server share.
   *
   * @param name - `PLUGIN/TABLE`
   * @param create - makes it when it is not there
   */
  shared<T extends object>(name: string, create: () => T): T {
    return this.server.sharedTable(name, create)
  }

  /** Sends a stanza on its way. @param origin - who gets errors; the default is this host */
  send(stanza: Stanza, origin?: Origin): boolean {
    return this.server.router.route(stanza, origin ?? this.context.host)
  }

  /** Opens a store of this host. */
  openStore<T>(store: string, kind?: 'keyval'): KeyvalStore<T>
  openStore<T>(store: string, kind: 'map'): MapStore<T>
  openStore<T>(store: string, kind: 'archive'): ArchiveStore<T>
  openStore<T>(
    store: string,
    kind: 'keyval' | 'map' | 'archive' = 'keyval',
  ): KeyvalStore<T> | MapStore<T> | ArchiveStore<T> {
    const { storage } = this.server
    const host = this.host.name
    if (kind === 'archive') return storage.openArchive<T>(host, store)
    return kind === 'map' ? storage.openMap<T>(host, store) : storage.openKeyval<T>(host, store)
  }

  /** Calls back once. @param seconds - from now */
  after(seconds: number, callback: () => unknown): Timeout {
    const timeout = this.server.timers.after(seconds, () => {
      this.undo.delete(cancel)
      this.run(callback)
    })
    const cancel = () => timeout.cancel()
    return this.keepTimeout(cancel)
  }

  /** Calls back again and again. @param seconds - between two calls */
  every(seconds: number, callback: () => unknown): Timeout {
    const timeout = this.server.timers.every(seconds, () => this.run(callback))
    return this.keepTimeout(() => timeout.cancel())
  }

  /** Listens for connections once the server has loaded all its plugins. */
  listen(service: ServiceListener): void {
    const uses = (option: 'use_ipv4' | 'use_ipv6') => this.server.readOption('*', option, coreOptions[option])
    const interfaces = service.interfaces.filter((address) =>
      uses(address.includes(':') ? 'use_ipv6' : 'use_ipv4'),
    )
    const connected = service.connected.bind(service)
    this.keep(this.server.listeners.add({ ...service, interfaces, connected }))
  }

  /** Something to do when the plugin is unloaded. The last one that was added comes first. */
  onUnload(callback: () => void): void {
    this.keep(callback)
  }

  /** Loads the plugins that this one depends on; used by the module manager. */
  async resolveDepends(): Promise<void> {
    for (const name of this.context.plugin.depends ?? []) {
      this.depended.set(name, await this.context.depends(name))
    }
  }

  /** Undoes everything; used by the module manager. */
  dispose(): void {
    this.disposed = true
    const parts = [...this.undo].reverse()
    this.undo.clear()
    for (const undo of parts) this.undoPart(undo)
  }

  private keep(undo: () => void): void {
    // What a handler that was still at work adds after the plugin is gone must not stay.
    if (this.disposed) this.undoPart(undo)
    else this.undo.add(undo)
  }

  private keepTimeout(cancel: () => void): Timeout {
    this.keep(cancel)
    return {
      cancel: () => {
        this.undo.delete(cancel)
        cancel()
      },
    }
  }

  private undoPart(undo: () => void): void {
    try {
      undo()
    } catch (error) {
      this.log.error('a part of the plugin could not be unloaded', { error })
    }
  }

  /** Runs a timer's callback: what it throws, or its promise, is logged under the plugin's name. */
  private run(callback: () => unknown): void {
    const failed = (error: unknown) => this.log.error('a timer of the plugin failed', { error })
    try {
      const result = callback()
      if (result instanceof Promise) result.catch(failed)
    } catch (error) {
      failed(error)
    }
  }
}

function optionReader({ server, host, plugin }: ModuleContext): object {
  const specs = plugin.options ?? {}
  const reader = {}
  for (const name of Object.keys(specs)) {
    let value: unknown
    let revision = -1
    Object.defineProperty(reader, name, {
      enumerable: true,
      get() {
        if (revision !== server.configRevision) {
          value = server.readOption(host?.name ?? '*', name, specs[name]!)
          revision = server.configRevision
        }
        return value
      },
    })
  }
  return reader
}
