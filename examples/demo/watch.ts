/** Looks over the shoulder of a client or a component: what it sends and receives, as it happens. */

import type { Element } from '@xmpp/xml'
import type { Screen } from './screen.ts'

/** A client of @xmpp/client, or a component of @xmpp/component. */
interface Watched {
  send(stanza: Element): Promise<void>
  prependListener(event: 'element', listener: (element: Element) => void): unknown
}

/** What is shown of an entity's traffic; may be changed at any time. */
export interface Watch {
  /** Which stanzas. */
  shown: (stanza: Element) => boolean
  /** Words beside what it sends, and beside what it receives. */
  sent: string
  received: string
}

/**
 * Shows what an entity sends and receives from now on.
 *
 * @param name - what to call it
 * @param peer - what to call the server
 */
export function watch(entity: Watched, name: string, peer: string, screen: Screen): Watch {
  const state: Watch = { shown: () => true, sent: '', received: '' }
  const send = entity.send.bind(entity)
  // The event `send` comes after the fact, when the other side may have received and answered already.
  entity.send = (stanza: Element) => {
    if (state.shown(stanza)) screen.hop(name, peer, state.sent, stanza)
    return send(stanza)
  }
  // Ahead of those who answer.
  entity.prependListener('element', (stanza: Element) => {
    if (state.shown(stanza)) screen.hop(peer, name, state.received, stanza)
  })
  return state
}
