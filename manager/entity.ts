/** What the library needs of a component: those of `@xmpp/component` have it, 0.13 and later. */

import type { Element } from '@xmpp/xml'

/** How an entity has its IQs answered. */
export type IqRoute = (context: { readonly stanza: Element }, next: () => Promise<unknown>) => unknown

/** A component as `component()` of `@xmpp/component` makes it. */
export interface ManagerEntity {
  /** Where it is in its connection's life: `offline`, `connecting`, `online`, `disconnect`, … */
  readonly status: string
  readonly iqCallee: {
    get(xmlns: string, name: string, route: IqRoute): unknown
    set(xmlns: string, name: string, route: IqRoute): unknown
  }
  on(event: 'status', listener: (status: string) => void): unknown
  on(event: 'stanza', listener: (stanza: Element) => void): unknown
  send(stanza: Element): Promise<unknown>
}
