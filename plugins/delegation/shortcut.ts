/** Whether what is sent to a component would meet nobody on its way through the events of its host. */

import type { Host } from '../../server/index.ts'

const STANZA_EVENT = 'iq/host'
/** They take a stanza to those who asked for its payload, and to the component. */
const CARRIERS: readonly string[] = ['iq', 'component']

/** Looks at the handlers of a host again when they have changed. */
export class Shortcut {
  private host: Host | undefined
  private revision = -1
  private xmlns = ''
  private open = false

  /**
   * Whether nobody waits for a wrapper that is routed to this component, and it may be written to it at once.
   *
   * @param host - of the component
   * @param xmlns - the delegation namespace of the wrapper
   */
  isOpen(host: Host, xmlns: string): boolean {
    const { events } = host
    if (this.host !== host || this.revision !== events.revision || this.xmlns !== xmlns) {
      this.host = host
      this.revision = events.revision
      this.xmlns = xmlns
      const owners = events.ownersOf(STANZA_EVENT)
      this.open =
        owners.at(-1) === 'component' &&
        owners.every((owner) => CARRIERS.includes(owner)) &&
        !events.has(`iq/host/${xmlns}:delegation`) &&
        !events.has(`iq-set/host/${xmlns}:delegation`)
    }
    return this.open
  }
}
