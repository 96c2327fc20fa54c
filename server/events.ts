/** Prioritised events: the first handler that returns something ends the event, as in Prosody. */

/** What a handler gives back: nothing lets the next handler have the event, anything else ends it. */
export type Handler<T> = (event: T) => unknown

export interface Registration {
  readonly handler: Handler<never>
  readonly priority: number
  /** Who added it, for messages. */
  readonly owner: string
}

/** Called when a handler throws; what it returns is taken as the handler's own answer. */
export type FailureHandler = (error: unknown, name: string, owner: string, event: unknown) => unknown

const NONE: readonly Registration[] = []

/** Names like `iq-get/bare/NS:name`, which are looked up by their parts so that no name is joined per stanza. */
const SCOPED = /^(iq(?:-get|-set)?\/(?:bare|full|host|self)|stanza)\/(.*):([^:]*)$/

/** The events of one host, or of the server. */
export class Events {
  private readonly handlers = new Map<string, readonly Registration[]>()
  // scope → namespace → name → event name
  private readonly scoped = new Map<string, Map<string, Map<string, string>>>()
  private readonly failed: FailureHandler
  /** Another number whenever a handler has come or gone. */
  revision = 0

  constructor(failed: FailureHandler) {
    this.failed = failed
  }

  /**
   * Adds a handler. Of equal priorities, the one that was added first comes first.
   *
   * @param name - the event
   * @param handler - called with what the event carries
   * @param priority - higher comes first; the default is 0
   * @param owner - the plugin, for messages
   * @returns a function that removes it
   * @throws TypeError if the handler is no function or the priority no number
   */
  add(name: string, handler: Handler<never>, priority = 0, owner = 'core'): () => void {
    if (typeof handler !== 'function')
      throw new TypeError(`${owner}: the handler of ${name} is not a function`)
    if (typeof priority !== 'number' || Number.isNaN(priority)) {
      throw new TypeError(`${owner}: the priority of ${name} is not a number`)
    }
    const registration: Registration = { handler, priority, owner }
    // Arrays are replaced, not changed: an event that is under way keeps the list it began with.
    const list = [...(this.handlers.get(name) ?? NONE), registration]
    list.sort((a, b) => b.priority - a.priority)
    this.handlers.set(name, list)
    this.index(name)
    this.revision++
    return () => {
      this.revision++
      const rest = (this.handlers.get(name) ?? NONE).filter((other) => other !== registration)
      if (rest.length > 0) this.handlers.set(name, rest)
      else {
        this.handlers.delete(name)
        this.unindex(name)
      }
    }
  }

  /** Whether anybody listens. */
  has(name: string): boolean {
    return this.handlers.has(name)
  }

  /** Whose handlers an event has, in their order. */
  ownersOf(name: string): readonly string[] {
    return (this.handlers.get(name) ?? NONE).map(({ owner }) => owner)
  }

  /** The names that are listened to, sorted. */
  names(): string[] {
    return [...this.handlers.keys()].sort()
  }

  /**
   * Fires an event.
   *
   * @returns what the first handler returned that returned something; undefined if none did. A promise does not
   *   fail: the failure has been dealt with then
   */
  fire(name: string, event: unknown): unknown {
    const list = this.handlers.get(name)
    return list === undefined ? undefined : this.run(list, name, event)
  }

  /**
   * Fires `SCOPE/NS:NAME` without joining the name.
   *
   * @param scope - `iq-get/bare`, `iq-set/host`, `stanza` …
   */
  fireScoped(scope: string, xmlns: string, name: string, event: unknown): unknown {
    const full = this.scoped.get(scope)?.get(xmlns)?.get(name)
    return full === undefined ? undefined : this.fire(full, event)
  }

  /**
   * Fires an event, and tells after each handler whose it was.
   *
   * @returns as of `fire`
   */
  fireObserved(name: string, event: unknown, ran: (owner: string) => void): unknown {
    for (const registration of this.handlers.get(name) ?? NONE) {
      const result = this.run([registration], name, event)
      ran(registration.owner)
      if (result !== undefined) return result
    }
    return undefined
  }

  private run(list: readonly Registration[], name: string, event: unknown): unknown {
    for (let i = 0; i < list.length; i++) {
      const registration = list[i]!
      let result: unknown
      try {
        result = (registration.handler as Handler<unknown>)(event)
      } catch (error) {
        result = this.failed(error, name, registration.owner, event)
      }
      if (result !== undefined) {
        return result instanceof Promise ? this.watch(result, name, registration.owner, event) : result
      }
    }
    return undefined
  }

  // What comes out does not fail: a handler that fired this event for another one, and gives the promise back,
  // must not be taken for the one that failed.
  private watch(result: Promise<unknown>, name: string, owner: string, event: unknown): Promise<unknown> {
    return result.catch((error) => this.failed(error, name, owner, event))
  }

  private index(name: string): void {
    const match = SCOPED.exec(name)
    if (match === null) return
    const [, scope = '', xmlns = '', local = ''] = match
    let namespaces = this.scoped.get(scope)
    if (namespaces === undefined) {
      namespaces = new Map()
      this.scoped.set(scope, namespaces)
    }
    let names = namespaces.get(xmlns)
    if (names === undefined) {
      names = new Map()
      namespaces.set(xmlns, names)
    }
    names.set(local, name)
  }

  private unindex(name: string): void {
    const match = SCOPED.exec(name)
    if (match === null) return
    const [, scope = '', xmlns = '', local = ''] = match
    const names = this.scoped.get(scope)?.get(xmlns)
    names?.delete(local)
    if (names?.size === 0) this.scoped.get(scope)?.delete(xmlns)
  }
}
