// Types of what the examples and tests use of @xmpp/component 0.13, which has none of its own.
declare module '@xmpp/component' {
  import type { EventEmitter } from 'node:events'
  import type { JID } from '@xmpp/jid'
  import type { Element } from '@xmpp/xml'

  export interface ComponentOptions {
    /** Where the server is: `xmpp://127.0.0.1:5347`. */
    service: string
    /** The component's address. */
    domain: string
    /** The shared secret. */
    password: string
  }

  /** An IQ that a handler is to answer. */
  export interface IqContext {
    readonly stanza: Element
    /** Its payload. */
    readonly element: Element
  }

  /**
   * What it returns is the payload of the result, or, if it is an `<error/>`, that of the error; `next` leaves it
   * to another.
   */
  export type IqHandler = (context: IqContext, next: () => Promise<unknown>) => unknown

  export interface Component extends EventEmitter {
    readonly jid: JID | null
    readonly status: string
    readonly reconnect: EventEmitter & { delay: number; start(): void; stop(): void }
    readonly iqCallee: {
      get(xmlns: string, name: string, handler: IqHandler): void
      set(xmlns: string, name: string, handler: IqHandler): void
    }
    readonly iqCaller: { request(iq: Element, timeoutMs?: number): Promise<Element> }
    start(): Promise<JID>
    stop(): Promise<Element | undefined>
    send(stanza: Element): Promise<void>
  }

  export function component(options: ComponentOptions): Component
  export function xml(
    name: string,
    attrs?: string | Record<string, string | undefined>,
    ...children: (Element | string)[]
  ): Element
}
